"""What a policy or a profile would change for everything now alive, said before anybody sets it.

Pure: it reads what stands and decides nothing. Policies are asked about every person and every workload, each act and
each profile, under what stands and under what is to come; what differs is told with the policy that decides.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from appliance import policy
from appliance.authority import Authority, Workload
from appliance.cedar import PolicySet
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from appliance.nouns import policies
from appliance.policyschema import ABOUT_PROFILES, ASKED
from appliance.rules import rule_of
from coldcred import names
from coldcred.acts import RULES, Act, Principal
from coldcred.canonical import Json
from coldcred.errors import Malformed
from coldcred.log.live import By, Issued, Selector
from coldcred.profile import Profile, digest_of
from coldcred.record import Record

MOST_WORKLOADS = 1000
"""Workloads that policies are asked about; beyond it the preview says how many there are."""

MOST_CHANGES = 500
"""Changes that are listed; the number of all of them is said beside."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes allowed or forbidden to somebody, and which policies, or which other rule, decide it then."""

    who: str
    act: Act
    profile: str | None
    allowed: bool
    by: str

    def as_json(self) -> dict[str, Json]:
        """Give it as the view has it."""
        return {
            "who": self.who,
            "act": self.act.value,
            "profile": self.profile,
            "becomes": "allowed" if self.allowed else "forbidden",
            "by": self.by,
        }


def preview(
    standing: Authority,
    lookups: Lookups,
    old: PolicySet,
    act: str,
    args: Record,
    attachments: Mapping[str, bytes],
    now: int,
) -> Json:
    """Say what a command for `act` with these arguments would change; raises `Refused` as its decision would."""
    try:
        match act:
            case Act.POLICY_SET:
                new = policies.read(standing, args, attachments)
                return {"act": act, "policy": new.digest, **_policy_changes(standing, old, new)}
            case Act.PROFILE_SET:
                profile = Profile.read(args.record("profile"), standing.founding.trust_domain)
                args.done()
                return {"act": act, "profile": profile.name, **_profile_changes(standing, lookups, old, profile, now)}
            case _:
                raise Refused(Refusal.MALFORMED, f"there is a preview of {Act.POLICY_SET} and {Act.PROFILE_SET} only")
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error)) from error


def changes(before: Authority, old: PolicySet, after: Authority, new: PolicySet) -> Iterator[Change]:
    """Yield what differs between two states, for everybody who is enrolled and every profile of both."""
    profiles = {**before.profiles, **after.profiles}
    for asking in _everybody(before):
        for act in ASKED:
            if asking.is_workload and not RULES[act].workloads:
                continue
            for name in sorted(profiles) if act in ABOUT_PROFILES else (None,):
                was = _verdict(old, asking, act, name, before)
                becomes = _verdict(new, asking, act, name, after)
                if was[0] != becomes[0]:
                    yield Change(asking.id, act, name, *becomes)


def _everybody(authority: Authority) -> Iterator[Principal]:
    people = {one.person: Principal(one.person, one.roles) for one in authority.operators.values()}
    yield from (people[name] for name in sorted(people))
    asking = sorted(authority.workloads)[:MOST_WORKLOADS]
    yield from (policy.principal(authority.workloads[name]) for name in asking)


def _verdict(
    policies_: PolicySet, asking: Principal, act: Act, profile: str | None, authority: Authority
) -> tuple[bool, str]:
    """Say whether table, profile and policies let somebody ask, and what decides it."""
    about = None if profile is None else authority.profiles.get(profile)
    if profile is not None and about is None:
        return False, "there is no such profile"
    if not RULES[act].admits(asking):
        return False, "R2 who may ask"
    if about is not None and act is Act.CREDENTIAL_ISSUE:
        try:
            policy.check_asker(asking, about)
        except Refused as refused:
            return False, rule_of(refused)
    ruling = policies_.ruling(asking, act, about)
    return ruling.allowed, f"policy {', '.join(ruling.policies)}" if ruling.allowed else ruling.rule(policies_.digest)


