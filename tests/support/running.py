"""The appliance of Plant A, running: a real home and a real log, signing keys in memory, a clock that tests set."""

import asyncio
import io
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from appliance import counting
from appliance import home as homes
from appliance.authority import Authority
from appliance.clock import guarded
from appliance.custodians import Draft, prepare
from appliance.disk import RESERVE
from appliance.engine import Engine
from appliance.engine.notices import Notices
from appliance.engine.recovery import Recovery
from appliance.engine.watch import Watch
from appliance.home import Home, Settings
from appliance.nouns import checkpoints
from appliance.outcome import Outcome
from appliance.terms import terms
from appliance.wiring import open_log
from coldcred import founding
from coldcred.acts import Act
from coldcred.canonical import Json, b64u_encode, dumps, loads, sha256, sha256_hex
from coldcred.command import Basis, Verdict, approval_claims, command_claims, document_id
from coldcred.errors import BadSignature, Malformed, UnknownSigner
from coldcred.jose import Typ, parse_unverified
from coldcred.log import export
from coldcred.record import Record
from coldcred.requests import RequestFile
from hsm.keystore import KeyStore
from tests.support import hands, plant
from tests.support.fake_keystore import FakeKeyStore, MemoryToken
from tests.support.signers import Signer

T = TypeVar("T")

LABEL = "plant-a-daily"
SITE = "line-1"


@dataclass
class SetClock:
    """A clock that stands where a test puts it."""

    time: int = plant.TIME + 600

    def now(self) -> int:
        """Give the time it was set to."""
        return self.time


def chance() -> Callable[[int], bytes]:
    """Give random bytes that are the same in every run."""
    numbers = itertools.count()
    return lambda size: sha256(f"chance {next(numbers)}".encode())[:size]


