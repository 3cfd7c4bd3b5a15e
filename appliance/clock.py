"""The clock of the appliance: wall time in whole Unix seconds, held against the newest entry of the log."""

import time
from typing import Protocol

from appliance.errors import HomeError, HomeFault
from coldcred.canonical import Json
from coldcred.record import MAX_TIME

LARGEST_STEP_BACK = 2


class Clock(Protocol):
    """Where the appliance gets the time from."""

    def now(self) -> int:
        """Give Unix seconds UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> int:
        """Give the machine's time (`usable`)."""
        return usable(time.time())


def usable(time: float) -> int:
    """Give whole Unix seconds; a time before 1970, or after the last that documents hold, is a `HomeError`."""
    if not 0 <= time <= MAX_TIME:
        raise HomeError(HomeFault.CLOCK_UNUSABLE, f"this machine's clock says {int(time)} s after 1970")
    return int(time)


def guarded(now: int, newest: int) -> int:
    """Give the time to write: never before `newest`, the log's last time, and not far behind it either.

    A clock that went back by more than two seconds is a `HomeError` (clock-behind-log): nothing is decided with it.
    """
    if _is_behind(now, newest):
        detail = f"the clock is {newest - now} s behind the newest entry of the log"
        raise HomeError(HomeFault.CLOCK, detail)
    return max(now, newest)


def noticed(now: int, newest: int, *, behind: bool) -> list[dict[str, Json]]:
    """Give the event, if any, that the clock is behind the log from now on, or is right again; `behind`: it was."""
    if _is_behind(now, newest) == behind:
        return []
    return [{"type": "clock.right"}] if behind else [{"type": "clock.behind", "seconds": newest - now}]


def _is_behind(now: int, newest: int) -> bool:
    return now < newest - LARGEST_STEP_BACK
