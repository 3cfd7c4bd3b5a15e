"""Why yes, why no: what is said of a command before it is sent is what the engine says when it is sent."""

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from appliance.disk import LOOK_EVERY
from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from appliance.explaining import Imagined, explain
from appliance.rules import RULE, rule_of
from coldcred.acts import RULES, Act
from coldcred.canonical import Json, sha256_hex
from coldcred.command import document_id
from coldcred.errors import Malformed
from coldcred.jose import parse_unverified
from coldcred.record import Record
from tests.support import plant
from tests.support.imagined import ELSEWHERE, FAR, PEOPLE, ROBOT_8, Case, case, new_key
from tests.support.running import RunningPlant, run, settled
from tests.support.signers import Signer


def signers() -> dict[str, Signer]:
    """Give every key that is ever made here, by thumbprint."""
    made = [plant.robot()]
    for person in PEOPLE:
        made += [plant.operator(person), plant.custodian(person), new_key(person, 2), new_key(person, 3)]
    return {signer.kid: signer for signer in made}


KEYS = signers()


@dataclass
class Story:
    """A running appliance of which commands are asked about and then sent."""

    running: RunningPlant
    engine: Engine

    async def begin(self) -> None:
        """Bring the appliance to where most can be done: trust, a bundle, a machine with its key, dora enrolled."""
        running, engine = self.running, self.engine
        await running.trust(engine)
        await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"}))
        await running.enrol_with(engine, running.proof())
        proof = running.countersignature(plant.operator("dora"), "dora")
        await running.with_proof(engine, Act.OPERATOR_ADD, {"person": "dora", "roles": ["approver"]}, proof)
        for machine in (ROBOT_8, FAR):
            await running.by_two(engine, Act.WORKLOAD_ENROL, running.enrolment(id=machine))
        await settled(engine)

    def signer(self, who: str, *, custodian: bool = False) -> Signer:
        """Give the key that somebody signs with now; of who has none the one that they had."""
        authority = self.engine.standing.authority
        if who not in PEOPLE:
            return plant.robot()
        if custodian:
            return plant.custodian(who)
        held = authority.keys_of(who)
        return KEYS[held[0].key.thumbprint] if held else plant.operator(who)

    def known(self, case: Case) -> Case:
        """Leave out approvers who are enrolled no more: nothing that they sign is read."""
        authority = self.engine.standing.authority
        custodian = RULES[case.act].custodians
        keys = {person: self.signer(person, custodian=custodian).kid for person in case.approved_by}
        return replace(case, approved_by=tuple(one for one in keys if authority.approver(keys[one]) is not None))

    def prepared(self, case: Case) -> tuple[dict[str, Json], dict[str, bytes]]:
        """Give arguments and attachments, with what can only be known when the command is made."""
        args, bodies = dict(case.args), list(case.bodies)
        if "number" in args:
            person, number = str(args["person"]), int(str(args.pop("number")))
            proof = self.running.countersignature(new_key(person, number), person).encode()
            args["countersignature"] = sha256_hex(proof)
            bodies.append(proof)
        if isinstance(days := args.get("until"), int):
            args["until"] = self.running.clock.now() + days * plant.DAY
        if args.get("request") == "newest":
            args["request"] = next(reversed(self.engine.standing.lookups.requests), "1" * 64)
        return args, {self.running.keep(body): body for body in bodies}

    def imagined(self, case: Case, args: dict[str, Json], attachments: dict[str, bytes]) -> dict[str, Any]:
        """Ask what would become of it."""
        asked = Imagined(case.by, case.act, args, attachments, case.approved_by, case.custodian)
        found: dict[str, Any] = explain(self.engine.standing, asked, self.running.clock.now(), lambda _act: None)
        return found

    async def sent(self, case: Case, args: dict[str, Json], attachments: dict[str, bytes]) -> dict[str, Any]:
        """Send it, and give what became of it in the same words."""
        signer = self.signer(case.by, custodian=case.custodian)
        command = self.running.command(signer, case.act, args)
        approvals = []
        another = case.by not in PEOPLE and args.get("workload") != case.by
        if self.engine.standing.authority.signer(signer.kid) is not None and not another:
            custodian = RULES[case.act].custodians
            approvers = [self.signer(person, custodian=custodian) for person in case.approved_by]
            approvals = [self.running.approval(approver, command) for approver in approvers]
        said: Refused | None = None
        try:
            outcome = await self.engine.submit_command(command, attachments, approvals)
        except Refused as refused:
            said = refused
            recorded = self.engine.standing.lookups.outcomes.get(document_id(parse_unverified(command)))
            if recorded is None or recorded.state == "refused":
                return {"state": "refused", "reason": said.id, "rule": rule_of(said), "have": None}
            outcome = recorded
        await settled(self.engine)
        return {
            "state": "waiting" if outcome.state == "ready" else outcome.state.value,
            "reason": outcome.reason if said is None else said.id,
            "rule": outcome.rule if said is None else rule_of(said),
            "have": [*outcome.have],
        }


