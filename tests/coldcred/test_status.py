"""Token status lists: one bit a credential, a fixed size, and inflation that cannot run away.

Foreign vectors: draft-ietf-oauth-status-list, section 4.1 (two bytes, at the zlib level: our lists have one size) and
appendix "Test vectors for Status List encoding", the 1-bit list of 2^20 entries, which is exactly our size.
"""

import contextlib
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred import status
from coldcred.canonical import MAX_INTEGER, Json, b64u_decode, b64u_encode, dumps, loads
from coldcred.errors import Malformed
from coldcred.record import MAX_TIME
from coldcred.status import SIZE, SIZE_BYTES, IndexSet, StatusList, bits_with
from tests.support.effort import effort
from tests.support.values import JSON_VALUES, MISSING, THOROUGH, edited

URI = "https://issuer.plant-a.example/status/1"

DRAFT_LST = (
    "eNrt3AENwCAMAEGogklACtKQPg9LugC9k_ACvreiogEAAKkeCQAAAAAAAAAAAAAAAAAAAIBylgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAXG9IAAAAAAAAAPwsJAAAAAAAAAAAAAAAvhsSAAAAAAAAAAAA7KpLAAAAAAAAAAAAAAAAAAAAAJsLCQAAAAAAAAAAADjelAAAAAAAAAAA"
    "KjDMAQAAAACAZC8L2AEb"
)
DRAFT_SET = frozenset({0, 1993, 25460, 159495, 495669, 554353, 645645, 723232, 854545, 934534, 1000345})


def claims(lst: str | None = None) -> dict[str, Json]:
    """Give the claims of an all-clear list, with another `lst` if given."""
    made = StatusList(URI, bytes(SIZE_BYTES), 1_795_000_000, 1_795_090_000, 3600).claims()
    return made if lst is None else edited(made, ["status_list", "lst"], lst)


def packed(data: bytes) -> str:
    """Give what stands in `lst` for these inflated bytes."""
    return b64u_encode(zlib.compress(data, 9))


def test_the_drafts_example_at_the_zlib_level() -> None:
    """Bytes b9 a3 are `eNrbuRgAAhcBXQ`; their 16 statuses, from the least significant bit, are the draft's."""
    assert packed(bytes.fromhex("b9a3")) == "eNrbuRgAAhcBXQ"
    assert zlib.decompress(b64u_decode("eNrbuRgAAhcBXQ")).hex() == "b9a3"
    set_in_the_draft = {0, 3, 4, 5, 7, 8, 9, 13, 15}
    assert bits_with(set_in_the_draft)[:2].hex() == "b9a3"
    with pytest.raises(Malformed, match="not exactly 131072 bytes"):
        status.parse(dumps(claims("eNrbuRgAAhcBXQ")))


def test_the_drafts_vector_of_our_size() -> None:
    """The 1-bit list of 2^20 entries is read, and the bits that are set are the eleven that the draft sets."""
    read = status.parse(dumps(claims(DRAFT_LST)))
    assert read.bits == bits_with(DRAFT_SET)
    assert {index for index in range(SIZE) if read.is_set(index)} == DRAFT_SET


def test_what_is_written_is_read_back() -> None:
    """Every member survives, and so do the first and the last bit."""
    written = StatusList(URI, bits_with({0, 7, 8, SIZE - 1}), 1_795_000_000, 1_795_090_000, 3600)
    payload = dumps(written.claims())
    read = status.parse(payload)
    assert read == written
    assert [index for index in (0, 1, 7, 8, 9, SIZE - 2, SIZE - 1) if read.is_set(index)] == [0, 7, 8, SIZE - 1]
    assert status.parse_uri(payload) == URI


