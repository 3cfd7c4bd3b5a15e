"""What decisions look up beside authority: recent commands, open requests, live credentials and free status indices.

Folded from the log like authority, but too large to copy for each event; only `fold` changes it, so no table row ever
decides a replay or a revocation.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from appliance.errors import Refused
from appliance.outcome import Outcome
from appliance.pins import RefusedPins
from appliance.uses import Uses
from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.command import LONGEST_LIFE, people
from coldcred.log.approvals import Given
from coldcred.log.consistency import OF_BUNDLES
from coldcred.log.live import Issued, Live, Selector
from coldcred.status import SIZE, IndexSet, bits_with

REMEMBERED = LONGEST_LIFE + 24 * 3600
"""Seconds that the outcome of a command is remembered: longer than any command can live."""


@dataclass(frozen=True, slots=True)
class PolicySetting:
    """A policy that was set: the SHA-256 of its text, the entry and its time, and the people behind it."""

    digest: str
    seq: int
    time: int
    people: tuple[str, ...]


@dataclass(slots=True)
class Request:
    """A command that waits for people.

    `kid` is the key that signed it, `document` names its stored bytes, `named` the profiles that it is about, `shown`
    the SHA-256 of what approvers are shown, in the form `rendering`; `approvals` has by id what was given, whether or
    not it still counts.
    """

    command: str
    document: str
    attachments: tuple[str, ...]
    act: str
    person: str
    need: int
    expires_at: int
    kid: str
    named: tuple[str, ...]
    shown: str
    rendering: int
    approvals: dict[str, Given] = field(default_factory=dict)

    @property
    def is_batch(self) -> bool:
        """Whether it is for a batch: no other request for credentials has files beside it."""
        return self.act == Act.CREDENTIAL_ISSUE and bool(self.attachments)

    @property
    def people(self) -> frozenset[str]:
        """The distinct people who have signed for it, those whose approval counts no more included."""
        return self.people_with(given.person for given in self.approvals.values())

    def people_with(self, approvers: Iterable[str]) -> frozenset[str]:
        """Give the distinct people who are behind it when these approve: the requester once, unless a workload."""
        return people(self.person, approvers)


@dataclass(slots=True)
class Lookups:
    """The folded state that grows with each entry and forgets with time; `size` is the next free seq.

    `under_way` holds, with their act, commands that took their first step and not their last; `batches`, by command,
    the jti that was issued for each line; `site_checkpoints`, by site, the sizes of the log that its last bundles
    signed, the newest last; `refused_pins`, by token, those since the last login; `system_events_only` says that since
    the newest system event nobody asked for anything. `revoked_at` has by status list the `size` at which a bit was
    last set, `shipped_at` that at which the newest bundle with the list was begun, `begun_at` that of each bundle by
    its command.
    """

    size: int = 0
    last_time: int = 0
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    seen_approvals: dict[str, str] = field(default_factory=dict)
    refused_approvals: dict[str, Refused] = field(default_factory=dict)
    live: Live = field(default_factory=Live)
    used: dict[str, IndexSet] = field(default_factory=dict)
    revoked: dict[str, IndexSet] = field(default_factory=dict)
    shipped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    revoked_at: dict[str, int] = field(default_factory=dict)
    begun_at: dict[str, int] = field(default_factory=dict)
    shipped_at: dict[str, int] = field(default_factory=dict)
    site_checkpoints: dict[str, deque[int]] = field(default_factory=dict)
    under_way: dict[str, str] = field(default_factory=dict)
    batches: dict[str, dict[int, str]] = field(default_factory=dict)
    open_intents: dict[int, dict[str, Json]] = field(default_factory=dict)
    worth_checkpoint: int = 0
    checkpoint_size: int = 0
    system_events_only: bool = False
    refused_pins: dict[str, RefusedPins] = field(default_factory=dict)
    clock_behind: bool = False
    policies: list[PolicySetting] = field(default_factory=list)
    uses: Uses = field(default_factory=Uses)
    _remembered: deque[tuple[int, str]] = field(default_factory=deque)
    _waiting: dict[str, set[str]] = field(default_factory=dict)
    _ends: list[tuple[int, str]] = field(default_factory=list)
    _approvals: dict[str, list[str]] = field(default_factory=dict)
    _refused_until: list[tuple[int, str]] = field(default_factory=list)

    def add_site_checkpoint(self, site: str, size: int) -> None:
        """Record that a bundle for a site was signed with a checkpoint of this size."""
        self.site_checkpoints.setdefault(site, deque(maxlen=OF_BUNDLES)).append(size)

    @property
    def issued(self) -> Mapping[str, Issued]:
        """The credentials that have not ended, by jti, revoked ones included."""
        return self.live.by_jti

    def remember(self, outcome: Outcome, time: int) -> None:
        """Record the outcome of a command."""
        if outcome.command not in self.outcomes:
            self._remembered.append((time, outcome.command))
        self.outcomes[outcome.command] = outcome

    def begin_request(self, request: Request) -> None:
        """Record a command that waits from now on."""
        self.requests[request.command] = request
        self._waiting.setdefault(request.person, set()).add(request.command)
        heappush(self._ends, (request.expires_at, request.command))

    def end_request(self, command: str) -> None:
        """Forget a request, if the command made one: it was carried out, or refused."""
        request = self.requests.pop(command, None)
        if request is not None:
            self._waiting[request.person].discard(command)

    def waiting_of(self, person: str, now: int) -> int:
        """Count the requests of a person that wait at `now`, in time that does not grow with those that are over."""
        return sum(now < self.requests[command].expires_at for command in self._waiting.get(person, ()))

    def count_approval(self, approval: str, command: str) -> None:
        """Record that an approval was counted, for as long as the outcome of its command is remembered."""
        self.seen_approvals[approval] = command
        self._approvals.setdefault(command, []).append(approval)

    def refuse_approval(self, approval: str, refused: Refused, expires_at: int) -> None:
        """Record that an approval does not count, for as long as it lives: sent again, it costs no entry."""
        self.refused_approvals[approval] = refused
        heappush(self._refused_until, (expires_at, approval))

    def advance(self, time: int) -> None:
        """Forget what no decision can ask for again at `time`: old commands, all about them, and ended credentials.

        Called for each entry: whatever is forgotten costs once, and nothing is searched for it.
        """
        self.live.advance(time)
        while self._refused_until and self._refused_until[0][0] < time:
            self.refused_approvals.pop(heappop(self._refused_until)[1], None)
        while self._ends and self._ends[0][0] <= time:
            request = self.requests.get(heappop(self._ends)[1])
            if request is not None:
                self._waiting[request.person].discard(request.command)
        while self._remembered and self._remembered[0][0] < time - REMEMBERED:
            _, command = self._remembered.popleft()
            del self.outcomes[command]
            self.end_request(command)
            self.batches.pop(command, None)
            self.begun_at.pop(command, None)
            for approval in self._approvals.pop(command, ()):
                self.seen_approvals.pop(approval, None)

    def add_issued(self, jti: str, issued: Issued) -> None:
        """Record a credential: alive until it ends, and its status index given out for good."""
        self.live.add(jti, issued)
        _mark(self.used, issued.list_uri, issued.index)

    def is_free(self, list_uri: str, index: int) -> bool:
        """Whether a status index was never given out."""
        return list_uri not in self.used or index not in self.used[list_uri]

    def fill(self, list_uri: str) -> float:
        """Give the share of a list's indices that were given out, from 0 to 1."""
        return len(self.used.get(list_uri, ())) / SIZE

    def lives(self, jti: str, now: int) -> bool:
        """Whether a credential was issued here, has not ended and is not revoked."""
        issued = self.issued.get(jti)
        return issued is not None and now < issued.expires_at and not self.is_revoked(issued)

    def revoke(self, jti: str, list_uri: str, index: int, *, held: bool = False) -> None:
        """Set the status bit of a credential that was issued here, whether or not it has ended.

        One that is `held` counts so until a bundle brings the revocation to its site.
        """
        self.live.revoke(jti, self.size if held else None)
        _mark(self.revoked, list_uri, index)
        self.revoked_at[list_uri] = self.size

    def revoke_all(self, selector: Selector, as_of: int) -> None:
        """Set the status bits of all that a revocation finds."""
        for jti, issued in list(self.live.select(selector, as_of)):
            self.revoke(jti, issued.list_uri, issued.index, held=True)

    def ship(self, site: str, lists: tuple[str, ...], command: str) -> None:
        """Record that a bundle with these lists, which `command` asked for, was signed for a site."""
        self.shipped[site] = lists
        begun = self.begun_at.pop(command, 0)
        self.shipped_at |= dict.fromkeys(lists, begun)
        self.live.told(lists, begun)

    def owes(self, site: str) -> bool:
        """Whether something was revoked that no bundle has taken to the site yet."""
        lists = self.shipped.get(site, ())
        return any(self.revoked_at.get(uri, 0) > self.shipped_at.get(uri, 0) for uri in lists)

    def is_revoked(self, issued: Issued) -> bool:
        """Whether a credential's status bit is set."""
        return issued.list_uri in self.revoked and issued.index in self.revoked[issued.list_uri]

    def revoked_bits(self, list_uri: str) -> bytes:
        """Give the bits of a status list."""
        return self.revoked[list_uri].bits() if list_uri in self.revoked else bits_with(())


def _mark(sets: dict[str, IndexSet], list_uri: str, index: int) -> None:
    found = sets.get(list_uri)
    if found is None:  # a set is 128 KiB: made where it is needed and not as a default
        found = sets[list_uri] = IndexSet()
    found.add(index)
