"""Strict JSON, base64url and digests.

Foreign vectors: RFC 8785 sections 3.2.2 to 3.2.4 and the test data of its authors' repository
(cyberphone/json-canonicalization, `testdata`) as far as they lie in our subset; JSONTestSuite
(tests/vectors/README.md); RFC 4648 section 10. Where a document is valid JSON outside our subset, the test says so.
"""

import base64
import binascii
import contextlib
import hashlib
import json
import math
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred.canonical import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_INTEGER,
    Json,
    b64u_decode,
    b64u_encode,
    dumps,
    hex_digest,
    loads,
    loads_canonical,
    sha256,
    sha256_hex,
)
from coldcred.errors import Malformed
from tests.support.effort import effort
from tests.support.values import ANY_TEXT, JSON_VALUES, LOOSE_JSON, NAMES, THOROUGH, loose_bytes

SUITE = Path(__file__).parents[1] / "vectors" / "json-test-suite" / "parsing.json"
SUITE_SHA256 = "45fec35cfba00a813dd94df3da93763cdfb1f4406747d5c8ba7b935cde14034a"

OUTSIDE_OUR_SUBSET = {
    "y_number",
    "y_number_0e+1",
    "y_number_0e1",
    "y_number_double_close_to_zero",
    "y_number_int_with_exp",
    "y_number_minus_zero",
    "y_number_negative_zero",
    "y_number_real_capital_e",
    "y_number_real_capital_e_neg_exp",
    "y_number_real_capital_e_pos_exp",
    "y_number_real_exponent",
    "y_number_real_fraction_exponent",
    "y_number_real_neg_exp",
    "y_number_real_pos_exponent",
    "y_number_simple_real",
    "y_object_duplicated_key",
    "y_object_duplicated_key_and_value",
    "y_object_extreme_numbers",
    "y_structure_lonely_negative_real",
}
"""Valid JSON that two parsers may read differently: fractions, exponents, a negative zero, duplicate members."""


def nested(depth: int, kind: str = "[]") -> bytes:
    """Give `depth` arrays or objects inside each other."""
    opening, closing = ("[", "]") if kind == "[]" else ('{"a":', "}")
    inner = "" if kind == "[]" else "0"
    return (opening * depth + inner + closing * depth).encode()


def deeper(value: object, levels: int) -> object:
    """Give `value` inside that many arrays and objects."""
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def suite() -> dict[str, str]:
    """Give JSONTestSuite's documents by name."""
    data = SUITE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == SUITE_SHA256
    documents: dict[str, str] = json.loads(data)
    assert len(documents) == 291
    return documents


@pytest.mark.parametrize(
    ("data", "canonical"),
    [
        (b'[\n  56,\n  {\n    "d": true,\n    "10": null,\n    "1": [ ]\n  }\n]', b'[56,{"1":[],"10":null,"d":true}]'),
        (b'    "this is a test string 1235"', b'"this is a test string 1235"'),
        (
            b'{\n  "Unnormalized Unicode":"\\u1e0d\\u0307"\n}\n',
            '{"Unnormalized Unicode":"\u1e0d\u0307"}'.encode(),
        ),
        (
            # structures.json with 56 for its 56.0, which is a float and refused below
            b'{"1": {"f": {"f": "hi","F": 5} ,"\\n": 56},"10": { },"": "empty","a": { },"111": [ { } ],"A": { }}',
            b'{"":"empty","1":{"\\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{}],"A":{},"a":{}}',
        ),
        (
            # values.json (RFC 8785 section 3.2.2) without its floating point numbers
            b'{"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/", "literals": [null, true, false]}',
            '{"literals":[null,true,false],"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'.encode(),
        ),
        (
            # weird.json without its five member names that are not ASCII
            b'{"1": "One","\\r": "Return","</script>": "Browser Challenge","z": "Control\\u007f\\u0080\\ud83d\\ude02"}',
            '{"\\r":"Return","1":"One","</script>":"Browser Challenge","z":"Control\x7f\x80\U0001f602"}'.encode(),
        ),
    ],
    ids=["arrays", "simple-string", "unicode", "structures", "values", "weird"],
)
def test_rfc_8785_vectors_within_our_subset(data: bytes, canonical: bytes) -> None:
    """What the RFC's authors canonicalise we canonicalise to the same bytes, and those are read as canonical."""
    assert dumps(loads(data)) == canonical
    assert loads_canonical(canonical) == loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"1": {"f": {"f": "hi","F": 5} ,"\\n": 56.0}}',
        b"[333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001]",
        b'{"\\u20ac": "Euro Sign"}',
        '{"péché": "is this sin"}'.encode(),
        b'{"\\u0080": "Control"}',
    ],
)
def test_rfc_8785_vectors_outside_our_subset_are_refused(data: bytes) -> None:
    """Floats and member names beyond ASCII, which RFC 8785 orders and we never use, are refused, not approximated."""
    with pytest.raises(Malformed):
        loads(data)


