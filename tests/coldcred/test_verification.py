"""The verdict on one credential: each numbered check, its boundary, and its place in the order."""

import dataclasses
import json
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldcred import Freshness, Kind, Reason, Rejected, TrustStore, verify
from coldcred.canonical import Json, b64u_decode, b64u_encode, dumps
from coldcred.credential import StatusReference
from coldcred.jose import Typ
from coldcred.status import SIZE, StatusList, bits_with
from tests.support.signers import Signer, twin
from tests.support.world import (
    AUDIENCE,
    DAY,
    HOUR,
    ISSUER,
    NOW,
    OTHER_AUDIENCE,
    SITE,
    STATUS_URI,
    SUBJECT,
    SVID_AUDIENCE,
    World,
)

THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def reason(store: TrustStore, token: str | bytes, **changes: Any) -> Reason | None:
    """Return why a token is rejected, or None where it is accepted."""
    asked: dict[str, Any] = {"audience": AUDIENCE, "now": NOW}
    try:
        verify(token, store, **(asked | changes))
    except Rejected as error:
        rejected = error
    else:
        return None
    assert rejected.detail
    assert rejected.detail.isprintable()
    return rejected.reason


def with_times(store: TrustStore, **changes: Any) -> TrustStore:
    """Return trust whose bundle has other times."""
    return dataclasses.replace(store, times=dataclasses.replace(store.times, **changes))


def test_a_good_credential_is_accepted(world: World, store: TrustStore) -> None:
    """The verdict carries the claims, the key, and what trust it rests on."""
    found = verify(world.token(), store, audience=AUDIENCE, now=NOW + 30, scopes=["orders:read"])
    assert found.credential == world.credential()
    assert (found.subject, found.audiences) == (SUBJECT, (AUDIENCE,))
    assert (found.scopes, found.expires_at) == (("orders:read", "orders:write"), NOW + 900)
    assert found.claims["sub"] == SUBJECT
    assert found.kid == world.access_key.kid
    assert (found.freshness, found.bundle, found.bundle_age, found.as_of) == (Freshness.FRESH, 1, 30, NOW)


def test_a_verdict_cannot_be_changed(world: World, store: TrustStore) -> None:
    """The verdict is frozen, so what was checked is what is used."""
    found = verify(world.token(), store, audience=AUDIENCE, now=NOW)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.kid = "another"  # type: ignore[misc]  # what must not be possible


def test_an_svid_is_accepted_as_such_and_no_other_way(world: World, store: TrustStore) -> None:
    """A JWT-SVID is accepted for its kind; asked for as an access token it is of the wrong kind, and the reverse."""
    token = world.token(Kind.SVID)
    found = verify(token, store, audience=SVID_AUDIENCE, kind=Kind.SVID, now=NOW)
    assert found.credential.kind is Kind.SVID
    assert reason(store, token, audience=SVID_AUDIENCE) is Reason.WRONG_KIND
    assert reason(store, world.token(), kind=Kind.SVID) is Reason.WRONG_KIND


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"token": 7}, "text or bytes"),
        ({"audience": ""}, "audience"),
        ({"audience": None}, "audience"),
        ({"kind": "access"}, "kind"),
        ({"now": None}, "now"),
        ({"now": True}, "now"),
        ({"now": float("nan")}, "now"),
        ({"now": float("inf")}, "now"),
        ({"now": "1800000000"}, "now"),
        ({"scopes": "orders:read"}, "scopes"),
        ({"scopes": [""]}, "scopes"),
        ({"scopes": 7}, "scopes"),
        ({"scopes": [7]}, "scopes"),
    ],
)
def test_misuse_is_a_value_error(world: World, store: TrustStore, wrong: dict[str, Any], what: str) -> None:
    """What only the caller can have got wrong is a ValueError and never a verdict."""
    asked: dict[str, Any] = {"token": world.token(), "audience": AUDIENCE, "now": NOW} | wrong
    token = asked.pop("token")
    with pytest.raises(ValueError, match=what):
        verify(token, store, **asked)


# V1 to V3: the bytes


