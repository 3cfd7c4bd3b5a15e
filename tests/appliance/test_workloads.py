"""Workloads in the engine: proof of possession, suspension, reviews, and what they may ask for themselves."""

from pathlib import Path
from typing import Any

import pytest

from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from appliance.nouns.workloads import LONGEST_REVIEW, REVIEW_WARNING
from appliance.outcome import Outcome, State
from coldcred.acts import RULES, Act
from coldcred.canonical import Json, loads, sha256_hex
from coldcred.credential import Kind, parse_claims
from coldcred.jose import Typ, assemble, parse_unverified
from coldcred.keys import Algorithm
from tests.appliance.test_engine import events
from tests.support import plant
from tests.support.running import RunningPlant, believed, run, settled
from tests.support.signers import Signer, twin

OTHER = "spiffe://plant-a.example/line-1/robot-8"
ASKED_BY_BOTH: list[Json] = ["issuer", "workload"]


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the worked example's appliance, not started yet."""
    return RunningPlant(tmp_path / "home")


async def ready(running: RunningPlant, engine: Engine, **profile: Json) -> None:
    """Bring the appliance to where the workload, enrolled with proof, may ask for itself."""
    await running.ready(engine)
    await engine.submit_command(suspension(running))
    enrolled = await running.enrol_with(engine, running.proof(seal=plant.sealing()), groups=["robots", "line-1"])
    assert enrolled.state is State.DONE, enrolled
    await let_ask(running, engine, **profile)


async def let_ask(running: RunningPlant, engine: Engine, **profile: Json) -> None:
    """Set the profile so that workloads may ask under it."""
    members: Json = {**plant.profile(), "asked_by": ASKED_BY_BOTH, **profile}
    done = await running.by_two(engine, Act.PROFILE_SET, {"profile": members})
    assert done.state is State.DONE, done


# -- proof of possession


def test_a_key_is_enrolled_with_proof_and_stands_in_its_register(running: RunningPlant) -> None:
    """Both keys come from the document, which is kept as a blob; the auditor believes it."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            authority = engine.standing.authority
            workload = authority.workloads[plant.WORKLOAD]
            assert (workload.key, workload.seal) == (plant.robot().public, plant.sealing())
            assert workload.groups == ("robots", "line-1")
            assert workload.enrolment is not None
            assert engine.standing.archive.blob(workload.enrolment)
            assert authority.registers[plant.robot().kid] == "workload-sign"
            assert authority.registers[plant.sealing().thumbprint] == "workload-seal"
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"appliance": "0" * 64}, Refusal.WRONG_APPLIANCE),
        ({"workload": OTHER}, Refusal.MALFORMED),
        ({"key": Signer.named("mallory").public}, Refusal.BAD_SIGNATURE),
        ({"signer": plant.operator("alice")}, Refusal.KEY_IN_USE),
        ({"signer": plant.custodian("bob")}, Refusal.KEY_IN_USE),
        ({"shift": -3600}, Refusal.EXPIRED),
        ({"shift": 121}, Refusal.NOT_YET_VALID),
        ({"shift": 120}, None),
        ({"shift": -3599}, None),
        ({}, None),
    ],
)
def test_a_proof_is_held_to_what_it_is_for(
    running: RunningPlant, changes: dict[str, Any], reason: Refusal | None
) -> None:
    """Another appliance, workload, key, register or time: nothing is enrolled."""
    signer, shift = changes.pop("signer", None), changes.pop("shift", 0)

    async def story() -> Outcome:
        async with running.engine() as engine:
            now = running.clock.now() + shift
            proof = running.proof(signer, issued_at=now, expires_at=now + 3600, **changes)
            return await running.enrol_with(engine, proof)

    outcome = run(story())
    assert (outcome.state, outcome.reason) == ((State.REFUSED, reason) if reason else (State.DONE, None))


def test_without_proof_no_key_is_enrolled(running: RunningPlant) -> None:
    """A bare key, a document that is missing, and one that is no document are malformed."""

    async def story() -> None:
        async with running.engine() as engine:
            bare = await running.by_two(
                engine, Act.WORKLOAD_ENROL, running.enrolment(key={**plant.robot().public.jwk()})
            )
            with pytest.raises(Refused, match="does not travel beside it"):
                await running.by_two(engine, Act.WORKLOAD_ENROL, running.enrolment(enrolment="0" * 64))
            other = await running.enrol_with(engine, running.approval("bob", running.issue()))
            assert {bare.reason, other.reason} == {Refusal.MALFORMED}
            assert not engine.standing.authority.workloads

    run(story())


def test_a_key_is_one_workloads_for_ever(running: RunningPlant) -> None:
    """It may be kept at the next enrolment; retired, or another's, it is refused, and so is the sealing key (R10)."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            taken = await running.enrol_with(engine, running.proof(workload=OTHER), id=OTHER)
            sealed = running.proof(plant.robot("other"), workload=OTHER, seal=plant.sealing())
            shared = await running.enrol_with(engine, sealed, id=OTHER)
            assert (taken.reason, shared.reason) == (Refusal.KEY_IN_USE, Refusal.KEY_IN_USE)
            for signer, reason in (
                (plant.robot(), None),
                (plant.robot("next"), None),
                (plant.robot(), Refusal.KEY_IN_USE),
            ):
                await engine.submit_command(suspension(running))
                again = await running.enrol_with(engine, running.proof(signer, seal=plant.sealing()))
                assert again.reason == reason
            with pytest.raises(Refused, match="does not know"):
                await engine.submit_command(running.request())

    run(story())


