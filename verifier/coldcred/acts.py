"""What can be asked for, by whom, and how many people it takes (rule R2).

This table is code, so no file and no policy can lower it; a founding may raise a number. The requester counts as one
person, approvals by other people fill the rest. In a home founded by one person every number is one.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from coldcred import names
from coldcred.errors import Malformed


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
    REQUEST_COMPLETE = "request.complete"
    WORKLOAD_ADOPT = "workload.adopt"
    REVIEW_START = "review.start"
    REVIEW_CONFIRM = "review.confirm"
    REVIEW_CLOSE = "review.close"
    OPERATOR_ADD = "operator.add"
    OPERATOR_REMOVE = "operator.remove"
    OPERATOR_ROLES = "operator.roles"
    OPERATOR_REPLACE_KEY = "operator.replace-key"
    OPERATOR_RECOVER = "operator.recover"
    POLICY_SET = "policy.set"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who signed a command: a person with roles, or a workload, which is named by its SPIFFE ID and holds none.

    A person's id is a label and holds no colon, so it is never a workload's. `custodian` says that a founder's
    custodian key signed; roles do not come with it. A workload's `groups` and `owner` are for policies to look at; the
    table of acts does not.
    """

    id: str
    roles: frozenset[Role] = frozenset()
    groups: tuple[str, ...] = ()
    owner: str | None = None
    custodian: bool = False

    @property
    def is_workload(self) -> bool:
        """Whether it is a machine, which no rule counts as a person."""
        return names.is_spiffe_id(self.id)


@dataclass(frozen=True, slots=True)
class ActRule:
    """Who may ask for an act, and how many people must have signed before it happens.

    `workloads` says whether a workload may ask for it too, for itself and where the profile lets it. `custodians` says
    that custodian keys ask for it and approve it, and no others do.
    """

    may_ask: frozenset[Role]
    people: int
    workloads: bool = False
    custodians: bool = False

    def admits(self, principal: Principal) -> bool:
        """Whether this principal may ask, as far as roles decide it."""
        if principal.is_workload:
            return self.workloads
        return self.custodians if principal.custodian else bool(principal.roles & self.may_ask)

    def counts_approval_of(self, principal: Principal) -> bool:
        """Whether this principal's approval counts for it, as far as roles decide it."""
        if principal.custodian or self.custodians:
            return principal.custodian and self.custodians
        return bool(principal.roles & MAY_APPROVE)


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
        Act.REQUEST_COMPLETE: ActRule(_ANY - {Role.AUDITOR}, 1, workloads=True),
        Act.OPERATOR_ADD: ActRule(_OFFICER, 2),
        Act.OPERATOR_REMOVE: ActRule(_OFFICER, 2),
        Act.OPERATOR_ROLES: ActRule(_OFFICER, 2),
        Act.OPERATOR_REPLACE_KEY: ActRule(_OFFICER, 2),
        Act.OPERATOR_RECOVER: ActRule(frozenset(), 2, custodians=True),
        Act.WORKLOAD_ADOPT: ActRule(_OFFICER_ISSUER, 2),
        Act.REVIEW_START: ActRule(_OFFICER, 2),
        Act.REVIEW_CONFIRM: ActRule(_ANY - {Role.AUDITOR}, 1),
        Act.REVIEW_CLOSE: ActRule(_OFFICER, 2),
        Act.POLICY_SET: ActRule(_OFFICER, 2),
    },
)

STOPPING = frozenset({Act.CREDENTIAL_REVOKE, Act.WORKLOAD_SUSPEND, Act.KEY_SUSPEND, Act.REQUEST_WITHDRAW})
"""Acts that only stop something: they wait for nobody and for next to nothing."""

BEYOND_POLICY = STOPPING | frozenset(
    {
        Act.REQUEST_COMPLETE,
        Act.OPERATOR_RECOVER,
        Act.REVIEW_CONFIRM,
    }
)
"""Acts that no policy is asked about: stopping, recovery by custodians, and confirming what else would stop.

Nor about `request.complete`: policies are asked anew about what it completes.
"""

NEVER_RAISED = BEYOND_POLICY | {Act.READ_OPEN}
"""Acts whose number of people no founding raises: what stops something waits for nobody, nor does looking at it.

A reading cannot wait either: it is opened while its reader is there. Recovery has a quorum of its own.
"""

MAY_APPROVE = frozenset({Role.OFFICER, Role.APPROVER})


def people_needed(act: Act, *, founders: int, raised: int = 0, by_workload: bool = False) -> int:
    """How many distinct people `act` takes in a home of `founders` founders; `raised` can only add.

    A workload is no person. Where one person would do it needs nobody; where more are needed all of them are others.
    """
    need = 1 if founders == 1 else max(RULES[act].people, raised)
    return 0 if by_workload and need == 1 else need


def unreachable(people: Mapping[str, frozenset[Role]], custodians: int, needed: Callable[[Act], int]) -> frozenset[Act]:
    """Give the acts that these people can never finish: nobody may ask, or too few others may approve.

    `people` are ids with their roles, `custodians` the number of people who hold a custodian key.
    """
    return frozenset(act for act in Act if not _reachable(RULES[act], people, custodians, needed(act)))


def _reachable(rule: ActRule, people: Mapping[str, frozenset[Role]], custodians: int, needed: int) -> bool:
    if rule.custodians:
        return needed <= custodians
    may_ask = {person for person, roles in people.items() if roles & rule.may_ask}
    may_approve = {person for person, roles in people.items() if roles & MAY_APPROVE}
    return any(1 + len(may_approve - {person}) >= needed for person in may_ask)


def roles_of(texts: Collection[str]) -> frozenset[Role]:
    """Read roles; `Malformed` where there is none, one is unknown, or an auditor holds another."""
    if not texts or any(text not in set(Role) for text in texts):
        message = f"roles are among {', '.join(Role)}"
        raise Malformed(message)
    roles = frozenset(Role(text) for text in texts)
    if Role.AUDITOR in roles and len(roles) > 1:
        message = "an auditor holds no other role"
        raise Malformed(message)
    return roles
