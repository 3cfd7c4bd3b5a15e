"""People who join, change and leave, as an auditor follows them: each rule broken once, by whoever holds the engine."""

import pytest

from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.command import Verdict
from coldcred.errors import LogReason
from coldcred.log.approvals import TOLERANCE
from tests.support import plant
from tests.support.logrules import Breaking, Broken, name, refusal, step
from tests.support.logworld import Asking, Event, LogWorld, issue_args, second
from tests.support.signers import Signer

BROKEN = Broken()


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log of alice, bob, dora and carol, with an enrolled workload of alice's."""
    world = LogWorld.begin().start()
    world.enrol()
    return world


# -- joining


def adding(world: LogWorld, *others: str, proof: str | None = None, **changes: Json) -> tuple[Asking, Event]:
    """Let people agree that erin joins; gives their command, and what its entry says."""
    key = plant.operator("erin")
    args: Event = {
        "person": "erin",
        "roles": ["officer"],
        "countersignature": proof or world.countersign(key, "erin"),
        **changes,
    }
    asking = world.agreed(world.command("alice", Act.OPERATOR_ADD, args), *others)
    return asking, {**args, "key": {**key.public.jwk()}}


def added(world: LogWorld, made: tuple[Asking, Event], **changes: Json) -> int:
    """Write that somebody joined."""
    asking, members = made
    result: Event = {"kid": plant.operator("erin").kid, "person": asking.args["person"]}
    return world.asked("operator.added", asking, members, result, **changes)


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "One person enrols another.")
def _one_adds(world: LogWorld) -> int:
    args: Event = {"person": "erin", "roles": ["officer"]}
    args["countersignature"] = world.countersign(plant.operator("erin"), "erin")
    asking = world.command("alice", Act.OPERATOR_ADD, args)
    return added(world, (asking, {**args, "key": {**plant.operator("erin").public.jwk()}}))


@BROKEN.by(LogReason.BAD_COMMAND, "An approver asks for it.")
def _approver_adds(world: LogWorld) -> int:
    asking = world.command("dora", Act.OPERATOR_ADD, {"person": "erin", "roles": ["officer"]})
    return step(world, lambda: world.wait(asking))


@BROKEN.by(LogReason.BAD_COMMAND, "The new key approves its own enrolment.")
def _approves_itself(world: LogWorld) -> int:
    args: Event = {"person": "erin", "roles": ["officer"]}
    args["countersignature"] = world.countersign(plant.operator("erin"), "erin")
    asking = world.wait(world.command("alice", Act.OPERATOR_ADD, args))
    return step(world, lambda: world.approve("erin", asking))


@BROKEN.by(LogReason.BAD_COMMAND, "The countersignature is for another appliance.")
def _another_appliance(world: LogWorld) -> int:
    proof = world.countersign(plant.operator("erin"), "erin", appliance="0" * 64)
    return added(world, adding(world, proof=proof))


@BROKEN.by(LogReason.BAD_COMMAND, "The countersignature is another person's.")
def _another_person(world: LogWorld) -> int:
    return added(world, adding(world, proof=world.countersign(plant.operator("erin"), "frank")))


@BROKEN.by(LogReason.BAD_COMMAND, "Another key signed than the countersignature carries.")
def _not_possessed(world: LogWorld) -> int:
    world.rendering = 1  # of a later form it would be found where the request begins to wait
    proof = world.countersign(Signer.named("mallory"), "erin", key=plant.operator("erin").public)
    return added(world, adding(world, proof=proof))


@BROKEN.by(LogReason.BAD_COMMAND, "The countersignature had ended more than two minutes before.")
def _ended(world: LogWorld) -> int:
    life = {"issued_at": world.time - 3600, "expires_at": world.time - TOLERANCE}
    return added(world, adding(world, proof=world.countersign(plant.operator("erin"), "erin", **life)))