def test_size(world: World, store: TrustStore) -> None:
    """V1: a token of 64 KiB is read, one byte more is too large, and that whatever it holds."""
    assert reason(store, "a" * 64 * 1024) is Reason.MALFORMED
    assert reason(store, "a" * (64 * 1024 + 1)) is Reason.TOO_LARGE
    assert reason(store, world.token() + "A" * 65536) is Reason.TOO_LARGE


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda _: ".",
        lambda _: "..",
        lambda token: token.rpartition(".")[0],
        lambda token: token + ".",
        lambda token: token + ".AA",
        lambda token: token + "=",
        lambda token: token + "==",
        lambda token: token.replace(".", "=.", 1),
        lambda token: token.replace(".", "==.", 2),
        lambda token: " " + token,
        lambda token: token + "\n",
        lambda token: token.replace(".", "\n.", 1),
        lambda token: token[:-1] + "é",
        lambda token: token + "\x00",
        lambda token: token[:-1] + "+",
        lambda token: token[:-1] + "/",
        lambda token: token.encode() + b"\xff",
        lambda token: json.dumps({"payload": token.split(".")[1], "signatures": []}),
        lambda token: json.dumps([token]),
        lambda token: "Bearer " + token,
        lambda token: token + "." + "AAAA" + "." + "AAAA",
    ],
)
def test_envelope(world: World, store: TrustStore, spoil: Callable[[str], str | bytes]) -> None:
    """V2: anything but three parts of canonical base64url is malformed, the JSON serialization included."""
    assert reason(store, spoil(world.token())) is Reason.MALFORMED


HEADERS: dict[str, Callable[[dict[str, Json]], bytes]] = {
    "crit": lambda header: dumps({**header, "crit": ["exp"]}),
    "unknown crit": lambda header: dumps({**header, "crit": ["b64"], "b64": False}),
    "empty crit": lambda header: dumps({**header, "crit": []}),
    "zip": lambda header: dumps({**header, "zip": "DEF"}),
    "jku": lambda header: dumps({**header, "jku": "https://evil.example/jwks"}),
    "x5u": lambda header: dumps({**header, "x5u": "https://evil.example/x5u"}),
    "x5c": lambda header: dumps({**header, "x5c": ["AAAA"]}),
    "cty": lambda header: dumps({**header, "cty": "JWT"}),
    "no kid": lambda header: dumps({name: value for name, value in header.items() if name != "kid"}),
    "no typ": lambda header: dumps({name: value for name, value in header.items() if name != "typ"}),
    "no alg": lambda header: dumps({name: value for name, value in header.items() if name != "alg"}),
    "empty kid": lambda header: dumps({**header, "kid": ""}),
    "kid is a number": lambda header: dumps({**header, "kid": 7}),
    "alg is null": lambda header: dumps({**header, "alg": None}),
    "alg is a list": lambda header: dumps({**header, "alg": ["ES256"]}),
    "duplicate alg": lambda header: dumps(header)[:-1] + b',"alg":"ES256"}',
    "duplicate kid": lambda header: b'{"kid":"other",' + dumps(header)[1:],
    "not an object": lambda header: dumps([header]),
    "not JSON": lambda _: b"\xff\xfe",
    "empty": lambda _: b"",
    "byte order mark": lambda header: b"\xef\xbb\xbf" + dumps(header),
    "trailing bytes": lambda header: dumps(header) + b"{}",
    "nested": lambda _: b"[" * 200 + b"]" * 200,
    "long": lambda header: dumps({**header, "kid": "k" * 1000}),
}


@pytest.mark.parametrize("case", HEADERS)
def test_header(world: World, store: TrustStore, case: str) -> None:
    """V3: a header that is not exactly alg, kid and typ is malformed, also under a good signature."""
    token = world.raw_token(HEADERS[case](world.header()), world.payload())
    assert reason(store, token) is Reason.MALFORMED


def test_an_embedded_key_is_never_believed(world: World, store: TrustStore) -> None:
    """V3: a token that brings its own key, and is signed by it, is malformed."""
    thief = Signer.named("thief")
    header = world.header(jwk=thief.public.jwk(), kid=thief.kid)
    assert reason(store, world.raw_token(header, world.payload(), thief)) is Reason.MALFORMED


