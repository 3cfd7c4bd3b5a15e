"""Keys in a PKCS#11 token, over `hsm.slots`: the two modules that know the binding, in the worker process only.

The binding crashes with threads, leaks its exceptions and takes the first of several answers; none of that leaves
these modules. One anchor session holds the login, because closing it logs the whole process out; others do the work.
"""

import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any, Protocol, cast

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, types
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import AttributeSensitive, AttributeTypeInvalid

from coldcred.canonical import sha256
from coldcred.keys import Algorithm, PublicKey
from hsm import attributes, heads
from hsm.errors import (
    HsmError,
    KeyAmbiguous,
    KeyExists,
    KeyMissing,
    KeyRemains,
    MechanismMissing,
    PinIncorrect,
    PinUnusable,
    Reaction,
    TokenFault,
)
from hsm.heads import KeptHead
from hsm.keystore import LANES, Inventory, StoredKey
from hsm.mechanisms import MECHANISMS, MechanismRow
from hsm.objects import DATA, READ, TokenObject, assemble, stored_key
from hsm.slots import Module, Pin, load, the_token, translated
from hsm.uri import TokenUri

# How modules say that they do not take a template: NSS and tpm2-pkcs11 by the general error.
_TEMPLATE_REFUSED = frozenset(
    {
        "CKR_ATTRIBUTE_READ_ONLY",
        "CKR_ATTRIBUTE_TYPE_INVALID",
        "CKR_ATTRIBUTE_VALUE_INVALID",
        "CKR_CURVE_NOT_SUPPORTED",
        "CKR_DOMAIN_PARAMS_INVALID",
        "CKR_GENERAL_ERROR",
        "CKR_TEMPLATE_INCONSISTENT",
    }
)
_HEADS = 2
# tpm2-pkcs11 forgets to clear one of the three places of a TPM at each template it refuses, so it is not asked twice.
_SHORT_OF_MEMORY = "TPM2"
_NO_CLASS = "an object that has no class, as a key cut short in its making"
_WANTED = tuple(Attribute[name] for name in dict.fromkeys((*READ, *attributes.PRIVATE_KEY, *attributes.PUBLIC_KEY)))
_UNREADABLE = (AttributeTypeInvalid, AttributeSensitive, ValueError, struct.error)


class _Signing(Protocol):
    """What the binding adds at run time to a private key whose CKA_SIGN is true."""

    def sign(self, data: bytes, *, mechanism: Mechanism) -> bytes: ...


def open_token(path: str, uri: TokenUri) -> "TokenKeys":
    """Load the module at `path` and find the one token that `uri` names; raises `HsmError`."""
    module = load(path)
    try:
        return TokenKeys(module, uri)
    except HsmError:
        with suppress(HsmError):
            module.finalize()
        raise


