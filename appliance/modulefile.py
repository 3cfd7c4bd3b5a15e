"""Whether the file of a PKCS#11 module may be loaded: whoever can write it runs code with the PIN in its hands."""

import os
import stat
from pathlib import Path

KNOWN = ("/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local/lib", "/usr/local/lib64", "/lib", "/lib64", "/opt")
"""Where systems and vendors install modules; from anywhere else one is asked about before its code runs."""

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def fault(path: Path) -> str | None:
    """Say who beside root and this user may change what is loaded from `path`; None where nobody may.

    The file itself and every folder on the way, links followed. A folder where all may write, but only owners may
    rename and remove (sticky), lets nobody replace what is in it. What is not there is left to whoever loads it.
    """
    try:
        found = path.resolve(strict=True)
        status = found.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a file"
    for place in (found, *found.parents):
        status = place.stat()
        if status.st_uid not in {0, os.geteuid()}:
            return f"{place} belongs to user {status.st_uid}, neither to root nor to you"
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_mode & _OTHERS and not sticky:
            return f"{place} can be written by others (mode {stat.S_IMODE(status.st_mode):04o})"
    return None


def is_known(path: Path) -> bool:
    """Whether a module lies where modules are installed, links followed."""
    found = path.resolve()
    return any(found.is_relative_to(folder) for folder in KNOWN)
