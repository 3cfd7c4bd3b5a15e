"""What whoever sent something hears in the end: the recorded outcome, with what is given once."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from appliance import counting
from appliance.decision import Finished
from appliance.errors import Refusal, Refused
from appliance.outcome import Export, Outcome, State
from appliance.rules import rule_of
from appliance.standing import Standing


def outcome_of(standing: Standing, command: str, ended: Finished | Refused, at: int) -> Outcome | Refused:
    """Give the recorded outcome with the files that are released once, or what the HSM did not do; `at` is now."""
    recorded = standing.lookups.outcomes.get(command)
    if isinstance(ended, Refused):
        act = recorded.act if recorded is not None else ""
        return Outcome(command, act, State.REFUSED, ended.reason, ended.detail, rule_of(ended))
    if recorded is None:
        return Refused(Refusal.UNKNOWN_REQUEST, "no outcome is recorded for it")
    request = standing.lookups.requests.get(command)
    if request is not None:
        recorded = counting.outcome(standing.authority, request, recorded, at)
    return replace(recorded, files=ended.files, warnings=ended.warnings, export=ended.export)


async def whole(outcome: Outcome, pages: Callable[[Export], AsyncIterator[bytes]]) -> Outcome:
    """Give an outcome with its export, if it gives one, among its files: for whoever has the memory."""
    if outcome.export is None:
        return outcome
    body = b"".join([page async for page in pages(outcome.export)])
    return replace(outcome, files={**outcome.files, "export": body}, export=None)
