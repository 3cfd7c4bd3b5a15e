"""`bundle`: the files that carry trust, revocations and time to a site."""

from pathlib import Path

import click

from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.exits import Exit
from appliance.cli.grammar import Noun
from appliance.cli.places import InputPath, OutputPath
from appliance.cli.session import Session
from coldcred.acts import Act
from coldcred.canonical import Json, b64u_encode
from coldcred.errors import Malformed
from coldcred.files import FileKind
from coldcred.log.export import find_checkpoint
from coldcred.log.note import parse_unverified
from coldcred.record import MAX_TEXT


@click.group(cls=Noun)
def bundle() -> None:
    """Rotation bundles for sites; `coldcred bundle apply` takes them in."""


@bundle.command()
@click.option("--site", required=True, help="The site it is for.")
@click.option("--out", type=OutputPath(FileKind.GIVEN), required=True, help="The file to write.")
@click.option(
    "--from-checkpoint",
    type=InputPath(),
    help="The checkpoint that the site holds, carried back: the bundle proves that the log grew from it.",
)
@asks
@click.pass_obj
def create(
    session: Session,
    *,
    site: str,
    out: Path,
    from_checkpoint: Path | None,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Make the site's next bundle."""
    args: dict[str, Json] = {"site": site}
    if from_checkpoint is not None:
        args["from"] = _carried_back(from_checkpoint)
    asking = Asking(Act.BUNDLE_CREATE, args, paths={"bundle": out})
    return ask(session, asking, Manner(request, approval, valid_for))


def _carried_back(path: Path) -> str:
    """Give the signed checkpoint in a file from a site, in base64url: that of its store, or of a bundle it holds."""
    try:
        with path.open("rb") as stream:
            note = find_checkpoint(stream)
        parse_unverified(note)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from error
    except Malformed as error:
        raise click.UsageError(f"{path} holds no checkpoint: {error}") from error
    if len(encoded := b64u_encode(note)) > MAX_TEXT:
        raise click.UsageError(f"{path} holds a checkpoint of {len(note)} bytes; the log key's own line is enough")
    return encoded
