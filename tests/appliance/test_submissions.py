"""No input of any person ends the engine: what a submission raises ends that submission, and each entry fits (R36)."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from appliance import addressed, counting, deciding, intake, policy, showing
from appliance.authority import Authority
from appliance.decision import Ask, Ruled
from appliance.engine import Engine
from appliance.engine.incidents import SHORT
from appliance.errors import HomeFault, Refusal, Refused
from appliance.lookups import Lookups
from appliance.nouns import batches, bundles, credentials, keys
from appliance.outcome import Outcome, State
from appliance.standing import Standing
from coldcred.acts import RULES, Act
from coldcred.asked import Asked
from coldcred.batch import MAX_SITTINGS, Manifest
from coldcred.canonical import MAX_DEPTH, Json, b64u_encode, dumps, sha256_hex
from coldcred.command import attachments_named, parse_command
from coldcred.errors import Malformed
from coldcred.jose import MAX_TOKEN, Typ
from coldcred.layout import BY_CUSTODIANS, ROOTS, TARGETS
from coldcred.log import entry as entries
from coldcred.log.entry import MAX_BODY
from coldcred.log.live import Issued
from coldcred.log.system import MAX_SUBMISSIONS
from coldcred.log.unkept import KEPT_WHOLE
from coldcred.names import MAX_AUDIENCE, MAX_LABEL, MAX_SPIFFE_ID
from tests.appliance.test_batches import ask, line, lines
from tests.appliance.test_engine import events
from tests.support import imagined, plant
from tests.support.running import RunningPlant, believed, run


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return Plant A, ready to be started."""
    return RunningPlant(tmp_path / "home")


def committed(engine: Engine, first: int = 0) -> list[dict[str, Json]]:
    """Read the committed events from a number on."""
    return [entries.parse(body).event for body in engine.standing.archive.bodies(first)]


SUSPENDED = frozenset({Refusal.WORKLOAD_SUSPENDED, Refusal.KEY_SUSPENDED})
"""Why nothing is issued where a suspension that was sent came through."""


async def works(running: RunningPlant, engine: Engine) -> None:
    """See that the engine serves: it issues, its log is believed, and each entry of it fits."""
    assert engine.failure is None
    outcome = await engine.submit_command(running.issue())
    assert outcome.state is State.DONE or outcome.reason in SUSPENDED, outcome
    await believed(running, engine)
    assert max(len(body) for body in engine.standing.archive.bodies()) <= MAX_BODY


# --- batches that resume many sittings


@pytest.mark.parametrize("sittings", [28, *(pytest.param(count, marks=pytest.mark.soak) for count in (64, 1000))])
def test_a_batch_that_resumes_many_sittings_and_holds_nothing(running: RunningPlant, sittings: int) -> None:
    """What it revokes goes into as many entries as it takes; more sittings than one may resume are refused."""
    body = lines(*[line(ttl=3600 + number) for number in range(64)])

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            begun = [(await ask(running, engine, body))[2] for _ in range(sittings)]
            size = engine.standing.lookups.size
            more = [*begun, *(f"{number:064}" for number in range(MAX_SITTINGS))]
            with pytest.raises(Refused, match="resumes"):
                await ask(running, engine, body, {}, *more)
            begun = begun[:MAX_SITTINGS]
            found, outcome, _ = await ask(running, engine, body, {}, *begun)
            assert (outcome.state, outcome.result["issued"], len(found)) == (State.DONE, 64, 64)
            chunks = [event for event in committed(engine, size) if event["type"] == "batch.issued"]
            revoked = [jti for chunk in chunks for jti in chunk["revokes"]]  # type: ignore[union-attr]  # an event's members are JSON
            assert len(set(revoked)) == len(revoked) == 64 * len(begun)
            await works(running, engine)

    asyncio.run(asyncio.wait_for(story(), 600))


def test_no_line_of_a_batch_takes_more_than_is_kept_for_it() -> None:
    """With the longest names, all sittings, and the longest refusal, a line and its revocations fit its bound."""
    name = "spiffe://plant-a.example/" + "w" * (MAX_SPIFFE_ID - len("spiffe://plant-a.example/"))
    uri = "https://" + "u" * MAX_AUDIENCE
    item: dict[str, Json] = {
        "audience": "a" * MAX_AUDIENCE,
        "exp": 10**11,
        "idx": 10**7,
        "jti": "j" * 22,
        "line": 50_000,
        "profile": "p" * MAX_LABEL,
        "site": "s" * MAX_LABEL,
        "uri": uri + "/status/" + "s" * MAX_LABEL + "/32",
        "workload": name,
    }
    refused: Json = {"detail": "\x01" * 256, "line": 50_000, "reason": "r" * 64, "rule": "r" * 256}
    sign: Json = {"kid": "k" * 43, "sha256": "0" * 64}
    revokes: Json = ["j" * 22] * MAX_SITTINGS
    largest = max(len(dumps([item])) + len(dumps([sign])), len(dumps([refused]))) + len(dumps(revokes))
    assert largest <= batches.LARGEST_LINE


