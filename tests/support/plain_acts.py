"""What each act changes in the plainest model of authority, and when it is refused; each gives whether it was done."""

from collections.abc import Callable, Mapping

from coldcred.jose import parse_unverified
from tests.support import plant
from tests.support.plain_authority import Machine, Plain, Review, Sent
from tests.support.plain_table import DAY, MONTH, policy_text, roles_of

KEY = "tokens-1"


def carry(plain: Plain, sent: Sent, people: set[str]) -> bool:
    """Carry out a command that these people are behind."""
    return ACTS[sent.act](plain, sent, people)


def _issue(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    args = sent.args
    profile, workload = plain.profiles.get(args["profile"]), args["workload"]
    if profile is None or workload not in plain.machines or not plain.is_active(workload) or plain.suspended:
        return False
    lifetime = args.get("ttl") or profile["lifetime"]
    groups = {*profile.get("groups", ())}
    inside = (
        workload.startswith(f"spiffe://{plant.DOMAIN}/line-1/")
        and args["audience"] == plant.AUDIENCE
        and args["audience"] in profile["audiences"]
        and {*args["scopes"]} <= {*profile["scopes"]}
        and lifetime <= min(profile["lifetime"], 8 * 3600)
        and (not groups or bool(groups & {*plain.machines[workload].groups}))
        and plain.window[0] <= plain.now <= plain.window[1] - lifetime
    )
    return inside and not _toxic(plain, workload, args["profile"])


def _toxic(plain: Plain, workload: str, profile: str) -> bool:
    """Whether the workload, or another of the same owner, holds something that excludes the profile."""
    owners = {name: one.owner for name, one in plain.machines.items()}
    others = {*plain.profiles[profile].get("excludes", ())}
    others |= {name for name, one in plain.profiles.items() if profile in one.get("excludes", ())}
    return any(
        held.profile in others and owners[held.workload] == owners[workload]
        for held in plain.held.values()
        if not held.revoked and plain.now < held.ends
    )


def _revoke(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    args = sent.args
    found = [
        held
        for jti, held in plain.held.items()
        if not held.revoked
        and plain.now < held.ends
        and (
            "key" in args
            or jti == args.get("credential")
            or held.workload == args.get("workload")
            or held.profile == args.get("profile")
        )
    ]
    if "workload" in args and args["workload"] not in plain.machines:
        return False
    for held in found:
        held.revoked = True
    return bool(found)


def _enrol(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    args, now = sent.args, plain.now
    before = plain.machines.get(args["id"])
    if before is not None and not before.suspended and before.owner in plain.roles and now < before.review_by - MONTH:
        return False
    if before is not None and _is_stale(sent, before.suspended):
        return False
    key = sent.args.get("enrolment") and _key_in(sent)
    if key and key in plain.ever and (before is None or key != before.key):
        return False
    if args["owner"] not in plain.roles or not now < args["review_by"] <= now + 400 * DAY:
        return False
    plain.machines[args["id"]] = Machine(args["owner"], args["review_by"], key, tuple(args.get("groups", ())))
    plain.ever |= {key} if key else set()
    return True


def _key_in(sent: Sent) -> str:
    """Give the key that the document beside a command brings."""
    (body,) = sent.attachments.values()
    return parse_unverified(body.decode()).header.kid


def _is_stale(sent: Sent, suspended: int | None) -> bool:
    """Whether something was suspended after people asked for it to go on, by more than clocks differ."""
    return suspended is not None and sent.issued + 120 < suspended


def _suspend(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    machine = plain.machines.get(sent.args["workload"])
    if machine is not None:
        machine.suspended = plain.now
    return machine is not None


def _resume(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    machine = plain.machines.get(sent.args["workload"])
    if machine is None or _is_stale(sent, machine.suspended):
        return False
    machine.suspended = None
    return True


def _suspend_key(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    if sent.args["key"] != KEY or plain.suspended is not None:
        return False
    plain.suspended = plain.now
    return True


def _activate_key(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    if sent.args["key"] != KEY or plain.suspended is None or _is_stale(sent, plain.suspended):
        return False
    plain.suspended = None
    return True


def _adopt(plain: Plain, sent: Sent, people: set[str]) -> bool:
    machine, owner = plain.machines.get(sent.args["workload"]), sent.args["owner"]
    if machine is None or owner not in plain.roles or owner not in people:
        return False
    machine.owner = owner
    return True


def _profile(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    profile = sent.args["profile"]
    if "credential.issue" in plain.unreachable(plain.roles, profile["approvals"]):
        return False
    plain.profiles[profile["name"]] = profile
    return True


def _policy(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    found = plain.settable(sent.args["policy"])
    if found is not None:
        plain.policy, plain.text = found, policy_text(found)
    return found is not None


def _site(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    if sent.args["name"] in plain.sites:
        return False
    plain.sites[sent.args["name"]] = sent.args["audiences"]
    return True


def _trust(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    """Take what was drafted a moment ago; what was submitted before, or drafted before another, does not follow."""
    drafted, targets, sites, profiles = sent.args["drafted"]
    good = bool(targets == plain.targets + 1 and sites == sorted(plain.sites) and plain.now < drafted + DAY)
    good = good and profiles == sorted(plain.profiles)
    if good:
        plain.targets, plain.window, plain.trusted = targets, (drafted, drafted + DAY), {*plain.sites}
    return good


def _bundle(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    return sent.args["site"] in plain.trusted and plain.now < plain.window[1]


def _always(_plain: Plain, _sent: Sent, _people: set[str]) -> bool:
    return True


def _withdraw(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    waiting = plain.waiting.get(sent.args["request"])
    if waiting is None or plain.now >= waiting.sent.expires or waiting.sent.signer != sent.signer:
        return False
    plain.ended[waiting.sent.id] = "refused"
    del plain.waiting[waiting.sent.id]
    return True


def _start(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    name, until = sent.args["name"], sent.args["until"]
    if plain.review is not None or name in plain.reviews or not plain.now + DAY <= until <= plain.now + 90 * DAY:
        return False
    plain.review = Review(name, until, {*plain.machines}, {*plain.roles})
    plain.reviews.add(name)
    return True


def _confirm(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    review, by, args = plain.review, sent.signer, sent.args
    workloads, people = args.get("workloads", []), args.get("operators", [])
    if review is None or review.name != args["review"] or not workloads + people:
        return False
    officers = {one for one, roles in plain.roles.items() if "officer" in roles}
    for workload in workloads:
        if workload not in plain.machines or not (by in officers or by == plain.machines[workload].owner):
            return False
    for person in people:
        only = by != person and "approver" in plain.roles[by] and not officers - {person}
        if person not in plain.roles or by == person or not (by in officers or only):
            return False
    review.workloads -= {*workloads}
    review.people -= {*people}
    return True


def _close(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    review = plain.review
    if review is None or review.name != sent.args["review"] or review.people & {*plain.roles}:
        return False
    left = review.workloads & {*plain.machines}
    if left and plain.now < review.until:
        return False
    for workload in left:
        plain.machines[workload].suspended = plain.now
    plain.review = None
    return True


# -- people


def _new_key(plain: Plain, sent: Sent) -> str | None:
    """Give the key that a countersignature brings, where it is nobody's and never was."""
    key = _key_in(sent)
    return None if key in plain.ever else key


def _enrolled(plain: Plain, person: str, key: str, roles: frozenset[str]) -> None:
    plain.operators[key] = person
    plain.roles[person] = roles
    plain.ever.add(key)


def _retire(plain: Plain, keys: list[str]) -> None:
    """Take keys out of use, with the requests that they signed, and people without a key."""
    for key in keys:
        plain.operators.pop(key, None)
    for id_, waiting in [*plain.waiting.items()]:
        if waiting.sent.kid in keys:
            plain.ended[id_] = "refused"
            del plain.waiting[id_]
    plain.roles = {one: roles for one, roles in plain.roles.items() if one in plain.operators.values()}


def _keys(plain: Plain, person: str) -> list[str]:
    return [kid for kid, one in plain.operators.items() if one == person]


def _within_reach(plain: Plain, after: dict[str, frozenset[str]]) -> bool:
    if plain.unreachable(after):
        return False
    return not plain.locked(after, plain.policy) - plain.locked(plain.roles, plain.policy)


def _add(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    roles, key = roles_of(sent.args["roles"]), _new_key(plain, sent)
    if sent.args["person"] in plain.places or roles is None or key is None:
        return False
    plain.places[sent.args["person"]] = set()
    _enrolled(plain, sent.args["person"], key, roles)
    return True


def _remove(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    person = sent.args["person"]
    if person not in plain.roles or not _within_reach(plain, {k: v for k, v in plain.roles.items() if k != person}):
        return False
    _retire(plain, _keys(plain, person))
    return True


def _set_roles(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    person, roles = sent.args["person"], roles_of(sent.args["roles"])
    if person not in plain.roles or roles is None or not _within_reach(plain, {**plain.roles, person: roles}):
        return False
    plain.roles[person] = roles
    return True


def _replace_key(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    person, retires = sent.args["person"], sent.args["retires"]
    held = _keys(plain, person)
    brings = _new_key(plain, sent) if "countersignature" in sent.args else None
    if not held or not {*retires} <= {*held} or len({*retires}) < len(retires):
        return False
    if "countersignature" in sent.args and brings is None:
        return False
    if (brings is None and not retires) or (brings is None and {*held} == {*retires}):
        return False
    if brings is not None:
        _enrolled(plain, person, brings, plain.roles[person])
    _retire(plain, retires)
    return True


def _recover(plain: Plain, sent: Sent, _people: set[str]) -> bool:
    replaced, person = sent.args["replaces"], sent.args["person"]
    roles, key = plain.roles.get(replaced), _new_key(plain, sent)
    if roles is None or "officer" not in roles or key is None:
        return False
    if person != replaced:
        if person in plain.roles or (person in plain.places and person not in plain.places[replaced]):
            return False
        plain.places[person] = plain.places[replaced] | {replaced}
    held = _keys(plain, replaced)
    _enrolled(plain, person, key, roles)
    _retire(plain, held)
    return True


Doing = Callable[[Plain, Sent, set[str]], bool]

ACTS: Mapping[str, Doing] = {
    "credential.issue": _issue,
    "credential.revoke": _revoke,
    "workload.enrol": _enrol,
    "workload.suspend": _suspend,
    "workload.resume": _resume,
    "workload.adopt": _adopt,
    "key.suspend": _suspend_key,
    "key.activate": _activate_key,
    "profile.set": _profile,
    "policy.set": _policy,
    "site.add": _site,
    "trust.submit": _trust,
    "bundle.create": _bundle,
    "log.export": _always,
    "read.open": _always,
    "request.withdraw": _withdraw,
    "review.start": _start,
    "review.confirm": _confirm,
    "review.close": _close,
    "operator.add": _add,
    "operator.remove": _remove,
    "operator.roles": _set_roles,
    "operator.replace-key": _replace_key,
    "operator.recover": _recover,
}
