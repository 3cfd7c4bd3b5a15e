"""The frame around what is shown: lines of ours, and lines of content behind a gutter that content cannot leave.

A line is printable ASCII. One of content begins with `| `, one of ours never does. Laid out on rows each further row of
content begins with `: `, and each further row of ours with spaces; so at any width no row of content is a row of ours,
and none begins a line that is not there.

    what we say                        said("act credential.issue")
    | what somebody else wrote         given("forbid (principal, action, resource);")
    | and what names it                content("purpose " + quoted("stocktaking"))
"""

import json
import re
from collections.abc import Iterable, Iterator

from coldcred.canonical import sha256_hex

GUTTER, MORE, INDENT = "| ", ": ", "    "
NARROWEST = 16
"""Columns below which rows are not made narrower."""

_PLAIN = re.compile(r"[\x20-\x7e]*")
_OURS = re.compile(r"(?![|: ])[\x20-\x7e]*")


def said(text: str) -> str:
    """Give a line of ours; `ValueError` where it is no printable ASCII or begins as a line of content does."""
    if not _OURS.fullmatch(text):
        raise ValueError("a line of ours is printable ASCII and does not begin with a space, a bar or a colon")
    return text


def given(text: str) -> str:
    """Give a text as a line of content, `escaped`."""
    return GUTTER + escaped(text)


def content(text: str) -> str:
    """Give a line of content that was put together from words, names, `quoted` and `escaped` texts.

    `ValueError` where it is no printable ASCII.
    """
    if not _PLAIN.fullmatch(text):
        raise ValueError("a line of content is printable ASCII; quote or escape what stands in it")
    return GUTTER + text


def escaped(text: str) -> str:
    r"""Write a text in printable ASCII: a backslash as `\\`, what is not printable as `\n`, `\x1b` or `\u202e`.

    Two texts that differ are written differently.
    """
    return text.encode("unicode_escape").decode("ascii")


def quoted(text: str) -> str:
    """Write a text in quotes with JSON's escapes, in printable ASCII: where it ends can be seen."""
    return json.dumps(text).replace("\x7f", "\\u007f")


def rows(lines: Iterable[str], columns: int) -> Iterator[str]:
    """Lay lines out on rows of at most `columns` characters."""
    columns = max(columns, NARROWEST)
    for line in lines:
        if not _PLAIN.fullmatch(line):
            raise ValueError("a line that is not printable ASCII")
        more = MORE if line.startswith(GUTTER) else INDENT
        yield line[:columns]
        step = columns - len(more)
        for place in range(columns, len(line), step):
            yield more + line[place : place + step]


def digest(lines: Iterable[str]) -> str:
    """Give the SHA-256 (hex) of lines, each ended by a newline."""
    return sha256_hex(text(lines))


def text(lines: Iterable[str]) -> bytes:
    """Give lines as bytes, each ended by a newline."""
    return "".join(f"{line}\n" for line in lines).encode("ascii")
