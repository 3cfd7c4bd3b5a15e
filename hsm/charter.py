"""Does this signing input stay within this key's charter? Pure, on the whole bytes, with coldcred's own readers.

The engine decides within the charter first; here the worker, which a compromised engine does not control, reads
the bytes again (rule R13). Whatever cannot be read strictly is refused: a key signs nothing nobody understands.
"""

import calendar
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from coldcred import command, countersignature, founding, status
from coldcred.canonical import loads, loads_canonical
from coldcred.charter import BundleCharter, KeyCharter, LogCharter, OperatorCharter, StatusCharter, TokenCharter
from coldcred.credential import parse_claims
from coldcred.errors import CharterExceeded, Malformed
from coldcred.jose import MAX_TOKEN, Header, Typ, UnverifiedJws, known_header, split_signing_input
from coldcred.keys import Algorithm
from coldcred.log.note import Checkpoint
from coldcred.record import Record
from hsm.errors import CharterRefused
from hsm.keystore import CharterMemory

MAX_METADATA = 1024 * 1024

# What the delegated role `site` may name (rule R17). The top-level targets, which custodians sign, is also a document
# of type `targets`; it is told from `site` by what it must hold and `site` never does: trust/* and delegations.
SITE_PREFIXES = ("revocation/", "sealed/", "log/", "time/")
_PATH = re.compile(r"[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*){1,3}", re.ASCII)
_EXPIRES = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)
_SPECIFICATION = re.compile(r"1\.[0-9]{1,3}(?:\.[0-9]{1,3})?", re.ASCII)
_MAX_PATH = 128


def _check_founding_signature(jws: UnverifiedJws) -> None:
    _, _, register = founding.read_signature(loads(jws.payload, max_bytes=MAX_TOKEN))
    if register != founding.OPERATOR:
        raise _exceeded(f"signs a founding as {founding.OPERATOR}, not as {register[:16]!a}")


# How the claims of each type that people sign are read before they are signed; one row for each of `OPERATOR_SIGNS`.
_CLAIMS: Mapping[Typ, Callable[[UnverifiedJws], None]] = MappingProxyType(
    {
        Typ.FOUNDING: _check_founding_signature,
        Typ.COMMAND: command.check_unsigned,
        Typ.APPROVAL: command.check_unsigned,
        Typ.COUNTERSIGNATURE: countersignature.check_unsigned,
    }
)


def headers(charter: KeyCharter, kid: str) -> Mapping[bytes, Header]:
    """Give the one header that credentials under a key carry, by its part of a token, so that it is read once."""
    if not isinstance(charter, TokenCharter):
        return {}
    return dict([known_header(charter.kind.typ, charter.algorithm, kid)])


def check(
    charter: KeyCharter,
    signing_input: bytes,
    memory: CharterMemory,
    *,
    kid: str,
    read: Mapping[bytes, Header] = MappingProxyType({}),
    until: int | None = None,
    now: int = 0,
) -> CharterMemory:
    """Give what the key will have signed after this input, or raise `CharterRefused` saying what exceeds its charter.

    `kid` is the thumbprint of the key that is to sign; a token that names another key is refused. `read` is what
    `headers` gives: it makes the check quicker and changes nothing else. From `until` on, where that is given, the key
    signs nothing; one of credentials none that ends later (R41). `until` and `now` are Unix seconds.
    """
    if until is not None and now >= until and not isinstance(charter, TokenCharter):
        raise CharterRefused(f"the key ended at {until}, and it is {now}")
    try:
        match charter:
            case TokenCharter():
                _check_token(charter, signing_input, kid, read, until)
            case StatusCharter():
                _check_status(charter, signing_input, kid)
            case LogCharter():
                return _check_checkpoint(charter, signing_input, memory)
            case BundleCharter():
                return _check_metadata(charter, signing_input, memory)
            case OperatorCharter():
                _check_operator(charter, signing_input, kid)
    except (CharterExceeded, Malformed) as error:
        raise CharterRefused(str(error)) from error
    return memory


def merge(one: CharterMemory, other: CharterMemory) -> CharterMemory:
    """Give the stricter of two memories: neither can lower the other."""
    log = max(one, other, key=lambda memory: memory.log_size)
    versions = dict(one.versions)
    for role, version in other.versions:
        versions[role] = max(version, versions.get(role, 0))
    return CharterMemory(log.log_size, log.log_root, tuple(sorted(versions.items())))