# V4 to V6: the key


def test_unknown_key(world: World, store: TrustStore) -> None:
    """V4: a key that this site does not trust is unknown, even one of the same appliance."""
    for key in (Signer.named("thief"), world.bundle_key):
        assert reason(store, world.token(key=key)) is Reason.UNKNOWN_KEY
    assert reason(store, world.raw_token(world.header(kid="../../etc/passwd"), world.payload())) is Reason.UNKNOWN_KEY


ALGORITHMS = ["none", "None", "NONE", "HS256", "HS384", "HS512", "RS256", "PS256", "ES384", "ES512", "ES256K", "es256"]


@pytest.mark.parametrize("alg", [*ALGORITHMS, "EdDSA", "Ed25519", "ML-DSA-65", "ES256 "])
def test_the_token_does_not_choose_the_algorithm(world: World, store: TrustStore, alg: str) -> None:
    """V5: any alg but the key's one is refused, with the key's signature and with none at all."""
    assert reason(store, world.raw_token(world.header(alg=alg), world.payload())) is Reason.WRONG_ALGORITHM
    unsigned = world.raw_token(world.header(alg=alg), world.payload()).rpartition(".")[0] + "."
    assert reason(store, unsigned) is Reason.WRONG_ALGORITHM


@pytest.mark.parametrize(
    "typ", [*(typ.value for typ in Typ if typ is not Typ.ACCESS), "AT+JWT", "application/at+jwt", "x"]
)
def test_typ_is_the_kind_asked_for(world: World, store: TrustStore, typ: str) -> None:
    """V6: any other typ, even one that means the same elsewhere, is the wrong kind."""
    assert reason(store, world.raw_token(world.header(typ=typ), world.payload())) is Reason.WRONG_KIND


def test_a_key_signs_one_kind(world: World, store: TrustStore) -> None:
    """V6: a key for SVIDs or status lists does not sign access tokens, whatever the token says of itself."""
    assert reason(store, world.token(key=world.svid_key)) is Reason.WRONG_KIND
    assert reason(store, world.token(key=world.status_key)) is Reason.WRONG_KIND
    svid = world.token(Kind.SVID, key=world.access_key)
    assert reason(store, svid, kind=Kind.SVID, audience=SVID_AUDIENCE) is Reason.WRONG_KIND
    assert reason(store, world.status_list()) is Reason.WRONG_KIND


# V7, V8: the signature and the claims


def test_signature(world: World, store: TrustStore) -> None:
    """V7: a signature by another key, over other bytes, of another length or of zeros does not verify."""
    signing_input, _, signature = world.token().rpartition(".")
    raw = b64u_decode(signature)
    thief = Signer.named("thief").sign(signing_input.encode())
    for wrong in (b"", raw[:-1], raw + b"\x00", bytes(64), b"\xff" * 64, raw[32:] + raw[:32], thief):
        assert reason(store, f"{signing_input}.{b64u_encode(wrong)}") is Reason.BAD_SIGNATURE


def test_the_twin_of_a_signature_gives_the_same_credential(world: World, store: TrustStore) -> None:
    """V7: (r, n-s) verifies too, which is why nothing here counts or names tokens by their signature (R6)."""
    signing_input, _, signature = world.token().rpartition(".")
    other = f"{signing_input}.{b64u_encode(twin(b64u_decode(signature)))}"
    assert other != world.token()
    assert verify(other, store, audience=AUDIENCE, now=NOW) == verify(world.token(), store, audience=AUDIENCE, now=NOW)


