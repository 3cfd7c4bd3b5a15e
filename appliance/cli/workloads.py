"""`workload`: machines that credentials are issued to, enrolled with proof of their keys, suspended and resumed."""

from datetime import UTC, datetime
from pathlib import Path

import click

from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.carried import read_document
from appliance.cli.exits import Exit
from appliance.cli.grammar import Noun
from appliance.cli.places import InputPath
from appliance.cli.registers import show
from appliance.cli.session import Session, now
from coldcred.acts import Act
from coldcred.canonical import Json, sha256_hex
from coldcred.enrolment import Enrolment, parse_enrolment
from coldcred.errors import ColdcredError, Malformed

REVIEW_DAYS = 90

_DAY = 24 * 3600


@click.group(cls=Noun)
def workload() -> None:
    """Machines that credentials are issued to."""


@workload.command("enrol")
@click.argument("spiffe_id", metavar="ID")
@click.option("--owner", required=True, metavar="PERSON", help="Who answers for it.")
@click.option(
    "--review-by", type=click.DateTime(["%Y-%m-%d"]), help="When its owner looks at it again; in 90 days unless given."
)
@click.option(
    "--enrolment",
    type=InputPath(),
    metavar="FILE",
    help="What `coldcred enrol` wrote on the machine: its keys, and the proof that it holds them.",
)
@click.option("--group", "groups", multiple=True, metavar="G", help="A group that it is in; may be repeated.")
@asks
@click.pass_obj
def enrol(  # noqa: PLR0913 - each is one option of the verb
    session: Session,
    *,
    spiffe_id: str,
    owner: str,
    review_by: datetime | None,
    enrolment: Path | None,
    groups: tuple[str, ...],
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Enrol a workload under its SPIFFE ID, or anew where its review is due; takes two people."""
    until = now() // _DAY * _DAY + REVIEW_DAYS * _DAY
    if review_by is not None:
        until = int(review_by.replace(tzinfo=UTC).timestamp())
    args: dict[str, Json] = {"id": spiffe_id, "owner": owner, "review_by": until}
    if groups:
        args["groups"] = list(groups)
    attachments: dict[str, bytes] = {}
    if enrolment is not None:
        body = _read_enrolment(session, enrolment, spiffe_id).token.encode()
        args["enrolment"] = sha256_hex(body)
        attachments[sha256_hex(body)] = body
    unsaid = frozenset() if review_by else frozenset({"review_by"})
    asking = Asking(Act.WORKLOAD_ENROL, args, attachments, unsaid=unsaid)
    return ask(session, asking, Manner(request, approval, valid_for))


def _read_enrolment(session: Session, path: Path, spiffe_id: str) -> Enrolment:
    """Read an enrolment document and say, before anything is signed, when it is for something else."""
    try:
        found = parse_enrolment(read_document(path))
    except ColdcredError as error:
        raise type(error)(f"{path}: {error}") from error
    if found.workload != spiffe_id:
        raise Malformed(f"{path} enrols {found.workload}, and this line {spiffe_id}")
    founding = session.founding()
    if founding is not None and found.appliance != founding.appliance_id:
        raise Malformed(f"{path} is for appliance {found.appliance}, and this one is {founding.appliance_id}")
    return found


@workload.command("suspend")
@click.argument("spiffe_id", metavar="ID")
@click.option("--reason", required=True, help="Why; it stands in the log.")
@asks
@click.pass_obj
def suspend(
    session: Session,
    *,
    spiffe_id: str,
    reason: str,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Issue nothing to a workload from now on; takes one person. What it holds already is revoked with `revoke`."""
    args: dict[str, Json] = {"workload": spiffe_id, "reason": reason}
    return ask(session, Asking(Act.WORKLOAD_SUSPEND, args), Manner(request, approval, valid_for))


@workload.command("resume")
@click.argument("spiffe_id", metavar="ID")
@asks
@click.pass_obj
def resume(
    session: Session, *, spiffe_id: str, request: Path | None, approval: tuple[Path, ...], valid_for: int
) -> Exit:
    """Issue to a suspended workload again; takes two people."""
    args: dict[str, Json] = {"workload": spiffe_id}
    return ask(session, Asking(Act.WORKLOAD_RESUME, args), Manner(request, approval, valid_for))


@workload.command("adopt")
@click.argument("spiffe_id", metavar="ID")
@click.option("--owner", required=True, metavar="PERSON", help="Who answers for it from now on; they have to sign.")
@click.option("--reason", required=True, help="Why; it stands in the log.")
@asks
@click.pass_obj
def adopt(
    session: Session,
    *,
    spiffe_id: str,
    owner: str,
    reason: str,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Give a workload another owner, who asks or approves; takes two people. Its keys, groups and review stay."""
    args: dict[str, Json] = {"workload": spiffe_id, "owner": owner, "reason": reason}
    return ask(session, Asking(Act.WORKLOAD_ADOPT, args), Manner(request, approval, valid_for))


@workload.command("list")
@click.pass_obj
def list_workloads(session: Session) -> None:
    """List the enrolled workloads and how each stands, from active to suspended or orphaned."""
    show(session, "workloads", ("id", "owner", "review_by", "state", "groups", "kid"))
