"""What a submission raised and nobody foresaw: it ends that submission alone, under an id that its sender sees (R36).

The log says it too, in one entry a second at most. It names what was sent by its SHA-256, and where in the program it
failed; the text of the error stays out, since it may hold anything.
"""

import traceback

from appliance.decision import Event
from appliance.errors import Refusal, Refused
from coldcred.log.system import MAX_SUBMISSIONS, MAX_WHERE

SPAN = 1.0
"""Seconds that one entry sums up, from the first incident on."""

SHORT = 12


class Incidents:
    """The incidents since the last entry that told of them; `at` is in seconds of any steady clock."""

    def __init__(self) -> None:
        """Begin with none."""
        self._count = 0
        self._submissions: dict[str, None] = {}
        self._kind = self._place = ""
        self.due_at: float | None = None

    def refusal(self, error: Exception, submission: str, at: float) -> Refused:
        """Count what the submission with this SHA-256 (hex) raised; gives what its sender hears."""
        kind, place = type(error).__name__[:MAX_WHERE], _place(error)
        if self.due_at is None:
            self.due_at, self._kind, self._place = at + SPAN, kind, place
        self._count += 1
        if len(self._submissions) < MAX_SUBMISSIONS:
            self._submissions[submission] = None
        detail = f"incident {submission[:SHORT]}: {kind} at {place}; it ends this submission and nothing else"
        return Refused(Refusal.INTERNAL, detail)

    def take(self, at: float) -> list[Event]:
        """Give the event that is due, if one is, and begin anew."""
        if self.due_at is None or at < self.due_at:
            return []
        event: Event = {
            "type": "submission.failed",
            "count": self._count,
            "kind": self._kind,
            "place": self._place,
            "submissions": [*self._submissions],
        }
        self._count, self._submissions, self.due_at = 0, {}, None
        return [event]


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].name}:{frames[-1].lineno}"[-MAX_WHERE:] if frames else "unknown"