def test_every_control_character_is_written_as_rfc_8785_says() -> None:
    """Section 3.2.2.2: two-character escapes where JSON has one, else lower-case hexadecimal; DEL stands for itself."""
    short = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r"}
    for code in range(0x20):
        written = dumps(chr(code)).decode()
        assert written == '"' + short.get(code, f"\\u{code:04x}") + '"'
        assert loads_canonical(written.encode()) == chr(code)
    assert dumps('\x7f"\\/') == b'"\x7f\\"\\\\/"'


def test_json_test_suite_must_refuse() -> None:
    """All 174 documents of JSONTestSuite in our file that no parser may accept are refused."""
    documents = [text for name, text in suite().items() if name.startswith("n_")]
    assert len(documents) == 174
    for text in documents:
        with pytest.raises(Malformed):
            loads(text.encode())


def test_json_test_suite_must_accept() -> None:
    """Each valid document means to us what it means to Python, but for the named ones outside our subset."""
    documents = {name: text for name, text in suite().items() if name.startswith("y_")}
    assert len(documents) == 95
    for name, text in documents.items():
        if name in OUTSIDE_OUR_SUBSET:
            with pytest.raises(Malformed):
                loads(text.encode())
        else:
            assert loads(text.encode()) == json.loads(text), name


def test_json_test_suite_free_choice() -> None:
    """Where the suite leaves the choice to the parser we refuse, each time."""
    documents = [text for name, text in suite().items() if name.startswith("i_")]
    assert len(documents) == 22
    for text in documents:
        with pytest.raises(Malformed):
            loads(text.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"\xef\xbb\xbf{}",
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'[{"b":{"a":1,"a":2}}]',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e400",
        b"1.0",
        b"1E2",
        b"-0",
        b'{"a":[-0]}',
        b"01",
        b"+1",
        b"9007199254740992",
        b"-9007199254740992",
        b"99999999999999999",
        b"1" * 5000,
        b"-" + b"9" * 5000,
        b"{}{}",
        b"{}\x00",
        b"{},",
        b"[1,]",
        b"{'a':1}",
        b"{a:1}",
        b"[1] // one",
        b"\xa0[]",
        b"\x0b[]",
        b'"\x00"',
        b'"\n"',
        b'"\\x41"',
        b'"\\u12"',
        '"\u0661"'.encode()[1:-1],
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'{"\\udfff":1}',
        b'{"a":["\\ud83d"]}',
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
        b'"\xf4\x90\x80\x80"',
        b'"\xe2\x82',
        "[1]".encode("utf-16"),
        "[1]".encode("utf-16-be"),
        "[1]".encode("utf-32"),
        b"[" * 100_000,
        b'[{"":' * 50_000,
        nested(MAX_DEPTH + 1),
        nested(MAX_DEPTH + 1, "{}"),
        b'["\\"]' + nested(MAX_DEPTH + 1),
        b"True",
        b"nul",
    ],
    ids=lambda data: repr(data[:24])[1:],
)
def test_documents_two_parsers_could_read_differently_are_refused(data: bytes) -> None:
    """Duplicates, other numbers, lone surrogates, other encodings, trailing bytes and depth are each `Malformed`."""
    with pytest.raises(Malformed):
        loads(data, max_bytes=1_000_000)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"0", 0),
        (b"9007199254740991", MAX_INTEGER),
        (b"-9007199254740991", -MAX_INTEGER),
        (b'"\\ud83d\\ude02"', "\U0001f602"),
        (b'"\xf0\x9f\x98\x82"', "\U0001f602"),
        (b" [ true , null ]\r\n\t", [True, None]),
        (b'{"[":"]}{\\"[[[[[[[[[[[[[[[[[[[[["}', {"[": ']}{"[[[[[[[[[[[[[[[[[[[[['}),
        (b'["\\\\",[]]', ["\\", []]),
    ],
)
def test_documents_at_the_edge_are_read(data: bytes, value: Json) -> None:
    """The largest numbers, pairs of surrogates, white space and brackets inside strings are fine."""
    assert loads(data) == value