def events(engine: Engine) -> list[dict[str, Any]]:
    """Give all events of the log so far."""
    return [json.loads(body)["event"] for body in engine.standing.archive.bodies()]


def compared(found: dict[str, Any]) -> dict[str, Any]:
    """Give what was said before in the words of what became of it."""
    people = found["people"]
    reason, rule = found["reason"], found["rule"]
    if found["state"] == "waiting":
        void: dict[str, Any] = next((one for one in people["approvals"] if not one["counts"]), {})
        reason, rule = void.get("reason"), void.get("rule")
    return {"state": found["state"], "reason": reason, "rule": None if reason is None else rule}


async def compare(story: Story, drawn: Case) -> tuple[str | None, str | None]:
    """Ask about a command, then send it, and see that what was said is what happens; gives reason and rule."""
    story.running.clock.time += drawn.wait
    asked = story.known(drawn)
    args, attachments = story.prepared(asked)
    before = story.engine.standing.head
    found = story.imagined(asked, args, attachments)
    assert story.engine.standing.head == before
    happened = await story.sent(asked, args, attachments)
    said = compared(found)
    assert said == {name: happened[name] for name in said}, (asked, found["checks"])
    if happened["state"] == "waiting":
        assert found["people"]["have"] == happened["have"], asked
    return said["reason"], said["rule"]


@pytest.mark.parametrize("seed", range(6))
def test_what_is_said_before_is_what_happens(seed: int, tmp_path: Path) -> None:
    """For many commands by many people in many states: the same state, the same reason, the same rule."""

    async def story() -> None:
        chance, running = Random(seed), RunningPlant(tmp_path / "home")
        async with running.engine() as engine:
            story = Story(running, engine)
            await story.begin()
            for _ in range(60):
                await compare(story, case(chance))

    run(story())


def issue(**changes: Json) -> Case:
    """Give a good request of alice for a credential, but for `changes`."""
    args: dict[str, Json] = {"profile": "orders-reader", "workload": plant.WORKLOAD, "audience": plant.AUDIENCE}
    return Case("alice", Act.CREDENTIAL_ISSUE, {**args, **changes})


def profile(**changes: Json) -> dict[str, Json]:
    """Give the arguments that set the worked example's profile with other members."""
    return {"profile": {**plant.profile(), **changes}}


EVERYWHERE = ["spiffe://plant-a.example/*"]
BOUNDS: list[tuple[dict[str, Json], dict[str, Json], str, str]] = [
    ({}, {"audience": ELSEWHERE}, "outside-profile", "profile orders-reader audiences"),
    ({}, {"scopes": ["orders.admin"]}, "outside-profile", "profile orders-reader scopes"),
    ({}, {"workload": FAR}, "outside-profile", "profile orders-reader subjects"),
    ({}, {"ttl": 9 * 3600}, "outside-profile", "profile orders-reader lifetime"),
    ({"groups": ["line-1"]}, {}, "outside-profile", "profile orders-reader groups"),
    ({"requires": ["task"]}, {}, "outside-profile", "profile orders-reader requires"),
    ({"holder_binding": True}, {"workload": ROBOT_8}, "outside-profile", "profile orders-reader holder_binding"),
    ({"asked_by": ["workload"]}, {}, "not-allowed", "profile orders-reader asked_by"),
    ({"subjects": [*EVERYWHERE]}, {"workload": FAR}, "charter-exceeded", "R13 charter tokens-1 subjects"),
    ({"lifetime": 9 * 3600}, {}, "charter-exceeded", "R13 charter tokens-1 lifetime"),
]


@pytest.mark.parametrize(("members", "changes", "reason", "rule"), BOUNDS, ids=[bound[-1] for bound in BOUNDS])
def test_each_bound_of_a_credential_is_named(
    members: dict[str, Json], changes: dict[str, Json], reason: str, rule: str, tmp_path: Path
) -> None:
    """The member of the profile, or of the key's charter, before it is sent and when it is."""

    async def story() -> None:
        running = RunningPlant(tmp_path / "home")
        async with running.engine() as engine:
            story = Story(running, engine)
            await story.begin()
            if members:
                assert (await running.by_two(engine, Act.PROFILE_SET, profile(**members))).state == "done"
            assert await compare(story, issue(**changes)) == (reason, rule)
            refusal = [event for event in events(engine) if event["type"] == "command.refused"][-1]
            assert (refusal["reason"], refusal["rule"]) == (reason, rule)

    run(story())


