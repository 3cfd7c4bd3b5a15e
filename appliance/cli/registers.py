"""`profile`, `site` and `key`: what the appliance knows, listed and added to."""

from collections.abc import Sequence
from pathlib import Path

import click

from appliance.cli import output
from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.exits import Exit
from appliance.cli.grammar import Noun
from appliance.cli.places import InputPath
from appliance.cli.session import Session
from appliance.errors import HomeError, HomeFault
from appliance.plan import MAX_PROFILE, read_profile
from coldcred.acts import Act
from coldcred.canonical import Json


@click.group(cls=Noun)
def profile() -> None:
    """Rules for what may be issued."""


@profile.command("set")
@click.argument("file", type=InputPath())
@click.option("--yes", is_flag=True, help="Send it without being asked once more at the terminal.")
@asks
@click.pass_obj
def set_profile(
    session: Session, *, file: Path, request: Path | None, approval: tuple[Path, ...], valid_for: int, yes: bool
) -> Exit:
    """Set the profile that FILE (TOML) describes, whole; takes two people.

    At a terminal what it would change is shown first, and you are asked before you sign.
    """
    founding = session.founding()
    if founding is None:
        raise HomeError(HomeFault.MISSING, f"{session.home} is not a folder with a home in it")
    with file.open("rb") as opened:
        found = read_profile(opened.read(MAX_PROFILE + 1), founding.trust_domain)
    args: dict[str, Json] = {"profile": found.as_json()}
    return ask(session, Asking(Act.PROFILE_SET, args), Manner(request, approval, valid_for, yes=yes))


@profile.command("list")
@click.pass_obj
def list_profiles(session: Session) -> None:
    """List the profiles."""
    show(session, "profiles", ("name", "kind", "lifetime", "approvals", "audiences", "scopes", "subjects"))


@click.group(cls=Noun)
def site() -> None:
    """Disconnected places that verify credentials."""


@site.command("add")
@click.argument("name")
@click.option(
    "--audience", "audiences", multiple=True, required=True, help="An audience that lives there; may be repeated."
)
@asks
@click.pass_obj
def add_site(
    session: Session,
    *,
    name: str,
    audiences: tuple[str, ...],
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Add a site with its audiences; takes two people, and custodians sign the trust that names it."""
    args: dict[str, Json] = {"name": name, "audiences": list(audiences)}
    return ask(session, Asking(Act.SITE_ADD, args), Manner(request, approval, valid_for))


@site.command("list")
@click.pass_obj
def list_sites(session: Session) -> None:
    """List the sites and the newest bundle made for each."""
    show(session, "sites", ("name", "bundle", "audiences"))


@click.group(cls=Noun)
def key() -> None:
    """Signing keys inside the HSM."""


@key.command("list")
@click.pass_obj
def list_keys(session: Session) -> None:
    """List the signing keys with what each may sign."""
    show(session, "keys", ("name", "purpose", "algorithm", "token", "not_after", "suspended", "kid"))


@key.command("suspend")
@click.argument("name")
@click.option("--reason", required=True, help="Why; it stands in the log.")
@asks
@click.pass_obj
def suspend_key(
    session: Session, *, name: str, reason: str, request: Path | None, approval: tuple[Path, ...], valid_for: int
) -> Exit:
    """Have a key sign nothing from now on; one person is enough. What it signed stays good until it is revoked."""
    asking = Asking(Act.KEY_SUSPEND, {"key": name, "reason": reason})
    return ask(session, asking, Manner(request, approval, valid_for))


@key.command("activate")
@click.argument("name")
@click.option("--reason", required=True, help="Why; it stands in the log.")
@asks
@click.pass_obj
def activate_key(
    session: Session, *, name: str, reason: str, request: Path | None, approval: tuple[Path, ...], valid_for: int
) -> Exit:
    """Have a suspended key sign again; takes two people."""
    asking = Asking(Act.KEY_ACTIVATE, {"key": name, "reason": reason})
    return ask(session, asking, Manner(request, approval, valid_for))


def show(session: Session, view: str, columns: Sequence[str]) -> None:
    """Read a view and lay it out as a table of these columns; JSON has every member."""
    rows = session.client(hsm=False).read(view)
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    output.data(rows, output.table(found, columns))
