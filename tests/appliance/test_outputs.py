"""What a line writes against what it reads: every verb of both commands, by its own list of options and arguments."""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from appliance import home
from appliance.cli.app import main as coldcredctl
from appliance.cli.app import root
from appliance.cli.grammar import Duration, Noun, Verb
from appliance.cli.places import InputName, InputPath, OutputPath, RequestPath
from coldcred import layout, outputs
from coldcred.__main__ import main as coldcred
from coldcred.__main__ import parser
from coldcred.cli.places import Given
from coldcred.files import FileKind

BYTES = b"what nobody could make again"


@dataclass(frozen=True)
class Place:
    """An option or argument that is a path: how it is written, and what is done with it."""

    words: tuple[str, ...]
    reads: bool
    kind: FileKind | None
    looked: bool = True


@dataclass(frozen=True)
class Line:
    """A verb of one of the commands: its words, what it needs beside paths, and its paths."""

    command: str
    verb: tuple[str, ...]
    needed: tuple[str, ...]
    places: tuple[Place, ...]
    required: tuple[Place, ...]

    def run(self, given: dict[Place, Path], folder: Path) -> int:
        """Run it with paths for some of its places; what it requires and was not given lies in `folder`."""
        before: list[str] = []
        words = [*self.verb, *self.needed]
        for number, place in enumerate(self.required):
            given.setdefault(place, folder / f"other-{number}")
        for place in self.places:
            if place not in given:
                continue
            path = given[place]
            target = before if place.words == ("--as",) else words
            target += [*place.words, str(path)]
        if self.command == "coldcredctl":
            return coldcredctl(["--home", str(folder / "no-home"), *before, *words])
        return coldcred(words)

    def __str__(self) -> str:
        return " ".join((self.command, *self.verb))


def _ctl() -> Iterator[Line]:
    context = click.Context(root)
    stack: list[tuple[tuple[str, ...], click.Command]] = [((), root)]
    who = Place(("--as",), reads=True, kind=None)
    while stack:
        words, command = stack.pop()
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                stack.append(((*words, name), found))
            continue
        places, required, needed = [who], [], []
        for parameter in command.params:
            option = () if isinstance(parameter, click.Argument) else (parameter.opts[0],)
            match parameter.type:
                case OutputPath(kind=kind, looked=looked):
                    found_place = Place(option, reads=False, kind=kind, looked=looked)
                case RequestPath():
                    found_place = Place(option, reads=True, kind=FileKind.DOCUMENT)
                case InputPath() | InputName():
                    found_place = Place(option, reads=True, kind=None)
                case _:
                    if parameter.required:
                        needed += [*option, _example(parameter.type)]
                    continue
            places.append(found_place)
            if parameter.required:
                required.append(found_place)
        yield Line("coldcredctl", words, tuple(needed), tuple(places), tuple(required))


def _example(kind: click.ParamType[Any]) -> str:
    match kind:
        case click.Choice(choices=choices):
            return str(choices[0])
        case Duration():
            return "1h"
        case click.types.IntParamType():
            return "1"
    return "x"


def _site() -> Iterator[Line]:
    stack: list[tuple[tuple[str, ...], argparse.ArgumentParser]] = [((), parser())]
    while stack:
        words, command = stack.pop()
        places, required, needed = [], [], []
        for action in command._actions:
            if isinstance(action, argparse._SubParsersAction):
                stack += [((*words, name), below) for name, below in action.choices.items()]
                break
            option = tuple(action.option_strings[-1:])
            if isinstance(action.type, Given):
                place = Place(option, action.type.reads, action.type.kind, action.type.looked)
                places.append(place)
                if action.required:
                    required.append(place)
            elif action.required:
                needed += [*option, "x"]
        else:
            yield Line("coldcred", words, tuple(needed), tuple(places), tuple(required))


LINES = sorted([*_ctl(), *_site()], key=str)
WRITING = [line for line in LINES if any(place.kind is not None for place in line.places)]
OUTPUTS = [(line, place) for line in WRITING for place in line.places if place.kind is not None]
PAIRS = [(line, output, read) for line, output in OUTPUTS if not output.reads for read in line.places if read.reads]


def named(value: object) -> str:
    """Name a case after its verb and options."""
    match value:
        case Line():
            return str(value)
        case Place(words=words, reads=reads):
            return " ".join(words) or ("read" if reads else "written")
    return str(value)


