"""The Merkle tree over the log's entries (RFC 9162 section 2.1) and its two kinds of proof.

A tree is the sequence of its leaf hashes; `Frontier` is what of it a writer must keep to append, `Tree` what he must
keep to prove that it grew. Verifying never trusts the proof's shape: the number of hashes follows from the sizes and is
checked first, every hash is 32 bytes, and the empty tree is a case of its own. The algorithm as printed in the RFC
accepts empty hashes and trees of size 0. A proof binds hashes, not sizes (one proof can fit trees of 3 and of 4
leaves), so size and root are always taken together from one signed checkpoint.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from coldcred.errors import LogReason, LogRejected

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

_LEAF = b"\x00"
_NODE = b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry into a leaf: SHA-256(0x00 || entry) (RFC 9162 section 2.1.1)."""
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into their parent: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(_NODE + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: its size and the roots of its perfect subtrees, the largest first.

    At most one hash per bit of the size, so it is cheap to keep beside the head of the log and never changes in
    place: a group commit that fails simply drops the frontier it had prepared.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Refuse peaks that cannot belong to a tree of this size (`ValueError`)."""
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"{len(self.peaks)} peaks for a tree of {self.size} leaves")
        if any(len(peak) != HASH_SIZE for peak in self.peaks):
            raise ValueError(f"a peak that is not {HASH_SIZE} bytes")

    def append(self, leaf: bytes) -> Self:
        """Give the frontier after one more leaf hash (32 bytes, else `ValueError`)."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> Self:
        """Give the frontier after many leaf hashes; one new value for the batch, about a million leaves a second."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            if len(leaf) != HASH_SIZE:
                raise ValueError(f"a leaf hash of {len(leaf)} bytes")
            node, bits = leaf, size
            while bits & 1:
                node = hashlib.sha256(_NODE + peaks.pop() + node).digest()
                bits >>= 1
            peaks.append(node)
            size += 1
        return type(self)(size, tuple(peaks))

    def root(self) -> bytes:
        """Give the root hash (32 bytes); that of the empty tree is SHA-256 of nothing."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


class Tree:
    """All perfect subtrees of a tree that grows: 64 bytes a leaf, and a proof takes as many steps as its size has bits.

    A perfect subtree never changes once it is full, so proofs can be given for any size that the tree ever had.
    """

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        """Begin with the empty tree."""
        self._levels = [bytearray()]

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0]) // HASH_SIZE

    def append(self, leaf: bytes) -> None:
        """Take one more leaf hash (32 bytes, else `ValueError`)."""
        if len(leaf) != HASH_SIZE:
            raise ValueError(f"a leaf hash of {len(leaf)} bytes")
        for height, level in enumerate(self._levels):
            level.extend(leaf)
            if len(level) // HASH_SIZE & 1:
                return
            leaf = node_hash(bytes(level[-2 * HASH_SIZE : -HASH_SIZE]), leaf)
            if height + 1 == len(self._levels):
                self._levels.append(bytearray(leaf))
                return

    def frontier(self, size: int | None = None) -> Frontier:
        """Give the right edge that the tree had at `size` leaves, by default now; `ValueError` beyond it."""
        size = self._within(size)
        peaks, start = [], 0
        for height in reversed(range(size.bit_length())):
            if size >> height & 1:
                peaks.append(self._node(height, start >> height))
                start += 1 << height
        return Frontier(size, tuple(peaks))

    def consistency_proof(self, old_size: int, size: int | None = None) -> tuple[bytes, ...]:
        """Prove that the tree of `size` leaves grew from that of `old_size` (RFC 9162 section 2.1.4.1).

        Empty when the old tree is empty or the whole tree; `ValueError` beyond the tree.
        """
        size = self._within(size)
        if not 0 <= old_size <= size:
            raise ValueError(f"no tree of size {old_size} inside one of {size}")
        if old_size in {0, size}:
            return ()
        height = _trailing_zeros(old_size)
        index = (old_size - 1) >> height
        path = [] if old_size == 1 << height else [self._node(height, index)]
        while index or 1 << height < size:
            if (sibling := index ^ 1) << height < size:
                path.append(self._subtree(height, sibling, size))
            index, height = index >> 1, height + 1
        return tuple(path)

    def _subtree(self, height: int, index: int, size: int) -> bytes:
        """Give the root over the leaves that node `index` at `height` stands for, as far as there are any."""
        start, end = index << height, min((index + 1) << height, size)
        if end - start == 1 << height:
            return self._node(height, index)
        peaks = []
        for below in reversed(range(height)):
            if end - start >> below & 1:
                peaks.append(self._node(below, start >> below))
                start += 1 << below
        return Frontier(end - (index << height), tuple(peaks)).root()

    def _node(self, height: int, index: int) -> bytes:
        return bytes(self._levels[height][index * HASH_SIZE : (index + 1) * HASH_SIZE])

    def _within(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise ValueError(f"no tree of size {size} inside one of {self.size}")
        return size


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Compute the root of a tree from its leaf hashes, keeping only the frontier in memory."""
    return Frontier().extend(leaves).root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Prove that leaf `index` (from 0) is in the tree of these leaf hashes (RFC 9162 section 2.1.3.1).

    The hashes run from the leaf's sibling upward. Costs one pass over the leaves; `ValueError` on an index outside.
    """
    if not 0 <= index < len(leaves):
        raise ValueError(f"no leaf {index} in a tree of {len(leaves)}")
    return tuple(_siblings(leaves, index, 0))


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Prove that the first `old_size` of these leaf hashes are a tree this one grew from (section 2.1.4.1).

    Empty when the old tree is empty or the whole tree; `ValueError` when it is larger than the tree.
    """
    if not 0 <= old_size <= len(leaves):
        raise ValueError(f"no tree of size {old_size} inside one of {len(leaves)}")
    if old_size in {0, len(leaves)}:
        return ()
    # The old tree's last perfect subtree is a node of both trees, and the proof climbs from there. When it is the
    # whole old tree, the verifier holds its hash already: it is the old root.
    height = _trailing_zeros(old_size)
    whole = old_size == 1 << height
    path = list(_siblings(leaves, old_size - 1, height))
    if not whole:
        path.insert(0, root_of(leaves[old_size - (1 << height) : old_size]))
    return tuple(path)


def growth_proof(old: Frontier, leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """Prove that the tree of `old` and these `leaves` after it grew from `old`: what `consistency_proof` gives.

    It needs the right edge of the old tree and what came since, and no leaf before it.
    """
    if not old.size:
        return ()
    return _grown(old.size, old.size + len(leaves), old.peaks, leaves, whole=True)


def _grown(old: int, new: int, peaks: tuple[bytes, ...], leaves: Sequence[bytes], *, whole: bool) -> tuple[bytes, ...]:
    """SUBPROOF of section 2.1.4.1 for the part of both trees that begins with these peaks of the old one."""
    if old == new:
        return () if whole else peaks[:1]
    split = 1 << ((new - 1).bit_length() - 1)
    if old <= split:
        return (*_grown(old, split, peaks, leaves[: split - old], whole=whole), root_of(leaves[split - old :]))
    return (*_grown(old - split, new - split, peaks[1:], leaves, whole=False), peaks[0])


def _siblings(leaves: Sequence[bytes], index: int, height: int) -> Iterator[bytes]:
    """Yield the siblings on the way from leaf `index`'s ancestor at `height` up to the root."""
    level = list(leaves)
    climbed = 0
    while len(level) > 1:
        if climbed >= height and index ^ 1 < len(level):
            yield level[index ^ 1]
        # A node without a sibling rises unchanged: splitting at the largest power of two comes to the same.
        unpaired = level[-1:] if len(level) & 1 else []
        level = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=False)] + unpaired
        index >>= 1
        climbed += 1


