"""Keys in a PKCS#11 token: the only module that imports the binding, and it runs in the worker process only.

The binding crashes with threads, leaks its exceptions and takes the first of several answers; none of that leaves
this module. One anchor session holds the login, because closing it logs the whole process out; others do the work.
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol, cast

from pkcs11 import (
    Attribute,
    KeyType,
    Mechanism,
    MechanismFlag,
    ObjectClass,
    PKCS11Error,
    TokenFlag,
    _pkcs11,
    types,
)
from pkcs11.exceptions import AttributeSensitive, AttributeTypeInvalid

from coldcred.canonical import sha256
from coldcred.keys import Algorithm, PublicKey
from hsm import attributes, heads, native
from hsm.ckr import error_for_exception
from hsm.errors import (
    HsmError,
    KeyAmbiguous,
    KeyExists,
    KeyExposed,
    KeyMissing,
    KeyRemains,
    MechanismMissing,
    ModuleMissing,
    PinIncorrect,
    PinUnusable,
    Reaction,
    TokenAmbiguous,
    TokenExists,
    TokenFault,
    TokenMissing,
)
from hsm.heads import KeptHead
from hsm.keystore import LANES, Inventory, StoredKey, TokenInfo
from hsm.mechanisms import MECHANISMS, MechanismRow
from hsm.objects import DATA, READ, TokenObject, assemble, stored_key
from hsm.uri import TokenUri

# What the binding raises besides its own exceptions when a module answers what no module should: unknown classes and
# key types (ValueError), lengths (struct.error, MemoryError), a key that may not sign and so lacks the method.
_FOREIGN_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
_HEADS = 2
_NO_CLASS = "an object that has no class, as a key cut short in its making"
_WANTED = tuple(Attribute[name] for name in dict.fromkeys((*READ, *attributes.PRIVATE_KEY, *attributes.PUBLIC_KEY)))
_UNREADABLE = (AttributeTypeInvalid, AttributeSensitive, ValueError, struct.error)


class Pin:
    """A PIN the binding can read where it lies, and that can be wiped; `repr` shows nothing of it."""

    __slots__ = ("_buffer",)

    def __init__(self, buffer: bytearray) -> None:
        """Keep `buffer` itself, not a copy."""
        self._buffer = buffer

    def encode(self, *_: object) -> bytearray:
        """Give the buffer, as the binding asks text for its bytes."""
        return self._buffer

    def wipe(self) -> None:
        """Overwrite the PIN."""
        self._buffer[:] = bytes(len(self._buffer))


class Module(_pkcs11.lib):
    """A loaded module that was told the process may have threads."""

    def initialize(self) -> None:
        """Start the module; the binding's own constructor calls this, and its own version passes NULL."""
        native.initialise(self.so)

    def finalize(self) -> None:
        """Stop the module, once, when nothing uses it any more."""
        native.finalise(self.so)


