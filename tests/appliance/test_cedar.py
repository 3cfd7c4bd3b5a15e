"""Policies in Cedar: read strictly, asked exactly, and never the end of the process."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cedarpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import cedar, policyschema, policytext
from appliance.cedar import PolicySet, Ruling
from appliance.policytext import PolicyInvalid
from coldcred.acts import BEYOND_POLICY, RULES, Act, Principal, Role
from coldcred.canonical import sha256_hex
from coldcred.policy import DEFAULT
from coldcred.profile import Asker
from tests.support import plant
from tests.support.policies import POLICY as POLICIES
from tests.support.policies import PROFILES, Policy, Question, expected, questions, text_of

OFFICER = Principal("erin", frozenset({Role.OFFICER}))
ISSUER = Principal("erin", frozenset({Role.ISSUER}))
EVERYTHING = '@id("all") permit (principal, action, resource);\n'


def parsed(text: str) -> PolicySet:
    """Read a text."""
    return PolicySet.parse(text.encode())


def check(policies: Sequence[Policy], asked: Sequence[Question]) -> None:
    """Hold Cedar to the slow evaluator; deny wins by its rules, too."""
    found = parsed(text_of(policies))
    for question in asked:
        ruling = found.ruling(question.principal, question.act, question.profile)
        assert ruling == Ruling(*expected(policies, question))
        forbidding = [one for one in policies if one.effect == "forbid" and one.applies(question)]
        assert not (ruling.allowed and forbidding)


SETS = st.lists(POLICIES, max_size=8)
ASKED = st.lists(questions(), min_size=4, max_size=8)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(SETS, ASKED)
def test_cedar_answers_as_a_slow_evaluator_does(policies: list[Policy], asked: list[Question]) -> None:
    """Generated policies and questions, thousands of rulings."""
    check(policies, asked)


@pytest.mark.soak
@settings(max_examples=25_000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.lists(POLICIES, min_size=4, max_size=8), ASKED)
def test_cedar_answers_as_a_slow_evaluator_does_for_very_many(policies: list[Policy], asked: list[Question]) -> None:
    """P10: the same, over 100,000 policies."""
    check(policies, asked)


@pytest.mark.parametrize("act", policyschema.ASKED)
@pytest.mark.parametrize("role", Role)
def test_the_policy_of_the_beginning_is_the_table(role: Role, act: Act) -> None:
    """Role by act; about a profile as its `asked_by` says. An act that is added and has no permit fails here."""
    asking, policies = Principal("erin", frozenset({role})), parsed(DEFAULT)
    by_table = RULES[act].admits(asking)
    if act not in policyschema.ABOUT_PROFILES:
        assert policies.ruling(asking, act).allowed == by_table
        return
    for about in PROFILES:
        lets = act is not Act.CREDENTIAL_ISSUE or Asker.ISSUER in about.asked_by
        assert policies.ruling(asking, act, about).allowed == (by_table and lets)


def test_the_policy_of_the_beginning_lets_workloads_ask_as_profiles_do() -> None:
    """And nobody without a role anything."""
    policies = parsed(DEFAULT)
    for profile in PROFILES:
        lets = policies.ruling(Principal(plant.WORKLOAD), Act.CREDENTIAL_ISSUE, profile)
        assert lets.allowed == (Asker.WORKLOAD in profile.asked_by)
    for act in policyschema.ASKED:
        about = PROFILES[1] if act in policyschema.ABOUT_PROFILES else None
        assert policies.ruling(Principal("erin"), act, about) == Ruling(False, ())


def test_the_digest_covers_the_exact_bytes() -> None:
    """A comment more is another policy."""
    assert parsed(DEFAULT).digest == sha256_hex(DEFAULT.encode())
    assert parsed(DEFAULT + "\n").digest == sha256_hex(DEFAULT.encode() + b"\n")


def test_a_ruling_names_what_decided_in_the_order_of_the_text() -> None:
    """Permits where it is allowed, forbids where it is not, nothing where nothing permits."""
    policies = parsed(
        '@id("z") permit (principal, action, resource);\n'
        '@id("a") permit (principal is Person, action, resource);\n'
        '@id("no-sites") forbid (principal, action == Action::"site.add", resource);\n'
    )
    assert policies.ruling(OFFICER, Act.READ_OPEN) == Ruling(True, ("z", "a"))
    assert policies.ruling(OFFICER, Act.SITE_ADD) == Ruling(False, ("no-sites",))
    assert policies.ruling(OFFICER, Act.SITE_ADD).rule(policies.digest) == "policy no-sites"
    empty = parsed("")
    assert empty.ruling(OFFICER, Act.READ_OPEN).rule(empty.digest) == "policy e3b0c44298fc: no permit"


def test_a_ruling_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same values, the same ruling; other roles, another profile of the same name or other policies ask anew."""
    asked: list[object] = []
    answer = cedarpy.is_authorized

    def noticed(*given: Any) -> cedarpy.AuthzResult:
        asked.append(given)
        return answer(*given)

    monkeypatch.setattr("cedarpy.is_authorized", noticed)
    policies = parsed(DEFAULT)
    longer = replace(PROFILES[0], lifetime=601)
    for _ in range(3):
        assert policies.ruling(ISSUER, Act.CREDENTIAL_ISSUE, PROFILES[0]).allowed
        assert policies.ruling(ISSUER, Act.CREDENTIAL_ISSUE, longer).allowed
        assert not policies.ruling(OFFICER, Act.CREDENTIAL_ISSUE, PROFILES[0]).allowed
    assert len(asked) == 3
    parsed(DEFAULT).ruling(ISSUER, Act.CREDENTIAL_ISSUE, longer)
    assert len(asked) == 4
    monkeypatch.setattr(cedar, "REMEMBERED", 2)
    policies.ruling(ISSUER, Act.READ_OPEN)
    assert len(policies._rulings) == 1


