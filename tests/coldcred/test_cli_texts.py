"""What `coldcred` writes of what it was given: whichever verb, no byte of it moves a cursor."""

import argparse
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from coldcred.__main__ import main, parser
from coldcred.cli import speech

HOSTILE = "b\x1b]0;pwned\x07\x1b[2J\x9b\u202e\u2029\udcff\n\r\\x1b.jwt"


def verbs(found: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give every verb that the parser knows, nouns and the command itself included."""
    yield words
    for action in found._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from verbs(below, (*words, name))


VERBS = [*verbs(parser())]


def needed(words: tuple[str, ...]) -> list[str]:
    """Give as many of a verb's required arguments as let the parser come to what is wrong with the rest."""
    found = parser()
    for word in words:
        (nouns,) = (action for action in found._actions if isinstance(action, argparse._SubParsersAction))
        found = nouns.choices[word]
    given: list[str] = []
    for action in found._actions:
        if action.required and not isinstance(action, argparse._SubParsersAction):
            given += [*action.option_strings[:1], "x"]
    return given


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
@pytest.mark.parametrize("more", [[HOSTILE], [HOSTILE, HOSTILE], [f"--{HOSTILE}"], [f"-{HOSTILE}"]], ids=str)
def test_arguments_that_are_not_understood_move_no_cursor(
    words: tuple[str, ...], more: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A stray argument, an unknown option, a wrong command: one line, in printable ASCII, whatever they are called."""
    monkeypatch.chdir(tmp_path)
    with suppress(SystemExit):
        main([*words, *needed(words), *more])
    shown = capsys.readouterr()
    assert all(character == "\n" or " " <= character <= "~" for character in shown.out + shown.err)
    assert sum("error:" in line or line.startswith("coldcred:") for line in shown.err.splitlines()) == 1


def test_every_verb_is_walked() -> None:
    """The list is the parser's own."""
    assert {("verify",), ("bundle", "apply"), ("bundle", "inspect"), ("log", "verify"), ("site", "init")} <= {*VERBS}


def test_what_was_typed_and_what_was_escaped_differ() -> None:
    """A backslash stands as two."""
    assert speech.clean("\\x1b") == "\\\\x1b"
    assert speech.clean("\x1b") == "\\x1b"
    assert speech.clean("\u202e\x9b") == "\\u202e\\x9b"


def test_a_file_is_named_as_it_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of files are data, and are written so that they do nothing."""
    speech.put(speech.clean(HOSTILE))
    assert capsys.readouterr().out.rstrip("\n").isprintable()
