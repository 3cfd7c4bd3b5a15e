"""Where the common case takes a shortcut, it says what the long way says: each is held to a slow reference.

The references are written for plainness: one look at each thing, in the words of the format.
"""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import utils
from hypothesis import example, given
from hypothesis import strategies as st

from coldcred import Kind, Reason, Rejected, TrustStore, canonical, credential, keys, names, verify
from coldcred.canonical import MAX_DEPTH, MAX_INTEGER, Json, b64u_decode, b64u_encode, dumps, loads
from coldcred.credential import NOTHING_KNOWN, Credential, Known, parse_claims, write_claims
from coldcred.errors import ColdcredError, Malformed
from coldcred.jose import Header, parse_unverified, split_signing_input
from coldcred.record import MAX_TIME
from tests.coldcred.test_credential import ACCESS, CREDENTIALS
from tests.support.signers import P256_ORDER
from tests.support.values import ANY_TEXT, JSON_VALUES, LOOSE_JSON, MISSING, THOROUGH, edited, loose_bytes, paths
from tests.support.world import AUDIENCE, NOW, SVID_AUDIENCE, World


def answer(read: Callable[[], object]) -> object:
    """Give what a reader gives, types told apart (`True` is not 1), or that it refuses."""
    try:
        return repr(read())
    except Malformed:
        return Malformed


# JSON


def plainly_read(data: bytes) -> Json:
    """Read JSON as `loads` is specified, with a hook for each member, number and constant."""

    def members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        if len({name for name, _ in pairs}) != len(pairs) or not all(name.isascii() for name, _ in pairs):
            raise Malformed("names")
        return dict(pairs)

    def integer(text: str) -> int:
        if len(text) > 17 or abs(int(text)) > MAX_INTEGER or text == "-0":
            raise Malformed("a number")
        return int(text)

    def other(text: str) -> Json:
        raise Malformed(text[:9])

    try:
        text = data.decode()
        value: Json = json.loads(
            text, object_pairs_hook=members, parse_int=integer, parse_float=other, parse_constant=other
        )
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:
        raise Malformed("not JSON") from error
    if text.startswith("\ufeff") or levels(value) > MAX_DEPTH:
        raise Malformed("a mark, or too deep")
    return value


