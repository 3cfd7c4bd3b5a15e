"""The custodians' ceremony as files: prepared here, signed elsewhere, put together again (rule R17).

What is prepared are the files that a bundle will hold, under the names it holds them by, the root and the targets
metadata without signatures. Each custodian signs what is not signed yet and hands back one small file; together they
make the metadata that the appliance takes in and that sites pin.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from appliance.bundling import Unsigned, root, targets
from appliance.identity import Identity
from coldcred import layout
from coldcred.bundle import custody, telling
from coldcred.bundle.custodial import read_trust
from coldcred.bundle.telling import Told
from coldcred.canonical import Json, b64u_decode, b64u_encode, dumps, loads, loads_canonical, sha256_hex
from coldcred.errors import BadSignature, ColdcredError, Malformed
from coldcred.founding import Founding
from coldcred.keys import PublicKey
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
    """What the appliance says is to be signed: documents by name, roots that sites hold, and the next version.

    `last` has the targets and documents that custodians signed last, by name; none before the first time.
    """

    documents: Mapping[str, bytes]
    roots: Mapping[str, bytes]
    targets_version: int
    bundle_key: PublicKey
    last: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Json) -> "Draft":
        """Read the appliance's answer (`Malformed`)."""
        record = Record.of(value, "trust")
        documents, roots = (_bodies(record.record(name)) for name in ("documents", "roots"))
        version, key = record.integer("targets_version", least=1), PublicKey.from_jwk(record.value("bundle_key"))
        last = _bodies(record.record("last")) if record.has("last") else {}
        record.done()
        return cls(documents, roots, version, key, last)


def _bodies(record: Record) -> dict[str, bytes]:
    return {name: b64u_decode(text) for name, text in record.members().items() if isinstance(text, str)}


def prepare(founding: Founding, draft: Draft, now: int) -> dict[str, bytes]:
    """Give the files for the custodians, by name; a root that sites hold already is given as it is, signed.

    What was signed last is a matter of its own: `Draft.last`.
    """
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


def read(
    founding: Founding,
    files: Mapping[str, bytes],
    now: int,
    *,
    last: Mapping[str, bytes] | None,
    own: Mapping[str, bytes] | None = None,
) -> Told:
    """Give all that a custodian's signature would cover, held to the founding and to what was signed last.

    Arguments and refusals are those of `coldcred.bundle.custody.hold`; what it is compared with is `own`, else `last`.
    """
    trust = custody.hold(founding, files, now, last=last, own=own)
    if own is not None:
        return telling.tell(founding, trust, read_trust(own))
    roots = {root.name: files[root.name] for root in trust.roots if root.signed}
    return telling.tell(founding, trust, None if last is None else read_trust({**last, **roots}))


def sign(
    founding: Founding,
    files: Mapping[str, bytes],
    identity: Identity,
    now: int,
    *,
    last: Mapping[str, bytes] | None,
    own: Mapping[str, bytes] | None = None,
) -> bytes:
    """Give a custodian's signature file over what is not signed yet; its arguments are those of `read`.

    Raises `CustodyError` for a key that is no custodian's, `Malformed` for what no custodian's hand may sign.
    """
    if identity.public not in {person.custodian for person in founding.people}:
        raise CustodyError(CustodyFault.STRANGER, f"key {identity.kid} is no custodian's of this appliance")
    custody.hold(founding, files, now, last=last, own=own)
    signatures: dict[str, Json] = {
        name: b64u_encode(identity.sign(unsigned.signing_input)) for name, unsigned in _unsigned(files).items()
    }
    return dumps({"v": 1, "kind": _KIND, "key": identity.public.jwk(), "signatures": signatures}) + b"\n"


@dataclass(frozen=True, slots=True)
class Assembled:
    """Files with the custodians' signatures in place, and what was left out: who or what, and why."""

    files: Mapping[str, bytes]
    left_out: tuple[str, ...]


def assemble(founding: Founding, files: Mapping[str, bytes], signatures: Mapping[str, bytes]) -> Assembled:
    """Put the custodians' signatures in place; `signatures` are signature files by the name to tell people.

    One that is a stranger's, or over other files, is left out and told: it voids no good one. Raises `CustodyError`
    where too few good ones are left, `Malformed`.
    """
    custodians = {person.custodian: person.id for person in founding.people}
    unsigned = _unsigned(files)
    signed: dict[PublicKey, dict[str, bytes]] = {}
    left_out = []
    for name, body in signatures.items():
        try:
            key, found = _good(_read_signature(body), custodians, unsigned)
        except (CustodyError, ColdcredError) as error:
            left_out.append(f"{name}: {error}")
        else:
            signed.setdefault(key, found)
    if len(signed) < founding.quorums.custodians:
        good = ", ".join(sorted(custodians[key] for key in signed)) or "nobody"
        detail = "; ".join([f"{founding.quorums.custodians} custodians sign these files, found {good}", *left_out])
        raise CustodyError(CustodyFault.TOO_FEW, detail)
    order = sorted(signed, key=lambda key: key.thumbprint)
    finished = dict(files)
    for name, one in unsigned.items():
        finished[name] = one.signed(*((key, signed[key][name]) for key in order))
    return Assembled(finished, tuple(left_out))


def _good(
    signature: tuple[PublicKey, dict[str, bytes]],
    custodians: Mapping[PublicKey, str],
    unsigned: Mapping[str, Unsigned],
) -> tuple[PublicKey, dict[str, bytes]]:
    """Give a signature file that a custodian made over everything that is to be signed, as it stands."""
    key, found = signature
    if key not in custodians:
        raise CustodyError(CustodyFault.STRANGER, f"key {key.thumbprint} is no custodian's of this appliance")
    for name, one in unsigned.items():
        if name not in found:
            raise BadSignature(f"{custodians[key]} did not sign {name}")
        try:
            key.verify(found[name], one.signing_input)
        except BadSignature as error:
            raise BadSignature(f"{custodians[key]} signed {name} as it was prepared another time") from error
    return signature


def fingerprint(files: Mapping[str, bytes]) -> str:
    """Give the SHA-256 (hex) of the first root, which `coldcred site init` is told over another way."""
    return sha256_hex(files[layout.ROOTS[0]])


def _unsigned(files: Mapping[str, bytes]) -> dict[str, Unsigned]:
    """Find the metadata that nobody has signed yet."""
    found = {}
    for name, role in _ROLES.items():
        if name in files:
            members = Record.of(loads(files[name], max_bytes=layout.LIMITS[name]), name)
            if not members.array("signatures"):
                found[name] = Unsigned.read(role, files[name])
    return found


def _read_signature(body: bytes) -> tuple[PublicKey, dict[str, bytes]]:
    record = Record.of(loads_canonical(body.removesuffix(b"\n"), max_bytes=MAX_SIGNATURE_FILE), "trust signature")
    record.version()
    if record.text("kind") != _KIND:
        raise Malformed("trust signature: not one of ours")
    key = PublicKey.from_jwk(record.value("key"))
    signatures = _bodies(record.record("signatures"))
    record.done()
    return key, signatures
