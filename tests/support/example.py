"""The worked example as bytes: Plant A founded, run and stopped, with fixed keys, fixed times and fixed chance.

    python -m tests.support.example        write docs/examples/plant-a and the examples in docs/format.md anew

The product's own engine makes everything, on a real log; only the token is in memory, so that its keys can be fixed.
"""

import asyncio
import base64
import contextlib
import io
import itertools
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance import counting, custodians
from appliance import home as homes
from appliance.clock import guarded
from appliance.custodians import Draft
from appliance.disk import RESERVE
from appliance.engine import Engine, loop
from appliance.engine.recovery import Recovery
from appliance.engine.watch import Watch
from appliance.errors import Refused
from appliance.home import Settings
from appliance.identity import Identity
from appliance.outcome import Outcome
from appliance.plan import Plan, read_profile
from appliance.wiring import open_log
from coldcred import __main__ as coldcred
from coldcred import founding as foundings
from coldcred import framing, layout
from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest
from coldcred.bundle import apply, init
from coldcred.canonical import Json, b64u_encode, dumps, sha256, sha256_hex
from coldcred.command import Basis, Verdict, approval_claims, command_claims, document_id
from coldcred.countersignature import countersignature_claims
from coldcred.documents import BundleTimes
from coldcred.enrolment import enrolment_claims
from coldcred.founding import Founding
from coldcred.jose import Typ, parse_unverified
from coldcred.keys import Algorithm, PublicKey, SealingKey
from coldcred.log.export import BLOBS, ENTRIES
from hsm.keystore import StoredKey
from tests.support.fake_keystore import FakeKeyStore, MemoryToken, _Held
from tests.support.running import SetClock, chance, settled
from tests.support.signers import Signer
from tests.support.tree import ROOT

FOLDER = ROOT / "docs" / "examples" / "plant-a"
DOCUMENT = ROOT / "docs" / "format.md"

TIME = 1_795_000_000  # 2026-11-18T11:06:40Z: the founding
STEP = 60  # seconds between two steps of the story
DAY = 24 * 3600
SITE, LABEL = "line-1", "plant-a-daily"
WORKLOAD = "spiffe://plant-a.example/line-1/robot-7"
AUDIENCE = "https://orders.plant-a.example"
PROGRAM = "1.0"  # what the log says started: the example stays when the version rises

_MARKED = re.compile(r"<!-- example: ([a-z-]+) -->\n```([a-z]*)\n.*?```\n", re.DOTALL)
_WIDTH = 110


def person_key(person: str, register: str) -> Signer:
    """Give a founder's key; people's keys are Ed25519, as `coldcredctl operator keygen` makes them."""
    return Signer.named(f"example {person} {register}", Algorithm.ED25519)


class FixedToken(MemoryToken):
    """A token whose keys follow from their labels, and which signs the same bytes the same way each time."""

    def generate(self, key_id: bytes, label: str, algorithm: Algorithm) -> PublicKey:
        """Make the key pair that this label stands for."""
        made = Signer.named(f"example {label}", algorithm)
        self.held.append(_Held(StoredKey(key_id, label, algorithm, made.public), made.private))
        return made.public

    def sign(self, key_id: bytes, data: bytes, lane: int = 0) -> bytes:  # noqa: ARG002 - all lanes are one here
        """Sign the whole data, ECDSA with the nonce of RFC 6979."""
        held = self._one(key_id)
        return Signer(held.private, PublicKey.from_cryptography(held.private.public_key())).sign(data)


def founding() -> Founding:
    """Give the founding that follows from the plan of the example and everyone's keys."""

    def read_file(name: str) -> bytes:
        return (FOLDER / name).read_bytes()

    plan = Plan.parse(read_file("plan.toml"))
    body = plan.document(
        key_of=lambda person, register: person_key(person, register).public, read_file=read_file, time=TIME
    )
    return foundings.parse(body)