def levels(value: Json) -> int:
    """Give how many arrays and objects stand inside each other."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if items is None else 1 + max(map(levels, items), default=0)


TEXTS = ['"a"', '"b"', r'"\u0061"', '"a:"', '":"', r'"\\"', '"é"', '"{"', '"["']
NUMBERS_AND_MARKS = [*":,{}[]:, \n", "0", "-0", "1", "-1", "9007199254740991", "9007199254740992", "1.0", "true", "NaN"]
FRAGMENTS = st.lists(st.sampled_from(TEXTS + NUMBERS_AND_MARKS), max_size=14).map("".join)
"""Text that is nearly JSON, with what a quick reader could take for something else."""

PAIRS = st.lists(
    st.tuples(st.sampled_from("abc"), FRAGMENTS | JSON_VALUES.map(lambda value: dumps(value).decode())), max_size=4
).map(lambda pairs: "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}")
"""Objects, in which a name may stand twice."""


@THOROUGH
@given(
    JSON_VALUES.map(dumps)
    | LOOSE_JSON.map(loose_bytes)
    | (FRAGMENTS | PAIRS).map(str.encode)
    | st.tuples(PAIRS, PAIRS).map(lambda two: two[0].replace(":", ":" + two[1], 1).encode())
    | st.binary(max_size=20)
)
@example(b'{"a":0,"a":0}')
@example(b'{"a":{"b":"c"},"a":"x"}')
@example(b'{"a":"x","a":{"b":"c"}}')
@example(b'{"a":-0}')
@example(b'{"a":"\\"","a":1}')
@example(b'{"a":' + b"9" * 5000 + b"}")
@example(b'{"a":[1,true,null,{"b":9007199254740992}]}')
@example(b' {"a":1} ')
@example(b'{"\\u00e9":1}')
@example(b'{"a":"\\ud800"}')
@example('{"é":1}'.encode())
@example(b'{"a":1}x')
@example(b'{"a":' * 17 + b"1" + b"}" * 17)
def test_json_is_read_as_specified(data: bytes) -> None:
    """`loads` takes and refuses the same documents as a reader with hooks, and gives the same values."""
    assert answer(lambda: loads(data)) == answer(lambda: plainly_read(data))


def test_no_number_of_texts_hides_a_lost_member() -> None:
    """An object that lost a member to its twin is refused, whatever else in the document has quotes."""
    for filler in ('"x"', '["x","y"]', '{"x":"y"}', "1", '""'):
        for other in ('"x"', "2", '{"p":"q","r":["s"]}'):
            text = f'{{"a":{filler},"b":{{"c":{other},"c":{filler}}},"d":{other}}}'
            with pytest.raises(Malformed, match="duplicate member 'c'"):
                loads(text.encode())


# base64url


def plainly_decoded(text: str | bytes) -> bytes:
    """Decode base64url by trying what it would encode to."""
    try:
        found = text if isinstance(text, str) else text.decode("ascii")
        data = base64.b64decode(found.encode("ascii") + b"=" * (-len(found) % 4), altchars=b"-_")
    except ValueError as error:
        raise Malformed("no base64url") from error
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != found:
        raise Malformed("another spelling")
    return data


@THOROUGH
@given(
    st.binary(max_size=60).map(b64u_encode)
    | st.text(st.sampled_from("AQgwBEZz09-_=+/! \n"), max_size=9)
    | ANY_TEXT
    | st.binary(max_size=9)
    | st.text(st.sampled_from("AQgwBEZz09-_=+/."), max_size=9).map(str.encode)
)
@example("A===")
@example("AA==")
@example("A+/A")
@example(b"\x80AAA")
def test_base64url_is_read_as_specified(text: str | bytes) -> None:
    """`b64u_decode` takes exactly what encoding gives, as text and as bytes."""
    assert answer(lambda: b64u_decode(text)) == answer(lambda: plainly_decoded(text))


def test_each_last_digit_is_read_as_specified() -> None:
    """Of two and three digits, exactly those without stray bits are read, for all 64 and for foreign ones."""
    for start in ("A", "AA", "AAA", "AAAA", "AAAAA"):
        for last in map(chr, range(128)):
            assert answer(partial(b64u_decode, start + last)) == answer(partial(plainly_decoded, start + last))


# signatures


@THOROUGH
@given(
    st.lists(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255), min_size=64, max_size=64).map(bytes)
    | st.tuples(st.integers(0, 2**256 - 1), st.sampled_from([0, 1, 127, 128, 255, P256_ORDER - 1, P256_ORDER])).map(
        lambda pair: pair[0].to_bytes(32) + pair[1].to_bytes(32)
    )
)
def test_signatures_become_der_as_the_library_writes_it(signature: bytes) -> None:
    """The DER of r||s is, byte for byte, the library's."""
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    assert keys.signature_to_der(signature) == utils.encode_dss_signature(r, s)


# names


def plainly_spiffe(text: str) -> str:
    """Read a SPIFFE ID piece by piece (SPIFFE-ID sections 2.1 and 2.2)."""
    scheme, _, rest = text.partition("://")
    domain, *segments = rest.split("/")
    inner = "abcdefghijklmnopqrstuvwxyz0123456789"
    if scheme != "spiffe" or len(text) > 2048 or not segments or not 1 <= len(domain) <= 255 or ".." in domain:
        raise Malformed("no SPIFFE ID")
    if set(domain) - set(inner + "._-") or domain[0] not in inner or domain[-1] not in inner:
        raise Malformed("no trust domain")
    if any(not re.fullmatch("[A-Za-z0-9._-]+", segment) or segment in {".", ".."} for segment in segments):
        raise Malformed("a segment")
    return text