CLAIMS: dict[str, Callable[[dict[str, Json]], bytes]] = {
    "unknown claim": lambda claims: dumps({**claims, "admin": True}),
    "aud is a list": lambda claims: dumps({**claims, "aud": [AUDIENCE]}),
    "exp is a text": lambda claims: dumps({**claims, "exp": str(claims["exp"])}),
    "exp is a float": lambda claims: dumps(claims).replace(b'"exp":1800000900', b'"exp":1800000900.5'),
    "exp is an exponent": lambda claims: dumps(claims).replace(b'"exp":1800000900', b'"exp":2e9'),
    "exp is true": lambda claims: dumps({**claims, "exp": True}),
    "exp is null": lambda claims: dumps({**claims, "exp": None}),
    "exp is huge": lambda claims: dumps(claims).replace(b'"exp":1800000900', b'"exp":' + b"9" * 400),
    "exp is infinite": lambda claims: dumps(claims).replace(b'"exp":1800000900', b'"exp":Infinity'),
    "exp is not after nbf": lambda claims: dumps({**claims, "exp": claims["nbf"]}),
    "nbf is before iat": lambda claims: dumps({**claims, "nbf": NOW - 1}),
    "client_id is another": lambda claims: dumps({**claims, "client_id": SUBJECT + "x"}),
    "duplicate exp": lambda claims: dumps(claims)[:-1] + b',"exp":1900000000}',
    "duplicate in status": lambda claims: dumps(claims).replace(b'{"idx":7,', b'{"idx":8,"idx":7,'),
    "scope twice": lambda claims: dumps({**claims, "scope": "a a"}),
    "scope with two spaces": lambda claims: dumps({**claims, "scope": "a  b"}),
    "lone surrogate": lambda claims: dumps({**claims, "purpose": "x"}).replace(b'"x"', rb'"\ud800"'),
    "negative index": lambda claims: dumps({**claims, "status": {"status_list": {"idx": -1, "uri": STATUS_URI}}}),
    "not an object": lambda _: b"[]",
    "not JSON": lambda _: b"{",
    "empty": lambda _: b"",
    "trailing bytes": lambda claims: dumps(claims) + b" x",
    "byte order mark": lambda claims: b"\xef\xbb\xbf" + dumps(claims),
    "UTF-16": lambda claims: dumps(claims).decode().encode("utf-16"),
    "deep": lambda _: b"[" * 10_000,
    "deep and closed": lambda _: b'{"a":' * 500 + b"1" + b"}" * 500,
    "long": lambda claims: dumps({**claims, "purpose": "p" * 17_000}),
    "cnf of another form": lambda claims: dumps({**claims, "cnf": {"jwk": {}}}),
}


@pytest.mark.parametrize(
    "name", ["iss", "sub", "client_id", "aud", "iat", "nbf", "exp", "jti", "status", "log", "profile"]
)
def test_a_claim_is_missing(world: World, store: TrustStore, name: str) -> None:
    """V8: every claim of a credential is there, `exp` and `nbf` above all."""
    claims = json.loads(world.payload())
    del claims[name]
    assert reason(store, world.raw_token(world.header(), dumps(claims))) is Reason.MALFORMED


@pytest.mark.parametrize("case", CLAIMS)
def test_claims(world: World, store: TrustStore, case: str) -> None:
    """V8: claims that are missing, foreign, of another type or not strict JSON are malformed under a good signature."""
    token = world.raw_token(world.header(), CLAIMS[case](json.loads(world.payload())))
    assert reason(store, token) is Reason.MALFORMED


def test_a_changed_payload_is_a_bad_signature_whatever_it_says(world: World, store: TrustStore) -> None:
    """V7 before V8: claims are read only once they are known to be the issuer's."""
    header, _, signature = world.token().split(".")
    for payload in (b"{", b"", world.payload(expires_at=NOW + 901), b"[" * 1000):
        assert reason(store, f"{header}.{b64u_encode(payload)}.{signature}") is Reason.BAD_SIGNATURE


# V9, V10: time and trust


@pytest.mark.parametrize(
    ("now", "expected"), [(-121, Reason.CLOCK_BEHIND_FLOOR), (-120, None), (-119, None), (0, None)]
)
def test_floor(world: World, store: TrustStore, now: int, expected: Reason | None) -> None:
    """V9: a clock over 120 s before the bundle's issue is behind the floor; exactly 120 s is not."""
    token = world.token(issued_at=NOW - HOUR, not_before=NOW - HOUR, expires_at=NOW)
    assert reason(store, token, now=NOW + now) in {expected, Reason.EXPIRED}
    assert (reason(store, token, now=NOW + now) is Reason.CLOCK_BEHIND_FLOOR) is (expected is not None)