def verify_inclusion(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return when `proof` shows leaf hash `leaf` at `index` (from 0) of the tree (`size`, `root`).

    RFC 9162 section 2.1.3.2, strict. Raises `LogRejected` (`bad-proof`), the detail says why.
    """
    if not 0 <= index < size:
        raise _refusal(f"leaf {index} is not in a tree of size {size}")
    _check_hashes((leaf, root, *proof))
    inner = (index ^ (size - 1)).bit_length()
    _check_length(proof, inner + (index >> inner).bit_count())
    node = _climb(leaf, proof[:inner], index)
    if _climb_left(node, proof[inner:]) != root:
        raise _refusal("the inclusion proof leads to another root")


def verify_consistency(
    proof: Sequence[bytes], *, old_size: int, old_root: bytes, new_size: int, new_root: bytes
) -> None:
    """Return when `proof` shows that the tree (`new_size`, `new_root`) grew from (`old_size`, `old_root`).

    RFC 9162 section 2.1.4.2, strict. From the empty tree every tree grows: then the proof must be empty and the old
    root that of the empty tree, and nothing is learnt about the new root. Equal sizes need equal roots and an empty
    proof. Raises `LogRejected` (`bad-proof`), the detail says why.
    """
    if not 0 <= old_size <= new_size:
        raise _refusal(f"a tree of size {new_size} cannot have grown from one of size {old_size}")
    _check_hashes((old_root, new_root, *proof))
    for size, root in ((old_size, old_root), (new_size, new_root)):
        if (size == 0) != (root == EMPTY_ROOT):
            raise _refusal(f"size {size} does not go with this root: only the empty tree has the empty tree's root")
    if old_size in {0, new_size}:
        _check_length(proof, 0)
        if old_size == new_size and old_root != new_root:
            raise _refusal("two roots for one size: the log contradicts itself")
        return
    height = _trailing_zeros(old_size)
    whole = old_size == 1 << height
    index = (old_size - 1) >> height
    inner = (index ^ ((new_size - 1) >> height)).bit_length()
    _check_length(proof, (0 if whole else 1) + inner + (index >> inner).bit_count())
    start, path = (old_root, proof) if whole else (proof[0], proof[1:])
    beside, beyond = path[:inner], path[inner:]
    # Of the nodes beside the path only those on its left belong to the old tree; those beyond it all do.
    left = [node for place, node in enumerate(beside) if index >> place & 1]
    if _climb_left(_climb_left(start, left), beyond) != old_root:
        raise _refusal("the consistency proof does not lead to the old root")
    if _climb_left(_climb(start, beside, index), beyond) != new_root:
        raise _refusal("the consistency proof does not lead to the new root")


def _climb(node: bytes, siblings: Sequence[bytes], index: int) -> bytes:
    """Hash upward; bit n of `index` says whether the node at height n is a right child."""
    for place, sibling in enumerate(siblings):
        node = node_hash(sibling, node) if index >> place & 1 else node_hash(node, sibling)
    return node


def _climb_left(node: bytes, siblings: Sequence[bytes]) -> bytes:
    """Hash upward along the right edge, where every sibling stands on the left."""
    for sibling in siblings:
        node = node_hash(sibling, node)
    return node


def _trailing_zeros(size: int) -> int:
    return (size & -size).bit_length() - 1


def _check_hashes(hashes: Iterable[bytes]) -> None:
    for found in hashes:
        if len(found) != HASH_SIZE:
            raise _refusal(f"a hash of {len(found)} bytes where {HASH_SIZE} belong")


def _check_length(proof: Sequence[bytes], expected: int) -> None:
    if len(proof) != expected:
        raise _refusal(f"a proof of {len(proof)} hashes where these sizes need {expected}")


def _refusal(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_PROOF, detail)
