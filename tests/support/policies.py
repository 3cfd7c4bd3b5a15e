"""Policies that are made up: as Cedar text, and as values that a slow evaluator of our own answers from.

The evaluator knows nothing of Cedar: it looks at every policy in turn, as a person would with the text in hand.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hypothesis import strategies as st

from appliance.policyschema import ABOUT_PROFILES, APPLIANCE, ASKED, GROUPS, PERSON, PROFILE, WORKLOAD
from coldcred.acts import RULES, Act, Principal, Role
from coldcred.canonical import Json
from coldcred.profile import Profile
from coldcred.record import Record
from tests.support import plant

ROBOTS = (plant.WORKLOAD, f"{plant.WORKLOAD}0")
PEOPLE = ("al", "alice", "alice-b", "bob")


def profile(name: str, lifetime: int, asked_by: Iterable[str], groups: Iterable[str] = ()) -> Profile:
    """Give a profile of the plant."""
    members: dict[str, Json] = {**plant.profile(), "name": name, "lifetime": lifetime, "asked_by": [*asked_by]}
    if found := [*groups]:
        members["groups"] = [*found]
    return Profile.read(Record(members, "profile"), plant.DOMAIN)


PROFILES = (
    profile("orders", 600, ("issuer",), ("line-1",)),
    profile("orders-2", 3600, ("issuer", "workload")),
    profile("robots", 60, ("workload",), ("line-1", "line-2")),
)


@dataclass(frozen=True)
class Question:
    """One question to policies: who asks for which act, about which profile, if the act is about one."""

    principal: Principal
    act: Act
    profile: Profile | None

    @property
    def kind(self) -> str:
        """The type of the principal."""
        return WORKLOAD if self.principal.is_workload else PERSON

    @property
    def about(self) -> str:
        """The type of the resource."""
        return APPLIANCE if self.profile is None else PROFILE


@dataclass(frozen=True)
class Part:
    """A part of a policy: how it is written, and whether it holds for a question."""

    text: str
    holds: Callable[[Question], bool]


@dataclass(frozen=True)
class Policy:
    """One policy: it applies where its scope and all its conditions hold."""

    effect: str
    principal: Part
    action: Part
    resource: Part
    conditions: tuple[tuple[bool, Part], ...]

    def text(self, name: str) -> str:
        """Write it in Cedar."""
        scope = f"principal{self.principal.text}, action{self.action.text}, resource{self.resource.text}"
        tails = (f"{'when' if wanted else 'unless'} {{ {part.text} }}" for wanted, part in self.conditions)
        return f'@id("{name}")\n{self.effect} ({scope}) {" ".join(tails)};\n'

    def fits(self, question: Question) -> bool:
        """Whether its scope holds."""
        return all(part.holds(question) for part in (self.principal, self.action, self.resource))

    def applies(self, question: Question) -> bool:
        """Whether it applies."""
        return self.fits(question) and all(part.holds(question) is wanted for wanted, part in self.conditions)

    @property
    def can_apply(self) -> bool:
        """Whether its scope fits any question of any kind; Cedar refuses one that fits none."""
        return any(self.fits(question) for question in every_kind())


def text_of(policies: Iterable[Policy]) -> str:
    """Write policies as one text; the first is called p-0."""
    return "\n".join(policy.text(f"p-{place}") for place, policy in enumerate(policies))


def expected(policies: Iterable[Policy], question: Question) -> tuple[bool, tuple[str, ...]]:
    """Answer a question slowly: what forbids decides, else what permits, else nothing."""
    applying = [(f"p-{place}", policy) for place, policy in enumerate(policies) if policy.applies(question)]
    forbids = tuple(name for name, policy in applying if policy.effect == "forbid")
    permits = tuple(name for name, policy in applying if policy.effect == "permit")
    return (False, forbids) if forbids else (bool(permits), permits)


def every_kind() -> Iterable[Question]:
    """Give one question for each kind of principal and each act that goes with it, about every profile."""
    principals = [Principal(name) for name in (*PEOPLE, *ROBOTS)]
    for act in ASKED:
        for principal in principals:
            if principal.is_workload and not RULES[act].workloads:
                continue
            for about in PROFILES if act in ABOUT_PROFILES else (None,):
                yield Question(principal, act, about)


def _any(_: Question) -> bool:
    return True


def _is(kind: str) -> Part:
    return Part(f" is {kind}", lambda question: kind in {question.kind, question.about})


def _named(kind: str, name: str) -> Part:
    if kind == PROFILE:
        return Part(f' == {kind}::"{name}"', lambda question: bool(question.profile and question.profile.name == name))
    return Part(f' == {kind}::"{name}"', lambda question: question.kind == kind and question.principal.id == name)


def _act(act: Act) -> Part:
    return Part(f' == Action::"{act}"', lambda question: question.act is act)


def _one_of(acts: frozenset[Act]) -> Part:
    listed = ", ".join(f'Action::"{act}"' for act in sorted(acts))
    return Part(f" in [{listed}]", lambda question: question.act in acts)


def _group(role: Role) -> Part:
    within = frozenset(act for act in ASKED if role in RULES[act].may_ask and act is not Act.CREDENTIAL_ISSUE)
    return Part(f' in Action::"{GROUPS[role]}"', lambda question: question.act in within)


def _has_role(role: Role) -> Part:
    text = f'principal is {PERSON} && principal.roles.contains("{role}")'
    return Part(text, lambda question: question.kind == PERSON and role in question.principal.roles)


def _in_group(group: str) -> Part:
    text = f'principal is {WORKLOAD} && principal.groups.contains("{group}")'
    return Part(text, lambda question: question.kind == WORKLOAD and group in question.principal.groups)


def _owned_by(person: str) -> Part:
    text = f'principal is {WORKLOAD} && principal.owner == "{person}"'
    return Part(text, lambda question: question.kind == WORKLOAD and question.principal.owner == person)


def _lives(seconds: int) -> Part:
    text = f"resource is {PROFILE} && resource.lifetime > {seconds}"
    return Part(text, lambda question: question.profile is not None and question.profile.lifetime > seconds)


def _asked_by(asker: str) -> Part:
    text = f'resource is {PROFILE} && resource.asked_by.contains("{asker}")'
    return Part(text, lambda question: question.profile is not None and asker in question.profile.asked_by)


_ALL = st.just(Part("", _any))
_PRINCIPALS = st.one_of(
    _ALL,
    st.sampled_from([_is(PERSON), _is(WORKLOAD)]),
    st.sampled_from([*(_named(PERSON, name) for name in PEOPLE), *(_named(WORKLOAD, name) for name in ROBOTS)]),
)
_ACTIONS = st.one_of(
    _ALL,
    st.sampled_from(ASKED).map(_act),
    st.frozensets(st.sampled_from(ASKED), min_size=1, max_size=4).map(_one_of),
    st.sampled_from(Role).map(_group),
)
_RESOURCES = st.one_of(
    _ALL,
    st.sampled_from([_is(PROFILE), _is(APPLIANCE)]),
    st.sampled_from([_named(PROFILE, one.name) for one in PROFILES]),
)
_CONDITIONS = st.one_of(
    st.sampled_from(Role).map(_has_role),
    st.sampled_from(["line-1", "line-2"]).map(_in_group),
    st.sampled_from(PEOPLE).map(_owned_by),
    st.sampled_from([59, 60, 600, 3600]).map(_lives),
    st.sampled_from(["issuer", "workload"]).map(_asked_by),
)

POLICY = st.builds(
    Policy,
    st.sampled_from(["permit", "permit", "forbid"]),
    _PRINCIPALS,
    _ACTIONS,
    _RESOURCES,
    st.lists(st.tuples(st.booleans(), _CONDITIONS), max_size=2).map(tuple),
).filter(lambda policy: policy.can_apply)

PRINCIPAL = st.one_of(
    st.builds(Principal, st.sampled_from(PEOPLE), st.frozensets(st.sampled_from(Role), max_size=2)),
    st.builds(
        Principal,
        st.sampled_from(ROBOTS),
        groups=st.sampled_from([(), ("line-1",), ("line-1", "line-2")]),
        owner=st.sampled_from(PEOPLE),
    ),
)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """Make up a question that can be asked."""
    principal = draw(PRINCIPAL)
    acts = [act for act in ASKED if RULES[act].workloads] if principal.is_workload else ASKED
    act = draw(st.sampled_from(acts))
    return Question(principal, act, draw(st.sampled_from(PROFILES)) if act in ABOUT_PROFILES else None)
