"""Batches: many credentials asked for by one command, as a JSONL file that travels beside it (rule R8).

The command names the file by number of lines, length and SHA-256, so its signature covers every line. A line has the
members of a single request:

    {"profile":"orders-reader","workload":"spiffe://...","audience":"https://...","scopes":["orders.read"],"ttl":900}

A batch that was cut short is taken up again by a new command over the same file. It names the batches that it resumes
and a second file, with what the client holds of them, in ascending order of line:

    {"jti":"...","line":1}
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from coldcred import names
from coldcred.asked import Asked
from coldcred.canonical import MAX_BYTES, Json, dumps, loads, loads_canonical, sha256_hex
from coldcred.errors import Malformed
from coldcred.record import Record

MAX_LINES = 50_000
MAX_FILE = 8 * 1024 * 1024
MAX_SITTINGS = 32
"""Most batches that one command resumes."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a command says of a file that travels beside it: lines, bytes, and SHA-256 in hexadecimal."""

    count: int
    size: int
    sha256: str

    @classmethod
    def read(cls, record: Record) -> Self:
        """Read `{count, bytes, sha256}` strictly."""
        manifest = cls(
            count=record.integer("count", most=MAX_LINES),
            size=record.integer("bytes", most=MAX_FILE),
            sha256=record.digest("sha256"),
        )
        record.done()
        return manifest

    @classmethod
    def of(cls, body: bytes) -> Self:
        """Say it of a file; more lines or bytes than a batch may have are `Malformed`."""
        manifest = cls(_lines_in(body), len(body), sha256_hex(body))
        if manifest.size > MAX_FILE or manifest.count > MAX_LINES:
            detail = f"a batch has at most {MAX_LINES} lines and {MAX_FILE} bytes; split the file"
            raise Malformed(f"{manifest.count} lines and {manifest.size} bytes: {detail}")
        return manifest

    def as_json(self) -> dict[str, Json]:
        """Give it as it is written."""
        return {"bytes": self.size, "count": self.count, "sha256": self.sha256}

    def check(self, body: bytes) -> None:
        """Return when `body` is the file it speaks of, else raise `Malformed`."""
        if self != Manifest.of(body):
            raise Malformed("the file beside the command is not the one that its signature covers")


@dataclass(frozen=True, slots=True)
class BatchArguments:
    """The arguments of `credential.issue` for a batch; `resumes` are ids of commands, `held` goes with them."""

    items: Manifest
    resumes: tuple[str, ...] = ()
    held: Manifest | None = None

    @classmethod
    def read(cls, record: Record) -> Self:
        """Read the arguments strictly."""
        items = Manifest.read(record.record("items"))
        if items.count == 0:
            raise Malformed("a batch without a line")
        resumes: tuple[str, ...] = ()
        held = None
        if record.has("resumes"):
            resumes = record.texts("resumes", least=1, most=MAX_SITTINGS)
            held = Manifest.read(record.record("held"))
        record.done()
        return cls(items, resumes, held)

    def as_json(self) -> dict[str, Json]:
        """Give them as they stand in a command."""
        written: dict[str, Json] = {"items": self.items.as_json()}
        if self.held is not None:
            written |= {"held": self.held.as_json(), "resumes": list(self.resumes)}
        return written


def is_batch(arguments: Mapping[str, Json]) -> bool:
    """Whether the arguments of a `credential.issue` ask for a batch."""
    return "items" in arguments


def read_items(body: bytes) -> tuple[Asked | str, ...]:
    """Read each line: what it asks for, or a sentence that says why it cannot be read."""
    return tuple(_read_item(line) for line in lines_of(body))


def _read_item(line: bytes) -> Asked | str:
    try:
        return Asked.read(Record.of(loads(line, max_bytes=MAX_BYTES), "line"))
    except Malformed as error:
        return str(error)


def write_held(held: Mapping[int, str]) -> bytes:
    """Write what a client holds: jti by number of line."""
    return b"".join(dumps({"jti": held[line], "line": line}) + b"\n" for line in sorted(held))


def read_held(body: bytes) -> dict[int, str]:
    """Read what a client holds, strictly; `Malformed` where it is not what `write_held` writes."""
    held: dict[int, str] = {}
    last = 0
    for text in lines_of(body):
        record = Record.of(loads_canonical(text), "held line")
        line = record.integer("line", least=last + 1, most=MAX_LINES)
        held[line] = names.jti(record.text("jti"))
        record.done()
        last = line
    return held


def profiles_in(items: Iterable[Asked | str]) -> frozenset[str]:
    """Name every profile that a line asks for: the one that takes most people decides how many the batch takes."""
    return frozenset(item.profile for item in items if isinstance(item, Asked))


def lines_of(body: bytes) -> list[bytes]:
    """Give the lines of a file, without their ends."""
    lines = body.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return lines


def _lines_in(body: bytes) -> int:
    return body.count(b"\n") + (not body.endswith(b"\n") and body != b"")
