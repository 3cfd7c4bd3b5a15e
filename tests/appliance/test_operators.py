"""Operators in the engine: who joins, changes and leaves, by whose signatures; what no change may take away."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from appliance.outcome import Outcome, State
from coldcred.acts import Act, Role
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.command import document_id
from coldcred.jose import Typ, parse_unverified
from coldcred.policy import DEFAULT
from tests.support import plant
from tests.support.logworld import second
from tests.support.running import RunningPlant, believed, run, settled
from tests.support.signers import Signer

SUSPEND: dict[str, Json] = {"workload": plant.WORKLOAD, "reason": "lost"}
ERIN = plant.operator("erin")


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the worked example's appliance, not started yet."""
    return RunningPlant(tmp_path / "home")


async def add(
    running: RunningPlant, engine: Engine, person: str = "erin", *roles: str, proof: str | None = None, **args: Json
) -> Outcome:
    """Enrol a person with their first operator key."""
    proof = proof or running.countersignature(plant.operator(person), person)
    asked: dict[str, Json] = {"person": person, "roles": [*(roles or ("officer",))], **args}
    return await running.with_proof(engine, Act.OPERATOR_ADD, asked, proof)


async def by_two(running: RunningPlant, engine: Engine, act: Act, **args: Json) -> Outcome:
    """Carry out an act by alice and bob."""
    return await running.by_two(engine, act, args)


async def recover(
    running: RunningPlant,
    engine: Engine,
    replaces: str,
    person: str,
    signers: tuple[str | Signer, ...] = (plant.custodian("alice"), plant.custodian("carol")),
    **args: Json,
) -> Outcome:
    """Put a person's second key in the place of an officer."""
    proof = running.countersignature(second(person), person)
    asked: dict[str, Json] = {"replaces": replaces, "person": person, "reason": "lost", **args}
    return await running.with_proof(engine, Act.OPERATOR_RECOVER, asked, proof, signers)


def events(engine: Engine) -> list[dict[str, Any]]:
    """Give all events of the log so far."""
    return [json.loads(body)["event"] for body in engine.standing.archive.bodies()]


def last_refusal(engine: Engine) -> dict[str, Any]:
    """Give the newest refusal in the log."""
    return [event for event in events(engine) if event["type"] == "command.refused"][-1]


def told(outcome: Outcome) -> tuple[State, str | None, str | None]:
    """Give state, reason and rule of an outcome."""
    return outcome.state, outcome.reason, outcome.rule


# -- joining


