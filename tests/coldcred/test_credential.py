"""The claims of access tokens (RFC 9068) and JWT-SVIDs: written, read, and everything else refused."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred.canonical import MAX_INTEGER, Json, b64u_encode, dumps
from coldcred.credential import MAX_CLAIMS, Credential, Kind, StatusReference, parse_claims, write_claims
from coldcred.errors import Malformed
from coldcred.jose import Typ
from coldcred.record import MAX_TIME
from tests.support.values import JSON_VALUES, LOOSE_JSON, MISSING, THOROUGH, Place, edited, loose_bytes, paths

ACCESS = Credential(
    kind=Kind.ACCESS,
    issuer="https://issuer.plant-a.example",
    subject="spiffe://plant-a.example/line-1/robot-7",
    audiences=("https://orders.plant-a.example",),
    scopes=("orders.read", "orders.write"),
    jti="AAECAwQFBgcICQoLDA0ODw",
    issued_at=1_795_000_000,
    not_before=1_795_000_000,
    expires_at=1_795_028_800,
    status=StatusReference("https://issuer.plant-a.example/status/1", 77),
    log_index=12,
    profile="orders-reader",
    confirmation=b64u_encode(bytes(range(32))),
    purpose="night shift, Halle 3",
    task="order 4711",
)
SVID = replace(
    ACCESS,
    kind=Kind.SVID,
    audiences=("https://orders.plant-a.example", "spiffe://plant-a.example/line-1/plc"),
    scopes=(),
    confirmation=None,
    purpose=None,
    task=None,
)
CREDENTIALS = {Kind.ACCESS: ACCESS, Kind.SVID: SVID}
OPTIONAL = {"scope", "cnf", "purpose", "task"}


def test_the_claims_of_an_access_token_stand_as_documented() -> None:
    """The golden bytes of a payload: changing one is a change of format."""
    assert dumps(write_claims(ACCESS)) == (
        b'{"aud":"https://orders.plant-a.example","client_id":"spiffe://plant-a.example/line-1/robot-7",'
        b'"cnf":{"jkt":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},"exp":1795028800,"iat":1795000000,'
        b'"iss":"https://issuer.plant-a.example","jti":"AAECAwQFBgcICQoLDA0ODw","log":12,"nbf":1795000000,'
        b'"profile":"orders-reader","purpose":"night shift, Halle 3","scope":"orders.read orders.write",'
        b'"status":{"status_list":{"idx":77,"uri":"https://issuer.plant-a.example/status/1"}},'
        b'"sub":"spiffe://plant-a.example/line-1/robot-7","task":"order 4711"}'
    )
    assert Kind.ACCESS.typ is Typ.ACCESS
    assert Kind.SVID.typ is Typ.SVID


@pytest.mark.parametrize("kind", Kind)
def test_what_is_written_is_read_back(kind: Kind) -> None:
    """Both kinds survive writing and reading, with every optional claim and with none."""
    full = CREDENTIALS[kind]
    bare = replace(full, scopes=(), confirmation=None, purpose=None, task=None)
    for credential in (full, bare):
        claims = write_claims(credential)
        read = parse_claims(dumps(claims), kind)
        assert read == credential
        assert read.claims == claims


@pytest.mark.parametrize("kind", Kind)
def test_every_required_claim_is_required(kind: Kind) -> None:
    """RFC 9068 section 2.2 and our own: without any one of them the credential is refused; null does not help."""
    claims = write_claims(CREDENTIALS[kind])
    for path in paths(claims):
        if isinstance(path[-1], int):
            continue  # an audience of several
        with pytest.raises(Malformed):
            parse_claims(dumps(edited(claims, path, None)), kind)
        without = dumps(edited(claims, path, MISSING))
        if path[0] in OPTIONAL and len(path) == 1:
            parse_claims(without, kind)
        else:
            with pytest.raises(Malformed):
                parse_claims(without, kind)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("place", [(), ("status",), ("status", "status_list"), ("cnf",)])
def test_no_other_claim_is_read_past(kind: Kind, place: tuple[Place, ...]) -> None:
    """A member we do not know, at any depth, is refused: a restriction that is not understood is not dropped."""
    claims = write_claims(replace(CREDENTIALS[kind], confirmation=ACCESS.confirmation))
    for name in ("foo", "act", "may_act", "roles", "authorization_details", "x5t#S256", "status_list2"):
        with pytest.raises(Malformed, match="is not known here"):
            parse_claims(dumps(edited(claims, (*place, name), "x")), kind)


CASES: list[tuple[str, list[object]]] = [
    ("iss", ["", "http://issuer.plant-a.example", "https://issuer.plant-a.example?x", "issuer", 1]),
    ("sub", ["", "robot-7", "spiffe://plant-a.example", "spiffe://plant-a.example/line-1/", ["a"], 1]),
    ("jti", ["", "short", "A" * 65, "AAECAwQFBgcICQoLDA0OD=", 1]),
    ("iat", [-1, "1795000000", True, 1_795_000_001, MAX_TIME + 1, MAX_INTEGER]),
    ("nbf", [-1, 1_794_999_999, 1_795_028_800, 1_795_028_801, None, False]),
    ("exp", [0, 1_795_000_000, 1_794_999_999, MAX_TIME + 1, MAX_INTEGER, "never"]),
    ("log", [-1, "12", True, [12]]),
    ("profile", ["", "Orders", "orders_reader", "../orders", "a" * 33]),
    ("scope", ["", " ", "orders.read ", " orders.read", "a  b", "a a", 'a"b', "a\tb", ["orders.read"], 1]),
    ("purpose", ["", "a" * 257, "a\nb", "\x1b[2J", "\u202eabc", 1, ["x"]]),
    ("task", ["", "a" * 257, "a\x00b", "\u2028", {}]),
    ("status", [{}, [], "x", {"status_list": []}]),
    ("cnf", [{}, {"jwk": {}}, {"jkt": ""}, {"jkt": "AA"}, {"jkt": "A" * 44}, {"jkt": "A" * 42 + "B"}, "x"]),
]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CASES for value in values])
def test_a_claim_of_another_form_is_refused(kind: Kind, name: str, value: object) -> None:
    """Each claim has one form; the refusal is one tame line whatever the claim held."""
    claims = write_claims(CREDENTIALS[kind])
    changed = edited(claims, [name], value)
    if name == "sub" and kind is Kind.ACCESS:
        changed = edited(changed, ["client_id"], value)
    with pytest.raises(Malformed) as caught:
        parse_claims(dumps(changed), kind)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uri", "http://issuer.plant-a.example/status/1"),
        ("uri", ""),
        ("uri", "https://issuer.plant-a.example/status/../1"),
        ("idx", -1),
        ("idx", "77"),
        ("idx", True),
        ("idx", None),
    ],
)
def test_a_status_reference_of_another_form_is_refused(name: str, value: object) -> None:
    """The list's URI and the index are a plain https URI and a number from 0."""
    claims = write_claims(ACCESS)
    with pytest.raises(Malformed):
        parse_claims(dumps(edited(claims, ("status", "status_list", name), value)), Kind.ACCESS)