@pytest.mark.parametrize("alive", [0, 1, MAX_SITTINGS])
def test_a_chunk_of_the_longest_lines_fits_an_entry(running: RunningPlant, alive: int) -> None:
    """Chunks hold fewer lines where names are long, more is revoked, or more people and policies stand behind them."""
    workload = f"{plant.WORKLOAD}/" + "w" * 1900
    standing = Standing(Authority.founded(running.founding), archive=None)  # type: ignore[arg-type]  # nothing is read
    asked = Asked("orders-reader", workload, plant.AUDIENCE, ("orders.read",), 900, None, None)
    before: dict[int, list[str]] = {}
    lookups, number = Lookups(), 0
    for place in range(1, 201):
        before[place] = []
        for _ in range(alive):
            number += 1
            jti = f"{number:022}"
            lookups.add_issued(jti, Issued(1, "https://x/1", number, plant.TIME + 9000, workload, "p", "k", "s"))
            before[place].append(jti)
    command = parse_command(running.issue(), standing.authority.signer_key)
    people = frozenset(f"person-{place}-{'x' * 20}" for place in range(deciding.MOST_APPROVALS))
    approvals = tuple(f"{place:064}" for place in range(deciding.MOST_APPROVALS))
    permits = tuple(f"{place:032}" for place in range(128))
    ruled = Ruled("0" * 64, "0" * 64, permits)
    batch = batches.Batch(Ask(command, "alice", people, approvals, {}, ruled), (asked,) * 200, {}, before, {})
    following, chunks = 1, 0
    while following <= 200:
        chunk = batches.decide_chunk(
            batch, following, standing.authority, lookups, plant.TIME, lambda size: b"\0" * size
        )
        assert following < chunk.following
        assert len(standing.write(chunk.decision.events, plant.TIME)) == 1
        following, chunks = chunk.following, chunks + 1
    assert chunks >= 200 // batches.CHUNK


# --- every act, as large, as small, as many and as deep as it can be


def _strings(args: dict[str, Json], text: str) -> Iterator[dict[str, Json]]:
    for name in args:
        yield {**args, name: text}


def _deep(levels: int) -> Json:
    found: Json = "x"
    for _ in range(levels):
        found = [found]
    return found


def shapes(args: dict[str, Json]) -> Iterator[dict[str, Json]]:
    """Give arguments in all sizes: nothing, each member long, blank, a list of many, deep, and a member too many."""
    yield {}
    yield args
    yield from _strings(args, "A" * 44_000)
    yield from _strings(args, "")
    yield from _strings(args, "\u0001\u202e\U0001f600" * 100)
    for name in args:
        yield {**args, name: [f"{number}" for number in range(3900)]}
        yield {**args, name: ["spiffe://plant-a.example/line-1/" + "x" * 150 + f"{number}" for number in range(200)]}
        yield {**args, name: _deep(MAX_DEPTH - 3)}
        yield {**args, name: {f"m{number}": number for number in range(3000)}}
        yield {**args, name: None}
        yield {**args, name: -1}
    yield {**args, "more": "x" * 40_000}


async def send(running: RunningPlant, engine: Engine, act: Act, args: dict[str, Json]) -> Outcome | Refused:
    """Send a command with whatever it names beside it, and an approval where it waits; gives what it came to."""
    bodies = (b"", b"x" * 100_000, dumps({"a": 1}))
    digests = {sha256_hex(body): body for body in bodies}
    beside = {digest: digests[digest] for digest in attachments_named(act, args) if digest in digests}
    token = running.command("alice", act, args)
    try:
        outcome = await engine.submit_command(token, beside)
        if outcome.state is State.WAITING:
            outcome = await engine.submit_approval(running.approval("bob", token))
    except Refused as refused:
        return refused
    return outcome


@pytest.mark.parametrize("act", Act)
def test_an_act_in_any_size_ends_only_itself(running: RunningPlant, act: Act) -> None:
    """Whatever its arguments and attachments, the engine serves on, its log is believed, and no entry is too large."""
    base = imagined._ARGS[act](Random(1))
    if act in {Act.OPERATOR_ADD, Act.OPERATOR_REPLACE_KEY, Act.OPERATOR_RECOVER}:
        base = {
            **{name: base[name] for name in base if name != "number"},
            "countersignature": sha256_hex(b"x" * 100_000),
        }
    if act is Act.POLICY_SET:
        base = {"policy": sha256_hex(b"x" * 100_000)}

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            ended = 0
            for args in shapes(base):
                found = await send(running, engine, act, args)
                ended += found.reason is not None
                assert getattr(found, "reason", None) != "internal", args
                assert engine.failure is None
            assert ended or not RULES[act].people
            await works(running, engine)

    run(story())


