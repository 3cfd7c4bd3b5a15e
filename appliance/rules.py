"""Which numbered rule stands behind a refusal: what `coldcredctl why` answers with."""

from collections.abc import Mapping
from types import MappingProxyType

from appliance.errors import Refusal, Refused

RULE: Mapping[Refusal, str] = MappingProxyType(
    {
        Refusal.MALFORMED: "R10 closed forms",
        Refusal.UNKNOWN_SIGNER: "R7 signed by an enrolled key",
        Refusal.BAD_SIGNATURE: "R7 signed by an enrolled key",
        Refusal.WRONG_APPLIANCE: "R7 for this appliance",
        Refusal.WRONG_EPOCH: "R7 for this epoch",
        Refusal.EXPIRED: "R7 in its time",
        Refusal.NOT_YET_VALID: "R7 in its time",
        Refusal.NOT_ALLOWED: "R2 who may ask",
        Refusal.DENIED: "R9 one deny ends it",
        Refusal.UNKNOWN_REQUEST: "R9 about a request that waits",
        Refusal.UNKNOWN_WORKLOAD: "enrolled workloads",
        Refusal.UNKNOWN_PROFILE: "profiles that were set",
        Refusal.UNKNOWN_SITE: "R23 an audience of one site",
        Refusal.UNKNOWN_PERSON: "R3 enrolled people",
        Refusal.UNKNOWN_CREDENTIAL: "credentials that live",
        Refusal.ALREADY_EXISTS: "names stand once",
        Refusal.KEY_IN_USE: "R10 one register a key",
        Refusal.REVIEW_OVERDUE: "a workload's review",
        Refusal.OUTSIDE_PROFILE: "the profile's bounds",
        Refusal.CHARTER_EXCEEDED: "R13 the key's charter",
        Refusal.NO_TRUST: "R17 trust signed by custodians",
        Refusal.TRUST_REFUSED: "R17 trust signed by custodians",
        Refusal.NO_WINDOW: "R20 the plan's windows",
        Refusal.NO_BUNDLE: "R23 a status list that a bundle created",
        Refusal.LIST_FULL: "R23 free status indices",
        Refusal.KEY_NOT_READY: "R14 keys that are made",
        Refusal.HSM_FAULT: "R31 an outcome for each signature",
        Refusal.STORAGE_FAULT: "R31 durable before signing",
        Refusal.CLOCK_FAULT: "the guarded clock",
        Refusal.BUSY: "R11 bounded queues",
        Refusal.STOPPING: "R31 an outcome for each signature",
        Refusal.QUOTA_EXCEEDED: "R11 quotas",
        Refusal.DISK_RESERVE: "R11 the disk reserve",
        Refusal.WORKLOAD_SUSPENDED: "a suspension",
        Refusal.NOTHING_TO_REVOKE: "credentials that live",
        Refusal.UNKNOWN_KEY: "keys that were ordered",
        Refusal.KEY_SUSPENDED: "a suspension",
        Refusal.NOT_SUSPENDED: "a suspension",
        Refusal.APPROVAL_VOID: "R9 what an approval rests on",
        Refusal.ALREADY_APPROVED: "R2 people are counted, not keys",
        Refusal.WITHDRAWN: "R9 withdrawn by its requester",
        Refusal.BELOW_QUORUM: "R2 every act stays within reach",
        Refusal.LAST_KEY: "R3 a person keeps a key",
        Refusal.POLICY_INVALID: "policies that Cedar reads and the schema knows",
        Refusal.POLICY_LOCKS_OUT: "policies under which people can go on",
        Refusal.OWNER_LEFT: "an owner who answers for it",
        Refusal.REVIEW_MISSED: "the access review",
        Refusal.REVIEW_OPEN: "the access review",
        Refusal.UNKNOWN_REVIEW: "the access review",
        Refusal.TOXIC_COMBINATION: "profiles that exclude each other",
        Refusal.TOO_FEW_PEOPLE: "R2 how many people sign",
        Refusal.INTERNAL: "R36 one submission ends only itself",
        Refusal.OVER_BUDGET: "R11 what a question may cost",
        Refusal.LOG_FORKED: "R38 a log only grows",
        Refusal.KEY_ENDED: "R41 keys within their dates",
    }
)
"""The rule behind each reason; `tests/appliance/test_policy.py` holds it to be whole."""


def rule_of(refused: Refused) -> str:
    """Name the rule of a refusal: the one that it names itself, such as a policy's id, else its reason's."""
    return refused.rule or RULE[refused.reason]
