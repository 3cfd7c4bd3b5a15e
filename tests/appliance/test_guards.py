"""What keeps the appliance at work and truthful when it is pressed: strangers, floods, a full disk, a wrong clock."""

import asyncio
import random
from pathlib import Path
from typing import cast

import pytest

from appliance import disk
from appliance.authority import Authority
from appliance.disk import LAST, RESERVE, Reserve, free_bytes
from appliance.engine import Engine, unread, watch
from appliance.engine.inbox import SHARE
from appliance.engine.notices import Notices
from appliance.engine.unread import Unread
from appliance.errors import Refusal, Refused
from appliance.fold import SYSTEM_ENTRIES
from appliance.log import Log
from appliance.outcome import State
from appliance.policy import OPEN_REQUESTS
from appliance.standing import Archive, Standing
from coldcred.acts import Act
from coldcred.canonical import Json, sha256_hex
from coldcred.command import Verdict
from coldcred.log import entry as entries
from coldcred.log.system import PinMode
from hsm.supervisor import WorkerEvent
from tests.appliance.test_engine import events, types
from tests.support import plant
from tests.support.running import LABEL, RunningPlant, believed, run, settled

ALL = watch.EVER


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the worked example's appliance, not started yet."""
    return RunningPlant(tmp_path / "home")


def of_type(path: Path, kind: str) -> list[dict[str, Json]]:
    """Read the events of one type of a home that is not running."""
    return [event for event in events(path) if event["type"] == kind]


async def refusal(engine: Engine, token: str) -> Refusal:
    """Send a command that is refused, and give the reason."""
    with pytest.raises(Refused) as caught:
        await engine.submit_command(token)
    return caught.value.reason


# --- input that nobody enrolled signed (R11)


