"""Approvals over a running appliance: what they rest on, when they stop counting, and that one person stays one."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance import counting
from appliance.authority import Authority
from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from appliance.fold import fold
from appliance.lookups import Lookups
from appliance.outcome import Outcome, State
from appliance.terms import terms
from coldcred import founding, framing
from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest
from coldcred.canonical import Json, dumps, loads, sha256_hex
from coldcred.command import RENDERING, Basis, Verdict, document_id, parse_command
from coldcred.errors import Malformed
from coldcred.jose import Typ, parse_unverified
from coldcred.log import entry as entries
from coldcred.rendering import first
from coldcred.requests import RequestFile
from tests.support import plant
from tests.support.running import RunningPlant, believed, run, settled
from tests.support.signers import Signer

VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Give a plant that was founded and not started."""
    return RunningPlant(tmp_path / "home", roles={**plant.ROLES, "dora": ["approver"]})


Story = Callable[[RunningPlant, Engine], Awaitable[None]]

RESUME = {"workload": plant.WORKLOAD}


def tell(running: RunningPlant, story: Story) -> None:
    """Run a story in an appliance with an enrolled workload, and let an auditor read the log afterwards."""

    async def whole() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            await story(running, engine)
            await settled(engine)
            await believed(running, engine)

    run(whole())


async def waiting(running: RunningPlant, engine: Engine, **changes: Any) -> str:
    """Let alice ask for something that takes two, and give her command."""
    command = running.command("alice", Act.WORKLOAD_RESUME, {**RESUME}, **changes)
    assert (await engine.submit_command(command)).state is State.WAITING
    return command


ENROLS: dict[str, Json] = {"id": plant.WORKLOAD, "owner": "alice", "review_by": plant.TIME + 9 * plant.DAY}
FORMLESS: dict[str, tuple[Act, dict[str, Json], str]] = {
    "a look-alike": (Act.WORKLOAD_ENROL, {**ENROLS, "id": f"spiffe://{plant.DOMAIN}/rob\u043et"}, "R10 closed forms"),
    "a path trick": (Act.WORKLOAD_ENROL, {**ENROLS, "id": f"spiffe://{plant.DOMAIN}/a/../b"}, "R10 closed forms"),
    "a text that turns": (Act.OPERATOR_REMOVE, {"person": "bob", "reason": "\u202etfel"}, "R10 closed forms"),
    "a screen cleared": (Act.KEY_ACTIVATE, {"key": "tokens-1", "reason": "\u001b[2Jno"}, "R10 closed forms"),
    "a name of two spellings": (Act.OPERATOR_REMOVE, {"person": "Bob", "reason": "left"}, "names have one spelling"),
    "too late": (Act.WORKLOAD_ENROL, {**ENROLS, "review_by": plant.TIME + 999 * plant.DAY}, "workload review_by"),
    "too soon": (Act.REVIEW_START, {"name": "spring", "until": plant.TIME + 60}, "review until"),
    "duties not separate": (
        Act.OPERATOR_ROLES,
        {"person": "bob", "roles": ["auditor", "officer"], "reason": "night shift"},
        "R2 separate duties",
    ),
    "no such argument": (
        Act.SITE_ADD,
        {"name": "line-9", "audiences": ["https://x.example"], "x": 1},
        "R10 closed forms",
    ),
}