def signatures(founded: Founding) -> list[str]:
    """Give what every founder signs, with both keys."""
    return [
        person_key(person.id, register).token(
            Typ.FOUNDING, foundings.signature_claims(founded.appliance_id, person.id, register, TIME + STEP)
        )
        for person in founded.people
        for register in (foundings.OPERATOR, foundings.CUSTODIAN)
    ]


@dataclass
class Story:
    """One run of the appliance from its founding to its stop; `files` gathers what left it."""

    home: Path
    founded: Founding = field(default_factory=founding)
    clock: SetClock = field(default_factory=lambda: SetClock(TIME + 10 * STEP))
    files: dict[str, bytes] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def tell(self) -> dict[str, bytes]:
        """Run the whole story and give the files of the example by name."""
        settings = Settings("/usr/lib/softhsm/libsofthsm2.so", {LABEL: f"pkcs11:token={LABEL}"}, {})
        home = homes.create(self.home, self.founded, signatures(self.founded), settings, self.clock.now())
        self.files["founding.json"] = self.founded.body
        with open_log(home) as log:
            recovery = Recovery(home, log, lambda: guarded(self.clock.now(), recovery.standing.lookups.last_time))
            recovery.fold()
            recovery.settle()
            recovery.begin(PROGRAM, bytes)
            keystores = {LABEL: FakeKeyStore(FixedToken(label=LABEL))}
            recovery.reconcile(keystores, chance())
            watch = Watch(lambda: 2 * RESERVE)
            engine = Engine(recovery.standing, log, keystores, self.clock, chance(), watch)
            # Checkpoints where the story asks for one and nowhere else, however slow this machine is.
            with mock.patch.object(loop, "CHECKPOINT_DELAY", 3600.0):
                asyncio.run(asyncio.wait_for(self._serve(engine), 60))
        return self.files

    async def _serve(self, engine: Engine) -> None:
        engine.start()
        try:
            await self._day(engine)
        finally:
            await engine.stop()

    async def _day(self, engine: Engine) -> None:
        await self._trust(engine)
        self.files["site-0001.bundle"] = (await self._ask(engine, "alice", Act.BUNDLE_CREATE, site=SITE)).files[
            "bundle"
        ]
        await self._enrol(engine)
        issued = await self._issue(engine)
        self.files["credential.jwt"] = issued.files["token"]
        refused = await self._issue(engine, scopes=["orders.delete"])
        assert refused.reason == "outside-profile", refused
        await self._issue_batch(engine)
        denied = await self._ask(
            engine, "alice", Act.WORKLOAD_ENROL, id=f"{WORKLOAD}0", owner="alice", review_by=TIME + 30 * DAY
        )
        await self._approve(engine, denied.command, self._last, Verdict.DENY)
        profile = read_profile((FOLDER / "orders-reader.toml").read_bytes(), self.founded.trust_domain).as_json()
        await self._by_two(engine, Act.PROFILE_SET, profile={**profile, "name": "orders-strict", "refuse_stale": True})
        await self._by_two(engine, Act.SITE_ADD, name="line-2", audiences=["https://line-2.plant-a.example"])
        await self._ask(engine, "bob", Act.WORKLOAD_SUSPEND, workload=WORKLOAD, reason="robot 7 was found open")
        await self._by_two(engine, Act.WORKLOAD_RESUME, workload=WORKLOAD)
        await self._ask(
            engine, "bob", Act.CREDENTIAL_REVOKE, credential=issued.result["jti"], reason="robot 7 was taken apart"
        )
        self.files["site-0002.bundle"] = (await self._ask(engine, "alice", Act.BUNDLE_CREATE, site=SITE)).files[
            "bundle"
        ]
        await self._ask(engine, "bob", Act.KEY_SUSPEND, key="access-1", reason="robot 7 may have seen it")
        await self._by_two(engine, Act.KEY_ACTIVATE, key="access-1", reason="it had not")
        void = await self._ask(engine, "alice", Act.WORKLOAD_RESUME, workload=WORKLOAD)
        await self._void(engine, void.command, self._last)
        await self._ask(engine, "alice", Act.REQUEST_WITHDRAW, request=void.command, reason="nothing to resume")
        await self._issue_by_two(engine, {**profile, "name": "orders-careful", "approvals": 2})
        await self._set_policy(engine)
        await self._by_two(engine, Act.WORKLOAD_ADOPT, workload=WORKLOAD, owner="alice", reason="line 1 is hers now")
        await self._review(engine)
        await self._people(engine)
        self.files["log.export"] = (await self._ask(engine, "carol", Act.LOG_EXPORT)).files["export"]

    async def _issue_by_two(self, engine: Engine, profile: dict[str, Json]) -> None:
        """Issue a credential that takes two people, whose requester completes it."""
        await self._by_two(engine, Act.PROFILE_SET, profile=profile)
        waiting = await self._issue(engine, profile=profile["name"])
        await self._approve(engine, waiting.command, self._last, Verdict.APPROVE)
        assert "token" in (await self._ask(engine, "alice", Act.REQUEST_COMPLETE, request=waiting.command)).files

    async def _review(self, engine: Engine) -> None:
        name: dict[str, Json] = {"review": "autumn-2026"}
        start: dict[str, Json] = {"name": name["review"], "until": TIME + 30 * DAY, "reason": "each autumn"}
        await self._by_two(engine, Act.REVIEW_START, **start)
        await self._ask(engine, "alice", Act.REVIEW_CONFIRM, **name, workloads=[WORKLOAD], operators=["bob", "carol"])
        await self._ask(engine, "bob", Act.REVIEW_CONFIRM, **name, operators=["alice"])
        await self._by_two(engine, Act.REVIEW_CLOSE, **name)

    async def _trust(self, engine: Engine) -> None:
        reader = await engine.open_reading(self._command("alice", Act.READ_OPEN, {}))
        draft = Draft.from_json(await reader.read("trust", {}))
        files = custodians.prepare(self.founded, draft, self.clock.now())
        by = {person: _by_custodian(self.founded, person, files, self.clock.now()) for person in ("alice", "bob")}
        signed = custodians.assemble(self.founded, files, by).files
        self.files["root.json"] = signed[layout.ROOTS[0]]
        digests: dict[str, Json] = {name: sha256_hex(body) for name, body in signed.items()}
        outcome = await engine.submit_command(
            self._command("alice", Act.TRUST_SUBMIT, {"files": digests}),
            {sha256_hex(body): body for body in signed.values()},
        )
        assert outcome.state == "done", outcome
        await settled(engine)

    async def _enrol(self, engine: Engine) -> None:
        document = self._enrolment()
        self.files["enrolment.jws"] = f"{document}\n".encode()
        waiting = await self._ask(
            engine,
            "alice",
            Act.WORKLOAD_ENROL,
            {sha256_hex(document.encode()): document.encode()},
            id=WORKLOAD,
            owner="bob",
            review_by=TIME + 90 * DAY,
            groups=["line-1"],
            enrolment=sha256_hex(document.encode()),
        )
        assert waiting.state == "waiting", waiting
        self.files["request.jws"] = f"{self._last}\n".encode()
        approval = await self._approve(engine, waiting.command, self._last, Verdict.APPROVE)
        self.files["approval.jws"] = f"{approval}\n".encode()

    def _enrolment(self) -> str:
        signer = Signer.named("example robot-7 signing")
        sealing = X25519PrivateKey.from_private_bytes(sha256(b"example robot-7 sealing"))
        claims = enrolment_claims(
            appliance=self.founded.appliance_id,
            workload=WORKLOAD,
            key=signer.public,
            seal=SealingKey(sealing.public_key().public_bytes_raw()),
            jti=self._jti(),
            issued_at=self.clock.now(),
            expires_at=self.clock.now() + 14 * DAY,
        )
        return signer.token(Typ.ENROLMENT, claims)

    async def _issue(self, engine: Engine, **changes: Json) -> Outcome:
        asked: dict[str, Json] = {
            "profile": "orders-reader",
            "workload": WORKLOAD,
            "audience": AUDIENCE,
            "scopes": ["orders.read"],
            "ttl": 900,
        }
        return await self._ask(engine, "alice", Act.CREDENTIAL_ISSUE, **{**asked, **changes})

    async def _issue_batch(self, engine: Engine) -> None:
        """Issue two lines, of which the second asks for what its profile does not grant."""
        self.clock.time += STEP
        asked: dict[str, Json] = {"profile": "orders-reader", "workload": WORKLOAD, "audience": AUDIENCE}
        lines: list[dict[str, Json]] = [{**asked, "ttl": 600}, {**asked, "scopes": ["orders.delete"]}]
        body = b"".join(dumps(line) + b"\n" for line in lines)
        command = self._command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
        stream = await engine.submit_batch(command, {sha256_hex(body): body})
        while await stream.chunk() is not None:
            pass
        assert stream.outcome().result == {"held": 0, "issued": 1, "refused": 1}
        await settled(engine)

    async def _by_two(
        self,
        engine: Engine,
        act: Act,
        proof: str | None = None,
        requester: str | Signer = "alice",
        approver: Signer | None = None,
        /,
        **args: Json,
    ) -> None:
        """Carry out an act by two people, Alice and Bob unless told; `proof` is a countersignature beside it."""
        attachments = {}
        if proof is not None:
            attachments[sha256_hex(proof.encode())] = proof.encode()
            args["countersignature"] = sha256_hex(proof.encode())
        waiting = await self._ask(engine, requester, act, attachments, **args)
        await self._approve(engine, waiting.command, self._last, Verdict.APPROVE, approver)

    async def _people(self, engine: Engine) -> None:
        """Dora joins, gets another key and other roles, and leaves; then custodians replace Bob's lost key."""
        first, second = person_key("dora", "operator"), person_key("dora", "second operator")
        proof = self._countersignature("dora", first)
        self.files["countersignature.jws"] = f"{proof}\n".encode()
        await self._by_two(
            engine, Act.OPERATOR_ADD, proof, person="dora", roles=["issuer"], reason="Dora joins the night shift"
        )
        proof = self._countersignature("dora", second)
        await self._by_two(
            engine, Act.OPERATOR_REPLACE_KEY, proof, person="dora", retires=[first.kid], reason="the key was lost"
        )
        await self._by_two(
            engine, Act.OPERATOR_ROLES, person="dora", roles=["approver", "issuer"], reason="Dora stands in for Bob"
        )
        await self._by_two(engine, Act.OPERATOR_REMOVE, person="dora", reason="Dora left the plant")
        proof = self._countersignature("bob", person_key("bob", "second operator"))
        args: dict[str, Json] = {"replaces": "bob", "person": "bob", "reason": "Bob lost his key, Alice is abroad"}
        custodians_keys = (person_key("carol", "custodian"), person_key("bob", "custodian"))
        await self._by_two(engine, Act.OPERATOR_RECOVER, proof, *custodians_keys, **args)

    def _countersignature(self, person: str, signer: Signer) -> str:
        claims = countersignature_claims(
            appliance=self.founded.appliance_id,
            person=person,
            key=signer.public,
            jti=self._jti(),
            issued_at=self.clock.now(),
            expires_at=self.clock.now() + 14 * DAY,
        )
        return signer.token(Typ.COUNTERSIGNATURE, claims)

    async def _set_policy(self, engine: Engine) -> None:
        body = (FOLDER / "policy.cedar").read_bytes()
        args: dict[str, Json] = {"policy": sha256_hex(body)}
        waiting = await self._ask(engine, "alice", Act.POLICY_SET, {sha256_hex(body): body}, **args)
        await self._approve(engine, waiting.command, self._last, Verdict.APPROVE)

    async def _ask(
        self,
        engine: Engine,
        person: str | Signer,
        act: Act,
        attachments: Mapping[str, bytes] | None = None,
        /,
        **args: Json,
    ) -> Outcome:
        self.clock.time += STEP
        self._last = self._command(person, act, args)
        outcome = await engine.submit_command(self._last, attachments)
        await settled(engine)
        return outcome

    async def _void(self, engine: Engine, command: str, token: str) -> None:
        """Approve a request as it would be under another policy, which does not count."""
        basis = counting.basis(engine.standing.authority, engine.standing.lookups.requests[command])
        with contextlib.suppress(Refused):
            await engine.submit_approval(self._approval(token, Verdict.APPROVE, replace(basis, policy="0" * 64)))
            raise AssertionError("an approval for another policy counted")
        await settled(engine)

    async def _approve(
        self, engine: Engine, command: str, token: str, verdict: Verdict, approver: Signer | None = None
    ) -> str:
        assert document_id(parse_unverified(token)) == command
        basis = counting.basis(engine.standing.authority, engine.standing.lookups.requests[command])
        approval = self._approval(token, verdict, basis, approver)
        outcome = await engine.submit_approval(approval)
        assert (outcome.state in {"done", "ready"}) == (verdict is Verdict.APPROVE), outcome
        await settled(engine)
        return approval

    def _approval(self, token: str, verdict: Verdict, basis: Basis, approver: Signer | None = None) -> str:
        self.clock.time += STEP
        claims = approval_claims(
            appliance=self.founded.appliance_id,
            epoch=1,
            command=document_id(parse_unverified(token)),
            verdict=verdict,
            basis=basis,
            jti=self._jti(),
            issued_at=self.clock.now(),
            expires_at=self.clock.now() + DAY,
        )
        return (approver or person_key("bob", "operator")).token(Typ.APPROVAL, claims)

    def _command(self, person: str | Signer, act: Act, args: dict[str, Json]) -> str:
        claims = command_claims(
            appliance=self.founded.appliance_id,
            epoch=1,
            act=act,
            args=args,
            jti=self._jti(),
            issued_at=self.clock.now(),
            expires_at=self.clock.now() + DAY,
        )
        signer = person_key(person, "operator") if isinstance(person, str) else person
        return signer.token(Typ.COMMAND, claims)

    def _jti(self) -> str:
        return b64u_encode(sha256(f"example {next(self._numbers)}".encode())[:16])