def test_strangers_are_counted_in_one_entry_and_cost_no_commit(
    running: RunningPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much comes within the span, nothing is written for it but one hash at its end, here a clean stop."""
    monkeypatch.setattr(unread, "SPAN", 3600.0)
    appends: list[int] = []
    append = Log.append

    def counted(log: Log, *arguments: object) -> None:
        appends.append(1)
        append(log, *arguments)  # type: ignore[arg-type]  # passed on as they came

    async def story() -> str:
        first = "a stranger's words"
        async with running.engine() as engine:
            monkeypatch.setattr(Log, "append", counted)
            assert await refusal(engine, first) is Refusal.MALFORMED
            for number in range(300):
                assert await refusal(engine, f"stranger {number}") is Refusal.MALFORMED
            wrong = running.command("alice", Act.READ_OPEN, appliance="0" * 64)
            assert await refusal(engine, wrong) is Refusal.WRONG_APPLIANCE
            with pytest.raises(Refused):
                await engine.submit_approval("stranger")
            with pytest.raises(Refused):
                await engine.open_reading("stranger")
            with pytest.raises(Refused):
                await engine.submit_command(running.command("alice", Act.READ_OPEN), {"0" * 64: b"another"})
            assert not appends
        return first

    first = run(story())
    (told,) = of_type(running.path, "input.refused")
    assert told == {
        "type": "input.refused",
        "count": 305,
        "reasons": {"malformed": 304, "wrong-appliance": 1},
        "sha256": sha256_hex(first.encode()),
    }
    assert first.encode() not in (running.path / "log.sqlite").read_bytes()


@pytest.mark.parametrize("where", ["command", "reading"])
def test_the_entry_comes_without_any_other_command(
    running: RunningPlant, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """When the span is over it is written though nobody asks for anything, and an auditor believes it."""
    monkeypatch.setattr(unread, "SPAN", 0.01)

    async def story() -> None:
        async with running.engine(signs=False) as engine:
            size = engine.standing.lookups.size
            with pytest.raises(Refused):
                await (engine.submit_command("stranger") if where == "command" else engine.open_reading("stranger"))
            while engine.standing.lookups.size == size:  # noqa: ASYNC110 - the log is what is waited for
                await asyncio.sleep(0.01)
        async with running.engine() as engine:
            await believed(running, engine)

    run(story())
    assert len(of_type(running.path, "input.refused")) == 1


def test_what_somebody_enrolled_signed_is_no_unread_input(running: RunningPlant) -> None:
    """A command that is refused for its form has an entry of its own, and is not counted a second time."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            assert (await engine.submit_command(running.issue(more=1))).reason == Refusal.MALFORMED

    run(story())
    assert (len(of_type(running.path, "command.refused")), of_type(running.path, "input.refused")) == (1, [])


def test_a_second_is_summed_up_from_its_first_input() -> None:
    """Nothing is due before the span is over; what comes later begins a new one."""
    counter = Unread()
    assert (counter.due_at, counter.take(ALL)) == (None, [])
    counter.count("malformed", sha256_hex(b"one"), 10.0)
    counter.count("bad-signature", sha256_hex(b"two"), 10.9)
    assert (counter.due_at, counter.take(10.99)) == (11.0, [])
    (event,) = counter.take(11.0)
    assert (event["count"], event["sha256"]) == (2, sha256_hex(b"one"))
    counter.count("malformed", "three", 11.5)
    assert counter.due_at == 12.5


def test_system_events_in_a_row_call_for_one_checkpoint(running: RunningPlant) -> None:
    """A flood does not fill the log with checkpoints; a command, or very many entries, call for one again."""
    standing = Standing(Authority.founded(running.founding), cast("Archive", None))
    refused: dict[str, Json] = {"type": "input.refused", "count": 1, "reasons": {"malformed": 1}, "sha256": "0" * 64}
    for event in ({"type": "founded"}, {"type": "started"}, refused, refused, {"type": "clock.right"}, refused):
        standing.stage(cast("dict[str, Json]", event), 1)
    assert standing.lookups.worth_checkpoint == 3
    standing.stage({"type": "checkpoint", "size": 6}, 1)
    while standing.lookups.size - standing.lookups.checkpoint_size < SYSTEM_ENTRIES - 1:
        standing.stage(refused, 1)
    assert standing.lookups.worth_checkpoint == 0
    standing.stage(refused, 1)
    assert standing.lookups.worth_checkpoint == 1


# --- what the side of the HSM tells


def test_notices_become_events() -> None:
    """Each PIN is an event of its own at once; troubles of a kind within a second are one, with their number."""
    notices = Notices()
    tell = notices.observer(LABEL, PinMode.TERMINAL)
    assert (notices.due_at(1.0), notices.take(1.0)) == (None, [])
    for kind in (
        WorkerEvent.STARTED, WorkerEvent.LOGGED_IN, WorkerEvent.LOST, WorkerEvent.LOST, WorkerEvent.PIN_REFUSED,
        WorkerEvent.PIN_REFUSED, WorkerEvent.TIMED_OUT, WorkerEvent.REPLACED, WorkerEvent.STOPPED,
    ):  # fmt: skip
        tell(kind, "a detail that is not logged")
    assert notices.due_at(5.0) == 6.0
    pins = [(event["type"], event["token"], event["mode"]) for event in notices.take(5.5)]
    assert pins == [(kind, LABEL, "terminal") for kind in ("pin.accepted", "pin.refused", "pin.refused")]
    assert notices.due_at(5.9) == 6.0
    tell(WorkerEvent.LOST, "")
    troubles = [(event["type"], event["token"], event["count"]) for event in notices.take(6.0)]
    assert troubles == [("worker.lost", LABEL, 3), ("worker.timed-out", LABEL, 1), ("worker.replaced", LABEL, 1)]
    assert (notices.due_at(7.0), notices.take(7.0)) == (None, [])


def test_notices_are_in_the_log_and_believed(running: RunningPlant) -> None:
    """What was told before the engine ran, and from other threads while it runs, is written by its clean end."""
    tell = running.notices.observer(LABEL, PinMode.DESCRIPTOR)

    async def story() -> None:
        tell(WorkerEvent.LOGGED_IN, "")
        async with running.engine() as engine:
            await running.ready(engine)
            await asyncio.to_thread(tell, WorkerEvent.LOST, "")
            await asyncio.to_thread(tell, WorkerEvent.PIN_REFUSED, "")
        async with running.engine() as engine:
            assert engine.standing.lookups.refused_pins[LABEL].count == 1
            await believed(running, engine)

    run(story())
    found = types(running.path)
    assert [found.count(kind) for kind in ("pin.accepted", "pin.refused", "worker.lost")] == [1, 1, 1]


# --- quotas


def test_a_person_has_so_many_requests_that_wait(running: RunningPlant) -> None:
    """One more is refused without an entry; others may still ask; whatever ends one makes room."""

    def request(person: str) -> str:
        return running.command(person, Act.SITE_ADD, {"name": "x", "audiences": ["https://x.example"]})

    async def story() -> None:
        async with running.engine(signs=False) as engine:
            first = request("alice")
            for command in (first, *(request("alice") for _ in range(OPEN_REQUESTS - 1))):
                assert (await engine.submit_command(command)).state is State.WAITING
            size = engine.standing.lookups.size
            assert await refusal(engine, request("alice")) is Refusal.QUOTA_EXCEEDED
            assert engine.standing.lookups.size == size
            assert (await engine.submit_command(first)).state is State.WAITING
            assert (await engine.submit_command(request("bob"))).state is State.WAITING
            await engine.submit_approval(running.approval("bob", first, Verdict.DENY))
            assert (await engine.submit_command(request("alice"))).state is State.WAITING
            assert await refusal(engine, request("alice")) is Refusal.QUOTA_EXCEEDED
            running.clock.time += 3600
            assert (await engine.submit_command(request("alice"))).state is State.WAITING

    run(story())


def test_a_flood_from_one_source_does_not_stop_another(running: RunningPlant) -> None:
    """Beyond its share a source hears busy, and what another sends after all that is answered before the flood ends."""
    answered: list[str] = []

    async def ask(engine: Engine, who: str, source: str) -> None:
        try:
            await engine.submit_command(running.command(who, Act.READ_OPEN), source=source)
            answered.append(who)
        except Refused as refused:
            answered.append(refused.id)

    async def story() -> None:
        async with running.engine(signs=False) as engine:
            flood = [asyncio.create_task(ask(engine, "alice", "operator.sock 0")) for _ in range(2 * SHARE)]
            other = asyncio.create_task(ask(engine, "bob", "operator.sock 1"))
            await asyncio.gather(*flood, other)

    run(story())
    assert answered.count("busy") == answered.count("alice") == SHARE
    assert "alice" in answered[answered.index("bob") :]


# --- the disk's reserve


def test_on_a_disk_that_is_almost_full_only_what_is_safe_goes_on(
    running: RunningPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoking, checkpoints and the stop go on; everything else is refused without an entry, until there is room."""
    monkeypatch.setattr(disk, "LOOK_EVERY", 0.0)

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            issued = await engine.submit_command(running.issue())
            waiting = running.command("alice", Act.PROFILE_SET, {"profile": plant.profile()})
            await engine.submit_command(waiting)
            running.free = RESERVE - 1
            size = engine.standing.lookups.size
            for command in (
                running.issue(),
                running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"}),
                running.command("carol", Act.LOG_EXPORT),
                running.command("carol", Act.WORKLOAD_ENROL, {}),
                waiting,
            ):
                assert await refusal(engine, command) is Refusal.DISK_RESERVE
            with pytest.raises(Refused) as caught:
                await engine.submit_approval(running.approval("bob", waiting))
            assert caught.value.reason is Refusal.DISK_RESERVE
            assert not [
                event for event in entries_from(engine, size) if event["type"] not in {"outcomes", "checkpoint"}
            ]
            revoke = {"credential": issued.result["jti"], "reason": "taken apart"}
            revoking = running.command("alice", Act.CREDENTIAL_REVOKE, revoke)
            assert (await engine.submit_command(revoking)).state is State.DONE
            assert (await engine.submit_command(revoking)).state is State.DONE
            assert await refusal(engine, "stranger") is Refusal.MALFORMED
            await reads_and_bundles(running, engine)
            running.free = RESERVE
            assert (await engine.submit_command(running.issue())).state is State.DONE
            running.free = 0

    run(story())
    assert types(running.path)[-3:] == ["stopped", "checkpoint", "outcomes"]
    assert len(of_type(running.path, "input.refused")) == 1


async def reads_and_bundles(running: RunningPlant, engine: Engine) -> None:
    """See that one bundle takes the revocation to its site, and no second, and that reading goes on for a while."""
    for free, reads in ((LAST, True), (LAST - 1, False)):
        running.free = free
        opening = running.command("carol", Act.READ_OPEN)
        if reads:
            assert await (await engine.open_reading(opening)).read("status", {})
        else:
            assert await refusal(engine, opening) is Refusal.DISK_RESERVE
    outcome = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"}))
    assert (outcome.state, bool(outcome.files["bundle"])) == (State.DONE, True)
    await settled(engine)
    again = running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"})
    assert await refusal(engine, again) is Refusal.DISK_RESERVE


def entries_from(engine: Engine, first: int) -> list[dict[str, Json]]:
    """Read the committed events from a number on."""
    return [entries.parse(body).event for body in engine.standing.archive.bodies(first)]


def test_the_disk_is_looked_at_once_a_second() -> None:
    """A look is good for a second, whatever comes within it, and the numbers are those of the refusal."""
    looks: list[int] = [RESERVE - 1, RESERVE]
    reserve = Reserve(lambda: looks.pop(0))
    for at in (5.0, 5.5, 5.99):
        with pytest.raises(Refused, match=str(RESERVE - 1)):
            reserve.check("credential.issue", at)
        for act in ("credential.revoke", "workload.suspend", "key.suspend"):
            reserve.check(act, at)
    reserve.check("credential.issue", 6.0)
    assert not looks


def test_a_disk_that_cannot_be_asked_has_nothing_left(tmp_path: Path) -> None:
    """A folder that is not there gives 0; one that is, what its file system says."""
    assert free_bytes(tmp_path / "nowhere") == 0
    assert free_bytes(tmp_path) > 0


# --- the clock (C1)


def test_a_thousand_jumps_of_the_clock(running: RunningPlant) -> None:
    """Over 2 s behind the newest entry every command is refused, else none; the log tells each episode once."""
    chance = random.Random(1)
    seen: list[bool] = []

    async def story() -> None:
        async with running.engine(signs=False) as engine:
            for _ in range(1000):
                lookups = engine.standing.lookups
                newest, size = lookups.last_time, lookups.size
                running.clock.time = newest + chance.choice((-86_400, -3600, -10, -4, -3, -2, -1, 0, 1, 30))
                seen.append(running.clock.time < newest - 2)
                command = running.command("carol", Act.READ_OPEN)
                if not seen[-1]:
                    assert (await engine.submit_command(command)).state is State.DONE
                    continue
                assert await refusal(engine, command) is Refusal.CLOCK_FAULT
                assert lookups.size - size in {0, 1}
                assert (lookups.last_time, lookups.clock_behind) == (newest, True)
            running.clock.time = engine.standing.lookups.last_time
        async with running.engine() as engine:
            await believed(running, engine)

    run(story())
    began = sum(behind and not before for before, behind in zip([False, *seen], seen, strict=False))
    ended = sum(before and not behind for before, behind in zip(seen, [*seen[1:], False], strict=True))
    assert seen.count(True) > began > 100
    assert [types(running.path).count(kind) for kind in ("clock.behind", "clock.right")] == [began, ended]


def test_the_episode_is_remembered_across_a_start(running: RunningPlant) -> None:
    """A clock that was behind at the stop and is right at the next start ends its episode there, once."""

    async def story() -> None:
        async with running.engine(signs=False) as engine:
            running.clock.time -= 10
            for _ in range(3):
                assert await refusal(engine, running.command("carol", Act.READ_OPEN)) is Refusal.CLOCK_FAULT
        running.clock.time += 10
        for _ in range(2):
            async with running.engine(signs=False) as engine:
                await engine.submit_command(running.command("carol", Act.READ_OPEN))
                await engine.open_reading(running.command("carol", Act.READ_OPEN))

    run(story())
    (behind,) = of_type(running.path, "clock.behind")
    assert behind == {"type": "clock.behind", "seconds": 10}
    assert len(of_type(running.path, "clock.right")) == 1
