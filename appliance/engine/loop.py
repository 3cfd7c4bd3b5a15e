"""The loop: signed commands in, logged events out.

One task takes submissions in slices of at most 64, decides them and carries them through log and HSM. Commits and the
HSM wait in executors, so the loop answers meanwhile. The outcome of a batch rides on the next commit, at most 50 ms
later (rule R31).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from appliance import deciding
from appliance.clock import Clock, guarded
from appliance.decision import Ask, Decision
from appliance.engine.carrying import Carrier, Work
from appliance.errors import HomeError, HomeFault, Refusal, Refused
from appliance.intake import Answer, Intake
from appliance.log import Log
from appliance.outcome import Outcome, State
from appliance.reading import Reader
from appliance.standing import Standing
from coldcred.acts import Act
from coldcred.canonical import dumps, sha256_hex
from coldcred.log.entry import MAX_BODY
from hsm.keystore import KeyStore

SLICE = 64
QUEUE = 1024
OUTCOME_DELAY = 0.05
CHECKPOINT_DELAY = 1.0
CHECKPOINT_ENTRIES = 4096
LARGEST_EVENT = MAX_BODY - 1024


@dataclass(frozen=True, slots=True)
class _Job:
    """A submission and the future its sender waits on."""

    take: Callable[[], Answer]
    done: "asyncio.Future[Outcome]"

    def answer(self, ended: Outcome | Refused) -> None:
        """Answer once; a sender who went away hears nothing."""
        if self.done.done():
            return
        if isinstance(ended, Refused):
            self.done.set_exception(ended)
        else:
            self.done.set_result(ended)


class Engine:
    """One appliance in service; made by `appliance.wiring`, after recovery closed what a crash left open."""

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
        self._clock = clock
        self._random = random
        self._carrier = Carrier(standing, log, keystores, self._entry_time)
        self._intake = Intake(standing, self._carrier.append, self._carrier.keep)
        self._queue: asyncio.Queue[_Job | None] = asyncio.Queue(QUEUE)
        self._under_way: list[_Job] = []
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
        await self._queue.put(None)
        await task
        self._carrier.close()

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
        try:
            outcome = await self.submit_command(token)
        finally:
            self._readings.discard(command.id)
        if outcome.state is not State.DONE:
            raise Refused(Refusal(outcome.reason or Refusal.NOT_ALLOWED), outcome.detail or "reading was not opened")
        return Reader(self._standing, self._log, self._carrier.disk, self._now)

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

    def _entry_time(self) -> int:
        """Give the time to write: entries never go back, also while the clock is behind and nothing is decided."""
        return max(self._clock.now(), self._standing.lookups.last_time)

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
        delay = OUTCOME_DELAY if self._carrier.owes else CHECKPOINT_DELAY if self._checkpoint_due() else None
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
        return self._carrier.signs_log and self._standing.lookups.worth_checkpoint > 0

    async def _slice(self, jobs: list[_Job]) -> None:
        """Decide, commit, sign, release; an empty slice settles outcomes, then makes a checkpoint that is due."""
        idle = not jobs and not self._carrier.owes
        self._under_way = jobs
        works = [work for job in jobs if (work := self._begin(job)) is not None]
        if self._checkpoint_due() and (idle or self._standing.lookups.worth_checkpoint >= CHECKPOINT_ENTRIES):
            works.append(self._carrier.stage_checkpoint())
        await self._carrier.carry(works)
        self._under_way = []

    def _begin(self, job: _Job) -> Work | None:
        """Decide one submission and stage its events; answers that need no signature wait for the commit too."""
        try:
            answer = job.take()
        except Refused as refused:
            job.answer(refused)
            return None
        except HomeError as error:
            job.answer(Refused(Refusal.CLOCK_FAULT, error.detail))
            return None
        if answer.ask is None:
            return Work(Decision(()), command=answer.command, answer=job.answer)
        try:
            decision = self._decide(answer.ask)
        except Refused as refused:
            decision = Decision((deciding.refused_event(answer.ask, refused),))
        return self._carrier.stage(decision, answer.command, job.answer)

    def _decide(self, ask: Ask) -> Decision:
        decision = deciding.decide(self._standing, ask, self._now(), self._random)
        for event in decision.events:
            if len(dumps(event)) > LARGEST_EVENT:
                raise Refused(Refusal.MALFORMED, f"it would take an entry of more than {LARGEST_EVENT} bytes")
        return decision

    async def _finish(self) -> None:
        """End cleanly: outcomes, the stop entry, a last checkpoint, and its outcome."""
        self._carrier.append({"type": "stopped"})
        await self._carrier.commit()
        if self._carrier.signs_log:
            await self._carrier.carry([self._carrier.stage_checkpoint()])
            await self._carrier.commit()

    def _abandon(self) -> None:
        """Answer whoever still waits when the engine has ended."""
        ended = Refused(Refusal.STOPPING, "the appliance stopped")
        if self.failure is not None:
            ended = Refused(Refusal.STORAGE_FAULT, str(self.failure))
        waiting = list(self._under_way)
        while not self._queue.empty():
            if (job := self._queue.get_nowait()) is not None:
                waiting.append(job)
        for job in waiting:
            job.answer(ended)
