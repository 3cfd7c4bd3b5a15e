"""What a person or a program sees: data on standard output, talk on standard error, nothing that moves a cursor."""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import click

from coldcred import streams
from coldcred.canonical import Json
from coldcred.rendering import words

SINGLE_OPERATOR = "SINGLE OPERATOR: one person founded this appliance and can do everything alone"

_BAD_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str) -> str:
    r"""Show control, bidirectional and invisible characters as escapes, so that no text can move a cursor or lie.

    A backslash stands as two, so that what was typed as `\x1b` and an escape of ours differ. Done once, where a line is
    written.
    """
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if character == "\\" or unicodedata.category(character) in _BAD_CATEGORIES
        else character
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


def framed(value: Json, rows: Iterable[str]) -> None:
    """Give the data of a run: one JSON document where asked, else rows that stand in a frame and are clean already."""
    if wants_json():
        data(value, ())
        return
    for row in rows:
        click.echo(row)


def table(rows: Sequence[Mapping[str, Json]], columns: Sequence[str]) -> list[str]:
    """Lay rows out in aligned columns under their names."""
    cells = [[column.replace("_", " ") for column in columns]]
    cells += [[cell(row.get(column), column) for column in columns] for row in rows]
    widths = [max(len(clean(row[place])) for row in cells) for place in range(len(columns))]
    return ["  ".join(map(_filled, row, widths)).rstrip() for row in cells]


def _filled(text: str, width: int) -> str:
    """Fill a cell up to as many columns as it will take when it is written."""
    return text + " " * (width - len(clean(text)))


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
            return value
        case list() if all(isinstance(item, str) for item in value):
            return " ".join(str(item) for item in value) or "-"
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
    return words.moment(time)
