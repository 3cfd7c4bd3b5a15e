"""The custodians' ceremony as files: prepared here, signed elsewhere, put together again (rule R17).

What is prepared are the files that a bundle will hold, under the names it holds them by, the root and the targets
metadata without signatures. Each custodian signs what is not signed yet and hands back one small file; together they
make the metadata that the appliance takes in and that sites pin.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from appliance.bundling import Unsigned, custody, root, targets
from appliance.identity import Identity
from coldcred import layout
from coldcred.canonical import Json, b64u_decode, b64u_encode, dumps, loads, loads_canonical, sha256_hex
from coldcred.charter import digest
from coldcred.documents import Identity as ApplianceIdentity
from coldcred.documents import parse_jwks, parse_sites
from coldcred.errors import BadSignature, Malformed
from coldcred.founding import Founding
from coldcred.keys import PublicKey
from coldcred.plan import Plan
from coldcred.record import Record

MAX_SIGNATURE_FILE = 16 * 1024

_KIND = "coldcred-trust-signature"
_ROLES: Mapping[str, str] = {**dict.fromkeys(layout.ROOTS, "root"), layout.TARGETS: "targets"}


class CustodyFault(StrEnum):
    """What can be wrong with a custodian's part: closed."""

    STRANGER = "not-a-custodian"
    TOO_FEW = "too-few-custodians"


class CustodyError(Exception):
    """The custodians' part is not complete, or not theirs; nothing was changed."""

    def __init__(self, fault: CustodyFault, detail: str) -> None:
        """Name the fault and say what was found."""
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail

    @property
    def id(self) -> str:
        """The fault's id."""
        return self.fault.value


@dataclass(frozen=True, slots=True)
class Draft:
    """What the appliance says is to be signed: documents by name, roots that sites hold, and the next version."""

    documents: Mapping[str, bytes]
    roots: Mapping[str, bytes]
    targets_version: int
    bundle_key: PublicKey

    @classmethod
    def from_json(cls, value: Json) -> "Draft":
        """Read the appliance's answer (`Malformed`)."""
        record = Record.of(value, "trust")
        documents, roots = (_bodies(record.record(name)) for name in ("documents", "roots"))
        version, key = record.integer("targets_version", least=1), PublicKey.from_jwk(record.value("bundle_key"))
        record.done()
        return cls(documents, roots, version, key)


def _bodies(record: Record) -> dict[str, bytes]:
    return {name: b64u_decode(text) for name, text in record.members().items() if isinstance(text, str)}


def prepare(founding: Founding, draft: Draft, now: int) -> dict[str, bytes]:
    """Give the files for the custodians, by name; a root that sites hold already is given as it is, signed."""
    files = {**draft.documents, **draft.roots}
    if not draft.roots:
        made = root(
            version=1,
            custodians=[person.custodian for person in founding.people],
            threshold=founding.quorums.custodians,
            bundle_key=draft.bundle_key,
            expires=now + founding.horizons.root,
        )
        files[layout.ROOTS[0]] = made.document
    listed = targets(
        version=draft.targets_version,
        documents=draft.documents,
        bundle_key=draft.bundle_key,
        expires=now + founding.horizons.targets,
    )
    files[layout.TARGETS] = listed.document
    return files


def sign(founding: Founding, files: Mapping[str, bytes], identity: Identity) -> bytes:
    """Give a custodian's signature file over what is not signed yet.

    Raises `CustodyError` for a key that is no custodian's, `Malformed` where the files do not fit together or do not
    follow from the founding: a custodian's hand must not be what brings in a key that nobody founded.
    """
    if identity.public not in {person.custodian for person in founding.people}:
        raise CustodyError(CustodyFault.STRANGER, f"key {identity.kid} is no custodian's of this appliance")
    _check_listed(files)
    _check_founded(founding, files)
    signatures: dict[str, Json] = {
        name: b64u_encode(identity.sign(unsigned.signing_input)) for name, unsigned in _unsigned(files).items()
    }
    return dumps({"v": 1, "kind": _KIND, "key": identity.public.jwk(), "signatures": signatures}) + b"\n"


