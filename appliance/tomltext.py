"""TOML that people write, read as values that every document of ours can hold; a fault names the member.

A byte order mark, as some editors write it, is passed over. Dates, fractions and numbers that no document holds are
refused where they stand, so that nothing later trips over one.
"""

import tomllib
from typing import Any

from coldcred.canonical import MAX_INTEGER, Json
from coldcred.errors import Malformed

_MARK = b"\xef\xbb\xbf"
_DEEPEST = 8


def read(data: bytes, max_bytes: int, what: str) -> dict[str, Json]:
    """Read a TOML document of at most `max_bytes` bytes; `Malformed` begins with `what` and names the member."""
    if len(data) > max_bytes:
        raise Malformed(f"{what}: {len(data)} bytes where at most {max_bytes} are read")
    try:
        members = tomllib.loads(data.removeprefix(_MARK).decode())
    except UnicodeDecodeError as error:
        raise Malformed(f"{what}: not UTF-8") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise Malformed(f"{what}: not TOML: {str(error)[:160]}") from error
    _check(members, what, "", _DEEPEST)
    return members


def _check(value: Any, what: str, where: str, left: int) -> None:  # noqa: ANN401 - whatever TOML has
    """Hold a value, and all below it, to what a document of ours can hold."""
    if left == 0:
        raise Malformed(f"{what}: member {where[:80]!a} is nested too deeply")
    match value:
        case bool() | str():
            return
        case int() if abs(value) <= MAX_INTEGER:
            return
        case dict():
            for name, item in value.items():
                path = f"{where}.{name}" if where else name
                if not name.isascii():
                    raise Malformed(f"{what}: member {path[:80]!a} has a name that is not ASCII")
                _check(item, what, path, left - 1)
        case list():
            for place, item in enumerate(value):
                _check(item, what, f"{where}[{place}]", left - 1)
        case _:
            kind = "an integer beyond 2^53-1" if isinstance(value, int) else f"a {type(value).__name__}"
            raise Malformed(f"{what}: member {where[:80]!a} is {kind}, which belongs nowhere here")