def test_somebody_new_counts_once_others_agreed_and_not_before(running: RunningPlant) -> None:
    """Their key is nobody's until the second person signed; then they ask and approve, and the auditor believes it."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            proof = running.countersignature(ERIN, "erin")
            digest = sha256_hex(proof.encode())
            args: dict[str, Json] = {"person": "erin", "roles": ["officer"], "countersignature": digest}
            asked = running.command("alice", Act.OPERATOR_ADD, args)
            waiting = await engine.submit_command(asked, {digest: proof.encode()})
            assert (waiting.state, waiting.need, waiting.have) == (State.WAITING, 2, ("alice",))
            for strange in (running.approval("erin", asked), running.approval(ERIN, asked)):
                with pytest.raises(Refused) as refused:
                    await engine.submit_approval(strange)
                assert refused.value.reason is Refusal.UNKNOWN_SIGNER
            done = await engine.submit_approval(running.approval("bob", asked))
            assert (done.state, done.result) == (State.DONE, {"kid": ERIN.kid, "person": "erin"})
            enrolled = engine.standing.authority.operators[ERIN.kid]
            assert (enrolled.person, enrolled.roles, enrolled.since) == (
                "erin",
                frozenset({Role.OFFICER}),
                running.clock.now(),
            )
            assert engine.standing.authority.registers[ERIN.kid] == "operator"
            await engine.submit_command(running.command("erin", Act.WORKLOAD_SUSPEND, SUSPEND))
            command = running.command("alice", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD})
            assert (await engine.submit_command(command)).state is State.WAITING
            assert (await engine.submit_approval(running.approval("erin", command))).state is State.DONE
            await believed(running, engine)
        async with running.engine() as engine:  # folded again from the log
            assert engine.standing.authority.operators[ERIN.kid] == enrolled

    run(story())


@pytest.mark.parametrize(
    ("signer", "changes", "reason"),
    [
        (ERIN, {"appliance": "0" * 64}, Refusal.WRONG_APPLIANCE),
        (ERIN, {"person": "frank"}, Refusal.MALFORMED),
        (ERIN, {"key": Signer.named("mallory").public}, Refusal.BAD_SIGNATURE),
        (plant.operator("carol"), {}, Refusal.KEY_IN_USE),
        (plant.custodian("bob"), {}, Refusal.KEY_IN_USE),
        (plant.robot(), {}, Refusal.KEY_IN_USE),
        (ERIN, {"shift": -3600}, Refusal.EXPIRED),
        (ERIN, {"shift": 121}, Refusal.NOT_YET_VALID),
        (ERIN, {"shift": 120}, None),
    ],
)
def test_a_countersignature_is_held_to_everything_in_it(
    signer: Signer, changes: dict[str, Any], reason: Refusal | None, running: RunningPlant
) -> None:
    """Appliance, person, key, register and time; nothing is enrolled, and the refusal is in the log with its rule."""
    changes = dict(changes)
    shift = changes.pop("shift", 0)

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            await engine.submit_command(running.command("alice", Act.WORKLOAD_SUSPEND, SUSPEND))
            await running.enrol_with(engine, running.proof())
            now = running.clock.now() + shift
            person = changes.pop("person", "erin")
            proof = running.countersignature(signer, person, issued_at=now, expires_at=now + 3600, **changes)
            outcome = await add(running, engine, proof=proof)
            assert outcome.reason == reason, outcome
            enrolled = {operator.person for operator in engine.standing.authority.operators.values()}
            assert ("erin" in enrolled) == (reason is None)
            if reason is not None:
                assert last_refusal(engine)["rule"] == outcome.rule
            await believed(running, engine)

    run(story())


NAMES = (
    "Erin", " erin", "erin ", "er in", "erin\n", "er\x00in", "erin\u202e", "\u200berin", "erin\u0301", "\u0435rin",
    "\uff45rin", "../erin", "erin/..", "erin/", ".", "", "e" * 33, "1erin", "erin-", "-erin", "erin--x", "erin:x",
    "spiffe://plant-a.example/erin", "[red]erin", "erin\x1b[31m",
)  # fmt: skip


def test_a_name_has_one_spelling(running: RunningPlant) -> None:
    """Control characters, marks that turn a line, look-alikes, path tricks, capitals, spaces: refused and logged."""

    async def story() -> None:
        async with running.engine() as engine:
            proof = running.countersignature(ERIN, "erin")
            for name in NAMES:
                outcome = await add(running, engine, proof=proof, person=name)
                # A name that would be no text anywhere is refused as such before it is read as a name.
                rules = {"names have one spelling", "R10 closed forms"}
                state, reason, rule = told(outcome)
                assert (state, reason, rule in rules) == (State.REFUSED, Refusal.MALFORMED, True), name
                assert (outcome.detail or "").isprintable(), name
                assert last_refusal(engine)["detail"] == outcome.detail

    run(story())


@pytest.mark.parametrize(
    ("roles", "rule"),
    [
        (["auditor", "officer"], "R2 separate duties"),
        (["root"], "R2 separate duties"),
        (["Officer"], "R2 separate duties"),
        ([], "R2 separate duties"),
        (["officer", "officer"], "R2 separate duties"),
    ],
)
def test_roles_are_closed_and_an_auditor_has_no_other(roles: list[Json], rule: str, running: RunningPlant) -> None:
    """When somebody joins, and when roles change."""

    async def story() -> None:
        async with running.engine() as engine:
            assert told(await add(running, engine, roles=roles)) == (State.REFUSED, Refusal.MALFORMED, rule)
            changed = await by_two(running, engine, Act.OPERATOR_ROLES, person="carol", roles=roles, reason="more")
            assert told(changed) == (State.REFUSED, Refusal.MALFORMED, rule)

    run(story())


def test_a_name_is_one_persons_for_ever(running: RunningPlant) -> None:
    """Who is enrolled is not enrolled again; a name that somebody left is nobody's, nor is its robot."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            taken = await add(running, engine, "carol", "auditor", proof=running.countersignature(ERIN, "carol"))
            assert taken.reason == Refusal.ALREADY_EXISTS
            assert (await add(running, engine)).state is State.DONE
            robot = running.enrolment(id=f"{plant.WORKLOAD}0", owner="erin")
            assert (await by_two(running, engine, Act.WORKLOAD_ENROL, **robot)).state is State.DONE
            for person, left in (("erin", 1), ("carol", 0)):
                gone = await by_two(running, engine, Act.OPERATOR_REMOVE, person=person, reason="left")
                assert (gone.state, gone.result) == (State.DONE, {"person": person, "workloads": left})
            kept = (State.REFUSED, Refusal.ALREADY_EXISTS, "R3 a name is one person's")
            for person in ("erin", "carol"):
                proof = running.countersignature(second(person), person)
                assert told(await add(running, engine, person, "auditor", proof=proof)) == kept
                assert told(await recover(running, engine, "bob", person)) == kept
            refused = await engine.submit_command(running.issue(workload=f"{plant.WORKLOAD}0"))
            assert refused.reason == Refusal.OWNER_LEFT
            await believed(running, engine, "alice")
        async with running.engine() as engine:  # folded again from the log
            proof = running.countersignature(second("erin"), "erin")
            assert told(await add(running, engine, proof=proof)) == kept

    run(story())


