"""`coldcred log verify`: is this export a whole and honest log; exit 0 intact, 1 not or signer unknown, 2 misuse."""

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO

from coldcred.canonical import Json
from coldcred.cli.speech import ACCEPTED, REFUSED, Misuse, clean, put, tell, utc
from coldcred.errors import LogReason, LogRejected, Malformed, Reason, Rejected
from coldcred.trust import TrustStore

if TYPE_CHECKING:
    from coldcred.cli import Nouns
    from coldcred.log.export import Anchor, Report
    from coldcred.log.signing import LoggedKey

INTACT, NOT_INTACT, SIGNER_UNKNOWN = "intact", "not-intact", "signer-unknown"

_FACTS = (
    "appliance", "name", "single_operator", "log_key", "entries", "root", "first_time", "last_time",
    "counts", "outcomes", "open_intents", "keys", "kept", "newer",
)  # fmt: skip
"""What the JSON says of an intact log; null where there is none."""

_CARRY_AGAIN = "Carry the export over again; if it stays so, ask the appliance for a new one and keep both."
_INVESTIGATE = "Keep this file and ask for an investigation: whoever wrote it could write the log."
_COMPARE = "Compare this export with older ones and with kept checkpoints: history was rewritten or taken back."
_OTHER_KEY = "Check that the key is this log's, and that it reached you on another way than the export."

LOG_ADVICE: Mapping[LogReason, str] = MappingProxyType(
    {
        LogReason.MALFORMED: _CARRY_AGAIN,
        LogReason.TOO_LARGE: _CARRY_AGAIN,
        LogReason.WRONG_SEQUENCE: _COMPARE,
        LogReason.BROKEN_CHAIN: _COMPARE,
        LogReason.TIME_WENT_BACK: _INVESTIGATE,
        LogReason.WRONG_ROOT: _COMPARE,
        LogReason.BAD_PROOF: _COMPARE,
        LogReason.BAD_CHECKPOINT: _COMPARE,
        LogReason.UNKNOWN_SIGNER: _OTHER_KEY,
        LogReason.BAD_COMMAND: _INVESTIGATE,
        LogReason.TOO_FEW_PEOPLE: _INVESTIGATE,
        LogReason.WRONG_KEY: _INVESTIGATE,
        LogReason.MISSING_BLOB: _INVESTIGATE,
        LogReason.INCOMPLETE: _CARRY_AGAIN,
    }
)
"""What to do when a log is refused for a reason."""


