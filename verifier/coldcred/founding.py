"""The founding: the document that creates an appliance, and the signatures that make it count (rule R1).

`founding.json` is canonical JSON; the SHA-256 of its bytes is the appliance id. It is inert until each founder has
signed it with the operator key and with the custodian key, which proves possession of both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coldcred import charter, names
from coldcred.acts import NEVER_RAISED, RULES, Act, Role, people_needed, roles_of, unreachable
from coldcred.canonical import Json, dumps, loads_canonical, sha256_hex
from coldcred.errors import BadSignature, Malformed
from coldcred.jose import Typ, open_jws, parse_unverified
from coldcred.keys import Algorithm, PublicKey
from coldcred.profile import Profile
from coldcred.record import Record

MAX_FOUNDING = 256 * 1024
DAILY, CEREMONY = "daily", "ceremony"
TOKEN_CLASSES = (DAILY, CEREMONY)
OPERATOR, CUSTODIAN = "operator", "custodian"


@dataclass(frozen=True, slots=True)
class Person:
    """A founder: two keys, of which the custodian's only ever signs the root of trust."""

    id: str
    roles: frozenset[Role]
    operator: PublicKey
    custodian: PublicKey


@dataclass(frozen=True, slots=True)
class Quorums:
    """People and custodians needed; `acts` raises numbers of the table in `coldcred.acts`, never lowers them."""

    custodians: int
    recovery: int
    acts: dict[Act, int]


@dataclass(frozen=True, slots=True)
class Token:
    """A PKCS#11 token by label; `exclusive` means that an object we did not order refuses the start."""

    label: str
    token_class: str
    exclusive: bool


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """A key to be ordered at the first start: its name, token, charter and validity in seconds from its making."""

    name: str
    token: str
    charter: charter.KeyCharter
    valid_for: int


@dataclass(frozen=True, slots=True)
class Horizons:
    """Lengths in seconds: a window, the grace after the last one, and the validity of root and targets metadata."""

    window: int
    grace: int
    root: int
    targets: int


@dataclass(frozen=True, slots=True)
class Site:
    """A disconnected place and the audiences that live there."""

    name: str
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Founding:
    """A founding document; `appliance_id` is the SHA-256 (hex) of `body`, the exact bytes that were signed."""

    body: bytes
    appliance_id: str
    name: str
    trust_domain: str
    issuer: str
    time: int
    people: tuple[Person, ...]
    quorums: Quorums
    tokens: tuple[Token, ...]
    keys: tuple[KeyPlan, ...]
    horizons: Horizons
    sites: tuple[Site, ...]
    profiles: tuple[Profile, ...]

    @property
    def single_operator(self) -> bool:
        """Whether one person founded it, which every screen and document must then say."""
        return len(self.people) == 1

    def people_for(self, act: Act, approvals: int = 0, *, by_workload: bool = False) -> int:
        """How many people an act takes here: the table, raised by the quorums and by `approvals` of a profile."""
        recovery = self.quorums.recovery if RULES[act].custodians else 0
        raised = max(self.quorums.acts.get(act, 0), recovery, approvals)
        return people_needed(act, founders=len(self.people), raised=raised, by_workload=by_workload)

    def unreachable(self, people: Mapping[str, frozenset[Role]], profiles: Iterable[Profile]) -> frozenset[Act]:
        """Give the acts that these people can never finish under these profiles (`coldcred.acts.unreachable`)."""
        approvals = max((profile.approvals for profile in profiles), default=0)
        return unreachable(
            people,
            len(self.people),
            lambda act: self.people_for(act, approvals if act is Act.CREDENTIAL_ISSUE else 0),
        )


