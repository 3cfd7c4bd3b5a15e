"""The loop: signed commands in, logged events out.

One task takes submissions in slices of at most 64, decides them, commits them and sends them to the HSM; while that
signs, the next slice is decided. Commits and the HSM wait in executors, so the loop answers meanwhile. The outcome of
a signature rides on the next commit, at most 50 ms later (rule R31).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from appliance import addressed, deciding, intake, showing
from appliance.clock import Clock, guarded
from appliance.decision import Ask, Decision, Event, Finished, Peer
from appliance.engine import answers, handover
from appliance.engine.batching import Batches, BatchStream
from appliance.engine.carrying import Carrier, Work
from appliance.engine.inbox import Inbox, Job
from appliance.engine.waking import Signal
from appliance.engine.watch import EVER, Watch
from appliance.errors import HomeError, HomeFault, Refusal, Refused
from appliance.intake import Answer, Asking, Intake
from appliance.log import Log
from appliance.outcome import Export, Outcome, State
from appliance.reading import Reader
from appliance.standing import Standing
from appliance.turns import Turns
from coldcred.acts import Act
from coldcred.canonical import sha256_hex
from coldcred.log.signing import FLIGHTS
from hsm.keystore import KeyStore

SLICE = 64
OUTCOME_DELAY = 0.05
CHECKPOINT_DELAY = 1.0
CHECKPOINT_ENTRIES = 4096
_READING = "R12 reading"


class Engine:
    """One appliance in service; made by `appliance.wiring`, after recovery closed what a crash left open."""

    def __init__(
        self,
        standing: Standing,
        log: Log,
        keystores: Mapping[str, KeyStore],
        clock: Clock,
        random: Callable[[int], bytes],
        watch: Watch,
    ) -> None:
        """Take over a standing that was folded from `log`; no keystores means that nothing can be signed."""
        self._watch = watch
        self._standing = standing
        self._log = log
        self._clock = clock
        self._random = random
        self._signal = Signal()
        self._carrier = Carrier(
            standing, log, keystores, self._entry_time, self._signal.set, self._contain, self._wrote
        )
        self._intake = Intake(standing, self._carrier.append, self._admit, self._afford)
        self._turns = Turns(self._carrier.disk)
        self._inbox = Inbox()
        self._under_way: set[Job] = set()
        self._batches = Batches(standing, self._carrier, self._chunk_time, random, self._contain)
        self._stopping = False
        self._owed_at: float | None = None
        self._news_at: float | None = None
        self._readings: set[str] = set()
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
        self._stopping = True
        self._signal.set()
        await task
        self._carrier.close()

    async def wait_failed(self) -> HomeError | None:
        """Wait until the engine ended; gives the fault that ended it, if any."""
        if self._task is not None:
            await asyncio.wait({self._task})
        return self.failure

    async def submit_command(
        self,
        token: str,
        attachments: Mapping[str, bytes] | None = None,
        approvals: Sequence[str] = (),
        source: str = "",
        peer: Peer | None = None,
        *,
        whole: bool = True,
    ) -> Outcome:
        """Carry out a signed command; the outcome says what became of it.

        `source` is whose lane it takes, `peer` who sent it by the workloads' socket. An export is among the files where
        it is to be `whole`, else `pages` gives it. Raises `Refused` for strangers and faults of storage and clock.
        """
        given = self._attached(token, attachments or {})
        outcome = await self._submit(
            token, lambda now: self._intake.command(token, given, approvals, now, peer=peer), source
        )
        return await answers.whole(outcome, self.pages) if whole else outcome

    def pages(self, export: Export) -> AsyncIterator[bytes]:
        """Give an export page by page; an empty page says that work goes on. Raises `HomeError`."""
        return handover.pages(export, self._log, self._turns)

    async def submit_batch(
        self, token: str, attachments: Mapping[str, bytes], approvals: Sequence[str] = (), source: str = ""
    ) -> BatchStream:
        """Carry out a command for a batch, whose files are attached; the stream gives each line's outcome as it comes.

        Or complete a batch that waited; its files are here already.

        Raises `Refused` as `submit_command` does, before anything is issued.
        """
        given = self._attached(token, attachments)
        loop = asyncio.get_running_loop()
        with self._counted(token):
            meant = intake.batch_meant(self._standing, token, given)
            items = await loop.run_in_executor(None, intake.read_batch, *meant) if meant else ()
            show = partial(showing.beside_of_batch, self._standing.authority, token, given, items)
            beside = await loop.run_in_executor(None, show)
        stream = BatchStream(self._signal.set)
        job = Job(
            token,
            lambda now: self._intake.command(token, given, approvals, now, items, beside=beside),
            loop.create_future(),
            source,
            items,
            stream,
        )
        self._enter(job)
        try:
            if (ended := await job.done) is not None:
                stream.end(ended)
        except asyncio.CancelledError:
            stream.abandon()
            raise
        return stream

    async def submit_approval(self, token: str, source: str = "", *, whole: bool = True) -> Outcome:
        """Count an approval; the outcome is that of the request it is about. Raises as `submit_command`."""
        outcome = await self._submit(token, lambda now: self._intake.approval(token, now), source)
        return await answers.whole(outcome, self.pages) if whole else outcome

    async def open_reading(self, token: str, source: str = "") -> Reader:
        """Open reading by a signed `read.open`, logged once; raises `Refused`."""
        with self._counted(token):
            command = addressed.read_command(self._standing, token)
        if command.act is not Act.READ_OPEN:
            raise Refused(Refusal.NOT_ALLOWED, f"reading is opened by {Act.READ_OPEN}, not by {command.act}", _READING)
        if command.id in self._readings or command.id in self._standing.lookups.outcomes:
            raise Refused(Refusal.NOT_ALLOWED, "this command opened a reading before; each opens one", _READING)
        self._readings.add(command.id)
        try:
            outcome = await self.submit_command(token, source=source)
        finally:
            self._readings.discard(command.id)
        if outcome.state is not State.DONE:
            detail = outcome.detail or "reading was not opened"
            raise Refused(Refusal(outcome.reason or Refusal.NOT_ALLOWED), detail, outcome.rule)
        return Reader(self._standing, self._log, self._turns, self._now, self._admit, command.signer)

    async def _submit(self, token: str, take: Callable[[int], Answer], source: str) -> Outcome:
        job = Job(token, take, asyncio.get_running_loop().create_future(), source)
        self._enter(job)
        ended = await job.done
        if ended is None:
            raise TypeError("a submission without a stream was taken for a batch")
        return ended

    def _enter(self, job: Job) -> None:
        if self.failure is not None:
            raise Refused(Refusal.STORAGE_FAULT, str(self.failure))
        if self._task is None or self._stopping:
            raise Refused(Refusal.STOPPING, "the appliance is stopping")
        self._inbox.put(job)
        self._signal.set()

    def _tell(self, at: float) -> None:
        """Stage the system events that are due at `at`, by the loop's time."""
        for event in self._watch.take(at, self._clock.now(), self._standing.lookups):
            self._carrier.append([event])

    def _chunk_time(self, signer: str) -> int:
        """Give the time for a chunk of a batch; raises `Refused` where nothing may be issued to its signer now."""
        self._admit(Act.CREDENTIAL_ISSUE)
        self._watch.check_quota(signer, Act.CREDENTIAL_ISSUE, 1, asyncio.get_running_loop().time())
        return self._now()

    def _admit(self, act: str) -> None:
        self._watch.reserve.check(act, asyncio.get_running_loop().time())

    def _afford(self, asking: Asking) -> None:
        self._watch.afford(asking, asyncio.get_running_loop().time(), self._signal.set)

    def _wrote(self, event: Event, size: int) -> None:
        self._watch.wrote(event, size, asyncio.get_running_loop().time())

    def _attached(self, token: str, attachments: Mapping[str, bytes]) -> dict[str, bytes]:
        with self._counted(token):
            if any(sha256_hex(body) != digest for digest, body in attachments.items()):
                raise Refused(Refusal.MALFORMED, "an attachment is not what its digest says")
        return dict(attachments)

    def _counted(self, token: str) -> AbstractContextManager[None]:
        return self._watch.counted(_digest(token), asyncio.get_running_loop().time, self._signal.set)

    def _contain(self, digest: str) -> AbstractContextManager[None]:
        return self._watch.contained(digest, asyncio.get_running_loop().time, self._signal.set)

    def _now(self) -> int:
        try:
            return guarded(self._clock.now(), self._standing.lookups.last_time)
        except HomeError as error:
            raise Refused(Refusal.CLOCK_FAULT, error.detail) from error

    def _entry_time(self) -> int:
        """Give the time to write: entries never go back, also while the clock is behind and nothing is decided."""
        return max(self._clock.now(), self._standing.lookups.last_time)

    async def _run(self) -> None:
        """Serve until told to stop or until the log cannot be written."""
        try:
            while not (self._stopping and not self._inbox):
                await self._turn(await self._wait())
            await self._finish()
        except HomeError as error:
            self.failure = error
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing may be decided on what it left behind
            self.failure = HomeError(HomeFault.DEFECT, f"{type(error).__name__} in the engine")
            self.failure.__cause__ = error
        finally:
            self._abandon()

    async def _wait(self) -> bool:
        """Wait for something to do, at most until outcomes or a checkpoint are due; says whether a time ran out."""
        loop = asyncio.get_running_loop()
        while not self._has_work():
            due = self._due()
            if due is not None and due <= loop.time():
                return True
            await self._signal.wait(None if due is None else due - loop.time())
        return False

    def _has_work(self) -> bool:
        if self._carrier.flying >= FLIGHTS:
            return False
        if self._inbox or self._carrier.has_following or self._stopping:
            return True
        return self._batches.has_work

    def _due(self) -> float | None:
        """Give the loop's time by which outcomes are written or a checkpoint is made; None when nothing is owed."""
        now = asyncio.get_running_loop().time()
        if not self._carrier.owes:
            self._owed_at = None
        elif self._owed_at is None:
            self._owed_at = now
        if not self._checkpoint_due():
            self._news_at = None
        elif self._news_at is None:
            self._news_at = now
        times = []
        if self._owed_at is not None:
            times.append(self._owed_at + OUTCOME_DELAY)
        if self._news_at is not None and self._carrier.flying < FLIGHTS:
            times.append(self._news_at + CHECKPOINT_DELAY)
        if (watched := self._watch.due_at(now)) is not None:
            times.append(watched)
        return min(times, default=None)

    def _checkpoint_due(self) -> bool:
        return self._carrier.signs_log and self._standing.lookups.worth_checkpoint > 0

    async def _turn(self, overdue: bool) -> None:  # noqa: FBT001 - what `_wait` found
        """Decide what waits, commit it, and send it on its way; a turn that is overdue settles what is owed."""
        self._carrier.check()
        if self._carrier.flying >= FLIGHTS:
            self._tell(asyncio.get_running_loop().time())
            await self._carrier.commit()
            return
        jobs = [self._inbox.take() for _ in range(min(SLICE, len(self._inbox)))]
        works = [work for job in jobs if (work := self._begin(job)) is not None]
        works += self._batches.go_on()
        self._tell(asyncio.get_running_loop().time())
        if self._checkpoint_now(overdue):
            works.append(self._carrier.stage_checkpoint())
        await self._carrier.carry(works)

    def _checkpoint_now(self, overdue: bool) -> bool:  # noqa: FBT001 - as above
        if not self._checkpoint_due():
            return False
        if self._standing.lookups.worth_checkpoint >= CHECKPOINT_ENTRIES:
            return True
        now = asyncio.get_running_loop().time()
        return overdue and self._news_at is not None and now >= self._news_at + CHECKPOINT_DELAY

    def _begin(self, job: Job) -> Work | None:
        """Decide one submission and stage its events; answers that need no signature wait for the commit too.

        All of it happens at one moment: a clock that goes back in between leaves nothing half-done.
        """
        self._under_way.add(job)
        try:
            now = self._now()
            with self._counted(job.token):
                answer = job.take(now)
        except Refused as refused:
            self._end(job, refused)
            return None
        if answer.refused is not None:
            return Work(Decision(()), release=lambda _ended: self._end(job, answer.refused))
        release = partial(self._release, job, answer.command)
        if answer.ask is None:
            warned = Finished(warnings=answer.warnings)
            return Work(Decision((), finish=lambda _signatures: warned), release=release)
        try:
            with self._contain(_digest(job.token)):
                return self._decide(job, answer.ask, now, answer.blobs)
        except Refused as refused:
            return self._refuse(job, answer.ask, refused)

    def _decide(self, job: Job, ask: Ask, now: int, blobs: Mapping[str, bytes]) -> Work:
        """Decide what was taken in and stage its events, with the `blobs` that they name; raises `Refused`."""
        deciding.check_signers(self._standing, ask, now)
        if job.stream is not None and job.items is not None:
            return self._batches.take_in(ask, job.items, job.stream, partial(self._end, job, None), blobs)
        decision = deciding.decide_whole(self._standing, ask, now, self._random)
        decision = replace(decision, blobs={**decision.blobs, **blobs})
        return self._carrier.stage(decision, partial(self._release, job, ask.command.id))

    def _refuse(self, job: Job, ask: Ask, refused: Refused) -> Work | None:
        """Stage the end of a command that is not carried out; where even that fails its sender hears that at once."""
        try:
            with self._contain(_digest(job.token)):
                decision = deciding.refuse(self._standing, ask, refused)
                return self._carrier.stage(decision, partial(self._release, job, ask.command.id))
        except Refused as failed:
            self._end(job, failed)
            return None

    def _release(self, job: Job, command: str, ended: Finished | Refused) -> None:
        """Give the sender the recorded outcome with the files that are released once, or what the HSM did not do."""
        try:
            with self._contain(_digest(job.token)):
                self._end(job, answers.outcome_of(self._standing, command, ended, self._entry_time()))
        except Refused as refused:
            self._end(job, refused)

    def _end(self, job: Job, ended: Outcome | Refused | None) -> None:
        self._under_way.discard(job)
        job.answer(ended)

    async def _finish(self) -> None:
        """End cleanly: what is under way, outcomes, the stop entry, a last checkpoint, and its outcome."""
        await self._carrier.settle()
        await self._carrier.carry(self._batches.stop())
        self._tell(EVER)
        self._carrier.append([{"type": "stopped"}])
        await self._carrier.commit()
        if self._carrier.signs_log:
            await self._carrier.carry([self._carrier.stage_checkpoint()])
            await self._carrier.settle()
            await self._carrier.commit()

    def _abandon(self) -> None:
        """Answer whoever still waits when the engine has ended."""
        ended = Refused(Refusal.STOPPING, "the appliance stopped")
        if self.failure is not None:
            ended = Refused(Refusal.STORAGE_FAULT, str(self.failure))
        for job in [*self._under_way, *self._inbox]:
            job.answer(ended)
        self._batches.abandon(ended)
        self._under_way.clear()
        self._inbox.clear()


def _digest(token: str) -> str:
    return sha256_hex(token.encode("utf-8", "surrogatepass"))
