"""Rule R2: who may ask for what, and how many people it takes, as docs and protocol state it."""

import dataclasses

import pytest

from coldcred.acts import MAY_APPROVE, RULES, Act, ActRule, Role, people_needed

OFFICER, ISSUER, APPROVER, AUDITOR = Role.OFFICER, Role.ISSUER, Role.APPROVER, Role.AUDITOR

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
        assert rule.may_ask
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
