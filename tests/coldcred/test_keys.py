"""Keys: algorithms, JWK, thumbprints and signatures, held to foreign vectors.

RFC 8032 section 7.1 (Ed25519, tests/vectors/rfc8032); RFC 6979 section A.2.5 (ECDSA P-256 with SHA-256); RFC 8037
sections A.1 to A.3 (Ed25519 as JWK, its thumbprint); RFC 7517 section A.1 (a P-256 JWK); Wycheproof's ECDSA P-256
SHA-256 P1363 and Ed25519 files (tests/vectors/wycheproof, whole). Origins and licences: tests/vectors/README.md.
"""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import import_key

from coldcred.canonical import Json, b64u_encode
from coldcred.errors import BadSignature, Malformed
from coldcred.keys import Algorithm, PublicKey
from tests.support.signers import Signer, twin
from tests.support.values import JSON_VALUES, MISSING, THOROUGH, edited

VECTORS = Path(__file__).parents[1] / "vectors"

RFC_6979_PUBLIC = (
    "04"
    "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
    "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
)
RFC_6979_SHA256 = {
    b"sample": "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
    "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
    b"test": "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367"
    "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
}

RFC_8037_JWK: dict[str, Json] = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
RFC_8037_PRIVATE = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
RFC_8037_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"

RFC_7517_JWK: dict[str, Json] = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}

KEY_7517 = PublicKey.from_jwk(RFC_7517_JWK)

FIELD = 2**255 - 19