def test_a_policy_that_cannot_be_evaluated_forbids() -> None:
    """Cedar alone passes over it, so that a forbid with a sum too large would forbid nothing."""
    policies = parsed(
        f"{EVERYTHING}"
        '@id("too-large") forbid (principal, action == Action::"credential.issue", resource)\n'
        "when { resource.lifetime * 9223372036854775807 > 1 };\n"
    )
    ruling = policies.ruling(ISSUER, Act.CREDENTIAL_ISSUE, PROFILES[0])
    assert not ruling.allowed
    assert ruling.policies == ("too-large",)
    assert ruling.fault is not None
    assert "overflow" in ruling.fault
    assert policies.ruling(OFFICER, Act.READ_OPEN).allowed


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("\n\npermit (principal, action, resource);", 3, "without an id"),
        ("@id permit (principal, action, resource);", 1, "without an id"),
        ('@id("A B") permit (principal, action, resource);', 1, "not a policy id"),
        (f'{EVERYTHING}\n@id("all") forbid (principal, action, resource);', 3, "a second policy with id all"),
        ('@id("a") permit (principal == ?principal, action, resource);', None, "template"),
        (f'{EVERYTHING}// and\n\n@id("b") permit (principal, action)', 4, "Cedar: "),
        ('\n@id("a")\npermit (principal, action, resource) when { principal.shoes };', 2, "policy a: Cedar: attribute"),
        ('@id("a") permit (principal is Machine, action, resource);', 1, "Machine"),
        ('@id("a") permit (principal, action == Action::"coffee.make", resource);', 1, "coffee.make"),
        ('@id("a") permit (principal is Workload, action == Action::"site.add", resource);', 1, "policy a: Cedar: "),
        ('@id("a") permit (principal, action, resource) when { resource == 3 };', 1, "policy a: Cedar: "),
        ('@id("a") permit (principal, action, resource) when { context.hour > 8 };', 1, "policy a: Cedar: "),
        ('@id("a', 1, "quoted text"),
        ('@id("a") permit (principal, action, resource;', 1, "bracket"),
        (")", 1, "closes nothing"),
        (";", 1, "Cedar: "),
        ("// \u202ereversed", 1, "0xe2"),
        ("\n// bell \x07", 2, "0x07"),
        ("//\r\n", 1, "0x0d"),
        ("// " + "x" * policytext.MAX_BYTES, None, "at most 32768"),
        (EVERYTHING * 129, 129, "more than 128"),
        (f'@id("a") permit (principal, action, resource) when {{ {"(" * 24}true{")" * 24} }};', 1, "25 deep"),
        (f'@id("a") permit (principal, action, resource) when {{ {"true && " * 400}true }};', 1, "1000 words"),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused_with_its_line(text: str, line: int | None, says: str) -> None:
    """What does not parse, does not fit the schema, or hides something."""
    with pytest.raises(PolicyInvalid) as caught:
        parsed(text)
    assert caught.value.line == line
    assert says in caught.value.detail
    assert caught.value.id == "policy-invalid"


@pytest.mark.parametrize("act", sorted(BEYOND_POLICY))
def test_no_policy_can_speak_of_stopping(act: Act) -> None:
    """Neither in a scope nor in a condition; and whoever asks about it all the same has made a mistake."""
    for text in (
        f'@id("a") forbid (principal, action == Action::"{act}", resource);',
        f'@id("a") forbid (principal, action in [Action::"site.add", Action::"{act}"], resource);',
        f'@id("a") forbid (principal, action, resource) when {{ action == Action::"{act}" }};',
    ):
        with pytest.raises(PolicyInvalid, match=f"no policy is asked about {act}"):
            parsed(text)
    with pytest.raises(ValueError, match="not asked"):
        parsed(DEFAULT).ruling(OFFICER, act)


def test_an_act_is_asked_about_with_what_it_is_about() -> None:
    """A profile where the schema has one, and nothing where it has the appliance."""
    policies = parsed(DEFAULT)
    with pytest.raises(ValueError, match="not asked"):
        policies.ruling(OFFICER, Act.PROFILE_SET)
    with pytest.raises(ValueError, match="not asked"):
        policies.ruling(OFFICER, Act.SITE_ADD, PROFILES[0])


def test_a_workload_asks_for_nothing_but_credentials() -> None:
    """Whatever a policy says: the schema knows no other question of a workload's."""
    ruling = parsed(EVERYTHING).ruling(Principal(plant.WORKLOAD), Act.SITE_ADD)
    assert not ruling.allowed
    assert ruling.fault is not None
