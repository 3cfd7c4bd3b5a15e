"""Stopping is never slowed: whatever else somebody used up, a revocation and the bundle that carries it go through."""

from pathlib import Path

import pytest

from appliance import disk
from appliance.disk import LAST, RESERVE
from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from appliance.outcome import State
from appliance.quotas import PERSON, Limit, Of, Quotas
from coldcred.acts import STOPPING, Act
from coldcred.canonical import Json
from tests.support import plant
from tests.support.running import SITE, RunningPlant, run


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the plant's appliance, where a bundle takes two people."""
    quorums: Json = {"custodians": 2, "recovery": 2, "acts": {Act.BUNDLE_CREATE: 2}}
    return RunningPlant(tmp_path / "home", members={"quorums": quorums})


@pytest.mark.parametrize("act", sorted(STOPPING))
@pytest.mark.parametrize("of", [of for of, limit in PERSON.items() if limit.reserve == 0])
def test_what_has_no_reserve_stops_nobody(act: str, of: Of) -> None:
    """A bucket that was overdrawn by the last chunk of a batch keeps nobody from what takes nothing out of it."""
    quotas = Quotas()
    quotas.spend("alice", of, PERSON[of].most + 50, 0.0)
    quotas.check("alice", act, 0, 0.0)
    with pytest.raises(Refused, match="there is room again in 26 s"):
        quotas.check("alice", Act.CREDENTIAL_ISSUE, 1, 0.0)


@pytest.mark.parametrize("short", ["disk", "quota"])
def test_a_bundle_that_carries_a_revocation_is_approved(
    running: RunningPlant, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the bundle takes two people, its approval counts as part of revoking, as the command for it does."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.trust(engine)
            assert (await running.by_two(engine, Act.BUNDLE_CREATE, {"site": SITE})).state is State.DONE
            assert (await running.enrol(engine)).state is State.DONE
            issued = await engine.submit_command(running.issue())
            assert issued.state is State.DONE, issued
            revoke: dict[str, Json] = {"workload": plant.WORKLOAD, "reason": "lost"}
            assert (await engine.submit_command(running.command("bob", Act.CREDENTIAL_REVOKE, revoke))).state == "done"
            command = running.command("alice", Act.BUNDLE_CREATE, {"site": SITE})
            assert (await engine.submit_command(command)).state is State.WAITING
            if short == "disk":
                running.free = 0
                engine._watch.reserve._good_until = 0.0
            else:
                monkeypatch.setattr("appliance.quotas.PERSON", {**PERSON, Of.BYTES: Limit(0, 1, 2**24)})
            outcome = await engine.submit_approval(running.approval("bob", command))
            assert outcome.state is State.DONE, outcome

    run(story())


def test_an_approval_of_anything_else_waits_for_room(running: RunningPlant) -> None:
    """What carries no revocation uses none of the reserve, approved or not."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.trust(engine)
            command = running.command("alice", Act.BUNDLE_CREATE, {"site": SITE})
            assert (await engine.submit_command(command)).state is State.WAITING
            running.free = 0
            engine._watch.reserve._good_until = 0.0
            with pytest.raises(Refused) as caught:
                await engine.submit_approval(running.approval("bob", command))
            assert caught.value.reason is Refusal.DISK_RESERVE

    run(story())


def test_nobody_uses_up_the_reserve(running: RunningPlant, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key's many suspensions, each of them good, end at its share: others still stop things, it too with room."""
    monkeypatch.setattr(disk, "SHARE", 20_000)
    monkeypatch.setattr(disk, "LOOK_EVERY", 0.0)

    async def suspend(engine: Engine, person: str) -> Refused | None:
        asked: dict[str, Json] = {"workload": plant.WORKLOAD, "reason": "again"}
        try:
            outcome = await engine.submit_command(running.command(person, Act.WORKLOAD_SUSPEND, asked))
        except Refused as refused:
            return refused
        assert outcome.state is State.DONE, outcome
        return None

    async def story() -> None:
        async with running.engine() as engine:
            await running.enrol(engine)
            for _ in range(30):
                assert await suspend(engine, "alice") is None
            running.free = LAST
            written = 0
            while (refused := await suspend(engine, "alice")) is None:
                written += 1
            assert refused.reason is Refusal.DISK_RESERVE
            assert "the rest is for the others" in refused.detail
            assert 5 < written < 30
            assert await suspend(engine, "bob") is None
            running.free = 2 * RESERVE
            assert await suspend(engine, "alice") is None

    run(story())