def _policy_changes(authority: Authority, old: PolicySet, new: PolicySet) -> dict[str, Json]:
    return {"replaces": old.digest, **_told(authority, changes(authority, old, authority, new))}


def _told(authority: Authority, found: Iterable[Change]) -> dict[str, Json]:
    everything = list(found)
    workloads = len(authority.workloads)
    return {
        "changes": [change.as_json() for change in everything[:MOST_CHANGES]],
        "all_changes": len(everything),
        "workloads": {"asked": min(workloads, MOST_WORKLOADS), "all": workloads},
    }


def _profile_changes(
    authority: Authority, lookups: Lookups, old: PolicySet, profile: Profile, now: int
) -> dict[str, Json]:
    before = authority.profiles.get(profile.name)
    after = replace(authority, profiles={**authority.profiles, profile.name: profile})
    sites = {site.name for site in authority.sites.values() if set(site.audiences) & set(profile.audiences)}
    live = [issued for _, issued in lookups.live.select(Selector(By.PROFILE, profile.name), now)]
    outside = [issued for issued in live if not _fits(authority, profile, issued, sites, now)]
    return {
        "replaces": None if before is None else digest_of([before]),
        "live": len(live),
        "outside": _span(outside),
        "narrowed": [] if before is None else [*_narrowed(before, profile)],
        "losing": _losing(authority, before, profile),
        **_told(authority, (one for one in changes(authority, old, after, old) if one.profile == profile.name)),
    }


def _fits(authority: Authority, profile: Profile, issued: Issued, sites: set[str], now: int) -> bool:
    """Whether a live credential is of a workload, for a site and for no longer than the profile allows.

    The log does not keep scopes and audiences of what it issued in memory; that they were narrowed is said apart.
    """
    workload = authority.workloads.get(issued.workload)
    subject = any(names.matches(pattern, issued.workload) for pattern in profile.subjects)
    grouped = not profile.groups or (workload is not None and _in_groups(profile, workload))
    return subject and grouped and issued.site in sites and issued.expires_at - now <= profile.lifetime


def _in_groups(profile: Profile, workload: Workload) -> bool:
    return not profile.groups or bool(set(profile.groups) & set(workload.groups))


def _admits(profile: Profile, workload: Workload) -> bool:
    return any(names.matches(pattern, workload.id) for pattern in profile.subjects) and _in_groups(profile, workload)


def _span(found: list[Issued]) -> dict[str, Json]:
    """Count credentials, with their earliest and latest end, which stay good until then unless they are revoked."""
    ends = [issued.expires_at for issued in found]
    return {"count": len(ends), "first_end": min(ends, default=None), "last_end": max(ends, default=None)}


def _narrowed(before: Profile, after: Profile) -> Iterator[str]:
    """Name the bounds that become narrower."""
    for name in ("audiences", "scopes", "subjects", "asked_by"):
        if set(getattr(before, name)) - set(getattr(after, name)):
            yield name
    yield from (name for name in ("lifetime", "horizon") if getattr(after, name) < getattr(before, name))
    if after.approvals > before.approvals:
        yield "approvals"
    if after.groups and (not before.groups or set(before.groups) - set(after.groups)):
        yield "groups"
    if set(after.requires) - set(before.requires):
        yield "requires"
    yield from (name for name in ("holder_binding", "refuse_stale") if getattr(after, name) > getattr(before, name))
    if after.kind is not before.kind:
        yield "kind"


def _losing(authority: Authority, before: Profile | None, after: Profile) -> dict[str, Json]:
    """Count the enrolled workloads that the profile is for now and would not be for; the first hundred by name."""
    if before is None:
        return {"count": 0, "workloads": []}
    lost = sorted(
        workload.id
        for workload in authority.workloads.values()
        if _admits(before, workload) and not _admits(after, workload)
    )
    return {"count": len(lost), "workloads": [*lost[:100]]}
