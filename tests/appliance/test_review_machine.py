"""Access reviews against the plainest model of them, whatever people do in whatever order; the auditor agrees."""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance import policy
from appliance.authority import Authority, Workload
from appliance.decision import Ask, Event, Ruled
from appliance.errors import Refusal, Refused
from appliance.nouns import reviews
from appliance.nouns.workloads import Condition, condition
from coldcred import founding
from coldcred.acts import Act
from coldcred.canonical import Json, dumps
from coldcred.command import Command
from coldcred.errors import LogRejected, Malformed
from coldcred.log.approvals import TOLERANCE
from coldcred.log.review import UNHELD
from coldcred.log.reviews import Reviews
from coldcred.record import Record
from tests.support import plant

ROLES = {
    "alice": ["officer", "issuer"],
    "bob": ["officer", "approver"],
    "carol": ["auditor"],
    "dora": ["issuer", "approver"],
}
OFFICERS = {"alice", "bob"}
PEOPLE = st.sampled_from(sorted(ROLES))
WORKLOADS = [f"{plant.WORKLOAD}{number}" for number in range(4)]
OWNERS = dict(zip(WORKLOADS, ("alice", "bob", "dora", "dora"), strict=True))
NAMES = st.sampled_from(["spring", "summer", "autumn"])