def add_parser(nouns: "Nouns") -> None:
    """Add `log` and its verb."""
    noun = nouns.add_parser("log", help="verify an exported log", allow_abbrev=False)
    verbs = noun.add_subparsers(required=True, metavar="VERB")
    parser = verbs.add_parser("verify", help="verify an export, without trusting the appliance", allow_abbrev=False)
    parser.add_argument("export", metavar="EXPORT", help="the exported log")
    anchor = parser.add_mutually_exclusive_group()
    anchor.add_argument("--trust", metavar="DIR", help="a trust store, which knows the log's key")
    anchor.add_argument("--log-key", metavar="VKEY", help="the log's verifier key, as it reached you otherwise")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="FILE",
        help="a checkpoint that was kept, an older export or a bundle that holds one, a site's evidence; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="write the verdict as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify one export and say what it is."""
    from coldcred.log.export import verify  # noqa: PLC0415 - verifying a credential needs none of it

    report: Report | None = None
    refusal: LogRejected | Rejected | None = None
    try:
        anchor = _anchor(args)
        with _opened(args.export) as stream:
            report = verify(stream, anchor, [kept for name in args.checkpoint for kept in _kept(name)])
    except (LogRejected, Rejected) as error:
        refusal = error
    if args.json:
        put(json.dumps(_document(report, refusal)))
    elif report is not None:
        put("\n".join(clean(line) for line in _lines(report)))
    return _say(report, refusal)


def _anchor(args: argparse.Namespace) -> "Anchor | None":
    """Give what stands outside the export: the key that was named, or what the trust store knows of the log."""
    from coldcred.log.export import Anchor  # noqa: PLC0415 - as above
    from coldcred.log.note import VerifierKey  # noqa: PLC0415 - as above

    if args.log_key is not None:
        try:
            return Anchor(VerifierKey.parse(args.log_key))
        except Malformed as error:
            raise Misuse(f"--log-key: {error}") from error
    if args.trust is None:
        return None
    store, earlier = TrustStore.open_whole(args.trust)
    try:
        key = VerifierKey.parse(store.identity.log_vkey)
    except Malformed as error:
        raise Rejected(Reason.TRUST_DAMAGED, f"the log key it holds: {error}") from error
    return Anchor(key, store.identity.appliance, store.checkpoint, earlier)


def _kept(name: str) -> list[tuple[str, bytes]]:
    """Give the checkpoints in a file, each with a name for people."""
    from coldcred.log.export import find_checkpoints  # noqa: PLC0415 - as above

    with _opened(name) as stream:
        try:
            return [(f"{name}{what}", note) for what, note in find_checkpoints(stream)]
        except Malformed as error:
            raise LogRejected(LogReason.BAD_CHECKPOINT, f"{name}: {error}") from error


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    """Open a file that can be read in any order; `Misuse` where there is none."""
    try:
        stream = open(name, "rb")  # noqa: PTH123, SIM115 - a name as the person typed it; closed below
    except OSError as error:
        raise Misuse(f"{name} cannot be read: {os.strerror(error.errno or 0)}") from error
    except ValueError as error:
        raise Misuse(f"{name!a} is not a file name") from error
    with stream:
        if not stream.seekable():
            raise Misuse(f"{name} is not a plain file")
        yield stream


def _verdict(report: "Report | None", refusal: LogRejected | Rejected | None) -> str:
    if isinstance(refusal, Rejected) or (report is not None and not report.anchored):
        return SIGNER_UNKNOWN
    return NOT_INTACT if report is None else INTACT


def _document(report: "Report | None", refusal: LogRejected | Rejected | None) -> dict[str, Json]:
    verdict = _verdict(report, refusal)
    reason: str | None = LogReason.UNKNOWN_SIGNER.value if verdict == SIGNER_UNKNOWN else None
    facts: dict[str, Json] = dict.fromkeys(_FACTS) if report is None else _facts(report)
    return {
        "verdict": verdict,
        "reason": refusal.reason.value if refusal else reason,
        "seq": refusal.seq if isinstance(refusal, LogRejected) else None,
        "detail": clean(refusal.detail) if refusal else None,
        **facts,
    }


def _facts(report: "Report") -> dict[str, Json]:
    values: tuple[Json, ...] = (
        report.appliance,
        report.name,
        report.single_operator,
        report.log_key,
        report.entries,
        report.root,
        utc(report.first_time),
        utc(report.last_time),
        dict(sorted(report.counts.items())),
        dict(sorted(report.outcomes.items())),
        [*report.open_intents],
        [_key(key) for key in report.keys],
        [*report.kept],
        report.newer,
    )
    return dict(zip(_FACTS, values, strict=True))


def _key(key: "LoggedKey") -> Json:
    return {
        "name": key.name,
        "kid": key.public.thumbprint,
        "purpose": key.charter.purpose.value,
        "nbf": utc(key.not_before),
        "exp": utc(key.not_after),
    }


def _lines(report: "Report") -> Iterator[str]:
    verdict = "intact" if report.anchored else "self-consistent, signer unknown"
    yield f"{verdict}: {report.entries} entries of appliance {report.name}"
    yield f"  appliance  {report.appliance}"
    if report.single_operator:
        yield "  people     SINGLE OPERATOR: founded by one person, who can do everything alone"
    yield f"  times      {utc(report.first_time)} to {utc(report.last_time)}"
    yield f"  root       {report.root}"
    yield f"  log key    {report.log_key}"
    for key in report.keys:
        span = f"{utc(key.not_before)} to {utc(key.not_after)}"
        yield f"  key        {key.name}: {key.public.thumbprint} for {key.charter.purpose}, {span}"
    for kind, count in sorted(report.counts.items()):
        yield f"  {count:>9}  {kind}"
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(report.outcomes.items()))
    yield f"  outcomes   {outcomes or 'none'}, {len(report.open_intents)} still open at the end"
    for size in report.kept:
        yield f"  grown from the checkpoint over {size} entries that was kept outside"


def _say(report: "Report | None", refusal: LogRejected | Rejected | None) -> int:
    """Say on standard error what the verdict asks for, and give the exit code."""
    if isinstance(refusal, LogRejected):
        where = "" if refusal.seq is None else f" at entry {refusal.seq}"
        tell(f"not intact ({refusal.reason}{where}): {refusal.detail}. {LOG_ADVICE[refusal.reason]}")
    elif refusal is not None:
        tell(
            f"signer unknown ({refusal.reason}): {refusal.detail}. Name a trust store, or the log's key with --log-key."
        )
    elif report is not None and not report.anchored:
        tell("who signed this log is not known: name a trust store with --trust, or the log's key with --log-key.")
    elif report is not None and report.newer is not None:
        tell(f"the trust store knows this log with {report.newer} entries: this is an older export.")
    return ACCEPTED if _verdict(report, refusal) == INTACT else REFUSED