def test_the_largest_list_fits_a_token() -> None:
    """Random bits do not compress; even so the list is read back within the size of a status list token."""
    noise = b"".join(zlib.crc32(number.to_bytes(4)).to_bytes(4) for number in range(SIZE_BYTES // 4))
    written = StatusList(URI, noise, 1_795_000_000, 1_795_090_000, 3600)
    payload = dumps(written.claims())
    assert SIZE_BYTES < len(payload) < status.MAX_TOKEN * 3 // 4
    assert status.parse(payload) == written


@pytest.mark.parametrize("index", [-1, -SIZE, SIZE, SIZE + 1, MAX_INTEGER])
def test_indices_outside_the_list(index: int) -> None:
    """They are an `IndexError` for reading and for writing; a negative one does not count from the end."""
    listed = StatusList(URI, bits_with(set()), 0, 1, 1)
    with pytest.raises(IndexError):
        listed.is_set(index)
    with pytest.raises(IndexError):
        bits_with({index})
    with pytest.raises(IndexError):
        assert index in IndexSet()


@pytest.mark.parametrize("size", [0, 1, SIZE_BYTES - 1, SIZE_BYTES + 1])
def test_a_list_has_one_size(size: int) -> None:
    """Another size is the caller's mistake when writing and `Malformed` when reading."""
    with pytest.raises(ValueError, match="131072 bytes"):
        StatusList(URI, bytes(size), 0, 1, 1)
    with pytest.raises(Malformed, match="not exactly 131072 bytes"):
        status.parse(dumps(claims(packed(bytes(size)))))


def _streams() -> dict[str, str]:
    good = zlib.compress(bytes(SIZE_BYTES), 9)
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    with_dictionary = zlib.compressobj(9, zlib.DEFLATED, 15, zdict=b"coldcred")
    gzipped = zlib.compressobj(9, zlib.DEFLATED, 31)
    return {
        "empty": b64u_encode(b"\x00"),
        "no zlib": b64u_encode(b"\xff" * 40),
        "cut": b64u_encode(good[:-1]),
        "cut early": b64u_encode(good[:20]),
        "trailing byte": b64u_encode(good + b"\x00"),
        "two streams": b64u_encode(good + good),
        "wrong checksum": b64u_encode(good[:-1] + bytes([good[-1] ^ 1])),
        "raw deflate": b64u_encode(raw.compress(bytes(SIZE_BYTES)) + raw.flush()),
        "gzip": b64u_encode(gzipped.compress(bytes(SIZE_BYTES)) + gzipped.flush()),
        "preset dictionary": b64u_encode(with_dictionary.compress(bytes(SIZE_BYTES)) + with_dictionary.flush()),
        "padded": packed(bytes(SIZE_BYTES)) + "=",
        "other alphabet": packed(bytes(SIZE_BYTES)) + "+",
    }


STREAMS = _streams()


@pytest.mark.parametrize("subject", STREAMS)
def test_other_streams_are_refused(subject: str) -> None:
    """Exactly one whole zlib stream of exactly the size, canonically encoded."""
    with pytest.raises(Malformed):
        status.parse(dumps(claims(STREAMS[subject])))


def test_a_bomb_does_not_go_off() -> None:
    """A list that would inflate to 256 MiB is refused in little memory, and costs under fifty times its text."""
    body = zlib.compressobj(9)
    bomb = b"".join(body.compress(bytes(1024 * 1024)) for _ in range(256)) + body.flush()
    payload = dumps(claims(b64u_encode(bomb)))
    assert len(payload) < status.MAX_TOKEN

    def refused() -> None:
        with pytest.raises(Malformed, match="not exactly"):
            status.parse(payload)

    tracemalloc.start()
    refused()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
    assert effort(refused) < 50 * effort(lambda: loads(payload, max_bytes=status.MAX_TOKEN))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["sub"], MISSING),
        (["sub"], "http://issuer.plant-a.example/status/1"),
        (["sub"], 1),
        (["iat"], MISSING),
        (["iat"], 1_795_090_000),
        (["iat"], -1),
        (["exp"], MISSING),
        (["exp"], 1_795_000_000),
        (["exp"], MAX_TIME + 1),
        (["ttl"], MISSING),
        (["ttl"], 0),
        (["ttl"], MAX_INTEGER),
        (["ttl"], True),
        (["status_list"], MISSING),
        (["status_list"], []),
        (["status_list", "bits"], 2),
        (["status_list", "bits"], True),
        (["status_list", "bits"], MISSING),
        (["status_list", "lst"], MISSING),
        (["status_list", "lst"], ""),
        (["status_list", "lst"], [DRAFT_LST]),
        (["status_list", "aggregation_uri"], "https://issuer.plant-a.example/lists"),
        (["iss"], "https://issuer.plant-a.example"),
    ],
)
def test_other_claims_are_refused(path: list[str | int], value: object) -> None:
    """Members missing, of another form or unknown here, and a list that ends before it begins."""
    with pytest.raises(Malformed):
        status.parse(dumps(edited(claims(), path, value)))


def test_a_payload_is_bounded() -> None:
    """More than 512 KiB are refused unread."""
    with pytest.raises(Malformed, match="at most 524288"):
        status.parse(dumps(claims()) + b" " * status.MAX_TOKEN)
    with pytest.raises(Malformed, match="at most 524288"):
        status.parse_uri(dumps(claims()) + b" " * status.MAX_TOKEN)


@THOROUGH
@given(st.sets(st.integers(0, SIZE - 1), max_size=20))
def test_exactly_the_given_bits_are_set(indices: set[int]) -> None:
    """As many bits as indices, each where it belongs."""
    listed = StatusList(URI, bits_with(indices), 0, 1, 1)
    assert all(listed.is_set(index) for index in indices)
    assert int.from_bytes(listed.bits).bit_count() == len(indices)


@THOROUGH
@given(st.lists(st.integers(0, SIZE - 1), max_size=20))
def test_a_set_of_indices_counts_what_is_in_it(indices: list[int]) -> None:
    """An index is new once; the set knows how many it has, which, and their bits."""
    found = IndexSet()
    assert [found.add(index) for index in indices] == [
        index not in indices[:place] for place, index in enumerate(indices)
    ]
    assert len(found) == len(set(indices))
    assert all(
        (index in found) == (index in indices) for index in (*indices, *((index + 1) % SIZE for index in indices))
    )
    assert found.bits() == bits_with(set(indices))
    assert list(IndexSet(indices).bits()) == list(found.bits())


@THOROUGH
@given(JSON_VALUES, st.sampled_from([["sub"], ["iat"], ["exp"], ["ttl"], ["status_list"], ["status_list", "lst"]]))
def test_any_claims_are_read_or_malformed(value: Json, path: list[str | int]) -> None:
    """No JSON value in any place makes the readers raise anything but `Malformed`."""
    for payload in (dumps(edited(claims(), path, value)), dumps(value)):
        for read in (status.parse, status.parse_uri):
            with contextlib.suppress(Malformed):
                read(payload)
