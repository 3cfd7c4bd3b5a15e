"""What a site trusts: the newest applied bundle, and how fresh it is.

A store is opened anew for each verification, or held for as long as the caller accepts not to see a newer bundle.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Self, TypeVar

from coldcred import generation, layout, status
from coldcred.charter import StatusCharter, TokenCharter
from coldcred.credential import Known
from coldcred.documents import (
    BundleTimes,
    Identity,
    TrustKey,
    parse_jwks,
    parse_profiles,
    parse_sites,
    parse_taints,
)
from coldcred.errors import BadSignature, CharterExceeded, Malformed, Reason, Rejected
from coldcred.founding import Site
from coldcred.jose import Header, Typ, known_header, open_jws, parse_unverified
from coldcred.plan import Plan
from coldcred.status import StatusList

CLOCK_SKEW = 120  # seconds that a site's clock may be behind the appliance's when the bundle was issued (R20)

_Parsed = TypeVar("_Parsed")


class Freshness(StrEnum):
    """How old trust is: a verdict of its own, beside accepted and rejected (R20).

    `none`: there is no trust, or the clock is behind it, so that its age cannot be told.
    """

    FRESH = "fresh"
    AGEING = "ageing"
    STALE = "stale"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The documents of one generation, read strictly; mappings are by kid, name or URI and cannot be changed."""

    site: str
    generation: int
    identity: Identity
    keys: Mapping[str, TrustKey]
    plan: Plan
    profiles: Mapping[str, bool]
    sites: Mapping[str, Site]
    status_lists: Mapping[str, StatusList]
    taints: frozenset[str]
    times: BundleTimes
    checkpoint: bytes
    headers: Mapping[bytes, Header] = field(init=False, repr=False, compare=False)
    known: Known = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what verifying a credential would otherwise read again each time."""
        tokens = {kid: key.charter for kid, key in self.keys.items() if isinstance(key.charter, TokenCharter)}
        headers = dict(known_header(charter.kind.typ, charter.algorithm, kid) for kid, charter in tokens.items())
        known = Known(
            uris=frozenset({self.identity.issuer, *self.status_lists}),
            audiences=frozenset(audience for charter in tokens.values() for audience in charter.audiences),
            profiles=frozenset(self.profiles),
        )
        object.__setattr__(self, "headers", MappingProxyType(headers))
        object.__setattr__(self, "known", known)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Read the trust store in directory `path`.

        Raises `Rejected`: `trust-missing` where there is none or no bundle was applied, `trust-damaged` naming the
        file that is not what was applied.
        """
        return cls._open(path)[0]

    @classmethod
    def open_whole(cls, path: str | os.PathLike[str]) -> tuple[Self, tuple[bytes, ...]]:
        """Read a trust store, and the checkpoints of all bundles that were applied to it, the oldest first."""
        store, files = cls._open(path)
        return store, kept_checkpoints(files)

    @classmethod
    def _open(cls, path: str | os.PathLike[str]) -> tuple[Self, Mapping[str, bytes]]:
        with generation.opened(path) as handle:
            pins, _ = generation.read_pins(handle)
            found = generation.read_current(handle)
        if found is None:
            detail = f"site {pins.site} has no bundle yet: `coldcred bundle apply` brings the first one"
            raise Rejected(Reason.TRUST_MISSING, detail)
        number, files = found
        try:
            store = cls.of_files(files, generation=number)
        except (Malformed, BadSignature, CharterExceeded) as error:
            raise Rejected(Reason.TRUST_DAMAGED, str(error)) from error
        if store.site != pins.site:
            detail = f"{layout.PINS}: it is for site {pins.site}, and the bundle for {store.site}"
            raise Rejected(Reason.TRUST_DAMAGED, detail)
        return store, files

    @classmethod
    def of_files(cls, files: Mapping[str, bytes], *, generation: int) -> Self:
        """Build the store from a bundle's files, whose digests or signatures the caller has verified.

        Raises `Malformed`, `BadSignature` or `CharterExceeded`, naming the file.
        """
        identity = _read(files, layout.IDENTITY, Identity.parse)
        times = _read(files, layout.TIMES, BundleTimes.parse)
        if times.appliance != identity.appliance:
            raise Malformed(f"{layout.TIMES}: it names another appliance than {layout.IDENTITY}")
        keys = _read(files, layout.JWKS, parse_jwks)
        taints = _read(files, layout.TAINTS, parse_taints)
        return cls(
            site=times.site,
            generation=generation,
            identity=identity,
            keys=MappingProxyType(keys),
            plan=_read(files, layout.PLAN, Plan.parse),
            profiles=MappingProxyType(_read(files, layout.PROFILES, parse_profiles)),
            sites=MappingProxyType(_read(files, layout.SITES, parse_sites)),
            status_lists=MappingProxyType(_read_status_lists(files, keys, taints)),
            taints=taints,
            times=times,
            checkpoint=files[layout.CHECKPOINT],
        )

    def freshness(self, now: float) -> Freshness:
        """Give the verdict on this trust's age at `now` (Unix seconds)."""
        times = self.times
        if now < times.issued_at - CLOCK_SKEW:
            return Freshness.NONE
        if now < times.ageing_after:
            return Freshness.FRESH
        return Freshness.AGEING if now < times.stale_after else Freshness.STALE

    def age(self, now: float) -> int:
        """Give whole seconds since the bundle was issued, 0 where the clock is a little behind it."""
        return max(0, int(now) - self.times.issued_at)

    def refuses_stale(self, profile: str) -> bool:
        """Whether a profile's credentials are refused once trust is stale; one unknown here is, to be safe."""
        return self.profiles.get(profile, True)


