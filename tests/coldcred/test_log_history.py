"""Keys, intents, checkpoints, founding and the closed forms of events, each rule broken alone in a re-signed log.

Then what an honest appliance writes on its bad days, which must be believed.
"""

import pytest

from coldcred.acts import Act
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.command import Verdict
from coldcred.errors import LogReason
from coldcred.keys import Algorithm
from coldcred.log.note import Checkpoint
from coldcred.log.signing import FLIGHTS
from tests.support import plant
from tests.support.logrules import Breaking, Broken, name, refusal, site_args, step, verified
from tests.support.logworld import OFFICERS, ORIGIN, LogWorld, issue_args
from tests.support.signers import Signer

BROKEN = Broken()


def _founded() -> LogWorld:
    """Return a log that has its founding and its start, and no key yet."""
    world = LogWorld.begin()
    world.append({"type": "started", "version": "0.1.0"})
    return world


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log whose appliance was founded by four people and has its keys."""
    return LogWorld.begin().start()


def _become(world: LogWorld, other: LogWorld) -> LogWorld:
    """Go on with another log instead."""
    vars(world).update(vars(other))
    return world


# --- keys


@BROKEN.by(LogReason.WRONG_KEY, "A key is ordered that the founding does not name.")
def _key_that_nobody_founded(world: LogWorld) -> int:
    return step(world, lambda: world.order("tokens-2"))


@BROKEN.by(LogReason.WRONG_KEY, "A key is ordered a second time.")
def _key_ordered_twice(world: LogWorld) -> int:
    return step(world, lambda: world.order("tokens-1", id="0" * 32))


@BROKEN.by(LogReason.WRONG_KEY, "A key is ordered with a wider charter than the founding's.")
def _key_with_another_charter(world: LogWorld) -> int:
    charter: Json = {**plant.token_charter(), "lifetime": 9 * 3600}
    return step(_become(world, _founded()), lambda: world.order("tokens-1", charter=charter))


@BROKEN.by(LogReason.MALFORMED, "A key is ordered with a charter that is none.")
def _key_with_no_charter(world: LogWorld) -> int:
    charter: Json = {**plant.token_charter(), "purpose": "everything"}
    return step(_become(world, _founded()), lambda: world.order("tokens-1", charter=charter))


@BROKEN.by(LogReason.WRONG_KEY, "A key is ordered on another token than the founding's.")
def _key_on_another_token(world: LogWorld) -> int:
    return step(_become(world, _founded()), lambda: world.order("tokens-1", token="mallory"))


@BROKEN.by(LogReason.WRONG_KEY, "Two keys are ordered under one id.")
def _key_under_the_id_of_another(world: LogWorld) -> int:
    _become(world, _founded()).order("tokens-1", id="0" * 32)
    return step(world, lambda: world.order("log-1", id="0" * 32))


@BROKEN.by(LogReason.WRONG_KEY, "A key is ordered under something that is no CKA_ID.")
def _key_without_an_id(world: LogWorld) -> int:
    return step(_become(world, _founded()), lambda: world.order("tokens-1", id="zz"))


@BROKEN.by(LogReason.WRONG_KEY, "A key is made that no entry ordered.")
def _key_made_without_an_order(world: LogWorld) -> int:
    return step(_become(world, _founded()), lambda: world.make("tokens-1"))


@BROKEN.by(LogReason.WRONG_KEY, "A key is made a second time, with another public half.")
def _key_made_twice(world: LogWorld) -> int:
    return step(world, lambda: world.make("tokens-1", public={**Signer.named("mallory").public.jwk()}))


def _made(world: LogWorld, name: str = "tokens-1", **changes: Json) -> int:
    """Order a key and write that it was made, with something else about it."""
    _become(world, _founded()).order(name)
    return step(world, lambda: world.make(name, **changes))


@BROKEN.by(LogReason.WRONG_KEY, "A key is for another algorithm than its charter.")
def _key_of_another_algorithm(world: LogWorld) -> int:
    return _made(world, public={**Signer.named("mallory", Algorithm.ED25519).public.jwk()})


@BROKEN.by(LogReason.WRONG_KEY, "A founder's operator key is an appliance's key (R10).")
def _key_of_a_founder(world: LogWorld) -> int:
    return _made(world, public={**plant.operator("bob").public.jwk()})


@BROKEN.by(LogReason.WRONG_KEY, "A founder's custodian key is an appliance's key (R10).")
def _key_of_a_custodian(world: LogWorld) -> int:
    return _made(world, "log-1", public={**plant.custodian("bob").public.jwk()})


@BROKEN.by(LogReason.WRONG_KEY, "One key pair stands for two keys of the founding.")
def _key_for_two_purposes(world: LogWorld) -> int:
    _become(world, _founded()).order("tokens-1")
    world.make("tokens-1")
    world.order("status-1")
    public: Json = {**Signer.named("plant-a tokens").public.jwk()}
    return step(world, lambda: world.make("status-1", public=public))


@BROKEN.by(LogReason.WRONG_KEY, "A key is valid a second longer than the founding allows.")
def _key_valid_for_too_long(world: LogWorld) -> int:
    return _made(world, not_after=world.time + 3 + 90 * plant.DAY + 1)


@BROKEN.by(LogReason.WRONG_KEY, "A key is valid from long before it was made.")
def _key_valid_from_before(world: LogWorld) -> int:
    return _made(world, not_before=world.time - plant.DAY, not_after=world.time + 89 * plant.DAY)


@BROKEN.by(LogReason.WRONG_KEY, "A credential is to be signed with a key that no entry made.")
def _signing_with_a_key_that_nobody_made(world: LogWorld) -> int:
    return world.issue(signs=[{"kid": Signer.named("mallory").kid, "sha256": "0" * 64}])


@BROKEN.by(LogReason.WRONG_KEY, "A credential is to be signed with the key for status lists.")
def _credential_by_the_status_key(world: LogWorld) -> int:
    return world.issue(key="status")


@BROKEN.by(LogReason.WRONG_KEY, "A status list is to be signed with the key for tokens.")
def _status_list_by_the_token_key(world: LogWorld) -> int:
    return step(world, lambda: world.begin_bundle(1, signs=world.signs("tokens", b"list")))


@BROKEN.by(LogReason.WRONG_KEY, "A bundle's role is to be signed with the key for status lists.")
def _role_by_the_status_key(world: LogWorld) -> int:
    making = world.begin_bundle(1)
    return step(world, lambda: world.sign_role(making, "site", signs=world.signs("status", b"site")))


@BROKEN.by(LogReason.WRONG_KEY, "A checkpoint is to be signed with the bundle key.")
def _checkpoint_by_the_bundle_key(world: LogWorld) -> int:
    text = Checkpoint(ORIGIN, world.frontier.size, world.frontier.root()).text()
    return step(world, lambda: world.checkpoint(signs=world.signs("bundle", text)))


@BROKEN.by(LogReason.WRONG_KEY, "A checkpoint comes before the log key was made.")
def _checkpoint_before_its_key(world: LogWorld) -> int:
    return step(_become(world, _founded()), world.checkpoint)


@BROKEN.by(LogReason.WRONG_KEY, "A credential is issued when the key's validity is over.")
def _credential_after_the_keys_end(world: LogWorld) -> int:
    world.time += 90 * plant.DAY
    return world.issue()


@BROKEN.by(LogReason.WRONG_KEY, "A credential outlives its key by some seconds.")
def _credential_that_outlives_its_key(world: LogWorld) -> int:
    world.time += 90 * plant.DAY - 900
    return world.issue()


@BROKEN.by(LogReason.WRONG_KEY, "A credential is for a subject that the key's charter does not cover.")
def _credential_beyond_the_charter(world: LogWorld) -> int:
    other = "spiffe://plant-a.example/line-2/robot-7"
    world.enrol_keyless(other)
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args(workload=other))
    return world.issue(asking, workload=other)


@BROKEN.by(LogReason.WRONG_KEY, "A credential lives longer than the key's charter allows.")
def _credential_longer_than_the_charter(world: LogWorld) -> int:
    return world.issue(world.command("alice", Act.CREDENTIAL_ISSUE, issue_args(ttl=8 * 3600 + 1)))


# --- intents and outcomes


@BROKEN.by(LogReason.MALFORMED, "An outcome is given to an entry that announced no signature.")
def _outcome_of_no_intent(world: LogWorld) -> int:
    return step(world, lambda: world.append({"type": "outcomes", "signed": [0], "failed": [], "unknown": []}))


@BROKEN.by(LogReason.MALFORMED, "An outcome is given to an entry that is not written yet.")
def _outcome_of_a_later_entry(world: LogWorld) -> int:
    later = world.head.size + 1
    seq = step(world, lambda: world.append({"type": "outcomes", "signed": [later], "failed": [], "unknown": []}))
    world.issue()
    return seq


@BROKEN.by(LogReason.MALFORMED, "An intent gets two outcomes, in two entries.")
def _outcome_twice(world: LogWorld) -> int:
    intent = world.issue()
    world.settle()
    return step(world, lambda: world.append({"type": "outcomes", "signed": [], "failed": [intent], "unknown": []}))


@BROKEN.by(LogReason.MALFORMED, "An intent gets two outcomes, in one entry.")
def _outcome_twice_at_once(world: LogWorld) -> int:
    intent = world.issue()
    world.open = []
    event: dict[str, Json] = {"type": "outcomes", "signed": [intent], "failed": [intent], "unknown": []}
    return world.append(event)


@BROKEN.by(LogReason.MALFORMED, "Something that is no number gets an outcome.")
def _outcome_of_no_number(world: LogWorld) -> int:
    return step(world, lambda: world.append({"type": "outcomes", "signed": [True], "failed": [], "unknown": []}))


@BROKEN.by(LogReason.MALFORMED, "A list of numbers gets an outcome.")
def _outcome_of_a_list(world: LogWorld) -> int:
    return step(world, lambda: world.append({"type": "outcomes", "signed": [[1]], "failed": [], "unknown": []}))


@BROKEN.by(LogReason.INCOMPLETE, "An intent is passed over by more outcomes than there can be groups at the HSM.")
def _intent_without_an_outcome(world: LogWorld) -> int:
    silent = world.issue()
    world.open = []
    for _ in range(FLIGHTS + 1):
        world.issue()
        world.settle()
    return silent


@BROKEN.by(LogReason.INCOMPLETE, "The appliance starts anew and leaves open what was open when it stopped.")
def _intent_open_at_a_start(world: LogWorld) -> int:
    silent = world.issue()
    world.append({"type": "started", "version": "0.1.0"})
    return silent


# --- checkpoints


@BROKEN.by(LogReason.WRONG_ROOT, "A checkpoint has another root than the entries before it.")
def _checkpoint_with_another_root(world: LogWorld) -> int:
    return step(world, lambda: world.checkpoint(root="1" * 64))


@BROKEN.by(LogReason.WRONG_ROOT, "A checkpoint covers fewer entries than stand before it.")
def _checkpoint_of_another_size(world: LogWorld) -> int:
    return step(world, lambda: world.checkpoint(size=world.head.size - 1))


@BROKEN.by(LogReason.BAD_CHECKPOINT, "What a checkpoint signs is another text than its own.")
def _checkpoint_that_signs_something_else(world: LogWorld) -> int:
    return step(world, lambda: world.checkpoint(signs=world.signs("log", b"another text\n")))


# --- forms


@BROKEN.by(LogReason.MALFORMED, "An event has a type that this reader does not know.")
def _unknown_type(world: LogWorld) -> int:
    return world.append({"type": "operator.added", "person": "mallory"})


@BROKEN.by(LogReason.MALFORMED, "A signed command is carried out as an event that this reader does not know.")
def _unknown_deed(world: LogWorld) -> int:
    return world.asked("token.moved", world.command("carol", Act.READ_OPEN, {}), {}, {})


@BROKEN.by(LogReason.MALFORMED, "A clock reset is no event of this version, though the chain lets its time go back.")
def _unknown_clock_reset(world: LogWorld) -> int:
    return step(world, lambda: world.append({"type": "clock.reset"}, after=-3600))


@BROKEN.by(LogReason.MALFORMED, "An event has a member that this reader does not know.")
def _unknown_member(world: LogWorld) -> int:
    return world.issue(note="")


@BROKEN.by(LogReason.MALFORMED, "A system event brings something along.")
def _stop_with_a_member(world: LogWorld) -> int:
    return world.append({"type": "stopped", "grants": "everything"})


@BROKEN.by(LogReason.MALFORMED, "An event that signs nothing announces a signature.")
def _signature_where_none_belongs(world: LogWorld) -> int:
    asking = world.command("carol", Act.READ_OPEN, {})
    seq = world.asked("reading.opened", asking, {"signs": world.signs("tokens", b"anything")}, {})
    world.open = []
    return seq


@BROKEN.by(LogReason.MALFORMED, "An event that ends a command has no result.")
def _no_result(world: LogWorld) -> int:
    return world.asked("reading.opened", world.command("carol", Act.READ_OPEN, {}), {})


@BROKEN.by(LogReason.MALFORMED, "An announced signature has a member that this reader does not know.")
def _signature_with_more(world: LogWorld) -> int:
    return world.issue(signs=[{"kid": world.kid("tokens"), "sha256": "0" * 64, "note": ""}])


@BROKEN.by(LogReason.MALFORMED, "A credential announces two signatures.")
def _two_signatures_for_one_credential(world: LogWorld) -> int:
    return world.issue(signs=world.signs("tokens", b"one", b"two"))


@BROKEN.by(LogReason.MALFORMED, "Approvals are not in order, so one record could be written in two ways.")
def _approvals_out_of_order(world: LogWorld) -> int:
    asked, members = site_args()
    asking = world.agreed(world.command("alice", Act.SITE_ADD, asked), "bob", "dora")
    backwards: list[Json] = [*sorted(world.approvals[asking.id], reverse=True)]
    return world.asked("site.added", asking, members, {"site": "line-9"}, approvals=backwards)


@BROKEN.by(LogReason.MALFORMED, "An entry's time is beyond all calendars.")
def _time_without_end(world: LogWorld) -> int:
    world.time = 300_000_000_000
    return world.append({"type": "stopped"})


# --- founding


@BROKEN.by(LogReason.MALFORMED, "The appliance is founded a second time.")
def _founded_twice(world: LogWorld) -> int:
    tokens = plant.signatures(world.founded.body)
    signatures: Json = [sha256_hex(token.encode()) for token in tokens]
    event: dict[str, Json] = {"type": "founded", "founding": world.founded.appliance_id, "signatures": signatures}
    return world.append(event)


@BROKEN.by(LogReason.MALFORMED, "The log begins with something else than a founding.")
def _not_founded(world: LogWorld) -> int:
    _become(world, LogWorld(world.founded, "plant-a", blobs=world.blobs))
    return world.append({"type": "started", "version": "0.1.0"})


@BROKEN.by(LogReason.BAD_COMMAND, "The log founds another appliance than the export's founding.json.")
def _founded_as_another(world: LogWorld) -> int:
    _become(world, LogWorld.begin(founding=plant.appliance_id()))
    return 0


@BROKEN.by(LogReason.BAD_COMMAND, "A founder's signature is missing.")
def _founder_missing(world: LogWorld) -> int:
    body = dumps(plant.members(OFFICERS))
    signatures: Json = [sha256_hex(token.encode()) for token in plant.signatures(body)[1:]]
    _become(world, LogWorld.begin(signatures=signatures))
    return 0


@BROKEN.by(LogReason.BAD_COMMAND, "The founders signed another founding.")
def _founders_of_another(world: LogWorld) -> int:
    other = plant.signatures(dumps({**plant.members(OFFICERS), "time": plant.TIME + 1}))
    fresh = LogWorld.begin(signatures=[sha256_hex(token.encode()) for token in other])
    for token in other:
        fresh.keep(token.encode())
    _become(world, fresh)
    return 0


@BROKEN.by(LogReason.MISSING_BLOB, "The founding is not among the blobs that its entry names.")
def _founding_without_bytes(world: LogWorld) -> int:
    del world.blobs[world.founded.appliance_id]
    return 0


@BROKEN.by(LogReason.MISSING_BLOB, "A founder's signature is named and not there.")
def _founder_without_bytes(world: LogWorld) -> int:
    _become(world, LogWorld.begin(signatures=["0" * 64]))
    return 0


@pytest.mark.parametrize(("broken", "reason"), BROKEN.rows, ids=name)
def test_a_broken_rule_is_refused_at_its_entry(broken: Breaking, reason: LogReason, begun: LogWorld) -> None:
    """A log that breaks one rule, named by the case, is refused for the right reason and at the right entry."""
    world = begun.copy()
    seq = broken(world)
    assert refusal(world) == (reason, seq)


# --- honest logs


def test_a_day_of_everything_is_believed(begun: LogWorld) -> None:
    """Every event type an appliance writes is read, and counted once each time."""
    report = verified(begun.copy().day())
    assert report.entries == sum(report.counts.values())
    assert set(report.counts) == {
        "founded", "started", "stopped", "key.ordered", "key.done", "checkpoint", "outcomes",
        "command.waiting", "command.refused", "approval.given",
        "credential.issued", "credential.revoked", "workload.enrolled", "profile.set", "site.added",
        "trust.submitted", "bundle.begun", "bundle.signed", "bundle.created", "log.exported", "reading.opened",
        "workload.suspended", "workload.resumed",
        "key.suspended", "key.activated", "policy.set",
        "workload.adopted", "review.started", "review.confirmed", "review.closed",
    }  # fmt: skip
    assert (report.counts["key.done"], report.counts["credential.issued"]) == (4, 2)
    assert report.outcomes == {"signed": 8, "failed": 1}
    assert report.open_intents == ()


def test_intents_of_the_last_commit_may_be_open(begun: LogWorld) -> None:
    """An export catches signatures under way; they are reported, also those that an entry of outcomes follows."""
    world = begun.copy()
    first = world.issue()
    world.open = []
    second = world.issue()
    event: dict[str, Json] = {"type": "outcomes", "signed": [first], "failed": [], "unknown": []}
    world.append(event)
    third = world.issue()
    world.open = []
    assert verified(world).open_intents == (second, third)


def test_a_crash_leaves_an_unknown_outcome(begun: LogWorld) -> None:
    """What was open at a crash is closed as unknown before the next start."""
    world = begun.copy()
    issued = world.issue()
    world.settle(unknown=[issued])
    world.append({"type": "started", "version": "0.1.1"})
    assert verified(world).outcomes["unknown"] == 1


def test_one_founder_needs_nobody_else() -> None:
    """In a home founded by one person every number is one, and the report says so."""
    world = LogWorld.begin(plant.members(plant.ALONE)).start()
    asked, members = site_args()
    world.asked("site.added", world.command("alice", Act.SITE_ADD, asked), members, {"site": "line-9"})
    assert verified(world).single_operator


def test_a_founding_raises_a_number() -> None:
    """An act takes as many people as the founding says, from the founding on."""
    members = plant.members(OFFICERS)
    quorums: Json = {"custodians": 2, "recovery": 2, "acts": {"credential.issue": 2, "site.add": 3}}
    world = LogWorld.begin({**members, "quorums": quorums}).start()
    asked, site = site_args()
    asking = world.wait(world.command("alice", Act.SITE_ADD, asked), 3)
    world.approve("bob", asking, need=3)
    short = world.copy()
    seq = short.asked("site.added", asking, site, {"site": "line-9"})
    assert refusal(short) == (LogReason.TOO_FEW_PEOPLE, seq)
    world.approve("dora", asking, need=3)
    world.asked("site.added", asking, site, {"site": "line-9"})
    assert verified(world).counts["approval.given"] == 3
    seq = step(world, world.issue)
    assert refusal(world) == (LogReason.TOO_FEW_PEOPLE, seq)


def test_a_profile_raises_a_number(begun: LogWorld) -> None:
    """An issue under a profile of two approvals waits for the second person and is then believed."""
    world = begun.copy()
    profile: Json = {**plant.profile(), "approvals": 2}
    setting = world.agreed(world.command("alice", Act.PROFILE_SET, {"profile": profile}))
    world.asked("profile.set", setting, {"profile": profile}, {"profile": "orders-reader"})
    asking = world.agreed(world.command("alice", Act.CREDENTIAL_ISSUE, issue_args()))
    world.complete(asking)
    world.issue(asking)
    assert verified(world).counts["credential.issued"] == 1


def test_a_late_approval_need_not_be_counted(begun: LogWorld) -> None:
    """An approval that came in while the command was being decided is not among those the entry counts."""
    world = begun.copy()
    asked, members = site_args()
    asking = world.agreed(world.command("alice", Act.SITE_ADD, asked))
    counted: list[Json] = [*world.approvals[asking.id]]
    world.approve("dora", asking)
    world.asked("site.added", asking, members, {"site": "line-9"}, people=["alice", "bob"], approvals=counted)
    assert verified(world).counts["site.added"] == 1


def test_a_refusal_needs_no_role_no_time_and_no_people(begun: LogWorld) -> None:
    """Refusals grant nothing: an auditor's issue, a command that ended, and one whose approvals are left out."""
    world = begun.copy()
    auditors = world.command("carol", Act.CREDENTIAL_ISSUE, issue_args())
    world.asked(
        "command.refused", auditors, {"reason": "not-allowed", "rule": "R2 who may ask", "detail": "takes an issuer"}
    )
    asking = world.agreed(world.command("alice", Act.SITE_ADD, {}))
    world.time += 2 * 3600
    changes: dict[str, Json] = {"people": ["alice"], "approvals": []}
    world.asked(
        "command.refused", asking, {"reason": "expired", "rule": "R2 who may ask", "detail": "it ended"}, **changes
    )
    assert verified(world).counts["command.refused"] == 2


