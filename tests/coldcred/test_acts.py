"""Rule R2: who may ask for what, and how many people it takes, as docs and protocol state it."""

import dataclasses

import pytest

from coldcred.acts import (
    MAY_APPROVE,
    RULES,
    Act,
    ActRule,
    Principal,
    Role,
    people_needed,
    roles_of,
    unreachable,
)
from coldcred.errors import Malformed

OFFICER, ISSUER, APPROVER, AUDITOR = Role.OFFICER, Role.ISSUER, Role.APPROVER, Role.AUDITOR
OPERATORS_ACTS = {act for act in Act if not RULES[act].custodians}

R2 = {
    "credential.issue": ({ISSUER}, 1),
    "credential.revoke": ({OFFICER, ISSUER, APPROVER}, 1),
    "key.suspend": ({OFFICER, ISSUER, APPROVER}, 1),
    "key.activate": ({OFFICER}, 2),
    "workload.enrol": ({OFFICER, ISSUER}, 2),
    "profile.set": ({OFFICER}, 2),
    "site.add": ({OFFICER}, 2),
    "trust.submit": ({OFFICER}, 1),
    "bundle.create": ({OFFICER, ISSUER}, 1),
    "log.export": ({OFFICER, AUDITOR}, 1),
    "read.open": ({OFFICER, ISSUER, APPROVER, AUDITOR}, 1),
    "workload.suspend": ({OFFICER, ISSUER, APPROVER}, 1),
    "workload.resume": ({OFFICER, ISSUER}, 2),
    "operator.add": ({OFFICER}, 2),
    "operator.remove": ({OFFICER}, 2),
    "operator.roles": ({OFFICER}, 2),
    "operator.replace-key": ({OFFICER}, 2),
    "operator.recover": (set(), 2),
    "policy.set": ({OFFICER}, 2),
    "workload.adopt": ({OFFICER, ISSUER}, 2),
    "review.start": ({OFFICER}, 2),
    "review.confirm": ({OFFICER, ISSUER, APPROVER}, 1),
    "review.close": ({OFFICER}, 2),
}


def test_the_table_is_the_protocols() -> None:
    """Each act of R2 that exists so far has exactly the rule written there, and no act is without one."""
    assert {act.value for act in RULES} == {act.value for act in Act}
    assert {name: (set(RULES[Act(name)].may_ask), RULES[Act(name)].people) for name in R2} == R2


def test_the_table_cannot_be_changed() -> None:
    """It is code: neither the table nor a rule in it takes an assignment."""
    with pytest.raises(TypeError):
        RULES[Act.PROFILE_SET] = ActRule(frozenset(Role), 0)  # type: ignore[index]  # what is tested
    with pytest.raises(dataclasses.FrozenInstanceError):
        RULES[Act.PROFILE_SET].people = 0  # type: ignore[misc]  # what is tested


def test_every_rule_is_sound() -> None:
    """At least one person each, somebody who may ask; an auditor changes nothing, and approving takes a role for it."""
    for act, rule in RULES.items():
        assert rule.people >= 1
        assert bool(rule.may_ask) != rule.custodians
        if act not in {Act.LOG_EXPORT, Act.READ_OPEN}:
            assert AUDITOR not in rule.may_ask
    assert frozenset({OFFICER, APPROVER}) == MAY_APPROVE


@pytest.mark.parametrize("act", Act)
def test_numbers_are_raised_and_never_lowered(act: Act) -> None:
    """A raise below the table is the table, one above it counts, and one founder is always one person."""
    least = RULES[act].people
    for founders in (2, 3, 32):
        assert people_needed(act, founders=founders) == least
        assert people_needed(act, founders=founders, raised=0) == least
        assert people_needed(act, founders=founders, raised=1) == least
        assert people_needed(act, founders=founders, raised=-5) == least
        assert people_needed(act, founders=founders, raised=5) == 5
        needed = people_needed(act, founders=founders, raised=2, by_workload=True)
        assert needed == people_needed(act, founders=founders, raised=2) == max(least, 2)
        assert people_needed(act, founders=founders, by_workload=True) == (0 if least == 1 else least)
    assert people_needed(act, founders=1, raised=5, by_workload=True) == 0
    assert people_needed(act, founders=1) == 1
    assert people_needed(act, founders=1, raised=5) == 1


def test_custodians_recover_and_nothing_else() -> None:
    """A custodian key asks for recovery alone and approves it alone; no role does either."""
    custodian = Principal("alice", custodian=True)
    for act, rule in RULES.items():
        assert rule.admits(custodian) == rule.counts_approval_of(custodian) == (act is Act.OPERATOR_RECOVER)
    everything = Principal("alice", frozenset(Role))
    assert not RULES[Act.OPERATOR_RECOVER].admits(everything)
    assert not RULES[Act.OPERATOR_RECOVER].counts_approval_of(everything)
    assert RULES[Act.OPERATOR_ADD].counts_approval_of(everything)
    assert not RULES[Act.OPERATOR_ADD].counts_approval_of(Principal("alice", frozenset({ISSUER, AUDITOR})))


@pytest.mark.parametrize(
    ("people", "lost"),
    [
        ({"alice": {OFFICER, ISSUER}, "bob": {APPROVER}, "carol": {AUDITOR}}, set()),
        ({"alice": {OFFICER, ISSUER}, "bob": {OFFICER}}, set()),
        ({"alice": {OFFICER}, "bob": {APPROVER}}, {Act.CREDENTIAL_ISSUE}),
        ({"alice": {OFFICER, ISSUER, APPROVER}}, {act for act in OPERATORS_ACTS if RULES[act].people > 1}),
        (
            {"alice": {ISSUER}, "bob": {APPROVER}},
            {act for act in OPERATORS_ACTS if RULES[act].may_ask <= {OFFICER, AUDITOR}},
        ),
        ({"carol": {AUDITOR}}, OPERATORS_ACTS - {Act.LOG_EXPORT, Act.READ_OPEN}),
        ({}, OPERATORS_ACTS),
    ],
)
def test_acts_that_nobody_could_finish_are_found(people: dict[str, set[Role]], lost: set[Act]) -> None:
    """One officer alone finishes no act of two; without an issuer nothing is issued; custodians count apart."""
    roles = {person: frozenset(held) for person, held in people.items()}
    assert unreachable(roles, 2, lambda act: people_needed(act, founders=3)) == lost
    assert unreachable(roles, 1, lambda act: people_needed(act, founders=3)) == lost | {Act.OPERATOR_RECOVER}


@pytest.mark.parametrize("texts", [(), ("Officer",), ("officer", "root"), ("auditor", "officer"), ("officer ",)])
def test_roles_are_a_closed_list_and_an_auditor_has_no_other(texts: tuple[str, ...]) -> None:
    """None, unknown ones, other spellings, and an auditor who would hold more."""
    with pytest.raises(Malformed):
        roles_of(texts)
    assert roles_of(("officer", "issuer")) == {OFFICER, ISSUER}
