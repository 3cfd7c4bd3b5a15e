"""Reading before signing: what is to be signed is shown whole, paged to its end, and only then asked about.

In a terminal what does not fit is paged: space or Enter goes on, q leaves without an answer, and there is no key that
jumps over the rest. Anywhere else it is written whole to standard error, in rows of 80 columns.

    reading.agree(lines, "approve this request?", yes=yes)

`lines` are those of `coldcred.rendering.frame`. It returns where the person agreed, and raises `click.Abort` otherwise.
"""

import os
import sys
import termios
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TextIO

import click

from appliance.cli.session import Session
from appliance.cli.terminal import Terminal
from coldcred import streams
from coldcred.rendering import frame

_MARGIN = "  "
_COLUMNS, _ROWS = 80, 24
_GO_ON, _LEAVE = frozenset({b" ", b"\r", b"\n"}), frozenset({b"q", b"Q"})


def agree(lines: Iterable[str], question: str, *, yes: bool = False) -> None:
    """Show lines to their end, then ask; `yes` answers beforehand, and where nobody is at a terminal nobody is asked.

    Raises `click.Abort` where the person says no, or leaves before the end.
    """
    asks = streams.is_terminal(sys.stdin) and not yes
    laid = rows(lines, err=True)
    if not asks:
        _write(laid)
        return
    context = click.get_current_context(silent=True)
    session = None if context is None else context.find_object(Session)
    with _given_back(Terminal()) if session is None else nullcontext(session.terminal) as terminal:
        if streams.is_terminal(sys.stderr):
            _page(laid, terminal)
        else:
            _write(laid)
        termios.tcflush(sys.stdin, termios.TCIFLUSH)  # an answer is given to the question, after it was asked
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


def _page(laid: Sequence[str], terminal: Terminal) -> None:
    """Write rows a screenful at a time, and wait for a key wherever more is to come.

    Raises `click.Abort` where the person leaves, or is gone. What was typed before they saw the screen turns no page.
    """
    place = 0
    while True:
        fits = max(_size(sys.stderr)[1] - 2, 1)
        _write(laid[place : place + fits])
        place += fits
        if place >= len(laid):
            return
        prompt = f"-- rows {place} of {len(laid)}; space goes on, q leaves --"
        if terminal.key(prompt, _GO_ON | _LEAVE) not in _GO_ON:
            raise click.Abort


def _write(laid: Iterable[str]) -> None:
    for row in laid:
        streams.say(row)
