"""The files and folders that a line names: which it reads, which it writes, and how they are held to each other.

Every option and argument that is a path has one of these types, so that a verb is looked at by its own list of them.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from coldcred import outputs
from coldcred.files import FileKind
from coldcred.outputs import Input, Output

PARTIAL = ".partial"
"""What the file beside a batch's own is called, where outcomes are kept until all have come."""


class InputPath(click.Path):
    """A file or folder that is read; one that is written into settings too has to be `text`."""

    def __init__(self, *, text: bool = False) -> None:
        """Take any path; whether it can be read its reader says."""
        super().__init__(path_type=Path)
        self._text = text

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Refuse, where it has to be text, bytes that are no UTF-8: they arrive as surrogates."""
        if self._text and not str(value).isascii() and any("\ud800" <= one <= "\udfff" for one in str(value)):
            self.fail("it is not UTF-8 text", param, ctx)
        return super().convert(value, param, ctx)


class InputName(click.ParamType[str]):
    """What may be a file that is read, or may be something else: an id, or the URI of a card."""

    name = "text"

    def convert(self, value: object, _parameter: click.Parameter | None, _context: click.Context | None) -> str:
        """Take it as it is."""
        return str(value)


class OutputPath(click.Path):
    """A file that is written; `beside` are endings of files that are written next to it.

    Where the verb looks at the place itself, to say in its own words what is wrong, `looked` is False.
    """

    def __init__(self, kind: FileKind, *, beside: Sequence[str] = (), looked: bool = True) -> None:
        """Say what the file holds."""
        super().__init__(path_type=Path)
        self.kind = kind
        self.beside = tuple(beside)
        self.looked = looked


class RequestPath(click.Path):
    """A request's file: read where it is there, else written if the request waits."""

    def __init__(self) -> None:
        """Take any path."""
        super().__init__(path_type=Path)


def check(context: click.Context) -> None:
    """Look at what a line reads and writes before its verb begins; raises `OutputUnfit` or `OSError`."""
    written: list[Output] = []
    read: list[Input] = []
    here: click.Context | None = context
    while here is not None:
        for parameter in here.command.params:
            for value in _values(here.params.get(parameter.name or "")):
                _sort(parameter, Path(value), written, read)
        here = here.parent
    if written:
        outputs.check(written, read)


def _values(value: object) -> Iterator[str | Path]:
    match value:
        case str() | Path():
            yield value
        case tuple() | list():
            for each in value:
                yield from _values(each)


def _sort(parameter: click.Parameter, path: Path, written: list[Output], read: list[Input]) -> None:
    name = _name(parameter)
    match parameter.type:
        case OutputPath(kind=kind, beside=beside, looked=looked):
            written.append(Output(name, path, kind if looked else None))
            written += (Output(name, Path(f"{path}{end}")) for end in beside)
        case RequestPath() if not os.path.lexists(path):
            written.append(Output(name, path, FileKind.DOCUMENT))
        case RequestPath() | InputPath():
            read.append(Input(name, path))
        case InputName() if os.path.lexists(path):
            read.append(Input(name, path))


def _name(parameter: click.Parameter) -> str:
    options: Iterable[str] = parameter.opts if isinstance(parameter, click.Option) else ()
    return next((option for option in options if option.startswith("--")), (parameter.name or "").strip("_").upper())
