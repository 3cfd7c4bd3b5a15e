"""Memory that holds secrets: no core dump, out of reach of other processes of the same user, off the swap.

The one place that asks the system for it. None of it stops root.
"""

import ctypes
import os
import resource
from typing import ClassVar

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38


class Unguarded(Exception):
    """The system refuses to guard this process's memory, so no secret may come into it."""

    id: ClassVar[str] = "memory-unguarded"

    def __init__(self, detail: str) -> None:
        """Say what was refused."""
        super().__init__(detail)
        self.detail = detail


def guard() -> None:
    """Leave no core, and let no other process of this user read the memory or attach; raises `Unguarded`.

    A program that is exec'd begins without the second; what it is given through `exec` keeps the first.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        raise Unguarded(f"setrlimit: {error}") from error
    _prctl(_PR_SET_DUMPABLE, 0)


def gain_nothing() -> None:
    """Gain no privilege by whatever is exec'd from here on; raises `Unguarded`."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def hold(secret: bytearray) -> bool:
    """Keep a secret's pages off the swap, where the system lets us; says whether it does.

    They stay so until the process ends: another secret may lie on the same page.
    """
    if not secret:
        return True
    area = (ctypes.c_char * len(secret)).from_buffer(secret)
    return bool(_library().mlock(ctypes.byref(area), ctypes.c_size_t(len(secret))) == 0)


def wipe(*secrets: bytearray) -> None:
    """Overwrite secrets where they lie."""
    for secret in secrets:
        secret[:] = bytes(len(secret))


def _prctl(option: int, value: int) -> None:
    call = getattr(_library(), "prctl", None)
    if call is None:
        raise Unguarded("this system has no prctl")
    if call(option, value, 0, 0, 0) != 0:
        raise Unguarded(f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
