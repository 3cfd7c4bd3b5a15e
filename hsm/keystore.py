"""The seam between the appliance and its keys: what a key store promises, whatever stands behind it.

Inputs to `sign` are whole, never digests, so that whoever holds the key can read what it signs. A key signs only
after it was admitted with its charter (rule R13) and the public key pinned in authority.

Threads: every method of a `KeyStore` may be called from any thread; calls are served one after the other. They block
for as long as the token takes, so an event loop calls them in an executor.

Durability: `generate` and `destroy` return after the module reports success and the object was read back. A module
may still lose either at a power cut (SoftHSM does not sync), so a start compares the inventory with the log (R14).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from coldcred.charter import KeyCharter
from coldcred.errors import BadSignature
from coldcred.keys import Algorithm, PublicKey
from hsm.errors import HsmError, KeyExposed, KeyUnfit, SignatureWrong
from hsm.heads import KeptHead

KEY_ID = 32
TOKEN_LABEL = 32
"""Most bytes of a CKA_ID of ours, and of a token's label (CK_TOKEN_INFO)."""
LANES = 2
"""Inputs of a batch that are at the token at once."""
MAX_INPUTS = 1024
MAX_BATCH = 8 * 1024 * 1024
MAX_PROOF = 128
"""Most hashes of a consistency proof: two for each bit of a size."""


@dataclass(frozen=True, slots=True)
class CharterMemory:
    """What a key has signed so far, as far as its charter asks: largest log size and its root; versions by role."""

    log_size: int = 0
    log_root: bytes | None = None
    versions: tuple[tuple[str, int], ...] = ()


NOTHING_SIGNED = CharterMemory()
"""The memory of a key that is new."""


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """A key to be made: its CKA_ID (1 to 32 bytes, chosen and logged before) and the charter it is born with."""

    key_id: bytes
    charter: KeyCharter

    def __post_init__(self) -> None:
        """Refuse an empty or overlong CKA_ID, the caller's mistake."""
        check_key_id(self.key_id)


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What a token says of itself, padding removed."""

    label: str
    serial: str
    manufacturer: str
    model: str


@dataclass(frozen=True, slots=True)
class Slots:
    """What a module's slots hold: every initialised token, and one line for each slot that could not be read."""

    tokens: tuple[TokenInfo, ...]
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key pair found in the token; `faults` says, for people, what it is not as it was born. Empty means sound.

    `algorithm` and `public` are None where the token holds no readable public key of ours for it. `exposed` says
    whether a fault is one by which the key could leave the token, or need not have been born there.
    """

    key_id: bytes
    label: str
    algorithm: Algorithm | None
    public: PublicKey | None
    faults: tuple[str, ...] = ()
    exposed: bool = False

    def unfit(self, named: str) -> HsmError:
        """Give the error that tells of its faults, with the name that people know it by."""
        cause = KeyExposed if self.exposed else KeyUnfit
        return cause(f"{named}: {'; '.join(self.faults)}")


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that the token holds: keys under a label of ours, and everything else in one line each.

    `heads` has the CKA_ID of the log key of each head that is kept there.
    """

    token: TokenInfo
    keys: tuple[StoredKey, ...]
    foreign: tuple[str, ...]
    heads: tuple[bytes, ...] = ()


