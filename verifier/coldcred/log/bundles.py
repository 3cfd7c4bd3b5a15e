"""Rotation bundles in the log: begun with the status lists, signed role by role, created with the last one.

All bundles of an appliance have numbers of one series, and a number that was begun is never used again: sites and the
HSM worker rely on versions that only rise (rule R27).
"""

from collections import deque
from dataclasses import dataclass

from coldcred.charter import BundleCharter, Purpose
from coldcred.command import Command
from coldcred.errors import LogReason, LogRejected
from coldcred.log.signing import Signing
from coldcred.record import Record

_REMEMBERED = 64  # checkpoints; between a bundle's first step and its second there are a few at most

ROLES = ("site", "snapshot")
"""The roles between status lists and timestamp, each signed when the one before it was."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the first and the last event of a bundle both say; times are Unix seconds."""

    site: str
    sequence: int
    lists: tuple[str, ...]
    issued_at: int
    end: int


@dataclass(slots=True)
class _Making:
    """A bundle under way: the command that asked for it, and how many roles are signed."""

    facts: _Facts
    command: str
    begun: int
    roles: int = 0


class Bundles:
    """The bundles under way, as far as the log has been read; one that the HSM did not sign stays for good."""

    def __init__(self, signing: Signing) -> None:
        """Begin before the first bundle; intents go to `signing`."""
        self._signing = signing
        self._newest = 0
        self._checkpoints: deque[int] = deque(maxlen=_REMEMBERED)
        self._making: dict[int, _Making] = {}
        self._created: dict[int, _Making] = {}
        self._names_checkpoints = False

    @property
    def names_checkpoints(self) -> bool:
        """Whether a bundle has said which checkpoint it lists, as this release has it and earlier ones had not."""
        return self._names_checkpoints

    @property
    def following(self) -> int:
        """The number that the next bundle has."""
        return self._newest + 1

    def begun(self, event: Record, command: Command, seq: int, time: int) -> None:
        """Take `bundle.begun`: the next number, for the site that was asked for."""
        facts = _read(event)
        if facts.site != command.args.get("site"):
            raise _bad("is for another site than the signed command asks for")
        if facts.sequence <= self._newest:
            raise _bad(f"begins bundle {facts.sequence} though bundle {self._newest} was begun before")
        self._signing.intent(event, seq, Purpose.STATUS, time=time)
        self._newest = facts.sequence
        self._making[facts.sequence] = _Making(facts, command.id, seq)

    def checkpoint(self, size: int) -> None:
        """Take note of a checkpoint of the log; each bundle has one that was made after it was begun."""
        self._checkpoints.append(size)

    def signed(self, event: Record, command: Command, seq: int, time: int) -> None:
        """Take `bundle.signed`: the next role of a bundle that was begun."""
        site, sequence, role = event.text("site"), event.integer("sequence"), event.text("role")
        making = self._under_way(sequence, command)
        if site != making.facts.site or role not in ROLES[making.roles : making.roles + 1]:
            raise _bad(f"signs role {role[:16]!a} of bundle {sequence} out of turn")
        size = event.optional_integer("checkpoint")  # earlier releases did not say it
        if size is not None and (role != ROLES[0] or size <= making.begun or size not in self._checkpoints):
            raise _bad(f"brings bundle {sequence} a checkpoint over {size} entries, which was not made for it")
        self._names_checkpoints |= size is not None
        self._intent(event, seq, time, making.facts)
        making.roles += 1

    def created(self, event: Record, command: Command, seq: int, time: int) -> None:
        """Take `bundle.created`: the last role, after all others."""
        facts = _read(event)
        making = self._under_way(facts.sequence, command)
        if facts != making.facts or making.roles != len(ROLES):
            raise _bad(f"creates bundle {facts.sequence} before its roles are signed, or as another one than was begun")
        self._intent(event, seq, time, facts)
        result = event.record("result")
        if (result.text("site"), result.integer("sequence"), result.integer("end")) != (
            facts.site,
            facts.sequence,
            facts.end,
        ):
            raise _bad("has another result than its own members")
        result.done()
        self._created[seq] = self._making.pop(facts.sequence)

    def settled(self, seq: int, *, signed: bool) -> tuple[tuple[str, ...], int] | None:
        """Take the outcome of an entry; gives the lists of the bundle that it finished, and the entry that began it."""
        made = self._created.pop(seq, None)
        return (made.facts.lists, made.begun) if made is not None and signed else None

    def _intent(self, event: Record, seq: int, time: int, facts: _Facts) -> None:
        (sign,) = self._signing.intent(event, seq, Purpose.BUNDLE, time=time, most=1)
        if isinstance(sign.key.charter, BundleCharter) and facts.end > sign.key.charter.until:
            detail = f"signs a bundle that ends later than the charter of key {sign.key.name} reaches"
            raise LogRejected(LogReason.WRONG_KEY, detail)

    def _under_way(self, sequence: int, command: Command) -> _Making:
        making = self._making.get(sequence)
        if making is None or making.command != command.id:
            raise _bad(f"goes on with bundle {sequence}, which its command never began")
        return making


def _read(event: Record) -> _Facts:
    facts = _Facts(
        site=event.text("site"),
        sequence=event.integer("sequence", least=1),
        lists=event.texts("lists", least=1),
        issued_at=event.time("issued_at"),
        end=event.time("end"),
    )
    if facts.issued_at >= facts.end:
        raise _bad("makes a bundle that ends before it is issued")
    return facts


def _bad(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, detail)