def wycheproof(name: str, sha256: str, count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Give (group, test) for each test of a Wycheproof file, after checking that it is the whole, unchanged file."""
    data = (VECTORS / "wycheproof" / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == sha256
    document = json.loads(data)
    tests = [(group, test) for group in document["testGroups"] for test in group["tests"]]
    assert len(tests) == document["numberOfTests"] == count
    return tests


def verifies(key: PublicKey, test: dict[str, Any]) -> bool:
    """Whether the signature of a Wycheproof test verifies."""
    try:
        key.verify(bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))
    except BadSignature:
        return False
    return True


def test_rfc_8032_ed25519() -> None:
    """All five tests of section 7.1: our key verifies the signature and no other message."""
    vectors = json.loads((VECTORS / "rfc8032" / "ed25519.json").read_text())
    assert [vector["name"] for vector in vectors] == ["TEST 1", "TEST 2", "TEST 3", "TEST 1024", "TEST SHA(abc)"]
    for vector in vectors:
        secret, public, message, signature = (
            bytes.fromhex(vector[name]) for name in ("secret", "public", "message", "signature")
        )
        private = ed25519.Ed25519PrivateKey.from_private_bytes(secret)  # proves that the file was not mistyped
        assert private.sign(message) == signature
        key = PublicKey(Algorithm.ED25519, public)
        assert key == PublicKey.from_cryptography(private.public_key())
        key.verify(signature, message)
        with pytest.raises(BadSignature):
            key.verify(signature, message + b"\x00")


@pytest.mark.parametrize("message", RFC_6979_SHA256)
def test_rfc_6979_p256_sha256(message: bytes) -> None:
    """The signatures of section A.2.5 verify as r||s, and so do their twins (r, n-s), why R6 hashes neither."""
    key = PublicKey(Algorithm.ES256, bytes.fromhex(RFC_6979_PUBLIC))
    signature = bytes.fromhex(RFC_6979_SHA256[message])
    key.verify(signature, message)
    key.verify(twin(signature), message)
    for other in (b"", message + b".", message.upper()):
        with pytest.raises(BadSignature):
            key.verify(signature, other)


def test_rfc_8037_key_and_thumbprint() -> None:
    """Sections A.1 to A.3: the public half, its JWK and its thumbprint."""
    key = PublicKey.from_jwk(RFC_8037_JWK)
    private = Signer.named("any", Algorithm.ED25519)
    assert key.algorithm is Algorithm.ED25519
    assert key.jwk() == RFC_8037_JWK
    assert key.thumbprint == RFC_8037_THUMBPRINT
    assert key.raw.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    with pytest.raises(Malformed, match="member 'd' is not known here"):
        PublicKey.from_jwk({**RFC_8037_JWK, "d": RFC_8037_PRIVATE})
    assert private.public != key


def test_rfc_7517_p256_key() -> None:
    """Section A.1's EC key, whose `use: enc` and free-form `kid` we leave out because we refuse both."""
    key = PublicKey.from_jwk(RFC_7517_JWK)
    assert key.algorithm is Algorithm.ES256
    assert key.jwk() == RFC_7517_JWK
    for member, value in (("use", "enc"), ("kid", "1")):
        with pytest.raises(Malformed):
            PublicKey.from_jwk({**RFC_7517_JWK, member: value})


def test_wycheproof_ecdsa_p256_sha256_p1363() -> None:
    """262 of 262: every valid signature verifies and no invalid one, special points and sizes included."""
    tests = wycheproof(
        "ecdsa_secp256r1_sha256_p1363_test.json",
        "c60de693930e386c3a5472d08081623ef8504decc54b38ac01ec6b2a2575c986",
        262,
    )
    jwks = 0
    for group, test in tests:
        key = PublicKey(Algorithm.ES256, bytes.fromhex(group["publicKey"]["uncompressed"]))
        if "publicKeyJwk" in group:
            jwk = {name: value for name, value in group["publicKeyJwk"].items() if name != "kid"}
            assert PublicKey.from_jwk(jwk) == key
            jwks += 1
        assert verifies(key, test) is (test["result"] == "valid"), test
    assert jwks == 252
    assert {test["result"] for _, test in tests} == {"valid", "invalid"}


def test_wycheproof_ed25519() -> None:
    """210 of 210; the 8 keys of small order, which a verifier may take, we refuse as keys.

    The 21 "acceptable" signatures under keys of mixed order verify: whoever holds such a key gains nothing by it.
    """
    tests = wycheproof("ed25519_test.json", "ea80ffebac085e21cb9d3e903e7fa2b448d96702da5b31f061d0b83b430b74b3", 210)
    seen = {"valid": 0, "invalid": 0, "refused key": 0, "mixed order": 0}
    for group, test in tests:
        raw = bytes.fromhex(group["publicKey"]["pk"])
        if test["flags"] == ["SmallOrderPublicKey"]:
            with pytest.raises(Malformed, match="not a Ed25519 public key"):
                PublicKey(Algorithm.ED25519, raw)
            seen["refused key"] += 1
            continue
        verified = verifies(PublicKey(Algorithm.ED25519, raw), test)
        if test["result"] == "acceptable":
            assert test["flags"] == ["MixedOrderPublicKey"]
            assert verified
            seen["mixed order"] += 1
        else:
            assert verified is (test["result"] == "valid"), test
            seen[test["result"]] += 1
    assert seen == {"valid": 117, "invalid": 64, "refused key": 8, "mixed order": 21}


def test_under_a_key_of_small_order_anybody_signs() -> None:
    """Why such keys are refused: the library alone takes Wycheproof's forgery under the identity as a key."""
    forgeries = [
        test
        for _, test in wycheproof(
            "ed25519_test.json", "ea80ffebac085e21cb9d3e903e7fa2b448d96702da5b31f061d0b83b430b74b3", 210
        )
        if test["comment"] == "identity public key universal forgery"
    ]
    identity = ed25519.Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31))
    assert len(forgeries) == 1
    for message in (bytes.fromhex(forgeries[0]["msg"]), b"any other message"):
        identity.verify(bytes.fromhex(forgeries[0]["sig"]), message)
    with pytest.raises(Malformed):
        PublicKey.from_cryptography(identity)


def _edwards(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(31),
        bytes(33),
        _edwards(2),  # y = 2 has no x on the curve
        _edwards(0),
        _edwards(0, 1),
        _edwards(1),
        _edwards(1, 1),
        _edwards(FIELD - 1),
        _edwards(FIELD - 1, 1),
        _edwards(FIELD),  # a second spelling of y = 0
        _edwards(FIELD + 1),
        _edwards(FIELD + 3),  # y = 3 is a point, its second spelling is not
        _edwards(2**255 - 1),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    ],
    ids=lambda raw: raw.hex()[:16] or "empty",
)
def test_what_is_no_ed25519_key(raw: bytes) -> None:
    """Other lengths, bytes off the curve, second spellings and points of order 1, 2, 4 and 8 are refused."""
    with pytest.raises(Malformed):
        PublicKey(Algorithm.ED25519, raw)


