"""A second verifier of exported logs that shares no line with the first: the standard library and `cryptography` only.

    python independent_verifier.py EXPORT VKEY [CHECKPOINT...]

An auditor could write it from docs/format.md in an afternoon. It covers framing, chain, tree and checkpoint signatures;
people, keys and commands are left to `coldcred log verify`.
"""

import base64
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAGIC = b"coldcred-export 1\n"
NAMES = ["about.json", "blobs.jsonl", "checkpoint", "entries.jsonl", "founding.json"]

DIGEST = re.compile(rb'"([0-9a-f]{64})"')


class Bad(Exception):
    """The export is not what it says it is."""


class LogKey(NamedTuple):
    """A C2SP verifier key: its name, its 4-byte id, the 32 bytes of the Ed25519 key."""

    name: str
    key_id: bytes
    raw: bytes

    @classmethod
    def parse(cls, text: str) -> "LogKey":
        """Read NAME+ID+BASE64."""
        name, key_id, encoded = text.split("+", 2)
        blob = base64.b64decode(encoded, validate=True)
        expected = hashlib.sha256(name.encode() + b"\n" + blob).digest()[:4]
        need(len(blob) == 33 and blob[0] == 1 and key_id == expected.hex(), "verifier key")
        return cls(name, expected, blob[1:])


def need(holds: object, what: str) -> None:
    """Go on only when something holds."""
    if not holds:
        raise Bad(what)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a member twice."""
    need(len(dict(pairs)) == len(pairs), "duplicate member")
    return dict(pairs)


def canonical(data: bytes) -> Any:
    """Read JSON that is written in the one canonical way."""
    value = json.loads(data.decode(), object_pairs_hook=unique)
    need(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() == data, "canonical")
    return value


def unframe(data: bytes) -> dict[str, bytes]:
    """Cut the file into its bodies; every byte belongs to one and has the digest of the index."""
    need(data.startswith(MAGIC), "magic")
    line, _, rest = data[len(MAGIC) :].partition(b"\n")
    index = canonical(line)
    need(list(index) == ["files"] and [row["name"] for row in index["files"]] == NAMES, "index")
    bodies = {}
    for row in index["files"]:
        need(set(row) == {"length", "name", "sha256"} and type(row["length"]) is int and row["length"] >= 0, "row")
        body, rest = rest[: row["length"]], rest[row["length"] :]
        need(len(body) == row["length"] and hashlib.sha256(body).hexdigest() == row["sha256"], row["name"])
        bodies[row["name"]] = body
    need(not rest, "bytes after the last body")
    return bodies


def checkpoint(note: bytes, key: LogKey) -> tuple[int, bytes]:
    """Give size and root of a checkpoint that the log key signed."""
    text, _, tail = note.rpartition(b"\n\n")
    text += b"\n"
    need(tail.endswith(b"\n"), "note")
    signed = False
    for line in tail[:-1].decode().split("\n"):
        found = re.fullmatch("\u2014 ([^ +]+) ([A-Za-z0-9+/]+={0,2})", line)
        need(found, "signature line")
        blob = base64.b64decode(found[2], validate=True) if found else b""
        need(found and base64.b64encode(blob).decode() == found[2], "base64")
        if found and found[1] == key.name and blob[:4] == key.key_id:
            Ed25519PublicKey.from_public_bytes(key.raw).verify(blob[4:], text)
            signed = True
    need(signed, "not signed by the log key")
    need(b"\n\n" not in text and text.count(b"\n") == 3, "checkpoint")
    origin, size, root = text.decode()[:-1].split("\n")
    need(origin == key.name and re.fullmatch("[1-9][0-9]{0,15}", size), "checkpoint")
    need(base64.b64encode(base64.b64decode(root, validate=True)).decode() == root, "root")
    return int(size), base64.b64decode(root)


def tree(leaves: list[bytes]) -> bytes:
    """Give the RFC 9162 root over leaf hashes, as the definition says it: split at the largest power of two below."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree(leaves[:split]) + tree(leaves[split:])).digest()


def chain(lines: list[bytes]) -> list[bytes]:
    """Give the leaf hashes of entries of which each names the one before it."""
    prev, time, leaves = "0" * 64, 0, []
    for seq, body in enumerate(lines):
        entry = canonical(body)
        need(set(entry) == {"event", "prev", "seq", "time", "v"}, f"members of entry {seq}")
        need((entry["seq"], entry["prev"], entry["v"]) == (seq, prev, 1), f"link of entry {seq}")
        need(type(entry["time"]) is int and entry["time"] >= time, f"time of entry {seq}")
        prev, time = hashlib.sha256(body).hexdigest(), entry["time"]
        leaves.append(hashlib.sha256(b"\x00" + body).digest())
    return leaves


def payload(blob: bytes) -> bytes:
    """Give what a signed document says; nothing of any other blob."""
    parts = blob.split(b".")
    if len(parts) != 3:
        return b""
    try:
        return base64.b64decode(parts[1] + b"=" * (-len(parts[1]) % 4), b"-_")
    except ValueError:
        return b""


def lines_of(body: bytes) -> list[bytes]:
    """Cut a body into lines that each end with a newline."""
    need(body.endswith(b"\n"), "last line")
    return body[:-1].split(b"\n")


def check(data: bytes, vkey: str, kept: tuple[bytes, ...] = ()) -> None:
    """Return when the export is whole, signed by the log key and grown from the checkpoints kept; else raise `Bad`."""
    try:
        key = LogKey.parse(vkey)
        bodies = unframe(data)
        leaves = chain(lines_of(bodies["entries.jsonl"]))
        about, size = canonical(bodies["about.json"]), len(leaves)
        need(about["size"] == size and about["vkey"] == vkey, "about.json")
        need(hashlib.sha256(bodies["founding.json"]).hexdigest() == about["appliance"], "founding.json")
        need(checkpoint(bodies["checkpoint"], key) == (size, tree(leaves)), "root")
        for note in kept:
            old, root = checkpoint(note, key)
            need(old <= size and tree(leaves[:old]) == root, "kept checkpoint")
        digests, named = [], set(DIGEST.findall(bodies["entries.jsonl"]))
        for line in lines_of(bodies["blobs.jsonl"]):
            text = canonical(line)["body"]
            body = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
            need(base64.urlsafe_b64encode(body).decode().rstrip("=") == text, "blob")
            digests.append(hashlib.sha256(body).hexdigest())
            named.update(DIGEST.findall(payload(body)))
        need(digests == sorted(set(digests)), "order of blobs")
        need(named.issuperset(digest.encode() for digest in digests), "a blob that no entry names")
    except Bad:
        raise
    except (InvalidSignature, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise Bad(str(error)) from error


def main(arguments: list[str]) -> int:
    """Say `intact`, or what is wrong; exit 0 or 1."""
    export, vkey, *kept = arguments
    try:
        check(Path(export).read_bytes(), vkey, tuple(Path(name).read_bytes() for name in kept))
    except Bad as error:
        sys.stdout.write(f"not intact: {str(error)!a}\n")
        return 1
    sys.stdout.write("intact\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
