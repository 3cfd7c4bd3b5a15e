"""Entries: one spelling, verbatim bytes, small."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldcred.canonical import Json
from coldcred.errors import LogReason, LogRejected, Malformed
from coldcred.log import entry, tree

TIME = 1_790_000_000
FIRST = b'{"event":{"type":"start"},"prev":"' + b"0" * 64 + b'","seq":0,"time":1790000000,"v":1}'
SECOND_PREV = "a02b9de7b3d1c2d2ea92dbfd1eb3d7f5f2b6a8e7c9d0b1a2938475665748392a"

scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
events = st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=8), values, max_size=5).map(
    lambda members: {**members, "type": "credential.issued"}
)


def document(**members: Json) -> dict[str, Json]:
    """Return the second entry of a log as an object, with members replaced."""
    return {"event": {"type": "x"}, "prev": SECOND_PREV, "seq": 1, "time": TIME, "v": 1, **members}


def canonical(value: Json) -> bytes:
    """Return canonical JSON, written without the code under test."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_first_entry_has_these_bytes() -> None:
    """The golden bytes of a first entry; readers of every later version must accept them."""
    written = entry.write(0, TIME, entry.NO_PREV, {"type": "start"})
    assert written.body == FIRST
    assert written.digest == hashlib.sha256(FIRST).digest()
    assert written.leaf == hashlib.sha256(b"\x00" + FIRST).digest() == tree.leaf_hash(FIRST)
    assert (written.seq, written.time, written.prev, written.type) == (0, TIME, bytes(32), "start")
    assert entry.parse(FIRST) == written


@settings(max_examples=200, deadline=None)
@given(
    seq=st.integers(1, 2**53 - 1),
    time=st.integers(0, 2**53 - 1),
    prev=st.binary(min_size=32, max_size=32).filter(any),
    event=events,
)
def test_what_is_written_reads_back(seq: int, time: int, prev: bytes, event: dict[str, Json]) -> None:
    """Writing and reading agree on every member, and the bytes are those of an independent encoder."""
    written = entry.write(seq, time, prev, event)
    assert entry.parse(written.body) == written
    assert (written.seq, written.time, written.prev, written.event) == (seq, time, prev, event)
    assert written.body == canonical({"event": event, "prev": prev.hex(), "seq": seq, "time": time, "v": 1})


def test_an_entry_is_not_changed_through_the_event_it_was_made_from() -> None:
    """The entry holds what its bytes say, whatever the caller does with his own event afterwards."""
    event: dict[str, Json] = {"type": "x", "names": ["a"]}
    written = entry.write(0, TIME, entry.NO_PREV, event)
    event["names"] = ["b"]
    assert written.event == {"type": "x", "names": ["a"]}


def test_the_limit_is_one_byte_below_64_kib() -> None:
    """The largest entry is 65,535 bytes; one byte more is refused on both sides, as too large and with its number."""
    room = entry.MAX_BODY - len(entry.write(1, TIME, bytes([1]) * 32, {"type": "x", "pad": ""}).body)
    assert entry.MAX_BODY == 65_535
    largest = entry.write(1, TIME, bytes([1]) * 32, {"type": "x", "pad": "a" * room})
    assert len(largest.body) == entry.MAX_BODY
    assert entry.parse(largest.body) == largest
    with pytest.raises(LogRejected) as refusal:
        entry.write(1, TIME, bytes([1]) * 32, {"type": "x", "pad": "a" * (room + 1)})
    assert (refusal.value.reason, refusal.value.seq) == (LogReason.TOO_LARGE, 1)
    with pytest.raises(Malformed, match="at most 65535"):
        entry.parse(largest.body.replace(b'"pad":"', b'"pad":"a'))


