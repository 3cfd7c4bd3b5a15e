"""The plainest model of who may do what here: what people agreed on, written down again without the appliance's code.

It says what becomes of each command and each approval (done, waiting, ready, refused, or raised where the sender hears
a refusal that ends nothing), and it counts humans, where the appliance counts people by the keys that it enrolled.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from coldcred.canonical import dumps
from coldcred.policy import DEFAULT
from tests.support import plant
from tests.support.plain_table import (
    DAY,
    ESSENTIAL,
    FORBIDS,
    POLICIES,
    RECOVER,
    STOPPING,
    TABLE,
    UNASKED,
    policy_text,
    roles_of,
)


@dataclass(frozen=True)
class Sent:
    """A command that somebody signed; `human` is None where a machine did, and `signer` is its name or a person's."""

    id: str
    token: str = field(repr=False)
    human: str | None
    kid: str
    signer: str
    act: str
    args: dict[str, Any]
    attachments: dict[str, bytes] = field(repr=False)
    issued: int
    expires: int

    @property
    def named(self) -> str | None:
        """The profile that it is about."""
        if self.act == "profile.set":
            return str(self.args["profile"]["name"])
        return str(self.args["profile"]) if self.act == "credential.issue" else None


@dataclass(frozen=True)
class Given:
    """An approval that a human signed; `policy` and `profile` are what stood then, `true` that it says so."""

    id: str
    token: str = field(repr=False)
    human: str
    kid: str
    command: str
    approves: bool
    policy: str
    profile: bytes | None = field(repr=False)
    true: bool
    issued: int
    expires: int


@dataclass
class Waiting:
    """A request that waits, with the approvals that were taken."""

    sent: Sent
    need: int
    given: list[Given] = field(default_factory=list)


@dataclass
class Machine:
    """An enrolled workload."""

    owner: str
    review_by: int
    key: str | None
    groups: tuple[str, ...]
    suspended: int | None = None


@dataclass
class Held:
    """A credential that was issued."""

    workload: str
    profile: str
    ends: int
    revoked: bool = False


@dataclass
class Review:
    """An access review that is open: who and what nobody confirmed."""

    name: str
    until: int
    workloads: set[str]
    people: set[str]


