"""A key store in memory: real keys, the product's own charter checks, and faults on request. For tests only.

store = FakeKeyStore()
public = store.generate(KeyOrder(key_id, charter))
store.admit(key_id, charter, public)
store.fail_next(WorkerLost("the worker went away"))         # every input of the next batch is answered so
store.signed                                                # (CKA_ID, input) of each signature really made
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from coldcred.charter import KeyCharter
from coldcred.keys import COORDINATE, Algorithm, PublicKey
from hsm.errors import (
    HsmError,
    KeyAmbiguous,
    KeyExists,
    KeyMissing,
    MechanismMissing,
    Reaction,
    TokenFault,
    WorkerLost,
)
from hsm.guard import GuardedKeys
from hsm.heads import KeptHead
from hsm.keystore import (
    NOTHING_SIGNED,
    CharterMemory,
    Inventory,
    KeyOrder,
    StoredKey,
    TokenInfo,
    check_batch,
    check_key_id,
    verified,
)

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class _Held:
    stored: StoredKey
    private: Private


class MemoryToken:
    """A `KeyToken` of `cryptography` keys; tests reach into `held` and `foreign` to spoil it."""

    def __init__(self, mechanisms: frozenset[Algorithm] = frozenset(Algorithm), label: str = "memory") -> None:
        """Make an empty token that can do `mechanisms`."""
        self.info = TokenInfo(label, "0000000000000001", "tests", "memory")
        self.mechanisms = mechanisms
        self.held: list[_Held] = []
        self.foreign: list[str] = []
        self.heads: dict[bytes, KeptHead] = {}
        self.signed: list[tuple[bytes, bytes]] = []

    def inventory(self) -> Inventory:
        """Give all that is in the token."""
        keys = tuple(held.stored for held in self.held)
        return Inventory(self.info, keys, tuple(self.foreign), tuple(self.heads))

    def generate(self, key_id: bytes, label: str, algorithm: Algorithm) -> PublicKey:
        """Make a key pair."""
        if algorithm not in self.mechanisms:
            raise MechanismMissing(f"token {self.info.label!a} has no mechanism for {algorithm} keys")
        if self.holds(key_id):
            raise KeyExists(f"an object with CKA_ID {key_id.hex()} exists; no key was made")
        private: Private
        if algorithm is Algorithm.ED25519:
            private = ed25519.Ed25519PrivateKey.generate()
        else:
            private = ec.generate_private_key(ec.SECP256R1())
        public = PublicKey.from_cryptography(private.public_key())
        self.held.append(_Held(StoredKey(key_id, label, algorithm, public), private))
        return public

    def find(self, key_id: bytes) -> StoredKey:
        """Give the one key of this CKA_ID."""
        return self._one(key_id).stored

    def spoil(self, key_id: bytes, **changes: object) -> None:
        """Replace members of a key's `StoredKey`: label, public, faults."""
        held = self._one(key_id)
        self.held[self.held.index(held)] = replace(held, stored=replace(held.stored, **changes))  # type: ignore[arg-type]  # each is a member of its own

    def sign(self, key_id: bytes, data: bytes, lane: int = 0) -> bytes:  # noqa: ARG002 - all lanes are one here
        """Sign the whole data."""
        private = self._one(key_id).private
        self.signed.append((key_id, data))
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(data)
        r, s = utils.decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(COORDINATE) + s.to_bytes(COORDINATE)

    def destroy(self, key_id: bytes) -> None:
        """Destroy the one key of this CKA_ID."""
        self.held.remove(self._one(key_id))

    def holds(self, key_id: bytes) -> bool:
        """Whether a key has this CKA_ID."""
        return any(held.stored.key_id == key_id for held in self.held)

    def kept(self, key_id: bytes) -> KeptHead | None:
        """Give the head that is kept for a log key."""
        return self.heads.get(key_id)

    def keep(self, key_id: bytes, head: KeptHead) -> None:
        """Keep a head."""
        self.heads[key_id] = head

    def close(self) -> None:
        """Log out: nothing to do."""

    def _one(self, key_id: bytes) -> _Held:
        found = [held for held in self.held if held.stored.key_id == key_id]
        if not found:
            raise KeyMissing(f"the token holds no private key with CKA_ID {key_id.hex()}")
        if len(found) > 1:
            raise KeyAmbiguous(f"{len(found)} private keys have CKA_ID {key_id.hex()}; none is taken")
        return found[0]


class NoData(MemoryToken):
    """A token that takes no data objects."""

    def keep(self, key_id: bytes, head: KeptHead) -> None:  # noqa: ARG002 - refuses any
        """Refuse, as a module without data objects does."""
        raise TokenFault("no such objects", ckr="CKR_ATTRIBUTE_VALUE_INVALID", reaction=Reaction.REFUSE)


class FakeKeyStore:
    """A `KeyStore` over a `MemoryToken`."""

    def __init__(self, token: MemoryToken | None = None, clock: Callable[[], int] = lambda: 0) -> None:
        """Serve `token`, or an empty one; by its own `clock` no key has ended unless one is given."""
        self.token = MemoryToken() if token is None else token
        self._keys = GuardedKeys(self.token, clock)
        self._public: dict[bytes, PublicKey] = {}
        self._faults: list[HsmError | None] = []
        self._closed = False

    @property
    def signed(self) -> list[tuple[bytes, bytes]]:
        """CKA_ID and input of each signature that was really made, in order."""
        return self.token.signed

    def fail_next(self, *faults: HsmError | None) -> None:
        """Answer the next calls by these faults, one call each; None lets a call pass."""
        self._faults += faults

    def inventory(self) -> Inventory:
        """Give all that is in the token."""
        self._meet_fault()
        return self._keys.inventory()

    def generate(self, order: KeyOrder) -> PublicKey:
        """Make a key pair."""
        self._meet_fault()
        return self._keys.generate(order)

    def admit(
        self,
        key_id: bytes,
        charter: KeyCharter,
        public: PublicKey,
        memory: CharterMemory = NOTHING_SIGNED,
        until: int | None = None,
    ) -> None:
        """Let a key sign within its charter."""
        check_key_id(key_id)
        self._meet_fault()
        self._keys.admit(key_id, charter, public, memory, until)
        self._public[key_id] = public

    def destroy(self, key_id: bytes) -> None:
        """Destroy a key pair."""
        check_key_id(key_id)
        self._meet_fault()
        self._keys.destroy(key_id)

    def kept(self, key_id: bytes) -> KeptHead | None:
        """Give the head that is kept for a log key; faults are met by signing."""
        return self._keys.kept(key_id)

    def keep(self, key_id: bytes, checkpoint: bytes, proof: Sequence[bytes]) -> bool:
        """Keep a head."""
        return self._keys.keep(key_id, checkpoint, proof)

    def sign(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        """Sign a batch."""
        answers = self.sign_unverified(key_id, inputs)
        return verified(self._public[key_id], inputs, answers) if key_id in self._public else answers

    def sign_unverified(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        """Sign a batch for a caller that verifies."""
        check_batch(inputs)
        try:
            self._meet_fault()
        except HsmError as error:
            return [error for _ in inputs]
        return self._keys.sign(key_id, inputs)

    def signed_wrongly(self) -> None:
        """Nothing stands between this store and its keys that could be replaced."""

    def close(self) -> None:
        """Answer no more."""
        self._closed = True

    def _meet_fault(self) -> None:
        if self._closed:
            raise WorkerLost("the key store is closed")
        fault = self._faults.pop(0) if self._faults else None
        if fault is not None:
            raise fault
