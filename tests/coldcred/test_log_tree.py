"""The Merkle tree against the definitions of RFC 9162, written down a second time in the slowest way."""

import hashlib
import random
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from coldcred.errors import LogReason, LogRejected
from coldcred.log import tree

MOST = 64
LEAVES = [tree.leaf_hash(bytes([number])) for number in range(MOST)]

Proof = tuple[bytes, ...]


def split(size: int) -> int:
    """Return the largest power of two smaller than `size` (RFC 9162 section 2.1.1)."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


@cache
def naive_root(begin: int, end: int) -> bytes:
    """Return MTH of the leaves from `begin` to `end`, as the RFC defines it, over entries of one byte."""
    if begin == end:
        return hashlib.sha256(b"").digest()
    if end - begin == 1:
        return hashlib.sha256(b"\x00" + bytes([begin])).digest()
    middle = begin + split(end - begin)
    return hashlib.sha256(b"\x01" + naive_root(begin, middle) + naive_root(middle, end)).digest()


def naive_path(index: int, begin: int, end: int) -> Proof:
    """Return PATH (RFC 9162 section 2.1.3.1); `index` counts from `begin`."""
    if end - begin <= 1:
        return ()
    half = split(end - begin)
    middle = begin + half
    if index < half:
        return (*naive_path(index, begin, middle), naive_root(middle, end))
    return (*naive_path(index - half, middle, end), naive_root(begin, middle))


def naive_subproof(old: int, begin: int, end: int, *, complete: bool) -> Proof:
    """Return SUBPROOF (RFC 9162 section 2.1.4.1)."""
    if old == end - begin:
        return () if complete else (naive_root(begin, end),)
    half = split(end - begin)
    middle = begin + half
    if old <= half:
        return (*naive_subproof(old, begin, middle, complete=complete), naive_root(middle, end))
    return (*naive_subproof(old - half, middle, end, complete=False), naive_root(begin, middle))


def flipped(data: bytes, bit: int) -> bytes:
    """Return `data` with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


