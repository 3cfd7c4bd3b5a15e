"""One connection: who is at the other end, what it was allowed to read, and how long it may take.

uvicorn gives a request state of its server, not of its connection. Ours adds the connection, because a reading handle
lives and dies with it (rule R12), and the deadlines that uvicorn lacks: for a request to arrive whole, and for its
answer to be taken.
"""

import asyncio
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from appliance.decision import Peer
from appliance.reading import Reader
from appliance.service.places import Caller, Places

REQUEST_SECONDS = 10  # for all bytes of a request, from the first one or from the opening of the connection
ANSWER_SECONDS = 30  # for a full buffer to drain
IDLE_SECONDS = 10  # between requests
READING_SECONDS = 900  # between requests of a connection that reads
MAX_HEAD = 16 * 1024
"""Bytes of a request that are not its body: its head, and the sizes of its chunks with whatever stands beside them."""

_CREDENTIALS = struct.Struct("iII")
_NOBODY = Peer(-1, -1, -1)


@dataclass(slots=True)
class Connection:
    """What one connection is: its peer, told by the kernel, the socket, and the reading it opened, if any."""

    peer: Peer
    reader: Reader | None = None
    listener: str = ""

    @property
    def source(self) -> str:
        """Whose lane of the engine's inbox it uses."""
        return f"{self.listener} {self.peer.uid}"


def peer_of(connected: socket.socket) -> Peer:
    """Give the process that connected, as the kernel noted it at that moment."""
    found = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(found)
    return Peer(uid, gid, pid)


def peer_uid(connected: socket.socket) -> int:
    """Give the user id of the process that connected."""
    return peer_of(connected).uid


class _Unasked(Exception):
    """Ends the parsing of what no client of ours sends: the parser makes a bad request of it."""


class LocalProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol for one peer of our own sockets; `places` is shared by all of them."""

    places: "ClassVar[Places[LocalProtocol]]"

    _any_peer = False

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.connection = Connection(_NOBODY)
        self._deadline: asyncio.TimerHandle | None = None
        self._drain: asyncio.TimerHandle | None = None
        self._in_head = True
        self._beside = 0
        self._answering = False
        self._answered = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn's own
        """Take the peer's user id; anyone but the owner of this process and root is cut off."""
        super().connection_made(transport)
        self.connection.peer = peer_of(transport.get_extra_info("socket"))
        if not self._any_peer and self.connection.peer.uid not in {0, os.geteuid()}:
            transport.abort()
            return
        self.connection.listener = Path(transport.get_extra_info("sockname")).name
        self.app_state = {**self.app_state, "connection": self.connection}
        entry = self.places.enter(self, Caller(self.connection.listener, self.connection.peer.uid))
        if entry.ends is not None:
            entry.ends.transport.abort()
        if not entry.served:
            self.limit_concurrency = 0  # uvicorn answers its first request with 503 and closes it
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the reading and the deadlines with the connection."""
        self._cancel()
        if self._drain is not None:
            self._drain.cancel()
        self.connection.reader = None
        self.places.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, within the time and the size a request may take."""
        if self._deadline is None and self._answered:
            self._expect_request()
        self._beside += len(data)
        super().data_received(data)
        if self._beside > MAX_HEAD:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin the next request; one that comes before the answer to the last is not taken."""
        if not self._answered:
            raise _Unasked
        self._in_head, self._answered = True, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; fields behind the body, which nobody here reads, are not taken."""
        if not self._in_head:
            raise _Unasked
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End the head."""
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Leave the body to whoever reads it, and who bounds it."""
        self._beside -= len(body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; where something is being answered already, end the connection instead."""
        if self._answering:
            self.transport.abort()
        else:
            super().send_400_response(msg)

    def on_message_complete(self) -> None:
        """Stop the clock: the request is here, and how long its answer takes is up to us."""
        self._cancel()
        self._answering = True
        self.places.works(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait longer for the next request of a connection that reads."""
        self._in_head, self._beside, self._answering, self._answered = True, 0, False, True
        self.timeout_keep_alive = IDLE_SECONDS if self.connection.reader is None else READING_SECONDS
        self.places.rests(self, reads=self.connection.reader is not None)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give the peer time to take its answer."""
        super().pause_writing()
        self._drain = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that clock: the peer took it."""
        if self._drain is not None:
            self._drain.cancel()
        super().resume_writing()

    def _expect_request(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class WorkloadProtocol(LocalProtocol):
    """The same at the workloads' socket, whose mode and group say who may connect; what they sign says who they are."""

    _any_peer = True


def protocol(kind: type[LocalProtocol], places: Places[LocalProtocol]) -> type[LocalProtocol]:
    """Give the protocol of a socket whose connections share `places` with those of the others."""
    return type(kind.__name__, (kind,), {"places": places})
