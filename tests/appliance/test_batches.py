"""Batches (rule R8): one command, a file of lines, one outcome a line; cut short anywhere, resumed to the same end."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.cli.batches import Partial, _keeping
from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from appliance.nouns.batches import CHUNK
from appliance.outcome import Outcome, State
from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest, write_held
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.errors import Malformed
from coldcred.log import entry as entries
from hsm.errors import WorkerLost
from tests.support import plant
from tests.support.fake_keystore import FakeKeyStore
from tests.support.running import RunningPlant, believed, run, settled


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return Plant A, ready to be started."""
    return RunningPlant(tmp_path / "home")


def line(**changes: Json) -> dict[str, Json]:
    """Give one line of a file of requests."""
    asked: dict[str, Json] = {"profile": "orders-reader", "workload": plant.WORKLOAD, "audience": plant.AUDIENCE}
    return {**asked, "scopes": ["orders.read"], "ttl": 900, **changes}


def lines(*found: dict[str, Json]) -> bytes:
    """Write a file of requests."""
    return b"".join(dumps(item) + b"\n" for item in found)


async def ask(
    running: RunningPlant, engine: Engine, body: bytes, held: Mapping[int, str] | None = None, *resumes: str
) -> tuple[dict[int, dict[str, Json]], Outcome, str]:
    """Send a batch and read it to its end; gives outcomes by line, the whole's outcome and the command's id."""
    arguments = BatchArguments(Manifest.of(body))
    attachments = {sha256_hex(body): body}
    if held is not None:
        file = write_held(held)
        arguments = BatchArguments(Manifest.of(body), resumes, Manifest.of(file))
        attachments[sha256_hex(file)] = file
    command = running.command("alice", Act.CREDENTIAL_ISSUE, arguments.as_json())
    stream = await engine.submit_batch(command, attachments)
    found: dict[int, dict[str, Json]] = {}
    while (chunk := await stream.chunk()) is not None:
        for text in chunk.splitlines():
            outcome = json.loads(text)
            assert outcome["line"] not in found
            found[outcome["line"]] = outcome
    outcome = stream.outcome()
    return found, outcome, outcome.command


def test_each_line_has_one_outcome(running: RunningPlant) -> None:
    """A line is issued, refused for what it asks, or refused because it cannot be read; the others do not suffer."""
    body = (
        lines(line(), line(ttl=10**6), line(workload="spiffe://plant-a.example/line-1/nobody"), line()) + b"nonsense\n"
    )

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            found, outcome, _ = await ask(running, engine, body)
            assert outcome.state is State.DONE
            assert outcome.result == {"held": 0, "issued": 2, "refused": 3}
            assert [(found[number].get("reason"), found[number].get("rule")) for number in range(1, 6)] == [
                (None, None),
                ("outside-profile", "profile orders-reader lifetime"),
                ("unknown-workload", "enrolled workloads"),
                (None, None),
                ("malformed", "R10 closed forms"),
            ]
            events = [entries.parse(body).event for body in engine.standing.archive.bodies()]
            (chunk,) = [event for event in events if event["type"] == "batch.issued"]
            assert chunk["refused"] == [found[number] for number in (2, 3, 5)]
            await settled(engine)
            lookups = engine.standing.lookups
            assert {found[1]["jti"], found[4]["jti"]} == set(lookups.issued)
            assert not lookups.open_intents
            await believed(running, engine)

    run(story())


def test_a_batch_sent_again_gives_its_outcome_and_no_token(running: RunningPlant) -> None:
    """R7: what was carried out is told, not done again."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            body = lines(line())
            arguments = BatchArguments(Manifest.of(body))
            command = running.command("alice", Act.CREDENTIAL_ISSUE, arguments.as_json())
            for expected in (1, 0):
                stream = await engine.submit_batch(command, {sha256_hex(body): body})
                count = 0
                while await stream.chunk() is not None:
                    count += 1
                assert (count, stream.outcome().result["issued"]) == (expected, 1)

    run(story())


def test_a_file_other_than_the_signed_one_is_refused(running: RunningPlant) -> None:
    """The signature covers every line: a file that differs, or is missing, starts nothing and leaves no entry."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            body, other = lines(line()), lines(line(ttl=901))
            command = running.command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
            size = engine.standing.head.size
            for attachments in ({}, {sha256_hex(other): other}, {sha256_hex(body): other}):
                with pytest.raises(Refused) as caught:
                    await engine.submit_batch(command, attachments)
                assert caught.value.reason is Refusal.MALFORMED
            with pytest.raises(Refused) as caught:
                await engine.submit_command(command, {sha256_hex(body): body})
            assert caught.value.rule == "R8 a batch is sent as one"
            assert engine.standing.head.size == size

    run(story())


