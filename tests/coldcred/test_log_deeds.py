"""What carrying out a command may write: each entry says something else than the person signed, and is refused."""

import pytest

from coldcred.acts import Act
from coldcred.canonical import Json, sha256_hex
from coldcred.errors import LogReason
from coldcred.log import entry as entries
from coldcred.log.approvals import TOLERANCE
from tests.support import plant
from tests.support.logrules import Breaking, Broken, name, refusal, site_args, step
from tests.support.logworld import LogWorld, issue_args
from tests.support.signers import Signer

BROKEN = Broken()


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log whose appliance was founded by four people and has its keys."""
    return LogWorld.begin().start()


def _add_site(world: LogWorld, **changes: Json) -> int:
    """Add a site that alice asks for and bob approves, with something else in its entry."""
    asked, members = site_args()
    asking = world.agreed(world.command("alice", Act.SITE_ADD, asked))
    return world.asked("site.added", asking, members, {"site": "line-9"}, **changes)


@BROKEN.by(LogReason.BAD_COMMAND, "The credential is for another workload than the person signed for.")
def _another_workload(world: LogWorld) -> int:
    return world.issue(workload=f"{plant.WORKLOAD}-other")


@BROKEN.by(LogReason.BAD_COMMAND, "The credential is for another audience than the person signed for.")
def _another_audience(world: LogWorld) -> int:
    return world.issue(audience=f"{plant.AUDIENCE}/other")


@BROKEN.by(LogReason.BAD_COMMAND, "The credential has a scope more than the person signed for.")
def _more_scopes(world: LogWorld) -> int:
    return world.issue(scopes=["orders.read", "orders.write"])


@BROKEN.by(LogReason.BAD_COMMAND, "The credential is under another profile than the person signed for.")
def _another_profile(world: LogWorld) -> int:
    return world.issue(profile="orders-writer")


@BROKEN.by(LogReason.BAD_COMMAND, "The person signed for a profile that no entry before it set.")
def _profile_that_nobody_set(world: LogWorld) -> int:
    return world.issue(world.command("alice", Act.CREDENTIAL_ISSUE, issue_args(profile="later")))


def _result(world: LogWorld, **changes: Json) -> int:
    """Issue with another result."""
    seq, now = world.head.size, world.time + 1
    times: dict[str, Json] = {"iat": now, "nbf": now, "exp": now + 900}
    status: Json = {"idx": seq, "uri": f"{plant.ISSUER}/status/line-1/1"}
    result: Json = {"jti": f"{seq:022d}", **times, "status": status, "log": seq, "site": "line-1", **changes}
    return world.issue(result=result)


@BROKEN.by(LogReason.BAD_COMMAND, "The credential lives a second longer than the person signed for.")
def _longer_than_asked(world: LogWorld) -> int:
    return _result(world, exp=world.time + 1 + 901)


@BROKEN.by(LogReason.BAD_COMMAND, "A credential names the entry that it stands in.")
def _log_index_of_another_entry(world: LogWorld) -> int:
    return _result(world, log=0)


@BROKEN.by(LogReason.BAD_COMMAND, "A credential's `iat` is the time of its entry, give or take 120 s.")
def _issued_at_another_time(world: LogWorld) -> int:
    return _result(world, iat=world.time + 1 - 121)


@BROKEN.by(LogReason.WRONG_KEY, "A credential ends in the second in which it begins.")
def _no_lifetime_at_all(world: LogWorld) -> int:
    return _result(world, exp=world.time + 1)


@BROKEN.by(LogReason.BAD_COMMAND, "Entry and result name one site.")
def _result_for_another_site(world: LogWorld) -> int:
    return _result(world, site="line-2")


@BROKEN.by(LogReason.MALFORMED, "A result has a member that this reader does not know.")
def _result_with_more(world: LogWorld) -> int:
    return _result(world, note="")


@BROKEN.by(LogReason.MALFORMED, "A status reference has a member that this reader does not know.")
def _status_with_more(world: LogWorld) -> int:
    return _result(world, status={"idx": 1, "uri": f"{plant.ISSUER}/status/line-1/1", "note": ""})


def _result_of(world: LogWorld, number: int, *, end: int, **changes: Json) -> dict[str, Json]:
    """Give the result of a revocation of so many credentials of the workload, all at line-1 and with one end."""
    site: dict[str, Json] = {"site": "line-1", "count": number, "first_end": end, "last_end": end}
    selector: Json = {"workload": plant.WORKLOAD}
    return {"selector": selector, "count": number, "sites": [site], "next_bundle": world.bundles + 1, **changes}


def _revoked(world: LogWorld, **changes: Json) -> int:
    """Revoke what lives of a workload, one credential, with something else in the result."""
    issued = world.issue()
    world.settle()
    result = _result_of(world, 1, end=world.ends[issued], **changes)
    return step(world, lambda: world.revoke(issued, by="workload", value=plant.WORKLOAD, result=result))


@BROKEN.by(LogReason.BAD_COMMAND, "The result of a revocation has a member that this reader does not know.")
def _revocation_with_more(world: LogWorld) -> int:
    return _revoked(world, note="")


@BROKEN.by(LogReason.BAD_COMMAND, "A revocation says that it revokes more than lives.")
def _revocation_of_more_than_lives(world: LogWorld) -> int:
    return _revoked(world, count=2)


@BROKEN.by(LogReason.BAD_COMMAND, "A revocation says nothing of a site that it concerns.")
def _revocation_without_its_site(world: LogWorld) -> int:
    return _revoked(world, sites=[])


@BROKEN.by(LogReason.BAD_COMMAND, "A revocation names a bundle that was made before it.")
def _revocation_in_an_old_bundle(world: LogWorld) -> int:
    return _revoked(world, next_bundle=0)


@BROKEN.by(LogReason.BAD_COMMAND, "A revocation leaves out one of two credentials that live under its selector.")
def _one_left_out(world: LogWorld) -> int:
    world.issue()
    return _revoked(world)


@BROKEN.by(LogReason.BAD_COMMAND, "A credential is revoked that was revoked before.")
def _revoked_twice(world: LogWorld) -> int:
    issued = world.issue()
    world.settle().revoke(issued)
    return step(world, lambda: world.revoke(issued))


@BROKEN.by(LogReason.BAD_COMMAND, "A credential is revoked that no entry before this one issued.")
def _revocation_of_what_comes_later(world: LogWorld) -> int:
    issued = world.issue()
    world.settle()
    return step(world, lambda: world.revoke(issued, value="credential-999999999999"))


@BROKEN.by(LogReason.BAD_COMMAND, "A credential whose signature failed is revoked by that already.")
def _revocation_of_what_failed(world: LogWorld) -> int:
    issued = world.issue()
    world.settle(failed=[issued])
    return step(world, lambda: world.revoke(issued))


@BROKEN.by(LogReason.BAD_COMMAND, "A credential is revoked that has ended.")
def _revocation_of_what_ended(world: LogWorld) -> int:
    issued = world.issue()
    world.settle().time = world.ends[issued]
    return step(world, lambda: world.revoke(issued))


@BROKEN.by(LogReason.BAD_COMMAND, "A revocation counts what lived a second before the entry before it.")
def _revocation_as_of_another_time(world: LogWorld) -> int:
    issued = world.issue()
    world.settle()
    return step(world, lambda: world.revoke(issued, as_of=world.time - 1))


@BROKEN.by(LogReason.BAD_COMMAND, "A revocation counts what will live a second after it.")
def _revocation_as_of_later(world: LogWorld) -> int:
    issued = world.issue()
    world.settle()
    return step(world, lambda: world.revoke(issued, as_of=world.time + 2))


@BROKEN.by(LogReason.BAD_COMMAND, "The person asked to revoke another credential.")
def _another_credential_revoked(world: LogWorld) -> int:
    issued = world.issue()
    world.settle()
    selector: Json = {"credential": "credential-000000000000"}
    return step(world, lambda: world.revoke(issued, selector=selector))


@BROKEN.by(LogReason.BAD_COMMAND, "The person asked to revoke for another reason.")
def _revoked_for_another_reason(world: LogWorld) -> int:
    issued = world.issue()
    world.settle()
    return step(world, lambda: world.revoke(issued, reason="none"))


@BROKEN.by(LogReason.WRONG_KEY, "A suspended key signs a credential.")
def _issued_by_a_suspended_key(world: LogWorld) -> int:
    world.suspend_key("tokens-1")
    return world.issue()


@BROKEN.by(LogReason.WRONG_KEY, "A suspended key signs a checkpoint.")
def _checkpoint_by_a_suspended_key(world: LogWorld) -> int:
    world.suspend_key("log-1")
    return step(world, world.checkpoint)


@BROKEN.by(LogReason.WRONG_KEY, "A key is suspended that is suspended already.")
def _suspended_twice(world: LogWorld) -> int:
    world.suspend_key("tokens-1")
    return step(world, lambda: world.suspend_key("tokens-1"))


@BROKEN.by(LogReason.WRONG_KEY, "A key is suspended that nobody made.")
def _suspended_that_is_not_there(world: LogWorld) -> int:
    return step(world, lambda: world.suspend_key("tokens-2"))


@BROKEN.by(LogReason.WRONG_KEY, "A key is activated that is not suspended.")
def _activated_that_is_not_suspended(world: LogWorld) -> int:
    world.activate_key("tokens-1")
    return world.head.size - 1


@BROKEN.by(LogReason.BAD_COMMAND, "An auditor suspends a key.")
def _suspended_by_an_auditor(world: LogWorld) -> int:
    return step(world, lambda: world.suspend_key("tokens-1", "carol"))


@BROKEN.by(LogReason.BAD_COMMAND, "Another key is suspended than the person signed for.")
def _another_key_suspended(world: LogWorld) -> int:
    return step(world, lambda: world.suspend_key("tokens-1", key="log-1"))


@BROKEN.by(LogReason.BAD_COMMAND, "The result names another key.")
def _another_key_in_the_result(world: LogWorld) -> int:
    return step(world, lambda: world.suspend_key("tokens-1", result={"key": "log-1"}))


@BROKEN.by(LogReason.BAD_COMMAND, "A key is activated by what was asked for before it was suspended again.")
def _activated_by_what_was_asked_before(world: LogWorld) -> int:
    world.suspend_key("tokens-1")
    args: dict[str, Json] = {"key": "tokens-1", "reason": "found"}
    asking = world.wait(world.command("alice", Act.KEY_ACTIVATE, args))
    world.activate_key("tokens-1")
    world.time += TOLERANCE + 1
    world.suspend_key("tokens-1")
    world.approve("bob", asking)
    return world.asked("key.activated", asking, args, {"key": "tokens-1"})


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "One person alone activates a key.")
def _activated_by_one(world: LogWorld) -> int:
    world.suspend_key("tokens-1")
    args: dict[str, Json] = {"key": "tokens-1", "reason": "found"}
    return world.asked("key.activated", world.command("alice", Act.KEY_ACTIVATE, args), args, {"key": "tokens-1"})


def _export(world: LogWorld, size: int) -> int:
    """Say that the log was exported up to a size."""
    return world.asked("log.exported", world.command("carol", Act.LOG_EXPORT, {}), {}, {"size": size})


def _checkpointed(world: LogWorld, *, signed: bool = True) -> int:
    """Write a checkpoint and its outcome; gives its size."""
    world.settle().checkpoint()
    size = world.head.size - 1
    world.settle(failed=() if signed else [size])
    return size


@BROKEN.by(LogReason.BAD_COMMAND, "An export ends neither here nor with a checkpoint.")
def _exported_up_to_anywhere(world: LogWorld) -> int:
    return _export(world, _checkpointed(world) - 1)


@BROKEN.by(LogReason.BAD_COMMAND, "An export ends with a checkpoint that is not the newest.")
def _exported_up_to_an_old_checkpoint(world: LogWorld) -> int:
    older = _checkpointed(world)
    _checkpointed(world)
    return _export(world, older)


@BROKEN.by(LogReason.BAD_COMMAND, "An export ends with a checkpoint that the HSM never signed.")
def _exported_up_to_a_checkpoint_that_failed(world: LogWorld) -> int:
    _checkpointed(world)
    return _export(world, _checkpointed(world, signed=False))


@BROKEN.by(LogReason.BAD_COMMAND, "An export of nothing.")
def _exported_nothing(world: LogWorld) -> int:
    return _export(world, 0)


@BROKEN.by(LogReason.BAD_COMMAND, "An index is given out that another credential had.")
def _an_index_twice(world: LogWorld) -> int:
    issued = world.issue()
    status: Json = {"idx": issued, "uri": f"{plant.ISSUER}/status/line-1/1"}
    return step(world, lambda: _result(world, status=status))


@BROKEN.by(LogReason.BAD_COMMAND, "An index of a credential that has ended is given out again.")
def _an_index_of_one_that_ended(world: LogWorld) -> int:
    issued = world.issue()
    world.settle().time = world.ends[issued] + 1
    status: Json = {"idx": issued, "uri": f"{plant.ISSUER}/status/line-1/1"}
    return step(world, lambda: _result(world, status=status))


@BROKEN.by(LogReason.BAD_COMMAND, "A status list has no such index.")
def _an_index_beyond_the_list(world: LogWorld) -> int:
    status: Json = {"idx": 2**20, "uri": f"{plant.ISSUER}/status/line-1/1"}
    return step(world, lambda: _result(world, status=status))


@BROKEN.by(LogReason.BAD_COMMAND, "Two credentials that live have one jti.")
def _a_jti_twice(world: LogWorld) -> int:
    issued = world.issue()
    return step(world, lambda: _result(world, jti=f"credential-{issued:012d}"))


@BROKEN.by(LogReason.BAD_COMMAND, "Two people agreed on another workload.")
def _another_workload_enrolled(world: LogWorld) -> int:
    asked: dict[str, Json] = {"id": plant.WORKLOAD, "owner": "alice", "review_by": world.time + 90}
    asking = world.agreed(world.command("alice", Act.WORKLOAD_ENROL, asked))
    members: dict[str, Json] = {"workload": {**asked, "owner": "bob"}}
    return world.asked("workload.enrolled", asking, members, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.MALFORMED, "A workload is enrolled with a member that nobody asked for.")
def _workload_with_more(world: LogWorld) -> int:
    asked: dict[str, Json] = {"id": plant.WORKLOAD, "owner": "alice", "review_by": world.time + 90}
    asking = world.agreed(world.command("alice", Act.WORKLOAD_ENROL, asked))
    members: dict[str, Json] = {"workload": {**asked, "admin": True}}
    return world.asked("workload.enrolled", asking, members, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "Another key is enrolled than the one that was proved.")
def _another_key_enrolled(world: LogWorld) -> int:
    return world.enrol(key={**Signer.named("mallory").public.jwk()})


@BROKEN.by(LogReason.BAD_COMMAND, "Two people agreed on a workload without a key.")
def _key_enrolled_that_nobody_asked_for(world: LogWorld) -> int:
    asked: dict[str, Json] = {"id": plant.WORKLOAD, "owner": "alice", "review_by": world.time + 90}
    asking = world.agreed(world.command("alice", Act.WORKLOAD_ENROL, asked))
    members: dict[str, Json] = {"workload": {**asked, "key": {**Signer.named("mallory").public.jwk()}}}
    return world.asked("workload.enrolled", asking, members, {"workload": plant.WORKLOAD})


@BROKEN.by(LogReason.BAD_COMMAND, "Two people agreed on another profile.")
def _another_profile_set(world: LogWorld) -> int:
    profile: Json = {**plant.profile(), "lifetime": 60}
    asking = world.agreed(world.command("alice", Act.PROFILE_SET, {"profile": {**plant.profile()}}))
    return world.asked("profile.set", asking, {"profile": profile}, {"profile": "orders-reader"})


@BROKEN.by(LogReason.BAD_COMMAND, "Two people agreed on another site.")
def _another_site_added(world: LogWorld) -> int:
    site: Json = {"name": "line-9", "audiences": ["https://mallory.example"]}
    return _add_site(world, site=site)


@BROKEN.by(LogReason.BAD_COMMAND, "What the requester is told again is what was asked for.")
def _result_that_says_something_else(world: LogWorld) -> int:
    return _add_site(world, result={"site": "line-8"})


@BROKEN.by(LogReason.BAD_COMMAND, "The officer submitted other files.")
def _other_trust_submitted(world: LogWorld) -> int:
    return step(world, lambda: world.trust(files={"targets/trust/plan.json": world.keep(b"other")}))


@BROKEN.by(LogReason.WRONG_KEY, "A workload's key stands in no other register.")
def _a_workload_with_a_founders_key(world: LogWorld) -> int:
    return world.enrol(plant.operator("bob"))


@BROKEN.by(LogReason.MISSING_BLOB, "What custodians signed is in the export.")
def _trust_without_its_files(world: LogWorld) -> int:
    seq = step(world, world.trust)
    del world.blobs[sha256_hex(b"targets/trust/plan.json")]
    return seq


@BROKEN.by(LogReason.BAD_COMMAND, "The bundle is for another site than the person signed for.")
def _bundle_for_another_site(world: LogWorld) -> int:
    asking = world.command("alice", Act.BUNDLE_CREATE, {"site": "line-2"})
    return step(world, lambda: world.begin_bundle(1, asking))


@BROKEN.by(LogReason.BAD_COMMAND, "A bundle's number that was begun is used again, by another command.")
def _bundle_number_used_twice(world: LogWorld) -> int:
    world.begin_bundle(1)
    world.settle()
    return step(world, lambda: world.begin_bundle(1))


@BROKEN.by(LogReason.BAD_COMMAND, "One command begins two bundles.")
def _bundles_of_one_command(world: LogWorld) -> int:
    asking, _ = world.begin_bundle(1)
    world.settle()
    return step(world, lambda: world.begin_bundle(2, asking))


@BROKEN.by(LogReason.BAD_COMMAND, "A command begins a bundle anew that the HSM did not sign.")
def _bundle_begun_again_after_a_failure(world: LogWorld) -> int:
    seq = world.head.size
    asking, _ = world.begin_bundle(1)
    world.settle(failed=[seq])
    return step(world, lambda: world.begin_bundle(2, asking))


@BROKEN.by(LogReason.BAD_COMMAND, "A bundle ends before it is issued.")
def _bundle_that_ends_before_it_begins(world: LogWorld) -> int:
    return step(world, lambda: world.begin_bundle(1, end=world.time))


@BROKEN.by(LogReason.BAD_COMMAND, "A role is signed for a bundle that was not begun.")
def _role_of_no_bundle(world: LogWorld) -> int:
    asking, facts = world.begin_bundle(1)
    world.settle()
    return step(world, lambda: world.sign_role((asking, {**facts, "sequence": 2}), "site"))


@BROKEN.by(LogReason.BAD_COMMAND, "A role is signed for a bundle that another command began.")
def _role_of_anothers_bundle(world: LogWorld) -> int:
    _, facts = world.begin_bundle(1)
    world.settle()
    other = world.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"})
    return step(world, lambda: world.sign_role((other, facts), "site"))


@BROKEN.by(LogReason.BAD_COMMAND, "A role is signed before the one that it names.")
def _role_out_of_turn(world: LogWorld) -> int:
    making = world.begin_bundle(1)
    return step(world, lambda: world.sign_role(making, "snapshot"))


@BROKEN.by(LogReason.BAD_COMMAND, "A role is signed a second time.")
def _role_signed_twice(world: LogWorld) -> int:
    making = world.begin_bundle(1)
    world.sign_role(making, "site")
    return step(world, lambda: world.sign_role(making, "site"))


@BROKEN.by(LogReason.BAD_COMMAND, "A role is signed for another site than the bundle's.")
def _role_for_another_site(world: LogWorld) -> int:
    making = world.begin_bundle(1)
    return step(world, lambda: world.sign_role(making, "site", site="line-2"))


@BROKEN.by(LogReason.BAD_COMMAND, "A bundle lists a checkpoint that the log does not have.")
def _bundle_with_a_checkpoint_of_nothing(world: LogWorld) -> int:
    making = world.begin_bundle(1)
    world.checkpoint()
    return step(world, lambda: world.sign_role(making, "site", checkpoint=world.head.size))


@BROKEN.by(LogReason.BAD_COMMAND, "A bundle lists a checkpoint that was made before it was begun.")
def _bundle_with_an_older_checkpoint(world: LogWorld) -> int:
    size = step(world, world.checkpoint)
    making = world.begin_bundle(1)
    return step(world, lambda: world.sign_role(making, "site", checkpoint=size))


@BROKEN.by(LogReason.BAD_COMMAND, "A role that lists no checkpoint says that it does.")
def _snapshot_with_a_checkpoint(world: LogWorld) -> int:
    making = world.begin_bundle(1)
    size = step(world, world.checkpoint)
    world.sign_role(making, "site", checkpoint=size)
    return step(world, lambda: world.sign_role(making, "snapshot", checkpoint=size))


@BROKEN.by(LogReason.MALFORMED, "Two roles are signed in one entry.")
def _roles_together(world: LogWorld) -> int:
    making = world.begin_bundle(1)
    return step(world, lambda: world.sign_role(making, "site", signs=world.signs("bundle", b"one", b"two")))


def _made(world: LogWorld, **changes: Json) -> int:
    """Create a bundle whose roles are signed, with something else about it."""
    making = world.begin_bundle(1)
    world.sign_role(making, "site")
    world.sign_role(making, "snapshot")
    return step(world, lambda: world.create_bundle(making, **changes))


@BROKEN.by(LogReason.BAD_COMMAND, "A bundle is created before its roles are signed.")
def _bundle_without_its_roles(world: LogWorld) -> int:
    making = world.begin_bundle(1)
    return step(world, lambda: world.create_bundle(making))


@BROKEN.by(LogReason.BAD_COMMAND, "A bundle is created with another end than it was begun with.")
def _bundle_with_another_end(world: LogWorld) -> int:
    return _made(world, end=world.time + 2 * plant.DAY)


@BROKEN.by(LogReason.BAD_COMMAND, "A bundle is created with status lists that were not signed.")
def _bundle_with_other_lists(world: LogWorld) -> int:
    return _made(world, lists=["https://issuer.plant-a.example/status/line-1/2"])


@BROKEN.by(LogReason.MALFORMED, "The result of a bundle has a member that this reader does not know.")
def _bundle_with_more_result(world: LogWorld) -> int:
    return _made(world, result={"site": "line-1", "sequence": 1, "end": world.time + plant.DAY, "note": ""})


@BROKEN.by(LogReason.BAD_COMMAND, "What the requester is told is another bundle.")
def _bundle_with_another_result(world: LogWorld) -> int:
    return _made(world, result={"site": "line-1", "sequence": 2, "end": 3})


@BROKEN.by(LogReason.BAD_COMMAND, "An export's entry says how far the export reaches at least.")
def _export_of_another_size(world: LogWorld) -> int:
    return world.asked("log.exported", world.command("carol", Act.LOG_EXPORT, {}), {}, {"size": world.head.size})


@pytest.mark.parametrize(("broken", "reason"), BROKEN.rows, ids=name)
def test_a_broken_rule_is_refused_at_its_entry(broken: Breaking, reason: LogReason, begun: LogWorld) -> None:
    """A log that breaks one rule, named by the case, is refused for the right reason and at the right entry."""
    world = begun.copy()
    seq = broken(world)
    assert refusal(world) == (reason, seq)


def _key_times(world: LogWorld) -> tuple[int, int]:
    """Give the validity of the key for tokens."""
    events = (entries.parse(body).event for body in world.bodies)
    made = next(event for event in events if event["type"] == "key.done" and event["name"] == "tokens-1")
    not_before, not_after = made["not_before"], made["not_after"]
    assert isinstance(not_before, int)
    assert isinstance(not_after, int)
    return not_before, not_after


def test_what_was_not_asked_for_is_left_to_the_profile(begun: LogWorld) -> None:
    """A command may name no scopes and no lifetime, a workload no key; the entry then says what was chosen."""
    world = begun.copy()
    args = issue_args()
    del args["scopes"], args["ttl"]
    world.issue(world.command("alice", Act.CREDENTIAL_ISSUE, args), scopes=[])
    asked: dict[str, Json] = {"id": plant.WORKLOAD, "owner": "alice", "review_by": world.time + 90}
    asking = world.agreed(world.command("alice", Act.WORKLOAD_ENROL, asked))
    world.asked("workload.enrolled", asking, {"workload": asked}, {"workload": plant.WORKLOAD})
    assert refusal(world) is None


def test_a_key_signs_from_its_first_second_to_its_last(begun: LogWorld) -> None:
    """The bounds of a key's validity belong to it: a window may begin and end with it."""
    world = begun.copy()
    not_before, not_after = _key_times(world)
    _result(world, nbf=not_before, exp=not_before + 900)
    world.settle()
    world.time = not_after - 901
    _result(world)
    assert refusal(world) is None


