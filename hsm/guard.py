"""A key signs only what its charter allows: the guard between a token and whoever asks it to sign (rule R13).

It runs in the worker process, beyond the engine's reach, and in the tests' in-memory store.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coldcred.charter import KeyCharter, label
from coldcred.keys import PublicKey
from hsm import charter as charters
from hsm.errors import CharterRefused, HsmError, KeyExposed, KeyMismatch, Reaction
from hsm.keystore import CharterMemory, Inventory, KeyOrder, KeyToken

_GOES_ON = frozenset({Reaction.REFUSE, Reaction.RETRY})


@dataclass(slots=True)
class _Admitted:
    charter: KeyCharter
    public: PublicKey
    memory: CharterMemory


class GuardedKeys:
    """A token whose keys are bound to charters; one thread, as `KeyToken`."""

    def __init__(self, token: KeyToken) -> None:
        """Guard `token`, which is logged in; nothing is admitted yet."""
        self._token = token
        self._admitted: dict[bytes, _Admitted] = {}

    def inventory(self) -> Inventory:
        """Give all that is in the token."""
        return self._token.inventory()

    def generate(self, order: KeyOrder) -> PublicKey:
        """Make a key under the label that binds it to its charter."""
        return self._token.generate(order.key_id, label(order.charter), order.charter.algorithm)

    def admit(self, key_id: bytes, charter: KeyCharter, public: PublicKey, memory: CharterMemory) -> None:
        """Bind a key to the charter it was born with; see `KeyStore.admit`."""
        found = self._token.find(key_id)
        if found.label != label(charter):
            raise CharterRefused(
                f"key {key_id.hex()} was born with another charter (its label is {found.label[:48]!a})"
            )
        if found.faults:
            raise KeyExposed(f"key {key_id.hex()}: {'; '.join(found.faults)}")
        if public.algorithm is not charter.algorithm or found.public != public:
            raise KeyMismatch(f"key {key_id.hex()} is not pinned key {public.thumbprint}")
        known = self._admitted.get(key_id)
        if known is not None:
            memory = charters.merge(known.memory, memory)
        self._admitted[key_id] = _Admitted(charter, public, memory)

    def sign(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        """Check each input against the charter, then sign it; a fault that needs a new worker ends the batch."""
        admitted = self._admitted.get(key_id)
        if admitted is None:
            message = f"key {key_id.hex()} was not admitted with a charter"
            return [CharterRefused(message) for _ in inputs]
        answers: list[bytes | HsmError] = []
        for data in inputs:
            try:
                answers.append(self._sign(admitted, key_id, data))
            except HsmError as error:
                answers.append(error)
                if error.reaction not in _GOES_ON:
                    # Nothing more goes to the token: the rest was certainly not signed.
                    answers += [error] * (len(inputs) - len(answers))
                    break
        return answers

    def _sign(self, admitted: _Admitted, key_id: bytes, data: bytes) -> bytes:
        # The memory moves before the token is asked: after a fault nobody knows whether a signature was made.
        admitted.memory = charters.check(admitted.charter, data, admitted.memory, kid=admitted.public.thumbprint)
        return self._token.sign(key_id, data)

    def destroy(self, key_id: bytes) -> None:
        """Destroy a key and forget its charter."""
        self._token.destroy(key_id)
        self._admitted.pop(key_id, None)

    def holds(self, key_id: bytes) -> bool:
        """Whether any object has this CKA_ID."""
        return self._token.holds(key_id)

    def close(self) -> None:
        """Log out."""
        self._admitted.clear()
        self._token.close()
