"""A real appliance beside the plainest model of it, and humans who do things to it, tricks included.

Each step is taken by one human, with a key that is theirs. The model says beforehand what becomes of it, and counts the
humans behind every entry that carries something out.
"""

import asyncio
import io
import tempfile
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from appliance import custodians
from appliance.engine import Engine
from appliance.errors import Refused
from appliance.nouns import checkpoints, trust
from appliance.outcome import Outcome
from coldcred.acts import Act
from coldcred.canonical import Json, b64u_encode, loads, loads_canonical, sha256_hex
from coldcred.command import Basis, Verdict, approval_claims, document_id
from coldcred.errors import ColdcredError
from coldcred.jose import Typ, parse_unverified
from coldcred.log import export
from coldcred.log.entry import MAX_BODY
from tests.support import hands, plant
from tests.support.human_asks import PROFILES, Asks, Wish
from tests.support.plain_acts import carry
from tests.support.plain_authority import Given, Plain, Sent
from tests.support.plain_table import DAY
from tests.support.running import RunningPlant, settled
from tests.support.signers import Signer

HUMANS = ("alice", "bob", "carol", "dora", "erin", "finn", "gina")
FOUNDED: Sequence[tuple[dict[str, list[str]], dict[str, int]]] = (
    (plant.ROLES, {}),
    ({**plant.ROLES, "carol": ["officer", "approver"]}, {"site.add": 3, "workload.adopt": 3}),
)
"""Who founds, and how many people the founding asks for where the table asks for fewer."""

PROFILED: Sequence[dict[str, Json]] = tuple({**plant.profile(), **PROFILES[place]} for place in (1, 0, 2))
"""The profiles that it is founded with."""

LONGEST = 13 * DAY
"""Outcomes are forgotten after 15 days; the model forgets nothing."""

T = TypeVar("T")


@dataclass
class Tally:
    """What runs saw: steps, and how often each act ended how."""

    steps: int = 0
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    verified: int = 0

    @property
    def done(self) -> set[str]:
        """The acts that were carried out at least once."""
        return {act for act, state in self.ended if state == "done"}


