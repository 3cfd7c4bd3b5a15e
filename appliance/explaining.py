"""Why yes, why no: what would become of a command that nobody has signed yet, and by which rule.

It walks what a real command is held to, in the same order and by the same functions, and goes on after what refuses, so
that a person sees all that stands in the way. Pure: nothing is signed, drawn, written or changed.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from appliance import counting, deciding, policy
from appliance.authority import Authority, Custodian, Operator, Workload
from appliance.decision import Ask, Decision, Looked
from appliance.errors import Refusal, Refused
from appliance.nouns import credentials, workloads
from appliance.outcome import State
from appliance.rules import RULE, rule_of
from appliance.standing import Standing
from coldcred import names
from coldcred.acts import BEYOND_POLICY, RULES, Act
from coldcred.asked import Asked
from coldcred.batch import is_batch
from coldcred.canonical import Json, b64u_encode, sha256
from coldcred.command import Command, command_claims, document_id, people, profiles_named
from coldcred.errors import Malformed
from coldcred.jose import Typ, assemble, parse_unverified, signing_input
from coldcred.record import Record

LIFE = 3600
"""Seconds that the imagined command could be carried out for."""

MAX_APPROVERS = 32
MAX_NAME = 2048

_NO_SIGNATURE = bytes(64)
_ACTIVE = "a workload that is active"

_Signer: TypeAlias = Operator | Custodian | Workload
_Members: TypeAlias = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Imagined:
    """A command that might be sent: by a person or a workload, with what travels beside it and who would approve it.

    `custodian` says that the person would sign with their custodian key.
    """

    by: str
    act: Act
    args: _Members
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    approved_by: tuple[str, ...] = ()
    custodian: bool = False

    @classmethod
    def read(cls, record: Record, attachments: Mapping[str, bytes]) -> "Imagined":
        """Read the members strictly; `Malformed` names the first that is wrong."""
        act = record.text("act")
        if act not in set(Act):
            message = f"why: unknown act {act[:48]!a}"
            raise Malformed(message)
        imagined = cls(
            by=record.text("by", max_chars=MAX_NAME),
            act=Act(act),
            args=record.record("args").members(),
            attachments=attachments,
            approved_by=record.texts("approved_by", most=MAX_APPROVERS) if record.has("approved_by") else (),
            custodian=record.boolean("custodian") if record.has("custodian") else False,
        )
        record.done()
        return imagined


@dataclass(frozen=True, slots=True)
class Behind:
    """Who would be behind a command: how many it takes and by which rule, who signed, and who else could or could not.

    `approvals` has those who were named, in order, each with the refusal where their approval would not count.
    """

    need: int
    rule: str
    have: frozenset[str]
    approvals: tuple[tuple[str, Refused | None], ...]
    could: tuple[str, ...]
    could_not: tuple[tuple[str, Refused], ...]

    @property
    def looked(self) -> Looked:
        """Give it as one thing that was looked at."""
        so_far = ", ".join(sorted(self.have)) or "nobody"
        missing = self.need - len(self.have)
        found = f"it takes {self.need}, so far {so_far}"
        return Looked(
            "how many people", self.rule, found if missing <= 0 else f"{found}; {missing} missing", None, missing > 0
        )

    def as_json(self) -> _Members:
        """Give it as the answer has it."""
        return {
            "need": self.need,
            "rule": self.rule,
            "have": [*sorted(self.have)],
            "approvals": [_opinion(person, refused) for person, refused in self.approvals],
            "could": [*self.could],
            "could_not": [_opinion(person, refused) for person, refused in self.could_not],
        }


def explain(standing: Standing, imagined: Imagined, now: int, admit: Callable[[str], None]) -> _Members:
    """Say what would become of the command at `now`; `admit` refuses an act that the disk has no room for."""
    signer = _signer(standing.authority, imagined)
    if signer is None:
        refused = Refused(Refusal.UNKNOWN_SIGNER, f"{imagined.by} has no key that is enrolled here")
        return _told(imagined, standing, [Looked("whose key signs", rule_of(refused), refused.detail, refused)], None)
    return _Walk(standing, imagined, signer, now, admit).told()


def _signer(authority: Authority, imagined: Imagined) -> _Signer | None:
    """Find whose key would sign; whoever has several is the same principal with each."""
    if names.is_spiffe_id(imagined.by):
        workload = authority.workloads.get(imagined.by)
        return workload if workload is not None and workload.key is not None else None
    return _key_of(authority, imagined.by, custodian=imagined.custodian)


def _key_of(authority: Authority, person: str, *, custodian: bool) -> Operator | Custodian | None:
    found = authority.custodians.values() if custodian else authority.operators.values()
    return next((one for one in found if one.person == person), None)


class _Walk:
    """One walk along everything that a command is held to."""

    def __init__(
        self, standing: Standing, imagined: Imagined, signer: _Signer, now: int, admit: Callable[[str], None]
    ) -> None:
        self._standing, self._authority = standing, standing.authority
        self._imagined, self._signer, self._now, self._admit = imagined, signer, now, admit
        self._asking = policy.principal(signer)
        self._command = _unsigned(self._authority, imagined, signer, now)
        self._named = profiles_named(imagined.act, imagined.args)
        stands = policy.under(self._authority, self._command)
        signed = people(self._asking.id, ())
        self._ask = Ask(self._command, self._asking.id, signed, (), imagined.attachments, stands)

    def told(self) -> _Members:
        """Give the whole of it."""
        behind = self._behind()
        looked = [*self._before(behind.need), behind.looked]
        self._ask = replace(self._ask, people=behind.have)
        looked += self._deciding({one.found for one in looked if not one.passed})
        return _told(self._imagined, self._standing, looked, behind)

    def _before(self, need: int) -> Iterator[Looked]:
        """Look at all that comes before the decision itself, but people."""
        act, authority, asking, now = self._imagined.act, self._authority, self._asking, self._now
        yield Looked("whose key signs", RULE[Refusal.UNKNOWN_SIGNER], f"{asking.id} has an enrolled key")
        admit = partial(self._admit, deciding.counts_as(self._standing, act, self._imagined.args))
        yield Looked.at("room on the disk", RULE[Refusal.DISK_RESERVE], admit, "there is room")
        beside = partial(deciding.check_beside, self._command, self._imagined.attachments, waits=False)
        yield Looked.at("what travels beside it", RULE[Refusal.MALFORMED], beside, "it is what the command names")
        confirmed = partial(policy.check_confirmed, authority, {asking.id}, act, now)
        yield Looked.at("the access review", RULE[Refusal.REVIEW_MISSED], confirmed, "it holds nobody up here")
        completes = self._completes_batch()
        manner = partial(deciding.check_manner, self._standing, self._command, batch=completes)
        sent = "as a batch" if completes else "as one command"
        yield Looked.at("how it is sent", "R8 a batch is sent as one", manner, sent)
        about = policy.resource(authority, self._command)
        table = Looked.at(
            "who may ask", RULE[Refusal.NOT_ALLOWED], partial(policy.permit, asking, act, about), self._who()
        )
        yield table
        if table.refused is None:
            yield self._policy()
        if isinstance(self._signer, Workload):
            stands = f"it is {workloads.condition(authority, self._signer, now)}"
            active = partial(workloads.check_active, authority, self._signer, now)
            yield Looked.at("how it stands", _ACTIVE, active, stands)
        if need > 1:
            quota = partial(policy.check_quota, self._standing.lookups, asking.id, now)
            yield Looked.at("what waits already", RULE[Refusal.QUOTA_EXCEEDED], quota, "one more may wait")
            named = profiles_named(act, self._command.args)
            early = partial(deciding.check_early, self._standing, self._ask, named, now)
            yield Looked.at("what it asks for", RULE[Refusal.MALFORMED], early, "it can be put before people")

    def _who(self) -> str:
        act, asking = self._imagined.act, self._asking
        if asking.is_workload:
            return "it asks for itself, and the profile lets it" if act is Act.CREDENTIAL_ISSUE else "a machine may"
        if asking.custodian:
            return f"{asking.id} signs with a custodian key"
        held = ", ".join(sorted(asking.roles & RULES[act].may_ask))
        return f"{asking.id} is {held}"

    def _policy(self) -> Looked:
        """Ask the policies in force, and keep what the command is decided under."""
        what, act, standing = "the policy in force", self._imagined.act, self._standing
        none_asked = f"policy {standing.authority.policy[:12]}"
        try:
            ruled = policy.ruled(standing.authority, standing.policies, self._asking, self._command)
        except Refused as refused:
            return Looked(what, rule_of(refused), refused.detail, refused)
        self._ask = replace(self._ask, ruled=ruled)
        if act in BEYOND_POLICY:
            return Looked(what, none_asked, f"no policy is asked about {act}")
        if not ruled.permits:
            return Looked(what, none_asked, "it is asked about profiles that stand, and this one does not")
        return Looked(what, f"policy {ruled.permits[0]}", f"permitted by {', '.join(ruled.permits)}")

    def _behind(self) -> Behind:
        """Count the people who would be behind it, and try everybody else."""
        authority, act = self._authority, self._imagined.act
        need = policy.people_for(authority, act, self._named, self._asking.id)
        have = set(self._ask.people)
        approvals: list[tuple[str, Refused | None]] = []
        for person in self._imagined.approved_by:
            refused = self._why_not(person) if need > 1 else _nothing_waits()
            if refused is None:
                have.add(person)
            approvals.append((person, refused))
        could: list[str] = []
        could_not: list[tuple[str, Refused]] = []
        if len(have) < need:
            for person in sorted(self._approvers() - have):
                refused = self._why_not(person)
                if refused is None:
                    could.append(person)
                else:
                    could_not.append((person, refused))
        rule = policy.quorum_rule(authority, act, need, self._named)
        return Behind(need, rule, frozenset(have), tuple(approvals), tuple(could), tuple(could_not))

    def _approvers(self) -> set[str]:
        found = self._authority.custodians if RULES[self._imagined.act].custodians else self._authority.operators
        return {one.person for one in found.values()}

    def _why_not(self, person: str) -> Refused | None:
        """Say why an approval by this person would not count; None where it would."""
        act = self._imagined.act
        approver = _key_of(self._authority, person, custodian=RULES[act].custodians)
        approver = approver or _key_of(self._authority, person, custodian=False)
        if approver is None:
            return Refused(Refusal.UNKNOWN_SIGNER, f"{person} has no key that is enrolled here")
        try:
            counting.check_approver(self._authority, approver, self._asking.id, act, self._now)
        except Refused as refused:
            return refused
        return None

    def _deciding(self, said: set[str]) -> Iterator[Looked]:
        """Look at the act's own decision; what was `said` before is not said again."""
        if self._imagined.act is Act.CREDENTIAL_ISSUE and not is_batch(self._imagined.args):
            for one in self._credential():
                said |= set() if one.passed else {one.found}
                yield one
        what = f"{self._imagined.act} itself"
        try:
            deciding.check_signers(self._standing, self._ask, self._now)
            decision = deciding.decide_whole(self._standing, self._ask, self._now, _throwaway(self._command.id))
            written = _written(what, self._standing, decision, self._now)
        except Refused as refused:
            if refused.detail not in said:
                yield Looked(what, rule_of(refused), refused.detail, refused)
            return
        yield written
        if self._imagined.act is Act.REQUEST_COMPLETE and not self._completes_batch():
            yield self._completed()

    def _completes_batch(self) -> bool:
        """Whether it would complete a batch, whose lines are decided one by one."""
        request = self._standing.lookups.requests.get(str(self._imagined.args.get("request")))
        return self._imagined.act is Act.REQUEST_COMPLETE and request is not None and request.is_batch

    def _completed(self) -> Looked:
        """Look at what would be completed: it is held to what stands now, and decided."""
        standing, now = self._standing, self._now
        request = standing.lookups.requests[str(self._imagined.args["request"])]
        what = f"{request.act}, which it completes"
        try:
            ask = deciding.hold(standing, deciding.asked_before(standing, request, (), now), (), now)
            deciding.check_signers(standing, ask, now)
            decision = deciding.decide_whole(standing, ask, now, _throwaway(ask.command.id))
            return _written(what, standing, decision, now)
        except Refused as refused:
            return Looked(what, rule_of(refused), refused.detail, refused)

    def _credential(self) -> Iterator[Looked]:
        """Look at each bound of a credential, one by one."""
        authority, lookups = self._authority, self._standing.lookups
        try:
            asked = Asked.read(Record(self._imagined.args, self._imagined.act))
        except Malformed as malformed:
            refused = Refused(Refusal.MALFORMED, str(malformed))
            yield Looked("its form", rule_of(refused), refused.detail, refused)
            return
        granting = credentials.Granting(authority, lookups, authority.profiles, self._now)
        yield from granting.look(asked)


