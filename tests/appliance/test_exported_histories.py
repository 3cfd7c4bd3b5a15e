"""What a real engine writes, `coldcred` believes: whatever people ask, approve, deny and repeat, and the HSM does.

The verifier of exports holds entries to rules of its own; a rule that an honest engine can break would cry wolf.
"""

import asyncio
import io
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from appliance.engine import Engine
from appliance.errors import Refused
from appliance.outcome import Outcome
from coldcred.acts import Act, Role
from coldcred.canonical import Json
from coldcred.command import Verdict
from coldcred.jose import parse_unverified
from coldcred.log.export import Anchor, Report, find_checkpoint, verify
from coldcred.log.note import VerifierKey
from hsm.errors import WorkerLost
from tests.support import plant
from tests.support.fake_keystore import FakeKeyStore, MemoryToken
from tests.support.running import LABEL, SITE, RunningPlant, run, settled
from tests.support.signers import Signer

STARTS, ROUNDS = 3, 8
PEOPLE = ("alice", "bob", "carol")


class Crowd:
    """People who send commands at random, some of them nonsense, some of them twice, and approve what others sent."""

    def __init__(self, seed: int, path: Path) -> None:
        self.keystore = FakeKeyStore(MemoryToken(label=LABEL))
        self.running = RunningPlant(path, keystore=self.keystore)
        self.chance = random.Random(seed)
        self.exports: list[bytes] = []
        self._sent: list[str] = []
        self._keys: dict[str, Signer] = {}

    def command(self, engine: Engine, number: int) -> str:
        """Give what somebody asks for."""
        if self.chance.random() < 0.3:
            return self._about_people(engine, number)
        running, issued = self.running, sorted(engine.standing.lookups.issued)
        profile: Json = {**plant.profile(), "approvals": self.chance.choice([1, 2])}
        site: dict[str, Json] = {"name": f"line-{number}", "audiences": [f"https://line-{number}.plant-a.example"]}
        revoked: dict[str, Json] = {"credential": self.chance.choice(issued or ["c" * 22]), "reason": "\x1b[2Jlost"}
        public = engine.standing.authority.keys["tokens-1"].public
        many: list[dict[str, Json]] = [{"workload": plant.WORKLOAD}, {"profile": "orders-reader"}]
        many += [{"key": public.thumbprint}] if public else []
        enrolled = running.enrolment(id=f"{plant.WORKLOAD}-{number}")
        return self.chance.choice(
            [
                running.issue(),
                running.issue(ttl=self.chance.choice([60, 10**6])),
                running.command(self.chance.choice(PEOPLE), Act.SITE_ADD, site),
                running.command("alice", Act.WORKLOAD_ENROL, enrolled),
                running.command("bob", Act.PROFILE_SET, {"profile": profile}),
                running.command("bob", Act.CREDENTIAL_REVOKE, revoked),
                running.command("bob", Act.CREDENTIAL_REVOKE, {**self.chance.choice(many), "reason": "all of them"}),
                running.command(self.chance.choice(PEOPLE), Act.KEY_SUSPEND, {"key": "tokens-1", "reason": "seen"}),
                running.command("alice", Act.KEY_ACTIVATE, {"key": "tokens-1", "reason": "not seen"}),
                running.command(self.chance.choice(PEOPLE), Act.BUNDLE_CREATE, {"site": SITE}),
                running.command("carol", Act.LOG_EXPORT),
                running.command("carol", Act.CREDENTIAL_ISSUE, {"nonsense": 1}),
                running.command("alice", Act.SITE_ADD, {}, expires_at=running.clock.now() + 2),
            ]
        )

    def _about_people(self, engine: Engine, number: int) -> str:
        """Give what somebody asks about erin, who comes and goes under ever new keys, or what she asks herself."""
        running, held = self.running, engine.standing.authority.keys_of("erin")
        key = Signer.named(f"erin {number}")
        self._keys[key.kid] = key
        proof = running.countersignature(key, "erin").encode()
        digest, kids = running.keep(proof), [one.key.thumbprint for one in held]
        roles: Json = [self.chance.choice([role.value for role in Role])]
        person: dict[str, Json] = {"person": "erin", "reason": "comes and goes"}
        signer = self._keys[self.chance.choice(kids)] if kids else key
        retires: Json = [*self.chance.sample(kids, self.chance.randrange(len(kids) + 1))]
        custodian = plant.custodian(self.chance.choice(PEOPLE))
        proved: dict[str, Json] = {**person, "countersignature": digest}
        machine = running.enrolment(id=f"{plant.WORKLOAD}-{number}")
        choices: list[tuple[str | Signer, Act, dict[str, Json]]] = [
            ("alice", Act.OPERATOR_ADD, {**proved, "roles": roles}),
            ("alice", Act.OPERATOR_ADD, {**proved, "roles": ["officer"]}),
            ("bob", Act.OPERATOR_ROLES, {**person, "roles": roles}),
            (signer, Act.OPERATOR_ROLES, {**person, "roles": roles}),
            ("alice", Act.OPERATOR_REMOVE, person),
            ("alice", Act.OPERATOR_REPLACE_KEY, {**proved, "retires": retires}),
            (custodian, Act.OPERATOR_RECOVER, {**proved, "replaces": "erin"}),
            (signer, Act.WORKLOAD_ENROL, machine),
            (signer, Act.BUNDLE_CREATE, {"site": SITE}),
        ]
        who, act, args = self.chance.choice(choices)
        return running.command(who, act, args)

    def _attached(self, command: str) -> dict[str, bytes]:
        """Give the countersignature that a command names, if it names one."""
        asked = parse_unverified(command).payload.decode()
        return {digest: body for digest, body in self.running.beside.items() if digest in asked}

    async def round(self, engine: Engine, number: int) -> None:
        """Let people act all at once, and the HSM fail now and then; then some time passes."""
        acts: list[Coroutine[Any, Any, Outcome]] = []
        for place in range(self.chance.randrange(1, 6)):
            command = self.command(engine, 100 * number + place)
            self._sent.append(command)
            acts.append(engine.submit_command(command, self._attached(command)))
            if b'"operator.' in parse_unverified(command).payload and self.chance.random() < 0.7:
                others = (plant.operator("alice"), plant.operator("bob"), plant.custodian(self.chance.choice(PEOPLE)))
                acts += [engine.submit_approval(self.running.approval(other, command)) for other in others]
            about = self.chance.choice(self._sent[-5:])
            verdict = self.chance.choice([Verdict.APPROVE, Verdict.APPROVE, Verdict.DENY])
            person = self.chance.choice(PEOPLE)
            signer = self.chance.choice([plant.operator(person), plant.operator(person), plant.custodian(person)])
            acts.append(engine.submit_approval(self.running.approval(signer, about, verdict)))
        if self.chance.random() < 0.3:
            self.keystore.fail_next(WorkerLost("the worker went away"))
        for outcome in await asyncio.gather(*acts, return_exceptions=True):
            if isinstance(outcome, Outcome):
                self.exports += [body for name, body in outcome.files.items() if name == "export"]
            elif not isinstance(outcome, Refused):
                raise outcome
        again = self.chance.choice(self._sent)
        await asyncio.gather(engine.submit_command(again), return_exceptions=True)
        self.running.clock.time += self.chance.choice([0, 1, 30, 4000, plant.DAY])

    async def live(self) -> None:
        """Start the appliance several times, let people act, and export what they did."""
        for start in range(STARTS):
            async with self.running.engine() as engine:
                if start == 0:
                    await self.running.ready(engine)
                for number in range(ROUNDS):
                    await self.round(engine, ROUNDS * start + number + 1)
                await settled(engine)
                while not (files := await self._export(engine)):
                    pass  # a fault that was still to come met this export
                self.exports += files

    async def _export(self, engine: Engine) -> list[bytes]:
        outcome = await engine.submit_command(self.running.command("carol", Act.LOG_EXPORT))
        return [*outcome.files.values()]

    def anchor(self) -> Anchor:
        """Give the log's key, which the token holds."""
        origin = str(plant.charters()["log"]["origin"])
        stored = next(held.stored for held in self.keystore.token.held if held.stored.label.startswith("log-"))
        assert stored.public is not None
        return Anchor(VerifierKey(origin, stored.public), self.running.founding.appliance_id)


def _believed(crowd: Crowd) -> Report:
    """Verify every export, each with the checkpoints of those before it kept outside."""
    kept: list[tuple[str, bytes]] = []
    reports = []
    for number, export in enumerate(crowd.exports):
        report = verify(io.BytesIO(export), crowd.anchor(), kept)
        assert len(report.kept) == len(kept)
        kept.append((f"export {number}", find_checkpoint(io.BytesIO(export))))
        reports.append(report)
    return reports[-1]


@pytest.mark.parametrize("seed", range(4))
def test_what_an_engine_writes_is_believed(seed: int, tmp_path: Path) -> None:
    """Every export of a busy appliance is intact, and each has grown from all exports before it."""
    crowd = Crowd(seed, tmp_path / "home")
    run(crowd.live())
    report = _believed(crowd)
    assert report.counts["started"] == STARTS
    assert report.counts["approval.given"] > 0
    assert report.open_intents == ()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 400))
def test_what_an_engine_writes_is_believed_for_long(seed: int, tmp_path: Path) -> None:
    """The same for three hundred other crowds."""
    crowd = Crowd(seed, tmp_path / "home")
    run(crowd.live())
    _believed(crowd)
