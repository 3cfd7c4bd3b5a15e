"""The blobs of an export: what entries name by SHA-256 and do not hold themselves, found without holding them all.

    {"body":"<base64url>"}

One line each, sorted by digest. The first pass checks every line and keeps 16 bytes for it: the beginning of its
digest and where it stands. A blob is read again when an entry names it, so memory does not grow with what is stored;
one that no entry names does not belong there.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import BinaryIO

from coldcred.canonical import b64u_decode, b64u_encode, hex_digest, sha256
from coldcred.errors import LogReason, LogRejected, Malformed
from coldcred.framing import FramedFile

MAX_LINE = 16 * 1024 * 1024  # bytes of one line; the appliance takes in requests of 8 MiB at most

_DIGEST = re.compile(rb'"([0-9a-f]{64})"')
_BEGIN, _END = b'{"body":"', b'"}'
_PARTS = 3
_PREFIX = 8  # bytes of a digest that are kept; should two begin alike, both are read


class Blobs:
    """The blobs in body `name` of a framed file, each found by its SHA-256; the stream stays open as long as this."""

    def __init__(self, framed: FramedFile, stream: BinaryIO, name: str) -> None:
        """Check every line and remember where it stands; `Malformed` where one is not as it must be."""
        self._name = name
        self._stream = stream
        self._prefixes = array("Q")
        self._offsets = array("Q", [_offset(framed, stream, name)])
        before = b""
        for line in framed.lines(name, max_line=MAX_LINE):
            digest = sha256(_body(line))
            if digest <= before:
                raise Malformed(f"{name} is not sorted by digest, or holds something twice, at {digest.hex()}")
            self._prefixes.append(int.from_bytes(digest[:_PREFIX]))
            self._offsets.append(self._offsets[-1] + len(line) + 1)
            before = digest
        self._named = bytearray(len(self._prefixes))

    def __len__(self) -> int:
        return len(self._prefixes)

    def read(self, digest: str) -> bytes:
        """Give the blob with this SHA-256 (hex); `LogRejected` (`missing-blob`) where there is none."""
        wanted = hex_digest(digest)
        prefix = int.from_bytes(wanted[:_PREFIX])
        place = bisect_left(self._prefixes, prefix)
        while place < len(self._prefixes) and self._prefixes[place] == prefix:
            body = self._at(place)
            if sha256(body) == wanted:
                self._named[place] = 1
                self.name(_payload(body))
                return body
            place += 1
        raise LogRejected(LogReason.MISSING_BLOB, f"the export does not hold blob {digest}")

    def name(self, text: bytes) -> None:
        """Take note of the blobs that an entry names: those of which the SHA-256 stands in `text`."""
        for wanted in digests_in(text):
            prefix = int.from_bytes(wanted[:_PREFIX])
            place = bisect_left(self._prefixes, prefix)
            while place < len(self._prefixes) and self._prefixes[place] == prefix:
                if not self._named[place] and sha256(self._at(place)) == wanted:
                    self._named[place] = 1
                place += 1

    def check_named(self) -> None:
        """Return when each blob was named by an entry; nobody vouches for another (`LogRejected`, `malformed`)."""
        place = self._named.find(0)
        if place >= 0:
            detail = f"{self._name} holds {sha256(self._at(place)).hex()}, which no entry names"
            raise LogRejected(LogReason.MALFORMED, detail)

    def _at(self, place: int) -> bytes:
        first, after = self._offsets[place], self._offsets[place + 1]
        self._stream.seek(first)
        return _body(self._stream.read(after - first - 1))


def line_of(body: bytes) -> bytes:
    """Write a blob as a line, its newline included."""
    return _BEGIN + b64u_encode(body).encode() + _END + b"\n"


def digests_in(text: bytes) -> Iterator[bytes]:
    """Give all that is written as a SHA-256 in the JSON of an entry."""
    return (bytes.fromhex(digest.decode()) for digest in _DIGEST.findall(text))


def digests_of(blob: bytes) -> Iterator[bytes]:
    """Give all that a blob names where it is a signed document: what traveled beside a command that was refused."""
    return digests_in(_payload(blob))


def _payload(blob: bytes) -> bytes:
    """Give the payload of a blob that is a compact JWS, else nothing."""
    parts = blob.split(b".", 3)
    if len(parts) != _PARTS:
        return b""
    try:
        return b64u_decode(parts[1])
    except Malformed:
        return b""


def _offset(framed: FramedFile, stream: BinaryIO, name: str) -> int:
    """Find where a body begins, from the end: bodies follow each other in the order of the index, nothing after."""
    if name not in framed.bodies:
        raise Malformed(f"the file holds no {name}")
    names = list(framed.bodies)
    return stream.seek(0, 2) - sum(framed.bodies[after].length for after in names[names.index(name) :])


def _body(line: bytes) -> bytes:
    """Read one line; base64url needs no escapes, so this is the only canonical JSON that it can stand in."""
    if not (line.startswith(_BEGIN) and line.endswith(_END) and len(line) >= len(_BEGIN) + len(_END)):
        raise Malformed('a blob is a line of {"body":"<base64url>"}')
    try:
        text = line[len(_BEGIN) : -len(_END)].decode("ascii")
    except UnicodeDecodeError as error:
        raise Malformed("a blob that is not base64url") from error
    return b64u_decode(text)
