"""Sites: disconnected places, each with audiences that belong to it and to no other."""

from collections.abc import Callable
from functools import partial

from appliance.authority import Authority
from appliance.decision import Ask, Decision, Event, Finished
from appliance.errors import Refusal, Refused
from coldcred import workable
from coldcred.canonical import Json
from coldcred.founding import Site, read_site
from coldcred.record import Record


def decide_add(authority: Authority, ask: Ask) -> Decision:
    """Add a site: args `name` and `audiences`; people are warned of an audience that no key could sign for."""
    site = read_site(Record(ask.command.args, "site.add"))
    if site.name in authority.sites:
        raise Refused(Refusal.ALREADY_EXISTS, f"site {site.name} exists already")
    for audience in site.audiences:
        if (other := authority.site_of(audience)) is not None:
            raise Refused(Refusal.ALREADY_EXISTS, f"audience {audience} belongs to site {other.name}")
    members: dict[str, Json] = {"site": {"name": site.name, "audiences": list(site.audiences)}}
    covered = {audience for charter in authority.token_charters for audience in charter.audiences}
    hopeless = unworkable(partial(workable.check_audiences, site.name, site.audiences, covered))
    event = ask.event("site.added", members, {"site": site.name})
    return Decision((event,), finish=lambda _signatures: Finished(warnings=hopeless))


def unworkable(check: Callable[[], None]) -> tuple[str, ...]:
    """Say what will never come of what is being set, as charters stand."""
    try:
        check()
    except workable.UnworkableError as error:
        return (f"nothing can be issued under it: {error}",)
    return ()


def evolve_added(authority: Authority, event: Event) -> Authority:
    """Fold `site.added`."""
    site: Site = read_site(Record.of(event["site"], "site"))
    return authority.with_member("sites", site.name, site)
