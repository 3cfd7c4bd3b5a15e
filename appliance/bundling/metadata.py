"""TUF metadata, made first and signed afterwards, so that what is to be signed can be logged before it is.

    root(...) targets(...)                 signed by custodians: any number of signatures, each over `signing_input`
    site(...) snapshot(...) timestamp(...) signed by the bundle key, in this order: each names the one before
    assemble(...)                          the bundle's bytes

All functions are pure. Times are Unix seconds; signatures are raw, 64 bytes, as everywhere in this project, and take
TUF's form (DER for ECDSA) only here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from coldcred import framing, layout
from coldcred.bundle import offline
from coldcred.bundle.library import (
    Metadata,
    MetaFile,
    Root,
    Signature,
    Signed,
    Snapshot,
    Targets,
    Timestamp,
)
from coldcred.bundle.roles import SITE, read, tuf_key
from coldcred.bundle.targets import VERSIONS_EACH
from coldcred.canonical import sha256_hex
from coldcred.errors import BadSignature, Malformed
from coldcred.keys import COORDINATE, Algorithm, PublicKey

Signer: TypeAlias = tuple[PublicKey, bytes]
"""A public key and its raw signature, 64 bytes, over a role's signing input."""

_TYPES: dict[str, type[Any]] = {
    Root.type: Root,
    Targets.type: Targets,
    SITE: Targets,
    Snapshot.type: Snapshot,
    Timestamp.type: Timestamp,
}


@dataclass(frozen=True, slots=True)
class Unsigned:
    """One role's metadata before anybody signed it; `document` is the file it will be, without signatures.

    A custodian is given the document, reads it anew with `Unsigned.read`, and signs the input that follows from it.
    """

    role: str
    document: bytes
    signing_input: bytes

    @classmethod
    def of(cls, role: str, signed: Signed) -> Self:
        """Take metadata as it was built; a role that sites would not read is a `ValueError`."""
        metadata: Metadata[Any] = Metadata(signed)
        return cls(role, metadata.to_bytes(), metadata.signed_bytes)

    @classmethod
    def read(cls, role: str, document: bytes) -> Self:
        """Read a document that came from elsewhere, strictly (`Malformed`); signatures in it are left out."""
        if role not in _TYPES:
            raise ValueError(f"no role {role}")
        return cls.of(role, read(document, _TYPES[role], role).signed)

    @property
    def version(self) -> int:
        """The version that this metadata will have."""
        return int(self._metadata().signed.version)

    def signed(self, *signers: Signer) -> bytes:
        """Give the metadata file with these signatures, each verified first (`BadSignature`).

        Whether they reach a threshold is for the reader to say: a root may be signed by old and new custodians.
        """
        metadata = self._metadata()
        for public, raw in signers:
            public.verify(raw, self.signing_input)
            keyid = tuf_key(public).keyid
            if keyid in metadata.signatures:
                raise BadSignature(f"key {public.thumbprint} has signed twice")
            metadata.signatures[keyid] = Signature(keyid, _tuf_form(public, raw).hex())
        return metadata.to_bytes()

    def _metadata(self) -> Metadata[Any]:
        return Metadata.from_bytes(self.document)


def root(
    *, version: int, custodians: Sequence[PublicKey], threshold: int, bundle_key: PublicKey, expires: int
) -> Unsigned:
    """Make root metadata: custodians for root and targets, the appliance's bundle key for the online roles.

    Version 1 is what sites pin. A later version replaces keys; sites want it signed by the threshold of the version
    before and by its own.
    """
    made = offline.root(
        version=version, custodians=custodians, threshold=threshold, bundle_key=bundle_key, expires=expires
    )
    return Unsigned.of(Root.type, made)


def targets(*, version: int, documents: Mapping[str, bytes], bundle_key: PublicKey, expires: int) -> Unsigned:
    """Make the custodians' targets: the trust documents, and the delegation of everything else to `site`."""
    made = offline.targets(version=version, documents=documents, bundle_key=bundle_key, expires=expires)
    return Unsigned.of(Targets.type, made)


def site(*, sequence: int, documents: Mapping[str, bytes], expires: int) -> Unsigned:
    """Make the role `site` of bundle `sequence`: it lists the appliance's documents."""
    if set(documents) - set(layout.BY_APPLIANCE):
        raise ValueError("the role site lists the appliance's documents only")
    made = Targets(sequence * VERSIONS_EACH, expires=offline.date(expires), targets=offline.listed(documents))
    return Unsigned.of(SITE, made)


def snapshot(*, sequence: int, targets: bytes, site: bytes, expires: int) -> Unsigned:
    """Make the snapshot of bundle `sequence` over two signed files."""
    meta = {"targets.json": _meta(targets), "site.json": _meta(site)}
    return Unsigned.of(Snapshot.type, Snapshot(sequence * VERSIONS_EACH, expires=offline.date(expires), meta=meta))


def timestamp(*, sequence: int, snapshot: bytes, expires: int) -> Unsigned:
    """Make the timestamp of bundle `sequence` over the signed snapshot; it expires when the bundle's times end."""
    made = Timestamp(sequence * VERSIONS_EACH, expires=offline.date(expires), snapshot_meta=_meta(snapshot))
    return Unsigned.of(Timestamp.type, made)


def assemble(
    *,
    roots: Sequence[bytes],
    timestamp: bytes,
    snapshot: bytes,
    targets: bytes,
    site: bytes,
    documents: Mapping[str, bytes],
) -> bytes:
    """Give a bundle's bytes; `roots` is the whole chain from version 1, `documents` are the custodians' and our own.

    A file that no site would take, by its name or its size, is a `ValueError`.
    """
    files = {
        **dict(zip(layout.ROOTS, roots, strict=False)),
        layout.TIMESTAMP: timestamp,
        layout.SNAPSHOT: snapshot,
        layout.TARGETS: targets,
        layout.SITE_ROLE: site,
        **documents,
    }
    try:
        layout.check_names(files)
    except Malformed as error:
        raise ValueError(str(error)) from error
    return framing.write(framing.BUNDLE, files)


def _meta(file: bytes) -> MetaFile:
    metadata: Metadata[Any] = Metadata.from_bytes(file)
    return MetaFile(metadata.signed.version, len(file), {"sha256": sha256_hex(file)})


def _tuf_form(public: PublicKey, raw: bytes) -> bytes:
    if public.algorithm is Algorithm.ED25519:
        return raw
    return encode_dss_signature(int.from_bytes(raw[:COORDINATE]), int.from_bytes(raw[COORDINATE:]))
