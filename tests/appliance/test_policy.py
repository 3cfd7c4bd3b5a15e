"""The closed table behind `permit`: every act has a row, and every role and machine gets what the row says."""

from dataclasses import replace

import pytest

from appliance.authority import Workload
from appliance.errors import Refusal, Refused
from appliance.policy import Resource, permit, principal
from coldcred import names
from coldcred.acts import RULES, Act, Principal, Role
from coldcred.errors import Malformed
from coldcred.profile import Profile
from coldcred.record import Record
from tests.support import plant

ROBOT = Principal(plant.WORKLOAD)
LETTERS = {Role.OFFICER: "o", Role.ISSUER: "i", Role.APPROVER: "a", Role.AUDITOR: "u"}

MATRIX = {
    Act.CREDENTIAL_ISSUE: "i w",
    Act.CREDENTIAL_REVOKE: "o i a",
    Act.WORKLOAD_ENROL: "o i",
    Act.PROFILE_SET: "o",
    Act.SITE_ADD: "o",
    Act.TRUST_SUBMIT: "o",
    Act.BUNDLE_CREATE: "o i",
    Act.LOG_EXPORT: "o u",
    Act.READ_OPEN: "o i a u",
    Act.WORKLOAD_SUSPEND: "o i a",
    Act.WORKLOAD_RESUME: "o i",
    Act.KEY_SUSPEND: "o i a",
    Act.KEY_ACTIVATE: "o",
    Act.REQUEST_WITHDRAW: "o i a",
    Act.REQUEST_COMPLETE: "o i a w",
    Act.OPERATOR_ADD: "o",
    Act.OPERATOR_REMOVE: "o",
    Act.OPERATOR_ROLES: "o",
    Act.OPERATOR_REPLACE_KEY: "o",
    Act.OPERATOR_RECOVER: "c",
    Act.POLICY_SET: "o",
    Act.WORKLOAD_ADOPT: "o i",
    Act.REVIEW_START: "o",
    Act.REVIEW_CONFIRM: "o i a",
    Act.REVIEW_CLOSE: "o",
}
"""Who may ask: officer, issuer, approver, auditor, w for a workload, for itself, and c for a custodian's key."""


def profile(*asked_by: str) -> Profile:
    """Give a profile that these may ask under."""
    return Profile.read(Record({**plant.profile(), "asked_by": [*asked_by]}, "profile"), plant.DOMAIN)


def allowed(asking: Principal, act: Act, about: Resource) -> bool:
    """Whether `permit` lets it pass; what it does not is `not-allowed`, and any other reason an error."""
    try:
        permit(asking, act, about)
    except Refused as refused:
        if refused.reason is Refusal.NOT_ALLOWED:
            return False
        raise
    return True


def test_every_act_has_a_row() -> None:
    """An act without a row in the table, or without one in this matrix, cannot be added unnoticed."""
    assert set(RULES) == set(Act) == set(MATRIX)


@pytest.mark.parametrize("act", Act)
@pytest.mark.parametrize("role", Role)
def test_each_role_may_what_its_row_says(role: Role, act: Act) -> None:
    """One role, one act: the whole table, cell by cell."""
    assert allowed(Principal("erin", frozenset({role})), act, Resource()) == (LETTERS[role] in MATRIX[act].split())


@pytest.mark.parametrize("act", Act)
def test_a_workload_may_what_its_column_says(act: Act) -> None:
    """A machine asks for nothing but its own credentials; roles in its place would be of no use."""
    about = Resource(plant.WORKLOAD, profile("workload"))
    assert allowed(ROBOT, act, about) == ("w" in MATRIX[act].split())
    assert allowed(Principal(plant.WORKLOAD, frozenset(Role)), act, about) == ("w" in MATRIX[act].split())


@pytest.mark.parametrize("act", Act)
def test_a_custodian_may_what_its_column_says(act: Act) -> None:
    """A custodian's key recovers; whatever roles its person has as an operator."""
    assert allowed(Principal("erin", custodian=True), act, Resource()) == ("c" in MATRIX[act].split())
    assert allowed(Principal("erin", frozenset(Role), custodian=True), act, Resource()) == ("c" in MATRIX[act].split())


@pytest.mark.parametrize("act", Act)
def test_nobody_may_anything(act: Act) -> None:
    """A person without a role is refused, whatever is asked."""
    assert not allowed(Principal("erin"), act, Resource(plant.WORKLOAD, profile("issuer", "workload")))


@pytest.mark.parametrize(
    ("workload", "asked_by", "good"),
    [
        (plant.WORKLOAD, ("workload",), True),
        (plant.WORKLOAD, ("issuer", "workload"), True),
        (plant.WORKLOAD, ("issuer",), False),
        (f"{plant.WORKLOAD}0", ("workload",), False),
        (None, ("workload",), False),
    ],
)
def test_a_workload_asks_for_itself_where_its_profile_lets_it(
    workload: str | None,
    asked_by: tuple[str, ...],
    good: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Itself, named exactly, and a profile that holds `workload`."""
    assert allowed(ROBOT, Act.CREDENTIAL_ISSUE, Resource(workload, profile(*asked_by))) == good


def test_a_profile_may_be_for_workloads_alone() -> None:
    """Then a person with the role is refused too."""
    issuer = Principal("erin", frozenset({Role.ISSUER}))
    assert not allowed(issuer, Act.CREDENTIAL_ISSUE, Resource(plant.WORKLOAD, profile("workload")))
    assert allowed(issuer, Act.CREDENTIAL_ISSUE, Resource(plant.WORKLOAD, profile("issuer", "workload")))


def test_a_person_is_never_taken_for_a_workload() -> None:
    """No id of a person has a colon, and every SPIFFE ID has one; who signed decides, not what they are called."""
    assert not Principal("spiffe").is_workload
    assert ROBOT.is_workload
    assert principal(Workload(plant.WORKLOAD, "alice", 1, plant.robot().public)) == replace(ROBOT, owner="alice")
    for text in ("spiffe:", plant.WORKLOAD, "a:b", "spiffe://a"):
        with pytest.raises(Malformed):
            names.label(text)
