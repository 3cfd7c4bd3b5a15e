"""A request that has its people is completed by whoever made it and by nobody else, whoever can read it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance import intake
from appliance.decision import Items
from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from appliance.explaining import Imagined, explain
from appliance.outcome import State
from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest, read_items
from coldcred.canonical import Json, dumps, loads, sha256_hex
from coldcred.command import document_id
from coldcred.jose import parse_unverified
from tests.support import plant
from tests.support.running import RunningPlant, believed, run, settled
from tests.support.signers import Signer

STRICT: dict[str, Json] = {**plant.profile(), "name": "two-people", "approvals": 2}

Story = Callable[[RunningPlant, Engine, str], Awaitable[None]]


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Give a plant that was founded and not started."""
    return RunningPlant(tmp_path / "home", roles={**plant.ROLES, "dora": ["approver"]})


def tell(running: RunningPlant, story: Story) -> None:
    """Run a story about alice's request for a credential that takes two; an auditor reads the log afterwards."""

    async def whole() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            assert (await running.by_two(engine, Act.PROFILE_SET, {"profile": STRICT})).state is State.DONE
            command = running.issue(profile="two-people")
            assert (await engine.submit_command(command)).state is State.WAITING
            await story(running, engine, command)
            await settled(engine)
            await believed(running, engine)

    run(whole())


async def ready(running: RunningPlant, engine: Engine, command: str) -> str:
    """Have bob approve it, and give his approval."""
    approval = running.approval("bob", command)
    assert (await engine.submit_approval(approval)).state is State.READY
    return approval


def events(engine: Engine) -> list[dict[str, Any]]:
    """Give the events of the log so far."""
    entries: list[Any] = [loads(body) for body in engine.standing.archive.bodies()]
    return [entry["event"] for entry in entries]


def carried_out(engine: Engine) -> list[str]:
    """Name the entries so far that carry something out."""
    return [event["type"] for event in events(engine) if "result" in event]


def test_nobody_takes_what_is_to_be_issued_for_another(running: RunningPlant) -> None:
    """Whoever can read a request sends it, or completes it in their own name: nothing is issued, and it stays ready.

    An auditor reads commands in the log, so the command alone must not be worth a credential.
    """

    async def story(running: RunningPlant, engine: Engine, command: str) -> None:
        approval = await ready(running, engine, command)
        before = carried_out(engine)
        read = engine.standing.archive.blob(sha256_hex(command.encode())).decode()
        for sent in (engine.submit_command(read), engine.submit_command(read, approvals=[approval])):
            found = await sent
            assert (found.state, found.files) == (State.READY, {})
        assert (await engine.submit_approval(approval)).state is State.READY
        for person, rule in (
            ("carol", "R2 who may ask"),
            ("bob", "R9 completed by its requester"),
            ("dora", "R9 completed by its requester"),
        ):
            other = await running.complete(engine, command, person)
            assert (other.state, other.reason, other.rule) == (State.REFUSED, Refusal.NOT_ALLOWED, rule)
        assert carried_out(engine) == before
        completes = running.completing(command)
        own = await engine.submit_command(completes)
        assert (own.state, [*own.files], own.have) == (State.DONE, ["token"], ("alice", "bob"))
        assert carried_out(engine)[len(before) :] == ["request.completed", "credential.issued"]
        again = await engine.submit_command(completes)
        assert (again.state, again.files, again.act) == (State.DONE, {}, "credential.issue")

    tell(running, story)


def test_what_came_with_its_approvals_is_completed_too(running: RunningPlant) -> None:
    """Whoever carries a command and its approval in for the first time does not get the credential either."""

    async def story(running: RunningPlant, engine: Engine, _command: str) -> None:
        fresh = running.issue(profile="two-people")
        carried = await engine.submit_command(fresh, approvals=[running.approval("bob", fresh)])
        assert (carried.state, carried.files) == (State.READY, {})
        assert [*(await running.complete(engine, fresh)).files] == ["token"]

    tell(running, story)


