"""A caller's own mistakes, told apart from what comes from outside: each is a `ValueError` with a sentence."""

import math
import os


def check_now(now: object) -> None:
    """Return when `now` is a finite number, which any clock may show (`ValueError`)."""
    try:
        number = isinstance(now, (int, float)) and not isinstance(now, bool) and math.isfinite(now)
    except OverflowError:  # an integer that no float is as large as
        number = False
    if not number:
        raise ValueError("now is a number of Unix seconds")


def check_path(path: object) -> None:
    """Return when `path` could name a file on this system (`ValueError`)."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ValueError("a path is a text or a path that is not empty")
    try:
        named = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise ValueError("a path with characters that no file name has") from error
    if b"\0" in named:
        raise ValueError("a path with a NUL character")
