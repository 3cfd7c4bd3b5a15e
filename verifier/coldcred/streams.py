"""The standard streams of one run: there or not, and given up when they fail, so that nothing else is said wrongly."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

_STREAMS = (0, 1, 2)
_TALK = 2


def fill() -> None:
    """Put the null device where a standard stream is closed.

    The next file that the program opens would take its number otherwise, and what is meant for a person would be
    written into it, into the log's database for one.
    """
    for number in _STREAMS:
        if not _is_open(number):
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)


def inherited() -> frozenset[int]:
    """Give the descriptors that whoever started this program opened for it; to be asked before it opens any."""
    listed = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    return frozenset(number for number in listed if _is_open(number))


def _is_open(number: int) -> bool:
    """Whether a descriptor is open; the one that the folder was listed through is not any more."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream, which Python has as None where it was closed, is there and is a terminal."""
    return stream is not None and stream.isatty()


def escape_what_does_not_fit() -> None:
    """Write a character that the encoding of a stream lacks as an escape: a name is no reason to stop half-way."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def say(text: str, end: str = "\n") -> None:
    """Write talk to standard error; nobody being there to read it changes nothing of what is done."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(f"{text}{end}")
        stream.flush()
    except OSError:
        give_up(stream, _TALK)


def give_up(stream: TextIO | None, number: int) -> None:
    """Let nothing more be written to a stream that failed, so that the interpreter's own flush at its end is quiet."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, number)
    os.close(null)
    if stream is not None:
        with suppress(OSError, ValueError):
            stream.flush()
