"""The one spelling of every name.

Foreign examples: the SPIFFE-ID standard (spiffe/spiffe, standards/SPIFFE-ID.md) sections 2 to 2.3; the cases of
go-spiffe's and rust-spiffe's tests, as far as today's standard has them; RFC 6749 section 3.3; RFC 3986 section 6.2.
"""

import contextlib
import string
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred import names
from coldcred.errors import Malformed
from tests.support.texts import READABLE, UNREADABLE
from tests.support.values import ANY_TEXT, THOROUGH

READERS: dict[str, Callable[[str], str]] = {
    "trust_domain": names.trust_domain,
    "spiffe_id": names.spiffe_id,
    "subject_pattern": names.subject_pattern,
    "https_uri": names.https_uri,
    "audience": names.audience,
    "label": names.label,
    "scope_token": names.scope_token,
    "jti": names.jti,
}

VALID: dict[str, list[str]] = {
    "trust_domain": ["plant-a.example", "a", "9", "k8s-west.example.com", "td_1", "a" * 255, "192.168.0.1"],
    "spiffe_id": [
        "spiffe://staging.example.com/payments/mysql",
        "spiffe://staging.example.com/payments/web-fe",
        "spiffe://k8s-west.example.com/ns/staging/sa/default",
        "spiffe://example.com/9eebccd2-12bf-40a6-b262-65fe0487d453",
        "spiffe://domain.test/path/element",
        "spiffe://domain.test/Path/ELEMENT_1.2-3",
        "spiffe://domain.test/...",
        "spiffe://domain.test/.a/b./..c",
        "spiffe://" + "a" * 255 + "/p",
        "spiffe://a/" + "b" * (2048 - 11),
    ],
    "subject_pattern": ["spiffe://td/a", "spiffe://td/a/*", "spiffe://td/*"],
    "https_uri": [
        "https://issuer.plant-a.example",
        "https://issuer.plant-a.example/",
        "https://issuer.plant-a.example/status/1",
        "https://issuer.plant-a.example/status/",
        "https://a:8443/x",
        "https://a:65535",
        "https://a:1",
        "https://10.0.0.1/x",
        "https://a/.well-known/x~y_z",
        "https://a/" + "b" * (255 - 10),
    ],
    "audience": ["https://orders.plant-a.example", "spiffe://plant-a.example/line-1/orders"],
    "label": ["alice", "a", "a1", "orders-reader", "line-1", "a" * 32, "a-b-c-1"],
    "scope_token": ["orders.read", "!", "~", "a:b/c?d=e&f#g", "a" * 128, "[]{}^_`|'()*+,;<>@$%"],
    "jti": ["A" * 16, "-_-_-_-_-_-_-_-_", "z" * 64],
}

