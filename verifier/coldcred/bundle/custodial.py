"""All that custodians sign, read as one value: roots, targets and the five documents (rule R17).

Metadata is written anew from what was read and compared byte for byte, and so are the documents: no member is passed
over, and what is not spelled as this program writes it is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coldcred import layout
from coldcred.bundle import offline
from coldcred.bundle.library import LengthOrHashMismatchError, Metadata, Root, Targets
from coldcred.bundle.roles import public_key, read
from coldcred.documents import (
    Identity,
    TrustKey,
    parse_jwks,
    parse_profiles,
    parse_sites,
    write_jwks,
    write_profiles,
    write_sites,
)
from coldcred.errors import Malformed, Unfounded
from coldcred.founding import Site
from coldcred.keys import Algorithm, PublicKey
from coldcred.log.note import VerifierKey
from coldcred.plan import Plan


@dataclass(frozen=True, slots=True)
class SeenRoot:
    """One root of the chain: its version, its end (Unix seconds), whether somebody signed it, and TUF's version."""

    version: int
    expires: int
    signed: bool
    specification: str

    @property
    def name(self) -> str:
        """The name of its file."""
        return layout.ROOTS[self.version - 1]


@dataclass(frozen=True, slots=True)
class Trust:
    """Everything that custodians sign. Times are Unix seconds; `log` is the log's verifier key."""

    roots: tuple[SeenRoot, ...]
    version: int
    expires: int
    specification: str
    bundle_key: PublicKey
    identity: Identity
    log: VerifierKey
    keys: Mapping[str, TrustKey]
    plan: Plan
    profiles: Mapping[str, bool]
    sites: Mapping[str, Site]

    @property
    def end(self) -> int:
        """When trust ends: the grace after the last window."""
        return self.plan.windows[-1].expires_at + self.plan.grace

    @property
    def metadata_ends(self) -> int:
        """When the first of the newest root and targets ends."""
        return min(self.roots[-1].expires, self.expires)


def read_trust(files: Mapping[str, bytes]) -> Trust:
    """Read roots, targets and documents, held to nothing but their form and to each other.

    Who signed them is another question. Raises `Malformed`, as `Unfounded` where a file is not what the others make.
    """
    targets = metadata(files, layout.TARGETS, Targets)
    documents = {name: files[name] for name in layout.BY_CUSTODIANS}
    identity = Identity.parse(files[layout.IDENTITY])
    trust = Trust(
        roots=_roots(files),
        version=targets.signed.version,
        expires=int(targets.signed.expires.timestamp()),
        specification=targets.signed.spec_version,
        bundle_key=_bundle_key(targets.signed),
        identity=identity,
        log=VerifierKey.parse(identity.log_vkey),
        keys=parse_jwks(files[layout.JWKS]),
        plan=Plan.parse(files[layout.PLAN]),
        profiles=parse_profiles(files[layout.PROFILES]),
        sites=parse_sites(files[layout.SITES]),
    )
    for name, body in _written(trust).items():
        if documents[name] != body:
            raise Unfounded(name, "it is not spelled as this program writes it")
    for path, file in targets.signed.targets.items():
        try:
            file.verify_length_and_hashes(documents.get(f"targets/{path}", b""))
        except LengthOrHashMismatchError as error:
            raise Unfounded(f"targets/{path[:64]}", "it is not the file that the targets list") from error
    made = offline.targets(
        version=trust.version, documents=documents, bundle_key=trust.bundle_key, expires=trust.expires
    )
    check_as_written(targets, made, files[layout.TARGETS], "targets")
    return trust


def metadata(files: Mapping[str, bytes], name: str, role: type[Any]) -> Metadata[Any]:
    """Read one metadata file, unverified (`Malformed`)."""
    return read(files[name], role, name)


def check_as_written(found: Metadata[Any], made: Root | Targets, body: bytes, member: str) -> None:
    """Hold metadata to what its own values make, and a file that nobody signed yet to its one spelling."""
    made.spec_version = found.signed.spec_version  # told to people: another release of python-tuf may write another
    again: Metadata[Any] = Metadata(made)
    if again.signed_bytes != found.signed_bytes:
        raise Unfounded(member, "it has other keys, roles, paths or members than the founding and its files make")
    if not found.signatures and again.to_bytes() != body:
        raise Unfounded(member, "it is not spelled as this program writes it")


def _roots(files: Mapping[str, bytes]) -> tuple[SeenRoot, ...]:
    chain = [name for name in layout.ROOTS if name in files]
    if not chain or chain != list(layout.ROOTS[: len(chain)]):
        raise Malformed("the chain of roots has a gap")
    seen = []
    for version, name in enumerate(chain, start=1):
        found = metadata(files, name, Root)
        root: Root = found.signed
        if root.version != version:
            raise Unfounded(f"root {version}", f"it has version {root.version} inside")
        seen.append(SeenRoot(version, int(root.expires.timestamp()), bool(found.signatures), root.spec_version))
    return tuple(seen)


def _bundle_key(targets: Targets) -> PublicKey:
    keys = list(targets.delegations.keys.values()) if targets.delegations else []
    if len(keys) != 1:
        raise Unfounded("bundle key", f"the targets name {len(keys)} where there is one")
    bundle = public_key(keys[0])
    if bundle.algorithm is not Algorithm.ES256:
        raise Unfounded("bundle key", "it is not ES256")
    return bundle


def _written(trust: Trust) -> dict[str, bytes]:
    return {
        layout.IDENTITY: trust.identity.write(),
        layout.JWKS: write_jwks(trust.keys.values()),
        layout.PLAN: trust.plan.write(),
        layout.PROFILES: write_profiles(trust.profiles),
        layout.SITES: write_sites(trust.sites.values()),
    }
