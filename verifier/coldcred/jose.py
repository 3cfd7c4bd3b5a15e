"""The one strict reader and writer of compact JWS (RFC 7515), and the closed table of `typ`.

The header is exactly `alg`, `kid` and `typ`: there is no `crit`, `b64`, `zip`, `jwk`, `jku` or `x5c` to get wrong,
and JWT-SVID allows no others either. The token decides nothing: the caller names the `typ`, the key its algorithm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from coldcred.canonical import Json, b64u_decode, b64u_encode, dumps, loads
from coldcred.errors import BadSignature, Malformed
from coldcred.keys import Algorithm, PublicKey
from coldcred.record import Record

MAX_TOKEN = 64 * 1024
MAX_HEADER = 512


class Typ(StrEnum):
    """Every `typ` this project reads; docs/format.md says which key register signs which."""

    FOUNDING = "coldcred-founding+jwt"
    COMMAND = "coldcred-command+jwt"
    APPROVAL = "coldcred-approval+jwt"
    RECEIPT = "coldcred-receipt+jwt"
    HOLDER = "coldcred-holder+jwt"
    STATUS_LIST = "statuslist+jwt"
    ACCESS = "at+jwt"
    SVID = "JWT"
    ENROLMENT = "coldcred-enrolment+jwt"
    COUNTERSIGNATURE = "coldcred-countersignature+jwt"


@dataclass(frozen=True, slots=True)
class Header:
    """The three members of a JOSE header, as found."""

    alg: str
    kid: str
    typ: str


_NONE_READ: Final[Mapping[bytes, Header]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """A well-formed compact JWS whose signature nobody has checked yet."""

    header: Header
    payload: bytes
    signature: bytes
    signing_input: bytes


def parse_unverified(
    token: str | bytes, *, max_bytes: int = MAX_TOKEN, headers: Mapping[bytes, Header] = _NONE_READ
) -> UnverifiedJws:
    """Split a compact JWS without believing it; `Malformed` on anything but three canonical base64url parts.

    `headers` are headers read before, by their part of a token: what is the same is not read again.
    """
    if len(token) > max_bytes:
        message = f"a token of {len(token)} bytes where at most {max_bytes} are read"
        raise Malformed(message)
    data = _ascii(token, "a token")
    try:
        first, second, third = data.split(b".")
    except ValueError as error:
        message = f"a token of {1 + data.count(b'.')} parts where a compact JWS has three"
        raise Malformed(message) from error
    header = headers.get(first) or _header(first)
    return UnverifiedJws(header, b64u_decode(second), b64u_decode(third), data[: -1 - len(third)])


def split_signing_input(
    data: bytes, *, max_bytes: int = MAX_TOKEN, headers: Mapping[bytes, Header] = _NONE_READ
) -> tuple[Header, bytes]:
    """Read `header.payload`, the bytes a signature covers, into the header and the decoded payload.

    `headers` are headers read before, by their part of a token: what is the same is not read again.
    """
    if len(data) > max_bytes:
        message = f"a signing input of {len(data)} bytes where at most {max_bytes} are read"
        raise Malformed(message)
    _ascii(data, "a signing input")
    try:
        first, second = data.split(b".")
    except ValueError as error:
        message = f"a signing input of {1 + data.count(b'.')} parts where there are two"
        raise Malformed(message) from error
    return headers.get(first) or _header(first), b64u_decode(second)


def known_header(typ: Typ, algorithm: Algorithm, kid: str) -> tuple[bytes, Header]:
    """Give the part of a token that says so in canonical JSON, as our writers do, and the header read from it."""
    part = header_part(typ, algorithm, kid).encode("ascii")
    return part, _header(part)


def _ascii(data: str | bytes, what: str) -> bytes:
    if isinstance(data, str):
        try:
            return data.encode("ascii")
        except UnicodeEncodeError as error:
            raise Malformed(f"{what} that is not ASCII") from error
    if not data.isascii():
        raise Malformed(f"{what} that is not ASCII")
    return data


def _header(part: bytes) -> Header:
    record = Record.of(loads(b64u_decode(part), max_bytes=MAX_HEADER), "JOSE header")
    header = Header(record.text("alg"), record.text("kid"), record.text("typ"))
    record.done()
    return header


def signing_input(typ: Typ, algorithm: Algorithm, kid: str, claims: dict[str, Json]) -> bytes:
    """Give the bytes to sign for `claims` (RFC 7515 section 5.1); both parts are canonical JSON."""
    return f"{header_part(typ, algorithm, kid)}.{b64u_encode(dumps(claims))}".encode("ascii")


def header_part(typ: Typ, algorithm: Algorithm, kid: str) -> str:
    """Give the first part of a JWS: its header as canonical JSON in base64url."""
    return b64u_encode(dumps({"alg": algorithm.value, "kid": kid, "typ": typ.value}))


def assemble(signing_input: bytes, signature: bytes) -> str:
    """Join a signing input and its signature into a compact JWS."""
    return f"{signing_input.decode('ascii')}.{b64u_encode(signature)}"


def open_jws(jws: UnverifiedJws, key: PublicKey, typ: Typ, *, max_bytes: int = MAX_TOKEN) -> Json:
    """Check `typ`, algorithm, `kid` and signature against the caller's key, then read the payload strictly.

    Raises `Malformed` when the token is of another kind or its payload is not strict JSON, `BadSignature` when it names
    another key or does not verify.
    """
    if jws.header.typ != typ:
        message = f"a {jws.header.typ[:48]!a} where a {typ.value!r} belongs"
        raise Malformed(message)
    if jws.header.kid != key.thumbprint:
        message = "a token that names another key"
        raise BadSignature(message)
    if jws.header.alg != key.algorithm:
        message = f"alg {jws.header.alg[:16]!a} where the key is for {key.algorithm.value}"
        raise Malformed(message)
    key.verify(jws.signature, jws.signing_input)
    return loads(jws.payload, max_bytes=max_bytes)