def test_an_entry_takes_as_many_lines_as_are_documented_and_no_more(running: RunningPlant) -> None:
    """A line more than fills one entry makes two: one full, and one of that line."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            await ask(running, engine, lines(*[line(ttl=60 + number) for number in range(CHUNK + 1)]))
            events = [entries.parse(body).event for body in engine.standing.archive.bodies()]
            items = [event["items"] for event in events if event["type"] == "batch.issued"]
            assert [len(item) for item in items if isinstance(item, list)] == [CHUNK, 1]

    run(story())


def test_what_is_held_stays_and_the_rest_is_issued_anew(running: RunningPlant) -> None:
    """A resumed batch leaves held credentials, revokes those that never arrived and issues these lines anew."""
    body = lines(*[line(ttl=60 + number) for number in range(200)])

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            first, _, command = await ask(running, engine, body)
            held = {number: str(first[number]["jti"]) for number in range(1, 101)}
            second, outcome, again = await ask(running, engine, body, held, command)
            assert set(second) == set(range(101, 201))
            assert outcome.result == {"held": 100, "issued": 100, "refused": 0}
            lookups, now = engine.standing.lookups, running.clock.now()
            assert all(lookups.lives(jti, now) for jti in held.values())
            assert not any(lookups.lives(str(first[number]["jti"]), now) for number in range(101, 201))
            assert all(lookups.lives(str(found["jti"]), now) for found in second.values())
            third, outcome, _ = await ask(
                running, engine, body, held | {n: str(second[n]["jti"]) for n in second}, command, again
            )
            assert (third, outcome.result["held"]) == ({}, 200)
            await believed(running, engine)

    run(story())


def test_nobody_holds_what_was_not_issued_to_them(running: RunningPlant) -> None:
    """A jti that no entry issued for the line is refused, and nothing is issued."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            body = lines(line())
            _, _, command = await ask(running, engine, body)
            _, outcome, _ = await ask(running, engine, body, {1: "A" * 22}, command)
            assert (outcome.state, outcome.reason) == (State.REFUSED, Refusal.MALFORMED)
            assert len(engine.standing.lookups.issued) == 1

    run(story())


def test_a_fault_of_the_hsm_stops_the_batch_and_revokes_its_chunk(running: RunningPlant) -> None:
    """The chunk in hand is revoked, the sender hears why, and a new command issues every line anew."""
    body = lines(*[line(ttl=60 + number) for number in range(300)])
    keystore = running.keystore
    assert isinstance(keystore, FakeKeyStore)

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            keystore.fail_next(None, WorkerLost("gone"))
            first, outcome, command = await ask(running, engine, body)
            assert (outcome.state, outcome.reason) == (State.REFUSED, Refusal.HSM_FAULT)
            assert 0 < len(first) < 300
            held = {number: str(found["jti"]) for number, found in first.items()}
            second, outcome, _ = await ask(running, engine, body, held, command)
            assert set(first) | set(second) == set(range(1, 301))
            assert not set(first) & set(second)
            await settled(engine)
            lookups, now = engine.standing.lookups, running.clock.now()
            alive = [jti for jti in lookups.issued if lookups.lives(jti, now)]
            assert sorted(alive) == sorted([*held.values(), *(str(found["jti"]) for found in second.values())])
            await believed(running, engine)

    run(story())


def test_whoever_goes_away_ends_their_batch(running: RunningPlant) -> None:
    """Without a reader no further chunk is issued; the batch ends refused and others are served meanwhile."""
    body = lines(*[line(ttl=1 + number % 3000) for number in range(5000)])

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            command = running.command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
            stream = await engine.submit_batch(command, {sha256_hex(body): body})
            assert await stream.chunk()
            outcome = await engine.submit_command(running.issue())
            assert outcome.state is State.DONE
            stream.abandon()
            while engine.standing.lookups.under_way:
                await engine.submit_command(running.issue())
            assert len(engine.standing.lookups.issued) < 2000

    run(story())


