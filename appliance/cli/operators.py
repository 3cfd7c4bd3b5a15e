"""`operator`: people and their keys."""

from pathlib import Path

import click

from appliance import identity
from appliance.cli import output
from appliance.cli.grammar import Noun
from appliance.cli.registers import show
from appliance.cli.session import Session


@click.group(cls=Noun)
def operator() -> None:
    """People and their keys."""


@operator.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def keygen(session: Session, file: Path) -> None:
    """Make your own key in FILE, under a passphrase, and its public half in FILE.pub.json.

    Make two: one for daily work, one as custodian. Hand over only the .pub.json files.
    """
    made = identity.keygen(file, session.new_passphrase(file))
    public = identity.public_path(file)
    output.talk(f"wrote {file} (keep it) and {public} (hand it over)")
    output.data({"file": str(file), "public": str(public), "kid": made.kid}, [made.kid])


@operator.command("list")
@click.pass_obj
def list_people(session: Session) -> None:
    """List the people who are enrolled, with their roles."""
    show(session, "people", ("person", "roles", "kid"))
