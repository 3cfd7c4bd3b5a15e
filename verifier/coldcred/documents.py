"""The documents of a rotation bundle: who the appliance is, its trust keys, profiles, sites, taints and times.

Each is canonical JSON with one reader and one writer here, so that the appliance writes exactly what a site reads.
`identity`, `jwks`, `profiles` and `sites` are signed by custodians, `taints` and `bundle` by the bundle key (rule R17).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

from coldcred import charter, names
from coldcred.canonical import Json, dumps, loads_canonical
from coldcred.charter import KeyCharter, Purpose
from coldcred.errors import Malformed
from coldcred.founding import Site, read_site
from coldcred.keys import PublicKey
from coldcred.record import Record

MAX_DOCUMENT = 1024 * 1024
MAX_VKEY = 512

_IN_JWKS = (Purpose.TOKENS, Purpose.STATUS)

_Item = TypeVar("_Item")


def _open(body: bytes, where: str) -> Record:
    return Record.of(loads_canonical(body, max_bytes=MAX_DOCUMENT), where)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who made the bundle; `appliance` is the SHA-256 (hex) of its founding, `log_vkey` a C2SP verifier key."""

    appliance: str
    name: str
    trust_domain: str
    issuer: str
    single_operator: bool
    log_origin: str
    log_vkey: str

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read `trust/identity.json` (`Malformed`)."""
        record = _open(body, "identity")
        record.version()
        log = record.record("log")
        identity = cls(
            appliance=record.digest("appliance"),
            name=names.label(record.text("name"), "appliance name"),
            trust_domain=names.trust_domain(record.text("trust_domain")),
            issuer=names.https_uri(record.text("issuer")),
            single_operator=record.boolean("single_operator"),
            log_origin=log.text("origin", max_chars=255),
            log_vkey=log.text("vkey", max_chars=MAX_VKEY),
        )
        log.done()
        record.done()
        return identity

    def write(self) -> bytes:
        """Give the document's bytes."""
        return dumps(
            {
                "v": 1,
                "appliance": self.appliance,
                "name": self.name,
                "trust_domain": self.trust_domain,
                "issuer": self.issuer,
                "single_operator": self.single_operator,
                "log": {"origin": self.log_origin, "vkey": self.log_vkey},
            }
        )


@dataclass(frozen=True, slots=True)
class TrustKey:
    """A key that sites trust, within its charter, for `not_before` <= t < `expires_at` (Unix seconds)."""

    public: PublicKey
    charter: KeyCharter
    not_before: int
    expires_at: int

    @property
    def kid(self) -> str:
        """The key's RFC 7638 thumbprint."""
        return self.public.thumbprint

    def covers(self, not_before: int, expires_at: int) -> bool:
        """Whether the key is valid for the whole of a window."""
        return self.not_before <= not_before and expires_at <= self.expires_at

    def as_json(self) -> dict[str, Json]:
        """Give the key as a JWK (RFC 7517) with the member `coldcred`, which other libraries pass over."""
        ours: Json = {"charter": self.charter.as_json(), "nbf": self.not_before, "exp": self.expires_at}
        named: dict[str, Json] = {"alg": self.public.algorithm.value, "kid": self.kid, "use": "sig", "coldcred": ours}
        return {**self.public.jwk(), **named}

    @classmethod
    def read(cls, value: Json) -> Self:
        """Read one key of the set: it must be, member for member, what `as_json` gives."""
        record = Record.of(value, "key")
        ours = record.record("coldcred")
        key = cls(
            public=PublicKey.from_jwk(record.members()),
            charter=charter.parse(ours.value("charter")),
            not_before=ours.time("nbf"),
            expires_at=ours.time("exp"),
        )
        if key.as_json() != value:
            raise Malformed(f"key {key.kid}: a member is missing, or not known here")
        if key.charter.purpose not in _IN_JWKS:
            raise Malformed(f"key {key.kid}: sites hold keys for tokens and status lists, not {key.charter.purpose}")
        if key.charter.algorithm is not key.public.algorithm:
            raise Malformed(f"key {key.kid}: its charter is for {key.charter.algorithm}")
        if not key.not_before < key.expires_at:
            raise Malformed(f"key {key.kid}: it ends before it begins")
        return key