INVALID: dict[str, list[str]] = {
    "trust_domain": [
        "",
        "Plant",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a-",
        "_a",
        "a" * 256,
        "a:8080",
        "user@a",
        "a/b",
        "a%20b",
        "a b",
        "a\n",
        "\u00e4",
        "xn\u2010a",
        "\u0661",
        "..",
    ],
    "spiffe_id": [
        "",
        "192.168.2.2:6688",
        "http://domain.test/path/element",
        "SPIFFE://domain.test/path/element",
        "spiffe:///path/element",
        "spiffe://domain.test/path/element?query=1",
        "spiffe://domain.test/path/element?#fragment-1",
        "spiffe://domain.test/path#",
        "spiffe://domain.test:8080/path/element",
        "spiffe://domain.test:/path/element",
        "spiffe://user:password@test.org/path/element",
        "spiffe:path/element",
        "spiffe:/path/element",
        "spiffe://domain.test/path/elem%5uent",
        "spiffe://domain.test/path/element%5",
        "spiffe://domain.test/path/%61",
        "spiffe://domain.test/path/elem[ent",
        "spiffe://domain.test/pa:th/elem@ent",
        "spiffe://domain.test/p!a$t&h'",
        "spiffe://domain.test//path/element",
        "spiffe://domain.test/path//element",
        "spiffe://domain.test/path/",
        "spiffe://domain.test/.",
        "spiffe://domain.test/..",
        "spiffe://domain.test/./a",
        "spiffe://domain.test/a/../b",
        "spiffe://domain.test/a/..",
        "spiffe://domain.test",
        "spiffe://domain.test/",
        "spiffe://Domain.test/a",
        "spiffe://domain..test/a",
        "spiffe://../a",
        "spiffe://domain.test/a\n",
        "spiffe://domain.test/a b",
        "spiffe://domain.test/a\\b",
        "spiffe://domain.test/\u00e9",
        "spiffe://domain.test/\u0661",
        "spiffe://domain.test/a*",
        "spiffe://domain.test/*",
        " spiffe://domain.test/a",
        "spiffe://" + "a" * 256 + "/p",
        "spiffe://a/" + "b" * (2049 - 11),
        "https://domain.test/a",
    ],
    "subject_pattern": [
        "*",
        "/*",
        "spiffe://*",
        "spiffe://td*",
        "spiffe://*/a",
        "spiffe://td/a*",
        "spiffe://td/*/b",
        "spiffe://td/**",
        "spiffe://td/a/*/*",
        "spiffe://td//*",
        "spiffe://td/../*",
        "spiffe://td/*\n",
        "spiffe://td",
        "https://td/*",
    ],
    "https_uri": [
        "",
        "https://",
        "https:///a",
        "http://a",
        "HTTPS://a",
        "https://A",
        "https://a.",
        "https://.a",
        "https://-a",
        "https://a-",
        "https://a..b",
        "https://a:",
        "https://a:0",
        "https://a:080",
        "https://a:443",
        "https://a:443/x",
        "https://a:65536",
        "https://a:99999",
        "https://a:123456",
        "https://user@a",
        "https://a@b",
        "https://a?",
        "https://a/?x",
        "https://a#",
        "https://a/b#c",
        "https://a/%2e",
        "https://a/b;c",
        "https://a//",
        "https://a//b",
        "https://a/b//",
        "https://a/.",
        "https://a/b/.",
        "https://a/./b",
        "https://a/..",
        "https://a/../b",
        "https://a/b/..",
        "https://a/b..c",
        "https://a\\b",
        "https://a/b c",
        "https://a\n",
        "https://a/b\n",
        "https://[::1]",
        "https://\u00e4",
        "https://a/\u0661",
        "https://a:\u0661",
        "https://a/" + "b" * 246,
    ],
    "audience": [
        "",
        "orders",
        "urn:orders",
        "http://orders.plant-a.example",
        "https://orders.plant-a.example?x",
        "spiffe://plant-a.example",
        "spiffe://plant-a.example/*",
        "spiffe://a/" + "b" * 246,
        "SPIFFE://a/b",
    ],
    "label": [
        "",
        "1a",
        "-a",
        "a-",
        "a--b",
        "A",
        "a_b",
        "a.b",
        "a b",
        "a\n",
        "a/b",
        "../a",
        "a" * 33,
        "\u00e4",
        "a\u0661",
    ],
    "scope_token": ["", " ", "a b", '"', "\\", "a\n", "a\t", "\x7f", "\u00e4", "a" * 129],
    "jti": ["", "A" * 15, "A" * 65, "A" * 16 + "\n", "A" * 15 + "=", "A" * 15 + "+", "A" * 15 + "\u0661"],
}


@pytest.mark.parametrize(("reader", "text"), [(reader, text) for reader, texts in VALID.items() for text in texts])
def test_a_good_name_is_given_back(reader: str, text: str) -> None:
    """A reader returns exactly the text it was given."""
    assert READERS[reader](text) == text


@pytest.mark.parametrize(
    ("reader", "text"),
    [(reader, text) for reader, texts in INVALID.items() for text in texts],
    ids=lambda value: ascii(value)[1:40],
)
def test_a_bad_name_is_refused(reader: str, text: str) -> None:
    """Other schemes, case, ports, dots, empty segments, encodings, scripts and a trailing newline are `Malformed`."""
    with pytest.raises(Malformed):
        READERS[reader](text)


@pytest.mark.parametrize("code", range(128))
def test_spiffe_characters(code: int) -> None:
    """SPIFFE-ID sections 2.1 and 2.2: lower-case letters, digits and `.-_` in a trust domain, letters too in a path."""
    character = chr(code)
    in_domain = character in string.ascii_lowercase + string.digits + ".-_"
    in_path = character in string.ascii_letters + string.digits + ".-_"
    for text, allowed in (
        (f"spiffe://a{character}b/p", in_domain or character == "/"),
        (f"spiffe://td/a{character}b", in_path or character == "/"),
    ):
        if allowed:
            assert names.spiffe_id(text) == text
        else:
            with pytest.raises(Malformed):
                names.spiffe_id(text)


@pytest.mark.parametrize("code", range(256))
def test_scope_characters(code: int) -> None:
    """RFC 6749 section 3.3: %x21 / %x23-5B / %x5D-7E."""
    allowed = code == 0x21 or 0x23 <= code <= 0x5B or 0x5D <= code <= 0x7E
    if allowed:
        assert names.scope_token(chr(code)) == chr(code)
    else:
        with pytest.raises(Malformed):
            names.scope_token(chr(code))


def test_an_id_of_another_trust_domain_is_refused() -> None:
    """Where a trust domain is given it is compared whole: no suffix, no prefix, no case."""
    assert names.spiffe_id("spiffe://plant-a.example/x", "plant-a.example")
    for other in ("spiffe://a.example/x", "spiffe://plant-a.example.org/x", "spiffe://x.plant-a.example/x"):
        with pytest.raises(Malformed, match=r"is not in trust domain plant-a\.example"):
            names.spiffe_id(other, "plant-a.example")
        with pytest.raises(Malformed, match=r"is not in trust domain plant-a\.example"):
            names.subject_pattern(f"{other}/*", "plant-a.example")


