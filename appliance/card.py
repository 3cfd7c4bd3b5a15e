"""A person's own key on a PKCS#11 card: it signs what people sign and never leaves the card.

A card is a token of the person's own, named by a URI that also names its module. The key is born there under the label
of an operator's charter (rule R13). A worker process of its own holds the card, reads each signing input whole and
refuses what no operator signs; each signature is verified under the public key that was read when the card was opened.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Self

from appliance import modulefile
from appliance.identity import Identity
from coldcred.charter import OperatorCharter, Purpose, label
from coldcred.errors import Malformed
from coldcred.keys import Algorithm, PublicKey
from hsm import errors as causes
from hsm.environment import is_known
from hsm.errors import HsmError
from hsm.keystore import Inventory, KeyOrder, StoredKey
from hsm.supervisor import WorkerKeyStore
from hsm.uri import KeyUri

SECONDS = 30.0
"""For one request: a smart card takes its time to make a key."""
KEY_ID_BYTES = 16

AskPin = Callable[[str], bytearray]
"""Asks for the PIN of a card, told which card and by which module."""

Allow = Callable[[str], bool]
"""Says whether a module that lies where none is installed may be loaded."""

_LABELS = MappingProxyType({label(OperatorCharter(algorithm)): OperatorCharter(algorithm) for algorithm in Algorithm})


class CardFault(StrEnum):
    """What can be wrong with a card: closed."""

    URI = "card-uri"
    MODULE = "card-module"
    MODULE_OPEN = "card-module-open"
    MODULE_NEW = "card-module-new"
    MISSING = "card-missing"
    AMBIGUOUS = "card-ambiguous"
    WRONG_PIN = "card-wrong-pin"
    LOCKED = "card-pin-locked"
    NO_KEY = "card-no-key"
    MANY_KEYS = "card-many-keys"
    HAS_KEY = "card-has-key"
    EXPOSED = "card-key-exposed"
    NOT_ITS_OWN = "card-of-appliance"
    UNABLE = "card-unable"
    REFUSED = "card-refused"
    DAMAGED = "card-damaged"
    LOST = "card-lost"
    FAULT = "card-fault"
    UNFIT = "card-key-unfit"


# A key that is not there any more, or a second login, means that the card went away after it was opened.
_FAULTS: Mapping[type[HsmError], CardFault] = MappingProxyType(
    {
        causes.ModuleMissing: CardFault.MODULE,
        causes.TokenMissing: CardFault.MISSING,
        causes.TokenAmbiguous: CardFault.AMBIGUOUS,
        causes.PinIncorrect: CardFault.WRONG_PIN,
        causes.PinLocked: CardFault.LOCKED,
        causes.KeyAmbiguous: CardFault.MANY_KEYS,
        causes.KeyExists: CardFault.HAS_KEY,
        causes.KeyExposed: CardFault.EXPOSED,
        causes.KeyUnfit: CardFault.UNFIT,
        causes.MechanismMissing: CardFault.UNABLE,
        causes.CharterRefused: CardFault.REFUSED,
        causes.SignatureWrong: CardFault.DAMAGED,
        causes.KeyMismatch: CardFault.DAMAGED,
        causes.KeyMissing: CardFault.LOST,
        causes.PinMissing: CardFault.LOST,
        causes.WorkerLost: CardFault.LOST,
        causes.WorkerTimeout: CardFault.LOST,
    }
)
# What modules answer about a card that was there a moment ago: its handles are gone with it.
_GONE = frozenset(
    {
        "CKR_DEVICE_REMOVED",
        "CKR_KEY_HANDLE_INVALID",
        "CKR_OBJECT_HANDLE_INVALID",
        "CKR_SESSION_CLOSED",
        "CKR_SESSION_HANDLE_INVALID",
    }
)


class CardError(Exception):
    """A card cannot be used; nothing was signed."""

    def __init__(self, fault: CardFault, detail: str) -> None:
        """Name the fault and say what was found."""
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail

    @property
    def id(self) -> str:
        """The fault's id."""
        return self.fault.value

    @classmethod
    def of(cls, error: HsmError) -> Self:
        """Say of a person's card what the HSM's floor says of any token."""
        fault = CardFault.LOST if error.ckr in _GONE else _FAULTS.get(type(error), CardFault.FAULT)
        return cls(fault, str(error))


@dataclass(frozen=True, slots=True)
class Card:
    """An open card: who can sign by it. `close` logs out."""

    identity: Identity
    _store: WorkerKeyStore = field(repr=False)

    def close(self) -> None:
        """Log out and end the process that holds the card."""
        self._store.close()


@dataclass(frozen=True, slots=True)
class _Hand:
    """The private half on the card."""

    store: WorkerKeyStore
    key_id: bytes

    def sign(self, data: bytes, /) -> bytes:
        (answer,) = self.store.sign(self.key_id, [data])
        if isinstance(answer, HsmError):
            raise CardError.of(answer) from answer
        return answer