@pytest.mark.parametrize(
    ("now", "expected"), [(-1, Reason.EXPIRED), (0, Reason.TRUST_EXPIRED), (1, Reason.TRUST_EXPIRED)]
)
def test_end_of_trust(world: World, store: TrustStore, now: int, expected: Reason) -> None:
    """V10: from its end on, trust is nothing; a second before, the credential is what expired."""
    assert reason(store, world.token(), now=store.times.end + now) is expected


@pytest.mark.parametrize("now", [0, 1, 2**31, 4_291_747_199, 253_402_300_799, 1e18, -1e18, 1.5])
def test_any_clock_gets_a_verdict(world: World, store: TrustStore, now: float) -> None:
    """A clock at 1970, past 2038, past 2106 or far outside gives a reason and no traceback."""
    expected = Reason.CLOCK_BEHIND_FLOOR if now < NOW else Reason.TRUST_EXPIRED
    assert reason(store, world.token(), now=now) is expected


# V11 to V15: what the key may sign


def test_taint(world: World, store: TrustStore) -> None:
    """V11: nothing under a tainted key is believed, and what is under other keys still is."""
    tainted = dataclasses.replace(store, taints=frozenset({world.access_key.kid}))
    assert reason(tainted, world.token()) is Reason.KEY_TAINTED
    assert reason(tainted, world.token(Kind.SVID), kind=Kind.SVID, audience=SVID_AUDIENCE) is None


@pytest.mark.parametrize(
    ("not_before", "expires_at", "expected"),
    [
        (NOW, NOW + 900, None),
        (NOW + 1, NOW + 900, Reason.KEY_OUT_OF_VALIDITY),
        (NOW, NOW + 899, Reason.KEY_OUT_OF_VALIDITY),
        (NOW - 1, NOW + 901, None),
    ],
)
def test_key_validity(
    world: World, store: TrustStore, not_before: int, expires_at: int, expected: Reason | None
) -> None:
    """V12: the whole window lies within the key's validity, both ends included."""
    kid = world.access_key.kid
    key = dataclasses.replace(store.keys[kid], not_before=not_before, expires_at=expires_at)
    assert reason(dataclasses.replace(store, keys={**store.keys, kid: key}), world.token()) is expected


def test_issuer(world: World, store: TrustStore) -> None:
    """V13: another issuer than this appliance's is wrong, though the key's charter named it."""
    assert reason(store, world.token(issuer="https://issuer.evil.example")) is Reason.WRONG_ISSUER
    other = dataclasses.replace(store, identity=world.identity(issuer="https://issuer.other.example"))
    assert reason(other, world.token()) is Reason.WRONG_ISSUER


