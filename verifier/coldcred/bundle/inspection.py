"""Looking into a bundle without a trust store: whether it is whole and signed under its own root, and what it says.

Whether that root is the right one is not known here: people compare its fingerprint.
"""

from dataclasses import dataclass

from coldcred import layout
from coldcred.bundle.metadata import verify
from coldcred.bundle.targets import build_store, open_bundle
from coldcred.canonical import sha256_hex
from coldcred.trust import TrustStore


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a bundle says of itself; `fingerprint` is the SHA-256 (hex) of its first root, `size` counts bytes."""

    fingerprint: str
    root_version: int
    targets_version: int
    files: int
    size: int
    store: TrustStore


def inspect(data: bytes) -> Inspection:
    """Verify a bundle against its own first root, at no particular time, and give what it says (`BundleRefused`)."""
    files = open_bundle(data)
    root = files[layout.ROOTS[0]]
    metadata = verify(files, root, held=None, at=0)
    store = build_store(files, generation=0)
    return Inspection(sha256_hex(root), metadata.root_version, metadata.targets_version, len(files), len(data), store)