def test_what_must_not_be_held_together_is_named(tmp_path: Path) -> None:
    """By the pair of profiles."""

    async def story() -> None:
        running = RunningPlant(tmp_path / "home")
        async with running.engine() as engine:
            story = Story(running, engine)
            await story.begin()
            await running.by_two(engine, Act.PROFILE_SET, profile(name="other", excludes=["orders-reader"]))
            assert await compare(story, issue()) == (None, None)
            refused = await compare(story, issue(profile="other"))
            assert refused == ("toxic-combination", "profile other excludes orders-reader")

    run(story())


def test_everything_that_stands_in_the_way_is_named_and_what_decides_comes_first(tmp_path: Path) -> None:
    """A suspended machine, three bounds of the profile, no site for the audience; and each check that passes."""

    async def story() -> None:
        running = RunningPlant(tmp_path / "home")
        async with running.engine() as engine:
            story = Story(running, engine)
            await story.begin()
            await engine.submit_command(
                running.command("bob", Act.WORKLOAD_SUSPEND, {"workload": plant.WORKLOAD, "reason": "found open"})
            )
            asked = issue(audience=ELSEWHERE, scopes=["orders.admin"], ttl=9 * 3600)
            found = story.imagined(asked, asked.args, {})
            refused = [one["rule"] for one in found["checks"] if one["verdict"] == "refused"]
            assert refused == [
                "suspension of the workload",
                "profile orders-reader audiences",
                "profile orders-reader scopes",
                "profile orders-reader lifetime",
                "R23 an audience of one site",
                "R13 charter tokens-1 audiences",
            ]
            assert (found["state"], found["reason"], found["rule"]) == ("refused", "workload-suspended", refused[0])
            passed = {one["what"]: one["rule"] for one in found["checks"] if one["verdict"] == "passed"}
            assert passed["who may ask"] == "R2 who may ask"
            assert passed["the policy in force"] == "policy issuers-issue"
            assert passed["its subjects"] == "profile orders-reader subjects"

    run(story())


def test_who_could_fill_the_rest_and_who_could_not(tmp_path: Path) -> None:
    """People who could approve, who could not and why; what was brought and does not count."""

    async def story() -> None:
        running = RunningPlant(tmp_path / "home")
        async with running.engine() as engine:
            story = Story(running, engine)
            await story.begin()
            args: dict[str, Json] = {"name": "line-2", "audiences": [ELSEWHERE]}
            asked = Case("alice", Act.SITE_ADD, args, approved_by=("carol", "alice"))
            found = story.imagined(asked, args, {})
            assert (found["state"], found["rule"]) == ("waiting", "R2 people: the table of acts")
            people = found["people"]
            assert (people["need"], people["have"], people["could"]) == (2, ["alice"], ["bob", "dora"])
            assert [(one["person"], one["rule"]) for one in people["could_not"]] == [("carol", "R2 who may approve")]
            assert [(one["person"], one["counts"], one["rule"]) for one in people["approvals"]] == [
                ("carol", False, "R2 who may approve"),
                ("alice", False, "R2 the requester never approves"),
            ]
            assert story.imagined(replace(asked, approved_by=("bob",)), args, {})["state"] == "done"
            custodians = Case("alice", Act.OPERATOR_RECOVER, {}, custodian=True)
            people = story.imagined(custodians, {}, {})["people"]
            assert (people["rule"], people["could"]) == ("R4 the recovery quorum", ["bob", "carol"])

    run(story())


def test_every_reason_has_a_rule() -> None:
    """No refusal without one."""
    assert set(RULE) == set(Refusal)
    assert all(RULE.values())


def test_disk_and_strangers_are_explained_too(tmp_path: Path) -> None:
    """An act that the disk has no room for, and somebody whom nobody enrolled; a form that is none is refused."""

    async def story() -> None:
        running = RunningPlant(tmp_path / "home")
        async with running.engine() as engine:
            story = Story(running, engine)
            await story.begin()
            reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
            running.free = 0
            await asyncio.sleep(LOOK_EVERY + 0.05)
            asked: dict[str, Json] = {"by": "alice", "act": "credential.issue", "args": issue().args}
            found: Any = await reader.why(Record(asked, "why"), {})
            assert (found["reason"], found["rule"]) == ("disk-reserve", "R11 the disk reserve")
            stranger: Any = await reader.why(Record({**asked, "by": "mallory"}, "why"), {})
            assert (stranger["reason"], len(stranger["checks"])) == ("unknown-signer", 1)
            for wrong in ({"act": "nothing"}, {"more": 1}, {"by": ""}, {"approved_by": "bob"}):
                with pytest.raises(Malformed):
                    await reader.why(Record({**asked, **wrong}, "why"), {})

    run(story())