OUTSIDE: dict[str, dict[str, Any]] = {
    "subject of another domain": {"subject": "spiffe://evil.example/line/1/robot-7"},
    "audience": {"audiences": ("https://payroll.plant-a.example",)},
    "horizon": {"issued_at": NOW - DAY, "not_before": NOW, "expires_at": NOW + 900},
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_charter(world: World, store: TrustStore, case: str) -> None:
    """V14: what the key's charter does not cover is rejected though the key signed it (R13); so before V16."""
    token = world.token(**OUTSIDE[case])
    assert reason(store, token) is Reason.CHARTER_EXCEEDED
    assert reason(store, token, audience="https://nobody.example") is Reason.CHARTER_EXCEEDED


@pytest.mark.parametrize(
    ("lifetime", "expected"), [(HOUR - 1, None), (HOUR, None), (HOUR + 1, Reason.LIFETIME_TOO_LONG)]
)
def test_lifetime(world: World, store: TrustStore, lifetime: int, expected: Reason | None) -> None:
    """V15: a window longer than the charter's lifetime has its own reason when nothing else is outside."""
    assert reason(store, world.token(expires_at=NOW + lifetime)) is expected


def test_lifetime_and_more_is_charter_exceeded(world: World, store: TrustStore) -> None:
    """V14 before V15: a window too long for a horizon too far is outside the charter in more than its length."""
    assert reason(store, world.token(expires_at=NOW + 2 * DAY)) is Reason.CHARTER_EXCEEDED


# V16 to V19: what the caller asked for


@pytest.mark.parametrize(
    "audience",
    [
        OTHER_AUDIENCE,
        AUDIENCE + "/",
        AUDIENCE.upper(),
        AUDIENCE[:-1],
        AUDIENCE + " ",
        "*",
        "\x1b[2J",
        "é",
        "a" * 100_000,
    ],
)
def test_audience(world: World, store: TrustStore, audience: str) -> None:
    """V16: the audience is compared exactly; anything else, however close, is another."""
    assert reason(store, world.token(), audience=audience) is Reason.WRONG_AUDIENCE


@pytest.mark.parametrize(("now", "expected"), [(-1, None), (0, Reason.EXPIRED), (1, Reason.EXPIRED)])
def test_expiry(world: World, store: TrustStore, now: int, expected: Reason | None) -> None:
    """V17 at -1, 0, +1 s: the second of exp is already over, and there is no leeway."""
    assert reason(store, world.token(), now=NOW + 900 + now) is expected


@pytest.mark.parametrize(("now", "expected"), [(-1, Reason.NOT_YET_VALID), (0, None), (1, None)])
def test_not_before(world: World, store: TrustStore, now: int, expected: Reason | None) -> None:
    """V18 at -1, 0, +1 s: the second of nbf is the first that counts, and there is no leeway."""
    assert reason(store, world.token(not_before=NOW + 10), now=NOW + 10 + now) is expected


@pytest.mark.parametrize("now", [NOW + 899.999, NOW + 899.5, float(NOW)])
def test_fractions_of_a_second_count(world: World, store: TrustStore, now: float) -> None:
    """V17: the last part of the last second is still inside the window."""
    assert reason(store, world.token(), now=now) is None
    assert reason(store, world.token(), now=NOW + 900.0) is Reason.EXPIRED


def test_expired_where_the_key_is_over_too(world: World, store: TrustStore) -> None:
    """V17: an old credential under an old key is expired, which is what its holder can act upon."""
    kid = world.access_key.kid
    key = dataclasses.replace(store.keys[kid], expires_at=NOW + 900)
    assert (
        reason(dataclasses.replace(store, keys={**store.keys, kid: key}), world.token(), now=NOW + 901)
        is Reason.EXPIRED
    )


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ((), None),
        (("orders:read",), None),
        ({"orders:write", "orders:read"}, None),
        (["orders:delete"], Reason.SCOPE_MISSING),
        (["orders:read", "orders:delete"], Reason.SCOPE_MISSING),
        (["orders:read orders:write"], Reason.SCOPE_MISSING),
        (["orders"], Reason.SCOPE_MISSING),
        (["\x1b[2J"], Reason.SCOPE_MISSING),
    ],
)
def test_scopes(world: World, store: TrustStore, scopes: Any, expected: Reason | None) -> None:
    """V19: every scope that the caller needs must be granted, each as one word."""
    assert reason(store, world.token(), scopes=scopes) is expected


# V20, V21: revocation


def test_status_list_is_missing(world: World, store: TrustStore) -> None:
    """V20: a list that the bundle does not hold is not fetched; the credential is rejected."""
    token = world.token(status=StatusReference(f"{ISSUER}/status/{SITE}/2", 7))
    assert reason(store, token) is Reason.STATUS_UNAVAILABLE


def test_status_list_is_over(world: World, store: TrustStore) -> None:
    """V20: a list counts until its own exp, and not at it."""
    found = dataclasses.replace(store.status_lists[STATUS_URI], expires_at=NOW + 60)
    older = dataclasses.replace(store, status_lists={STATUS_URI: found})
    assert reason(older, world.token(), now=NOW + 59) is None
    assert reason(older, world.token(), now=NOW + 60) is Reason.STATUS_UNAVAILABLE


