"""Toxic combinations in the log: whatever an engine writes, nothing is issued beside what its profile excludes."""

from collections.abc import Iterator

import pytest

from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.errors import LogReason
from coldcred.log.combinations import Conflict, Holdings, Pair
from coldcred.log.live import Issued, Live
from coldcred.log.workloads import Workloads
from coldcred.profile import Profile
from coldcred.record import Record
from tests.support import plant
from tests.support.logrules import Breaking, Broken, name, refusal
from tests.support.logworld import LogWorld, issue_args

BROKEN = Broken()
OTHER = f"{plant.WORKLOAD}0"
READER, PAYER = "orders-reader", "orders-payer"


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log with two workloads of Alice's, and a profile that excludes the example's."""
    world = LogWorld.begin().start()
    world.enrol()
    args: dict[str, Json] = {"id": OTHER, "owner": "alice", "review_by": world.time + 90 * plant.DAY}
    asking = world.agreed(world.command("alice", Act.WORKLOAD_ENROL, args))
    world.asked("workload.enrolled", asking, {"workload": args}, {"workload": OTHER})
    profile: Json = {**plant.profile(), "name": PAYER, "excludes": ["orders-reader"]}
    asking = world.agreed(world.command("bob", Act.PROFILE_SET, {"profile": profile}), "dora", "alice")
    world.asked("profile.set", asking, {"profile": profile}, {"profile": PAYER})
    return world


def _issue(world: LogWorld, workload: str, profile: str) -> int:
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args(workload=workload, profile=profile))
    return world.issue(asking, workload=workload)


@BROKEN.by(LogReason.BAD_COMMAND, "A workload gets what its other credential's profile is excluded by.")
def _both(world: LogWorld) -> int:
    _issue(world, plant.WORKLOAD, "orders-reader")
    return _issue(world, plant.WORKLOAD, PAYER)


@BROKEN.by(LogReason.BAD_COMMAND, "It works the other way round too.")
def _both_the_other_way(world: LogWorld) -> int:
    _issue(world, plant.WORKLOAD, PAYER)
    return _issue(world, plant.WORKLOAD, "orders-reader")


@BROKEN.by(LogReason.BAD_COMMAND, "Another workload of the same owner holds it.")
def _same_owner(world: LogWorld) -> int:
    _issue(world, OTHER, "orders-reader")
    return _issue(world, plant.WORKLOAD, PAYER)


@BROKEN.by(LogReason.BAD_COMMAND, "The owner has it since the other workload was adopted.")
def _adopted_owner(world: LogWorld) -> int:
    world.adopt()
    _issue(world, plant.WORKLOAD, "orders-reader")
    args: dict[str, Json] = {"workload": OTHER, "owner": "bob", "reason": "moved"}
    asking = world.agreed(world.command("alice", Act.WORKLOAD_ADOPT, args))
    world.asked("workload.adopted", asking, args, {"owner": "bob", "workload": OTHER})
    return _issue(world, OTHER, PAYER)


@BROKEN.by(LogReason.BAD_COMMAND, "It ends a second after.")
def _not_ended(world: LogWorld) -> int:
    _issue(world, plant.WORKLOAD, "orders-reader")
    world.settle()
    world.time += 897
    return _issue(world, plant.WORKLOAD, PAYER)


def _bundle(world: LogWorld, number: int, *, failed: bool = False) -> None:
    """Make a bundle of this release, or one whose last signature the HSM did not give."""
    making = world.begin_bundle(number)
    world.settle().checkpoint()
    world.sign_role(making, "site", checkpoint=world.head.size - 1)
    world.settle().sign_role(making, "snapshot")
    world.settle()
    seq = world.head.size
    world.create_bundle(making)
    world.settle(failed=[seq] if failed else [])


def _revoked(world: LogWorld) -> None:
    issued = _issue(world, plant.WORKLOAD, READER)
    world.settle().revoke(issued)
    world.settle()


@BROKEN.by(LogReason.BAD_COMMAND, "It was revoked, and no bundle has been made since.")
def _revoked_and_not_told(world: LogWorld) -> int:
    _bundle(world, 1)
    _revoked(world)
    return _issue(world, plant.WORKLOAD, PAYER)


@BROKEN.by(LogReason.BAD_COMMAND, "The bundle that would say so was begun before it was revoked.")
def _revoked_while_a_bundle_was_made(world: LogWorld) -> int:
    _bundle(world, 1)
    making = world.begin_bundle(2)
    _revoked(world)
    world.sign_role(making, "site")
    world.settle().sign_role(making, "snapshot")
    world.settle().create_bundle(making)
    world.settle()
    return _issue(world, OTHER, PAYER)


@BROKEN.by(LogReason.BAD_COMMAND, "The bundle that would say so was not signed.")
def _revoked_and_no_bundle_signed(world: LogWorld) -> int:
    _bundle(world, 1)
    _revoked(world)
    _bundle(world, 2, failed=True)
    return _issue(world, plant.WORKLOAD, PAYER)


def test_what_sites_can_know_as_revoked_is_not_held(begun: LogWorld) -> None:
    """Once a bundle was signed that was begun after the revocation; or it ends without one."""
    world = begun.copy()
    _bundle(world, 1)
    _revoked(world)
    _bundle(world, 2)
    _issue(world, plant.WORKLOAD, PAYER)
    world.settle()
    world.time += 900
    _revoked(world)
    world.time += 900
    _issue(world, plant.WORKLOAD, PAYER)
    assert refusal(world) is None


@pytest.mark.parametrize(("broken", "reason"), BROKEN.rows, ids=name)
def test_a_broken_rule_is_refused_at_its_entry(broken: Breaking, reason: LogReason, begun: LogWorld) -> None:
    """A log that breaks one rule, named by the case, is refused for the right reason and at the right entry."""
    world = begun.copy()
    seq = broken(world)
    assert refusal(world) == (reason, seq)


class Unlisted(Live):
    """Credentials whose holders nobody may list: there may be many, and it is asked with each credential."""

    def holders(self, profile: str, as_of: int) -> Iterator[str]:
        """Fail."""
        raise AssertionError(profile, as_of)


@pytest.mark.parametrize("crowd", [0, 9])
def test_one_question_asks_about_one_owners_workloads_alone(crowd: int) -> None:
    """However many others hold the other profile, or the owner's own are; itself is named before the rest."""
    live, owned = Unlisted(), frozenset({"a", "b", *(f"mine-{number}" for number in range(crowd))})
    for number, workload in enumerate(("b", "c", "d", "e")):
        live.add(f"jti-{number}", Issued(number, "list", number, 2000, workload, "orders-reader", "kid", "line-1"))
    reader, payer = Record(plant.profile(), "p"), Record({**plant.profile(), "name": PAYER, "excludes": [READER]}, "p")
    profiles = {each.name: each for each in (Profile.read(read, plant.DOMAIN) for read in (reader, payer))}
    held = Holdings(profiles, live, lambda workload: owned if workload in owned else frozenset(), 1000)
    pair = Pair(PAYER, "orders-reader")
    assert held.conflict("a", PAYER) == held.conflict("b", PAYER) == Conflict(pair, "b", "orders-reader")
    assert held.conflict("c", PAYER) == Conflict(pair, "c", "orders-reader")
    assert held.conflict("nobody", PAYER) is None
    held.add("nobody", PAYER)
    assert held.conflict("nobody", "orders-reader") == Conflict(pair, "nobody", PAYER)


