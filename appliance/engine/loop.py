"""The loop: signed commands in, logged events out.

One task takes submissions in slices of at most 64, decides them, appends and commits, asks the HSM, verifies what it
gives, and only then releases. Commits and the HSM wait in executors, so the loop answers meanwhile. The outcome of a
batch rides on the next commit, at most 50 ms later (rule R31).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from appliance import deciding
from appliance.clock import Clock, guarded
from appliance.decision import Ask, Decision, Event, Finished
from appliance.engine import signing
from appliance.errors import HomeError, HomeFault, Refusal, Refused
from appliance.intake import Answer, Intake
from appliance.log import Log
from appliance.nouns import checkpoints
from appliance.outcome import Outcome, State
from appliance.reading import Reader
from appliance.standing import Standing
from coldcred.acts import Act
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.log.entry import MAX_BODY, Entry
from hsm.keystore import KeyStore

SLICE = 64
QUEUE = 1024
OUTCOME_DELAY = 0.05
CHECKPOINT_DELAY = 1.0
CHECKPOINT_ENTRIES = 4096
LARGEST_EVENT = MAX_BODY - 1024


@dataclass(slots=True)
class _Job:
    """A submission and the future its sender waits on."""

    take: Callable[[], Answer]
    done: "asyncio.Future[Outcome]"


@dataclass(slots=True)
class _Work:
    """What is under way for one sender: a decision whose events stand at `seqs`."""

    decision: Decision
    seqs: tuple[int, ...]
    command: str | None
    job: _Job | None


@dataclass(slots=True)
class _Batch:
    """Entries, blobs and checkpoints of the next commit."""

    entries: list[Entry] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    notes: list[tuple[int, bytes]] = field(default_factory=list)


class Engine:
    """One appliance in service; made by `appliance.wiring`, which also recovers what a crash left behind."""

    def __init__(
        self,
        standing: Standing,
        log: Log,
        keystores: Mapping[str, KeyStore],
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        """Take over a standing that was folded from `log`; no keystores means that nothing can be signed."""
        self._standing = standing
        self._log = log
        self._keystores = keystores
        self._clock = clock
        self._random = random
        self._queue: asyncio.Queue[_Job | None] = asyncio.Queue(QUEUE)
        self._disk = ThreadPoolExecutor(1, "disk")
        self._hsm = ThreadPoolExecutor(1, "hsm")
        self._batch = _Batch()
        self._intake = Intake(standing, self._append, self._keep)
        self._under_way: list[_Job] = []
        self._readings: set[str] = set()
        self._signed: list[int] = []
        self._failed: list[int] = []
        self._task: asyncio.Task[None] | None = None
        self.failure: HomeError | None = None

    @property
    def standing(self) -> Standing:
        """What the appliance knows; for reading only."""
        return self._standing

    def start(self) -> None:
        """Begin to serve on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="engine")

    async def stop(self) -> None:
        """Finish what was accepted, write outcomes, the stop entry and a checkpoint, and end; safe to call twice."""
        task, self._task = self._task, None
        if task is None:
            return
        await self._queue.put(None)
        await task
        self._disk.shutdown()
        self._hsm.shutdown()

    async def wait_failed(self) -> HomeError | None:
        """Wait until the engine ended; gives the fault that ended it, if any."""
        if self._task is not None:
            await asyncio.wait({self._task})
        return self.failure

    async def submit_command(
        self, token: str, attachments: Mapping[str, bytes] | None = None, approvals: Sequence[str] = ()
    ) -> Outcome:
        """Carry out a signed command; the outcome says what became of it.

        Raises `Refused` for what no enrolled person signed and for faults of storage and clock.
        """
        given = dict(attachments or {})
        if any(sha256_hex(body) != digest for digest, body in given.items()):
            raise Refused(Refusal.MALFORMED, "an attachment is not what its digest says")
        return await self._submit(lambda: self._intake.command(token, given, approvals, self._now()))

    async def submit_approval(self, token: str) -> Outcome:
        """Count an approval; the outcome is that of the request it is about. Raises as `submit_command`."""
        return await self._submit(lambda: self._intake.approval(token, self._now()))

    async def open_reading(self, token: str) -> Reader:
        """Open reading by a signed `read.open`, logged once; raises `Refused`."""
        command = deciding.read_command(self._standing, token)
        if command.act is not Act.READ_OPEN:
            raise Refused(Refusal.NOT_ALLOWED, f"reading is opened by {Act.READ_OPEN}, not by {command.act}")
        if command.id in self._readings or command.id in self._standing.lookups.outcomes:
            raise Refused(Refusal.NOT_ALLOWED, "this command opened a reading before; each opens one")
        self._readings.add(command.id)
        outcome = await self.submit_command(token)
        if outcome.state is not State.DONE:
            raise Refused(Refusal(outcome.reason or Refusal.NOT_ALLOWED), outcome.detail or "reading was not opened")
        return Reader(self._standing, self._log, self._disk, self._now)

    async def _submit(self, take: Callable[[], Answer]) -> Outcome:
        if self.failure is not None:
            raise Refused(Refusal.STORAGE_FAULT, str(self.failure))
        if self._task is None:
            raise Refused(Refusal.STOPPING, "the appliance is stopping")
        job = _Job(take, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(job)
        except asyncio.QueueFull as error:
            raise Refused(Refusal.BUSY, f"{QUEUE} submissions wait already") from error
        return await job.done

    def _now(self) -> int:
        return guarded(self._clock.now(), self._standing.lookups.last_time)

    async def _run(self) -> None:
        """Serve until told to stop or until the log cannot be written."""
        try:
            while (jobs := await self._take()) is not None:
                await self._slice(jobs)
            await self._finish()
        except HomeError as error:
            self.failure = error
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing may be decided on what it left behind
            self.failure = HomeError(HomeFault.DEFECT, f"{type(error).__name__} in the engine")
            self.failure.__cause__ = error
        finally:
            self._abandon()

    async def _take(self) -> list[_Job] | None:
        """Wait for submissions, at most until outcomes or a checkpoint are due; None means stop."""
        owed = bool(self._signed or self._failed or self._batch.notes)
        delay = OUTCOME_DELAY if owed else CHECKPOINT_DELAY if self._checkpoint_due() else None
        try:
            first = await asyncio.wait_for(self._queue.get(), delay)
        except TimeoutError:
            return []
        jobs = []
        while first is not None:
            jobs.append(first)
            if len(jobs) == SLICE or self._queue.empty():
                return jobs
            first = self._queue.get_nowait()
        if jobs:
            self._queue.put_nowait(None)
            return jobs
        return None

    def _checkpoint_due(self) -> bool:
        return self._can_sign_log() and self._standing.lookups.worth_checkpoint > 0

    def _can_sign_log(self) -> bool:
        key = self._standing.authority.key_for("log")
        return key is not None and key.token in self._keystores

    async def _slice(self, jobs: list[_Job]) -> None:
        """Decide, commit, sign, release; an empty slice settles outcomes, then makes a checkpoint that is due."""
        idle = not jobs and not (self._signed or self._failed or self._batch.notes)
        self._under_way = jobs
        works = [work for job in jobs if (work := self._begin(job)) is not None]
        if self._checkpoint_due() and (idle or self._standing.lookups.worth_checkpoint >= CHECKPOINT_ENTRIES):
            works.append(self._checkpoint())
        await self._carry(works)
        self._under_way = []

    def _checkpoint(self) -> _Work:
        standing = self._standing
        decision = checkpoints.decide(standing.authority, standing.frontier, lambda _note: Finished())
        return self._stage(decision, None, None)

    def _begin(self, job: _Job) -> _Work | None:
        """Decide one submission and stage its events; answers that need no signature wait for the commit too."""
        try:
            answer = job.take()
        except Refused as refused:
            job.done.set_exception(refused)
            return None
        except HomeError as error:
            job.done.set_exception(Refused(Refusal.CLOCK_FAULT, error.detail))
            return None
        if answer.ask is None:
            return _Work(Decision(()), (), answer.command, job)
        try:
            return self._stage(self._decide(answer.ask), answer.command, job)
        except Refused as refused:
            return self._stage(Decision((deciding.refused_event(answer.ask, refused),)), answer.command, job)

    def _decide(self, ask: Ask) -> Decision:
        decision = deciding.decide(self._standing, ask, self._now(), self._random)
        for event in decision.events:
            if len(dumps(event)) > LARGEST_EVENT:
                raise Refused(Refusal.MALFORMED, f"it would take an entry of more than {LARGEST_EVENT} bytes")
        return decision

    def _stage(self, decision: Decision, command: str | None, job: _Job | None) -> _Work:
        seqs = tuple(self._append(event) for event in decision.events)
        self._batch.blobs |= decision.blobs
        self._batch.notes.extend(decision.notes)
        return _Work(decision, seqs, command, job)

    def _append(self, event: Event) -> int:
        entry = self._standing.stage(event, self._now())
        self._batch.entries.append(entry)
        return entry.seq

    def _keep(self, body: bytes) -> None:
        self._batch.blobs[sha256_hex(body)] = body

    async def _carry(self, works: list[_Work]) -> None:
        """Commit, sign and go on until nothing is left to do; each round is one commit and one batch for the HSM."""
        await self._commit()
        while works:
            results = await self._sign(works)
            following = []
            for work, found in zip(works, results, strict=True):
                if (next_work := self._conclude(work, found)) is not None:
                    following.append(next_work)
            works = following
            if works:
                await self._commit()

    async def _commit(self) -> None:
        """Make everything staged durable, with the outcomes that are owed; a failure ends the engine."""
        if self._signed or self._failed:
            self._append(self._outcomes())
        batch, self._batch = self._batch, _Batch()
        if batch.entries or batch.notes:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._disk, self._log.append, batch.entries, batch.blobs, batch.notes)

    def _outcomes(self) -> Event:
        signed: list[Json] = [*self._signed]
        failed: list[Json] = [*self._failed]
        self._signed, self._failed = [], []
        return {"type": "outcomes", "signed": signed, "failed": failed, "unknown": []}

    async def _sign(self, works: list[_Work]) -> list[list[bytes | signing.Failure]]:
        wanted = [signing.Wanted(item.key_id, item.input) for work in works for item in work.decision.signings]
        found: list[bytes | signing.Failure] = []
        if wanted:
            loop = asyncio.get_running_loop()
            authority = self._standing.authority
            found = await loop.run_in_executor(self._hsm, signing.sign, authority, self._keystores, wanted)
        results, place = [], 0
        for work in works:
            count = len(work.decision.signings)
            results.append(found[place : place + count])
            place += count
        return results

    def _conclude(self, work: _Work, found: list[bytes | signing.Failure]) -> _Work | None:
        """Record what became of one work's signatures; release it, refuse it, or stage its next step."""
        signatures = [item for item in found if isinstance(item, bytes)]
        intents = sorted({work.seqs[item.place] for item in work.decision.signings})
        failures = [item for item in found if isinstance(item, signing.Failure)]
        if failures:
            self._failed.extend(intents)
            self._fail(work, failures[0])
            return None
        self._signed.extend(intents)
        try:
            following = work.decision.finish(signatures)
        except Refused as refused:
            self._answer(work, Finished(), refused)
            return None
        if isinstance(following, Decision):
            return self._stage(following, work.command, work.job)
        self._batch.notes.extend(following.notes)
        self._answer(work, following, None)
        return None

    def _fail(self, work: _Work, failure: signing.Failure) -> None:
        if work.job is not None:
            work.job.done.set_result(self._refused(work, f"{failure.id}: {failure.detail}"))

    def _refused(self, work: _Work, detail: str) -> Outcome:
        recorded = self._standing.lookups.outcomes.get(work.command or "")
        act = recorded.act if recorded else ""
        return Outcome(work.command or "", act, State.REFUSED, reason=Refusal.HSM_FAULT.value, detail=detail)

    def _answer(self, work: _Work, finished: Finished, refused: Refused | None) -> None:
        """Give the sender the recorded outcome, with the files that are released once."""
        if work.job is None or work.command is None:
            return
        if refused is not None:
            work.job.done.set_exception(refused)
            return
        recorded = self._standing.lookups.outcomes[work.command]
        work.job.done.set_result(replace(recorded, files=finished.files))

    async def _finish(self) -> None:
        """End cleanly: outcomes, the stop entry, a last checkpoint, and its outcome."""
        self._append({"type": "stopped"})
        await self._commit()
        if self._can_sign_log():
            await self._carry([self._checkpoint()])
            await self._commit()

    def _abandon(self) -> None:
        """Answer whoever still waits when the engine has ended."""
        fault = Refusal.STORAGE_FAULT if self.failure else Refusal.STOPPING
        detail = str(self.failure) if self.failure else "the appliance stopped"
        waiting = list(self._under_way)
        while not self._queue.empty():
            job = self._queue.get_nowait()
            if job is not None:
                waiting.append(job)
        for job in waiting:
            if not job.done.done():
                job.done.set_exception(Refused(fault, detail))
