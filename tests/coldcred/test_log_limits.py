"""Where the rules of a log end: at each limit itself it is believed, or refused, and one further it is not."""

import io

import pytest

from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.errors import LogReason, LogRejected
from coldcred.log.approvals import TOLERANCE
from coldcred.log.credentials import Credentials
from coldcred.log.export import Anchor, verify
from coldcred.log.live import Issued
from coldcred.record import MAX_TIME
from tests.support import plant
from tests.support.logrules import refusal, site_args, step
from tests.support.logworld import LogWorld, issue_args, vkey


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log with a profile that takes two people; to be copied."""
    world = LogWorld.begin().start()
    world.set_profile(approvals=2)
    return world


@pytest.mark.parametrize(("seconds", "reason"), [(-1, None), (0, LogReason.TOO_FEW_PEOPLE)])
def test_an_approval_counts_until_its_end_and_two_minutes(
    begun: LogWorld, seconds: int, reason: LogReason | None
) -> None:
    """At 120 s after its end it counts no more; a second before it does."""
    world = begun.copy()
    args: dict[str, Json] = {
        "profile": "orders-reader",
        "workload": plant.WORKLOAD,
        "audience": plant.AUDIENCE,
        "ttl": 900,
    }
    asking = world.wait(world.command("alice", Act.CREDENTIAL_ISSUE, {**args, "scopes": ["orders.read"]}))
    ends = world.time + 60
    world.count("bob", asking, world.approval("bob", asking, exp=ends))
    world.time = ends + TOLERANCE + seconds - 1  # the entry comes a second later
    seq = step(world, lambda: world.complete(asking))
    assert refusal(world) == (None if reason is None else (reason, seq))


@pytest.mark.parametrize("approver", [True, False])
def test_an_approval_counts_while_whoever_gave_it_may_approve(begun: LogWorld, approver: bool) -> None:  # noqa: FBT001 - a case
    """Dora's counts no more once she has become an issuer and approves nothing."""
    world = begun.copy()
    asking = world.wait(world.command("alice", Act.CREDENTIAL_ISSUE, issue_args()))
    world.approve("dora", asking)
    world.set_roles("dora", ("approver", "issuer") if approver else ("issuer",))
    seq = step(world, lambda: world.complete(asking))
    assert refusal(world) == (None if approver else (LogReason.TOO_FEW_PEOPLE, seq))


@pytest.mark.parametrize(("people", "reason"), [(["alice", "bob"], None), (["bob", "alice"], LogReason.BAD_COMMAND)])
def test_people_stand_in_order(begun: LogWorld, people: list[Json], reason: LogReason | None) -> None:
    """The right people in another order are not what an honest appliance writes."""
    world = begun.copy()
    asked, members = site_args()
    asking = world.agreed(world.command("alice", Act.SITE_ADD, asked))
    seq = world.asked("site.added", asking, members, {"site": "line-9"}, people=people)
    assert refusal(world) == (None if reason is None else (reason, seq))


@pytest.mark.parametrize(
    ("seconds", "reason"), [(TOLERANCE, None), (-TOLERANCE, None), (TOLERANCE + 1, LogReason.WRONG_KEY)]
)
def test_a_key_is_valid_from_when_it_was_made_or_two_minutes_beside(seconds: int, reason: LogReason | None) -> None:
    """An entry may say 120 s more or less than its own time, and no second more."""
    world = LogWorld.begin()
    world.append({"type": "started", "version": "0.1.0"})
    seq = -1
    for plan in world.founded.keys:
        world.order(plan.name)
        if plan.name == "tokens-1":
            begins = world.time + 1 + seconds
            seq = world.head.size
            world.make(plan.name, not_before=begins, not_after=begins + plan.valid_for)
        else:
            world.make(plan.name)
    world.checkpoint().settle()
    assert refusal(world) == (None if reason is None else (reason, seq))


@pytest.mark.parametrize(("time", "reason"), [(MAX_TIME, LogReason.WRONG_KEY), (MAX_TIME + 1, LogReason.MALFORMED)])
def test_an_entry_may_be_as_late_as_all_calendars_go(begun: LogWorld, time: int, reason: LogReason) -> None:
    """In the last second the entry itself is read, and only the log key is not valid so late; a second more is none."""
    world = begun.copy()
    world.time = time
    world.append({"type": "stopped"}, after=0)
    with pytest.raises(LogRejected) as caught:
        verify(io.BytesIO(world.export()), Anchor(vkey()))
    assert caught.value.reason is reason


def test_a_revocation_that_finds_nothing_is_not_believed(begun: LogWorld) -> None:
    """Though it says itself, and truly, that it revokes none."""
    world = begun.copy()
    selector: dict[str, Json] = {"workload": plant.WORKLOAD}
    asking = world.command("bob", Act.CREDENTIAL_REVOKE, {**selector, "reason": "lost"})
    result: dict[str, Json] = {"selector": {**selector}, "count": 0, "sites": [], "next_bundle": 1}
    members: dict[str, Json] = {"selector": {**selector}, "reason": "lost", "as_of": world.time}
    seq = world.asked("credential.revoked", asking, members, result)
    assert refusal(world) == (LogReason.BAD_COMMAND, seq)


def test_what_has_ended_is_forgotten() -> None:
    """An auditor holds of credentials only those that live: its memory follows them, not the log."""
    found = Credentials()
    issued = Issued(1, "https://issuer.example/1", 7, 1000, plant.WORKLOAD, "orders-reader", "kid", "line-1")
    found.issued("a" * 22, issued)
    found.advance(999)
    assert [*found._live.by_jti] == ["a" * 22]
    found.advance(1000)
    assert [*found._live.by_jti] == []
