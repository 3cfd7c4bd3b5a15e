"""TUF metadata, read more strictly than TUF asks: one spelling of all of it, exact types, our roles and no others.

python-tuf parses and counts signatures. What it leaves open is closed here: JSON that is not canonical, members that
nobody knows, numbers that are booleans, a key under two ids (which would count twice), and a division of roles other
than rule R17's. Signatures are not signed themselves, so two good files may differ in them; `respelled` gives one.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from coldcred.bundle.library import (
    DelegatedRole,
    Delegations,
    DeserializationError,
    Key,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    SSlibKey,
    Targets,
    Timestamp,
)
from coldcred.canonical import Json, dumps, loads, loads_canonical
from coldcred.errors import Malformed
from coldcred.keys import Algorithm, PublicKey
from coldcred.layout import MAX_METADATA

SITE = "site"
SITE_PATHS = ("revocation/*", "sealed/*", "log/*", "time/*")
ONLINE = (Snapshot.type, Timestamp.type)
OFFLINE = (Root.type, Targets.type)

_SPECIFICATION = re.compile(r"1\.0\.[0-9]{1,3}", re.ASCII)
_LOWER_HEX = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (SEC 2, section 2.4.2)

_Role = TypeVar("_Role", Root, Timestamp, Snapshot, Targets)


def tuf_key(public: PublicKey) -> SSlibKey:
    """Give a key as TUF writes it, with the id that securesystemslib computes."""
    return SSlibKey.from_crypto(public.cryptography())


def read(data: bytes, role: type[_Role], name: str) -> Metadata[_Role]:
    """Read one metadata file of type `role`, unverified; `Malformed` begins with its `name`."""
    metadata = read_stored(data, role, name)
    try:
        loads_canonical(data, max_bytes=MAX_METADATA)
        _check_closed(metadata, data)
    except Malformed as error:
        raise Malformed(f"{name}: {error}") from error
    return metadata


def read_stored(data: bytes, role: type[_Role], name: str) -> Metadata[_Role]:
    """Read a file that a site holds, in whichever spelling an earlier release may have stored it (`Malformed`)."""
    try:
        loads(data, max_bytes=MAX_METADATA)
        metadata: Metadata[Any] = Metadata.from_bytes(data)
        _check_types(metadata, role)
    except Malformed as error:
        raise Malformed(f"{name}: {error}") from error
    except DeserializationError as error:
        raise Malformed(f"{name}: not TUF metadata: {error.__cause__}") from error
    return metadata


def respelled(metadata: Metadata[Any], counted: Mapping[str, Key]) -> bytes:
    """Give a metadata file in the one spelling that is stored: with the signatures that count, sorted by key id.

    `counted` are the keys, by id, whose signatures verified. Of the two ECDSA signatures (r, s) and (r, n-s), which
    anybody can make of each other, it has the one with the smaller s.
    """
    found: list[Json] = []
    for keyid, key in sorted(counted.items()):
        signature = metadata.signatures[keyid].signature
        found.append({"keyid": keyid, "sig": _small(signature) if key.keytype == "ecdsa" else signature})
    return dumps({"signatures": found, "signed": metadata.signed.to_dict()})


def _small(signature: str) -> str:
    r, s = decode_dss_signature(bytes.fromhex(signature))
    return encode_dss_signature(r, min(s, _ORDER - s)).hex()


def _check_closed(metadata: Metadata[Any], data: bytes) -> None:
    """Refuse members that are not known here, and what is not written as we write it."""
    if any(part.unrecognized_fields for part in _parts(metadata)):
        raise Malformed("it has a member that is not known here")
    for signature in metadata.signatures.values():
        if not _LOWER_HEX.fullmatch(signature.signature):
            raise Malformed("a signature is not lower-case hex")
    # python-tuf takes a date in several spellings, and signs the one that it would write itself.
    if metadata.to_bytes() != data:
        raise Malformed("it is not written as it is signed")


def _parts(metadata: Metadata[Any]) -> Iterator[Any]:
    """Give everything in a metadata file that python-tuf lets have members of its own."""
    signed = metadata.signed
    yield from (metadata, signed, *metadata.signatures.values())
    match signed:
        case Root():
            yield from (*signed.keys.values(), *signed.roles.values())
        case Timestamp():
            yield signed.snapshot_meta
        case Snapshot():
            yield from signed.meta.values()
        case Targets():
            yield from signed.targets.values()
            if (delegations := signed.delegations) is not None:
                yield from (delegations, *delegations.keys.values(), *(delegations.roles or {}).values())


def _check_types(metadata: Metadata[Any], role: type[Signed]) -> None:
    signed = metadata.signed
    if not isinstance(signed, role):
        raise Malformed(f"it is {signed.type} metadata where {role.type} belongs")
    _check_number(signed.version, "version")
    if not _SPECIFICATION.fullmatch(signed.spec_version):
        raise Malformed("it is not of TUF 1.0")
    match signed:
        case Root():
            _check_root(signed)
        case Timestamp():
            _check_meta(signed.snapshot_meta)
        case Snapshot():
            for meta in signed.meta.values():
                _check_meta(meta)
        case Targets():
            for file in signed.targets.values():
                _check_number(file.length, "length")
                _check_hashes(file.hashes)
            if signed.delegations is not None:
                _check_delegations(signed.delegations)


def _check_root(root: Root) -> None:
    if root.consistent_snapshot is not False:
        raise Malformed("consistent_snapshot is not false")
    _check_keys(root.keys)
    for role in root.roles.values():
        _check_role(role, root.keys)
    offline = {keyid for name in OFFLINE for keyid in root.roles[name].keyids}
    online = {keyid for name in ONLINE for keyid in root.roles[name].keyids}
    if offline & online:
        raise Malformed("one key is both a custodian's and the appliance's")


def _check_delegations(delegations: Delegations) -> None:
    roles = delegations.roles
    if delegations.succinct_roles is not None or not roles or set(roles) != {SITE}:
        raise Malformed(f"it delegates to other roles than {SITE!r}")
    _check_keys(delegations.keys)
    site: DelegatedRole = roles[SITE]
    _check_role(site, delegations.keys)
    _check_list(site.paths, "delegation's paths")
    if site.terminating is not True or sorted(site.paths or ()) != sorted(SITE_PATHS):
        raise Malformed(f"role {SITE!r} is delegated other paths than {' '.join(SITE_PATHS)}, or not terminating")


def _check_keys(keys: dict[str, Key]) -> None:
    for keyid, key in keys.items():
        if key != tuf_key(_public(key)):
            raise Malformed(f"key {keyid[:64]!a} is not spelled as its content is, or its id is another's")


def _public(key: Key) -> PublicKey:
    content: Any = key.keyval.get("public")
    try:
        match key.keytype, key.scheme:
            case "ed25519", "ed25519":
                return PublicKey(Algorithm.ED25519, bytes.fromhex(content))
            case "ecdsa", "ecdsa-sha2-nistp256":
                return PublicKey.from_cryptography(load_pem_public_key(content.encode()))
    except (Malformed, ValueError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise Malformed(f"key {key.keyid[:64]!a} cannot be read") from error
    raise Malformed(f"key {key.keyid[:64]!a} is neither Ed25519 nor ECDSA P-256")


def _check_role(role: Role, keys: dict[str, Key]) -> None:
    _check_number(role.threshold, "threshold")
    _check_list(role.keyids, "role's keyids")
    if any(keyid not in keys for keyid in role.keyids):
        raise Malformed("a role names a key that is not there")
    if role.threshold > len(role.keyids):
        raise Malformed("a role has fewer keys than its threshold")


def _check_meta(meta: MetaFile) -> None:
    _check_number(meta.version, "version")
    _check_number(meta.length, "length")
    _check_hashes(meta.hashes)


def _check_hashes(hashes: object) -> None:
    if not isinstance(hashes, dict) or set(hashes) != {"sha256"}:
        raise Malformed("a file is hashed with something else than SHA-256 alone")


def _check_number(value: object, what: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Malformed(f"a {what} is not a number")


def _check_list(value: object, what: str) -> None:
    if not isinstance(value, list):
        raise Malformed(f"a {what} are not a list")