def test_multibyte_text_counts_in_bytes() -> None:
    """The limit is one of bytes, not of characters."""
    with pytest.raises(LogRejected) as refusal:
        entry.write(1, TIME, bytes([1]) * 32, {"type": "x", "pad": "\u00e9" * 33_000})
    assert refusal.value.reason is LogReason.TOO_LARGE


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"type": "x", "share": 0.5}, "no canonical form for a float"),
        ({"type": "x", "n": 2**53}, r"beyond 2\^53-1"),
        ({"type": "x", "lone": "\ud800"}, "surrogates not allowed"),
        ({"type": "x", "\u00e9": 1}, "not ASCII"),
        ({"type": "x", "bytes": b"raw"}, "no canonical form for a bytes"),
        ({"type": "x", "deep": [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}, "nested deeper"),
        ({"type": "x", "edge": [[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}, "nested deeper"),
        ({}, "not the name of an event"),
        ({"type": ""}, "not the name of an event"),
        ({"type": 1}, "not the name of an event"),
        ({"type": "Issued"}, "not the name of an event"),
        ({"type": "two words"}, "not the name of an event"),
        ({"type": "x" * 65}, "not the name of an event"),
    ],
    ids=ascii,
)
def test_events_that_could_not_be_read_again_are_not_written(event: dict[str, Json], why: str) -> None:
    """Floats, large numbers, lone surrogates, deep nesting, nameless events and their like are the caller's mistake."""
    with pytest.raises(ValueError, match=why):
        entry.write(1, TIME, bytes([1]) * 32, event)


@pytest.mark.parametrize(
    ("seq", "time", "prev", "why"),
    [
        (-1, TIME, bytes([1]) * 32, "'seq' is below 0"),
        (1, -1, bytes([1]) * 32, "'time' is below 0"),
        (2**53, TIME, bytes([1]) * 32, r"beyond 2\^53-1"),
        (1, TIME, bytes(31), "'prev'"),
        (1, TIME, bytes(32), "64 zeros"),
        (0, TIME, bytes([1]) * 32, "64 zeros"),
    ],
)
def test_entries_that_cannot_stand_in_a_chain_are_not_written(seq: int, time: int, prev: bytes, why: str) -> None:
    """Negative or huge numbers, a prev of another length, and zeros anywhere but in the first entry."""
    with pytest.raises(ValueError, match=why):
        entry.write(seq, time, prev, {"type": "x"})


REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"entry",
    "an array": b"[]",
    "trailing newline": FIRST + b"\n",
    "trailing bytes": FIRST + b"{}",
    "byte order mark": b"\xef\xbb\xbf" + FIRST,
    "a space": FIRST.replace(b'":0', b'": 0'),
    "members out of order": b'{"v":1,' + FIRST[1:-7] + b"}",
    "an escape where none is needed": FIRST.replace(b"start", b"st\\u0061rt"),
    "a duplicate member": FIRST.replace(b'"seq":0', b'"seq":0,"seq":0'),
    "another version": FIRST.replace(b'"v":1', b'"v":2'),
    "upper-case hex": canonical(document(prev=SECOND_PREV.upper())),
    "short prev": canonical(document(prev=SECOND_PREV[:-1])),
    "prev of no text": canonical(document(prev=0)),
    "zeros in a later entry": canonical(document(prev="0" * 64)),
    "no zeros in the first": canonical(document(seq=0)),
    "seq below 0": canonical(document(seq=-1)),
    "seq as text": canonical(document(seq="1")),
    "seq as a truth value": canonical(document(seq=True)),
    "seq as a float": FIRST.replace(b'"seq":0', b'"seq":0.0'),
    "seq beyond 2^53-1": canonical(document(seq=2**53)),
    "time below 0": canonical(document(time=-1)),
    "no time": canonical({name: value for name, value in document().items() if name != "time"}),
    "no event": canonical({name: value for name, value in document().items() if name != "event"}),
    "event as an array": canonical(document(event=["x"])),
    "event without a type": canonical(document(event={})),
    "event type as a number": canonical(document(event={"type": 7})),
    "event type with a capital": canonical(document(event={"type": "Issue"})),
    "event type with a newline": canonical(document(event={"type": "issue\n"})),
    "a member nobody knows": canonical(document(extra=1)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_reading_is_strict(what: str) -> None:
    """Anything that `write` would not have written is malformed."""
    with pytest.raises(Malformed):
        entry.parse(REFUSED[what])


def test_the_documents_that_are_damaged_above_are_right_otherwise() -> None:
    """Without the damage the document reads, so each refusal above has the cause it names."""
    assert entry.parse(canonical(document())).seq == 1


def test_every_cut_of_an_entry_is_refused() -> None:
    """No prefix of an entry is an entry."""
    for length in range(len(FIRST)):
        with pytest.raises(Malformed):
            entry.parse(FIRST[:length])