def test_an_old_command_may_be_refused_again(begun: LogWorld) -> None:
    """Sent again when its outcome is forgotten, a command is refused as expired and stays carried out once."""
    world = begun.copy()
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
    world.issue(asking)
    world.settle()
    world.time += 16 * plant.DAY
    for _ in range(2):
        world.asked("command.refused", asking, {"reason": "expired", "rule": "R2 who may ask", "detail": "it ended"})
    assert verified(world).counts["command.refused"] == 2
    seq = world.issue(asking)
    assert refusal(world) == (LogReason.BAD_COMMAND, seq)


def test_two_bundles_may_be_under_way_at_once(begun: LogWorld) -> None:
    """Two officers ask in one moment: both bundles begin before the first one is created."""
    world = begun.copy()
    made = [
        world.begin_bundle(number, world.command(person, Act.BUNDLE_CREATE, {"site": "line-1"}))
        for number, person in enumerate(("alice", "bob"), 1)
    ]
    for role in ("site", "snapshot"):
        for making in made:
            world.settle().sign_role(making, role)
    for making in made:
        world.settle().create_bundle(making)
    assert verified(world).counts["bundle.created"] == 2


def test_a_bundle_that_failed_gives_up_its_number(begun: LogWorld) -> None:
    """When the HSM did not sign the status list, the next bundle has the next number."""
    world = begun.copy()
    failed = step(world, lambda: world.begin_bundle(1))
    world.settle(failed=[failed]).bundle(2)
    assert verified(world).counts["bundle.begun"] == 2


def test_a_tolerance_of_120_seconds(begun: LogWorld) -> None:
    """An entry may lie up to 120 s before its command's signing and less than 120 s after its end."""
    world = begun.copy()
    world.issue(world.command("alice", Act.CREDENTIAL_ISSUE, issue_args(), iat=world.time + 1 + 120))
    ending = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args(), exp=world.time + 60)
    world.time += 60 + 119 - 1
    world.issue(ending)
    assert verified(world).counts["credential.issued"] == 2


def test_a_denial_is_kept_and_ends_the_request(begun: LogWorld) -> None:
    """A deny by someone who approved before is part of the record, and the people named are all who spoke."""
    world = begun.copy()
    asking = world.agreed(world.command("alice", Act.SITE_ADD, {}), "bob")
    world.approve("bob", asking, Verdict.DENY)
    assert verified(world).counts["approval.given"] == 3