def parse(body: bytes) -> Founding:
    """Read founding.json strictly; `Malformed` says which member breaks which rule."""
    record = Record.of(loads_canonical(body, max_bytes=MAX_FOUNDING), "founding")
    record.version()
    if record.text("kind") != "coldcred-founding":
        message = "founding: not a coldcred-founding"
        raise Malformed(message)
    domain = names.trust_domain(record.text("trust_domain"))
    founding = Founding(
        body=body,
        appliance_id=sha256_hex(body),
        name=names.label(record.text("name"), "appliance name"),
        trust_domain=domain,
        issuer=names.https_uri(record.text("issuer")),
        time=record.time("time", least=1),
        people=tuple(_person(item) for item in record.records("people", least=1, most=32)),
        quorums=_quorums(record.record("quorums")),
        tokens=tuple(_token(item) for item in record.records("tokens", least=1, most=8)),
        keys=tuple(_key(item) for item in record.records("keys", least=4, most=32)),
        horizons=_horizons(record.record("horizons")),
        sites=tuple(read_site(item) for item in record.records("sites", most=256)),
        profiles=tuple(Profile.read(item, domain) for item in record.records("profiles", most=256)),
    )
    record.done()
    _check_people(founding)
    _check_keys(founding)
    _check_sites(founding.sites)
    _distinct("profile", [profile.name for profile in founding.profiles])
    return founding


def _person(record: Record) -> Person:
    person = Person(
        id=names.label(record.text("id"), "person id"),
        roles=roles_of(record.texts("roles", least=1)),
        operator=PublicKey.from_jwk(record.value("operator")),
        custodian=PublicKey.from_jwk(record.value("custodian")),
    )
    record.done()
    if person.custodian.algorithm is not Algorithm.ED25519:
        message = f"founding: the custodian key of {person.id} is not Ed25519"
        raise Malformed(message)
    return person


def _quorums(record: Record) -> Quorums:
    raised = record.record("acts")
    acts = {act: raised.integer(act, least=1) for act in Act if raised.has(act)}
    raised.done()
    for act, number in acts.items():
        if act in NEVER_RAISED and number > RULES[act].people:
            why = "its number is quorums.recovery" if RULES[act].custodians else "it must never wait for others"
            raise Malformed(f"founding: quorums.acts raises {act}; {why}")
    quorums = Quorums(record.integer("custodians", least=1), record.integer("recovery", least=1), acts)
    record.done()
    return quorums


def _token(record: Record) -> Token:
    token = Token(
        names.label(record.text("label"), "token label"),
        record.text("class"),
        record.boolean("exclusive"),
    )
    record.done()
    if token.token_class not in TOKEN_CLASSES:
        message = f"founding: a token's class is {' or '.join(TOKEN_CLASSES)}"
        raise Malformed(message)
    return token


def _key(record: Record) -> KeyPlan:
    plan = KeyPlan(
        name=names.label(record.text("name"), "key name"),
        token=names.label(record.text("token"), "token label"),
        charter=charter.parse(record.value("charter")),
        valid_for=record.seconds("valid_for", least=1),
    )
    record.done()
    return plan


def _horizons(record: Record) -> Horizons:
    horizons = Horizons(
        window=record.seconds("window", least=60),
        grace=record.seconds("grace"),
        root=record.seconds("root", least=60),
        targets=record.seconds("targets", least=60),
    )
    record.done()
    return horizons


def read_site(record: Record) -> Site:
    """Read a site: its name and the audiences it answers for."""
    site = Site(
        names.label(record.text("name"), "site name"),
        tuple(names.audience(text) for text in record.texts("audiences", least=1, most=64)),
    )
    record.done()
    return site


def _check_people(founding: Founding) -> None:
    people = founding.people
    _distinct("person", [person.id for person in people])
    keys = [key.thumbprint for person in people for key in (person.operator, person.custodian)]
    _distinct("key", keys)
    if not any(Role.OFFICER in person.roles for person in people):
        message = "founding: no officer"
        raise Malformed(message)
    for what, number in (
        ("custodians", founding.quorums.custodians),
        ("recovery", founding.quorums.recovery),
    ):
        if number > len(people):
            message = f"founding: quorums.{what} is {number} of {len(people)} people"
            raise Malformed(message)
        if number == 1 and not founding.single_operator:
            raise Malformed(f"founding: quorums.{what} is 1, which needs a founding by one person")
    if founding.single_operator and any(number > 1 for number in founding.quorums.acts.values()):
        raise Malformed("founding: one person cannot be several; quorums.acts raises a number above 1")
    _check_reachable(founding)


def _check_reachable(founding: Founding) -> None:
    """Refuse numbers that the people of this founding can never reach, and acts that nobody may ask for."""
    lost = founding.unreachable({person.id: person.roles for person in founding.people}, founding.profiles)
    if act := next((act for act in Act if act in lost), None):
        approvals = max((profile.approvals for profile in founding.profiles), default=0)
        needed = founding.people_for(act, approvals if act is Act.CREDENTIAL_ISSUE else 0)
        message = f"founding: {act} takes {needed} people and these people cannot reach that"
        raise Malformed(message)


