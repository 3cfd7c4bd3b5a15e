"""`request`, `approve` and `deny`: what waits for people, and their second signatures."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import click

from appliance.cli import output
from appliance.cli.asking import conclude, read_document, summary
from appliance.cli.exits import Exit
from appliance.cli.grammar import Duration, Noun, Verb
from appliance.cli.registers import show
from appliance.cli.session import Session
from appliance.client import COMMAND_LIFE, Client
from appliance.errors import HomeError, HomeFault, Refusal
from appliance.outcome import Outcome, State
from coldcred.canonical import Json
from coldcred.command import Command, Verdict, parse_command
from coldcred.errors import UnknownSigner
from coldcred.files import write_file
from coldcred.founding import Founding
from coldcred.keys import PublicKey

Signer: TypeAlias = tuple[str, PublicKey]
"""Who signs requests, and with which key."""


@click.group(cls=Noun)
def request() -> None:
    """List the requests that wait for more people."""


@request.command("list")
@click.pass_obj
def list_requests(session: Session) -> None:
    """List the requests that wait, with who signed so far."""
    show(session, "requests", ("command", "act", "by", "need", "have", "expires"))


_OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="Write the signed approval here, to be carried, and send nothing."
)
_VALID_FOR = click.option(
    "--valid-for", type=Duration(), default=f"{COMMAND_LIFE // 3600}h", show_default=True,
    help="How long your signature counts.",
)  # fmt: skip


@click.command(cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--approval", "carried", type=click.Path(path_type=Path), multiple=True,
    help="Bring in an approval that somebody signed elsewhere, instead of signing; may be repeated.",
)  # fmt: skip
@_OUT
@_VALID_FOR
@click.pass_obj
def approve(session: Session, file: Path, carried: tuple[Path, ...], out: Path | None, valid_for: int) -> Exit:
    """Approve the request in FILE: read what it asks for, then sign."""
    if not carried:
        return _sign(session, file, Verdict.APPROVE, out, valid_for)
    if out is not None:
        raise click.UsageError("--approval brings in what is signed already; --out is for signing")
    try:
        token = _read(session, file).token
    except UnknownSigner:
        token = read_document(file)  # a workload's own: the appliance knows its key
    client = session.client(signs=False)
    return _tell(client.send(token, approvals=[read_document(path) for path in carried]))


@click.command(cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@_OUT
@_VALID_FOR
@click.pass_obj
def deny(session: Session, file: Path, out: Path | None, valid_for: int) -> Exit:
    """Deny the request in FILE; one denial ends it."""
    return _sign(session, file, Verdict.DENY, out, valid_for)


def _sign(session: Session, file: Path, verdict: Verdict, out: Path | None, valid_for: int) -> Exit:
    try:
        client, command = None, _read(session, file)
    except UnknownSigner:
        client = session.client()
        command = _read(session, file, _workloads(client))
    client = client or session.client()
    token = client.approval(command.token, verdict, valid_for)
    if out is None:
        return _tell(client.transport.approval(token))
    write_file(out, f"{token}\n".encode(), replace=False)
    output.talk(f"wrote {out}; nothing was sent")
    output.data({"command": command.id, "verdict": verdict.value, "file": str(out)}, [str(out)])
    return Exit.DONE


def _read(session: Session, file: Path, workloads: Mapping[str, Signer] = MappingProxyType({})) -> Command:
    """Read a request and show what is about to be signed, before a passphrase is asked for.

    Only the appliance knows the keys of `workloads`, so a request of one is shown once it could be asked.
    """
    founding = session.founding()
    if founding is None:
        raise HomeError(HomeFault.MISSING, f"{session.home} is not a folder with a home in it")
    signers = {person.operator.thumbprint: (person.id, person.operator) for person in founding.people}
    signers |= workloads
    try:
        command = parse_command(read_document(file), lambda kid: signers[kid][1] if kid in signers else None)
    except UnknownSigner as error:
        raise UnknownSigner(f"{file}: {error}") from error
    output.talk(f"this request asks for {command.act}:")
    output.show(rendering(founding, command, signers[command.signer][0]))
    return command


def _workloads(client: Client) -> dict[str, Signer]:
    """Ask the appliance for the workloads that sign for themselves, by thumbprint."""
    rows = client.read("workloads")
    found = {}
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row["key"] is not None:
            key = PublicKey.from_jwk(row["key"])
            found[key.thumbprint] = (str(row["id"]), key)
    return found


def rendering(founding: Founding, command: Command, person: str) -> list[str]:
    """Write a request for the person who is to sign for it: every argument, nothing cut."""
    about: Mapping[str, Json] = {
        "appliance": f"{founding.name} {founding.appliance_id}",
        "request": command.id,
        "by": person,
        "expires": command.expires_at,
    }
    return [*output.facts(about), "", *output.facts(dict(sorted(command.args.items())))]


def _tell(outcome: Outcome) -> Exit:
    """Say what an approval led to: decided, ready for its requester, or still waiting for others."""
    if outcome.state is State.REFUSED and outcome.reason == Refusal.DENIED:
        output.talk(f"{outcome.act} is denied and will not be carried out")
    elif outcome.state is State.WAITING:
        output.talk(f"counted: {outcome.act} takes {outcome.need} people, so far {', '.join(outcome.have)}")
    elif outcome.state is State.READY:
        output.talk(f"{outcome.act} is ready: its requester runs the same line again")
    else:
        return conclude(outcome)
    output.data(summary(outcome), [outcome.state.value])
    return Exit.WAITING if outcome.state is State.WAITING else Exit.DONE
