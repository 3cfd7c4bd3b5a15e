"""What decisions look up stays small: everything that no decision can ask for again is forgotten."""

from appliance.lookups import Issued, Lookups, Request
from appliance.outcome import Outcome, State
from coldcred.command import LONGEST_LIFE

DAY = 24 * 3600


def outcome(command: str) -> Outcome:
    """Return the outcome of a command that is done."""
    return Outcome(command, "read.open", State.DONE)


def test_outcomes_are_remembered_for_as_long_as_a_command_can_live() -> None:
    """A replay is answered for 14 days and a day more, and no longer held after that (R7)."""
    lookups = Lookups()
    lookups.remember(outcome("old"), 1000)
    lookups.remember(outcome("new"), 1000 + LONGEST_LIFE + DAY)
    assert set(lookups.outcomes) == {"old", "new"}
    lookups.remember(outcome("newer"), 1001 + LONGEST_LIFE + DAY)
    assert set(lookups.outcomes) == {"new", "newer"}


def test_an_ended_request_is_forgotten_at_its_end_and_not_before() -> None:
    """A request is pruned at the second at which no approval can count any more."""
    lookups = Lookups()
    lookups.requests["r"] = Request("r", "d", (), "workload.enrol", "alice", 2, expires_at=1000)
    lookups.prune(999)
    assert set(lookups.requests) == {"r"}
    lookups.prune(1000)
    assert not lookups.requests


def test_a_credential_is_known_while_it_can_be_asked_about() -> None:
    """A credential is forgotten 14 days after its end; its index stays used and its bit stays set for good."""
    lookups = Lookups()
    lookups.issued["jti"] = Issued(7, "list", 3, 1000, "w", "p")
    lookups.used["list"] = {3}
    lookups.revoke("jti")
    lookups.prune(999 + LONGEST_LIFE)
    assert set(lookups.issued) == {"jti"}
    lookups.prune(1000 + LONGEST_LIFE)
    assert not lookups.issued
    assert not lookups.is_free("list", 3)
    assert lookups.revoked == {"list": {3}}


def test_an_approval_is_remembered_with_its_command() -> None:
    """An approval that was counted is known again for as long as the outcome it belongs to."""
    lookups = Lookups()
    lookups.remember(outcome("kept"), 1000)
    lookups.seen_approvals = {"a": "kept", "b": "forgotten"}
    lookups.prune(1000)
    assert lookups.seen_approvals == {"a": "kept"}
