"""`coldcred verify`: the verdict on one credential, for people or as JSON; exit 0 accepted, 1 rejected, 2 misuse."""

import argparse
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from coldcred.canonical import Json
from coldcred.cli.places import reads
from coldcred.cli.speech import (
    ACCEPTED,
    ADVICE,
    REFUSED,
    OutputLost,
    TooLarge,
    clock_ahead,
    put,
    read_file,
    read_time,
    tell,
    utc,
)
from coldcred.credential import Kind
from coldcred.errors import Malformed, Reason, Rejected
from coldcred.jose import MAX_TOKEN, parse_unverified
from coldcred.trust import Freshness, TrustStore
from coldcred.verification import Verified, verify

if TYPE_CHECKING:
    from coldcred.cli import Nouns

_LINE_END = 2  # bytes that an editor or a shell may add after a token


def add_parser(nouns: "Nouns") -> None:
    """Add `verify`."""
    parser = nouns.add_parser("verify", help="verify a credential against this site's trust", allow_abbrev=False)
    parser.add_argument("--trust", required=True, type=reads("--trust"), metavar="DIR", help="the site's trust store")
    parser.add_argument("--audience", required=True, metavar="AUD", help="who is asking: the audience it must be for")
    parser.add_argument(
        "--kind",
        choices=[kind.value for kind in Kind],
        default=Kind.ACCESS.value,
        help="an access token or a JWT-SVID; access unless given",
    )
    parser.add_argument("--scope", action="append", default=[], metavar="S", help="a scope it must grant; repeatable")
    parser.add_argument("--at", metavar="TIME", help="RFC 3339 UTC time that replaces now everywhere")
    parser.add_argument("--json", action="store_true", help="write the verdict as JSON")
    parser.add_argument("file", type=reads("FILE"), metavar="FILE", help="the token's file, or - for standard input")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Give the verdict and the exit code."""
    now = time.time() if args.at is None else read_time(args.at)
    store, token, found = None, b"", None
    rejected = None
    try:
        token = _token(args.file)
        store = TrustStore.open(args.trust)
        found = verify(token, store, audience=args.audience, kind=Kind(args.kind), now=now, scopes=tuple(args.scope))
    except Rejected as error:
        rejected = error
    report = json.dumps(_report(store, token, found, rejected, now)) if args.json else None
    if rejected is not None:
        tell(
            f"rejected ({rejected.reason}): {rejected.detail}. {ADVICE[rejected.reason]}{_clock(rejected, store, now)}"
        )
        if report is not None:
            with suppress(OutputLost):  # the verdict is told, and is the exit code
                put(report)
        return REFUSED
    if report is not None:
        put(report)
    elif found is not None and store is not None:
        put("\n".join(_lines(store, found)))
    if store is not None and (freshness := store.freshness(now)) is not Freshness.FRESH:
        tell(f"trust is {freshness} and ends at {utc(store.times.end)}: apply a newer bundle before then.")
    return ACCEPTED


def _clock(rejected: Rejected, store: TrustStore | None, now: float) -> str:
    """Say what time it is here where too late is the reason: a clock that is ahead looks just like it."""
    if store is None or rejected.reason not in {Reason.EXPIRED, Reason.TRUST_EXPIRED}:
        return ""
    return " " + clock_ahead(now, store.times.issued_at)


def _token(name: str) -> bytes:
    try:
        data = read_file(name, MAX_TOKEN + _LINE_END)
    except TooLarge as error:
        raise Rejected(Reason.TOO_LARGE, str(error)) from error
    return data.removesuffix(b"\n").removesuffix(b"\r")


def _report(
    store: TrustStore | None, token: bytes, found: Verified | None, rejected: Rejected | None, now: float
) -> dict[str, Json]:
    freshness = Freshness.NONE if store is None else store.freshness(now)
    return {
        "verdict": "accepted" if rejected is None else "rejected",
        "reason": None if rejected is None else rejected.reason.value,
        "freshness": freshness.value,
        "claims": None if found is None else found.claims,
        "kid": None if store is None else _kid(store, token),
        "bundle": None if store is None else store.times.sequence,
        "bundle_age_s": None if store is None or freshness is Freshness.NONE else store.age(now),
        "as_of": None if store is None else utc(store.times.issued_at),
    }


def _kid(store: TrustStore, token: bytes) -> str | None:
    """Give the key that the token names, where it is one that this site trusts."""
    try:
        kid = parse_unverified(token).header.kid
    except Malformed:
        return None
    return kid if kid in store.keys else None


def _lines(store: TrustStore, found: Verified) -> list[str]:
    credential, identity = found.credential, store.identity
    people = " (SINGLE OPERATOR: founded by one person)" if identity.single_operator else ""
    rows = {
        "subject": credential.subject,
        "audience": " ".join(credential.audiences),
        "scopes": " ".join(credential.scopes) or "none",
        "window": f"{utc(credential.not_before)} to {utc(credential.expires_at)}",
        "issuer": f"{credential.issuer}, appliance {identity.name}{people}",
        "log": f"entry {credential.log_index}",
        "key": found.kid,
        "trust": f"{found.freshness}, bundle {found.bundle} of site {store.site}, as of {utc(found.as_of)}",
    }
    return ["accepted", *(f"  {name:<9} {text}" for name, text in rows.items())]
