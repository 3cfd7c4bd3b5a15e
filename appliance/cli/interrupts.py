"""Signals that end a run: each is the interrupt from the keyboard, so that every way out closes what was opened."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
"""What ends a program that does not take it; the interrupt itself is Python's own."""


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Turn each ending signal into an interrupt; one that the caller ignores (`nohup`) stays ignored.

    Needs the main thread.
    """
    before = {}
    try:
        for number in ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, _interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)
