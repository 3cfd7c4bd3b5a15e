"""One changed character: a good token with any single character replaced, added or removed is rejected, and rightly."""

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

from coldcred import Kind, Reason, Rejected, TrustStore, layout, verify
from coldcred.canonical import b64u_decode
from tests.support.world import AUDIENCE, ISSUER, NOW, SVID_AUDIENCE, World

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
REPLACEMENTS = "A_z9=.+ é\x00"

HEADER_REASONS = {Reason.MALFORMED, Reason.UNKNOWN_KEY, Reason.WRONG_ALGORITHM, Reason.WRONG_KIND}
"""What a changed header can amount to: not a header any more, or another kid, alg or typ."""


def reason(store: TrustStore, token: str) -> Reason | None:
    """Return why a token is rejected, or None where it is accepted."""
    try:
        verify(token, store, audience=AUDIENCE, now=NOW)
    except Rejected as error:
        return error.reason
    return None


def expected(token: str, place: int, character: str) -> set[Reason]:
    """Return the reasons that a replaced character may have."""
    part = token[:place].count(".")
    if character not in ALPHABET or token[place] == ".":
        return {Reason.MALFORMED}
    if part == 0:
        return HEADER_REASONS
    return {Reason.BAD_SIGNATURE} if not last_of_part(token, place) else {Reason.BAD_SIGNATURE, Reason.MALFORMED}


def last_of_part(token: str, place: int) -> bool:
    """Whether the character is the last of its part, where trailing bits may make it no base64url at all."""
    return place + 1 == len(token) or token[place + 1] == "."


@pytest.mark.parametrize("character", REPLACEMENTS)
def test_each_character_counts(world: World, store: TrustStore, character: str) -> None:
    """Any position replaced by letters, padding, dots or foreign characters gives a rejection with the right reason."""
    token = world.token()
    for place in range(len(token)):
        if token[place] != character:
            changed = token[:place] + character + token[place + 1 :]
            assert reason(store, changed) in expected(token, place, character), (place, character)


def test_each_bit_of_the_last_characters_counts(world: World, store: TrustStore) -> None:
    """Where base64url leaves bits unused, no other character stands for the same bytes."""
    token = world.token()
    ends = [place for place in range(len(token)) if last_of_part(token, place)]
    for place in ends:
        for character in ALPHABET.replace(token[place], ""):
            assert reason(store, token[:place] + character + token[place + 1 :]) is not None


@pytest.mark.parametrize("padding", ["=", "==", "===", "A", "AA", " ", "\n", "\r\n", "\t", "\x00", "."])
def test_nothing_can_be_added(world: World, store: TrustStore, padding: str) -> None:
    """Padding, space or anything else after any part, or before the token, is a rejection."""
    header, payload, signature = world.token().split(".")
    for parts in (
        (padding + header, payload, signature),
        (header + padding, payload, signature),
        (header, payload + padding, signature),
        (header, payload, signature + padding),
    ):
        assert reason(store, ".".join(parts)) in {Reason.MALFORMED, Reason.BAD_SIGNATURE}


def test_nothing_can_be_left_out(world: World, store: TrustStore) -> None:
    """A token without any one of its characters is a rejection, and so is every beginning of it."""
    token = world.token()
    for place in range(len(token)):
        assert reason(store, token[:place] + token[place + 1 :]) is not None
        assert reason(store, token[:place]) is not None


@settings(deadline=None)
@given(data=st.data())
def test_any_two_changes_are_rejected(world: World, store: TrustStore, data: st.DataObject) -> None:
    """Two replaced characters do not cancel out."""
    token = world.token()
    for _ in range(2):
        place = data.draw(st.integers(0, len(token) - 1))
        other = data.draw(st.sampled_from(ALPHABET.replace(token[place], "")))
        token = token[:place] + other + token[place + 1 :]
    if token != world.token():
        assert reason(store, token) is not None


@pytest.mark.soak
def test_every_replacement_of_every_character(world: World, store: TrustStore) -> None:
    """All 64 letters at all positions, for both kinds of credential."""
    for kind, audience in ((Kind.ACCESS, AUDIENCE), (Kind.SVID, SVID_AUDIENCE)):
        token = world.token(kind)
        for place in range(len(token)):
            for character in ALPHABET.replace(token[place], ""):
                changed = token[:place] + character + token[place + 1 :]
                with pytest.raises(Rejected):
                    verify(changed, store, audience=audience, kind=kind, now=NOW)


# Other people's libraries


def exported_jwks(site: Path) -> Any:
    """Return the JWK Set as the bundle carries it, nothing stripped."""
    return json.loads((site / "current" / layout.JWKS).read_bytes())


def test_pyjwt_accepts_the_token(world: World, site: Path) -> None:
    """PyJWT verifies the token with the exported JWKS as it is."""
    token = world.token()
    keys = jwt.PyJWKSet.from_dict(exported_jwks(site))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    options: Any = {
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
        "require": ["exp", "iat", "jti", "nbf"],
    }
    claims = jwt.decode(token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER, options=options)
    assert claims == json.loads(world.payload())


def test_joserfc_accepts_the_token(world: World, site: Path) -> None:
    """Joserfc verifies the token with the exported JWKS as it is, and so it does a JWT-SVID."""
    keys = KeySet.import_key_set(exported_jwks(site))
    for kind in Kind:
        token = world.token(kind)
        found = joserfc_jwt.decode(token, keys, algorithms=["ES256"])
        assert found.header["typ"] == kind.typ.value
        assert found.claims == json.loads(b64u_decode(token.split(".")[1]))
