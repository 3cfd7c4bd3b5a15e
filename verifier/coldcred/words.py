"""Times, spans and lists as people read them; one way for every screen."""

from collections.abc import Iterable
from datetime import UTC, datetime

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def moment(time: int) -> str:
    """Write Unix seconds as RFC 3339 in UTC; what no calendar can write stays a number."""
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{time} s after 1970"


def span(seconds: int) -> str:
    """Write a span exactly: `24 hours`, `90 days`, `1 day 6 hours`. A day or two are written in hours."""
    if 0 < seconds < 3 * 86400 and seconds % 3600 == 0:
        return _counted(seconds // 3600, "hour")
    left, parts = seconds, []
    for unit, size in _UNITS:
        number, left = divmod(left, size)
        if number:
            parts.append(_counted(number, unit))
    return " ".join(parts) or "0 seconds"


def listed(items: Iterable[str], none: str = "none") -> str:
    """Write several names in a row."""
    return ", ".join(items) or none


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
