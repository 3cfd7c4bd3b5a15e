"""The one reader and writer of compact JWS.

Foreign vectors: RFC 7515 section A.3 (ES256) and RFC 8037 section A.4 (Ed25519). Their headers lack `kid` and `typ`, so
our envelope refuses them and the signature is verified over the signing input alone. Oracles: joserfc and PyJWT read
what we write; where they are laxer than we are, a test says so and holds them to it, so that we notice a change.
"""

import contextlib
import hmac
import json
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc.errors import JoseError
from joserfc.jwk import import_key

from coldcred.canonical import Json, b64u_decode, b64u_encode, dumps
from coldcred.errors import BadSignature, Malformed
from coldcred.jose import (
    MAX_HEADER,
    MAX_TOKEN,
    Header,
    Typ,
    assemble,
    open_jws,
    parse_unverified,
    signing_input,
    split_signing_input,
)
from coldcred.keys import Algorithm, PublicKey
from tests.support.signers import Signer, twin
from tests.support.values import ANY_TEXT, JSON_VALUES, NAMES, THOROUGH

CLAIMS: dict[str, Json] = {"aud": "https://orders.plant-a.example", "exp": 4_102_444_800, "sub": "x"}
ES256, ED25519 = Signer.named("jose"), Signer.named("jose", Algorithm.ED25519)
SIGNERS = {Algorithm.ES256: ES256, Algorithm.ED25519: ED25519}

