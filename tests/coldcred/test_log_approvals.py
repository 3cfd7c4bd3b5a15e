"""What approvals in a log rest on, each rule broken alone: rule R9 as an auditor holds it.

The appliance's keys are in the wrong hands; people's keys are not.
"""

from typing import Any

import pytest

from coldcred.acts import Act
from coldcred.canonical import Json, loads, sha256_hex
from coldcred.command import Verdict
from coldcred.errors import LogReason
from coldcred.jose import parse_unverified
from coldcred.record import Record
from tests.support import plant
from tests.support.logrules import Breaking, Broken, name, refusal, site_args, step, verified
from tests.support.logworld import Asking, Event, LogWorld, issue_args

BROKEN = Broken()
STRICT: dict[str, Json] = {**plant.profile(), "name": "two-people", "approvals": 2}


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log with a profile that takes two people."""
    world = LogWorld.begin().start()
    set_profile(world, STRICT)
    return world


def set_profile(world: LogWorld, profile: dict[str, Json]) -> None:
    """Let two people set a profile."""
    asking = world.agreed(world.command("alice", Act.PROFILE_SET, {"profile": profile}))
    world.asked("profile.set", asking, {"profile": profile}, {"profile": profile["name"]})


def asked_site(world: LogWorld) -> tuple[Asking, Event]:
    """Let alice ask for a site; gives her request and what its entry would say."""
    asked, members = site_args()
    return world.wait(world.command("alice", Act.SITE_ADD, asked)), members


def issue_for_two(world: LogWorld) -> Asking:
    """Let alice ask for a credential that takes two, and bob approve it."""
    asking = _waiting_issue(world)
    world.approve("bob", asking)
    return asking


def _on_another_basis(world: LogWorld, **claims: Any) -> int:
    asking, _ = asked_site(world)
    return step(world, lambda: world.count("bob", asking, world.approval("bob", asking, **claims)))


@BROKEN.by(LogReason.BAD_COMMAND, "What bob approved was to be decided under another policy.")
def _another_policy(world: LogWorld) -> int:
    return _on_another_basis(world, policy="0" * 64)


@BROKEN.by(LogReason.BAD_COMMAND, "Bob names a profile where the request is about none.")
def _a_profile_where_there_is_none(world: LogWorld) -> int:
    return _on_another_basis(world, profile="0" * 64)


@BROKEN.by(LogReason.BAD_COMMAND, "Bob saw something beside the request that did not travel with it.")
def _another_attachment(world: LogWorld) -> int:
    return _on_another_basis(world, attachment="0" * 64)


@BROKEN.by(LogReason.BAD_COMMAND, "Bob was shown something else.")
def _shown_something_else(world: LogWorld) -> int:
    return _on_another_basis(world, shown="0" * 64)


@BROKEN.by(LogReason.BAD_COMMAND, "The entry says of the basis what the approval does not.")
def _a_basis_that_was_not_signed(world: LogWorld) -> int:
    asking, _ = asked_site(world)
    token = world.approval("bob", asking, policy="0" * 64)
    return step(world, lambda: world.count("bob", asking, token, basis=world.basis(asking).as_json()))


@BROKEN.by(LogReason.BAD_COMMAND, "The entry lets the approval live longer than bob did.")
def _an_end_that_was_not_signed(world: LogWorld) -> int:
    asking, _ = asked_site(world)
    return step(world, lambda: world.approve("bob", asking, expires=asking.expires + 3600))


@BROKEN.by(LogReason.BAD_COMMAND, "The entry names another key than the one that signed.")
def _another_key(world: LogWorld) -> int:
    asking, _ = asked_site(world)
    return step(world, lambda: world.approve("bob", asking, kid=plant.operator("dora").kid))


@BROKEN.by(LogReason.BAD_COMMAND, "The entry puts words into bob's mouth.")
def _a_reason_that_was_not_given(world: LogWorld) -> int:
    asking, _ = asked_site(world)
    return step(world, lambda: world.approve("bob", asking, reason="fine with me"))


@BROKEN.by(LogReason.BAD_COMMAND, "Two signatures of bob's are one person.")
def _one_person_twice(world: LogWorld) -> int:
    asking, _ = asked_site(world)
    world.approve("bob", asking)
    return step(world, lambda: world.approve("bob", asking))


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "The profile was set anew after bob had approved an issue under it.")
def _an_issue_under_another_version(world: LogWorld) -> int:
    asking = issue_for_two(world)
    set_profile(world, {**STRICT, "lifetime": 1200})
    return step(world, lambda: world.complete(asking))


@BROKEN.by(LogReason.BAD_COMMAND, "What bob approved replaces another version than the one that stands.")
def _a_profile_that_replaces_another_version(world: LogWorld) -> int:
    asking = world.agreed(world.command("alice", Act.PROFILE_SET, {"profile": {**STRICT, "approvals": 1}}))
    set_profile(world, {**STRICT, "lifetime": 1200})
    members: dict[str, Json] = {"profile": {**STRICT, "approvals": 1}}
    return world.asked("profile.set", asking, members, {"profile": "two-people"})


@BROKEN.by(LogReason.BAD_COMMAND, "The approval had ended before the act was carried out.")
def _carried_out_after_the_approval(world: LogWorld) -> int:
    asking, members = asked_site(world)
    token = world.approval("bob", asking, exp=world.time + 60)
    world.count("bob", asking, token)
    world.time += 60 + 120
    return world.asked("site.added", asking, members, {"site": "line-9"})


@BROKEN.by(LogReason.BAD_COMMAND, "What approvers are shown follows from the command.")
def _a_request_that_shows_something_else(world: LogWorld) -> int:
    asked, _ = site_args()
    asking = world.command("alice", Act.SITE_ADD, asked)
    return step(world, lambda: world.wait(asking, shown="0" * 64))


@BROKEN.by(LogReason.BAD_COMMAND, "Which profiles a request is about follows from the command.")
def _a_request_about_other_profiles(world: LogWorld) -> int:
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, {**issue_args(), "profile": "two-people"})
    return step(world, lambda: world.wait(asking, named=["orders-reader"]))


def _withdrawn(world: LogWorld, person: str, **changes: Json) -> int:
    asking, _ = asked_site(world)
    args: dict[str, Json] = {"request": asking.id}
    command = world.command(person, Act.REQUEST_WITHDRAW, args)
    return step(world, lambda: world.asked("request.withdrawn", command, {**args, **changes}, {"request": asking.id}))


@BROKEN.by(LogReason.BAD_COMMAND, "Bob gives up what alice asked for.")
def _withdrawn_by_another(world: LogWorld) -> int:
    return _withdrawn(world, "bob")


@BROKEN.by(LogReason.BAD_COMMAND, "The reason is not the one in the command.")
def _withdrawn_for_another_reason(world: LogWorld) -> int:
    return _withdrawn(world, "alice", reason="a mistake")


@BROKEN.by(LogReason.BAD_COMMAND, "The entry gives up another request than the command does.")
def _withdrawn_another_request(world: LogWorld) -> int:
    other, _ = asked_site(world)
    return _withdrawn(world, "alice", request=other.id)


@BROKEN.by(LogReason.BAD_COMMAND, "What does not wait is not given up.")
def _withdrawn_nothing(world: LogWorld) -> int:
    args: dict[str, Json] = {"request": "0" * 64}
    command = world.command("alice", Act.REQUEST_WITHDRAW, args)
    return step(world, lambda: world.asked("request.withdrawn", command, args, {"request": "0" * 64}))


@BROKEN.by(LogReason.BAD_COMMAND, "What was given up is approved.")
def _approved_after_it_was_withdrawn(world: LogWorld) -> int:
    asking, _ = asked_site(world)
    args: dict[str, Json] = {"request": asking.id}
    world.asked("request.withdrawn", world.command("alice", Act.REQUEST_WITHDRAW, args), args, args)
    return step(world, lambda: world.approve("bob", asking))


def _waiting_issue(world: LogWorld) -> Asking:
    return world.wait(world.command("alice", Act.CREDENTIAL_ISSUE, {**issue_args(), "profile": "two-people"}))


@BROKEN.by(LogReason.BAD_COMMAND, "What waited is issued to whoever sent it, and its requester did not say so.")
def _issued_to_whoever_sent_it(world: LogWorld) -> int:
    asking = issue_for_two(world)
    return world.issue(asking)


@BROKEN.by(LogReason.BAD_COMMAND, "Somebody else completes what alice asked for.")
def _completed_by_another(world: LogWorld) -> int:
    asking = issue_for_two(world)
    return step(world, lambda: world.complete(asking, "dora"))


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "Alice completes what nobody else signed for.")
def _completed_alone(world: LogWorld) -> int:
    asking = _waiting_issue(world)
    return step(world, lambda: world.complete(asking))


@BROKEN.by(LogReason.TOO_FEW_PEOPLE, "The approval counted no more when alice completed it.")
def _completed_too_late(world: LogWorld) -> int:
    asking = _waiting_issue(world)
    world.count("bob", asking, world.approval("bob", asking, exp=world.time + 60))
    world.time += 60 + 120
    return step(world, lambda: world.complete(asking))


@BROKEN.by(LogReason.BAD_COMMAND, "The entry completes another request than the command does.")
def _completed_another_request(world: LogWorld) -> int:
    asking, other = _waiting_issue(world), _waiting_issue(world)
    world.approve("bob", asking)
    world.approve("bob", other)
    return step(world, lambda: world.complete(asking, request=other.id))


@BROKEN.by(LogReason.BAD_COMMAND, "What does not wait is not completed.")
def _completed_what_was_done(world: LogWorld) -> int:
    asking = issue_for_two(world)
    world.complete(asking)
    world.issue(asking)
    return step(world, lambda: world.complete(asking))


@BROKEN.by(LogReason.BAD_COMMAND, "What was completed once is issued later, under what alice never completed.")
def _issued_later_than_it_was_completed(world: LogWorld) -> int:
    asking = issue_for_two(world)
    world.complete(asking)
    world.settle()
    return world.issue(asking)


@BROKEN.by(LogReason.BAD_COMMAND, "An auditor completes nothing.")
def _completed_by_an_auditor(world: LogWorld) -> int:
    asking = issue_for_two(world)
    return step(world, lambda: world.complete(asking, "carol"))


def refuse_approval(world: LogWorld, token: str, asking: Asking, person: str, **changes: Json) -> int:
    """Write that an approval does not count."""
    event: Event = {
        "type": "approval.refused",
        "approval": sha256_hex(token.rpartition(".")[0].encode()),
        "request": asking.id,
        "verdict": "approve",
        "by": person,
        "document": sha256_hex(token.encode()),
        "reason": "approval-void",
        "rule": "R9 what an approval rests on",
        "detail": "it was given for another policy",
        "expires": Record.of(loads(parse_unverified(token).payload), "approval").value("exp"),
    }
    return world.append({**event, **changes})


@BROKEN.by(LogReason.BAD_COMMAND, "A refusal too is laid only at the door of whoever signed.")
def _refused_in_anothers_name(world: LogWorld) -> int:
    asking, _ = asked_site(world)
    return refuse_approval(world, world.approval("bob", asking), asking, "dora")


@BROKEN.by(LogReason.BAD_COMMAND, "What bob signed was a denial.")
def _refused_with_another_verdict(world: LogWorld) -> int:
    asking, _ = asked_site(world)
    return refuse_approval(world, world.approval("bob", asking, Verdict.DENY), asking, "bob")


@BROKEN.by(LogReason.MALFORMED, "Nothing else travels in the entry.")
def _refused_with_more(world: LogWorld) -> int:
    asking, _ = asked_site(world)
    return refuse_approval(world, world.approval("bob", asking), asking, "bob", people=["bob"])


@pytest.mark.parametrize(("broken", "reason"), BROKEN.rows, ids=name)
def test_a_broken_rule_is_refused_at_its_entry(broken: Breaking, reason: LogReason, begun: LogWorld) -> None:
    """A log that breaks one rule, named by the case, is refused for the right reason and at the right entry."""
    world = begun.copy()
    seq = broken(world)
    assert refusal(world) == (reason, seq)


def test_approvals_in_good_order_are_believed(begun: LogWorld) -> None:
    """Void ones are passed over, fresh ones count, requests are given up, and refusals of approvals are read."""
    world = begun.copy()
    asking = issue_for_two(world)
    set_profile(world, {**STRICT, "lifetime": 1200})
    refuse_approval(world, world.approval("bob", asking, policy="0" * 64), asking, "bob")
    world.approvals[asking.id] = {}
    world.approve("bob", asking)
    world.complete(asking)
    world.issue(asking)
    world.settle()
    given_up, _ = asked_site(world)
    args: dict[str, Json] = {"request": given_up.id, "reason": "a mistake"}
    world.asked("request.withdrawn", world.command("alice", Act.REQUEST_WITHDRAW, args), args, {"request": given_up.id})
    report = verified(world)
    assert (report.counts["approval.refused"], report.counts["request.withdrawn"]) == (1, 1)