class _Signing(Protocol):
    """What the binding adds at run time to a private key whose CKA_SIGN is true."""

    def sign(self, data: bytes, *, mechanism: Mechanism) -> bytes: ...


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Let no exception of the binding escape."""
    try:
        yield
    except PKCS11Error as error:
        raise error_for_exception(type(error).__name__, str(error), f"{doing} failed") from error
    except _FOREIGN_FAULTS as error:
        raise TokenFault(
            f"{doing} failed: the module gave an answer that cannot be read ({type(error).__name__})",
            reaction=Reaction.REINITIALISE,
        ) from error


def load(path: str) -> Module:
    """Load and start the module at `path`; raises `ModuleMissing` or another `HsmError`."""
    try:
        with _translated("loading the PKCS#11 module"):
            return Module(path)
    except TokenFault as error:
        if error.ckr is not None:
            raise
        raise ModuleMissing(f"no PKCS#11 module at {path}") from error


def tokens(path: str) -> list[TokenInfo]:
    """Give every initialised token of the module at `path`; raises `HsmError`."""
    with _loaded(path) as module:
        return [info for _, info in _tokens(module)]


def open_token(path: str, uri: TokenUri) -> "TokenKeys":
    """Load the module at `path` and find the one token that `uri` names; raises `HsmError`."""
    module = load(path)
    try:
        return TokenKeys(module, uri)
    except HsmError:
        with suppress(HsmError):
            module.finalize()
        raise


@contextmanager
def _loaded(path: str) -> Iterator[Module]:
    module = load(path)
    try:
        yield module
    finally:
        with suppress(HsmError):
            module.finalize()


def _tokens(module: Module) -> list[tuple[types.Token, TokenInfo]]:
    with _translated("listing the tokens"):
        found = [token for token in module.get_tokens() if token.flags & TokenFlag.TOKEN_INITIALIZED]
        return [(token, _info(token)) for token in found]


def _info(token: types.Token) -> TokenInfo:
    serial = token.serial.rstrip(b"\0 ").decode("utf-8", errors="replace")
    return TokenInfo(token.label, serial, token.manufacturer_id, token.model)


def initialise_token(path: str, label: str, so_pin: bytearray, pin: bytearray) -> TokenInfo:
    """Make a new token in the first free slot, with its two PINs; both buffers are wiped.

    A token of that label which never got its user PIN is one that was made by half; it is finished. Raises
    `TokenExists` when a token has that label, `TokenMissing` when no slot is free, `PinUnusable`, `PinIncorrect` (of
    the security officer, for a token made by half), or another `HsmError`.
    """
    officer, user = Pin(so_pin), Pin(pin)
    try:
        with _loaded(path) as module:
            begun = [token for token, info in _tokens(module) if info.label == label]
            if any(token.flags & TokenFlag.USER_PIN_INITIALIZED for token in begun):
                raise TokenExists(f"a token labelled {label!a} exists; it is left as it is")
            if not begun:
                _make(module, label, so_pin)
            token, info = _one(module, TokenUri(token=label))
            with _translated("setting the user PIN"), token.open(rw=True, so_pin=officer) as session:
                session.init_pin(user)  # type: ignore[arg-type] # encode() is all the binding asks of a PIN
            return info
    finally:
        officer.wipe()
        user.wipe()


def _make(module: Module, label: str, so_pin: bytearray) -> None:
    try:
        native.initialise_token(module.so, _free_slot(module), label, so_pin)
    except PinIncorrect as error:
        # A free slot has no PIN that could be wrong: SoftHSM says so of one it does not take.
        raise PinUnusable("the token takes no such PIN of the security officer", ckr=error.ckr) from error


def _free_slot(module: Module) -> int:
    with _translated("looking for a free slot"):
        for slot in module.get_slots(token_present=True):
            if not slot.get_token().flags & TokenFlag.TOKEN_INITIALIZED:
                return slot.slot_id
    raise TokenMissing("the module offers no slot for a new token")


def _one(module: Module, uri: TokenUri) -> tuple[types.Token, TokenInfo]:
    found = [
        (token, info)
        for token, info in _tokens(module)
        if uri.matches(token=info.label, serial=info.serial, manufacturer=info.manufacturer, model=info.model)
    ]
    if not found:
        raise TokenMissing(f"no token is {uri.format()}; is it attached, and named rightly?")
    if len(found) > 1:
        serials = ", ".join(info.serial for _, info in found)
        raise TokenAmbiguous(f"{len(found)} tokens are {uri.format()} (serials {serials}); add serial= to the URI")
    return found[0]


class TokenKeys:
    """The keys of one token (`KeyToken`), logged in; not for several threads at once."""

    def __init__(self, module: Module, uri: TokenUri) -> None:
        """Find the one token that `uri` names; raises `TokenMissing` or `TokenAmbiguous`."""
        self._module = module
        self._token, self.info = _one(module, uri)
        self._sessions: list[types.Session] = []
        self._keys: dict[bytes, tuple[_Signing, MechanismRow]] = {}
        self._lane_keys: dict[tuple[bytes, int], _Signing] = {}

    def login(self, pin: bytearray) -> None:
        """Log in and wipe `pin`; raises `PinIncorrect`, `PinLocked` or another `HsmError`."""
        secret = Pin(pin)
        try:
            with _translated("logging in"):
                self._sessions.append(self._token.open(rw=True, user_pin=secret))
                self._sessions += [self._token.open(rw=True) for _ in range(LANES)]
        except PinUnusable as error:
            # Of a length or with characters the token never takes: as wrong as any other, and as useless to repeat.
            raise PinIncorrect(error.detail, ckr=error.ckr) from error
        finally:
            secret.wipe()

    @property
    def _session(self) -> types.Session:
        if not self._sessions:
            raise TokenFault("the token is not logged in", ckr="CKR_USER_NOT_LOGGED_IN", reaction=Reaction.RELOGIN)
        return self._sessions[-1]

    def close(self) -> None:
        """Log out and stop the module. Faults are passed over: the process ends next."""
        while self._sessions:
            with suppress(HsmError), _translated("closing a session"):
                self._sessions.pop().close()
        with suppress(HsmError):
            self._module.finalize()

    def inventory(self) -> Inventory:
        """Give all that is in the token; an empty answer of a token that vanished is `TokenMissing`."""
        session = self._session
        try:
            with _translated("reading the token"):
                objects = [_read(item) for item in session.get_objects({})]
        except TokenFault:
            return self._inventory_by_class()
        if not objects:
            self._see_that_the_token_is_there()
        return assemble(self.info, objects)

    def _inventory_by_class(self) -> Inventory:
        """Give what is in a token beside an object without a class, which nobody can use and the binding not list."""
        session = self._session
        with _translated("reading the token"):
            objects = [_read(item) for kind in ObjectClass for item in session.get_objects({Attribute.CLASS: kind})]
        found = assemble(self.info, objects)
        return replace(found, foreign=(*found.foreign, _NO_CLASS))

    def _see_that_the_token_is_there(self) -> None:
        # Searches on a token that was taken away find nothing and report no error.
        with _translated("looking whether the token is still there"):
            self._token.slot.get_token()
            self._session.generate_random(64)

    def generate(self, key_id: bytes, label: str, algorithm: Algorithm) -> PublicKey:
        """Make a key pair, read it back, and keep it only if its attributes are those asked for."""
        row = MECHANISMS[algorithm]
        self._require(row)
        if self.holds(key_id):
            raise KeyExists(f"an object with CKA_ID {key_id.hex()} exists; no key was made")
        with _translated("generating a key"):
            parameters = self._session.create_domain_parameters(
                KeyType(row.key_type), {Attribute.EC_PARAMS: row.curves[0]}, local=True
            )
            parameters.generate_keypair(
                id=key_id,
                label=label,
                store=True,
                mechanism=Mechanism(row.generate),
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                public_template=_template(attributes.PUBLIC_KEY) | {Attribute.PRIVATE: False},
                private_template=_template(attributes.PRIVATE_KEY),
            )
        born = self.find(key_id)
        if born.faults or born.public is None:
            self.destroy(key_id)
            raise KeyExposed(
                f"the token made a key that is not as asked for, and it was destroyed: {'; '.join(born.faults)}"
            )
        return born.public

    def _require(self, row: MechanismRow) -> None:
        with _translated("listing the token's mechanisms"):
            offered = self._token.slot.get_mechanisms()
        for number, name in zip((row.generate, row.sign), row.names, strict=True):
            if Mechanism(number) not in offered:
                raise MechanismMissing(
                    f"token {self.info.label!a} has no {name}, which {row.algorithm.value} keys need"
                )

    def find(self, key_id: bytes) -> StoredKey:
        """Give the one key of this CKA_ID, sound or not, and make it ready to sign."""
        privates = self._search(key_id, ObjectClass.PRIVATE_KEY)
        publics = self._search(key_id, ObjectClass.PUBLIC_KEY)
        if not privates:
            raise KeyMissing(f"the token holds no private key with CKA_ID {key_id.hex()}")
        if len(privates) > 1 or len(publics) > 1:
            counted = f"{len(privates)} private and {len(publics)} public keys"
            raise KeyAmbiguous(f"{counted} have CKA_ID {key_id.hex()}; none is taken")
        with _translated("reading a key's attributes"):
            private = _read(privates[0])
            stored = stored_key(private, [_read(item) for item in publics])
        if private.row is not None:
            self._keys[key_id] = cast("_Signing", privates[0]), private.row
        return stored

    def _search(self, key_id: bytes, kind: ObjectClass, session: types.Session | None = None) -> list[types.Object]:
        with _translated("searching the token"):
            return list((session or self._session).get_objects({Attribute.CLASS: kind, Attribute.ID: key_id}))

    def sign(self, key_id: bytes, data: bytes, lane: int = 0) -> bytes:
        """Sign whole data: SHA-256 is taken here where the mechanism wants a digest. Each lane has its own session."""
        if key_id not in self._keys:
            self.find(key_id)
        key, row = self._keys[key_id]
        key = self._in_lane(key_id, lane) if lane else key
        with _translated("signing"):
            return key.sign(sha256(data) if row.hashed else data, mechanism=Mechanism(row.sign))

    def _in_lane(self, key_id: bytes, lane: int) -> _Signing:
        if (key_id, lane) not in self._lane_keys:
            privates = self._search(key_id, ObjectClass.PRIVATE_KEY, self._sessions[-1 - lane])
            if len(privates) != 1:
                raise KeyMissing(f"a session finds {len(privates)} private keys with CKA_ID {key_id.hex()}")
            self._lane_keys[key_id, lane] = cast("_Signing", privates[0])
        return self._lane_keys[key_id, lane]

    def destroy(self, key_id: bytes) -> None:
        """Destroy the one key of this CKA_ID, or what a generation that was cut short left of it, and see it gone."""
        for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            if (rivals := len(self._search(key_id, kind))) > 1:
                raise KeyAmbiguous(f"{rivals} keys of one class have CKA_ID {key_id.hex()}; none is destroyed")
        self._keys.pop(key_id, None)
        self._lane_keys = {place: key for place, key in self._lane_keys.items() if place[0] != key_id}
        found = self._with_id(key_id)
        if not found:
            raise KeyMissing(f"the token holds no object with CKA_ID {key_id.hex()}")
        for item in found:
            with _translated("destroying a key"):
                item.destroy()
        if self.holds(key_id):
            raise KeyRemains(f"the token reports key {key_id.hex()} destroyed and still holds it")

    def holds(self, key_id: bytes) -> bool:
        """Whether any object has this CKA_ID."""
        return bool(self._with_id(key_id))

    def kept(self, key_id: bytes) -> KeptHead | None:
        """Give the newest head that data objects of this log key say."""
        return max((head for _, head in self._heads(key_id)), key=lambda head: head.size, default=None)

    def keep(self, key_id: bytes, head: KeptHead) -> None:
        """Say this head in the older of the two objects, or make one where there are fewer."""
        found, text = self._heads(key_id), heads.label(key_id, head)
        with _translated("keeping the log's head"):
            if len(found) < _HEADS:
                self._clear_remains()
                self._session.create_object(_head_template(text))
                return
            older, _ = min(found, key=lambda item: item[1].size)
            older[Attribute.LABEL] = text

    def _heads(self, key_id: bytes) -> list[tuple[types.Object, KeptHead]]:
        # Searched anew each time: another process may have written since.
        with _translated("looking for the log's head"):
            labels = [(item, _label(item)) for item in self._session.get_objects({Attribute.CLASS: ObjectClass.DATA})]
        read = ((item, heads.read(text)) for item, text in labels)
        return [(item, said[1]) for item, said in read if said is not None and said[0] == key_id]

    def _clear_remains(self) -> None:
        """Destroy what a head that was cut short in its making left: data without label and value."""
        for item in list(self._session.get_objects({Attribute.CLASS: ObjectClass.DATA})):
            if _read(item).is_empty:
                item.destroy()

    def _with_id(self, key_id: bytes) -> list[types.Object]:
        session = self._session
        # To its end: an unfinished search blocks the session.
        with _translated("searching the token"):
            return list(session.get_objects({Attribute.ID: key_id}))


def _head_template(text: str) -> dict[Attribute, Any]:
    return {
        Attribute.CLASS: ObjectClass.DATA,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.MODIFIABLE: True,
        Attribute.LABEL: text,
        Attribute.VALUE: heads.VALUE,
    }


def _label(item: types.Object) -> str:
    try:
        return str(item[Attribute.LABEL])
    except _UNREADABLE:
        return ""


def _read(item: types.Object) -> TokenObject:
    found: dict[str, object] = {}
    for attribute in _WANTED:
        with suppress(*_UNREADABLE):
            value = item[attribute]
            found[attribute.name] = value.name if isinstance(value, ObjectClass) else value
    if found.get("CLASS") == DATA:  # of a key it may be the secret
        with suppress(*_UNREADABLE):
            found["VALUE"] = item[Attribute.VALUE]
    return TokenObject(found)


def _template(values: Mapping[str, bool]) -> dict[Attribute, Any]:
    # LOCAL, ALWAYS_SENSITIVE and NEVER_EXTRACTABLE are the module's to say and may not stand in a template.
    said_by_the_module = {"LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE"}
    return {Attribute[name]: value for name, value in values.items() if name not in said_by_the_module}
