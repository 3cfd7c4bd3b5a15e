"""The hash chain: each entry names the SHA-256 of the one before it, so a change anywhere shows and is located.

The chain alone cannot notice that its end is missing; a checkpoint kept elsewhere does (`coldcred.log.note`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from coldcred.canonical import sha256
from coldcred.errors import LogReason, LogRejected, Malformed
from coldcred.log.entry import MAX_BODY, NO_PREV, Entry, parse

CLOCK_RESET = "clock.reset"
"""The one event whose entry may be older than the entry before it: two people have said so (rule R2)."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain stands: entries so far, digest (32 bytes) and time (Unix seconds) of the last one.

    `Head()` is the chain before its first entry.
    """

    size: int = 0
    digest: bytes = NO_PREV
    time: int = 0

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Give the head of the chain that ends with `entry`."""
        return cls(entry.seq + 1, entry.digest, entry.time)

    def follow(self, body: bytes) -> Entry:
        """Read the bytes of the next entry; `LogRejected` names the entry when they do not continue this chain."""
        if len(body) > MAX_BODY:
            raise LogRejected(LogReason.TOO_LARGE, f"{len(body)} bytes where at most {MAX_BODY} fit", self.size)
        try:
            entry = parse(body)
        except Malformed as error:
            raise LogRejected(LogReason.MALFORMED, str(error), self.size) from error
        self.check(entry)
        return entry

    def check(self, entry: Entry) -> None:
        """Return when `entry` comes next; `LogRejected` says which link does not hold."""
        if entry.seq != self.size:
            detail = f"the entry found here calls itself {entry.seq}"
            raise LogRejected(LogReason.WRONG_SEQUENCE, detail, self.size)
        if entry.prev != self.digest:
            detail = "its prev is not the SHA-256 of the entry before it"
            raise LogRejected(LogReason.BROKEN_CHAIN, detail, self.size)
        if entry.time < self.time and entry.type != CLOCK_RESET:
            detail = f"it is {self.time - entry.time} s older than the entry before it"
            raise LogRejected(LogReason.TIME_WENT_BACK, detail, self.size)


def verify_chain(bodies: Iterable[bytes], start: Head | None = None) -> Iterator[Entry]:
    """Yield the entries of a chain, each checked against the one before it, beginning after `start`.

    Raises `LogRejected` with the number of the first bad entry, after the entries before it. A changed entry shows
    only in the next one's `prev`, so an entry is yielded once its successor was read; the last one is established by
    a checkpoint. Holds a few entries at a time, so a log of any length can be read.
    """
    head = start or Head()
    held: Entry | None = None
    refusal: LogRejected | None = None
    remaining = iter(bodies)
    for body in remaining:
        try:
            entry = head.follow(body)
        except LogRejected as error:
            refusal = _located(error, head, body, next(remaining, None))
            break
        if held is not None:
            yield held
        held, head = entry, Head.of(entry)
    if held is not None and (refusal is None or refusal.seq != held.seq):
        yield held
    if refusal is not None:
        raise refusal


def _located(refusal: LogRejected, head: Head, body: bytes, later: bytes | None) -> LogRejected:
    """Say which end of a broken link was changed.

    When the entry after it still names these bytes, they are as written, so it is the entry before them that is not.
    """
    if refusal.reason is not LogReason.BROKEN_CHAIN or later is None:
        return refusal
    try:
        if parse(later).prev != sha256(body):
            return refusal
    except Malformed:
        return refusal
    detail = f"its bytes are not those that entry {head.size} names"
    return LogRejected(LogReason.BROKEN_CHAIN, detail, head.size - 1)