@BROKEN.by(LogReason.BAD_COMMAND, "The countersignature is of the future.")
def _of_the_future(world: LogWorld) -> int:
    life = {"issued_at": world.time + TOLERANCE + 60, "expires_at": world.time + 3600}
    return added(world, adding(world, proof=world.countersign(plant.operator("erin"), "erin", **life)))


@BROKEN.by(LogReason.BAD_COMMAND, "What people signed for is no countersignature.")
def _no_document(world: LogWorld) -> int:
    world.rendering = 1  # of a later form it would be found where the request begins to wait
    return added(world, adding(world, proof=world.keep(b"no document")))


@BROKEN.by(LogReason.MISSING_BLOB, "The countersignature is in the export.")
def _document_missing(world: LogWorld) -> int:
    waits, made = world.head.size, adding(world)
    del world.blobs[str(made[0].args["countersignature"])]
    added(world, made)
    return waits


@BROKEN.by(LogReason.BAD_COMMAND, "Another key is enrolled than was countersigned.")
def _another_key(world: LogWorld) -> int:
    return added(world, adding(world), key={**Signer.named("mallory").public.jwk()})


@BROKEN.by(LogReason.BAD_COMMAND, "People agreed on other roles.")
def _other_roles(world: LogWorld) -> int:
    return added(world, adding(world), roles=["issuer", "officer"])


@BROKEN.by(LogReason.BAD_COMMAND, "People agreed on another person.")
def _another_name(world: LogWorld) -> int:
    return added(world, adding(world), person="frank")


@BROKEN.by(LogReason.BAD_COMMAND, "Another reason is written than was signed.")
def _another_reason(world: LogWorld) -> int:
    return added(world, adding(world, reason="joins the night shift"), reason="joins")


@BROKEN.by(LogReason.MALFORMED, "A reason is written that nobody gave.")
def _reason_from_nowhere(world: LogWorld) -> int:
    return added(world, adding(world), reason="joins")


@BROKEN.by(LogReason.MALFORMED, "An auditor holds another role.")
def _auditor_and_officer(world: LogWorld) -> int:
    return added(world, adding(world, roles=["auditor", "officer"]))


@BROKEN.by(LogReason.MALFORMED, "A name has capitals.")
def _capital_name(world: LogWorld) -> int:
    world.rendering = 1  # of a later form it would be found where the request begins to wait
    return added(world, adding(world, person="Erin", proof=world.keep(b"none")))


@BROKEN.by(LogReason.BAD_COMMAND, "Somebody is enrolled who is enrolled already.")
def _enrolled_already(world: LogWorld) -> int:
    proof = world.countersign(second("bob"), "bob")
    asking, members = adding(world, person="bob", proof=proof)
    return world.asked("operator.added", asking, members, {"kid": second("bob").kid, "person": "bob"})


def _taking(world: LogWorld, person: str) -> int:
    """Enrol somebody with a new key, under a name that was there before."""
    new = second(person)
    asking, members = adding(world, person=person, proof=world.countersign(new, person))
    members["key"] = {**new.public.jwk()}
    return world.asked("operator.added", asking, members, {"kid": new.kid, "person": person})


@BROKEN.by(LogReason.BAD_COMMAND, "A founder's name is given to somebody else after they left.")
def _name_of_a_founder(world: LogWorld) -> int:
    world.remove()
    return _taking(world, "dora")


@BROKEN.by(LogReason.BAD_COMMAND, "The name of somebody who joined and left is given to somebody else.")
def _name_of_the_past(world: LogWorld) -> int:
    world.add()
    world.remove("erin")
    return _taking(world, "erin")


