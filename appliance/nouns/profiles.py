"""Profiles: set by two people, replaced whole, never edited in place; and the bounds that a request is held to."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

from appliance import combinations
from appliance.authority import Authority, Workload
from appliance.decision import Ask, Decision, Event, Finished
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from appliance.nouns.sites import unworkable
from coldcred import names, workable
from coldcred.acts import Act
from coldcred.asked import Asked
from coldcred.profile import Profile
from coldcred.record import Record

_Bound: TypeAlias = Callable[[Profile, Workload, Asked], str | None]
"""Says what lies outside one bound of the profile, or None."""


def decide_set(authority: Authority, lookups: Lookups, ask: Ask, now: int) -> Decision:
    """Set a profile: args `profile`; people are warned of what it excludes and is held together already.

    It takes no more people for each credential than those who are enrolled can be.
    """
    args = Record(ask.command.args, "profile.set")
    profile = Profile.read(args.record("profile"), authority.founding.trust_domain)
    args.done()
    _check_reachable(authority, profile)
    event = ask.event("profile.set", {"profile": profile.as_json()}, {"profile": profile.name})
    warnings = (*combinations.warnings(authority, lookups, profile, now), *_hopeless(authority, profile))
    return Decision((event,), finish=lambda _signatures: Finished(warnings=warnings))


def _hopeless(authority: Authority, profile: Profile) -> tuple[str, ...]:
    """Say what a profile can never come to: no key covers it, or what it is for lives at no site."""
    nowhere = [audience for audience in profile.audiences if authority.site_of(audience) is None]
    warnings = [f"{audience} belongs to no site: nothing is issued for it before one is added" for audience in nowhere]
    return (*unworkable(partial(workable.check_profile, profile, authority.token_charters)), *warnings)


def _check_reachable(authority: Authority, profile: Profile) -> None:
    if Act.CREDENTIAL_ISSUE in authority.founding.unreachable(authority.people, [profile]):
        detail = f"{profile.name} takes {profile.approvals} people for each credential, and too few may ask or approve"
        raise Refused(Refusal.BELOW_QUORUM, detail, f"profile {profile.name} approvals")


def evolve_set(authority: Authority, event: Event) -> Authority:
    """Fold `profile.set`."""
    profile = Profile.read(Record.of(event["profile"], "profile"), authority.founding.trust_domain)
    return authority.with_member("profiles", profile.name, profile)


def check(profile: Profile, workload: Workload, asked: Asked) -> None:
    """Hold a request to the profile: it may narrow, never widen; raises `Refused` naming the first member exceeded."""
    for member in BOUNDS:
        check_bound(member, profile, workload, asked)


def check_bound(member: str, profile: Profile, workload: Workload, asked: Asked) -> None:
    """Hold a request to one member of the profile, among `BOUNDS`; raises `Refused`."""
    if (outside := BOUNDS[member](profile, workload, asked)) is not None:
        raise Refused(Refusal.OUTSIDE_PROFILE, f"profile {profile.name} {outside}", rule_of_bound(profile, member))


def rule_of_bound(profile: Profile, member: str) -> str:
    """Name a profile's member as the rule behind a refusal."""
    return f"profile {profile.name} {member}"


def _subjects(profile: Profile, workload: Workload, _asked: Asked) -> str | None:
    inside = any(names.matches(pattern, workload.id) for pattern in profile.subjects)
    return None if inside else f"is not for {workload.id}"


def _audiences(profile: Profile, _workload: Workload, asked: Asked) -> str | None:
    return None if asked.audience in profile.audiences else f"is not for audience {asked.audience}"


def _scopes(profile: Profile, _workload: Workload, asked: Asked) -> str | None:
    wide = next((scope for scope in asked.scopes if scope not in profile.scopes), None)
    return None if wide is None else f"does not grant scope {wide}"


def _lifetime(profile: Profile, _workload: Workload, asked: Asked) -> str | None:
    if asked.lifetime is None or asked.lifetime <= profile.lifetime:
        return None
    return f"allows {profile.lifetime} s, {asked.lifetime} s were asked for"


def _groups(profile: Profile, workload: Workload, _asked: Asked) -> str | None:
    if not profile.groups or set(profile.groups) & set(workload.groups):
        return None
    return f"is for groups {', '.join(profile.groups)}; {workload.id} is not"


def _requires(profile: Profile, _workload: Workload, asked: Asked) -> str | None:
    missing = profile.missing(asked)
    return f"requires a {missing[0]}" if missing else None


def _holder_binding(profile: Profile, workload: Workload, _asked: Asked) -> str | None:
    if not profile.holder_binding or workload.key is not None:
        return None
    return f"binds the holder; {workload.id} has no key"


BOUNDS: Mapping[str, _Bound] = MappingProxyType(
    {
        "subjects": _subjects,
        "audiences": _audiences,
        "scopes": _scopes,
        "lifetime": _lifetime,
        "groups": _groups,
        "requires": _requires,
        "holder_binding": _holder_binding,
    }
)
"""The members of a profile that bound a request, in the order in which they are looked at."""
