"""Wrong PINs and processes with the HSM that end, on a real token: counted, logged, delayed. Reliability H6."""

import asyncio
import io
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from appliance.engine import Engine
from appliance.log import Log
from appliance.nouns import checkpoints
from appliance.outcome import State
from appliance.pins import Opening
from appliance.wiring import open_engine
from coldcred.acts import Act
from coldcred.log import entry as entries
from coldcred.log import export
from coldcred.log.system import PinMode
from hsm.errors import PinDelayed, PinIncorrect
from hsm.supervisor import WorkerKeyStore
from tests.support.running import LABEL, SetClock
from tests.support.serving import Appliance
from tests.support.softhsm import PIN, kill_worker

WRONG = b"wrong-pin"


class Starts:
    """Starts of one appliance, under a clock that the test sets; `asked` counts how often a PIN was asked for."""

    def __init__(self, mine: Appliance) -> None:
        """Begin a little after the log's end."""
        self.mine = mine
        self.clock = SetClock(int(time.time()) + 60)
        self.pin = PIN
        self.asked = 0

    def __call__(self, pin: bytes, use: Callable[[Engine], Awaitable[None]] | None = None) -> None:
        """Start with a PIN, `use` the engine if it starts, and stop it."""
        self.pin = pin

        def source() -> bytearray:
            self.asked += 1
            return bytearray(self.pin)

        opening = Opening(source, PinMode.DESCRIPTOR)

        async def story() -> None:
            async with open_engine(self.mine.home, lambda _token: opening, clock=self.clock) as engine:
                if use is not None:
                    await use(engine)

        asyncio.run(asyncio.wait_for(story(), 60))

    def wrong(self) -> None:
        """See that a wrong PIN is given to the token, and that its refusal is on the disk when it is told."""
        before, asked = self.told()["pin.refused"], self.asked
        with pytest.raises(PinIncorrect):
            self(WRONG)
        assert (self.told()["pin.refused"], self.asked) == (before + 1, asked + 1)

    def delayed(self, left: int) -> None:
        """See that no PIN is asked for, not even the right one, that it is said for how long, and nothing written."""
        before, asked = self.told(), self.asked
        with pytest.raises(PinDelayed, match=f" {left} s$"):
            self(PIN)
        assert (self.told(), self.asked) == (before, asked)

    def told(self) -> Counter[str]:
        """Count the entries of each type."""
        log = Log.open(self.mine.log_path)
        try:
            return Counter(entries.parse(body).type for body in log.bodies())
        finally:
            log.close()


def test_wrong_pins_wait_longer_and_longer_across_restarts(mine: Appliance) -> None:
    """A minute after the fifth in a row, a quarter of an hour after the tenth; a login begins anew."""
    start = Starts(mine)
    for _ in range(5):
        start.wrong()
    start.delayed(60)
    start.clock.time += 59
    start.delayed(1)
    for _ in range(5):
        start.clock.time += 60
        start.wrong()
    start.delayed(900)
    start.clock.time += 899
    start.delayed(1)
    start.clock.time += 1
    start.wrong()
    start.delayed(900)
    start.clock.time += 900
    start(PIN)
    for _ in range(4):
        start.wrong()
    start(PIN)


def test_a_pin_that_is_refused_while_serving_is_counted(mine: Appliance) -> None:
    """A worker that ended, its successor's refused PIN and the login before are in the log, and auditors believe it."""
    start = Starts(mine)

    async def serve(engine: Engine) -> None:
        assert (await engine.submit_command(mine.issue())).files
        store = engine._carrier._keystores[LABEL]
        assert isinstance(store, WorkerKeyStore)
        start.pin = WRONG
        kill_worker(store)
        for _ in range(3):
            assert (await engine.submit_command(mine.issue())).reason == "hsm-fault"

    async def verify(engine: Engine) -> None:
        exported = await engine.submit_command(mine.command("carol", Act.LOG_EXPORT))
        assert exported.state is State.DONE
        key = checkpoints.verifier_key(engine.standing.authority)
        export.verify(io.BytesIO(exported.files["export"]), export.Anchor(key))
        assert engine.standing.lookups.refused_pins == {}

    before = start.told()
    start(PIN, serve)
    told = start.told() - before
    assert (told["pin.refused"], told["worker.lost"]) == (1, 1)
    assert told["pin.accepted"] >= 1
    start(PIN, verify)
