"""Operators: people with enrolled keys and roles, who join, change and leave by the signatures of others (R3, R4).

A new key counts only once it signed for itself and people who are enrolled already agreed. No change may leave an act
that nobody could finish any more. Where officers are lost, custodians put somebody in the place of one.
"""

from collections.abc import Iterable
from dataclasses import replace

from appliance.authority import Authority, Operator
from appliance.cedar import PolicySet
from appliance.decision import Ask, Decision, Event, Finished
from appliance.errors import Refusal, Refused
from appliance.nouns import proofs
from appliance.nouns.policies import check_change, locks_out
from coldcred import names
from coldcred.acts import Act, Role, roles_of
from coldcred.canonical import Json
from coldcred.countersignature import parse_countersignature
from coldcred.errors import Malformed
from coldcred.keys import PublicKey
from coldcred.record import Record

_WHAT = "countersignature"
_ONE_SPELLING = "names have one spelling"
_SEPARATE_DUTIES = "R2 separate duties"
_OWN = "R3 a countersignature of one's own"
_NAME = "R3 a name is one person's"
_RECOVERY = "R4 recovery replaces an officer"

_WARNINGS = 8


def decide_add(authority: Authority, ask: Ask, now: int) -> Decision:
    """Enrol a person: args `person`, `roles`, `countersignature`, a document's SHA-256, and maybe `reason`."""
    args = Record(ask.command.args, Act.OPERATOR_ADD)
    person, roles = _name(args, "person"), _roles(args)
    digest = args.digest("countersignature")
    members: Event = {"person": person, "roles": [*sorted(roles)], "countersignature": digest}
    if args.has("reason"):
        members["reason"] = _reason(args)
    args.done()
    _check_new(authority, person)
    key = _proved(authority, ask, digest, person, now)
    members["key"] = key.jwk()
    return Decision((ask.event("operator.added", members, {"kid": key.thumbprint, "person": person}),))


def decide_remove(authority: Authority, policies: PolicySet, ask: Ask, _now: int) -> Decision:
    """Take a person's keys out of use: args `person` and `reason`; what they own stays theirs until it is adopted."""
    args = Record(ask.command.args, Act.OPERATOR_REMOVE)
    person, reason = _name(args, "person"), _reason(args)
    args.done()
    retires = [item.key.thumbprint for item in _enrolled(authority, person)]
    after = without(authority, retires)
    _check_reachable(authority, policies, after)
    members: Event = {"person": person, "reason": reason, "retires": [*sorted(retires)]}
    result: Event = {"person": person, "workloads": _owned(authority, person)}
    told = _without_spare(after)
    event = ask.event("operator.removed", members, result)
    return Decision((event,), finish=lambda _signatures: Finished(warnings=told))


def decide_roles(authority: Authority, policies: PolicySet, ask: Ask, _now: int) -> Decision:
    """Give a person other roles in place of those they have: args `person`, `roles` and `reason`."""
    args = Record(ask.command.args, Act.OPERATOR_ROLES)
    person, roles, reason = _name(args, "person"), _roles(args), _reason(args)
    args.done()
    _enrolled(authority, person)
    after = with_roles(authority, person, roles)
    _check_reachable(authority, policies, after)
    members: Event = {"person": person, "roles": [*sorted(roles)], "reason": reason}
    told = _without_spare(after)
    event = ask.event("operator.roles-set", members, {"person": person, "roles": [*sorted(roles)]})
    return Decision((event,), finish=lambda _signatures: Finished(warnings=told))


def decide_replace_key(authority: Authority, ask: Ask, now: int) -> Decision:
    """Add a person's key, retire some, or both: args `person`, `retires`, `reason` and maybe `countersignature`."""
    args = Record(ask.command.args, Act.OPERATOR_REPLACE_KEY)
    person, retires, reason = _name(args, "person"), args.texts("retires"), _reason(args)
    digest = args.digest("countersignature") if args.has("countersignature") else None
    args.done()
    held = {item.key.thumbprint for item in _enrolled(authority, person)}
    if digest is None and not retires:
        raise Refused(Refusal.MALFORMED, "it neither adds a key nor retires one")
    if strange := sorted({*retires} - held):
        raise Refused(Refusal.UNKNOWN_KEY, f"{strange[0][:64]!a} is no key of {person}", rule="R3 enrolled people")
    left = held - {*retires}
    members: Event = {"person": person, "reason": reason, "retires": [*sorted(retires)]}
    if digest is not None:
        key = _proved(authority, ask, digest, person, now)
        left |= {key.thumbprint}
        members |= {"countersignature": digest, "key": key.jwk()}
    if not left:
        raise Refused(Refusal.LAST_KEY, f"{person} would have no key left; to let somebody go is operator.remove")
    return Decision((ask.event("operator.key-replaced", members, {"keys": [*sorted(left)], "person": person}),))


