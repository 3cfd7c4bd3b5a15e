"""Where the appliance stands in memory: authority, lookups and the log's end, moved on together by each new entry."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from appliance.authority import Authority
from appliance.cedar import PolicySet
from appliance.decision import Event
from appliance.errors import HomeError, HomeFault, Refusal, Refused
from appliance.fold import fold
from appliance.lookups import Lookups
from appliance.policytext import PolicyInvalid
from coldcred import policy
from coldcred.canonical import sha256_hex
from coldcred.errors import LogRejected
from coldcred.log import entry as entries
from coldcred.log.chain import Head
from coldcred.log.entry import Entry
from coldcred.log.tree import Frontier, Tree


class Archive(Protocol):
    """What was stored and can be read back by digest or in order; `appliance.log.Log` is one."""

    def blob(self, digest: str) -> bytes:
        """Give a blob by its SHA-256 (hex)."""
        ...

    def blobs(self) -> Iterator[bytes]:
        """Give all blobs."""
        ...

    def bodies(self, first: int = 0, limit: int = -1) -> Iterator[bytes]:
        """Give entries verbatim, in order."""
        ...

    def newest_checkpoint(self) -> tuple[int, bytes] | None:
        """Give size and signed note of the newest checkpoint that was kept, if there is one."""
        ...


@dataclass
class Standing:
    """The folded state and the end of the log it was folded from; `archive` holds what was committed.

    `opened` and `head_in_token` are of this run and of no entry: the tokens that can sign, and whether the log key's
    token keeps the log's head (rule R33); None where it is closed. `tree` proves to sites that the log only grew.
    """

    authority: Authority
    archive: Archive
    opened: frozenset[str] = frozenset()
    head_in_token: bool | None = None
    lookups: Lookups = field(default_factory=Lookups)
    head: Head = field(default_factory=Head)
    tree: Tree = field(default_factory=Tree)
    _policies: PolicySet | None = field(default=None, repr=False)

    @property
    def frontier(self) -> Frontier:
        """The right edge of the log's tree, as it stands now."""
        return self.tree.frontier()

    @property
    def policies(self) -> PolicySet:
        """The policies in force, read again when authority names another text.

        Raises `HomeError` (log-damaged) where the text is not kept, or is none: nothing can be decided then.
        """
        digest = self.authority.policy
        if self._policies is None or self._policies.digest != digest:
            try:
                self._policies = PolicySet.parse(self.policy_text(digest))
            except PolicyInvalid as invalid:
                raise HomeError(HomeFault.LOG_DAMAGED, f"policy {digest}: {invalid.detail}") from invalid
        return self._policies

    def policy_text(self, digest: str) -> bytes:
        """Give a policy's text by its SHA-256 (hex): one that was set, or the one that an appliance begins with."""
        default = policy.DEFAULT.encode()
        return default if digest == sha256_hex(default) else self.archive.blob(digest)

    def take(self, entry: Entry) -> None:
        """Fold an entry that follows the head."""
        self.head.check(entry)
        self.authority = fold(self.authority, self.lookups, entry)
        self.head = Head.of(entry)
        self.tree.append(entry.leaf)

    def write(self, events: Sequence[Event], time: int) -> tuple[Entry, ...]:
        """Write `events` as the next entries, and change nothing: the one place that bounds an event (rule R36).

        Raises `Refused` where one of them is larger than an entry may be.
        """
        head, written = self.head, []
        for event in events:
            try:
                entry = entries.write(head.size, time, head.digest, event)
            except LogRejected as error:
                raise Refused(Refusal.MALFORMED, error.detail, "R36 entries of 64 KiB at most") from error
            written.append(entry)
            head = Head.of(entry)
        return tuple(written)

    def stage(self, event: Event, time: int) -> Entry:
        """Write `event` as the next entry and fold it; the caller commits it or stops the process."""
        (entry,) = self.write((event,), time)
        self.take(entry)
        return entry
