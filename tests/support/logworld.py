"""A log as an honest appliance writes it, built with real keys, and every way to build a dishonest one.

`LogWorld` goes forward only: each step appends an entry to the chain. Whoever drives it holds the log key and all keys
of the appliance, as an attacker inside it would; what he does not hold are the keys of people, unless a test says so.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from coldcred import founding, framing, policy
from coldcred.acts import BEYOND_POLICY, Act
from coldcred.asked import Asked
from coldcred.batch import is_batch, read_items
from coldcred.canonical import Json, b64u_encode, dumps, loads, sha256_hex
from coldcred.command import (
    RENDERING,
    Basis,
    Command,
    Verdict,
    approval_claims,
    attachments_named,
    command_claims,
    people,
    profiles_named,
)
from coldcred.errors import Malformed
from coldcred.jose import Typ, parse_unverified
from coldcred.keys import Algorithm
from coldcred.log import entry as entries
from coldcred.log.chain import Head
from coldcred.log.note import Checkpoint, VerifierKey, sign_note
from coldcred.log.tree import Frontier, leaf_hash
from coldcred.profile import Profile, digest_of
from coldcred.record import Record
from coldcred.rendering import first, whole
from tests.support import plant
from tests.support.signers import Signer

Event = dict[str, Json]

ORIGIN = "plant-a.example/log"
STATUS_LIST = f"{plant.ISSUER}/status/line-1/1"
OFFICERS = {
    "alice": ["officer", "issuer"],
    "bob": ["officer", "approver"],
    "dora": ["approver"],
    "carol": ["auditor"],
}


def appliance_key(purpose: str, owner: str = "plant-a") -> Signer:
    """Give the appliance's key for a purpose; another owner has other keys."""
    return Signer.named(f"{owner} {purpose}", Algorithm.ED25519 if purpose == "log" else Algorithm.ES256)


@dataclass(frozen=True)
class Asking:
    """A signed command: its token, its id, who signed and for what."""

    token: str
    person: str
    act: Act
    args: dict[str, Json]
    expires: int

    @property
    def id(self) -> str:
        """The command's id."""
        return sha256_hex(parse_unverified(self.token).signing_input)

    @property
    def command(self) -> Command:
        """The command that was signed."""
        jws = parse_unverified(self.token)
        claims = Record.of(loads(jws.payload), "command")
        times = (claims.integer("iat"), claims.integer("exp"))
        return Command(
            self.id, jws.header.kid, claims.text("aud"), claims.integer("epoch"), self.act, *times, "", self.args, ""
        )

    @property
    def document(self) -> str:
        """SHA-256 of the stored bytes."""
        return sha256_hex(self.token.encode())


Making = tuple[Asking, Event]
"""A bundle under way: its command, and what its first and last event both say."""


