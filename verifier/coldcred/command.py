"""Commands and approvals: the signed files by which an appliance is changed (rules R6, R7, R9).

A command's id is the SHA-256 of its signing input and never covers the signature, because an ECDSA signature (r, s)
has a twin (r, n-s) that verifies too.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from coldcred import names
from coldcred.acts import Act
from coldcred.canonical import Json, loads, sha256_hex
from coldcred.errors import Malformed, UnknownSigner
from coldcred.jose import MAX_TOKEN, Typ, UnverifiedJws, open_jws, parse_unverified
from coldcred.keys import PublicKey
from coldcred.record import Record

LONGEST_LIFE = 14 * 24 * 3600

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
class Approval:
    """A second signature, over the id of a command."""

    id: str
    signer: str
    appliance: str
    epoch: int
    command: str
    verdict: Verdict
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
    *, appliance: str, epoch: int, command: str, verdict: Verdict, jti: str, issued_at: int, expires_at: int
) -> dict[str, Json]:
    """Give the claims of an approval of the command with id `command`."""
    return {
        "aud": appliance,
        "epoch": epoch,
        "command": command,
        "verdict": verdict.value,
        "jti": jti,
        "iat": issued_at,
        "exp": expires_at,
    }


def people(requester: str, approvers: Iterable[str]) -> frozenset[str]:
    """Count distinct people, not signatures and not keys: the requester once unless a workload, each approver once."""
    asked = () if names.is_spiffe_id(requester) else (requester,)
    return frozenset({*asked, *approvers})