# -- leaving


def test_who_left_signs_nothing_and_what_they_asked_for_has_ended(running: RunningPlant) -> None:
    """Commands, approvals and open readings end with the keys; the workloads that they own are counted."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            assert (await add(running, engine)).state is State.DONE
            await engine.submit_command(running.command("alice", Act.WORKLOAD_SUSPEND, SUSPEND))
            owned = await running.enrol_with(engine, running.proof(), owner="erin")
            assert owned.state is State.DONE, owned
            reader = await engine.open_reading(running.command("erin", Act.READ_OPEN))
            assert await reader.read("people", {})
            asked = running.command("erin", Act.SITE_ADD, {"name": "line-9", "audiences": [f"{plant.AUDIENCE}/9"]})
            assert (await engine.submit_command(asked)).state is State.WAITING
            late = running.approval("bob", asked)
            gone = await by_two(running, engine, Act.OPERATOR_REMOVE, person="erin", reason="left")
            assert gone.result == {"person": "erin", "workloads": 1}
            ended = engine.standing.lookups.outcomes[document_id(parse_unverified(asked))]
            assert told(ended) == (State.REFUSED, Refusal.UNKNOWN_SIGNER, "R3 enrolled people")
            assert not engine.standing.lookups.requests
            assert (await engine.submit_approval(late)).state is State.REFUSED
            with pytest.raises(Refused) as refused:
                await reader.read("people", {})
            assert refused.value.reason is Refusal.UNKNOWN_SIGNER
            for token in (running.command("erin", Act.WORKLOAD_SUSPEND, SUSPEND), asked):
                with pytest.raises(Refused) as refused:
                    await engine.submit_command(token)
                assert refused.value.reason is Refusal.UNKNOWN_SIGNER
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize(
    ("act", "args", "lost"),
    [
        (Act.OPERATOR_REMOVE, {"person": "alice"}, "credential.issue"),
        (Act.OPERATOR_REMOVE, {"person": "bob"}, "workload.enrol"),
        (Act.OPERATOR_ROLES, {"person": "alice", "roles": ["officer"]}, "credential.issue"),
        (Act.OPERATOR_ROLES, {"person": "bob", "roles": ["auditor"]}, "workload.enrol"),
        (Act.OPERATOR_ROLES, {"person": "bob", "roles": ["issuer"]}, "profile.set"),
        (Act.OPERATOR_ROLES, {"person": "alice", "roles": ["issuer"]}, "profile.set"),
        (Act.OPERATOR_ROLES, {"person": "bob", "roles": ["approver"]}, None),
        (Act.OPERATOR_REMOVE, {"person": "carol"}, None),
    ],
)
def test_no_act_goes_out_of_reach(act: Act, args: dict[str, Json], lost: str | None, running: RunningPlant) -> None:
    """Neither who could ask nor who could approve may be the last to go; the refusal names the act."""

    async def story() -> None:
        async with running.engine() as engine:
            outcome = await by_two(running, engine, act, **args, reason="less")
            if lost is None:
                assert outcome.state is State.DONE, outcome
                return
            assert told(outcome) == (State.REFUSED, Refusal.BELOW_QUORUM, "R2 every act stays within reach")
            assert f"never finish {lost}," in (outcome.detail or "")
            assert len(engine.standing.authority.operators) == 3

    run(story())


def test_a_profile_takes_no_more_people_than_there_are(running: RunningPlant) -> None:
    """Alice may ask and Bob approve: three are too many, and once two are set neither of them may go."""

    async def story() -> None:
        async with running.engine() as engine:
            beyond: Json = {**plant.profile(), "approvals": 3}
            refused = await running.by_two(engine, Act.PROFILE_SET, {"profile": beyond})
            assert told(refused) == (State.REFUSED, Refusal.BELOW_QUORUM, "profile orders-reader approvals")
            nobody: Json = {**plant.profile(), "approvals": 0}
            refused = await running.by_two(engine, Act.PROFILE_SET, {"profile": nobody})
            assert refused.reason == Refusal.MALFORMED
            both: Json = {**plant.profile(), "approvals": 2}
            assert (await running.by_two(engine, Act.PROFILE_SET, {"profile": both})).state is State.DONE
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize("act", [Act.OPERATOR_REMOVE, Act.OPERATOR_ROLES, Act.OPERATOR_REPLACE_KEY])
def test_nobody_is_changed_who_is_not_enrolled(act: Act, running: RunningPlant) -> None:
    """A name that nobody has."""
    more: dict[Act, dict[str, Json]] = {
        Act.OPERATOR_ROLES: {"roles": ["issuer"]},
        Act.OPERATOR_REPLACE_KEY: {"retires": [ERIN.kid]},
    }

    async def story() -> None:
        async with running.engine() as engine:
            outcome = await by_two(running, engine, act, person="erin", reason="x", **more.get(act, {}))
            assert told(outcome) == (State.REFUSED, Refusal.UNKNOWN_PERSON, "R3 enrolled people")

    run(story())


# -- keys


def test_two_keys_are_one_person(running: RunningPlant) -> None:
    """A second key signs as its person does: it approves nothing that the first asked for, nor counts beside it."""
    running.roles = {**plant.ROLES, "dora": ["approver"]}

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            proof = running.countersignature(second("bob"), "bob")
            args: dict[str, Json] = {"person": "bob", "retires": [], "reason": "a card"}
            added = await running.with_proof(engine, Act.OPERATOR_REPLACE_KEY, args, proof)
            keys = sorted((plant.operator("bob").kid, second("bob").kid))
            assert (added.state, added.result) == (State.DONE, {"keys": keys, "person": "bob"})
            asked = running.command("bob", Act.PROFILE_SET, {"profile": {**plant.profile(), "approvals": 3}})
            await engine.submit_command(asked)
            with pytest.raises(Refused) as refused:
                await engine.submit_approval(running.approval(second("bob"), asked))
            assert refused.value.reason is Refusal.NOT_ALLOWED
            other = running.command("alice", Act.PROFILE_SET, {"profile": {**plant.profile(), "approvals": 3}})
            assert (await engine.submit_command(other)).state is State.WAITING
            assert (await engine.submit_approval(running.approval(second("bob"), other))).state is State.DONE
            issue = running.issue()
            await engine.submit_command(issue)
            counted = await engine.submit_approval(running.approval("bob", issue))
            assert (counted.state, counted.have) == (State.WAITING, ("alice", "bob"))
            with pytest.raises(Refused) as refused:
                await engine.submit_approval(running.approval(second("bob"), issue))
            assert refused.value.reason is Refusal.ALREADY_APPROVED
            await believed(running, engine)

    run(story())


def test_a_lost_key_is_replaced_and_signs_nothing_more(running: RunningPlant) -> None:
    """The new one takes its place, with the same roles; the old one never comes back, not as another's either."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            old, new = plant.operator("bob"), second("bob")
            args: dict[str, Json] = {"person": "bob", "retires": [old.kid], "reason": "lost"}
            before = engine.standing.authority.operators[old.kid]
            done = await running.with_proof(
                engine, Act.OPERATOR_REPLACE_KEY, args, running.countersignature(new, "bob")
            )
            assert done.result == {"keys": [new.kid], "person": "bob"}
            now = engine.standing.authority.operators[new.kid]
            assert (now.person, now.roles, now.since) == ("bob", before.roles, before.since)
            assert old.kid not in engine.standing.authority.operators
            with pytest.raises(Refused):
                await engine.submit_command(running.command("bob", Act.WORKLOAD_SUSPEND, SUSPEND))
            suspended = await engine.submit_command(running.command(new, Act.WORKLOAD_SUSPEND, SUSPEND))
            assert suspended.state is State.DONE
            returning: dict[str, Json] = {"person": "erin", "roles": ["issuer"]}
            proof = running.countersignature(old, "erin")
            refused = await running.with_proof(engine, Act.OPERATOR_ADD, returning, proof, ("alice", new))
            assert refused.reason == Refusal.KEY_IN_USE
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize(
    ("retires", "reason", "rule"),
    [
        ([], Refusal.MALFORMED, "R10 closed forms"),
        ([plant.operator("alice").kid], Refusal.UNKNOWN_KEY, "R3 enrolled people"),
        ([plant.custodian("bob").kid], Refusal.UNKNOWN_KEY, "R3 enrolled people"),
        ([plant.operator("bob").kid], Refusal.LAST_KEY, "R3 a person keeps a key"),
        ([plant.operator("bob").kid] * 2, Refusal.MALFORMED, "R10 closed forms"),
    ],
)
def test_only_a_persons_own_keys_are_retired_and_never_the_last(
    retires: list[Json], reason: Refusal, rule: str, running: RunningPlant
) -> None:
    """Nothing to do, another's key, a custodian's, the last one, one named twice."""

    async def story() -> None:
        async with running.engine() as engine:
            outcome = await by_two(
                running, engine, Act.OPERATOR_REPLACE_KEY, person="bob", retires=retires, reason="worn"
            )
            assert told(outcome) == (State.REFUSED, reason, rule)

    run(story())