def test_the_kinds_are_not_mixed_up() -> None:
    """`client_id` belongs to access tokens only, and `aud` is a text there and an array in an SVID."""
    with pytest.raises(Malformed):
        parse_claims(dumps(write_claims(ACCESS)), Kind.SVID)
    with pytest.raises(Malformed):
        parse_claims(dumps(write_claims(SVID)), Kind.ACCESS)
    access, svid = write_claims(ACCESS), write_claims(SVID)
    with pytest.raises(Malformed, match="client_id is not the subject"):
        parse_claims(dumps({**access, "client_id": "spiffe://plant-a.example/line-1/robot-8"}), Kind.ACCESS)
    with pytest.raises(Malformed, match="'client_id' is not known here"):
        parse_claims(dumps({**svid, "client_id": SVID.subject}), Kind.SVID)
    for aud in ([], ["https://a", "https://a"], [1], ["orders"], [f"https://a/{n}" for n in range(9)], "https://a"):
        with pytest.raises(Malformed):
            parse_claims(dumps(edited(svid, ["aud"], aud)), Kind.SVID)
    with pytest.raises(Malformed):
        parse_claims(dumps({**access, "aud": ["https://orders.plant-a.example"]}), Kind.ACCESS)


def test_an_access_token_has_one_audience() -> None:
    """A credential for several audiences cannot be written as an access token at all."""
    with pytest.raises(ValueError, match="too many values"):
        write_claims(replace(ACCESS, audiences=("https://a", "https://b")))


