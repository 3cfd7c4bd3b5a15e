"""Commands that are made up, to be asked about before they are sent: good ones, and ones that break a rule each."""

from dataclasses import dataclass

from hypothesis import strategies as st

from coldcred.acts import Act
from coldcred.canonical import Json, sha256_hex
from coldcred.policy import DEFAULT
from tests.support import plant
from tests.support.signers import Signer

PEOPLE = ("alice", "bob", "carol", "dora")
ROBOT_8 = "spiffe://plant-a.example/line-1/robot-8"
FAR = "spiffe://plant-a.example/line-2/robot-9"
ELSEWHERE = "https://elsewhere.plant-a.example"
PROFILES = ("orders-reader", "other", "none")
NO_SITES = f'{DEFAULT}\n@id("no-sites")\nforbid (principal, action == Action::"site.add", resource);\n'
NO_ROBOTS = f'{DEFAULT}\n@id("no-robots")\nforbid (principal is Workload, action, resource);\n'
SHORT = (
    f'{DEFAULT}\n@id("short")\nforbid (principal, action == Action::"credential.issue", resource)\n'
    "when { resource.lifetime > 3600 };\n"
)


@dataclass(frozen=True)
class Case:
    """A command: who signs it, what for, what travels beside it, and who approves; `wait` seconds pass first."""

    by: str
    act: Act
    args: dict[str, Json]
    bodies: tuple[bytes, ...] = ()
    approved_by: tuple[str, ...] = ()
    custodian: bool = False
    wait: int = 0


def new_key(person: str, number: int) -> Signer:
    """Give a further key of a person."""
    return Signer.named(f"{person} operator {number}")


_PEOPLE = st.sampled_from(PEOPLE)
_MACHINES = st.sampled_from([plant.WORKLOAD, plant.WORKLOAD, plant.WORKLOAD, ROBOT_8, FAR])
_REASON: dict[str, Json] = {"reason": "because"}


def _args(**members: st.SearchStrategy[Json]) -> st.SearchStrategy[dict[str, Json]]:
    return st.fixed_dictionaries({**members})


def _maybe(**members: st.SearchStrategy[Json]) -> st.SearchStrategy[dict[str, Json]]:
    return st.fixed_dictionaries({}, optional={**members})


_ISSUE = st.builds(
    lambda needed, more: {**needed, **more},
    _args(
        profile=st.sampled_from(["orders-reader"] * 6 + ["other", "none"]),
        workload=_MACHINES,
        audience=st.sampled_from([plant.AUDIENCE, plant.AUDIENCE, plant.AUDIENCE, ELSEWHERE]),
    ),
    _maybe(
        scopes=st.sampled_from([["orders.read"], ["orders.admin"]]),
        ttl=st.sampled_from([60, 900, 7200, 8 * 3600, 8 * 3600 + 1, 0]),
        purpose=st.just("stocktaking"),
        more=st.just(1),
    ),
)

_PROFILE: st.SearchStrategy[dict[str, Json]] = st.builds(
    lambda name, changes: {"profile": {**plant.profile(), "name": name, **changes}},
    st.sampled_from(["orders-reader", "other"]),
    _maybe(
        approvals=st.sampled_from([1, 2, 3]),
        lifetime=st.sampled_from([600, 9 * 3600, 25 * 3600]),
        audiences=st.sampled_from([[plant.AUDIENCE], [ELSEWHERE], [plant.AUDIENCE, ELSEWHERE]]),
        subjects=st.sampled_from([["spiffe://plant-a.example/*"], ["spiffe://plant-a.example/line-2/*"]]),
        asked_by=st.sampled_from([["workload"], ["issuer", "workload"]]),
        groups=st.just(["line-1"]),
        requires=st.just(["purpose"]),
        holder_binding=st.booleans(),
        excludes=st.sampled_from([["other"], ["orders-reader"]]),
    ),
)