@pytest.mark.parametrize(
    ("index", "expected"), [(SIZE - 1, None), (SIZE, Reason.STATUS_UNAVAILABLE), (2**53 - 1, Reason.STATUS_UNAVAILABLE)]
)
def test_status_index(world: World, store: TrustStore, index: int, expected: Reason | None) -> None:
    """V20: an index outside the list is no reason to believe."""
    assert reason(store, world.token(status=StatusReference(STATUS_URI, index))) is expected


@pytest.mark.parametrize(("index", "expected"), [(6, None), (7, Reason.REVOKED), (8, None)])
def test_revoked(world: World, store: TrustStore, index: int, expected: Reason | None) -> None:
    """V21: the bit of exactly this credential decides."""
    revoking = StatusList(STATUS_URI, bits_with({7}), NOW, NOW + DAY, 3600)
    found = dataclasses.replace(store, status_lists={STATUS_URI: revoking})
    assert reason(found, world.token(status=StatusReference(STATUS_URI, index))) is expected


# V22, V23: freshness and holder


def long_lived(world: World, profile: str) -> str:
    """Return a credential that is in force at any time of the bundle's span."""
    return world.token(profile=profile, not_before=NOW, expires_at=NOW + HOUR)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (-120, Freshness.FRESH),
        (0, Freshness.FRESH),
        (99, Freshness.FRESH),
        (100, Freshness.AGEING),
        (199, Freshness.AGEING),
        (200, Freshness.STALE),
        (299, Freshness.STALE),
    ],
)
def test_freshness(world: World, store: TrustStore, age: int, expected: Freshness) -> None:
    """Freshness is a verdict beside accepted, with its boundaries at ageing_after and stale_after."""
    times = with_times(store, issued_at=NOW, ageing_after=NOW + 100, stale_after=NOW + 200, end=NOW + 300)
    assert times.freshness(NOW + age) is expected
    if age >= 0:
        found = verify(world.token(), times, audience=AUDIENCE, now=NOW + age)
        assert (found.freshness, found.bundle_age) == (expected, age)


def test_freshness_cannot_be_told_by_a_clock_that_is_behind(store: TrustStore) -> None:
    """A clock behind the floor knows no age: freshness is none."""
    assert store.freshness(NOW - 121) is Freshness.NONE


@pytest.mark.parametrize(("age", "expected"), [(199, None), (200, Reason.TRUST_EXPIRED)])
@pytest.mark.parametrize("profile", ["strict", "never-heard-of"])
def test_stale_refused(world: World, store: TrustStore, profile: str, age: int, expected: Reason | None) -> None:
    """V22: a profile that refuses stale trust, or one that this site does not know, is held to fresher trust."""
    times = with_times(store, issued_at=NOW, ageing_after=NOW + 100, stale_after=NOW + 200, end=NOW + 300)
    assert reason(times, long_lived(world, profile), now=NOW + age) is expected
    assert reason(times, long_lived(world, "orders-access"), now=NOW + age) is None


def test_holder(world: World, store: TrustStore) -> None:
    """V23: a credential bound to a key is no bearer token (R25)."""
    assert reason(store, world.token(confirmation=THUMBPRINT)) is Reason.HOLDER_PROOF_MISSING


# The order