def test_a_payload_is_bounded() -> None:
    """16 KiB of claims are read at most, before they are parsed."""
    padded = dumps(write_claims(ACCESS)) + b" " * MAX_CLAIMS
    parse_claims(padded[:MAX_CLAIMS], Kind.ACCESS)
    with pytest.raises(Malformed, match="at most 16384"):
        parse_claims(padded[: MAX_CLAIMS + 1], Kind.ACCESS)


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b'"x"', b"{}", b"{", b'{"sub":"a","sub":"b"}', b"\xff"])
def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    """Other JSON, and what is none, is `Malformed` for either kind."""
    for kind in Kind:
        with pytest.raises(Malformed):
            parse_claims(payload, kind)


def test_a_credential_is_a_value() -> None:
    """Equal claims are equal credentials and hash alike; the raw claims take no part and are not shown."""
    read = parse_claims(dumps(write_claims(ACCESS)), Kind.ACCESS)
    assert len({read, ACCESS}) == 1
    assert "claims" not in repr(read)


@THOROUGH
@given(st.sampled_from(Kind), st.data())
def test_any_damaged_claims_are_read_or_malformed(kind: Kind, data: st.DataObject) -> None:
    """Whatever stands in the place of any claim, the reader raises `Malformed` or nothing."""
    claims = write_claims(replace(CREDENTIALS[kind], confirmation=ACCESS.confirmation))
    path = data.draw(st.sampled_from(paths(claims)))
    value = data.draw(LOOSE_JSON)
    with contextlib.suppress(Malformed):
        read = parse_claims(loose_bytes(edited(claims, path, value)), kind)
        assert parse_claims(dumps(write_claims(read)), kind) == read


@THOROUGH
@given(st.sampled_from(Kind), JSON_VALUES.map(dumps) | st.binary(max_size=100))
def test_any_payload_is_read_or_malformed(kind: Kind, payload: bytes) -> None:
    """No payload makes the reader raise anything but `Malformed`."""
    with pytest.raises(Malformed):
        parse_claims(payload, kind)


SEGMENTS = st.text(st.sampled_from("abcXYZ019-_"), min_size=1, max_size=8)


@THOROUGH
@given(
    st.builds(
        Credential,
        kind=st.just(Kind.ACCESS),
        issuer=st.just(ACCESS.issuer),
        subject=st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "spiffe://td/" + "/".join(parts)),
        audiences=st.tuples(SEGMENTS.map(lambda part: f"https://a/{part}")),
        scopes=st.lists(SEGMENTS, max_size=4, unique=True).map(tuple),
        jti=st.text(st.sampled_from("abcXYZ019-_"), min_size=16, max_size=64),
        issued_at=st.just(1000),
        not_before=st.integers(1000, 2000),
        expires_at=st.integers(2001, MAX_TIME),
        status=st.builds(StatusReference, st.just("https://a/s"), st.integers(0, MAX_INTEGER)),
        log_index=st.integers(0, MAX_INTEGER),
        profile=st.just("p"),
        confirmation=st.none() | st.binary(min_size=32, max_size=32).map(b64u_encode),
        purpose=st.none() | st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=256),
        task=st.none() | st.just("t"),
    )
)
def test_any_credential_survives(credential: Credential) -> None:
    """Whatever can be decided can be written and read back, and its claims are canonical JSON."""
    claims: dict[str, Json] = write_claims(credential)
    assert parse_claims(dumps(claims), Kind.ACCESS) == credential