class Run:
    """An appliance with everybody who has to do with it."""

    def __init__(self, tally: Tally, founded: int) -> None:
        """Found it and bring it to where it can issue."""
        self.tally = tally
        self.folder = tempfile.TemporaryDirectory(prefix="coldcred-machine-")
        self.loop = asyncio.new_event_loop()
        self.serving: AbstractAsyncContextManager[Engine] | None = None
        self.commands: dict[str, Sent] = {}
        self.drawer: list[Given] = []
        self.seen = 0
        self.trusts: list[Wish] = []
        roles, raised = FOUNDED[founded]
        quorums: dict[str, Json] = {"custodians": 2, "recovery": 2, "acts": {**raised}}
        self.running = RunningPlant(
            Path(self.folder.name) / "home", roles=roles, members={"quorums": quorums, "profiles": [*PROFILED]}
        )
        self.engine = self.begin()
        self.run(self.running.ready(self.engine))
        keys = {one: [plant.operator(one)] for one in HUMANS}
        holder = {plant.operator(one).kid: one for one in HUMANS} | {plant.custodian(one).kid: one for one in roles}
        now = self.running.clock.now()
        self.plain = Plain(
            roles={one: frozenset(held) for one, held in roles.items()},
            operators={plant.operator(one).kid: one for one in roles},
            custodians={plant.custodian(one).kid: one for one in roles},
            raised=raised,
            recovery=2,
            holder=holder,
            now=now,
            window=(now, now + DAY),
            profiles={str(one["name"]): one for one in PROFILED},
            carry=carry,
        )
        self.plain.places = {one: set() for one in roles}
        self.plain.ever = {kid for kid in holder if kid in self.plain.operators or kid in self.plain.custodians}
        self.plain.enrol_first(plant.WORKLOAD, "alice", now + 90 * DAY)
        tokens = self.engine.standing.authority.keys["tokens-1"].public
        assert tokens is not None
        self.asks = Asks(self.plain, self.running, HUMANS, keys, tokens.thumbprint)
        self.seen = self.engine.standing.head.size

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the appliance work until this is done."""
        return self.loop.run_until_complete(asyncio.wait_for(work, 300))

    def begin(self) -> Engine:
        """Start the appliance."""
        self.serving = self.running.engine()
        return self.run(self.serving.__aenter__())

    def end(self) -> None:
        """Stop it."""
        serving, self.serving = self.serving, None
        if serving is not None:
            self.run(serving.__aexit__(None, None, None))

    # -- one human, one signature

    def asked(self, who: str, act: str, pick: int, key: Signer) -> Sent:
        """Have a human sign a command."""
        wish = self.custody(pick) if act == "trust.submit" else self.asks.wish(act, who, pick)
        return self.signed(wish, who, act, key, human=who)

    def signed(self, wish: Wish, signer: str, act: str, key: Signer, *, human: str | None) -> Sent:
        """Give a signed command, for whoever sends it."""
        now = self.running.clock.now()
        token = self.running.command(key, Act(act), wish.args)
        facts = wish.args if wish.facts is None else wish.facts
        id_ = document_id(parse_unverified(token))
        sent = Sent(id_, token, human, key.kid, signer, act, facts, wish.attachments, now, now + 3600)
        self.commands[id_] = sent
        self.asks.sent.append(id_)
        return sent

    def approved(self, who: str, sent: Sent, key: Signer, how: str = "good") -> Given:
        """Have a human sign an approval, in one way or another, on the grounds that stand now."""
        now, plain = self.running.clock.now(), self.plain
        basis, true = self.basis(sent)
        if how in {"policy", "profile", "attachment", "shown"}:
            members = {**basis.as_json(), how: sha256_hex(b"another")}
            basis, true = Basis(**{"profile": None, "attachment": None, **members}), False  # type: ignore[arg-type]  # each is an argument of its own
        issued, expires = {"short": (now, now + 60), "past": (now - 60, now), "future": (now + 121, now + 3600)}.get(
            how, (now, now + 7200)
        )
        verdict = Verdict.DENY if how == "deny" else Verdict.APPROVE
        claims = approval_claims(
            appliance=self.running.founding.appliance_id,
            epoch=1,
            command=sent.id,
            verdict=verdict,
            basis=basis,
            jti=b64u_encode(self.running.random(16)),
            issued_at=issued,
            expires_at=expires,
        )
        token = key.token(Typ.APPROVAL, claims)
        id_ = document_id(parse_unverified(token))
        given = Given(
            id_,
            token,
            who,
            key.kid,
            sent.id,
            how != "deny",
            plain.text,
            plain.version(sent.named),
            true,
            issued,
            expires,
        )
        self.drawer.append(given)
        return given

    def basis(self, sent: Sent) -> tuple[Basis, bool]:
        """Give what an approver's own program finds, who has the command and the appliance's terms."""
        try:
            return self.running.basis(sent.token), True
        except (ColdcredError, ValueError):
            return Basis(sha256_hex(self.plain.text.encode()), None, None, "0" * 64), False

    def send(self, sent: Sent, approvals: Sequence[Given] = ()) -> str:
        """Send a command, and see that what becomes of it is what the model says."""
        plain = self.tell_time()
        known = sent.id in plain.waiting or sent.id in plain.ended
        fresh = not known or not {one.id for one in approvals} <= plain.counted | plain.refused.keys()
        plain.given += approvals
        may = self.may_be_carried_out(sent)
        expected = plain.command(sent, approvals)
        tokens = [one.token for one in approvals]
        work = self.engine.submit_command(sent.token, sent.attachments, tokens)
        return self.compare(sent, expected, work, may if fresh else {})

    def approve(self, given: Given) -> str:
        """Send an approval likewise."""
        plain, sent = self.tell_time(), self.commands[given.command]
        fresh = given.id not in plain.counted
        plain.given.append(given)
        may = self.may_be_carried_out(sent)
        expected = plain.approval(given)
        return self.compare(sent, expected, self.engine.submit_approval(given.token), may if fresh else {})

    def complete(self, sent: Sent, who: str, key: Signer, *, human: str | None) -> str:
        """Have somebody say that what waits is to be carried out now."""
        return self.send(self.signed(Wish({"request": sent.id}), who, "request.complete", key, human=human))

    def may_be_carried_out(self, sent: Sent) -> dict[str, tuple[set[str], int]]:
        """Give, by command, the humans who are behind what this may carry out, and how many that takes."""
        plain = self.plain
        may = {sent.id: (plain.humans(sent), plain.need_of(sent))}
        about = self.commands.get(str(sent.args.get("request"))) if sent.act == "request.complete" else None
        if about is not None and about.human == sent.human and about.signer == sent.signer:
            may[about.id] = (plain.humans(about), plain.need_of(about))
        return may

    def tell_time(self) -> Plain:
        """Tell the model what decisions see of the clock."""
        clock, newest = self.running.clock.now(), self.engine.standing.lookups.last_time
        self.plain.now, self.plain.newest, self.plain.behind = max(clock, newest), newest, clock < newest - 2
        return self.plain

    def compare(
        self, sent: Sent, expected: str, work: Coroutine[Any, Any, Outcome], may: dict[str, tuple[set[str], int]]
    ) -> str:
        """Hold the outcome to the model, and what was written to the humans who are behind it.

        `may` has what may be carried out now: nothing, where all that was sent had been sent before.
        """
        self.tally.steps += 1
        outcome: Outcome | Refused
        try:
            outcome = self.run(work)
            state = outcome.state.value
        except Refused as refused:
            outcome, state = refused, "raised"
        self.check_written(may)
        assert state == expected, (state, expected, sent, outcome)
        self.tally.ended[sent.act, state] += 1
        if state in {"refused", "raised"}:
            self.tally.reasons[sent.act, str(outcome.reason)] += 1
        if isinstance(outcome, Outcome) and "token" in outcome.files:
            self.check_token(self.commands[outcome.command], outcome)
        return state

    # -- what must never be

    def check_written(self, may: dict[str, tuple[set[str], int]]) -> None:
        """No entry carries out what too few humans signed for, or what was sent again by whoever had read it."""
        bodies = list(self.engine.standing.archive.bodies(self.seen))
        self.seen += len(bodies)
        for body in bodies:
            entry: Any = loads_canonical(body, max_bytes=MAX_BODY)
            event = entry["event"]
            if "act" not in event or event["type"] in {"command.waiting", "command.refused"}:
                continue
            assert event["command"] in may, event
            behind, need = may[event["command"]]
            assert len(behind) >= need, (event, behind, need)
            assert {*event["people"]} <= {*HUMANS}, event
            if "result" in event:
                assert len(event["people"]) >= need, (event, need)

    def check_token(self, sent: Sent, outcome: Outcome) -> None:
        """See that a token lies within the profile that its entry names, the charter, and what was asked for."""
        claims: Any = loads(parse_unverified(outcome.files["token"].decode()).payload)
        charter, args, plain = plant.token_charter(), sent.args, self.plain
        issued = (one for one in self.events(-8) if one["type"] == "credential.issued")
        event: Any = next(one for one in issued if one["command"] == sent.id)
        profile = plain.profiles[args["profile"]]
        version = plain.version(args["profile"])
        assert version is not None
        assert event["profiles"] == sha256_hex(version)
        assert event["policy"] == sha256_hex(plain.text.encode())
        lifetime = claims["exp"] - claims["nbf"]
        assert lifetime <= min(profile["lifetime"], int(str(charter["lifetime"])), args.get("ttl", DAY))
        assert claims["exp"] - claims["iat"] <= min(profile["horizon"], int(str(charter["horizon"])))
        assert claims["exp"] <= plain.window[1]
        assert {claims["aud"]} == {args["audience"]} <= {*profile["audiences"]}
        assert {*claims["scope"].split()} == {*args["scopes"]} <= {*profile["scopes"]}
        assert claims["sub"] == args["workload"]
        assert claims["sub"].startswith(f"spiffe://{plant.DOMAIN}/line-1/")
        groups = {*profile.get("groups", ())}
        assert not groups or groups & {*plain.machines[claims["sub"]].groups}
        plain.issued(claims["jti"], args["workload"], args["profile"], claims["exp"])
        self.asks.jtis.append(claims["jti"])

    def events(self, last: int) -> list[dict[str, Any]]:
        """Give the newest events."""
        size = self.engine.standing.head.size
        found: list[Any] = [
            loads_canonical(body, max_bytes=MAX_BODY)
            for body in self.engine.standing.archive.bodies(max(0, size + last))
        ]
        return [entry["event"] for entry in found]

    # -- the appliance itself

    def set_clock(self, seconds: int) -> None:
        """Let the clock go on, or back; one that went back is right before it goes on."""
        if seconds > 0:
            self.clock_is_right()
        if self.running.clock.time + seconds < plant.TIME + LONGEST:
            self.running.clock.time += seconds

    def clock_is_right(self) -> None:
        """Somebody sets it right."""
        self.running.clock.time = max(self.running.clock.time, self.engine.standing.lookups.last_time)

    def restart(self) -> None:
        """Stop and start it, and see that it knows the same."""
        self.clock_is_right()
        self.run(settled(self.engine))
        before = self.engine.standing
        self.end()
        self.engine = self.begin()
        after = self.engine.standing
        assert after.authority == before.authority
        assert after.lookups.requests == before.lookups.requests
        assert after.lookups.outcomes == before.lookups.outcomes
        assert after.lookups.refused_approvals.keys() == before.lookups.refused_approvals.keys()
        assert after.lookups.seen_approvals == before.lookups.seen_approvals
        assert dict(after.lookups.issued) == dict(before.lookups.issued)

    # -- what they need

    def key(self, kid: str) -> Signer:
        """Give the key of this thumbprint from whoever holds it."""
        who = self.plain.holder[kid]
        return next(key for key in (*self.asks.keys[who], plant.custodian(who)) if key.kid == kid)

    def own_key(self, who: str, number: int) -> Signer:
        """Give one of the keys that a human has: the custodian key, or any that they ever had, the newest first."""
        keys = self.asks.keys[who]
        self.plain.holder.setdefault(plant.custodian(who).kid, who)
        return plant.custodian(who) if number == 0 else keys[-1 - (number - 1) % len(keys)]

    def custody(self, pick: int) -> Wish:
        """Give a new draft that two custodians signed, or one that was submitted or drafted before."""
        if self.trusts and pick % 4 == 3:
            return self.trusts[pick // 4 % len(self.trusts)]
        authority, now = self.engine.standing.authority, self.tell_time().now
        documents = trust.draft(authority, now)
        held = authority.trust
        assert held is not None
        archive = self.engine.standing.archive
        roots = {name: archive.blob(digest) for name, digest in held.files.items() if name.endswith("root.json")}
        draft = custodians.Draft(documents, roots, held.targets_version + 1, trust.bundle_key(authority))
        founding = self.running.founding
        files = custodians.prepare(founding, draft, now)
        signers = [*self.plain.custodians.values()][pick % 2 :][:2]
        signed = hands.signed(founding, files, *signers)
        facts = {"drafted": (now, held.targets_version + 1, sorted(self.plain.sites), sorted(self.plain.profiles))}
        digests: dict[str, Json] = {name: self.running.keep(body) for name, body in signed.items()}
        wish = Wish({"files": digests}, {sha256_hex(body): body for body in signed.values()}, facts)
        self.trusts.append(wish)
        return wish

    def audit(self) -> None:
        """Somebody who may exports the log, and the auditor believes it."""
        self.clock_is_right()
        self.run(settled(self.engine))
        self.tell_time()
        self.unblock()
        for kid, person in [*self.plain.operators.items()]:
            if self.plain.may_ask(kid, "log.export", {}) and not self.plain.is_held(person, "log.export"):
                command = self.running.command(self.key(kid), Act.LOG_EXPORT)
                exported = self.run(self.engine.submit_command(command))
                key = checkpoints.verifier_key(self.engine.standing.authority)
                export.verify(io.BytesIO(exported.files["export"]), export.Anchor(key))
                self.tally.verified += 1
                self.seen = self.engine.standing.head.size
                return
        # No policy keeps custodians from replacing an officer, whom the policy in force may then forbid this.
        assert "log.export" in self.plain.locked(self.plain.roles, self.plain.policy)

    def unblock(self) -> None:
        """Whom a review stops, others confirm."""
        for _ in range(2):
            for kid, who in [*self.plain.operators.items()]:
                review = self.plain.review
                if review is None or self.plain.now < review.until or not review.people & {*self.plain.roles}:
                    return
                others: list[Json] = [one for one in sorted(review.people & {*self.plain.roles}) if one != who]
                wish = Wish({"review": review.name, "operators": others})
                if others and self.plain.may_ask(kid, "review.confirm", {}):
                    sent = self.signed(wish, who, "review.confirm", self.key(kid), human=who)
                    if self.send(sent) == "waiting":
                        for other, person in [*self.plain.operators.items()]:
                            if self.plain.may_approve(other, sent.act) and person != who:
                                self.approve(self.approved(person, sent, self.key(other)))
                                break

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """At the end all of it is folded anew, and an auditor reads it."""
        try:
            if kind is None:
                self.restart()
                self.audit()
        finally:
            self.end()
            self.loop.close()
            self.folder.cleanup()
