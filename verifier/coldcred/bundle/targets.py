"""What a bundle says, once its metadata is verified: whose it is, for whom, its number, its plan and its times.

Checked in this order, of which the first that fails gives the reason: appliance and trust domain are those of the first
bundle, the site is this one, the number rises, the log grew from the one that is known and revocations stay; then what
the bundle says by itself: its number, its log's checkpoint and proofs, its end, its plan and its status lists; and the
site's clock is not behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coldcred import layout
from coldcred.bundle import history
from coldcred.bundle.metadata import MAX_JUMP, VerifiedMetadata, check_jump, verify
from coldcred.errors import (
    BadSignature,
    BundleReason,
    BundleRefused,
    CharterExceeded,
    LogContradicted,
    Malformed,
)
from coldcred.framing import BUNDLE, MAX_BUNDLE, read
from coldcred.layout import Pins
from coldcred.trust import CLOCK_SKEW, TrustStore

VERSIONS_EACH = 2  # bundle n has TUF version 2n; 2n+1 is kept for its emergency sibling (R27)


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """A bundle of which every byte is accounted for: its files in one spelling, and the trust that they make.

    `contradicted` is there where its log does not follow the one that the site held, and custodians have replaced the
    bundle key meanwhile, so that it counts nevertheless.
    """

    files: Mapping[str, bytes]
    store: TrustStore
    metadata: VerifiedMetadata
    contradicted: LogContradicted | None = None


def open_bundle(data: bytes) -> dict[str, bytes]:
    """Take a bundle apart: every name on the closed list, none missing, none too large (`BundleRefused`)."""
    if len(data) > MAX_BUNDLE:
        raise BundleRefused(BundleReason.TOO_LARGE, f"{len(data)} bytes where at most {MAX_BUNDLE} are read")
    try:
        files = read(data, BUNDLE, max_bytes=MAX_BUNDLE)
        layout.check_names(files)
    except Malformed as error:
        raise BundleRefused(BundleReason.MALFORMED, str(error)) from error
    if missing := [name for name in layout.REQUIRED if name not in files]:
        raise BundleRefused(BundleReason.INCOMPLETE, f"{missing[0]} is missing")
    return files


def build_store(files: Mapping[str, bytes], *, generation: int) -> TrustStore:
    """Build trust from files whose metadata is verified (`BundleRefused`)."""
    try:
        return TrustStore.of_files(files, generation=generation)
    except Malformed as error:
        raise BundleRefused(BundleReason.MALFORMED, str(error)) from error
    except (BadSignature, CharterExceeded) as error:
        raise BundleRefused(BundleReason.BAD_SIGNATURE, str(error)) from error


def verify_bundle(
    data: bytes, *, pins: Pins, root: bytes, held: Mapping[str, bytes] | None, generation: int, now: float
) -> VerifiedBundle:
    """Verify a whole bundle for this site at `now` (Unix seconds); nothing is stored.

    `held` are the files applied before, `generation` is the number that the new ones will get. Raises `BundleRefused`.
    """
    files = open_bundle(data)
    before = None if held is None else _held_store(held, generation - 1)
    floor = 0 if before is None else before.times.issued_at
    at = max(floor, int(now))
    metadata = verify(files, root, held=held, at=at)
    files |= metadata.spelled
    store = build_store(files, generation=generation)
    _check_identity(store, before)
    _check_site(store, pins.site)
    contradicted = None
    if before is not None and held is not None:
        _check_number(store, metadata, before)
        contradicted = _check_history(store, files, before, held, renewed=metadata.renewed)
    check_itself(store, files, metadata, at)
    _check_clock(store, floor, now)
    return VerifiedBundle(files, store, metadata, contradicted)


def check_itself(store: TrustStore, files: Mapping[str, bytes], metadata: VerifiedMetadata, at: int) -> None:
    """Return when a bundle holds together at time `at` (Unix seconds), whatever a site knows (`BundleRefused`)."""
    if metadata.version != store.times.sequence * VERSIONS_EACH:
        detail = f"bundle {store.times.sequence} has TUF version {metadata.version}"
        raise BundleRefused(BundleReason.MALFORMED, detail)
    _check_site(store, store.site)
    history.check_proofs(store, files)
    if metadata.expires != store.times.end:
        raise BundleRefused(BundleReason.MALFORMED, f"{layout.TIMES} ends at another time than {layout.TIMESTAMP}")
    store.plan.check(store.keys, store.times)
    _check_status_lists(store, at)


def _check_history(
    store: TrustStore, files: Mapping[str, bytes], before: TrustStore, held: Mapping[str, bytes], *, renewed: bool
) -> LogContradicted | None:
    """Hold a bundle to the one before; gives what of its log did not follow where that is no reason to refuse it."""
    if not renewed:
        history.check_log(store, files, before, held, renewed=False)
        history.check_revocations(store, before, held)
        return None
    try:
        history.check_log(store, files, before, held, renewed=True)
    except LogContradicted as contradicted:
        return contradicted
    return None


def _held_store(held: Mapping[str, bytes], generation: int) -> TrustStore:
    try:
        return build_store(held, generation=generation)
    except BundleRefused as error:
        raise BundleRefused(BundleReason.STORE_DAMAGED, error.detail) from error


def _check_identity(store: TrustStore, before: TrustStore | None) -> None:
    if before is None:
        return
    for what, found, pinned in (
        ("appliance", store.identity.appliance, before.identity.appliance),
        ("trust domain", store.identity.trust_domain, before.identity.trust_domain),
    ):
        if found != pinned:
            raise BundleRefused(BundleReason.OTHER_APPLIANCE, f"{what} {found} where this site trusts {pinned}")


def _check_site(store: TrustStore, site: str) -> None:
    if store.site != site:
        raise BundleRefused(BundleReason.OTHER_SITE, f"it is for site {store.site}, and this is {site}")
    if site not in store.sites:
        raise BundleRefused(BundleReason.OTHER_SITE, f"its custodians do not list site {site}")


def _check_number(store: TrustStore, metadata: VerifiedMetadata, before: TrustStore) -> None:
    times = store.times
    if not metadata.renewed:  # that it is not lower than before was seen on the timestamp's version, its double
        # Bundles of all sites are numbered in one series, so a large fleet moves on faster than one site.
        most = MAX_JUMP * len(store.sites)
        check_jump("the bundle's number", times.sequence, before.times.sequence, most=most)
    if times.issued_at < before.times.issued_at:
        raise BundleRefused(BundleReason.ROLLBACK, "it was issued before the bundle that is already applied")


def _check_status_lists(store: TrustStore, at: int) -> None:
    for found in store.status_lists.values():
        if at >= found.expires_at:
            raise BundleRefused(BundleReason.EXPIRED, f"status list {found.uri} expired {at - found.expires_at} s ago")


def _check_clock(store: TrustStore, floor: int, now: float) -> None:
    floor = max(floor, store.times.issued_at)
    if now < floor - CLOCK_SKEW:
        behind = floor - int(now)
        detail = f"this site's clock is {behind} s before the time at which trust was issued"
        raise BundleRefused(BundleReason.CLOCK_BEHIND_FLOOR, detail)
