"""What travels between the engine and the worker: length-prefixed frames over one socket pair, and no pickle.

A frame is one byte of kind, four bytes of length (big endian) and the body. Kind `J` is canonical JSON, at most 4 MiB;
kind `B` is a list of at most 4096 byte strings, each behind four bytes of its length, at most 16 MiB together; kind `S`
is a secret, at most 1 KiB, read straight into a buffer that its reader wipes: nothing here reads ahead.

Reading a frame takes time after its last byte too. So what one may hold is bounded, and one that was not read in time
is late, whatever it says.
"""

import socket
import struct
import time
from collections.abc import Sequence

from coldcred import memory
from coldcred.canonical import Json, dumps, loads
from coldcred.errors import Malformed

MAX_BODY = 16 * 1024 * 1024
MAX_JSON = 4 * 1024 * 1024
"""Bytes of a JSON frame: an error of the longest for each input of a batch is half of it."""
MAX_ITEMS = 4096
MAX_SECRET = 1024

_HEAD = struct.Struct(">cI")
_LENGTH = struct.Struct(">I")
_JSON, _BYTES, _SECRET = b"J", b"B", b"S"


class ChannelError(Exception):
    """The other side is gone, silent or incomprehensible; the channel is of no further use."""


class ChannelClosed(ChannelError):
    """The other side closed its end, between frames or in the middle of one."""


class ChannelTimeout(ChannelError):
    """A frame did not pass completely in time."""


class FrameInvalid(ChannelError):
    """What arrived is not a frame of the kind that belongs here."""


class Channel:
    """One end of the socket pair; one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        """Own `connection`, a connected stream socket."""
        self._connection = connection

    def fileno(self) -> int:
        """Give the descriptor, for polling."""
        return self._connection.fileno()

    def close(self) -> None:
        """Close this end; the other side reads the end of the stream."""
        self._connection.close()

    def send(self, value: Json, *, timeout: float | None = None) -> None:
        """Send one JSON frame within `timeout` seconds; a value beyond 4 MiB is the caller's mistake."""
        body = dumps(value)
        if len(body) > MAX_JSON:
            raise ValueError(f"a frame of {len(body)} bytes")
        self._send(_HEAD.pack(_JSON, len(body)) + body, timeout)

    def send_bytes(self, value: Json, items: Sequence[bytes], *, timeout: float | None = None) -> None:
        """Send a JSON frame and, right behind it, a frame of byte strings."""
        body = dumps(value)
        packed = b"".join(part for item in items for part in (_LENGTH.pack(len(item)), item))
        if len(body) > MAX_JSON or len(packed) > MAX_BODY or len(items) > MAX_ITEMS:
            raise ValueError(f"frames of {len(body)} and {len(packed)} bytes, with {len(items)} byte strings")
        self._send(b"".join((_HEAD.pack(_JSON, len(body)), body, _HEAD.pack(_BYTES, len(packed)), packed)), timeout)

    def send_secret(self, secret: bytearray, *, timeout: float | None = None) -> None:
        """Send one secret frame from where the secret lies; wiping it is its owner's task."""
        if not 0 < len(secret) <= MAX_SECRET:
            raise ValueError(f"a secret of 1 to {MAX_SECRET} bytes belongs here")
        self._send(_HEAD.pack(_SECRET, len(secret)), timeout)
        self._send(memoryview(secret), timeout)

    def receive(self, *, timeout: float | None = None) -> Json:
        """Read one JSON frame within `timeout` seconds (None: however long it takes)."""
        deadline = _deadline(timeout)
        body = self._body(_JSON, MAX_JSON, deadline)
        try:
            value = loads(bytes(body), max_bytes=MAX_JSON)
        except Malformed as error:
            raise FrameInvalid(f"a frame that is not JSON: {error}") from error
        _check_in_time(deadline)
        return value

    def receive_bytes(self, *, timeout: float | None = None) -> list[bytes]:
        """Read one frame of byte strings within `timeout` seconds."""
        deadline = _deadline(timeout)
        body = bytes(self._body(_BYTES, MAX_BODY, deadline))
        items: list[bytes] = []
        place = 0
        while place < len(body):
            if len(items) == MAX_ITEMS:
                raise FrameInvalid(f"more than {MAX_ITEMS} byte strings")
            first = place + _LENGTH.size
            if first > len(body):
                raise FrameInvalid("a byte string without its length")
            place = first + int.from_bytes(body[place:first])
            if place > len(body):
                raise FrameInvalid("a byte string that is longer than its frame")
            items.append(body[first:place])
        _check_in_time(deadline)
        return items

    def receive_secret(self, *, timeout: float | None = None) -> bytearray:
        """Read one secret frame into a buffer of its own, off the swap where that can be, which the caller wipes."""
        deadline = _deadline(timeout)
        secret = bytearray(self._length(_SECRET, MAX_SECRET, deadline))
        memory.hold(secret)
        self._fill(secret, deadline)
        return secret

    def _body(self, kind: bytes, most: int, deadline: float | None) -> bytearray:
        return self._exactly(self._length(kind, most, deadline), deadline)

    def _length(self, kind: bytes, most: int, deadline: float | None) -> int:
        found, length = _HEAD.unpack(self._exactly(_HEAD.size, deadline))
        if found != kind or length > most:
            raise FrameInvalid(f"a frame of kind {found!a} and {length} bytes where kind {kind!a} belongs")
        return int(length)

    def _exactly(self, length: int, deadline: float | None) -> bytearray:
        buffer = bytearray(length)
        self._fill(buffer, deadline)
        return buffer

    def _fill(self, buffer: bytearray, deadline: float | None) -> None:
        view, have = memoryview(buffer), 0
        while have < len(buffer):
            try:
                self._connection.settimeout(_left(deadline))
                got = self._connection.recv_into(view[have:])
            except TimeoutError as error:
                raise ChannelTimeout("no complete frame in time") from error
            except OSError as error:
                raise ChannelClosed(f"the channel broke: {error.strerror}") from error
            if got == 0:
                raise ChannelClosed("the other side closed the channel")
            have += got

    def _send(self, data: bytes | memoryview, timeout: float | None) -> None:
        try:
            self._connection.settimeout(timeout)
            self._connection.sendall(data)
        except TimeoutError as error:
            raise ChannelTimeout("the other side does not read") from error
        except OSError as error:
            raise ChannelClosed(f"the channel broke: {error.strerror}") from error


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _check_in_time(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise ChannelTimeout("a frame that took too long to read")


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
