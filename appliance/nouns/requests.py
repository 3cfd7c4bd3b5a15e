"""Requests: what waits for more people, and may be withdrawn by whoever made it."""

from appliance.decision import Ask, Decision
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from coldcred.command import read_reason
from coldcred.record import Record


def decide_withdraw(lookups: Lookups, ask: Ask, now: int) -> Decision:
    """Withdraw a request that one made: args `request` (a command id) and perhaps `reason`."""
    args = Record(ask.command.args, "request.withdraw")
    id_, reason = args.digest("request"), read_reason(args)
    args.done()
    request = lookups.requests.get(id_)
    if request is None or now >= request.expires_at:
        raise Refused(Refusal.UNKNOWN_REQUEST, f"no request {id_[:16]} waits here")
    if request.person != ask.person:
        detail = f"{request.person} made this request; others deny it"
        raise Refused(Refusal.NOT_ALLOWED, detail, "R9 withdrawn by its requester")
    members = {"request": id_} if reason is None else {"request": id_, "reason": reason}
    return Decision((ask.event("request.withdrawn", {**members}, {"request": id_}),))