# -- suspension and reviews


def suspension(running: RunningPlant) -> str:
    """Give a command of one person that suspends the workload."""
    return running.command("bob", Act.WORKLOAD_SUSPEND, {"workload": plant.WORKLOAD, "reason": "lost"})


def test_a_suspended_workload_gets_nothing_until_it_is_resumed(running: RunningPlant) -> None:
    """One person stops it, for whoever asks; two resume it; enrolling it again does so too."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            for restore in ("resume", "enrol"):
                assert (await engine.submit_command(suspension(running))).state is State.DONE
                for command in (running.issue(), running.request()):
                    assert (await engine.submit_command(command)).reason == Refusal.WORKLOAD_SUSPENDED
                if restore == "resume":
                    args: dict[str, Json] = {"workload": plant.WORKLOAD}
                    alone = await engine.submit_command(running.command("alice", Act.WORKLOAD_RESUME, args))
                    assert (alone.state, alone.need) == (State.WAITING, 2)
                    restored = await running.by_two(engine, Act.WORKLOAD_RESUME, args)
                else:
                    restored = await running.enrol_with(engine, running.proof())
                assert restored.state is State.DONE
                assert (await engine.submit_command(running.issue())).state is State.DONE
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize(("later", "state"), [(120, State.DONE), (121, State.REFUSED)])
@pytest.mark.parametrize("act", [Act.WORKLOAD_RESUME, Act.WORKLOAD_ENROL])
def test_a_suspension_outdoes_what_was_asked_before_it(
    running: RunningPlant, act: Act, later: int, state: State
) -> None:
    """A request to go on that waited while the workload was suspended again is refused; clocks may differ a little."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            assert (await engine.submit_command(suspension(running))).state is State.DONE
            args = {"workload": plant.WORKLOAD} if act is Act.WORKLOAD_RESUME else running.enrolment()
            waiting = running.command("alice", act, {**args})
            assert (await engine.submit_command(waiting)).state is State.WAITING
            running.clock.time += later
            assert (await engine.submit_command(suspension(running))).state is State.DONE
            ended = await engine.submit_approval(running.approval("bob", waiting))
            assert ended.state is state
            if state is State.REFUSED:
                told = (Refusal.WORKLOAD_SUSPENDED, "taken up by what was asked since")
                assert (ended.reason, ended.rule) == told
                assert (await running.by_two(engine, act, {**args})).state is State.DONE
            await believed(running, engine)

    run(story())