def test_workloads_go_with_their_owners() -> None:
    """When they are enrolled, enrolled again for somebody else, and adopted."""
    workloads = Workloads()
    for workload, owner in (("a", "alice"), ("b", "alice"), ("c", "bob"), ("a", "bob"), ("a", "bob")):
        workloads.enrolled(workload, 2000, None, owner, 0)
    assert (workloads.kin("a"), workloads.kin("b"), workloads.kin("d")) == ({"a", "c"}, {"b"}, set())
    workloads.adopted("c", "alice")
    assert (workloads.kin("a"), workloads.kin("b"), workloads.owned_by("alice")) == ({"a"}, {"b", "c"}, 2)


def test_what_is_not_held_together_is_believed(begun: LogWorld) -> None:
    """After a revocation, after a failed signature, after its end, and to another owner's workload."""
    world = begun.copy()
    issued = _issue(world, plant.WORKLOAD, "orders-reader")
    world.settle()
    world.revoke(issued)
    _issue(world, plant.WORKLOAD, PAYER)
    world.settle()
    world.time += 900
    failed = _issue(world, OTHER, "orders-reader")
    world.settle(failed=[failed])
    _issue(world, OTHER, PAYER)
    world.settle()
    world.adopt()
    _issue(world, plant.WORKLOAD, "orders-reader")
    assert refusal(world) is None