@dataclass
class RunningPlant:
    """A home at `path`; each `engine()` is one start of its appliance."""

    path: Path
    keystore: KeyStore = field(default_factory=lambda: FakeKeyStore(MemoryToken(label=LABEL)))
    clock: SetClock = field(default_factory=SetClock)
    roles: dict[str, list[str]] | None = None
    members: dict[str, Json] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    random: Callable[[int], bytes] = field(default_factory=chance)
    free: int = 2 * RESERVE
    notices: Notices = field(default_factory=Notices)
    beside: dict[str, bytes] = field(default_factory=dict)
    _started: list[Engine] = field(default_factory=list)

    @property
    def founding(self) -> founding.Founding:
        """The founding of the plant, with what `members` replaces."""
        return founding.parse(dumps({**plant.members(self.roles), **self.members}))

    def create(self) -> Home:
        """Make the home."""
        body = self.founding.body
        settings = Settings("/nowhere.so", {LABEL: f"pkcs11:token={LABEL}"}, {})
        return homes.create(self.path, self.founding, plant.signatures(body), settings, self.clock.now())

    @asynccontextmanager
    async def engine(self, *, signs: bool = True) -> AsyncIterator[Engine]:
        """Start the appliance, and stop it cleanly when the block ends."""
        home = self.create()
        with open_log(home) as log:
            recovery = Recovery(home, log, lambda: guarded(self.clock.now(), recovery.standing.lookups.last_time))
            recovery.fold()
            recovery.settle()
            recovery.begin("test", bytes)
            keystores = {LABEL: self.keystore} if signs else {}
            recovery.reconcile(keystores, self.random)
            watch = Watch(lambda: self.free, self.notices)
            engine = Engine(recovery.standing, log, keystores, self.clock, self.random, watch)
            engine.start()
            self._started.append(engine)
            try:
                yield engine
            finally:
                await engine.stop()

    def command(self, person: str | Signer, act: Act, args: dict[str, Json] | None = None, **changes: Any) -> str:
        """Give a command signed by a person, or by any key; each call gives a new one."""
        signer = plant.operator(person) if isinstance(person, str) else person
        claims: dict[str, Any] = {
            "appliance": self.founding.appliance_id,
            "epoch": 1,
            "act": act,
            "args": args or {},
            "jti": b64u_encode(sha256(f"command {next(self._numbers)}".encode())[:16]),
            "issued_at": self.clock.now(),
            "expires_at": self.clock.now() + 3600,
        }
        return signer.token(Typ.COMMAND, command_claims(**{**claims, **changes}))

    def approval(self, person: str | Signer, command: str, verdict: Verdict = Verdict.APPROVE, **changes: Any) -> str:
        """Give an approval of a command, by a person or by any key."""
        claims: dict[str, Any] = {
            "appliance": self.founding.appliance_id,
            "epoch": 1,
            "command": document_id(parse_unverified(command)),
            "verdict": verdict,
            "basis": self.basis(command),
            "jti": b64u_encode(sha256(f"approval {next(self._numbers)}".encode())[:16]),
            "issued_at": self.clock.now(),
            "expires_at": self.clock.now() + 3600,
        }
        signer = plant.operator(person) if isinstance(person, str) else person
        return signer.token(Typ.APPROVAL, approval_claims(**{**claims, **changes}))

    def basis(self, token: str) -> Basis:
        """Give what an approval of a command rests on in the appliance that was started last.

        What travels beside the command is what its arguments name by a digest, and what `keep` was given.
        """
        authority = self._started[-1].standing.authority if self._started else Authority.founded(self.founding)
        if self._started:
            waiting = self._started[-1].standing.lookups.requests.get(document_id(parse_unverified(token)))
            if waiting is not None:
                return counting.basis(authority, waiting)
        args = Record.of(loads(parse_unverified(token).payload), "command").record("args").members()
        found = terms(authority, self.clock.now(), requester=str(args.get("workload")))
        beside = {digest: body for digest, body in self.beside.items() if digest.encode() in dumps(args)}
        try:
            return RequestFile(token, beside).seen(found).basis
        except (BadSignature, Malformed, UnknownSigner):  # what is approved cannot be shown, or whoever asked has left
            return Basis(authority.policy, None, None, "0" * 64)

    def keep(self, body: bytes) -> str:
        """Note what travels beside a command, for those who approve it; gives its digest."""
        self.beside[sha256_hex(body)] = body
        return sha256_hex(body)

    def enrolment(self, **changes: Json) -> dict[str, Json]:
        """Give the arguments that enrol the worked example's workload, without a key."""
        review_by = self.clock.now() + 90 * plant.DAY
        return {"id": plant.WORKLOAD, "owner": "alice", "review_by": review_by, **changes}

    def proof(self, signer: Signer | None = None, **changes: Any) -> str:
        """Give the document by which a workload's key proves that somebody holds it."""
        now = self.clock.now()
        claims = {"appliance": self.founding.appliance_id, "issued_at": now, "expires_at": now + 3600, **changes}
        return plant.enrolment(signer, **claims)

    async def enrol_with(self, engine: Engine, proof: str, **changes: Json) -> Outcome:
        """Enrol the workload with a document that proves its key, by two people."""
        digest = self.keep(proof.encode())
        command = self.command("alice", Act.WORKLOAD_ENROL, self.enrolment(enrolment=digest, **changes))
        return await engine.submit_command(command, {digest: proof.encode()}, [self.approval("bob", command)])

    def countersignature(self, signer: Signer, person: str, **changes: Any) -> str:
        """Give the document by which a person's new key proves that somebody holds it."""
        now = self.clock.now()
        claims = {"appliance": self.founding.appliance_id, "issued_at": now, "expires_at": now + 3600, **changes}
        return plant.countersignature(signer, person, **claims)

    async def with_proof(
        self,
        engine: Engine,
        act: Act,
        args: dict[str, Json],
        proof: str,
        signers: tuple[str | Signer, ...] = ("alice", "bob"),
    ) -> Outcome:
        """Carry out an act of operators with the document of a new key; the first signer asks, the others approve."""
        digest = self.keep(proof.encode())
        command = self.command(signers[0], act, {**args, "countersignature": digest})
        approvals = [self.approval(signer, command) for signer in signers[1:]]
        return await engine.submit_command(command, {digest: proof.encode()}, approvals)

    async def by_two(self, engine: Engine, act: Act, args: dict[str, Json]) -> Outcome:
        """Carry out an act that alice asks for and bob approves."""
        command = self.command("alice", act, args)
        return await engine.submit_command(command, approvals=[self.approval("bob", command)])

    def completing(self, command: str, signer: str | Signer = "alice", **changes: Any) -> str:
        """Give a command that completes the request which `command` made."""
        return self.command(
            signer, Act.REQUEST_COMPLETE, {"request": document_id(parse_unverified(command))}, **changes
        )

    async def complete(self, engine: Engine, command: str, signer: str | Signer = "alice") -> Outcome:
        """Complete the request which `command` made; the outcome is that of the request."""
        return await engine.submit_command(self.completing(command, signer))

    async def set_policy(self, engine: Engine, text: str, asking: str | Signer = "alice") -> Outcome:
        """Set a policy that alice, or whoever signs with this key, asks for and bob approves."""
        digest = sha256_hex(text.encode())
        command = self.command(asking, Act.POLICY_SET, {"policy": digest})
        outcome = await engine.submit_command(command, {digest: text.encode()})
        if outcome.state != "waiting":
            return outcome
        return await engine.submit_approval(self.approval("bob", command))

    def request(self, signer: Signer | None = None, /, *, args: dict[str, Json] | None = None, **changes: Any) -> str:
        """Give a command by which the worked example's workload asks for its own credential."""
        return self.command(
            signer or plant.robot(), Act.CREDENTIAL_ISSUE, {**self.issue_args(), **(args or {})}, **changes
        )

    def issue(self, /, **changes: Json) -> str:
        """Give a command that issues the worked example's credential."""
        return self.command("alice", Act.CREDENTIAL_ISSUE, {**self.issue_args(), **changes})

    def issue_args(self) -> dict[str, Json]:
        """Give the arguments that issue the worked example's credential."""
        return {
            "profile": "orders-reader",
            "workload": plant.WORKLOAD,
            "audience": plant.AUDIENCE,
            "scopes": ["orders.read"],
            "ttl": 900,
        }

    async def enrol(self, engine: Engine) -> Outcome:
        """Enrol the workload, by two people where there are."""
        command = self.command("alice", Act.WORKLOAD_ENROL, self.enrolment())
        outcome = await engine.submit_command(command)
        if outcome.state == "done":
            return outcome
        return await engine.submit_approval(self.approval("bob", command))

    async def trust(self, engine: Engine, change: Callable[[Draft], Draft] = lambda draft: draft) -> Outcome:
        """Have custodians sign what the appliance prepares, or what `change` makes of it, and submit it."""
        reader = await engine.open_reading(self.command("alice", Act.READ_OPEN))
        draft = change(Draft.from_json(await reader.read("trust", {})))
        files = prepare(self.founding, draft, self.clock.now())
        return await engine.submit_command(*self.submission(hands.signed(self.founding, files)))

    def submission(self, files: dict[str, bytes]) -> tuple[str, dict[str, bytes]]:
        """Give the command that submits these files, and the attachments beside it."""
        digests: dict[str, Json] = {name: sha256_hex(body) for name, body in files.items()}
        attachments = {sha256_hex(body): body for body in files.values()}
        return self.command("alice", Act.TRUST_SUBMIT, {"files": digests}), attachments

    async def ready(self, engine: Engine) -> None:
        """Bring the appliance to where it can issue: trust, a bundle for the site, an enrolled workload."""
        if engine not in self._started:
            self._started.append(engine)
        for outcome in (
            await self.trust(engine),
            await engine.submit_command(self.command("alice", Act.BUNDLE_CREATE, {"site": SITE})),
            await self.enrol(engine),
        ):
            assert outcome.state == "done", outcome
        await settled(engine)


async def settled(engine: Engine) -> None:
    """Wait until every signature that was asked for has its outcome in the log; `run` bounds how long."""
    while engine.standing.lookups.open_intents:  # noqa: ASYNC110 - the log is what is waited for
        await asyncio.sleep(0.01)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine with a bound on how long it may hang."""
    return asyncio.run(asyncio.wait_for(work, 300))


async def believed(running: RunningPlant, engine: Engine, person: str = "carol") -> None:
    """Have the auditor, or whoever else, export the log, and see that coldcred believes every entry of it."""
    exported = await engine.submit_command(running.command(person, Act.LOG_EXPORT))
    key = checkpoints.verifier_key(engine.standing.authority)
    export.verify(io.BytesIO(exported.files["export"]), export.Anchor(key))