class TokenKeys:
    """The keys of one token (`KeyToken`), logged in; not for several threads at once."""

    def __init__(self, module: Module, uri: TokenUri) -> None:
        """Find the one token that `uri` names; raises `TokenMissing` or `TokenAmbiguous`."""
        self._module = module
        self._token, self.info = the_token(module, uri)
        self._sessions: list[types.Session] = []
        self._keys: dict[bytes, tuple[_Signing, MechanismRow]] = {}
        self._lane_keys: dict[tuple[bytes, int], _Signing] = {}

    def login(self, pin: bytearray) -> None:
        """Log in and wipe `pin`; raises `PinIncorrect`, `PinLocked` or another `HsmError`."""
        secret = Pin(pin)
        try:
            with translated(f"logging in to token {self.info.label!a}"):
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
            with suppress(HsmError), translated("closing a session"):
                self._sessions.pop().close()
        with suppress(HsmError):
            self._module.finalize()

    def inventory(self) -> Inventory:
        """Give all that is in the token; an empty answer of a token that vanished is `TokenMissing`."""
        session = self._session
        try:
            with translated("reading the token"):
                objects = [_read(item) for item in session.get_objects({})]
        except TokenFault:
            return self._inventory_by_class()
        if not objects:
            self._see_that_the_token_is_there()
        return assemble(self.info, objects)

    def _inventory_by_class(self) -> Inventory:
        """Give what is in a token beside an object without a class, which nobody can use and the binding not list."""
        session = self._session
        with translated("reading the token"):
            objects = [_read(item) for kind in ObjectClass for item in session.get_objects({Attribute.CLASS: kind})]
        found = assemble(self.info, objects)
        return replace(found, foreign=(*found.foreign, _NO_CLASS))

    def _see_that_the_token_is_there(self) -> None:
        # Searches on a token that was taken away find nothing and report no error.
        with translated("looking whether the token is still there"):
            self._token.slot.get_token()
            self._session.generate_random(64)

    def generate(self, key_id: bytes, label: str, algorithm: Algorithm) -> PublicKey:
        """Make a key pair, read it back, and keep it only if its attributes are those asked for."""
        row = MECHANISMS[algorithm]
        self._require(row)
        if self.holds(key_id):
            raise KeyExists(f"an object with CKA_ID {key_id.hex()} exists; no key was made")
        self._make(row, key_id, label)
        born = self.find(key_id)
        if born.faults or born.public is None:
            self.destroy(key_id)
            raise born.unfit("the token made a key that is not as asked for, and it was destroyed")
        return born.public

    def _make(self, row: MechanismRow, key_id: bytes, label: str) -> None:
        """Make a key pair with all that is asked for; where a module refuses, with other spellings or less."""
        leaner = attributes.LEANER
        if self._module.library_description.startswith(_SHORT_OF_MEMORY):
            leaner = leaner[1:] + leaner[:1]
        refused = []
        for curve, without in product(row.curves, leaner):
            try:
                return self._try(row, curve, key_id, label, without)
            except HsmError as error:
                if error.ckr not in _TEMPLATE_REFUSED or self.holds(key_id):
                    raise
                refused.append(error)
        raise refused[0]

    def _try(self, row: MechanismRow, curve: bytes, key_id: bytes, label: str, without: frozenset[str]) -> None:
        with translated("generating a key"):
            parameters = self._session.create_domain_parameters(
                KeyType(row.key_type), {Attribute.EC_PARAMS: curve}, local=True
            )
            parameters.generate_keypair(
                id=key_id,
                label=label,
                store=True,
                mechanism=Mechanism(row.generate),
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                public_template=_template(attributes.PUBLIC_KEY, without) | {Attribute.PRIVATE: False},
                private_template=_template(attributes.PRIVATE_KEY, without),
            )

    def _require(self, row: MechanismRow) -> None:
        with translated("listing the token's mechanisms"):
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
        with translated("reading a key's attributes"):
            private = _read(privates[0])
            stored = stored_key(private, [_read(item) for item in publics])
        if private.row is not None:
            self._keys[key_id] = cast("_Signing", privates[0]), private.row
        return stored

    def _search(self, key_id: bytes, kind: ObjectClass, session: types.Session | None = None) -> list[types.Object]:
        with translated("searching the token"):
            return list((session or self._session).get_objects({Attribute.CLASS: kind, Attribute.ID: key_id}))

    def sign(self, key_id: bytes, data: bytes, lane: int = 0) -> bytes:
        """Sign whole data: SHA-256 is taken here where the mechanism wants a digest. Each lane has its own session."""
        if key_id not in self._keys:
            self.find(key_id)
        key, row = self._keys[key_id]
        key = self._in_lane(key_id, lane) if lane else key
        with translated("signing"):
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
            with translated("destroying a key"):
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
        with translated("keeping the log's head"):
            if len(found) < _HEADS:
                self._clear_remains()
                self._session.create_object(_head_template(text))
                return
            older, _ = min(found, key=lambda item: item[1].size)
            older[Attribute.LABEL] = text

    def _heads(self, key_id: bytes) -> list[tuple[types.Object, KeptHead]]:
        # Searched anew each time: another process may have written since.
        with translated("looking for the log's head"):
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
        with translated("searching the token"):
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


def _template(values: Mapping[str, bool], without: frozenset[str] = frozenset()) -> dict[Attribute, Any]:
    # LOCAL, ALWAYS_SENSITIVE and NEVER_EXTRACTABLE are the module's to say and may not stand in a template.
    said_by_the_module = {"LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE"}
    asked = {name: DEFAULT if name in without else value for name, value in values.items()}
    return {Attribute[name]: value for name, value in asked.items() if name not in said_by_the_module}