def inclusion_refused(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Assert that an inclusion proof is refused, as a bad proof and nothing else."""
    with pytest.raises(LogRejected) as refusal:
        tree.verify_inclusion(leaf, index=index, size=size, proof=proof, root=root)
    assert refusal.value.reason is LogReason.BAD_PROOF


def consistency_refused(
    proof: Sequence[bytes], *, old_size: int, old_root: bytes, new_size: int, new_root: bytes
) -> None:
    """Assert that a consistency proof is refused, as a bad proof and nothing else."""
    with pytest.raises(LogRejected) as refusal:
        tree.verify_consistency(proof, old_size=old_size, old_root=old_root, new_size=new_size, new_root=new_root)
    assert refusal.value.reason is LogReason.BAD_PROOF


def test_roots_are_those_of_the_definition() -> None:
    """Frontier, batch and whole-tree root agree with MTH for every size up to 64."""
    frontier = tree.Frontier()
    for size in range(MOST + 1):
        expected = naive_root(0, size)
        assert frontier.root() == expected
        assert frontier.size == size
        assert tree.root_of(LEAVES[:size]) == expected
        assert tree.Frontier().extend(LEAVES[:size]) == frontier
        if size < MOST:
            frontier = frontier.append(LEAVES[size])


def test_a_tree_that_grows_proves_each_of_its_sizes() -> None:
    """Edge and consistency proofs of every pair of sizes up to 64 are those of the leaves; beyond is a `ValueError`."""
    grown = tree.Tree()
    for size in range(MOST + 1):
        assert (grown.size, grown.frontier()) == (size, tree.Frontier().extend(LEAVES[:size]))
        if size < MOST:
            grown.append(LEAVES[size])
    for size in range(MOST + 1):
        assert grown.frontier(size) == tree.Frontier().extend(LEAVES[:size])
        for old in range(size + 1):
            assert grown.consistency_proof(old, size) == tree.consistency_proof(LEAVES[:size], old)
    for old, size in ((-1, 5), (6, 5), (1, MOST + 1), (0, -1)):
        with pytest.raises(ValueError, match="no tree"):
            grown.consistency_proof(old, size)
    with pytest.raises(ValueError, match="bytes"):
        grown.append(b"short")


def test_a_frontier_never_changes_in_place() -> None:
    """Appending gives a new value and leaves the old one, so a failed commit can drop what it prepared."""
    before = tree.Frontier().extend(LEAVES[:5])
    root = before.root()
    assert before.append(LEAVES[5]).root() == naive_root(0, 6)
    assert (before.size, before.root()) == (5, root)


def test_a_frontier_can_be_kept_and_taken_up_again() -> None:
    """A frontier made from stored size and peaks continues the tree; one that cannot exist is a `ValueError`."""
    stored = tree.Frontier().extend(LEAVES[:11])
    again = tree.Frontier(stored.size, stored.peaks)
    assert again.extend(LEAVES[11:]).root() == naive_root(0, MOST)
    for size, peaks in ((-1, ()), (1, ()), (2, stored.peaks), (1, (b"short",)), (0, (LEAVES[0],))):
        with pytest.raises(ValueError, match="peak"):
            tree.Frontier(size, peaks)


@pytest.mark.parametrize("leaf", [b"", b"entry", bytes(31), bytes(33)])
def test_only_leaf_hashes_are_appended(leaf: bytes) -> None:
    """Something that is not 32 bytes is not a leaf hash: a writer that passes an entry itself is told so."""
    with pytest.raises(ValueError, match="leaf hash"):
        tree.Frontier().append(leaf)


def test_every_inclusion_proof_is_that_of_the_definition_and_verifies() -> None:
    """For every leaf of every tree up to 64: the proof is PATH and verifies."""
    for size in range(1, MOST + 1):
        for index in range(size):
            proof = tree.inclusion_proof(LEAVES[:size], index)
            assert proof == naive_path(index, 0, size)
            tree.verify_inclusion(LEAVES[index], index=index, size=size, proof=proof, root=naive_root(0, size))


def test_every_consistency_proof_is_that_of_the_definition_and_verifies() -> None:
    """For every pair of sizes up to 64, zero and equal ones included: the proof is PROOF and verifies."""
    for new in range(MOST + 1):
        for old in range(new + 1):
            proof = tree.consistency_proof(LEAVES[:new], old)
            assert proof == tree.growth_proof(tree.Frontier().extend(LEAVES[:old]), LEAVES[old:new])
            assert proof == (naive_subproof(old, 0, new, complete=True) if old else ())
            tree.verify_consistency(
                proof, old_size=old, old_root=naive_root(0, old), new_size=new, new_root=naive_root(0, new)
            )


def test_a_proof_fits_no_other_place_in_the_tree() -> None:
    """For every tree up to 32: a leaf's proof verifies at no other index, and for no other leaf."""
    for size in range(1, 33):
        root = naive_root(0, size)
        for index in range(size):
            proof = naive_path(index, 0, size)
            for other in set(range(-1, size + 2)) - {index}:
                for leaf in {LEAVES[index], LEAVES[other % MOST]}:
                    inclusion_refused(leaf, index=other, size=size, proof=proof, root=root)


def test_two_true_trees_need_their_own_proof() -> None:
    """For all true pairs of trees up to 16: of all proofs, only the pair's own verifies."""
    pairs = [(old, new) for new in range(1, 17) for old in range(1, new + 1)]
    proofs = {naive_subproof(old, 0, new, complete=True) for old, new in pairs}
    for old, new in pairs:
        for proof in proofs - {naive_subproof(old, 0, new, complete=True)}:
            consistency_refused(
                proof, old_size=old, old_root=naive_root(0, old), new_size=new, new_root=naive_root(0, new)
            )


def test_proofs_for_what_is_not_there_cannot_be_asked_for() -> None:
    """An index or size outside the tree is the caller's mistake."""
    for index in (-1, 3, 4):
        with pytest.raises(ValueError, match="no leaf"):
            tree.inclusion_proof(LEAVES[:3], index)
    for size in (-1, 4):
        with pytest.raises(ValueError, match="no tree of size"):
            tree.consistency_proof(LEAVES[:3], size)


def test_an_index_outside_the_tree_is_refused_as_such() -> None:
    """The index is checked against the size before any hash is looked at."""
    for index, size in ((3, 3), (-1, 3), (0, 0), (0, -1)):
        with pytest.raises(LogRejected, match=f"leaf {index} is not in a tree of size {size}"):
            tree.verify_inclusion(LEAVES[0], index=index, size=size, proof=(), root=LEAVES[0])


def test_nothing_is_included_in_the_empty_tree() -> None:
    """A tree of size 0 holds no leaf, whatever hashes come along (the RFC's algorithm accepts some)."""
    for root in (tree.EMPTY_ROOT, LEAVES[0], b""):
        for leaf in (tree.EMPTY_ROOT, LEAVES[0], root):
            inclusion_refused(leaf, index=0, size=0, proof=(), root=root)


def test_the_empty_tree_is_consistent_with_every_tree_by_an_empty_proof_only() -> None:
    """From size 0: the old root must be that of the empty tree, the proof empty, and a grown tree has another root."""
    empty, root = tree.EMPTY_ROOT, naive_root(0, 3)
    tree.verify_consistency((), old_size=0, old_root=empty, new_size=0, new_root=empty)
    tree.verify_consistency((), old_size=0, old_root=empty, new_size=3, new_root=root)
    for proof, old_root, size, new_root in (
        ((root,), empty, 3, root),
        ((empty,), empty, 0, empty),
        ((), root, 3, root),
        ((), b"", 3, root),
        ((), empty, 0, root),
        ((), empty, 3, empty),
        ((), root, 0, root),
    ):
        consistency_refused(proof, old_size=0, old_root=old_root, new_size=size, new_root=new_root)


def test_equal_sizes_need_equal_roots_and_an_empty_proof() -> None:
    """Two roots for one size are a contradiction that no proof repairs."""
    root, other = naive_root(0, 5), LEAVES[0]
    tree.verify_consistency((), old_size=5, old_root=root, new_size=5, new_root=root)
    for proof, new_root in (((), other), ((root,), root), ((other,), other), (naive_path(4, 0, 5), root)):
        consistency_refused(proof, old_size=5, old_root=root, new_size=5, new_root=new_root)


def test_a_tree_does_not_shrink() -> None:
    """A new size below the old one, or below zero, is refused before anything is hashed."""
    for old, new in ((2, 1), (1, 0), (-1, 3), (-2, -1), (0, -1)):
        consistency_refused((), old_size=old, old_root=LEAVES[0], new_size=new, new_root=LEAVES[1])


def mutations(proof: Proof, chance: random.Random) -> Sequence[Proof]:
    """Return proofs that differ from `proof` in one way each."""
    place, bit = chance.randrange(len(proof) + 1), chance.randrange(256)
    stray = chance.randbytes(32)
    changed: list[Proof] = [(*proof[:place], stray, *proof[place:]), (*proof, b""), (b"", *proof)]
    for at, found in enumerate(proof):
        changed += [
            (*proof[:at], flipped(found, bit), *proof[at + 1 :]),
            (*proof[:at], *proof[at + 1 :]),
            (*proof[:at], found, *proof[at:]),
            (*proof[:at], found[:-1], *proof[at + 1 :]),
            (*proof[:at], found + b"\x00", *proof[at + 1 :]),
            (*proof[:at], b"", *proof[at + 1 :]),
        ]
    if len(proof) > 1:
        changed += [proof[::-1], (*proof[1:], proof[0])]
    return [candidate for candidate in changed if candidate != proof]


@settings(max_examples=200, deadline=None)
@given(size=st.integers(1, MOST), data=st.data(), seed=st.randoms(use_true_random=False))
def test_any_change_to_an_inclusion_proof_is_refused(size: int, data: st.DataObject, seed: random.Random) -> None:
    """One bit, one hash more, fewer, doubled, cut or moved, another leaf or root: refused."""
    index = data.draw(st.integers(0, size - 1))
    leaf, root, proof = LEAVES[index], naive_root(0, size), naive_path(index, 0, size)
    for wrong in mutations(proof, seed):
        inclusion_refused(leaf, index=index, size=size, proof=wrong, root=root)
    bit = seed.randrange(256)
    for bad_leaf, bad_root in ((flipped(leaf, bit), root), (leaf, flipped(root, bit)), (b"", root), (leaf, b"")):
        inclusion_refused(bad_leaf, index=index, size=size, proof=proof, root=bad_root)


@settings(max_examples=200, deadline=None)
@given(new=st.integers(1, MOST), data=st.data(), seed=st.randoms(use_true_random=False))
def test_any_change_to_a_consistency_proof_is_refused(new: int, data: st.DataObject, seed: random.Random) -> None:
    """One bit, one hash more, fewer, doubled, cut or moved, another root on either side: refused."""
    old = data.draw(st.integers(1, new))
    roots = naive_root(0, old), naive_root(0, new)
    proof = naive_subproof(old, 0, new, complete=True)
    for wrong in mutations(proof, seed):
        consistency_refused(wrong, old_size=old, old_root=roots[0], new_size=new, new_root=roots[1])
    bit = seed.randrange(256)
    for bad_old, bad_new in ((flipped(roots[0], bit), roots[1]), (roots[0], flipped(roots[1], bit)), (b"", roots[1])):
        consistency_refused(proof, old_size=old, old_root=bad_old, new_size=new, new_root=bad_new)


@settings(max_examples=100, deadline=None)
@given(
    old=st.integers(-2, 80),
    new=st.integers(-2, 80),
    old_root=st.binary(max_size=40),
    new_root=st.binary(max_size=40),
    proof=st.lists(st.binary(max_size=40), max_size=9),
)
def test_noise_is_refused_and_never_crashes(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]
) -> None:
    """Arbitrary sizes and hashes end in the one typed refusal."""
    assume(old_root != new_root)  # equal ones are a true statement where the sizes are equal too
    consistency_refused(proof, old_size=old, old_root=old_root, new_size=new, new_root=new_root)
    inclusion_refused(old_root, index=old, size=new, proof=proof, root=new_root)


def test_proofs_stay_short() -> None:
    """A proof has at most ceil(log2 n) + 1 hashes."""
    for new in range(2, MOST + 1):
        most = (new - 1).bit_length() + 1
        assert all(len(tree.inclusion_proof(LEAVES[:new], index)) < most for index in range(new))
        assert all(len(tree.consistency_proof(LEAVES[:new], old)) <= most for old in range(new))


def test_a_large_log_is_hashed_in_seconds() -> None:
    """Two hundred thousand leaves, one by one and as a batch, give one root; sizes around it prove against it."""
    leaves = [number.to_bytes(32) for number in range(200_000)]
    frontier = tree.Frontier()
    for leaf in leaves[:50_000]:
        frontier = frontier.append(leaf)
    whole = frontier.extend(leaves[50_000:])
    assert whole.root() == tree.root_of(leaves)
    for old in (50_000, 131_072, 131_073, 199_999):
        tree.verify_consistency(
            tree.consistency_proof(leaves, old),
            old_size=old,
            old_root=tree.root_of(leaves[:old]),
            new_size=whole.size,
            new_root=whole.root(),
        )
