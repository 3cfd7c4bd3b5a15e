"""`bundle`: the files that carry trust, revocations and time to a site."""

from pathlib import Path

import click

from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.exits import Exit
from appliance.cli.grammar import Noun
from appliance.cli.places import OutputPath
from appliance.cli.session import Session
from coldcred.acts import Act
from coldcred.files import FileKind


@click.group(cls=Noun)
def bundle() -> None:
    """Rotation bundles for sites; `coldcred bundle apply` takes them in."""


@bundle.command()
@click.option("--site", required=True, help="The site it is for.")
@click.option("--out", type=OutputPath(FileKind.GIVEN), required=True, help="The file to write.")
@asks
@click.pass_obj
def create(
    session: Session, *, site: str, out: Path, request: Path | None, approval: tuple[Path, ...], valid_for: int
) -> Exit:
    """Make the site's next bundle."""
    asking = Asking(Act.BUNDLE_CREATE, {"site": site}, paths={"bundle": out})
    return ask(session, asking, Manner(request, approval, valid_for))
