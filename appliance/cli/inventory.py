"""`inventory`: everything that lives here with its owner, age, end and last use, and what is overdue."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

import click

from appliance.cli import output
from appliance.cli.grammar import Verb, note_json
from appliance.cli.session import Session
from appliance.client import Client
from coldcred.canonical import Json

PAGE = 1000
"""Rows that are read at once."""

KINDS = ("key", "operator", "profile", "workload", "credential")
"""What is listed, in this order."""

_COLUMNS = (
    "kind", "name", "owner", "workload", "profile", "since", "age_days", "end", "last_issue", "state", "overdue",
)  # fmt: skip
_TOXIC = ("owner", "workload", "profile", "excludes", "state")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@click.command(cls=Verb)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    help="Only this kind; may be repeated; all unless given.",
)
@click.option("--overdue", is_flag=True, help="Only what somebody has to see to.")
@click.option("--toxic", is_flag=True, help="Who holds, or may get, what profiles exclude; instead of the inventory.")
@click.option(
    "--format", "form", type=click.Choice(("text", "json", "csv")), default="text", show_default=True, help="How."
)
@click.pass_obj
@click.pass_context
def inventory(
    context: click.Context, session: Session, *, kinds: tuple[str, ...], overdue: bool, toxic: bool, form: str
) -> None:
    """List everything that lives here: credentials, keys, workloads, operators, profiles."""
    if toxic and (kinds or overdue):
        raise click.UsageError("--toxic is a report of its own; leave out --kind and --overdue")
    if form == "json":
        note_json(context, context.command.params[0], value=True)
    client = session.client(hsm=False)
    if toxic:
        lay_out([*pages(client, "toxic")], _TOXIC, form)
        return
    wanted = [kind for kind in KINDS if not kinds or kind in kinds]
    arguments = {"overdue": "yes"} if overdue else {}
    lay_out([row for kind in wanted for row in pages(client, "inventory", kind=kind, **arguments)], _COLUMNS, form)


def pages(client: Client, view: str, **arguments: str) -> Iterator[dict[str, Json]]:
    """Read a view to its end, page by page."""
    following: Json = 0
    while isinstance(following, int):
        answer = client.read(view, offset=str(following), limit=str(PAGE), **arguments)
        found = answer if isinstance(answer, dict) else {}
        rows = found.get("rows")
        yield from (row for row in (rows if isinstance(rows, list) else ()) if isinstance(row, dict))
        following = found.get("next")


def lay_out(rows: Sequence[dict[str, Json]], columns: Sequence[str], form: str) -> None:
    """Print rows as a table, as one JSON document or as CSV."""
    if form == "csv" and not output.wants_json():
        click.echo(as_csv(rows, columns), nl=False)
    else:
        output.data([*rows], output.table(rows, columns) if rows else ["nothing"])


def as_csv(rows: Iterable[Mapping[str, Json]], columns: Sequence[str]) -> str:
    """Write rows as RFC 4180 has it; what a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_plain(row.get(column), column) for column in columns] for row in rows)
    return text.getvalue()


def _plain(value: Json, column: str) -> str:
    written = "" if value is None or value == [] else output.cell(value, column)
    return f"'{written}" if written.startswith(_FORMULA) else written
