"""`issue --requests`: thousands of credentials by one command, and what was cut short taken up again.

While a batch runs its outcomes are kept beside the file that they end in. The same line again resumes: it tells the
appliance what is held there, durably, and the appliance revokes and issues anew whatever never arrived.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path

import click

from appliance.cli import asking, output
from appliance.cli.asking import Manner
from appliance.cli.carried import read_document, read_request
from appliance.cli.exits import Exit
from appliance.cli.places import PARTIAL
from appliance.cli.session import Session
from appliance.client import Client
from appliance.outcome import Outcome, State
from coldcred import streams
from coldcred.acts import Act
from coldcred.batch import MAX_FILE, MAX_SITTINGS, BatchArguments, Manifest, write_held
from coldcred.canonical import Json, sha256_hex
from coldcred.errors import Malformed
from coldcred.files import FileKind, check_place, write_file
from coldcred.requests import RequestFile


@dataclass
class Partial:
    """What is held of a batch: outcomes by line, and the commands that asked for them; the file that keeps it."""

    path: Path
    items: str
    sittings: list[str] = field(default_factory=list)
    outcomes: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, items: str) -> "Partial":
        """Read what an earlier run kept at `path` for the file with SHA-256 `items`; `Malformed` where it is another's.

        The end of a line that a crash cut short is passed over.
        """
        partial = cls(path, items)
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return partial
        for line in text.split(b"\n")[:-1]:
            partial.take(line)
        return partial

    def take(self, line: bytes) -> None:
        """Take one whole line: an outcome, or the beginning of a sitting."""
        try:
            found = json.loads(line)
            if "batch" in found:
                if found["items"] != self.items:
                    raise Malformed(f"{self.path} holds outcomes of another file of requests; move it away")
                self.sittings.append(str(found["batch"]))
            else:
                self.outcomes[int(found["line"])] = line
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f"{self.path} holds a line that is no outcome; move it away") from error

    def begin(self, command: str, file: RawIOBase) -> None:
        """Note that a sitting begins, before anything can be issued by its command."""
        if command not in self.sittings:
            file.write(json.dumps({"batch": command, "items": self.items}).encode() + b"\n")
            self.sittings.append(command)

    def forget(self, command: str) -> None:
        """Take back that a sitting began, where it was the last to: nothing was issued by its command."""
        if self.sittings[-1:] != [command]:
            return
        self.sittings.pop()
        text = self.path.read_bytes()
        kept = text[: text.rfind(b"\n", 0, -1) + 1]
        if kept:
            os.truncate(self.path, len(kept))
        else:
            self.path.unlink()

    def held(self) -> dict[int, str]:
        """Give the jti of each credential that is held, by line."""
        issued = {line: json.loads(text) for line, text in self.outcomes.items() if b'"token":' in text}
        return {line: str(found["jti"]) for line, found in issued.items()}


def issue_batch(session: Session, requests: Path, out: Path, manner: Manner) -> Exit:
    """Issue what every line of `requests` asks for and write one outcome a line to `out`."""
    with requests.open("rb") as opened:
        body = opened.read(MAX_FILE + 1)
    items = Manifest.of(body)
    if items.count == 0:
        raise click.UsageError(f"{requests} has no line")
    check_place(out, FileKind.OUTCOMES)
    partial = Partial.open(out.with_name(f"{out.name}{PARTIAL}"), items.sha256)
    client = session.client(signs=True)
    waiting = _waiting(partial, manner.request)
    command, attachments = _command(client, partial, items, body, waiting, manner)
    approvals = [read_document(path) for path in manner.approvals]
    sitting = asking.request_id(command)

    def send(token: str, attachments: Mapping[str, bytes], approvals: Sequence[str]) -> Outcome:
        with _keeping(partial, sitting) as file, _progress(items.count, len(partial.held())) as bar:

            def take(lines: bytes) -> None:
                file.write(lines)
                for line in lines.splitlines():
                    partial.take(line)
                bar.update(lines.count(b"\n"))

            return client.batch(token, attachments, approvals, take)

    if waiting is None:
        outcome = send(command, attachments, approvals)
    else:
        # It tells how the request stands and issues nothing, so no sitting begins.
        outcome = client.batch(command, attachments, approvals, lambda _lines: None)
    if outcome.state is State.READY:
        outcome = send(client.command(Act.REQUEST_COMPLETE, {"request": sitting}), {}, ())
    if outcome.state is State.WAITING or outcome.command != sitting:
        partial.forget(sitting)
    if outcome.state is State.WAITING:
        stale = waiting is None and manner.request is not None and manner.request.exists()
        return asking.waits(outcome, RequestFile(command), None if stale else manner.request)
    if outcome.state is State.REFUSED:
        if partial.outcomes:
            held = f"{len(partial.held())} of {items.count} are held in {partial.path}"
            output.talk(f"{held}; the same line again resumes the batch")
        return asking.conclude(outcome)
    return _done(outcome, partial, items, out)


def _waiting(partial: Partial, request: Path | None) -> str | None:
    """Give the command that waits for people, from its file; one that began a sitting of this batch waits no more."""
    if request is None or not request.exists():
        return None
    command = read_request(request).token
    return None if asking.request_id(command) in partial.sittings else command


def _command(
    client: Client, partial: Partial, items: Manifest, body: bytes, waiting: str | None, manner: Manner
) -> tuple[str, dict[str, bytes]]:
    """Sign the command, or take up the one that waited, with the files that travel beside it."""
    attachments = {items.sha256: body}
    arguments = BatchArguments(items)
    if len(partial.sittings) > MAX_SITTINGS:
        detail = f"was cut short {MAX_SITTINGS} times, and no command resumes more; what it holds stays good"
        raise click.UsageError(f"{partial.path} {detail}. Ask for the other lines in a file of their own")
    if partial.sittings:
        held = write_held(partial.held())
        attachments[sha256_hex(held)] = held
        arguments = BatchArguments(items, tuple(partial.sittings), Manifest.of(held))
    if waiting is not None:
        return waiting, attachments
    return client.command(Act.CREDENTIAL_ISSUE, arguments.as_json(), manner.valid_for), attachments


@contextmanager
def _keeping(partial: Partial, command: str) -> Iterator[RawIOBase]:
    """Open the file of outcomes for one sitting, said at its beginning; what was written is durable at the end."""
    descriptor = os.open(partial.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab", buffering=0) as file:
        if file.tell() and partial.path.read_bytes()[-1:] != b"\n":
            os.truncate(partial.path, partial.path.read_bytes().rfind(b"\n") + 1)
        partial.begin(command, file)
        os.fsync(descriptor)
        try:
            yield file
        finally:
            os.fsync(descriptor)


@contextmanager
def _progress(count: int, held: int) -> Iterator["click._termui_impl.ProgressBar[int]"]:
    """Show how far a batch came, on a terminal; elsewhere nothing moves."""
    hidden = not streams.is_terminal(sys.stderr)
    with click.progressbar(length=count, label="issuing", file=sys.stderr, hidden=hidden) as bar:
        bar.update(held)
        yield bar


def _done(outcome: Outcome, partial: Partial, items: Manifest, out: Path) -> Exit:
    """Put the outcomes in the order of the lines where they belong, and say how many there are of which."""
    missing = [line for line in range(1, items.count + 1) if line not in partial.outcomes]
    if missing:
        output.talk(f"line {missing[0]} and {len(missing) - 1} more did not arrive; the same line again asks for them")
        return Exit.REFUSED
    write_file(out, b"".join(partial.outcomes[line] + b"\n" for line in sorted(partial.outcomes)), FileKind.OUTCOMES)
    partial.path.unlink()
    issued = len(partial.held())
    refused = items.count - issued
    facts: dict[str, Json] = {"issued": issued, "refused": refused, "out": str(out)}
    output.data({**asking.summary(outcome), **facts}, output.facts(facts))
    if refused:
        output.talk(f"{refused} lines were refused; each says why in {out}")
        return Exit.REFUSED
    return Exit.DONE
