"""`workload`, `profile`, `site` and `key`: what the appliance knows, listed and added to."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from appliance.cli import output
from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.exits import Exit
from appliance.cli.grammar import Noun
from appliance.cli.session import Session, now
from appliance.errors import HomeError, HomeFault
from appliance.identity import MAX_KEY_FILE
from appliance.plan import MAX_PROFILE, read_profile
from coldcred.acts import Act
from coldcred.canonical import Json, loads
from coldcred.keys import PublicKey

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
@click.option("--key", type=click.Path(path_type=Path), help="Its public key (a JWK file), for profiles that bind it.")
@asks
@click.pass_obj
def enrol(
    session: Session,
    *,
    spiffe_id: str,
    owner: str,
    review_by: datetime | None,
    key: Path | None,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Enrol a workload under its SPIFFE ID; takes two people."""
    until = now() // _DAY * _DAY + REVIEW_DAYS * _DAY
    if review_by is not None:
        until = int(review_by.replace(tzinfo=UTC).timestamp())
    args: dict[str, Json] = {"id": spiffe_id, "owner": owner, "review_by": until}
    if key is not None:
        args["key"] = _public_jwk(key)
    unsaid = frozenset() if review_by else frozenset({"review_by"})
    return ask(session, Asking(Act.WORKLOAD_ENROL, args, unsaid=unsaid), Manner(request, approval, valid_for))


def _public_jwk(path: Path) -> Json:
    """Read a public key and give the members that name it, whatever else its file holds."""
    with path.open("rb") as file:
        data = file.read(MAX_KEY_FILE + 1)
    return PublicKey.from_jwk(loads(data, max_bytes=MAX_KEY_FILE)).jwk()


@workload.command("list")
@click.pass_obj
def list_workloads(session: Session) -> None:
    """List the enrolled workloads."""
    show(session, "workloads", ("id", "owner", "review_by", "kid"))


@click.group(cls=Noun)
def profile() -> None:
    """Rules for what may be issued."""


@profile.command("set")
@click.argument("file", type=click.Path(path_type=Path))
@asks
@click.pass_obj
def set_profile(
    session: Session, *, file: Path, request: Path | None, approval: tuple[Path, ...], valid_for: int
) -> Exit:
    """Set the profile that FILE (TOML) describes, whole; takes two people."""
    founding = session.founding()
    if founding is None:
        raise HomeError(HomeFault.MISSING, f"{session.home} is not a folder with a home in it")
    with file.open("rb") as opened:
        found = read_profile(opened.read(MAX_PROFILE + 1), founding.trust_domain)
    args: dict[str, Json] = {"profile": found.as_json()}
    return ask(session, Asking(Act.PROFILE_SET, args), Manner(request, approval, valid_for))


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
@click.option("--audience", "audiences", multiple=True, required=True, help="An audience that lives there; repeatable.")
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
    show(session, "keys", ("name", "purpose", "algorithm", "token", "not_after", "kid"))


def show(session: Session, view: str, columns: Sequence[str]) -> None:
    """Read a view and lay it out as a table of these columns; JSON has every member."""
    rows = session.client(hsm=False).read(view)
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    output.data(rows, output.table(found, columns))
