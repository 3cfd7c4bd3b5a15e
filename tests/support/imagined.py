"""Commands that are made up, to be asked about before they are sent: good ones, and ones that break a rule each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from coldcred.acts import Act
from coldcred.canonical import sha256_hex
from coldcred.policy import DEFAULT
from tests.support import plant
from tests.support.signers import Signer

_Args: TypeAlias = dict[str, Any]

PEOPLE = ("alice", "bob", "carol", "dora")
ROBOT_8 = "spiffe://plant-a.example/line-1/robot-8"
FAR = "spiffe://plant-a.example/line-2/robot-9"
NOBODY = "spiffe://plant-a.example/line-1/nobody"
ELSEWHERE = "https://elsewhere.plant-a.example"
NO_SITES = f'{DEFAULT}\n@id("no-sites")\nforbid (principal, action == Action::"site.add", resource);\n'
NO_ROBOTS = f'{DEFAULT}\n@id("no-robots")\nforbid (principal is Workload, action, resource);\n'
SHORT = (
    f'{DEFAULT}\n@id("short")\nforbid (principal, action == Action::"credential.issue", resource)\n'
    "when { resource.lifetime > 3600 };\n"
)
_POLICIES = (DEFAULT, DEFAULT, NO_SITES, NO_ROBOTS, SHORT, "", "permit")


@dataclass(frozen=True)
class Case:
    """A command: who signs it, what for, what travels beside it, and who approves; `wait` seconds pass first."""

    by: str
    act: Act
    args: _Args
    bodies: tuple[bytes, ...] = ()
    approved_by: tuple[str, ...] = ()
    custodian: bool = False
    wait: int = 0


def new_key(person: str, number: int) -> Signer:
    """Give a further key of a person."""
    return Signer.named(f"{person} operator {number}")


def _some(chance: Random, odds: float, **members: Any) -> _Args:
    """Give each of these members by chance."""
    return {name: value for name, value in members.items() if chance.random() < odds}


def _machine(chance: Random) -> str:
    return chance.choice([plant.WORKLOAD] * 5 + [ROBOT_8, FAR, NOBODY])


def _issue(chance: Random) -> _Args:
    return {
        "profile": chance.choice(["orders-reader"] * 6 + ["other"] * 3 + ["none"]),
        "workload": _machine(chance),
        "audience": chance.choice([plant.AUDIENCE] * 7 + [ELSEWHERE]),
        **_some(chance, 0.3, scopes=chance.choice([["orders.read"], ["orders.read"], ["orders.admin"]])),
        **_some(chance, 0.3, ttl=chance.choice([60, 900, 900, 8 * 3600, 8 * 3600 + 1, 0])),
        **_some(chance, 0.3, purpose="stocktaking"),
        **_some(chance, 0.03, more=1),
    }


def _profile(chance: Random) -> _Args:
    name = chance.choice(["orders-reader", "orders-reader", "other"])
    other = "other" if name == "orders-reader" else "orders-reader"
    changed = _some(
        chance,
        0.2,
        approvals=chance.choice([2, 2, 3]),
        lifetime=chance.choice([600, 9 * 3600, 9 * 3600, 25 * 3600]),
        audiences=chance.choice([[ELSEWHERE], [plant.AUDIENCE, ELSEWHERE]]),
        subjects=chance.choice([["spiffe://plant-a.example/*"], ["spiffe://plant-a.example/line-2/*"]]),
        asked_by=chance.choice([["workload"], ["issuer", "workload"]]),
        groups=["line-1"],
        requires=["purpose"],
        holder_binding=True,
        excludes=[other],
        kind="svid" if chance.random() < 0.3 else "access",
    )
    return {"profile": {**plant.profile(), "name": name, **changed}}


_REASON: _Args = {"reason": "because"}

_ARGS: Mapping[Act, Callable[[Random], _Args]] = {
    Act.CREDENTIAL_ISSUE: _issue,
    Act.PROFILE_SET: _profile,
    Act.CREDENTIAL_REVOKE: lambda chance: {
        **chance.choice([{"workload": _machine(chance)}, {"profile": "orders-reader"}, {"credential": "A" * 22}]),
        **_REASON,
    },
    Act.SITE_ADD: lambda chance: {
        "name": chance.choice(["line-1", "line-2"]),
        "audiences": [chance.choice([plant.AUDIENCE, ELSEWHERE])],
    },
    Act.TRUST_SUBMIT: lambda _: {"files": {"targets/plan.json": "0" * 64}},
    Act.BUNDLE_CREATE: lambda chance: {"site": chance.choice(["line-1", "line-2", "line-9"])},
    Act.LOG_EXPORT: lambda _: {},
    Act.READ_OPEN: lambda chance: _some(chance, 0.3, more=1),
    Act.WORKLOAD_ENROL: lambda chance: {
        "id": _machine(chance),
        "owner": chance.choice(PEOPLE),
        "review_by": plant.TIME + chance.choice([90, 90, 500]) * plant.DAY,
    },
    Act.WORKLOAD_SUSPEND: lambda chance: {"workload": _machine(chance), **_REASON},
    Act.WORKLOAD_RESUME: lambda chance: {"workload": _machine(chance)},
    Act.WORKLOAD_ADOPT: lambda chance: {"workload": _machine(chance), "owner": chance.choice(PEOPLE), **_REASON},
    Act.KEY_SUSPEND: lambda chance: {"key": chance.choice(["tokens-1", "bundle-1", "none"]), **_REASON},
    Act.KEY_ACTIVATE: lambda chance: {"key": chance.choice(["tokens-1", "tokens-1", "bundle-1", "none"]), **_REASON},
    Act.REQUEST_WITHDRAW: lambda chance: {"request": chance.choice(["0" * 64, "newest"])},
    Act.REQUEST_COMPLETE: lambda chance: {"request": chance.choice(["0" * 64, *("newest",) * 3])},
    Act.POLICY_SET: lambda chance: {"policy": chance.choice(_POLICIES)},
    Act.REVIEW_START: lambda chance: {"name": chance.choice(["autumn", "winter"]), "until": chance.choice([2, 200])},
    Act.REVIEW_CONFIRM: lambda chance: {
        "review": chance.choice(["autumn", "winter"]),
        **_some(chance, 0.6, workloads=[_machine(chance)]),
        **_some(chance, 0.6, operators=[chance.choice(PEOPLE)]),
    },
    Act.REVIEW_CLOSE: lambda chance: {"review": chance.choice(["autumn", "winter"])},
    Act.OPERATOR_ADD: lambda chance: {**_key(chance), "roles": ["issuer", "approver"]},
    Act.OPERATOR_REMOVE: lambda chance: {"person": chance.choice([*PEOPLE, "erin"]), **_REASON},
    Act.OPERATOR_ROLES: lambda chance: {
        "person": chance.choice(PEOPLE),
        "roles": chance.choice([["officer", "issuer"], ["officer", "approver"], ["issuer"], ["auditor", "issuer"]]),
        **_REASON,
    },
    Act.OPERATOR_REPLACE_KEY: lambda chance: {**_key(chance), "retires": [], **_REASON},
    Act.OPERATOR_RECOVER: lambda chance: {**_key(chance), "replaces": chance.choice(["bob", "carol"]), **_REASON},
}


def _key(chance: Random) -> _Args:
    """Name a person's key, whose countersignature is made when the time has come."""
    return {"person": chance.choice(PEOPLE), "number": chance.choice([2, 3])}


