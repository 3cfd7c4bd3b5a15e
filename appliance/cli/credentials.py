"""`issue` and `revoke`: one credential at a time."""

from pathlib import Path

import click

from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.exits import Exit
from appliance.cli.grammar import Duration, Verb
from appliance.cli.session import Session
from coldcred.acts import Act
from coldcred.canonical import Json


@click.command(cls=Verb)
@click.option("--profile", required=True, help="The profile that bounds the credential.")
@click.option("--workload", required=True, metavar="ID", help="The SPIFFE ID it is for.")
@click.option("--audience", required=True, metavar="AUD", help="Where it will be accepted.")
@click.option("--scope", "scopes", multiple=True, metavar="S", help="What it grants; may be repeated.")
@click.option("--ttl", type=Duration(), metavar="15m", help="How long it lives; the profile's longest unless given.")
@click.option("--purpose", help="A purpose, where the profile asks for one.")
@click.option("--task", help="A task, where the profile asks for one.")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; standard output unless given.")
@asks
@click.pass_obj
def issue(  # noqa: PLR0913 - each is one option of the verb
    session: Session,
    *,
    profile: str,
    workload: str,
    audience: str,
    scopes: tuple[str, ...],
    ttl: int | None,
    purpose: str | None,
    task: str | None,
    out: Path | None,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Issue one credential."""
    args: dict[str, Json] = {"profile": profile, "workload": workload, "audience": audience}
    optional: dict[str, Json] = {"scopes": list(scopes) or None, "ttl": ttl, "purpose": purpose, "task": task}
    args |= {name: value for name, value in optional.items() if value is not None}
    asking = Asking(Act.CREDENTIAL_ISSUE, args, paths={"token": out})
    return ask(session, asking, Manner(request, approval, valid_for))


@click.command(cls=Verb)
@click.argument("credential", metavar="JTI")
@click.option("--reason", required=True, help="Why; it stands in the log.")
@asks
@click.pass_obj
def revoke(
    session: Session,
    *,
    credential: str,
    reason: str,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Revoke one credential; sites learn of it with their next bundle."""
    args: dict[str, Json] = {"credential": credential, "reason": reason}
    return ask(session, Asking(Act.CREDENTIAL_REVOKE, args), Manner(request, approval, valid_for))
