"""Who stands behind a request: the approvals that count now, and what the request still waits for (rules R2, R9).

An approval was good when it came. It counts only as long as what it rests on is so: the policy, the profiles that the
request names, what travels beside it, what its approver was shown, his key and his roles, and its own end.
"""

from collections.abc import Mapping
from dataclasses import replace

from appliance import policy
from appliance.authority import Authority, Custodian, Operator
from appliance.errors import Refused
from appliance.lookups import Request
from appliance.outcome import Outcome, State
from coldcred.acts import Act
from coldcred.command import Basis
from coldcred.log.approvals import Given


def basis(authority: Authority, request: Request) -> Basis:
    """Give what an approval of the request has to rest on now."""
    profiles = [authority.profiles[name] for name in request.named if name in authority.profiles]
    return Basis.of(
        policy=authority.policy,
        profiles=profiles,
        attachments=request.attachments,
        shown=request.shown,
        rendering=request.rendering,
    )


def check_approver(authority: Authority, approver: Operator | Custodian, requester: str, act: Act, now: int) -> None:
    """Return when an approval by this key's person counts for what `requester` asked for, as far as it is theirs."""
    policy.check_may_approve(policy.principal(approver), requester, act)
    policy.check_confirmed(authority, {approver.person}, act, now)


def why_not(authority: Authority, request: Request, given: Given, now: int) -> str | None:
    """Say why an approval that was given does not count at `now`; None where it does."""
    if now >= given.expires_at:
        return "it has ended"
    approver = authority.approver(given.kid)
    if approver is None or approver.person != given.person:
        return f"the key of {given.person} that signed it is enrolled no more"
    try:
        check_approver(authority, approver, request.person, Act(request.act), now)
    except Refused as refused:
        return refused.detail
    if differs := given.basis.differs(basis(authority, request)):
        return f"it was given for another {' and '.join(differs)}"
    return None


def counted(authority: Authority, request: Request, now: int) -> Mapping[str, str]:
    """Give the approvals that count at `now`: person by approval id."""
    return {
        id_: given.person for id_, given in request.approvals.items() if why_not(authority, request, given, now) is None
    }


def need(authority: Authority, request: Request) -> int:
    """How many people the request takes now: never fewer than when it began to wait."""
    return max(request.need, policy.people_for(authority, Act(request.act), request.named, request.person))


def lacks(authority: Authority, request: Request, now: int) -> str | None:
    """Say how many people a request takes and who signed, where they are too few at `now`; None where it has them."""
    have = request.people_with(counted(authority, request, now).values())
    needed = need(authority, request)
    if len(have) >= needed:
        return None
    return f"it takes {needed} people, so far {', '.join(sorted(have)) or 'nobody'}"


def outcome(authority: Authority, request: Request, recorded: Outcome, now: int) -> Outcome:
    """Give the outcome of a request that waits, as it stands at `now`."""
    have = tuple(sorted(request.people_with(counted(authority, request, now).values())))
    needed = need(authority, request)
    return replace(recorded, state=State.READY if len(have) >= needed else State.WAITING, need=needed, have=have)
