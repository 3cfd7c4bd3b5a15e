"""`issue`: one credential, or a file of requests."""

from pathlib import Path

import click

from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.exits import Exit
from appliance.cli.grammar import Duration, Verb
from appliance.cli.places import PARTIAL, InputPath, OutputPath
from appliance.cli.session import Session
from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.files import FileKind


@click.command(cls=Verb)
@click.option("--profile", help="The profile that bounds the credential.")
@click.option("--workload", metavar="ID", help="The SPIFFE ID it is for.")
@click.option("--audience", metavar="AUD", help="Where it will be accepted.")
@click.option("--scope", "scopes", multiple=True, metavar="S", help="What it grants; may be repeated.")
@click.option("--ttl", type=Duration(), metavar="15m", help="How long it lives; the profile's longest unless given.")
@click.option("--purpose", help="A purpose, where the profile asks for one.")
@click.option("--task", help="A task, where the profile asks for one.")
@click.option(
    "--requests",
    type=InputPath(),
    metavar="FILE.jsonl",
    help="A batch: one request a line, one outcome a line in --out.",
)
@click.option(
    "--out",
    type=OutputPath(FileKind.CREDENTIAL, beside=[PARTIAL]),
    help="The file to write; standard output unless given.",
)
@asks
@click.pass_obj
def issue(  # noqa: PLR0913 - each is one option of the verb
    session: Session,
    *,
    profile: str | None,
    workload: str | None,
    audience: str | None,
    scopes: tuple[str, ...],
    ttl: int | None,
    purpose: str | None,
    task: str | None,
    requests: Path | None,
    out: Path | None,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Issue one credential, or with --requests one for each line of a file."""
    asked: dict[str, Json] = {"profile": profile, "workload": workload, "audience": audience}
    optional: dict[str, Json] = {"scopes": list(scopes) or None, "ttl": ttl, "purpose": purpose, "task": task}
    args: dict[str, Json] = {name: value for name, value in (asked | optional).items() if value is not None}
    if requests is not None:
        if args or out is None:
            raise click.UsageError("--requests goes with --out FILE.jsonl; each line of the file says the rest")
        from appliance.cli.batches import issue_batch  # noqa: PLC0415 - only a batch needs it

        return issue_batch(session, requests, out, Manner(request, approval, valid_for))
    if missing := [name for name, value in asked.items() if value is None]:
        raise click.UsageError(f"--{missing[0]} is missing")
    asking = Asking(Act.CREDENTIAL_ISSUE, args, paths={"token": out})
    return ask(session, asking, Manner(request, approval, valid_for))