def test_a_revocation_is_of_all_that_live_under_it(begun: LogWorld) -> None:
    """What lives under the selector is counted anew: not what failed, ended or was revoked, nor what comes later."""
    world = begun.copy()
    ended = world.issue()
    world.settle().time = world.ends[ended]
    failed, first, second, third = (world.issue() for _ in range(4))
    world.settle(failed=[failed])
    world.revoke(second)
    world.revoke(first, third, by="workload", value=plant.WORKLOAD)
    last = world.issue()
    world.settle()
    world.revoke(last, by="key", value=world.kid("tokens"))
    last = world.issue()
    world.settle().revoke(last, by="profile", value="orders-reader", as_of=world.time + 1)
    assert refusal(world) is None


def test_a_suspended_key_signs_again_once_it_is_activated(begun: LogWorld) -> None:
    """What was announced before the suspension may be signed after it; what comes after the activation is believed."""
    world = begun.copy()
    world.issue()
    world.suspend_key("tokens-1")
    world.settle()
    world.activate_key("tokens-1")
    world.issue()
    world.settle()
    assert refusal(world) is None


def test_an_export_may_end_with_the_newest_signed_checkpoint(begun: LogWorld) -> None:
    """As it does where the log key's token is closed, however many entries came since, and failed checkpoints too."""
    world = begun.copy()
    size = _checkpointed(world)
    _checkpointed(world, signed=False)
    world.issue()
    _export(world, size)
    world.settle()
    _export(world, world.head.size + 1)
    assert refusal(world) is None


def test_a_credential_may_be_two_minutes_older_than_its_entry(begun: LogWorld) -> None:
    """Between decision and entry lie at most 120 s."""
    world = begun.copy()
    _result(world, iat=world.time + 1 - 120)
    assert refusal(world) is None
