"""What the command says and how it reads its arguments: clean sentences, UTC times, bounded files."""

import os
import re
import stat
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from coldcred import streams
from coldcred.errors import BundleReason, Reason

ACCEPTED, REFUSED, MISUSE = 0, 1, 2
_STANDARD_OUTPUT = 1

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:Z|\+00:00)", re.ASCII)

_NEWER_BUNDLE = "Apply a newer bundle with `coldcred bundle apply`."
_NEW_CREDENTIAL = "Ask for a new credential."
_NEW_STORE = "Make a new trust store with `coldcred site init` and apply the newest bundle to it."
_LET_READ = "Set permissions right or mend the disk, and try again; the trust store itself may be good."
_CLOSE_STORE = (
    "Run this as its owner, or let all of it belong to root and be writable by nobody else (chmod -R go-w). "
    "If somebody else may have written there, make a new trust store with `coldcred site init`."
)
_FETCH_AGAIN = "Fetch the token again, whole and unchanged."
_TELL_OFFICER = "Do not use it, and tell an officer of the appliance: its keys should never have signed this."

ADVICE: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.MALFORMED: _FETCH_AGAIN,
        Reason.TOO_LARGE: "Check that the file is a token and nothing else.",
        Reason.WRONG_KIND: "Ask for the kind that it is with --kind, or present the other credential.",
        Reason.UNKNOWN_KEY: "If the key is new, apply a newer bundle; if it is old, ask for a new credential.",
        Reason.WRONG_ALGORITHM: _FETCH_AGAIN,
        Reason.BAD_SIGNATURE: _FETCH_AGAIN,
        Reason.KEY_OUT_OF_VALIDITY: _TELL_OFFICER,
        Reason.KEY_TAINTED: _NEW_CREDENTIAL,
        Reason.CHARTER_EXCEEDED: _TELL_OFFICER,
        Reason.WRONG_ISSUER: _TELL_OFFICER,
        Reason.WRONG_AUDIENCE: "Present the credential where it belongs, or ask for one for this audience.",
        Reason.SCOPE_MISSING: "Ask for a credential that has the scope.",
        Reason.EXPIRED: _NEW_CREDENTIAL,
        Reason.NOT_YET_VALID: "Compare this machine's clock with the appliance's; set it if it is late, else wait.",
        Reason.LIFETIME_TOO_LONG: _TELL_OFFICER,
        Reason.REVOKED: "Do not use it; ask whoever answers for the machine.",
        Reason.STATUS_UNAVAILABLE: "Apply a newer bundle if it is for this site; one for another is never taken here.",
        Reason.HOLDER_PROOF_MISSING: "The holder must present it together with a proof.",
        Reason.HOLDER_PROOF_INVALID: "The holder must make a new proof.",
        Reason.CLOCK_BEHIND_FLOOR: "Set this machine's clock.",
        Reason.TRUST_EXPIRED: _NEWER_BUNDLE,
        Reason.TRUST_MISSING: "Name the directory that `coldcred site init` made, and apply a bundle to it.",
        Reason.TRUST_DAMAGED: _NEW_STORE,
        Reason.TRUST_UNREADABLE: _LET_READ,
        Reason.TRUST_EXPOSED: _CLOSE_STORE,
    }
)

