"""The way in: connections are bounded before they are taken in, and a request in every part that it has."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.client import SocketTransport
from appliance.outcome import State
from appliance.service.gate import admit
from appliance.service.places import AWAY, OTHERS, PLACES
from appliance.sockets import connect, listen
from tests.support.founded import Plant
from tests.support.serving import Appliance, mine, ready

__all__ = ["mine", "ready"]

SOFT_LIMIT = 1024
FLOOD = 1100
"""Connections at once, more than there are descriptors."""

OWN = 64
"""Descriptors of a quiet appliance, at most."""

MIB = 1024 * 1024


@pytest.mark.parametrize(("flooded", "places"), [("workload.sock", OTHERS.each), ("operator.sock", PLACES)])
def test_silent_connections_take_neither_places_nor_descriptors(mine: Appliance, flooded: str, places: int) -> None:
    """With 1024 descriptors and 1100 silent connections at a socket a person is served and nothing complained of."""
    limited = ("prlimit", f"--nofile={SOFT_LIMIT}:{SOFT_LIMIT}")
    with mine.serve(under=limited) as server, ExitStack() as stack:
        descriptors = Path(f"/proc/{server.process.pid}/fd")
        most = 0
        for place in range(FLOOD):
            found = connect(mine.home / flooded, 30)
            assert found is not None
            stack.enter_context(closing(found))
            if place % 50 == 0:
                most = max(most, len([*descriptors.iterdir()]))
                with closing(server.transport()) as transport:
                    assert transport.command(mine.issue(), {}, ()).state is State.DONE
        assert places < most < places + AWAY + OWN
        server.process.terminate()
        ended = server.wait()
    assert ended.code == 0
    assert not [line for line in ended.err.splitlines() if not line.startswith("coldcredctl: ")]
    assert len(ended.err) < 1000


def test_no_descriptor_left_is_waited_out(tmp_path: Path) -> None:
    """While the system gives none a newcomer waits, nothing is said of it, and then they are let in."""
    refusals = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED]
    complaints: list[dict[str, Any]] = []

    class Refusing(socket.socket):
        def accept(self) -> tuple[socket.socket, Any]:
            if refusals:
                raise OSError(refusals.pop(), "refused")
            return super().accept()

    class Greets(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(b"in\n")
            transport.close()

    async def story() -> bytes:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        with listen(tmp_path / "a.sock") as listener, Refusing(fileno=os.dup(listener.fileno())) as refusing:
            task = asyncio.create_task(admit(refusing, Greets))
            reader, writer = await asyncio.open_unix_connection(tmp_path / "a.sock")
            said = await reader.read()
            writer.close()
            task.cancel()
            return said

    assert asyncio.run(asyncio.wait_for(story(), 30)) == b"in\n"
    assert not refusals
    assert not complaints


CHUNKED = b"POST /v1/commands HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS = {
    "head": (b"GET /v1/appliance HTTP/1.1\r\nx: ", b"y" * 1000),
    "fields": (b"GET /v1/appliance HTTP/1.1\r\n", b"x: y\r\n" * 200),
    "target": (b"GET /v1/", b"a" * 1000),
    "chunk extension": (CHUNKED + b"2;", b"a" * 1000),
    "chunk sizes": (CHUNKED, b"1\r\n \r\n" * 200),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"x: y\r\n" * 200),
    "one trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nx: ", b"y" * 1000),
    "requests in one go": (b"", b"GET /v1/appliance HTTP/1.1\r\nhost: a\r\n\r\n" * 20),
    "after an upgrade": (b"GET /v1/appliance HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", b"y" * 1000),
    "after a connect": (b"CONNECT /v1/appliance HTTP/1.1\r\nhost: a\r\n\r\n", b"y" * 1000),
}


@pytest.fixture(params=["operator.sock", "workload.sock"])
def raw(served: Plant, request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """Return a connection to each socket."""
    found = connect(served.home / request.param, 30)
    assert found is not None
    with closing(found):
        yield found


@pytest.mark.parametrize("kind", ENDLESS)
def test_whatever_a_request_has_besides_its_body_is_bounded(raw: socket.socket, kind: str) -> None:
    """A part of a request that goes on for ever ends the connection before a MiB of it was taken."""
    begin, part = ENDLESS[kind]
    sent = 0
    with suppress(BrokenPipeError, ConnectionResetError):
        raw.sendall(begin)
        while sent < 8 * MIB:
            raw.sendall(part)
            sent += len(part)
    assert sent < MIB


def test_a_request_behind_another_gets_no_answer_of_its_own(served: Plant) -> None:
    """Two requests in one go are ended as a bad request; one after the other, on one connection, are answered."""
    asked = b"GET /v1/appliance HTTP/1.1\r\nhost: a\r\n\r\n"
    found = connect(served.home / "operator.sock", 30)
    assert found is not None
    with closing(found):
        found.sendall(asked * 2)
        answer = b""
        with suppress(ConnectionResetError):
            while data := found.recv(65536):
                answer += data
    assert answer.count(b"HTTP/1.1 200") == 0
    transport = SocketTransport.connect(served.home / "operator.sock")
    assert transport is not None
    with closing(transport):
        assert transport.about() == transport.about()