@pytest.mark.parametrize(("act", "args", "rule"), FORMLESS.values(), ids=FORMLESS)
def test_nobody_is_asked_to_approve_what_has_no_form(
    running: RunningPlant, act: Act, args: dict[str, Json], rule: str
) -> None:
    """It is refused when it comes, and logged; what stands may change, so that an unknown owner waits for people."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        outcome = await engine.submit_command(running.command("alice", act, args))
        assert (outcome.state, outcome.reason, outcome.rule) == (State.REFUSED, Refusal.MALFORMED, rule)
        assert not engine.standing.lookups.requests
        unknown = running.command("alice", Act.WORKLOAD_ENROL, {**ENROLS, "id": f"{plant.WORKLOAD}0", "owner": "zoe"})
        assert (await engine.submit_command(unknown)).state is State.WAITING

    tell(running, story)


async def refused(sent: Awaitable[Outcome]) -> Refused:
    """Give what was refused; an outcome is an error."""
    with pytest.raises(Refused) as caught:
        await sent
    return caught.value


def basis(engine: Engine, command: str) -> Basis:
    """Give what an approval of a request that waits has to rest on."""
    request = engine.standing.lookups.requests[document_id(parse_unverified(command))]
    return counting.basis(engine.standing.authority, request)


@pytest.mark.parametrize("name", ["policy", "profile", "attachment", "shown", "rendering"])
def test_an_approval_on_another_basis_is_void(running: RunningPlant, name: str) -> None:
    """Each member by itself: it does not count, the log says so with the rule, and a good one still does."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        command = await waiting(running, engine)
        changed: dict[str, Any] = {name: 1 if name == "rendering" else "0" * 64}
        other = replace(basis(engine, command), **changed)
        found = await refused(engine.submit_approval(running.approval("bob", command, basis=other)))
        assert (found.reason, name in found.detail) == (Refusal.APPROVAL_VOID, True)
        await settled(engine)
        event = newest(engine)
        assert (event["type"], event["reason"], event["by"]) == ("approval.refused", "approval-void", "bob")
        assert event["rule"] == "R9 what an approval rests on"
        good = await engine.submit_approval(running.approval("bob", command))
        assert good.reason == Refusal.NOT_SUSPENDED or good.state is State.DONE

    tell(running, story)


def test_a_denial_ends_a_request_whatever_its_basis(running: RunningPlant) -> None:
    """Who stops something is not held to having seen the newest of it; the reason is in the outcome."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        command = await waiting(running, engine)
        other = replace(basis(engine, command), policy="0" * 64)
        claims = {**_claims(running.approval("bob", command, Verdict.DENY, basis=other)), "reason": "not today"}
        denied = await engine.submit_approval(plant.operator("bob").token(Typ.APPROVAL, claims))
        assert (denied.state, denied.reason) == (State.REFUSED, Refusal.DENIED)
        assert denied.detail == "denied by bob: not today"
        late = await engine.submit_approval(running.approval("bob", command, basis=other))
        assert late.reason == Refusal.DENIED

    tell(running, story)


def test_a_profile_that_changes_voids_what_was_approved_under_it(running: RunningPlant) -> None:
    """An issue for two waits again when its profile is set anew between approval and issue."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        strict: dict[str, Json] = {**plant.profile(), "name": "two-people", "approvals": 2}
        assert (await running.by_two(engine, Act.PROFILE_SET, {"profile": strict})).state is State.DONE
        command = running.issue(profile="two-people")
        await engine.submit_command(command)
        ready = await engine.submit_approval(running.approval("bob", command))
        assert ready.state is State.READY
        narrower = {**strict, "lifetime": 1200}
        assert (await running.by_two(engine, Act.PROFILE_SET, {"profile": narrower})).state is State.DONE
        again = await engine.submit_command(command)
        assert (again.state, again.have) == (State.WAITING, ("alice",))
        assert (await engine.submit_approval(running.approval("bob", command))).state is State.READY
        assert (await running.complete(engine, command)).state is State.DONE

    tell(running, story)


