"""Everything that `coldcred` can refuse, as types with a stable id.

A caller's own mistake is a `ValueError`; what comes from outside and is not acceptable is one of these.
"""

from enum import StrEnum


class ColdcredError(Exception):
    """Root of all refusals of input; `id` is stable and meant for programs."""

    @property
    def id(self) -> str:
        """Stable identifier of the refusal."""
        return "error"


class Malformed(ColdcredError):
    """The bytes are not one of our formats, read strictly; the text says what and where."""

    @property
    def id(self) -> str:
        """Always `malformed`."""
        return "malformed"


class BadSignature(ColdcredError):
    """A signature does not verify under the key that was given."""

    @property
    def id(self) -> str:
        """Always `bad-signature`."""
        return "bad-signature"


class UnknownSigner(ColdcredError):
    """A signed document names a key that is not in the register it must come from."""

    @property
    def id(self) -> str:
        """Always `unknown-signer`."""
        return "unknown-signer"


class CharterExceeded(ColdcredError):
    """What is to be signed, or was signed, lies outside the key's charter (rule R13).

    `bound` is the charter's member that is exceeded, where one is.
    """

    def __init__(self, detail: str, bound: str | None = None) -> None:
        """Say, for a person, what was found, and which member of the charter bounds it."""
        super().__init__(detail)
        self.bound = bound

    @property
    def id(self) -> str:
        """Always `charter-exceeded`."""
        return "charter-exceeded"


class LifetimeExceeded(CharterExceeded):
    """All that lies outside the key's charter is the length of the credential's window."""


class Reason(StrEnum):
    """Why a credential is rejected: closed, numbered in docs/format.md in this order, extended only at the end."""

    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    WRONG_KIND = "wrong-kind"
    UNKNOWN_KEY = "unknown-key"
    WRONG_ALGORITHM = "wrong-algorithm"
    BAD_SIGNATURE = "bad-signature"
    KEY_OUT_OF_VALIDITY = "key-out-of-validity"
    KEY_TAINTED = "key-tainted"
    CHARTER_EXCEEDED = "charter-exceeded"
    WRONG_ISSUER = "wrong-issuer"
    WRONG_AUDIENCE = "wrong-audience"
    SCOPE_MISSING = "scope-missing"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    LIFETIME_TOO_LONG = "lifetime-too-long"
    REVOKED = "revoked"
    STATUS_UNAVAILABLE = "status-unavailable"
    HOLDER_PROOF_MISSING = "holder-proof-missing"
    HOLDER_PROOF_INVALID = "holder-proof-invalid"
    CLOCK_BEHIND_FLOOR = "clock-behind-floor"
    TRUST_EXPIRED = "trust-expired"
    TRUST_MISSING = "trust-missing"
    TRUST_DAMAGED = "trust-damaged"


class Rejected(ColdcredError):
    """A credential was not accepted, for one numbered reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        """Name the rule that was broken and say, for a person, what was found."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    @property
    def id(self) -> str:
        """The reason's id."""
        return self.reason.value


class BundleReason(StrEnum):
    """Why a rotation bundle, or the making of a trust store, is refused: closed, numbered in docs/format.md."""

    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    ROOT_MISMATCH = "root-mismatch"
    BAD_SIGNATURE = "bad-signature"
    ROLLBACK = "rollback"
    OTHER_SITE = "other-site"
    OTHER_APPLIANCE = "other-appliance"
    EXPIRED = "expired"
    CLOCK_BEHIND_FLOOR = "clock-behind-floor"
    INCOMPLETE = "incomplete"
    PLAN_UNSAFE = "plan-unsafe"
    STORE_EXISTS = "store-exists"
    STORE_MISSING = "store-missing"
    STORE_DAMAGED = "store-damaged"
    STORE_UNWRITABLE = "store-unwritable"
    FAST_FORWARD = "fast-forward"
    LOG_UNPROVEN = "log-unproven"
    LOG_FORKED = "log-forked"
    OTHER_LOG = "other-log"


class BundleRefused(ColdcredError):
    """A bundle was refused; nothing of it was stored."""

    def __init__(self, reason: BundleReason, detail: str) -> None:
        """Name the rule that was broken and say, for a person, what was found."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    @property
    def id(self) -> str:
        """The reason's id."""
        return self.reason.value


class LogContradicted(BundleRefused):
    """A bundle was refused for its log; `held` and `found` are the bundles: number and signed checkpoint."""

    def __init__(self, reason: BundleReason, detail: str, *, held: tuple[int, bytes], found: tuple[int, bytes]) -> None:
        """Name the rule, say what was found, and hand over both checkpoints, each with the number of its bundle."""
        super().__init__(reason, detail)
        self.held = held
        self.found = found


class LogReason(StrEnum):
    """Why a log, an export or a proof is not believed: closed, numbered in docs/format.md."""

    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    WRONG_SEQUENCE = "wrong-sequence"
    BROKEN_CHAIN = "broken-chain"
    TIME_WENT_BACK = "time-went-back"
    WRONG_ROOT = "wrong-root"
    BAD_PROOF = "bad-proof"
    BAD_CHECKPOINT = "bad-checkpoint"
    UNKNOWN_SIGNER = "unknown-signer"
    BAD_COMMAND = "bad-command"
    TOO_FEW_PEOPLE = "too-few-people"
    WRONG_KEY = "wrong-key"
    MISSING_BLOB = "missing-blob"
    INCOMPLETE = "incomplete"


class LogRejected(ColdcredError):
    """A log or a proof was not believed; `seq` names the first bad entry where there is one."""

    def __init__(self, reason: LogReason, detail: str, seq: int | None = None) -> None:
        """Name the rule that was broken, what was found, and the entry (from 0) it was found at."""
        where = "" if seq is None else f" at entry {seq}"
        super().__init__(f"{reason}{where}: {detail}")
        self.reason = reason
        self.detail = detail
        self.seq = seq

    @property
    def id(self) -> str:
        """The reason's id."""
        return self.reason.value
