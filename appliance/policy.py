"""May this person ask for that, and how many people does it take (rule R2): a closed table, no settings."""

from collections.abc import Collection

from appliance.authority import Authority, Operator
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from coldcred.acts import MAY_APPROVE, RULES, Act, people_needed
from coldcred.command import Command

OPEN_REQUESTS = 64
"""Requests of one person that may wait for others at once."""


def check_may_ask(operator: Operator, act: Act) -> None:
    """Return when one of the person's roles may ask for `act`, else refuse, naming the roles that may."""
    allowed = RULES[act].may_ask
    if not operator.roles & allowed:
        roles = ", ".join(sorted(allowed))
        raise Refused(Refusal.NOT_ALLOWED, f"{act} takes one of the roles {roles}; {operator.person} has none of them")


def check_may_approve(operator: Operator, requester: str) -> None:
    """Return when the person may approve what `requester` asked for."""
    if not operator.roles & MAY_APPROVE:
        roles = ", ".join(sorted(MAY_APPROVE))
        raise Refused(Refusal.NOT_ALLOWED, f"approving takes one of the roles {roles}")
    if operator.person == requester:
        raise Refused(Refusal.NOT_ALLOWED, "a request is not approved by the person who made it")


def check_quota(lookups: Lookups, person: str, now: int) -> None:
    """Return when one more request of this person may wait."""
    waiting = sum(request.person == person and now < request.expires_at for request in lookups.requests.values())
    if waiting >= OPEN_REQUESTS:
        raise Refused(Refusal.QUOTA_EXCEEDED, f"{waiting} requests of {person} wait already")


def people_for(authority: Authority, command: Command, profiles: Collection[str] = ()) -> int:
    """How many people the command takes: the table, raised by the founding and by every profile that it names.

    `profiles` are those that the lines of its batch name.
    """
    raised = authority.founding.quorums.acts.get(command.act, 0)
    if command.act is Act.CREDENTIAL_ISSUE:
        single = command.args.get("profile")
        named = [*profiles, single] if isinstance(single, str) else profiles
        raised = max(raised, *(authority.profiles[name].approvals for name in named if name in authority.profiles), 0)
    return people_needed(command.act, founders=len(authority.founding.people), raised=raised)