@dataclass
class Plain:
    """What stands; `now` is the time that decisions see, `newest` the log's, `behind`: the clock is not believed."""

    roles: dict[str, frozenset[str]]
    operators: dict[str, str]
    custodians: dict[str, str]
    raised: Mapping[str, int]
    recovery: int
    holder: dict[str, str]
    now: int
    window: tuple[int, int]
    profiles: dict[str, dict[str, Any]]
    carry: "Callable[[Plain, Sent, set[str]], bool]"
    behind: bool = False
    policy: tuple[str, ...] = ()
    text: str = DEFAULT
    ever: set[str] = field(default_factory=set)
    machines: dict[str, Machine] = field(default_factory=dict)
    sites: dict[str, list[str]] = field(default_factory=lambda: {"line-1": [plant.AUDIENCE]})
    trusted: set[str] = field(default_factory=lambda: {"line-1"})
    targets: int = 1
    review: Review | None = None
    reviews: set[str] = field(default_factory=set)
    suspended: int | None = None
    held: dict[str, Held] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    places: dict[str, set[str]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    newest: int = 0
    given: list[Given] = field(default_factory=list)

    def enrol_first(self, workload: str, owner: str, review_by: int) -> None:
        """Note the workload that was there before anything else."""
        self.machines[workload] = Machine(owner, review_by, None, ())

    def issued(self, jti: str, workload: str, profile: str, ends: int) -> None:
        """Note a credential."""
        self.held[jti] = Held(workload, profile, ends)

    # -- who is behind something

    def version(self, profile: str | None) -> bytes | None:
        """Give a profile as it stands, in bytes."""
        found = self.profiles.get(profile or "")
        return None if found is None else dumps([found])

    def person(self, kid: str) -> str | None:
        """Give whose key this is at present."""
        return self.operators.get(kid) or self.custodians.get(kid)

    def may_approve(self, kid: str, act: str) -> bool:
        """Whether a key counts for an act: a custodian's for recovery, else that of an officer or an approver."""
        if act == RECOVER:
            return kid in self.custodians
        return kid in self.operators and bool(self.roles[self.operators[kid]] & {"officer", "approver"})

    def need(self, act: str, named: str | None, *, machine: bool = False) -> int:
        """Give how many people an act takes now."""
        need = max(TABLE[act][1], self.raised.get(act, 0), self.recovery if act == RECOVER else 0)
        if act == "credential.issue" and named in self.profiles:
            need = max(need, self.profiles[named]["approvals"])
        return 0 if machine and need == 1 else need

    def need_of(self, sent: Sent) -> int:
        """Give how many a command takes now: never fewer than when it began to wait."""
        waiting = self.waiting.get(sent.id)
        return max(waiting.need if waiting else 0, self.need(sent.act, sent.named, machine=sent.human is None))

    def humans(self, sent: Sent) -> set[str]:
        """Give the humans who signed for a command in ways that count now, whatever the appliance took of it."""
        signed = {self.holder[sent.kid]} if sent.human is not None and self.person(sent.kid) else set()
        return signed | {self.holder[one.kid] for one in self.given if one.command == sent.id and self._good(one, sent)}

    def _good(self, one: Given, sent: Sent) -> bool:
        """Whether an approval counts now: its own time, its key, its person, and what stood when it was signed."""
        person = self.person(one.kid)
        if person is None or not one.approves or not one.true or not self.may_approve(one.kid, sent.act):
            return False
        same = one.policy == self.text and one.profile == self.version(sent.named)
        return same and self.now < one.expires and person != sent.signer and not self.is_held(person, sent.act)

    def is_held(self, person: str, act: str) -> bool:
        """Whether a review that passed keeps somebody from an act."""
        if self.review is None or act in STOPPING or act == "read.open":
            return False
        return self.now >= self.review.until and person in self.review.people

    # -- what becomes of what is sent

    def may_ask(self, kid: str, act: str, args: Mapping[str, Any]) -> bool:
        """Whether somebody may ask by table, profile and policy."""
        named = args.get("profile") if act in {"credential.issue", "profile.set"} else None
        machine = self.machine(kid)
        if machine is not None:
            profile = self.profiles.get(str(named))
            if act == "request.complete":
                return True
            if act != "credential.issue" or args.get("workload") != machine:
                return False
            return profile is None or "workload" in profile.get("asked_by", ())
        if kid in self.custodians:
            return act == RECOVER
        person = self.operators[kid]
        if act == RECOVER or not self.roles[person] & {*TABLE[act][0].split()}:
            return False
        if isinstance(named, dict):
            named = named["name"]
        if act == "credential.issue":
            if named not in self.profiles:
                return True
            if "issuer" not in self.profiles[str(named)].get("asked_by", ["issuer"]):
                return False
        return act in UNASKED or not self.forbidden(self.policy, person, act, named)

    def forbidden(self, policy: Iterable[str], person: str, act: str, profile: str | None) -> bool:
        """Whether a policy forbids somebody an act."""
        for who, what, about in (FORBIDS[name] for name in policy):
            if who in {None, person} and what in {None, act} and about in {None, profile}:
                return True
        return False

    def machine(self, kid: str) -> str | None:
        """Give the workload that signs with a key."""
        return next((name for name, one in self.machines.items() if one.key == kid), None)

    def command(self, sent: Sent, approvals: Iterable[Given] = ()) -> str:
        """Take a command, with approvals beside it."""
        machine = self.machine(sent.kid)
        if self.behind or (self.person(sent.kid) is None and machine is None):
            return "raised"
        if sent.id in self.ended:
            completed = sent.act == "request.complete" and self.ended[sent.id] == "done"
            return self.ended[sent.args["request"] if completed else sent.id]
        if any(self.person(one.kid) is None for one in approvals):
            return "raised"
        if sent.issued > self.now + 120:
            return "raised"
        if sent.id in self.waiting:
            return self._count(sent.id, approvals) if self.now < sent.expires else "raised"
        if not self._may_now(sent) or not self._reads(sent):
            return self._end(sent, "refused")
        if sent.act == "request.complete":
            return self._complete(sent)
        need = self.need(sent.act, sent.named, machine=machine is not None)
        if need > 1:
            self.waiting[sent.id] = Waiting(sent, need)
            self.newest = self.now
            return self._count(sent.id, approvals)
        for one in approvals:
            self._take(one)
        return self._go_on(sent, need)

    def approval(self, one: Given) -> str:
        """Take an approval by itself."""
        return "raised" if self.behind or self.person(one.kid) is None else self._count(one.command, [one])

    def _count(self, command: str, approvals: Iterable[Given]) -> str:
        """Take approvals; one that was not there before and is the last that is missing has it carried out at once."""
        fresh, took = False, True
        for one in approvals:
            before = one.id in self.counted
            taken = self._take(one)
            fresh, took = fresh or (taken and not before), took and taken
        waiting = self.waiting.get(command)
        if waiting is None:
            return self.ended.get(command, "raised")
        sent = waiting.sent
        enough = len(self._people(waiting)) >= self.need_of(sent)
        if enough and fresh and sent.act != "credential.issue":
            return self._decide(sent)
        return ("ready" if enough else "waiting") if took else "raised"

    def _complete(self, sent: Sent) -> str:
        """Have whoever made a request say that it is to be carried out; gives what becomes of the request."""
        waiting = self.waiting.get(sent.args["request"])
        good = waiting is not None and self.now < waiting.sent.expires and waiting.sent.signer == sent.signer
        if waiting is None or not good or len(self._people(waiting)) < self.need_of(waiting.sent):
            return self._end(sent, "refused")
        if self.person(waiting.sent.kid) is None and self.machine(waiting.sent.kid) is None:
            return self._end(sent, "refused")
        self._end(sent, "done")
        return self._decide(waiting.sent)

    def _decide(self, sent: Sent) -> str:
        """Carry out what waited, if whoever asked for it may still do so."""
        return self._go_on(sent, self.need_of(sent)) if self._may_now(sent) else self._end(sent, "refused")

    def _may_now(self, sent: Sent) -> bool:
        """Whether a command is in its time, and whoever signed it may ask for that now."""
        machine = self.machine(sent.kid)
        good = sent.issued <= self.now + 120 and self.now < sent.expires
        good = good and not self.is_held(machine or str(self.person(sent.kid)), sent.act)
        good = good and self.may_ask(sent.kid, sent.act, sent.args)
        return good and (machine is None or self.is_active(machine))

    def _take(self, one: Given) -> bool:
        """Take an approval; whether it counts, counted before, or comes after the end. What was refused stays so."""
        if one.id in self.counted:
            return True
        if self.refused.get(one.id, -1) >= self.newest:
            return False
        if one.command not in self.waiting and one.command in self.ended:
            return True
        self.newest = self.now
        if self._counts(one):
            self.counted.add(one.id)
            return True
        self.refused[one.id] = one.expires
        return False

    def _counts(self, one: Given) -> bool:
        waiting = self.waiting.get(one.command)
        if waiting is None or not one.issued - 120 <= self.now < one.expires:
            return False
        sent, person = waiting.sent, self.person(one.kid)
        if person is None or not self.may_approve(one.kid, sent.act) or person == sent.signer:
            return False
        if self.now >= sent.expires:
            return False
        if not one.approves:
            self._end(sent, "refused")
            return True
        if person in self._people(waiting) or not self._good(one, sent):
            return False
        waiting.given.append(one)
        return True

    def _people(self, waiting: Waiting) -> set[str]:
        sent = waiting.sent
        asked = {sent.signer} if sent.human is not None else set()
        return asked | {str(self.person(one.kid)) for one in waiting.given if self._good(one, sent)}

    def _go_on(self, sent: Sent, need: int) -> str:
        waiting = self.waiting.get(sent.id)
        if waiting is None and sent.id in self.ended:
            return self.ended[sent.id]
        people = self._people(waiting) if waiting else ({sent.signer} if sent.human else set())
        if len(people) < max(need, self.need_of(sent)):
            return "waiting"
        good = not any(self.is_held(person, sent.act) for person in people | {sent.signer})
        return self._end(sent, "done" if good and self.carry(self, sent, people) else "refused")

    def _end(self, sent: Sent, state: str) -> str:
        self.waiting.pop(sent.id, None)
        self.ended[sent.id] = state
        return state

    def _reads(self, sent: Sent) -> bool:
        """Whether it has its form: that is held to when it comes, before anybody is asked to approve it."""
        args, now = sent.args, self.now
        if sent.act == "profile.set":
            return bool(args["profile"]["approvals"] > 0)
        match sent.act:
            case "policy.set":
                return self.settable(args["policy"]) is not None
            case "workload.enrol":
                return bool(now < args["review_by"] <= now + 400 * DAY)
            case "review.start":
                return bool(now + DAY <= args["until"] <= now + 90 * DAY)
            case "operator.add" | "operator.roles":
                return roles_of(args["roles"]) is not None
        return True

    def settable(self, digest: str) -> tuple[str, ...] | None:
        """Give the policy of a digest if it may be set: it reads, is another one, and locks nobody out."""
        found = POLICIES.get(digest)
        if found is None or policy_text(found) == self.text:
            return None
        return None if self.locked(self.roles, found) else found

    def locked(self, roles: Mapping[str, frozenset[str]], policy: Iterable[str]) -> set[str]:
        """Give the essential acts that these people could not finish under a policy."""
        lost = set()
        for act in ESSENTIAL:
            able = [one for one, held in roles.items() if held & {*TABLE[act][0].split()}]
            able = [one for one in able if not self.forbidden(policy, one, act, None)]
            if not self._within_reach(roles, able, self.need(act, None)):
                lost.add(act)
        return lost

    def is_active(self, workload: str) -> bool:
        """Whether something may be issued to a workload."""
        one = self.machines[workload]
        missed = self.review is not None and self.now >= self.review.until and workload in self.review.workloads
        return not one.suspended and one.owner in self.roles and self.now < one.review_by and not missed

    # -- what stays within reach

    def unreachable(self, roles: Mapping[str, frozenset[str]], approvals: int | None = None) -> set[str]:
        """Give the acts that these people could never finish; `approvals` is what profiles ask for at most."""
        most = approvals or max(profile["approvals"] for profile in self.profiles.values())
        lost = set()
        for act, (may_ask, _) in TABLE.items():
            need = max(self.need(act, None), most if act == "credential.issue" else 0)
            able = [one for one, held in roles.items() if held & {*may_ask.split()}]
            if act != RECOVER and not self._within_reach(roles, able, need):
                lost.add(act)
        return lost

    @staticmethod
    def _within_reach(roles: Mapping[str, frozenset[str]], able: Iterable[str], need: int) -> bool:
        approvers = {one for one, held in roles.items() if held & {"officer", "approver"}}
        return any(1 + len(approvers - {one}) >= need for one in able)
