"""Serve an engine on a socket until told to stop."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from uvicorn.config import Config
from uvicorn.server import Server

from appliance.engine import Engine
from appliance.service.app import application
from appliance.service.connection import IDLE_SECONDS, protocol
from appliance.service.places import Places
from appliance.sockets import listen

GRACE_SECONDS = 5

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Talk = Callable[[str], None]


class _LocalServer(Server):
    """uvicorn's server, but signals are ours: its own raises them again once it has stopped."""

    def __init__(self, config: Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first signal; more of them change nothing."""
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


async def serve(engine: Engine, path: Path, ready: Callable[[], None], talk: Talk) -> None:
    """Serve `engine` on the socket `path` until SIGTERM, SIGINT or its own end; needs the main thread.

    `ready` is called once the socket answers, `talk` gets a line for each thing that a person who watches should know.
    Raises `HomeError` where the socket cannot be made.
    """
    with listen(path) as listener:
        server = _LocalServer(_config(engine, talk), ready)
        watch = asyncio.create_task(_watch(engine, server))
        try:
            await server.serve(sockets=[listener])
        finally:
            watch.cancel()


async def _watch(engine: Engine, server: _LocalServer) -> None:
    """End the serving when the engine cannot go on."""
    await engine.wait_failed()
    server.stop()


def _config(engine: Engine, talk: Talk) -> Config:
    def complain(error: Exception) -> None:
        talk(f"defect: {type(error).__name__} while answering a request")

    log = logging.getLogger("uvicorn")
    log.propagate = False
    log.handlers = [_Lines(talk)]
    return Config(
        application(engine, complain),
        http=protocol(Places()),
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
