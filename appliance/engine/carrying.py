"""From decisions to signatures: stage events, commit them, ask the HSM, verify, go on, and owe the outcome.

Everything staged is folded at once and made durable by the next commit, before any key is used (rule R31).
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from appliance.decision import Decision, Event, Finished
from appliance.engine import signing
from appliance.errors import Refusal, Refused
from appliance.log import Log
from appliance.nouns import checkpoints
from appliance.outcome import Outcome, State
from appliance.standing import Standing
from coldcred.canonical import Json, sha256_hex
from coldcred.log.entry import Entry
from hsm.keystore import KeyStore

Answer: TypeAlias = Callable[[Outcome | Refused], None]
"""Called once with what became of a command, after it is durable."""

_Found: TypeAlias = bytes | signing.Failure


@dataclass(frozen=True, slots=True)
class Work:
    """A decision under way: its events stand at `seqs`; `answer` is for whoever sent `command`, if anybody did."""

    decision: Decision
    seqs: tuple[int, ...] = ()
    command: str | None = None
    answer: Answer | None = None


@dataclass(slots=True)
class _Batch:
    """Entries, blobs and checkpoints of the next commit."""

    entries: list[Entry] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    notes: list[tuple[int, bytes]] = field(default_factory=list)


class Carrier:
    """Carries decisions through log and HSM; the one place that appends while an appliance serves."""

    def __init__(self, standing: Standing, log: Log, keystores: Mapping[str, KeyStore], now: Callable[[], int]) -> None:
        """Carry on from `standing`; `now` gives the Unix seconds to write into entries."""
        self._standing = standing
        self._log = log
        self._keystores = keystores
        self._now = now
        self.disk = ThreadPoolExecutor(1, "disk")
        self._hsm = ThreadPoolExecutor(1, "hsm")
        self._batch = _Batch()
        self._signed: list[int] = []
        self._failed: list[int] = []

    def close(self) -> None:
        """End the executors; what was committed stays."""
        self.disk.shutdown()
        self._hsm.shutdown()

    @property
    def owes(self) -> bool:
        """Whether outcomes or signed checkpoints wait for the next commit."""
        return bool(self._signed or self._failed or self._batch.notes)

    @property
    def signs_log(self) -> bool:
        """Whether checkpoints can be signed."""
        key = self._standing.authority.key_for("log")
        return key is not None and key.token in self._keystores

    def append(self, event: Event) -> int:
        """Stage an event as the next entry, fold it, and give its seq."""
        entry = self._standing.stage(event, self._now())
        self._batch.entries.append(entry)
        return entry.seq

    def keep(self, body: bytes) -> None:
        """Store a blob with the next commit."""
        self._batch.blobs[sha256_hex(body)] = body

    def stage(self, decision: Decision, command: str | None = None, answer: Answer | None = None) -> Work:
        """Stage a decision's events, blobs and checkpoints."""
        seqs = tuple(self.append(event) for event in decision.events)
        self._batch.blobs |= decision.blobs
        self._batch.notes.extend(decision.notes)
        return Work(decision, seqs, command, answer)

    def stage_checkpoint(self) -> Work:
        """Stage a checkpoint of the log as it stands."""
        standing = self._standing
        return self.stage(checkpoints.decide(standing.authority, standing.frontier, lambda _note: Finished()))

    async def carry(self, works: list[Work]) -> None:
        """Commit, sign and go on until nothing is left to do; each round is one commit and one batch for the HSM.

        Raises `HomeError` when the log cannot be written: then nothing more may be signed.
        """
        await self.commit()
        while works:
            results = await self._sign(works)
            concluded = [self._conclude(work, found) for work, found in zip(works, results, strict=True)]
            works = [work for work in concluded if work is not None]
            if works:
                await self.commit()

    async def commit(self) -> None:
        """Make everything staged durable, with the outcomes that are owed."""
        if self._signed or self._failed:
            self.append(self._outcomes())
        batch, self._batch = self._batch, _Batch()
        if batch.entries or batch.notes:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self.disk, self._log.append, batch.entries, batch.blobs, batch.notes)

    def _outcomes(self) -> Event:
        signed: list[Json] = [*self._signed]
        failed: list[Json] = [*self._failed]
        self._signed, self._failed = [], []
        return {"type": "outcomes", "signed": signed, "failed": failed, "unknown": []}

    async def _sign(self, works: list[Work]) -> list[list[_Found]]:
        wanted = [signing.Wanted(item.key_id, item.input) for work in works for item in work.decision.signings]
        found: list[_Found] = []
        if wanted:
            loop = asyncio.get_running_loop()
            authority = self._standing.authority
            found = await loop.run_in_executor(self._hsm, signing.sign, authority, self._keystores, wanted)
        answers = iter(found)
        return [[next(answers) for _ in work.decision.signings] for work in works]

    def _conclude(self, work: Work, found: list[_Found]) -> Work | None:
        """Record what became of one work's signatures; release it, refuse it, or stage its next step."""
        intents = sorted({work.seqs[item.place] for item in work.decision.signings})
        failures = [item for item in found if isinstance(item, signing.Failure)]
        if failures:
            self._failed.extend(intents)
            self._answer(work, Refused(Refusal.HSM_FAULT, f"{failures[0].id}: {failures[0].detail}"))
            return None
        self._signed.extend(intents)
        try:
            following = work.decision.finish([item for item in found if isinstance(item, bytes)])
        except Refused as refused:
            self._answer(work, refused)
            return None
        if isinstance(following, Decision):
            return self.stage(following, work.command, work.answer)
        self._batch.notes.extend(following.notes)
        self._answer(work, following)
        return None

    def _answer(self, work: Work, ended: Finished | Refused) -> None:
        """Give the sender the recorded outcome with the files that are released once, or what the HSM did not do."""
        if work.answer is None or work.command is None:
            return
        recorded = self._standing.lookups.outcomes.get(work.command)
        if isinstance(ended, Finished) and recorded is not None:
            work.answer(replace(recorded, files=ended.files))
        elif isinstance(ended, Refused):
            act = str(work.decision.events[0].get("act", "")) if work.decision.events else ""
            work.answer(Outcome(work.command, act, State.REFUSED, reason=ended.reason, detail=ended.detail))
        else:
            work.answer(Refused(Refusal.UNKNOWN_REQUEST, "no outcome is recorded for it"))
