"""What decisions look up beside authority: recent commands, open requests, credentials and free status indices.

Folded from the log like authority, but too large to copy for each event; only `fold` changes it, so no table row ever
decides a replay or a revocation.
"""

from dataclasses import dataclass, field

from appliance.outcome import Outcome
from appliance.pins import RefusedPins
from coldcred.canonical import Json
from coldcred.command import LONGEST_LIFE, people
from coldcred.status import SIZE


@dataclass(slots=True)
class Request:
    """A command that waits for people; `approvals` maps approval id to person, `document` names its stored bytes."""

    command: str
    document: str
    attachments: tuple[str, ...]
    act: str
    person: str
    need: int
    expires_at: int
    approvals: dict[str, str] = field(default_factory=dict)
    denied_by: str | None = None

    @property
    def people(self) -> frozenset[str]:
        """The distinct people who have signed for it so far."""
        return people(self.person, self.approvals.values())


@dataclass(frozen=True, slots=True)
class Issued:
    """What is remembered of a credential while it lives."""

    seq: int
    list_uri: str
    index: int
    expires_at: int
    workload: str
    profile: str


@dataclass(slots=True)
class Lookups:
    """The folded state that only grows and is pruned by time; `size` is the next free seq.

    `under_way` holds, with their act, commands that took their first step and not their last; `batches`, by command,
    the jti that was issued for each line; `refused_pins`, by token, those since the last login; `system_events_only`
    says that since the newest system event nobody asked for anything.
    """

    size: int = 0
    last_time: int = 0
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    outcome_times: list[tuple[int, str]] = field(default_factory=list)
    seen_approvals: dict[str, str] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    issued: dict[str, Issued] = field(default_factory=dict)
    used: dict[str, set[int]] = field(default_factory=dict)
    revoked: dict[str, set[int]] = field(default_factory=dict)
    shipped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    under_way: dict[str, str] = field(default_factory=dict)
    batches: dict[str, dict[int, str]] = field(default_factory=dict)
    open_intents: dict[int, dict[str, Json]] = field(default_factory=dict)
    worth_checkpoint: int = 0
    checkpoint_size: int = 0
    system_events_only: bool = False
    refused_pins: dict[str, RefusedPins] = field(default_factory=dict)
    clock_behind: bool = False

    def remember(self, outcome: Outcome, time: int) -> None:
        """Record the outcome of a command, and forget those older than any command can be."""
        if outcome.command not in self.outcomes:
            self.outcome_times.append((time, outcome.command))
        self.outcomes[outcome.command] = outcome
        horizon = time - LONGEST_LIFE - 24 * 3600
        forgotten = 0
        for when, command in self.outcome_times:
            if when >= horizon:
                break
            self.outcomes.pop(command, None)
            self.batches.pop(command, None)
            forgotten += 1
        del self.outcome_times[:forgotten]

    def prune(self, time: int) -> None:
        """Forget what no decision can ask for again at `time`: ended requests and their approvals, ended credentials.

        A credential is kept for as long as a command about it can live, so that revoking it says what it was.
        """
        ended = [key for key, request in self.requests.items() if request.expires_at <= time]
        for key in ended:
            del self.requests[key]
        old = [key for key, issued in self.issued.items() if issued.expires_at <= time - LONGEST_LIFE]
        for key in old:
            del self.issued[key]
        gone = [approval for approval, command in self.seen_approvals.items() if command not in self.outcomes]
        for approval in gone:
            del self.seen_approvals[approval]

    def is_free(self, list_uri: str, index: int) -> bool:
        """Whether a status index was never given out."""
        return index not in self.used.get(list_uri, ())

    def fill(self, list_uri: str) -> float:
        """Give the share of a list's indices that were given out, from 0 to 1."""
        return len(self.used.get(list_uri, ())) / SIZE

    def lives(self, jti: str, now: int) -> bool:
        """Whether a credential was issued here, has not ended and is not revoked."""
        issued = self.issued.get(jti)
        return (
            issued is not None and now < issued.expires_at and issued.index not in self.revoked.get(issued.list_uri, ())
        )

    def revoke(self, jti: str) -> None:
        """Set the status bit of a credential that was issued here."""
        issued = self.issued[jti]
        self.revoked.setdefault(issued.list_uri, set()).add(issued.index)
