"""Batches under way: a chunk a turn, at most a few ahead of whoever reads the outcomes, ended by an entry of its own.

Whoever asked reads lines as they are signed. A reader who is slow holds up his own batch and nothing else; one who
goes away ends it, and what was issued and never reached him is revoked when he resumes it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from appliance import addressed, deciding
from appliance.decision import Ask, Decision, Finished, Items
from appliance.engine.carrying import Carrier, Contain, Work
from appliance.errors import Refusal, Refused
from appliance.nouns import batches, keys
from appliance.nouns.batches import Batch, Chunk
from appliance.nouns.credentials import Random
from appliance.outcome import Outcome
from appliance.standing import Standing
from coldcred.canonical import sha256_hex

AHEAD = 8
"""Chunks of a batch that may be at the HSM or wait for their reader."""


class BatchStream:
    """The outcomes of a batch as they come: `chunk` gives JSONL until it gives None, then `outcome` has the end."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """Begin empty; `wake` is called when there is room again."""
        self._chunks: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._wake = wake
        self._ended: Outcome | Refused | None = None
        self.abandoned = False

    @property
    def waiting(self) -> int:
        """How many chunks nobody read yet."""
        return len(self._chunks)

    def put(self, lines: bytes) -> None:
        """Add the lines of one chunk."""
        self._chunks.append(lines)
        self._news.set()

    def end(self, ended: Outcome | Refused) -> None:
        """Say what the batch came to; there are no more lines."""
        if self._ended is None:
            self._ended = ended
            self._news.set()

    async def chunk(self) -> bytes | None:
        """Give the next lines, or None when there are no more."""
        while not self._chunks:
            if self._ended is not None:
                return None
            self._news.clear()
            await self._news.wait()
        lines = self._chunks.popleft()
        self._wake()
        return lines

    def outcome(self) -> Outcome:
        """Give what the batch came to; raises `Refused` where nothing was taken up."""
        if self._ended is None:
            raise ValueError("the batch is still under way")
        if isinstance(self._ended, Refused):
            raise self._ended
        return self._ended

    def abandon(self) -> None:
        """Go away: no more is issued for this reader."""
        self.abandoned = True
        self._chunks.clear()
        self._wake()


@dataclass(slots=True)
class Running:
    """A batch that was taken in: where it stands and who reads it."""

    batch: Batch
    stream: BatchStream
    following: int = 1
    flying: int = 0
    issued: int = 0
    refused: int = 0
    held: int = 0
    stopped: Refused | None = field(default=None)

    @property
    def ask(self) -> Ask:
        """The command that asked for it."""
        return self.batch.ask

    @property
    def document(self) -> str:
        """The SHA-256 (hex) of the command as it was sent."""
        return sha256_hex(self.ask.command.token.encode())

    @property
    def has_lines(self) -> bool:
        """Whether a chunk can be decided now."""
        left = self.following <= len(self.batch.items) and not self._stops
        return left and self.flying + self.stream.waiting < AHEAD

    @property
    def can_end(self) -> bool:
        """Whether its last entry can be written."""
        return self.flying == 0 and (self._stops or self.following > len(self.batch.items))

    @property
    def _stops(self) -> bool:
        return self.stopped is not None or self.stream.abandoned

    def decide_chunk(self, standing: Standing, now: int, random: Random) -> Decision | None:
        """Decide the next chunk; None where every line of it is held already; `Refused` where no key can sign it."""
        authority = standing.authority
        chunk: Chunk = batches.decide_chunk(self.batch, self.following, authority, standing.lookups, now, random)
        keys.check_usable(authority, standing.opened, chunk.decision.signings, now)
        self.following = chunk.following
        self.issued += chunk.issued
        self.refused += chunk.refused
        self.held += chunk.held
        return chunk.decision if chunk.decision.events else None

    def landed(self, ended: Finished | Refused) -> None:
        """Take the outcome of a chunk; one that failed stops the batch, its credentials are revoked."""
        self.flying -= 1
        if isinstance(ended, Refused):
            self.stopped = self.stopped or ended
        elif not self.stream.abandoned:
            self.stream.put(ended.files["lines"])

    def ending(self) -> Refused | None:
        """Give why it ends before its last line, or None where it ends as it should."""
        if self.stopped is not None:
            return self.stopped
        if self.stream.abandoned:
            return Refused(Refusal.STOPPING, "whoever asked went away; resume it with the same file")
        return None

    def decide_end(self) -> Decision:
        """End it with its counts."""
        return batches.decide_done(self.ask, issued=self.issued, refused=self.refused, held=self.held)


class Batches:
    """All batches under way: what they add to each turn of the engine."""

    def __init__(
        self, standing: Standing, carrier: Carrier, permit: Callable[[str], int], random: Random, contain: Contain
    ) -> None:
        """Carry on from `standing`; `permit` gives the time of a chunk for its signer, or raises `Refused`.

        What is done for one batch is done within `contain`.
        """
        self._contain = contain
        self._standing = standing
        self._carrier = carrier
        self._permit = permit
        self._random = random
        self._running: deque[Running] = deque()

    @property
    def has_work(self) -> bool:
        """Whether a chunk or an ending can be decided now."""
        return any(running.has_lines or running.can_end for running in self._running)

    def take_in(
        self, ask: Ask, items: Items, stream: BatchStream, begun: Callable[[], None], blobs: Mapping[str, bytes]
    ) -> Work:
        """Begin a batch: `begun` is called once that is durable, with `blobs`, then its chunks follow.

        Raises `Refused`.
        """
        batch, decision = batches.take_in(self._standing.authority, self._standing.lookups, ask, items)

        def begin(_ended: Finished | Refused) -> None:
            self._running.append(Running(batch, stream))
            begun()

        return self._carrier.stage(replace(decision, blobs={**blobs}), begin)

    def go_on(self) -> list[Work]:
        """Decide one chunk of one batch, each in its turn, and end those that are through."""
        works = []
        for running in [running for running in self._running if running.can_end]:
            self._running.remove(running)
            works += self._end(running)
        for _ in range(len(self._running)):
            running = self._running.popleft()
            self._running.append(running)
            if running.has_lines:
                if (work := self._chunk(running)) is not None:
                    works.append(work)
                break
        return works

    def stop(self) -> list[Work]:
        """End all of them where they are."""
        works = []
        for running in self._running:
            running.stopped = running.stopped or Refused(Refusal.STOPPING, "the appliance stops; resume it later")
            works += self._end(running)
        self._running.clear()
        return works

    def abandon(self, ended: Refused) -> None:
        """Tell their readers that the engine has ended."""
        for running in self._running:
            running.stream.end(ended)

    def _chunk(self, running: Running) -> Work | None:
        try:
            with self._contain(running.document):
                now = self._permit(running.ask.person)
                deciding.check_still_asks(self._standing, running.ask.command, now)
                deciding.check_signers(self._standing, running.ask, now)
                decision = running.decide_chunk(self._standing, now, self._random)
                if decision is None:
                    return None
                work = self._carrier.stage(decision, running.landed)
        except Refused as refused:
            running.stopped = refused
            return None
        running.flying += 1
        return work

    def _late(self, running: Running) -> Refused | None:
        """Say that a batch outlived its command: nothing is carried out after that, not even the end of a batch."""
        try:
            addressed.check_time(running.ask.command, self._permit(running.ask.person))
        except Refused as refused:
            return refused if refused.reason is Refusal.EXPIRED else None
        return None

    def _end(self, running: Running) -> list[Work]:
        """Stage the last entry of a batch; where even that fails its reader hears that at once."""
        command = running.ask.command.id

        def tell(_ended: Finished | Refused) -> None:
            running.stream.end(self._standing.lookups.outcomes[command])

        try:
            with self._contain(running.document):
                ended = running.ending() or self._late(running)
                done = running.decide_end() if ended is None else deciding.refuse(self._standing, running.ask, ended)
                return [self._carrier.stage(done, tell)]
        except Refused as refused:
            running.stream.end(refused)
            return []