def _check_token(charter: TokenCharter, data: bytes, kid: str, read: Mapping[bytes, Header], until: int | None) -> None:
    header, payload = split_signing_input(data, headers=read)
    _check_header(header, charter.kind.typ, charter.algorithm, kid)
    credential = parse_claims(payload, charter.kind, charter.known)
    charter.check(credential)
    if until is not None and credential.expires_at > until:
        raise CharterExceeded(f"the key ends at {until}, the credential at {credential.expires_at}")


def _check_status(charter: StatusCharter, data: bytes, kid: str) -> None:
    header, payload = split_signing_input(data, max_bytes=status.MAX_TOKEN)
    _check_header(header, Typ.STATUS_LIST, charter.algorithm, kid)
    charter.check(status.parse(payload).uri)


def _check_operator(charter: OperatorCharter, data: bytes, kid: str) -> None:
    header, payload = split_signing_input(data)
    typ = charter.check(header.typ)
    _check_header(header, typ, charter.algorithm, kid)
    _CLAIMS[typ](UnverifiedJws(header, payload, b"", data))


def _check_header(header: Header, typ: Typ, algorithm: Algorithm, kid: str) -> None:
    if header.typ != typ:
        raise _exceeded(f"signs {typ.value}, not {header.typ[:48]!a}")
    if header.alg != algorithm:
        raise _exceeded(f"is for {algorithm.value}, not {header.alg[:16]!a}")
    if header.kid != kid:
        raise _exceeded("is another one than the key that the token names")


def _check_checkpoint(charter: LogCharter, data: bytes, memory: CharterMemory) -> CharterMemory:
    checkpoint = Checkpoint.parse(data)
    if checkpoint.origin != charter.origin:
        raise _exceeded(f"signs checkpoints of {charter.origin}")
    if checkpoint.size < memory.log_size:
        raise _exceeded(f"has signed size {memory.log_size}; {checkpoint.size} would take entries back")
    if checkpoint.size == memory.log_size and memory.log_root not in {None, checkpoint.root}:
        raise _exceeded(f"has signed another root at size {checkpoint.size}")
    return replace(memory, log_size=checkpoint.size, log_root=checkpoint.root)


def _check_metadata(charter: BundleCharter, data: bytes, memory: CharterMemory) -> CharterMemory:
    # python-tuf signs OLPC canonical JSON; for ASCII without control characters that is RFC 8785, byte for byte.
    record = Record.of(loads_canonical(data, max_bytes=MAX_METADATA), "TUF metadata")
    role = _role(record)
    version, expires = record.integer("version", least=1), _expiry(record.text("expires"))
    if not _SPECIFICATION.fullmatch(record.text("spec_version")):
        raise Malformed("TUF metadata: not of specification 1")
    record.done()
    if role not in charter.roles:
        raise _exceeded(f"signs {', '.join(charter.roles)}, not {role}")
    if expires > charter.until:
        raise _exceeded(f"ends at {charter.until}, the metadata at {expires}")
    versions = dict(memory.versions)
    if version < versions.get(role, 0):
        raise _exceeded(f"has signed version {versions[role]} of {role}; {version} would go back")
    versions[role] = version
    return replace(memory, versions=tuple(sorted(versions.items())))


def _role(record: Record) -> str:
    kind = record.text("_type")
    match kind:
        case "timestamp":
            _check_names(record, "meta", lambda name: name == "snapshot.json")
        case "snapshot":
            _check_names(record, "meta", lambda name: name in {"targets.json", "site.json"})
        case "targets":
            _check_names(record, "targets", _is_site_path)
            return "site"
        case _:
            raise _exceeded(f"signs no metadata of type {kind[:16]!a}")
    return kind


def _check_names(record: Record, member: str, allowed: Callable[[str], bool]) -> None:
    named = record.value(member)
    if not isinstance(named, dict) or not named or not all(isinstance(item, dict) for item in named.values()):
        raise Malformed(f"TUF metadata: {member} is not an object that names something")
    for name in named:
        if not allowed(name):
            raise _exceeded(f"signs no metadata that names {name[:64]!a}")


def _is_site_path(path: str) -> bool:
    return len(path) <= _MAX_PATH and path.startswith(SITE_PREFIXES) and _PATH.fullmatch(path) is not None


def _expiry(text: str) -> int:
    # strptime alone would take "2030-1-31T1:2:3Z" too.
    try:
        moment = time.strptime(text if _EXPIRES.fullmatch(text) else "", "%Y-%m-%dT%H:%M:%SZ")
    except ValueError as error:
        raise Malformed("TUF metadata: expires is not a time like 2030-01-31T12:00:00Z") from error
    return calendar.timegm(moment)


def _exceeded(what: str) -> CharterExceeded:
    return CharterExceeded(f"the key's charter {what}")