_PLAIN: dict[Act, st.SearchStrategy[dict[str, Json]]] = {
    Act.CREDENTIAL_ISSUE: _ISSUE,
    Act.PROFILE_SET: _PROFILE,
    Act.CREDENTIAL_REVOKE: st.one_of(
        _args(workload=_MACHINES), _args(profile=st.sampled_from(PROFILES)), _args(credential=st.just("A" * 22))
    ).map(lambda members: {**members, **_REASON}),
    Act.SITE_ADD: _args(
        name=st.sampled_from(["line-1", "line-2"]), audiences=st.sampled_from([[plant.AUDIENCE], [ELSEWHERE]])
    ),
    Act.TRUST_SUBMIT: st.just({"files": {"targets/plan.json": "0" * 64}}),
    Act.BUNDLE_CREATE: _args(site=st.sampled_from(["line-1", "line-2", "line-9"])),
    Act.LOG_EXPORT: st.just({}),
    Act.READ_OPEN: st.sampled_from([{}, {"more": 1}]),
    Act.WORKLOAD_SUSPEND: _args(workload=_MACHINES).map(lambda members: {**members, **_REASON}),
    Act.WORKLOAD_RESUME: _args(workload=_MACHINES),
    Act.KEY_SUSPEND: _args(key=st.sampled_from(["tokens-1", "bundle-1", "none"])).map(lambda it: {**it, **_REASON}),
    Act.KEY_ACTIVATE: _args(key=st.sampled_from(["tokens-1", "bundle-1", "none"])).map(lambda it: {**it, **_REASON}),
    Act.REQUEST_WITHDRAW: _args(request=st.sampled_from(["0" * 64, "newest"])),
    Act.OPERATOR_REMOVE: _args(person=st.sampled_from([*PEOPLE, "erin"])).map(lambda members: {**members, **_REASON}),
    Act.OPERATOR_ROLES: _args(
        person=_PEOPLE, roles=st.sampled_from([["officer"], ["issuer"], ["officer", "approver"], ["auditor", "issuer"]])
    ).map(lambda members: {**members, **_REASON}),
    Act.WORKLOAD_ADOPT: _args(workload=_MACHINES, owner=_PEOPLE).map(lambda members: {**members, **_REASON}),
    Act.REVIEW_START: _args(name=st.sampled_from(["autumn", "winter"]), until=st.just("in two days")),
    Act.REVIEW_CONFIRM: st.builds(
        lambda needed, more: {**needed, **more},
        _args(review=st.sampled_from(["autumn", "winter"])),
        _maybe(workloads=_MACHINES.map(lambda one: [one]), operators=_PEOPLE.map(lambda one: [one])),
    ),
    Act.REVIEW_CLOSE: _args(review=st.sampled_from(["autumn", "winter"])),
}

_PROVED: dict[Act, dict[str, Json]] = {
    Act.OPERATOR_ADD: {"roles": ["issuer", "approver"]},
    Act.OPERATOR_REPLACE_KEY: {"retires": [], **_REASON},
    Act.OPERATOR_RECOVER: {"replaces": "bob", **_REASON},
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Make up a command."""
    act = draw(st.sampled_from([*Act, *[Act.CREDENTIAL_ISSUE] * 12, *[Act.PROFILE_SET] * 4]))
    args, bodies = _drawn(draw, act)
    by = draw(st.one_of(st.sampled_from(["alice", "alice", "bob"]), _PEOPLE))
    if act is Act.CREDENTIAL_ISSUE and draw(st.booleans()):
        by = plant.WORKLOAD
    others = st.sampled_from([("bob",), ("bob",), ("dora",), ("dora",), ("bob", "dora")])
    approved_by = draw(st.lists(_PEOPLE, max_size=2, unique=True).map(tuple) | others)
    custodian = by in PEOPLE and draw(st.sampled_from([False, False, False, act is Act.OPERATOR_RECOVER]))
    wait = draw(st.sampled_from([0] * 30 + [60, 60, 3600, 3600, 3 * plant.DAY, 100 * plant.DAY]))
    return Case(by, act, args, bodies, approved_by, custodian, wait)


def _drawn(draw: st.DrawFn, act: Act) -> tuple[dict[str, Json], tuple[bytes, ...]]:
    if act is Act.POLICY_SET:
        text = draw(st.sampled_from([DEFAULT, DEFAULT, NO_SITES, NO_ROBOTS, SHORT, "", "permit"])).encode()
        beside = () if draw(st.integers(0, 5)) == 0 else (text,)
        return {"policy": sha256_hex(text)}, beside
    if act is Act.WORKLOAD_ENROL:
        days = draw(st.sampled_from([90, 90, 500]))
        owner = draw(_PEOPLE)
        return {"id": draw(_MACHINES), "owner": owner, "review_by": plant.TIME + days * plant.DAY}, ()
    if act in _PROVED:
        # Names what the story signs when the time has come.
        person, number = draw(_PEOPLE), draw(st.integers(2, 3))
        return {"person": person, "number": number, **_PROVED[act]}, ()
    return draw(_PLAIN[act]), ()
