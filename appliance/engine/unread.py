"""Input that nobody enrolled signed: counted, and said in one entry a second at most (rule R11).

The entry holds the SHA-256 of the first such input and none of its content, so a stranger cannot write into the log.
"""

from collections import Counter

from appliance.decision import Event
from coldcred.canonical import Json

SPAN = 1.0
"""Seconds that one entry sums up, from the first input on."""


class Unread:
    """What was refused since the last entry that said so; `at` is in seconds of any steady clock."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._reasons: Counter[str] = Counter()
        self._first = ""
        self.due_at: float | None = None

    def count(self, reason: str, digest: str, at: float) -> None:
        """Count the input with this SHA-256 (hex), which was refused for one of the reasons in `UNREAD`."""
        if self.due_at is None:
            self._first, self.due_at = digest, at + SPAN
        self._reasons[reason] += 1

    def take(self, at: float) -> list[Event]:
        """Give the event that is due, if one is, and begin anew."""
        if self.due_at is None or at < self.due_at:
            return []
        reasons: dict[str, Json] = {**self._reasons}
        event: Event = {
            "type": "input.refused",
            "count": self._reasons.total(),
            "reasons": reasons,
            "sha256": self._first,
        }
        self._reasons.clear()
        self.due_at = None
        return [event]
