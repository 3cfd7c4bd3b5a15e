"""One row of the table, and the few ways of measuring that all subjects share."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """A measured value; `ratio` is the value over that of the row `against`, where there is one."""

    row: str
    value: float
    unit: str
    against: str | None = None
    ratio: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Give the row as results.json has it."""
        ratio = None if self.ratio is None else float(f"{self.ratio:.3g}")
        return {
            "row": self.row,
            "value": float(f"{self.value:.4g}"),
            "unit": self.unit,
            "against": self.against,
            "ratio": ratio,
        }


def each(work: Callable[[], object], count: int, rounds: int = 5) -> float:
    """Give the seconds that one call takes: the best of several rounds, since noise only adds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(count):
            work()
        best = min(best, (time.perf_counter() - began) / count)
    return best


def process_seconds(code: str, arguments: Sequence[str] = (), runs: int = 15) -> float:
    """Give the median seconds of a Python process that runs `code`."""
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-P", "-c", code, *arguments], check=True)
        found.append(time.perf_counter() - began)
    return median(found)


def rate(row: str, value: float, against: Row | None = None) -> Row:
    """Give a row of so many a second."""
    return Row(row, value, "1/s", against.row if against else None, value / against.value if against else None)
