"""Entries for tests of the log as a container, with events of no meaning."""

from coldcred.log import entry as entries
from coldcred.log.entry import NO_PREV, Entry


def chain(count: int, after: Entry | None = None) -> list[Entry]:
    """Give `count` linked entries that follow `after`, or that begin a log."""
    made: list[Entry] = []
    for _ in range(count):
        seq, time, prev = (0, 1_795_000_000, NO_PREV) if after is None else (after.seq + 1, after.time, after.digest)
        after = entries.write(seq, time, prev, {"type": "started", "version": str(seq)})
        made.append(after)
    return made
