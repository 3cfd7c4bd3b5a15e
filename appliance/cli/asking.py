"""How every act is asked for: sign a command or take up the one signed before, send it, keep what comes back.

A command that waits for other people is kept as a request file. Running the same line again with that file sends the
same command again, which tells how it stands, and completes it once it has its people; it is never carried out twice.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import click

from appliance.cli import consequences, failures, output, previews, reading
from appliance.cli.carried import read_document, read_request
from appliance.cli.exits import Exit
from appliance.cli.grammar import Duration
from appliance.cli.messages import MESSAGES
from appliance.cli.places import InputPath, RequestPath
from appliance.cli.session import Session
from appliance.client import Client, ClientError
from appliance.outcome import SHORT_ID, Outcome, State
from appliance.signing import COMMAND_LIFE
from coldcred import streams
from coldcred.acts import Act
from coldcred.canonical import Json, loads
from coldcred.command import document_id
from coldcred.files import FileKind, write_file
from coldcred.jose import parse_unverified
from coldcred.record import Record
from coldcred.rendering import whole
from coldcred.requests import RequestFile
from coldcred.terms import Terms

_Function = TypeVar("_Function", bound=Callable[..., Any])

_NO_TEXT = b"\xff"  # what comes in pages is put in a file

_GIVES: Mapping[str, str] = MappingProxyType(
    {Act.CREDENTIAL_ISSUE: "token", Act.BUNDLE_CREATE: "bundle", Act.LOG_EXPORT: "export"}
)
"""The acts that give a file, and its name."""

_KINDS: Mapping[str, FileKind] = MappingProxyType({"token": FileKind.CREDENTIAL})
"""Files that are more than given."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a command is asked for: where its request file is, approvals brought along, and its life in seconds.

    With `yes` nobody is asked at the terminal whether to send it.
    """

    request: Path | None
    approvals: tuple[Path, ...]
    valid_for: int
    yes: bool = True


def asks(function: _Function) -> _Function:
    """Give a verb the options that every act has; they arrive as `request`, `approval` and `valid_for`."""
    for option in (
        click.option(
            "--valid-for", type=Duration(), default=f"{COMMAND_LIFE // 3600}h", show_default=True,
            help="How long the request may be carried out.",
        ),
        click.option(
            "--approval", type=InputPath(), multiple=True,
            help="An approval that somebody signed elsewhere; may be repeated.",
        ),
        click.option(
            "--request", type=RequestPath(),
            help="The request file: written when the request waits, asked after and completed when it is there.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


@dataclass(frozen=True)
class Asking:
    """One act to be asked for; `paths` says where the files of the outcome go (none: to standard output).

    `unsaid` names arguments that nobody gave, so that a request from another day is still the same one. `also` is told
    with the outcome when the act is done; `lines` gives the text for people in place of files and result.
    """

    act: Act
    args: dict[str, Json]
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    paths: Mapping[str, Path | None] = field(default_factory=dict)
    unsaid: frozenset[str] = frozenset()
    also: Mapping[str, Json] = field(default_factory=dict)
    lines: Callable[[Outcome], list[str]] | None = None


def ask(session: Session, asking: Asking, manner: Manner) -> Exit:
    """Ask for an act and say what became of it; the exit code is 0 done, 3 waiting, or that of the refusal."""
    check_places(asking.paths)
    approvals = [read_document(path) for path in manner.approvals]
    again = manner.request is not None and manner.request.exists()
    preview: Mapping[str, Json] = {}
    client = session.client(signs=not again)
    if again and manner.request is not None:
        command = read_request(manner.request).token
        _same_act(command, asking, manner.request)
    else:
        asks_first = not manner.yes and streams.is_terminal(sys.stdin)
        preview = previews.shown(client, asking.act, asking.args, asking.attachments, show=not asks_first)
        if asks_first and preview:
            _agree(client, asking, preview)
        command = client.command(asking.act, asking.args, manner.valid_for)
    outcome = complete(session, client, client.send(command, asking.attachments, approvals))
    if outcome.state in {State.WAITING, State.READY}:
        return waits(outcome, RequestFile(command, asking.attachments), manner.request, preview)
    lines = asking.lines or (_plain if preview else None)
    return conclude(outcome, asking.paths, {**asking.also, **preview}, lines)


def _agree(client: Client, asking: Asking, preview: Mapping[str, Json]) -> None:
    """Show whoever asks what an approver will be shown, and ask before it is signed, where they are at a terminal."""
    act, args, beside = asking.act, asking.args, asking.attachments
    terms = Terms.read(Record.of(client.read("terms"), "terms"))
    lines = [*whole.asked(act, args), *whole.attached(act, args, beside)]
    lines += [*consequences.changes(act, args, beside, terms), *consequences.effect(lambda: preview["preview"])]
    reading.agree(lines, "sign and send this request?")


def complete(session: Session, client: Client, outcome: Outcome) -> Outcome:
    """Complete a request that has its people, where whoever runs this named a key; gives what became of it."""
    if outcome.state is not State.READY or not session.is_somebody:
        return outcome
    client.identity = session.identity()
    return client.complete(outcome.command)


def _plain(outcome: Outcome) -> list[str]:
    """Give the text of an outcome whose preview was shown already."""
    return output.facts(outcome.result)


def conclude(
    outcome: Outcome,
    paths: Mapping[str, Path | None] | None = None,
    also: Mapping[str, Json] | None = None,
    lines_of: Callable[[Outcome], list[str]] | None = None,
) -> Exit:
    """Say what became of a command that was decided; its files go where `paths` says, `also` is told with it.

    `lines_of` gives the text for people where files or result alone would not do.
    """
    paths, also = paths or {}, also or {}
    if outcome.state is State.REFUSED:
        return failures.explain(_reason(outcome), outcome.detail or "", outcome.rule, as_json=output.wants_json())
    given = outcome.given
    if lost := [name for name in paths if name not in given]:
        detail = f"request {outcome.command[:SHORT_ID]} gave its {lost[0]} when it was carried out"
        return failures.explain("told-once", detail, as_json=output.wants_json())
    places = {name: _place_of(outcome, name, paths.get(name)) for name in given}
    written: dict[str, Json] = {}
    for name, body in given.items():
        if (path := places[name]) is not None:
            try:
                write_file(path, body, _KINDS.get(name, FileKind.GIVEN))
            except OSError as error:
                return failures.lost(outcome, f"{path}: {error.strerror}", as_json=output.wants_json())
            except ClientError as error:
                fault = f"{path}: {error.detail}; nothing was written there"
                return failures.lost(outcome, fault, as_json=output.wants_json())
            output.talk(f"wrote {path}")
            written[name] = str(path)
        else:
            written[name] = outcome.files[name].decode("ascii")
    output.warn(outcome.warnings)
    told = [outcome.files[name].decode("ascii") for name in outcome.files if places[name] is None]
    if lines_of is not None:
        told = lines_of(outcome)
    lines = told or output.facts({**outcome.result, **also}) or [f"{outcome.act} done"]
    try:
        output.data({**summary(outcome), **also, "files": written}, lines)
    except OSError as error:
        if all(places[name] is not None for name in paths):
            raise
        return failures.lost(outcome, f"standard output: {error.strerror}", as_json=False)
    return Exit.DONE


def _place_of(outcome: Outcome, name: str, path: Path | None) -> Path | None:
    """Say where a file goes: what is given once and is no text gets a name of its own, where nobody named a path."""
    if path is None and not outcome.files.get(name, _NO_TEXT).isascii():
        return Path(f"{name}-{outcome.command[:SHORT_ID]}")
    return path


def check_places(paths: Mapping[str, Path | None]) -> None:
    """See that there is a place for what an act gives, before it is asked for; a file's was looked at already."""
    for name, path in paths.items():
        if path is None and sys.stdout is None:
            raise click.UsageError(f"standard output is closed; give --out FILE for the {name}, which is given once")


