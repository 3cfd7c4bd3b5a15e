"""PINs as values: how long one waits by count and time, two parts that make one, buffers that are wiped."""

import os

import pytest

from appliance.cli import secret_input
from appliance.cli.opening import TokenPins
from appliance.cli.secret_input import SecretError
from appliance.cli.terminal import Terminal
from appliance.pins import RefusedPins, joined, part_fault
from coldcred import memory
from coldcred.founding import Token


@pytest.mark.parametrize(
    ("count", "delay"), [(0, 0), (1, 0), (4, 0), (5, 60), (6, 60), (9, 60), (10, 900), (11, 900), (1000, 900)]
)
def test_the_delay_follows_from_the_count(count: int, delay: int) -> None:
    """A minute from the fifth in a row, a quarter of an hour from the tenth, counted from the last refusal."""
    refused = RefusedPins(count, 1000)
    assert refused.seconds_left(1000) == delay
    assert refused.seconds_left(1000 + delay) == 0
    assert refused.seconds_left(1000 + delay - 1) == (1 if delay else 0)
    assert refused.again(2000) == RefusedPins(count + 1, 2000)


def test_two_parts_make_one_pin_and_are_wiped() -> None:
    """The second stands right behind the first."""
    first, second = bytearray(b"canary-first"), bytearray(b"canary-2nd")
    assert joined(first, second) == b"canary-firstcanary-2nd"
    assert not any(first + second)


@pytest.mark.parametrize("part", [b"", b"1234567", b"x" * 33, b"with space", b"tab\tulator", b"w\xc3\xb6rter-1"])
def test_what_is_no_part(part: bytes) -> None:
    """Of 8 to 32 characters, all of them printable ASCII; what is said of it quotes nothing."""
    fault = part_fault(bytearray(part))
    assert fault is not None
    assert not part or part.decode() not in fault


@pytest.mark.parametrize("part", [b"12345678", b"x" * 32, b"!~aZ09-_"])
def test_what_is_a_part(part: bytes) -> None:
    """Both bounds are within."""
    assert part_fault(bytearray(part)) is None


@pytest.mark.parametrize("line", [b"canary-pin\n", b"canary" * 300, b"\n"])
def test_the_place_where_a_secret_is_read_is_wiped(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it was taken, too long or empty; and it is held off the swap before a byte comes."""
    held: list[bytearray] = []
    monkeypatch.setattr(memory, "hold", held.append)
    read, write = os.pipe()
    os.write(write, line)
    os.close(write)
    taken = bytearray()
    try:
        taken = secret_input.from_descriptor(read, "PIN")
    except SecretError:
        assert line != b"canary-pin\n"
    finally:
        os.close(read)
    assert (bool(taken), len(held[0])) == (line == b"canary-pin\n", secret_input.LONGEST + 2)
    assert not any(held[0])
    assert [buffer for buffer in held[1:] if any(buffer) and buffer is not taken] == []


def test_the_pins_of_a_run_are_wiped_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that is given is the taker's own; the one that is kept is overwritten, and `repr` shows none."""
    held: list[bytearray] = []
    monkeypatch.setattr(memory, "hold", held.append)
    read, write = os.pipe()
    os.write(write, b"canary-pin\n")
    os.close(write)
    pins = TokenPins(read, Terminal())
    opening = pins.of_people((), Token("plant-a-daily", "daily", exclusive=True))
    assert opening is not None
    given = [opening.pin(), opening.pin()]
    os.close(read)
    assert given == [b"canary-pin", b"canary-pin"]
    assert given[0] is not given[1]
    memory.wipe(*given)
    assert any(held[-1])
    assert "canary" not in f"{pins!r} {opening!r}"
    pins.wipe()
    assert not any(byte for buffer in held for byte in buffer)
