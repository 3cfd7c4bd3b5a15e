"""A suspended key signs nothing, whatever asks for it, until two people activate it; the appliance lives on."""

import asyncio
import io
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.engine import Engine
from appliance.errors import Refusal
from appliance.log import Log
from appliance.nouns import checkpoints
from appliance.outcome import Outcome, State
from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.log import entry as entries
from coldcred.log.export import Anchor, verify
from hsm.errors import HsmError
from tests.support.fake_keystore import FakeKeyStore, MemoryToken
from tests.support.running import LABEL, SITE, RunningPlant, run, settled


class Gate(FakeKeyStore):
    """A key store whose signatures can be held up."""

    def __init__(self) -> None:
        super().__init__(MemoryToken(label=LABEL))
        self.asked, self.open = threading.Event(), threading.Event()
        self.open.set()

    def sign_unverified(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        """Wait until the gate is open, then sign."""
        self.asked.set()
        assert self.open.wait(30)
        return super().sign_unverified(key_id, inputs)


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the worked example's appliance, not started yet."""
    return RunningPlant(tmp_path / "home", keystore=Gate())


async def suspend(running: RunningPlant, engine: Engine, key: str, who: str = "bob") -> Outcome:
    """Have a person suspend a key."""
    args: dict[str, Json] = {"key": key, "reason": "it may have been copied"}
    return await engine.submit_command(running.command(who, Act.KEY_SUSPEND, args))


async def activate(running: RunningPlant, engine: Engine, key: str) -> Outcome:
    """Have two people activate a key."""
    command = running.command("alice", Act.KEY_ACTIVATE, {"key": key, "reason": "it was not"})
    return await engine.submit_command(command, approvals=[running.approval("bob", command)])


def requests(running: RunningPlant) -> dict[str, str]:
    """Return a command for each thing that signs."""
    return {
        "issue": running.issue(),
        "bundle": running.command("alice", Act.BUNDLE_CREATE, {"site": SITE}),
        "export": running.command("carol", Act.LOG_EXPORT),
    }


async def believed(running: RunningPlant, engine: Engine) -> None:
    """Export the log, and see that an auditor's reader believes every entry of it."""
    exported = await engine.submit_command(running.command("carol", Act.LOG_EXPORT))
    verify(io.BytesIO(exported.files["export"]), Anchor(checkpoints.verifier_key(engine.standing.authority)))


def types(path: Path) -> list[str]:
    """Read the types of all entries of a home that is not running."""
    log = Log.open(path / "log.sqlite")
    found = [entries.parse(body).type for body in log.bodies()]
    log.close()
    return found


@pytest.mark.parametrize(
    ("key", "stopped"),
    [
        ("tokens-1", {"issue"}),
        ("status-1", {"bundle"}),
        ("bundle-1", {"bundle"}),
        ("log-1", {"bundle", "export"}),
    ],
)
def test_what_a_suspended_key_would_sign_is_refused(key: str, stopped: set[str], running: RunningPlant) -> None:
    """Exactly what takes that key, also after a restart, until two people activate it; the log is believed."""

    async def refused(engine: Engine) -> set[str]:
        found = set()
        for name, command in requests(running).items():
            outcome = await engine.submit_command(command)
            if outcome.state is State.REFUSED:
                assert outcome.reason == Refusal.KEY_SUSPENDED, outcome
                assert key in str(outcome.detail)
                found.add(name)
        await settled(engine)
        return found

    async def before() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            assert await refused(engine) == set()
            assert (await suspend(running, engine, key)).result == {"key": key}
            assert await refused(engine) == stopped

    async def after() -> None:
        async with running.engine() as engine:
            assert await refused(engine) == stopped
            assert (await activate(running, engine, key)).have == ("alice", "bob")
            assert await refused(engine) == set()
            await believed(running, engine)

    run(before())
    run(after())


def test_an_appliance_without_its_log_key_serves_starts_and_stops(running: RunningPlant) -> None:
    """No checkpoint is made while the log key is suspended, at a stop neither; status says so."""

    async def story(*, first: bool) -> Json:
        async with running.engine() as engine:
            if first:
                await running.ready(engine)
                await suspend(running, engine, "log-1")
            assert (await engine.submit_command(running.issue())).state is State.DONE
            await settled(engine)
            reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
            status = await reader.read("status", {})
        assert engine.failure is None
        return status

    status = run(story(first=True))
    assert isinstance(status, dict)
    assert (status["suspended_keys"], status["makes_checkpoints"]) == (["log-1"], False)
    before = types(running.path)
    status = run(story(first=False))
    assert isinstance(status, dict)
    assert status["makes_checkpoints"] is False
    found = types(running.path)
    assert found.count("checkpoint") == before.count("checkpoint")
    assert "checkpoint" not in found[found.index("key.suspended") :]
    assert found[-1] == "stopped"


def test_who_may_suspend_and_activate(running: RunningPlant) -> None:
    """One person of any role but auditor suspends; activating waits for a second person."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            assert (await suspend(running, engine, "tokens-1", "carol")).reason == Refusal.NOT_ALLOWED
            assert (await suspend(running, engine, "tokens-1", "bob")).state is State.DONE
            args: dict[str, Json] = {"key": "tokens-1", "reason": "found"}
            command = running.command("alice", Act.KEY_ACTIVATE, args)
            waiting = await engine.submit_command(command)
            assert (waiting.state, waiting.need) == (State.WAITING, 2)
            assert (await engine.submit_command(running.issue())).reason == Refusal.KEY_SUSPENDED
            assert (await engine.submit_approval(running.approval("bob", command))).state is State.DONE
            assert (await engine.submit_command(running.issue())).state is State.DONE

    run(story())


def test_a_suspension_outdoes_what_was_asked_before_it(running: RunningPlant) -> None:
    """A request to activate that waited while others did, and the key was suspended again, is refused."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            await suspend(running, engine, "tokens-1")
            waiting = running.command("alice", Act.KEY_ACTIVATE, {"key": "tokens-1", "reason": "it was not"})
            assert (await engine.submit_command(waiting)).state is State.WAITING
            assert (await activate(running, engine, "tokens-1")).state is State.DONE
            running.clock.time += 121
            assert (await suspend(running, engine, "tokens-1")).state is State.DONE
            ended = await engine.submit_approval(running.approval("bob", waiting))
            assert (ended.reason, ended.rule) == (Refusal.KEY_SUSPENDED, "taken up by what was asked since")
            assert (await engine.submit_command(running.issue())).reason == Refusal.KEY_SUSPENDED
            assert (await activate(running, engine, "tokens-1")).state is State.DONE
            await believed(running, engine)

    run(story())


def test_only_what_can_change_is_changed(running: RunningPlant) -> None:
    """A key that is unknown, suspended already or not suspended is refused with its own reason."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            assert (await suspend(running, engine, "nobody")).reason == Refusal.UNKNOWN_KEY
            assert (await activate(running, engine, "tokens-1")).reason == Refusal.NOT_SUSPENDED
            await suspend(running, engine, "tokens-1")
            assert (await suspend(running, engine, "tokens-1")).reason == Refusal.KEY_SUSPENDED
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize("key", ["bundle-1", "log-1"])
def test_a_bundle_under_way_ends_when_a_key_of_its_next_step_is_suspended(key: str, running: RunningPlant) -> None:
    """No step is signed after the suspension; the refusal is recorded, so the command is told it when sent again."""
    keystore = running.keystore
    assert isinstance(keystore, Gate)

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            command = running.command("alice", Act.BUNDLE_CREATE, {"site": SITE})
            keystore.asked.clear()
            keystore.open.clear()
            making = asyncio.create_task(engine.submit_command(command))
            assert await asyncio.get_running_loop().run_in_executor(None, keystore.asked.wait, 30)
            assert (await suspend(running, engine, key)).state is State.DONE
            keystore.open.set()
            outcome = await making
            assert (outcome.state, outcome.reason, outcome.files) == (State.REFUSED, Refusal.KEY_SUSPENDED, {})
            await settled(engine)
            again = await engine.submit_command(command)
            assert (again.state, again.reason) == (State.REFUSED, Refusal.KEY_SUSPENDED)
            assert (await activate(running, engine, key)).state is State.DONE
            bundle = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": SITE}))
            assert bundle.state is State.DONE, bundle
            await believed(running, engine)

    run(story())
