"""What an entry says it was decided under: the policy and the profiles that stood, or stood when its command began."""

import pytest

from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.errors import LogReason
from coldcred.policy import DEFAULT
from coldcred.profile import digest_of
from tests.support.logrules import Breaking, Broken, name, refusal, site_args, verified
from tests.support.logworld import LogWorld, issue_args

BROKEN = Broken()
OTHER = "// another policy\n"
OTHER_DIGEST = sha256_hex(OTHER.encode())
DEFAULT_DIGEST = sha256_hex(DEFAULT.encode())


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log with a workload that can be issued to; to be copied."""
    world = LogWorld.begin().start()
    world.enrol()
    return world.settle()


def _batch(world: LogWorld) -> None:
    """Begin a batch of one line, set other policy and profile, and go on with it as it began."""
    body = dumps(issue_args(ttl=60)) + b"\n"
    world.keep(body)
    arguments = BatchArguments(Manifest.of(body)).as_json()
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, arguments)
    world.asked("batch.begun", asking, {"held": None, "resumes": [], **arguments})
    world.set_policy(OTHER)
    world.set_profile(lifetime=1800, approvals=3)
    refused: Json = [{"line": 1, "reason": "outside-profile", "rule": "ttl", "detail": "for longer"}]
    members: dict[str, Json] = {"iat": world.time, "items": [], "refused": refused, "revokes": [], "signs": []}
    chunk = world.asked("batch.issued", asking, members)
    world.open.remove(chunk)
    world.asked("batch.done", asking, {}, {"held": 0, "issued": 0, "refused": 1})


@BROKEN.by(LogReason.BAD_COMMAND, "It was decided under a policy that nobody set.")
def _unset(world: LogWorld) -> int:
    return world.issue(policy=OTHER_DIGEST)


@BROKEN.by(LogReason.BAD_COMMAND, "It was decided under a policy that was replaced before.")
def _replaced(world: LogWorld) -> int:
    world.set_policy(OTHER)
    return world.issue(policy=DEFAULT_DIGEST)


@BROKEN.by(LogReason.BAD_COMMAND, "A request waits under a policy that is not in force.")
def _waits_under_another(world: LogWorld) -> int:
    seq = world.head.size
    world.wait(world.command("alice", Act.SITE_ADD, site_args()[0]), policy=OTHER_DIGEST)
    return seq


@BROKEN.by(LogReason.BAD_COMMAND, "A refusal names a policy that is not in force.")
def _refused_under_another(world: LogWorld) -> int:
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
    said: dict[str, Json] = {"reason": "not-allowed", "rule": "policy no-issue", "detail": "it forbids"}
    return world.asked("command.refused", asking, said, policy=OTHER_DIGEST)


@BROKEN.by(LogReason.BAD_COMMAND, "It was decided under a profile that was replaced before.")
def _replaced_profile(world: LogWorld) -> int:
    before = digest_of(world.profiles.values())
    world.set_profile(lifetime=1800)
    return world.issue(profiles=before)


@BROKEN.by(LogReason.BAD_COMMAND, "A refusal names a profile's version that does not stand.")
def _refused_under_another_profile(world: LogWorld) -> int:
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
    said: dict[str, Json] = {"reason": "not-allowed", "rule": "policy no-issue", "detail": "it forbids"}
    return world.asked("command.refused", asking, said, profiles=OTHER_DIGEST)


@BROKEN.by(LogReason.BAD_COMMAND, "It names profiles, and its command names none.")
def _profiles_of_none(world: LogWorld) -> int:
    return world.asked("reading.opened", world.command("carol", Act.READ_OPEN, {}), {}, {}, profiles=OTHER_DIGEST)


@BROKEN.by(LogReason.MALFORMED, "It does not say what permitted it.")
def _no_permits(world: LogWorld) -> int:
    asking = world.command("carol", Act.READ_OPEN, {})
    world.begun[asking.id] = {"policy": world.policy}
    return world.asked("reading.opened", asking, {}, {})


@BROKEN.by(LogReason.MALFORMED, "What permitted it is not sorted.")
def _unsorted(world: LogWorld) -> int:
    return world.issue(permits=["b", "a"])


@BROKEN.by(LogReason.MALFORMED, "What permitted it is no name of a policy.")
def _no_name(world: LogWorld) -> int:
    return world.issue(permits=["Permits everything\u202e"])


@BROKEN.by(LogReason.MALFORMED, "Policies are said to have permitted what they are not asked about.")
def _stopping_permitted(world: LogWorld) -> int:
    return world.suspend(permits=["officers-act"])


@BROKEN.by(LogReason.BAD_COMMAND, "A policy is set that the command does not name.")
def _another_text(world: LogWorld) -> int:
    digest, other = world.keep(OTHER.encode()), world.keep(b"// a third")
    asking = world.agreed(world.command("bob", Act.POLICY_SET, {"policy": digest}), "alice")
    return world.asked("policy.set", asking, {"text": other}, {"policy": other})


@BROKEN.by(LogReason.BAD_COMMAND, "A policy is set with another result.")
def _another_result(world: LogWorld) -> int:
    return world.set_policy(OTHER, result={"policy": DEFAULT_DIGEST})


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "One person sets a policy.")
def _set_alone(world: LogWorld) -> int:
    digest = world.keep(OTHER.encode())
    asking = world.command("bob", Act.POLICY_SET, {"policy": digest})
    return world.asked("policy.set", asking, {"text": digest}, {"policy": digest})


@BROKEN.by(LogReason.MISSING_BLOB, "The text of the policy is not in the export.")
def _lost_text(world: LogWorld) -> int:
    waits = world.head.size
    world.set_policy(OTHER)
    del world.blobs[OTHER_DIGEST]
    return waits


@BROKEN.by(LogReason.BAD_COMMAND, "A step of a bundle is decided under a policy that came after its first.")
def _later_step(world: LogWorld) -> int:
    making = world.begin_bundle(1)
    world.settle().set_policy(OTHER)
    seq = world.head.size
    world.sign_role(making, "site", policy=OTHER_DIGEST)
    return seq


@pytest.mark.parametrize(("breaking", "reason"), BROKEN.rows, ids=name)
def test_each_broken_rule_is_found_at_its_entry(begun: LogWorld, breaking: Breaking, reason: LogReason) -> None:
    """Whatever an engine writes that nobody could have decided so."""
    world = begun.copy()
    seq = breaking(world)
    assert refusal(world) == (reason, seq)


def test_a_chain_of_policies_is_followed(begun: LogWorld) -> None:
    """Each is set under the one before it; the first may come back."""
    world = begun.copy()
    for text in (OTHER, "// a third", DEFAULT):
        world.set_policy(text)
        world.issue()
    assert verified(world).counts["policy.set"] == 3


def test_the_steps_of_a_command_stay_under_what_its_first_was_decided_under(begun: LogWorld) -> None:
    """R8: a bundle and a batch go on as they began, and so do the people that they take."""
    world = begun.copy()
    making = world.begin_bundle(1)
    world.settle().set_policy(OTHER)
    for role in ("site", "snapshot"):
        world.sign_role(making, role)
        world.settle()
    world.create_bundle(making)
    world.settle()
    _batch(world)
    assert verified(world).counts["batch.done"] == 1


def test_a_refusal_need_not_say_which_profiles_or_what_permitted(begun: LogWorld) -> None:
    """It may be about a batch that came without its file, and nothing may have permitted it."""
    world = begun.copy()
    arguments = BatchArguments(Manifest.of(b"{}\n")).as_json()
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, arguments)
    said: dict[str, Json] = {"reason": "malformed", "rule": "R10 closed forms", "detail": "a batch is sent as a batch"}
    world.begun[asking.id] = {"policy": world.policy}
    world.asked("command.refused", asking, said)
    assert verified(world).counts["command.refused"] == 1
