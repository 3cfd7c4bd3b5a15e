"""Markdown documents as the tests read them: headings, tables, code spans and links."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_HEADING = re.compile(r"^(#{1,4}) (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_RULE_ROW = re.compile(r"[-: |]+")


@dataclass(frozen=True)
class Document:
    """One document; `text` is the whole of it, `prose` the same without fenced blocks."""

    path: Path
    text: str
    prose: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the document at `path`."""
        text = path.read_text(encoding="utf-8")
        return cls(path, text, _FENCE.sub("", text))

    @property
    def headings(self) -> list[str]:
        """The headings, in order."""
        return [found[2] for found in _HEADING.finditer(self.prose)]

    @property
    def anchors(self) -> set[str]:
        """What a link can name after a `#`."""
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in self.headings}

    @property
    def links(self) -> list[str]:
        """The targets of links."""
        return _LINK.findall(self.prose)

    @property
    def codes(self) -> list[str]:
        """All code spans, in order."""
        return codes(self.prose)

    def section(self, heading: str) -> str:
        """Give what stands under a heading, up to the next one; there is exactly one of that name."""
        (found,) = (place for place in _HEADING.finditer(self.prose) if place[2] == heading)
        later = _HEADING.search(self.prose, found.end())
        return self.prose[found.end() : later.start() if later else None]

    def table(self, heading: str) -> list[list[str]]:
        """Give the rows of the one table under a heading, without its head; each cell is a text."""
        lines = [line.strip() for line in self.section(heading).splitlines()]
        rows = [line for line in lines if line.startswith("|") and line.endswith("|")]
        assert len(rows) > 2, f"{self.path.name}: no table under {heading!r}"
        assert _RULE_ROW.fullmatch(rows[1]), f"{self.path.name}: more than a table's head under {heading!r}"
        found = [[cell.strip() for cell in row[1:-1].split("|")] for row in rows[2:]]
        widths = {len(row) for row in found}
        assert len(widths) == 1, f"{self.path.name}: rows of {widths} cells under {heading!r}"
        return found

    def ids(self, heading: str, column: int = 0) -> list[str]:
        """Give the code spans in one column of the table under a heading, in order."""
        return [code for row in self.table(heading) for code in codes(row[column])]


def codes(text: str) -> list[str]:
    """Give the code spans of a text, in order."""
    return _CODE.findall(text)
