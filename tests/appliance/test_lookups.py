"""What decisions look up stays small: everything that no decision can ask for again is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.lookups import REMEMBERED, Lookups, Request
from appliance.outcome import Outcome, State
from coldcred.command import LONGEST_LIFE
from coldcred.log.live import Issued
from coldcred.status import bits_with

DAY = 24 * 3600
PEOPLE = ("alice", "bob")
PERSON = st.sampled_from(PEOPLE)
LIST = "https://issuer.plant-a.example/status/line-1/1"


def outcome(command: str) -> Outcome:
    """Return the outcome of a command that is done."""
    return Outcome(command, "read.open", State.DONE)


def request(command: str, person: str, expires_at: int) -> Request:
    """Return a command that waits."""
    return Request(command, "d", (), "workload.enrol", person, 2, expires_at, "k", (), "s", 2)


def issued(index: int, expires_at: int = 1000) -> Issued:
    """Return a credential with this status index."""
    return Issued(7, LIST, index, expires_at, "spiffe://plant-a.example/w", "p", "k", "line-1")


def test_outcomes_are_remembered_for_as_long_as_a_command_can_live() -> None:
    """A replay is answered for 14 days and a day more, and no longer held after that (R7)."""
    lookups = Lookups()
    lookups.remember(outcome("old"), 1000)
    lookups.remember(outcome("new"), 1000 + LONGEST_LIFE + DAY)
    lookups.advance(1000 + REMEMBERED)
    assert set(lookups.outcomes) == {"old", "new"}
    lookups.advance(1001 + REMEMBERED)
    assert set(lookups.outcomes) == {"new"}


def test_what_is_about_a_command_is_forgotten_with_it() -> None:
    """A request and the approvals that were counted for it are known as long as its outcome, and no longer."""
    lookups = Lookups()
    for command in ("old", "kept"):
        lookups.begin_request(request(command, "alice", 1000))
        lookups.remember(outcome(command), 1000 if command == "old" else 2000)
        lookups.count_approval(f"approval of {command}", command)
    lookups.advance(1000 + REMEMBERED)
    assert (set(lookups.requests), len(lookups.seen_approvals)) == ({"old", "kept"}, 2)
    lookups.advance(1001 + REMEMBERED)
    assert (set(lookups.requests), lookups.seen_approvals) == ({"kept"}, {"approval of kept": "kept"})


@given(st.data())
def test_what_waits_is_counted_as_by_looking_at_all_of_it(data: st.DataObject) -> None:
    """Whatever began, ended and passed its end, and in whatever order: one count is the other, for each person."""
    lookups, now = Lookups(), 0
    for number in range(data.draw(st.integers(0, 30))):
        match data.draw(st.sampled_from(("begin", "begin", "end", "advance", "look"))):
            case "begin":
                lookups.begin_request(request(str(number), data.draw(PERSON), now + data.draw(st.integers(1, 5))))
            case "end":
                lookups.end_request(str(data.draw(st.integers(0, number))))
            case step:
                now += data.draw(st.integers(0, 3))
                if step == "advance":
                    lookups.advance(now)
        for person in PEOPLE:
            alive = [one for one in lookups.requests.values() if one.person == person and now < one.expires_at]
            assert lookups.waiting_of(person, now) == len(alive)


def test_a_credential_is_forgotten_once_it_has_ended() -> None:
    """A credential is known up to its end; its index stays used and its bit stays set for good."""
    lookups = Lookups()
    lookups.add_issued("jti", issued(3))
    lookups.revoke("jti", LIST, 3)
    lookups.advance(999)
    assert set(lookups.issued) == {"jti"}
    lookups.advance(1000)
    assert not lookups.issued
    assert not lookups.is_free(LIST, 3)
    assert lookups.is_revoked(issued(3))
    assert lookups.revoked_bits(LIST) == bits_with({3})


def test_a_bit_is_set_for_a_credential_that_has_ended() -> None:
    """A signature of unknown fate is found at a start, when its credential may have ended long ago (R31)."""
    lookups = Lookups()
    lookups.add_issued("jti", issued(3))
    lookups.advance(1000)
    lookups.revoke("jti", LIST, 3)
    assert lookups.is_revoked(issued(3))


def test_lists_do_not_share_their_indices() -> None:
    """An index that one list gave out is free in another, and a list is as full as what it gave out."""
    lookups = Lookups()
    lookups.add_issued("jti", issued(3))
    assert not lookups.is_free(LIST, 3)
    assert lookups.is_free(LIST, 4)
    assert lookups.is_free("another", 3)
    assert (lookups.fill(LIST), lookups.fill("another")) == (2**-20, 0)
    assert not lookups.is_revoked(issued(3))
    assert lookups.revoked_bits(LIST) == bits_with(())