RFC_7515_A3 = (
    "eyJhbGciOiJFUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
RFC_7515_A3_JWK: dict[str, Json] = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
RFC_8037_A4 = (
    "eyJhbGciOiJFZERTQSJ9"
    ".RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)
RFC_8037_A4_JWK: dict[str, Json] = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


def raw(header: bytes | dict[str, object], payload: bytes = b"{}", signer: Signer = ES256) -> str:
    """Give a token with exactly these header bytes and a good signature over them."""
    if isinstance(header, dict):
        header = json.dumps(header).encode()
    data = f"{b64u_encode(header)}.{b64u_encode(payload)}".encode()
    return assemble(data, signer.sign(data))


def header_of(signer: Signer = ES256, **members: object) -> dict[str, object]:
    """Give a good header with these members added or changed."""
    return {"alg": signer.public.algorithm.value, "kid": signer.kid, "typ": "at+jwt", **members}


@pytest.mark.parametrize(
    ("token", "jwk"), [(RFC_7515_A3, RFC_7515_A3_JWK), (RFC_8037_A4, RFC_8037_A4_JWK)], ids=["7515-A3", "8037-A4"]
)
def test_rfc_vectors(token: str, jwk: dict[str, Json]) -> None:
    """The published signature verifies over the published signing input, and our envelope refuses the bare header."""
    data, _, signature = token.rpartition(".")
    PublicKey.from_jwk(jwk).verify(b64u_decode(signature), data.encode())
    with pytest.raises(BadSignature):
        PublicKey.from_jwk(jwk).verify(b64u_decode(signature), data.encode() + b"x")
    with pytest.raises(Malformed, match="JOSE header: member 'kid' is missing"):
        parse_unverified(token)


def test_rfc_8037_payload_is_not_json() -> None:
    """Section A.4 signs plain text, which no `open_jws` returns even under a good signature of ours."""
    assert b64u_decode(RFC_8037_A4.split(".")[1]) == b"Example of Ed25519 signing"
    token = raw(header_of(), b"Example of Ed25519 signing")
    with pytest.raises(Malformed, match="not JSON"):
        open_jws(parse_unverified(token), ES256.public, Typ.ACCESS)


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("typ", Typ)
def test_what_is_written_is_opened(algorithm: Algorithm, typ: Typ) -> None:
    """Header, payload, signature and signing input come back as written, from text and from bytes."""
    signer = SIGNERS[algorithm]
    token = signer.token(typ, CLAIMS)
    jws = parse_unverified(token)
    assert jws == parse_unverified(token.encode())
    assert jws.header == Header(algorithm.value, signer.kid, typ.value)
    assert jws.payload == dumps(CLAIMS)
    assert jws.signing_input == signing_input(typ, algorithm, signer.kid, CLAIMS)
    assert split_signing_input(jws.signing_input) == (jws.header, jws.payload)
    assert assemble(jws.signing_input, jws.signature) == token
    assert open_jws(jws, signer.public, typ) == CLAIMS


def test_the_table_of_typ_is_closed() -> None:
    """The names stand in docs/format.md and in tokens; changing one is a change of format."""
    assert [typ.value for typ in Typ] == [
        "coldcred-founding+jwt",
        "coldcred-command+jwt",
        "coldcred-approval+jwt",
        "coldcred-receipt+jwt",
        "coldcred-holder+jwt",
        "statuslist+jwt",
        "at+jwt",
        "JWT",
        "coldcred-enrolment+jwt",
        "coldcred-countersignature+jwt",
    ]


HEADERS: dict[str, bytes | dict[str, object]] = {
    "empty": b"",
    "no object": b"[]",
    "null": b"null",
    "text": b'"ES256"',
    "no members": {},
    "no alg": {"kid": ES256.kid, "typ": "at+jwt"},
    "no kid": {"alg": "ES256", "typ": "at+jwt"},
    "no typ": {"alg": "ES256", "kid": ES256.kid},
    "crit": header_of(crit=["exp"]),
    "empty crit": header_of(crit=[]),
    "b64": header_of(b64=False, crit=["b64"]),
    "zip": header_of(zip="DEF"),
    "jwk": header_of(jwk=ES256.public.jwk()),
    "jku": header_of(jku="https://evil.example/jwks"),
    "x5u": header_of(x5u="https://evil.example/x5u"),
    "x5c": header_of(x5c=["AA=="]),
    "x5t": header_of(x5t="AA"),
    "cty": header_of(cty="JWT"),
    "enc": header_of(enc="A128GCM"),
    "unknown": header_of(foo=1),
    "escape sequence": {**header_of(), "\x1b[2J": 1},
    "alg null": header_of(alg=None),
    "alg a list": header_of(alg=["ES256"]),
    "alg empty": header_of(alg=""),
    "kid a number": header_of(kid=1),
    "kid empty": header_of(kid=""),
    "typ an object": header_of(typ={}),
    "alg twice": b'{"alg":"none","alg":"ES256","kid":"k","typ":"at+jwt"}',
    "alg twice, escaped": b'{"\\u0061lg":"none","alg":"ES256","kid":"k","typ":"at+jwt"}',
    "typ in another case": b'{"alg":"ES256","kid":"k","Typ":"at+jwt"}',
    "NaN": b'{"alg":"ES256","kid":"k","typ":NaN}',
    "BOM": b'\xef\xbb\xbf{"alg":"ES256","kid":"k","typ":"at+jwt"}',
    "trailing": b'{"alg":"ES256","kid":"k","typ":"at+jwt"}{}',
    "not UTF-8": b'{"alg":"ES256","kid":"\xff","typ":"at+jwt"}',
    "lone surrogate": b'{"alg":"ES256","kid":"\\ud800","typ":"at+jwt"}',
    "deep": b'{"alg":' + b"[" * 100 + b'"ES256"' + b"]" * 100 + b',"kid":"k","typ":"at+jwt"}',
    "too long": header_of(kid="k" * MAX_HEADER),
}


@pytest.mark.parametrize("subject", HEADERS)
def test_no_other_header_is_read(subject: str) -> None:
    """Exactly `alg`, `kid` and `typ`, each a text, once: anything else is refused though the signature is good."""
    token = raw(HEADERS[subject])
    with pytest.raises(Malformed) as caught:
        parse_unverified(token)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    with pytest.raises(Malformed):
        split_signing_input(token.rpartition(".")[0].encode())


GOOD = ES256.token(Typ.ACCESS, CLAIMS)
HEAD, BODY, SEAL = GOOD.split(".")

ENVELOPES: dict[str, str | bytes] = {
    "empty": "",
    "dots": "..",
    "one part": HEAD,
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.",
    "five parts (JWE)": f"{HEAD}.{BODY}.{SEAL}.{BODY}.{SEAL}",
    "padded header": f"{HEAD}==.{BODY}.{SEAL}",
    "padded payload": f"{HEAD}.{BODY}==.{SEAL}",
    "padded signature": f"{GOOD}==",
    "newline after": f"{GOOD}\n",
    "space before": f" {GOOD}",
    "space inside": f"{HEAD}. {BODY}.{SEAL}",
    "carriage return": f"{HEAD}.{BODY}\r.{SEAL}",
    "NUL": f"{GOOD}\x00",
    "base64 alphabet": f"{HEAD}.{BODY}.{SEAL[:-2]}+/",
    "stray bits": f"{HEAD}.{BODY}.{SEAL[:-1]}{'B' if SEAL[-1] == 'A' else chr(ord(SEAL[-1]) + 1)}",
    "Bearer": f"Bearer {GOOD}",
    "quoted": f'"{GOOD}"',
    "full-width dot": f"{HEAD}\uff0e{BODY}.{SEAL}",
    "other digits": f"{HEAD}.{BODY}.\u0661{SEAL}",
    "lone surrogate": f"{GOOD}\ud800",
    "bytes that are not ASCII": f"{GOOD}\u00e4".encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "JSON serialisation": json.dumps({"payload": BODY, "protected": HEAD, "signature": SEAL}),
    "JSON serialisation, general": json.dumps({"payload": BODY, "signatures": []}),
    "JSON with dots": f'{{"a":"{HEAD}.{BODY}.{SEAL}"}}',
    "only dots": "." * MAX_TOKEN,
    "too long": GOOD + "A" * MAX_TOKEN,
    "too long, as bytes": b"A" * (MAX_TOKEN + 1),
}


@pytest.mark.parametrize("subject", ENVELOPES)
def test_no_other_envelope_is_read(subject: str) -> None:
    """Three canonical base64url parts and nothing around them: no padding, no white space, no JSON serialisation."""
    with pytest.raises(Malformed) as caught:
        parse_unverified(ENVELOPES[subject])
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


def test_sizes_end_where_they_say() -> None:
    """A token of `max_bytes` is read and one more byte is not; likewise a header of 512 bytes and a signing input."""
    filler = MAX_TOKEN - len(GOOD)
    longest = f"{HEAD}.{BODY}{'A' * (filler // 4 * 4)}.{SEAL}"
    assert parse_unverified(longest, max_bytes=len(longest)).payload.startswith(dumps(CLAIMS))
    with pytest.raises(Malformed, match="bytes where at most"):
        parse_unverified(longest, max_bytes=len(longest) - 1)
    with pytest.raises(Malformed, match="bytes where at most"):
        split_signing_input(longest.rpartition(".")[0].encode(), max_bytes=100)
    covered = f"{HEAD}.{BODY}".encode()
    assert split_signing_input(covered, max_bytes=len(covered))[1] == dumps(CLAIMS)
    with pytest.raises(Malformed, match="bytes where at most"):
        split_signing_input(covered, max_bytes=len(covered) - 1)
    spare = MAX_HEADER - len(json.dumps(header_of(kid="")))
    assert parse_unverified(raw(header_of(kid="k" * spare))).header.kid == "k" * spare
    with pytest.raises(Malformed):
        parse_unverified(raw(header_of(kid="k" * (spare + 1))))


@pytest.mark.parametrize("data", [b"", b".", b"a", HEAD.encode(), GOOD.encode(), f"{HEAD}.{BODY}=".encode(), b"\xff.a"])
def test_no_other_signing_input_is_read(data: bytes) -> None:
    """Two canonical parts, the first a header of ours."""
    with pytest.raises(Malformed):
        split_signing_input(data)


def test_the_caller_decides_kind_key_and_algorithm() -> None:
    """A good token of another kind, key or algorithm is refused before and whatever its signature says."""
    jws = parse_unverified(GOOD)
    with pytest.raises(Malformed, match=r"^a 'at\+jwt' where a 'JWT' belongs$"):
        open_jws(jws, ES256.public, Typ.SVID)
    with pytest.raises(BadSignature, match="names another key"):
        open_jws(jws, Signer.named("other").public, Typ.ACCESS)
    for alg in ("none", "HS256", "ES384", "EdDSA", "es256", "ES256 ", "Ed25519"):
        confused = parse_unverified(raw(header_of(alg=alg), dumps(CLAIMS)))
        with pytest.raises(Malformed, match="where the key is for ES256"):
            open_jws(confused, ES256.public, Typ.ACCESS)
    unsigned = parse_unverified(f"{HEAD}.{BODY}.")
    with pytest.raises(BadSignature):
        open_jws(unsigned, ES256.public, Typ.ACCESS)
    for typ in ("application/at+jwt", "AT+JWT", "at+jwt\u0000"):
        with pytest.raises(Malformed, match="belongs"):
            open_jws(parse_unverified(raw(header_of(typ=typ))), ES256.public, Typ.ACCESS)


@pytest.mark.parametrize("payload", [b"", b"{", b'{"a":1,"a":2}', b"[1.5]", b"\xff", b"{}\n{}", b"[" * 17 + b"]" * 17])
def test_a_signed_payload_is_still_read_strictly(payload: bytes) -> None:
    """A good signature does not make bad JSON acceptable."""
    with pytest.raises(Malformed):
        open_jws(parse_unverified(raw(header_of(), payload)), ES256.public, Typ.ACCESS)


def public_key_spellings(key: PublicKey) -> dict[str, bytes]:
    """Give the ways in which a public key has been mistaken for an HMAC secret."""
    public = key.cryptography()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jwk = dumps(key.jwk())
    return {
        "PEM": pem,
        "PEM with CRLF": pem.replace(b"\n", b"\r\n"),
        "PEM without its last newline": pem.rstrip(),
        "PEM after a space": b" " + pem,
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "SSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "JWK": jwk,
        "JWK set": b'{"keys":[' + jwk + b"]}",
        "raw": key.raw,
        "base64url": b64u_encode(key.raw).encode(),
        "thumbprint": key.thumbprint.encode(),
        "zero": b"\x00",
    }


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("alg", ["HS256", "none", None])
def test_a_public_key_is_never_a_secret(algorithm: Algorithm, alg: str | None) -> None:
    """V3: a MAC over the token with any spelling of the public key is refused, whatever `alg` the header claims."""
    signer = SIGNERS[algorithm]
    header = header_of(signer, alg=alg or algorithm.value)
    data = f"{b64u_encode(json.dumps(header).encode())}.{BODY}".encode()
    for secret in public_key_spellings(signer.public).values():
        tag = hmac.digest(secret, data, "sha256")
        for signature in (tag, tag + tag, b""):
            with pytest.raises((BadSignature, Malformed)):
                open_jws(parse_unverified(assemble(data, signature)), signer.public, Typ.ACCESS)


def joserfc_reads(token: str, signer: Signer) -> object:
    """Give the claims that joserfc reads with the one algorithm allowed, or raise its error."""
    key = import_key(json.loads(dumps(signer.public.jwk())))
    payload = joserfc_jws.deserialize_compact(token, key, algorithms=[signer.public.algorithm.value]).payload
    return json.loads(payload)


def pyjwt_reads(token: str, signer: Signer) -> object:
    """Give the claims that PyJWT reads with the one algorithm allowed, or raise its error."""
    return jwt.decode(
        token,
        signer.public.cryptography(),
        algorithms=[signer.public.algorithm.value],
        audience="https://orders.plant-a.example",
    )


Oracle = Callable[[str, Signer], object]


@pytest.mark.parametrize(
    ("algorithm", "oracle"),
    [(Algorithm.ES256, joserfc_reads), (Algorithm.ES256, pyjwt_reads), (Algorithm.ED25519, joserfc_reads)],
)
def test_others_read_what_we_write(algorithm: Algorithm, oracle: Oracle) -> None:
    """Joserfc and PyJWT verify our tokens and read the same claims; a changed payload they refuse."""
    signer = SIGNERS[algorithm]
    token = signer.token(Typ.ACCESS, CLAIMS)
    assert oracle(token, signer) == CLAIMS
    head, _, seal = token.split(".")
    forged = f"{head}.{b64u_encode(dumps({**CLAIMS, 'sub': 'y'}))}.{seal}"
    with pytest.raises((JoseError, jwt.InvalidTokenError)):
        oracle(forged, signer)
    with pytest.raises(BadSignature):
        open_jws(parse_unverified(forged), signer.public, Typ.ACCESS)


def test_pyjwt_does_not_know_ed25519_by_its_full_name() -> None:
    """RFC 9864's `Ed25519` is news to PyJWT, which is why ES256 is what tokens for others are signed with."""
    with pytest.raises(jwt.InvalidAlgorithmError):
        pyjwt_reads(ED25519.token(Typ.ACCESS, CLAIMS), ED25519)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_we_verify_what_others_sign(algorithm: Algorithm) -> None:
    """A token that joserfc makes with our three header members is opened."""
    pem = SIGNERS[algorithm].private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = import_key(pem, "EC" if algorithm is Algorithm.ES256 else "OKP")
    header = {"alg": algorithm.value, "kid": SIGNERS[algorithm].kid, "typ": "at+jwt"}
    token = joserfc_jws.serialize_compact(header, dumps(CLAIMS), key, algorithms=[algorithm.value])
    assert open_jws(parse_unverified(token), SIGNERS[algorithm].public, Typ.ACCESS) == CLAIMS


LAXER: dict[str, tuple[str, list[Oracle]]] = {
    "the signature is padded": (f"{GOOD}==", [pyjwt_reads]),
    "a header member stands twice": (
        raw(
            f'{{"alg":"none","alg":"ES256","kid":"{ES256.kid}","typ":"at+jwt"}}'.encode(),
            dumps(CLAIMS),
        ),
        [joserfc_reads, pyjwt_reads],
    ),
    "kid and typ are missing": (raw({"alg": "ES256"}, dumps(CLAIMS)), [joserfc_reads, pyjwt_reads]),
    "the header names a place to fetch keys from": (
        raw(header_of(x5u="https://evil.example/"), dumps(CLAIMS)),
        [joserfc_reads, pyjwt_reads],
    ),
    "the header has an unknown member": (raw(header_of(foo=1), dumps(CLAIMS)), [pyjwt_reads]),
    "a claim stands twice": (
        raw(header_of(), dumps(CLAIMS)[:-1] + b',"aud":"https://orders.plant-a.example"}'),
        [joserfc_reads, pyjwt_reads],
    ),
    "a claim is not a number of ours": (
        raw(header_of(), dumps({**CLAIMS, "sub": "x"})[:-1] + b',"n":1e5}'),
        [joserfc_reads, pyjwt_reads],
    ),
}


@pytest.mark.parametrize("subject", LAXER)
def test_where_others_are_laxer_than_we_are(subject: str) -> None:
    """Each of these the named libraries accept and we refuse, though the signature is good."""
    token, oracles = LAXER[subject]
    for oracle in oracles:
        assert oracle(token, ES256)
    with pytest.raises(Malformed):
        open_jws(parse_unverified(token), ES256.public, Typ.ACCESS)


def test_a_twin_signature_is_another_token_with_the_same_signing_input() -> None:
    """(r, n-s) verifies too, so nothing that must be unique may be taken over the signature (R6)."""
    jws = parse_unverified(GOOD)
    other = parse_unverified(assemble(jws.signing_input, twin(jws.signature)))
    assert open_jws(other, ES256.public, Typ.ACCESS) == CLAIMS
    assert other.signature != jws.signature
    assert other.signing_input == jws.signing_input


@THOROUGH
@given(st.sampled_from(Algorithm), st.data())
def test_no_changed_character_is_opened(algorithm: Algorithm, data: st.DataObject) -> None:
    """A token in which any one character is replaced, dropped or doubled is refused."""
    signer = SIGNERS[algorithm]
    token = signer.token(Typ.ACCESS, CLAIMS)
    at = data.draw(st.integers(0, len(token) - 1))
    piece = data.draw(st.sampled_from("AZaz09-_.=") | st.characters() | st.just("") | st.just(token[at] * 2))
    changed = token[:at] + piece + token[at + 1 :]
    if changed == token:
        return
    with pytest.raises((Malformed, BadSignature)):
        open_jws(parse_unverified(changed), signer.public, Typ.ACCESS)


@THOROUGH
@given(
    ANY_TEXT
    | st.binary(max_size=200)
    | st.lists(st.binary(max_size=30).map(b64u_encode), max_size=5).map(".".join)
    | st.builds(lambda value: raw(dumps(value)), JSON_VALUES)
    | st.builds(
        lambda value: raw(dumps(value)),
        st.fixed_dictionaries(dict.fromkeys(("alg", "kid", "typ"), JSON_VALUES), optional={"crit": JSON_VALUES}),
    )
)
def test_any_token_is_parsed_or_malformed(token: str | bytes) -> None:
    """No text or bytes make the parsers raise anything but `Malformed`; what they take is rebuilt exactly."""
    with contextlib.suppress(Malformed):
        jws = parse_unverified(token)
        text = token if isinstance(token, str) else token.decode()
        assert assemble(jws.signing_input, jws.signature) == text
    with contextlib.suppress(Malformed):
        split_signing_input(token if isinstance(token, bytes) else token.encode("utf-8", "surrogatepass"))


@THOROUGH
@given(st.dictionaries(NAMES, JSON_VALUES, max_size=4), st.sampled_from(Typ))
def test_any_claims_survive(claims: dict[str, Json], typ: Typ) -> None:
    """Whatever claims our JSON can hold are opened as they were signed."""
    assert open_jws(parse_unverified(ED25519.token(typ, claims)), ED25519.public, typ) == claims
