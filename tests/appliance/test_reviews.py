"""Owners who leave, and access reviews: what nobody answers for, or nobody confirmed, stops until somebody does."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.engine import Engine
from appliance.engine.batching import AHEAD
from appliance.errors import Refusal, Refused
from appliance.nouns import reviews
from appliance.nouns.batches import CHUNK
from appliance.nouns.workloads import Condition, condition
from appliance.outcome import Outcome, State
from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.command import Verdict
from coldcred.log.review import LONGEST, SHORTEST
from tests.support import plant
from tests.support.running import RunningPlant, believed, run, settled

OTHER = f"{plant.WORKLOAD}0"
ROLES = {
    "alice": ["officer", "issuer"],
    "bob": ["officer", "approver"],
    "carol": ["auditor"],
    "dora": ["issuer", "approver"],
}
WEEK = 7 * plant.DAY


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the worked example's appliance with one more person, not started yet."""
    return RunningPlant(tmp_path / "home", roles=ROLES)


async def start(running: RunningPlant, engine: Engine, name: str = "spring") -> Outcome:
    """Start a review that ends in a week, by two people."""
    return await running.by_two(engine, Act.REVIEW_START, {"name": name, "until": running.clock.now() + WEEK})


async def confirm(running: RunningPlant, engine: Engine, by: str, review: str = "spring", **named: Json) -> Outcome:
    """Confirm by one person."""
    return await engine.submit_command(running.command(by, Act.REVIEW_CONFIRM, {"review": review, **named}))


async def close(running: RunningPlant, engine: Engine, review: str = "spring") -> Outcome:
    """Close the review, by two people."""
    return await running.by_two(engine, Act.REVIEW_CLOSE, {"review": review})


def leave(engine: Engine, *people: str) -> None:
    """Have people enrolled no more, in memory alone."""
    standing = engine.standing
    left = {kid: one for kid, one in standing.authority.operators.items() if one.person not in people}
    standing.authority = replace(standing.authority, operators=left)


# -- owners who leave


def test_an_orphan_gets_nothing_until_somebody_answers_for_it(running: RunningPlant) -> None:
    """It is blocked and named, keeps its review and groups when it is adopted, and then is issued to again."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            enrolment = running.enrolment(id=OTHER, owner="dora", groups=["robots"])
            assert (await running.by_two(engine, Act.WORKLOAD_ENROL, enrolment)).state is State.DONE
            before = engine.standing.authority.workloads[OTHER]
            gone = await running.by_two(engine, Act.OPERATOR_REMOVE, {"person": "dora", "reason": "left the plant"})
            assert gone.result == {"person": "dora", "workloads": 1}
            refused = await engine.submit_command(running.issue(workload=OTHER))
            assert (refused.reason, refused.rule) == (Refusal.OWNER_LEFT, "an owner who answers for it")
            assert condition(engine.standing.authority, before, running.clock.now()) is Condition.ORPHANED
            assert (await engine.submit_command(running.issue())).state is State.DONE
            reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
            status = await reader.read("status", {})
            assert isinstance(status, dict)
            assert status["workloads"] == {"active": 1, "orphaned": 1}
            args: dict[str, Json] = {"workload": OTHER, "owner": "bob", "reason": "dora left"}
            alone = await engine.submit_command(running.command("alice", Act.WORKLOAD_ADOPT, args))
            assert (alone.state, alone.need) == (State.WAITING, 2)
            assert (await running.by_two(engine, Act.WORKLOAD_ADOPT, args)).state is State.DONE
            assert engine.standing.authority.workloads[OTHER] == replace(before, owner="bob")
            assert (await engine.submit_command(running.issue(workload=OTHER))).state is State.DONE
            await settled(engine)
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"owner": "dora"}, Refusal.NOT_ALLOWED),
        ({"owner": "nobody"}, Refusal.UNKNOWN_PERSON),
        ({"workload": f"{OTHER}9"}, Refusal.UNKNOWN_WORKLOAD),
        ({"owner": "d\u00f6ra"}, Refusal.MALFORMED),
        ({"reason": "a\u202eb"}, Refusal.MALFORMED),
    ],
)
def test_nobody_is_made_answerable_without_their_signature(
    running: RunningPlant, changes: dict[str, Json], reason: Refusal
) -> None:
    """The new owner is enrolled and is one of those who signed; the rule is named."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            await running.enrol(engine)
            args: dict[str, Json] = {"workload": plant.WORKLOAD, "owner": "bob", "reason": "moved", **changes}
            return await running.by_two(engine, Act.WORKLOAD_ADOPT, args)

    outcome = run(story())
    assert outcome.reason == reason
    if reason is Refusal.NOT_ALLOWED:
        assert outcome.rule == "workload.adopt: the new owner signs"