def test_a_stop_ends_a_batch_and_the_next_start_resumes_it(running: RunningPlant) -> None:
    """Stopped in the middle, the sender is told; after the start every line has exactly one living credential."""
    body = lines(*[line(ttl=100 + number) for number in range(1500)])
    got: dict[int, str] = {}
    commands: list[str] = []

    async def stopped() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            command = running.command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
            stream = await engine.submit_batch(command, {sha256_hex(body): body})
            chunk = await stream.chunk()
            assert chunk is not None
            got.update({found["line"]: found["jti"] for found in map(json.loads, chunk.splitlines())})
            (name,) = engine.standing.lookups.under_way
            commands.append(name)
            await engine.stop()
            while await stream.chunk() is not None:
                pass
            assert stream.outcome().reason == Refusal.STOPPING

    async def resumed() -> None:
        async with running.engine() as engine:
            found, outcome, _ = await ask(running, engine, body, got, commands[0])
            assert outcome.result["held"] == len(got)
            lookups, now = engine.standing.lookups, running.clock.now()
            alive = {jti for jti in lookups.issued if lookups.lives(jti, now)}
            assert alive == {*got.values(), *(str(item["jti"]) for item in found.values())}
            assert set(found) == set(range(1, 1501)) - set(got)
            await believed(running, engine)

    run(stopped())
    run(resumed())


def test_a_batch_takes_the_people_of_its_strictest_line(running: RunningPlant) -> None:
    """One line under a profile for two people makes the whole batch wait, and a second person lets it go on."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            strict = {**plant.profile(), "name": "two-people", "approvals": 2}
            asked = running.command("alice", Act.PROFILE_SET, {"profile": strict})
            await engine.submit_command(asked)
            await engine.submit_approval(running.approval("bob", asked))
            body = lines(line(), line(profile="two-people"))
            command = running.command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
            stream = await engine.submit_batch(command, {sha256_hex(body): body})
            assert (await stream.chunk(), stream.outcome().state) == (None, State.WAITING)
            assert (await engine.submit_approval(running.approval("bob", command))).state is State.READY
            stream = await engine.submit_batch(command, {sha256_hex(body): body})
            assert (await stream.chunk(), stream.outcome().state) == (None, State.READY)
            completes = running.completing(command)
            stream = await engine.submit_batch(completes, {})
            assert await stream.chunk()
            assert (await stream.chunk(), stream.outcome().result["issued"]) == (None, 2)
            again = await engine.submit_batch(completes, {})
            assert (await again.chunk(), again.outcome()) == (None, stream.outcome())
            late = await engine.submit_batch(running.completing(command), {})
            assert (await late.chunk(), late.outcome().reason) == (None, Refusal.UNKNOWN_REQUEST)
            await believed(running, engine)

    run(story())


def test_a_line_that_is_refused_now_does_not_keep_what_never_arrived(running: RunningPlant) -> None:
    """What a client does not hold is revoked on resuming, whether its line can be issued again or not."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            body = lines(line())
            first, _, command = await ask(running, engine, body)
            narrow = {**plant.profile(), "lifetime": 60, "horizon": 60}
            asked = running.command("alice", Act.PROFILE_SET, {"profile": narrow})
            await engine.submit_command(asked)
            await engine.submit_approval(running.approval("bob", asked))
            second, _, _ = await ask(running, engine, body, {}, command)
            assert second[1]["reason"] == "outside-profile"
            assert not engine.standing.lookups.lives(str(first[1]["jti"]), running.clock.now())
            await believed(running, engine)

    run(story())


def test_the_end_of_a_line_that_a_crash_cut_short_is_dropped(tmp_path: Path) -> None:
    """What is not whole is not held, and the next outcome does not begin behind it."""
    path, items = tmp_path / "out.jsonl.partial", "0" * 64
    whole = b'{"exp":1,"jti":"AAAAAAAAAAAAAAAA","line":1,"log":1,"token":"a.b.c"}\n'
    path.write_bytes(b'{"batch": "first", "items": "%s"}\n' % items.encode() + whole + b'{"exp":1,"jti":"BBB')
    partial = Partial.open(path, items)
    assert partial.held() == {1: "A" * 16}
    with _keeping(partial, "second") as file:
        file.write(whole.replace(b'"line":1', b'"line":2'))
    again = Partial.open(path, items)
    assert (again.sittings, sorted(again.held())) == (["first", "second"], [1, 2])
    with pytest.raises(Malformed, match="another file"):
        Partial.open(path, "1" * 64)


def test_a_batch_stops_where_the_disk_reserve_begins(running: RunningPlant) -> None:
    """When the disk runs low in the middle, no further chunk is issued, and the sender hears why."""
    body = lines(*[line(ttl=100 + number) for number in range(1500)])

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            command = running.command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
            stream = await engine.submit_batch(command, {sha256_hex(body): body})
            assert await stream.chunk()
            running.free = 0
            engine._watch.reserve._good_until = 0.0  # as if the second had passed since the last look
            while await stream.chunk() is not None:
                pass
            assert (stream.outcome().state, stream.outcome().reason) == (State.REFUSED, Refusal.DISK_RESERVE)
            assert 0 < len(engine.standing.lookups.issued) < 1500

    run(story())