def _token(payload: bytes) -> bytes:
    header = b64u_encode(dumps({"alg": "ES256", "kid": plant.robot().public.thumbprint, "typ": Typ.ENROLMENT.value}))
    return f"{header}.{b64u_encode(payload)}.{b64u_encode(b'x' * 64)}".encode()


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no text": b"\xff\x00" * 1000,
    "many lines": b"\n" * 20_000,
    "many values": b"1\n" * 5_000,
    "deep": b"[" * 60_000,
    "deep in a line": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "deep brackets of a policy": b"permit(principal, action, resource) when { "
    + b"(" * 500
    + b"true"
    + b")" * 500
    + b" };",
    "a long line": b'{"profile":"' + b"p" * 500_000 + b'"}',
    "long names": dumps({"profile": "p" * 9_000, "workload": "spiffe://plant-a.example/" + "w" * 9_000}) + b"\n",
    "a token": _token(dumps({"sub": "x"})),
    "a deep token": _token(b"[" * 40_000),
    "a long token": _token(b'"' + b"x" * 40_000 + b'"'),
}
"""What travels beside a command, in all shapes."""


def naming(act: Act, digest: str) -> dict[str, Json]:
    """Give arguments that name an attachment and are good else, as far as one can without it."""
    match act:
        case Act.WORKLOAD_ENROL:
            owner: dict[str, Json] = {"id": f"{plant.WORKLOAD}-8", "owner": "alice", "enrolment": digest}
            return {**owner, "review_by": plant.TIME + 90 * plant.DAY}
        case Act.POLICY_SET:
            return {"policy": digest}
        case Act.TRUST_SUBMIT:
            return {"files": dict.fromkeys((*ROOTS[:1], TARGETS, *BY_CUSTODIANS), digest)}
        case Act.OPERATOR_ADD:
            return {"person": "erin", "roles": ["issuer"], "countersignature": digest}
        case _:
            return {"person": "bob", "retires": [], "replaces": "bob", "reason": "because", "countersignature": digest}


@pytest.mark.parametrize("act", [act for act in Act if attachments_named(act, naming(act, "0" * 64))])
def test_whatever_travels_beside_a_command_ends_only_that(running: RunningPlant, act: Act) -> None:
    """Bytes of any form, size and depth are refused, or kept where people have to see them, and nothing ends."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            for name, body in BODIES.items():
                command = running.command("alice", act, naming(act, sha256_hex(body)))
                try:
                    outcome = await engine.submit_command(command, {sha256_hex(body): body})
                    told = str(outcome.reason)
                except Refused as refused:
                    told = refused.id
                assert told != "internal", name
                assert engine.failure is None
            await works(running, engine)

    run(story())


def test_a_batch_of_whatever_lines_ends_only_itself(running: RunningPlant) -> None:
    """Lines of any form are refused one by one, in as many entries as it takes."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            for name, body in BODIES.items():
                try:
                    found, outcome, _ = await ask(running, engine, body + lines(line()))
                except (Refused, Malformed):
                    continue
                assert (outcome.state, outcome.result["issued"]) == (
                    State.DONE,
                    int(body.endswith(b"\n") or not body),
                ), name
                assert len(found) == Manifest.of(body + lines(line())).count
            await works(running, engine)

    run(story())