def decide_recover(authority: Authority, policies: PolicySet, ask: Ask, now: int) -> Decision:
    """Put a new key in an officer's place: args `replaces`, `person`, `countersignature` and `reason`.

    `person` is the officer, or somebody new, who gets exactly the officer's roles. All the officer's keys are retired.
    No policy keeps custodians from it: where the one in force leaves an act to nobody then, the answer says so.
    """
    args = Record(ask.command.args, Act.OPERATOR_RECOVER)
    replaced, person, reason = _name(args, "replaces"), _name(args, "person"), _reason(args)
    digest = args.digest("countersignature")
    args.done()
    held = _enrolled(authority, replaced)
    roles = held[0].roles
    if Role.OFFICER not in roles:
        raise Refused(Refusal.NOT_ALLOWED, f"{replaced} is no officer; officers change other people", rule=_RECOVERY)
    if person != replaced:
        _check_new(authority, person, authority.places[replaced])
    key = _proved(authority, ask, digest, person, now)
    retires = sorted(item.key.thumbprint for item in held)
    members: Event = {
        "replaces": replaced,
        "person": person,
        "roles": [*sorted(roles)],
        "countersignature": digest,
        "key": key.jwk(),
        "retires": [*retires],
        "reason": reason,
    }
    workloads = 0 if person == replaced else _owned(authority, replaced)
    result: Event = {"kid": key.thumbprint, "person": person, "workloads": workloads}
    after = _with_key(without(authority, retires), Operator(person, roles, key))
    why = locks_out(after, policies)
    back = "" if person == replaced else f"; recover {person} as {replaced} to set another policy"
    warnings = () if why is None else (f"under the policy in force, {why}{back}",)
    event = ask.event("operator.recovered", members, result)
    return Decision((event,), finish=lambda _signatures: Finished(warnings=warnings))


def _name(args: Record, member: str) -> str:
    try:
        return names.label(args.text(member), "person id")
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error), rule=_ONE_SPELLING) from error


def _roles(args: Record) -> frozenset[Role]:
    try:
        return roles_of(args.texts("roles"))
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error), rule=_SEPARATE_DUTIES) from error


def _reason(args: Record) -> str:
    return names.plain_text(args.text("reason", max_chars=256), "reason")


def _enrolled(authority: Authority, person: str) -> tuple[Operator, ...]:
    held = authority.keys_of(person)
    if not held:
        raise Refused(Refusal.UNKNOWN_PERSON, f"{person} is nobody enrolled here")
    return held


def _check_new(authority: Authority, person: str, returning: frozenset[str] = frozenset()) -> None:
    """Refuse a name that somebody has or had, but for those whose place is given back to them (`returning`).

    Whatever still stands under a name, workloads and custodian keys for a start, would be the new person's.
    """
    if authority.keys_of(person):
        raise Refused(Refusal.ALREADY_EXISTS, f"{person} is enrolled already")
    if person in authority.places and person not in returning:
        detail = f"{person} was somebody's name before, and what is left of theirs is nobody else's"
        raise Refused(Refusal.ALREADY_EXISTS, detail, rule=_NAME)


def _proved(authority: Authority, ask: Ask, digest: str, person: str, now: int) -> PublicKey:
    """Give the new key that its holder countersigned for this person and appliance."""
    proof = proofs.read(ask, digest, parse_countersignature, _WHAT)
    proofs.check(authority, proof, _WHAT, now)
    if proof.person != person:
        raise Refused(Refusal.MALFORMED, f"the {_WHAT} is for {proof.person}", rule=_OWN)
    proofs.check_register(authority, proof.key, person)
    return proof.key