@BROKEN.by(LogReason.BAD_COMMAND, "The name of an officer whose place was taken is given to somebody else.")
def _name_of_who_was_replaced(world: LogWorld) -> int:
    world.recover("erin", "bob")
    asking = world.agreed(
        world.command("alice", Act.OPERATOR_ADD, {"person": "bob", "roles": ["issuer"],
                      "countersignature": world.countersign(second("bob"), "bob")}), "dora",
    )  # fmt: skip
    members: Event = {**asking.args, "key": {**second("bob").public.jwk()}}
    return world.asked("operator.added", asking, members, {"kid": second("bob").kid, "person": "bob"})


@BROKEN.by(LogReason.BAD_COMMAND, "Custodians put the name of somebody who left in an officer's place.")
def _recovers_a_name_of_the_past(world: LogWorld) -> int:
    world.remove()
    return world.recover("dora", "bob")


def _enrolling(world: LogWorld, key: Signer) -> int:
    """Enrol erin with a key that stands elsewhere."""
    asking, members = adding(world, proof=world.countersign(key, "erin"))
    members["key"] = {**key.public.jwk()}
    return world.asked("operator.added", asking, members, {"kid": key.kid, "person": "erin"})


@BROKEN.by(LogReason.WRONG_KEY, "The new key is another person's.")
def _key_of_another(world: LogWorld) -> int:
    return _enrolling(world, plant.operator("carol"))


@BROKEN.by(LogReason.WRONG_KEY, "The new key is a custodian's.")
def _key_of_a_custodian(world: LogWorld) -> int:
    return _enrolling(world, plant.custodian("carol"))


@BROKEN.by(LogReason.WRONG_KEY, "The new key is a workload's.")
def _key_of_a_workload(world: LogWorld) -> int:
    return _enrolling(world, plant.robot())


@BROKEN.by(LogReason.WRONG_KEY, "The new key was retired before.")
def _key_of_the_past(world: LogWorld) -> int:
    world.remove()
    return _enrolling(world, plant.operator("dora"))


@BROKEN.by(LogReason.WRONG_KEY, "A workload's key is one that was retired.")
def _retired_key_of_a_workload(world: LogWorld) -> int:
    world.remove()
    return world.enrol(plant.operator("dora"))


# -- leaving


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "One person lets another go.")
def _one_removes(world: LogWorld) -> int:
    args: Event = {"person": "dora", "reason": "left"}
    asking = world.command("alice", Act.OPERATOR_REMOVE, args)
    members: Event = {**args, "retires": [plant.operator("dora").kid]}
    return world.asked("operator.removed", asking, members, {"person": "dora", "workloads": 0})


@BROKEN.by(LogReason.BAD_COMMAND, "Another person goes than was agreed on.")
def _another_goes(world: LogWorld) -> int:
    return world.remove(person="carol")


@BROKEN.by(LogReason.BAD_COMMAND, "A key of a person who goes is left.")
def _key_is_left(world: LogWorld) -> int:
    return world.remove(retires=[])


@BROKEN.by(LogReason.BAD_COMMAND, "Fewer workloads are counted than they own.")
def _workloads_uncounted(world: LogWorld) -> int:
    world.add()
    asking = world.agreed(world.command("bob", Act.OPERATOR_REMOVE, {"person": "alice", "reason": "left"}), "erin")
    members: Event = {**asking.args, "retires": [plant.operator("alice").kid]}
    return world.asked("operator.removed", asking, members, {"person": "alice", "workloads": 0})


@BROKEN.by(LogReason.BAD_COMMAND, "Somebody goes who is not enrolled.")
def _nobody_goes(world: LogWorld) -> int:
    return world.remove("frank")


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "The last issuer goes.")
def _last_issuer(world: LogWorld) -> int:
    asking = world.agreed(world.command("bob", Act.OPERATOR_REMOVE, {"person": "alice", "reason": "left"}), "dora")
    members: Event = {**asking.args, "retires": [plant.operator("alice").kid]}
    return world.asked("operator.removed", asking, members, {"person": "alice", "workloads": 1})