def test_who_is_not_enrolled_is_neither_suspended_nor_resumed(running: RunningPlant) -> None:
    """The name is checked before anything is written; an auditor stops nothing."""

    async def story() -> None:
        async with running.engine() as engine:
            unknown = await engine.submit_command(suspension(running))
            resumed = await running.by_two(engine, Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD})
            assert {unknown.reason, resumed.reason} == {Refusal.UNKNOWN_WORKLOAD}
            args: dict[str, Json] = {"workload": plant.WORKLOAD, "reason": "x"}
            auditor = await engine.submit_command(running.command("carol", Act.WORKLOAD_SUSPEND, args))
            assert auditor.reason == Refusal.NOT_ALLOWED

    run(story())


@pytest.mark.parametrize(
    ("before", "enrolled"), [(REVIEW_WARNING + 1, False), (REVIEW_WARNING, True), (1, True), (0, True)]
)
def test_enrolling_again_is_allowed_from_thirty_days_before_a_review(
    running: RunningPlant,
    before: int,
    enrolled: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """To the second: a day earlier it is there already."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            await running.enrol(engine)
            running.clock.time = engine.standing.authority.workloads[plant.WORKLOAD].review_by - before
            return await running.by_two(engine, Act.WORKLOAD_ENROL, running.enrolment())

    assert run(story()).reason == (None if enrolled else Refusal.ALREADY_EXISTS)


@pytest.mark.parametrize(
    ("ahead", "good"), [(0, False), (1, True), (LONGEST_REVIEW, True), (LONGEST_REVIEW + 1, False)]
)
def test_a_review_lies_at_most_four_hundred_days_ahead(
    running: RunningPlant,
    ahead: int,
    good: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """In the future, and no further than that."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            review_by = running.clock.now() + ahead
            return await running.by_two(engine, Act.WORKLOAD_ENROL, running.enrolment(review_by=review_by))

    assert (run(story()).state is State.DONE) is good


@pytest.mark.parametrize(
    ("before", "warned", "issued"), [(REVIEW_WARNING + 1, 0, 1), (REVIEW_WARNING, 1, 1), (1, 1, 1), (0, 0, 0)]
)
def test_people_are_warned_before_a_review_stops_issuing(
    running: RunningPlant, before: int, warned: int, issued: int
) -> None:
    """From thirty days before, answers carry a warning that no entry holds; with its second nothing is issued."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            await running.ready(engine)
            review_by = running.clock.now() + 1 + before
            await engine.submit_command(suspension(running))
            await running.by_two(engine, Act.WORKLOAD_ENROL, running.enrolment(review_by=review_by))
            running.clock.time += 1
            return await engine.submit_command(running.issue())

    outcome = run(story())
    assert (len(outcome.warnings), outcome.state is State.DONE) == (warned, bool(issued))
    if warned:
        assert "alice" in outcome.warnings[0]
        assert plant.WORKLOAD in outcome.warnings[0]
    assert all("warnings" not in event for event in events(running.path))


# -- workloads that ask for themselves


def test_a_workload_asks_for_itself(running: RunningPlant) -> None:
    """Its own key signs; the entry names it and no person; the auditor counts the same way."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            await ready(running, engine)
            outcome = await engine.submit_command(running.request())
            await settled(engine)
            await believed(running, engine)
            return outcome

    outcome = run(story())
    assert (outcome.state, outcome.need, outcome.have) == (State.DONE, 0, ())
    assert parse_claims(parse_unverified(outcome.files["token"]).payload, Kind.ACCESS).subject == plant.WORKLOAD
    issued = next(event for event in events(running.path) if event["type"] == "credential.issued")
    assert (issued["by"], issued["people"], issued["approvals"]) == (plant.WORKLOAD, [], [])


@pytest.mark.parametrize("act", [act for act in Act if not RULES[act].workloads])
def test_a_workload_does_nothing_else(running: RunningPlant, act: Act) -> None:
    """Every other act that its key signs is refused, before its arguments are read."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            await running.enrol_with(engine, running.proof())
            return await engine.submit_command(running.command(plant.robot(), act, {}))

    assert run(story()).reason == Refusal.NOT_ALLOWED


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"workload": OTHER}, Refusal.NOT_ALLOWED),
        ({"workload": 7}, Refusal.NOT_ALLOWED),
        ({"profile": "later"}, Refusal.UNKNOWN_PROFILE),
        ({"audience": "https://elsewhere.example"}, Refusal.OUTSIDE_PROFILE),
        ({"scopes": ["orders.delete"]}, Refusal.OUTSIDE_PROFILE),
    ],
)
def test_it_is_bound_as_people_are(running: RunningPlant, args: dict[str, Json], reason: Refusal) -> None:
    """Another workload, no profile, and more than the profile grants are refused."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            outcome = await engine.submit_command(running.request(args=args))
            assert (outcome.state, outcome.reason) == (State.REFUSED, reason)
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize(
    ("asked_by", "people", "workloads"),
    [(None, True, False), (["issuer"], True, False), (["workload"], False, True), (ASKED_BY_BOTH, True, True)],
)
def test_the_profile_says_who_asks(
    running: RunningPlant,
    asked_by: list[Json] | None,
    people: bool,  # noqa: FBT001 - a column of the table
    workloads: bool,  # noqa: FBT001 - as above
) -> None:
    """People, workloads or both; people alone where it says nothing."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            profile: dict[str, Json] = {**plant.profile()}
            if asked_by is not None:
                profile["asked_by"] = asked_by
            await running.by_two(engine, Act.PROFILE_SET, {"profile": profile})
            by_person = await engine.submit_command(running.issue())
            by_workload = await engine.submit_command(running.request())
            assert by_person.reason == (None if people else Refusal.NOT_ALLOWED)
            assert by_workload.reason == (None if workloads else Refusal.NOT_ALLOWED)
            await settled(engine)
            await believed(running, engine)

    run(story())


def test_where_people_are_needed_all_of_them_are_others(running: RunningPlant) -> None:
    """With two approvals two distinct people approve; then the workload completes it and has the credential, once."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine, approvals=2)
            request = running.request()
            waiting = await engine.submit_command(request)
            assert (waiting.state, waiting.need, waiting.have) == (State.WAITING, 2, ())
            twice = [running.approval("bob", request), running.approval("bob", request)]
            with pytest.raises(Refused) as refused:
                await engine.submit_command(request, approvals=twice)
            assert refused.value.reason is Refusal.ALREADY_APPROVED
            approved = await engine.submit_approval(running.approval("alice", request))
            assert (approved.state, approved.have) == (State.READY, ("alice", "bob"))
            assert (await engine.submit_command(request)).state is State.READY
            done = await running.complete(engine, request, plant.robot())
            assert (done.state, done.have, list(done.files)) == (State.DONE, ("alice", "bob"), ["token"])
            again = await engine.submit_command(request)
            assert (again.state, again.files) == (State.DONE, {})
            await settled(engine)
            await believed(running, engine)

    run(story())


def test_a_workload_approves_nothing(running: RunningPlant) -> None:
    """Its key counts for its own requests only: as an approval it is a stranger's."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine, approvals=2)
            request = running.request()
            await engine.submit_command(request)
            claims = parse_unverified(running.approval("bob", request)).payload
            forged = plant.robot().token(Typ.APPROVAL, _members(claims))
            with pytest.raises(Refused, match="does not know"):
                await engine.submit_approval(forged)

    run(story())


def _members(payload: bytes) -> dict[str, Json]:
    found = loads(payload)
    assert isinstance(found, dict)
    return found


def test_a_replay_is_told_its_outcome(running: RunningPlant) -> None:
    """The same command, and its twin with the other signature, give no second credential (R6, R7)."""

    async def story() -> None:
        async with running.engine() as engine:
            await ready(running, engine)
            request = running.request()
            first = await engine.submit_command(request)
            jws = parse_unverified(request)
            for token in (request, assemble(jws.signing_input, twin(jws.signature))):
                again = await engine.submit_command(token)
                assert (again.result, again.files) == (first.result, {})
            with pytest.raises(Refused, match="names appliance"):
                await engine.submit_command(running.request(appliance="0" * 64))
            with pytest.raises(Refused, match="names epoch 2"):
                await engine.submit_command(running.request(epoch=2))
            late = running.request(issued_at=running.clock.now() - 10, expires_at=running.clock.now())
            assert (await engine.submit_command(late)).reason == Refusal.EXPIRED
        async with running.engine() as engine:
            again = await engine.submit_command(request)
            assert (again.result, again.files) == (first.result, {})

    run(story())


def test_in_a_home_of_one_a_workload_needs_nobody(tmp_path: Path) -> None:
    """Every number of people is one there, and a workload stands for it."""
    running = RunningPlant(tmp_path / "home", roles=plant.ALONE)

    async def story() -> None:
        async with running.engine() as engine:
            proof = running.proof()
            digest = sha256_hex(proof.encode())
            enrol = running.command("alice", Act.WORKLOAD_ENROL, running.enrolment(enrolment=digest))
            assert (await engine.submit_command(enrol, {digest: proof.encode()})).state is State.DONE
            profile: Json = {**plant.profile(), "asked_by": ["workload"], "approvals": 2}
            await engine.submit_command(running.command("alice", Act.PROFILE_SET, {"profile": profile}))
            outcome = await engine.submit_command(running.request())
            assert outcome.reason == Refusal.NO_BUNDLE

    run(story())


# -- the profile's further bounds


@pytest.mark.parametrize(
    ("groups", "good"), [(["robots"], True), (["other", "line-1"], True), (["robots-2"], False), (["robot"], False)]
)
def test_a_profile_for_groups_is_for_their_workloads(
    running: RunningPlant,
    groups: list[Json],
    good: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """One group in common is enough; a name that only begins alike is none."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            await ready(running, engine, groups=groups)
            return await engine.submit_command(running.issue())

    assert run(story()).reason == (None if good else Refusal.OUTSIDE_PROFILE)


@pytest.mark.parametrize(
    ("requires", "given", "good"),
    [
        ([], {}, True),
        ([], {"purpose": "p", "task": "t"}, True),
        (["purpose"], {}, False),
        (["purpose"], {"task": "t"}, False),
        (["purpose"], {"purpose": "p"}, True),
        (["purpose", "task"], {"purpose": "p"}, False),
        (["purpose", "task"], {"purpose": "p", "task": "t"}, True),
    ],
)
def test_what_a_profile_requires_the_request_carries(
    running: RunningPlant,
    requires: list[Json],
    given: dict[str, Json],
    good: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Purpose and task are allowed anywhere, and required where the profile says; they stand in the credential."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            await ready(running, engine, **({"requires": requires} if requires else {}))
            return await engine.submit_command(running.issue(**given))

    outcome = run(story())
    assert outcome.reason == (None if good else Refusal.OUTSIDE_PROFILE)
    if good:
        found = parse_claims(parse_unverified(outcome.files["token"]).payload, Kind.ACCESS)
        assert (found.purpose, found.task) == (given.get("purpose"), given.get("task"))


@pytest.mark.parametrize(
    ("lifetime", "ttl", "lives"),
    [(900, None, 900), (900, 899, 899), (900, 900, 900), (900, 901, None), (1, None, 1), (1, 1, 1), (1, 2, None)],
)
def test_lifetimes_hold_to_the_second(running: RunningPlant, lifetime: int, ttl: int | None, lives: int | None) -> None:
    """The window is as long as was asked for, or as the profile allows, and never a second more."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            await ready(running, engine, lifetime=lifetime)
            args: dict[str, Json] = {name: value for name, value in running.issue_args().items() if name != "ttl"}
            if ttl is not None:
                args["ttl"] = ttl
            return await engine.submit_command(running.command("alice", Act.CREDENTIAL_ISSUE, args))

    outcome = run(story())
    if lives is None:
        assert outcome.reason == Refusal.OUTSIDE_PROFILE
    else:
        found = parse_claims(parse_unverified(outcome.files["token"]).payload, Kind.ACCESS)
        assert found.expires_at - found.not_before == lives


def test_an_ed25519_key_does_as_well(running: RunningPlant) -> None:
    """Either algorithm signs a workload's requests."""
    signer = Signer.named("robot-7", Algorithm.ED25519)

    async def story() -> Outcome:
        async with running.engine() as engine:
            await ready(running, engine)
            await engine.submit_command(suspension(running))
            await running.enrol_with(engine, running.proof(signer))
            return await engine.submit_command(running.request(signer))

    assert run(story()).state is State.DONE
