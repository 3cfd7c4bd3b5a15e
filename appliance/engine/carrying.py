"""From decisions to signatures: stage events, commit them, ask the HSM, verify, go on, and owe the outcome.

Everything staged is folded at once and made durable by the next commit, before any key is used (rule R31). While the
HSM works on one group of decisions (a flight), the next group is decided and committed.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from appliance.decision import Decision, Event, Finished, refused_after
from appliance.engine import signing
from appliance.errors import HomeError, HomeFault, Refusal, Refused
from appliance.log import Log
from appliance.nouns import checkpoints, keys
from appliance.standing import Archive, Standing
from coldcred.canonical import Json, sha256_hex
from coldcred.log.entry import Entry
from coldcred.log.note import Checkpoint
from hsm.errors import HsmError
from hsm.keystore import KeyStore

_VERIFY_EACH = 16
"""Signatures verified before the loop looks at its sockets again."""

_NONE: Mapping[str, bytes] = MappingProxyType({})

Release: TypeAlias = Callable[[Finished | Refused], None]
"""Called once with what a decision came to, after it is durable and its signatures are verified."""

Contain: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Gives, for the SHA-256 (hex) of a submission, the block in which whatever is raised ends that submission alone."""


@dataclass(frozen=True, slots=True)
class Work:
    """A decision under way: its events stand at `seqs`; `release` is for whoever waits for it, if anybody does.

    `origin` is the first event of the command that it is a step of.
    """

    decision: Decision
    seqs: tuple[int, ...] = ()
    release: Release | None = None
    origin: Event | None = None

    @property
    def document(self) -> str | None:
        """The SHA-256 (hex) of the command that it is a step of, if it is one."""
        document = None if self.origin is None else self.origin.get("document")
        return document if isinstance(document, str) else None

    @property
    def is_open(self) -> bool:
        """Whether an entry may end its command as refused.

        The command of a chunk is ended by whoever makes the chunks. One that an entry ended already with what others
        approved is over, and no entry may count their approvals again.
        """
        if self.origin is None or "command" not in self.origin or self.origin["type"] == "batch.issued":
            return False
        ended = any("result" in event for event in self.decision.events)
        return not (ended and self.origin["approvals"])


@dataclass(slots=True)
class _Batch:
    """Entries, blobs and checkpoints of the next commit."""

    entries: list[Entry] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    notes: list[tuple[int, bytes]] = field(default_factory=list)


class _StagedArchive:
    """The log as an archive, with what is staged in front: an approval may come in the slice of its request."""

    def __init__(self, log: Archive, staged: Callable[[str], bytes | None]) -> None:
        self._log, self._staged = log, staged

    def blob(self, digest: str) -> bytes:
        """Give a blob by its SHA-256 (hex), committed or not."""
        body = self._staged(digest)
        return self._log.blob(digest) if body is None else body

    def blobs(self) -> Iterator[bytes]:
        """Give all committed blobs."""
        return self._log.blobs()

    def bodies(self, first: int = 0, limit: int = -1) -> Iterator[bytes]:
        """Give committed entries."""
        return self._log.bodies(first, limit)

    def newest_checkpoint(self) -> tuple[int, bytes] | None:
        """Give the newest checkpoint that was committed."""
        return self._log.newest_checkpoint()