def test_what_came_too_early_completes_nothing_later(running: RunningPlant) -> None:
    """It is refused while somebody is missing, and in the log; sent again by another once bob approved, it stays so."""

    async def story(running: RunningPlant, engine: Engine, command: str) -> None:
        early = running.completing(command)
        first = await engine.submit_command(early)
        assert (first.reason, first.detail) == (Refusal.TOO_FEW_PEOPLE, "it takes 2 people, so far alice")
        await ready(running, engine, command)
        assert (await engine.submit_command(early)) == first
        assert (await running.complete(engine, command)).state is State.DONE

    tell(running, story)


def test_what_is_completed_is_held_to_what_stands_then(running: RunningPlant) -> None:
    """After a suspension the request ends refused, for its own reason, and says who had signed."""

    async def story(running: RunningPlant, engine: Engine, command: str) -> None:
        await ready(running, engine, command)
        stops = running.command("bob", Act.WORKLOAD_SUSPEND, {"workload": plant.WORKLOAD, "reason": "found open"})
        assert (await engine.submit_command(stops)).state is State.DONE
        ended = await running.complete(engine, command)
        assert (ended.state, ended.reason) == (State.REFUSED, Refusal.WORKLOAD_SUSPENDED)
        assert (await running.complete(engine, command)).reason == Refusal.UNKNOWN_REQUEST
        found = [event for event in events(engine) if event.get("command") == document_id(parse_unverified(command))]
        assert [event["type"] for event in found] == ["command.waiting", "command.refused"]
        assert found[-1]["people"] == ["alice", "bob"]

    tell(running, story)


@pytest.mark.parametrize(("age", "reason"), [(59, None), (60, "expired")])
def test_what_completes_a_request_has_its_own_time(running: RunningPlant, age: int, reason: str | None) -> None:
    """Signed for a minute it is good for a minute, whatever the request is good for; a new one is good again."""

    async def story(running: RunningPlant, engine: Engine, command: str) -> None:
        await ready(running, engine, command)
        now = running.clock.now()
        completes = running.completing(command, issued_at=now, expires_at=now + 60)
        running.clock.time += age
        assert (await engine.submit_command(completes)).reason == reason
        if reason is not None:
            assert (await running.complete(engine, command)).state is State.DONE

    tell(running, story)


@pytest.mark.parametrize("approver", ["bob", "dora"])
def test_a_request_past_its_end_is_told_and_left(running: RunningPlant, approver: str) -> None:
    """Whoever sends it hears that it ended, and nothing is written; completing it finds nothing that waits."""

    async def story(running: RunningPlant, engine: Engine, command: str) -> None:
        assert (await engine.submit_approval(running.approval(approver, command))).state is State.READY
        running.clock.time += 3600
        before = len(events(engine))
        with pytest.raises(Refused) as caught:
            await engine.submit_command(command)
        assert (caught.value.reason, len(events(engine))) == (Refusal.EXPIRED, before)
        assert (await running.complete(engine, command)).reason == Refusal.UNKNOWN_REQUEST

    tell(running, story)


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({}, Refusal.MALFORMED),
        ({"request": "newest"}, Refusal.MALFORMED),
        ({"request": 7}, Refusal.MALFORMED),
        ({"request": ["0" * 64]}, Refusal.MALFORMED),
        ({"request": "0" * 64, "reason": "now"}, Refusal.MALFORMED),
        ({"request": "0" * 64}, Refusal.UNKNOWN_REQUEST),
    ],
)
def test_what_completes_nothing_is_refused(running: RunningPlant, args: dict[str, Json], reason: Refusal) -> None:
    """Another form, or a request that is not there: refused and in the log; the one that waits is left alone."""

    async def story(running: RunningPlant, engine: Engine, command: str) -> None:
        outcome = await engine.submit_command(running.command("alice", Act.REQUEST_COMPLETE, args))
        assert (outcome.state, outcome.reason) == (State.REFUSED, reason)
        assert (await engine.submit_command(command)).state is State.WAITING

    tell(running, story)


