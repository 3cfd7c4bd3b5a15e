"""May this principal do this to that, and how many people does it take (rule R2): a closed table, and policies.

`ruled` is the one place where that is asked. The table is `coldcred.acts.RULES`, so auditors hold the log to the same
one. Policies can only tighten it: they are asked about what it permits, and never about what stops something. How many
people must sign is code and stays code.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from appliance.authority import Authority, Custodian, Operator, Workload
from appliance.cedar import PolicySet
from appliance.decision import Ruled
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from coldcred import names
from coldcred.acts import BEYOND_POLICY, MAY_APPROVE, RULES, Act, Principal
from coldcred.asked import Asked
from coldcred.batch import is_batch
from coldcred.command import Command, profiles_named
from coldcred.errors import Malformed
from coldcred.log.review import UNHELD, Review, who_may_confirm
from coldcred.profile import Asker, Profile, digest_of
from coldcred.record import Record

OPEN_REQUESTS = 64
"""Requests of one person that may wait for others at once."""

_RECOVERY = "R4 custodians recover"


@dataclass(frozen=True, slots=True)
class Resource:
    """What a command is about, as far as it names it: a workload, by its SPIFFE ID, and a profile that stands."""

    workload: str | None = None
    profile: Profile | None = None


def principal(signer: Operator | Custodian | Workload) -> Principal:
    """Give whoever signed a command or an approval, as policy sees them."""
    match signer:
        case Workload():
            return Principal(signer.id, groups=signer.groups, owner=signer.owner)
        case Custodian():
            return Principal(signer.person, custodian=True)
        case Operator():
            return Principal(signer.person, signer.roles)


def resource(authority: Authority, command: Command) -> Resource:
    """Give what a command is about; a batch names its workloads and profiles line by line, and not here."""
    if command.act is not Act.CREDENTIAL_ISSUE or is_batch(command.args):
        return Resource()
    workload, profile = command.args.get("workload"), command.args.get("profile")
    return Resource(
        workload if isinstance(workload, str) else None,
        authority.profiles.get(profile) if isinstance(profile, str) else None,
    )


def under(authority: Authority, command: Command, items: Iterable[Asked | str] = ()) -> Ruled:
    """Give what a command is decided under, before anything is asked; `items` are the lines of its batch."""
    stands = [
        authority.profiles[name]
        for name in profiles_named(command.act, command.args, items)
        if name in authority.profiles
    ]
    return Ruled(authority.policy, digest_of(stands) if stands else None)


def ruled(
    authority: Authority, policies: PolicySet, asking: Principal, command: Command, items: Iterable[Asked | str] = ()
) -> Ruled:
    """Return under what `asking` may ask for this now: by the table, and by the `policies` in force; else refuse.

    Of a batch, lines under some of its profiles may be forbidden: those profiles are in `forbids`.
    """
    items = tuple(items)
    permit(asking, command.act, resource(authority, command))
    found = under(authority, command, items)
    if command.act in BEYOND_POLICY:
        return found
    if command.act is not Act.CREDENTIAL_ISSUE:
        about = _profile_to_set(authority, command) if command.act is Act.PROFILE_SET else None
        return replace(found, permits=_permits(policies, asking, command.act, about))
    permits: set[str] = set()
    forbids: dict[str, Refused] = {}
    for name in profiles_named(command.act, command.args, items):
        if name not in authority.profiles:
            continue
        profile = authority.profiles[name]
        try:
            check_asker(asking, profile)
            permits.update(_permits(policies, asking, command.act, profile))
        except Refused as refused:
            if not is_batch(command.args):
                raise
            forbids[name] = refused
    return replace(found, permits=tuple(sorted(permits)), forbids=forbids)


def _profile_to_set(authority: Authority, command: Command) -> Profile:
    """Give the profile that a command is to set, since policies are asked about that one."""
    try:
        members = Record(command.args, command.act).record("profile")
        return Profile.read(members, authority.founding.trust_domain)
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error)) from error


def _permits(policies: PolicySet, asking: Principal, act: Act, profile: Profile | None) -> tuple[str, ...]:
    """Give the policies that permit it; raises `Refused`, naming the one that forbids it."""
    ruling = policies.ruling(asking, act, profile)
    if ruling.allowed:
        return tuple(sorted(ruling.policies))
    about = f"{act}" if profile is None else f"{act} under profile {profile.name}"
    said = f"policy {ruling.policies[0]} forbids" if ruling.policies else "no policy permits"
    fault = "" if ruling.fault is None else f" ({ruling.fault})"
    raise Refused(Refusal.NOT_ALLOWED, f"{said} {about} to {asking.id}{fault}", ruling.rule(policies.digest))


def permit(asking: Principal, act: Act, about: Resource) -> None:
    """Return when the table lets `asking` ask for `act` about that, else refuse and say who may.

    A person may by a role, a workload for itself alone, and both only where the profile lets them ask.
    """
    rule = RULES[act]
    if not rule.admits(asking):
        raise Refused(Refusal.NOT_ALLOWED, _who_may(asking, act), rule=_RECOVERY if rule.custodians else None)
    if asking.is_workload and act is Act.CREDENTIAL_ISSUE and about.workload != asking.id:
        detail = f"{asking.id} may ask for itself only, one credential at a time"
        raise Refused(Refusal.NOT_ALLOWED, detail, "R2 a workload asks for itself")
    if act is Act.CREDENTIAL_ISSUE and about.profile is not None:
        check_asker(asking, about.profile)


def check_asker(asking: Principal, profile: Profile) -> None:
    """Return when the profile lets a principal of this kind ask."""
    asker = Asker.WORKLOAD if asking.is_workload else Asker.ISSUER
    if asker not in profile.asked_by:
        who = " and ".join(profile.asked_by)
        detail = f"profile {profile.name} is asked for by: {who}; not by {asking.id}"
        raise Refused(Refusal.NOT_ALLOWED, detail, f"profile {profile.name} asked_by")


def _who_may(asking: Principal, act: Act) -> str:
    rule = RULES[act]
    if rule.custodians:
        return f"{act} is asked for with a custodian key, and with no other"
    if asking.custodian:
        return f"{act} is asked for with an operator key; the custodian key of {asking.id} is for recovery and trust"
    roles = ", ".join(sorted(rule.may_ask))
    lacks = "a workload has none" if asking.is_workload else f"{asking.id} has none of them"
    return f"{act} takes one of the roles {roles}; {lacks}"


def check_may_approve(approver: Principal, requester: str, act: Act) -> None:
    """Return when the person may approve `act`, which `requester` asked for, with the key that they signed with."""
    if RULES[act].custodians and not approver.custodian:
        raise Refused(Refusal.NOT_ALLOWED, f"approving {act} takes a custodian key", rule=_RECOVERY)
    if not RULES[act].counts_approval_of(approver):
        roles = ", ".join(sorted(MAY_APPROVE))
        raise Refused(
            Refusal.NOT_ALLOWED, f"approving takes one of the roles {roles}, and an operator key", "R2 who may approve"
        )
    if approver.id == requester:
        detail = "a request is not approved by the person who made it"
        raise Refused(Refusal.NOT_ALLOWED, detail, "R2 the requester never approves")


def check_confirmed(authority: Authority, people: Collection[str], act: Act, now: int) -> None:
    """Return when the open access review keeps none of these from asking for the act, or from approving it."""
    review = authority.review
    if review is None or act in UNHELD:
        return
    for person in sorted(people):
        if review.lacks_person(person, now):
            missed = f"nobody confirmed {person} in review {review.name} by its date"
            detail = f"{missed}: {_way_out(authority, review, person, now)}"
            raise Refused(Refusal.REVIEW_MISSED, detail, f"review {review.name}")


def _way_out(authority: Authority, review: Review, person: str, now: int) -> str:
    """Say who can confirm a person whom nobody confirmed by the date, and what is left where none of them does."""
    alone = authority.founding.single_operator
    who = who_may_confirm(person, authority.people, review, now, alone=alone)
    last = "custodians put a new key in an officer's place with `coldcredctl operator recover`"
    return f"{', '.join(who[:8]) or 'nobody enrolled'} can confirm {person}; where none of them does, {last}"


def check_quota(lookups: Lookups, person: str, now: int) -> None:
    """Return when one more request of this person may wait."""
    waiting = lookups.waiting_of(person, now)
    if waiting >= OPEN_REQUESTS:
        raise Refused(Refusal.QUOTA_EXCEEDED, f"{waiting} requests of {person} wait already")


def people_for(authority: Authority, act: Act, named: Collection[str], requester: str) -> int:
    """How many people an act takes: the table, raised by the founding and, for an issue, by every profile it names.

    A workload that asks counts as nobody.
    """
    approvals = 0
    if act is Act.CREDENTIAL_ISSUE:
        approvals = max((authority.profiles[name].approvals for name in named if name in authority.profiles), default=0)
    return authority.founding.people_for(act, approvals, by_workload=names.is_spiffe_id(requester))


def quorum_rule(authority: Authority, act: Act, need: int, named: Collection[str]) -> str:
    """Name what asks for so many people: the table, the founding, or profiles among those that are `named`."""
    founding, rule = authority.founding, RULES[act]
    if founding.single_operator:
        return "R2 people: one person founded this appliance"
    if rule.custodians:
        return "R4 the recovery quorum"
    if need > founding.people_for(act):
        return f"profile {' '.join(sorted(named)[:8])} approvals"
    return "R2 people: the founding" if need > rule.people else "R2 people: the table of acts"
