"""Who may ask for what, and how many people it takes, written down once more; and the policies that the model sets."""

from collections.abc import Collection, Iterable, Mapping

from coldcred.canonical import sha256_hex
from coldcred.policy import DEFAULT
from tests.support import plant

NOT_AUDITORS = "officer issuer approver"
TABLE: Mapping[str, tuple[str, int]] = {
    "credential.issue": ("issuer", 1),
    "credential.revoke": (NOT_AUDITORS, 1),
    "workload.enrol": ("officer issuer", 2),
    "profile.set": ("officer", 2),
    "site.add": ("officer", 2),
    "trust.submit": ("officer", 1),
    "bundle.create": ("officer issuer", 1),
    "log.export": ("officer auditor", 1),
    "read.open": (f"{NOT_AUDITORS} auditor", 1),
    "workload.suspend": (NOT_AUDITORS, 1),
    "workload.resume": ("officer issuer", 2),
    "key.suspend": (NOT_AUDITORS, 1),
    "key.activate": ("officer", 2),
    "request.withdraw": (NOT_AUDITORS, 1),
    "request.complete": (NOT_AUDITORS, 1),
    "workload.adopt": ("officer issuer", 2),
    "review.start": ("officer", 2),
    "review.confirm": (NOT_AUDITORS, 1),
    "review.close": ("officer", 2),
    "operator.add": ("officer", 2),
    "operator.remove": ("officer", 2),
    "operator.roles": ("officer", 2),
    "operator.replace-key": ("officer", 2),
    "operator.recover": ("", 2),
    "policy.set": ("officer", 2),
}
"""Who may ask for an act, and how many people it takes."""

RECOVER = "operator.recover"
STOPPING = {"credential.revoke", "workload.suspend", "key.suspend", "request.withdraw", "review.confirm", RECOVER}
"""What no policy is asked about; and no missed review keeps anybody from these, or from reading."""

UNASKED = STOPPING | {"request.complete"}
"""All that no policy is asked about: about what is completed it is asked then."""

ESSENTIAL = (
    *("policy.set", "profile.set", "read.open", "log.export"),
    *(act for act in TABLE if act.startswith("operator.") and act != RECOVER),
)
"""What people must still be able to do under any policy."""

FORBIDS: Mapping[str, tuple[str | None, str | None, str | None]] = {
    "no-sites": (None, "site.add", None),
    "no-strict": (None, "credential.issue", "strict"),
    "not-alice": ("alice", None, None),
    "not-bob-sets": ("bob", "policy.set", None),
    "no-policies": (None, "policy.set", None),
    "no-resume": (None, "workload.resume", None),
}
"""What policies may forbid: to whom, which act, about which profile; None is any."""

DAY, MONTH = plant.DAY, 30 * plant.DAY

ROLES = frozenset({"officer", "issuer", "approver", "auditor"})


def roles_of(texts: Collection[str]) -> frozenset[str] | None:
    """Read roles: known ones, at least one, each once, and an auditor's alone."""
    roles = frozenset(texts)
    good = bool(roles) and roles <= ROLES and len(roles) == len(texts) and ("auditor" not in roles or len(roles) == 1)
    return roles if good else None


def policy_text(names: Iterable[str]) -> str:
    """Write a policy that forbids these, and else permits what the one does that an appliance begins with."""
    lines = []
    for name in names:
        person, act, profile = FORBIDS[name]
        who = "principal" if person is None else f'principal == Person::"{person}"'
        what = "action" if act is None else f'action == Action::"{act}"'
        about = "resource" if profile is None else f'resource == Profile::"{profile}"'
        lines.append(f'@id("{name}")\nforbid ({who}, {what}, {about});\n')
    return "\n".join([DEFAULT, *lines])


POLICIES: Mapping[str, tuple[str, ...]] = {
    sha256_hex(policy_text(names).encode()): names
    for names in (
        ("no-sites",),
        (),
        ("no-strict",),
        ("not-alice",),
        ("no-resume",),
        ("not-alice", "not-bob-sets"),
        ("not-bob-sets",),
        ("no-policies",),
    )
}
"""Policies that people set, by their SHA-256."""