def test_depth_and_size_end_where_they_say() -> None:
    """16 levels and `max_bytes` bytes are read, one more is refused; what we refuse to read we refuse to write."""
    for kind in ("[]", "{}"):
        deepest = loads(nested(MAX_DEPTH, kind))
        assert dumps(deepest) == nested(MAX_DEPTH, kind)
        with pytest.raises(ValueError, match="nested deeper"):
            dumps([deepest])
        with pytest.raises(ValueError, match="nested deeper"):
            dumps({"a": deepest})
        assert loads(nested(3, kind), max_depth=3)
        with pytest.raises(Malformed, match="nested deeper than 3"):
            loads(nested(4, kind), max_depth=3)
    assert loads(b'"' + b"a" * (MAX_BYTES - 2) + b'"')
    with pytest.raises(Malformed, match="65537 bytes"):
        loads(b'"' + b"a" * (MAX_BYTES - 1) + b'"')
    with pytest.raises(Malformed):
        loads(b"[1]", max_bytes=2)


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b"[1,2]\n",
        b" {}",
        b'"\\u0041"',
        b'"\\/"',
        b'"\\u000A"',
        b'"\\u000a"',
        b'"\\u007f"',
        b'"\\ud83d\\ude02"',
    ],
)
def test_other_spellings_are_not_canonical(data: bytes) -> None:
    """A document that means the same and is spelt otherwise is read, but not where canonical bytes are asked for."""
    loads(data)
    with pytest.raises(Malformed, match="canonical form"):
        loads_canonical(data)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        math.nan,
        (1,),
        {1},
        b"a",
        ...,
        [1, [2.5]],
        {1: 2},
        {None: 1},
        {"\u00e9": 1},
        {"\ud800": 1},
        "\ud800",
        ["a", "\udfff"],
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        {"a": 2**53},
    ],
    ids=repr,
)
def test_what_the_subset_excludes_is_not_written(value: Any) -> None:
    """Floats, other types, other member names, lone surrogates and larger integers are the caller's `ValueError`."""
    with pytest.raises(ValueError, match=r"canonical form|not ASCII|beyond 2\^53-1|surrogates not allowed"):
        dumps(value)


HOSTILE: dict[str, bytes] = {
    "open string of escaped quotes": b"[" * 17 + b'"' + b'\\"' * 32_000,
    "open string of escaped quotes, few brackets": b'["' + b'\\"' * 32_000,
    "unequal names, then one twice": (
        "{" + ",".join(f'"{number:x}":0' for number in range(7000)) + ',"1b57":0}'
    ).encode(),
    "one name again and again": b'{"a":0' + b',"a":0' * 10_000 + b"}",
    "a very long number": b"[" + b"9" * 65_000 + b"]",
    "a very long negative exponent": b"1e-" + b"9" * 65_000,
    "very many numbers": b"[0" + b",0" * 32_000 + b",]",
    "very many arrays": b"[[]" + b",[]" * 21_000 + b",]",
    "closing brackets": b"]" * 65_000,
    "opening brackets": b"[" * 65_000,
    "brackets, then strings": b"[" * 17 + b'""' * 32_000,
    "escapes": b'"' + b"\\u0041" * 10_900,
    "surrogates": b'["' + b"\\ud800" * 10_900 + b'"]',
    "quotes": b'"' * 65_000,
    "backslashes": b"[" * 20 + b"\\" * 65_000,
    "white space": b" " * 65_000,
    "minus signs": b"-" * 65_000,
}


