"""The framing of bundles and exports: every byte accounted for, in memory and from a stream."""

import hashlib
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldcred import framing
from coldcred.canonical import Json
from coldcred.errors import Malformed

FILES = {
    "metadata/1.root.json": b'{"signed":{}}',
    "metadata/timestamp.json": b"{}",
    "targets/empty": b"",
    "targets/log/checkpoint": b"log\n1\n\xff\x00\n",
}

segment = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,12}", fullmatch=True)
names = st.lists(segment, min_size=1, max_size=4).map("/".join)
contents = st.dictionaries(names, st.binary(max_size=64), max_size=6).filter(
    lambda files: not any(other.startswith(name + "/") for name in files for other in files)
)


def row(name: str, body: bytes = b"", **members: Json) -> dict[str, Json]:
    """Return one line of the index, with members replaced."""
    return {"length": len(body), "name": name, "sha256": hashlib.sha256(body).hexdigest(), **members}


def framed(*rows: Any, bodies: bytes = b"", magic: bytes = framing.BUNDLE, **members: Json) -> bytes:
    """Return a framed file made without the code under test."""
    index = {"files": list(rows), **members}
    return magic + json.dumps(index, sort_keys=True, separators=(",", ":")).encode() + b"\n" + bodies


def opened(data: bytes, magic: bytes = framing.EXPORT) -> framing.FramedFile:
    """Return a streaming reader over bytes."""
    return framing.FramedFile(io.BytesIO(data), magic)


def test_the_bytes_are_these() -> None:
    """The golden bytes of a small bundle; readers of every later version must accept them."""
    expected = (
        b"coldcred-bundle 1\n"
        b'{"files":[{"length":2,"name":"a","sha256":'
        b'"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},'
        b'{"length":3,"name":"b/c.json","sha256":'
        b'"3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282"}]}\n'
    )
    assert framing.write(framing.BUNDLE, {"b/c.json": b"xyz", "a": b"{}"}) == expected + b"{}xyz"
    assert framing.read(expected + b"{}xyz", framing.BUNDLE) == {"a": b"{}", "b/c.json": b"xyz"}


@settings(max_examples=200, deadline=None)
@given(files=contents, magic=st.sampled_from([framing.BUNDLE, framing.EXPORT]))
def test_what_is_written_reads_back(files: dict[str, bytes], magic: bytes) -> None:
    """Any set of names and bodies survives, in memory and streamed, and the bytes are an independent writer's."""
    data = framing.write(magic, files)
    assert framing.read(data, magic) == files
    reader = opened(data, magic)
    assert list(reader.bodies) == sorted(files)
    assert {name: b"".join(reader.chunks(name)) for name in reader.bodies} == files
    rows = [row(name, files[name]) for name in sorted(files)]
    assert data == framed(*rows, bodies=b"".join(files[name] for name in sorted(files)), magic=magic)


def test_a_header_and_bodies_make_the_same_file() -> None:
    """A writer that cannot hold the bodies writes the header and then streams them."""
    index = [framing.Body(name, len(body), hashlib.sha256(body).hexdigest()) for name, body in FILES.items()]
    assert framing.header(framing.EXPORT, index) + b"".join(FILES.values()) == framing.write(framing.EXPORT, FILES)


def test_every_cut_is_refused() -> None:
    """A file cut at any point is refused, by the reader in memory and, before any body, by the streaming one."""
    data = framing.write(framing.EXPORT, FILES)
    for length in range(len(data)):
        with pytest.raises(Malformed):
            framing.read(data[:length], framing.EXPORT)
        with pytest.raises(Malformed):
            opened(data[:length])


@settings(max_examples=50, deadline=None)
@given(files=contents, data=st.data())
def test_any_cut_of_any_file_is_refused(files: dict[str, bytes], data: st.DataObject) -> None:
    """The same for arbitrary files at an arbitrary point, and for any bytes that follow the last body."""
    whole = framing.write(framing.BUNDLE, files)
    length = data.draw(st.integers(0, len(whole) - 1))
    extra = data.draw(st.binary(min_size=1, max_size=9))
    for wrong in (whole[:length], whole + extra):
        with pytest.raises(Malformed):
            framing.read(wrong, framing.BUNDLE)