def test_a_command_of_the_largest_size_leaves_its_beginning(running: RunningPlant) -> None:
    """R40: what is refused is kept whole while it is short; of what is longer hash, size and first KiB are believed."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            for size in (1, KEPT_WHOLE, 44_000):
                token = running.issue(junk="A" * size)
                assert len(token) <= MAX_TOKEN
                outcome = await engine.submit_command(token)
                assert (outcome.state, outcome.reason) == (State.REFUSED, "malformed")
                told = committed(engine)[-1]
                assert told["type"] == "command.refused"
                document = token.encode()
                if len(document) > KEPT_WHOLE:
                    assert (told["head"], told["size"]) == (token[:1024], len(document))
                    assert document not in set(engine.standing.archive.blobs())
                else:
                    assert "head" not in told
                    assert engine.standing.archive.blob(sha256_hex(document)) == document
                assert (await engine.submit_command(token)).reason == "malformed"
            await works(running, engine)

    run(story())


# --- what nobody foresaw, at each step of a submission

BUNDLE, BATCH, ISSUE, WAITS = "bundle", "batch", "issue", "waits"
STEPS: list[tuple[str, Any, str, str]] = [
    ("read", addressed, "read_command", ISSUE),
    ("its times", addressed, "check_begun", ISSUE),
    ("beside it", deciding, "check_beside", ISSUE),
    ("its signer", addressed, "signer", ISSUE),
    ("held", deciding, "hold", ISSUE),
    ("policy", policy, "ruled", ISSUE),
    ("people", policy, "people_for", ISSUE),
    ("signers", deciding, "check_signers", ISSUE),
    ("decided", deciding, "decide", ISSUE),
    ("its index", credentials, "free_index", ISSUE),
    ("its keys", keys, "check_usable", ISSUE),
    ("finished", credentials, "assemble", ISSUE),
    ("waits", showing, "waiting_event", WAITS),
    ("early", deciding, "check_early", WAITS),
    ("approved", deciding, "approval_event", WAITS),
    ("counted", counting, "counted", WAITS),
    ("lacks", counting, "lacks", WAITS),
    ("its lines", intake, "read_items", BATCH),
    ("taken in", batches, "take_in", BATCH),
    ("a chunk", batches, "decide_chunk", BATCH),
    ("a chunk's lines", batches, "_told", BATCH),
    ("its end", batches, "decide_done", BATCH),
    ("bundle begun", bundles, "_begin", BUNDLE),
    ("lists signed", bundles, "_site", BUNDLE),
    ("snapshot", bundles, "_snapshot", BUNDLE),
    ("timestamp", bundles, "_timestamp", BUNDLE),
    ("as its site", bundles, "_check_as_a_site", BUNDLE),
]


async def submit(running: RunningPlant, engine: Engine, what: str) -> tuple[str, str]:
    """Send something; gives the reason and the detail of what it came to, done included."""
    try:
        if what == BATCH:
            outcome = (await ask(running, engine, lines(line(), line(ttl=60))))[1]
        elif what == WAITS:
            args: dict[str, Json] = {"name": "line-9", "audiences": ["https://line-9.example"]}
            outcome = await running.by_two(engine, Act.SITE_ADD, args)
        elif what == BUNDLE:
            outcome = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"}))
        else:
            outcome = await engine.submit_command(running.issue())
    except Refused as refused:
        return refused.id, refused.detail
    return outcome.reason or outcome.state, outcome.detail or ""


@pytest.mark.parametrize("what", [ISSUE, WAITS, BATCH, BUNDLE])
def test_what_nobody_foresaw_ends_one_submission(
    running: RunningPlant, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """At each step: its sender hears an incident, the log has it with the hash of what was sent, and others go on."""
    raised: list[str] = []
    incidents: list[str] = []

    def fails(*_args: object, **_named: object) -> None:
        raised.append(what)
        raise RuntimeError("a secret")

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            for step, module, name, where in STEPS:
                if where != what:
                    continue
                raised.clear()
                with monkeypatch.context() as broken:
                    broken.setattr(module, name, fails)
                    reason, detail = await asyncio.wait_for(submit(running, engine, what), 20)
                assert (step, bool(raised), engine.failure) == (step, True, None)
                assert (step, reason, "secret" in detail) == (step, "internal", False)
                incidents.append(detail.split()[1].rstrip(":"))
                if what != WAITS:
                    assert (step, *await submit(running, engine, what)) == (step, "done", "")
            await works(running, engine)

    run(story())
    found: list[Any] = [event for event in events(running.path) if event["type"] == "submission.failed"]
    assert {event["kind"] for event in found} == {"RuntimeError"}
    assert sum(event["count"] for event in found) >= len(incidents) > 0
    named = {digest[:SHORT] for event in found for digest in event["submissions"]}
    assert incidents[0] in named
    assert named.issuperset(incidents) or any(event["count"] > MAX_SUBMISSIONS for event in found)
    assert "secret" not in json.dumps(events(running.path))


def test_an_entry_that_cannot_be_folded_ends_the_engine(running: RunningPlant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken state is no matter of one submission: nothing may be decided on it, and the next start folds the log."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            size = engine.standing.lookups.size
            monkeypatch.setattr("appliance.standing.fold", _unfoldable)
            with pytest.raises(Refused, match="cannot be folded"):
                await engine.submit_command(running.issue())
            assert engine.failure is not None
            assert engine.failure.fault is HomeFault.DEFECT
            assert len(committed(engine)) == size
            monkeypatch.undo()
        async with running.engine() as engine:
            await works(running, engine)

    run(story())


def _unfoldable(*_args: object) -> Callable[[], None]:
    raise KeyError("no such workload")
