"""An export as it is handed over: read from the log page by page, so that it is never whole in any memory.

Its first line tells the length and SHA-256 of what follows. So the log is gone through before the first byte, and again
for the bytes themselves; both times each page is read where the file is, and commits come between the pages.
"""

import hashlib
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import TypeAlias, TypeVar

from appliance.errors import HomeError, HomeFault
from appliance.log import Log
from appliance.outcome import Export
from appliance.turns import Turns
from coldcred import framing
from coldcred.canonical import sha256
from coldcred.framing import Body
from coldcred.log.blobs import digests_in, digests_of, line_of
from coldcred.log.export import BLOBS, ENTRIES

PAGE = 256 * 1024
"""Bytes after which a page ends; an entry or a blob is never cut, so a page may be longer by one of them."""

MOST = 256
"""Entries or blobs of one page."""

_DIGEST = 32
_T = TypeVar("_T")
_Row: TypeAlias = tuple[bytes, bytes]


class _Measure:
    """What the index says of a body whose pages go by."""

    def __init__(self) -> None:
        self._length = 0
        self._hash = hashlib.sha256()

    def add(self, page: bytes) -> None:
        self._length += len(page)
        self._hash.update(page)

    def body(self, name: str) -> Body:
        return Body(name, self._length, self._hash.hexdigest())


class _Kept:
    """The blobs that stood when the export began, by SHA-256, and which of them its entries name; 33 bytes for each.

    A blob is named by an entry, or by a signed document that one names: what came beside a command that was refused.
    What only later entries name is not handed over, since nobody who reads this export could tell what it is.
    """

    def __init__(self) -> None:
        self._digests = bytearray()
        self._named = bytearray()
        self._inside: list[tuple[int, bytes]] = []

    def add(self, digest: bytes, body: bytes) -> None:
        self._inside.extend((len(self._named), found) for found in digests_of(body))
        self._digests += digest
        self._named.append(0)

    def name(self, digest: bytes) -> None:
        place = self._place(digest)
        if place is not None:
            self._named[place] = 1

    def follow(self) -> None:
        """Name what the documents name that are named themselves."""
        for place, digest in self._inside:
            if self._named[place]:
                self.name(digest)
        self._inside.clear()

    def __contains__(self, digest: bytes) -> bool:
        place = self._place(digest)
        return place is not None and bool(self._named[place])

    def _place(self, digest: bytes) -> int | None:
        place = bisect_left(range(len(self._named)), digest, key=self._at)
        return place if place < len(self._named) and self._at(place) == digest else None

    def _at(self, place: int) -> bytes:
        return bytes(self._digests[place * _DIGEST : (place + 1) * _DIGEST])


async def pages(export: Export, log: Log, turns: Turns) -> AsyncIterator[bytes]:
    """Yield the file, page by page; an empty page says that work goes on. Raises `HomeError` where the log is damaged.

    What was handed over before that is no export: its length is not what its first lines say.
    """
    kept, entries, blobs = _Kept(), _Measure(), _Measure()
    async for rows in _blobs(log, turns):
        for digest, body in rows:
            kept.add(digest, body)
        yield b""
    async for bodies in _entries(export.size, log, turns):
        for body in bodies:
            for digest in digests_in(body):
                kept.name(digest)
        entries.add(_lines(bodies))
        yield b""
    kept.follow()
    async for rows in _blobs(log, turns):
        blobs.add(_blob_lines(rows, kept))
        yield b""
    index = [entries.body(ENTRIES), blobs.body(BLOBS)]
    index += [Body(name, len(body), sha256(body).hex()) for name, body in export.files.items()]
    index.sort(key=lambda body: body.name)
    yield framing.header(framing.EXPORT, index)
    for one in index:
        if one.name == ENTRIES:
            async for bodies in _entries(export.size, log, turns):
                yield _lines(bodies)
        elif one.name == BLOBS:
            async for rows in _blobs(log, turns):
                yield _blob_lines(rows, kept)
        else:
            yield export.files[one.name]


def _lines(bodies: list[bytes]) -> bytes:
    return b"".join(body + b"\n" for body in bodies)


def _blob_lines(rows: list[_Row], kept: _Kept) -> bytes:
    return b"".join(line_of(body) for digest, body in rows if digest in kept)


async def _entries(size: int, log: Log, turns: Turns) -> AsyncIterator[list[bytes]]:
    first = 0
    while first < size:
        found = await turns.page(_some(lambda first=first: log.bodies(first, size - first), len))  # type: ignore[misc]  # mypy infers no lambda with a default
        if not found:
            raise HomeError(HomeFault.LOG_DAMAGED, f"the log has {first} entries where {size} were")
        yield found
        first += len(found)


async def _blobs(log: Log, turns: Turns) -> AsyncIterator[list[_Row]]:
    after = b""
    while found := await turns.page(_some(lambda after=after: log.blobs_after(after), lambda row: len(row[1]))):  # type: ignore[misc]  # mypy infers no lambda with a default
        yield found
        after = found[-1][0]


def _some(rows: Callable[[], Iterator[_T]], size_of: Callable[[_T], int]) -> Callable[[], list[_T]]:
    """Give the reading of one page of some rows."""

    def read() -> list[_T]:
        found: list[_T] = []
        size = 0
        for row in islice(rows(), MOST):
            found.append(row)
            size += size_of(row)
            if size >= PAGE:
                break
        return found

    return read
