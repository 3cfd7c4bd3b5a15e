"""Access reviews in the log: started, confirmed and closed as people signed, and what was missed stops (`review`)."""

from collections.abc import Collection, Mapping

from coldcred import names
from coldcred.acts import Act, Role
from coldcred.canonical import Json
from coldcred.command import Command
from coldcred.errors import LogReason, LogRejected
from coldcred.log.approvals import TOLERANCE
from coldcred.log.review import (
    LONGEST,
    SHORTEST,
    UNHELD,
    Confirmed,
    Review,
    may_confirm_person,
    may_confirm_workload,
)
from coldcred.record import Record


class Reviews:
    """The review that is open, as far as the log has been read."""

    def __init__(self, *, alone: bool) -> None:
        """Begin with none; `alone` says that one person founded the appliance."""
        self._alone = alone
        self._open: Review | None = None
        self._names: set[str] = set()

    def started(
        self, event: Record, command: Command, time: int, workloads: Collection[str], people: Collection[str]
    ) -> None:
        """Take `review.started`: one at a time, under a new name, over all workloads and people of this moment."""
        asked = Record(command.args, Act.REVIEW_START)
        told = {"review": asked.value("name"), "until": asked.value("until"), "reason": None, **asked.members()}
        _check(event, told)
        name, until = names.label(str(told["review"]), "review"), Record(command.args, "review").time("until")
        if self._open is not None or name in self._names:
            raise _bad(f"starts review {name[:48]!a} while one is open, or under a name that one had before")
        if not SHORTEST - TOLERANCE <= until - time <= LONGEST + TOLERANCE:
            raise _bad("starts a review whose date is less than a day, or more than 90 days, ahead")
        self._names.add(name)
        self._open = Review(name, until, frozenset(workloads), frozenset(people))
        _check(event, {"result": _counts(self._open)})

    def confirmed(
        self,
        event: Record,
        command: Command,
        by: str,
        time: int,
        owners: Mapping[str, str],
        people: Mapping[str, frozenset[Role]],
    ) -> None:
        """Take `review.confirmed`: each workload by its owner or an officer, each person by whoever may.

        `time` is the entry's, `owners` has every workload's, `people` everyone who is enrolled.
        """
        confirmed = Confirmed.read(Record(command.args, Act.REVIEW_CONFIRM))
        _check(
            event,
            {
                "review": confirmed.review,
                "workloads": [*confirmed.workloads],
                "operators": [*confirmed.people],
            },
        )
        review = self._of(confirmed.review, owners, people)
        for workload in confirmed.workloads:
            if workload not in owners or not may_confirm_workload(by, owners[workload], people):
                raise _bad(f"{by} may not confirm {workload}, or nobody enrolled it")
        for person in confirmed.people:
            if person not in people or not may_confirm_person(by, person, people, review, time, alone=self._alone):
                raise _bad(f"{by} may not confirm {person}, or nobody enrolled them")
        _check(event, {"result": _counts(review.confirmed(confirmed))})
        self._open = self._open and self._open.confirmed(confirmed)

    def closed(
        self, event: Record, command: Command, time: int, workloads: Collection[str], people: Collection[str]
    ) -> frozenset[str]:
        """Take `review.closed` and give the workloads that it suspends; nobody is left whom nobody confirmed."""
        name = Record(command.args, Act.REVIEW_CLOSE).text("review")
        _check(event, {"review": name})
        review = self._of(name, workloads, people)
        if review.people or (review.workloads and time < review.until):
            raise _bad(f"closes review {name} before its date, or while somebody is not confirmed")
        _check(event, {"result": {"review": name, "suspended": len(review.workloads)}})
        self._open = None
        return review.workloads

    def check_people(self, people: Collection[str], act: Act, time: int) -> None:
        """Return when each of these may ask for the act, or approve it, as far as the open review says."""
        for person in people:
            if self.holds(person, act, time):
                raise _bad(f"{act} rests on {person}, whom nobody confirmed in the access review by its date")

    def holds(self, person: str, act: Act, time: int) -> bool:
        """Whether the open review keeps a person from asking for an act, or from approving it."""
        return self._open is not None and act not in UNHELD and self._open.lacks_person(person, time - TOLERANCE)

    def check_workload(self, workload: str, time: int) -> None:
        """Return when something may be issued to a workload, as far as the open review says."""
        if self._open is not None and self._open.lacks_workload(workload, time - TOLERANCE):
            raise _bad(f"nobody confirmed {workload} in review {self._open.name} by its date")

    def _of(self, name: str, workloads: Collection[str], people: Collection[str]) -> Review:
        if self._open is None or self._open.name != name:
            raise _bad(f"is about review {name[:48]!a}, which is not open")
        return self._open.left(workloads, people)


def _counts(review: Review) -> dict[str, Json]:
    return {"review": review.name, "workloads": len(review.workloads), "operators": len(review.people)}


def _check(event: Record, expected: Mapping[str, Json]) -> None:
    for name, value in expected.items():
        if event.value(name) != value:
            raise _bad(f"its {name} is not what the signed command asks for, or what entries before it say")


def _bad(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, detail)