def test_the_smallest_ordinary_point_is_a_key() -> None:
    """Y = 3 lies on the curve and has a large order, so the check above does not refuse everything odd."""
    for sign in (0, 1):
        assert PublicKey(Algorithm.ED25519, _edwards(3, sign)).raw == _edwards(3, sign)


POINT = bytes.fromhex(RFC_6979_PUBLIC)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\x00" * 65,
        POINT[:33],
        b"\x02" + POINT[1:33],
        b"\x06" + POINT[1:],
        b"\x07" + POINT[1:],
        b"\x02" + POINT[1:],
        POINT[:-1],
        POINT + b"\x00",
        POINT[:-1] + bytes([POINT[-1] ^ 1]),
        b"\x04" + bytes(64),
        b"\x04" + b"\xff" * 64,
    ],
    ids=lambda raw: f"{raw[:2].hex()}-{len(raw)}",
)
def test_what_is_no_p256_key(raw: bytes) -> None:
    """Only an uncompressed point of the curve: nothing compressed, hybrid, cut, longer, infinite or off the curve."""
    with pytest.raises(Malformed, match="not a ES256 public key"):
        PublicKey(Algorithm.ES256, raw)


BAD_MEMBERS: dict[str, list[object]] = {
    "kty": [MISSING, None, "", "RSA", "oct", "ec", ["EC"]],
    "crv": [MISSING, None, "P-384", "p-256", "Ed448", "X25519", {}],
    "x": [MISSING, None, "", "AA", "A" * 43 + "=", "A" * 44, "A" * 43, 1, "\u0661" * 43],
    "kid": [None, "", "1", 1, RFC_8037_THUMBPRINT[:-1]],
    "alg": [None, "none", "HS256", "EdDSA", "es256", "RS256", 1],
    "use": [None, "enc", "jwt-svid", ["sig"]],
    "key_ops": [["verify"]],
    "x5c": [[]],
    "d": [RFC_8037_PRIVATE],
    "k": ["AA"],
    "\x1b[2J": [1],
}


@pytest.mark.parametrize(
    ("base", "path", "value"),
    [
        (base, name, value)
        for base in (RFC_7517_JWK, RFC_8037_JWK)
        for name, values in BAD_MEMBERS.items()
        for value in values
    ],
)
def test_other_jwks_are_refused(base: dict[str, Json], path: str, value: object) -> None:
    """Members missing, of another type, of another key or unknown here: `Malformed`, in one tame line."""
    with pytest.raises(Malformed) as caught:
        PublicKey.from_jwk(edited(base, [path], value))
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert RFC_8037_PRIVATE not in str(caught.value)


def test_a_jwk_with_the_other_curves_members_is_refused() -> None:
    """No `y` on Ed25519, none missing on P-256, no coordinates exchanged, no algorithm of the other curve."""
    for jwk in (
        {**RFC_8037_JWK, "y": RFC_7517_JWK["y"]},
        edited(RFC_7517_JWK, ["y"], MISSING),
        {**RFC_7517_JWK, "x": RFC_7517_JWK["y"], "y": RFC_7517_JWK["x"]},
        {**RFC_7517_JWK, "crv": "Ed25519"},
        {**RFC_7517_JWK, "x": b64u_encode(KEY_7517.raw[1:34]), "y": b64u_encode(KEY_7517.raw[34:])},
        {**RFC_7517_JWK, "x": b64u_encode(b"\x00" + KEY_7517.raw[1:33])},
        {**RFC_8037_JWK, "alg": "ES256"},
        {**RFC_7517_JWK, "alg": "Ed25519"},
        {**RFC_7517_JWK, "alg": "A" * 4000 + "\u202e"},
    ):
        with pytest.raises(Malformed) as caught:
            PublicKey.from_jwk(jwk)
        assert len(str(caught.value)) < 120


