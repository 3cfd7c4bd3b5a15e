"""What the HSM's side tells: logins, refused PINs and worker processes that ended, as events for the log.

Told in whatever thread met it, taken by whoever writes the log. Logins and refused PINs are each an entry; the
troubles of a worker are summed up, since a token that is away costs a worker for every batch.
"""

from collections import Counter, deque
from collections.abc import Mapping
from types import MappingProxyType

from appliance.decision import Event
from coldcred.log.system import PinMode
from hsm.supervisor import Observer, WorkerEvent

SPAN = 1.0
"""Seconds of troubles that one entry sums up."""

_PINS: Mapping[WorkerEvent, Event] = MappingProxyType(
    {
        WorkerEvent.LOGGED_IN: {"type": "pin.accepted"},
        WorkerEvent.PIN_REFUSED: {"type": "pin.refused"},
    }
)
_TROUBLES: Mapping[WorkerEvent, Event] = MappingProxyType(
    {
        WorkerEvent.LOST: {"type": "worker.lost"},
        WorkerEvent.TIMED_OUT: {"type": "worker.timed-out"},
        WorkerEvent.REPLACED: {"type": "worker.replaced"},
    }
)


class Notices:
    """Notices that wait for a commit; `at` is in seconds of any steady clock."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._told: deque[tuple[WorkerEvent, str, PinMode]] = deque()
        self._troubles: Counter[tuple[WorkerEvent, str]] = Counter()
        self._pins: list[Event] = []
        self._since: float | None = None

    def observer(self, token: str, mode: PinMode) -> Observer:
        """Give what a key store on the token `token` tells, which is given its PIN by `mode`."""

        def tell(event: WorkerEvent, _detail: str) -> None:
            self._told.append((event, token, mode))

        return tell

    def due_at(self, at: float) -> float | None:
        """Give when the oldest notice has to be written at the latest; None when there is none."""
        self._gather(at)
        return None if self._since is None else self._since + SPAN

    def take(self, at: float) -> list[Event]:
        """Give what is to be written with the next commit, and begin anew."""
        self._gather(at)
        events, self._pins = self._pins, []
        if self._since is not None and at >= self._since + SPAN:
            events += [
                {**_TROUBLES[kind], "token": token, "count": count} for (kind, token), count in self._troubles.items()
            ]
            self._troubles.clear()
        if not self._troubles:
            self._since = None
        return events

    def _gather(self, at: float) -> None:
        """Sort what was told meanwhile; `popleft` and `append` of a deque are safe between threads."""
        while self._told:
            kind, token, mode = self._told.popleft()
            if kind in _PINS:
                self._pins.append({**_PINS[kind], "token": token, "mode": mode.value})
            elif kind in _TROUBLES:
                self._troubles[kind, token] += 1
        if self._since is None and (self._pins or self._troubles):
            self._since = at
