"""A key signs only what its charter allows: the guard between a token and whoever asks it to sign (rule R13).

It runs in the worker process, beyond the engine's reach, and in the tests' in-memory store.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from coldcred.charter import KeyCharter, LogCharter, label
from coldcred.errors import LogRejected, Malformed
from coldcred.jose import Header
from coldcred.keys import PublicKey
from coldcred.log.note import Checkpoint
from coldcred.log.tree import verify_consistency
from hsm import charter as charters
from hsm.errors import CharterRefused, HeadRefused, HsmError, KeyMismatch, MechanismMissing, Reaction, TokenFault
from hsm.heads import KeptHead
from hsm.keystore import LANES, CharterMemory, Inventory, KeyOrder, KeyToken

_WORTH_A_LANE = 8
_GOES_ON = frozenset({Reaction.REFUSE, Reaction.RETRY})


@dataclass(slots=True)
class _Admitted:
    charter: KeyCharter
    public: PublicKey
    memory: CharterMemory
    headers: Mapping[bytes, Header]
    until: int | None = None
    kept: KeptHead | None = None
    in_token: bool = True


def _checked(admitted: _Admitted, data: bytes, now: int) -> bytes | HsmError:
    """Give an input that lies within the charter, or the refusal.

    The memory moves before the token is asked: after a fault nobody knows whether a signature was made.
    """
    try:
        memory = charters.check(
            admitted.charter,
            data,
            admitted.memory,
            kid=admitted.public.thumbprint,
            read=admitted.headers,
            until=admitted.until,
            now=now,
        )
    except CharterRefused as refused:
        return refused
    if isinstance(admitted.charter, LogCharter) and admitted.kept != KeptHead(memory.log_size, memory.log_root or b""):
        return HeadRefused("the log key signs the head that was kept last, and no other")
    admitted.memory = memory
    return data


def _check_grown(kept: KeptHead, head: KeptHead, proof: Sequence[bytes]) -> None:
    try:
        verify_consistency(proof, old_size=kept.size, old_root=kept.root, new_size=head.size, new_root=head.root)
    except LogRejected as error:
        detail = f"{head.size} entries are not proven to have grown from the {kept.size} that are kept"
        raise HeadRefused(f"{detail}: {error.detail}") from error


def _head(charter: LogCharter, checkpoint: bytes) -> KeptHead:
    try:
        found = Checkpoint.parse(checkpoint)
    except Malformed as error:
        raise CharterRefused(str(error)) from error
    if found.origin != charter.origin:
        raise CharterRefused(f"the key's charter signs checkpoints of {charter.origin}")
    return KeptHead(found.size, found.root)


class _Batch:
    """One batch of one key, as far as its lanes share it: after a fault that ends it none of them goes on."""

    def __init__(self, token: KeyToken, key_id: bytes) -> None:
        self._token, self._key_id = token, key_id
        self._ended: HsmError | None = None

    def sign(self, inputs: Sequence[bytes | HsmError], lane: int) -> list[bytes | HsmError]:
        """Sign what was found within the charter, one after the other; refusals stay."""
        return [data if isinstance(data, HsmError) else self._sign(data, lane) for data in inputs]

    def _sign(self, data: bytes, lane: int) -> bytes | HsmError:
        if self._ended is not None:
            # Nothing more goes to the token: the rest was certainly not signed.
            return self._ended
        try:
            return self._token.sign(self._key_id, data, lane)
        except HsmError as error:
            if error.reaction not in _GOES_ON:
                self._ended = error
            return error


class GuardedKeys:
    """A token whose keys are bound to charters; one thread calls it, and its own lanes call the token."""

    def __init__(self, token: KeyToken, clock: Callable[[], int]) -> None:
        """Guard `token`, which is logged in; nothing is admitted yet. `clock` gives Unix seconds."""
        self._token = token
        self._clock = clock
        self._admitted: dict[bytes, _Admitted] = {}
        self._others = ThreadPoolExecutor(LANES - 1, "lane")

    def inventory(self) -> Inventory:
        """Give all that is in the token."""
        return self._token.inventory()

    def generate(self, order: KeyOrder) -> PublicKey:
        """Make a key under the label that binds it to its charter."""
        return self._token.generate(order.key_id, label(order.charter), order.charter.algorithm)

    def admit(
        self, key_id: bytes, charter: KeyCharter, public: PublicKey, memory: CharterMemory, until: int | None = None
    ) -> None:
        """Bind a key to the charter it was born with; see `KeyStore.admit`."""
        found = self._token.find(key_id)
        if found.label != label(charter):
            raise CharterRefused(
                f"key {key_id.hex()} was born with another charter (its label is {found.label[:48]!a})"
            )
        if found.faults:
            raise found.unfit(f"key {key_id.hex()}")
        if public.algorithm is not charter.algorithm or found.public != public:
            raise KeyMismatch(f"key {key_id.hex()} is not pinned key {public.thumbprint}")
        known = self._admitted.get(key_id)
        if known is not None:
            memory = charters.merge(known.memory, memory)
        kept = None if known is None else known.kept
        headers = charters.headers(charter, public.thumbprint)
        self._admitted[key_id] = _Admitted(charter, public, memory, headers, until, kept)

    def sign(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        """Check each input against the charter, then sign those within it; a fault that needs a new worker ends it.

        Signing goes by several lanes where the batch is worth it. Reading does not: two readers would only wait for
        the interpreter's lock.
        """
        admitted = self._admitted.get(key_id)
        if admitted is None:
            message = f"key {key_id.hex()} was not admitted with a charter"
            return [CharterRefused(message) for _ in inputs]
        now = self._clock()
        checked = [_checked(admitted, data, now) for data in inputs]
        batch = _Batch(self._token, key_id)
        if len(checked) < LANES * _WORTH_A_LANE:
            return batch.sign(checked, 0)
        each = -(-len(checked) // LANES)
        others = [
            self._others.submit(batch.sign, checked[lane * each : (lane + 1) * each], lane) for lane in range(1, LANES)
        ]
        answers = batch.sign(checked[:each], 0)
        for other in others:
            answers += other.result()
        return answers

    def kept(self, key_id: bytes) -> KeptHead | None:
        """Give the newest head that the token, or this process, keeps for an admitted log key; see `KeyStore.kept`."""
        admitted, _ = self._log_key(key_id)
        found, own = self._held(key_id), admitted.kept
        return own if found is None or (own is not None and own.size > found.size) else found

    def keep(self, key_id: bytes, checkpoint: bytes, proof: Sequence[bytes]) -> bool:
        """Keep a head that is proven to have grown from the one that is kept; see `KeyStore.keep`."""
        admitted, charter = self._log_key(key_id)
        head, kept = _head(charter, checkpoint), self.kept(key_id)
        if kept is not None:
            _check_grown(kept, head, proof)
        if self._held(key_id) != head and admitted.in_token:
            admitted.in_token = self._write(key_id, head)
        admitted.kept = head
        return admitted.in_token

    def _write(self, key_id: bytes, head: KeptHead) -> bool:
        """Write a head into the token; False where the token takes no first one, which it is not asked again."""
        try:
            self._token.keep(key_id, head)
        except (TokenFault, MechanismMissing) as error:
            # By which code a module says so is its own affair: tpm2-pkcs11 gives the general error.
            if error.ckr is None or self._held(key_id) is not None:
                raise
            return False
        return True

    def _held(self, key_id: bytes) -> KeptHead | None:
        try:
            return self._token.kept(key_id)
        except HsmError as error:
            if error.reaction is not Reaction.REFUSE:
                raise  # nobody knows what it keeps, and "nothing" would let an older copy start
            return None  # a module that knows no data objects

    def _log_key(self, key_id: bytes) -> tuple[_Admitted, LogCharter]:
        admitted = self._admitted.get(key_id)
        if admitted is None or not isinstance(admitted.charter, LogCharter):
            raise CharterRefused(f"key {key_id.hex()} was not admitted as a log key")
        return admitted, admitted.charter

    def destroy(self, key_id: bytes) -> None:
        """Destroy a key and forget its charter."""
        self._token.destroy(key_id)
        self._admitted.pop(key_id, None)

    def holds(self, key_id: bytes) -> bool:
        """Whether any object has this CKA_ID."""
        return self._token.holds(key_id)

    def close(self) -> None:
        """Log out."""
        self._others.shutdown()
        self._admitted.clear()
        self._token.close()