@THOROUGH
@given(
    st.lists(st.sampled_from(["a", "b", ".", "..", "-", "_", "/", "//", "A", "é", "*", "a" * 254, "\n"]), max_size=8)
    .map("".join)
    .map("spiffe://{}".format)
    | ANY_TEXT
)
@example("spiffe://a..b/c")
@example("spiffe://a.b/c..d/..")
def test_spiffe_ids_are_read_as_specified(text: str) -> None:
    """A SPIFFE ID is what it is piece by piece."""
    assert answer(lambda: names.spiffe_id(text)) == answer(lambda: plainly_spiffe(text))


@THOROUGH
@given(st.text(st.sampled_from('ab !"\\~:\n\u00e9'), max_size=9) | st.just("a" * 129) | st.just("b " + "a" * 128))
def test_scopes_are_read_as_one_by_one(text: str) -> None:
    """Scopes joined by spaces are taken exactly when each of them is."""
    assert answer(lambda: names.scope_tokens(text)) == answer(
        lambda: tuple(names.scope_token(item) for item in text.split(" "))
    )


SUBJECTS = st.lists(st.sampled_from(["a", "b", "/", "/*", "*"]), max_size=6).map("".join)


@THOROUGH
@given(st.lists(SUBJECTS, max_size=4).map(tuple), SUBJECTS)
@example(("a/*",), "a/")
@example(("a/*", "a/b/*"), "a/b/")
def test_a_charter_covers_what_its_patterns_name(world: World, patterns: tuple[str, ...], subject: str) -> None:
    """A charter covers a subject exactly when one of its patterns names it, nested ones and empty rests too."""
    charter = world.access_charter(subjects=patterns)
    assert charter._covers(subject) is any(names.matches(pattern, subject) for pattern in patterns)


# claims


KNOWN = {
    kind: Known(
        uris=frozenset({found.issuer, found.status.uri}),
        audiences=frozenset(found.audiences),
        profiles=frozenset({found.profile}),
    )
    for kind, found in CREDENTIALS.items()
}
PLAIN = {
    kind: replace(found, confirmation=None, purpose=None, task=None, audiences=found.audiences[:1])
    for kind, found in CREDENTIALS.items()
}
SPELT = st.sampled_from(
    ["", "a", "spiffe://td/a", "spiffe://td/../a", "https://a", "https://a/..", "A" * 16, "a b", "a a", "a" * 5000, " "]
) | st.sampled_from([ACCESS.issuer, ACCESS.subject, *ACCESS.audiences, ACCESS.profile, ACCESS.status.uri])
NUMBERS = st.sampled_from([-1, 0, 1, ACCESS.not_before, ACCESS.expires_at, MAX_TIME, MAX_TIME + 1, MAX_INTEGER])
ODD = SPELT | NUMBERS | st.booleans() | st.none() | SPELT.map(lambda text: [text]) | JSON_VALUES | st.just(MISSING)


@THOROUGH
@given(
    st.sampled_from(Kind),
    st.sampled_from([NOTHING_KNOWN, *KNOWN.values()]),
    st.sampled_from([(), ("a",), ("a", "b")]),
    st.data(),
)
def test_claims_are_read_as_member_by_member(
    kind: Kind, known: Known, scopes: tuple[str, ...], data: st.DataObject
) -> None:
    """Whatever stands in claims, the reader gives or refuses what reading member by member does."""
    found = PLAIN[kind] if data.draw(st.booleans()) else CREDENTIALS[kind]
    claims: dict[str, Json] = write_claims(replace(found, scopes=scopes))
    for _ in range(data.draw(st.integers(0, 2))):
        places = [*paths(claims), ("other",), ("scope",), ("status", "other"), ("status", "status_list", "other")]
        place = data.draw(st.sampled_from(places))
        value = data.draw(ODD)
        if value is not MISSING or (place in paths(claims) and isinstance(place[-1], str)):
            claims = edited_safely(claims, place, value)
    payload = dumps(claims)
    assert_same(payload, kind, known)