def test_a_number_that_was_raised_meanwhile_is_the_one_that_counts(running: RunningPlant) -> None:
    """A request that waited for two waits for three once its profile says so."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        strict: dict[str, Json] = {**plant.profile(), "name": "two-people", "approvals": 2}
        await running.by_two(engine, Act.PROFILE_SET, {"profile": strict})
        command = running.issue(profile="two-people")
        await engine.submit_command(command)
        await running.by_two(engine, Act.PROFILE_SET, {"profile": {**strict, "approvals": 3}})
        approved = await engine.submit_approval(running.approval("bob", command))
        assert (approved.state, approved.need) == (State.WAITING, 3)

    tell(running, story)


def test_an_approval_that_has_ended_counts_no_more(running: RunningPlant) -> None:
    """It was good when it came; its own end comes before the issue does."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        strict: dict[str, Json] = {**plant.profile(), "name": "two-people", "approvals": 2}
        await running.by_two(engine, Act.PROFILE_SET, {"profile": strict})
        command = running.issue(profile="two-people")
        await engine.submit_command(command)
        now = running.clock.now()
        life: dict[str, Any] = {"issued_at": now, "expires_at": now + 60}
        short = running.approval("bob", command, **life)
        assert (await engine.submit_approval(short)).state is State.READY
        running.clock.time = now + 60
        assert (await engine.submit_command(command)).state is State.WAITING
        late = await refused(
            engine.submit_approval(running.approval("bob", command, issued_at=now, expires_at=now + 60))
        )
        assert late.reason is Refusal.EXPIRED
        await settled(engine)
        assert newest(engine)["type"] == "approval.refused"

    tell(running, story)


def test_the_same_person_is_counted_once(running: RunningPlant) -> None:
    """Another signature of bob's adds nobody, and the very same one is told what it led to."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        strict: dict[str, Json] = {**plant.profile(), "name": "two-people", "approvals": 3}
        await running.by_two(engine, Act.PROFILE_SET, {"profile": strict})
        command = running.issue(profile="two-people")
        await engine.submit_command(command)
        approval = running.approval("bob", command)
        first = await engine.submit_approval(approval)
        again = await engine.submit_approval(approval)
        assert first == again
        assert first.have == ("alice", "bob")
        second = await refused(engine.submit_approval(running.approval("bob", command)))
        assert second.reason is Refusal.ALREADY_APPROVED
        assert (await engine.submit_command(command)).have == ("alice", "bob")

    tell(running, story)


def test_nothing_is_carried_out_after_its_end(tmp_path: Path) -> None:
    """An approval counts again when the command that it is about has ended: sent once more it leads to nothing."""
    roles = {**plant.ROLES, "carol": ["officer", "approver"], "dora": ["officer", "approver"]}
    quorums: Json = {"custodians": 2, "recovery": 2, "acts": {"site.add": 3}}
    running = RunningPlant(tmp_path / "home", roles=roles, members={"quorums": quorums})

    async def story() -> None:
        async with running.engine() as engine:
            command = running.command("alice", Act.SITE_ADD, {"name": "line-9", "audiences": [f"{plant.AUDIENCE}/9"]})
            await engine.submit_command(command)
            first = running.approval("bob", command, expires_at=running.clock.now() + 7200)
            assert (await engine.submit_approval(first)).state is State.WAITING
            args: dict[str, Json] = {"person": "bob", "reason": "elsewhere"}
            away = running.command("alice", Act.OPERATOR_ROLES, {**args, "roles": ["issuer"]})
            await engine.submit_command(away, approvals=[running.approval("carol", away)])
            second = running.approval("carol", command, expires_at=running.clock.now() + 7200)
            assert (await engine.submit_approval(second)).have == ("alice", "carol")
            running.clock.time += 3600
            back = running.command("alice", Act.OPERATOR_ROLES, {**args, "roles": ["officer", "approver"]})
            await engine.submit_command(back, approvals=[running.approval("carol", back)])
            assert (await engine.submit_approval(first)).state is State.READY
            late = await running.complete(engine, command)
            assert (late.state, late.reason) == (State.REFUSED, Refusal.UNKNOWN_REQUEST)
            assert "line-9" not in engine.standing.authority.sites

    run(story())


@pytest.mark.parametrize(
    ("person", "reason", "rule"),
    [
        ("alice", Refusal.NOT_ALLOWED, "R2 the requester never approves"),
        ("carol", Refusal.NOT_ALLOWED, "R2 who may approve"),
    ],
)
def test_who_may_not_approve_is_told_the_rule(running: RunningPlant, person: str, reason: Refusal, rule: str) -> None:
    """The requester and an auditor: refused, in the log, and the request waits on."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        command = await waiting(running, engine)
        found = await refused(engine.submit_approval(running.approval(person, command)))
        assert (found.reason, found.rule) == (reason, rule)
        await settled(engine)
        event = newest(engine)
        assert (event["type"], event["by"], event["rule"]) == ("approval.refused", person, rule)
        assert (await engine.submit_command(command)).state is State.WAITING

    tell(running, story)


