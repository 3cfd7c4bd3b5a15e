"""The way in at a listening socket: one newcomer at a time, and no more in a moment than leave room for the others.

asyncio's own server takes in as many connections at once as wait, before anything counts them, and says a traceback for
each that no descriptor is left for. Here a newcomer has its place, or has been told that there is none, before the next
one is taken in; whoever comes faster waits in the kernel, at no cost to the process.
"""

import asyncio
import resource
import socket
from collections.abc import Callable

BURST = 8
"""Newcomers that are taken in before the gate rests."""

REST = 0.02
"""Seconds that it rests then, and where no descriptor is left."""


async def admit(listener: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
    """Take in whoever connects to `listener`, for each of whom `make` gives a protocol; until cancelled."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    while True:
        for _ in range(BURST):
            try:
                connection, _address = await loop.sock_accept(listener)
            except OSError:
                break
            try:
                await loop.connect_accepted_socket(make, connection)
            except OSError:
                connection.close()
        await asyncio.sleep(REST)


def raise_limit() -> None:
    """Let this process open as many files as it may at all: what a login shell sets is meant for `select`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