def test_every_path_says_what_is_done_with_it() -> None:
    """No verb takes a path without saying whether it is read or written, and each verb is looked at."""
    context = click.Context(root)
    stack: list[click.Command] = [root]
    while stack:
        command = stack.pop()
        for parameter in command.params:
            assert type(parameter.type) is not click.Path, (command.name, parameter.name)
        if isinstance(command, click.Group):
            assert isinstance(command, Noun)
            stack += [found for name in command.list_commands(context) if (found := command.get_command(context, name))]
        else:
            assert isinstance(command, Verb)
    paths = {"FILE", "DIR", "PATH", "EXPORT", "ROOT.json"}
    below = [parser()]
    while below:
        for action in below.pop()._actions:
            if isinstance(action, argparse._SubParsersAction):
                below += action.choices.values()
            elif action.metavar in paths:
                assert isinstance(action.type, Given), action
    assert len(OUTPUTS) > 20


@pytest.mark.parametrize("spelling", ["same", "link", "hard-link", "dotted"])
@pytest.mark.parametrize(("line", "output", "read"), PAIRS, ids=named)
def test_no_output_takes_the_place_of_an_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: Line, output: Place, read: Place, spelling: str
) -> None:
    """The file that one option reads is not written by another, however it is named; the line is refused as misuse."""
    (tmp_path / "needed").write_bytes(BYTES)
    (tmp_path / "folder").mkdir()
    path = tmp_path / "needed"
    match spelling:
        case "link":
            path = tmp_path / "link"
            path.symlink_to("needed")
        case "hard-link":
            path = tmp_path / "hard"
            path.hardlink_to(tmp_path / "needed")
        case "dotted":
            path = tmp_path / "folder" / ".." / "needed"
    code = line.run({output: path, read: tmp_path / "needed"}, tmp_path)
    said = capsys.readouterr()
    assert code == 2, said
    assert "reads; name another" in said.err, said
    assert (tmp_path / "needed").read_bytes() == BYTES
    assert not list(tmp_path.glob(".coldcred-*"))


@pytest.mark.parametrize(("line", "output"), OUTPUTS, ids=named)
def test_no_output_goes_into_a_home_or_a_trust_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: Line, output: Place
) -> None:
    """No file of a home or of a trust store is written by a line, whether there is one of that name or not."""
    for marks, names in ((outputs.HOME_MARKS, HOME), (outputs.STORE_MARKS, STORE)):
        folder = tmp_path / marks[0]
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(BYTES)
        for name in (*names, "new"):
            if output.reads and name != "new":
                continue  # a file that is there is read, and not written
            assert line.run({output: folder / name}, tmp_path) == 2
            assert "nothing is written into" in capsys.readouterr().err
        assert {path.read_bytes() for path in folder.rglob("*") if path.is_file()} == {BYTES}


HOME = (home.SETTINGS, home.FOUNDING, home.LOG, home.LOCK)
STORE = (layout.PINS, layout.ROOT, layout.SITE_KEY, layout.LOCK, f"{layout.GENERATIONS}/1/{layout.JWKS}")


def test_homes_and_stores_are_known_by_files_that_they_have() -> None:
    """The marks are names of the home's and the store's own lists."""
    assert set(outputs.HOME_MARKS) <= {home.SETTINGS, home.FOUNDING}
    assert set(outputs.STORE_MARKS) <= {layout.PINS, layout.GENERATIONS}


@pytest.mark.parametrize(
    ("line", "output"),
    [(line, output) for line, output in OUTPUTS if output.looked and not output.reads],
    ids=named,
)
def test_what_is_wrong_with_a_place_is_said_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: Line, output: Place
) -> None:
    """A file that is never written over, a folder, a pipe and a folder that is not there: said first."""
    there, pipe = tmp_path / "there", tmp_path / "pipe"
    there.write_bytes(BYTES)
    os.mkfifo(pipe)
    assert output.kind is not None
    wrong: Sequence[Path] = [
        tmp_path,
        Path("/"),
        pipe,
        tmp_path / "missing" / "file",
        *([there] if output.kind.once else []),
    ]
    for path in wrong:
        code = line.run({output: path}, tmp_path)
        said = capsys.readouterr()
        assert code == (5 if line.command == "coldcredctl" else 2), said
        assert str(path) in said.err
        assert "passphrase" not in said.err
    assert there.read_bytes() == BYTES
