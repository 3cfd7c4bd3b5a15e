"""Reading before signing: what is to be signed is shown whole, paged to its end, and only then asked about.

In a terminal what does not fit is paged: space or Enter goes on, q leaves without an answer, and there is no key that
jumps over the rest. Anywhere else it is written whole to standard error, in rows of 80 columns.

    reading.agree(lines, "approve this request?", yes=yes)

`lines` are those of `coldcred.rendering.frame`. It returns where the person agreed, and raises `click.Abort` otherwise.
"""

import os
import sys
import termios
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TextIO

import click

from appliance.cli.session import Session
from appliance.cli.terminal import Terminal
from coldcred import streams
from coldcred.rendering import frame

_MARGIN = "  "
_COLUMNS, _ROWS = 80, 24
_GO_ON, _LEAVE = frozenset({b" ", b"\r", b"\n"}), frozenset({b"q", b"Q", b""})


def agree(lines: Iterable[str], question: str, *, yes: bool = False) -> None:
    """Show lines to their end, then ask; `yes` answers beforehand, and where nobody is at a terminal nobody is asked.

    Raises `click.Abort` where the person says no, or leaves before the end.
    """
    asks = streams.is_terminal(sys.stdin) and not yes
    laid = rows(lines, err=True)
    if asks and streams.is_terminal(sys.stderr):
        _page(laid)
    else:
        _write(laid)
    if asks:
        termios.tcflush(sys.stdin, termios.TCIFLUSH)  # an answer is given to the question, after it was asked
        context = click.get_current_context(silent=True)
        session = None if context is None else context.find_object(Session)
        with _given_back(Terminal()) if session is None else nullcontext(session.terminal) as terminal:
            if not terminal.agrees(question):
                raise click.Abort


@contextmanager
def _given_back(terminal: Terminal) -> Iterator[Terminal]:
    try:
        yield terminal
    finally:
        terminal.release()


def rows(lines: Iterable[str], *, err: bool = False) -> list[str]:
    """Lay lines out for standard output, or for standard error: as wide as the terminal, else 80 columns."""
    columns, _ = _size(sys.stderr if err else sys.stdout)
    return [_MARGIN + row for row in frame.rows(lines, columns - len(_MARGIN) - 1)]


def _size(stream: TextIO | None) -> tuple[int, int]:
    """Give columns and rows of the terminal that a stream writes to, as the terminal itself says them.

    No variable is asked: where it said more columns than there are, the terminal would make rows of its own.
    """
    if stream is None or not streams.is_terminal(stream):
        return _COLUMNS, _ROWS
    found = os.get_terminal_size(stream.fileno())
    return found.columns or _COLUMNS, found.lines or _ROWS


def _page(laid: Sequence[str]) -> None:
    """Write rows a screenful at a time, and wait for a key wherever more is to come."""
    place = 0
    with _keys() as next_key:
        while True:
            fits = max(_size(sys.stderr)[1] - 2, 1)
            _write(laid[place : place + fits])
            place += fits
            if place >= len(laid):
                return
            _wait(f"-- rows {place} of {len(laid)}; space goes on, q leaves --", next_key)


def _wait(prompt: str, next_key: Callable[[], bytes]) -> None:
    """Wait until the person goes on; raises `click.Abort` where they leave, or are gone.

    What was typed before they saw the screen turns no page.
    """
    termios.tcflush(sys.stdin, termios.TCIFLUSH)
    streams.say(prompt, end="")
    try:
        while (key := next_key()) not in _GO_ON:
            if key in _LEAVE:
                raise click.Abort
    finally:
        streams.say(f"\r{' ' * len(prompt)}\r", end="")


@contextmanager
def _keys() -> Iterator[Callable[[], bytes]]:
    """Take single keys, unseen, from the terminal at standard input; what was typed before is dropped."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = termios.tcgetattr(terminal)
    silent[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)

    def next_key() -> bytes:
        return os.read(terminal, 1)

    try:
        yield next_key
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


def _write(laid: Iterable[str]) -> None:
    for row in laid:
        streams.say(row)
