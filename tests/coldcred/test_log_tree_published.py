"""Published vectors for the Merkle tree, good ones and all the bad ones that are derived from them.

The trees, proofs and kinds of damage are those of the Certificate Transparency test data
(github.com/transparency-dev/merkle, folder testdata, Apache-2.0): 98 inclusion and 98 consistency cases. The large
proofs are answers of a real log, Google's Argon 2020 (golang.org/x/mod, sumdb/tlog/testdata/argon2020, BSD-3-Clause).
"""

import base64
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from coldcred.errors import LogReason, LogRejected
from coldcred.log import tree

Proof = tuple[bytes, ...]
Inclusion = tuple[int, int, bytes, bytes, Proof]
"""Index, size, root, leaf hash, proof."""
Consistency = tuple[int, int, bytes, bytes, Proof]
"""Old size, new size, old root, new root, proof."""
Case = TypeVar("Case", Inclusion, Consistency)

ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
INCLUSION = {
    (0, 1): (),
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
    (6, 7): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
}

ARGON_SIZE = 961_984_013
ARGON_ROOT = "dwlueapdd7LaOEnX2W2Wp9v2XE+KzejHRQGHwEx0oaM="
ARGON_INDEX = 10_000
ARGON_LEAF = "nCs3mfIydh9x4CKyQ+u2xtmpxmFggA5MLymHwNQSlLg="
ARGON_PATH = (
    "T46AmJsuOM/gFiGlUp+IJJebp+1Z5qratFNW7U0JyOQ=",
    "9Jj1Feodn42uRYEfffkV4HF/EIPFQ5Zo9IwkxbQ2uhk=",
    "D53/1oCNebF4J59HHgioovKZxrmrKcVuCVhy3Izg8Ck=",
    "wSFDgGSrsXRPA+1c8WHoAFCsWeUv8NDyP/Q/SgsyVyY=",
    "516/RcwsgdwdzHn18v1dJHqBkgFUbNhmCIWOGjsMJaE=",
    "naTFY2ajLFgrgs5XUl+zJYZnnlJksLGsA1VYwpLfqbY=",
    "mKBRJo6qao+0Kdh/rhGkZUbHUAxMhrtrclrTpIbNjIg=",
    "Co4ueOFE7lpifLio94irxxsv1wFMMaK3tPu2ZQkHlro=",
    "yRgy800K6JMYCC05sWfqF2kvCg2riT/pVM+nEa6V5+0=",
    "n2O38XJZC8/Wpbwi9HhgVizlUyeUHVZvYyQB1607MRc=",
    "go3tAjuNfNSCj87y2Rg1xOroDknGN1eaf3cgvzObf7Q=",
    "8D0Mj3/J7ySSnFb0afIHYXv6rlOhECnsebY6XKi1IR8=",
    "6rcez46ZU8M5vPiWVMAUfJfAOV0pPP/mch/lYzZhj/M=",
    "2rtIeXrPvSdUyHc5maIgSAVB2BzaKaupWxSAiVayDE4=",
    "nniW/IMFQPN5xw8UsHFn7CRStYbm1gLu7NNa6kkRqJQ=",
    "mRPPi7sQS22MduIEyvcNzCNFqIt6kLwYPkNKrVtIcu8=",
    "JvTivzESNS9wHI8aph5a7uieVmtS/p9PciMZ5D6GyOo=",
    "UTyQd+Ym0wY4zG+qK806bBORwi1CSVvFQ/KknnqoZj8=",
    "hXODrqN+ff+U6zPqRQ+ZQKs6im1fPcxIerDSfNwflhE=",
    "II6GE+WY/DrpZzfHztLwkR46o37zVkNLCyPYlf68zA0=",
    "d609kWWcNBllbA8Jb/ad4XAVVGnScLRmtP8FYyr+Dck=",
    "rikBsP0G0gioXRpBFED2CzQdSLrGPvRd0bEcbEZw1rI=",
    "GXIElfmnRuWfbA4z7ubV/UwlpSRUbUeec7oL5HDDnh0=",
    "pR0SH/NYP6s9+8azWwaeUXA4Ze/3WCIgMfh5YW6wvcE=",
    "f3GuAKYVrF8RBg3s15jvA/YvV9oAliWtzP/imwPhQVA=",
    "WHn8zDxlVgkV+lSlmzaOdfSBrTHoRr5nT3d76q0KKWE=",
    "f2uV2ZxVgULzLPKuZcowRY3ZY7fRlX59iDBjV1R8kNQ=",
    "NzQVjJsvQwbi7WStMr9oFkh9VbHfK7LB6o7WwAqwNTs=",
    "C0LttBeYHZHgL+032JIcJC3CTBIyza/hsbmJUgJfmDI=",
    "nixU5CWTFVDlF4BGdcU6kA7WSYurEpe9jRWc+F/7sOc=",
)
ARGON_OLD_SIZE = 3_654_490
ARGON_OLD_ROOT = "AuIZ5V6sDUj1vn3Y1K85oOaQ7y+FJJKtyRTl1edIKBQ="
ARGON_GROWTH = (
    "80Sfbj6UQEdVSZCSIgh9NMPj3vCBzcc1A48B2crJSWg=",
    "FZcrgAHUk6nNPviJZq8kEK6jCG1d18pJOFE45ZDc1TQ=",
    "Q67reWXmPBo1UfmwBap4Xi9PMPfFdUSSw3WGlRZdG7k=",
    "eJ7CyhR4PxzBxDIsWgrVYW1eFUb9ndgf46tFmiqVrxA=",
    "QrDwp062Grm5WY8KdrhFsBuuNjGzRox2Jb8PmVL5OYw=",
    "XM4YMjMEdLH/XJam/ZWyaP14k3cmsOtnPsOWQ54lW1s=",
    "SGiBh+jOTGccXU48ZzgQ88lRcBmtB4wz4oSDndv2QTg=",
    "WAS6txqNLYKGL1GdBdpqmV42TTfn6cJsuDsqLXuTCNI=",
    "QFmRS0rirUA7ZN3lxFjDncV+E1OCrn3NUB4RCp+5fzc=",
    "Hdbp7It2XBNZmNDBpCN/KPd7vfVqxgzwOosqVIaEA9E=",
    "mxvHL0ZiblBdD7j7pIa1jlfB0gSqfJ6oX0UGo7L0VsU=",
    "q5hjyvoW6TL/PThgcitpDcSTrnKX2p1+aqscqH2euRA=",
    "jTOWDqt3IHj2NVFeezyBz2ofpru+ztEywqKUAfFclKI=",
    "GIRn0w3HqJdvU9j1WVD//eR6lk2AaTVjyzjsJNP8U88=",
    "x52GJvxG81fnQBrgOTbll1A5tz95/LXK0Ag1NhB0r1I=",
    "6/0OqrcTgc3o5dD5PymmoC96lB9yLPFuTHVvLy8fSGk=",
    "Gf+iKLfcXO5l4JEFmsZvSdG5q1uEeWPfYLrds6pmjz0=",
    "DGuaco+McyM3AfRSF6qX7RwSetwe2ieYJmxw5e9rVx0=",
    "2tQJ9V32hnYp+fdpP6TcjmgJmLeNVOMKM0Ml1kk4cNU=",
    "3PapK+IkyJr8I9yAErAmzuZezzLMzsg+PfeRCgNW8NQ=",
    "s6xiYeejb+wtqHA+URJZ2I/SCPyIW8coP6aB00FJbMY=",
    "z9lSpmdTcr5M5ZzKlc4EPh3SrSypKFdk6JUF/UccaZU=",
    "GXIElfmnRuWfbA4z7ubV/UwlpSRUbUeec7oL5HDDnh0=",
    "pR0SH/NYP6s9+8azWwaeUXA4Ze/3WCIgMfh5YW6wvcE=",
    "f3GuAKYVrF8RBg3s15jvA/YvV9oAliWtzP/imwPhQVA=",
    "WHn8zDxlVgkV+lSlmzaOdfSBrTHoRr5nT3d76q0KKWE=",
    "f2uV2ZxVgULzLPKuZcowRY3ZY7fRlX59iDBjV1R8kNQ=",
    "NzQVjJsvQwbi7WStMr9oFkh9VbHfK7LB6o7WwAqwNTs=",
    "C0LttBeYHZHgL+032JIcJC3CTBIyza/hsbmJUgJfmDI=",
    "nixU5CWTFVDlF4BGdcU6kA7WSYurEpe9jRWc+F/7sOc=",
)

