"""How long to wait before another PIN is tried: counted from refusals that the log remembers, so across restarts too.

A token may count as well, and lock for good; this keeps whatever tries again and again from ever getting it there.
"""

from dataclasses import dataclass

DELAYS = ((10, 900), (5, 60))
"""From so many refusals in a row, so many seconds have to pass after the last one."""


@dataclass(frozen=True, slots=True)
class RefusedPins:
    """PINs that a token refused in a row, and when it refused the last of them (Unix seconds)."""

    count: int = 0
    last: int = 0

    def again(self, time: int) -> "RefusedPins":
        """Count one more."""
        return RefusedPins(self.count + 1, time)

    def seconds_left(self, now: int) -> int:
        """Give how many seconds have still to pass before the next PIN is tried; 0 when none."""
        delay = next((seconds for count, seconds in DELAYS if self.count >= count), 0)
        return min(max(self.last + delay - now, 0), delay)
