"""What is issued: claims of an access token (RFC 9068) and of a JWT-SVID (SPIFFE), read and written.

Both carry a `jti`, a window (`nbf`, `exp`), a status index (Token Status List) and the index of their log entry.
"""

from collections.abc import Container
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter
from typing import Any

from coldcred import names
from coldcred.canonical import Json, b64u_decode, loads
from coldcred.errors import Malformed
from coldcred.jose import Typ
from coldcred.record import MAX_TEXT, MAX_TIME, Record

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


@dataclass(frozen=True)
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


@dataclass(frozen=True, slots=True)
class Known:
    """Names that were read before, each with the reader of its own kind: a claim that is one of them is spelt well."""

    uris: Container[str] = frozenset()
    audiences: Container[str] = frozenset()
    profiles: Container[str] = frozenset()


NOTHING_KNOWN = Known()


def parse_claims(payload: bytes, kind: Kind, known: Known = NOTHING_KNOWN) -> Credential:
    """Read a credential's payload strictly; `Malformed` names the claim that is missing, foreign or of another type.

    What is accepted does not depend on `known`, only how long that takes.
    """
    value = loads(payload, max_bytes=MAX_CLAIMS)
    return _usual(value, kind, known) or _strictly(value, kind)


_MEMBERS = itemgetter("iss", "sub", "jti", "profile", "aud", "iat", "nbf", "exp", "log", "status")
_REFERENCE = itemgetter("uri", "idx")
_ALWAYS = 10
_ONE_LIST = (1, 2)  # members of `status` and of the reference in it


def _usual(value: Any, kind: Kind, known: Known) -> Credential | None:  # noqa: ANN401 - nobody has looked at it yet
    """Read claims of the shape that nearly all have, in a fraction of the time; None for every other value.

    It gives what `_strictly` gives or nothing, and leaves it to that one to say what is wrong.
    """
    try:
        issuer, subject, jti, profile, aud, issued_at, not_before, expires_at, log_index, status = _MEMBERS(value)
        reference = status["status_list"]
        uri, index = _REFERENCE(reference)
        scope = value.get("scope")
        more = len(value) - _ALWAYS - (type(scope) is str and len(scope) <= MAX_TEXT)
        if kind is Kind.ACCESS:
            audience, usual = aud, more == 1 and value["client_id"] == subject
        else:
            (audience,), usual = aud, more == 0 and type(aud) is list
    except (KeyError, TypeError, ValueError):
        return None
    if not (
        usual
        and (len(status), len(reference)) == _ONE_LIST
        and type(issuer) is type(subject) is type(jti) is type(profile) is type(audience) is type(uri) is str
        and type(issued_at) is type(not_before) is type(expires_at) is type(log_index) is type(index) is int
        and 0 <= issued_at <= not_before < expires_at <= MAX_TIME
        and log_index >= 0
        and index >= 0
    ):
        return None
    try:
        names.spiffe_id(subject)
        names.jti(jti)
        if issuer not in known.uris:
            names.https_uri(issuer)
        if uri not in known.uris:
            names.https_uri(uri)
        if audience not in known.audiences:
            names.audience(audience)
        if profile not in known.profiles:
            names.label(profile)
        scopes = () if scope is None else _distinct_scopes(scope)
    except Malformed:
        return None
    found = object.__new__(Credential)
    # All at once: a frozen dataclass sets its members one by one, which takes as long as the checks.
    found.__dict__.update(
        kind=kind,
        issuer=issuer,
        subject=subject,
        audiences=(audience,),
        scopes=scopes,
        jti=jti,
        issued_at=issued_at,
        not_before=not_before,
        expires_at=expires_at,
        status=StatusReference(uri, index),
        log_index=log_index,
        profile=profile,
        confirmation=None,
        purpose=None,
        task=None,
        claims=value,
    )
    return found


def _strictly(value: Json, kind: Kind) -> Credential:
    """Read claims member by member; `Malformed` names the first that is not as it must be."""
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
    return () if text is None else _distinct_scopes(text)


def _distinct_scopes(text: str) -> tuple[str, ...]:
    scopes = names.scope_tokens(text)
    if len(set(scopes)) != len(scopes):
        message = "claims: a scope stands twice"
        raise Malformed(message)
    return scopes


def _plain_text(record: Record, name: str) -> str | None:
    text = record.optional_text(name, max_chars=256)
    return None if text is None else names.stored_text(text, name)


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
