"""Sites: disconnected places, each with audiences that belong to it and to no other."""

from appliance.authority import Authority
from appliance.decision import Ask, Decision, Event
from appliance.errors import Refusal, Refused
from coldcred.canonical import Json
from coldcred.founding import Site, read_site
from coldcred.record import Record


def decide_add(authority: Authority, ask: Ask) -> Decision:
    """Add a site: args `name` and `audiences`."""
    site = read_site(Record(ask.command.args, "site.add"))
    if site.name in authority.sites:
        raise Refused(Refusal.ALREADY_EXISTS, f"site {site.name} exists already")
    for audience in site.audiences:
        if (other := authority.site_of(audience)) is not None:
            raise Refused(Refusal.ALREADY_EXISTS, f"audience {audience} belongs to site {other.name}")
    members: dict[str, Json] = {"site": {"name": site.name, "audiences": list(site.audiences)}}
    return Decision((ask.event("site.added", members, {"site": site.name}),))


def evolve_added(authority: Authority, event: Event) -> Authority:
    """Fold `site.added`."""
    site: Site = read_site(Record.of(event["site"], "site"))
    return authority.with_member("sites", site.name, site)
