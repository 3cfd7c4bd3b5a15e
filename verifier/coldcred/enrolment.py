"""Enrolments: the document by which a workload's key names itself, so that nobody enrols a key that nobody holds.

It is signed by the key that it carries. That proves possession and nothing else: who the workload is, people decide
when they enrol it, and they name the document by its SHA-256.
"""

from dataclasses import dataclass, field

from coldcred import names
from coldcred.canonical import Json, loads
from coldcred.command import LONGEST_LIFE
from coldcred.errors import Malformed
from coldcred.jose import MAX_TOKEN, Typ, open_jws, parse_unverified
from coldcred.keys import PublicKey, SealingKey
from coldcred.record import Record


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A workload's proof that it holds `key`; credentials may be encrypted to `seal`; times are Unix seconds."""

    appliance: str
    workload: str
    key: PublicKey
    seal: SealingKey | None
    jti: str
    issued_at: int
    expires_at: int
    token: str = field(repr=False)


def parse_enrolment(token: str) -> Enrolment:
    """Read an enrolment and verify it by the key that it carries.

    Raises `Malformed` or `BadSignature`. Appliance, workload and time are the receiver's to check.
    """
    jws = parse_unverified(token)
    key = PublicKey.from_jwk(Record.of(loads(jws.payload, max_bytes=MAX_TOKEN), Typ.ENROLMENT).value("key"))
    record = Record.of(open_jws(jws, key, Typ.ENROLMENT), Typ.ENROLMENT)
    enrolment = Enrolment(
        appliance=record.digest("aud"),
        workload=names.spiffe_id(record.text("sub")),
        key=PublicKey.from_jwk(record.value("key")),
        seal=SealingKey.from_jwk(record.value("seal")) if record.has("seal") else None,
        jti=names.jti(record.text("jti")),
        issued_at=record.time("iat"),
        expires_at=record.time("exp"),
        token=token,
    )
    record.done()
    life = enrolment.expires_at - enrolment.issued_at
    if not 0 < life <= LONGEST_LIFE:
        raise Malformed(f"an enrolment that lives {life} seconds where 1 to {LONGEST_LIFE} are allowed")
    return enrolment


def enrolment_claims(
    *,
    appliance: str,
    workload: str,
    key: PublicKey,
    seal: SealingKey | None,
    jti: str,
    issued_at: int,
    expires_at: int,
) -> dict[str, Json]:
    """Give the claims of an enrolment, to be signed by the private half of `key`."""
    claims: dict[str, Json] = {
        "aud": appliance,
        "sub": workload,
        "key": key.jwk(),
        "jti": jti,
        "iat": issued_at,
        "exp": expires_at,
    }
    if seal is not None:
        claims["seal"] = seal.jwk()
    return claims