LEAVES = [tree.leaf_hash(entry) for entry in ENTRIES]
EMPTY = ROOTS[0]
SOME = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")
TEXT_1, TEXT_2 = b"don't care 1", b"don't care 2"


def hashes(texts: tuple[str, ...]) -> Proof:
    """Return hexadecimal hashes as bytes."""
    return tuple(bytes.fromhex(text) for text in texts)


def good_inclusion() -> Iterator[Inclusion]:
    """Yield the published inclusion proofs."""
    for (index, size), texts in INCLUSION.items():
        yield index, size, ROOTS[size], LEAVES[index], hashes(texts)


def good_consistency() -> Iterator[Consistency]:
    """Yield the published consistency proofs."""
    for (old, new), texts in CONSISTENCY.items():
        yield old, new, ROOTS[old], ROOTS[new], hashes(texts)


def changed(proof: Proof, mask: int) -> Iterator[Proof]:
    """Yield the proof with the first byte of one hash changed, once for each hash."""
    for place, found in enumerate(proof):
        yield (*proof[:place], bytes([found[0] ^ mask]) + found[1:], *proof[place + 1 :])


def bad_inclusion() -> Iterator[Inclusion]:
    """Yield the published damaged inclusion proofs; an index of -1 stands for 2^64-1."""
    for index, size, root, leaf, proof in good_inclusion():
        yield from ((other, size, root, leaf, proof) for other in (index - 1, index + 1, index ^ 2))
        yield from ((index, other, root, leaf, proof) for other in (size * 2, size // 2))
        yield index, size, root, b"WrongLeaf", proof
        yield from ((index, size, other, leaf, proof) for other in (EMPTY, SOME))
        yield from ((index, size, root, leaf, (*proof, stray)) for stray in (b"", root))
        yield from ((index, size, root, leaf, (stray, *proof)) for stray in (b"", root))
        yield from ((index, size, root, leaf, wrong) for wrong in changed(proof, 8))
        if proof:
            yield index, size, root, leaf, proof[:-1]
        if len(proof) > 1:
            yield index, size, root, leaf, (proof[0], SOME, *proof[1:])
    for index, size in ((0, 0), (0, 1), (1, 0), (2, 1)):
        yield from ((index, size, root, leaf, ()) for root, leaf in ((b"", SOME), (EMPTY, b""), (EMPTY, SOME)))
    data = tree.leaf_hash(b"data")
    yield from ((0, 1, root, leaf, ()) for root, leaf in ((data, b""), (b"", data), (b"", b"")))


def bad_consistency() -> Iterator[Consistency]:
    """Yield the published damaged consistency proofs."""
    for old, new, root1, root2, proof in good_consistency():
        if not proof:
            continue
        yield from ((other, new, root1, root2, proof) for other in (old - 1, old + 1, old ^ 2))
        yield from ((old, other, root1, root2, proof) for other in (new * 2, new // 2))
        for wrong1, wrong2 in ((b"WrongRoot", root2), (root1, b"WrongRoot"), (root2, root1)):
            yield old, new, wrong1, wrong2, proof
        yield old, new, root1, root2, ()
        yield from ((old, new, root1, root2, (*proof, stray)) for stray in (b"", root1, root2))
        yield from ((old, new, root1, root2, (stray, *proof)) for stray in (b"", root1, root2, proof[0]))
        yield old, new, root1, root2, proof[:-1]
        yield from ((old, new, root1, root2, wrong) for wrong in changed(proof, 16))
    yield 0, 0, TEXT_1, TEXT_2, ()
    yield 1, 1, TEXT_1, TEXT_2, ()
    yield 0, 1, TEXT_1, TEXT_2, ()
    yield 0, 1, EMPTY, TEXT_2, ()
    yield 1, 0, TEXT_1, TEXT_2, ()
    yield 2, 1, TEXT_1, TEXT_2, ()
    yield 1, 2, TEXT_1, TEXT_2, ()
    yield 0, 0, EMPTY, TEXT_2, ()
    yield 1, 1, EMPTY, TEXT_2, ()
    yield from ((old, new, EMPTY, EMPTY, (EMPTY,)) for old, new in ((0, 0), (0, 1), (1, 1)))


def check_inclusion(case: Inclusion) -> None:
    """Verify one inclusion case."""
    index, size, root, leaf, proof = case
    tree.verify_inclusion(leaf, index=index, size=size, proof=proof, root=root)


def check_consistency(case: Consistency) -> None:
    """Verify one consistency case."""
    old, new, root1, root2, proof = case
    tree.verify_consistency(proof, old_size=old, old_root=root1, new_size=new, new_root=root2)


def accepted(check: Callable[[Case], None], cases: Iterable[Case]) -> list[Case]:
    """Return the cases that are not refused; every refusal must say that the proof is bad."""
    wrong, reasons = [], set()
    for case in cases:
        try:
            check(case)
        except LogRejected as refusal:
            reasons.add(refusal.reason)
        else:
            wrong.append(case)
    assert reasons <= {LogReason.BAD_PROOF}
    return wrong


def test_the_published_roots_come_out() -> None:
    """Each prefix of the golden entries has the published root, the empty one included."""
    assert [tree.root_of(LEAVES[:size]) for size in range(len(ROOTS))] == ROOTS


def test_the_published_proofs_are_made_and_verify() -> None:
    """The published proofs are what is generated here, and each verifies."""
    for index, size, root, leaf, proof in good_inclusion():
        assert tree.inclusion_proof(LEAVES[:size], index) == proof
        tree.verify_inclusion(leaf, index=index, size=size, proof=proof, root=root)
    for old, new, root1, root2, proof in good_consistency():
        assert tree.consistency_proof(LEAVES[:new], old) == proof
        tree.verify_consistency(proof, old_size=old, old_root=root1, new_size=new, new_root=root2)


def test_no_published_bad_inclusion_proof_is_accepted() -> None:
    """Of the 92 published damaged inclusion proofs none is accepted."""
    cases = list(bad_inclusion())
    assert len(cases) == 92
    assert accepted(check_inclusion, cases) == []


def test_no_published_bad_consistency_proof_is_accepted() -> None:
    """Of the 91 published damaged consistency proofs none is accepted."""
    cases = list(bad_consistency())
    assert len(cases) == 91
    assert accepted(check_consistency, cases) == []


def test_text_in_place_of_a_root_is_refused_where_upstream_shrugs() -> None:
    """Two published cases compare equal texts that are no hashes at sizes 0 and 1; here a root has 32 bytes."""
    cases: list[Consistency] = [(0, 0, TEXT_1, TEXT_1, ()), (1, 1, TEXT_2, TEXT_2, ())]
    assert accepted(check_consistency, cases) == []


def test_the_proofs_of_a_real_log_verify() -> None:
    """Argon 2020 at 961,984,013 entries: entry 10,000 is in it, and it grew from its size of 3,654,490."""
    root, path, growth = decoded(ARGON_ROOT), decoded_all(ARGON_PATH), decoded_all(ARGON_GROWTH)
    leaf, old_root = decoded(ARGON_LEAF), decoded(ARGON_OLD_ROOT)
    inclusion = (ARGON_INDEX, ARGON_SIZE, root, leaf, path)
    consistency = (ARGON_OLD_SIZE, ARGON_SIZE, old_root, root, growth)
    check_inclusion(inclusion)
    check_consistency(consistency)
    assert accepted(check_inclusion, [(*inclusion[:4], wrong) for wrong in changed(path, 1)]) == []
    assert accepted(check_consistency, [(*consistency[:4], wrong) for wrong in changed(growth, 1)]) == []


def decoded(text: str) -> bytes:
    """Return base64 as bytes."""
    return base64.b64decode(text, validate=True)


def decoded_all(texts: tuple[str, ...]) -> Proof:
    """Return base64 hashes as bytes."""
    return tuple(decoded(text) for text in texts)
