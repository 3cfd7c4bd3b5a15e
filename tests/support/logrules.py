"""Tables of broken rules: functions that each break one rule of a log and give the entry that is to blame."""

import io
from collections.abc import Callable
from typing import TypeAlias

from coldcred.canonical import Json
from coldcred.errors import LogReason, LogRejected
from coldcred.log.export import Anchor, Report, verify
from tests.support.logworld import LogWorld, vkey

Breaking: TypeAlias = Callable[[LogWorld], int]


class Broken:
    """A table of functions, each with the reason that it is refused for."""

    def __init__(self) -> None:
        self.rows: list[tuple[Breaking, LogReason]] = []

    def by(self, reason: LogReason, _rule: str) -> Callable[[Breaking], Breaking]:
        """Enter the decorated function, which does what the sentence says."""

        def enter(function: Breaking) -> Breaking:
            self.rows.append((function, reason))
            return function

        return enter


def name(value: object) -> str:
    """Name a case after its function and its reason."""
    return getattr(value, "__name__", str(value)).strip("_")


def step(world: LogWorld, act: Callable[[], object]) -> int:
    """Take a step and give the number of the first entry it wrote."""
    seq = world.head.size
    act()
    return seq


def verified(world: LogWorld) -> Report:
    """Verify the export of a log that goes on in good order, under the log key from outside."""
    if world.open:
        world.settle()
    return verify(io.BytesIO(world.exported().export()), Anchor(vkey()))


def refusal(world: LogWorld) -> tuple[LogReason, int | None] | None:
    """Give the reason and the entry for which a log is refused; None when it is intact."""
    try:
        verified(world)
    except LogRejected as error:
        return error.reason, error.seq
    return None


def site_args() -> tuple[dict[str, Json], dict[str, Json]]:
    """Give the arguments of a site.add and the members of the entry that carries it out."""
    asked: dict[str, Json] = {"name": "line-9", "audiences": ["https://line-9.plant-a.example"]}
    return asked, {"site": asked}
