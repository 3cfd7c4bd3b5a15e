"""Profiles: set by two people, replaced whole, never edited in place."""

from appliance import combinations
from appliance.authority import Authority
from appliance.decision import Ask, Decision, Event, Finished
from appliance.lookups import Lookups
from coldcred.profile import Profile
from coldcred.record import Record


def decide_set(authority: Authority, lookups: Lookups, ask: Ask, now: int) -> Decision:
    """Set a profile: args `profile`; people are warned of what it excludes and is held together already."""
    args = Record(ask.command.args, "profile.set")
    profile = Profile.read(args.record("profile"), authority.founding.trust_domain)
    args.done()
    event = ask.event("profile.set", {"profile": profile.as_json()}, {"profile": profile.name})
    warnings = combinations.warnings(authority, lookups, profile, now)
    return Decision((event,), finish=lambda _signatures: Finished(warnings=warnings))


def evolve_set(authority: Authority, event: Event) -> Authority:
    """Fold `profile.set`."""
    profile = Profile.read(Record.of(event["profile"], "profile"), authority.founding.trust_domain)
    return authority.with_member("profiles", profile.name, profile)
