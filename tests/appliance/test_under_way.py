"""What is being carried out, step by step: nobody turns it, and what began in time may end later."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from appliance.engine import Engine
from appliance.errors import HomeError, Refusal, Refused
from appliance.nouns.batches import CHUNK
from appliance.outcome import Outcome, State
from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.command import Verdict, document_id
from coldcred.jose import parse_unverified
from hsm.errors import HsmError
from tests.support import plant
from tests.support.fake_keystore import FakeKeyStore, MemoryToken
from tests.support.running import LABEL, RunningPlant, believed, run, settled

ROLES = {**plant.ROLES, "dora": ["issuer", "approver"]}
RAISED: dict[str, Json] = {"custodians": 2, "recovery": 2, "acts": {"bundle.create": 2}}
TWO: dict[str, Json] = {**plant.profile(), "name": "two", "approvals": 2}


class SlowKeyStore(FakeKeyStore):
    """Tokens of which one signature takes minutes, when `wait` is given."""

    wait: Callable[[], None] | None = None

    def sign_unverified(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        """Sign; then the time has passed."""
        signed = super().sign_unverified(key_id, inputs)
        if self.wait is not None:
            self.wait()
            self.wait = None
        return signed


def plant_of(folder: Path, **members: Json) -> RunningPlant:
    """Give an appliance of four people, not started yet."""
    return RunningPlant(folder / "home", roles=ROLES, members=members)


def asked(running: RunningPlant, who: str, count: int, profile: str) -> tuple[str, dict[str, bytes]]:
    """Have somebody ask for a batch of so many lines; gives the command and what travels beside it."""
    line: dict[str, Json] = {
        "workload": plant.WORKLOAD,
        "profile": profile,
        "audience": plant.AUDIENCE,
        "scopes": ["orders.read"],
    }
    body = b"".join(dumps({**line, "ttl": 100 + number}) + b"\n" for number in range(count))
    command = running.command(who, Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
    return command, {sha256_hex(body): body}


async def read(engine: Engine, command: str, beside: dict[str, bytes]) -> Outcome:
    """Send a batch and read it to its end."""
    stream = await engine.submit_batch(command, beside)
    while await stream.chunk() is not None:
        pass
    return stream.outcome()


async def busy(engine: Engine, running: RunningPlant, how: str, command: str) -> None:
    """See that somebody who denies, withdraws or approves a command that is under way is told to wait."""
    request = {"request": document_id(parse_unverified(command))}
    match how:
        case "withdraw":
            sent = engine.submit_command(running.command("alice", Act.REQUEST_WITHDRAW, {**request}))
        case "deny":
            sent = engine.submit_approval(running.approval("dora", command, Verdict.DENY))
        case _:
            sent = engine.submit_approval(running.approval("dora", command))
    with pytest.raises(Refused) as caught:
        await sent
    assert caught.value.reason is Refusal.BUSY


@pytest.mark.parametrize("how", ["deny", "withdraw", "approve"])
def test_nobody_turns_a_batch_that_is_under_way(how: str, tmp_path: Path) -> None:
    """It takes two people and has both; whoever comes later is told to wait, and the batch ends as it began."""
    running = plant_of(tmp_path)

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            assert (await running.by_two(engine, Act.PROFILE_SET, {"profile": TWO})).state is State.DONE
            command, beside = asked(running, "alice", 12 * CHUNK, "two")
            assert (await read(engine, command, beside)).state is State.WAITING
            assert (await engine.submit_approval(running.approval("bob", command))).state is State.READY
            completes = running.completing(command)
            stream = await engine.submit_batch(completes, {})
            assert await stream.chunk()
            assert engine.standing.lookups.under_way
            for again in (completes, running.completing(command)):
                with pytest.raises(Refused, match="being carried out"):
                    await engine.submit_batch(again, {})
            await busy(engine, running, how, command)
            while await stream.chunk() is not None:
                pass
            assert stream.outcome().result == {"held": 0, "issued": 12 * CHUNK, "refused": 0}
            await settled(engine)
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize("second", [Verdict.APPROVE, Verdict.DENY])
def test_two_approvals_at_once_carry_a_bundle_out_once(second: Verdict, tmp_path: Path) -> None:
    """The first of them fills the quorum; the other one finds it under way."""
    running = plant_of(tmp_path, quorums=RAISED)

    async def story() -> None:
        async with running.engine() as engine:
            assert (await running.trust(engine)).state is State.DONE
            command = running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"})
            assert (await engine.submit_command(command)).state is State.WAITING
            done, late = await asyncio.gather(
                engine.submit_approval(running.approval("bob", command)),
                engine.submit_approval(running.approval("dora", command, second)),
                return_exceptions=True,
            )
            assert isinstance(done, Outcome)
            assert done.result["sequence"] == 1
            assert isinstance(late, Refused)
            assert late.reason is Refusal.BUSY
            await settled(engine)
            await believed(running, engine)

    run(story())


def test_a_waiting_batch_is_not_spoiled_by_whoever_sends_it_wrongly(tmp_path: Path) -> None:
    """Whoever has read its command and sends it as a single one ends nothing."""
    running = plant_of(tmp_path)

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            await running.by_two(engine, Act.PROFILE_SET, {"profile": TWO})
            command, beside = asked(running, "alice", 2, "two")
            assert (await read(engine, command, beside)).state is State.WAITING
            with pytest.raises(Refused) as caught:
                await engine.submit_command(command)
            assert (caught.value.reason, caught.value.rule) == (Refusal.MALFORMED, "R8 a batch is sent as one")
            await engine.submit_approval(running.approval("bob", command))
            assert (await read(engine, command, beside)).state is State.READY
            with pytest.raises(Refused, match="sent as a batch"):
                await running.complete(engine, command)
            assert (await read(engine, running.completing(command), {})).state is State.DONE
            await settled(engine)
            await believed(running, engine)

    run(story())


def test_lines_of_somebody_who_may_not_ask_are_not_kept(tmp_path: Path) -> None:
    """An auditor, whose batches are refused, cannot fill the disk with them."""
    running = plant_of(tmp_path)

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            command, beside = asked(running, "carol", 100, "orders-reader")
            assert (await read(engine, command, beside)).reason == Refusal.NOT_ALLOWED
            with pytest.raises(HomeError):
                engine.standing.archive.blob(next(iter(beside)))
            await settled(engine)
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize("slow", ["past its end", "past the review"])
def test_a_bundle_that_began_in_time_may_end_later(slow: str, tmp_path: Path) -> None:
    """A signature took minutes: the command has ended meanwhile, or the date of a review has come."""
    running = plant_of(tmp_path, quorums=RAISED)
    store = running.keystore = SlowKeyStore(MemoryToken(label=LABEL))

    async def story() -> None:
        async with running.engine() as engine:
            life = 60
            if slow == "past the review":
                until = running.clock.now() + plant.DAY
                await running.by_two(engine, Act.REVIEW_START, {"name": "spring", "until": until})
                confirmed: dict[str, Json] = {"review": "spring", "operators": ["carol"]}
                assert (
                    await engine.submit_command(running.command("bob", Act.REVIEW_CONFIRM, confirmed))
                ).state == "done"
                running.clock.time, life = until - 10, 3600
            assert (await running.trust(engine)).state is State.DONE
            expires = running.clock.now() + life
            command = running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"}, expires_at=expires)
            assert (await engine.submit_command(command)).state is State.WAITING
            await settled(engine)

            def wait() -> None:
                running.clock.time += 200

            store.wait = wait
            assert (await engine.submit_approval(running.approval("bob", command))).state is State.DONE
            await settled(engine)
            await believed(running, engine)

    run(story())