def parse_jwks(body: bytes) -> dict[str, TrustKey]:
    """Read `trust/jwks.json`, a JWK Set (RFC 7517 section 5), as keys by kid."""
    record = _open(body, "jwks")
    values = record.array("keys", least=1, most=256)
    record.done()
    keys = [TrustKey.read(value) for value in values]
    return _by_name("jwks", [(key.kid, key) for key in keys])


def write_jwks(keys: Iterable[TrustKey]) -> bytes:
    """Give the bytes of the JWK Set, sorted by kid."""
    return dumps({"keys": [key.as_json() for key in sorted(keys, key=lambda key: key.kid)]})


def parse_profiles(body: bytes) -> dict[str, bool]:
    """Read `trust/profiles.json`: for each profile, whether its credentials are refused once trust is stale."""
    record = _open(body, "profiles")
    record.version()
    found = []
    for item in record.records("profiles", most=256):
        found.append((names.label(item.text("name"), "profile name"), item.boolean("refuse_stale")))
        item.done()
    record.done()
    return _by_name("profiles", found)


def write_profiles(profiles: Mapping[str, bool]) -> bytes:
    """Give the bytes of the profiles, sorted by name."""
    items: list[Json] = [{"name": name, "refuse_stale": refuse} for name, refuse in sorted(profiles.items())]
    return dumps({"v": 1, "profiles": items})


def parse_sites(body: bytes) -> dict[str, Site]:
    """Read `trust/sites.json`; no audience lives at two sites."""
    record = _open(body, "sites")
    record.version()
    sites = [read_site(item) for item in record.records("sites", least=1, most=256)]
    record.done()
    _by_name("sites", [(audience, site) for site in sites for audience in site.audiences])
    return _by_name("sites", [(site.name, site) for site in sites])


def write_sites(sites: Iterable[Site]) -> bytes:
    """Give the bytes of the sites, sorted by name."""
    ordered = sorted(sites, key=lambda site: site.name)
    items: list[Json] = [{"name": site.name, "audiences": list(site.audiences)} for site in ordered]
    return dumps({"v": 1, "sites": items})


def parse_taints(body: bytes) -> frozenset[str]:
    """Read `revocation/taints.json`: kids of keys under which nothing is believed any more (rule R21)."""
    record = _open(body, "taints")
    record.version()
    kids = record.texts("kids")
    record.done()
    return frozenset(kids)


def write_taints(kids: Iterable[str]) -> bytes:
    """Give the bytes of the taints, sorted."""
    ordered: list[Json] = [*sorted(set(kids))]
    return dumps({"v": 1, "kids": ordered})


@dataclass(frozen=True, slots=True)
class BundleTimes:
    """Whose bundle this is, its number, and the times it signs (rule R20), in Unix seconds.

    Trust is fresh before `ageing_after`, ageing before `stale_after`, stale from then on, and nothing from `end` on.
    """

    appliance: str
    site: str
    sequence: int
    issued_at: int
    ageing_after: int
    stale_after: int
    end: int

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read `time/bundle.json` (`Malformed`)."""
        record = _open(body, "bundle")
        record.version()
        times = cls(
            appliance=record.digest("appliance"),
            site=names.label(record.text("site"), "site name"),
            sequence=record.integer("sequence", least=1),
            issued_at=record.time("issued_at"),
            ageing_after=record.time("ageing_after"),
            stale_after=record.time("stale_after"),
            end=record.time("end"),
        )
        record.done()
        if not times.issued_at <= times.ageing_after <= times.stale_after <= times.end:
            raise Malformed("bundle: issued_at <= ageing_after <= stale_after <= end does not hold")
        if times.issued_at == times.end:
            raise Malformed("bundle: it ends when it begins")
        return times

    def write(self) -> bytes:
        """Give the document's bytes."""
        return dumps(
            {
                "v": 1,
                "appliance": self.appliance,
                "site": self.site,
                "sequence": self.sequence,
                "issued_at": self.issued_at,
                "ageing_after": self.ageing_after,
                "stale_after": self.stale_after,
                "end": self.end,
            }
        )


def _by_name(where: str, found: list[tuple[str, _Item]]) -> dict[str, _Item]:
    members = dict(found)
    if len(members) != len(found):
        twice = next(name for name, _ in found if [other for other, _ in found].count(name) > 1)
        raise Malformed(f"{where}: {twice} stands twice")
    return members