def test_an_adopted_workload_is_believed(running: RunningPlant) -> None:
    """Also one whose owner is still there: with the new owner's signature it is handed over."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            args: dict[str, Json] = {"workload": plant.WORKLOAD, "owner": "bob", "reason": "moved"}
            assert (await running.by_two(engine, Act.WORKLOAD_ADOPT, args)).state is State.DONE
            assert (await engine.submit_command(running.issue())).state is State.DONE
            await settled(engine)
            await believed(running, engine)

    run(story())


# -- a review


def test_what_is_confirmed_goes_on_and_what_is_not_stops_at_its_date(running: RunningPlant) -> None:
    """To the second; late confirmation brings it back; the auditor believes every step."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            await running.by_two(engine, Act.WORKLOAD_ENROL, running.enrolment(id=OTHER, owner="dora"))
            started = await start(running, engine)
            assert started.result == {"review": "spring", "workloads": 2, "operators": 4}
            until = running.clock.now() + WEEK
            confirmed = await confirm(running, engine, "alice", workloads=[plant.WORKLOAD], operators=["bob", "carol"])
            assert confirmed.result == {"review": "spring", "workloads": 1, "operators": 2}
            assert (await confirm(running, engine, "bob", operators=["alice"])).state is State.DONE
            running.clock.time = until - 1
            running.clock.time -= running.clock.time % 60
            await refresh(running, engine)
            for workload in (plant.WORKLOAD, OTHER):
                assert (await engine.submit_command(running.issue(workload=workload))).state is State.DONE
            running.clock.time = until
            assert (await engine.submit_command(running.issue())).state is State.DONE
            refused = await engine.submit_command(running.issue(workload=OTHER))
            assert (refused.reason, refused.rule) == (Refusal.REVIEW_MISSED, "review spring")
            assert (await confirm(running, engine, "dora", workloads=[OTHER])).state is State.DONE
            assert (await engine.submit_command(running.issue(workload=OTHER))).state is State.DONE
            await settled(engine)
            await believed(running, engine)

    run(story())


