"""Why yes, why no: what is said of a command before it is sent is what the engine says when it is sent."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from appliance.engine import Engine
from appliance.errors import Refused
from appliance.explaining import Imagined, explain
from appliance.rules import rule_of
from coldcred.acts import RULES, Act
from coldcred.canonical import Json, sha256_hex
from coldcred.command import document_id
from coldcred.jose import parse_unverified
from tests.support import plant
from tests.support.imagined import PEOPLE, Case, cases, new_key
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
        if args.get("until") == "in two days":
            args["until"] = self.running.clock.now() + 2 * plant.DAY
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


def compared(found: dict[str, Any]) -> dict[str, Any]:
    """Give what was said before in the words of what became of it."""
    people = found["people"]
    reason, rule = found["reason"], found["rule"]
    if found["state"] == "waiting":
        void: dict[str, Any] = next((one for one in people["approvals"] if not one["counts"]), {})
        reason, rule = void.get("reason"), void.get("rule")
    return {"state": found["state"], "reason": reason, "rule": None if reason is None else rule}


@settings(max_examples=25, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(cases(), min_size=10, max_size=40))
def test_what_is_said_before_is_what_happens(asked: list[Case]) -> None:
    """For many commands by many people in many states: the same state, the same reason, the same rule."""

    async def story(folder: str) -> None:
        running = RunningPlant(Path(folder) / "home")
        async with running.engine() as engine:
            story = Story(running, engine)
            await story.begin()
            for drawn in asked:
                running.clock.time += drawn.wait
                case = story.known(drawn)
                args, attachments = story.prepared(case)
                before = engine.standing.head
                found = story.imagined(case, args, attachments)
                assert engine.standing.head == before
                happened = await story.sent(case, args, attachments)
                expected = {name: happened[name] for name in ("state", "reason", "rule")}
                assert compared(found) == expected, (case, found["checks"])
                if happened["state"] == "waiting":
                    assert found["people"]["have"] == happened["have"], case

    with TemporaryDirectory() as folder:
        run(story(folder))
