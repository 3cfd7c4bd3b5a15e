"""Suspensions: one person stops something at once; it goes on by what people asked for afterwards, and not before.

A request to take something up again may wait for days. Whoever stops it meanwhile knows something that the request did
not.
"""

from appliance.decision import Ask
from appliance.errors import Refusal, Refused
from appliance.nouns.proofs import CLOCK_TOLERANCE


def check_asked_since(ask: Ask, suspended_at: int | None, reason: Refusal, what: str) -> None:
    """Return when what was suspended at `suspended_at` (Unix seconds), if it was, may go on by this command.

    The command was signed after that, as far as clocks agree; else it is refused for `reason`.
    """
    if suspended_at is not None and ask.command.issued_at + CLOCK_TOLERANCE < suspended_at:
        detail = f"{what} was suspended after this was asked for; ask anew if it may go on all the same"
        raise Refused(reason, detail, "taken up by what was asked since")