@pytest.mark.parametrize("algorithm", Algorithm)
def test_keys_survive_every_form(algorithm: Algorithm) -> None:
    """JWK and library object lead back to the same key; the optional members are taken when they are right."""
    signer = Signer.named("forms", algorithm)
    key = signer.public
    assert PublicKey.from_jwk(key.jwk()) == key
    assert PublicKey.from_cryptography(key.cryptography()) == key
    named: dict[str, Json] = {**key.jwk(), "kid": key.thumbprint, "alg": algorithm.value, "use": "sig"}
    assert PublicKey.from_jwk(named) == key
    assert len({key, PublicKey.from_jwk(named), Signer.named("other", algorithm).public}) == 2


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_thumbprints_agree_with_joserfc(algorithm: Algorithm, name: str) -> None:
    """RFC 7638 for both key types, computed by another library and by hand."""
    key = Signer.named(name, algorithm).public
    assert key.thumbprint == import_key(json.loads(json.dumps(key.jwk()))).thumbprint()
    by_hand = json.dumps(key.jwk(), sort_keys=True, separators=(",", ":")).encode()
    assert key.thumbprint == b64u_encode(hashlib.sha256(by_hand).digest())


def test_other_kinds_of_key_are_refused() -> None:
    """RSA, other curves, key agreement and private keys are not public keys of ours."""
    others: list[object] = [
        rsa.generate_private_key(65537, 2048).public_key(),
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        ed448.Ed448PrivateKey.generate().public_key(),
        x25519.X25519PrivateKey.generate().public_key(),
        Signer.named("any").private,
        Signer.named("any", Algorithm.ED25519).private,
        b"\x04" + bytes(64),
        None,
    ]
    for other in others:
        with pytest.raises(Malformed, match="neither P-256 nor Ed25519"):
            PublicKey.from_cryptography(other)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_signatures_of_another_form_are_refused(algorithm: Algorithm) -> None:
    """DER, cut, padded, empty and all-zero signatures are `BadSignature`, as is that of another key."""
    signer, message = Signer.named("forms", algorithm), b"message"
    good = signer.sign(message)
    signer.public.verify(good, message)
    der = ec.derive_private_key(7, ec.SECP256R1()).sign(message, ec.ECDSA(hashes.SHA256()))
    bad = [
        b"",
        good[:32] + b"\x00" + good[32:],
        b"\x00" + good[:-1],
        good[:-1],
        good + b"\x00",
        b"\x00" + good,
        bytes(64),
        b"\xff" * 64,
        good[32:] + good[:32],
        der,
    ]
    for signature in bad:
        with pytest.raises(BadSignature):
            signer.public.verify(signature, message)
    with pytest.raises(BadSignature, match=r"^the signature does not verify under key [A-Za-z0-9_-]{43}$"):
        Signer.named("other", algorithm).public.verify(good, message)


@THOROUGH
@given(st.sampled_from(Algorithm), st.binary(max_size=64), st.integers(0, 511))
def test_no_flipped_bit_verifies(algorithm: Algorithm, message: bytes, bit: int) -> None:
    """A signature with any one bit changed does not verify."""
    signer = Signer.named("flip", algorithm)
    signature = bytearray(signer.sign(message))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSignature):
        signer.public.verify(bytes(signature), message)


@THOROUGH
@given(st.sampled_from(Algorithm), st.binary(max_size=80), st.binary(max_size=20))
def test_any_bytes_verify_or_are_a_bad_signature(algorithm: Algorithm, signature: bytes, message: bytes) -> None:
    """No bytes make verification raise anything but `BadSignature`."""
    with pytest.raises(BadSignature):
        Signer.named("flip", algorithm).public.verify(signature, message)


@THOROUGH
@given(
    st.one_of(
        JSON_VALUES,
        st.fixed_dictionaries(
            {"kty": st.sampled_from(["EC", "OKP"]), "crv": st.sampled_from(["P-256", "Ed25519"])},
            optional={
                "x": st.binary(min_size=32, max_size=32).map(b64u_encode),
                "y": st.binary(min_size=32, max_size=32).map(b64u_encode) | JSON_VALUES,
                "kid": JSON_VALUES,
                "alg": JSON_VALUES,
            },
        ),
    )
)
def test_any_json_is_a_key_or_malformed(value: Json) -> None:
    """No JSON value makes the JWK reader raise anything but `Malformed`."""
    with contextlib.suppress(Malformed):
        assert PublicKey.from_jwk(value).jwk().items() <= (value if isinstance(value, dict) else {}).items()
