"""What the engine watches beside commands: bad input, the HSM's processes, the clock and the disk.

What it finds becomes system events, which ride on a commit; none of them costs one of its own more than once a second.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from appliance.clock import noticed
from appliance.decision import Event
from appliance.disk import Reserve
from appliance.engine.incidents import Incidents
from appliance.engine.notices import Notices
from appliance.engine.unread import TurnedAway, Unread
from appliance.errors import HomeError, Refused
from appliance.intake import Asking
from appliance.lookups import Lookups
from appliance.quotas import Of, Quotas
from coldcred.log.system import UNREAD

EVER = float("inf")
_REFUSED = frozenset({"command.refused", "approval.refused"})


class Watch:
    """The watch of one engine; `at` is in seconds of the event loop, `now` in Unix seconds."""

    def __init__(self, free: Callable[[], int], notices: Notices | None = None) -> None:
        """Ask `free` for the bytes left on the log's disk; take `notices` that were told before the engine ran."""
        self._notices = notices or Notices()
        self._unread = Unread()
        self._incidents = Incidents()
        self._turned_away = TurnedAway()
        self._quotas = Quotas()
        self.reserve = Reserve(free)

    @contextmanager
    def contained(self, digest: str, time: Callable[[], float], wake: Callable[[], None]) -> Iterator[None]:
        """Have whatever the block raises end the submission with this SHA-256 (hex), and nothing beside it (rule R36).

        A refusal and a fault of the home go on as they are; anything else becomes a refusal with an incident, and
        `wake` is called for whoever has to write that.
        """
        try:
            yield
        except (Refused, HomeError):
            raise
        except Exception as error:
            incident = self._incidents.refusal(error, digest, time())
            wake()
            raise incident from error

    @contextmanager
    def counted(self, digest: str, time: Callable[[], float], wake: Callable[[], None]) -> Iterator[None]:
        """Do the same, and count the submission where the block refuses it before its signer is known."""
        try:
            with self.contained(digest, time, wake):
                yield
        except Refused as refused:
            if refused.id in UNREAD:
                self._unread.count(refused.id, digest, time())
                wake()
            raise

    def afford(self, asking: Asking, at: float, wake: Callable[[], None]) -> None:
        """Return when the signer's quotas let them ask; else count it, `wake` who writes that, and raise `Refused`.

        One who has used up a share of the disk's reserve is refused uncounted, as whatever the reserve is not for.
        """
        self.reserve.check_share(asking.signer)
        try:
            self.check_quota(asking.signer, asking.act, asking.credentials, at)
        except Refused:
            self._turned_away.count(asking.signer, asking.digest, at)
            wake()
            raise

    def check_quota(self, signer: str, act: str, credentials: int, at: float) -> None:
        """Return when the signer's quotas let them go on with `act`, and have so many credentials with it."""
        self._quotas.check(signer, act, credentials, at)

    def wrote(self, event: Event, size: int, at: float) -> None:
        """Take what was written, so many bytes with its blobs, out of the quotas of whoever the event names by `by`."""
        if isinstance(signer := event.get("by"), str):
            self.reserve.wrote(signer, size)
            items = event.get("items")
            issued = len(items) if isinstance(items, list) else event["type"] == "credential.issued"
            self._quotas.spend(signer, Of.BYTES, size, at)
            self._quotas.spend(signer, Of.CREDENTIALS, issued, at)
            self._quotas.spend(signer, Of.REFUSALS, event["type"] in _REFUSED, at)

    def due_at(self, at: float) -> float | None:
        """Give when something has to be written at the latest; None when nothing waits."""
        told = (self._unread, self._incidents, self._turned_away)
        waiting = (*(one.due_at for one in told), self._notices.due_at(at))
        times = [time for time in waiting if time is not None]
        return min(times, default=None)

    def take(self, at: float, now: int, lookups: Lookups) -> list[Event]:
        """Give the events to write with the next commit; all that wait where `at` is `EVER`."""
        clock = noticed(now, lookups.last_time, behind=lookups.clock_behind)
        told = (self._notices, self._unread, self._incidents, self._turned_away)
        return [*clock, *(event for one in told for event in one.take(at))]