def _unsigned(authority: Authority, imagined: Imagined, signer: _Signer, now: int) -> Command:
    """Give the command as it would be, but for its signature."""
    key = signer.key
    if key is None:
        raise ValueError("a signer without a key")
    claims = command_claims(
        appliance=authority.founding.appliance_id,
        epoch=authority.epoch,
        act=imagined.act,
        args=imagined.args,
        jti=b64u_encode(bytes(16)),
        issued_at=now,
        expires_at=now + LIFE,
    )
    token = assemble(signing_input(Typ.COMMAND, key.algorithm, key.thumbprint, claims), _NO_SIGNATURE)
    return Command(
        id=document_id(parse_unverified(token)),
        signer=key.thumbprint,
        appliance=authority.founding.appliance_id,
        epoch=authority.epoch,
        act=imagined.act,
        issued_at=now,
        expires_at=now + LIFE,
        jti=b64u_encode(bytes(16)),
        args=imagined.args,
        token=token,
    )


def _written(what: str, standing: Standing, decision: Decision, now: int) -> Looked:
    writes = ", ".join(entry.type for entry in standing.write(decision.events, now))
    return Looked(what, "R31 durable before signing", f"it would write {writes}")


def _throwaway(seed: str) -> Callable[[int], bytes]:
    """Give numbers for a decision of which nothing is kept, so that the appliance's own randomness is left alone."""
    numbers = itertools.count()
    return lambda size: sha256(f"{seed} {next(numbers)}".encode())[:size]


