"""What can be asked for, by whom, and how many people it takes (rule R2).

This table is code, so no file and no policy can lower it; a founding may raise a number. The requester counts as one
person, approvals by other people fill the rest. In a home founded by one person every number is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from coldcred import names


class Role(StrEnum):
    """What a person may do; an auditor holds no other role."""

    OFFICER = "officer"
    ISSUER = "issuer"
    APPROVER = "approver"
    AUDITOR = "auditor"


class Act(StrEnum):
    """The closed list of acts a command can ask for."""

    CREDENTIAL_ISSUE = "credential.issue"
    CREDENTIAL_REVOKE = "credential.revoke"
    WORKLOAD_ENROL = "workload.enrol"
    PROFILE_SET = "profile.set"
    SITE_ADD = "site.add"
    TRUST_SUBMIT = "trust.submit"
    BUNDLE_CREATE = "bundle.create"
    LOG_EXPORT = "log.export"
    READ_OPEN = "read.open"
    WORKLOAD_SUSPEND = "workload.suspend"
    WORKLOAD_RESUME = "workload.resume"
    KEY_SUSPEND = "key.suspend"
    KEY_ACTIVATE = "key.activate"
    REQUEST_WITHDRAW = "request.withdraw"
    WORKLOAD_ADOPT = "workload.adopt"
    REVIEW_START = "review.start"
    REVIEW_CONFIRM = "review.confirm"
    REVIEW_CLOSE = "review.close"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who signed a command: a person with roles, or a workload, which is named by its SPIFFE ID and holds none.

    A person's id is a label and holds no colon, so it is never a workload's. A workload's `groups` and `owner` are for
    policies to look at; the table of acts does not.
    """

    id: str
    roles: frozenset[Role] = frozenset()
    groups: tuple[str, ...] = ()
    owner: str | None = None

    @property
    def is_workload(self) -> bool:
        """Whether it is a machine, which no rule counts as a person."""
        return names.is_spiffe_id(self.id)


@dataclass(frozen=True, slots=True)
class ActRule:
    """Who may ask for an act, and how many people must have signed before it happens.

    `workloads` says whether a workload may ask for it too, for itself and where the profile lets it.
    """

    may_ask: frozenset[Role]
    people: int
    workloads: bool = False

    def admits(self, principal: Principal) -> bool:
        """Whether this principal may ask, as far as roles decide it."""
        return self.workloads if principal.is_workload else bool(principal.roles & self.may_ask)


_OFFICER = frozenset({Role.OFFICER})
_OFFICER_ISSUER = frozenset({Role.OFFICER, Role.ISSUER})
_ANY = frozenset(Role)

RULES: Mapping[Act, ActRule] = MappingProxyType(
    {
        Act.CREDENTIAL_ISSUE: ActRule(frozenset({Role.ISSUER}), 1, workloads=True),
        Act.CREDENTIAL_REVOKE: ActRule(_ANY - {Role.AUDITOR}, 1),
        Act.WORKLOAD_ENROL: ActRule(_OFFICER_ISSUER, 2),
        Act.PROFILE_SET: ActRule(_OFFICER, 2),
        Act.SITE_ADD: ActRule(_OFFICER, 2),
        Act.TRUST_SUBMIT: ActRule(_OFFICER, 1),
        Act.BUNDLE_CREATE: ActRule(_OFFICER_ISSUER, 1),
        Act.LOG_EXPORT: ActRule(frozenset({Role.OFFICER, Role.AUDITOR}), 1),
        Act.READ_OPEN: ActRule(_ANY, 1),
        Act.WORKLOAD_SUSPEND: ActRule(_ANY - {Role.AUDITOR}, 1),
        Act.WORKLOAD_RESUME: ActRule(_OFFICER_ISSUER, 2),
        Act.KEY_SUSPEND: ActRule(_ANY - {Role.AUDITOR}, 1),
        Act.KEY_ACTIVATE: ActRule(_OFFICER, 2),
        Act.REQUEST_WITHDRAW: ActRule(_ANY - {Role.AUDITOR}, 1),
        Act.WORKLOAD_ADOPT: ActRule(_OFFICER_ISSUER, 2),
        Act.REVIEW_START: ActRule(_OFFICER, 2),
        Act.REVIEW_CONFIRM: ActRule(_ANY - {Role.AUDITOR}, 1),
        Act.REVIEW_CLOSE: ActRule(_OFFICER, 2),
    },
)

BEYOND_POLICY = frozenset({Act.CREDENTIAL_REVOKE, Act.WORKLOAD_SUSPEND, Act.KEY_SUSPEND, Act.REVIEW_CONFIRM})
"""Acts that no policy is asked about, so that none can slow them: stopping, and confirming what else would stop."""

MAY_APPROVE = frozenset({Role.OFFICER, Role.APPROVER})


def people_needed(act: Act, *, founders: int, raised: int = 0, by_workload: bool = False) -> int:
    """How many distinct people `act` takes in a home of `founders` founders; `raised` can only add.

    A workload is no person. Where one person would do it needs nobody; where more are needed all of them are others.
    """
    need = 1 if founders == 1 else max(RULES[act].people, raised)
    return 0 if by_workload and need == 1 else need
