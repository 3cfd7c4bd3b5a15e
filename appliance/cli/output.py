"""What a person or a program sees: data on standard output, talk on standard error, nothing that moves a cursor."""

import json
import tempfile
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from coldcred import streams
from coldcred.canonical import Json

SINGLE_OPERATOR = "SINGLE OPERATOR: one person founded this appliance and can do everything alone"

_BAD_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str) -> str:
    """Show control, bidirectional and invisible characters as escapes, so that no text can move a cursor or lie."""
    return "".join(
        character
        if unicodedata.category(character) not in _BAD_CATEGORIES
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def talk(text: str) -> None:
    """Say one line to the person at the terminal."""
    streams.say(f"coldcredctl: {clean(text)}")


def warn(warnings: Iterable[str]) -> None:
    """Tell the person what is not wrong yet."""
    for warning in warnings:
        talk(f"warning: {warning}")


def show(lines: Iterable[str]) -> None:
    """Show lines to the person at the terminal, below what was last said."""
    for line in lines:
        streams.say(f"  {clean(line)}")


def wants_json() -> bool:
    """Whether this run was asked for JSON."""
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get("appliance.json"))


def data(value: Json, lines: Iterable[str]) -> None:
    """Give the data of a run: one JSON document where asked, else `lines` of text."""
    if wants_json():
        click.echo(json.dumps(value, ensure_ascii=True, sort_keys=True))
        return
    for line in lines:
        click.echo(clean(line))


def table(rows: Sequence[Mapping[str, Json]], columns: Sequence[str]) -> list[str]:
    """Lay rows out in aligned columns under their names."""
    cells = [[column.replace("_", " ") for column in columns]]
    cells += [[cell(row.get(column), column) for column in columns] for row in rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]


_TIMES = frozenset(
    {
        "time",
        "iat",
        "nbf",
        "exp",
        "review_by",
        "not_before",
        "not_after",
        "issued_at",
        "end",
        "expires",
        "since",
        "last_issue",
    }
)


def cell(value: Json, name: str = "") -> str:
    """Write one value for people; members that hold Unix seconds are written as UTC."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int() if name in _TIMES and value > 0:
            return moment(value)
        case str():
            return clean(value)
        case list() if all(isinstance(item, str) for item in value):
            return " ".join(clean(str(item)) for item in value) or "-"
        case list() | dict():
            return json.dumps(value, ensure_ascii=True, sort_keys=True)
        case _:
            return str(value)


def facts(members: Mapping[str, Json]) -> list[str]:
    """Write named values, one a line."""
    width = max((len(name) for name in members), default=0)
    return [f"{name.replace('_', ' ').ljust(width)}  {cell(value, name)}" for name, value in members.items()]


def moment(time: int) -> str:
    """Write Unix seconds as RFC 3339 in UTC."""
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(time)


def check_writable(path: Path) -> None:
    """See that a file can be put at `path` before anything is done that it is to hold; raises `OSError`."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
        pass
