"""Requests: what waits for more people, and is withdrawn or completed by whoever made it, and by nobody else."""

from collections.abc import Callable

from appliance.decision import Ask, Decision
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups, Request
from coldcred.command import read_reason
from coldcred.record import Record


def decide_withdraw(lookups: Lookups, ask: Ask, now: int) -> Decision:
    """Withdraw a request that one made: args `request` (a command id) and perhaps `reason`."""
    args = Record(ask.command.args, "request.withdraw")
    id_, reason = args.digest("request"), read_reason(args)
    args.done()
    request = _waiting(lookups, id_, now)
    if request.person != ask.person:
        detail = f"{request.person} made this request; others deny it"
        raise Refused(Refusal.NOT_ALLOWED, detail, "R9 withdrawn by its requester")
    members = {"request": id_} if reason is None else {"request": id_, "reason": reason}
    return Decision((ask.event("request.withdrawn", {**members}, {"request": id_}),))


def decide_complete(lookups: Lookups, lacks: Callable[[Request], str | None], ask: Ask, now: int) -> Decision:
    """Say that a request that one made, and that has its people, is to be carried out now: args `request`.

    `lacks` says which people a request lacks. A command that waits can be read by others, so it does not itself prove
    who wants what it gives.
    """
    args = Record(ask.command.args, "request.complete")
    id_ = args.digest("request")
    args.done()
    request = _waiting(lookups, id_, now)
    if request.person != ask.person:
        detail = f"{request.person} made this request, and nobody else completes it"
        raise Refused(Refusal.NOT_ALLOWED, detail, "R9 completed by its requester")
    if (missing := lacks(request)) is not None:
        raise Refused(Refusal.TOO_FEW_PEOPLE, missing)
    return Decision((ask.event("request.completed", {"request": id_}, {"request": id_}),))


def _waiting(lookups: Lookups, id_: str, now: int) -> Request:
    request = lookups.requests.get(id_)
    if request is None or now >= request.expires_at:
        raise Refused(Refusal.UNKNOWN_REQUEST, f"no request {id_[:16]} waits here")
    return request
