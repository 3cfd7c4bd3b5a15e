"""The one file format that bundles and exports share: a magic line, an index, then the bodies and nothing else.

    coldcred-bundle 1
    {"files":[{"length":2,"name":"metadata/1.root.json","sha256":"<64 hex>"}]}
    {}

The second line is canonical JSON, sorted by name; the bodies follow in its order. Names are data: nothing here opens,
makes or looks at a file of that name, and no name can leave a folder or be a file and a folder at once.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, Final

from coldcred.canonical import Json, dumps, loads_canonical, sha256_hex
from coldcred.errors import Malformed
from coldcred.record import Record

BUNDLE: Final = b"coldcred-bundle 1\n"
EXPORT: Final = b"coldcred-export 1\n"

MAX_BUNDLE = 32 * 1024 * 1024  # bytes
MAX_INDEX = 1024 * 1024  # bytes of the index line without its newline
MAX_NAME = 128
MAX_LINE = 64 * 1024  # bytes of one line of a body, its newline included
CHUNK = 256 * 1024

_SEGMENT = r"[a-z0-9][a-z0-9._-]*"
_NAME = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,3}}", re.ASCII)
_MAGIC = re.compile(rb"coldcred-(bundle|export) ([0-9]{1,9})\n?")
_INDEX_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Body:
    """One line of the index: a body's name, its length in bytes and its SHA-256 in hexadecimal."""

    name: str
    length: int
    sha256: str


def write(magic: bytes, files: Mapping[str, bytes]) -> bytes:
    """Write the bodies `files` under `magic` (`BUNDLE` or `EXPORT`); a name we would not read is a `ValueError`."""
    index = [Body(name, len(body), sha256_hex(body)) for name, body in sorted(files.items())]
    return header(magic, index) + b"".join(files[body.name] for body in index)


def header(magic: bytes, index: Sequence[Body]) -> bytes:
    """Write the two lines before the bodies, for a writer whose bodies are too large to hold; sorted by name."""
    rows: list[Json] = [{"length": body.length, "name": body.name, "sha256": body.sha256} for body in index]
    line = dumps({"files": rows}) + b"\n"
    try:
        _read_index(line)
    except Malformed as error:
        raise ValueError(str(error)) from error
    return magic + line


def read(data: bytes, magic: bytes, *, max_bytes: int = MAX_BUNDLE) -> dict[str, bytes]:
    """Read a whole file of at most `max_bytes` bytes; `Malformed` unless every byte is accounted for."""
    if len(data) > max_bytes:
        raise Malformed(f"a file of {len(data)} bytes where at most {max_bytes} are read")
    framed = FramedFile(io.BytesIO(data), magic)
    return {name: framed.read(name, max_bytes=max_bytes) for name in framed.bodies}


class FramedFile:
    """A framed file of any size, read from a seekable binary stream with bounded memory.

    `bodies` is the index by name, in order. The index and the total length are checked at once (`Malformed`), so a
    cut file is refused before anything of it is used; a body's SHA-256 is checked as it is read, so what an iterator
    gave is established only when it has ended without a refusal. The stream stays the caller's, to close.
    """

    def __init__(self, stream: BinaryIO, magic: bytes) -> None:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        _check_magic(stream.read(len(magic)), magic)
        index = _read_index(stream.readline(MAX_INDEX + 1))
        offset = stream.tell()
        self.bodies: Mapping[str, Body] = {body.name: body for body in index}
        self._stream = stream
        self._offsets = {}
        for body in index:
            self._offsets[body.name] = offset
            offset += body.length
        if offset != size:
            what = "is cut short" if size < offset else "has bytes after its last body"
            raise Malformed(f"the file {what}: {size} bytes where its index adds up to {offset}")

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield a body piece by piece; the refusal of a wrong SHA-256 comes after the last piece."""
        body = self._body(name)
        offset, end = self._offsets[name], self._offsets[name] + body.length
        digest = hashlib.sha256()
        while offset < end:
            self._stream.seek(offset)  # other bodies may be read in between
            chunk = self._stream.read(min(CHUNK, end - offset))
            if not chunk:
                raise Malformed(f"{name} is cut short: {end - offset} of its {body.length} bytes are missing")
            digest.update(chunk)
            offset += len(chunk)
            yield chunk
        if digest.hexdigest() != body.sha256:
            raise Malformed(f"{name} does not have the SHA-256 that the index gives")

    def lines(self, name: str, *, max_line: int = MAX_LINE) -> Iterator[bytes]:
        """Yield a body's lines without their newlines; each ends in one and has at most `max_line` bytes with it."""
        rest = b""
        for chunk in self.chunks(name):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                _check_line(name, line, max_line)
                yield line
            _check_line(name, rest, max_line)
        if rest:
            raise Malformed(f"{name} does not end with a newline")

    def read(self, name: str, *, max_bytes: int = MAX_BUNDLE) -> bytes:
        """Give a whole body of at most `max_bytes` bytes, its SHA-256 checked."""
        body = self._body(name)
        if body.length > max_bytes:
            raise Malformed(f"{name} has {body.length} bytes where at most {max_bytes} are read")
        return b"".join(self.chunks(name))

    def _body(self, name: str) -> Body:
        if name not in self.bodies:
            raise Malformed(f"the file holds no {name}")
        return self.bodies[name]


def _check_magic(found: bytes, magic: bytes) -> None:
    if found == magic:
        return
    wanted = magic.decode("ascii").strip()
    if other := _MAGIC.fullmatch(found):
        raise Malformed(f"this is a coldcred {other[1].decode()} of version {int(other[2])}, not a {wanted!r} file")
    raise Malformed(f"not a Coldcred file: it does not begin with {wanted!r}")


def _read_index(line: bytes) -> tuple[Body, ...]:
    if not line.endswith(b"\n"):
        raise Malformed(f"the index line is cut short or longer than {MAX_INDEX} bytes")
    record = Record.of(loads_canonical(line[:-1], max_bytes=MAX_INDEX, max_depth=_INDEX_DEPTH), "index")
    rows = record.records("files", most=MAX_INDEX)  # the line's length is the limit: about 10,000 rows
    record.done()
    index = []
    for row in rows:
        index.append(Body(row.text("name"), row.integer("length"), row.digest("sha256")))
        row.done()
    _check_names([body.name for body in index])
    return tuple(index)


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if len(name) > MAX_NAME or not _NAME.fullmatch(name):
            raise Malformed(f"{name[:MAX_NAME]!a} is not a name that a body can have")
    for before, name in pairwise(names):
        if before >= name:
            raise Malformed(f"the index is not sorted or names something twice, at {name}")
    if both := set(names).intersection(_folders(names)):
        raise Malformed(f"{min(both)} is both a body and a folder of others")


def _folders(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        segments = name.split("/")
        for depth in range(1, len(segments)):
            yield "/".join(segments[:depth])


def _check_line(name: str, line: bytes, max_line: int) -> None:
    if len(line) >= max_line:
        raise Malformed(f"{name} has a line longer than {max_line} bytes")
