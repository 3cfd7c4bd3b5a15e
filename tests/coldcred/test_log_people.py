"""People in a log, each rule broken alone by somebody who holds every key of the appliance.

He re-chains and re-signs everything, so chain, tree and checkpoint are in order each time. What he does not hold
are the keys of people, and that is what he is caught by, at the entry that is to blame.
"""

import pytest

from coldcred.acts import Act
from coldcred.canonical import Json, b64u_encode, dumps, sha256_hex
from coldcred.command import Verdict
from coldcred.errors import LogReason
from coldcred.jose import Typ, parse_unverified
from tests.support import plant
from tests.support.logrules import Breaking, Broken, name, refusal, site_args, step
from tests.support.logworld import LogWorld, appliance_key, issue_args
from tests.support.signers import Signer, twin

BROKEN = Broken()


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log whose appliance was founded by four people and has its keys."""
    return LogWorld.begin().start()


@BROKEN.by(LogReason.MISSING_BLOB, "The command that an entry names is not in the export.")
def _command_without_its_bytes(world: LogWorld) -> int:
    seq = world.issue(asking := world.command("alice", Act.CREDENTIAL_ISSUE, issue_args()))
    del world.blobs[asking.document]
    return seq


@BROKEN.by(LogReason.BAD_COMMAND, "The blob that an entry names as its command is something else.")
def _command_that_is_no_text(world: LogWorld) -> int:
    return world.issue(document=world.keep(b"\xff\xfe"))


@BROKEN.by(LogReason.BAD_COMMAND, "The command was changed after the person signed it.")
def _command_with_a_wrong_signature(world: LogWorld) -> int:
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
    changed = asking.token[:-8] + ("AAAAAAAA" if not asking.token.endswith("AAAAAAAA") else "BBBBBBBB")
    return world.issue(asking, document=world.keep(changed.encode()))


def _signed_by(world: LogWorld, signer: Signer, *, typ: Typ = Typ.COMMAND) -> int:
    """Issue on a command as alice would have signed it, by another key or as another document."""
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
    claims = parse_unverified(asking.token).payload
    header = dumps({"alg": signer.public.algorithm.value, "kid": signer.kid, "typ": typ.value})
    data = f"{b64u_encode(header)}.{b64u_encode(claims)}".encode()
    token = f"{data.decode()}.{b64u_encode(signer.sign(data))}"
    return world.issue(asking, document=world.keep(token.encode()), command=sha256_hex(data))


@BROKEN.by(LogReason.BAD_COMMAND, "The command is signed by a key that is in no register.")
def _command_by_a_stranger(world: LogWorld) -> int:
    return _signed_by(world, Signer.named("mallory"))


@BROKEN.by(
    LogReason.BAD_COMMAND,
    "The command is signed by the other key of the same person (R10).",
)
def _command_by_a_custodian_key(world: LogWorld) -> int:
    return _signed_by(world, plant.custodian("alice"))


@BROKEN.by(LogReason.BAD_COMMAND, "The command is signed by the appliance's own key for tokens.")
def _command_by_the_appliance(world: LogWorld) -> int:
    return _signed_by(world, appliance_key("tokens"))


@BROKEN.by(LogReason.BAD_COMMAND, "The person signed these bytes, but not as a command.")
def _command_of_another_typ(world: LogWorld) -> int:
    return _signed_by(world, plant.operator("alice"), typ=Typ.APPROVAL)


@BROKEN.by(LogReason.BAD_COMMAND, "The person signed it for another appliance.")
def _command_for_another_appliance(world: LogWorld) -> int:
    return world.issue(world.command("alice", Act.CREDENTIAL_ISSUE, issue_args(), aud="0" * 64))


@BROKEN.by(LogReason.BAD_COMMAND, "The person signed it for an epoch that this log has not reached.")
def _command_of_another_epoch(world: LogWorld) -> int:
    return world.issue(world.command("alice", Act.CREDENTIAL_ISSUE, issue_args(), epoch=2))


@BROKEN.by(LogReason.BAD_COMMAND, "The entry names one command's id and another one's bytes.")
def _command_id_of_another_command(world: LogWorld) -> int:
    other = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
    return world.issue(command=other.id)


@BROKEN.by(LogReason.BAD_COMMAND, "The entry names another act than the command.")
def _act_of_another_command(world: LogWorld) -> int:
    return world.issue(act=Act.READ_OPEN.value)


@BROKEN.by(LogReason.BAD_COMMAND, "A command to open reading is carried out as an issue.")
def _act_that_does_not_fit_the_event(world: LogWorld) -> int:
    asking = world.command("alice", Act.READ_OPEN, issue_args())
    return world.issue(asking)


@BROKEN.by(LogReason.BAD_COMMAND, "The entry lays a command at another person's door.")
def _requester_who_did_not_sign(world: LogWorld) -> int:
    return world.issue(by="bob", people=["bob"])


@BROKEN.by(LogReason.BAD_COMMAND, "The entry names another requester than the people who signed.")
def _requester_who_is_not_among_the_people(world: LogWorld) -> int:
    return world.issue(by="bob")


@BROKEN.by(LogReason.BAD_COMMAND, "An auditor issues.")
def _requester_without_the_role(world: LogWorld) -> int:
    return world.issue(world.command("carol", Act.CREDENTIAL_ISSUE, issue_args()))


@BROKEN.by(LogReason.BAD_COMMAND, "What an approver may not ask for does not even wait.")
def _waiting_for_one_without_the_role(world: LogWorld) -> int:
    return step(world, lambda: world.wait(world.command("dora", Act.SITE_ADD, {})))


@BROKEN.by(LogReason.BAD_COMMAND, "An entry lies 120 s or more after the end of its command.")
def _command_that_had_ended(world: LogWorld) -> int:
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args(), exp=world.time + 60)
    world.time += 60 + 120 - 1
    return world.issue(asking)


@BROKEN.by(LogReason.BAD_COMMAND, "An entry lies more than 120 s before the signing of its command.")
def _command_from_the_future(world: LogWorld) -> int:
    return world.issue(world.command("alice", Act.CREDENTIAL_ISSUE, issue_args(), iat=world.time + 122))


@BROKEN.by(LogReason.BAD_COMMAND, "One command gives two credentials.")
def _command_carried_out_twice(world: LogWorld) -> int:
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
    world.issue(asking)
    world.settle()
    return world.issue(asking)


@BROKEN.by(LogReason.BAD_COMMAND, "The twin (r, n-s) of a command's signature makes no new command (R6).")
def _command_carried_out_again_under_a_twin_signature(world: LogWorld) -> int:
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
    world.issue(asking)
    world.settle()
    jws = parse_unverified(asking.token)
    token = f"{jws.signing_input.decode()}.{b64u_encode(twin(jws.signature))}"
    return world.issue(asking, document=world.keep(token.encode()))


@BROKEN.by(LogReason.BAD_COMMAND, "What was refused is carried out later.")
def _command_carried_out_after_its_refusal(world: LogWorld) -> int:
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
    world.asked("command.refused", asking, {"reason": "no-bundle", "rule": "R2 who may ask", "detail": "none was made"})
    return world.issue(asking)


@BROKEN.by(LogReason.BAD_COMMAND, "Even a refusal is laid only at the door of whoever signed.")
def _command_refused_in_anothers_name(world: LogWorld) -> int:
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
    return world.asked(
        "command.refused",
        asking,
        {"reason": "expired", "rule": "R2 who may ask", "detail": "over"},
        by="bob",
        people=["bob"],
    )


def _add_site(world: LogWorld, *approvers: str, **changes: Json) -> int:
    """Add a site that alice asks for and these people approve, each in an entry of its own."""
    asked, members = site_args()
    asking = world.wait(world.command("alice", Act.SITE_ADD, asked))
    for person in approvers:
        world.approve(person, asking)
    return world.asked("site.added", asking, members, {"site": "line-9"}, **changes)


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "An act that takes two people is carried out for one.")
def _one_where_two_are_needed(world: LogWorld) -> int:
    return _add_site(world)


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "The request is not even logged as waiting.")
def _one_where_two_are_needed_and_nothing_waited(world: LogWorld) -> int:
    asked, members = site_args()
    return world.asked("site.added", world.command("alice", Act.SITE_ADD, asked), members, {"site": "line-9"})


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "An entry names a person more than signed.")
def _people_who_signed_nothing(world: LogWorld) -> int:
    return world.issue(people=["alice", "bob"])


@BROKEN.by(LogReason.BAD_COMMAND, "An entry leaves out one of those who signed.")
def _people_left_out(world: LogWorld) -> int:
    return _add_site(world, "bob", "dora", people=["alice", "bob"])


@BROKEN.by(LogReason.BAD_COMMAND, "An entry names another person than the one who signed.")
def _people_exchanged(world: LogWorld) -> int:
    return _add_site(world, "bob", people=["alice", "dora"])


@BROKEN.by(LogReason.BAD_COMMAND, "An entry counts an approval that no entry shows.")
def _approval_that_nobody_gave(world: LogWorld) -> int:
    return _add_site(world, people=["alice", "bob"], approvals=["0" * 64])


@BROKEN.by(LogReason.BAD_COMMAND, "An approval counts from its entry on, not before.")
def _approval_that_comes_later(world: LogWorld) -> int:
    asked, members = site_args()
    asking = world.wait(world.command("alice", Act.SITE_ADD, asked))
    token = world.approval("bob", asking)
    world.approvals[asking.id] = {sha256_hex(parse_unverified(token).signing_input): "bob"}
    seq = world.asked("site.added", asking, members, {"site": "line-9"})
    world.approvals[asking.id] = {}
    world.count("bob", asking, token)
    return seq


@BROKEN.by(LogReason.BAD_COMMAND, "What bob approved was another request.")
def _approvals_of_another_request(world: LogWorld) -> int:
    asked, members = site_args()
    other = world.wait(world.command("alice", Act.SITE_ADD, asked))
    approval = world.approve("bob", other)
    asking = world.wait(world.command("alice", Act.SITE_ADD, asked))
    changes: dict[str, Json] = {"people": ["alice", "bob"], "approvals": [approval]}
    return world.asked("site.added", asking, members, {"site": "line-9"}, **changes)


def _approval(world: LogWorld, person: str = "bob", *, by: str = "alice", **changes: Json) -> int:
    """Write an approval of a request that waits, with something wrong about its entry."""
    asking = world.wait(world.command(by, Act.SITE_ADD, {}))
    return step(world, lambda: world.count(person, asking, world.approval(person, asking), **changes))


@BROKEN.by(LogReason.BAD_COMMAND, "The requester counts once and cannot approve.")
def _approval_by_the_requester(world: LogWorld) -> int:
    return _approval(world, "bob", by="bob")


@BROKEN.by(LogReason.BAD_COMMAND, "An auditor approves nothing.")
def _approval_by_an_auditor(world: LogWorld) -> int:
    return _approval(world, "carol")


@BROKEN.by(LogReason.BAD_COMMAND, "A key in no register approves nothing.")
def _approval_by_a_stranger(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.SITE_ADD, {}))
    signer, claims = Signer.named("mallory"), parse_unverified(world.approval("bob", asking)).payload
    header = dumps({"alg": "ES256", "kid": signer.kid, "typ": Typ.APPROVAL.value})
    data = f"{b64u_encode(header)}.{b64u_encode(claims)}".encode()
    token = f"{data.decode()}.{b64u_encode(signer.sign(data))}"
    world.keep(token.encode())
    return step(world, lambda: world.count("bob", asking, token))


@BROKEN.by(LogReason.BAD_COMMAND, "A command is not an approval, whoever signed it.")
def _approval_with_a_command_as_its_document(world: LogWorld) -> int:
    other = world.command("bob", Act.SITE_ADD, {})
    return _approval(world, document=other.document)


@BROKEN.by(LogReason.BAD_COMMAND, "What bob signed says deny; the entry says approve.")
def _approval_that_is_a_denial(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.SITE_ADD, {}))
    token = world.approval("bob", asking, Verdict.DENY)
    return step(world, lambda: world.count("bob", asking, token))


@BROKEN.by(LogReason.BAD_COMMAND, "What bob signed was for another appliance.")
def _approval_for_another_appliance(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.SITE_ADD, {}))
    token = world.approval("bob", asking, aud="0" * 64)
    return step(world, lambda: world.count("bob", asking, token))


@BROKEN.by(LogReason.BAD_COMMAND, "An approval lies 120 s or more after its own end.")
def _approval_that_had_ended(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.SITE_ADD, {}))
    token = world.approval("bob", asking, exp=world.time + 60)
    world.time += 60 + 120 - 1
    return step(world, lambda: world.count("bob", asking, token))


@BROKEN.by(LogReason.BAD_COMMAND, "A request is approved 120 s or more after its own end, by a fresh approval.")
def _approval_of_what_had_ended(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.SITE_ADD, {}))
    world.time += 2 * 3600
    return step(world, lambda: world.approve("bob", asking))


@BROKEN.by(LogReason.BAD_COMMAND, "The entry says that bob approved another request than he did.")
def _approval_moved_to_another_request(world: LogWorld) -> int:
    first = world.wait(world.command("alice", Act.SITE_ADD, {}))
    second = world.wait(world.command("alice", Act.SITE_ADD, {}))
    token = world.approval("bob", first)
    return step(world, lambda: world.count("bob", second, token))


@BROKEN.by(LogReason.BAD_COMMAND, "The entry says that dora approved what bob signed.")
def _approval_laid_at_anothers_door(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.SITE_ADD, {}))
    token = world.approval("bob", asking)
    return step(world, lambda: world.count("dora", asking, token))


@BROKEN.by(LogReason.BAD_COMMAND, "The entry names another approver than the people who signed.")
def _approver_who_is_not_among_the_people(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.SITE_ADD, {}))
    return step(world, lambda: world.approve("bob", asking, by="dora"))


@BROKEN.by(LogReason.BAD_COMMAND, "The entry gives the approval another id, under which it could be counted again.")
def _approval_under_another_id(world: LogWorld) -> int:
    return _approval(world, approval="0" * 64)


@BROKEN.by(LogReason.BAD_COMMAND, "One signature of one person fills the quorum once.")
def _approval_counted_twice(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.SITE_ADD, {}))
    token = world.approval("bob", asking)
    world.count("bob", asking, token)
    return step(world, lambda: world.count("bob", asking, token))


@BROKEN.by(LogReason.BAD_COMMAND, "What does not wait cannot be approved.")
def _approval_of_nothing(world: LogWorld) -> int:
    asking = world.command("alice", Act.SITE_ADD, {})
    return step(world, lambda: world.approve("bob", asking))


@BROKEN.by(LogReason.BAD_COMMAND, "One deny ends a request.")
def _approval_after_a_denial(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.SITE_ADD, {}))
    world.approve("dora", asking, Verdict.DENY)
    return step(world, lambda: world.approve("bob", asking))


@BROKEN.by(LogReason.BAD_COMMAND, "What one person denied is not carried out, whoever approved before.")
def _command_carried_out_after_a_denial(world: LogWorld) -> int:
    asked, members = site_args()
    asking = world.wait(world.command("alice", Act.SITE_ADD, asked))
    world.approve("bob", asking)
    world.approve("dora", asking, Verdict.DENY)
    changes: dict[str, Json] = {"people": ["alice"], "approvals": []}
    return world.asked("site.added", asking, members, {"site": "line-9"}, **changes)


@BROKEN.by(LogReason.BAD_COMMAND, "An approval's entry repeats how many people the request waits for.")
def _approval_that_says_a_smaller_number(world: LogWorld) -> int:
    return _approval(world, need=1)


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "An approval's entry names those who signed so far and nobody else.")
def _approval_that_names_more_people(world: LogWorld) -> int:
    return _approval(world, people=["alice", "bob", "dora"])


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "A request cannot be logged as waiting for fewer people than the act takes.")
def _waiting_for_fewer_than_needed(world: LogWorld) -> int:
    asking = world.command("alice", Act.SITE_ADD, {})
    return step(world, lambda: world.wait(asking, 1))


@BROKEN.by(LogReason.BAD_COMMAND, "What takes one person never waits.")
def _waiting_for_one(world: LogWorld) -> int:
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, issue_args())
    return step(world, lambda: world.wait(asking, 1))


@BROKEN.by(LogReason.BAD_COMMAND, "A request waits for more people than the act takes, so that nobody need be asked.")
def _waiting_for_more_than_needed(world: LogWorld) -> int:
    asking = world.command("alice", Act.SITE_ADD, {})
    return step(world, lambda: world.wait(asking, 3))


@BROKEN.by(LogReason.BAD_COMMAND, "A second wait would forget the first one's approvals.")
def _waiting_twice(world: LogWorld) -> int:
    asking = world.wait(world.command("alice", Act.SITE_ADD, {}))
    return step(world, lambda: world.wait(asking))


@BROKEN.by(LogReason.BAD_COMMAND, "A request ends with its command.")
def _waiting_longer_than_the_command(world: LogWorld) -> int:
    asking = world.command("alice", Act.SITE_ADD, {})
    return step(world, lambda: world.wait(asking, expires=asking.expires + 1))


@BROKEN.by(LogReason.MISSING_BLOB, "What travelled with a waiting command is in the export.")
def _waiting_without_its_attachments(world: LogWorld) -> int:
    asking = world.command("alice", Act.SITE_ADD, {})
    return step(world, lambda: world.wait(asking, attachments=["0" * 64]))


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "A profile raises the number from the entry that sets it on.")
def _fewer_than_the_profile_asks_for(world: LogWorld) -> int:
    profile: Json = {**plant.profile(), "approvals": 2}
    asking = world.agreed(world.command("alice", Act.PROFILE_SET, {"profile": profile}))
    world.asked("profile.set", asking, {"profile": profile}, {"profile": "orders-reader"})
    return world.issue()


@pytest.mark.parametrize(("broken", "reason"), BROKEN.rows, ids=name)
def test_a_broken_rule_is_refused_at_its_entry(broken: Breaking, reason: LogReason, begun: LogWorld) -> None:
    """A log that breaks one rule, named by the case, is refused for the right reason and at the right entry."""
    world = begun.copy()
    seq = broken(world)
    assert refusal(world) == (reason, seq)
