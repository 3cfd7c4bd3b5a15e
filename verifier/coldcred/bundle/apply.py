"""Applying a bundle: everything is verified in memory, then one generation is written and swapped in (rule R18)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from coldcred import generation
from coldcred.bundle import storing
from coldcred.bundle.targets import verify_bundle
from coldcred.errors import BundleReason, BundleRefused, Reason, Rejected
from coldcred.layout import Pins
from coldcred.trust import TrustStore

_OF_THE_STORE: Mapping[Reason, BundleReason] = MappingProxyType(
    {
        Reason.TRUST_MISSING: BundleReason.STORE_MISSING,
        Reason.TRUST_DAMAGED: BundleReason.STORE_DAMAGED,
        Reason.TRUST_UNREADABLE: BundleReason.STORE_UNREADABLE,
        Reason.TRUST_EXPOSED: BundleReason.STORE_EXPOSED,
    }
)
"""How what is wrong with a trust store is said of a bundle that was to be applied to it."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The trust that a site has now; `changed` is False where this very bundle was applied before."""

    store: TrustStore
    changed: bool


def apply(data: bytes, path: str | os.PathLike[str], *, now: float) -> Applied:
    """Apply the bundle `data` to the trust store in directory `path`, at the site's clock `now` (Unix seconds).

    Raises `BundleRefused`, and then the trust store is what it was before. A crash at any point leaves the old trust
    or the new, and applying the bundle again finishes the work.
    """
    try:
        with generation.opened(path) as handle, storing.locked(handle):
            pins, root = generation.read_pins(handle)
            return _apply(handle, data, pins, root, now)
    except Rejected as error:
        raise BundleRefused(_OF_THE_STORE[error.reason], error.detail) from error


def _apply(handle: int, data: bytes, pins: Pins, root: bytes, now: float) -> Applied:
    number, held = generation.read_current(handle) or (0, None)
    bundle = verify_bundle(data, pins=pins, root=root, held=held, generation=number + 1, now=now)
    if held is not None and bundle.files == held:
        storing.mend(handle)
        return Applied(TrustStore.of_files(held, generation=number), changed=False)
    if held is not None and not bundle.metadata.renewed:
        _check_not_equal(bundle.store, TrustStore.of_files(held, generation=number))
    storing.store(handle, number + 1, bundle.files)
    return Applied(bundle.store, changed=True)


def _check_not_equal(new: TrustStore, before: TrustStore) -> None:
    if new.times.sequence == before.times.sequence:
        detail = f"another bundle {new.times.sequence}, with other content, is already applied"
        raise BundleRefused(BundleReason.ROLLBACK, detail)