@BROKEN.by(LogReason.BAD_COMMAND, "Somebody who left asks.")
def _left_and_asks(world: LogWorld) -> int:
    world.remove()
    args: Event = {"workload": plant.WORKLOAD, "reason": "lost"}
    asking = world.command("dora", Act.WORKLOAD_SUSPEND, args)
    return world.asked("workload.suspended", asking, args, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "Somebody who left approves.")
def _left_and_approves(world: LogWorld) -> int:
    world.remove()
    asking = world.wait(world.command("alice", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}))
    return step(world, lambda: world.approve("dora", asking))


@BROKEN.by(LogReason.BAD_COMMAND, "An approval counts of somebody who has left since.")
def _approved_and_left(world: LogWorld) -> int:
    asking = world.agreed(world.command("alice", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}), "dora")
    world.remove()
    return world.asked("workload.resumed", asking, asking.args, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "An approval counts of somebody who may not approve any more.")
def _approved_and_changed(world: LogWorld) -> int:
    asking = world.agreed(world.command("alice", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}), "dora")
    world.set_roles()
    return world.asked("workload.resumed", asking, asking.args, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "A request is carried out whose key was retired.")
def _asked_and_left(world: LogWorld) -> int:
    world.add("erin", ["officer"])
    asking = world.agreed(world.command("erin", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}))
    world.remove("erin")
    return world.asked("workload.resumed", asking, asking.args, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "A request is approved whose key was retired.")
def _approving_who_left(world: LogWorld) -> int:
    world.add("erin", ["officer"])
    asking = world.wait(world.command("erin", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}))
    world.remove("erin")
    return step(world, lambda: world.approve("bob", asking))


@BROKEN.by(LogReason.BAD_COMMAND, "A request waits in the name of another key.")
def _another_kid_waits(world: LogWorld) -> int:
    asking = world.command("alice", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD})
    return step(world, lambda: world.wait(asking, kid=plant.operator("bob").kid))


# -- roles


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "One person changes roles, their own.")
def _one_changes(world: LogWorld) -> int:
    args: Event = {"person": "alice", "roles": ["approver", "issuer", "officer"], "reason": "more"}
    asking = world.command("alice", Act.OPERATOR_ROLES, args)
    return world.asked("operator.roles-set", asking, args, {"person": "alice", "roles": args["roles"]})


@BROKEN.by(LogReason.BAD_COMMAND, "Other roles are given than were agreed on.")
def _roles_changed(world: LogWorld) -> int:
    return world.set_roles(roles=["issuer", "officer"])


@BROKEN.by(LogReason.BAD_COMMAND, "Another person's roles change than was agreed on.")
def _roles_of_another(world: LogWorld) -> int:
    return world.set_roles(person="carol")


@BROKEN.by(LogReason.BAD_COMMAND, "Somebody who is not enrolled gets roles.")
def _roles_of_nobody(world: LogWorld) -> int:
    return world.set_roles("frank")


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "The last issuer is one no more.")
def _nobody_issues(world: LogWorld) -> int:
    return world.set_roles("alice", ["officer"])


@BROKEN.by(LogReason.BAD_COMMAND, "Somebody asks by a role that they gave up.")
def _role_given_up(world: LogWorld) -> int:
    world.set_roles("dora", ["issuer"])
    world.set_roles("alice", ["officer"])
    return world.issue()


@BROKEN.by(LogReason.BAD_COMMAND, "An officer who became an auditor approves.")
def _auditor_approves(world: LogWorld) -> int:
    world.set_roles("dora", ["auditor"])
    asking = world.wait(world.command("alice", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}))
    return step(world, lambda: world.approve("dora", asking))


# -- keys


def _replacing(world: LogWorld, args: Event, members: Event, keys: list[Json]) -> int:
    asking = world.agreed(world.command("alice", Act.OPERATOR_REPLACE_KEY, args))
    return world.asked("operator.key-replaced", asking, {**args, **members}, {"keys": keys, "person": args["person"]})