class _Once:
    """A PIN that is asked for one time: a card that went away and came back is not opened unasked."""

    def __init__(self, ask: AskPin, named: KeyUri) -> None:
        self._ask: AskPin | None = ask
        token = named.token
        told = [] if token.token is None else [token.token]
        told += [] if token.serial is None else [f"serial {token.serial}"]
        self._what = f"{', '.join(told)}, by {token.module}"

    def __call__(self) -> bytearray:
        ask, self._ask = self._ask, None
        if ask is None:
            raise causes.PinMissing("the card went away while it was in use")
        return ask(self._what)


def open_card(uri: str, pin: AskPin, environment: Mapping[str, str], allow: Allow) -> Card:
    """Open the card that `uri` names and find the one operator's key on it; raises `CardError`.

    Of `environment` the module is given the variables by which it finds its cards, and no others. A module that others
    may write is never loaded, one that lies where none is installed only if `allow` says so. The array that `pin`
    returns is wiped.
    """
    named = _parse(uri)
    store = _store(named, pin, environment, allow)
    try:
        stored = _the_key(store.inventory(), named)
        public = _public(stored)
        store.admit(stored.key_id, _LABELS[stored.label], public)
    except HsmError as error:
        store.close()
        raise CardError.of(error) from error
    except BaseException:
        store.close()
        raise
    return Card(Identity(public, _Hand(store, stored.key_id)), store)


def make_key(
    uri: str,
    algorithm: Algorithm,
    pin: AskPin,
    environment: Mapping[str, str],
    allow: Allow,
    random: Callable[[int], bytes],
) -> tuple[PublicKey, str]:
    """Make an operator's key on the card that `uri` names, and give its public half and the URI of the key.

    A card that has one already gets another only under an `id` of its own in the URI. Raises `CardError`.
    """
    named = _parse(uri)
    store = _store(named, pin, environment, allow)
    try:
        standing = _operators_keys(store.inventory())
        if standing and named.key_id is None:
            detail = f"the card holds an operator's key ({_ids(standing)}); name another by id= in the URI"
            raise CardError(CardFault.HAS_KEY, detail)
        key_id = named.key_id or random(KEY_ID_BYTES)
        public = store.generate(KeyOrder(key_id, OperatorCharter(algorithm)))
    except HsmError as error:
        raise CardError.of(error) from error
    finally:
        store.close()
    return public, KeyUri(named.token, key_id).format()


def _parse(uri: str) -> KeyUri:
    try:
        named = KeyUri.parse(uri)
    except Malformed as error:
        raise CardError(CardFault.URI, str(error)) from error
    if named.token.module is None:
        detail = "the URI of a card names its module: ?module-path=/usr/lib/NAME.so at the end"
        raise CardError(CardFault.URI, detail)
    return named


def _store(named: KeyUri, pin: AskPin, environment: Mapping[str, str], allow: Allow) -> WorkerKeyStore:
    variables = {name: value for name, value in sorted(environment.items()) if is_known(name)}
    module = named.token.module or ""
    _check_module(Path(module), allow)
    return WorkerKeyStore(module, named.token, _Once(pin, named), environment=variables, timeout=SECONDS)


def _check_module(path: Path, allow: Allow) -> None:
    """See that a module may be loaded, before any of its code runs; `CardError`."""
    if fault := modulefile.fault(path):
        raise CardError(CardFault.MODULE_OPEN, fault)
    if not modulefile.is_known(path) and path.exists() and not allow(str(path)):
        raise CardError(CardFault.MODULE_NEW, f"{path} lies where no modules are installed, and nobody vouched for it")


def _operators_keys(inventory: Inventory) -> list[StoredKey]:
    """Give the operators' keys of a token; one that holds keys of an appliance is nobody's card.

    Whoever runs that appliance has the PIN, and would sign as the person.
    """
    for key in inventory.keys:
        if not key.label.startswith(f"{Purpose.OPERATOR}-"):
            detail = f"token {inventory.token.label!a} holds the key {key.label}, which is an appliance's"
            raise CardError(CardFault.NOT_ITS_OWN, detail)
    return [key for key in inventory.keys if key.label in _LABELS]


def _the_key(inventory: Inventory, named: KeyUri) -> StoredKey:
    keys = [key for key in _operators_keys(inventory) if named.key_id in {None, key.key_id}]
    if not keys:
        wanted = "" if named.key_id is None else f" with id {named.key_id.hex()}"
        raise CardError(CardFault.NO_KEY, f"token {inventory.token.label!a} holds no operator's key{wanted}")
    if len(keys) > 1:
        detail = f"{len(keys)} operators' keys are on the card ({_ids(keys)}); name one by id= in the URI"
        raise CardError(CardFault.MANY_KEYS, detail)
    return keys[0]


def _public(stored: StoredKey) -> PublicKey:
    if stored.public is None:
        raise CardError.of(stored.unfit(f"key {stored.key_id.hex()}"))
    return stored.public


def _ids(keys: Iterable[StoredKey]) -> str:
    return ", ".join("".join(f"%{octet:02X}" for octet in key.key_id) for key in keys)
