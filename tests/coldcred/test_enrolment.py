"""Enrolments: a key that signs for itself, read strictly, and worth nothing when it signs for another."""

from typing import Any

import pytest

from coldcred.canonical import Json, loads
from coldcred.command import LONGEST_LIFE
from coldcred.enrolment import parse_enrolment
from coldcred.errors import BadSignature, Malformed
from coldcred.jose import Typ, assemble, parse_unverified, signing_input
from coldcred.keys import Algorithm
from tests.support import plant
from tests.support.signers import Signer, twin
from tests.support.values import MISSING, edited

ED25519 = Signer.named("robot-7 signing", Algorithm.ED25519)


def claims(**changes: Any) -> dict[str, Json]:
    """Give the claims of a good enrolment with a sealing key."""
    found = loads(parse_unverified(plant.enrolment(seal=plant.sealing(), **changes)).payload)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("signer", [plant.robot(), ED25519], ids=["ES256", "Ed25519"])
def test_what_is_written_is_read_back(signer: Signer) -> None:
    """Appliance, workload, both keys and the times, for either kind of signing key."""
    found = parse_enrolment(plant.enrolment(signer, plant.sealing()))
    assert (found.appliance, found.workload) == (plant.appliance_id(), plant.WORKLOAD)
    assert (found.key, found.seal) == (signer.public, plant.sealing())
    assert (found.issued_at, found.expires_at) == (plant.TIME, plant.TIME + 3600)


def test_a_sealing_key_may_be_absent() -> None:
    """A machine that gets nothing sealed has one key."""
    assert parse_enrolment(plant.enrolment()).seal is None


@pytest.mark.parametrize("member", ["aud", "sub", "key", "jti", "iat", "exp"])
@pytest.mark.parametrize("value", [MISSING, None, "", -1, ["x"]], ids=["missing", "null", "empty", "number", "list"])
def test_every_member_is_required_and_of_its_type(member: str, value: Any) -> None:
    """Nothing has a default."""
    with pytest.raises(Malformed):
        parse_enrolment(plant.robot().token(Typ.ENROLMENT, edited(claims(), [member], value)))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("act", "workload.enrol"),
        ("seal", None),
        ("seal", {**plant.robot().public.jwk()}),
        ("key", {**plant.sealing().jwk()}),
        ("sub", "spiffe://plant-a.example"),
        ("aud", "plant-a"),
    ],
)
def test_no_other_member_and_no_other_key_is_read(member: str, value: Json) -> None:
    """An unknown member, a key in the other's place, a name that is none."""
    with pytest.raises(Malformed):
        parse_enrolment(plant.robot().token(Typ.ENROLMENT, {**claims(), member: value}))


@pytest.mark.parametrize(("life", "good"), [(0, False), (1, True), (LONGEST_LIFE, True), (LONGEST_LIFE + 1, False)])
def test_it_lives_at_most_fourteen_days(life: int, good: bool) -> None:  # noqa: FBT001 - a column of the table
    """From one second to fourteen days, both included."""
    token = plant.enrolment(expires_at=plant.TIME + life)
    if good:
        assert parse_enrolment(token).expires_at == plant.TIME + life
    else:
        with pytest.raises(Malformed):
            parse_enrolment(token)


def test_nobody_enrols_a_key_that_somebody_else_holds() -> None:
    """Signed by another key, with the kid of either, it proves nothing."""
    mallory = Signer.named("mallory")
    for kid in (mallory.kid, plant.robot().kid):
        data = signing_input(Typ.ENROLMENT, Algorithm.ES256, kid, claims())
        with pytest.raises(BadSignature):
            parse_enrolment(assemble(data, mallory.sign(data)))


@pytest.mark.parametrize("typ", [typ for typ in Typ if typ is not Typ.ENROLMENT])
def test_a_document_of_another_kind_is_no_enrolment(typ: Typ) -> None:
    """Also where its claims would do: a command proves nothing of possession, and the other way round."""
    with pytest.raises(Malformed):
        parse_enrolment(plant.robot().token(typ, claims()))


def test_one_flipped_bit_is_refused_and_the_twin_is_the_same_document() -> None:
    """The signature counts; its twin (r, n-s) verifies too, and so a digest of the whole is what people sign for."""
    token = plant.enrolment()
    jws = parse_unverified(token)
    flipped = bytes([jws.signature[0] ^ 1]) + jws.signature[1:]
    with pytest.raises(BadSignature):
        parse_enrolment(assemble(jws.signing_input, flipped))
    assert parse_enrolment(assemble(jws.signing_input, twin(jws.signature))).key == plant.robot().public
