"""Frames: what goes in comes out, and what is no frame ends the channel."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Generator
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred.canonical import Json
from hsm import frames
from hsm.frames import MAX_BODY, MAX_ITEMS, MAX_JSON, MAX_SECRET, Channel, ChannelClosed, ChannelTimeout, FrameInvalid
from tests.support.values import JSON_VALUES

Pair = tuple[Channel, socket.socket]


@pytest.fixture
def pair() -> Generator[Pair]:
    """Return a channel and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), theirs


@given(
    values=st.lists(JSON_VALUES, max_size=5), secrets=st.lists(st.binary(min_size=1, max_size=MAX_SECRET), max_size=2)
)
def test_frames_arrive_as_they_were_sent(values: list[Json], secrets: list[bytes]) -> None:
    """Any values and secrets, in order, each as it was."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one, other = Channel(ours), Channel(theirs)
        for value in values:
            one.send(value)
        for secret in secrets:
            one.send_secret(bytearray(secret))
        assert [other.receive() for _ in values] == values
        assert [other.receive_secret() for _ in secrets] == secrets


def test_a_large_frame_passes_in_pieces(pair: Pair) -> None:
    """A frame beyond any socket buffer arrives whole."""
    channel, theirs = pair
    value: Json = ["x" * 1000] * 4000
    other = Channel(theirs)
    sender = threading.Thread(target=channel.send, args=(value,))
    sender.start()
    assert other.receive(timeout=20) == value
    sender.join()


def test_a_frame_too_large_is_not_sent(pair: Pair) -> None:
    """Beyond 4 MiB, 4096 byte strings, or a secret of 1 KiB or nothing, is the caller's mistake; nothing goes out."""
    channel, theirs = pair
    with pytest.raises(ValueError, match="bytes"):
        channel.send("x" * MAX_JSON)
    with pytest.raises(ValueError, match="byte strings"):
        channel.send_bytes({}, [b""] * (MAX_ITEMS + 1))
    with pytest.raises(ValueError, match="byte strings"):
        channel.send_bytes({}, [bytes(MAX_BODY)])
    for secret in (bytearray(), bytearray(MAX_SECRET + 1)):
        with pytest.raises(ValueError, match="secret"):
            channel.send_secret(secret)
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


