"""From whatever ended a run to an exit code and words for people: the one guard, so that no traceback is ever shown."""

import json
import traceback

import click

from appliance.cli.exits import Exit
from appliance.cli.messages import MESSAGES
from appliance.cli.output import clean
from appliance.errors import Refused
from appliance.rules import rule_of
from coldcred.errors import LogRejected

_HSM = frozenset(
    {
        "module-missing", "token-missing", "token-ambiguous", "token-exists", "pin-missing", "pin-incorrect",
        "pin-locked", "pin-unusable", "key-missing", "key-ambiguous", "key-exists", "key-exposed", "key-mismatch",
        "key-remains", "mechanism-missing", "charter-refused", "signature-wrong", "worker-lost", "worker-timeout",
        "token-fault", "foreign-object", "hsm-fault", "hsm-content", "pin-delayed",
        "card-module", "card-missing", "card-ambiguous", "card-wrong-pin", "card-pin-locked", "card-no-key",
        "card-many-keys", "card-has-key", "card-key-exposed", "card-of-appliance", "card-unable", "card-refused",
        "card-damaged", "card-lost", "card-fault",
    }
)  # fmt: skip
_STORAGE = frozenset(
    {
        "home-missing", "home-version", "home-in-use", "home-unreadable", "home-read-only", "settings-invalid",
        "founding-invalid", "other-home", "log-damaged", "disk-full", "storage-fault", "clock-behind-log",
        "clock-fault", "socket-in-use", "not-serving", "connection-lost", "not-understood", "file",
        "log-rejected", "tables-differ", "defect", "output-lost", "disk-reserve",
    }
)  # fmt: skip
_MISUSE = frozenset({"misuse", "output-unfit", "identity-missing", "no-terminal", "secret-descriptor", "card-uri"})


def exit_of(name: str) -> Exit:
    """Give the exit code for the id of what happened; what is in no list is a refusal."""
    if name in _HSM:
        return Exit.HSM
    if name in _STORAGE:
        return Exit.STORAGE
    if name in _MISUSE:
        return Exit.MISUSE
    return Exit.INTERRUPTED if name == "interrupted" else Exit.REFUSED


def report(error: BaseException, *, as_json: bool) -> Exit:
    """Say what ended the run, and give its exit code."""
    name, detail = describe(error)
    return explain(name, detail, rule_of(error) if isinstance(error, Refused) else None, as_json=as_json)


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
        return name, str(getattr(error, "detail", None) or error)
    if isinstance(error, OSError):
        return "file", f"{error.filename or 'standard output'}: {error.strerror or type(error).__name__}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return "unexpected", f"{type(error).__name__}{place}"


def explain(name: str, detail: str, rule: str | None = None, *, as_json: bool) -> Exit:
    """Say what happened, why, by which rule if by one, what state that leaves and what to do next.

    `name` is an id of `MESSAGES`.
    """
    message, code = MESSAGES[name], exit_of(name)
    if as_json:
        members = {
            "error": name,
            "detail": clean(detail),
            "rule": None if rule is None else clean(rule),
            "what": message.what,
            "state": message.state,
            "next": message.next,
            "exit": int(code),
        }
        click.echo(json.dumps(members, sort_keys=True))
    click.echo(f"coldcredctl: {message.what} ({name})", err=True)
    for label, text in (("why", detail), ("rule", rule), ("state", message.state), ("next", message.next)):
        if text is not None:
            click.echo(f"  {label:6}{clean(text)}", err=True)
    return code
