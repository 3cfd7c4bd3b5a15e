"""`trust`: what sites pin, prepared here, signed by custodians elsewhere, submitted back."""

import errno
import os
from pathlib import Path

import click

from appliance import custodians
from appliance.cli import output
from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.exits import Exit
from appliance.cli.founding_files import bounded
from appliance.cli.grammar import Noun
from appliance.cli.places import InputPath, OutputPath
from appliance.cli.session import FOUNDING, Session, now
from appliance.custodians import MAX_SIGNATURE_FILE, Draft
from appliance.errors import HomeError, HomeFault
from coldcred import founding as foundings
from coldcred import layout
from coldcred.acts import Act
from coldcred.canonical import Json, sha256_hex
from coldcred.errors import Malformed
from coldcred.files import FileKind, check_place, make_folders, write_file
from coldcred.founding import MAX_FOUNDING, Founding

_FOLDER = InputPath()


@click.group(cls=Noun)
def trust() -> None:
    """Prepare, sign and submit what sites pin: keys, charters, windows, sites."""


@trust.command()
@click.option(
    "--out",
    type=OutputPath(FileKind.DOCUMENT, looked=False),
    required=True,
    help="The folder to write; it must not exist.",
)
@click.pass_obj
def prepare(session: Session, out: Path) -> None:
    """Write the files that custodians sign."""
    if os.path.lexists(out):
        raise FileExistsError(errno.EEXIST, "it is there already, and a folder is made anew", str(out))
    check_place(out, FileKind.DOCUMENT)
    client = session.client()
    founding = _founding(session)
    files = custodians.prepare(founding, Draft.from_json(client.read("trust")), now())
    for name, body in {FOUNDING: founding.body, **files}.items():
        make_folders((out / name).parent)
        write_file(out / name, body, FileKind.DOCUMENT)
    output.talk(f"wrote {out}; each custodian signs it: coldcredctl --as KEY trust sign {out} --out FILE")
    names: list[Json] = [*sorted(files)]
    output.data({"folder": str(out), "files": names}, [str(out)])


@trust.command()
@click.argument("folder", type=_FOLDER)
@click.option("--out", type=OutputPath(FileKind.DOCUMENT), required=True, help="Where to write the signatures.")
@click.option("--founding", "own", type=InputPath(), help="Your own founding.json, else FOLDER's.")
@click.pass_obj
def sign(session: Session, folder: Path, out: Path, own: Path | None) -> None:
    """Sign what is prepared in FOLDER with your custodian key (--as); read what it says first.

    What is prepared must follow from the founding. Give the copy that you kept when you signed it, or compare the
    appliance's id with it by eye.
    """
    files = _read(folder)
    founding = foundings.parse(bounded(own or folder / FOUNDING, MAX_FOUNDING))
    facts = custodians.facts(founding, files)
    output.talk("what is prepared says:")
    output.show(output.facts(facts))
    identity = session.identity()
    write_file(out, custodians.sign(founding, files, identity), FileKind.DOCUMENT)
    output.talk(f"wrote {out}")
    output.data({**facts, "kid": identity.kid, "file": str(out)}, [str(out)])


@trust.command()
@click.argument("folder", type=_FOLDER)
@click.argument("signatures", metavar="SIGNATURE...", nargs=-1, required=True, type=InputPath())
@click.option("--root-out", type=OutputPath(FileKind.GIVEN), help="Write root.json here, for `coldcred site init`.")
@asks
@click.pass_obj
def submit(
    session: Session,
    *,
    folder: Path,
    signatures: tuple[Path, ...],
    root_out: Path | None,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Submit what custodians signed; from then on bundles carry it."""
    signed = [bounded(path, MAX_SIGNATURE_FILE) for path in signatures]
    files = custodians.assemble(_founding(session), _read(folder), signed)
    digests: dict[str, Json] = {name: sha256_hex(body) for name, body in files.items()}
    attachments = {sha256_hex(body): body for body in files.values()}
    asking = Asking(
        Act.TRUST_SUBMIT, {"files": digests}, attachments, also={"fingerprint": custodians.fingerprint(files)}
    )
    code = ask(session, asking, Manner(request, approval, valid_for))
    if root_out is not None and code == Exit.DONE:
        write_file(root_out, files[layout.ROOTS[0]], FileKind.GIVEN)
        output.talk(f"wrote {root_out}")
    return code


def _founding(session: Session) -> Founding:
    founding = session.founding()
    if founding is None:
        raise HomeError(HomeFault.MISSING, f"{session.home} is not a folder with a home in it")
    return founding


def _read(folder: Path) -> dict[str, bytes]:
    """Read the prepared files: the names on the list and no others."""
    names = (*layout.ROOTS, layout.TARGETS, *layout.BY_CUSTODIANS)
    files = {name: bounded(folder / name, layout.LIMITS[name]) for name in names if (folder / name).is_file()}
    for name in (layout.ROOTS[0], layout.TARGETS, *layout.BY_CUSTODIANS):
        if name not in files:
            raise Malformed(f"{folder}: {name} is missing; `coldcredctl trust prepare` writes it")
    layout.check_names(files)
    return files