PLAIN = dumps([f"{number:x}" for number in range(MAX_BYTES // 7)])
"""An ordinary document of nearly 64 KiB: what reading it costs is what everything else is compared with."""


@pytest.mark.parametrize("subject", HOSTILE)
def test_refusing_hostile_input_costs_little(subject: str) -> None:
    """64 KiB made to be slow cost under a hundred ordinary documents of that size (quadratic readers: thousands)."""
    data = HOSTILE[subject]
    assert len(data) <= MAX_BYTES

    def refused() -> None:
        with pytest.raises(Malformed):
            loads(data)

    assert effort(refused) < 100 * effort(lambda: loads(PLAIN))


def test_the_largest_index_is_checked_for_depth_without_delay() -> None:
    """A mebibyte of brackets and one of string, the most that any caller allows, cost in proportion to their size."""
    for data in (b'["' + b'\\"[' * 349_000 + b'"]', b"[" + b"[]," * 349_000 + b"[]]"):
        cost = effort(partial(loads, data, max_bytes=1024 * 1024), times=3)
        assert cost < 200 * effort(lambda: loads(PLAIN)) * len(data) / len(PLAIN)


@pytest.mark.parametrize(
    "data",
    [
        '{"\u202e\u0661":1,"\u202e\u0661":2}'.encode(),
        b'{"\\u001b[2J":1,"\\u001b[2J":2}',
        b'{"' + b"n" * 30_000 + b'":1,"' + b"n" * 30_000 + b'":2}',
        '{"\u202e":1}'.encode(),
        b"[1" + b"2" * 60_000 + b".5]",
        b'["\x1b"]',
    ],
)
def test_refusals_quote_foreign_text_tamely(data: bytes) -> None:
    """A refusal is one short line of printable ASCII, whatever the document holds."""
    with pytest.raises(Malformed) as caught:
        loads(data)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 450


class Named(StrEnum):
    """A text that is a member of an enumeration, as values and names often are."""

    A = "a"


def plainly_written(value: object, depth: int = 0) -> bytes | None:
    """Write `value` member by member, as `dumps` is specified, or give None for what it excludes."""
    if value is None or isinstance(value, bool):
        return {None: b"null", True: b"true", False: b"false"}[value]
    if isinstance(value, int):
        return str(value).encode() if abs(value) <= MAX_INTEGER else None
    if isinstance(value, str):
        text = json.dumps(str(value), ensure_ascii=False)
        return text.encode() if text.isascii() or not any(0xD800 <= ord(mark) < 0xE000 for mark in text) else None
    if not isinstance(value, dict | list) or depth == MAX_DEPTH:
        return None
    if isinstance(value, list):
        items = [plainly_written(item, depth + 1) for item in value]
        return None if None in items else b"[" + b",".join(filter(None, items)) + b"]"
    if not all(isinstance(name, str) and name.isascii() for name in value):
        return None
    parts = []
    for name in sorted(value):
        item = plainly_written(value[name], depth + 1)
        if item is None:
            return None
        parts.append(json.dumps(str(name), ensure_ascii=False).encode() + b":" + item)
    return b"{" + b",".join(parts) + b"}"


WRITABLE_OR_NOT = st.recursive(
    LOOSE_JSON | st.sampled_from([Named.A, (1,), b"a", MAX_INTEGER, -MAX_INTEGER - 1]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(ANY_TEXT | NAMES | st.sampled_from([Named.A, 1, None]), inner, max_size=4)
        | st.builds(deeper, inner, st.integers(1, MAX_DEPTH))
    ),
    max_leaves=8,
)


@THOROUGH
@given(JSON_VALUES | WRITABLE_OR_NOT)
def test_what_is_written_and_what_is_refused_is_as_specified(value: Any) -> None:
    """`dumps` gives what a writer gives that looks at each value by itself, and refuses exactly what that one does."""
    expected = plainly_written(value)
    if expected is None:
        with pytest.raises(ValueError, match=r"canonical form|not ASCII|beyond 2\^53-1|surrogates not allowed|nested"):
            dumps(value)
    else:
        assert dumps(value) == expected


@THOROUGH
@given(JSON_VALUES)
def test_what_is_written_is_read_back(value: Json) -> None:
    """`loads_canonical(dumps(v))` is `v`, and writing it again gives the same bytes."""
    data = dumps(value)
    assert loads_canonical(data) == value
    assert dumps(loads(data)) == data


@THOROUGH
@given(LOOSE_JSON)
def test_what_is_read_can_be_written(value: object) -> None:
    """Of JSON at large, what `loads` takes is what Python reads and has canonical bytes; the rest is `Malformed`."""
    data = loose_bytes(value)
    try:
        read = loads(data)
    except Malformed:
        return
    assert read == json.loads(data)
    assert loads_canonical(dumps(read)) == read


@THOROUGH
@given(st.binary(max_size=200) | ANY_TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    """No bytes make the reader raise anything but `Malformed`."""
    for read in (loads, loads_canonical):
        with contextlib.suppress(Malformed):
            read(data)


@THOROUGH
@given(JSON_VALUES, st.data())
def test_damaged_documents_are_read_or_malformed(value: Json, data: st.DataObject) -> None:
    """A valid document with one byte changed, cut or added is another document or `Malformed`, never a traceback."""
    body = dumps(value)
    at = data.draw(st.integers(0, len(body)))
    piece = data.draw(st.binary(max_size=3))
    cut = data.draw(st.integers(0, 3))
    changed = body[:at] + piece + body[at + cut :]
    try:
        read = loads_canonical(changed)
    except Malformed:
        return
    assert dumps(read) == changed


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"f", "Zg"),
        (b"fo", "Zm8"),
        (b"foo", "Zm9v"),
        (b"foob", "Zm9vYg"),
        (b"fooba", "Zm9vYmE"),
        (b"foobar", "Zm9vYmFy"),
        (b"\xfb\xff\xbf", "-_-_"),
    ],
)
def test_base64url_vectors(data: bytes, text: str) -> None:
    """RFC 4648 section 10 without padding, and the two characters in which base64url differs."""
    assert b64u_encode(data) == text
    assert b64u_decode(text) == data


@pytest.mark.parametrize(
    "text",
    [
        "Zg==",
        "Zg=",
        "Zm9v=",
        "=",
        "A",
        "AAAAA",
        "Zh",
        "Zm9",
        "Zm9vYmF",
        "Zm9v\n",
        "\nZm9v",
        "Zm 9v",
        "Zm+v",
        "Zm/v",
        "Zm9v.",
        "Zm9v\x00",
        "\uff3a\uff4d\uff19\uff56",
        "Zm9\u0076\u0301",
        "\ud800",
    ],
    ids=ascii,
)
def test_base64url_has_one_spelling(text: str) -> None:
    """Padding, impossible lengths, stray bits, white space, the other alphabet and other scripts are `Malformed`."""
    with pytest.raises(Malformed):
        b64u_decode(text)


@THOROUGH
@given(st.binary(max_size=300))
def test_base64url_round_trip(data: bytes) -> None:
    """Encoding agrees with the standard library and decoding undoes it."""
    text = b64u_encode(data)
    assert text == base64.urlsafe_b64encode(data).decode().replace("=", "")
    assert b64u_decode(text) == data


@THOROUGH
@given(st.text(st.sampled_from("AQgwBEZz09-_=+/ \n"), max_size=9) | ANY_TEXT)
def test_base64url_decodes_only_what_it_would_encode(text: str) -> None:
    """Whatever is accepted is exactly what `b64u_encode` writes, and the lax library agrees on its meaning."""
    try:
        data = b64u_decode(text)
    except Malformed:
        return
    assert b64u_encode(data) == text
    assert binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "==") == data


def test_digests() -> None:
    """SHA-256 of FIPS 180-4's "abc", as bytes and as text, and back."""
    text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_hex(b"abc") == text
    assert sha256(b"abc") == hex_digest(text)


@pytest.mark.parametrize(
    "text",
    ["", "0" * 63, "0" * 65, "A" * 64, "0" * 64 + "\n", " " + "0" * 63, "g" * 64, "\u0660" * 64, "0x" + "0" * 62],
    ids=ascii,
)
def test_digests_have_one_spelling(text: str) -> None:
    """64 lower-case hexadecimal characters and nothing else."""
    with pytest.raises(Malformed):
        hex_digest(text)
