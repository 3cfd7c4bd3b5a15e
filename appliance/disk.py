"""The disk reserve: when little is left, only what ends things or makes them safer is still taken in (rule R11).

So there is always room to revoke, to make the bundle that takes a revocation to its site, to suspend a key, to close
what is open and to stop in order; and, but for the last quarter of the reserve, to read what fills the disk. Nobody
uses up what the others need: each signer has a share of it.
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

SHARE = 8 * 1024 * 1024
"""Bytes of it that one signer uses, until there is room again; the submission that goes beyond is the last."""

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
        self._used: dict[str, int] = {}

    def check(self, act: str, at: float) -> None:
        """Return when `act` may be taken in at `at` (seconds of any steady clock), else refuse."""
        if at >= self._good_until:
            self._left, self._good_until = self._free(), at + LOOK_EVERY
            if not is_low(self._left):
                self._used.clear()
        kept = LAST if act == _READING else RESERVE
        if self._left < kept and act not in STOPPING and not act.startswith("key."):
            raise Refused(Refusal.DISK_RESERVE, f"{self._left} bytes are free, and {kept} are kept in reserve")

    def wrote(self, signer: str, size: int) -> None:
        """Note what was written in a signer's name; while there is room that is nobody's share."""
        if is_low(self._left):
            self._used[signer] = self._used.get(signer, 0) + size

    def check_share(self, signer: str) -> None:
        """Return while a signer has not used up their share, else refuse."""
        if self._used.get(signer, 0) >= SHARE:
            detail = f"{signer} has used {SHARE} bytes of what is kept in reserve, and the rest is for the others"
            raise Refused(Refusal.DISK_RESERVE, detail)
