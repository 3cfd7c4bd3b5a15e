"""`command`: make, sign and submit a command by hand, on machines of which only the last reaches the appliance."""

from pathlib import Path

import click

from appliance.cli import output, reading
from appliance.cli.carried import MAX_ATTACHMENT, read_attachments, read_bounded, read_draft, read_terms
from appliance.cli.grammar import Duration, Noun
from appliance.cli.places import InputPath, OutputPath
from appliance.cli.session import Session, signing
from appliance.cli.submitting import submit
from appliance.signing import COMMAND_LIFE
from coldcred.acts import Act
from coldcred.canonical import Json, dumps, loads, said_digest
from coldcred.command import document_id
from coldcred.errors import Malformed
from coldcred.files import FileKind, write_file
from coldcred.jose import parse_unverified
from coldcred.record import Record
from coldcred.rendering import frame, whole
from coldcred.requests import DraftFile, RequestFile


@click.group(cls=Noun)
def command() -> None:
    """Commands made, signed and submitted one step at a time."""


@command.command("make")
@click.argument("act", type=click.Choice([act.value for act in Act]), metavar="ACT")
@click.option("--args", "arguments", type=InputPath(), help="A JSON file with the act's arguments.")
@click.option("--terms", type=InputPath(), help="What `coldcredctl terms` wrote at the appliance.")
@click.option("--appliance", metavar="ID", help="The appliance's id, where there are no terms.")
@click.option("--epoch", type=click.IntRange(1), default=1, show_default=True, help="Its epoch, without terms.")
@click.option(
    "--attachment", "beside", type=InputPath(), multiple=True,
    help="A file that the arguments name by its SHA-256; may be repeated.",
)  # fmt: skip
@click.option(
    "--valid-for", type=Duration(), default=f"{COMMAND_LIFE // 3600}h", show_default=True,
    help="How long it may be carried out once it is signed.",
)  # fmt: skip
@click.option("--out", type=OutputPath(FileKind.DOCUMENT), required=True, help="The draft.")
@click.pass_obj
def make(
    _session: Session,
    *,
    act: str,
    arguments: Path | None,
    terms: Path | None,
    appliance: str | None,
    epoch: int,
    beside: tuple[Path, ...],
    valid_for: int,
    out: Path,
) -> None:
    """Write a draft of a command that asks for ACT; nobody has signed it yet."""
    if (terms is None) == (appliance is None):
        raise click.UsageError("say which appliance by --terms FILE or by --appliance ID, and not by both")
    known = None if terms is None else read_terms(terms)
    if appliance is not None:
        appliance = said_digest(appliance, "--appliance")
    args = {} if arguments is None else _arguments(arguments)
    draft = DraftFile(
        appliance=known.appliance if known else appliance or "",
        epoch=known.epoch if known else epoch,
        act=Act(act),
        args=args,
        life=valid_for,
        attachments=read_attachments(beside, dumps(args)),
        terms=known,
    )
    write_file(out, draft.write(), FileKind.DOCUMENT)
    output.talk(f"wrote {out}; next: `coldcredctl --as KEY command sign {out} --out FILE`")
    output.data({"act": act, "file": str(out)}, [str(out)])


@command.command("sign")
@click.argument("draft", type=InputPath())
@click.option("--out", type=OutputPath(FileKind.DOCUMENT), required=True, help="The request file.")
@click.option("--yes", is_flag=True, help="Sign without being asked once more at the terminal.")
@click.pass_obj
def sign(session: Session, *, draft: Path, out: Path, yes: bool) -> None:
    """Sign the command in DRAFT with your own key, from now on for as long as it says. It is shown as for `approve`."""
    found = read_draft(draft)
    identity = session.identity()
    output.talk(f"this draft asks for {found.act}, to be carried out within {found.life} s of your signature:")
    reading.agree(_preview(found), "sign this command?", yes=yes)
    token = signing(identity).command(found)
    write_file(out, RequestFile(token, found.attachments, found.terms).write(), FileKind.DOCUMENT)
    id_ = document_id(parse_unverified(token))
    output.talk(f"wrote {out}; next: `coldcredctl submit {out}` at the appliance, or `approve {out}` by another person")
    output.data({"command": id_, "file": str(out)}, [str(out)])


command.add_command(submit, "submit")


def _preview(draft: DraftFile) -> list[str]:
    """Write a draft as its approvers will see it, as far as it is there before it is signed."""
    return [
        frame.said(f"appliance {draft.appliance}"),
        frame.said(f"epoch {draft.epoch}"),
        *whole.asked(draft.act, draft.args),
        *whole.attached(draft.act, draft.args, draft.attachments),
    ]


def _arguments(path: Path) -> dict[str, Json]:
    try:
        return Record.of(loads(read_bounded(path, MAX_ATTACHMENT), max_bytes=MAX_ATTACHMENT), "arguments").members()
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from error
