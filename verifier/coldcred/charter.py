"""Key charters (rule R13): what one signing key may sign, with a grammar per purpose.

A charter is fixed when its key is ordered. It is enforced three times: when the engine decides, in the HSM worker on
the whole signing input, and by every verifier, because the trust that sites hold carries it.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

from coldcred import names
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.credential import Credential, Kind, Known
from coldcred.errors import CharterExceeded, LifetimeExceeded, Malformed
from coldcred.jose import Typ
from coldcred.keys import Algorithm
from coldcred.record import Record

LABEL_DIGITS = 24
BUNDLE_ROLES = ("site", "snapshot", "timestamp")
OPERATOR_SIGNS = (Typ.FOUNDING, Typ.COMMAND, Typ.APPROVAL, Typ.COUNTERSIGNATURE)
"""What a person's own key for daily work may sign, and nothing else."""


class Purpose(StrEnum):
    """The one thing a signing key is for."""

    TOKENS = "tokens"
    STATUS = "status"
    LOG = "log"
    BUNDLE = "bundle"
    OPERATOR = "operator"


@dataclass(frozen=True)
class TokenCharter:
    """Credentials of one kind: `exp` - `nbf` <= lifetime and `exp` - `iat` <= horizon, both in seconds."""

    algorithm: Algorithm
    kind: Kind
    issuer: str
    subjects: tuple[str, ...]
    audiences: tuple[str, ...]
    lifetime: int
    horizon: int

    @property
    def purpose(self) -> Purpose:
        """Always tokens."""
        return Purpose.TOKENS

    @cached_property
    def known(self) -> Known:
        """The names in this charter, which were read with it."""
        return Known(uris=frozenset({self.issuer}), audiences=self._audiences)

    @cached_property
    def _below(self) -> tuple[str, ...]:
        return tuple(pattern[:-1] for pattern in self.subjects if pattern.endswith("/*"))

    @cached_property
    def _audiences(self) -> frozenset[str]:
        return frozenset(self.audiences)

    def check(self, credential: Credential) -> None:
        """Return when the credential lies within this charter, else raise `CharterExceeded`.

        It is a `LifetimeExceeded` when nothing but the length of the window is outside, so that is checked last.
        """
        lifetime = credential.expires_at - credential.not_before
        horizon = credential.expires_at - credential.issued_at
        if credential.kind is not self.kind:
            raise _exceeded(f"signs {self.kind} credentials, not {credential.kind}", "kind")
        if credential.issuer != self.issuer:
            raise _exceeded(f"signs for issuer {self.issuer}", "issuer")
        if not self._covers(credential.subject):
            raise _exceeded(f"does not cover subject {credential.subject[:80]}", "subjects")
        for audience in credential.audiences:
            if audience not in self._audiences:
                raise _exceeded(f"does not cover audience {audience[:80]}", "audiences")
        if horizon > self.horizon:
            raise _exceeded(f"allows a horizon of {self.horizon} s, found {horizon}", "horizon")
        if lifetime > self.lifetime:
            detail = f"the key's charter allows {self.lifetime} s of lifetime, found {lifetime}"
            raise LifetimeExceeded(detail, "lifetime")

    def _covers(self, subject: str) -> bool:
        if subject.startswith(self._below) and not subject.endswith("/"):
            return True  # as nearly always: it goes on after the slash of a pattern
        return any(names.matches(pattern, subject) for pattern in self.subjects)

    def as_json(self) -> dict[str, Json]:
        """Give the charter as it is written."""
        return {
            "v": 1,
            "purpose": self.purpose.value,
            "algorithm": self.algorithm.value,
            "kind": self.kind.value,
            "issuer": self.issuer,
            "subjects": list(self.subjects),
            "audiences": list(self.audiences),
            "lifetime": self.lifetime,
            "horizon": self.horizon,
        }


@dataclass(frozen=True, slots=True)
class StatusCharter:
    """Status list tokens whose `sub` begins with `prefix`, which ends with a slash: no longer host or folder fits."""

    algorithm: Algorithm
    prefix: str

    @property
    def purpose(self) -> Purpose:
        """Always status."""
        return Purpose.STATUS

    def check(self, uri: str) -> None:
        """Return when the list `uri` lies under the prefix, else raise `CharterExceeded`."""
        if not uri.startswith(self.prefix):
            raise _exceeded(f"signs status lists under {self.prefix}", "prefix")

    def as_json(self) -> dict[str, Json]:
        """Give the charter as it is written."""
        return {"v": 1, "purpose": "status", "algorithm": self.algorithm.value, "prefix": self.prefix}


@dataclass(frozen=True, slots=True)
class LogCharter:
    """Checkpoints of one log; the worker also holds that the size never shrinks."""

    algorithm: Algorithm
    origin: str

    @property
    def purpose(self) -> Purpose:
        """Always log."""
        return Purpose.LOG

    def as_json(self) -> dict[str, Json]:
        """Give the charter as it is written."""
        return {"v": 1, "purpose": "log", "algorithm": self.algorithm.value, "origin": self.origin}