def _with_second(world: LogWorld, **changes: Json) -> int:
    """Give bob a second key."""
    new, old = second("bob"), plant.operator("bob").kid
    args: Event = {"person": "bob", "retires": [], "reason": "card", "countersignature": world.countersign(new, "bob")}
    return _replacing(world, args, {"key": {**new.public.jwk()}, **changes}, [*sorted((new.kid, old))])


@BROKEN.by(LogReason.BAD_COMMAND, "A key that was replaced asks.")
def _replaced_asks(world: LogWorld) -> int:
    world.replace_key()
    args: Event = {"workload": plant.WORKLOAD, "reason": "lost"}
    asking = world.command("bob", Act.WORKLOAD_SUSPEND, args)
    return world.asked("workload.suspended", asking, args, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "A key that was replaced approves.")
def _replaced_approves(world: LogWorld) -> int:
    world.replace_key()
    asking = world.wait(world.command("alice", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}))
    return step(world, lambda: world.approve("bob", asking))


@BROKEN.by(LogReason.BAD_COMMAND, "What a key approved counts after it was replaced.")
def _approved_and_replaced(world: LogWorld) -> int:
    asking = world.agreed(world.command("alice", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}))
    world.replace_key()
    return world.asked("workload.resumed", asking, asking.args, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "A person approves their own request with their second key.")
def _second_key_approves(world: LogWorld) -> int:
    _with_second(world)
    asking = world.wait(world.command("bob", Act.SITE_ADD, {"name": "line-9", "audiences": []}))
    token = world.approval("bob", asking, signer=second("bob"))
    return step(world, lambda: world.count("bob", asking, token))


@BROKEN.by(LogReason.BAD_COMMAND, "A person counts twice by two keys.")
def _two_keys_one_person(world: LogWorld) -> int:
    _with_second(world)
    world.set_profile(approvals=3)
    asking = world.wait(world.command("alice", Act.CREDENTIAL_ISSUE, issue_args()), need=3)
    world.count("bob", asking, world.approval("bob", asking), need=3)
    return step(world, lambda: world.count("bob", asking, world.approval("bob", asking, signer=second("bob")), need=3))


@BROKEN.by(LogReason.BAD_COMMAND, "A key is retired that is somebody else's.")
def _retires_anothers(world: LogWorld) -> int:
    kid = plant.operator("dora").kid
    return _replacing(world, {"person": "bob", "retires": [kid], "reason": "lost"}, {}, [plant.operator("bob").kid])


@BROKEN.by(LogReason.BAD_COMMAND, "A person is left without a key.")
def _no_key_left(world: LogWorld) -> int:
    return _replacing(world, {"person": "bob", "retires": [plant.operator("bob").kid], "reason": "lost"}, {}, [])


@BROKEN.by(LogReason.BAD_COMMAND, "Fewer keys are retired than were agreed on.")
def _retires_fewer(world: LogWorld) -> int:
    return world.replace_key(retires=[])


@BROKEN.by(LogReason.BAD_COMMAND, "Another key is enrolled than was countersigned.")
def _replaced_by_another(world: LogWorld) -> int:
    return world.replace_key(key={**Signer.named("mallory").public.jwk()})


@BROKEN.by(LogReason.WRONG_KEY, "The new key is one that the person had before.")
def _key_comes_back(world: LogWorld) -> int:
    world.replace_key()
    old, new = plant.operator("bob"), second("bob")
    proof = world.countersign(old, "bob")
    args: Event = {"person": "bob", "retires": [new.kid], "reason": "found", "countersignature": proof}
    asking = world.agreed(world.command("alice", Act.OPERATOR_REPLACE_KEY, args), "dora")
    members: Event = {**args, "key": {**old.public.jwk()}}
    return world.asked("operator.key-replaced", asking, members, {"keys": [old.kid], "person": "bob"})


# -- recovery


