"""What readers ask is worked out apart: one question after the other, a moment at a time, between all other work.

Nothing that a reader asks holds up whoever is served meanwhile for longer than a moment. The work is done by the loop
itself and not in a thread: so each step sees the state as it stands between two entries, and whoever is served never
waits for the interpreter's lock. It rests for as long as it worked, so that half of the time is for the others. Of the
log's file, too, readers are given one page at a time.
"""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from typing import TypeAlias, TypeVar

from appliance.errors import Refusal, Refused

MOMENT = 0.002
"""Seconds of work after which others get their turn; a single step may be longer, and none should be by much."""

BUDGET = 30.0
"""Seconds of work, rests left out, that one question may take."""

_T = TypeVar("_T")

Steps: TypeAlias = Generator[None, None, _T]
"""Work in small steps, which returns what it found."""


class Turns:
    """The turns of all readers of one appliance; `disk` is the executor that owns the log's file."""

    def __init__(self, disk: Executor) -> None:
        """Begin with nobody asking."""
        self._disk = disk
        self._page = asyncio.Lock()
        self._views = asyncio.Lock()
        self._work = asyncio.Lock()
        self._asking: set[str] = set()

    async def page(self, read: Callable[[], _T]) -> _T:
        """Read one page where the file is; a commit waits for one reader's page at most."""
        async with self._page:
            return await asyncio.get_running_loop().run_in_executor(self._disk, read)

    async def view(self, steps: Steps[_T]) -> _T:
        """Look at what stands, which is soon done; views wait for each other and for no question."""
        async with self._views:
            return await stepped(steps)

    async def work(self, who: str, steps: Steps[_T]) -> _T:
        """Work out a question of `who`, who has one at a time; `Refused` (`busy`, or `over-budget` for a large one)."""
        if who in self._asking:
            raise Refused(Refusal.BUSY, "a question of yours is being worked out; each person has one at a time")
        self._asking.add(who)
        try:
            async with self._work:
                return await stepped(steps)
        finally:
            self._asking.discard(who)


async def stepped(steps: Steps[_T], moment: float = MOMENT, budget: float = BUDGET) -> _T:
    """Carry work out in its steps, and let others go first after each `moment`; beyond `budget` it is `Refused`."""
    loop = asyncio.get_running_loop()
    spent = 0.0
    while True:
        began = loop.time()
        try:
            while loop.time() < began + moment:
                next(steps)
        except StopIteration as ended:
            found: _T = ended.value
            await asyncio.sleep(loop.time() - began)
            return found
        took = loop.time() - began
        spent += took
        if spent > budget:
            detail = f"answering it takes over {budget:g} s of the appliance's work; ask about less"
            raise Refused(Refusal.OVER_BUDGET, detail)
        await asyncio.sleep(took)
