"""Times and spans in words, for lines that people read and sign for."""

from datetime import UTC, datetime

_UNITS = ((24 * 3600, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def moment(time: int) -> str:
    """Write Unix seconds as RFC 3339 in UTC; a number beyond all calendars stays one."""
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(time)


def span(seconds: int) -> str:
    """Write a number of seconds exactly, unit by unit: `1 day 6 hours`."""
    if seconds <= 0:
        return counted(seconds, "second")
    parts = []
    for size, unit in _UNITS:
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(counted(number, unit))
    return " ".join(parts)


def counted(number: int, what: str) -> str:
    """Write how many there are of something: `1 line`, `2 lines`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
