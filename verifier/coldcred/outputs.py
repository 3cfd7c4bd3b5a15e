"""What one command line writes, held against what it reads and against what lies there, before anything is done.

No output is a key or another input of its line, under whatever name, and none goes into an appliance's home or a site's
trust store: nothing but their own program writes there.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coldcred.errors import ColdcredError
from coldcred.files import FileKind, check_place

HOME_MARKS = ("settings.toml", "founding.json")
STORE_MARKS = ("site.json", "generations")


class OutputUnfit(ColdcredError):
    """A file that is to be written would take the place of one that is needed."""

    @property
    def id(self) -> str:
        """Always `output-unfit`."""
        return "output-unfit"


@dataclass(frozen=True, slots=True)
class Input:
    """A file or folder that a line reads; `name` is the option or argument that says so."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a line writes. Without a `kind` its verb looks at the place itself."""

    name: str
    path: Path
    kind: FileKind | None = None


def check(outputs: Sequence[Output], inputs: Sequence[Input]) -> None:
    """Refuse outputs that would harm, or cannot be written; raises `OutputUnfit` or `OSError`, and changes nothing."""
    for place, output in enumerate(outputs):
        for read in inputs:
            if _same(output.path, read.path):
                raise OutputUnfit(f"{output.name} is {output.path}, which {read.name} reads; name another file")
            if _replaces_in(output.path, read.path):
                raise OutputUnfit(f"{output.name} is {output.path}, a file in what {read.name} reads; name another")
        for other in outputs[:place]:
            if _same(output.path, other.path):
                raise OutputUnfit(f"{output.name} and {other.name} are one file, {output.path}; name two")
        if (folder := _kept_by_others(output.path)) is not None:
            raise OutputUnfit(f"{output.name} is {output.path}, and nothing is written into {folder} by hand")
    for output in outputs:
        if output.kind is not None:
            check_place(output.path, output.kind)


def _same(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, as far as the file system can tell."""
    try:
        return one.samefile(other)
    except OSError:
        return _resolved(one) == _resolved(other)


def _replaces_in(path: Path, folder: Path) -> bool:
    return os.path.isdir(folder) and os.path.lexists(path) and _resolved(folder) in _resolved(path).parents  # noqa: PTH112 - which never raises


def _kept_by_others(path: Path) -> Path | None:
    """Give the home or trust store that a path leads into, if it leads into one."""
    for folder in _resolved(path).parents:
        for marks in (HOME_MARKS, STORE_MARKS):
            if all(os.path.lexists(folder / mark) for mark in marks):
                return folder
    return None


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a loop of links, which nothing can be written through
        return path.absolute()