SAMPLES: list[object] = [
    *("", "a", " ", "a b", "a a", "a" * 5000, "A" * 16, "A" * 15 + "=", "https://a", "https://a/..", "spiffe://td/a"),
    *(ACCESS.subject, ACCESS.issuer, [], ["a"], ["https://a"], ["https://a", "https://b"], [1], {}, {"https://a": 1}),
    " ".join(f"scope-{number}" for number in range(600)),
    *(-1, 0, 1, MAX_TIME, MAX_TIME + 1, MAX_INTEGER, True, False, None, MISSING),
]


@pytest.mark.parametrize("kind", Kind)
def test_each_claim_is_read_as_member_by_member(kind: Kind) -> None:
    """Each claim of the usual shape replaced by each of many things, or more beside them: no shortcut changes that."""
    for scopes in ((), ("a", "b")):
        claims = write_claims(replace(PLAIN[kind], scopes=scopes))
        places = [*paths(claims), ("other",), ("scope",), ("status", "other"), ("status", "status_list", "other")]
        for place in places:
            for value in SAMPLES:
                if value is not MISSING or (place in paths(claims) and isinstance(place[-1], str)):
                    payload = dumps(edited(claims, place, value))
                    assert_same(payload, kind, NOTHING_KNOWN)
                    assert_same(payload, kind, KNOWN[kind])


def edited_safely(claims: dict[str, Json], place: Any, value: object) -> dict[str, Json]:
    """Edit a claim, or leave all as it is where an earlier edit took its place away."""
    try:
        return edited(claims, place, value)
    except (TypeError, KeyError):
        return claims


def assert_same(payload: bytes, kind: Kind, known: Known) -> None:
    """Hold the reader to the one that goes member by member."""

    def strictly() -> Credential:
        return credential._strictly(loads(payload), kind)

    assert answer(lambda: parse_claims(payload, kind, known)) == answer(strictly)
    if answer(strictly) is not Malformed:
        read = parse_claims(payload, kind, known)
        assert (read, read.claims, hash(read.jti)) == (strictly(), strictly().claims, hash(strictly().jti))


@pytest.mark.parametrize("kind", Kind)
def test_the_usual_claims_take_the_shortcut(kind: Kind) -> None:
    """What nearly all credentials carry is read the quick way, with scopes or without, so the tests above see it."""
    for scopes in ((), ("a",), ("a", "b")):
        claims = write_claims(replace(PLAIN[kind], scopes=scopes))
        assert credential._usual(claims, kind, NOTHING_KNOWN) == replace(PLAIN[kind], scopes=scopes)
        assert canonical._plainly(dumps(claims).decode()) == claims
        assert credential._usual(claims, kind, KNOWN[kind]) == replace(PLAIN[kind], scopes=scopes)


def test_known_names_count_for_their_own_claim_only() -> None:
    """An audience that is known is no issuer, and a profile no status list."""
    spiffe = SVID_AUDIENCE
    claims = write_claims(replace(PLAIN[Kind.ACCESS], issuer=spiffe))
    for known in (Known(audiences=frozenset({spiffe})), Known(profiles=frozenset({spiffe})), NOTHING_KNOWN):
        with pytest.raises(Malformed, match="https URI"):
            parse_claims(dumps(claims), Kind.ACCESS, known)


# tokens


def without_shortcuts(store: TrustStore) -> TrustStore:
    """Give the same trust with nothing prepared."""
    plain = replace(store)
    object.__setattr__(plain, "headers", {})
    object.__setattr__(plain, "known", NOTHING_KNOWN)
    return plain


def verdict(store: TrustStore, token: str | bytes, kind: Kind) -> object:
    """Give what is accepted, or the reason and the whole detail."""
    audience = AUDIENCE if kind is Kind.ACCESS else SVID_AUDIENCE
    try:
        return verify(token, store, audience=audience, kind=kind, now=NOW)
    except Rejected as error:
        return error.reason, error.detail


