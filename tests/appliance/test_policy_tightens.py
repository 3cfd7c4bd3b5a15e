"""Policies only tighten: whatever they say, nothing is allowed that the table, or a profile's `asked_by`, does not."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import policy
from appliance.authority import Authority
from appliance.cedar import PolicySet
from appliance.decision import Ruled
from appliance.errors import Refusal, Refused
from coldcred import founding
from coldcred.acts import BEYOND_POLICY, RULES, Act, Principal
from coldcred.canonical import Json, dumps
from coldcred.command import Command
from coldcred.policy import DEFAULT
from coldcred.profile import Asker, Profile, digest_of
from tests.support import plant
from tests.support.policies import POLICY, PRINCIPAL, PROFILES, ROBOTS, Policy, Question, expected, text_of

AUTHORITY = replace(
    Authority.founded(founding.parse(dumps(plant.members()))), profiles={profile.name: profile for profile in PROFILES}
)
EVERYTHING = '@id("everything") permit (principal, action, resource);\n'
QUICK = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def command(act: Act, profile: Profile, workload: str) -> Command:
    """Give a command about this profile and this workload, where its act is about any."""
    args: dict[str, Json] = {}
    if act is Act.CREDENTIAL_ISSUE:
        args = {"profile": profile.name, "workload": workload}
    elif act is Act.PROFILE_SET:
        args = {"profile": profile.as_json()}
    return Command("0" * 64, "kid", AUTHORITY.founding.appliance_id, 1, act, 0, 60, "jti", args, "token")


def ask(policies: PolicySet, asking: Principal, asked: Command) -> Ruled | Refused:
    """Ask, and give what it is decided under or why it is not allowed."""
    try:
        return policy.ruled(AUTHORITY, policies, asking, asked)
    except Refused as refused:
        if refused.reason is not Refusal.NOT_ALLOWED:
            raise
        return refused


def by_table(asking: Principal, asked: Command, profile: Profile) -> bool:
    """Whether the table and the profile let somebody ask."""
    if asking.is_workload and asked.act is Act.CREDENTIAL_ISSUE and asked.args.get("workload") != asking.id:
        return False
    asker = Asker.WORKLOAD if asking.is_workload else Asker.ISSUER
    return RULES[asked.act].admits(asking) and (asked.act is not Act.CREDENTIAL_ISSUE or asker in profile.asked_by)


@QUICK
@given(PRINCIPAL, st.sampled_from(Act), st.sampled_from(PROFILES), st.sampled_from(ROBOTS))
def test_a_policy_that_permits_everything_adds_nothing(
    asking: Principal, act: Act, profile: Profile, workload: str
) -> None:
    """It is the table, cell by cell."""
    asked = command(act, profile, workload)
    found = ask(PolicySet.parse(EVERYTHING.encode()), asking, asked)
    assert isinstance(found, Ruled) == by_table(asking, asked, profile)


@QUICK
@given(
    st.lists(POLICY, max_size=6), PRINCIPAL, st.sampled_from(Act), st.sampled_from(PROFILES), st.sampled_from(ROBOTS)
)
def test_what_is_allowed_is_in_the_table_and_permitted(
    policies: list[Policy], asking: Principal, act: Act, profile: Profile, workload: str
) -> None:
    """Both, for generated policies; of stopping none of them is asked. Refusals name the rule."""
    asked, parsed = command(act, profile, workload), PolicySet.parse(text_of(policies).encode())
    found = ask(parsed, asking, asked)
    if not by_table(asking, asked, profile):
        assert isinstance(found, Refused)
        return
    stands = digest_of([profile]) if act in {Act.CREDENTIAL_ISSUE, Act.PROFILE_SET} else None
    if act in BEYOND_POLICY:
        assert found == Ruled(AUTHORITY.policy, stands)
        return
    permitted, deciding = expected(policies, Question(asking, act, None if stands is None else profile))
    if permitted:
        assert found == Ruled(AUTHORITY.policy, stands, tuple(sorted(deciding)))
    else:
        assert isinstance(found, Refused)
        named = f"policy {deciding[0]}" if deciding else f"policy {parsed.digest[:12]}: no permit"
        assert found.rule == named


def test_a_credential_under_a_profile_that_does_not_stand_is_refused_elsewhere() -> None:
    """Policies are asked about profiles that stand; the decision says that there is none."""
    asked = replace(command(Act.CREDENTIAL_ISSUE, PROFILES[0], ROBOTS[0]), args={"profile": "nobody"})
    found = ask(PolicySet.parse(DEFAULT.encode()), Principal("al", frozenset({*RULES[asked.act].may_ask})), asked)
    assert found == Ruled(AUTHORITY.policy, None, ())


def test_a_profile_that_cannot_be_read_is_malformed() -> None:
    """Since policies are asked about the profile that is to be set."""
    asked = replace(command(Act.PROFILE_SET, PROFILES[0], ROBOTS[0]), args={"profile": {"name": "x"}})
    officer = Principal("al", RULES[Act.PROFILE_SET].may_ask)
    with pytest.raises(Refused) as caught:
        policy.ruled(AUTHORITY, PolicySet.parse(DEFAULT.encode()), officer, asked)
    assert caught.value.reason is Refusal.MALFORMED
