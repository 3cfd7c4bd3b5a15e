"""What custodians signed, checked before it is taken in: the roots and the top-level targets (rule R17).

The roles must be exactly those of the founding, so that no set of signatures brings in a key nobody founded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from coldcred import layout
from coldcred.bundle.library import (
    LengthOrHashMismatchError,
    Role,
    Root,
    Snapshot,
    Targets,
    Timestamp,
    UnsignedMetadataError,
)
from coldcred.bundle.metadata import check_root
from coldcred.bundle.roles import SITE, read, tuf_key
from coldcred.errors import BundleRefused, Malformed
from coldcred.keys import PublicKey


@dataclass(frozen=True, slots=True)
class Custody:
    """Who may sign what: custodians with their quorum for root and targets, the bundle key for the online roles."""

    custodians: tuple[PublicKey, ...]
    quorum: int
    bundle: PublicKey


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions of what was submitted, and when (Unix seconds) the first of root and targets ends."""

    root: int
    targets: int
    expires: int


def check(files: Mapping[str, bytes], custody: Custody) -> Versions:
    """Return when roots and targets are signed by the quorum and name the founding's keys and no others.

    `files` holds the whole chain of roots, the targets metadata and the target files. Raises `Malformed`.
    """
    try:
        root = _roots(files, custody)
        targets = _targets(files, root, custody)
    except BundleRefused as error:
        raise Malformed(error.detail) from error
    except UnsignedMetadataError as error:
        raise Malformed(f"not signed by enough custodians: {error}") from error
    except LengthOrHashMismatchError as error:
        raise Malformed(f"a file is not the one that custodians signed: {error}") from error
    expires = min(root.expires, targets.expires)
    return Versions(root.version, targets.version, int(expires.timestamp()))


def check_roles(files: Mapping[str, bytes], custodians: Sequence[PublicKey], quorum: int) -> PublicKey:
    """Hold metadata that custodians are about to sign to the founding, and give the one bundle key that it names.

    Raises `Malformed` where a role is for other keys or another number than the founding's.
    """
    targets = read(files[layout.TARGETS], Targets, layout.TARGETS).signed
    keys = list(targets.delegations.keys.values()) if targets.delegations else []
    if len(keys) != 1:
        raise Malformed(f"{layout.TARGETS}: it names {len(keys)} bundle keys")
    try:
        bundle = PublicKey.from_cryptography(load_pem_public_key(keys[0].keyval["public"].encode()))
    except ValueError as error:
        raise Malformed(f"{layout.TARGETS}: its bundle key cannot be read") from error
    custody = Custody(tuple(custodians), quorum, bundle)
    _check_delegation(targets, custody)
    for name in layout.ROOTS:
        if name in files:
            _check_root_roles(read(files[name], Root, name).signed, custody)
    return bundle


def _roots(files: Mapping[str, bytes], custody: Custody) -> Root:
    chain = [name for name in layout.ROOTS if name in files]
    if not chain or chain != list(layout.ROOTS[: len(chain)]):
        raise Malformed("the chain of roots has a gap")
    root = check_root(files[chain[0]])
    for version, name in enumerate(chain[1:], start=2):
        metadata = read(files[name], Root, name)
        root.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
        metadata.signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
        root = metadata.signed
        if root.version != version:
            raise Malformed(f"{name} has version {root.version}")
    _check_root_roles(root, custody)
    return root


def _check_root_roles(root: Root, custody: Custody) -> None:
    for role in (Root.type, Targets.type):
        _check_role(role, root.roles[role], custody.custodians, custody.quorum)
    for role in (Snapshot.type, Timestamp.type):
        _check_role(role, root.roles[role], (custody.bundle,), 1)


def _check_delegation(targets: Targets, custody: Custody) -> None:
    roles = targets.delegations.roles if targets.delegations else None
    if not roles or SITE not in roles:
        raise Malformed(f"targets delegate nothing to {SITE}")
    _check_role(SITE, roles[SITE], (custody.bundle,), 1)


def _targets(files: Mapping[str, bytes], root: Root, custody: Custody) -> Targets:
    metadata = read(files[layout.TARGETS], Targets, layout.TARGETS)
    root.verify_delegate(Targets.type, metadata.signed_bytes, metadata.signatures)
    targets = metadata.signed
    _check_delegation(targets, custody)
    listed = {f"targets/{path}": file for path, file in targets.targets.items()}
    if set(listed) != set(layout.BY_CUSTODIANS):
        raise Malformed("targets list other files than custodians sign")
    for name, file in listed.items():
        file.verify_length_and_hashes(files[name])
    return targets


def _check_role(name: str, role: Role, keys: Sequence[PublicKey], threshold: int) -> None:
    if set(role.keyids) != {tuf_key(key).keyid for key in keys} or role.threshold != threshold:
        raise Malformed(f"role {name} is not signed by {threshold} of the keys that the founding names for it")
