"""`request` and `terms`: what waits for more people, looked at, carried away, completed and withdrawn."""

from pathlib import Path

import click

from appliance.cli import output
from appliance.cli.approvals import rendering
from appliance.cli.asking import Asking, Manner, ask, asks, check_places, conclude, paths_given
from appliance.cli.exits import Exit
from appliance.cli.grammar import Noun, Verb
from appliance.cli.registers import show
from appliance.cli.session import Session
from appliance.errors import Refusal, Refused
from appliance.outcome import SHORT_ID
from coldcred.acts import Act
from coldcred.canonical import Json, loads
from coldcred.command import document_id
from coldcred.files import write_file
from coldcred.jose import parse_unverified
from coldcred.record import Record
from coldcred.requests import RequestFile
from coldcred.terms import Terms


@click.group(cls=Noun)
def request() -> None:
    """Look at requests that wait for more people, carry them away, complete or withdraw them."""


@request.command("list")
@click.pass_obj
def list_requests(session: Session) -> None:
    """List the requests that wait, with who stands behind each now."""
    show(session, "requests", ("command", "act", "by", "state", "need", "have", "void", "expires"))


@request.command("show")
@click.argument("id_", metavar="ID")
@click.pass_obj
def show_request(session: Session, id_: str) -> None:
    """Show all that the request with this id, or with these first characters of it, asks for."""
    found, terms = _request(session, id_, hsm=False)
    output.data(found.as_json(), rendering(found, terms, found.seen(terms)))


@request.command("export")
@click.argument("id_", metavar="ID")
@click.option("--out", type=click.Path(path_type=Path), help="The file; request-ID.request unless given.")
@click.pass_obj
def export_request(session: Session, id_: str, out: Path | None) -> None:
    """Write a request, and all that its approvers need away from the appliance, into one file."""
    found, _ = _request(session, id_, hsm=False)
    command = document_id(parse_unverified(found.token))
    path = out or Path(f"request-{command[:SHORT_ID]}.request")
    write_file(path, found.write(), replace=False)
    output.talk(f"wrote {path}")
    output.talk(f"next: elsewhere, somebody runs `coldcredctl --as THEIR-KEY approve {path} --out FILE`")
    output.talk("then `coldcredctl submit FILE` here brings the signature in")
    output.data({"command": command, "file": str(path)}, [str(path)])


@request.command("complete")
@click.argument("id_", metavar="ID")
@click.option("--out", type=click.Path(path_type=Path), help="Where what it gives goes; standard output unless given.")
@click.pass_obj
def complete(session: Session, id_: str, out: Path | None) -> Exit:
    """Complete a request of your own that has its people, and take what it gives."""
    client = session.client()
    found, _ = _request(session, id_, hsm=True)
    seen = parse_unverified(found.token)
    act = Record.of(loads(seen.payload), "request").text("act")
    check_places(paths_given(act, out))
    if act == Act.CREDENTIAL_ISSUE and found.attachments:
        raise click.UsageError("a batch is completed by `issue --requests FILE --out FILE --request REQUEST-FILE`")
    return conclude(client.complete(document_id(seen)), paths_given(act, out))


@request.command("withdraw")
@click.argument("id_", metavar="ID")
@click.option("--reason", help="Why; it stands in the log.")
@asks
@click.pass_obj
def withdraw(
    session: Session,
    *,
    id_: str,
    reason: str | None,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Withdraw a request of your own; nobody can approve it any more."""
    found, _ = _request(session, id_, hsm=True)
    args: dict[str, Json] = {"request": document_id(parse_unverified(found.token))}
    if reason is not None:
        args["reason"] = reason
    return ask(session, Asking(Act.REQUEST_WITHDRAW, args), Manner(request, approval, valid_for))


@click.command(cls=Verb)
@click.option("--out", type=click.Path(path_type=Path), help="The file; standard output unless given.")
@click.pass_obj
def terms(session: Session, out: Path | None) -> None:
    """Write what a person needs to ask and to approve on a machine without the appliance."""
    value = session.client(hsm=False).read("terms")
    found = Terms.read(Record.of(value, "terms"))
    if out is None:
        output.data(value, [found.write().decode("ascii").removesuffix("\n")])
        return
    write_file(out, found.write())
    output.talk(f"wrote {out}")
    output.data({"file": str(out), "appliance": found.appliance, "policy": found.policy}, [str(out)])


def _request(session: Session, id_: str, *, hsm: bool) -> tuple[RequestFile, Terms]:
    found = session.client(hsm=hsm).request(id_)
    if found.terms is None:
        raise Refused(Refusal.MALFORMED, "the appliance gave a request without its terms")
    return found, found.terms
