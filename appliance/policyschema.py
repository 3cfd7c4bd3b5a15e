"""What policies can speak of: the schema that Cedar holds them to, made from the table of acts.

An act that is added to the table is in the schema and in its roles' groups from then on. Acts of
`coldcred.acts.BEYOND_POLICY` are in neither: no policy is asked about them.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from coldcred.acts import BEYOND_POLICY, RULES, Act, Role
from coldcred.canonical import Json
from coldcred.profile import Profile

PERSON, WORKLOAD, PROFILE, APPLIANCE = "Person", "Workload", "Profile", "Appliance"

ASKED = tuple(act for act in Act if act not in BEYOND_POLICY)
"""The acts that policies are asked about."""

ABOUT_PROFILES = frozenset({Act.CREDENTIAL_ISSUE, Act.PROFILE_SET})
"""Acts whose resource is a profile: the one that is issued under, or the one that is to be set."""

GROUPS: Mapping[Role, str] = MappingProxyType({role: f"{role.value}s" for role in Role})
"""For each role a group of the acts that the table lets it ask for, issuing apart."""

_ENTITIES = """\
// A person: the roles are officer, issuer, approver, auditor.
entity Person = { roles: Set<String> };

// A machine that asks for itself; its id is its SPIFFE ID.
entity Workload = { groups: Set<String>, owner: String };

// A profile that stands, or for profile.set the one that is to be set; times are seconds.
entity Profile = {
  kind: String, audiences: Set<String>, scopes: Set<String>, subjects: Set<String>, lifetime: Long, horizon: Long,
  approvals: Long, holder_binding: Bool, refuse_stale: Bool, groups: Set<String>, asked_by: Set<String>,
  requires: Set<String>
};

// Everything else that can be asked for is about the appliance.
entity Appliance;
"""


def schema() -> str:
    """Give the schema as Cedar reads it, and as people can."""
    groups = [f'action "{group}";' for group in GROUPS.values()]
    return "\n".join([_ENTITIES, "// What each role may ask for by the table of acts.", *groups, "", *map(_row, ASKED)])


def _row(act: Act) -> str:
    who = f"{PERSON}, {WORKLOAD}" if RULES[act].workloads else PERSON
    about = PROFILE if act in ABOUT_PROFILES else APPLIANCE
    groups = ", ".join(f'"{GROUPS[role]}"' for role in sorted(RULES[act].may_ask))
    within = "" if act is Act.CREDENTIAL_ISSUE else f" in [{groups}]"
    return f'action "{act}"{within} appliesTo {{ principal: [{who}], resource: [{about}], context: {{}} }};'


def profile_attributes(profile: Profile) -> dict[str, Json]:
    """Give a profile's bounds as policies see them."""
    return {
        "kind": profile.kind.value,
        "audiences": [*profile.audiences],
        "scopes": [*profile.scopes],
        "subjects": [*profile.subjects],
        "lifetime": profile.lifetime,
        "horizon": profile.horizon,
        "approvals": profile.approvals,
        "holder_binding": profile.holder_binding,
        "refuse_stale": profile.refuse_stale,
        "groups": [*profile.groups],
        "asked_by": [*_values(profile.asked_by)],
        "requires": [*_values(profile.requires)],
    }


def _values(members: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(member) for member in members)
