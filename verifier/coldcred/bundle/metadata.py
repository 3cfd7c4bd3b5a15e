"""The TUF client workflow (TUF 1.0, section 5.3) on bytes and a given time, storing nothing.

    1 root       from the pinned root, version by version, each signed by the threshold of the one before and its own
    2 timestamp  signed under the last root, in force, not older than the one held
    3 snapshot   the one that timestamp names by version, length and hash; nothing in it older than in the one held
    4 targets    the one that snapshot names, signed by the custodians' quorum
    5 site       the one that snapshot names, signed as targets delegates
    6 files      each listed by the role that may list it, with its length and hash

An earlier timestamp or snapshot holds a newer one to its versions only while it verifies under the newest root: once
custodians have replaced the appliance's key, numbers that a thief burnt no longer count (section 5.3.11).

What somebody on the way can change without a key is how a file is spelled: which good signatures a root or the
timestamp carries, and in which of two forms. So these are compared by what is signed, and stored in one spelling.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from coldcred import layout
from coldcred.bundle.library import (
    Key,
    LengthOrHashMismatchError,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
    UnsignedMetadataError,
)
from coldcred.bundle.roles import SITE, read, read_stored, respelled
from coldcred.errors import BundleReason, BundleRefused, Malformed

MAX_JUMP = 1000  # of the version of targets, and for each site of the bundle's number, in one step

_Role = TypeVar("_Role", Timestamp, Snapshot, Targets)
_AnyRole = TypeVar("_AnyRole", Root, Timestamp)

_TARGETS_META, _SITE_META = "targets.json", "site.json"


@dataclass(frozen=True, slots=True)
class VerifiedMetadata:
    """What the metadata of a bundle established; `expires` is the timestamp's (Unix seconds).

    `renewed`: the custodians have replaced the appliance's key since the bundle held, so its numbers begin anew.
    `spelled` has roots and timestamp in the one spelling that is stored, by name.
    """

    root_version: int
    version: int
    targets_version: int
    expires: int
    renewed: bool
    spelled: Mapping[str, bytes]


def verify(files: Mapping[str, bytes], pinned: bytes, *, held: Mapping[str, bytes] | None, at: int) -> VerifiedMetadata:
    """Verify a bundle's metadata and the files it lists against the pinned root, at time `at` (Unix seconds).

    `held` are the files of the bundle applied before. Raises `BundleRefused`.
    """
    with _refusing():
        root, spelled = _roots(files, pinned, held or {})
        _check_expiry(root, layout.ROOTS[root.version - 1], at)
        # What was held counts role by role, while it verifies under the newest root.
        before_timestamp = _held(root, held, layout.TIMESTAMP, Timestamp)
        before_snapshot = _held(root, held, layout.SNAPSHOT, Snapshot)
        before_targets = _held(root, held, layout.TARGETS, Targets)
        timestamp, spelled[layout.TIMESTAMP] = _timestamp(files, root, before_timestamp, at)
        snapshot = _snapshot(files, root, timestamp, before_snapshot, at)
        targets = _targets(files, root, snapshot, before_targets, at)
        site = _site(files, targets, snapshot, at)
        _check_listed(files, targets.targets, layout.BY_CUSTODIANS)
        _check_listed(files, site.targets, layout.BY_APPLIANCE)
        if not timestamp.version == snapshot.version == site.version:
            raise Malformed("site, snapshot and timestamp do not have one version")
    expires, renewed = int(timestamp.expires.timestamp()), held is not None and before_timestamp is None
    return VerifiedMetadata(root.version, timestamp.version, targets.version, expires, renewed, spelled)


def content(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Give what a bundle of good metadata says, without how it is spelled: roots and timestamp as they are signed.

    All else is bound by length and SHA-256 from there on, so there its bytes are what is signed (R39).
    """
    said = {name: files[name] for name in layout.LIMITS if name in files}
    said |= {name: read_stored(files[name], Root, name).signed_bytes for name in layout.ROOTS if name in files}
    said[layout.TIMESTAMP] = read_stored(files[layout.TIMESTAMP], Timestamp, layout.TIMESTAMP).signed_bytes
    return said


