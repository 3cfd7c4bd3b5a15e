"""Countersignatures: a new key that signs for itself, read strictly, and worth nothing when it signs for another."""

from typing import Any

import pytest

from coldcred.canonical import Json, loads
from coldcred.command import LONGEST_LIFE
from coldcred.countersignature import parse_countersignature
from coldcred.errors import BadSignature, Malformed
from coldcred.jose import Typ, assemble, parse_unverified, signing_input
from coldcred.keys import Algorithm
from tests.support import plant
from tests.support.signers import Signer, twin
from tests.support.values import MISSING, edited

ERIN = plant.operator("erin")


def claims(**changes: Any) -> dict[str, Json]:
    """Give the claims of a good countersignature."""
    found = loads(parse_unverified(plant.countersignature(ERIN, "erin", **changes)).payload)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("signer", [ERIN, Signer.named("erin", Algorithm.ED25519)], ids=["ES256", "Ed25519"])
def test_what_is_written_is_read_back(signer: Signer) -> None:
    """Appliance, person, key and the times, for either kind of key."""
    found = parse_countersignature(plant.countersignature(signer, "erin"))
    assert (found.appliance, found.person, found.key) == (plant.appliance_id(), "erin", signer.public)
    assert (found.issued_at, found.expires_at) == (plant.TIME, plant.TIME + 3600)


@pytest.mark.parametrize("member", ["aud", "person", "key", "jti", "iat", "exp"])
@pytest.mark.parametrize("value", [MISSING, None, "", -1, ["x"]], ids=["missing", "null", "empty", "number", "list"])
def test_every_member_is_required_and_of_its_type(member: str, value: Any) -> None:
    """Nothing has a default."""
    with pytest.raises(Malformed):
        parse_countersignature(ERIN.token(Typ.COUNTERSIGNATURE, edited(claims(), [member], value)))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("roles", ["officer"]),
        ("act", "operator.add"),
        ("seal", {**plant.sealing().jwk()}),
        ("key", {**plant.sealing().jwk()}),
        ("person", "Erin"),
        ("person", "erin\u202e"),
        ("person", "../erin"),
        ("person", plant.WORKLOAD),
        ("aud", "plant-a"),
    ],
)
def test_no_other_member_and_no_other_name_is_read(member: str, value: Json) -> None:
    """An unknown member, a key that signs nothing, a name in another spelling."""
    with pytest.raises(Malformed):
        parse_countersignature(ERIN.token(Typ.COUNTERSIGNATURE, {**claims(), member: value}))


@pytest.mark.parametrize(("life", "good"), [(0, False), (1, True), (LONGEST_LIFE, True), (LONGEST_LIFE + 1, False)])
def test_it_lives_at_most_fourteen_days(life: int, good: bool) -> None:  # noqa: FBT001 - a column of the table
    """From one second to fourteen days, both included."""
    token = plant.countersignature(ERIN, "erin", expires_at=plant.TIME + life)
    if good:
        assert parse_countersignature(token).expires_at == plant.TIME + life
    else:
        with pytest.raises(Malformed):
            parse_countersignature(token)


def test_nobody_brings_a_key_that_somebody_else_holds() -> None:
    """Signed by another key, with the kid of either, it proves nothing."""
    mallory = Signer.named("mallory")
    for kid in (mallory.kid, ERIN.kid):
        data = signing_input(Typ.COUNTERSIGNATURE, Algorithm.ES256, kid, claims())
        with pytest.raises(BadSignature):
            parse_countersignature(assemble(data, mallory.sign(data)))


@pytest.mark.parametrize("typ", [typ for typ in Typ if typ is not Typ.COUNTERSIGNATURE])
def test_a_document_of_another_kind_is_none(typ: Typ) -> None:
    """Also where its claims would do."""
    with pytest.raises(Malformed):
        parse_countersignature(ERIN.token(typ, claims()))


def test_one_flipped_bit_is_refused_and_the_twin_is_the_same_document() -> None:
    """The signature counts; its twin (r, n-s) verifies too, and so a digest of the whole is what people sign for."""
    jws = parse_unverified(plant.countersignature(ERIN, "erin"))
    flipped = bytes([jws.signature[0] ^ 1]) + jws.signature[1:]
    with pytest.raises(BadSignature):
        parse_countersignature(assemble(jws.signing_input, flipped))
    assert parse_countersignature(assemble(jws.signing_input, twin(jws.signature))).key == ERIN.public
