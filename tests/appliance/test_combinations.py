"""Profiles that exclude each other: never held together by a workload or an owner, however they are asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import combinations
from appliance.authority import Authority, Workload
from appliance.combinations import SLICE
from appliance.engine import Engine
from appliance.errors import Refusal
from appliance.lookups import Lookups
from appliance.outcome import Outcome, State
from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest
from coldcred.canonical import Json, dumps, loads, sha256_hex
from coldcred.log.live import Issued
from coldcred.profile import Profile
from coldcred.record import Record
from tests.support import plant
from tests.support.running import RunningPlant, believed, run, settled

SECOND, THIRD = f"{plant.WORKLOAD}0", f"{plant.WORKLOAD}1"
READER, PAYER = "orders-reader", "orders-payer"
RULE = f"profile {PAYER} excludes {READER}"


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the worked example's appliance, not started yet."""
    return RunningPlant(tmp_path / "home")


async def ready(running: RunningPlant, engine: Engine) -> None:
    """Enrol two workloads of Alice's and one of Bob's, and set a profile that excludes the example's."""
    await running.ready(engine)
    for workload, owner in ((SECOND, "alice"), (THIRD, "bob")):
        enrolment = running.enrolment(id=workload, owner=owner)
        assert (await running.by_two(engine, Act.WORKLOAD_ENROL, enrolment)).state is State.DONE
    assert (await set_profile(running, engine)).state is State.DONE


async def set_profile(running: RunningPlant, engine: Engine, **changes: Json) -> Outcome:
    """Set the profile that excludes the example's."""
    profile: Json = {**plant.profile(), "name": PAYER, "excludes": [READER], **changes}
    return await running.by_two(engine, Act.PROFILE_SET, {"profile": profile})


async def issue(running: RunningPlant, engine: Engine, workload: str, profile: str) -> Outcome:
    """Issue to a workload under a profile."""
    outcome = await engine.submit_command(running.issue(workload=workload, profile=profile))
    await settled(engine)
    return outcome


@pytest.mark.parametrize(("first", "then"), [(READER, PAYER), (PAYER, READER)])
@pytest.mark.parametrize(
    ("workload", "reason"),
    [(plant.WORKLOAD, Refusal.TOXIC_COMBINATION), (SECOND, Refusal.TOXIC_COMBINATION), (THIRD, None)],
)
def test_one_workload_or_one_owner_does_not_hold_both(
    running: RunningPlant, first: str, then: str, workload: str, reason: Refusal | None
) -> None:
    """Whichever of the two names the other, and whichever comes first; another owner's may have it."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            await ready(running, engine)
            assert (await issue(running, engine, plant.WORKLOAD, first)).state is State.DONE
            assert (await issue(running, engine, plant.WORKLOAD, first)).state is State.DONE
            outcome = await issue(running, engine, workload, then)
            await believed(running, engine)
            return outcome

    outcome = run(story())
    assert outcome.reason == reason
    if reason is not None:
        assert outcome.rule == RULE


@pytest.mark.parametrize("frees", ["revoked", "ended", "adopted"])
def test_what_is_held_no_more_hinders_nobody(running: RunningPlant, frees: str) -> None:
    """Once it is revoked, has ended to the second, or the other workload is somebody else's."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            held = await issue(running, engine, plant.WORKLOAD, READER)
            running.clock.time += 899
            assert (await issue(running, engine, SECOND, PAYER)).reason == Refusal.TOXIC_COMBINATION
            match frees:
                case "revoked":
                    revoke: dict[str, Json] = {"credential": held.result["jti"], "reason": "lost"}
                    await engine.submit_command(running.command("bob", Act.CREDENTIAL_REVOKE, revoke))
                    # Its site takes it until a bundle tells it that it is revoked.
                    assert (await issue(running, engine, SECOND, PAYER)).reason == Refusal.TOXIC_COMBINATION
                    bundle: dict[str, Json] = {"site": "line-1"}
                    await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, bundle))
                    await settled(engine)
                case "ended":
                    running.clock.time += 1
                case _:
                    adopt: dict[str, Json] = {"workload": SECOND, "owner": "bob", "reason": "moved"}
                    await running.by_two(engine, Act.WORKLOAD_ADOPT, adopt)
            assert (await issue(running, engine, SECOND, PAYER)).state is State.DONE
            await believed(running, engine)

    run(story())