def kept_checkpoints(files: Mapping[str, bytes]) -> tuple[bytes, ...]:
    """Give the signed checkpoints that a site has believed, the oldest first, from the files of its generation.

    An earlier release kept only the one of its bundle. Raises `Rejected` (`trust-damaged`).
    """
    from coldcred.log.keeping import parse_kept  # noqa: PLC0415 - verifying a credential needs none of it

    if layout.KEPT not in files:
        return (files[layout.CHECKPOINT],) if layout.CHECKPOINT in files else ()
    try:
        return parse_kept(files[layout.KEPT])
    except Malformed as error:
        raise Rejected(Reason.TRUST_DAMAGED, f"{layout.KEPT}: {error}") from error


def _read_status_lists(
    files: Mapping[str, bytes], keys: Mapping[str, TrustKey], taints: frozenset[str]
) -> dict[str, StatusList]:
    """Read each list that its key vouches for; one under a tainted key is as good as none (R21)."""
    found: dict[str, StatusList] = {}
    for name in layout.STATUS_LISTS:
        if name not in files:
            continue
        with _naming(name):
            jws = parse_unverified(files[name], max_bytes=status.MAX_TOKEN)
            key = keys.get(jws.header.kid)
            if key is None or not isinstance(key.charter, StatusCharter):
                raise BadSignature("it is not signed by a key for status lists")
            open_jws(jws, key.public, Typ.STATUS_LIST, max_bytes=status.MAX_TOKEN)
            read = status.parse(jws.payload)
            key.charter.check(read.uri)
            if not key.covers(read.issued_at, read.expires_at):
                raise BadSignature("its key is not valid for as long as it is")
            if read.uri in found:
                raise Malformed("another list has the same uri")
        if key.kid not in taints:
            found[read.uri] = read
    return found


def _read(files: Mapping[str, bytes], name: str, parse: Callable[[bytes], _Parsed]) -> _Parsed:
    with _naming(name):
        return parse(files[name])


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the file's name before whatever is said against it."""
    try:
        yield
    except (Malformed, BadSignature, CharterExceeded) as error:
        raise type(error)(f"{name}: {error}") from error
