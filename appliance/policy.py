"""May this principal do this to that, and how many people does it take (rule R2): a closed table, no settings.

`permit` is the one place where that is asked. The table is `coldcred.acts.RULES`, so auditors hold the log to the same
one. How many people must sign is code and stays code.
"""

from collections.abc import Collection
from dataclasses import dataclass

from appliance.authority import Authority, Operator, Workload
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from coldcred.acts import MAY_APPROVE, RULES, Act, Principal, people_needed
from coldcred.batch import is_batch
from coldcred.command import Command
from coldcred.log.review import UNHELD
from coldcred.profile import Asker, Profile

OPEN_REQUESTS = 64
"""Requests of one person that may wait for others at once."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What a command is about, as far as it names it: a workload, by its SPIFFE ID, and a profile that stands."""

    workload: str | None = None
    profile: Profile | None = None


def principal(signer: Operator | Workload) -> Principal:
    """Give whoever signed a command, as policy sees them."""
    return Principal(signer.id) if isinstance(signer, Workload) else Principal(signer.person, signer.roles)


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
        roles = ", ".join(sorted(rule.may_ask))
        lacks = "a workload has none" if asking.is_workload else f"{asking.id} has none of them"
        raise Refused(Refusal.NOT_ALLOWED, f"{act} takes one of the roles {roles}; {lacks}")
    if asking.is_workload and about.workload != asking.id:
        raise Refused(Refusal.NOT_ALLOWED, f"{asking.id} may ask for itself only, one credential at a time")
    asker = Asker.WORKLOAD if asking.is_workload else Asker.ISSUER
    if about.profile is not None and asker not in about.profile.asked_by:
        who = " and ".join(about.profile.asked_by)
        raise Refused(Refusal.NOT_ALLOWED, f"profile {about.profile.name} is asked for by: {who}; not by {asking.id}")


def check_may_approve(operator: Operator, requester: str) -> None:
    """Return when the person may approve what `requester` asked for."""
    if not operator.roles & MAY_APPROVE:
        roles = ", ".join(sorted(MAY_APPROVE))
        raise Refused(Refusal.NOT_ALLOWED, f"approving takes one of the roles {roles}")
    if operator.person == requester:
        raise Refused(Refusal.NOT_ALLOWED, "a request is not approved by the person who made it")


def check_confirmed(authority: Authority, people: Collection[str], act: Act, now: int) -> None:
    """Return when the open access review keeps none of these from asking for the act, or from approving it."""
    review = authority.review
    if review is None or act in UNHELD:
        return
    for person in sorted(people):
        if review.lacks_person(person, now):
            detail = f"nobody confirmed {person} in review {review.name} by its date"
            raise Refused(Refusal.REVIEW_MISSED, detail)


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
    raised = authority.founding.quorums.acts.get(command.act, 0)
    if command.act is Act.CREDENTIAL_ISSUE:
        single = command.args.get("profile")
        named = [*profiles, single] if isinstance(single, str) else profiles
        raised = max(raised, *(authority.profiles[name].approvals for name in named if name in authority.profiles), 0)
    founders = len(authority.founding.people)
    return people_needed(command.act, founders=founders, raised=raised, by_workload=by_workload)