@dataclass(frozen=True, slots=True)
class BundleCharter:
    """TUF metadata of the online roles, expiring at `until` (Unix seconds) at the latest; versions only rise."""

    algorithm: Algorithm
    roles: tuple[str, ...]
    until: int

    @property
    def purpose(self) -> Purpose:
        """Always bundle."""
        return Purpose.BUNDLE

    def as_json(self) -> dict[str, Json]:
        """Give the charter as it is written."""
        return {
            "v": 1,
            "purpose": "bundle",
            "algorithm": self.algorithm.value,
            "roles": list(self.roles),
            "until": self.until,
        }


@dataclass(frozen=True, slots=True)
class OperatorCharter:
    """What people sign: `OPERATOR_SIGNS`. Such a key is on its person's own card, never in an appliance's token.

    It names no types: a card that was made before a type came must go on fitting its label.
    """

    algorithm: Algorithm

    @property
    def purpose(self) -> Purpose:
        """Always operator."""
        return Purpose.OPERATOR

    def check(self, typ: str) -> Typ:
        """Give the `typ` as one that people sign, else raise `CharterExceeded`."""
        for known in OPERATOR_SIGNS:
            if typ == known:
                return known
        raise _exceeded(f"signs what people sign, not {typ[:48]!a}")

    def as_json(self) -> dict[str, Json]:
        """Give the charter as it is written."""
        return {"v": 1, "purpose": "operator", "algorithm": self.algorithm.value}


KeyCharter: TypeAlias = TokenCharter | StatusCharter | LogCharter | BundleCharter | OperatorCharter


def parse(value: Json) -> KeyCharter:
    """Read a charter strictly; `Malformed` on an unknown purpose, member or name."""
    record = Record.of(value, "key charter")
    record.version()
    purpose = record.text("purpose")
    try:
        algorithm = Algorithm(record.text("algorithm"))
    except ValueError as error:
        message = "key charter: an algorithm that is neither ES256 nor Ed25519"
        raise Malformed(message) from error
    charter = _read(record, purpose, algorithm)
    record.done()
    return charter


def _read(record: Record, purpose: str, algorithm: Algorithm) -> KeyCharter:
    match purpose:
        case "tokens":
            return _read_tokens(record, algorithm)
        case "status":
            prefix = names.https_uri(record.text("prefix"))
            if not prefix.endswith("/"):
                raise Malformed("key charter: the prefix of status lists ends with a slash")
            return StatusCharter(algorithm, prefix)
        case "log":
            return LogCharter(algorithm, _origin(record.text("origin", max_chars=255)))
        case "bundle":
            roles = record.texts("roles", least=1)
            if any(role not in BUNDLE_ROLES for role in roles):
                message = f"key charter: roles are among {', '.join(BUNDLE_ROLES)}"
                raise Malformed(message)
            return BundleCharter(algorithm, roles, record.time("until", least=1))
        case "operator":
            return OperatorCharter(algorithm)
        case _:
            message = f"key charter: unknown purpose {purpose[:32]!a}"
            raise Malformed(message)


def _read_tokens(record: Record, algorithm: Algorithm) -> TokenCharter:
    kind = record.text("kind")
    if kind not in set(Kind):
        message = f"key charter: unknown kind {kind[:32]!a}"
        raise Malformed(message)
    if kind == Kind.SVID and algorithm is not Algorithm.ES256:
        raise Malformed("key charter: a JWT-SVID is signed with ES256; SPIFFE lists no Ed25519 (JWT-SVID section 2.1)")
    return TokenCharter(
        algorithm=algorithm,
        kind=Kind(kind),
        issuer=names.https_uri(record.text("issuer")),
        subjects=tuple(names.subject_pattern(text) for text in record.texts("subjects", least=1)),
        audiences=tuple(names.audience(text) for text in record.texts("audiences", least=1)),
        lifetime=record.seconds("lifetime", least=1),
        horizon=record.seconds("horizon", least=1),
    )


def _origin(text: str) -> str:
    """Take a checkpoint origin: a schema-less URL (C2SP tlog-checkpoint), here without spaces and plus signs."""
    if not text.isascii() or not text.isprintable() or " " in text or "+" in text:
        message = "key charter: a log origin has no space and no plus sign"
        raise Malformed(message)
    return text


def digest(charter: KeyCharter) -> str:
    """SHA-256 of the charter's canonical JSON, in hexadecimal."""
    return sha256_hex(dumps(charter.as_json()))


def label(charter: KeyCharter) -> str:
    """Give the label a key is born with in its token, so that key and charter cannot be paired anew later."""
    return f"{charter.purpose}-{digest(charter)[:LABEL_DIGITS]}"


def _exceeded(what: str, bound: str | None = None) -> CharterExceeded:
    return CharterExceeded(f"the key's charter {what}", bound)
