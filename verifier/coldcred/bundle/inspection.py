"""Looking into a bundle without a trust store: whether it holds together under its own root, and what it says.

All is checked that takes no store. Whether its root is the right one is not known here, since people compare its
fingerprint; nor whether it follows what a site holds, or is over.
"""

from dataclasses import dataclass

from coldcred import layout
from coldcred.bundle import history
from coldcred.bundle.metadata import check_root, verify
from coldcred.bundle.targets import build_store, check_itself, open_bundle
from coldcred.canonical import sha256_hex
from coldcred.trust import TrustStore


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a bundle says of itself; `fingerprint` is the SHA-256 (hex) of its first root, `size` counts bytes.

    `log_size` counts the entries of the log under its checkpoint, `proofs` the earlier sizes that lead there.
    """

    fingerprint: str
    root_version: int
    targets_version: int
    files: int
    size: int
    store: TrustStore
    log_key: str
    log_size: int
    proofs: int


def inspect(data: bytes) -> Inspection:
    """Verify a bundle against its own first root, as of when it was issued, and give what it says (`BundleRefused`)."""
    files = open_bundle(data)
    root = files[layout.ROOTS[0]]
    check_root(root)  # a pinned root may be spelled as an earlier release stored it, one that is carried may not
    verify(files, root, held=None, at=0)  # its time is not known before it is read
    store = build_store(files, generation=0)
    metadata = verify(files, root, held=None, at=store.times.issued_at)
    check_itself(store, files, metadata, store.times.issued_at)
    return Inspection(
        fingerprint=sha256_hex(root),
        root_version=metadata.root_version,
        targets_version=metadata.targets_version,
        files=len(files),
        size=len(data),
        store=store,
        log_key=store.identity.log_vkey,
        log_size=history.checkpoint_of(store).size,
        proofs=len(history.proofs_of(files) or ()),
    )
