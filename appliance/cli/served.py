"""A home as a server: lock, log, HSM and socket in this order, and back again in the reverse."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from appliance.cli.output import talk
from appliance.home import Home
from appliance.service.serving import Door, serve
from appliance.wiring import Openings, open_engine

_STANDARD_ERROR = 2


def serve_home(path: Path, openings: Openings | None, ready_fd: int | None, opened: Callable[[], None]) -> None:
    """Serve the home `path` until stopped; `ready_fd` gets a line once the socket answers, after `opened` was called.

    Raises `HomeError` and the HSM's errors, also for what ended the engine while it served.
    """
    asyncio.run(_serve(path, openings, ready_fd, opened))


async def _serve(path: Path, openings: Openings | None, ready_fd: int | None, opened: Callable[[], None]) -> None:
    home = Home.open(path)
    door = Door(home.workload_socket_path, home.workload_group())

    def ready() -> None:
        opened()
        talk(f"serving on {home.socket_path}, and for workloads on {door.path}")
        if ready_fd is not None:
            with contextlib.suppress(OSError):
                os.write(ready_fd, b"ready\n")
                if ready_fd > _STANDARD_ERROR:
                    os.close(ready_fd)

    async with open_engine(path, openings) as engine:
        if engine.standing.head_in_token is False:
            talk("the log key's token takes no data objects: no older copy of this home, and no second one, is noticed")
        await serve(engine, home.socket_path, door, ready, talk)
        talk("stopping")
    talk("stopped")