# -- under a policy

ALICE_ALONE = (
    '@id("alice") permit (principal == Person::"alice", action, resource);\n'
    '@id("read") permit (principal, action in [Action::"read.open", Action::"log.export"], resource);\n'
)
WITH_DORA = {**plant.ROLES, "dora": ["officer", "issuer"]}


@pytest.mark.parametrize(
    ("act", "args", "lost"),
    [
        (Act.OPERATOR_REMOVE, {"person": "alice"}, "policy.set"),
        (Act.OPERATOR_ROLES, {"person": "alice", "roles": ["issuer"]}, "policy.set"),
        (Act.OPERATOR_ROLES, {"person": "alice", "roles": ["officer", "approver"]}, None),
        (Act.OPERATOR_REMOVE, {"person": "dora"}, None),
    ],
)
def test_a_policy_and_who_leaves_lock_nobody_out_together(
    act: Act, args: dict[str, Json], lost: str | None, running: RunningPlant
) -> None:
    """The policy leaves all but reading to alice: she cannot go, nor give up what it takes; the refusal says why."""
    running.roles = WITH_DORA

    async def story() -> None:
        async with running.engine() as engine:
            assert (await running.set_policy(engine, ALICE_ALONE)).state is State.DONE
            outcome = await by_two(running, engine, act, **args, reason="less")
            if lost is None:
                assert outcome.state is State.DONE, outcome
                return
            assert told(outcome) == (State.REFUSED, Refusal.POLICY_LOCKS_OUT, "policies under which people can go on")
            assert f"could ask for {lost}" in (outcome.detail or "")
            await believed(running, engine)

    run(story())


