"""Serve an engine on its two sockets, the operators' and the workloads', until told to stop."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from uvicorn.config import Config
from uvicorn.server import Server

from appliance.engine import Engine
from appliance.service.app import application, workload_application
from appliance.service.connection import IDLE_SECONDS, LocalProtocol, WorkloadProtocol, protocol
from appliance.service.places import Places
from appliance.sockets import listen

GRACE_SECONDS = 5

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends the serving: a terminal that went away is no reason to leave without a last checkpoint."""

Talk = Callable[[str], None]
Give = Callable[[Engine, Callable[[Exception], None]], Starlette]


class _LocalServer(Server):
    """uvicorn's server, but signals are ours: its own raises them again once it has stopped.

    One server takes the signals, and ends those `beside` it when it ends.
    """

    def __init__(
        self, config: Config, ready: Callable[[], None], beside: "Sequence[_LocalServer] | None" = None
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._beside = beside

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first signal; more of them change nothing."""
        if self._beside is None:
            yield
            return
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Take no more connections and finish what was begun."""
        self.should_exit = True
        for server in self._beside or ():
            server.stop()


@dataclass(frozen=True, slots=True)
class Door:
    """Where workloads ask for themselves: the socket's path, and the group that may use it beside its owner, if any."""

    path: Path
    group: int | None = None


async def serve(engine: Engine, path: Path, door: Door, ready: Callable[[], None], talk: Talk) -> None:
    """Serve `engine` on the sockets until SIGTERM, SIGINT, SIGHUP or its own end; needs the main thread.

    Operators use the socket `path`, workloads `door`. `ready` is called once both answer, `talk` gets a line for each
    thing that a person who watches should know. Raises `HomeError` where a socket cannot be made.
    """
    with listen(path) as ours, listen(door.path, 0o660, door.group) as theirs:
        beginning = [ours, theirs]

        def begun() -> None:
            beginning.pop()
            if not beginning:
                ready()

        places: Places[LocalProtocol] = Places()
        workloads, operators = protocol(WorkloadProtocol, places), protocol(LocalProtocol, places)
        at_door = _LocalServer(_config(workload_application, workloads, engine, talk), begun)
        server = _LocalServer(_config(application, operators, engine, talk), begun, [at_door])
        watch = asyncio.create_task(_watch(engine, server))
        try:
            await asyncio.gather(server.serve(sockets=[ours]), at_door.serve(sockets=[theirs]))
        finally:
            watch.cancel()


async def _watch(engine: Engine, server: _LocalServer) -> None:
    """End the serving when the engine cannot go on."""
    await engine.wait_failed()
    server.stop()


def _config(give: Give, kind: type[LocalProtocol], engine: Engine, talk: Talk) -> Config:
    def complain(error: Exception) -> None:
        talk(f"defect: {type(error).__name__} while answering a request")

    log = logging.getLogger("uvicorn")
    log.propagate = False
    log.handlers = [_Lines(talk)]
    return Config(
        give(engine, complain),
        http=kind,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


class _Lines(logging.Handler):
    """Passes on what uvicorn says as one line, never with a traceback."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(logging.WARNING)
        self._talk = talk

    def emit(self, record: logging.LogRecord) -> None:
        """Say the line."""
        self._talk(record.getMessage().strip())