@dataclass
class LogWorld:
    """A log under construction; `approvals` has, for each request that waits, approval id to person."""

    founded: founding.Founding
    owner: str
    time: int = plant.TIME + 3600
    head: Head = field(default_factory=Head)
    frontier: Frontier = field(default_factory=Frontier)
    bodies: list[bytes] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    approvals: dict[str, dict[str, str]] = field(default_factory=dict)
    open: list[int] = field(default_factory=list)
    ends: dict[int, int] = field(default_factory=dict)
    unconfirmed: dict[str, set[str]] = field(default_factory=dict)
    bundles: int = 0
    serial: int = 0
    beside: dict[str, list[str]] = field(default_factory=dict)
    rendering: int = RENDERING
    policy: str = sha256_hex(policy.DEFAULT.encode())
    profiles: dict[str, Profile] = field(default_factory=dict)
    begun: dict[str, Event] = field(default_factory=dict)

    @classmethod
    def begin(cls, members: dict[str, Json] | None = None, owner: str = "plant-a", **changes: Json) -> Self:
        """Give the world after its founding entry, by four people unless told."""
        body = dumps(plant.members(OFFICERS) if members is None else members)
        found = founding.parse(body)
        world = cls(found, owner, profiles={profile.name: profile for profile in found.profiles})
        tokens = plant.signatures(body)
        event: Event = {
            "type": "founded",
            "founding": world.keep(body),
            "signatures": [world.keep(token.encode()) for token in tokens],
        }
        world.append({**event, **changes})
        return world

    def copy(self) -> Self:
        """Give a world that goes its own way from here."""
        return copy.deepcopy(self)

    def keep(self, body: bytes) -> str:
        """Store a blob and give its digest."""
        self.blobs[sha256_hex(body)] = body
        return sha256_hex(body)

    def append(self, event: Mapping[str, Json], *, after: int = 1) -> int:
        """Append an event `after` seconds; gives the entry's number."""
        self.time += after
        entry = entries.write(self.head.size, self.time, self.head.digest, event)
        self.head, self.frontier = Head.of(entry), self.frontier.append(entry.leaf)
        self.bodies.append(entry.body)
        if "signs" in event:
            self.open.append(entry.seq)
        return entry.seq

    def kid(self, purpose: str) -> str:
        """Give the thumbprint of the appliance's key."""
        return appliance_key(purpose, self.owner).kid

    def signs(self, purpose: str, *inputs: bytes) -> list[Json]:
        """Give the member `signs` for these signing inputs."""
        return [{"kid": self.kid(purpose), "sha256": sha256_hex(data)} for data in inputs]

    def start(self) -> Self:
        """Start, order and make all keys, enrol the workload without a key, and write the first checkpoint."""
        self.append({"type": "started", "version": "0.1.0"})
        for plan in self.founded.keys:
            self.order(plan.name)
            self.make(plan.name)
        self.enrol_keyless(plant.WORKLOAD)
        return self.checkpoint().settle()

    def order(self, name: str, **changes: Json) -> None:
        """Order a key of the founding."""
        plan = next((plan for plan in self.founded.keys if plan.name == name), self.founded.keys[0])
        key_id = sha256_hex(name.encode())[:32]
        event: Event = {"type": "key.ordered", "name": name, "id": key_id, "token": plan.token}
        self.append({**event, "charter": plan.charter.as_json(), **changes})

    def make(self, name: str, **changes: Json) -> None:
        """Write that an ordered key was made."""
        plan = next(plan for plan in self.founded.keys if plan.name == name)
        public: Json = appliance_key(plan.charter.purpose, self.owner).public.jwk()
        event: Event = {"type": "key.done", "name": name, "public": public, "not_before": self.time}
        self.append({**event, "not_after": self.time + plan.valid_for, **changes})

    def command(self, person: str, act: Act, args: dict[str, Json], **claims: Json) -> Asking:
        """Sign a command and keep it."""
        return self.signed(plant.operator(person), person, act, args, **claims)

    def signed(self, signer: Signer, by: str, act: Act, args: dict[str, Json], **claims: Json) -> Asking:
        """Sign a command with any key and keep it; `by` is who entries say asked."""
        self.serial += 1
        expires = self.time + 3600
        made = command_claims(
            appliance=self.founded.appliance_id,
            epoch=1,
            act=act,
            args=args,
            jti=f"{self.serial:022d}",
            issued_at=self.time,
            expires_at=expires,
        )
        token = signer.token(Typ.COMMAND, {**made, **claims})
        self.keep(token.encode())
        return Asking(token, by, act, args, expires)

    def asked(
        self, kind: str, asking: Asking, members: Mapping[str, Json], result: Json = None, /, **changes: Json
    ) -> int:
        """Append an event that carries out a command, with all approvals given so far."""
        given = self.approvals.get(asking.id, {})
        event: Event = {
            "type": kind,
            "command": asking.id,
            "document": asking.document,
            "act": asking.act.value,
            "by": asking.person,
            "people": [*sorted(people(asking.person, given.values()))],
            "approvals": [*sorted(given)],
            **self.under(asking),
            **members,
        }
        if result is not None:
            event["result"] = result
        if kind in {"batch.begun", "bundle.begun"}:
            self.begun[asking.id] = self.under(asking)
        seq = self.append({**event, **changes})
        if kind == "profile.set":
            profile = Profile.read(Record.of(members["profile"], "profile"), self.founded.trust_domain)
            self.profiles[profile.name] = profile
        return seq

    def under(self, asking: Asking) -> Event:
        """Give what entries say a command is decided under; that of its first step, where it took one."""
        if asking.id in self.begun:
            return self.begun[asking.id]
        under: Event = {"policy": self.policy}
        if stands := [
            self.profiles[name]
            for name in profiles_named(asking.act, asking.args, self._items(asking))
            if name in self.profiles
        ]:
            under["profiles"] = digest_of(stands)
        if asking.act not in BEYOND_POLICY:
            under["permits"] = ["officers-act"]
        return under

    def wait(self, asking: Asking, need: int = 2, **changes: Json) -> Asking:
        """Write that a command waits for people."""
        kid = parse_unverified(asking.token).header.kid
        beside = sorted(attachments_named(asking.act, asking.args))
        self.beside[asking.id] = beside
        members: Event = {
            "kid": kid,
            "need": need,
            "expires": asking.expires,
            "attachments": [*beside],
            "shown": self.shown(asking),
            **self.form,
        }
        if named := profiles_named(asking.act, asking.args, self._items(asking)):
            members["named"] = [*named]
        self.asked("command.waiting", asking, members, **changes)
        if isinstance(told := changes.get("attachments"), list):
            self.beside[asking.id] = [str(digest) for digest in told]
        self.approvals[asking.id] = {}
        return asking

    @property
    def form(self) -> Event:
        """What names the form of what approvers are shown; the first one has no name."""
        return {} if self.rendering == 1 else {"rendering": self.rendering}

    def shown(self, asking: Asking) -> str:
        """Give the SHA-256 of what approvers are shown; zeros where nobody can show what travels beside it."""
        if self.rendering == 1:
            return first.shown(asking.command, asking.person)
        beside = {digest: self.blobs[digest] for digest in self.beside.get(asking.id, ()) if digest in self.blobs}
        try:
            return whole.shown(asking.command, asking.person, beside)
        except Malformed:
            return "0" * 64

    def complete(self, asking: Asking, by: str | None = None, /, **changes: Json) -> int:
        """Write that whoever asked, or somebody else, completes a request; gives the entry's number."""
        person = by or asking.person
        signer = plant.operator(person) if person in self.founded_people else plant.robot()
        args: dict[str, Json] = {"request": asking.id}
        command = self.signed(signer, person, Act.REQUEST_COMPLETE, {**args})
        return self.asked("request.completed", command, args, {**args}, **changes)

    @property
    def founded_people(self) -> set[str]:
        """Everyone who founded it."""
        return {person.id for person in self.founded.people}

    def approval(
        self,
        person: str,
        asking: Asking,
        verdict: Verdict = Verdict.APPROVE,
        /,
        signer: Signer | None = None,
        **claims: Json,
    ) -> str:
        """Sign an approval and keep it, with the person's first operator key unless told; gives its token."""
        self.serial += 1
        made = approval_claims(
            appliance=self.founded.appliance_id,
            epoch=1,
            command=asking.id,
            verdict=verdict,
            basis=self.basis(asking),
            jti=f"{self.serial:022d}",
            issued_at=self.time,
            expires_at=self.time + 3600,
        )
        token = (signer or plant.operator(person)).token(Typ.APPROVAL, {**made, **claims})
        self.keep(token.encode())
        return token

    def basis(self, asking: Asking) -> Basis:
        """Give what an approval of a command rests on as things stand."""
        named = profiles_named(asking.act, asking.args, self._items(asking))
        return Basis.of(
            policy=self.policy,
            profiles=[self.profiles[name] for name in named if name in self.profiles],
            attachments=self.beside.get(asking.id, []),
            shown=self.shown(asking),
            rendering=self.rendering,
        )

    def told(self, token: str) -> Event:
        """Give what an entry says of an approval besides who gave it, as far as it can be read."""
        claims = Record.of(loads(parse_unverified(token).payload), "approval")
        said: Event = {"kid": parse_unverified(token).header.kid, "expires": claims.value("exp")}
        basis: Event = {name: claims.value(name) for name in Basis.__slots__ if claims.has(name)}
        if claims.has("reason"):
            said["reason"] = claims.value("reason")
        return {**said, "basis": basis}

    def _items(self, asking: Asking) -> tuple[Asked | str, ...]:
        if not is_batch(asking.args):
            return ()
        return read_items(self.blobs[Record(asking.args, "items").record("items").digest("sha256")])

    def approve(self, person: str, asking: Asking, verdict: Verdict = Verdict.APPROVE, /, **changes: Json) -> str:
        """Let a person approve or deny, and write it; gives the approval's id."""
        return self.count(person, asking, self.approval(person, asking, verdict), verdict, **changes)

    def count(
        self, person: str, asking: Asking, token: str, verdict: Verdict = Verdict.APPROVE, /, **changes: Json
    ) -> str:
        """Write that a person approved or denied with this token; gives the approval's id."""
        approval = sha256_hex(parse_unverified(token).signing_input)
        given = self.approvals.setdefault(asking.id, {})
        event: Event = {
            "type": "approval.given",
            "approval": approval,
            "request": asking.id,
            "verdict": verdict.value,
            "by": person,
            "people": [*sorted(people(asking.person, (*given.values(), person)))],
            "need": 2,
            "document": sha256_hex(token.encode()),
            **self.told(token),
        }
        self.append({**event, **changes})
        if verdict is Verdict.APPROVE:
            given[approval] = person
        return approval

    def agreed(self, asking: Asking, *others: str) -> Asking:
        """Let a command wait and these people approve it."""
        self.wait(asking)
        for other in others or ("bob",):
            self.approve(other, asking)
        return asking

    def settle(self, *, failed: Sequence[int] = (), unknown: Sequence[int] = ()) -> Self:
        """Write the outcomes of all open intents: signed, unless told."""
        signed: list[Json] = [seq for seq in self.open if seq not in {*failed, *unknown}]
        self.open = []
        self.append({"type": "outcomes", "signed": signed, "failed": [*failed], "unknown": [*unknown]}, after=0)
        return self

    def checkpoint(self, **changes: Json) -> Self:
        """Write a checkpoint over all entries so far."""
        checkpoint = Checkpoint(ORIGIN, self.frontier.size, self.frontier.root())
        event: Event = {"type": "checkpoint", "size": checkpoint.size, "root": checkpoint.root.hex()}
        self.append({**event, "signs": self.signs("log", checkpoint.text()), **changes})
        return self

    def issue(self, asking: Asking | None = None, *, key: str = "tokens", **changes: Json) -> int:
        """Issue one credential, to alice unless told, without its outcome."""
        asking = asking or self.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
        seq, now = self.head.size, self.time + 1
        lifetime = asking.args.get("ttl", 900)
        members: Event = {
            "workload": plant.WORKLOAD,
            "profile": asking.args["profile"],
            "audience": plant.AUDIENCE,
            "scopes": ["orders.read"],
            "site": "line-1",
            "signs": self.signs(key, f"token {seq}".encode()),
        }
        result: Event = {
            "jti": f"credential-{seq:012d}",
            "iat": now,
            "nbf": now,
            "exp": now + (lifetime if isinstance(lifetime, int) else 900),
            "status": {"idx": seq, "uri": STATUS_LIST},
            "log": seq,
            "site": "line-1",
        }
        self.ends[seq] = int(str(result["exp"]))
        return self.asked("credential.issued", asking, members, result, **changes)

    def day(self) -> Self:
        """Do one of everything that an appliance does, as one of its days would go."""
        self.enrol()
        profile: Json = {**plant.profile(), "lifetime": 3600}
        asking = self.agreed(self.command("bob", Act.PROFILE_SET, {"profile": profile}), "dora", "alice")
        self.asked("profile.set", asking, {"profile": profile}, {"profile": "orders-reader"})
        site: Event = {"name": "line-2", "audiences": [f"{plant.AUDIENCE}/2"]}
        asking = self.agreed(self.command("alice", Act.SITE_ADD, site))
        self.asked("site.added", asking, {"site": site}, {"site": "line-2"})
        self.trust()
        self.bundle(1)
        self.suspend_key("tokens-1")
        self.activate_key("tokens-1")
        failed, issued = self.issue(), self.issue()
        self.settle(failed=[failed])
        self.revoke(issued)
        self.suspend()
        self.resume()
        self.adopt()
        self.start_review()
        self.confirm("alice", operators=["bob", "carol", "dora"])
        self.confirm("bob", operators=["alice"], workloads=[plant.WORKLOAD])
        self.close_review()
        asking = self.agreed(self.command("alice", Act.WORKLOAD_ENROL, {"id": "spiffe://plant-a.example/line-1/x"}))
        self.asked(
            "command.refused", asking, {"reason": "malformed", "rule": "R10 closed forms", "detail": "owner is missing"}
        )
        asking = self.wait(self.command("alice", Act.SITE_ADD, {"name": "line-3", "audiences": []}))
        self.approve("dora", asking, Verdict.DENY)
        self.asked("reading.opened", self.command("carol", Act.READ_OPEN, {}), {}, {})
        self.set_policy()
        self.append({"type": "stopped"})
        return self.checkpoint().settle()

    def enrol(self, signer: Signer | None = None, /, **changes: Json) -> int:
        """Enrol the workload of the worked example with proof of its keys, by two people.

        `changes` replace members of the workload in the entry.
        """
        signer = signer or plant.robot()
        asking, workload = self.enrolling(self.proof(signer))
        members: Event = {**workload, "key": {**signer.public.jwk()}, "seal": {**plant.sealing().jwk()}, **changes}
        return self.asked("workload.enrolled", asking, {"workload": members}, {"workload": plant.WORKLOAD})

    def enrol_keyless(self, workload: str, owner: str = "alice") -> None:
        """Enrol a workload that signs nothing, by as many people as it takes."""
        named: Event = {"id": workload, "owner": owner, "review_by": self.time + 90 * plant.DAY}
        asking = self.command("alice", Act.WORKLOAD_ENROL, named)
        asking = asking if self.founded.single_operator else self.agreed(asking)
        self.asked("workload.enrolled", asking, {"workload": {**named}}, {"workload": workload})

    def proof(self, signer: Signer, **changes: Any) -> str:
        """Sign an enrolment document, by default with the sealing key of the worked example."""
        life = {"issued_at": self.time, "expires_at": self.time + 3600}
        claims = {"appliance": self.founded.appliance_id, "seal": plant.sealing(), **life, **changes}
        return plant.enrolment(signer, **claims)

    def enrolling(self, proof: str, **changes: Json) -> tuple[Asking, Event]:
        """Let two people agree on an enrolment; gives their command, and its arguments as the entry has them."""
        asked: Event = {
            "id": plant.WORKLOAD,
            "owner": "alice",
            "review_by": self.time + 90 * plant.DAY,
            "groups": ["line-1", "robots"],
            "enrolment": self.keep(proof.encode()),
            **changes,
        }
        return self.agreed(self.command("alice", Act.WORKLOAD_ENROL, asked)), asked

    def suspend(self, **changes: Json) -> int:
        """Suspend the workload, on the word of one person."""
        args: Event = {"workload": plant.WORKLOAD, "reason": "lost"}
        asking = self.command("bob", Act.WORKLOAD_SUSPEND, args)
        return self.asked("workload.suspended", asking, args, {"workload": plant.WORKLOAD}, **changes)

    def resume(self, **changes: Json) -> int:
        """Resume the workload, by two people."""
        args: Event = {"workload": plant.WORKLOAD}
        asking = self.agreed(self.command("alice", Act.WORKLOAD_RESUME, args))
        return self.asked("workload.resumed", asking, args, {"workload": plant.WORKLOAD}, **changes)

    def adopt(self, owner: str = "bob", /, *others: str, **changes: Json) -> int:
        """Give the workload another owner: alice asks, bob approves unless told."""
        args: Event = {"workload": plant.WORKLOAD, "owner": owner, "reason": "moved"}
        asking = self.agreed(self.command("alice", Act.WORKLOAD_ADOPT, args), *others)
        result: Event = {"owner": owner, "workload": plant.WORKLOAD}
        return self.asked("workload.adopted", asking, args, result, **changes)

    def start_review(self, name: str = "spring", span: int = 7 * plant.DAY, **changes: Json) -> int:
        """Start a review that ends in a week."""
        args: Event = {"name": name, "until": self.time + span, "reason": "each spring"}
        asking = self.agreed(self.command("alice", Act.REVIEW_START, args))
        self.unconfirmed = {"workloads": {plant.WORKLOAD}, "operators": {*OFFICERS}}
        members: Event = {"review": name, "until": args["until"], "reason": "each spring"}
        return self.asked("review.started", asking, members, self.left(name), **changes)

    def confirm(self, by: str, review: str = "spring", /, *, changes: Event | None = None, **named: Json) -> int:
        """Confirm workloads and operators by one person; `changes` replace members of the entry."""
        asking = self.command(by, Act.REVIEW_CONFIRM, {"review": review, **named})
        for kind, left in self.unconfirmed.items():
            given = named.get(kind)
            left.difference_update(map(str, given) if isinstance(given, list) else ())
        members: Event = {"review": review, "workloads": [], "operators": [], **named}
        return self.asked("review.confirmed", asking, members, self.left(review), **(changes or {}))

    def close_review(self, review: str = "spring", **changes: Json) -> int:
        """Close the review, by two people."""
        asking = self.agreed(self.command("alice", Act.REVIEW_CLOSE, {"review": review}))
        result: Event = {"review": review, "suspended": len(self.unconfirmed["workloads"])}
        return self.asked("review.closed", asking, {"review": review}, result, **changes)

    def left(self, review: str) -> Event:
        """Give the result that says what is left to confirm."""
        return {"review": review, **{kind: len(left) for kind, left in self.unconfirmed.items()}}

    def let_workloads_ask(self, **changes: Json) -> None:
        """Set the profile anew so that workloads may ask under it."""
        asked_by: Json = ["issuer", "workload"]
        self.set_profile(**{"asked_by": asked_by, **changes})

    def set_profile(self, **changes: Json) -> None:
        """Set the profile of the worked example anew."""
        profile: Json = {**plant.profile(), **changes}
        asking = self.agreed(self.command("bob", Act.PROFILE_SET, {"profile": profile}), "dora", "alice")
        self.asked("profile.set", asking, {"profile": profile}, {"profile": "orders-reader"})

    def set_policy(self, text: str = "// nothing is permitted\n", **changes: Json) -> int:
        """Set another policy; auditors read no Cedar, so its text may be any."""
        digest = self.keep(text.encode())
        asking = self.agreed(self.command("bob", Act.POLICY_SET, {"policy": digest}), "alice")
        seq = self.asked("policy.set", asking, {"text": digest}, {"policy": digest}, **changes)
        self.policy = digest
        return seq

    def request(self, signer: Signer | None = None, args: Event | None = None, **claims: Json) -> Asking:
        """Sign a workload's own command and keep it."""
        return self.signed(
            signer or plant.robot(), plant.WORKLOAD, Act.CREDENTIAL_ISSUE, args or issue_args(), **claims
        )

    def trust(self, **changes: Json) -> None:
        """Take in what custodians signed."""
        files: Json = {name: self.keep(name.encode()) for name in ("metadata/1.root.json", "targets/trust/plan.json")}
        asking = self.command("alice", Act.TRUST_SUBMIT, {"files": files})
        window: Json = {"win": 1, "nbf": self.time, "exp": self.time + plant.DAY, "sign": [self.kid("tokens")]}
        versions: Event = {"root_version": 1, "targets_version": 1}
        self.asked(
            "trust.submitted",
            asking,
            {"files": files, "windows": [window], "end": self.time + plant.DAY, **versions, **changes},
            versions,
        )

    def bundle(self, sequence: int, asking: Asking | None = None) -> None:
        """Make a bundle for line-1: status lists signed, a checkpoint, then role after role."""
        making = self.begin_bundle(sequence, asking)
        self.settle().checkpoint().settle()
        for role in ("site", "snapshot"):
            self.sign_role(making, role)
            self.settle()
        self.create_bundle(making)
        self.settle()

    def begin_bundle(self, sequence: int, asking: Asking | None = None, /, **changes: Json) -> Making:
        """Write that a bundle for line-1 is begun."""
        asking = asking or self.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"})
        span: Event = {"issued_at": self.time, "end": self.time + plant.DAY}
        self.bundles = max(self.bundles, sequence)
        facts: Event = {"site": "line-1", "sequence": sequence, "lists": [STATUS_LIST], **span}
        self.asked("bundle.begun", asking, {**facts, "signs": self.signs("status", b"list")}, **changes)
        return asking, facts

    def sign_role(self, making: Making, role: str, /, **changes: Json) -> None:
        """Write that a role of a bundle is to be signed."""
        asking, facts = making
        event: Event = {"site": facts["site"], "sequence": facts["sequence"], "role": role}
        self.asked("bundle.signed", asking, {**event, "signs": self.signs("bundle", role.encode())}, **changes)

    def create_bundle(self, making: Making, /, **changes: Json) -> None:
        """Write that a bundle is created."""
        asking, facts = making
        result: Event = {name: facts[name] for name in ("site", "sequence", "end")}
        signs = self.signs("bundle", b"timestamp")
        self.asked("bundle.created", asking, {**facts, "signs": signs}, result, **changes)

    def revoke(self, *issued: int, by: str = "credential", value: str | None = None, **changes: Json) -> None:
        """Revoke by a selector what these entries issued; a single one by its jti unless told."""
        selector: Event = {by: value or f"credential-{issued[0]:012d}"}
        asking = self.command("bob", Act.CREDENTIAL_REVOKE, {**selector, "reason": "lost"})
        ends = [self.ends[seq] for seq in issued]
        site: Event = {"site": "line-1", "count": len(ends), "first_end": min(ends), "last_end": max(ends)}
        result: Json = {"selector": selector, "count": len(ends), "sites": [site], "next_bundle": self.bundles + 1}
        members: Event = {"selector": selector, "reason": "lost", "as_of": self.time}
        self.asked("credential.revoked", asking, members, result, **changes)

    def suspend_key(self, name: str, person: str = "bob", **changes: Json) -> None:
        """Suspend a key."""
        args: Event = {"key": name, "reason": "lost"}
        self.asked("key.suspended", self.command(person, Act.KEY_SUSPEND, args), args, {"key": name}, **changes)

    def activate_key(self, name: str, *others: str, **changes: Json) -> None:
        """Activate a key that alice asks for, by bob unless told."""
        args: Event = {"key": name, "reason": "found"}
        asking = self.agreed(self.command("alice", Act.KEY_ACTIVATE, args), *others)
        self.asked("key.activated", asking, args, {"key": name}, **changes)

    def countersign(self, signer: Signer, person: str, **changes: Any) -> str:
        """Keep a countersignature by a new key; gives its SHA-256."""
        life = {"issued_at": self.time, "expires_at": self.time + 3600}
        claims = {"appliance": self.founded.appliance_id, **life, **changes}
        return self.keep(plant.countersignature(signer, person, **claims).encode())

    def add(self, person: str = "erin", roles: Sequence[str] = ("officer",), /, **changes: Json) -> int:
        """Enrol a person with their first operator key, by alice and bob."""
        key = plant.operator(person)
        args: Event = {"person": person, "roles": [*roles], "countersignature": self.countersign(key, person)}
        asking = self.agreed(self.command("alice", Act.OPERATOR_ADD, args))
        members: Event = {**args, "key": {**key.public.jwk()}}
        return self.asked("operator.added", asking, members, {"kid": key.kid, "person": person}, **changes)

    def remove(self, person: str = "dora", /, **changes: Json) -> int:
        """Let a person go who has their first operator key, by alice and bob."""
        args: Event = {"person": person, "reason": "left"}
        asking = self.agreed(self.command("alice", Act.OPERATOR_REMOVE, args))
        members: Event = {**args, "retires": [plant.operator(person).kid]}
        return self.asked("operator.removed", asking, members, {"person": person, "workloads": 0}, **changes)

    def set_roles(self, person: str = "dora", roles: Sequence[str] = ("issuer",), /, **changes: Json) -> int:
        """Give a person other roles, by alice and bob."""
        listed: Json = [*roles]
        args: Event = {"person": person, "roles": listed, "reason": "new work"}
        asking = self.agreed(self.command("alice", Act.OPERATOR_ROLES, args))
        return self.asked("operator.roles-set", asking, args, {"person": person, "roles": listed}, **changes)

    def replace_key(self, person: str = "bob", new: Signer | None = None, /, **changes: Json) -> int:
        """Put a new key in the place of a person's first one, by alice and bob."""
        new, old = new or second(person), plant.operator(person).kid
        proof = self.countersign(new, person)
        args: Event = {"person": person, "retires": [old], "reason": "lost", "countersignature": proof}
        asking = self.agreed(self.command("alice", Act.OPERATOR_REPLACE_KEY, args))
        members: Event = {**args, "key": {**new.public.jwk()}}
        return self.asked("operator.key-replaced", asking, members, {"keys": [new.kid], "person": person}, **changes)

    def recovering(self, person: str = "bob", replaces: str = "bob", **changes: Json) -> tuple[Asking, Event]:
        """Let two custodians agree on a recovery; gives their command, and what its entry says."""
        new = second(person)
        args: Event = {
            "replaces": replaces,
            "person": person,
            "countersignature": self.countersign(new, person),
            "reason": "lost",
        }
        asking = self.signed(plant.custodian("carol"), "carol", Act.OPERATOR_RECOVER, {**args, **changes})
        self.wait(asking)
        self.count("dora", asking, self.approval("dora", asking, signer=plant.custodian("dora")))
        told: Event = {"key": {**new.public.jwk()}, "roles": ["approver", "officer"]}
        return asking, {**asking.args, **told, "retires": [plant.operator(replaces).kid]}

    def recover(self, person: str = "bob", replaces: str = "bob", /, **changes: Json) -> int:
        """Put a new key in an officer's place, by the custodians carol and dora."""
        asking, members = self.recovering(person, replaces)
        result: Event = {"kid": second(person).kid, "person": person, "workloads": 0}
        return self.asked("operator.recovered", asking, members, result, **changes)

    def note(self, size: int | None = None, *, key: Signer | None = None) -> bytes:
        """Sign a checkpoint over the first `size` entries, all unless told, with the log key unless told."""
        leaves = [leaf_hash(body) for body in self.bodies[:size]]
        return note_over(leaves, key or appliance_key("log", self.owner))

    def exported(self) -> Self:
        """Write that the log is exported."""
        person = "carol" if len(self.founded.people) > 1 else "alice"
        asking = self.command(person, Act.LOG_EXPORT, {})
        self.asked("log.exported", asking, {}, {"size": self.head.size + 1})
        return self

    def export(self, **parts: bytes) -> bytes:
        """Give the export's bytes; `parts` replace bodies by the first word of their names."""
        return write_export(self.files(), **parts)

    def files(self) -> dict[str, bytes]:
        """Give the bodies of the export."""
        return {
            "about.json": about(self.founded.appliance_id, len(self.bodies), vkey(self.owner)),
            "blobs.jsonl": blob_lines(self.blobs.values()),
            "checkpoint": self.note(),
            "entries.jsonl": b"".join(body + b"\n" for body in self.bodies),
            "founding.json": self.founded.body,
        }


