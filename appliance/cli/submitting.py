"""`submit`: carry in a command or an approval that somebody, or some machine, signed elsewhere."""

from pathlib import Path

import click

from appliance.cli import output
from appliance.cli.approvals import tell
from appliance.cli.asking import conclude, summary
from appliance.cli.carried import read_document, read_request
from appliance.cli.exits import Exit
from appliance.cli.grammar import Verb
from appliance.cli.session import Session
from appliance.outcome import State
from coldcred.acts import Act
from coldcred.canonical import loads
from coldcred.errors import Malformed
from coldcred.jose import Typ, parse_unverified
from coldcred.record import Record
from coldcred.requests import read_act

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
    """Send what somebody, or some machine, signed elsewhere: a command, a request file or an approval."""
    request = read_request(file, beside)
    typ, act = _typ_and_act(file, request.token)
    client = session.client(signs=False)
    if typ is Typ.APPROVAL:
        return tell(client.transport.approval(request.token))
    if out is not None:
        output.check_writable(out)
    approvals = [read_document(path) for path in carried]
    outcome = client.send(request.token, request.attachments, approvals)
    if outcome.state not in {State.WAITING, State.READY}:
        return conclude(outcome, {_GIVES[act]: out} if act in _GIVES else {})
    people = ", ".join(outcome.have) or "nobody"
    output.talk(f"waiting: {outcome.act} takes {outcome.need} people, so far {people}")
    output.talk(f"next: somebody runs `coldcredctl --as THEIR-KEY approve {file}`, then this line is run again")
    output.data(summary(outcome), [outcome.state.value])
    return Exit.WAITING


def _typ_and_act(file: Path, token: str) -> tuple[Typ, Act | None]:
    """Say what a document is, and what a command asks for; the appliance checks its signature."""
    jws = parse_unverified(token)
    if jws.header.typ == Typ.APPROVAL:
        return Typ.APPROVAL, None
    if jws.header.typ != Typ.COMMAND:
        raise Malformed(f"{file}: a {jws.header.typ[:48]!a} where a command or an approval belongs")
    act = Record.of(loads(jws.payload), "command").text("act")
    try:
        return Typ.COMMAND, read_act(act)
    except Malformed as error:
        raise Malformed(f"{file}: {error}") from error