def test_a_missed_confirmation_does_not_stand_in_the_way_of_an_owners_review(running: RunningPlant) -> None:
    """A workload whose own review is due is enrolled anew under a later date, and still waits for its confirmation."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            due = running.enrolment(id=OTHER, owner="dora", review_by=running.clock.now() + 20 * plant.DAY)
            assert (await running.by_two(engine, Act.WORKLOAD_ENROL, due)).state is State.DONE
            await start(running, engine)
            assert (await confirm(running, engine, "alice", operators=["bob", "carol", "dora"])).state is State.DONE
            assert (await confirm(running, engine, "bob", operators=["alice"])).state is State.DONE
            running.clock.time += WEEK
            await refresh(running, engine)
            later = running.enrolment(id=OTHER, owner="dora")
            assert (await running.by_two(engine, Act.WORKLOAD_ENROL, later)).state is State.DONE
            assert engine.standing.authority.workloads[OTHER].review_by == later["review_by"]
            refused = await engine.submit_command(running.issue(workload=OTHER))
            assert refused.reason == Refusal.REVIEW_MISSED
            again = await running.by_two(engine, Act.WORKLOAD_ENROL, running.enrolment(id=OTHER, owner="dora"))
            assert again.reason == Refusal.ALREADY_EXISTS
            await believed(running, engine)

    run(story())


async def refresh(running: RunningPlant, engine: Engine) -> None:
    """Have custodians sign a window that covers now, and make the bundle that carries it."""
    for outcome in (
        await running.trust(engine),
        await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"})),
    ):
        assert outcome.state is State.DONE, outcome
    await settled(engine)


def test_an_unconfirmed_person_stops_until_somebody_else_confirms_them(running: RunningPlant) -> None:
    """Stopping, reading and confirming are left to them, and their approvals do not count; nobody is locked out."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            site: dict[str, Json] = {"name": "line-2", "audiences": ["https://line-2.plant-a.example"]}
            waiting = running.command("alice", Act.SITE_ADD, site, expires_at=running.clock.now() + 14 * plant.DAY)
            assert (await engine.submit_command(waiting)).state is State.WAITING
            await start(running, engine)
            running.clock.time += WEEK
            for command in (running.issue(), running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"})):
                refused = await engine.submit_command(command)
                assert (refused.reason, refused.rule) == (Refusal.REVIEW_MISSED, "review spring")
            with pytest.raises(Refused) as raised:
                await engine.submit_approval(running.approval("bob", waiting))
            assert raised.value.reason is Refusal.REVIEW_MISSED
            stop: dict[str, Json] = {"workload": plant.WORKLOAD, "reason": "lost"}
            assert (
                await engine.submit_command(running.command("alice", Act.WORKLOAD_SUSPEND, stop))
            ).state is State.DONE
            await engine.open_reading(running.command("carol", Act.READ_OPEN))
            alone = await confirm(running, engine, "alice", operators=["alice"])
            assert (alone.reason, alone.rule) == (Refusal.NOT_ALLOWED, "an access review: by owner or officer")
            assert (await confirm(running, engine, "alice", operators=["bob"])).state is State.DONE
            # Bob counts again, yet Alice asked and nobody confirmed her: the decision is hers as well.
            late = await engine.submit_approval(running.approval("bob", waiting))
            assert late.reason == Refusal.REVIEW_MISSED
            assert (await confirm(running, engine, "bob", operators=["alice"])).state is State.DONE
            assert (await running.by_two(engine, Act.SITE_ADD, site)).state is State.DONE
            await settled(engine)
            await believed_by_carol(running, engine)

    run(story())


def test_a_denial_by_an_unconfirmed_person_stops(running: RunningPlant) -> None:
    """Stopping is never slowed."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.enrol(engine)
            await start(running, engine)
            site: dict[str, Json] = {"name": "line-2", "audiences": ["https://line-2.plant-a.example"]}
            waiting = running.command("alice", Act.SITE_ADD, site, expires_at=running.clock.now() + 14 * plant.DAY)
            await engine.submit_command(waiting)
            running.clock.time += WEEK
            denied = await engine.submit_approval(running.approval("bob", waiting, Verdict.DENY))
            assert denied.reason == Refusal.DENIED
            await believed_by_carol(running, engine)

    run(story())


async def believed_by_carol(running: RunningPlant, engine: Engine) -> None:
    """Confirm the auditor, so that she may export, and see that the log is believed."""
    assert (await confirm(running, engine, "alice", operators=["carol"])).state is State.DONE
    await believed(running, engine)


def test_an_approval_counts_while_its_approver_is_confirmed(running: RunningPlant) -> None:
    """One that was given before the date does not carry a decision after it."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            profile: Json = {**plant.profile(), "approvals": 2}
            await running.by_two(engine, Act.PROFILE_SET, {"profile": profile})
            await start(running, engine)
            command = running.issue(workload=plant.WORKLOAD)
            assert (await engine.submit_command(command)).state is State.WAITING
            assert (await engine.submit_approval(running.approval("bob", command))).state is State.READY
            await confirm(running, engine, "bob", operators=["alice", "carol"], workloads=[plant.WORKLOAD])
            running.clock.time += 3599
            engine.standing.authority = replace(
                engine.standing.authority,
                review=engine.standing.authority.review
                and replace(engine.standing.authority.review, until=running.clock.now()),
            )
            waiting = await engine.submit_command(command)
            assert (waiting.state, waiting.have) == (State.WAITING, ("alice",))
            # Once somebody confirmed him the approval that he gave counts again, late as it is.
            assert (await confirm(running, engine, "alice", operators=["bob"])).state is State.DONE
            assert (await running.complete(engine, command)).state is State.DONE

    run(story())


def test_a_review_is_closed_when_everything_is_settled(running: RunningPlant) -> None:
    """Not before its date, not while somebody is unconfirmed; what nobody confirmed is suspended; then the next."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            await start(running, engine)
            again = await start(running, engine, "summer")
            assert again.reason == Refusal.REVIEW_OPEN
            early = await close(running, engine)
            assert (early.reason, "alice, bob, carol, dora" in str(early.detail)) == (Refusal.REVIEW_OPEN, True)
            await confirm(running, engine, "alice", operators=["bob", "carol"])
            await confirm(running, engine, "bob", operators=["alice", "dora"])
            assert (await close(running, engine)).reason == Refusal.REVIEW_OPEN
            running.clock.time += WEEK
            closed = await close(running, engine)
            assert closed.result == {"review": "spring", "suspended": 1}
            assert (await engine.submit_command(running.issue())).reason == Refusal.WORKLOAD_SUSPENDED
            assert (
                await confirm(running, engine, "alice", workloads=[plant.WORKLOAD])
            ).reason == Refusal.UNKNOWN_REVIEW
            assert (await start(running, engine)).reason == Refusal.ALREADY_EXISTS
            resumed = await running.by_two(engine, Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD})
            assert resumed.state is State.DONE
            assert (await start(running, engine, "summer")).state is State.DONE
            await settled(engine)
            await believed(running, engine)

    run(story())


def test_with_everything_confirmed_a_review_is_closed_before_its_date(running: RunningPlant) -> None:
    """Nothing is suspended then; who left and who came later are no subjects."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.enrol(engine)
            await start(running, engine)
            await running.by_two(engine, Act.WORKLOAD_ENROL, running.enrolment(id=OTHER, owner="bob"))
            await confirm(running, engine, "alice", operators=["bob", "carol"], workloads=[plant.WORKLOAD])
            await confirm(running, engine, "bob", operators=["alice"])
            leave(engine, "dora")
            assert (await close(running, engine)).result == {"review": "spring", "suspended": 0}
            assert not any(one.suspended for one in engine.standing.authority.workloads.values())

    run(story())


@pytest.mark.parametrize(
    ("by", "named", "reason"),
    [
        ("dora", {"workloads": [plant.WORKLOAD]}, Refusal.NOT_ALLOWED),
        ("dora", {"operators": ["bob"]}, Refusal.NOT_ALLOWED),
        ("carol", {"operators": ["bob"]}, Refusal.NOT_ALLOWED),
        ("alice", {"operators": ["alice"]}, Refusal.NOT_ALLOWED),
        ("alice", {"operators": ["bob", "alice"]}, Refusal.NOT_ALLOWED),
        ("alice", {"operators": ["nobody"]}, Refusal.UNKNOWN_PERSON),
        ("alice", {"workloads": [OTHER]}, Refusal.UNKNOWN_WORKLOAD),
        ("alice", {"operators": ["bob"], "review": "autumn"}, Refusal.UNKNOWN_REVIEW),
        ("alice", {}, Refusal.MALFORMED),
        ("alice", {"operators": []}, Refusal.MALFORMED),
        ("alice", {"operators": ["bob", "bob"]}, Refusal.MALFORMED),
        ("alice", {"operators": ["b\u200bob"]}, Refusal.MALFORMED),
        ("alice", {"operators": [f"p{number}" for number in range(257)]}, Refusal.MALFORMED),
        ("alice", {"workloads": ["spiffe://plant-a.example/line-1/../x"]}, Refusal.MALFORMED),
        ("bob", {"workloads": [plant.WORKLOAD]}, None),
        ("alice", {"workloads": [plant.WORKLOAD], "operators": ["bob", "dora"]}, None),
    ],
)
def test_who_confirms_what(running: RunningPlant, by: str, named: dict[str, Json], reason: Refusal | None) -> None:
    """A workload by its owner or an officer, a person by another who is an officer; all or nothing."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            await running.enrol(engine)
            await start(running, engine)
            review = str(named.pop("review", "spring"))
            before = engine.standing.authority.review
            outcome = await confirm(running, engine, by, review, **named)
            assert (engine.standing.authority.review == before) == (reason is not None)
            return outcome

    assert run(story()).reason == reason


@pytest.mark.parametrize(
    ("until", "good"), [(SHORTEST - 1, False), (SHORTEST, True), (LONGEST, True), (LONGEST + 1, False)]
)
def test_the_date_lies_one_to_ninety_days_ahead(
    running: RunningPlant,
    until: int,
    good: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """To the second."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            args: dict[str, Json] = {
                "name": "spring",
                "until": running.clock.now() + until,
                "reason": "the auditors ask",
            }
            return await running.by_two(engine, Act.REVIEW_START, args)

    assert run(story()).reason == (None if good else Refusal.MALFORMED)


