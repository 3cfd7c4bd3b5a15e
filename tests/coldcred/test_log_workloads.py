"""Workloads in the log: proved keys, suspensions, and what machines asked for themselves; each case breaks one rule."""

from collections.abc import Callable

import pytest

from coldcred.acts import Act
from coldcred.canonical import Json, loads
from coldcred.errors import LogReason
from coldcred.jose import Typ, parse_unverified
from coldcred.log.approvals import TOLERANCE
from coldcred.record import Record
from tests.support import plant
from tests.support.logrules import Breaking, Broken, name, refusal, step
from tests.support.logworld import Asking, LogWorld, issue_args
from tests.support.signers import Signer

BROKEN = Broken()
OTHER = f"{plant.WORKLOAD}0"


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log in which the workload was enrolled with proof and may ask for itself."""
    world = LogWorld.begin().start()
    world.enrol()
    world.let_workloads_ask()
    return world


# -- enrolments


def _proving(world: LogWorld, proof: str, signer: Signer | None = None, /, **changes: Json) -> int:
    """Enrol with a document; the entry says what the people signed for, and the key of `signer`."""
    asking, workload = world.enrolling(proof)
    key, seal = (signer or plant.robot("next")).public.jwk(), plant.sealing().jwk()
    members: dict[str, Json] = {**workload, "key": {**key}, "seal": {**seal}, **changes}
    return world.asked("workload.enrolled", asking, {"workload": members}, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "The document is for another appliance.")
def _another_appliance(world: LogWorld) -> int:
    return _proving(world, world.proof(plant.robot("next"), appliance="0" * 64))


@BROKEN.by(LogReason.BAD_COMMAND, "The document is for another workload.")
def _another_workload(world: LogWorld) -> int:
    return _proving(world, world.proof(plant.robot("next"), workload=OTHER))


@BROKEN.by(LogReason.BAD_COMMAND, "The document is signed by another key than it carries.")
def _not_possessed(world: LogWorld) -> int:
    world.rendering = 1  # of a later form it would be found where the request begins to wait
    return _proving(world, world.proof(plant.robot("next"), key=Signer.named("mallory").public))


@BROKEN.by(LogReason.BAD_COMMAND, "The document had ended more than two minutes before.")
def _ended(world: LogWorld) -> int:
    life = {"issued_at": world.time - 3600, "expires_at": world.time - TOLERANCE}
    return _proving(world, world.proof(plant.robot("next"), **life))


@BROKEN.by(LogReason.BAD_COMMAND, "What people signed for is no enrolment document.")
def _no_document(world: LogWorld) -> int:
    world.rendering = 1  # of a later form it would be found where the request begins to wait
    return _proving(world, "no document")


@BROKEN.by(LogReason.MISSING_BLOB, "The document is in the export.")
def _document_missing(world: LogWorld) -> int:
    waits = world.head.size
    asking, workload = world.enrolling(world.proof(plant.robot("next")))
    del world.blobs[str(workload["enrolment"])]
    world.asked("workload.enrolled", asking, {"workload": workload}, {"workload": plant.WORKLOAD})
    return waits


@BROKEN.by(LogReason.BAD_COMMAND, "The sealing key is another than the document's.")
def _another_seal(world: LogWorld) -> int:
    return _proving(world, world.proof(plant.robot("next")), seal={**plant.sealing("other").jwk()})


@BROKEN.by(LogReason.BAD_COMMAND, "A sealing key is enrolled that the document does not have.")
def _seal_from_nowhere(world: LogWorld) -> int:
    return _proving(world, world.proof(plant.robot("next"), seal=None))


@BROKEN.by(LogReason.BAD_COMMAND, "People agreed on other groups.")
def _another_group(world: LogWorld) -> int:
    return _proving(world, world.proof(plant.robot("next")), groups=["line-1", "root"])


@BROKEN.by(LogReason.BAD_COMMAND, "People agreed on an earlier review.")
def _later_review(world: LogWorld) -> int:
    return _proving(world, world.proof(plant.robot("next")), review_by=world.time + 400 * plant.DAY)


@BROKEN.by(LogReason.MALFORMED, "A key that nobody proved is enrolled on a command that names it.")
def _bare_key(world: LogWorld) -> int:
    key: Json = {**plant.robot("next").public.jwk()}
    asked: dict[str, Json] = {"id": OTHER, "owner": "alice", "review_by": world.time + 90, "key": key}
    asking = world.agreed(world.command("alice", Act.WORKLOAD_ENROL, asked))
    return world.asked("workload.enrolled", asking, {"workload": asked}, {"workload": OTHER})


@BROKEN.by(LogReason.WRONG_KEY, "The key is another workload's.")
def _key_of_another(world: LogWorld) -> int:
    asking, workload = world.enrolling(world.proof(plant.robot(), workload=OTHER, seal=None), id=OTHER)
    members: dict[str, Json] = {**workload, "key": {**plant.robot().public.jwk()}}
    return world.asked("workload.enrolled", asking, {"workload": members}, {"workload": OTHER})


@BROKEN.by(LogReason.WRONG_KEY, "The sealing key is another workload's.")
def _seal_of_another(world: LogWorld) -> int:
    signer = plant.robot("next")
    asking, workload = world.enrolling(world.proof(signer, workload=OTHER), id=OTHER)
    members: dict[str, Json] = {**workload, "key": {**signer.public.jwk()}, "seal": {**plant.sealing().jwk()}}
    return world.asked("workload.enrolled", asking, {"workload": members}, {"workload": OTHER})


# -- suspension


@BROKEN.by(LogReason.BAD_COMMAND, "Something is issued to a suspended workload.")
def _issued_while_suspended(world: LogWorld) -> int:
    world.suspend()
    return world.issue()


@BROKEN.by(LogReason.BAD_COMMAND, "A suspended workload asks.")
def _suspended_asks(world: LogWorld) -> int:
    world.suspend()
    return world.issue(world.request())


@BROKEN.by(LogReason.BAD_COMMAND, "A workload is suspended that nobody enrolled.")
def _nobody_suspended(world: LogWorld) -> int:
    args: dict[str, Json] = {"workload": OTHER, "reason": "lost"}
    asking = world.command("bob", Act.WORKLOAD_SUSPEND, args)
    return world.asked("workload.suspended", asking, args, {"workload": OTHER})


@BROKEN.by(LogReason.BAD_COMMAND, "Another workload is suspended than was asked for.")
def _another_suspended(world: LogWorld) -> int:
    return world.suspend(workload=OTHER)


@BROKEN.by(LogReason.BAD_COMMAND, "Another reason is written than was signed.")
def _another_reason(world: LogWorld) -> int:
    return world.suspend(reason="found")


@BROKEN.by(LogReason.BAD_COMMAND, "An auditor suspends.")
def _auditor_suspends(world: LogWorld) -> int:
    args: dict[str, Json] = {"workload": plant.WORKLOAD, "reason": "lost"}
    asking = world.command("carol", Act.WORKLOAD_SUSPEND, args)
    return world.asked("workload.suspended", asking, args, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "One person resumes.")
def _one_resumes(world: LogWorld) -> int:
    args: dict[str, Json] = {"workload": plant.WORKLOAD}
    asking = world.command("alice", Act.WORKLOAD_RESUME, args)
    return world.asked("workload.resumed", asking, args, {"workload": plant.WORKLOAD})


def suspended_meanwhile(world: LogWorld, asking: Asking) -> None:
    """Suspend the workload after something was asked for, by more than clocks may differ, before people agree."""
    world.wait(asking)
    world.time += TOLERANCE + 1
    world.suspend()
    world.approve("bob", asking)


@BROKEN.by(LogReason.BAD_COMMAND, "What was asked for before a suspension takes it up.")
def _resumed_by_what_was_asked_before(world: LogWorld) -> int:
    args: dict[str, Json] = {"workload": plant.WORKLOAD}
    asking = world.command("alice", Act.WORKLOAD_RESUME, args)
    suspended_meanwhile(world, asking)
    return world.asked("workload.resumed", asking, args, args)


@BROKEN.by(LogReason.BAD_COMMAND, "What was asked for before a suspension takes it up by enrolling anew.")
def _enrolled_by_what_was_asked_before(world: LogWorld) -> int:
    named: dict[str, Json] = {"id": plant.WORKLOAD, "owner": "alice", "review_by": world.time + 90 * plant.DAY}
    asking = world.command("alice", Act.WORKLOAD_ENROL, named)
    suspended_meanwhile(world, asking)
    return world.asked("workload.enrolled", asking, {"workload": {**named}}, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "Another workload is resumed than was agreed on.")
def _another_resumed(world: LogWorld) -> int:
    return world.resume(workload=OTHER)


# -- machines that ask


@BROKEN.by(LogReason.BAD_COMMAND, "A workload asks for another one.")
def _for_another(world: LogWorld) -> int:
    return world.issue(world.request(args=issue_args(workload=OTHER)), workload=OTHER)


@BROKEN.by(LogReason.BAD_COMMAND, "A workload asks under a profile that is for people.")
def _profile_for_people(world: LogWorld) -> int:
    world.set_profile()
    return world.issue(world.request())


@BROKEN.by(LogReason.BAD_COMMAND, "A person asks under a profile that is for workloads.")
def _profile_for_workloads(world: LogWorld) -> int:
    world.let_workloads_ask(asked_by=["workload"])
    return world.issue()


@BROKEN.by(LogReason.BAD_COMMAND, "A workload does something else than asking for credentials.")
def _other_act(world: LogWorld) -> int:
    asking = world.signed(plant.robot(), plant.WORKLOAD, Act.READ_OPEN, {})
    return world.asked("reading.opened", asking, {}, {})


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "A workload is counted as one of the people.")
def _counted_as_a_person(world: LogWorld) -> int:
    return world.issue(world.request(), people=[plant.WORKLOAD])


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "One person approves where two must, besides the workload.")
def _one_approves(world: LogWorld) -> int:
    world.let_workloads_ask(approvals=2)
    asking = world.wait(world.request())
    world.approve("bob", asking)
    return step(world, lambda: world.complete(asking))


@BROKEN.by(LogReason.BAD_COMMAND, "Somebody else completes what a workload asked for.")
def _completed_by_a_person(world: LogWorld) -> int:
    world.let_workloads_ask(approvals=2)
    asking = world.agreed(world.request(), "bob", "alice")
    return step(world, lambda: world.complete(asking, "alice"))


@BROKEN.by(LogReason.BAD_COMMAND, "A request waits though nobody else is needed.")
def _waits_for_nobody(world: LogWorld) -> int:
    return step(world, lambda: world.wait(world.request(), need=0))


@BROKEN.by(LogReason.BAD_COMMAND, "A workload approves.")
def _workload_approves(world: LogWorld) -> int:
    world.let_workloads_ask(approvals=2)
    asking = world.wait(world.request())
    claims = loads(parse_unverified(world.approval("bob", asking)).payload)
    token = plant.robot().token(Typ.APPROVAL, Record.of(claims, "approval").members())
    world.keep(token.encode())
    return step(world, lambda: world.count(plant.WORKLOAD, asking, token))


@BROKEN.by(LogReason.BAD_COMMAND, "A request is carried out twice.")
def _carried_out_twice(world: LogWorld) -> int:
    asking = world.request()
    world.issue(asking)
    world.settle()
    return world.issue(asking)


@BROKEN.by(LogReason.BAD_COMMAND, "A request is signed by a key that was replaced.")
def _replaced_key(world: LogWorld) -> int:
    world.enrol(plant.robot("next"))
    return world.issue(world.request())


def _overdue(world: LogWorld, ask: Callable[[LogWorld], Asking]) -> int:
    asking, workload = world.enrolling(world.proof(plant.robot()), review_by=world.time + 60)
    members: dict[str, Json] = {
        **workload,
        "key": {**plant.robot().public.jwk()},
        "seal": {**plant.sealing().jwk()},
    }
    world.asked("workload.enrolled", asking, {"workload": members}, {"workload": plant.WORKLOAD})
    asking = ask(world)
    world.time += 60 + TOLERANCE
    return world.issue(asking)


@BROKEN.by(LogReason.BAD_COMMAND, "A workload asks more than two minutes after its review was due.")
def _asks_overdue(world: LogWorld) -> int:
    return _overdue(world, lambda world: world.request())


@BROKEN.by(LogReason.BAD_COMMAND, "A person asks for a workload whose review was due more than two minutes ago.")
def _asked_for_overdue(world: LogWorld) -> int:
    return _overdue(world, lambda world: world.command("alice", Act.CREDENTIAL_ISSUE, issue_args()))


@BROKEN.by(LogReason.MALFORMED, "A person's command has a peer at the workloads' socket.")
def _peer_of_a_person(world: LogWorld) -> int:
    return world.issue(peer={"uid": 0, "gid": 0, "pid": 1})


@BROKEN.by(LogReason.MALFORMED, "A peer lacks a member.")
def _peer_without_pid(world: LogWorld) -> int:
    return world.issue(world.request(), peer={"uid": 0, "gid": 0})


@BROKEN.by(LogReason.MALFORMED, "A peer has more members.")
def _peer_with_more(world: LogWorld) -> int:
    return world.issue(world.request(), peer={"uid": 0, "gid": 0, "pid": 1, "name": "x"})


@BROKEN.by(LogReason.MALFORMED, "A peer's id is beyond 32 bits.")
def _peer_beyond(world: LogWorld) -> int:
    return world.issue(world.request(), peer={"uid": 2**32, "gid": 0, "pid": 1})


@pytest.mark.parametrize(("broken", "reason"), BROKEN.rows, ids=name)
def test_a_broken_rule_is_refused_at_its_entry(broken: Breaking, reason: LogReason, begun: LogWorld) -> None:
    """A log that breaks one rule, named by the case, is refused for the right reason and at the right entry."""
    world = begun.copy()
    seq = broken(world)
    assert refusal(world) == (reason, seq)


def test_machines_that_ask_are_believed(begun: LogWorld) -> None:
    """Alone, with a peer, with two who approve, refused, and again after a suspension and under a new key."""
    world = begun.copy()
    world.issue(world.request(), peer={"uid": 0, "gid": 2**32 - 1, "pid": 0})
    world.settle()
    world.asked(
        "command.refused", world.request(), {"reason": "no-bundle", "rule": "R2 who may ask", "detail": "none was made"}
    )
    world.suspend()
    world.asked(
        "command.refused",
        world.request(),
        {"reason": "workload-suspended", "rule": "R2 who may ask", "detail": "it is suspended"},
    )
    world.resume()
    world.let_workloads_ask(approvals=2)
    asking = world.agreed(world.request(), "bob", "alice")
    world.complete(asking, peer={"uid": 0, "gid": 0, "pid": 1})
    world.issue(asking)
    world.settle()
    world.let_workloads_ask()
    world.enrol(plant.robot("next"))
    world.issue(world.request(plant.robot("next")))
    world.settle()
    assert refusal(world) is None