def test_the_most_specific_reason_wins(world: World, store: TrustStore) -> None:
    """A credential that breaks every rule from one check on is rejected for that check; mended, for the next."""
    kid = world.access_key.kid
    revoking = StatusList(STATUS_URI, bits_with({7}), NOW, NOW + DAY, 3600)
    broken = with_times(store, issued_at=NOW + 1000, ageing_after=NOW + 1000, stale_after=NOW + 1000)
    broken = dataclasses.replace(
        broken,
        taints=frozenset({kid}),
        keys={**store.keys, kid: dataclasses.replace(store.keys[kid], not_before=NOW + 101)},
        identity=world.identity(issuer="https://issuer.other.example"),
        status_lists={},
        profiles={},
    )
    claims: dict[str, Any] = {"audiences": ("https://payroll.plant-a.example",), "expires_at": NOW + HOUR + 1}
    asked: dict[str, Any] = {"audience": OTHER_AUDIENCE, "scopes": ["x"], "now": NOW}
    found = []

    def note() -> None:
        token = world.token(confirmation=THUMBPRINT, not_before=NOW + 100, **claims)
        found.append(reason(broken, token, **asked))

    note()
    broken = with_times(broken, issued_at=NOW, end=NOW)
    note()
    broken = with_times(broken, ageing_after=NOW, stale_after=NOW, end=NOW + DAY)
    note()
    broken = dataclasses.replace(broken, taints=frozenset())
    note()
    broken = dataclasses.replace(broken, keys=store.keys)
    note()
    broken = dataclasses.replace(broken, identity=store.identity)
    note()
    claims = {"expires_at": NOW + 101 + HOUR}
    note()
    claims = {"expires_at": NOW + 200}
    note()
    asked["audience"] = AUDIENCE
    note()
    asked["now"] = NOW + 100
    note()
    asked["scopes"] = []
    note()
    broken = dataclasses.replace(broken, status_lists={STATUS_URI: revoking})
    note()
    broken = dataclasses.replace(broken, status_lists=store.status_lists)
    note()
    broken = dataclasses.replace(broken, profiles=store.profiles)
    note()
    assert found == [
        Reason.CLOCK_BEHIND_FLOOR,
        Reason.TRUST_EXPIRED,
        Reason.KEY_TAINTED,
        Reason.KEY_OUT_OF_VALIDITY,
        Reason.WRONG_ISSUER,
        Reason.CHARTER_EXCEEDED,
        Reason.LIFETIME_TOO_LONG,
        Reason.WRONG_AUDIENCE,
        Reason.NOT_YET_VALID,
        Reason.SCOPE_MISSING,
        Reason.STATUS_UNAVAILABLE,
        Reason.REVOKED,
        Reason.TRUST_EXPIRED,
        Reason.HOLDER_PROOF_MISSING,
    ]


# Hostile input


@pytest.mark.parametrize(
    "token",
    [
        "[" * 1_000_000,
        b"\x00" * 2**20,
        "." * 65536,
        "." * 65537,
        "A" * 65536,
        b64u_encode(b"[" * 300) + ".AAAA.AAAA",
        b64u_encode(b'{"a":' * 80) + ".AAAA.AAAA",
        b64u_encode(b"[" * 17 + b'"' + rb"\"" * 20_000) + ".AAAA.AAAA",
        b64u_encode(zlib.compress(bytes(10**7))) + ".AAAA.AAAA",
        "e30." * 10_000,
        "\ud800.\ud800.\ud800",
    ],
    ids=repr,
)
def test_hostile_input_costs_nothing(store: TrustStore, token: str | bytes) -> None:
    """Size, depth and nonsense are refused with a reason and in a blink, never with a traceback."""
    begin = time.process_time()
    assert reason(store, token) in {Reason.MALFORMED, Reason.TOO_LARGE}
    assert time.process_time() - begin < 0.25


def test_a_signed_payload_with_an_endless_string_costs_nothing(world: World, store: TrustStore) -> None:
    """Brackets before a string that never ends, full of escaped quotes, are read once and not once for each quote."""
    token = world.raw_token(world.header(), b"[" * 17 + b'"' + rb"\"" * 8_000)
    begin = time.process_time()
    assert reason(store, token) is Reason.MALFORMED
    assert time.process_time() - begin < 0.25


@settings(deadline=None)
@given(st.text(max_size=300) | st.binary(max_size=300))
def test_any_text_gets_a_reason(store: TrustStore, token: str | bytes) -> None:
    """Whatever is presented as a token is rejected with a reason and without a traceback."""
    assert reason(store, token) is Reason.MALFORMED


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_signed_payload_gets_a_reason(world: World, store: TrustStore, payload: bytes) -> None:
    """Whatever an issuer's key may have signed is rejected with a reason and without a traceback."""
    assert reason(store, world.raw_token(world.header(), payload)) is Reason.MALFORMED