def test_any_flipped_bit_is_refused() -> None:
    """Every single bit of a file, in the magic, the index or a body: never read as something else."""
    data = framing.write(framing.BUNDLE, FILES)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            found = framing.read(bytes(changed), framing.BUNDLE)
        except Malformed:
            continue
        assert set(found) != set(FILES)  # only a name can change unseen; who signs the names notices
        assert list(found.values()) == list(FILES.values())


DIGEST = hashlib.sha256(b"").hexdigest()
BAD_INDEXES: dict[str, bytes] = {
    "nothing": b"",
    "another file": b"PK\x03\x04" + bytes(60),
    "magic alone": framing.BUNDLE,
    "no index": framing.BUNDLE + b"\n",
    "an index that is no object": framing.BUNDLE + b"[]\n",
    "an index without files": framing.BUNDLE + b"{}\n",
    "files that are no array": framing.BUNDLE + b'{"files":{}}\n',
    "a row that is no object": framed("a"),
    "a member more beside files": framed(row("a"), comment="x"),
    "a member more in a row": framed(row("a", mode=420)),
    "a member less in a row": framed({"length": 0, "name": "a"}),
    "a carriage return": framing.BUNDLE + b'{"files":[]}\r\n',
    "a space": framing.BUNDLE + b'{"files": []}\n',
    "members out of order": framing.BUNDLE + f'{{"files":[{{"name":"a","length":0,"sha256":"{DIGEST}"}}]}}\n'.encode(),
    "a duplicate member": framing.BUNDLE + b'{"files":[],"files":[]}\n',
    "deep nesting": framing.BUNDLE + b'{"files":' + b"[" * 60_000 + b"]" * 60_000 + b"}\n",
    "an index that is not UTF-8": framing.BUNDLE + b'{"files":["\xff"]}\n',
    "length below 0": framed(row("a", length=-1)),
    "length as text": framed(row("a", length="0")),
    "length as a float": framing.BUNDLE + f'{{"files":[{{"length":0.0,"name":"a","sha256":"{DIGEST}"}}]}}\n'.encode(),
    "length beyond the file": framed(row("a", b"x", length=2), bodies=b"x"),
    "a huge length": framed(row("a", length=2**53 - 1)),
    "lengths that cancel": framed(row("a", b"x", length=2), row("b", b"x", length=0), bodies=b"xx"),
    "another digest": framed(row("a", b"x"), bodies=b"y"),
    "bodies swapped": framed(row("a", b"x"), row("b", b"y"), bodies=b"yx"),
    "an upper-case digest": framed(row("a", sha256=DIGEST.upper())),
    "a short digest": framed(row("a", sha256=DIGEST[:-2])),
    "not sorted": framed(row("b"), row("a")),
    "a name twice": framed(row("a"), row("a")),
    "a body and a folder": framed(row("a"), row("a/b")),
    "a body and a folder apart": framed(row("a/b"), row("a/b-c"), row("a/b/c")),
    "an index over a mebibyte": framed(*(row(f"{number:05d}" + "n" * 120) for number in range(4_096 * 2))),
    "an index line over a mebibyte": framing.BUNDLE + b" " * 2**20 + b'{"files":[]}\n',
}


@pytest.mark.parametrize("what", BAD_INDEXES)
def test_a_bad_index_is_refused(what: str) -> None:
    """Whatever is wrong with the lines before the bodies, or between them and the bodies, is malformed."""
    with pytest.raises(Malformed):
        framing.read(BAD_INDEXES[what], framing.BUNDLE)


def test_the_helper_of_the_bad_indexes_is_right_otherwise() -> None:
    """Without the damage such a file reads, so each refusal above has the cause it names."""
    assert framing.read(framed(row("a", b"x"), row("b", b"y"), bodies=b"xy"), framing.BUNDLE) == {"a": b"x", "b": b"y"}
    assert framing.read(framed(), framing.BUNDLE) == {}


BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/../b",
    "a/..",
    "/a",
    "a/",
    "a//b",
    "./a",
    ".hidden",
    "-rf",
    "_a",
    "A",
    "a b",
    "a\\b",
    "a:b",
    "c:/x",
    "a\x00",
    "a\n",
    "\u00e9",
    "a\u202e",
    "a?b",
    "a#b",
    "~a",
    "a/b/c/d/e",
    "n" * 129,
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    """No name leaves its folder, hides, moves a cursor or grows; neither reader nor writer lets it pass."""
    with pytest.raises(Malformed):
        framing.read(framed(row(name)), framing.BUNDLE)
    with pytest.raises(ValueError, match="name"):
        framing.write(framing.BUNDLE, {name: b""})


@pytest.mark.parametrize("name", ["a", "0", "a.b", "a..b", "1.root.json", "a/b/c/d", "n" * 128, "a-_.z"])
def test_ordinary_names_are_fine(name: str) -> None:
    """Up to four segments and 128 characters."""
    assert framing.read(framing.write(framing.BUNDLE, {name: b"x"}), framing.BUNDLE) == {name: b"x"}


def test_a_writer_is_held_to_the_readers_rules() -> None:
    """An index that readers would refuse is the caller's mistake."""
    ok = framing.Body("a", 0, DIGEST)
    for index, why in (
        ([framing.Body("b", 0, DIGEST), ok], "not sorted"),
        ([ok, ok], "not sorted or names something twice"),
        ([framing.Body("a", -1, DIGEST)], "below 0"),
        ([framing.Body("a", 0, DIGEST.upper())], "lower-case hexadecimal"),
        ([ok, framing.Body("a/b", 0, DIGEST)], "both a body and a folder"),
        ([framing.Body(f"{number:05d}", 0, DIGEST) for number in range(11_000)], "at most 1048576"),
        ([framing.Body("a", 2**53, DIGEST)], "an integer beyond"),
    ):
        with pytest.raises(ValueError, match=why):
            framing.header(framing.EXPORT, index)


def test_the_refusal_says_what_the_file_is_instead() -> None:
    """An export where a bundle belongs, a later version, and something else each get a sentence of their own."""
    export = framing.write(framing.EXPORT, FILES)
    with pytest.raises(Malformed, match="this is a coldcred export of version 1, not a 'coldcred-bundle 1' file"):
        framing.read(export, framing.BUNDLE)
    with pytest.raises(Malformed, match="coldcred bundle of version 2"):
        framing.read(framed(magic=b"coldcred-bundle 2\n"), framing.BUNDLE)
    with pytest.raises(Malformed, match="coldcred bundle of version 10"):
        framing.read(framed(magic=b"coldcred-bundle 10\n"), framing.BUNDLE)
    with pytest.raises(Malformed, match="not a Coldcred file"):
        framing.read(b"\x1f\x8b" + bytes(100), framing.BUNDLE)


def test_a_large_file_is_refused_unread() -> None:
    """The limit is on the whole file and comes first; the limit itself is read."""
    data = framing.write(framing.BUNDLE, FILES)
    assert framing.read(data, framing.BUNDLE, max_bytes=len(data)) == FILES
    with pytest.raises(Malformed, match="at most"):
        framing.read(data, framing.BUNDLE, max_bytes=len(data) - 1)
    with pytest.raises(Malformed, match="at most 33554432"):
        framing.read(bytes(framing.MAX_BUNDLE + 1), framing.BUNDLE)


def test_an_index_of_a_mebibyte_is_read() -> None:
    """The index line has at most 2^20 bytes before its newline: that is read and written, one byte more is not."""
    size = 2**20
    names = [f"{number:04d}{'n' * 60}" for number in range(6_000)]
    longer, rest = divmod(size - len(framed(*map(row, names)).split(b"\n")[1]), 60)
    names[:longer] = [name + "n" * 60 for name in names[:longer]]
    names[longer] += "n" * rest
    exact = framed(*map(row, names))
    assert len(exact.split(b"\n")[1]) == size
    assert framing.header(framing.BUNDLE, [framing.Body(name, 0, DIGEST) for name in names]) == exact
    assert list(framing.read(exact, framing.BUNDLE)) == names
    names[-1] += "n"
    with pytest.raises(Malformed, match="cut short or longer than 1048576 bytes"):
        framing.read(framed(*map(row, names)), framing.BUNDLE)
    with pytest.raises(ValueError, match="at most 1048576"):
        framing.header(framing.BUNDLE, [framing.Body(name, 0, DIGEST) for name in names])