def _by_custodian(founded: Founding, person: str, files: Mapping[str, bytes], now: int) -> bytes:
    key = person_key(person, "custodian")
    assert isinstance(key.private, Ed25519PrivateKey)
    return custodians.sign(founded, files, Identity(key.public, key.private), now, last=None)


def make() -> dict[str, bytes]:
    """Give the files of the example by name."""
    with tempfile.TemporaryDirectory() as folder:
        return Story(Path(folder) / "home").tell()


def trust_at(folder: Path, files: Mapping[str, bytes], *bundles: str) -> Path:
    """Make the site's trust store in `folder` and apply these bundles, each at the time it was issued."""
    root = files["root.json"]
    key = person_key(SITE, "site").private
    assert isinstance(key, Ed25519PrivateKey)
    init(folder, root=root, fingerprint=sha256_hex(root), site=SITE, key=key)
    for name in bundles:
        issued_at = BundleTimes.parse(framing.read(files[name], framing.BUNDLE)[layout.TIMES]).issued_at
        apply(files[name], folder, now=issued_at)
    return folder


def verdict(files: Mapping[str, bytes], *bundles: str, at: str = "2026-11-18T11:22:40Z") -> dict[str, Json]:
    """Give what `coldcred verify --json` says of the credential, two minutes after it was issued unless told."""
    _, claims = unpacked(files["credential.jwt"])
    with tempfile.TemporaryDirectory() as made:
        trust = trust_at(Path(made) / "trust", files, *bundles)
        credential = Path(made) / "credential.jwt"
        credential.write_bytes(files["credential.jwt"])
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(io.StringIO()):
            options = ["--trust", str(trust), "--audience", str(claims["aud"]), "--at", at, "--json", str(credential)]
            coldcred.main(["verify", *options])
    found: dict[str, Json] = json.loads(told.getvalue())
    return found