def test_what_is_revoked_is_held_over_a_restart(running: RunningPlant) -> None:
    """What sites were not told is folded from the log, and so is that they were."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            held = await issue(running, engine, plant.WORKLOAD, READER)
            revoke: dict[str, Json] = {"credential": held.result["jti"], "reason": "lost"}
            await engine.submit_command(running.command("bob", Act.CREDENTIAL_REVOKE, revoke))
            await settled(engine)
        async with running.engine() as engine:
            assert (await issue(running, engine, SECOND, PAYER)).reason == Refusal.TOXIC_COMBINATION
            bundle = running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"})
            assert (await engine.submit_command(bundle)).state is State.DONE
            await settled(engine)
        async with running.engine() as engine:
            assert (await issue(running, engine, SECOND, PAYER)).state is State.DONE
            await believed(running, engine)

    run(story())


async def batch(running: RunningPlant, engine: Engine, *lines: tuple[str, str]) -> list[str | None]:
    """Issue a batch; gives the reason that each line was refused for."""
    members = ({"audience": plant.AUDIENCE, "profile": profile, "workload": workload} for workload, profile in lines)
    body = b"".join(dumps({**line}) + b"\n" for line in members)
    command = running.command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
    stream = await engine.submit_batch(command, {sha256_hex(body): body})
    told: dict[int, str | None] = {}
    while (chunk := await stream.chunk()) is not None:
        for line in chunk.splitlines():
            record: Any = loads(line)
            told[record["line"]] = record.get("reason")
    assert stream.outcome().state is State.DONE
    await settled(engine)
    return [told[place] for place in range(1, len(lines) + 1)]


def test_of_the_lines_of_a_batch_the_first_one_wins(running: RunningPlant) -> None:
    """Within one chunk, and from one chunk to the next; the auditor believes it."""
    toxic = Refusal.TOXIC_COMBINATION.value

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            found = await batch(
                running,
                engine,
                (plant.WORKLOAD, READER),
                (plant.WORKLOAD, PAYER),
                (SECOND, PAYER),
                (THIRD, PAYER),
                (THIRD, READER),
                *[(SECOND, READER)] * 70,
                (SECOND, PAYER),
                (THIRD, PAYER),
            )
            assert found == [None, toxic, toxic, None, toxic, *[None] * 70, toxic, None]
            assert await batch(running, engine, (plant.WORKLOAD, PAYER), (THIRD, PAYER)) == [toxic, None]
            await believed(running, engine)

    run(story())


def test_setting_a_profile_warns_of_what_is_held_together(running: RunningPlant) -> None:
    """Nothing is revoked by it; without a conflict there is no warning."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            await set_profile(running, engine, excludes=["nobody"])
            for profile in (READER, PAYER):
                assert (await issue(running, engine, plant.WORKLOAD, profile)).state is State.DONE
            again = await set_profile(running, engine)
            assert again.warnings == (
                f"toxic combination: {RULE}, and both are held by 2 owners and workloads, such as alice",
            )
            assert (await issue(running, engine, SECOND, READER)).reason == Refusal.TOXIC_COMBINATION
            assert (await set_profile(running, engine, excludes=["nobody"])).warnings == ()
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize("excludes", [[], [PAYER], [READER, READER], ["A"], [7], "x", [f"p{n}" for n in range(65)]])
def test_what_a_profile_excludes_is_read_strictly(running: RunningPlant, excludes: Json) -> None:
    """One to 64 names of other profiles, none of them twice."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            return await set_profile(running, engine, excludes=excludes)

    assert run(story()).reason == Refusal.MALFORMED


# -- the report


def world(running: RunningPlant, workloads: dict[str, tuple[str, tuple[str, ...]]]) -> Authority:
    """Give an authority with these workloads (owner, groups), and two profiles for groups that exclude each other."""
    authority = Authority.founded(running.founding)
    for name, group, excludes in ((READER, "read", [PAYER]), (PAYER, "pay", [READER, "nobody"])):
        members: dict[str, Json] = {**plant.profile(), "name": name, "groups": [group], "excludes": [*excludes]}
        authority = authority.with_member("profiles", name, Profile.read(Record(members, "profile"), plant.DOMAIN))
    for workload, (owner, groups) in workloads.items():
        found = Workload(workload, owner, 2 * plant.TIME, None, groups=groups)
        authority = authority.with_workload(found)
    return authority


def test_workloads_go_with_their_owners(running: RunningPlant) -> None:
    """When they are enrolled, enrolled again for somebody else, and adopted; it is what a search would find."""
    authority = world(running, {})
    for workload, owner in (("a", "alice"), ("b", "alice"), ("c", "bob"), ("a", "bob"), ("c", "alice"), ("b", "alice")):
        authority = authority.with_workload(Workload(workload, owner, plant.TIME, None))
        for found in authority.workloads.values():
            kin = {one.id for one in authority.workloads.values() if one.owner == found.owner}
            assert authority.kin(found.id) == kin
    assert authority.kin("d") == frozenset()


def holding(*held: tuple[str, str]) -> Lookups:
    """Give lookups in which these workloads hold these profiles."""
    lookups = Lookups()
    for place, (workload, profile) in enumerate(held):
        issued = Issued(place, "list", place, 2 * plant.TIME, workload, profile, "k", "line-1")
        lookups.add_issued(f"jti-{place}", issued)
    return lookups


def rows(authority: Authority, lookups: Lookups) -> list[tuple[Json, ...]]:
    """Give the report's rows."""
    found: Iterator[Any] = combinations.report(authority, lookups, plant.TIME)
    return [tuple(row.values()) for row in found if row is not None]


