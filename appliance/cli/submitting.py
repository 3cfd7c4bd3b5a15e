"""`submit`: carry in a command or an approval that somebody, or some machine, signed elsewhere."""

from pathlib import Path

import click

from appliance.cli import output
from appliance.cli.approvals import tell
from appliance.cli.asking import check_places, conclude, paths_given, summary
from appliance.cli.carried import read_document, read_request
from appliance.cli.exits import Exit
from appliance.cli.grammar import Verb
from appliance.cli.session import Session
from appliance.outcome import SHORT_ID, State
from coldcred.acts import Act
from coldcred.canonical import loads
from coldcred.errors import Malformed
from coldcred.jose import Typ, parse_unverified
from coldcred.record import Record
from coldcred.requests import read_act


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
    typ = _typ(file, request.token)
    client = session.client(signs=False)
    if typ is Typ.APPROVAL:
        return tell(client.send_approval(request.token))
    check_places(paths_given(Record.of(loads(parse_unverified(request.token).payload), "command").text("act"), out))
    approvals = [read_document(path) for path in carried]
    outcome = client.send(request.token, request.attachments, approvals)
    if outcome.state not in {State.WAITING, State.READY}:
        # What completes a request gives what the request gives.
        return conclude(outcome, paths_given(outcome.act, out))
    people = ", ".join(outcome.have) or "nobody"
    if outcome.state is State.READY:
        output.talk(f"ready: {people} signed for {outcome.act}; only its requester completes it")
        output.talk(f"next: they run `coldcredctl --as THEIR-KEY request complete {outcome.command[:SHORT_ID]}`, or")
        output.talk(f"sign {Act.REQUEST_COMPLETE} where they are (a machine: `coldcred request`), to be submitted here")
    else:
        output.talk(f"waiting: {outcome.act} takes {outcome.need} people, so far {people}")
        output.talk(f"next: somebody runs `coldcredctl --as THEIR-KEY approve {file}`")
    output.data(summary(outcome), [outcome.state.value])
    return Exit.WAITING


def _typ(file: Path, token: str) -> Typ:
    """Say what a document is; the appliance checks its signature."""
    jws = parse_unverified(token)
    if jws.header.typ == Typ.APPROVAL:
        return Typ.APPROVAL
    if jws.header.typ != Typ.COMMAND:
        raise Malformed(f"{file}: a {jws.header.typ[:48]!a} where a command or an approval belongs")
    act = Record.of(loads(jws.payload), "command").text("act")
    try:
        read_act(act)
    except Malformed as error:
        raise Malformed(f"{file}: {error}") from error
    return Typ.COMMAND