def _check_keys(founding: Founding) -> None:
    _distinct("key name", [key.name for key in founding.keys])
    _distinct("key charter", [charter.digest(key.charter) for key in founding.keys])
    labels = [token.label for token in founding.tokens]
    _distinct("token", labels)
    for key in founding.keys:
        if key.token not in labels:
            message = f"founding: key {key.name} names a token that is not in the founding"
            raise Malformed(message)
        _check_charter(founding, key)
    for purpose in charter.Purpose:
        found = [key for key in founding.keys if key.charter.purpose is purpose]
        if purpose is charter.Purpose.OPERATOR:
            if found:
                message = f"founding: {found[0].name} is a person's key; those are not in the appliance's tokens"
                raise Malformed(message)
            continue
        if purpose is not charter.Purpose.TOKENS and len(found) != 1:
            message = f"founding: {len(found)} keys for purpose {purpose} where there is one"
            raise Malformed(message)
    kinds = [key.charter.kind for key in founding.keys if isinstance(key.charter, charter.TokenCharter)]
    _distinct("token key for kind", kinds)


def _check_charter(founding: Founding, key: KeyPlan) -> None:
    match key.charter:
        case charter.BundleCharter(algorithm=algorithm) if algorithm is not Algorithm.ES256:
            message = "founding: the bundle key is ES256 (ECDSA P-256)"
        case charter.BundleCharter(until=until) if until <= founding.time:
            message = f"founding: the charter of {key.name} ends before the founding"
        case charter.TokenCharter(issuer=issuer) if issuer != founding.issuer:
            message = f"founding: the charter of {key.name} is for another issuer"
        case charter.TokenCharter(subjects=subjects):
            for pattern in subjects:
                names.subject_pattern(pattern, founding.trust_domain)
            return
        case _:
            return
    raise Malformed(message)


def _check_sites(sites: tuple[Site, ...]) -> None:
    _distinct("site", [site.name for site in sites])
    _distinct("audience", [audience for site in sites for audience in site.audiences])


def _distinct(what: str, items: Iterable[str]) -> None:
    seen: set[str] = set()
    for item in items:
        if item in seen:
            raise Malformed(f"founding: {what} {item[:80]} stands twice")
        seen.add(item)


def signature_claims(appliance_id: str, person: str, register: str, time: int) -> dict[str, Json]:
    """Give the claims of a founder's signature by the key in `register` (operator or custodian)."""
    return {"founding": appliance_id, "person": person, "register": register, "iat": time}


def read_signature(claims: Json) -> tuple[str, str, str]:
    """Read the claims of a founder's signature: appliance id, person and register; `Malformed` on any others."""
    record = Record.of(claims, "founding signature")
    named = (record.digest("founding"), record.text("person"), record.text("register"))
    record.time("iat")
    record.done()
    return named


def verify_signatures(founding: Founding, tokens: Iterable[str]) -> None:
    """Return when every founder has signed with both keys, else raise `Malformed` or `BadSignature`, naming who."""
    expected = {
        key.thumbprint: (person.id, register, key)
        for person in founding.people
        for register, key in ((OPERATOR, person.operator), (CUSTODIAN, person.custodian))
    }
    found: set[str] = set()
    for token in tokens:
        jws = parse_unverified(token)
        if jws.header.kid not in expected:
            message = "founding: a signature by a key that is not in the founding"
            raise BadSignature(message)
        person, register, key = expected[jws.header.kid]
        named = read_signature(open_jws(jws, key, Typ.FOUNDING))
        if named != (founding.appliance_id, person, register):
            message = f"founding: the {register} signature of {person} is for other bytes"
            raise BadSignature(message)
        found.add(jws.header.kid)
    missing = [f"{person} ({register} key)" for kid, (person, register, _) in expected.items() if kid not in found]
    if missing:
        message = f"founding: not signed by {', '.join(missing)}"
        raise BadSignature(message)


def write(members: dict[str, Json]) -> bytes:
    """Give the canonical bytes of a founding and prove that they are read back."""
    body = dumps(members)
    parse(body)
    return body