@pytest.mark.parametrize(
    ("pattern", "subject", "covered"),
    [
        ("spiffe://td/a", "spiffe://td/a", True),
        ("spiffe://td/a", "spiffe://td/a/b", False),
        ("spiffe://td/a", "spiffe://td/A", False),
        ("spiffe://td/a/*", "spiffe://td/a/b", True),
        ("spiffe://td/a/*", "spiffe://td/a/b/c", True),
        ("spiffe://td/a/*", "spiffe://td/a", False),
        ("spiffe://td/a/*", "spiffe://td/a/", False),
        ("spiffe://td/a/*", "spiffe://td/ab", False),
        ("spiffe://td/a/*", "spiffe://td/ab/c", False),
        ("spiffe://td/*", "spiffe://td/a", True),
        ("spiffe://td/*", "spiffe://td.evil/a", False),
        ("spiffe://td/*", "spiffe://evil/td/a", False),
    ],
)
def test_patterns_cover_whole_segments_only(pattern: str, subject: str, *, covered: bool) -> None:
    """A final `/*` stands for everything below that segment, and for nothing beside it."""
    assert names.matches(pattern, subject) is covered


@pytest.mark.parametrize("text", ["for the night shift", "Ölstand prüfen", "価格"])
def test_text_for_people_is_printable(text: str) -> None:
    """Any script may be used where people read."""
    assert names.plain_text(text, "purpose") == text


@pytest.mark.parametrize(
    "text",
    ["a\nb", "a\rb", "a\tb", "\x1b[2J", "\x00", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028", "\ufeff", "\ud800"],
)
def test_text_for_people_moves_no_cursor(text: str) -> None:
    """Control characters, direction marks, line separators and lone surrogates are refused, and not echoed."""
    with pytest.raises(Malformed, match=r"^not a purpose: ") as caught:
        names.plain_text(text, "purpose")
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


def test_stored_text_is_judged_alike_by_every_python() -> None:
    """Whatever Unicode calls a letter, mark, number, sign or symbol passes; every character nobody sees does not.

    Characters that this Python does not know yet pass too, but for the blocks that Unicode keeps for unseen ones.
    """
    unseen = {"Cc", "Cf", "Cs", "Co", "Zs", "Zl", "Zp"}
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        if category == "Cn" or 0xE0100 <= code <= 0xE01EF:  # variation selectors stand in a block of unseen characters
            continue
        assert _passes(chr(code)) is (category not in unseen or code == 0x20), hex(code)


def _passes(text: str) -> bool:
    try:
        names.stored_text(text, "purpose")
    except Malformed:
        return False
    return True


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", ["\x1b[2J" * 30, "\u202e\u0660", "x y" * 30_000, "\ud800"], ids=ascii)
def test_refusals_quote_names_tamely(reader: str, text: str) -> None:
    """A refused name reaches the sentence as printable ASCII and cut."""
    with pytest.raises(Malformed) as caught:
        READERS[reader](text)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 900


@THOROUGH
@given(
    st.sampled_from(list(READERS.values())),
    ANY_TEXT
    | st.builds("{}{}".format, st.sampled_from(["spiffe://td/", "https://a", "spiffe://", "https://a:"]), ANY_TEXT)
    | st.text(st.sampled_from("ab.-_/:*19\n"), max_size=30)
    | st.builds("{}{}".format, st.just("https://"), st.text(st.sampled_from("ab.-_/:4391"), max_size=12)),
)
def test_any_text_is_a_name_or_malformed(reader: Callable[[str], str], text: str) -> None:
    """No text makes a reader raise anything but `Malformed`; what passes is the text itself, visible ASCII."""
    with contextlib.suppress(Malformed):
        assert reader(text) == text
        assert text.isascii()
        assert text.isprintable()
        assert " " not in text
        if reader is not names.scope_token:
            assert "/../" not in text + "/"
            assert "/./" not in text + "/"


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_a_text_that_nobody_can_read_is_none(text: str) -> None:
    """Blank, invisible, moving, or marks piled up: refused where it is about to be taken in, at any depth."""
    with pytest.raises(Malformed):
        names.plain_text(text, "reason")
    with pytest.raises(Malformed):
        names.check_texts({"a": [1, True, None, {"b": text}]})


@pytest.mark.parametrize("text", READABLE)
def test_a_text_that_people_can_read_is_one(text: str) -> None:
    """In any script."""
    assert names.plain_text(text, "reason") == text
    names.check_texts([text, 7])


@pytest.mark.parametrize("name", ["spaces", "hangul filler", "zalgo", "variation selector", "braille blank"])
def test_what_was_taken_in_before_is_still_read(name: str) -> None:
    """Logs and credentials may hold it; nothing in it moves a cursor."""
    assert names.stored_text(UNREADABLE[name], "reason") == UNREADABLE[name]