@BROKEN.by(LogReason.BAD_COMMAND, "Officers recover with their operator keys.")
def _officers_recover(world: LogWorld) -> int:
    args: Event = {"replaces": "bob", "person": "bob", "reason": "lost"}
    args["countersignature"] = world.countersign(second("bob"), "bob")
    asking = world.command("alice", Act.OPERATOR_RECOVER, args)
    return step(world, lambda: world.wait(asking))


@BROKEN.by(LogReason.BAD_COMMAND, "An operator key approves a recovery.")
def _operator_approves_recovery(world: LogWorld) -> int:
    args: Event = {"replaces": "bob", "person": "bob", "reason": "lost"}
    args["countersignature"] = world.countersign(second("bob"), "bob")
    asking = world.wait(world.signed(plant.custodian("carol"), "carol", Act.OPERATOR_RECOVER, args))
    return step(world, lambda: world.approve("alice", asking))


@BROKEN.by(LogReason.BAD_COMMAND, "A custodian key asks for something else.")
def _custodian_asks(world: LogWorld) -> int:
    args: Event = {"workload": plant.WORKLOAD, "reason": "lost"}
    asking = world.signed(plant.custodian("alice"), "alice", Act.WORKLOAD_SUSPEND, args)
    return world.asked("workload.suspended", asking, args, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "A custodian key approves something else.")
def _custodian_approves(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}))
    token = world.approval("bob", asking, signer=plant.custodian("bob"))
    return step(world, lambda: world.count("bob", asking, token))


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "One custodian recovers.")
def _one_recovers(world: LogWorld) -> int:
    args: Event = {"replaces": "bob", "person": "bob", "reason": "lost"}
    args["countersignature"] = world.countersign(second("bob"), "bob")
    asking = world.signed(plant.custodian("carol"), "carol", Act.OPERATOR_RECOVER, args)
    told: Event = {"key": {**second("bob").public.jwk()}, "roles": ["approver", "officer"]}
    members: Event = {**args, **told, "retires": [plant.operator("bob").kid]}
    result: Event = {"kid": second("bob").kid, "person": "bob", "workloads": 0}
    return world.asked("operator.recovered", asking, members, result)


@BROKEN.by(LogReason.BAD_COMMAND, "A custodian approves their own request.")
def _custodian_approves_own(world: LogWorld) -> int:
    args: Event = {"replaces": "bob", "person": "bob", "reason": "lost"}
    args["countersignature"] = world.countersign(second("bob"), "bob")
    asking = world.wait(world.signed(plant.custodian("carol"), "carol", Act.OPERATOR_RECOVER, args))
    token = world.approval("carol", asking, signer=plant.custodian("carol"))
    return step(world, lambda: world.count("carol", asking, token))


@BROKEN.by(LogReason.BAD_COMMAND, "Somebody who is no officer is replaced.")
def _no_officer(world: LogWorld) -> int:
    asking, members = world.recovering("erin", "dora")
    result: Event = {"kid": second("erin").kid, "person": "erin", "workloads": 0}
    return world.asked("operator.recovered", asking, {**members, "roles": ["approver"]}, result)


@BROKEN.by(LogReason.BAD_COMMAND, "The one who comes is enrolled already.")
def _comes_twice(world: LogWorld) -> int:
    return world.recover("dora", "bob")


@BROKEN.by(LogReason.BAD_COMMAND, "The one who comes gets more than the officer had.")
def _more_roles(world: LogWorld) -> int:
    return world.recover(roles=["approver", "issuer", "officer"])


@BROKEN.by(LogReason.BAD_COMMAND, "A key of the officer is left.")
def _officers_key_left(world: LogWorld) -> int:
    return world.recover(retires=[])


@BROKEN.by(LogReason.BAD_COMMAND, "Another officer is replaced than was agreed on.")
def _another_officer(world: LogWorld) -> int:
    return world.recover(replaces="alice")


