"""Sealing keys: X25519 as JWK (RFC 8037 section A.6), one spelling each, and none to which anybody can open."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from coldcred.canonical import b64u_encode
from coldcred.errors import Malformed
from coldcred.keys import SealingKey
from tests.support import plant
from tests.support.values import MISSING, edited

RFC_8037 = {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}
PRIME = 2**255 - 19


def jwk(**changes: Any) -> dict[str, Any]:
    """Give the JWK of a good key."""
    return {**plant.sealing().jwk(), **changes}


def test_what_is_written_is_read_back() -> None:
    """The key of the RFC, without the kid that is no thumbprint; `use` and `kid` may stand there if they are right."""
    assert SealingKey.from_jwk({**RFC_8037}).jwk() == RFC_8037
    key = plant.sealing()
    assert SealingKey.from_jwk(jwk(use="enc", kid=key.thumbprint)) == key


@pytest.mark.parametrize("member", ["kty", "crv", "x"])
@pytest.mark.parametrize("value", [MISSING, None, "", 7, "Ed25519", b64u_encode(b"x" * 31), b64u_encode(b"x" * 33)])
def test_every_member_is_required(member: str, value: Any) -> None:
    """A member that is absent, of another type or of another curve, is refused."""
    with pytest.raises(Malformed):
        SealingKey.from_jwk(edited(jwk(), [member], value))


@pytest.mark.parametrize("changes", [{"d": "AA"}, {"alg": "ECDH-ES"}, {"use": "sig"}, {"kid": "Bob"}])
def test_no_other_member_is_read(changes: dict[str, str]) -> None:
    """Neither a private half nor another use, another name or an algorithm."""
    with pytest.raises(Malformed):
        SealingKey.from_jwk(jwk(**changes))


LOW_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    PRIME - 1,
)


@pytest.mark.parametrize("number", [*LOW_ORDER, PRIME, PRIME + 1])
def test_points_of_low_order_are_refused(number: int) -> None:
    """The library agrees that nothing secret comes of them."""
    raw = number.to_bytes(32, "little")
    with pytest.raises(ValueError, match="shared key"):
        X25519PrivateKey.from_private_bytes(b"secret" * 5 + b"!!").exchange(X25519PublicKey.from_public_bytes(raw))
    with pytest.raises(Malformed):
        SealingKey(raw)


def test_a_key_has_one_spelling() -> None:
    """RFC 7748 reads numbers beyond the prime and a set top bit; here they would be second thumbprints of one key."""
    SealingKey((9).to_bytes(32, "little"))
    for number in (PRIME + 9, 2**255 + 9):
        with pytest.raises(Malformed):
            SealingKey(number.to_bytes(32, "little"))
