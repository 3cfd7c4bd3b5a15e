"""The appliance inside this process, for one command: the same engine that `serve` runs, without a socket."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from appliance.client import TakeLines
from appliance.errors import Refusal, Refused
from appliance.outcome import Outcome
from appliance.reading import Reader
from appliance.wiring import Openings, open_engine
from coldcred.canonical import Json
from coldcred.record import Record


class EngineTransport:
    """A transport that is the engine itself; closing it stops the engine cleanly."""

    def __init__(self, home: Path, openings: Openings | None) -> None:
        """Take the home's lock, open its log and the tokens of `openings`; raises `HomeError` and the HSM's errors."""
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._reader: Reader | None = None
        try:
            self._engine = self._runner.run(self._stack.enter_async_context(open_engine(home, openings)))
        except BaseException:
            self._runner.close()
            raise

    def about(self) -> Json:
        """Say which appliance this is."""
        return self._engine.standing.authority.summary()

    def command(self, token: str, attachments: Mapping[str, bytes], approvals: Sequence[str]) -> Outcome:
        """Carry out a command."""
        outcome = self._runner.run(self._engine.submit_command(token, attachments, approvals, whole=False))
        return self._with_pages(outcome)

    def batch(self, token: str, attachments: Mapping[str, bytes], approvals: Sequence[str], take: TakeLines) -> Outcome:
        """Carry out a command for a batch."""
        return self._runner.run(self._batch(token, attachments, approvals, take))

    async def _batch(
        self, token: str, attachments: Mapping[str, bytes], approvals: Sequence[str], take: TakeLines
    ) -> Outcome:
        stream = await self._engine.submit_batch(token, attachments, approvals)
        try:
            while (lines := await stream.chunk()) is not None:
                take(lines)
            return stream.outcome()
        finally:
            stream.abandon()

    def approval(self, token: str) -> Outcome:
        """Count an approval."""
        return self._with_pages(self._runner.run(self._engine.submit_approval(token, whole=False)))

    def _with_pages(self, outcome: Outcome) -> Outcome:
        """Give an outcome whose export, if it gives one, is made while its pages are taken."""
        if outcome.export is None:
            return outcome
        return replace(outcome, export=None, pages=self._pages(self._engine.pages(outcome.export)))

    def _pages(self, pages: AsyncIterator[bytes]) -> Iterator[bytes]:
        while (page := self._runner.run(_next(pages))) is not None:
            yield page

    def open_reading(self, token: str) -> None:
        """Open reading."""
        self._reader = self._runner.run(self._engine.open_reading(token))

    def read(self, name: str, arguments: Mapping[str, str]) -> Json:
        """Read a view."""
        if self._reader is None:
            raise Refused(Refusal.NOT_ALLOWED, "reading is not open")
        return self._runner.run(self._reader.read(name, arguments))

    def preview(self, act: str, args: dict[str, Json], attachments: Mapping[str, bytes]) -> Json:
        """Say what a command would change."""
        if self._reader is None:
            raise Refused(Refusal.NOT_ALLOWED, "reading is not open")
        return self._runner.run(self._reader.preview(act, Record(args, act), attachments))

    def why(self, asked: dict[str, Json], attachments: Mapping[str, bytes]) -> Json:
        """Say why a command was, or would be, carried out or not."""
        if self._reader is None:
            raise Refused(Refusal.NOT_ALLOWED, "reading is not open")
        return self._runner.run(self._reader.why(Record(asked, "why"), attachments))

    def close(self) -> None:
        """Stop the engine; what it still owed is written."""
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()


async def _next(pages: AsyncIterator[bytes]) -> bytes | None:
    """Give the next page, or None after the last."""
    return await anext(pages, None)