@pytest.mark.parametrize(
    "data",
    [
        b"J\x00\x00\x00\x01[",
        b"J\x00\x00\x00\x00",
        b'J\x00\x00\x00\x0e{"a":1,"a":1.5}',
        b"J\x01\x00\x00\x01",
        b"S\x00\x00\x00\x01x",
        b"j\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x00\x00",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_json_frame_is_invalid(pair: Pair, data: bytes) -> None:
    """Another kind, a length beyond the limit, or a body that is not strict JSON."""
    channel, theirs = pair
    theirs.sendall(data)
    with pytest.raises(FrameInvalid):
        channel.receive(timeout=5)


def test_a_secret_is_not_read_from_a_json_frame() -> None:
    """Where a secret belongs, nothing else is taken, and no secret longer than 1 KiB."""
    for data in (b"J\x00\x00\x00\x02{}", b"S\x00\x00\x04\x01" + b"x" * 1025):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(data)
            with pytest.raises(FrameInvalid):
                Channel(ours).receive_secret(timeout=5)


@given(cut=st.integers(0, 11))
def test_a_frame_cut_short_is_the_end(cut: int) -> None:
    """A stream that ends before a frame, or inside one at any byte, is `ChannelClosed`."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b'J\x00\x00\x00\x07{"a":1}'[:cut])
        theirs.close()
        with pytest.raises(ChannelClosed):
            Channel(ours).receive(timeout=5)


def test_silence_is_a_timeout(pair: Pair) -> None:
    """No frame, half a frame, or one that drips byte by byte, ends at the deadline, which is for the whole frame."""
    channel, theirs = pair
    theirs.sendall(b"J\x00\x00")
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.05):
            theirs.sendall(b"\x00")

    dripping = threading.Thread(target=drip)
    dripping.start()
    with pytest.raises((ChannelTimeout, FrameInvalid)):
        channel.receive(timeout=0.3)
    with pytest.raises((ChannelTimeout, FrameInvalid)):
        channel.receive(timeout=0)
    stop.set()
    dripping.join()


def test_the_deadline_is_for_the_whole_frame(pair: Pair) -> None:
    """A body whose drops each come in time ends at the deadline: a deadline for each drop would let all of it in."""
    channel, theirs = pair
    theirs.sendall(b"J\x00\x00\x10\x00")
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.05):
            theirs.sendall(b" ")

    dripping = threading.Thread(target=drip)
    dripping.start()
    began = time.monotonic()
    with pytest.raises(ChannelTimeout):
        channel.receive(timeout=0.4)
    assert time.monotonic() - began > 0.3
    stop.set()
    dripping.join()


def test_a_side_that_does_not_read_is_a_timeout(pair: Pair) -> None:
    """Sending more than the buffers take to somebody who does not read ends in time."""
    channel, _ = pair
    with pytest.raises(ChannelTimeout):
        channel.send("x" * 4_000_000, timeout=0.2)


@pytest.mark.parametrize(
    ("frame", "read"),
    [(b"J\x00\x00\x00\x02{}", Channel.receive), (b"B\x00\x00\x00\x05\x00\x00\x00\x01x", Channel.receive_bytes)],
)
def test_time_spent_on_reading_counts(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, frame: bytes, read: Callable[..., object]
) -> None:
    """A frame that came in time and took too long to be read is late."""
    channel, theirs = pair
    ticks = itertools.count()  # the clock is looked at for the deadline, the head, the body and what was read
    monkeypatch.setattr(frames, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    theirs.sendall(frame * 2)
    assert read(channel, timeout=3.5) in ({}, [b"x"])
    with pytest.raises(ChannelTimeout, match="to read"):
        read(channel, timeout=2.5)


def test_a_frame_holds_no_more_than_can_be_read_in_time(pair: Pair) -> None:
    """A frame of JSON beyond 4 MiB, or of more than 4096 byte strings, ends the channel before it is read."""
    channel, theirs = pair
    theirs.sendall(b"J" + (MAX_JSON + 1).to_bytes(4))
    with pytest.raises(FrameInvalid):
        channel.receive(timeout=5)
    theirs.sendall(b"B" + (4 * (MAX_ITEMS + 1)).to_bytes(4) + bytes(4 * (MAX_ITEMS + 1)))
    with pytest.raises(FrameInvalid, match="more than"):
        channel.receive_bytes(timeout=5)


def test_sending_to_nobody_is_the_end(pair: Pair) -> None:
    """The other side is gone: `ChannelClosed`, not a signal."""
    channel, theirs = pair
    theirs.close()
    with pytest.raises(ChannelClosed):
        channel.send({})


@given(items=st.lists(st.binary(max_size=300), max_size=40))
def test_byte_strings_arrive_as_they_were_sent(items: list[bytes]) -> None:
    """Any byte strings, empty ones too, in order, behind the JSON they belong to."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one, other = Channel(ours), Channel(theirs)
        one.send_bytes({"count": len(items)}, items)
        assert other.receive() == {"count": len(items)}
        assert other.receive_bytes() == items


@pytest.mark.parametrize("body", [b"\x00", b"\x00\x00\x00\x02a", b"\x00\x00\x00\x01ab", b"\xff\xff\xff\xff"])
def test_byte_strings_that_do_not_fill_their_frame_end_the_channel(pair: Pair, body: bytes) -> None:
    """A length that is cut, too long or leaves bytes over is no frame."""
    channel, theirs = pair
    theirs.sendall(b"B" + len(body).to_bytes(4) + body)
    with pytest.raises(FrameInvalid):
        channel.receive_bytes(timeout=5)