def test_the_only_officer_is_confirmed_by_an_approver(tmp_path: Path) -> None:
    """Else nobody could, and a review would lock everybody out."""
    roles = {"alice": ["officer", "issuer"], "bob": ["approver"], "carol": ["auditor"]}
    running = RunningPlant(tmp_path / "home", roles=roles)

    async def story() -> None:
        async with running.engine() as engine:
            await start(running, engine)
            assert (await confirm(running, engine, "bob", operators=["carol"])).reason == Refusal.NOT_ALLOWED
            assert (await confirm(running, engine, "bob", operators=["alice"])).state is State.DONE
            assert (await confirm(running, engine, "alice", operators=["bob", "carol"])).state is State.DONE
            assert (await close(running, engine)).state is State.DONE
            await believed(running, engine)

    run(story())


def test_an_officer_who_is_away_locks_nobody_out(tmp_path: Path) -> None:
    """Of two officers one confirmed nobody: the other hears who can, and custodians put a new key in that place.

    There is no approver besides, and nobody confirms themself.
    """
    running = RunningPlant(tmp_path / "home", roles=plant.ROLES)

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            await start(running, engine)
            assert (await confirm(running, engine, "bob", operators=["alice"])).state is State.DONE
            running.clock.time += WEEK
            refused = await engine.submit_command(running.command("bob", Act.BUNDLE_CREATE, {"site": "line-1"}))
            assert refused.reason == Refusal.REVIEW_MISSED
            assert "alice can confirm bob" in (refused.detail or "")
            assert "`coldcredctl operator recover`" in (refused.detail or "")
            assert (await confirm(running, engine, "bob", operators=["bob"])).reason == Refusal.NOT_ALLOWED
            proof = running.countersignature(plant.operator("erin"), "erin")
            asked: dict[str, Json] = {"replaces": "alice", "person": "erin", "reason": "away"}
            custodians = (plant.custodian("bob"), plant.custodian("carol"))
            recovered = await running.with_proof(engine, Act.OPERATOR_RECOVER, asked, proof, custodians)
            assert recovered.state is State.DONE, recovered
            assert (await confirm(running, engine, "erin", operators=["bob", "carol"])).state is State.DONE
            running.clock.time += 1
            made = await engine.submit_command(running.command("bob", Act.LOG_EXPORT))
            assert made.state is State.DONE, made
            await settled(engine)
            await believed(running, engine)

    run(story())


