"""What is issued: claims of an access token (RFC 9068) and of a JWT-SVID (SPIFFE), read and written.

Both carry a `jti`, a window (`nbf`, `exp`), a status index (Token Status List) and the index of their log entry.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from coldcred import names
from coldcred.canonical import Json, b64u_decode, loads
from coldcred.errors import Malformed
from coldcred.jose import Typ
from coldcred.record import Record

MAX_CLAIMS = 16 * 1024
THUMBPRINT_BYTES = 32


class Kind(StrEnum):
    """The kind of credential a caller accepts; there is no "any"."""

    ACCESS = "access"
    SVID = "svid"

    @property
    def typ(self) -> Typ:
        """The `typ` that tokens of this kind carry."""
        return Typ.ACCESS if self is Kind.ACCESS else Typ.SVID


@dataclass(frozen=True, slots=True)
class StatusReference:
    """Where a credential's status bit stands: the list's URI and the index in it (from 0)."""

    uri: str
    index: int


@dataclass(frozen=True, slots=True)
class Credential:
    """The claims of one credential; times are Unix seconds, `not_before` <= t < `expires_at` is its window."""

    kind: Kind
    issuer: str
    subject: str
    audiences: tuple[str, ...]
    scopes: tuple[str, ...]
    jti: str
    issued_at: int
    not_before: int
    expires_at: int
    status: StatusReference
    log_index: int
    profile: str
    confirmation: str | None = None
    purpose: str | None = None
    task: str | None = None
    claims: dict[str, Json] = field(default_factory=dict, repr=False, compare=False)


def parse_claims(payload: bytes, kind: Kind) -> Credential:
    """Read a credential's payload strictly; `Malformed` names the claim that is missing, foreign or of another type."""
    value = loads(payload, max_bytes=MAX_CLAIMS)
    record = Record.of(value, f"{kind} claims")
    subject = names.spiffe_id(record.text("sub"))
    if kind is Kind.ACCESS and record.text("client_id") != subject:
        message = "access claims: client_id is not the subject"
        raise Malformed(message)
    status = record.record("status")
    reference = status.record("status_list")
    status.done()
    credential = Credential(
        kind=kind,
        issuer=names.https_uri(record.text("iss")),
        subject=subject,
        audiences=_audiences(record, kind),
        scopes=_scopes(record),
        jti=names.jti(record.text("jti")),
        issued_at=record.time("iat"),
        not_before=record.time("nbf"),
        expires_at=record.time("exp"),
        status=StatusReference(names.https_uri(reference.text("uri")), reference.integer("idx")),
        log_index=record.integer("log"),
        profile=names.label(record.text("profile"), "profile name"),
        confirmation=_confirmation(record),
        purpose=_plain_text(record, "purpose"),
        task=_plain_text(record, "task"),
        claims=value if isinstance(value, dict) else {},
    )
    reference.done()
    record.done()
    if not credential.not_before < credential.expires_at or credential.issued_at > credential.not_before:
        message = f"{kind} claims: iat <= nbf < exp does not hold"
        raise Malformed(message)
    return credential


def _audiences(record: Record, kind: Kind) -> tuple[str, ...]:
    # RFC 7519 allows a bare text or an array; a JWT-SVID we write carries an array of one, an access token a text.
    if kind is Kind.ACCESS:
        return (names.audience(record.text("aud")),)
    return tuple(names.audience(text) for text in record.texts("aud", least=1, most=8))


def _scopes(record: Record) -> tuple[str, ...]:
    text = record.optional_text("scope")
    if text is None:
        return ()
    scopes = tuple(names.scope_token(item) for item in text.split(" "))
    if len(set(scopes)) != len(scopes):
        message = "claims: a scope stands twice"
        raise Malformed(message)
    return scopes


def _plain_text(record: Record, name: str) -> str | None:
    text = record.optional_text(name, max_chars=256)
    return None if text is None else names.plain_text(text, name)


def _confirmation(record: Record) -> str | None:
    confirmation = record.optional_record("cnf")
    if confirmation is None:
        return None
    thumbprint = confirmation.text("jkt")
    confirmation.done()
    if len(b64u_decode(thumbprint)) != THUMBPRINT_BYTES:
        message = "claims: cnf.jkt is not a SHA-256 thumbprint"
        raise Malformed(message)
    return thumbprint


def write_claims(credential: Credential) -> dict[str, Json]:
    """Give the claims of `credential`, the inverse of `parse_claims`."""
    claims: dict[str, Json] = {
        "iss": credential.issuer,
        "sub": credential.subject,
        "jti": credential.jti,
        "iat": credential.issued_at,
        "nbf": credential.not_before,
        "exp": credential.expires_at,
        "status": {"status_list": {"idx": credential.status.index, "uri": credential.status.uri}},
        "log": credential.log_index,
        "profile": credential.profile,
    }
    if credential.kind is Kind.ACCESS:
        (claims["aud"],) = credential.audiences
        claims["client_id"] = credential.subject
    else:
        claims["aud"] = list(credential.audiences)
    if credential.scopes:
        claims["scope"] = " ".join(credential.scopes)
    if credential.confirmation is not None:
        claims["cnf"] = {"jkt": credential.confirmation}
    if credential.purpose is not None:
        claims["purpose"] = credential.purpose
    if credential.task is not None:
        claims["task"] = credential.task
    return claims