BOTH, ONE, NEITHER = ("read", "pay"), ("read",), ()
PAYS = ("pay",)


@pytest.mark.parametrize(
    ("workloads", "held", "expected"),
    [
        ({plant.WORKLOAD: ("alice", BOTH)}, [], [("alice", plant.WORKLOAD, "may")]),
        ({plant.WORKLOAD: ("alice", ONE)}, [], []),
        ({plant.WORKLOAD: ("alice", NEITHER), SECOND: ("alice", PAYS)}, [], []),
        ({plant.WORKLOAD: ("alice", ONE), SECOND: ("bob", PAYS)}, [], []),
        ({plant.WORKLOAD: ("alice", ONE), SECOND: ("alice", PAYS)}, [], [("alice", None, "may")]),
        (
            {plant.WORKLOAD: ("alice", BOTH), SECOND: ("alice", PAYS)},
            [(plant.WORKLOAD, READER), (SECOND, PAYER)],
            [("alice", plant.WORKLOAD, "may"), ("alice", None, "holds")],
        ),
        (
            {plant.WORKLOAD: ("alice", NEITHER), SECOND: ("bob", BOTH)},
            [(plant.WORKLOAD, READER), (plant.WORKLOAD, PAYER)],
            [("alice", plant.WORKLOAD, "holds"), ("bob", SECOND, "may")],
        ),
    ],
)
def test_the_report_says_who_holds_and_who_may(
    running: RunningPlant,
    workloads: dict[str, tuple[str, tuple[str, ...]]],
    held: list[tuple[str, str]],
    expected: list[tuple[str, str | None, str]],
) -> None:
    """A row for each workload, and one for the owner where no single workload says as much; each pair once."""
    found = rows(world(running, workloads), holding(*held))
    assert found == [(owner, workload, READER, PAYER, state) for owner, workload, state in expected]


def test_the_report_lets_others_go_first(running: RunningPlant) -> None:
    """It pauses after each thousand workloads."""
    crowd = {f"{plant.WORKLOAD}{number}": ("alice", ONE) for number in range(2 * SLICE + 1)}
    authority = world(running, {})
    workloads = {name: Workload(name, owner, 1, None, groups=groups) for name, (owner, groups) in crowd.items()}
    object.__setattr__(authority, "workloads", workloads)
    assert list(combinations.report(authority, Lookups(), plant.TIME)) == [None, None]


def test_the_report_is_read_page_by_page(running: RunningPlant) -> None:
    """What was found at its first page is given to its end."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
            first: Any = await reader.read("toxic", {"limit": "2"})
            assert [(row["workload"], row["state"]) for row in first["rows"]] == [
                (plant.WORKLOAD, "may"),
                (SECOND, "may"),
            ]
            last: Any = await reader.read("toxic", {"limit": "2", "offset": str(first["next"])})
            assert ([row["workload"] for row in last["rows"]], last["next"]) == ([THIRD], None)

    run(story())