def assemble(founding: Founding, files: Mapping[str, bytes], signatures: Iterable[bytes]) -> dict[str, bytes]:
    """Give the files with the custodians' signatures in place.

    Raises `CustodyError` for too few or a stranger's, `BadSignature` for one over other bytes, `Malformed`.
    """
    custodians = {person.custodian for person in founding.people}
    signed: dict[PublicKey, dict[str, bytes]] = {}
    for body in signatures:
        key, found = _read_signature(body)
        if key not in custodians:
            raise CustodyError(CustodyFault.STRANGER, f"key {key.thumbprint} is no custodian's of this appliance")
        signed[key] = found
    if len(signed) < founding.quorums.custodians:
        detail = f"{founding.quorums.custodians} custodians sign, found signatures of {len(signed)}"
        raise CustodyError(CustodyFault.TOO_FEW, detail)
    order = sorted(signed, key=lambda key: key.thumbprint)
    finished = dict(files)
    for name, unsigned in _unsigned(files).items():
        if missing := [key.thumbprint for key, found in signed.items() if name not in found]:
            raise BadSignature(f"key {missing[0]} did not sign {name}")
        finished[name] = unsigned.signed(*((key, signed[key][name]) for key in order))
    return finished


def fingerprint(files: Mapping[str, bytes]) -> str:
    """Give the SHA-256 (hex) of the first root, which `coldcred site init` is told over another way."""
    return sha256_hex(files[layout.ROOTS[0]])


def facts(founding: Founding, files: Mapping[str, bytes]) -> dict[str, Json]:
    """Give what a custodian reads before signing; `Malformed` where the files do not follow from the founding."""
    bundle = _check_founded(founding, files)
    identity, plan = ApplianceIdentity.parse(files[layout.IDENTITY]), Plan.parse(files[layout.PLAN])
    said: dict[str, Json] = {"appliance": identity.appliance, "name": identity.name, "issuer": identity.issuer}
    people = " ".join(person.id for person in founding.people)
    said["root of trust"] = f"signed by {founding.quorums.custodians} of {people}"
    said["bundle key"] = bundle.thumbprint
    for number, (kid, key) in enumerate(parse_jwks(files[layout.JWKS]).items(), start=1):
        said[f"key {number}"] = {"kid": kid, "charter": key.charter.as_json()}
    for window in plan.windows:
        said[f"window {window.number}"] = {"nbf": window.not_before, "exp": window.expires_at}
        said[f"window {window.number} signs with"] = [*window.sign]
    said["grace"] = f"{plan.grace} s after the last window"
    for site in parse_sites(files[layout.SITES]).values():
        said[f"site {site.name}"] = [*site.audiences]
    return {**said, "signs": [*_unsigned(files)]}


def _unsigned(files: Mapping[str, bytes]) -> dict[str, Unsigned]:
    """Find the metadata that nobody has signed yet."""
    found = {}
    for name, role in _ROLES.items():
        if name in files:
            members = Record.of(loads(files[name], max_bytes=layout.LIMITS[name]), name)
            if not members.array("signatures"):
                found[name] = Unsigned.read(role, files[name])
    return found


def _check_founded(founding: Founding, files: Mapping[str, bytes]) -> PublicKey:
    """Hold what is to be signed to the founding: identity, charters, custodians; give the bundle key it names."""
    identity = ApplianceIdentity.parse(files[layout.IDENTITY])
    named = (identity.appliance, identity.name, identity.trust_domain, identity.issuer, identity.single_operator)
    founded = (founding.appliance_id, founding.name, founding.trust_domain, founding.issuer, founding.single_operator)
    if named != founded:
        raise Malformed("the identity that is to be signed is not that of this founding")
    charters = {digest(key.charter) for key in founding.keys}
    for kid, key in parse_jwks(files[layout.JWKS]).items():
        if digest(key.charter) not in charters:
            raise Malformed(f"key {kid} has a charter that was not founded")
    custodians = [person.custodian for person in founding.people]
    return custody.check_roles(files, custodians, founding.quorums.custodians)


def _check_listed(files: Mapping[str, bytes]) -> None:
    """Hold the documents a custodian reads to the digests he signs."""
    metadata = Record.of(loads(files[layout.TARGETS], max_bytes=layout.MAX_METADATA), layout.TARGETS)
    listed = metadata.record("signed").record("targets").members()
    if {f"targets/{path}" for path in listed} != set(layout.BY_CUSTODIANS):
        raise Malformed("the targets metadata lists other files than custodians sign")
    for path, file in listed.items():
        digest = Record.of(file, path).record("hashes").digest("sha256")
        if digest != sha256_hex(files.get(f"targets/{path}", b"")):
            raise Malformed(f"{path} is not the file that the targets metadata lists")


def _read_signature(body: bytes) -> tuple[PublicKey, dict[str, bytes]]:
    record = Record.of(loads_canonical(body.removesuffix(b"\n"), max_bytes=MAX_SIGNATURE_FILE), "trust signature")
    record.version()
    if record.text("kind") != _KIND:
        raise Malformed("trust signature: not one of ours")
    key = PublicKey.from_jwk(record.value("key"))
    signatures = _bodies(record.record("signatures"))
    record.done()
    return key, signatures
