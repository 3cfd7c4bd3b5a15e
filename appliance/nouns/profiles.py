"""Profiles: set by two people, replaced whole, never edited in place."""

from appliance.authority import Authority
from appliance.decision import Ask, Decision, Event
from coldcred.profile import Profile
from coldcred.record import Record


def decide_set(authority: Authority, ask: Ask) -> Decision:
    """Set a profile: args `profile`."""
    args = Record(ask.command.args, "profile.set")
    profile = Profile.read(args.record("profile"), authority.founding.trust_domain)
    args.done()
    event = ask.event("profile.set", {"profile": profile.as_json()}, {"profile": profile.name})
    return Decision((event,))


def evolve_set(authority: Authority, event: Event) -> Authority:
    """Fold `profile.set`."""
    profile = Profile.read(Record.of(event["profile"], "profile"), authority.founding.trust_domain)
    return authority.with_member("profiles", profile.name, profile)