def paths_given(act: str, out: Path | None) -> dict[str, Path | None]:
    """Say that what an act gives, if it gives a file, goes to `out`."""
    return {_GIVES[act]: out} if act in _GIVES else {}


def summary(outcome: Outcome) -> dict[str, Json]:
    """Give an outcome without its files."""
    members = outcome.as_json()
    del members["files"]
    return members


def request_id(command: str) -> str:
    """Give the id of a signed command."""
    return document_id(parse_unverified(command))


def _same_act(command: str, asking: Asking, path: Path) -> None:
    claims = Record.of(loads(parse_unverified(command).payload), "request")
    found, asked = claims.record("args").members(), dict(asking.args)
    for name in asking.unsaid:
        found.pop(name, None)
        asked.pop(name, None)
    if claims.text("act") != asking.act or found != asked:
        raise click.UsageError(f"{path} holds another request than this line asks for; name another --request")


def waits(outcome: Outcome, request: RequestFile, path: Path | None, also: Mapping[str, Json] | None = None) -> Exit:
    """Keep the request for those who approve it, with what they cannot read at the appliance; say what happens next."""
    id_ = outcome.command[:SHORT_ID]
    output.warn(outcome.warnings)
    if outcome.warnings:
        output.talk(f"give it up with `coldcredctl --as THEIR-KEY request withdraw {id_}`, before others sign for it")
    path = path or Path(f"request-{id_}.jws")
    people = ", ".join(outcome.have) or "nobody"
    try:
        if not path.exists():
            body = request.write() if request.attachments else f"{request.token}\n".encode()
            write_file(path, body, FileKind.DOCUMENT)
    except OSError as error:
        return _waits_there(outcome, f"{path} cannot be written: {error.strerror}", also)
    if outcome.state is State.READY:
        output.talk(f"ready: {people} signed for {outcome.act} (request {id_}); only its requester completes it")
        output.talk(f"next: its requester runs this line again with --as THEIR-KEY and --request {path}")
    else:
        output.talk(f"waiting: {outcome.act} takes {outcome.need} people, so far {people} (request {id_})")
        key = "THEIR-CUSTODIAN-KEY" if outcome.act == Act.OPERATOR_RECOVER else "THEIR-KEY"
        output.talk(f"next: another person runs `coldcredctl --as {key} approve {path}`")
        if outcome.act == Act.CREDENTIAL_ISSUE:
            output.talk(f"then run the same line again with --request {path}")
    output.data({**summary(outcome), **(also or {}), "request": str(path)}, [str(path)])
    return Exit.WAITING


def _waits_there(outcome: Outcome, fault: str, also: Mapping[str, Json] | None) -> Exit:
    """Say that a request waits although its file could not be kept here: the appliance has it, and gives it again."""
    id_ = outcome.command[:SHORT_ID]
    output.talk(f"{outcome.state}: {outcome.act} takes {outcome.need} people (request {id_}); {fault}")
    output.talk(f"it stands in the appliance; do not ask anew. next: `coldcredctl request export {id_} --out FILE`")
    output.data({**summary(outcome), **(also or {}), "request": None}, [outcome.command])
    return Exit.WAITING


def _reason(outcome: Outcome) -> str:
    """Give the refusal's id; one this program has no words for is shown as `malformed`, its detail saying the rest."""
    return outcome.reason if outcome.reason and outcome.reason in MESSAGES else "malformed"
