"""What custodians sign, in words: every member, what changes against what was signed last, and against the founding.

Nothing that is signed is left out: what is not refused (`coldcred.bundle.custody`) is in these lines, so that another
value is another line (rule R37).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coldcred.bundle.custodial import Trust
from coldcred.bundle.custody import plan_of
from coldcred.founding import Founding, Site
from coldcred.plan import Window
from coldcred.rendering.frame import given, said
from coldcred.rendering.words import moment, span


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be signed: `facts` by name, and `lines`, which hold them all and say what is another than before."""

    facts: Mapping[str, str]
    lines: tuple[str, ...]


def tell(founding: Founding, trust: Trust, before: Trust | None) -> Told:
    """Say all that a custodian signs; `before` is what was signed last, by this custodian or by the quorum."""
    facts = _facts(founding, trust)
    lines = [said(_signs(trust))]
    if before is None:
        lines.append(said("FIRST TRUST: nothing was signed before; if custodians did sign for it, do not sign this"))
    else:
        lines.append(said(f"what changes against version {before.version}, which was signed last:"))
        lines += _changes(facts, _facts(founding, before), "was")
    lines.append(said("what differs from the founding:"))
    lines += _changes(_founded_of(trust.sites, trust.profiles), _founding_facts(founding), "founded") or [
        said("nothing")
    ]
    lines.append(said("the whole of it:"))
    lines += [given(f"{name}: {text}") for name, text in facts.items()]
    return Told(facts, tuple(lines))


def _signs(trust: Trust) -> str:
    new = [f"root {root.version} (a new one)" for root in trust.roots if not root.signed]
    return f"your signature covers {_listed([*new, f'targets version {trust.version}'])}"


def _changes(now: Mapping[str, str], before: Mapping[str, str], was: str) -> list[str]:
    """Say what is new, gone or another."""
    lines = []
    for name, text in now.items():
        if name not in before:
            lines.append(given(f"NEW      {name}: {text}"))
        elif before[name] != text:
            lines += [given(f"CHANGED  {name}: {text}"), given(f"         {was}: {before[name]}")]
    return lines + [given(f"GONE     {name}: {text}") for name, text in before.items() if name not in now]


def _facts(founding: Founding, trust: Trust) -> dict[str, str]:
    """Name every member with its value in words, in the order in which people read them."""
    identity = trust.identity
    people = _listed(person.id for person in founding.people)
    facts = {
        "appliance": identity.appliance,
        "name": identity.name,
        "trust domain": identity.trust_domain,
        "issuer": identity.issuer,
        "single operator": "yes: one person can do everything alone" if identity.single_operator else "no",
        "root of trust": f"any {founding.quorums.custodians} of {people} sign",
    }
    for root in trust.roots:
        state = "signed" if root.signed else "new"
        facts[f"root {root.version}"] = f"{state}, ends {moment(root.expires)} (TUF {root.specification})"
    facts["targets"] = f"version {trust.version}, ends {moment(trust.expires)} (TUF {trust.specification})"
    facts["bundle key"] = trust.bundle_key.thumbprint
    facts["log"] = identity.log_origin
    facts["log key"] = f"{trust.log.key.thumbprint} ({trust.log.key.algorithm}), {identity.log_vkey}"
    for kid, key in trust.keys.items():
        plan = plan_of(founding, key)
        name = plan.name if plan is not None else key.charter.purpose.value
        valid = f"valid from {moment(key.not_before)} to {moment(key.expires_at)}"
        facts[f"key {name}"] = f"{kid} ({key.public.algorithm}), {valid}, {span(key.expires_at - key.not_before)}"
    facts |= {f"window {window.number}": _window(founding, trust, window) for window in trust.plan.windows}
    facts["grace"] = f"{span(trust.plan.grace)} after the last window, so trust ends {moment(trust.end)}"
    return facts | _founded_of(trust.sites, trust.profiles)


def _window(founding: Founding, trust: Trust, window: Window) -> str:
    names = {kid: plan.name for kid, key in trust.keys.items() if (plan := plan_of(founding, key)) is not None}

    def keys(kids: tuple[str, ...]) -> str:
        return _listed(names.get(kid, kid) for kid in kids)

    lasts = (
        f"{moment(window.not_before)} to {moment(window.expires_at)} ({span(window.expires_at - window.not_before)})"
    )
    use = f"publishes {keys(window.publish)}; signs with {keys(window.sign)}; retires {keys(window.retire)}"
    return f"{lasts}; {use}"


def _founded_of(sites: Mapping[str, Site], profiles: Mapping[str, bool]) -> dict[str, str]:
    facts = {f"site {name}": _listed(site.audiences) for name, site in sites.items()}
    return facts | {f"profile {name}": _stale(refuse) for name, refuse in profiles.items()}


def _founding_facts(founding: Founding) -> dict[str, str]:
    sites = {site.name: site for site in founding.sites}
    return _founded_of(sites, {profile.name: profile.refuse_stale for profile in founding.profiles})


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items) or "none"


def _stale(refuse: bool) -> str:  # noqa: FBT001 - the value of a member
    return "refused at a site whose trust is stale" if refuse else "taken at a site whose trust is stale"
