"""Writers: what they write is what the reader of verifiers reads, byte for byte as `dumps` would write it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from appliance.writers import jwt
from coldcred.canonical import b64u_encode, dumps
from coldcred.credential import Credential, Kind, StatusReference, parse_claims, write_claims
from coldcred.jose import signing_input, split_signing_input
from coldcred.names import MAX_LABEL
from coldcred.record import MAX_TIME
from tests.support.signers import Signer

KEY = Signer.named("writer").public
SEGMENT = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
SPIFFE = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "spiffe://plant-a.example/" + "/".join(parts))
HTTPS = st.lists(SEGMENT, max_size=3).map(lambda parts: "/".join(["https://orders.plant-a.example", *parts]))
SCOPES = st.lists(st.from_regex(r"[\x21\x23-\x5b\x5d-\x7e]{1,20}", fullmatch=True), unique=True, max_size=4)
NOTE = st.text(st.characters(categories=["L", "N", "P", "S"], max_codepoint=0x24FF), min_size=1, max_size=40)
NUMBER = st.integers(0, MAX_TIME - 2)


@st.composite
def credentials(draw: st.DrawFn) -> Credential:
    """Give any credential that can be decided."""
    kind = draw(st.sampled_from(Kind))
    audiences = draw(st.lists(HTTPS | SPIFFE, min_size=1, max_size=1 if kind is Kind.ACCESS else 8, unique=True))
    issued_at = draw(NUMBER)
    not_before = draw(st.integers(issued_at, MAX_TIME - 1))
    return Credential(
        kind=kind,
        issuer=draw(HTTPS),
        subject=draw(SPIFFE),
        audiences=tuple(audiences),
        scopes=tuple(draw(SCOPES)),
        jti=draw(st.from_regex(r"[A-Za-z0-9_-]{16,64}", fullmatch=True)),
        issued_at=issued_at,
        not_before=not_before,
        expires_at=draw(st.integers(not_before + 1, MAX_TIME)),
        status=StatusReference(draw(HTTPS), draw(st.integers(0, 2**20 - 1))),
        log_index=draw(st.integers(0, 2**53 - 1)),
        profile=draw(st.from_regex(rf"[a-z][a-z0-9]{{0,{MAX_LABEL - 1}}}", fullmatch=True)),
        confirmation=draw(st.none() | st.binary(min_size=32, max_size=32).map(b64u_encode)),
        purpose=draw(st.none() | NOTE),
        task=draw(st.none() | NOTE),
    )


@given(credential=credentials())
def test_what_is_written_reads_back_as_decided(credential: Credential) -> None:
    """The bytes are those of the plain way of writing, and the strict reader gives the credential back."""
    data = jwt.write(credential, KEY)
    assert data == signing_input(credential.kind.typ, KEY.algorithm, KEY.thumbprint, write_claims(credential))
    _, payload = split_signing_input(data)
    assert payload == dumps(write_claims(credential))
    assert replace(parse_claims(payload, credential.kind), claims={}) == credential
