"""The disk reserve: when little is left, only what ends things or makes them safer is still taken in (rule R11).

So there is always room to revoke, to make the bundle that takes a revocation to its site, to suspend a key, to close
what is open and to stop in order; and, but for the last quarter of the reserve, to read what fills the disk.
"""

import os
from collections.abc import Callable
from pathlib import Path

from appliance.errors import Refusal, Refused
from coldcred.acts import STOPPING, Act

RESERVE = 64 * 1024 * 1024
"""Bytes that are kept for those."""

LAST = 16 * 1024 * 1024
"""Bytes of it that no reading uses: each one is an entry."""

LOOK_EVERY = 1.0
"""Seconds for which one look at the disk is good."""

_READING = Act.READ_OPEN


def free_bytes(folder: Path) -> int:
    """Give what the file system of `folder` has left for us; 0 where it cannot be told."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def is_low(free: int) -> bool:
    """Whether so many free bytes reach into the reserve."""
    return free < RESERVE


class Reserve:
    """Looks at the disk, not more often than it has to, and refuses what may not use the reserve."""

    def __init__(self, free: Callable[[], int]) -> None:
        """Ask `free` for the bytes that are left."""
        self._free = free
        self._left = 0
        self._good_until = float("-inf")

    def check(self, act: str, at: float) -> None:
        """Return when `act` may be taken in at `at` (seconds of any steady clock), else refuse."""
        if at >= self._good_until:
            self._left, self._good_until = self._free(), at + LOOK_EVERY
        kept = LAST if act == _READING else RESERVE
        if self._left < kept and act not in STOPPING and not act.startswith("key."):
            raise Refused(Refusal.DISK_RESERVE, f"{self._left} bytes are free, and {kept} are kept in reserve")