def check_root(data: bytes) -> Root:
    """Read a root that is to be pinned: it must be signed by its own threshold (`BundleRefused`)."""
    with _refusing():
        metadata = read(data, Root, layout.ROOT)
        root = metadata.signed
        root.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    return root


def _roots(files: Mapping[str, bytes], pinned: bytes, held: Mapping[str, bytes]) -> tuple[Root, dict[str, bytes]]:
    """Follow the chain of roots from version 1, of which one is pinned; gives the last, and all as they are stored."""
    chain = [name for name in layout.ROOTS if name in files]
    if gap := set(layout.ROOTS[: len(chain)]) - set(chain):
        raise BundleRefused(BundleReason.INCOMPLETE, f"{min(gap)} is missing from the chain of roots")
    pin = read_stored(pinned, Root, layout.ROOT)
    if pin.signed.version > len(chain):
        raise BundleRefused(BundleReason.ROOT_MISMATCH, "the bundle does not come from the root that this site pins")
    place = layout.ROOTS[pin.signed.version - 1]
    if read(files[place], Root, place).signed_bytes != pin.signed_bytes:
        raise BundleRefused(BundleReason.ROOT_MISMATCH, "the bundle does not come from the root that this site pins")
    for name in (name for name in layout.ROOTS if name in held):
        if name not in files:
            raise BundleRefused(BundleReason.ROLLBACK, f"{name} is missing, which this site already holds")
        if read(files[name], Root, name).signed_bytes != read_stored(held[name], Root, name).signed_bytes:
            raise BundleRefused(BundleReason.ROOT_MISMATCH, f"{name} is not the one that this site already holds")
    spelled: dict[str, bytes] = {}
    trusted: Root | None = None
    for version, name in enumerate(chain, start=1):
        metadata = pin if name == place else read(files[name], Root, name)
        counted = _counted(metadata.signed, metadata)
        if trusted is not None:
            counted |= _counted(trusted, metadata)
        trusted = metadata.signed
        if trusted.version != version:
            raise Malformed(f"{name}: it has version {trusted.version}")
        spelled[name] = pinned if name == place else respelled(metadata, counted)
    if trusted is None:
        raise BundleRefused(BundleReason.INCOMPLETE, "it has no root")
    return trusted, spelled


def _counted(by: Root, metadata: Metadata[_AnyRole]) -> dict[str, Key]:
    """Give the keys of a root whose signatures count, by id (`UnsignedMetadataError` where they are too few)."""
    role = metadata.signed.type
    by.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    return dict(by.get_verification_result(role, metadata.signed_bytes, metadata.signatures).signed)


def _held(root: Root, held: Mapping[str, bytes] | None, name: str, role: type[_Role]) -> _Role | None:
    """Give what the bundle before said, if the newest root would still believe it."""
    if held is None:
        return None
    before = read_stored(held[name], role, name)
    result = root.get_verification_result(role.type, before.signed_bytes, before.signatures)
    return before.signed if result.verified else None


def _timestamp(files: Mapping[str, bytes], root: Root, before: Timestamp | None, at: int) -> tuple[Timestamp, bytes]:
    metadata = read(files[layout.TIMESTAMP], Timestamp, layout.TIMESTAMP)
    counted = _counted(root, metadata)
    timestamp = metadata.signed
    _check_expiry(timestamp, layout.TIMESTAMP, at)
    if before is not None:
        _check_newer(layout.TIMESTAMP, timestamp.version, before.version)
        _check_newer(layout.SNAPSHOT, timestamp.snapshot_meta.version, before.snapshot_meta.version)
    return timestamp, respelled(metadata, counted)


def _snapshot(
    files: Mapping[str, bytes], root: Root, timestamp: Timestamp, before: Snapshot | None, at: int
) -> Snapshot:
    timestamp.snapshot_meta.verify_length_and_hashes(files[layout.SNAPSHOT])
    metadata = read(files[layout.SNAPSHOT], Snapshot, layout.SNAPSHOT)
    root.verify_delegate(Snapshot.type, metadata.signed_bytes, metadata.signatures)
    snapshot = metadata.signed
    _check_version(layout.SNAPSHOT, snapshot, timestamp.snapshot_meta)
    _check_expiry(snapshot, layout.SNAPSHOT, at)
    if set(snapshot.meta) != {_TARGETS_META, _SITE_META}:
        raise Malformed(f"{layout.SNAPSHOT}: it names other roles than targets and {SITE}")
    if before is not None:
        for name, meta in before.meta.items():
            _check_newer(f"metadata/{name}", snapshot.meta[name].version, meta.version)
    return snapshot