def test_custodians_recover_whatever_the_policy_says_and_are_told_what_it_costs(running: RunningPlant) -> None:
    """Under her own name alice goes on; under another nobody could set a policy, until the place is hers again."""
    running.roles = WITH_DORA

    async def story() -> None:
        async with running.engine() as engine:
            assert (await running.set_policy(engine, ALICE_ALONE)).state is State.DONE
            other = await recover(running, engine, "alice", "erin")
            assert other.state is State.DONE, other
            (warning,) = other.warnings
            assert "nobody who is enrolled could ask for policy.set; recover erin as alice" in warning
            away = await running.set_policy(engine, DEFAULT, second("erin"))
            assert (away.state, away.reason) == (State.REFUSED, Refusal.NOT_ALLOWED)
            back = await recover(running, engine, "erin", "alice")
            assert (back.state, back.warnings) == (State.DONE, ()), back
            mended = await running.set_policy(engine, DEFAULT, second("alice"))
            assert mended.state is State.DONE, mended
            await believed(running, engine)

    run(story())


# -- recovery


@pytest.mark.parametrize("person", ["bob", "erin"])
def test_custodians_put_a_new_key_in_an_officers_place(person: str, running: RunningPlant) -> None:
    """The officer's own, or somebody new with exactly those roles; every earlier key of the officer is retired."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            done = await recover(running, engine, "bob", person)
            assert (done.state, done.have) == (State.DONE, ("alice", "carol"))
            assert done.result == {"kid": second(person).kid, "person": person, "workloads": 0}
            authority = engine.standing.authority
            assert authority.people == {
                "alice": {Role.OFFICER, Role.ISSUER},
                person: {Role.OFFICER, Role.APPROVER},
                "carol": {Role.AUDITOR},
            }
            assert plant.operator("bob").kid not in authority.operators
            command = running.command("alice", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD})
            await engine.submit_command(running.command(second(person), Act.WORKLOAD_SUSPEND, SUSPEND))
            await engine.submit_command(command)
            assert (await engine.submit_approval(running.approval(second(person), command))).state is State.DONE
            await believed(running, engine)

    run(story())


def test_the_custodian_of_the_seat_and_one_who_left_may_take_part(running: RunningPlant) -> None:
    """Custodians change with the root of trust alone."""

    async def story() -> None:
        async with running.engine() as engine:
            gone = await by_two(running, engine, Act.OPERATOR_REMOVE, person="carol", reason="left")
            assert gone.state is State.DONE
            signers = (plant.custodian("bob"), plant.custodian("carol"))
            assert (await recover(running, engine, "bob", "bob", signers)).state is State.DONE

    run(story())


@pytest.mark.parametrize(
    ("replaces", "person", "reason", "rule"),
    [
        ("carol", "carol", Refusal.NOT_ALLOWED, "R4 recovery replaces an officer"),
        ("erin", "erin", Refusal.UNKNOWN_PERSON, "R3 enrolled people"),
        ("bob", "alice", Refusal.ALREADY_EXISTS, "names stand once"),
        ("bob", "Erin", Refusal.MALFORMED, "names have one spelling"),
    ],
)
def test_recovery_replaces_an_officer_and_does_nothing_else(
    replaces: str, person: str, reason: Refusal, rule: str, running: RunningPlant
) -> None:
    """No other role, nobody who is not there, nobody who is there already."""

    async def story() -> None:
        async with running.engine() as engine:
            proof = running.countersignature(second(person), person.lower())
            args: dict[str, Json] = {"replaces": replaces, "person": person, "reason": "lost"}
            signers = (plant.custodian("alice"), plant.custodian("carol"))
            outcome = await running.with_proof(engine, Act.OPERATOR_RECOVER, args, proof, signers)
            assert told(outcome) == (State.REFUSED, reason, rule)

    run(story())


def test_one_custodian_recovers_nothing(running: RunningPlant) -> None:
    """Alone, with an operator's approval, or with their own second signature."""

    async def story() -> None:
        async with running.engine() as engine:
            proof = running.countersignature(second("bob"), "bob")
            digest = sha256_hex(proof.encode())
            args: dict[str, Json] = {"replaces": "bob", "person": "bob", "reason": "lost", "countersignature": digest}
            command = running.command(plant.custodian("alice"), Act.OPERATOR_RECOVER, args)
            assert (await engine.submit_command(command, {digest: proof.encode()})).need == 2
            recovery, own = "R4 custodians recover", "R2 the requester never approves"
            for signer, rule in (("bob", recovery), ("alice", recovery), (plant.custodian("alice"), own)):
                with pytest.raises(Refused) as refused:
                    await engine.submit_approval(running.approval(signer, command))
                assert (refused.value.reason, refused.value.rule) == (Refusal.NOT_ALLOWED, rule)
            assert plant.operator("bob").kid in engine.standing.authority.operators

    run(story())