BUNDLE_ADVICE: Mapping[BundleReason, str] = MappingProxyType(
    {
        BundleReason.MALFORMED: "Carry the bundle over again, whole and unchanged.",
        BundleReason.TOO_LARGE: "Check that the file is a bundle.",
        BundleReason.ROOT_MISMATCH: "Compare the fingerprint of the root with the custodians', by voice or on paper.",
        BundleReason.BAD_SIGNATURE: "Do not use this file; ask the appliance for its newest bundle.",
        BundleReason.ROLLBACK: "Apply the newest bundle instead.",
        BundleReason.OTHER_SITE: "Apply it at the site that it is for.",
        BundleReason.OTHER_APPLIANCE: "A site trusts one appliance; another needs a trust store of its own.",
        BundleReason.EXPIRED: "If this machine's clock is right, ask the appliance for a newer bundle.",
        BundleReason.CLOCK_BEHIND_FLOOR: "Set this machine's clock and apply it again.",
        BundleReason.INCOMPLETE: "Carry the bundle over again, whole and unchanged.",
        BundleReason.PLAN_UNSAFE: "Do not use this file; the custodians must sign a plan that is safe.",
        BundleReason.STORE_EXISTS: "Choose another directory; what a site trusts is fixed once.",
        BundleReason.STORE_MISSING: "Name the directory that `coldcred site init` made.",
        BundleReason.STORE_DAMAGED: _NEW_STORE,
        BundleReason.STORE_UNWRITABLE: "Make room or set permissions right, then run the same command again.",
        BundleReason.FAST_FORWARD: "Do not use this file; the appliance's key may be in the wrong hands.",
        BundleReason.LOG_UNPROVEN: (
            "Carry current/targets/log/checkpoint of the trust store back; `coldcredctl bundle create --site SITE"
            " --from-checkpoint FILE --out FILE` makes a bundle that proves it, or says that it cannot."
        ),
        BundleReason.LOG_FORKED: (
            "Do not use this file: the log was rewritten, or its appliance copied. Give an auditor the evidence and an"
            " export of the log."
        ),
        BundleReason.OTHER_LOG: "Ask the custodians whether the log has a new key; it needs a trust store of its own.",
        BundleReason.STORE_UNREADABLE: _LET_READ,
        BundleReason.STORE_EXPOSED: _CLOSE_STORE,
    }
)


class Misuse(ValueError):
    """The command was called wrongly; the text says how to call it."""


class OutputLost(Exception):
    """Standard output failed; whatever was to be done had been done before. The text is the system's word for it."""


class TooLarge(Exception):
    """A file is larger than anything that could be accepted, and was not read."""


def clean(text: str) -> str:
    """Give text that cannot move a cursor or pass for something else: printable ASCII, the rest escaped.

    A backslash stands as two, so that what was typed as an escape and an escape of ours differ.
    """
    escaped = text.replace("\\", "\\\\").encode("ascii", "backslashreplace").decode("ascii")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", escaped)


def tell(sentence: str) -> None:
    """Say one thing to the person, on standard error."""
    streams.say(f"coldcred: {clean(sentence)}")


def put(text: str) -> None:
    """Write data to standard output, at once; raises `OutputLost`. One that was closed from the start takes nothing."""
    if sys.stdout is None:
        return
    try:
        print(text, flush=True)
    except OSError as error:
        streams.give_up(sys.stdout, _STANDARD_OUTPUT)
        raise OutputLost(os.strerror(error.errno or 0)) from error


def utc(time: float) -> str:
    """Write a time in Unix seconds as RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock_ahead(now: float, issued_at: int) -> str:
    """Say what time it is here and when the bundle was issued, both in Unix seconds: a clock may be wrong."""
    ahead = f"This machine's clock says {utc(now)}, and the bundle was issued at {utc(issued_at)}"
    return f"{ahead}: if the clock is ahead, set it first; no newer bundle or credential would help."


def read_time(text: str) -> float:
    """Read an RFC 3339 time in UTC as Unix seconds (`Misuse`)."""
    try:
        if not _TIME.fullmatch(text):
            raise Misuse(f"{text!a} is not a time like 2027-01-15T08:00:00Z")
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise Misuse(f"{text!a} is not a time like 2027-01-15T08:00:00Z") from error


def read_file(name: str, most: int) -> bytes:
    """Read a file of at most `most` bytes, or standard input for `-`.

    Raises `TooLarge`, before reading where the size is known, and `Misuse` when the file cannot be read.
    """
    if name == "-" and sys.stdin is None:
        raise Misuse("standard input is closed, so there is nothing to read from it")
    try:
        if name == "-":
            data = sys.stdin.buffer.read(most + 1)
        else:
            with open(name, "rb", buffering=0) as file:  # noqa: PTH123 - a name as the person typed it
                status = os.fstat(file.fileno())
                if stat.S_ISREG(status.st_mode) and status.st_size > most:
                    raise TooLarge(f"{status.st_size} bytes where at most {most} are read")
                data = _read(file.fileno(), most + 1)
    except OSError as error:
        raise Misuse(f"{name} cannot be read: {os.strerror(error.errno or 0)}") from error
    except ValueError as error:
        raise Misuse(f"{name!a} is not a file name") from error
    if len(data) > most:
        raise TooLarge(f"more than {most} bytes")
    return data


def _read(descriptor: int, most: int) -> bytes:
    parts = []
    while most > 0 and (part := os.read(descriptor, most)):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)