def _targets(files: Mapping[str, bytes], root: Root, snapshot: Snapshot, before: Targets | None, at: int) -> Targets:
    meta = snapshot.meta[_TARGETS_META]
    meta.verify_length_and_hashes(files[layout.TARGETS])
    metadata = read(files[layout.TARGETS], Targets, layout.TARGETS)
    root.verify_delegate(Targets.type, metadata.signed_bytes, metadata.signatures)
    targets = metadata.signed
    _check_version(layout.TARGETS, targets, meta)
    _check_expiry(targets, layout.TARGETS, at)
    if targets.delegations is None:
        raise Malformed(f"{layout.TARGETS}: it delegates nothing to {SITE}")
    if before is not None:
        _check_newer(layout.TARGETS, targets.version, before.version)
        check_jump(layout.TARGETS, targets.version, before.version)
    return targets


def _site(files: Mapping[str, bytes], targets: Targets, snapshot: Snapshot, at: int) -> Targets:
    meta = snapshot.meta[_SITE_META]
    meta.verify_length_and_hashes(files[layout.SITE_ROLE])
    metadata = read(files[layout.SITE_ROLE], Targets, layout.SITE_ROLE)
    targets.verify_delegate(SITE, metadata.signed_bytes, metadata.signatures)
    site = metadata.signed
    _check_version(layout.SITE_ROLE, site, meta)
    _check_expiry(site, layout.SITE_ROLE, at)
    if site.delegations is not None:
        raise Malformed(f"{layout.SITE_ROLE}: it delegates further")
    return site


def _check_listed(files: Mapping[str, bytes], listed: Mapping[str, TargetFile], allowed: tuple[str, ...]) -> None:
    """Hold what one role lists against the files it may list: all that are there, nothing else, each as listed."""
    expected = {name for name in allowed if name in files}
    found = {f"targets/{path}" for path in listed}
    if found - expected:
        name = min(found - expected)
        raise Malformed(f"{name[:128]!a} is listed by a role that may not list it, or is not in the bundle")
    if expected - found:
        raise BundleRefused(BundleReason.BAD_SIGNATURE, f"{min(expected - found)} is not listed by the role that must")
    for path, file in listed.items():
        file.verify_length_and_hashes(files[f"targets/{path}"])


def _check_version(name: str, signed: Signed, meta: MetaFile) -> None:
    if signed.version != meta.version:
        detail = f"{name} has version {signed.version} where version {meta.version} was signed"
        raise BundleRefused(BundleReason.BAD_SIGNATURE, detail)


def _check_expiry(signed: Signed, name: str, at: int) -> None:
    if signed.is_expired(datetime.fromtimestamp(at, UTC)):
        raise BundleRefused(BundleReason.EXPIRED, f"{name} expired on {signed.expires:%Y-%m-%d at %H:%M:%S} UTC")


def _check_newer(name: str, version: int, before: int) -> None:
    if version < before:
        raise BundleRefused(BundleReason.ROLLBACK, f"{name} would go back from version {before} to {version}")


def check_jump(what: str, number: int, before: int, *, most: int = MAX_JUMP) -> None:
    """Return when a number rose by at most `most`; a thief must not be able to use all numbers up at once."""
    if number - before > most:
        detail = f"{what} would jump from {before} to {number}, more than {most} at once"
        raise BundleRefused(BundleReason.FAST_FORWARD, detail)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except Malformed as error:
        raise BundleRefused(BundleReason.MALFORMED, str(error)) from error
    except UnsignedMetadataError as error:
        raise BundleRefused(BundleReason.BAD_SIGNATURE, str(error)) from error
    except LengthOrHashMismatchError as error:
        raise BundleRefused(BundleReason.BAD_SIGNATURE, f"a file is not the one that was signed: {error}") from error