class ReviewMachine(RuleBasedStateMachine):
    """One appliance; the model is who and what nobody confirmed, and until when they may."""

    def __init__(self) -> None:
        """Found it with two workloads."""
        super().__init__()
        self.authority = Authority.founded(founding.parse(dumps(plant.members(ROLES))))
        self.now = plant.TIME
        self.auditor = Reviews(alone=False)
        self.until: int | None = None
        self.name = ""
        self.used: set[str] = set()
        self.people: set[str] = set()
        self.workloads: set[str] = set()
        for workload in WORKLOADS[:2]:
            self._add(workload)

    def _add(self, workload: str) -> None:
        found = Workload(workload, OWNERS[workload], plant.TIME + 400 * plant.DAY, None)
        self.authority = self.authority.with_workload(found)

    @property
    def enrolled(self) -> set[str]:
        """Who is enrolled."""
        return set(self.authority.people)

    @rule(seconds=st.sampled_from([1, plant.DAY - 1, plant.DAY, 10 * plant.DAY]))
    def time_passes(self, seconds: int) -> None:
        """Go on."""
        self.now += seconds

    @rule(workload=st.sampled_from(WORKLOADS))
    def enrol(self, workload: str) -> None:
        """Enrol one that is not there yet: it is no subject."""
        if workload not in self.authority.workloads:
            self._add(workload)

    @rule(person=st.sampled_from(["carol", "dora"]))
    def leave(self, person: str) -> None:
        """Somebody leaves for good and is no subject any more."""
        left = {kid: one for kid, one in self.authority.operators.items() if one.person != person}
        self.authority = replace(self.authority, operators=left)
        self.people.discard(person)

    @rule(name=NAMES, span=st.sampled_from([plant.DAY - 999, plant.DAY, 90 * plant.DAY, 90 * plant.DAY + 999]))
    def start(self, name: str, span: int) -> None:
        """One at a time, under a new name, with a date that is not too near and not too far."""
        good = self.until is None and name not in self.used and plant.DAY <= span <= 90 * plant.DAY
        event = self._decide(Act.REVIEW_START, "alice", {"name": name, "until": self.now + span}, good)
        if event is None:
            return
        self.used.add(name)
        self.name, self.until = name, self.now + span
        self.people, self.workloads = self.enrolled, set(self.authority.workloads)
        assert event["result"] == {"review": name, "workloads": len(self.workloads), "operators": len(self.people)}

    @rule(
        by=PEOPLE,
        name=NAMES,
        people=st.lists(PEOPLE, max_size=3, unique=True),
        workloads=st.lists(st.sampled_from(WORKLOADS), max_size=3, unique=True),
    )
    def confirm(self, by: str, name: str, people: list[str], workloads: list[str]) -> None:
        """All or nothing: workloads by their owner or an officer, people by an officer who is another person."""
        if by not in self.enrolled or by == "carol":
            return  # `policy.permit` lets nobody else ask
        good = self.until is not None and name == self.name and bool(people or workloads)
        missed = self.until is not None and self.now >= self.until
        in_place = missed and by == "dora" and by not in self.people  # an approver, for officers nobody confirmed
        good = good and all(
            one in self.enrolled
            and one != by
            and (by in OFFICERS or (in_place and one in OFFICERS and one in self.people))
            for one in people
        )
        good = good and all(
            one in self.authority.workloads and (by in OFFICERS or by == OWNERS[one]) for one in workloads
        )
        args: dict[str, Json] = {"review": name}
        args |= {"operators": [*people]} if people else {}
        args |= {"workloads": [*workloads]} if workloads else {}
        if self._decide(Act.REVIEW_CONFIRM, by, args, good) is not None:
            self.people -= {*people}
            self.workloads -= {*workloads}

    @rule()
    def everybody_confirms(self) -> None:
        """Have the officers confirm each other and everybody else."""
        self.confirm("alice", self.name or "spring", sorted(self.enrolled - {"alice"}), [])
        self.confirm("bob", self.name or "spring", ["alice"], [])

    @rule()
    def close_it(self) -> None:
        """Close the one that is open, if one is."""
        self.close(self.name or "spring")

    @rule(name=NAMES)
    def close(self, name: str) -> None:
        """Once everybody is confirmed and, where a workload is not, the date has passed."""
        good = self.until is not None and name == self.name and not self.people
        good = good and (not self.workloads or (self.until is not None and self.now >= self.until))
        event = self._decide(Act.REVIEW_CLOSE, "bob", {"review": name}, good)
        if event is None:
            return
        assert event["result"] == {"review": name, "suspended": len(self.workloads)}
        for workload in self.authority.workloads.values():
            assert workload.suspended or workload.id not in self.workloads
        self.until, self.people, self.workloads = None, set(), set()
        unsuspended = {name: replace(one, suspended_at=None) for name, one in self.authority.workloads.items()}
        self.authority = replace(self.authority, workloads=unsuspended)

    def _decide(self, act: Act, by: str, args: dict[str, Json], good: bool) -> Event | None:  # noqa: FBT001 - expected
        """Decide, fold and audit; what is refused changes nothing, and an engine that did it anyway is found out."""
        command = Command("0" * 64, "k", "0" * 64, 1, act, self.now, self.now + 1, "j" * 22, args, "t")
        before = self.authority
        decide, evolve, forged = {
            Act.REVIEW_START: (
                reviews.decide_start,
                reviews.evolve_started,
                {"until": args.get("until"), "reason": None},
            ),
            Act.REVIEW_CONFIRM: (
                reviews.decide_confirm,
                reviews.evolve_confirmed,
                {"workloads": args.get("workloads", []), "operators": args.get("operators", [])},
            ),
            Act.REVIEW_CLOSE: (
                reviews.decide_close,
                lambda authority, _: reviews.evolve_closed(authority, self.now),
                {},
            ),
        }[act]
        event: Event | None = None
        try:
            (event,) = decide(before, Ask(command, by, frozenset({by}), (), {}, Ruled("0" * 64, None)), self.now).events
        except (Refused, Malformed):
            assert not good
            name = args.get("name", args.get("review"))
            self._audit({"review": name, **forged, "result": {}}, command, by, refused=True)
            return None
        assert good
        self._audit(event, command, by, refused=False)
        self.authority = evolve(before, event)
        return event

    def _audit(self, event: Event, command: Command, by: str, *, refused: bool) -> None:
        owners = {name: one.owner for name, one in self.authority.workloads.items()}
        people, record = self.authority.people, Record(event, "event")
        try:
            match command.act:
                case Act.REVIEW_START:
                    self.auditor.started(record, command, self.now, owners, people)
                case Act.REVIEW_CONFIRM:
                    self.auditor.confirmed(record, command, by, self.now, owners, people)
                case _:
                    self.auditor.closed(record, command, self.now, owners, people)
        except (LogRejected, Malformed):
            assert refused
        else:
            assert not refused

    @invariant()
    def what_nobody_confirmed_stops_at_the_date(self) -> None:
        """Exactly that, to the second, in the engine; and in the log two minutes later."""
        passed = self.until is not None and self.now >= self.until
        for workload in self.authority.workloads.values():
            if self.authority.is_enrolled(workload.owner):
                stopped = condition(self.authority, workload, self.now) is Condition.UNCONFIRMED
                assert stopped == (passed and workload.id in self.workloads)
        for person in self.enrolled:
            for act in Act:
                stopped = passed and person in self.people and act not in UNHELD
                assert self._is_held(person, act) == stopped
                assert self._is_audited(person, act) == stopped

    def _is_held(self, person: str, act: Act) -> bool:
        try:
            policy.check_confirmed(self.authority, {person}, act, self.now)
        except Refused as refused:
            return refused.reason is Refusal.REVIEW_MISSED
        return False

    def _is_audited(self, person: str, act: Act) -> bool:
        try:
            self.auditor.check_people({person}, act, self.now + TOLERANCE)
        except LogRejected:
            return True
        return False

    @invariant()
    def somebody_can_always_go_on(self) -> None:
        """Whoever is stopped, there is another who may ask to confirm them: nobody is locked out."""
        review = reviews.standing(self.authority)
        for person in review.people if review else ():
            others = [by for by in OFFICERS if by != person]
            assert others
            assert all(not self._is_held(by, Act.REVIEW_CONFIRM) for by in others)


TestReviews: Any = ReviewMachine.TestCase
TestReviews.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