def test_what_travels_beside_a_request_is_what_its_approvers_saw(running: RunningPlant) -> None:
    """Without the enrolment's document nothing is shown to bob; an approval of less is void, with it one counts."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        name = f"{plant.WORKLOAD}0"
        proof = running.proof(Signer.named("robot 70"), workload=name).encode()
        args = running.enrolment(id=name, enrolment=sha256_hex(proof))
        command = running.command("alice", Act.WORKLOAD_ENROL, args)
        with pytest.raises(Malformed, match="not what the command names"):
            RequestFile(command).seen(terms(engine.standing.authority, running.clock.now()))
        assert (await engine.submit_command(command, {sha256_hex(proof): proof})).state is State.WAITING
        unseen = running.approval("bob", command, basis=replace(basis(engine, command), attachment=None))
        found = await refused(engine.submit_approval(unseen))
        assert (found.reason, "attachment" in found.detail) == (Refusal.APPROVAL_VOID, True)
        assert (await engine.submit_approval(running.approval("bob", command))).state is State.DONE

    tell(running, story)


def test_a_request_is_withdrawn_by_whoever_made_it(running: RunningPlant) -> None:
    """Bob cannot take back what alice asked for; she can, once, and then nobody approves it."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        command = await waiting(running, engine)
        args: dict[str, Json] = {"request": document_id(parse_unverified(command)), "reason": "a mistake"}
        other = await engine.submit_command(running.command("bob", Act.REQUEST_WITHDRAW, args))
        assert (other.reason, other.rule) == (Refusal.NOT_ALLOWED, "R9 withdrawn by its requester")
        approval = running.approval("bob", command)
        assert (await engine.submit_command(running.command("alice", Act.REQUEST_WITHDRAW, args))).state is State.DONE
        again = await engine.submit_command(running.command("alice", Act.REQUEST_WITHDRAW, args))
        assert again.reason == Refusal.UNKNOWN_REQUEST
        assert (await engine.submit_command(command)).reason == Refusal.WITHDRAWN
        assert (await engine.submit_approval(approval)).reason == Refusal.WITHDRAWN

    tell(running, story)


def test_the_list_of_requests_says_whose_approval_counts_no_more(running: RunningPlant) -> None:
    """The view has the people behind a request now, and why another is not among them."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        strict: dict[str, Json] = {**plant.profile(), "name": "two-people", "approvals": 2}
        await running.by_two(engine, Act.PROFILE_SET, {"profile": strict})
        command = running.issue(profile="two-people")
        await engine.submit_command(command)
        await engine.submit_approval(running.approval("bob", command))
        await running.by_two(engine, Act.PROFILE_SET, {"profile": {**strict, "lifetime": 1200}})
        reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
        rows: Any = await reader.read("requests", {})
        (row,) = rows
        assert (row["state"], row["have"]) == ("waiting", ["alice"])
        assert row["void"] == {"bob": "it was given for another profile"}

    tell(running, story)


def test_approvals_of_many_at_once_are_each_counted(running: RunningPlant) -> None:
    """Two approvals in one slice, of which the second is the same person's: one counts and one is refused."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        strict: dict[str, Json] = {**plant.profile(), "name": "two-people", "approvals": 3}
        await running.by_two(engine, Act.PROFILE_SET, {"profile": strict})
        command = running.issue(profile="two-people")
        await engine.submit_command(command)
        sent = [engine.submit_approval(running.approval("bob", command)) for _ in range(8)]
        ended = await asyncio.gather(*sent, return_exceptions=True)
        assert sum(isinstance(one, Outcome) for one in ended) == 1
        assert {one.reason for one in ended if isinstance(one, Refused)} == {Refusal.ALREADY_APPROVED}

    tell(running, story)


