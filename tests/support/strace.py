"""strace as a fault injector: end a process at its n-th system call of a kind, or let that call fail.

The number counts the calls of one thread, as strace does; the first thread that gets so far meets the fault. A path
narrows the count to calls on that file, which is how the rarer threads are reached.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"^(\d+) +([a-z0-9_]+)\((.*)")


@dataclass(frozen=True)
class Point:
    """The n-th (from 1) system call of a name in a thread; with `path`, of those on this file."""

    call: str
    number: int
    path: Path | None = None

    def kill(self) -> list[str]:
        """Give the command that runs another one and ends it with SIGKILL at this point."""
        return self._inject(f"signal=SIGKILL:when={self.number}")

    def signal(self, name: str) -> list[str]:
        """Give the command that runs another one, which gets a signal, such as `SIGTERM`, after this call."""
        return self._inject(f"signal={name}:when={self.number}")

    def fail(self, error: str, *, on: bool = True) -> list[str]:
        """Give the command under which this call fails with an errno's name; `on`: and all later ones too."""
        return self._inject(f"error={error}:when={self.number}{'+' if on else ''}")

    def delay(self, seconds: float) -> list[str]:
        """Give the command under which this call and all later ones take `seconds` longer."""
        return self._inject(f"delay_enter={int(seconds * 1_000_000)}:when={self.number}+")

    def _inject(self, what: str) -> list[str]:
        path = [] if self.path is None else ["-P", str(self.path)]
        options = [*path, "-e", f"trace={self.call}", "-e", f"inject={self.call}:{what}"]
        return strace(*options)


def strace(*options: str, output: Path | None = None) -> list[str]:
    """Give the command that traces another one and all it starts."""
    return ["strace", "-f", "-qq", "-o", os.devnull if output is None else str(output), *options]


def counting(calls: Iterable[str], output: Path) -> list[str]:
    """Give the command that notes calls with the files they are about, for `points`."""
    return strace("-y", "-e", f"trace={','.join(calls)}", output=output)


def points(output: Path, files: Sequence[Path], anywhere: Iterable[str]) -> list[Point]:
    """Give each point that a traced run passed: calls on each of `files`, and the calls named `anywhere` on any."""
    counts: Counter[tuple[str, str, Path | None]] = Counter()
    for line in output.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, call, rest = match.groups()
        counts[thread, call, None] += 1
        for file in files:
            if f"<{file}>" in rest or f'"{file}"' in rest:
                counts[thread, call, file] += 1
    most: dict[tuple[str, Path | None], int] = {}
    for (_, call, path), count in counts.items():
        if path is not None or call in anywhere:
            most[call, path] = max(count, most.get((call, path), 0))
    order = sorted(most, key=lambda kind: (kind[1] is None, str(kind[1]), kind[0]))
    return [Point(call, number, path) for call, path in order for number in range(1, most[call, path] + 1)]


def spread(found: Sequence[Point], most: int) -> list[Point]:
    """Choose at most so many points, evenly spread, the first and the last among them."""
    if len(found) <= most:
        return [*found]
    return [found[place * (len(found) - 1) // (most - 1)] for place in range(most)]