HEADERS: dict[str, Callable[[dict[str, str]], bytes]] = {
    "as written": lambda header: dumps({**header}),
    "another order": lambda header: json.dumps(dict(reversed(header.items())), separators=(",", ":")).encode(),
    "spaces": lambda header: json.dumps(header).encode(),
    "an escape": lambda header: dumps({**header}).replace(b'"alg"', b'"\\u0061lg"'),
    "a member twice": lambda header: dumps({**header})[:-1] + b',"alg":"ES256"}',
    "one more": lambda header: dumps({**header, "crit": "b64"}),
    "another alg": lambda header: dumps({**header, "alg": "HS256"}),
    "another typ": lambda header: dumps({**header, "typ": "JOSE"}),
    "another kid": lambda header: dumps({**header, "kid": "A" * 43}),
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("subject", HEADERS)
@pytest.mark.parametrize("kind", Kind)
def test_a_header_read_before_changes_no_verdict(world: World, store: TrustStore, kind: Kind, subject: str) -> None:
    """However a header is spelt and whoever asks for which kind, a store with nothing prepared says the same."""
    key = world.access_key if kind is Kind.ACCESS else world.svid_key
    header = {"alg": "ES256", "kid": key.kid, "typ": kind.typ.value}
    head = b64u_encode(HEADERS[subject](header)).encode()
    _, payload, _ = world.token(kind).encode().split(b".")
    token = b".".join((head, payload, b64u_encode(key.sign(head + b"." + payload)).encode()))
    for asked in Kind:
        found = verdict(store, token, asked)
        assert found == verdict(without_shortcuts(store), token, asked)
        if subject == "as written" and asked is kind:
            assert head in store.headers
            assert not isinstance(found, tuple)


@THOROUGH
@given(st.data())
def test_any_change_gets_the_same_verdict(world: World, store: TrustStore, data: st.DataObject) -> None:
    """A token with any characters changed, added or missing has the verdict of a store with nothing prepared."""
    kind = data.draw(st.sampled_from(Kind))
    token = world.token(kind)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(token)))
        end = data.draw(st.integers(place, min(len(token), place + 2)))
        token = token[:place] + data.draw(st.text(st.sampled_from("A_z9=.+ \u00e9\x00"), max_size=2)) + token[end:]
    assert verdict(store, token, kind) == verdict(without_shortcuts(store), token, kind)
    asked = data.draw(st.sampled_from(Kind))
    assert verdict(store, token, asked) == verdict(without_shortcuts(store), token, asked)


def test_a_key_that_left_the_store_leaves_nothing_behind(world: World, store: TrustStore) -> None:
    """What a store prepares follows from its own keys: without the key its header is not known, and the key neither."""
    kid = world.access_key.kid
    smaller = replace(store, keys={name: key for name, key in store.keys.items() if name != kid})
    assert all(header.kid != kid for header in smaller.headers.values())
    assert verdict(smaller, world.token(), Kind.ACCESS) == (
        Reason.UNKNOWN_KEY,
        f"key {kid!a} is not among those that this site trusts",
    )


def test_headers_read_before_are_found_by_their_whole_part(world: World) -> None:
    """A part that only begins like a known one, or goes on after it, is read by itself."""
    token = world.token().encode()
    part, payload, signature = token.split(b".")
    other = Header("alg", "kid", "typ")
    assert parse_unverified(token, headers={part: other}).header == other
    assert split_signing_input(part + b"." + payload, headers={part: other})[0] == other
    for changed in (part[:-4], part + b"AAAA"):
        with pytest.raises(ColdcredError):
            parse_unverified(b".".join((changed, payload, signature)), headers={part: other})
        with pytest.raises(ColdcredError):
            split_signing_input(changed + b"." + payload, headers={part: other})