_OFTEN = (
    *Act,
    *[Act.CREDENTIAL_ISSUE] * 24,
    *[Act.PROFILE_SET] * 8,
    Act.WORKLOAD_RESUME,
    Act.KEY_ACTIVATE,
    *[Act.REQUEST_COMPLETE] * 4,
)


def case(chance: Random) -> Case:
    """Make up a command."""
    act = chance.choice(_OFTEN)
    args = _ARGS[act](chance)
    bodies: tuple[bytes, ...] = ()
    if act is Act.POLICY_SET:
        body = str(args["policy"]).encode()
        args, bodies = {"policy": sha256_hex(body)}, () if chance.random() < 0.1 else (body,)
    by = chance.choice(["alice"] * 8 + ["bob"] * 2 + ["carol", "dora"])
    if act is Act.CREDENTIAL_ISSUE and chance.random() < 0.25:
        by = plant.WORKLOAD
    return Case(
        by,
        act,
        args,
        bodies,
        chance.choice([(), ("bob",), ("bob",), ("dora",), ("bob", "dora"), ("carol",), ("alice", "carol", "bob")]),
        custodian=by in PEOPLE and chance.random() < (0.8 if act is Act.OPERATOR_RECOVER else 0.03),
        wait=chance.choice([0] * 60 + [60] * 4 + [7 * 3600] * 2 + [3 * plant.DAY, 100 * plant.DAY]),
    )
