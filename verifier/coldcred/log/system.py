"""System events: what no command asked for, such as a refused PIN or a clock that went back.

None of them grants anything. Each is held to its shape, so that nothing else travels in it.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

from coldcred import names
from coldcred.canonical import Json
from coldcred.errors import Malformed
from coldcred.founding import CEREMONY
from coldcred.record import Record

UNREAD = frozenset({"malformed", "unknown-signer", "bad-signature", "wrong-appliance", "wrong-epoch"})
"""Why input is refused before anybody enrolled is known to have sent it: closed."""


class PinMode(StrEnum):
    """How a PIN reached the appliance: closed."""

    TERMINAL = "terminal"
    DESCRIPTOR = "descriptor"
    CREDENTIAL = "credential"
    TWO_PEOPLE = "two-people"


_PINS = frozenset({"pin.accepted", "pin.refused"})


def _input_refused(event: Record) -> None:
    count = event.integer("count", least=1)
    event.digest("sha256")
    reasons = event.record("reasons").members()
    if not reasons.keys() <= UNREAD:
        raise Malformed("input.refused: a reason for which no input is refused unread")
    counted = Record(reasons, "input.refused.reasons")
    if sum(counted.integer(reason, least=1) for reason in reasons) != count:
        raise Malformed("input.refused: the reasons do not add up to the count")


def _pin(event: Record) -> None:
    names.label(event.text("token"), "token label")
    if event.text("mode") not in set(PinMode):
        raise Malformed("a PIN that came in no known way")


def _worker(event: Record) -> None:
    names.label(event.text("token"), "token label")
    event.integer("count", least=1)


def _clock_behind(event: Record) -> None:
    event.seconds("seconds", least=1)


def _clock_right(_event: Record) -> None:
    """Hold nothing but the type."""


EVENTS: Mapping[str, Callable[[Record], None]] = MappingProxyType(
    {
        "input.refused": _input_refused,
        "pin.accepted": _pin,
        "pin.refused": _pin,
        "worker.lost": _worker,
        "worker.timed-out": _worker,
        "worker.replaced": _worker,
        "clock.behind": _clock_behind,
        "clock.right": _clock_right,
    }
)
"""What takes each of them, by type: closed; `Malformed` where it has another shape."""


def take(kind: str, event: Record, members: Mapping[str, Json], classes: Mapping[str, str]) -> None:
    """Take a system event of type `kind`, and hold a PIN's to the founding, which gives `classes` by token label (R5).

    Raises `Malformed`.
    """
    EVENTS[kind](event)
    if kind not in _PINS:
        return
    token_class = classes.get(str(members["token"]))
    if token_class is None:
        raise Malformed(f"{kind}: a token that the founding does not name")
    if (members["mode"] == PinMode.TWO_PEOPLE) != (token_class == CEREMONY):
        raise Malformed(f"{kind}: a PIN that came by {members['mode']}, for a token of class {token_class}")
