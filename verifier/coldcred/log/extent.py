"""Are these entries exactly those that checkpoints were signed over: no more, no fewer, no others; and if not, which.

A link of the chain binds an entry to the one after it, so a change is located by the links on both sides of it. At the
end of the log there is no second link, and the signed root has to tell.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from coldcred.errors import LogReason, LogRejected, Malformed
from coldcred.log import entry as entries
from coldcred.log.chain import Head, verify_chain
from coldcred.log.entry import Entry
from coldcred.log.history import History
from coldcred.log.note import Checkpoint
from coldcred.log.tree import Frontier


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint that was kept outside; `name` says to a person which one."""

    name: str
    checkpoint: Checkpoint


@dataclass(slots=True)
class _Lines:
    """Lines being read; what is wrong with the file as a whole is kept until its links were checked."""

    lines: Iterable[bytes]
    count: int = 0
    last: bytes = b""
    fault: Malformed | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            for line in self.lines:
                self.count, self.last = self.count + 1, line
                yield line
        except Malformed as error:
            self.fault = error


def walk(bodies: Iterable[bytes], history: History, checkpoint: Checkpoint, kept: Iterable[Kept]) -> tuple[int, int]:
    """Take all entries into `history`, in order, and give the times (Unix seconds) of the first and of the last one.

    Raises `LogRejected` unless they are those of `checkpoint` and have grown from every one `kept`; `bodies` may raise
    `Malformed` when it ends. Holds a few entries at a time.
    """
    held = tuple(kept)
    sizes = {checkpoint.size, *(one.checkpoint.size for one in held)}
    lines, head, frontier, first_time = _Lines(bodies), Head(), Frontier(), 0
    try:
        for entry in verify_chain(lines):
            _check_covered(entry, checkpoint)
            history.take(entry, frontier)
            first_time = first_time if entry.seq else entry.time
            head, frontier = Head.of(entry), frontier.append(entry.leaf)
            _check_kept(held, frontier)
            if frontier.size in sizes:
                history.check_checkpoint(entry.time)
    except LogRejected as error:
        if (
            error.reason is LogReason.BROKEN_CHAIN
            and error.seq == frontier.size == checkpoint.size - 1 == lines.count - 1
        ):
            raise _at_last_link(error, lines.last, head, frontier, checkpoint) from error
        raise
    if lines.fault is not None:
        detail = str(lines.fault)
        raise LogRejected(LogReason.MALFORMED, detail, _damaged(frontier, checkpoint)) from lines.fault
    _check_end(held, frontier, checkpoint)
    return first_time, head.time


def _at_last_link(
    refusal: LogRejected, body: bytes, head: Head, frontier: Frontier, checkpoint: Checkpoint
) -> LogRejected:
    """Say which end of the last link was changed: no entry follows that would tell, but the root does.

    If the last entry would be the signed one with the right `prev`, then that is what was changed; else the one before.
    """
    last = entries.parse(body)
    mended = entries.write(last.seq, last.time, head.digest, last.event)
    if frontier.append(mended.leaf).root() == checkpoint.root:
        return refusal
    detail = f"its bytes are not those that entry {head.size} names"
    return LogRejected(LogReason.BROKEN_CHAIN, detail, head.size - 1)


def _damaged(frontier: Frontier, checkpoint: Checkpoint) -> int | None:
    """Name the entry to blame when the bytes of all entries are not those of the index but every link held.

    It is the entry that could not be read, or the last one, which nothing follows; or it is the index itself, when even
    the root is right.
    """
    if frontier.size < checkpoint.size:
        return frontier.size
    return None if frontier.root() == checkpoint.root else checkpoint.size - 1


def _check_covered(entry: Entry, checkpoint: Checkpoint) -> None:
    if entry.seq == checkpoint.size:
        detail = f"the checkpoint covers {checkpoint.size} entries and here is one more"
        raise LogRejected(LogReason.WRONG_ROOT, detail, entry.seq)


def _check_kept(held: Iterable[Kept], frontier: Frontier) -> None:
    for one in held:
        if one.checkpoint.size == frontier.size and one.checkpoint.root != frontier.root():
            detail = f"{one.name} covers {frontier.size} entries, and the first {frontier.size} here are not those"
            raise LogRejected(LogReason.WRONG_ROOT, detail)


def _check_end(held: Iterable[Kept], frontier: Frontier, checkpoint: Checkpoint) -> None:
    if frontier.size < checkpoint.size:
        detail = f"the checkpoint covers {checkpoint.size} entries, the file holds {frontier.size}"
        raise LogRejected(LogReason.INCOMPLETE, detail, frontier.size)
    if frontier.root() != checkpoint.root:
        detail = f"these {frontier.size} entries are not those that the checkpoint was signed over"
        raise LogRejected(LogReason.WRONG_ROOT, detail)
    for one in held:
        if one.checkpoint.size > frontier.size:
            detail = f"{one.name} covers {one.checkpoint.size} entries, this log has only {frontier.size}"
            raise LogRejected(LogReason.WRONG_ROOT, detail)
