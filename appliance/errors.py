"""What the appliance refuses, and what can be wrong with a home: types with stable ids, no prose for people."""

from enum import StrEnum


class Refusal(StrEnum):
    """Why a command is not carried out: closed, documented in docs/format.md."""

    MALFORMED = "malformed"
    UNKNOWN_SIGNER = "unknown-signer"
    BAD_SIGNATURE = "bad-signature"
    WRONG_APPLIANCE = "wrong-appliance"
    WRONG_EPOCH = "wrong-epoch"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    NOT_ALLOWED = "not-allowed"
    DENIED = "denied"
    UNKNOWN_REQUEST = "unknown-request"
    UNKNOWN_WORKLOAD = "unknown-workload"
    UNKNOWN_PROFILE = "unknown-profile"
    UNKNOWN_SITE = "unknown-site"
    UNKNOWN_PERSON = "unknown-person"
    UNKNOWN_CREDENTIAL = "unknown-credential"
    ALREADY_EXISTS = "already-exists"
    KEY_IN_USE = "key-in-use"
    REVIEW_OVERDUE = "review-overdue"
    OUTSIDE_PROFILE = "outside-profile"
    CHARTER_EXCEEDED = "charter-exceeded"
    NO_TRUST = "no-trust"
    TRUST_REFUSED = "trust-refused"
    NO_WINDOW = "no-window"
    NO_BUNDLE = "no-bundle"
    LIST_FULL = "list-full"
    KEY_NOT_READY = "key-not-ready"
    HSM_FAULT = "hsm-fault"
    STORAGE_FAULT = "storage-fault"
    CLOCK_FAULT = "clock-fault"
    BUSY = "busy"
    STOPPING = "stopping"
    QUOTA_EXCEEDED = "quota-exceeded"
    DISK_RESERVE = "disk-reserve"
    WORKLOAD_SUSPENDED = "workload-suspended"
    NOTHING_TO_REVOKE = "nothing-to-revoke"
    UNKNOWN_KEY = "unknown-key"
    KEY_SUSPENDED = "key-suspended"
    NOT_SUSPENDED = "not-suspended"
    APPROVAL_VOID = "approval-void"
    ALREADY_APPROVED = "already-approved"
    WITHDRAWN = "withdrawn"
    BELOW_QUORUM = "below-quorum"
    LAST_KEY = "last-key"
    POLICY_INVALID = "policy-invalid"
    POLICY_LOCKS_OUT = "policy-locks-out"
    OWNER_LEFT = "owner-left"
    REVIEW_MISSED = "review-missed"
    REVIEW_OPEN = "review-open"
    UNKNOWN_REVIEW = "unknown-review"
    TOXIC_COMBINATION = "toxic-combination"
    TOO_FEW_PEOPLE = "too-few-people"
    INTERNAL = "internal"
    OVER_BUDGET = "over-budget"
    LOG_FORKED = "log-forked"
    KEY_ENDED = "key-ended"


class Refused(Exception):
    """A command is not carried out; nothing but the record of the refusal changed."""

    def __init__(self, reason: Refusal, detail: str, rule: str | None = None) -> None:
        """Say what was found, and name the rule where the reason alone does not (`appliance.rules.rule_of`)."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.rule = rule

    @property
    def id(self) -> str:
        """The reason's id."""
        return self.reason.value


class HomeFault(StrEnum):
    """What can be wrong with an appliance's home or its storage: closed."""

    MISSING = "home-missing"
    EXISTS = "home-exists"
    VERSION = "home-version"
    IN_USE = "home-in-use"
    UNREADABLE = "home-unreadable"
    READ_ONLY = "home-read-only"
    SETTINGS = "settings-invalid"
    FOUNDING = "founding-invalid"
    OTHER_HOME = "other-home"
    LOG_DAMAGED = "log-damaged"
    DISK_FULL = "disk-full"
    STORAGE = "storage-fault"
    CLOCK = "clock-behind-log"
    HSM_CONTENT = "hsm-content"
    DEFECT = "defect"
    SOCKET_IN_USE = "socket-in-use"
    MODULE_OPEN = "module-open"
    BEHIND_TOKEN = "home-behind-token"  # noqa: S105 - an id, no secret


class HomeError(Exception):
    """The appliance cannot start, or cannot go on; nothing was half-done."""

    def __init__(self, fault: HomeFault, detail: str) -> None:
        """Name the fault and say what was found."""
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail

    @property
    def id(self) -> str:
        """The fault's id."""
        return self.fault.value