@pytest.mark.parametrize("profile", ["", "x" * 4097, "Orders Reader", 7, None])
def test_what_cannot_be_read_is_not_put_before_people(running: RunningPlant, profile: Json) -> None:
    """Where every issue takes two, one under a name that is none ends at once, and the engine goes on."""
    running.members = {"quorums": {"custodians": 2, "recovery": 2, "acts": {"credential.issue": 2}}}

    async def story(running: RunningPlant, engine: Engine) -> None:
        refused = await engine.submit_command(running.issue(profile=profile))
        assert (refused.state, refused.reason) == (State.REFUSED, Refusal.MALFORMED)
        assert (await engine.submit_command(running.issue())).state is State.WAITING

    tell(running, story)


def test_a_batch_that_waits_names_few_enough_profiles(running: RunningPlant) -> None:
    """Thousands of invented names beside one profile that takes two: refused, logged, and the engine goes on."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        strict: dict[str, Json] = {**plant.profile(), "name": "two-people", "approvals": 2}
        await running.by_two(engine, Act.PROFILE_SET, {"profile": strict})
        for invented, state in ((255, State.WAITING), (256, State.REFUSED), (5000, State.REFUSED)):
            named = ["two-people", *(f"invented-{number}".ljust(32, "x") for number in range(invented))]
            body = b"".join(dumps({**running.issue_args(), "profile": name}) + b"\n" for name in named)
            args = BatchArguments(Manifest.of(body)).as_json()
            command = running.command("alice", Act.CREDENTIAL_ISSUE, args)
            stream = await engine.submit_batch(command, {sha256_hex(body): body})
            assert (await stream.chunk(), stream.outcome().state) == (None, state)

    tell(running, story)


def test_nothing_is_carried_out_after_the_end_of_its_command(tmp_path: Path) -> None:
    """An approval that was void when it came, and would be good again, is sent again two days too late."""
    officers = {name: ["officer", "approver"] for name in ("bob", "dave", "eve")}
    roles = {"alice": ["officer", "issuer"], "carol": ["auditor"], **officers}
    acts: Json = {"site.add": 3}
    members: dict[str, Json] = {"quorums": {"custodians": 2, "recovery": 2, "acts": acts}}
    running = RunningPlant(tmp_path / "five", roles=roles, members=members)

    async def story(running: RunningPlant, engine: Engine) -> None:
        async def set_roles(held: list[str]) -> None:
            args: dict[str, Json] = {"person": "bob", "roles": [*held], "reason": "a shift"}
            command = running.command("dave", Act.OPERATOR_ROLES, args)
            done = await engine.submit_command(command, approvals=[running.approval("eve", command)])
            assert done.state is State.DONE, done

        site: dict[str, Json] = {"name": "line-2", "audiences": ["https://line-2.plant-a.example"]}
        command = running.command("alice", Act.SITE_ADD, site)
        await engine.submit_command(command)
        later = running.clock.now() + 10 * plant.DAY
        await engine.submit_approval(running.approval("bob", command, expires_at=later))
        await set_roles(["issuer"])
        by_eve = running.approval("eve", command, expires_at=later)
        assert (await engine.submit_approval(by_eve)).have == ("alice", "eve")
        await set_roles(["officer", "approver"])
        running.clock.time += 2 * plant.DAY
        assert (await engine.submit_approval(by_eve)).state is State.READY
        ended = await running.complete(engine, command)
        assert (ended.state, ended.reason) == (State.REFUSED, Refusal.UNKNOWN_REQUEST)
        assert "line-2" not in engine.standing.authority.sites

    tell(running, story)


def test_a_batch_ends_with_its_command(running: RunningPlant) -> None:
    """Whoever reads its lines too slowly gets those that were issued in time; the rest takes a new command."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        body = b"".join(dumps({**running.issue_args(), "ttl": 60 + number}) + b"\n" for number in range(12 * 64))
        args = BatchArguments(Manifest.of(body)).as_json()
        command = running.command("alice", Act.CREDENTIAL_ISSUE, args, expires_at=running.clock.now() + 60)
        stream = await engine.submit_batch(command, {sha256_hex(body): body})
        while not engine.standing.lookups.issued:  # noqa: ASYNC110 - the log is what is waited for
            await asyncio.sleep(0.01)
        running.clock.time += 400
        while await stream.chunk() is not None:
            pass
        assert (stream.outcome().state, stream.outcome().reason) == (State.REFUSED, Refusal.EXPIRED)

    tell(running, story)