@pytest.mark.parametrize("act", [act for act in Act if act is not Act.OPERATOR_RECOVER])
def test_a_custodian_key_asks_for_nothing_else(act: Act, running: RunningPlant) -> None:
    """Whatever roles its person has; and an operator key asks for no recovery."""

    async def story() -> None:
        async with running.engine() as engine:
            outcome = await engine.submit_command(running.command(plant.custodian("alice"), act, {}))
            assert (outcome.state, outcome.reason) == (State.REFUSED, Refusal.NOT_ALLOWED)
            asked = await engine.submit_command(running.command("alice", Act.OPERATOR_RECOVER, {}))
            assert told(asked) == (State.REFUSED, Refusal.NOT_ALLOWED, "R4 custodians recover")

    run(story())


def test_a_custodian_key_approves_nothing_else(running: RunningPlant) -> None:
    """It does not count as the second signature of an officer."""

    async def story() -> None:
        async with running.engine() as engine:
            command = running.command("alice", Act.WORKLOAD_ENROL, running.enrolment())
            await engine.submit_command(command)
            with pytest.raises(Refused) as refused:
                await engine.submit_approval(running.approval(plant.custodian("bob"), command))
            assert refused.value.reason is Refusal.NOT_ALLOWED

    run(story())


def test_a_founding_may_ask_for_more_custodians(tmp_path: Path) -> None:
    """The recovery quorum of the founding counts, here three of three."""
    quorums: Json = {"custodians": 2, "recovery": 3, "acts": {}}
    running = RunningPlant(tmp_path / "home", members={"quorums": quorums})

    async def story() -> None:
        async with running.engine() as engine:
            waiting = await recover(running, engine, "bob", "bob")
            assert (waiting.state, waiting.need) == (State.WAITING, 3)
            signers = tuple(plant.custodian(person) for person in ("alice", "bob", "carol"))
            assert (await recover(running, engine, "bob", "bob", signers)).state is State.DONE

    run(story())


