"""Owners and access reviews in the log; each case breaks one rule of what people signed, or of what was missed."""

import pytest

from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.errors import LogReason, LogRejected
from coldcred.log.approvals import TOLERANCE
from coldcred.log.review import LONGEST, SHORTEST
from coldcred.log.workloads import Workloads
from tests.support import plant
from tests.support.logrules import Breaking, Broken, name, refusal, site_args, step, verified
from tests.support.logworld import LogWorld, issue_args

BROKEN = Broken()
OTHER = f"{plant.WORKLOAD}0"
WEEK = 7 * plant.DAY
EVERYBODY: list[Json] = ["bob", "carol", "dora"]


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log in which the workload was enrolled and may ask for itself, and a review began."""
    world = LogWorld.begin().start()
    world.enrol()
    world.let_workloads_ask(asked_by=["issuer", "workload"])
    world.start_review()
    return world


# -- owners


@BROKEN.by(LogReason.BAD_COMMAND, "A workload is enrolled under somebody who is not enrolled.")
def _owned_by_nobody(world: LogWorld) -> int:
    args: dict[str, Json] = {"id": OTHER, "owner": "erin", "review_by": world.time + 90 * plant.DAY}
    asking = world.agreed(world.command("alice", Act.WORKLOAD_ENROL, args))
    return world.asked("workload.enrolled", asking, {"workload": args}, {"workload": OTHER})


@BROKEN.by(LogReason.BAD_COMMAND, "The new owner did not sign.")
def _adopted_unasked(world: LogWorld) -> int:
    return world.adopt("dora")


@BROKEN.by(LogReason.BAD_COMMAND, "The new owner is not enrolled.")
def _adopted_by_nobody(world: LogWorld) -> int:
    return world.adopt("erin")


@BROKEN.by(LogReason.BAD_COMMAND, "Another owner is written than people agreed on.")
def _adopted_by_another(world: LogWorld) -> int:
    return world.adopt("bob", owner="alice")


@BROKEN.by(LogReason.BAD_COMMAND, "Another workload is adopted than people agreed on.")
def _another_adopted(world: LogWorld) -> int:
    return world.adopt(workload=OTHER)


@BROKEN.by(LogReason.BAD_COMMAND, "Another reason is written.")
def _adopted_for_another_reason(world: LogWorld) -> int:
    return world.adopt(reason="lost")


@BROKEN.by(LogReason.BAD_COMMAND, "Another result is written.")
def _adopted_with_another_result(world: LogWorld) -> int:
    return world.adopt(result={"owner": "alice", "workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "A workload is adopted that nobody enrolled.")
def _nothing_adopted(world: LogWorld) -> int:
    args: dict[str, Json] = {"workload": OTHER, "owner": "bob", "reason": "moved"}
    asking = world.agreed(world.command("alice", Act.WORKLOAD_ADOPT, args))
    return world.asked("workload.adopted", asking, args, {"owner": "bob", "workload": OTHER})


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "One person adopts.")
def _adopted_alone(world: LogWorld) -> int:
    args: dict[str, Json] = {"workload": plant.WORKLOAD, "owner": "alice", "reason": "moved"}
    asking = world.command("alice", Act.WORKLOAD_ADOPT, args)
    return world.asked("workload.adopted", asking, args, {"owner": "alice", "workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "Something is issued to a workload whose owner was removed.")
def _issued_to_an_orphan(world: LogWorld) -> int:
    world.adopt("dora", "dora")
    world.remove("dora", result={"person": "dora", "workloads": 1})
    return world.issue()


# -- starting


@BROKEN.by(LogReason.BAD_COMMAND, "A second review starts while one is open.")
def _two_at_once(world: LogWorld) -> int:
    return world.start_review("summer")


@BROKEN.by(LogReason.BAD_COMMAND, "A review has the name of one before.")
def _same_name(world: LogWorld) -> int:
    _confirm_all(world)
    world.close_review()
    return world.start_review()


def _confirm_all(world: LogWorld) -> None:
    world.confirm("alice", operators=EVERYBODY)
    world.confirm("bob", operators=["alice"], workloads=[plant.WORKLOAD])


def _again(world: LogWorld, span: int, **changes: Json) -> int:
    _confirm_all(world)
    world.close_review()
    return world.start_review("summer", span, **changes)


@BROKEN.by(LogReason.BAD_COMMAND, "Its date lies less than a day ahead.")
def _too_soon(world: LogWorld) -> int:
    return _again(world, SHORTEST - TOLERANCE)


@BROKEN.by(LogReason.BAD_COMMAND, "Its date lies more than 90 days ahead.")
def _too_late(world: LogWorld) -> int:
    return _again(world, LONGEST + 2 * TOLERANCE)


@BROKEN.by(LogReason.BAD_COMMAND, "Another date is written than people agreed on.")
def _another_date(world: LogWorld) -> int:
    return _again(world, WEEK, until=world.time + 2 * WEEK)


@BROKEN.by(LogReason.BAD_COMMAND, "Another reason for a review is written.")
def _review_for_another_reason(world: LogWorld) -> int:
    return _again(world, WEEK, reason=None)


@BROKEN.by(LogReason.BAD_COMMAND, "Fewer subjects are counted than there are.")
def _fewer_subjects(world: LogWorld) -> int:
    return _again(world, WEEK, result={"review": "summer", "workloads": 0, "operators": 4})


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "One person starts a review.")
def _started_alone(world: LogWorld) -> int:
    _confirm_all(world)
    world.close_review()
    args: dict[str, Json] = {"name": "summer", "until": world.time + WEEK}
    members: dict[str, Json] = {"review": "summer", "until": args["until"], "reason": None}
    return world.asked("review.started", world.command("alice", Act.REVIEW_START, args), members, {})


# -- confirming


@BROKEN.by(LogReason.BAD_COMMAND, "A person confirms themself.")
def _confirms_themself(world: LogWorld) -> int:
    return world.confirm("alice", operators=["alice"])


@BROKEN.by(LogReason.BAD_COMMAND, "An approver confirms a person though there are officers.")
def _approver_confirms(world: LogWorld) -> int:
    return world.confirm("dora", operators=["bob"])


@BROKEN.by(LogReason.BAD_COMMAND, "An approver confirms a workload of another owner.")
def _another_owner_confirms(world: LogWorld) -> int:
    return world.confirm("dora", workloads=[plant.WORKLOAD])


@BROKEN.by(LogReason.BAD_COMMAND, "An auditor confirms.")
def _auditor_confirms(world: LogWorld) -> int:
    return world.confirm("carol", operators=["bob"])


@BROKEN.by(LogReason.BAD_COMMAND, "A workload is confirmed that nobody enrolled.")
def _confirms_nothing(world: LogWorld) -> int:
    return world.confirm("alice", workloads=[OTHER])


@BROKEN.by(LogReason.BAD_COMMAND, "A person is confirmed who is not enrolled.")
def _confirms_nobody(world: LogWorld) -> int:
    return world.confirm("alice", operators=["erin"])


@BROKEN.by(LogReason.BAD_COMMAND, "More is confirmed than was signed for.")
def _confirms_more(world: LogWorld) -> int:
    return world.confirm("alice", operators=["bob"], changes={"operators": ["bob", "carol"]})


@BROKEN.by(LogReason.BAD_COMMAND, "A workload is confirmed that was not signed for.")
def _confirms_a_workload_more(world: LogWorld) -> int:
    return world.confirm("alice", operators=["bob"], changes={"workloads": [plant.WORKLOAD]})


@BROKEN.by(LogReason.BAD_COMMAND, "Less is left than nobody confirmed.")
def _less_left(world: LogWorld) -> int:
    result: Json = {"review": "spring", "workloads": 1, "operators": 0}
    return world.confirm("alice", operators=["bob"], changes={"result": result})


@BROKEN.by(LogReason.BAD_COMMAND, "A review is confirmed that is not open.")
def _another_review(world: LogWorld) -> int:
    return world.confirm("alice", "autumn", operators=["bob"])


@BROKEN.by(LogReason.BAD_COMMAND, "A review is confirmed that was closed.")
def _closed_review(world: LogWorld) -> int:
    _confirm_all(world)
    world.close_review()
    return world.confirm("alice", operators=["bob"])


# -- what was missed


def _passed(world: LogWorld) -> None:
    world.time += WEEK + TOLERANCE


@BROKEN.by(LogReason.BAD_COMMAND, "Something is issued to a workload that nobody confirmed.")
def _issued_unconfirmed(world: LogWorld) -> int:
    world.confirm("bob", operators=["alice"])
    _passed(world)
    return world.issue()


@BROKEN.by(LogReason.BAD_COMMAND, "A workload that nobody confirmed asks.")
def _unconfirmed_asks(world: LogWorld) -> int:
    _passed(world)
    return world.issue(world.request())


@BROKEN.by(LogReason.BAD_COMMAND, "A person whom nobody confirmed asks.")
def _person_asks(world: LogWorld) -> int:
    world.confirm("bob", workloads=[plant.WORKLOAD])
    _passed(world)
    return world.issue()


@BROKEN.by(LogReason.BAD_COMMAND, "A request of a person whom nobody confirmed waits.")
def _person_waits(world: LogWorld) -> int:
    _passed(world)
    asked, _ = site_args()
    return step(world, lambda: world.wait(world.command("alice", Act.SITE_ADD, asked)))


@BROKEN.by(LogReason.BAD_COMMAND, "A person whom nobody confirmed approves.")
def _person_approves(world: LogWorld) -> int:
    world.confirm("bob", operators=["alice"])
    _passed(world)
    asked, _ = site_args()
    asking = world.wait(world.command("alice", Act.SITE_ADD, asked))
    return step(world, lambda: world.approve("bob", asking))


@BROKEN.by(LogReason.BAD_COMMAND, "An approval from before the date is counted after it.")
def _approval_outlives(world: LogWorld) -> int:
    world.confirm("bob", operators=["alice"])
    asked, members = site_args()
    asking = world.command("alice", Act.SITE_ADD, asked, exp=world.time + 14 * plant.DAY)
    world.wait(asking, expires=world.time + 14 * plant.DAY)
    world.count("bob", asking, world.approval("bob", asking, exp=world.time + 14 * plant.DAY))
    _passed(world)
    return world.asked("site.added", asking, members, {"site": "line-9"})


# -- closing


@BROKEN.by(LogReason.BAD_COMMAND, "A review is closed before its date with a workload unconfirmed.")
def _closed_early(world: LogWorld) -> int:
    world.confirm("alice", operators=EVERYBODY)
    world.confirm("bob", operators=["alice"])
    return world.close_review()


@BROKEN.by(LogReason.BAD_COMMAND, "A review is closed while a person is unconfirmed.")
def _closed_over_a_person(world: LogWorld) -> int:
    world.confirm("alice", operators=["bob", "carol"])
    world.confirm("bob", operators=["alice"])
    _passed(world)
    return world.close_review()


@BROKEN.by(LogReason.BAD_COMMAND, "Fewer workloads are suspended than nobody confirmed.")
def _fewer_suspended(world: LogWorld) -> int:
    world.confirm("alice", operators=EVERYBODY)
    world.confirm("bob", operators=["alice"])
    _passed(world)
    return world.close_review(result={"review": "spring", "suspended": 0})


@BROKEN.by(LogReason.BAD_COMMAND, "Something is issued to a workload that closing suspended.")
def _issued_after_the_close(world: LogWorld) -> int:
    world.confirm("alice", operators=EVERYBODY)
    world.confirm("bob", operators=["alice"])
    _passed(world)
    world.close_review()
    return world.issue()


@BROKEN.by(LogReason.BAD_COMMAND, "A review is closed that is not open.")
def _closed_twice(world: LogWorld) -> int:
    _confirm_all(world)
    world.close_review()
    return world.close_review()


@BROKEN.by(LogReason.BAD_COMMAND, "Another review is closed than was agreed on.")
def _another_closed(world: LogWorld) -> int:
    _confirm_all(world)
    return world.close_review(review="summer")


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "One person closes a review.")
def _closed_alone(world: LogWorld) -> int:
    _confirm_all(world)
    asking = world.command("alice", Act.REVIEW_CLOSE, {"review": "spring"})
    return world.asked("review.closed", asking, {"review": "spring"}, {"review": "spring", "suspended": 0})


@pytest.mark.parametrize(("broken", "reason"), BROKEN.rows, ids=name)
def test_a_broken_rule_is_refused_at_its_entry(broken: Breaking, reason: LogReason, begun: LogWorld) -> None:
    """A log that breaks one rule, named by the case, is refused for the right reason and at the right entry."""
    world = begun.copy()
    seq = broken(world)
    assert refusal(world) == (reason, seq)


def test_what_is_left_to_the_unconfirmed_is_believed(begun: LogWorld) -> None:
    """Stopping, reading, denying and confirming; then late confirmation, a close, a resumption and an adoption."""
    world = begun.copy()
    issued = world.issue()
    world.settle()
    asked, _ = site_args()
    asking = world.command("alice", Act.SITE_ADD, asked, exp=world.time + 14 * plant.DAY)
    world.wait(asking, expires=world.time + 14 * plant.DAY)
    world.ends[issued] += WEEK
    _passed(world)
    world.suspend()
    world.suspend_key("tokens-1")
    world.asked("reading.opened", world.command("carol", Act.READ_OPEN, {}), {}, {})
    refused: dict[str, Json] = {
        "reason": "review-missed",
        "rule": "the access review",
        "detail": "nobody confirmed her",
    }
    world.asked("command.refused", world.command("alice", Act.CREDENTIAL_ISSUE, issue_args()), refused)
    world.confirm("alice", operators=EVERYBODY)
    world.confirm("bob", operators=["alice"])
    world.close_review()
    world.resume()
    world.activate_key("tokens-1")
    world.adopt()
    world.issue()
    assert verified(world).counts["review.closed"] == 1


@pytest.mark.parametrize("late", [1, TOLERANCE - 9])
@pytest.mark.parametrize("counted", [False, True])
def test_an_auditor_allows_for_clocks_at_the_date(begun: LogWorld, late: int, *, counted: bool) -> None:
    """Two minutes after the date an approval from before it may, or may not, be among those that count."""
    world = begun.copy()
    world.confirm("bob", operators=["alice"])
    world.set_profile(approvals=3)
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args(), exp=world.time + 14 * plant.DAY)
    world.wait(asking, 3, expires=world.time + 14 * plant.DAY)
    world.count("bob", asking, world.approval("bob", asking, exp=world.time + 14 * plant.DAY), need=3)
    world.confirm("alice", operators=["dora"])
    world.time = begun.time + WEEK + late
    people: Json = ["alice", "bob", "dora"] if counted else ["alice", "dora"]
    world.count("dora", asking, world.approval("dora", asking), need=3, people=people)
    assert refusal(world) is None


def test_an_orphan_is_issued_nothing() -> None:
    """Whoever reads the log asks who is enrolled at that entry."""
    workloads = Workloads()
    workloads.enrolled(plant.WORKLOAD, 1, None, "dora", 0)
    workloads.check_issuing(plant.WORKLOAD, {"alice", "dora"})
    with pytest.raises(LogRejected, match=r"dora .* is enrolled no more"):
        workloads.check_issuing(plant.WORKLOAD, {"alice"})
    workloads.adopted(plant.WORKLOAD, "alice")
    workloads.check_issuing(plant.WORKLOAD, {"alice"})
    with pytest.raises(LogRejected, match="is not enrolled"):
        workloads.check_issuing(OTHER, {"alice"})