def test_an_approval_that_does_not_count_costs_one_entry(running: RunningPlant) -> None:
    """Sent again and again, by whoever has the file, it is answered as before and adds nothing to the log."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        command = await waiting(running, engine)
        void = running.approval("carol", command)
        first = await refused(engine.submit_approval(void))
        await settled(engine)
        size = engine.standing.head.size
        again = [await refused(engine.submit_approval(void)) for _ in range(20)]
        assert {(one.reason, one.detail, one.rule) for one in again} == {(first.reason, first.detail, first.rule)}
        await settled(engine)
        assert engine.standing.head.size == size

    tell(running, story)


def test_nobody_spoils_what_somebody_else_signed(running: RunningPlant) -> None:
    """Sent without what it names, or with more, a command is turned away and can still be sent as it should be."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        name = f"{plant.WORKLOAD}0"
        proof = running.proof(Signer.named("robot 70"), workload=name).encode()
        args = running.enrolment(id=name, enrolment=running.keep(proof))
        command = running.command("alice", Act.WORKLOAD_ENROL, args)
        size = engine.standing.head.size
        for beside in ({}, {sha256_hex(proof): proof, sha256_hex(b"more"): b"more"}):
            turned_away = await refused(engine.submit_command(command, beside))
            assert turned_away.reason is Refusal.MALFORMED
        assert engine.standing.head.size == size
        approvals = [running.approval("bob", command), running.approval("bob", running.issue())]
        await refused(engine.submit_command(command, {sha256_hex(proof): proof}, approvals))
        assert engine.standing.head.size == size
        done = await engine.submit_command(command, {sha256_hex(proof): proof}, approvals[:1])
        assert done.state is State.DONE

    tell(running, story)


def newest(engine: Engine) -> dict[str, Any]:
    """Give the newest event that is on the disk."""
    size = engine.standing.head.size
    (body,) = engine.standing.archive.bodies(size - 1, 1)
    return entries.parse(body).event


def _claims(token: str) -> dict[str, Json]:
    found = loads(parse_unverified(token).payload)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("form", [1, RENDERING])
def test_no_approval_of_less_is_counted_any_more(running: RunningPlant, form: int) -> None:
    """What began to wait when less was shown takes no further approval, of either form: it is asked for anew."""

    async def story(running: RunningPlant, engine: Engine) -> None:
        command = await waiting(running, engine)
        request = engine.standing.lookups.requests[document_id(parse_unverified(command))]
        read = parse_command(command, engine.standing.authority.signer_key)
        request.rendering, request.shown = 1, first.shown(read, "alice")
        given = replace(basis(engine, command), rendering=form)
        found = await refused(engine.submit_approval(running.approval("bob", command, basis=given)))
        assert (found.reason, "ask for it anew" in found.detail) == (Refusal.APPROVAL_VOID, True)

    tell(running, story)


def test_a_home_of_an_earlier_release_is_read() -> None:
    """The log of the worked example as it was written before folds to the end, with what waits and who approved."""
    files = framing.read((VECTORS / "first-form" / "log.export").read_bytes(), framing.EXPORT)
    lookups, authority = Lookups(), Authority.founded(founding.parse(files["founding.json"]))
    forms = set()
    for line in files["entries.jsonl"].splitlines():
        authority = fold(authority, lookups, entries.parse(line))
        forms |= {request.rendering for request in lookups.requests.values()}
        forms |= {
            given.basis.rendering for request in lookups.requests.values() for given in request.approvals.values()
        }
    assert forms == {1}
    assert lookups.size == len(files["entries.jsonl"].splitlines())
