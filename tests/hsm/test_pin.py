"""PINs: asked for at each login, never tried twice when refused, wiped after use."""

import pytest

from coldcred.charter import Purpose
from hsm.errors import PinIncorrect, PinMissing, Reaction
from hsm.supervisor import WorkerEvent
from tests.support.hsm_inputs import CASES, admitted, signatures
from tests.support.softhsm import PIN, SoftHsm, kill_worker

KEY = b"0123456789abcdef"


class Pins:
    """A PIN source that counts how often it is asked and keeps the buffers it gave."""

    def __init__(self, pin: bytes = PIN) -> None:
        """Answer `pin`."""
        self.pin = pin
        self.given: list[bytearray] = []

    def __call__(self) -> bytearray:
        """Give the PIN in a new buffer."""
        self.given.append(bytearray(self.pin))
        return self.given[-1]


def test_a_wrong_pin_is_tried_once(softhsm: SoftHsm) -> None:
    """A refused PIN is remembered: no call and no retry gives it to the token again, until another is given."""
    events: list[WorkerEvent] = []
    pins = Pins(b"wrong-pin")
    store = softhsm.store(pin=pins, observer=lambda event, _: events.append(event))
    for _ in range(5):
        with pytest.raises(PinIncorrect) as caught:
            store.inventory()
        assert caught.value.reaction is Reaction.STOP
        assert isinstance(store.sign(KEY, [b"data"])[0], PinIncorrect)
    assert len(pins.given) == 1
    assert events.count(WorkerEvent.PIN_REFUSED) == 1
    assert events.count(WorkerEvent.STARTED) == 1
    assert store.worker_pid is None
    store.provide_pin(Pins())
    assert store.inventory().token.label == softhsm.label


def test_a_pin_that_became_wrong_stops_the_respawning(softhsm: SoftHsm) -> None:
    """When the PIN a worker was started with no longer holds, its successor tries it once and no more."""
    pins = Pins()
    store = softhsm.store(pin=pins)
    public = admitted(store)
    pins.pin = b"changed meanwhile"
    kill_worker(store)
    data = CASES[Purpose.TOKENS].make(1, public.thumbprint)
    answers = [store.sign(KEY, [data])[0] for _ in range(6)]
    assert [type(answer) for answer in answers] == [PinIncorrect] * 6
    assert len(pins.given) == 2
    store.provide_pin(Pins())
    signatures(store.sign(KEY, [data]))


@pytest.mark.parametrize("empty", [True, False])
def test_no_pin_is_no_guess(softhsm: SoftHsm, empty: bool) -> None:  # noqa: FBT001 - a case
    """A source with no PIN is asked again at the next call, and nothing is given to the token."""
    asked = []

    def source() -> bytearray:
        asked.append(True)
        if empty:
            return bytearray()
        raise PinMissing("nobody typed one")

    store = softhsm.store(pin=source)
    for _ in range(2):
        with pytest.raises(PinMissing):
            store.inventory()
    assert len(asked) == 2


@pytest.mark.parametrize("pin", [b"1", b"x" * 256, b"x" * 1024, b"\x00" * 8, "p\u00efn".encode("latin-1")])
def test_a_pin_no_token_takes_is_a_wrong_one(softhsm: SoftHsm, pin: bytes) -> None:
    """Too short, too long, no text: refused as incorrect, once, and the right one still works."""
    pins = Pins(pin)
    store = softhsm.store(pin=pins)
    for _ in range(3):
        with pytest.raises(PinIncorrect):
            store.inventory()
    assert len(pins.given) == 1
    store.provide_pin(Pins())
    store.inventory()


def test_a_pin_no_frame_carries_is_not_sent(softhsm: SoftHsm) -> None:
    """Beyond a kilobyte it is `PinMissing`, its buffer is wiped, and the token's counter is left alone."""
    pins = Pins(b"x" * 1025)
    store = softhsm.store(pin=pins)
    with pytest.raises(PinMissing, match="1025"):
        store.inventory()
    assert isinstance(store.sign(KEY, [b"data"])[0], PinMissing)
    assert [bytes(buffer) for buffer in pins.given] == [bytes(1025)] * 2


def test_a_source_that_fails_leaves_no_worker_by_half(softhsm: SoftHsm) -> None:
    """An exception of the source's own goes to the caller, the worker is ended, and the next call begins afresh."""
    broken = [True]

    def source() -> bytearray:
        if broken.pop():
            broken.append(False)
            raise OSError("the descriptor is gone")
        broken.append(False)
        return bytearray(PIN)

    store = softhsm.store(pin=source)
    with pytest.raises(OSError, match="descriptor"):
        store.inventory()
    assert store.worker_pid is None
    assert store.inventory().token.label == softhsm.label


def test_the_buffer_is_wiped(softhsm: SoftHsm) -> None:
    """After each login, granted or refused, the buffer that held the PIN holds noughts."""
    pins = Pins()
    store = softhsm.store(pin=pins)
    store.inventory()
    store.provide_pin(wrong := Pins(b"wrong-pin"))
    kill_worker(store)
    with pytest.raises(PinIncorrect):
        store.inventory()
    assert [bytes(buffer) for buffer in pins.given + wrong.given] == [bytes(len(PIN)), bytes(9)]


def test_the_errors_do_not_quote_the_pin(softhsm: SoftHsm) -> None:
    """Neither the message of a refusal nor its arguments hold what was tried."""
    store = softhsm.store(pin=Pins(b"wrong-canary-pin"))
    with pytest.raises(PinIncorrect) as caught:
        store.inventory()
    assert "canary" not in f"{caught.value!r} {caught.value} {caught.value.args}"
