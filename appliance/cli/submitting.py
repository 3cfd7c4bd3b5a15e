"""`submit`: carry in a command that somebody, or some machine, signed elsewhere."""

from pathlib import Path

import click

from appliance.cli import output
from appliance.cli.asking import conclude, read_document, summary
from appliance.cli.exits import Exit
from appliance.cli.grammar import Verb
from appliance.cli.session import Session
from appliance.outcome import State
from coldcred.acts import Act
from coldcred.canonical import loads, sha256_hex
from coldcred.errors import Malformed
from coldcred.jose import Typ, parse_unverified
from coldcred.record import Record

MAX_ATTACHMENT = 4 * 1024 * 1024

_GIVES = {Act.CREDENTIAL_ISSUE: "token", Act.BUNDLE_CREATE: "bundle", Act.LOG_EXPORT: "export"}
"""The acts that give a file, and its name."""


@click.command(cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where what it gives goes; standard output unless given.")
@click.option(
    "--approval", "carried", type=click.Path(path_type=Path), multiple=True,
    help="An approval that somebody signed elsewhere; may be repeated.",
)  # fmt: skip
@click.option(
    "--attachment", "beside", type=click.Path(path_type=Path), multiple=True,
    help="A file that the command names by its SHA-256; may be repeated.",
)  # fmt: skip
@click.pass_obj
def submit(session: Session, file: Path, out: Path | None, carried: tuple[Path, ...], beside: tuple[Path, ...]) -> Exit:
    """Send the signed command in FILE, such as a machine's request; the signature in it says who asks."""
    token = read_document(file)
    act = _act(file, token)
    if out is not None:
        output.check_writable(out)
    attachments = {sha256_hex(body): body for body in map(_read, beside)}
    approvals = [read_document(path) for path in carried]
    outcome = session.client(signs=False).send(token, attachments, approvals)
    if outcome.state not in {State.WAITING, State.READY}:
        return conclude(outcome, {_GIVES[act]: out} if act in _GIVES else {})
    people = ", ".join(outcome.have) or "nobody"
    output.talk(f"waiting: {outcome.act} takes {outcome.need} people, so far {people}")
    output.talk(f"next: somebody runs `coldcredctl --as THEIR-KEY approve {file}`, then this line is run again")
    output.data(summary(outcome), [outcome.state.value])
    return Exit.WAITING


def _act(file: Path, token: str) -> Act:
    """Say what a command asks for; the appliance checks its signature."""
    jws = parse_unverified(token)
    if jws.header.typ != Typ.COMMAND:
        raise Malformed(f"{file}: a {jws.header.typ[:48]!a} where a command belongs")
    act = Record.of(loads(jws.payload), "command").text("act")
    if act not in set(Act):
        raise Malformed(f"{file}: asks for {act[:48]!a}, which is no act")
    return Act(act)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        body = file.read(MAX_ATTACHMENT + 1)
    if len(body) > MAX_ATTACHMENT:
        raise Malformed(f"{path}: larger than {MAX_ATTACHMENT} bytes")
    return body