class KeyStore(Protocol):
    """Keys that never leave where they are."""

    def inventory(self) -> Inventory:
        """Read the token anew and give all that is in it, attribute faults included; raises `HsmError`."""
        ...

    def generate(self, order: KeyOrder) -> PublicKey:
        """Make a key pair under its charter's label and give the public half, read back; raises `HsmError`."""
        ...

    def admit(
        self,
        key_id: bytes,
        charter: KeyCharter,
        public: PublicKey,
        memory: CharterMemory = NOTHING_SIGNED,
        until: int | None = None,
    ) -> None:
        """Let a key sign within `charter`, and pin `public`; a log key signs what `keep` took last, and nothing else.

        From `until` on (Unix seconds) it signs nothing; a key of credentials none that ends later (R41).

        `memory` is what the log says it has signed. Admitting again is allowed and can only raise the memory.

        Raises `CharterRefused` when the key was not born with this charter, `KeyMissing`, `KeyAmbiguous`,
        `KeyExposed` or `KeyUnfit` (its faults), `KeyMismatch` (another public key), or another `HsmError`.
        """
        ...

    def kept(self, key_id: bytes) -> KeptHead | None:
        """Give the newest head of its log that is kept beside an admitted log key, or None; raises `HsmError`."""
        ...

    def keep(self, key_id: bytes, checkpoint: bytes, proof: Sequence[bytes]) -> bool:
        """Keep the head that a checkpoint's text says, which is proven to have grown from what is `kept` (R33).

        From here on the log key signs this text and no other. Says whether the token keeps it: a module that takes no
        data objects leaves it to the worker's memory.

        Raises `CharterRefused` where the text is not of this key's log, `HeadRefused` where the proof (RFC 9162) does
        not lead from the kept head to this one, or another `HsmError`.
        """
        ...

    def destroy(self, key_id: bytes) -> None:
        """Destroy a key pair, or what is there of one, and see in the token read anew that it is gone (`KeyRemains`).

        `KeyMissing` when nothing has the CKA_ID, `KeyAmbiguous` when it is not one pair; raises `HsmError`.
        """
        ...

    def sign(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        """Sign each input; the answers stand in the inputs' order, each a signature of 64 bytes or its error.

        A signature given here was verified against the pinned public key. A fault of the worker or the token stands
        at every place it concerns; nothing is tried twice, so an input whose answer is `WorkerLost` or
        `WorkerTimeout` may or may not have been signed. Never raises `HsmError`; more than `MAX_INPUTS` inputs or
        `MAX_BATCH` bytes is the caller's mistake (`ValueError`).
        """
        ...

    def sign_unverified(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        """Sign as `sign` does, without verifying: for a caller that verifies each signature itself before use."""
        ...

    def signed_wrongly(self) -> None:
        """Take word from that caller that a signature does not verify: what gave it is replaced, as `sign` would."""
        ...

    def close(self) -> None:
        """Log out and leave no process behind; every later call is answered `WorkerLost`."""
        ...


class KeyToken(Protocol):
    """A token as the guard sees it: keys without charters; every method raises `HsmError`. `sign` alone has lanes."""

    def inventory(self) -> Inventory:
        """Give all that is in the token."""
        ...

    def generate(self, key_id: bytes, label: str, algorithm: Algorithm) -> PublicKey:
        """Make a key pair; `KeyExists` when an object has the CKA_ID.

        `KeyExposed` or `KeyUnfit` when it is not born as asked.
        """
        ...

    def find(self, key_id: bytes) -> StoredKey:
        """Give the one key of this CKA_ID: `KeyMissing`, `KeyAmbiguous`."""
        ...

    def sign(self, key_id: bytes, data: bytes, lane: int = 0) -> bytes:
        """Sign the whole `data` with the key that `find` gave last; threads of different lanes may sign at once."""
        ...

    def destroy(self, key_id: bytes) -> None:
        """Destroy the one key of this CKA_ID and its public half, or either alone: `KeyMissing`, `KeyAmbiguous`."""
        ...

    def holds(self, key_id: bytes) -> bool:
        """Whether any object has this CKA_ID."""
        ...

    def kept(self, key_id: bytes) -> KeptHead | None:
        """Give the newest head that objects of this log key say."""
        ...

    def keep(self, key_id: bytes, head: KeptHead) -> None:
        """Have an object say this head; the one that says the newest so far stays as it is."""
        ...

    def close(self) -> None:
        """Log out."""
        ...


def check_key_id(key_id: bytes) -> None:
    """Refuse a CKA_ID that is empty or longer than 32 bytes (`ValueError`)."""
    if not 1 <= len(key_id) <= KEY_ID:
        raise ValueError(f"a CKA_ID of {len(key_id)} bytes")


def check_batch(inputs: Sequence[bytes]) -> None:
    """Refuse a batch that no frame can carry (`ValueError`)."""
    if len(inputs) > MAX_INPUTS or sum(map(len, inputs)) > MAX_BATCH:
        raise ValueError(f"a batch is at most {MAX_INPUTS} inputs and {MAX_BATCH} bytes")


def verified(public: PublicKey, inputs: Sequence[bytes], answers: Sequence[bytes | HsmError]) -> list[bytes | HsmError]:
    """Replace each signature that does not verify under `public` by `SignatureWrong`.

    One flipped bit in a key file makes SoftHSM sign wrongly without any error, so no signature passes unseen.
    """
    return [
        answer if isinstance(answer, HsmError) else _verified(public, data, answer)
        for data, answer in zip(inputs, answers, strict=True)
    ]


def _verified(public: PublicKey, data: bytes, signature: bytes) -> bytes | HsmError:
    try:
        public.verify(signature, data)
    except BadSignature:
        return SignatureWrong(f"the token's signature does not verify under pinned key {public.thumbprint}")
    return signature
