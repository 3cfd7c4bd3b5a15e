"""PINs as values: how one token is opened, the PIN of two people's parts, and when another may be tried.

How long to wait is counted from refusals that the log remembers, so across restarts too. A token may count as well, and
lock for good; this keeps whatever tries again and again from ever getting it there.
"""

from collections.abc import Callable
from dataclasses import dataclass

from coldcred.log.system import PinMode

SHORTEST_PART, LONGEST_PART = 8, 32
"""Characters of one of the two parts; both together are what the tokens we know take."""

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


@dataclass(frozen=True, slots=True)
class Opening:
    """How one token is opened: what gives its PIN, in a buffer of the caller's own, and how it comes (R5)."""

    pin: Callable[[], bytearray]
    mode: PinMode


def part_fault(part: bytearray) -> str | None:
    """Say what keeps `part` from being one of the two parts of a ceremony token's PIN; None where nothing does."""
    if not SHORTEST_PART <= len(part) <= LONGEST_PART:
        # How many it has is not said: the other of the two people reads the screen.
        return f"a part has {SHORTEST_PART} to {LONGEST_PART} characters"
    if not all(ord("!") <= byte <= ord("~") for byte in part):
        return "it holds something other than printable ASCII without spaces"
    return None


def joined(first: bytearray, second: bytearray) -> bytearray:
    """Give the PIN that two parts make, the second right behind the first, and wipe both."""
    pin = bytearray(len(first) + len(second))
    # Through views: slices of an array itself would pass by way of copies that nobody wipes.
    memoryview(pin)[: len(first)] = first
    memoryview(pin)[len(first) :] = second
    for part in (first, second):
        part[:] = bytes(len(part))
    return pin