def second(person: str) -> Signer:
    """Give a person's second operator key."""
    return Signer.named(f"{person} second operator")


def issue_args(**changes: Json) -> dict[str, Json]:
    """Give the arguments of the issue of the worked example."""
    args: Event = {"profile": "orders-reader", "workload": plant.WORKLOAD, "audience": plant.AUDIENCE}
    return {**args, "scopes": ["orders.read"], "ttl": 900, **changes}


def vkey(owner: str = "plant-a") -> VerifierKey:
    """Give the verifier key of a log."""
    return VerifierKey(ORIGIN, appliance_key("log", owner).public)


def about(appliance: str, size: int, key: VerifierKey) -> bytes:
    """Write about.json."""
    return dumps({"v": 1, "appliance": appliance, "size": size, "vkey": key.format()})


def blob_lines(blobs: Iterable[bytes]) -> bytes:
    """Write blobs.jsonl."""
    ordered = sorted(blobs, key=sha256_hex)
    return b"".join(dumps({"body": b64u_encode(body)}) + b"\n" for body in ordered)


def note_over(leaves: Sequence[bytes], key: Signer) -> bytes:
    """Sign a checkpoint over these leaf hashes."""
    frontier = Frontier().extend(leaves)
    text = Checkpoint(ORIGIN, frontier.size, frontier.root()).text()
    return sign_note(text, (VerifierKey(ORIGIN, key.public), key.sign(text)))


def write_export(files: Mapping[str, bytes], **parts: bytes) -> bytes:
    """Frame an export, with bodies replaced by the first word of their names, so that every digest fits."""
    return framing.write(
        framing.EXPORT, {name: parts.get(name.partition(".")[0], body) for name, body in files.items()}
    )