def unpacked(token: bytes) -> tuple[dict[str, Json], dict[str, Json]]:
    """Give header and claims of a token."""
    header, payload, _ = (part + b"==" for part in token.strip().split(b"."))
    return json.loads(base64.urlsafe_b64decode(header)), json.loads(base64.urlsafe_b64decode(payload))


def blocks(files: Mapping[str, bytes]) -> dict[str, str]:
    """Give the examples that stand in docs/format.md, by name."""
    bundle = framing.read(files["site-0001.bundle"], framing.BUNDLE)
    export = framing.read(files["log.export"], framing.EXPORT)
    entries = export[ENTRIES].splitlines()
    header, claims = unpacked(files["credential.jwt"])
    founded = json.loads(files["founding.json"])
    stored = [base64.urlsafe_b64decode(json.loads(line)["body"] + "==") for line in export[BLOBS].splitlines()]
    signature = signatures(founding())[0].encode()
    assert signature in stored
    index = files["site-0001.bundle"].split(b"\n", 2)[:2]
    return {
        "credential": _wrapped(files["credential.jwt"]),
        "credential-header": _pretty(header),
        "credential-claims": _pretty(claims),
        "verdict": _pretty(verdict(files, "site-0001.bundle")),
        "entry": _wrapped(entries[_number(claims["log"])]),
        "command": _wrapped(files["request.jws"]),
        "command-claims": _both(files["request.jws"]),
        "approval-claims": _both(files["approval.jws"]),
        "enrolment-claims": _both(files["enrolment.jws"].strip()),
        "countersignature-claims": _both(files["countersignature.jws"].strip()),
        "checkpoint": export["checkpoint"].decode(),
        "charter": _pretty(founded["keys"][0]["charter"]),
        "founding-signature": _both(signature),
        "status-list": _both(bundle[layout.STATUS_LISTS[0]]),
        "vkey": json.loads(export["about.json"])["vkey"] + "\n",
        "bundle": index[0].decode() + "\n" + _wrapped(index[1]),
        "times": _pretty(json.loads(bundle[layout.TIMES])),
    }


