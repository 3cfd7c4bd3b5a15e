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
def test_no_pin_is_no_guess(softhsm: SoftHsm, empty: bool) -> None:  # noqa: FBT001
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
