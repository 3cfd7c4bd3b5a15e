"""What can go wrong with a token, one type per cause, and what to do about each.

`id` is stable and meant for programs; `detail` is a sentence for people and never holds a secret. `ckr` names the
PKCS#11 return code where a module gave one. `reaction` is a class of answers, not an order: the supervisor acts on it
for the worker process, the engine for the appliance.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar


class Reaction(StrEnum):
    """What a fault calls for."""

    RETRY = "retry"  # the worker is sound; the same request may succeed later, when its caller asks again
    RELOGIN = "re-login"  # the login is gone: a new worker logs in with the PIN the engine keeps
    REINITIALISE = "re-initialise"  # handles or the module's view are stale: only a new worker sees the token again
    REFUSE = "refuse"  # this request is wrong or not allowed; the worker is sound and goes on
    STOP = "stop"  # trying again does harm (a counted PIN): nothing more until a person acts


class HsmError(Exception):
    """Root of all faults of tokens and keys."""

    id: ClassVar[str] = "hsm"
    usual_reaction: ClassVar[Reaction] = Reaction.REFUSE

    def __init__(self, detail: str, *, ckr: str | None = None, reaction: Reaction | None = None) -> None:
        """Say what was found; `reaction` replaces the usual one of the type where the code calls for another."""
        super().__init__(detail)
        self.detail = detail
        self.ckr = ckr
        self.reaction = self.usual_reaction if reaction is None else reaction

    def __str__(self) -> str:
        return self.detail if self.ckr is None else f"{self.detail} ({self.ckr})"


class ModuleMissing(HsmError):
    """The PKCS#11 library cannot be loaded or started."""

    id = "module-missing"
    usual_reaction = Reaction.REINITIALISE


class TokenMissing(HsmError):
    """No token matches the URI, or the token went away."""

    id = "token-missing"
    usual_reaction = Reaction.REINITIALISE


class TokenAmbiguous(HsmError):
    """Several tokens match the URI; the first is never taken."""

    id = "token-ambiguous"
    usual_reaction = Reaction.REINITIALISE


class TokenExists(HsmError):
    """A token of that label is already there, so none is initialised."""

    id = "token-exists"


class PinMissing(HsmError):
    """Nobody gave a PIN."""

    id = "pin-missing"
    usual_reaction = Reaction.RELOGIN


class PinIncorrect(HsmError):
    """The token refused the PIN; it is not tried again until another is given."""

    id = "pin-incorrect"
    usual_reaction = Reaction.STOP


class PinLocked(HsmError):
    """The token takes no PIN any more: locked, expired or never set."""

    id = "pin-locked"
    usual_reaction = Reaction.STOP


class PinUnusable(HsmError):
    """A new PIN has a length or characters the token does not take."""

    id = "pin-unusable"


class PinDelayed(HsmError):
    """Too many PINs were refused in a row: none is tried before some time has passed."""

    id = "pin-delayed"
    usual_reaction = Reaction.RELOGIN


class KeyMissing(HsmError):
    """No private key has that CKA_ID. A token that vanished looks the same, so a new worker looks again."""

    id = "key-missing"
    usual_reaction = Reaction.REINITIALISE


class KeyAmbiguous(HsmError):
    """Several private keys share that CKA_ID; the first is never taken."""

    id = "key-ambiguous"


class KeyExists(HsmError):
    """An object has that CKA_ID already, so none is generated."""

    id = "key-exists"


class KeyExposed(HsmError):
    """A key's attributes are not those of a key that was born in the token and cannot leave it."""

    id = "key-exposed"


class KeyUnfit(HsmError):
    """A key cannot leave the token and yet is not as it was made: its use, its curve, its public half, its id."""

    id = "key-unfit"


class KeyMismatch(HsmError):
    """The public key in the token is not the one that is pinned."""

    id = "key-mismatch"


class KeyRemains(HsmError):
    """A destroyed key is still there when the token is read anew."""

    id = "key-remains"


class MechanismMissing(HsmError):
    """The token lacks the mechanism that the algorithm needs."""

    id = "mechanism-missing"


class CharterRefused(HsmError):
    """The signing input lies outside the key's charter, or the key was not admitted with one (rule R13)."""

    id = "charter-refused"


class HeadRefused(HsmError):
    """The checkpoint is not proven to have grown from the head that is kept beside the log key (rule R33)."""

    id = "head-refused"


class SignatureWrong(HsmError):
    """The token's answer does not verify under the pinned key; it was discarded."""

    id = "signature-wrong"
    usual_reaction = Reaction.REINITIALISE


class WorkerLost(HsmError):
    """The worker process ended, or was ended; whether it signed the batch in hand is not known."""

    id = "worker-lost"
    usual_reaction = Reaction.REINITIALISE


class WorkerTimeout(HsmError):
    """The worker gave no answer in time and was killed; whether it signed the batch in hand is not known."""

    id = "worker-timeout"
    usual_reaction = Reaction.REINITIALISE


class TokenFault(HsmError):
    """Any other fault of the module or the token; `ckr` says which and decides the reaction."""

    id = "token-fault"


class ForeignObject(HsmError):
    """A token declared exclusive holds an object that is not ours."""

    id = "foreign-object"
    usual_reaction = Reaction.STOP


CAUSES: Mapping[str, type[HsmError]] = MappingProxyType(
    {
        cause.id: cause
        for cause in (
            ModuleMissing,
            TokenMissing,
            TokenAmbiguous,
            TokenExists,
            PinMissing,
            PinIncorrect,
            PinLocked,
            PinUnusable,
            KeyMissing,
            KeyAmbiguous,
            KeyExists,
            KeyExposed,
            KeyMismatch,
            KeyRemains,
            MechanismMissing,
            CharterRefused,
            SignatureWrong,
            WorkerLost,
            WorkerTimeout,
            TokenFault,
            ForeignObject,
            PinDelayed,
            KeyUnfit,
            HeadRefused,
        )
    }
)
"""Every cause by its id; closed."""
