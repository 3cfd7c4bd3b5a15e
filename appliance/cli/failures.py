"""From whatever ended a run to an exit code and words for people: the one guard, so that no traceback is ever shown."""

import errno
import json
import sys
import traceback
from contextlib import suppress

import click

from appliance.cli.course import Course
from appliance.cli.exits import Exit
from appliance.cli.messages import MESSAGES
from appliance.cli.output import clean
from appliance.errors import Refused
from appliance.outcome import SHORT_ID, Outcome, State
from appliance.rules import rule_of
from coldcred import streams
from coldcred.errors import LogRejected

_HSM = frozenset(
    {
        "module-missing", "token-missing", "token-ambiguous", "token-exists", "pin-missing", "pin-incorrect",
        "pin-locked", "pin-unusable", "key-missing", "key-ambiguous", "key-exists", "key-exposed", "key-mismatch",
        "key-remains", "mechanism-missing", "charter-refused", "signature-wrong", "worker-lost", "worker-timeout",
        "token-fault", "foreign-object", "hsm-fault", "hsm-content", "pin-delayed", "head-refused",
        "card-module", "card-module-open", "card-module-new",
        "card-missing", "card-ambiguous", "card-wrong-pin", "card-pin-locked", "card-no-key",
        "card-many-keys", "card-has-key", "card-key-exposed", "card-of-appliance", "card-unable", "card-refused",
        "card-damaged", "card-lost", "card-fault", "key-unfit", "card-key-unfit",
    }
)  # fmt: skip
_STORAGE = frozenset(
    {
        "home-missing", "home-version", "home-in-use", "home-unreadable", "home-read-only", "settings-invalid",
        "module-open",
        "founding-invalid", "other-home", "log-damaged", "disk-full", "storage-fault", "clock-behind-log",
        "clock-fault", "socket-in-use", "home-behind-token", "not-serving", "connection-lost", "not-understood", "file",
        "log-rejected", "tables-differ", "defect", "output-lost", "report-lost", "outcome-unknown", "disk-reserve",
    }
)  # fmt: skip
_MISUSE = frozenset({"misuse", "identity-missing", "no-terminal", "secret-descriptor", "card-uri"})


def exit_of(name: str) -> Exit:
    """Give the exit code for the id of what happened; what is in no list is a refusal."""
    if name in _HSM:
        return Exit.HSM
    if name in _STORAGE:
        return Exit.STORAGE
    if name in _MISUSE:
        return Exit.MISUSE
    return Exit.INTERRUPTED if name in {"interrupted", "interrupted-unknown"} else Exit.REFUSED


def report(error: BaseException, course: Course, *, as_json: bool) -> Exit:
    """Say what ended the run, in the light of what it had come to, and give its exit code."""
    name, detail = describe(error)
    if _is_of_streams(error):
        streams.give_up(sys.stdout, _STANDARD_OUTPUT)
        if course.sent is None and isinstance(error, BrokenPipeError):
            return Exit.STORAGE  # whoever read has what they wanted, as in `log show | head`
    if course.sent is not None and name in _SAYS_NOTHING_OF_THE_STATE:
        return _after_sending(name, detail, course, as_json=as_json)
    return explain(name, detail, rule_of(error) if isinstance(error, Refused) else None, as_json=as_json)


_STANDARD_OUTPUT = 1
_SAYS_NOTHING_OF_THE_STATE = frozenset({"file", "interrupted", "unexpected", "connection-lost", "not-understood"})


def _is_of_streams(error: BaseException) -> bool:
    """Whether it was standard output that failed; errors of files name the file."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _OF_STREAMS


_OF_STREAMS = frozenset({errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT})


def _after_sending(name: str, detail: str, course: Course, *, as_json: bool) -> Exit:
    """Say how a command stands whose run ended before that could be said."""
    outcome, about = course.outcome, (course.sent or "")[:SHORT_ID]
    asks = f"`coldcredctl why {about}` tells what became of it; a batch goes on by the same line again"
    if outcome is None:
        unknown = {"interrupted": "interrupted-unknown", "connection-lost": name, "not-understood": name}.get(
            name, "outcome-unknown"
        )
        return explain(unknown, f"{detail}; command {about} had been sent", as_json=as_json, advice=asks)
    if outcome.state in {State.WAITING, State.READY}:
        explain("report-lost", f"{detail}; request {about} stands as {outcome.state}", as_json=as_json, advice=asks)
        return Exit.WAITING
    if outcome.given and name == "interrupted":
        return lost(outcome, detail, as_json=as_json)
    return explain("report-lost", f"{detail}; {outcome.act} {about}: {outcome.state}", as_json=as_json, advice=asks)


def lost(outcome: Outcome, detail: str, *, as_json: bool) -> Exit:
    """Say that what an act gives, which is given once, could not be kept: what it was, and how to go on without it."""
    jti = outcome.result.get("jti")
    if isinstance(jti, str):
        advice = f"`coldcredctl revoke {jti} --reason lost`, since nobody holds it; make room and ask anew"
        return explain("output-lost", f"{detail}; credential {jti} is lost", as_json=as_json, advice=advice)
    what = " and ".join(sorted(outcome.given))
    advice = "make room and run the same line again; it makes the next one"
    return explain("output-lost", f"{detail}; the {what} is lost", as_json=as_json, advice=advice)


def describe(error: BaseException) -> tuple[str, str]:
    """Give the id and the detail of an exception; one of an unknown type is named by its place, never by its text."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "interrupted", "stopped from the keyboard"
    if isinstance(error, click.ClickException):
        return "misuse", " ".join(error.format_message().split())
    if isinstance(error, LogRejected):
        return "log-rejected", str(error)
    name = getattr(error, "id", None)
    if isinstance(name, str) and name in MESSAGES:
        return name, _with_code(str(getattr(error, "detail", None) or error), getattr(error, "ckr", None))
    if isinstance(error, OSError):
        return "file", f"{error.filename or 'standard output'}: {error.strerror or type(error).__name__}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return "unexpected", f"{type(error).__name__}{place}"


def _with_code(detail: str, code: object) -> str:
    """Add what the PKCS#11 module answered, the one thing that its maker's support asks for."""
    return f"{detail} ({code})" if isinstance(code, str) and code not in detail else detail


def explain(name: str, detail: str, rule: str | None = None, *, as_json: bool, advice: str | None = None) -> Exit:
    """Say what happened, why, by which rule if by one, what state that leaves and what to do next.

    `name` is an id of `MESSAGES`; `advice` says what to do next where that depends on more than the id.
    """
    message, code = MESSAGES[name], exit_of(name)
    advice = message.next if advice is None else advice
    if as_json:
        members = {
            "error": name,
            "detail": clean(detail),
            "rule": None if rule is None else clean(rule),
            "what": message.what,
            "state": message.state,
            "next": clean(advice),
            "exit": int(code),
        }
        with suppress(OSError):  # it is told on standard error too, and by the exit code
            click.echo(json.dumps(members, sort_keys=True))
    streams.say(f"coldcredctl: {message.what} ({name})")
    for label, text in (("why", detail), ("rule", rule), ("state", message.state), ("next", advice)):
        if text is not None:
            streams.say(f"  {label:6}{clean(text)}")
    return code
