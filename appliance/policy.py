"""May this principal do this to that, and how many people does it take (rule R2): a closed table, no settings.

`permit` is the one place where that is asked. The table is `coldcred.acts.RULES`, so auditors hold the log to the same
one. How many people must sign is code and stays code.
"""

from collections.abc import Collection
from dataclasses import dataclass

from appliance.authority import Authority, Custodian, Operator, Workload
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from coldcred.acts import MAY_APPROVE, RULES, Act, Principal
from coldcred.batch import is_batch
from coldcred.command import Command
from coldcred.profile import Asker, Profile

OPEN_REQUESTS = 64
"""Requests of one person that may wait for others at once."""

_RECOVERY = "R4 custodians recover"


@dataclass(frozen=True, slots=True)
class Resource:
    """What a command is about, as far as it names it: a workload, by its SPIFFE ID, and a profile that stands."""

    workload: str | None = None
    profile: Profile | None = None


def principal(signer: Operator | Custodian | Workload) -> Principal:
    """Give whoever signed a command or an approval, as policy sees them."""
    match signer:
        case Workload():
            return Principal(signer.id)
        case Custodian():
            return Principal(signer.person, custodian=True)
        case Operator():
            return Principal(signer.person, signer.roles)


def resource(authority: Authority, command: Command) -> Resource:
    """Give what a command is about; a batch names its workloads and profiles line by line, and not here."""
    if command.act is not Act.CREDENTIAL_ISSUE or is_batch(command.args):
        return Resource()
    workload, profile = command.args.get("workload"), command.args.get("profile")
    return Resource(
        workload if isinstance(workload, str) else None,
        authority.profiles.get(profile) if isinstance(profile, str) else None,
    )


def permit(asking: Principal, act: Act, about: Resource) -> None:
    """Return when `asking` may ask for `act` about that, else refuse and say who may.

    A person may by a role, a workload for itself alone, and both only where the profile lets them ask.
    """
    rule = RULES[act]
    if not rule.admits(asking):
        raise Refused(Refusal.NOT_ALLOWED, _who_may(asking, act), rule=_RECOVERY if rule.custodians else None)
    if asking.is_workload and about.workload != asking.id:
        raise Refused(Refusal.NOT_ALLOWED, f"{asking.id} may ask for itself only, one credential at a time")
    asker = Asker.WORKLOAD if asking.is_workload else Asker.ISSUER
    if about.profile is not None and asker not in about.profile.asked_by:
        who = " and ".join(about.profile.asked_by)
        raise Refused(Refusal.NOT_ALLOWED, f"profile {about.profile.name} is asked for by: {who}; not by {asking.id}")


def _who_may(asking: Principal, act: Act) -> str:
    rule = RULES[act]
    if rule.custodians:
        return f"{act} is asked for with a custodian key, and with no other"
    if asking.custodian:
        return f"{act} is asked for with an operator key; the custodian key of {asking.id} is for recovery and trust"
    roles = ", ".join(sorted(rule.may_ask))
    lacks = "a workload has none" if asking.is_workload else f"{asking.id} has none of them"
    return f"{act} takes one of the roles {roles}; {lacks}"


def check_may_approve(approver: Principal, requester: str, act: Act) -> None:
    """Return when the person may approve `act`, which `requester` asked for, with the key that they signed with."""
    if RULES[act].custodians and not approver.custodian:
        raise Refused(Refusal.NOT_ALLOWED, f"approving {act} takes a custodian key", rule=_RECOVERY)
    if not RULES[act].counts_approval_of(approver):
        roles = ", ".join(sorted(MAY_APPROVE))
        raise Refused(Refusal.NOT_ALLOWED, f"approving takes one of the roles {roles}, and an operator key")
    if approver.id == requester:
        raise Refused(Refusal.NOT_ALLOWED, "a request is not approved by the person who made it")


def check_quota(lookups: Lookups, person: str, now: int) -> None:
    """Return when one more request of this person may wait."""
    waiting = sum(request.person == person and now < request.expires_at for request in lookups.requests.values())
    if waiting >= OPEN_REQUESTS:
        raise Refused(Refusal.QUOTA_EXCEEDED, f"{waiting} requests of {person} wait already")


def people_for(
    authority: Authority, command: Command, profiles: Collection[str] = (), *, by_workload: bool = False
) -> int:
    """How many people the command takes: the table, raised by the founding and by every profile that it names.

    `profiles` are those that the lines of its batch name. A workload that asks counts as nobody.
    """
    approvals = 0
    if command.act is Act.CREDENTIAL_ISSUE:
        single = command.args.get("profile")
        named = [*profiles, single] if isinstance(single, str) else profiles
        approvals = max((authority.profiles[name].approvals for name in named if name in authority.profiles), default=0)
    return authority.founding.people_for(command.act, approvals, by_workload=by_workload)