@BROKEN.by(LogReason.BAD_COMMAND, "The officer who was replaced asks.")
def _replaced_officer_asks(world: LogWorld) -> int:
    world.recover("erin", "bob")
    args: Event = {"workload": plant.WORKLOAD, "reason": "lost"}
    asking = world.command("bob", Act.WORKLOAD_SUSPEND, args)
    return world.asked("workload.suspended", asking, args, {"workload": plant.WORKLOAD})


# -- what goes on over several entries


@BROKEN.by(LogReason.BAD_COMMAND, "Another command of somebody who left is refused in the log, which it cannot be.")
def _refused_for_who_left(world: LogWorld) -> int:
    world.remove()
    asking = world.command("dora", Act.SITE_ADD, {"name": "line-9", "audiences": []})
    return world.asked("command.refused", asking, {"reason": "denied", "rule": "R9", "detail": "denied"})


@pytest.mark.parametrize(("broken", "reason"), BROKEN.rows, ids=name)
def test_a_broken_rule_is_refused_at_its_entry(broken: Breaking, reason: LogReason, begun: LogWorld) -> None:
    """A log that breaks one rule, named by the case, is refused for the right reason and at the right entry."""
    world = begun.copy()
    seq = broken(world)
    assert refusal(world) == (reason, seq)


def test_people_who_come_and_go_are_believed(begun: LogWorld) -> None:
    """Somebody joins and acts, keys are added, replaced and retired, roles change, people leave, others follow."""
    world = begun.copy()
    world.add("erin", ["issuer", "officer"])
    asking = world.wait(world.command("erin", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}))
    world.approve("dora", asking)
    world.suspend()
    world.asked("workload.resumed", asking, asking.args, {"workload": plant.WORKLOAD})
    _with_second(world)
    old, new = plant.operator("bob").kid, second("bob").kid
    _replacing(world, {"person": "bob", "retires": [old], "reason": "worn"}, {}, [new])
    asking = world.wait(world.command("alice", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}))
    world.count("bob", asking, world.approval("bob", asking, signer=second("bob")))
    world.asked("workload.resumed", asking, asking.args, {"workload": plant.WORKLOAD})
    asking = world.agreed(
        world.command("erin", Act.OPERATOR_ROLES, {"person": "alice", "roles": ["auditor"], "reason": "rest"}), "dora"
    )
    world.asked("operator.roles-set", asking, asking.args, {"person": "alice", "roles": ["auditor"]})
    asking = world.agreed(world.command("erin", Act.OPERATOR_REMOVE, {"person": "alice", "reason": "left"}), "dora")
    members: Event = {**asking.args, "retires": [plant.operator("alice").kid]}
    world.asked("operator.removed", asking, members, {"person": "alice", "workloads": 1})
    args: Event = {"workload": plant.WORKLOAD, "owner": "erin", "reason": "alice left"}
    asking = world.agreed(world.command("erin", Act.WORKLOAD_ADOPT, args), "dora")
    world.asked("workload.adopted", asking, args, {"owner": "erin", "workload": plant.WORKLOAD})
    next_one = plant.operator("frank")
    args = {"person": "frank", "roles": ["issuer"], "countersignature": world.countersign(next_one, "frank")}
    asking = world.agreed(world.command("erin", Act.OPERATOR_ADD, {**args, "reason": "after alice"}), "dora")
    members = {**asking.args, "key": {**next_one.public.jwk()}}
    world.asked("operator.added", asking, members, {"kid": next_one.kid, "person": "frank"})
    world.issue(world.signed(next_one, "frank", Act.CREDENTIAL_ISSUE, issue_args()))
    assert refusal(world) is None


