"""Nobody's many stop the others: what one signer may have written, at once and in time (rules R11 and R40)."""

import json
from pathlib import Path

import pytest

from appliance.engine.unread import TurnedAway
from appliance.engine.watch import EVER, Watch
from appliance.errors import Refusal, Refused
from appliance.nouns.credentials import FULLEST_LIST
from appliance.outcome import State
from appliance.quotas import HOUR, PERSON, WORKLOAD, Bucket, Limit, Of, Quotas
from coldcred.acts import STOPPING, Act
from coldcred.batch import MAX_LINES
from coldcred.canonical import sha256_hex
from coldcred.layout import STATUS_LISTS
from coldcred.log.system import MAX_SIGNERS
from coldcred.status import SIZE
from tests.appliance.test_batches import ask, line, lines
from tests.appliance.test_engine import events
from tests.support import plant
from tests.support.markdown import Document
from tests.support.running import RunningPlant, believed, run
from tests.support.tree import ROOT

DAY = 24 * HOUR
FORMAT = Document.read(ROOT / "docs" / "format.md")
ALL = [("alice", PERSON), (plant.WORKLOAD, WORKLOAD)]
ISSUE = Act.CREDENTIAL_ISSUE


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return Plant A, whose workload may ask for itself."""
    profiles = [{**plant.profile(), "asked_by": ["issuer", "workload"]}]
    return RunningPlant(tmp_path / "home", members={"profiles": profiles})  # type: ignore[dict-item]  # a list of objects is JSON


def allowed(quotas: Quotas, signer: str, at: float, act: str = ISSUE, credentials: int = 0) -> bool:
    """Whether somebody may ask."""
    try:
        quotas.check(signer, act, credentials, at)
    except Refused as refused:
        return refused.reason is not Refusal.QUOTA_EXCEEDED
    return True


# --- arithmetic


@pytest.mark.parametrize(
    ("level", "after", "expected"), [(10, 0, 10), (10, 1, 12), (10, 5, 20), (10, 99, 20), (-30, 5, -20)]
)
def test_a_bucket_fills_with_time_and_no_fuller_than_its_limit(level: int, after: int, expected: int) -> None:
    """Two come back each second, debts are paid first, and time that goes back gives nothing and takes nothing."""
    limit = Limit(20, 2 * HOUR)
    assert Bucket(level, 100).filled(limit, 100 + after).left == expected
    assert Bucket(level, 100).filled(limit, 50) == Bucket(level, 100)


@pytest.mark.parametrize(("signer", "limits"), ALL)
@pytest.mark.parametrize("of", Of)
def test_each_quota_ends_what_is_asked_for_and_comes_back(signer: str, limits: dict[Of, Limit], of: Of) -> None:
    """Nobody asks with an empty bucket; what comes back in time lets them again, and no other signer is touched."""
    quotas, limit = Quotas(), limits[of]
    quotas.spend(signer, of, limit.most - 1, 0)
    assert allowed(quotas, signer, 0, credentials=1)
    quotas.spend(signer, of, 1, 0)
    assert not allowed(quotas, signer, 0, credentials=1)
    assert allowed(quotas, signer, HOUR / limit.hourly + 1e-6, credentials=1)
    assert allowed(quotas, "bob", 0, credentials=1)
    assert allowed(
        quotas, f"{plant.WORKLOAD}-2", 0, credentials=limits[Of.CREDENTIALS].most if signer != "alice" else 1
    )


@pytest.mark.parametrize("act", [*Act, "approval"])
def test_what_stops_something_may_use_a_persons_reserve(act: str) -> None:
    """Stopping goes on where nothing else does, as far as the reserve reaches; a machine stops nothing."""
    for of in (Of.BYTES, Of.REFUSALS):
        quotas = Quotas()
        quotas.spend("alice", of, PERSON[of].most, 0)
        assert allowed(quotas, "alice", 0, act) is (act in STOPPING)
        quotas.spend("alice", of, PERSON[of].reserve, 0)
        assert not allowed(quotas, "alice", 0, act)
    assert {limit.reserve for limit in WORKLOAD.values()} == {0}


def test_more_credentials_than_are_left_are_refused_whole() -> None:
    """A batch is begun only where there is room for each of its lines; the largest one always fits a full bucket."""
    quotas = Quotas()
    assert allowed(quotas, "alice", 0, credentials=MAX_LINES)
    quotas.spend("alice", Of.CREDENTIALS, MAX_LINES, 0)
    left = PERSON[Of.CREDENTIALS].most - MAX_LINES
    assert allowed(quotas, "alice", 0, credentials=left)
    with pytest.raises(Refused, match="there is room again in 1 s"):
        quotas.check("alice", ISSUE, left + 1, 0)
    with pytest.raises(Refused, match=f"{left + MAX_LINES + 1} are asked for"):
        quotas.check("alice", ISSUE, left + MAX_LINES + 1, 0)


def longest(limit: Limit, amount: int) -> float:
    """Give the seconds in which a signer gets so many at the soonest."""
    return (amount - limit.most) * HOUR / limit.hourly


def test_one_machine_does_not_fill_a_sites_lists() -> None:
    """Half of a list takes one machine three months and all lists of a site years; one person two days and months."""
    half = int(SIZE * FULLEST_LIST)
    assert longest(WORKLOAD[Of.CREDENTIALS], half) > 90 * DAY
    assert longest(WORKLOAD[Of.CREDENTIALS], half * len(STATUS_LISTS)) > 7 * 365 * DAY
    assert longest(PERSON[Of.CREDENTIALS], half) > 2 * DAY
    assert longest(PERSON[Of.CREDENTIALS], half * len(STATUS_LISTS)) > 90 * DAY


@pytest.mark.parametrize(("signer", "limits"), ALL)
def test_the_log_grows_by_what_is_said_and_no_more(signer: str, limits: dict[Of, Limit]) -> None:
    """A signer who asks for as much as is let through, for a day, writes a burst and a rate, and the last one over."""
    quotas, size, written = Quotas(), 64 * 1024, 0
    for second in range(0, DAY, 7):
        for act in (Act.CREDENTIAL_REVOKE, ISSUE):
            while allowed(quotas, signer, second, act):
                quotas.spend(signer, Of.BYTES, size, second)
                written += size
    limit = limits[Of.BYTES]
    assert written <= limit.most + limit.reserve + limit.hourly * 24 + size


def test_the_quotas_are_those_of_the_document() -> None:
    """Each number of the table is that of the code."""
    told = {row[0]: [int(cell) for cell in row[1:]] for row in FORMAT.table("Quotas")}
    rows = ((of, PERSON[of], WORKLOAD[of]) for of in Of)
    assert told == {of: [own.most, own.hourly, own.reserve, its.most, its.hourly] for of, own, its in rows}


# --- what is said of it


def test_who_was_turned_away_is_said_once_a_second() -> None:
    """One entry has how often, by whom, and the hash of the first; of very many signers the first are named."""
    counter = TurnedAway()
    assert counter.take(EVER) == []
    for number in range(3 * MAX_SIGNERS):
        counter.count(f"person-{number // 2}", sha256_hex(f"{number}".encode()), 10.0 + number / 100)
    assert (counter.due_at, counter.take(10.99)) == (11.0, [])
    (event,) = counter.take(11.0)
    assert (event["count"], event["sha256"]) == (3 * MAX_SIGNERS, sha256_hex(b"0"))
    assert event["signers"] == {f"person-{number}": 2 for number in range(MAX_SIGNERS)}
    assert (counter.due_at, counter.take(EVER)) == (None, [])


def test_what_is_written_is_charged_to_whom_it_names() -> None:
    """An entry costs its signer its bytes with its blobs, its credentials and its refusals; a system event nobody."""
    watch, spent = Watch(lambda: 0), []
    watch._quotas.spend = lambda *args: spent.append(args[:3])  # type: ignore[method-assign]  # it is only listened to
    watch.wrote({"type": "started"}, 100, 0)
    for event, credentials, refusals in (
        ({"type": "credential.issued"}, 1, 0),
        ({"type": "batch.issued", "items": [1, 2, 3]}, 3, 0),
        ({"type": "batch.begun", "items": {"count": 7}}, 0, 0),
        ({"type": "command.refused"}, 0, 1),
        ({"type": "approval.refused"}, 0, 1),
    ):
        spent.clear()
        watch.wrote({**event, "by": "alice"}, 100, 0)  # type: ignore[dict-item]  # an event's members are JSON
        assert spent == [
            ("alice", Of.BYTES, 100),
            ("alice", Of.CREDENTIALS, credentials),
            ("alice", Of.REFUSALS, refusals),
        ]


# --- in the engine


def test_a_machine_that_floods_is_bounded_and_nobody_else(running: RunningPlant) -> None:
    """Its refused commands leave as many entries as its quota has, then one a second for all; others are served."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            robot_8 = f"{plant.WORKLOAD}-8"
            proof = running.proof(workload=robot_8)
            assert (await running.enrol_with(engine, proof, id=robot_8)).state is State.DONE
            size = engine.standing.lookups.size
            turned: list[tuple[Refusal, str | None]] = []
            before = sum(len(body) for body in engine.standing.archive.blobs())
            for _ in range(WORKLOAD[Of.REFUSALS].most + 40):
                token = running.request(args={"workload": robot_8, "profile": "none", "junk": "A" * 40_000})
                try:
                    assert (await engine.submit_command(token)).state is State.REFUSED
                except Refused as refused:
                    turned.append((refused.reason, refused.rule))
            assert {*turned} == {(Refusal.QUOTA_EXCEEDED, "R40 quotas of one signer")}
            assert 30 <= len(turned) <= 40
            assert (await engine.submit_command(running.issue())).state is State.DONE
            written = sum(len(body) for body in engine.standing.archive.bodies(size))
            written += sum(len(body) for body in engine.standing.archive.blobs()) - before
            assert written < (WORKLOAD[Of.REFUSALS].most + 8) * 4096
            await believed(running, engine)
        told = json.dumps([event for event in events(running.path) if event["type"] == "quota.exceeded"])
        assert sum(event["count"] for event in json.loads(told)) == len(turned)
        assert all(list(event["signers"]) == [robot_8] for event in json.loads(told))
        assert "AAAA" not in told

    run(story())


def test_a_batch_ends_where_its_signers_quota_does(running: RunningPlant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once cannot issue more than one signer may: the one that is over ends as refused, and can be resumed."""
    monkeypatch.setattr("appliance.quotas.PERSON", {**PERSON, Of.CREDENTIALS: Limit(100, 1)})

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            body = lines(*[line(ttl=60 + number) for number in range(90)])
            with pytest.raises(Refused, match="101 are asked for"):
                await ask(running, engine, lines(*[line(ttl=60 + number) for number in range(101)]))
            found, outcome, _ = await ask(running, engine, body)
            assert (outcome.state, len(found)) == (State.DONE, 90)
            with pytest.raises(Refused, match="there is room again in"):
                await ask(running, engine, body)
            await believed(running, engine)

    run(story())
