"""Consistency proofs as a bundle carries them: from checkpoints that its site may hold to the bundle's own (R38).

    {"proofs":[{"hashes":["<base64url>",...],"root":"<base64url>","size":N},...],"v":1}

Plain proofs after RFC 9162 section 2.1.4, one after the other, the newest first. Each says from which size and root it
leads, so that whoever holds another root for that size sees that the log contradicts itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from coldcred.canonical import Json, b64u_decode, b64u_encode, dumps, loads_canonical
from coldcred.errors import Malformed
from coldcred.log.note import Checkpoint
from coldcred.log.tree import Tree, verify_consistency
from coldcred.record import Record

OF_BUNDLES = 64
"""The last bundles of a site from whose checkpoints there is a proof: more than a year of weekly ones."""

MAX_PROOFS = OF_BUNDLES + 2  # beside them the highest that is confirmed, and one that was carried back
MAX_HASHES = 64
MAX_BODY = 256 * 1024


@dataclass(frozen=True, slots=True)
class Proof:
    """That a log grew from (`size`, `root`); the end it leads to is the checkpoint beside it."""

    size: int
    root: bytes
    hashes: tuple[bytes, ...]

    @classmethod
    def of(cls, tree: Tree, old_size: int, size: int) -> Self:
        """Make the proof from a tree that has been through both sizes (`ValueError` otherwise)."""
        return cls(old_size, tree.frontier(old_size).root(), tree.consistency_proof(old_size, size))

    def verify(self, checkpoint: Checkpoint) -> None:
        """Return when it leads to `checkpoint`; `LogRejected` (`bad-proof`) otherwise."""
        verify_consistency(
            self.hashes, old_size=self.size, old_root=self.root, new_size=checkpoint.size, new_root=checkpoint.root
        )


def parse(body: bytes) -> tuple[Proof, ...]:
    """Read the proofs of a bundle, sizes strictly falling (`Malformed`)."""
    record = Record.of(loads_canonical(body, max_bytes=MAX_BODY), "consistency proofs")
    record.version()
    found = []
    for row in record.records("proofs", most=MAX_PROOFS):
        hashes = tuple(b64u_decode(text) for text in row.texts("hashes", most=MAX_HASHES))
        found.append(Proof(row.integer("size"), b64u_decode(row.text("root")), hashes))
        row.done()
    record.done()
    if any(newer.size <= older.size for newer, older in pairwise(found)):
        raise Malformed("consistency proofs: they do not stand in order, the newest first")
    return tuple(found)


def write(proofs: Iterable[Proof]) -> bytes:
    """Give the bytes of the document, the newest proof first."""
    rows: list[Json] = [
        {
            "size": proof.size,
            "root": b64u_encode(proof.root),
            "hashes": [b64u_encode(one) for one in proof.hashes],
        }
        for proof in sorted(proofs, key=lambda proof: proof.size, reverse=True)
    ]
    return dumps({"v": 1, "proofs": rows})


def prove(tree: Tree, sizes: Iterable[int], size: int) -> bytes:
    """Give the document with proofs from `sizes` to `size`, all of which the tree has been through."""
    return write(Proof.of(tree, old, size) for old in sorted(set(sizes), reverse=True)[:MAX_PROOFS] if old <= size)
