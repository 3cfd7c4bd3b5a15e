"""Submissions that wait for the engine, in lanes: one for each source, each lane in its turn (P12).

Whoever sends much waits behind their own, and no source can fill the whole inbox.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from appliance.decision import Items
from appliance.engine.batching import BatchStream
from appliance.errors import Refusal, Refused
from appliance.intake import Answer
from appliance.outcome import Outcome

QUEUE = 1024
"""Submissions that wait at most."""

SHARE = 256
"""How many of them one source may have."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A submission and the future its sender waits on; None says that the lines of a batch come by its `stream`.

    `token` is the command or approval as it came, `take` takes it in at a moment (Unix seconds); `source` names whose
    lane of the inbox it waits in.
    """

    token: str
    take: Callable[[int], Answer]
    done: "asyncio.Future[Outcome | None]"
    source: str = ""
    items: Items | None = None
    stream: BatchStream | None = None

    def answer(self, ended: Outcome | Refused | None) -> None:
        """Answer once; a sender who went away hears nothing."""
        if self.done.done():
            return
        if isinstance(ended, Refused):
            self.done.set_exception(ended)
        else:
            self.done.set_result(ended)


class Inbox:
    """A queue that takes from its lanes in turn, each lane first in, first out."""

    def __init__(self, size: int = QUEUE, share: int = SHARE) -> None:
        """Hold at most `size` jobs, of one source at most `share`."""
        self._size = size
        self._share = share
        self._lanes: dict[str, deque[Job]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Job]:
        return (job for lane in self._lanes.values() for job in lane)

    def put(self, job: Job) -> None:
        """Add a job at the end of its source's lane; `Refused` (busy) when inbox or lane is full."""
        lane = self._lanes.get(job.source, ())
        if self._count >= self._size:
            raise Refused(Refusal.BUSY, f"{self._size} submissions wait already")
        if len(lane) >= self._share:
            raise Refused(Refusal.BUSY, f"{self._share} submissions of yours wait already")
        self._lanes.setdefault(job.source, deque()).append(job)
        self._count += 1

    def take(self) -> Job:
        """Take the first job of the lane whose turn it is; `LookupError` when there is none."""
        source = next(iter(self._lanes), None)
        if source is None:
            raise LookupError("nothing waits")
        lane = self._lanes.pop(source)
        job = lane.popleft()
        if lane:
            self._lanes[source] = lane
        self._count -= 1
        return job

    def clear(self) -> None:
        """Forget all jobs."""
        self._lanes.clear()
        self._count = 0
