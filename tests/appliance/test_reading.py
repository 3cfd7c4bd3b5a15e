"""Reading before signing: at a terminal everything passes the screen before the question, or nothing is asked."""

import re
import sys

from coldcred.rendering import frame
from tests.support.commandline import run
from tests.support.screen import ROWS, Terminal, at_terminal

SCRIPT = """
import sys
import click
from appliance.cli import reading
from coldcred.rendering import frame

lines = [frame.said("begin"), *(frame.given(f"line {n} " + "x" * (n % 100)) for n in range(100)), frame.said("the end")]
try:
    reading.agree(lines, "sign this?", yes="--yes" in sys.argv)
except click.Abort:
    sys.exit(7)
print("signed")
"""
COMMAND = [sys.executable, "-P", "-c", SCRIPT]
LINES = [frame.given(f"line {n} " + "x" * (n % 100)) for n in range(100)]
WAITS, ASKS = b"q leaves --", b"sign this? [y/N]: "


class Reader:
    """Somebody who goes on `pages` times, then leaves; or who answers when asked."""

    def __init__(self, pages: int = 1000, ahead: str = "") -> None:
        self.pages, self.ahead, self.turned, self.asked = pages, ahead, 0, False

    def __call__(self, terminal: Terminal) -> None:
        """Type what comes next."""
        if bytes(terminal.screen).count(WAITS) > self.turned:
            self.turned += 1
            terminal.type(" " + self.ahead if self.turned <= self.pages else "q")
        elif terminal.screen.endswith(ASKS) and not self.asked:
            self.asked = True
            terminal.type("y\n")


def test_everything_passes_the_screen_before_the_question() -> None:
    """At 80x24 every row is written, page by page, none longer than the screen, and then the question."""
    reader = Reader()
    code, screen = at_terminal(COMMAND, reader)
    assert (code, reader.asked) == (0, True), screen
    text = re.sub(r"-- rows \d+ of \d+; space goes on, q leaves --\r +\r", "", screen).replace("\r\n", "\n")
    before, _, _ = text.partition("sign this?")
    laid = ["  begin", *(f"  {row}" for row in frame.rows(LINES, 77)), "  the end"]
    assert before.splitlines() == laid
    assert max(map(len, laid)) < 80
    assert reader.turned == -(-len(laid) // (ROWS - 2)) - 1


def test_whoever_leaves_before_the_end_signs_nothing() -> None:
    """`q` ends it; the question was never asked."""
    code, screen = at_terminal(COMMAND, Reader(pages=2))
    assert code == 7
    assert "sign this?" not in screen
    assert "the end" not in screen


def test_an_answer_typed_ahead_is_none() -> None:
    """What was typed before the question, and before the last page, answers nothing."""
    reader = Reader(ahead="y\ny\n")

    def answer(terminal: Terminal) -> None:
        if terminal.screen.endswith(ASKS):
            reader.asked = True
            terminal.type("n\n")
        else:
            reader(terminal)

    code, screen = at_terminal(COMMAND, answer)
    assert (code, reader.asked) == (7, True), screen
    assert "signed" not in screen


def test_the_terminal_says_how_wide_it_is() -> None:
    """Neither a variable nor where standard output goes makes rows wider than the screen."""
    line = ["/usr/bin/env", "COLUMNS=200", "LINES=900", "/bin/sh", "-c", 'exec "$@" > /dev/null', "sh", *COMMAND]
    reader = Reader()
    code, screen = at_terminal(line, reader, columns=50)
    assert (code, reader.asked) == (0, True), screen
    assert max(len(row) for row in re.split(r"[\r\n]+", screen) if not row.startswith("--")) < 50
    assert reader.turned > 5


def test_off_a_terminal_it_is_written_whole() -> None:
    """Nobody is asked where nobody is there, and every row stands on standard error."""
    ended = run(COMMAND)
    assert (ended.code, ended.out) == (0, "signed\n"), ended
    assert ended.err.splitlines() == ["  begin", *(f"  {row}" for row in frame.rows(LINES, 77)), "  the end"]