class Carrier:
    """Carries decisions through log and HSM; the one place that appends while an appliance serves."""

    def __init__(
        self,
        standing: Standing,
        log: Log,
        keystores: Mapping[str, KeyStore],
        now: Callable[[], int],
        wake: Callable[[], None],
        contain: Contain,
        wrote: Callable[[Event, int], None],
    ) -> None:
        """Carry on from `standing`.

        `now` gives the Unix seconds to write into entries; `wake` is called when a flight landed; what is done for one
        submission alone is done within `contain`; `wrote` is told of each event how many bytes it took, with its blobs.
        """
        self._contain = contain
        self._wrote = wrote
        self._standing = standing
        self._log = log
        self._keystores = keystores
        self._now = now
        self._wake = wake
        self.disk = ThreadPoolExecutor(1, "disk")
        self._hsm = ThreadPoolExecutor(1, "hsm")
        self._batch = self._committing = _Batch()
        standing.archive = _StagedArchive(log, self._staged_blob)
        standing.opened = frozenset(keystores)
        self._signed: list[int] = []
        self._failed: list[int] = []
        self._following: list[Work] = []
        self._flights: set[asyncio.Task[None]] = set()
        self._last_flight: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None

    def close(self) -> None:
        """End the executors; what was committed stays."""
        self.disk.shutdown()
        self._hsm.shutdown()

    @property
    def owes(self) -> bool:
        """Whether outcomes or signed checkpoints wait for the next commit."""
        return bool(self._signed or self._failed or self._batch.notes)

    @property
    def flying(self) -> int:
        """How many groups are at the HSM."""
        return len(self._flights)

    @property
    def has_following(self) -> bool:
        """Whether steps that signatures made possible wait for the next commit, or a fault for whoever carries on."""
        return bool(self._following) or self._fault is not None

    @property
    def signs_log(self) -> bool:
        """Whether checkpoints can be signed."""
        return keys.signs_log(self._standing.authority, self._keystores.keys(), self._now())

    def append(self, events: Sequence[Event], blobs: Mapping[str, bytes] = _NONE) -> tuple[int, ...]:
        """Stage events as the next entries, all or none, with the blobs they name; fold them and give their seqs.

        Raises `Refused` where one is too large for an entry, and then nothing has changed. What cannot be folded has
        broken the state for good: `HomeError` (defect), with which the process ends (rule R36).
        """
        entries = self._standing.write(events, self._now())
        self._batch.blobs |= blobs
        for entry in entries:
            try:
                self._standing.take(entry)
            except Exception as error:
                detail = f"entry {entry.seq} ({entry.type}) cannot be folded: {type(error).__name__}"
                raise HomeError(HomeFault.DEFECT, detail) from error
            self._batch.entries.append(entry)
        beside = sum(len(body) for body in blobs.values())
        for entry in entries:
            self._wrote(entry.event, len(entry.body) + beside)
            beside = 0
        return tuple(entry.seq for entry in entries)

    def _staged_blob(self, digest: str) -> bytes | None:
        return self._batch.blobs.get(digest, self._committing.blobs.get(digest))

    def stage(self, decision: Decision, release: Release | None = None, origin: Event | None = None) -> Work:
        """Stage a decision's events, blobs and checkpoints; `origin` is the first event where a step went before."""
        seqs = self.append(decision.events, decision.blobs)
        self._batch.notes.extend(decision.notes)
        return Work(decision, seqs, release, origin or next(iter(decision.events), None))

    def stage_checkpoint(self) -> Work:
        """Stage a checkpoint of the log as it stands."""
        standing = self._standing
        return self.stage(checkpoints.decide(standing.authority, standing.frontier, lambda _note: Finished()))

    async def carry(self, works: list[Work]) -> None:
        """Commit what is staged, then release `works` that need no signature and send the others to the HSM.

        Steps that signatures made possible since the last call go along. Raises `HomeError` when the log cannot be
        written: then nothing more may be signed.
        """
        self.check()
        works = [*self._following, *works]
        self._following = []
        await self.commit()
        flight = [work for work in works if work.decision.signings]
        for work in works:
            if not work.decision.signings:
                self._conclude(work, [])
        if flight:
            task = asyncio.create_task(self._fly(flight, self._last_flight), name="flight")
            self._last_flight = task
            self._flights.add(task)
            task.add_done_callback(self._landed)

    def check(self) -> None:
        """Raise what ended a flight otherwise than by its outcome: nothing may go on from there."""
        if self._fault is not None:
            raise self._fault

    async def settle(self) -> None:
        """Carry on until nothing is at the HSM and nothing follows."""
        while self._flights or self._following:
            if self._flights:
                await asyncio.wait(self._flights)
            await self.carry([])

    async def commit(self) -> None:
        """Make everything staged durable, with the outcomes that are owed."""
        if self._signed or self._failed:
            self.append([self._outcomes()])
        batch, self._batch = self._batch, _Batch()
        self._committing = batch
        if batch.entries or batch.notes:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self.disk, self._log.append, batch.entries, batch.blobs, batch.notes)

    def _outcomes(self) -> Event:
        signed: list[Json] = [*self._signed]
        failed: list[Json] = [*self._failed]
        self._signed, self._failed = [], []
        return {"type": "outcomes", "signed": signed, "failed": failed, "unknown": []}

    async def _fly(self, works: list[Work], before: "asyncio.Task[None] | None") -> None:
        """Wait for the HSM in its executor, then verify each signature here and conclude its work.

        In a thread beside a busy loop each check would wait longer for the interpreter's lock than it computes.
        """
        authority, loop = self._standing.authority, asyncio.get_running_loop()
        wanted = [signing.Wanted(item.key_id, item.input) for work in works for item in work.decision.signings]
        heads = [place for place, item in enumerate(wanted) if signing.is_head(authority, item)]
        found = await self._ask(works, wanted)
        if before is not None and not before.done():
            await asyncio.wait({before})  # outcomes come in the order of their entries, heads in that of their sizes
        for place in heads:
            found[place] = await self._sign_head(wanted[place])
        answers = iter(zip(wanted, found, strict=True))
        concluded: list[tuple[Work, list[bytes | signing.Failure]]] = []
        checked, wrong = 0, []
        for work in works:
            results: list[bytes | signing.Failure] = []
            for _ in work.decision.signings:
                item, answer = next(answers)
                results.append(signing.verified(authority, item, answer))
                if results[-1] is signing.WRONG:
                    wrong.append(item)
                checked += 1
                if checked % _VERIFY_EACH == 0:
                    await asyncio.sleep(0)
            concluded.append((work, results))
        for work, results in concluded:  # at once, so that the outcomes of a flight stand in one entry
            self._conclude(work, results)
        if wrong:
            await loop.run_in_executor(self._hsm, signing.tell_wrong, authority, self._keystores, wrong)

    async def _ask(self, works: list[Work], wanted: list[signing.Wanted]) -> list[bytes | HsmError | signing.Failure]:
        """Ask the HSM in its executor; whatever that raises is the failure of this flight, whose works are `works`."""
        authority, loop = self._standing.authority, asyncio.get_running_loop()
        try:
            with self._contain(next((work.document for work in works if work.document is not None), sha256_hex(b""))):
                return await loop.run_in_executor(self._hsm, signing.ask, authority, self._keystores, wanted)
        except Refused as refused:
            return [signing.Failure(refused.id, refused.detail)] * len(wanted)

    async def _sign_head(self, item: signing.Wanted) -> bytes | HsmError | signing.Failure:
        """Have a checkpoint kept as the log's head, with the proof that it has grown from the last one, and signed."""
        authority, loop = self._standing.authority, asyncio.get_running_loop()
        keystore = signing.keystore_of(authority, self._keystores, item)
        if keystore is None:
            return signing.UNREACHED
        try:
            kept = await loop.run_in_executor(self._hsm, keystore.kept, bytes.fromhex(item.key_id))
        except HsmError as error:
            return error
        proof: tuple[bytes, ...] = ()
        if kept is not None:
            size = Checkpoint.parse(item.input).size
            proof = await loop.run_in_executor(self.disk, self._log.growth, kept.size, kept.root, size)
        return await loop.run_in_executor(self._hsm, signing.sign_head, keystore, item, proof)

    def _landed(self, flight: "asyncio.Task[None]") -> None:
        self._flights.discard(flight)
        if not flight.cancelled() and (fault := flight.exception()) is not None:
            self._fault = fault
        self._wake()

    def _conclude(self, work: Work, found: list[bytes | signing.Failure]) -> None:
        """Record what became of one work's signatures; release it, refuse it, or stage its next step."""
        intents = sorted({work.seqs[item.place] for item in work.decision.signings})
        failures = [item for item in found if isinstance(item, signing.Failure)]
        if failures:
            self._failed.extend(intents)
            _release(work, Refused(Refusal.HSM_FAULT, f"{failures[0].id}: {failures[0].detail}"))
            return
        self._signed.extend(intents)
        signatures = [item for item in found if isinstance(item, bytes)]
        try:
            with self._contain(work.document) if work.document is not None else nullcontext():
                following = self._finish(work, signatures)
        except Refused as refused:
            self._refuse(work, refused)
            return
        if isinstance(following, Work):
            self._following.append(following)
            return
        self._batch.notes.extend(following.notes)
        _release(work, following)

    def _finish(self, work: Work, signatures: Sequence[bytes]) -> Finished | Work:
        """Give what a work's signatures end it with, or its next step, staged; raises `Refused`."""
        following = work.decision.finish(signatures)
        if isinstance(following, Finished):
            return following
        keys.check_usable(self._standing.authority, self._standing.opened, following.signings, self._now())
        return self.stage(following, work.release, work.origin)

    def _refuse(self, work: Work, refused: Refused) -> None:
        """End a command between two of its steps: the log says so before its sender hears it."""
        if work.origin is None or not work.is_open:
            _release(work, refused)
            return
        event = refused_after(work.origin, refused)
        self._following.append(self.stage(Decision((event,)), lambda _ended: _release(work, refused)))


def _release(work: Work, ended: Finished | Refused) -> None:
    if work.release is not None:
        work.release(ended)