def _nothing_waits() -> Refused:
    return Refused(Refusal.UNKNOWN_REQUEST, "it takes no other people, so nothing waits to be approved")


def _opinion(person: str, refused: Refused | None) -> _Members:
    if refused is None:
        return {"person": person, "counts": True}
    return {
        "person": person,
        "counts": False,
        "reason": refused.id,
        "rule": rule_of(refused),
        "detail": refused.detail,
    }


def _told(imagined: Imagined, standing: Standing, looked: list[Looked], behind: Behind | None) -> _Members:
    """Write the answer; the first thing that is not passed decides."""
    first = next((one for one in looked if not one.passed), None)
    state = State.DONE if first is None else State.WAITING if first.waits else State.REFUSED
    return {
        "act": imagined.act.value,
        "by": imagined.by,
        "state": state.value,
        "reason": first.refused.id if first is not None and first.refused is not None else None,
        "rule": None if first is None else first.rule,
        "detail": None if first is None else first.found,
        "policy": standing.authority.policy,
        "people": None if behind is None else behind.as_json(),
        "checks": [_check(one) for one in looked],
    }


def _check(one: Looked) -> Json:
    return {
        "what": one.what,
        "verdict": "passed" if one.passed else "waits" if one.waits else "refused",
        "reason": None if one.refused is None else one.refused.id,
        "rule": one.rule,
        "found": one.found,
    }
