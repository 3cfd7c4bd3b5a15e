"""A founding in words, whole: what each founder signs, and what its plan costs the people who live with it.

Every member stands on a line, so another founding is another screen, not only another id.
"""

from collections.abc import Mapping

from coldcred.canonical import Json
from coldcred.charter import Purpose
from coldcred.founding import Founding, KeyPlan
from coldcred.rendering.frame import given, said
from coldcred.rendering.words import moment, span

SINGLE_OPERATOR = "SINGLE OPERATOR: one person founds this appliance and can do everything alone"

_SPANS = frozenset({"lifetime", "horizon"})
_MOMENTS = frozenset({"until"})


def lines(founding: Founding) -> tuple[str, ...]:
    """Give all that a founding says, in its own order, and then what follows from its numbers."""
    told = [said(SINGLE_OPERATOR)] if founding.single_operator else []
    told += [
        said("this founds an appliance; its id is the SHA-256 of founding.json:"),
        given(f"appliance: {founding.appliance_id}"),
        given(f"name: {founding.name}"),
        given(f"trust domain: {founding.trust_domain}"),
        given(f"issuer: {founding.issuer}"),
        given(f"drafted: {moment(founding.time)}"),
        *_people(founding),
    ]
    for token in founding.tokens:
        alone = "an object in it that nobody ordered stops the start" if token.exclusive else "others may use it too"
        told += [said("token"), given(f"{token.label}: class {token.token_class}; {alone}")]
    for key in founding.keys:
        told += [said("key"), *_key(key)]
    told.append(said("horizons"))
    horizons = founding.horizons
    for name, seconds in (("window", horizons.window), ("grace", horizons.grace)):
        told.append(given(f"{name}: {span(seconds)}"))
    for name, seconds in (("root", horizons.root), ("targets", horizons.targets)):
        told.append(given(f"{name} metadata lasts: {span(seconds)}"))
    for site in founding.sites:
        told += [said("site"), given(f"{site.name}: {', '.join(site.audiences)}")]
    for profile in founding.profiles:
        told += [said("profile"), *_members("", profile.as_json())]
    return (*told, *costs(founding))


def costs(founding: Founding) -> tuple[str, ...]:
    """Say what the numbers of a founding mean for the people who run it, in sentences."""
    horizons, quorum = founding.horizons, founding.quorums.custodians
    trust = horizons.window + horizons.grace
    key = min(founding.keys, key=lambda key: key.valid_for - _taken(founding, key))
    last = founding.time + key.valid_for - _taken(founding, key)
    return (
        said("what this plan costs:"),
        said(
            f"- every {span(horizons.window)} {quorum} custodians sign new trust, and each site is given a new bundle"
        ),
        said(f"- a site lives {span(trust)} on one bundle; after that it believes nothing until it is given the next"),
        said(f"- keys are not made anew yet, and key {key.name} ends {span(key.valid_for)} after it is made: the last"),
        said(f"trust can be signed about {moment(last)}, and the appliance stops about {moment(last + trust)}"),
        said("- windows, horizons, charters and how long keys last are fixed for good"),
    )


def _taken(founding: Founding, key: KeyPlan) -> int:
    """Seconds for which a key has to be valid when trust is signed: a key for tokens to the end of the window."""
    horizons = founding.horizons
    return horizons.window if key.charter.purpose is Purpose.TOKENS else horizons.window + horizons.grace


def _people(founding: Founding) -> list[str]:
    quorums, told = founding.quorums, []
    for person in founding.people:
        told += [
            said("person"),
            given(f"{person.id}: {', '.join(sorted(person.roles))}"),
            given(f"operator key: {person.operator.thumbprint} ({person.operator.algorithm})"),
            given(f"custodian key: {person.custodian.thumbprint} ({person.custodian.algorithm})"),
        ]
    everybody = len(founding.people)
    told += [
        said("quorums"),
        given(f"custodians: {quorums.custodians} of {everybody} sign the root of trust that sites pin"),
        given(f"recovery: {quorums.recovery} of {everybody} custodians can replace an officer"),
    ]
    return told + [given(f"{act}: takes {number} people") for act, number in quorums.acts.items()]


def _key(key: KeyPlan) -> list[str]:
    begin = given(f"{key.name}: in token {key.token}, valid for {span(key.valid_for)} from its making")
    return [begin, *_members("may sign, ", key.charter.as_json())]


def _members(before: str, members: Mapping[str, Json]) -> list[str]:
    """Write members as they are signed, spans and times in words."""
    return [given(f"{before}{name.replace('_', ' ')}: {_word(name, value)}") for name, value in members.items()]


def _word(name: str, value: Json) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int() if name in _SPANS:
            return span(value)
        case int() if name in _MOMENTS:
            return moment(value)
        case list():
            return ", ".join(str(item) for item in value) or "none"
        case _:
            return str(value)
