"""Killing a real process at its n-th system call of a kind, so that every point of a crash can be visited."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?([a-z0-9_]+)\((.*)")
CALLS = (
    *(
        "openat",
        "open",
        "mkdirat",
        "mkdir",
        "write",
        "fsync",
        "symlinkat",
        "symlink",
        "renameat",
        "renameat2",
        "rename",
    ),
    *("unlinkat", "unlink", "rmdir", "close", "flock", "getdents64", "readlinkat"),
)
"""What an apply does to a disk; some of the names do not exist on every processor."""


@dataclass(frozen=True)
class Point:
    """The n-th (from 1) system call of a name in the whole life of a process."""

    call: str
    number: int


def _strace(program: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
    command = ["strace", "-f", "-qq", "-e", f"trace={','.join(f'?{call}' for call in CALLS)}", *options]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    return subprocess.run(
        [*command, sys.executable, *program], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def points(program: Sequence[str], log: Path, begin: str) -> list[Point]:
    """Run a Python program to its end and give each of its system calls after the first that contains `begin`."""
    done = _strace(program, "-o", str(log))
    assert done.returncode == 0, done.stderr
    seen: dict[str, int] = {}
    found: list[Point] = []
    begun = False
    for line in log.read_text().splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        call, rest = match.groups()
        seen[call] = seen.get(call, 0) + 1
        begun = begun or begin in f"{call}({rest}"
        if begun:
            found.append(Point(call, seen[call]))
    return found


def kill_at(program: Sequence[str], point: Point) -> bool:
    """Run a Python program and kill it at one system call; whether it came so far."""
    done = _strace(program, "-o", os.devnull, "-e", f"inject={point.call}:signal=KILL:when={point.number}")
    return done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}
