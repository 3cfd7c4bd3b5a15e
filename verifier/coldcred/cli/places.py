"""The files that a line names: which it reads, which it writes, and how they are held to each other.

Each argument that is a path has one of these types, and its value says so, so that a command is looked at by its own
list of them.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from coldcred import outputs
from coldcred.cli.speech import Misuse
from coldcred.files import FileKind
from coldcred.outputs import Input, Output, OutputUnfit


class Place(str):
    """A path as the person typed it, and what the line does with it."""

    __slots__ = ("given",)
    given: "Given"


class Given:
    """What a line does with a path: the type of an argument, by the name it has there."""

    def __init__(self, name: str, kind: FileKind | None = None, *, reads: bool = False, looked: bool = True) -> None:
        """Say what is written there (`kind`), if anything, and whether a file that is there is read.

        Where the command looks at the place itself, `looked` is False.
        """
        self.name = name
        self.kind = kind
        self.reads = reads
        self.looked = looked

    def __call__(self, text: str) -> Place:
        """Take the text of the argument."""
        place = Place(text)
        place.given = self
        return place


def reads(name: str) -> Given:
    """Give the type of an argument that names what is read; `-` is standard input."""
    return Given(name, reads=True)


def writes(name: str, kind: FileKind, *, looked: bool = True) -> Given:
    """Give the type of an argument that names a file to write."""
    return Given(name, kind, looked=looked)


def keeps(name: str, kind: FileKind) -> Given:
    """Give the type of an argument that names what is read where it is there, and made where it is not."""
    return Given(name, kind, reads=True)


def check(args: argparse.Namespace) -> None:
    """Look at what a line reads and writes before anything is done; raises `Misuse`."""
    written: list[Output] = []
    read: list[Input] = []
    for place in _places(vars(args)):
        given, path = place.given, Path(place)
        if given.kind is None or (given.reads and os.path.lexists(path)):
            read.append(Input(given.name, path))
        else:
            written.append(Output(given.name, path, given.kind if given.looked else None))
    if not written:
        return
    try:
        outputs.check(written, read)
    except OutputUnfit as error:
        raise Misuse(str(error)) from error
    except OSError as error:
        raise Misuse(f"{error.filename}: {error.strerror}") from error


def _places(members: dict[str, object]) -> Iterator[Place]:
    for value in members.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Place):
                yield one
