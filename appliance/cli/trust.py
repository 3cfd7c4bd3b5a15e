"""`trust`: what sites pin, prepared here, signed by custodians elsewhere, submitted back."""

import errno
import os
from pathlib import Path

import click

from appliance import custodians
from appliance.cli import output, reading
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
_LAST = "last"
"""The folder beside what is prepared that holds what custodians signed last."""


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
    founding = _founding(session)
    if os.path.lexists(out):
        raise FileExistsError(errno.EEXIST, "it is there already, and a folder is made anew", str(out))
    check_place(out, FileKind.DOCUMENT)
    draft = Draft.from_json(session.client().read("trust"))
    files = custodians.prepare(founding, draft, now())
    last = {f"{_LAST}/{name}": body for name, body in draft.last.items()}
    for name, body in {FOUNDING: founding.body, **files, **last}.items():
        make_folders((out / name).parent)
        write_file(out / name, body, FileKind.DOCUMENT)
    output.talk(f"wrote {out}; each custodian signs it: coldcredctl --as KEY trust sign {out} --out FILE")
    names: list[Json] = [*sorted(files)]
    output.data({"folder": str(out), "files": names}, [str(out)])


@trust.command()
@click.argument("folder", type=_FOLDER)
@click.option("--out", type=OutputPath(FileKind.DOCUMENT), required=True, help="Where to write the signatures.")
@click.option("--founding", "own", type=InputPath(), help="Your own founding.json, else FOLDER's.")
@click.option("--since", type=_FOLDER, help="The folder that you signed last, which you kept: what changed since.")
@click.option("--yes", is_flag=True, help="Sign without being asked once more at the terminal.")
@click.pass_obj
def sign(session: Session, *, folder: Path, out: Path, own: Path | None, since: Path | None, yes: bool) -> None:
    """Sign what is prepared in FOLDER with your custodian key (--as); read what it says first.

    What is prepared must follow from the founding, and from what custodians signed last, which lies in FOLDER too. Give
    the founding.json that you kept when you signed it, or compare the appliance's id with it by eye.
    """
    files, last = _read(folder), _last(folder)
    founding = foundings.parse(bounded(own or folder / FOUNDING, MAX_FOUNDING))
    kept = None if since is None else _read(since)
    time = now()
    told = custodians.read(founding, files, time, last=last, own=kept)
    output.talk("what is prepared says:")
    reading.agree(told.lines, "sign all of this?", yes=yes)
    identity = session.identity()
    write_file(out, custodians.sign(founding, files, identity, time, last=last, own=kept), FileKind.DOCUMENT)
    output.talk(f"wrote {out}")
    facts: dict[str, Json] = {**told.facts}
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
    signed = {str(path): bounded(path, MAX_SIGNATURE_FILE) for path in signatures}
    assembled = custodians.assemble(_founding(session), _read(folder), signed)
    output.warn(f"left out {reason}" for reason in assembled.left_out)
    files = assembled.files
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


def _last(folder: Path) -> dict[str, bytes] | None:
    """Read what custodians signed last, if they did: all of it or nothing."""
    names = (layout.TARGETS, *layout.BY_CUSTODIANS)
    if not (folder / _LAST).is_dir():
        return None
    files = {name: bounded(folder / _LAST / name, layout.LIMITS[name]) for name in names}
    layout.check_names(files)
    return files


def _read(folder: Path) -> dict[str, bytes]:
    """Read the prepared files: the names on the list and no others."""
    names = (*layout.ROOTS, layout.TARGETS, *layout.BY_CUSTODIANS)
    files = {name: bounded(folder / name, layout.LIMITS[name]) for name in names if (folder / name).is_file()}
    for name in (layout.ROOTS[0], layout.TARGETS, *layout.BY_CUSTODIANS):
        if name not in files:
            raise Malformed(f"{folder}: {name} is missing; `coldcredctl trust prepare` writes it")
    layout.check_names(files)
    return files
