"""How the loop waits: until something is there to do, or until a time has come."""

import asyncio


class Signal:
    """Wakes the loop: kept while nobody waits, forgotten once somebody did."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._kept = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake whoever waits, or the next one who does."""
        self._kept = True
        self._wake()

    async def wait(self, delay: float | None) -> None:
        """Wait until set, at most `delay` seconds."""
        if not self._kept:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = None if delay is None else loop.call_later(delay, self._wake)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        self._kept = False

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
