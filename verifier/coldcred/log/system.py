"""System events: what no command asked for, such as a refused PIN or a clock that went back.

None of them grants anything. Each is held to its shape, so that nothing else travels in it.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

from coldcred import names
from coldcred.canonical import Json, hex_digest
from coldcred.errors import Malformed
from coldcred.founding import CEREMONY
from coldcred.record import Record

UNREAD = frozenset({"malformed", "unknown-signer", "bad-signature", "wrong-appliance", "wrong-epoch"})
"""Why input is refused before anybody enrolled is known to have sent it: closed."""


MAX_SUBMISSIONS = 16
"""Most submissions that one `submission.failed` names."""

MAX_WHERE = 64
"""Most characters by which it says what was raised, and where."""


MAX_SIGNERS = 16
"""Most signers that one `quota.exceeded` names."""


class PinMode(StrEnum):
    """How a PIN reached the appliance: closed."""

    TERMINAL = "terminal"
    DESCRIPTOR = "descriptor"
    CREDENTIAL = "credential"
    TWO_PEOPLE = "two-people"


_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)
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


def _submission_failed(event: Record) -> None:
    count = event.integer("count", least=1)
    for member in ("kind", "place"):
        if not _PRINTABLE.fullmatch(event.text(member, max_chars=MAX_WHERE)):
            raise Malformed(f"submission.failed: its {member} is not printable ASCII")
    named = event.texts("submissions", least=1, most=MAX_SUBMISSIONS)
    for digest in named:
        hex_digest(digest)
    if len(named) > count:
        raise Malformed("submission.failed: more submissions than it counts")


def _quota_exceeded(event: Record) -> None:
    count = event.integer("count", least=1)
    event.digest("sha256")
    signers = event.record("signers").members()
    if not 0 < len(signers) <= MAX_SIGNERS:
        raise Malformed(f"quota.exceeded: it names 1 to {MAX_SIGNERS} signers")
    for signer in signers:
        if not names.is_spiffe_id(signer):
            names.label(signer, "person id")
    counted = Record(signers, "quota.exceeded.signers")
    if sum(counted.integer(signer, least=1) for signer in signers) > count:
        raise Malformed("quota.exceeded: its signers have more than it counts")


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
        "submission.failed": _submission_failed,
        "quota.exceeded": _quota_exceeded,
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