@pytest.mark.parametrize("person", ["bob", "erin"])
def test_a_recovery_is_believed_and_seen(person: str, begun: LogWorld) -> None:
    """By two custodians, whatever they are as operators; the officer's own new key, or somebody new, acts then."""
    world = begun.copy()
    world.recover(person)
    args: Event = {"workload": plant.WORKLOAD, "reason": "lost"}
    asking = world.signed(second(person), person, Act.WORKLOAD_SUSPEND, args)
    world.asked("workload.suspended", asking, args, {"workload": plant.WORKLOAD})
    assert refusal(world) is None


def test_a_place_is_given_back_by_another_recovery(begun: LogWorld) -> None:
    """Erin took Bob's place and Frank hers; Bob takes it back, which nobody else whose name was there before may."""
    world = begun.copy()
    held = plant.operator("bob")
    for person, replaces in (("erin", "bob"), ("frank", "erin"), ("bob", "frank")):
        asking, members = world.recovering(person, replaces)
        result: Event = {"kid": second(person).kid, "person": person, "workloads": 0}
        world.asked("operator.recovered", asking, {**members, "retires": [held.kid]}, result)
        held = second(person)
    assert refusal(world) is None


def test_a_custodian_whose_seat_is_replaced_may_take_part(begun: LogWorld) -> None:
    """Bob's custodian key is another key than the one he lost, and it stays a custodian's after he has left."""
    world = begun.copy()
    world.remove("dora")
    for person in ("bob", "erin"):
        args: Event = {"replaces": "bob" if person == "bob" else "alice", "person": person, "reason": "lost"}
        new = Signer.named(f"{person} recovered")
        args["countersignature"] = world.countersign(new, person)
        asking = world.wait(world.signed(plant.custodian("bob"), "bob", Act.OPERATOR_RECOVER, args))
        world.count("dora", asking, world.approval("dora", asking, signer=plant.custodian("dora")))
        replaced, roles = ("bob", ["approver", "officer"]) if person == "bob" else ("alice", ["issuer", "officer"])
        told: Event = {"key": {**new.public.jwk()}, "roles": [*roles], "retires": [plant.operator(replaced).kid]}
        result: Event = {"kid": new.kid, "person": person, "workloads": 0 if person == "bob" else 1}
        world.asked("operator.recovered", asking, {**args, **told}, result)
    assert refusal(world) is None


def test_a_bundle_goes_on_when_its_officer_leaves(begun: LogWorld) -> None:
    """What was begun rests on who stood then; it ends as it would have, or refused."""
    world = begun.copy()
    world.add("erin", ["officer"])
    world.trust()
    making = world.begin_bundle(1, world.command("erin", Act.BUNDLE_CREATE, {"site": "line-1"}))
    world.settle().checkpoint().settle()
    world.remove("erin")
    for role in ("site", "snapshot"):
        world.sign_role(making, role)
        world.settle()
    world.create_bundle(making)
    world.settle()
    assert refusal(world) is None


def test_a_request_that_ended_with_its_key_is_denied_no_more(begun: LogWorld) -> None:
    """It is over for the auditor as it is for the appliance; others of the same person by other keys go on."""
    world = begun.copy()
    _with_second(world)
    new = second("bob")
    world.wait(world.command("bob", Act.WORKLOAD_RESUME, {"workload": plant.WORKLOAD}))
    site: Event = {"name": "line-9", "audiences": ["https://line-9.plant-a.example"]}
    kept = world.wait(world.signed(new, "bob", Act.SITE_ADD, site))
    args: Event = {"person": "bob", "retires": [plant.operator("bob").kid], "reason": "worn"}
    asking = world.agreed(world.command("alice", Act.OPERATOR_REPLACE_KEY, args), "dora")
    world.asked("operator.key-replaced", asking, args, {"keys": [new.kid], "person": "bob"})
    world.approve("dora", kept)
    world.asked("site.added", kept, {"site": site}, {"site": "line-9"})
    other = world.wait(world.command("alice", Act.SITE_ADD, {"name": "line-8", "audiences": []}))
    world.approve("dora", other, Verdict.DENY)
    assert refusal(world) is None
