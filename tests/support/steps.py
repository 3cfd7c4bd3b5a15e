"""Work in steps, walked to its end at once."""

from typing import TypeVar

from appliance.turns import Steps

_T = TypeVar("_T")


def walked(steps: Steps[_T]) -> _T:
    """Give what work in steps comes to."""
    return counted(steps)[0]


def counted(steps: Steps[_T]) -> tuple[_T, int]:
    """Give what work in steps comes to, and in how many steps."""
    number = 0
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            found: _T = ended.value
            return found, number
        number += 1