def _check_reachable(authority: Authority, policies: PolicySet, after: Authority) -> None:
    """Refuse a change that takes away the last people who could finish some act, by the table or by the policy."""
    founding = authority.founding
    lost = founding.unreachable(after.people, after.profiles.values())
    if act := next((act for act in Act if act in lost), None):
        detail = f"the people who are left could never finish {act}, which takes {founding.people_for(act)}"
        raise Refused(Refusal.BELOW_QUORUM, detail)
    check_change(authority, after, policies)


def _without_spare(after: Authority) -> tuple[str, ...]:
    """Warn of everyone without whom some act could not be finished any more; nobody else is there to step in.

    In a home that one person founded that is always so.
    """
    founding, people, profiles = after.founding, after.people, after.profiles.values()
    if founding.single_operator:
        return ()
    told = []
    for person in sorted(people):
        lost = founding.unreachable({one: roles for one, roles in people.items() if one != person}, profiles)
        if act := next((act for act in Act if act in lost), None):
            told.append(f"nobody is spare for {person}: without them nobody could finish {act}")
    return tuple(told[:_WARNINGS])


def _owned(authority: Authority, person: str) -> int:
    return len(authority.owned.get(person, ()))


def without(authority: Authority, retires: Iterable[str]) -> Authority:
    """Give the authority in which these keys sign nothing any more; they stay in their register for ever."""
    gone = frozenset(retires)
    return replace(authority, operators={kid: one for kid, one in authority.operators.items() if kid not in gone})


def with_roles(authority: Authority, person: str, roles: frozenset[Role]) -> Authority:
    """Give the authority in which every key of a person has these roles."""
    changed = {kid: replace(one, roles=roles) for kid, one in authority.operators.items() if one.person == person}
    return replace(authority, operators={**authority.operators, **changed})


def evolve_added(authority: Authority, event: Event, time: int) -> Authority:
    """Fold `operator.added`."""
    record = Record(event, "operator.added")
    person, roles = record.text("person"), roles_of(record.texts("roles"))
    authority = authority.with_member("places", person, frozenset())
    return _with_key(authority, Operator(person, roles, PublicKey.from_jwk(record.value("key")), since=time))


def evolve_removed(authority: Authority, event: Event) -> Authority:
    """Fold `operator.removed`."""
    return without(authority, Record(event, "operator.removed").texts("retires"))


def evolve_roles(authority: Authority, event: Event) -> Authority:
    """Fold `operator.roles-set`."""
    record = Record(event, "operator.roles-set")
    return with_roles(authority, record.text("person"), roles_of(record.texts("roles")))


def evolve_key_replaced(authority: Authority, event: Event) -> Authority:
    """Fold `operator.key-replaced`."""
    record = Record(event, "operator.key-replaced")
    found = authority.keys_of(record.text("person"))[0]
    if record.has("key"):
        authority = _with_key(authority, replace(found, key=PublicKey.from_jwk(record.value("key"))))
    return without(authority, record.texts("retires"))


def evolve_recovered(authority: Authority, event: Event, time: int) -> Authority:
    """Fold `operator.recovered`."""
    record = Record(event, "operator.recovered")
    person, roles = record.text("person"), roles_of(record.texts("roles"))
    replaced = record.text("replaces")
    since = next((one.since for one in authority.keys_of(person)), time)
    authority = without(authority, record.texts("retires"))
    if person != replaced:
        authority = authority.with_member("places", person, authority.places[replaced] | {replaced})
    return _with_key(authority, Operator(person, roles, PublicKey.from_jwk(record.value("key")), since))


def _with_key(authority: Authority, operator: Operator) -> Authority:
    kid = operator.key.thumbprint
    return authority.with_member("operators", kid, operator).with_member("registers", kid, "operator")


def as_json(authority: Authority) -> Json:
    """Give everyone who is enrolled, once, with all their keys and since when; whether they are a custodian too."""
    custodians = {person.id for person in authority.founding.people}
    rows: list[Json] = []
    for person, roles in authority.people.items():
        held = authority.keys_of(person)
        rows.append(
            {
                "person": person,
                "roles": [*sorted(roles)],
                "kid": held[0].key.thumbprint,
                "keys": [one.key.thumbprint for one in held],
                "public": [one.key.jwk() for one in held],
                "since": held[0].since,
                "custodian": person in custodians,
            }
        )
    return rows