def _number(value: Json) -> int:
    assert isinstance(value, int)
    return value


def _both(token: bytes) -> str:
    header, claims = unpacked(token)
    return _pretty({"header": header, "claims": claims}, sort_keys=False)


def _pretty(value: Json, *, sort_keys: bool = True) -> str:
    return json.dumps(value, indent=2, sort_keys=sort_keys) + "\n"


def _wrapped(text: bytes) -> str:
    line = text.decode().strip()
    return "".join(f"{line[place : place + _WIDTH]}\n" for place in range(0, len(line), _WIDTH))


def put(document: str, examples: Mapping[str, str]) -> str:
    """Give the document with these examples in the places that are marked for them; a name without one is an error."""
    return _MARKED.sub(
        lambda place: f"<!-- example: {place[1]} -->\n```{place[2]}\n{examples[place[1]]}```\n", document
    )


def placed(document: str) -> list[str]:
    """Give the names of the examples that the document has places for, in order."""
    return [place[1] for place in _MARKED.finditer(document)]


def main() -> None:
    """Write everything anew."""
    files = make()
    for name, body in files.items():
        (FOLDER / name).write_bytes(body)
    DOCUMENT.write_text(put(DOCUMENT.read_text(), blocks(files)))


if __name__ == "__main__":
    main()