def test_a_confirmed_approver_stands_in_for_officers_who_confirmed_nobody(running: RunningPlant) -> None:
    """From the date on, and for officers alone; before it, unconfirmed, or for anybody else, they may not."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            await start(running, engine)
            assert (await confirm(running, engine, "bob", operators=["alice"])).state is State.DONE
            assert (await confirm(running, engine, "dora", operators=["bob"])).reason == Refusal.NOT_ALLOWED
            running.clock.time += WEEK
            assert (await confirm(running, engine, "dora", operators=["bob"])).reason == Refusal.NOT_ALLOWED
            assert (await confirm(running, engine, "bob", operators=["dora"])).state is State.DONE
            assert (await confirm(running, engine, "dora", operators=["carol"])).reason == Refusal.NOT_ALLOWED
            assert (await confirm(running, engine, "dora", operators=["dora"])).reason == Refusal.NOT_ALLOWED
            refused = await engine.submit_command(running.command("bob", Act.BUNDLE_CREATE, {"site": "line-1"}))
            assert "alice, dora can confirm bob" in (refused.detail or "")
            assert (await confirm(running, engine, "dora", operators=["bob"])).state is State.DONE
            assert (await confirm(running, engine, "bob", operators=["carol"])).state is State.DONE
            await settled(engine)
            await believed(running, engine)

    run(story())


def test_one_founder_confirms_themself(tmp_path: Path) -> None:
    """In a home founded by one person there is nobody else."""
    running = RunningPlant(tmp_path / "home", roles=plant.ALONE)

    async def story() -> None:
        async with running.engine() as engine:
            args: dict[str, Json] = {"name": "spring", "until": running.clock.now() + WEEK}
            assert (await engine.submit_command(running.command("alice", Act.REVIEW_START, args))).state is State.DONE
            running.clock.time += WEEK
            refused = await engine.submit_command(running.command("alice", Act.LOG_EXPORT))
            assert refused.reason == Refusal.REVIEW_MISSED
            assert (await confirm(running, engine, "alice", operators=["alice"])).state is State.DONE
            command = running.command("alice", Act.REVIEW_CLOSE, {"review": "spring"})
            assert (await engine.submit_command(command)).state is State.DONE

    run(story())


def test_a_start_folds_the_same_review(running: RunningPlant) -> None:
    """What is open, and whom nobody confirmed, is found again in the log."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.enrol(engine)
            await start(running, engine)
            await confirm(running, engine, "alice", operators=["bob"], workloads=[plant.WORKLOAD])
            before = engine.standing.authority
        async with running.engine() as engine:
            after = engine.standing.authority
            assert (after.review, after.reviewed) == (before.review, before.reviewed)
            assert reviews.standing(after) == before.review

    run(story())


def test_a_batch_stops_at_the_date(running: RunningPlant) -> None:
    """Whoever asked is held to the review at each chunk, and the auditor believes how far it came."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            await start(running, engine)
            until = running.clock.now() + WEEK
            await confirm(running, engine, "alice", operators=["bob", "carol"], workloads=[plant.WORKLOAD])
            running.clock.time = until - 60
            await refresh(running, engine)
            line = dumps({"audience": plant.AUDIENCE, "profile": "orders-reader", "workload": plant.WORKLOAD}) + b"\n"
            body = line * (CHUNK * 4 * AHEAD)
            command = running.command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
            stream = await engine.submit_batch(command, {sha256_hex(body): body})
            assert await stream.chunk() is not None
            running.clock.time = until
            while await stream.chunk() is not None:
                pass
            assert stream.outcome().reason == Refusal.REVIEW_MISSED
            assert (await confirm(running, engine, "bob", operators=["alice"])).state is State.DONE
            await settled(engine)
            await believed(running, engine)

    run(story())
