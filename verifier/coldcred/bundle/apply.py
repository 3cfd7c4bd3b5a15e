"""Applying a bundle: everything is verified in memory, then one generation is written and swapped in (rule R18)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from coldcred import generation, layout
from coldcred.bundle import evidence, storing
from coldcred.bundle.metadata import content
from coldcred.bundle.targets import VerifiedBundle, verify_bundle
from coldcred.errors import BundleReason, BundleRefused, LogContradicted, Reason, Rejected
from coldcred.layout import Pins
from coldcred.log import keeping
from coldcred.log.note import VerifierKey, signed_by
from coldcred.trust import TrustStore, kept_checkpoints


@dataclass(frozen=True, slots=True)
class Applied:
    """The trust that a site has now; `changed` is False where this very bundle was applied before.

    `contradicted` is there where custodians have replaced the bundle key, and the log does not follow the one that
    was held before: both checkpoints are kept as evidence.
    """

    store: TrustStore
    changed: bool
    contradicted: LogContradicted | None = None


def apply(data: bytes, path: str | os.PathLike[str], *, now: float) -> Applied:
    """Apply the bundle `data` to the trust store in directory `path`, at the site's clock `now` (Unix seconds).

    Raises `BundleRefused`, and then what is trusted is what it was before; where the log contradicts the one that the
    site knows, both checkpoints are kept as evidence. A crash at any point leaves the old trust or the new, and
    applying the bundle again finishes the work.
    """
    try:
        with generation.opened(path) as handle, storing.locked(handle):
            pins, root = generation.read_pins(handle)
            return _apply(handle, data, pins, root, now)
    except Rejected as error:
        missing = error.reason is Reason.TRUST_MISSING
        reason = BundleReason.STORE_MISSING if missing else BundleReason.STORE_DAMAGED
        raise BundleRefused(reason, error.detail) from error


def _apply(handle: int, data: bytes, pins: Pins, root: bytes, now: float) -> Applied:
    number, held = generation.read_current(handle) or (0, None)
    try:
        bundle = verify_bundle(data, pins=pins, root=root, held=held, generation=number + 1, now=now)
    except LogContradicted as contradicted:
        evidence.keep(handle, contradicted, data, at=int(now))
        raise
    if held is not None:
        before = TrustStore.of_files(held, generation=number)
        if _is_same(bundle, before, held):
            return Applied(before, changed=False)
        if bundle.contradicted is not None:
            evidence.keep(handle, bundle.contradicted, data, at=int(now))
    storing.store(handle, number + 1, {**bundle.files, layout.KEPT: _kept(bundle, held or {})})
    return Applied(bundle.store, changed=True, contradicted=bundle.contradicted)


def _is_same(bundle: VerifiedBundle, before: TrustStore, held: Mapping[str, bytes]) -> bool:
    """Whether this is the bundle that is held, by what is signed; another one of its number is refused."""
    new, known = content(bundle.files), content(held)
    if new == known:
        return True
    # A root that somebody on the way left out of the one that is held makes no other bundle of this one.
    others = {name for name in new.keys() | known.keys() if new.get(name) != known.get(name)}.difference(layout.ROOTS)
    if others and not bundle.metadata.renewed and bundle.store.times.sequence == before.times.sequence:
        detail = f"another bundle {before.times.sequence}, with other content, is already applied"
        raise BundleRefused(BundleReason.ROLLBACK, detail)
    return False


def _kept(bundle: VerifiedBundle, held: Mapping[str, bytes]) -> bytes:
    """Give all checkpoints that this site has believed, with the new one; they begin anew where the log did."""
    before: tuple[bytes, ...] = ()
    if bundle.contradicted is None:
        before = kept_checkpoints(held)
    key = VerifierKey.parse(bundle.store.identity.log_vkey)
    return keeping.write_kept(before, signed_by(bundle.store.checkpoint, key))