def test_a_machine_completes_with_the_key_that_asked(running: RunningPlant) -> None:
    """Enrolled anew under another key, it asks anew: what the old key asked for is not carried out, nor half of it."""

    async def story(running: RunningPlant, engine: Engine, _command: str) -> None:
        async def enrol(proof: str) -> None:
            stops = running.command("bob", Act.WORKLOAD_SUSPEND, {"workload": plant.WORKLOAD, "reason": "a new key"})
            assert (await engine.submit_command(stops)).state is State.DONE
            assert (await running.enrol_with(engine, proof)).state is State.DONE

        await enrol(running.proof())
        robots: dict[str, Json] = {**STRICT, "name": "robots", "asked_by": ["workload"]}
        assert (await running.by_two(engine, Act.PROFILE_SET, {"profile": robots})).state is State.DONE
        request = running.request(args={"profile": "robots"})
        assert (await engine.submit_command(request)).state is State.WAITING
        for person in ("alice", "bob"):
            await engine.submit_approval(running.approval(person, request))
        fresh = Signer.named("robot 7, second key")
        await enrol(running.proof(fresh))
        before = carried_out(engine)
        ended = await running.complete(engine, request, fresh)
        assert (ended.state, ended.reason) == (State.REFUSED, Refusal.UNKNOWN_SIGNER)
        assert carried_out(engine) == before

    tell(running, story)


def test_a_strangers_word_makes_nobody_read_a_batch(running: RunningPlant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not enrolled, or did not ask for it, hears so before a line of it is read."""

    async def story(running: RunningPlant, engine: Engine, _command: str) -> None:
        body = dumps({**running.issue_args(), "profile": "two-people"}) + b"\n"
        batch = running.command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
        stream = await engine.submit_batch(batch, {sha256_hex(body): body})
        assert (await stream.chunk(), stream.outcome().state) == (None, State.WAITING)
        await ready(running, engine, batch)
        read: list[bytes] = []

        def noted(found: bytes) -> Items:
            read.append(found)
            return read_items(found)

        monkeypatch.setattr(intake, "read_items", noted)
        with pytest.raises(Refused) as caught:
            await engine.submit_batch(running.completing(batch, Signer.named("a stranger")), {})
        assert caught.value.reason is Refusal.UNKNOWN_SIGNER
        with pytest.raises(Refused, match="sent as a batch"):
            await engine.submit_batch(running.completing(_command), {})
        other = await engine.submit_batch(running.completing(batch, "bob"), {})
        assert (await other.chunk(), other.outcome().rule) == (None, "R9 completed by its requester")
        assert not read
        own = await engine.submit_batch(running.completing(batch), {})
        assert await own.chunk()
        assert await own.chunk() is None
        assert read == [body]

    tell(running, story)


def test_why_says_what_completing_comes_to(running: RunningPlant) -> None:
    """Of a single credential what would be issued or refused, of a batch that its lines follow."""

    async def story(running: RunningPlant, engine: Engine, command: str) -> None:
        def foreseen(asked: str) -> tuple[str, str | None, list[str]]:
            args: dict[str, Json] = {"request": document_id(parse_unverified(asked))}
            imagined = Imagined("alice", Act.REQUEST_COMPLETE, args)
            told: Any = explain(engine.standing, imagined, running.clock.now(), lambda _act: None)
            return told["state"], told["reason"], [check["found"] for check in told["checks"][-2:]]

        assert foreseen(command)[:2] == ("refused", "too-few-people")
        await ready(running, engine, command)
        would = ["it would write request.completed", "it would write credential.issued"]
        assert foreseen(command) == ("done", None, would)
        body = dumps({**running.issue_args(), "profile": "two-people"}) + b"\n"
        batch = running.command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
        await engine.submit_batch(batch, {sha256_hex(body): body})
        await ready(running, engine, batch)
        state, reason, found = foreseen(batch)
        assert (state, reason, found[-1]) == ("done", None, would[0])
        stops = running.command("bob", Act.WORKLOAD_SUSPEND, {"workload": plant.WORKLOAD, "reason": "found open"})
        await engine.submit_command(stops)
        assert foreseen(command)[:2] == ("refused", "workload-suspended")

    tell(running, story)
