"""One entry of the log: canonical JSON below 64 KiB, linked to the entry before it by SHA-256.

    {"event":{"type":"...",...},"prev":"<64 hex>","seq":0,"time":1790000000,"v":1}

The bytes are kept as they were read or written and never made again: they are what the chain and the tree hash.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from coldcred.canonical import Json, dumps, hex_digest, loads_canonical, sha256
from coldcred.errors import LogReason, LogRejected, Malformed
from coldcred.log.tree import leaf_hash
from coldcred.record import Record

VERSION = 1
MAX_BODY = 64 * 1024 - 1  # bytes; tiles (c2sp.org/tlog-tiles) prefix an entry with its length in 16 bits
NO_PREV = bytes(32)
"""What the first entry names as the one before it."""

_EVENT_TYPE = re.compile(r"[a-z][a-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as read: `seq` counts from 0, `time` is Unix seconds UTC, `prev` and `digest` are 32 bytes.

    `body` is the entry, verbatim; `digest` its SHA-256, which the next entry names. `event` is for reading only.
    """

    seq: int
    time: int
    prev: bytes
    event: dict[str, Json]
    body: bytes
    digest: bytes

    @property
    def type(self) -> str:
        """What happened: the event's `type`."""
        return str(self.event["type"])

    @property
    def leaf(self) -> bytes:
        """The entry's leaf hash in the Merkle tree (RFC 9162 section 2.1.1)."""
        return leaf_hash(self.body)


def write(seq: int, time: int, prev: bytes, event: Mapping[str, Json]) -> Entry:
    """Write the entry with number `seq` (from 0) at `time` (Unix seconds) after the entry whose digest is `prev`.

    An event that does not fit is `LogRejected` (`too-large`); one that has no canonical form, or that `parse` would
    not read again, is the caller's mistake: `ValueError`.
    """
    body = dumps({"event": dict(event), "prev": prev.hex(), "seq": seq, "time": time, "v": VERSION})
    if len(body) > MAX_BODY:
        detail = f"an entry of {len(body)} bytes where at most {MAX_BODY} fit; put what is large into a blob"
        raise LogRejected(LogReason.TOO_LARGE, detail, seq)
    for name, number in (("seq", seq), ("time", time)):
        if number < 0:
            raise ValueError(f"entry: member {name!r} is below 0")
    if len(prev) != len(NO_PREV):
        raise ValueError("entry: member 'prev' is not 32 bytes")
    try:
        return _entry(seq, time, prev, dict(event), body)
    except Malformed as error:
        raise ValueError(str(error)) from error


def parse(body: bytes) -> Entry:
    """Read one entry strictly; `Malformed` on anything that `write` would not have written, larger ones unread."""
    record = Record.of(loads_canonical(body, max_bytes=MAX_BODY), "entry")
    record.version(VERSION)
    seq, time = record.integer("seq"), record.integer("time")
    prev = hex_digest(record.digest("prev"))
    event = record.value("event")
    record.done()
    if not isinstance(event, dict):
        raise Malformed("entry: member 'event' is not an object")
    return _entry(seq, time, prev, event, body)


def _entry(seq: int, time: int, prev: bytes, event: dict[str, Json], body: bytes) -> Entry:
    """Hold what is written to the same rules as what is read: an entry that was written can be read."""
    if (seq == 0) != (prev == NO_PREV):
        raise Malformed("entry: the first entry, and no other, has 64 zeros for prev")
    kind = event.get("type")
    if not isinstance(kind, str) or not _EVENT_TYPE.fullmatch(kind):
        raise Malformed("entry.event: member 'type' is not the name of an event")
    return Entry(seq, time, prev, event, body, sha256(body))
