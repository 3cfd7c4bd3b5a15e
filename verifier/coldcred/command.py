"""Commands and approvals: the signed files by which an appliance is changed (rules R6, R7, R9).

A command's id is the SHA-256 of its signing input and never covers the signature, because an ECDSA signature (r, s)
has a twin (r, n-s) that verifies too.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self, TypeAlias

from coldcred import names
from coldcred.acts import Act
from coldcred.asked import Asked
from coldcred.batch import is_batch, profiles_in
from coldcred.canonical import Json, dumps, loads, sha256_hex
from coldcred.errors import Malformed, UnknownSigner
from coldcred.jose import MAX_TOKEN, Typ, UnverifiedJws, open_jws, parse_unverified
from coldcred.keys import PublicKey
from coldcred.profile import Profile, digest_of
from coldcred.record import Record

RENDERING = 2
"""The form of what approvers are shown (`coldcred.rendering.whole`); what names no form is of the first."""

LONGEST_LIFE = 14 * 24 * 3600
MAX_REASON = 256

KeyLookup: TypeAlias = Callable[[str], PublicKey | None]


class Verdict(StrEnum):
    """What an approval says; one deny ends a request."""

    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Command:
    """One request, signed by `signer` (thumbprint); times are Unix seconds, `args` belong to the act."""

    id: str
    signer: str
    appliance: str
    epoch: int
    act: Act
    issued_at: int
    expires_at: int
    jti: str
    args: dict[str, Json] = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Basis:
    """What an approval rests on, each as SHA-256 in hexadecimal (rule R9).

    `policy` is the policy in force, `profile` the version of the profiles that the command names, `attachment` stands
    for what travels beside it, `shown` for the lines that the approver read, whose form is `rendering`. None: there is
    none.
    """

    policy: str
    profile: str | None
    attachment: str | None
    shown: str
    rendering: int = RENDERING

    @classmethod
    def of(
        cls,
        *,
        policy: str,
        profiles: Iterable[Profile],
        attachments: Iterable[str],
        shown: str,
        rendering: int = RENDERING,
    ) -> Self:
        """Give it for the policy and profiles as they stand, and for attachments by their SHA-256."""
        named, beside = list(profiles), sorted(attachments)
        digests: list[Json] = [*beside]
        attachment = sha256_hex(dumps(digests)) if beside else None
        return cls(policy, digest_of(named) if named else None, attachment, shown, rendering)

    @classmethod
    def read(cls, record: Record) -> Self:
        """Take the members of an approval, or of an entry, that say it."""
        return cls(
            policy=record.digest("policy"),
            profile=record.digest("profile") if record.has("profile") else None,
            attachment=record.digest("attachment") if record.has("attachment") else None,
            shown=record.digest("shown"),
            rendering=read_rendering(record),
        )

    def as_json(self) -> dict[str, Json]:
        """Give it as it is written: what there is none of is left out, and so is the first form."""
        members: dict[str, Json] = {
            "policy": self.policy,
            "profile": self.profile,
            "attachment": self.attachment,
            "shown": self.shown,
            "rendering": None if self.rendering == 1 else self.rendering,
        }
        return {name: value for name, value in members.items() if value is not None}

    def differs(self, other: Self) -> tuple[str, ...]:
        """Name what is not the same in `other`."""
        return tuple(name for name in self.__slots__ if getattr(self, name) != getattr(other, name))


@dataclass(frozen=True, slots=True)
class Approval:
    """A second signature, over the id of a command, given on a `basis` and perhaps with a reason."""

    id: str
    signer: str
    appliance: str
    epoch: int
    command: str
    verdict: Verdict
    basis: Basis
    reason: str | None
    issued_at: int
    expires_at: int
    jti: str
    token: str = field(repr=False)


def document_id(jws: UnverifiedJws) -> str:
    """Give the id of a command or approval: SHA-256 of its signing input, in hexadecimal (R6)."""
    return sha256_hex(jws.signing_input)


def parse_command(token: str, key_of: KeyLookup) -> Command:
    """Read and verify a command by a key that `key_of` knows.

    Raises `Malformed`, `UnknownSigner` or `BadSignature`. Audience, epoch, time and replay are the receiver's to check.
    """
    jws = parse_unverified(token)
    return _command(jws, _open(jws, key_of, Typ.COMMAND), token)


def _command(jws: UnverifiedJws, record: Record, token: str) -> Command:
    act = record.text("act")
    if act not in set(Act):
        message = f"command: unknown act {act[:48]!a}"
        raise Malformed(message)
    command = Command(
        id=document_id(jws),
        signer=jws.header.kid,
        appliance=record.digest("aud"),
        epoch=record.integer("epoch", least=1),
        act=Act(act),
        issued_at=record.time("iat"),
        expires_at=record.time("exp"),
        jti=names.jti(record.text("jti")),
        args=record.record("args").members(),
        token=token,
    )
    record.done()
    _check_life(command.issued_at, command.expires_at)
    return command


def parse_approval(token: str, key_of: KeyLookup) -> Approval:
    """Read and verify an approval; refusals as for `parse_command`."""
    jws = parse_unverified(token)
    return _approval(jws, _open(jws, key_of, Typ.APPROVAL), token)


def _approval(jws: UnverifiedJws, record: Record, token: str) -> Approval:
    verdict = record.text("verdict")
    if verdict not in set(Verdict):
        message = "approval: the verdict is approve or deny"
        raise Malformed(message)
    approval = Approval(
        id=document_id(jws),
        signer=jws.header.kid,
        appliance=record.digest("aud"),
        epoch=record.integer("epoch", least=1),
        command=record.digest("command"),
        verdict=Verdict(verdict),
        basis=Basis.read(record),
        reason=read_reason(record),
        issued_at=record.time("iat"),
        expires_at=record.time("exp"),
        jti=names.jti(record.text("jti")),
        token=token,
    )
    record.done()
    _check_life(approval.issued_at, approval.expires_at)
    return approval


def check_unsigned(jws: UnverifiedJws) -> None:
    """Return where this reads as a command or an approval, as its `typ` says, before anybody signs it; `Malformed`."""
    record = Record.of(loads(jws.payload, max_bytes=MAX_TOKEN), jws.header.typ[:48])
    match jws.header.typ:
        case Typ.COMMAND:
            _command(jws, record, "")
        case Typ.APPROVAL:
            _approval(jws, record, "")
        case _:
            raise Malformed("neither a command nor an approval")


def _open(jws: UnverifiedJws, key_of: KeyLookup, typ: Typ) -> Record:
    key = key_of(jws.header.kid)
    if key is None:
        message = f"signed by a key this appliance does not know: {jws.header.kid[:64]!a}"
        raise UnknownSigner(message)
    return Record.of(open_jws(jws, key, typ), typ.value)


def _check_life(issued_at: int, expires_at: int) -> None:
    if not 0 < expires_at - issued_at <= LONGEST_LIFE:
        message = f"a life of {expires_at - issued_at} seconds where 1 to {LONGEST_LIFE} are allowed"
        raise Malformed(message)


def command_claims(
    *, appliance: str, epoch: int, act: Act, args: dict[str, Json], jti: str, issued_at: int, expires_at: int
) -> dict[str, Json]:
    """Give the claims of a command."""
    return {
        "aud": appliance,
        "epoch": epoch,
        "act": act.value,
        "args": args,
        "jti": jti,
        "iat": issued_at,
        "exp": expires_at,
    }


def approval_claims(
    *,
    appliance: str,
    epoch: int,
    command: str,
    verdict: Verdict,
    basis: Basis,
    jti: str,
    issued_at: int,
    expires_at: int,
) -> dict[str, Json]:
    """Give the claims of an approval of the command with id `command`; a `reason` may be added."""
    return {
        "aud": appliance,
        "epoch": epoch,
        "command": command,
        "verdict": verdict.value,
        **basis.as_json(),
        "jti": jti,
        "iat": issued_at,
        "exp": expires_at,
    }


def read_rendering(record: Record) -> int:
    """Take the member `rendering`, the form of what approvers are shown: 2, or the first where it is absent."""
    return record.integer("rendering", least=RENDERING, most=RENDERING) if record.has("rendering") else 1


def read_reason(record: Record) -> str | None:
    """Take the member `reason`, a text for people, where it is there."""
    text = record.optional_text("reason", max_chars=MAX_REASON)
    return None if text is None else names.stored_text(text, "reason")


def profiles_named(act: Act, args: dict[str, Json], items: Iterable[Asked | str] = ()) -> tuple[str, ...]:
    """Name the profiles that a command is about, sorted; `items` are the lines of its batch, where it asks for one."""
    if act is Act.CREDENTIAL_ISSUE and is_batch(args):
        return tuple(sorted(profiles_in(items)))
    found: Json = None
    if act is Act.CREDENTIAL_ISSUE:
        found = args.get("profile")
    elif act is Act.PROFILE_SET and isinstance(profile := args.get("profile"), dict):
        found = profile.get("name")
    return (found,) if isinstance(found, str) else ()


def attachments_named(act: Act, args: dict[str, Json]) -> frozenset[str]:
    """Give the digests of what has to travel beside a command: whatever its arguments name by a SHA-256."""
    found: list[Json] = []
    match act:
        case Act.CREDENTIAL_ISSUE:
            files = [args.get(name) for name in ("items", "held")]
            found = [file.get("sha256") for file in files if isinstance(file, dict)]
        case Act.WORKLOAD_ENROL:
            found = [args.get("enrolment")]
        case Act.OPERATOR_ADD | Act.OPERATOR_REPLACE_KEY | Act.OPERATOR_RECOVER:
            found = [args.get("countersignature")]
        case Act.POLICY_SET:
            found = [args.get("policy")]
        case Act.TRUST_SUBMIT:
            written = args.get("files")
            found = [*written.values()] if isinstance(written, dict) else []
        case _:
            pass
    return frozenset(digest for digest in found if isinstance(digest, str))


def people(requester: str, approvers: Iterable[str]) -> frozenset[str]:
    """Count distinct people, not signatures and not keys: the requester once unless a workload, each approver once."""
    asked = () if names.is_spiffe_id(requester) else (requester,)
    return frozenset({*asked, *approvers})
