"""Countersignatures: the document by which an operator's new key names itself and its person (rule R3).

It is signed by the key that it carries. That proves possession and nothing else: who the person is, and what they may
do, other people decide when they enrol the key, and they name the document by its SHA-256.
"""

from dataclasses import dataclass, field

from coldcred import names
from coldcred.canonical import Json, loads
from coldcred.command import LONGEST_LIFE
from coldcred.errors import Malformed
from coldcred.jose import MAX_TOKEN, Typ, UnverifiedJws, open_jws, parse_unverified
from coldcred.keys import PublicKey
from coldcred.record import Record


@dataclass(frozen=True, slots=True)
class Countersignature:
    """A person's proof that they hold `key`, meant for one appliance; times are Unix seconds."""

    appliance: str
    person: str
    key: PublicKey
    jti: str
    issued_at: int
    expires_at: int
    token: str = field(repr=False)


def parse_countersignature(token: str) -> Countersignature:
    """Read a countersignature and verify it by the key that it carries.

    Raises `Malformed` or `BadSignature`. Appliance, person and time are the receiver's to check.
    """
    jws = parse_unverified(token)
    key = PublicKey.from_jwk(Record.of(loads(jws.payload, max_bytes=MAX_TOKEN), Typ.COUNTERSIGNATURE).value("key"))
    return _read(Record.of(open_jws(jws, key, Typ.COUNTERSIGNATURE), Typ.COUNTERSIGNATURE), token)


def check_unsigned(jws: UnverifiedJws) -> None:
    """Hold a countersignature that is about to be signed to its form, and to the key that is to sign it."""
    found = _read(Record.of(loads(jws.payload, max_bytes=MAX_TOKEN), Typ.COUNTERSIGNATURE), "")
    if found.key.thumbprint != jws.header.kid:
        raise Malformed("a countersignature for another key than the one that signs it")


def _read(record: Record, token: str) -> Countersignature:
    found = Countersignature(
        appliance=record.digest("aud"),
        person=names.label(record.text("person"), "person id"),
        key=PublicKey.from_jwk(record.value("key")),
        jti=names.jti(record.text("jti")),
        issued_at=record.time("iat"),
        expires_at=record.time("exp"),
        token=token,
    )
    record.done()
    life = found.expires_at - found.issued_at
    if not 0 < life <= LONGEST_LIFE:
        raise Malformed(f"a countersignature that lives {life} seconds where 1 to {LONGEST_LIFE} are allowed")
    return found


def countersignature_claims(
    *, appliance: str, person: str, key: PublicKey, jti: str, issued_at: int, expires_at: int
) -> dict[str, Json]:
    """Give the claims of a countersignature, to be signed by the private half of `key`."""
    return {
        "aud": appliance,
        "person": person,
        "key": key.jwk(),
        "jti": jti,
        "iat": issued_at,
        "exp": expires_at,
    }