def test_one_person_alone_is_one_person_still(tmp_path: Path) -> None:
    """In a home founded by one, every number is one, and the founding says so; the last officer stays all the same."""
    running = RunningPlant(tmp_path / "home", roles=plant.ALONE)

    async def story() -> None:
        async with running.engine() as engine:
            proof = running.countersignature(ERIN, "erin")
            args: dict[str, Json] = {"person": "erin", "roles": ["issuer"]}
            assert (await running.with_proof(engine, Act.OPERATOR_ADD, args, proof, ("alice",))).state is State.DONE
            removing: dict[str, Json] = {"person": "alice", "reason": "left"}
            kept = await engine.submit_command(running.command("alice", Act.OPERATOR_REMOVE, removing))
            assert kept.reason == Refusal.BELOW_QUORUM
            assert (await recover(running, engine, "alice", "alice", (plant.custodian("alice"),))).state is State.DONE
            assert engine.standing.authority.founding.single_operator

    run(story())


# -- what goes on over several steps


def test_a_batch_stops_when_its_issuer_leaves(running: RunningPlant) -> None:
    """Chunks that were issued stand, no further one is; the log says why, and the auditor believes it."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            assert (await add(running, engine, "erin", "issuer")).state is State.DONE
            body = b"".join(dumps({**running.issue_args(), "ttl": 60 + line}) + b"\n" for line in range(600))
            items: Json = {"bytes": len(body), "count": 600, "sha256": sha256_hex(body)}
            command = running.command("erin", Act.CREDENTIAL_ISSUE, {"items": items})
            stream = await engine.submit_batch(command, {sha256_hex(body): body})
            assert await stream.chunk()
            gone = await by_two(running, engine, Act.OPERATOR_REMOVE, person="erin", reason="left")
            assert gone.state is State.DONE
            while await stream.chunk() is not None:
                pass
            assert told(stream.outcome()) == (State.REFUSED, Refusal.UNKNOWN_SIGNER, "R3 enrolled people")
            await settled(engine)
            kinds = [event["type"] for event in events(engine)]
            assert "batch.issued" not in kinds[kinds.index("operator.removed") :]
            await believed(running, engine)

    run(story())


def test_people_are_shown_once_with_all_their_keys(running: RunningPlant) -> None:
    """The view that people read: roles, keys, since when, and whether they are custodians; nobody who left."""

    async def story() -> None:
        async with running.engine() as engine:
            proof = running.countersignature(second("bob"), "bob")
            args: dict[str, Json] = {"person": "bob", "retires": [], "reason": "a card"}
            await running.with_proof(engine, Act.OPERATOR_REPLACE_KEY, args, proof)
            await add(running, engine)
            await by_two(running, engine, Act.OPERATOR_REMOVE, person="carol", reason="left")
            reader = await engine.open_reading(running.command("alice", Act.READ_OPEN))
            rows = await reader.read("people", {})
            assert isinstance(rows, list)
            found = {str(row["person"]): row for row in rows if isinstance(row, dict)}
            assert [*found] == ["alice", "bob", "erin"]
            assert found["bob"]["keys"] == [plant.operator("bob").kid, second("bob").kid]
            assert found["bob"]["public"] == [plant.operator("bob").public.jwk(), second("bob").public.jwk()]
            assert (found["bob"]["since"], found["bob"]["custodian"]) == (plant.TIME, True)
            assert (found["erin"]["since"], found["erin"]["custodian"]) == (running.clock.now(), False)

    run(story())


def test_a_countersignature_is_no_command_and_no_approval(running: RunningPlant) -> None:
    """One kind of document is never taken for another, whoever signed it."""

    async def story() -> None:
        async with running.engine() as engine:
            proof = running.countersignature(plant.operator("alice"), "alice")
            assert parse_unverified(proof).header.typ == Typ.COUNTERSIGNATURE
            for submit in (engine.submit_command, engine.submit_approval):
                with pytest.raises(Refused) as refused:
                    await submit(proof)
                assert refused.value.reason is Refusal.MALFORMED

    run(story())


@pytest.mark.parametrize("act", [Act.OPERATOR_REMOVE, Act.OPERATOR_ROLES])
def test_a_change_that_leaves_nobody_spare_warns(tmp_path: Path, act: Act) -> None:
    """It is done, and its answer names everyone without whom some act could not be finished; with a spare, nobody."""
    all_roles = ["officer", "issuer", "approver"]
    running = RunningPlant(tmp_path / "home", roles={**dict.fromkeys(("alice", "bob", "dora", "erin"), all_roles)})

    async def story() -> None:
        async with running.engine() as engine:
            args: dict[str, Json] = {"reason": "left"}
            if act is Act.OPERATOR_ROLES:
                args["roles"] = ["auditor"]
            done = await by_two(running, engine, act, person="dora", **args)
            assert (done.state, done.warnings) == (State.DONE, ())
            done = await by_two(running, engine, act, person="erin", **args)
            assert done.state is State.DONE
            assert [said.partition(":")[0] for said in done.warnings] == [
                "nobody is spare for alice",
                "nobody is spare for bob",
            ]

    run(story())