def test_a_cut_is_told_from_an_excess() -> None:
    """The sentence says which of the two it is, and by how much."""
    data = framing.write(framing.BUNDLE, {"a": b"body"})
    with pytest.raises(Malformed, match=rf"is cut short: {len(data) - 1} bytes where its index adds up to {len(data)}"):
        framing.read(data[:-1], framing.BUNDLE)
    with pytest.raises(Malformed, match="has bytes after its last body"):
        framing.read(data + b"\n", framing.BUNDLE)
    with pytest.raises(Malformed, match="the index line is cut short"):
        framing.read(data.split(b"body", maxsplit=1)[0][:-1], framing.BUNDLE)


# --- the streaming reader


def test_lines_come_out_whole_wherever_chunks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are the same for every chunk size, empty ones included, and can be read again."""
    body = b"first\n\nthird line\n" + b"x" * 40 + b"\n"
    reader = opened(framing.write(framing.EXPORT, {"entries": body, "other": body[::-1]}))
    for size in range(1, len(body) + 2):
        monkeypatch.setattr(framing, "CHUNK", size)
        assert list(reader.lines("entries")) == body.split(b"\n")[:-1]
        assert reader.read("other") == body[::-1]


def test_bodies_read_in_turns_do_not_mix() -> None:
    """Each iterator keeps its own place in the one stream."""
    mine, theirs = bytes(600_000), b"\xff" * 600_000
    reader = opened(framing.write(framing.EXPORT, {"mine": mine, "theirs": theirs}))
    pieces = list(zip(reader.chunks("mine"), reader.chunks("theirs"), strict=True))
    assert len(pieces) > 1
    assert b"".join(one for one, _ in pieces) == mine
    assert b"".join(other for _, other in pieces) == theirs


def test_lines_are_bounded() -> None:
    """A line has at most 64 KiB with its newline, also when it never ends."""
    longest = b"a" * (framing.MAX_LINE - 1) + b"\n"
    assert list(opened(framing.write(framing.EXPORT, {"e": longest * 2})).lines("e")) == [longest[:-1]] * 2
    for body in (b"a" + longest, b"x\n" + b"a" * (5 * framing.MAX_LINE), b"x\n" + b"a" * framing.MAX_LINE):
        reader = opened(framing.write(framing.EXPORT, {"e": body}))
        with pytest.raises(Malformed, match="a line longer than 65536 bytes"):
            list(reader.lines("e"))
    with pytest.raises(Malformed, match="longer than 3 bytes"):
        list(opened(framing.write(framing.EXPORT, {"e": b"ab\nabc\n"})).lines("e", max_line=3))


def test_a_last_line_without_newline_is_refused() -> None:
    """A body of lines ends with a newline; an empty body has no lines."""
    reader = opened(framing.write(framing.EXPORT, {"e": b"one\ntwo", "none": b""}))
    with pytest.raises(Malformed, match="does not end with a newline"):
        list(reader.lines("e"))
    assert list(reader.lines("none")) == []


def test_a_changed_body_is_refused_at_its_end() -> None:
    """Reading goes on to the end of the body, and then the digest decides, for chunks, lines and whole bodies."""
    data = framing.write(framing.EXPORT, {"e": b"one\ntwo\n", "f": b"three\n"})
    changed = data.replace(b"two", b"twO")
    got: list[bytes] = []
    with pytest.raises(Malformed, match="e does not have the SHA-256"):
        got.extend(opened(changed).lines("e"))
    assert got == [b"one", b"twO"]
    for read in (opened(changed).read, lambda name: list(opened(changed).chunks(name))):
        with pytest.raises(Malformed, match="e does not have the SHA-256"):
            read("e")
    assert opened(changed).read("f") == b"three\n"


def test_an_absent_body_is_refused_by_name() -> None:
    """Asking for what the index does not hold is answered with the name."""
    reader = opened(framing.write(framing.EXPORT, {"e": b""}))
    for ask in (reader.read, lambda name: list(reader.chunks(name)), lambda name: list(reader.lines(name))):
        with pytest.raises(Malformed, match="the file holds no entries"):
            ask("entries")


def test_a_body_larger_than_asked_for_is_not_read() -> None:
    """A small document is read with a small limit."""
    reader = opened(framing.write(framing.EXPORT, {"e": bytes(100)}))
    assert reader.read("e", max_bytes=100) == bytes(100)
    with pytest.raises(Malformed, match="100 bytes where at most 99"):
        reader.read("e", max_bytes=99)


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """A body that ends early is cut short, not silently shorter."""
    path = tmp_path / "log.export"
    path.write_bytes(framing.write(framing.EXPORT, {"e": bytes(3 * framing.CHUNK)}))
    with path.open("r+b") as stream:
        chunks = framing.FramedFile(stream, framing.EXPORT).chunks("e")
        assert len(next(chunks)) == framing.CHUNK
        stream.truncate(path.stat().st_size - framing.CHUNK)
        with pytest.raises(Malformed, match=f"e is cut short: {framing.CHUNK} of its"):
            list(chunks)


class Sparse(io.RawIOBase):
    """A stream of a header, then as many zero bytes as asked for, that exists only in arithmetic."""

    def __init__(self, head: bytes, zeros: int) -> None:
        super().__init__()
        self._head, self._size, self._at = head, len(head) + zeros, 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move."""
        self._at = self._size + offset if whence == io.SEEK_END else offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer."""
        count = min(len(buffer), self._size - self._at)
        part = self._head[self._at : self._at + count]
        buffer[:count] = part + bytes(count - len(part))
        self._at += count
        return count


def zeros_digest(count: int) -> str:
    """Return the SHA-256 of that many zero bytes."""
    digest = hashlib.sha256()
    block = bytes(2**20)
    for _ in range(count // len(block)):
        digest.update(block)
    digest.update(bytes(count % len(block)))
    return digest.hexdigest()


def test_an_export_of_any_size_is_read_in_little_memory() -> None:
    """Half a gibibyte streams through less than four mebibytes, and its digest is checked."""
    size = 2**29 + 12_345
    head = framing.header(framing.EXPORT, [framing.Body("e", size, zeros_digest(size)), framing.Body("z", 0, DIGEST)])
    stream = cast("BinaryIO", io.BufferedReader(Sparse(head, size)))
    tracemalloc.start()
    try:
        total = sum(len(chunk) for chunk in framing.FramedFile(stream, framing.EXPORT).chunks("e"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == size
    assert peak < 4 * 2**20


def test_an_index_of_many_gibibytes_is_only_arithmetic() -> None:
    """Offsets beyond 4 GiB work: a file of 6 GiB opens, its small bodies read, and one byte less is refused."""
    size = 6 * 2**30
    rows = [framing.Body("a", size, "0" * 64), framing.Body("b", 3, hashlib.sha256(bytes(3)).hexdigest())]
    head = framing.header(framing.EXPORT, rows)
    reader = framing.FramedFile(cast("BinaryIO", io.BufferedReader(Sparse(head, size + 3))), framing.EXPORT)
    assert reader.read("b") == bytes(3)
    with pytest.raises(Malformed, match="cut short"):
        framing.FramedFile(cast("BinaryIO", io.BufferedReader(Sparse(head, size + 2))), framing.EXPORT)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([b"", framing.BUNDLE, framing.BUNDLE + b'{"files":[']))
def test_noise_is_malformed(noise: bytes, before: bytes) -> None:
    """Arbitrary bytes, alone or after a good beginning, end in the one typed refusal."""
    with pytest.raises(Malformed):
        framing.read(before + noise, framing.BUNDLE)


def every_refusal() -> Iterator[bytes]:
    """Yield every bad file of this module."""
    yield from BAD_INDEXES.values()
    yield from (framed(row(name)) for name in BAD_NAMES)


def test_refusals_are_one_clean_line() -> None:
    """A refusal's sentence is short printable ASCII: nothing in a file can move a cursor through it."""
    for data in every_refusal():
        with pytest.raises(Malformed) as caught:
            framing.read(data, framing.BUNDLE)
        sentence = str(caught.value)
        assert sentence.isascii()
        assert sentence.isprintable()
        assert 0 < len(sentence) < 300
