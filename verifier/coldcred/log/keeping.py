"""What a site keeps of its appliance's log: the checkpoints it has believed, and those that contradict them (R38).

    checkpoints.json   {"notes":["...",...],"v":1}       in each generation, the oldest first
    evidence.json      {"found":[{...},...],"v":1}       beside them; what was refused, for an auditor

Both are signed notes, so neither can be made up by the site, and an auditor needs nothing else to hold a log to them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from coldcred.canonical import Json, dumps, loads_canonical
from coldcred.errors import Malformed
from coldcred.record import Record

MOST_KEPT = 256
"""Checkpoints that are kept; beyond, every second one of the older half goes, so that the oldest stand far apart."""

MOST_FOUND = 16
"""Contradictions that are kept, the first ones: each is signed and says all there is to say."""

MAX_BODY = 512 * 1024
MAX_NOTE = 64 * 1024
MAX_EVIDENCE = MOST_FOUND * 4 * MAX_NOTE


def parse_kept(body: bytes) -> tuple[bytes, ...]:
    """Read the checkpoints that a site has believed, the oldest first (`Malformed`)."""
    record = Record.of(loads_canonical(body, max_bytes=MAX_BODY), "checkpoints")
    record.version()
    notes = record.array("notes", most=MOST_KEPT)
    record.done()
    return tuple(_note(note) for note in notes)


def write_kept(before: tuple[bytes, ...], note: bytes) -> bytes:
    """Give the document with one more checkpoint behind those of `before`, unless it is the last of them."""
    kept = [*before] if before[-1:] == (note,) else [*before, note]
    if len(kept) > MOST_KEPT:
        half = len(kept) // 2
        kept = [*kept[:half:2], *kept[half:]]
    return dumps({"v": 1, "notes": [one.decode() for one in kept]})


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A bundle whose checkpoint did not follow the one that the site held: both signed notes, and whose they are.

    `at` is the site's clock in Unix seconds, `sha256` that of the bundle (hex), `reason` the id of the refusal.
    """

    at: int
    reason: str
    held: bytes
    held_bundle: int
    found: bytes
    found_bundle: int
    sha256: str

    @classmethod
    def read(cls, row: Record) -> Self:
        """Read one (`Malformed`)."""
        read = cls(
            at=row.time("at"),
            reason=row.text("reason"),
            held=_note(row.value("held")),
            held_bundle=row.integer("held_bundle"),
            found=_note(row.value("found")),
            found_bundle=row.integer("found_bundle"),
            sha256=row.digest("sha256"),
        )
        row.done()
        return read

    def as_json(self) -> dict[str, Json]:
        """Give it as the document has it."""
        return {
            "at": self.at,
            "reason": self.reason,
            "held": self.held.decode(),
            "held_bundle": self.held_bundle,
            "found": self.found.decode(),
            "found_bundle": self.found_bundle,
            "sha256": self.sha256,
        }


def parse_evidence(body: bytes) -> tuple[Contradiction, ...]:
    """Read what a site kept of contradictions, in the order in which it met them (`Malformed`)."""
    record = Record.of(loads_canonical(body, max_bytes=MAX_EVIDENCE), "evidence")
    record.version()
    found = tuple(Contradiction.read(row) for row in record.records("found", most=MOST_FOUND))
    record.done()
    return found


def write_evidence(found: Iterable[Contradiction]) -> bytes:
    """Give the document."""
    return dumps({"v": 1, "found": [one.as_json() for one in found]})


def _note(value: Json) -> bytes:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NOTE:
        raise Malformed("a signed note that is no text, or too long")
    return value.encode()
