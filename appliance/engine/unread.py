"""Input that leaves no entry of its own: counted, and said in one entry a second at most (rules R11 and R40).

That is what nobody enrolled signed, and what somebody signed whose quota is used up. The entry holds the SHA-256 of the
first such input and none of its content, so nobody writes into the log that way.
"""

from collections import Counter

from appliance.decision import Event
from coldcred.canonical import Json
from coldcred.log.system import MAX_SIGNERS

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


class TurnedAway:
    """What was turned away since the last entry that said so, since its signer's quota is used up."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._count = 0
        self._signers: Counter[str] = Counter()
        self._first = ""
        self.due_at: float | None = None

    def count(self, signer: str, digest: str, at: float) -> None:
        """Count the submission with this SHA-256 (hex); the first few signers of a span are named."""
        if self.due_at is None:
            self._first, self.due_at = digest, at + SPAN
        self._count += 1
        if signer in self._signers or len(self._signers) < MAX_SIGNERS:
            self._signers[signer] += 1

    def take(self, at: float) -> list[Event]:
        """Give the event that is due, if one is, and begin anew."""
        if self.due_at is None or at < self.due_at:
            return []
        signers: dict[str, Json] = {**self._signers}
        event: Event = {"type": "quota.exceeded", "count": self._count, "signers": signers, "sha256": self._first}
        self._count, self.due_at = 0, None
        self._signers.clear()
        return [event]
