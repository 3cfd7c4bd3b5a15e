"""An access review: everything that stands is confirmed by its date, or stops until somebody confirms it.

The appliance and every reader of its log follow this one rule. The subjects of a review are all workloads and all
people of the moment when it started; who is removed, and what is enrolled later, is none. Nothing is written at the
date: whether it has passed follows from the review and the time.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from coldcred import names
from coldcred.acts import MAY_APPROVE, STOPPING, Act, Role
from coldcred.record import Record

SHORTEST = 24 * 3600
LONGEST = 90 * 24 * 3600
"""Seconds from its start within which the date of a review lies."""

MAX_CONFIRMED = 256
"""Most workloads, and most people, that one command confirms."""

UNHELD = STOPPING | frozenset(
    {
        Act.READ_OPEN,
        Act.REVIEW_CONFIRM,
        Act.OPERATOR_RECOVER,
    }
)
"""What a person whom nobody confirmed may still ask for: stopping, reading, and confirming others."""


@dataclass(frozen=True, slots=True)
class Review:
    """The review that is open: its date (Unix seconds), and the workloads and people that nobody confirmed yet."""

    name: str
    until: int
    workloads: frozenset[str]
    people: frozenset[str]

    def lacks_workload(self, workload: str, now: int) -> bool:
        """Whether a workload gets nothing since nobody confirmed it by the date."""
        return now >= self.until and workload in self.workloads

    def lacks_person(self, person: str, now: int) -> bool:
        """Whether a person asks for next to nothing, and approves nothing, since nobody confirmed them by the date."""
        return now >= self.until and person in self.people

    def left(self, workloads: Collection[str], people: Collection[str]) -> Self:
        """Give it with those of its subjects that are still among these."""
        return replace(self, workloads=self.workloads & {*workloads}, people=self.people & {*people})

    def confirmed(self, what: "Confirmed") -> Self:
        """Give it without what was confirmed."""
        return replace(self, workloads=self.workloads - {*what.workloads}, people=self.people - {*what.people})


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What one command confirms, in the order in which it names it."""

    review: str
    workloads: tuple[str, ...]
    people: tuple[str, ...]

    @classmethod
    def read(cls, args: Record) -> Self:
        """Take the arguments of `review.confirm`: `review`, and `workloads`, `operators` or both."""
        found = cls(
            names.label(args.text("review"), "review"),
            tuple(names.spiffe_id(text) for text in _named(args, "workloads")),
            tuple(names.label(text, "person id") for text in _named(args, "operators")),
        )
        args.done()
        return found


def _named(args: Record, member: str) -> tuple[str, ...]:
    return args.texts(member, least=1, most=MAX_CONFIRMED) if args.has(member) else ()


def may_confirm_workload(by: str, owner: str, people: Mapping[str, frozenset[Role]]) -> bool:
    """Whether a person may confirm a workload of this owner: it is their own, or they are an officer."""
    return by == owner or Role.OFFICER in people.get(by, ())


def may_confirm_person(by: str, person: str, people: Mapping[str, frozenset[Role]], *, alone: bool) -> bool:
    """Whether `by` may confirm this person: another person, an officer; in a home founded `alone` also oneself.

    The only officer is confirmed by an approver, since there is no other officer to do it.
    """
    if by == person:
        return alone
    roles = people.get(by, frozenset())
    return Role.OFFICER in roles or (bool(roles & MAY_APPROVE) and not _officers(people, but=person))


def _officers(people: Mapping[str, frozenset[Role]], but: str) -> Iterable[str]:
    return [person for person, roles in people.items() if Role.OFFICER in roles and person != but]
