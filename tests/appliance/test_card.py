"""A person's key on a PKCS#11 card: it signs what people sign, and all that can be wrong with a card has its name."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from appliance.card import Card, CardError, CardFault, make_key, open_card
from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.charter import OPERATOR_SIGNS, Purpose
from coldcred.command import Basis, Verdict, approval_claims, command_claims
from coldcred.countersignature import countersignature_claims
from coldcred.credential import write_claims
from coldcred.founding import CUSTODIAN, OPERATOR, signature_claims
from coldcred.jose import Typ, signing_input
from coldcred.keys import Algorithm, PublicKey
from hsm.errors import CAUSES, HsmError
from hsm.keystore import KeyOrder
from tests.support import world
from tests.support.hsm_inputs import CASES, WORLD, site_input
from tests.support.softhsm import LABEL, MODULE, PIN, SoftHsm, kill_worker

URI = f"pkcs11:token={LABEL}?module-path={MODULE}"
JTI = "A" * 22
CLAIMS = {
    Typ.FOUNDING: signature_claims(world.APPLIANCE, "alice", OPERATOR, world.NOW),
    Typ.COMMAND: command_claims(
        appliance=world.APPLIANCE,
        epoch=1,
        act=Act.READ_OPEN,
        args={},
        jti=JTI,
        issued_at=world.NOW,
        expires_at=world.NOW + 60,
    ),
    Typ.APPROVAL: approval_claims(
        appliance=world.APPLIANCE,
        epoch=1,
        command="0" * 64,
        verdict=Verdict.APPROVE,
        basis=Basis("a" * 64, None, None, "b" * 64),
        jti=JTI,
        issued_at=world.NOW,
        expires_at=world.NOW + 60,
    ),
}


def countersigned(key: PublicKey) -> dict[str, Json]:
    """Give the claims of a countersignature for a key."""
    return countersignature_claims(
        appliance=world.APPLIANCE, person="erin", key=key, jti=JTI, issued_at=world.NOW, expires_at=world.NOW + 60
    )


def asking(pin: bytes = PIN) -> Callable[[str], bytearray]:
    """Give a PIN as the terminal would: in an array of its own."""
    return lambda _card: bytearray(pin)


def installed(module: str) -> bool:
    """Answer for a module; nobody is asked about one that lies where modules are installed."""
    raise AssertionError(f"somebody was asked about {module}")


def made(softhsm: SoftHsm, uri: str = URI, algorithm: Algorithm = Algorithm.ES256) -> PublicKey:
    """Make a key on the card."""
    public, _ = make_key(uri, algorithm, asking(), softhsm.environment, installed, os.urandom)
    return public


@pytest.fixture
def opened(softhsm: SoftHsm, request: pytest.FixtureRequest) -> Callable[..., Card]:
    """Return the way to open a card, which is closed when the test ends."""

    def opening(uri: str = URI, pin: Callable[[str], bytearray] | None = None) -> Card:
        card = open_card(uri, pin or asking(), softhsm.environment, installed)
        request.addfinalizer(card.close)
        return card

    return opening


def fault(doing: Callable[[], object]) -> CardFault:
    """Give the fault with which something ends."""
    with pytest.raises(CardError) as caught:
        doing()
    assert caught.value.detail
    assert PIN.decode() not in str(caught.value)
    return caught.value.fault


def verify_elsewhere(public: PublicKey, signature: bytes, data: bytes) -> None:
    """Verify a signature with the library alone, as anybody would."""
    key = public.cryptography()
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, data)
        return
    der = utils.encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    key.verify(der, data, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_card_signs_what_people_sign(softhsm: SoftHsm, opened: Callable[..., Card], algorithm: Algorithm) -> None:
    """A key that was made on a card is found there, and signs each kind of document that people sign."""
    public = made(softhsm, algorithm=algorithm)
    identity = opened().identity
    assert (identity.public, identity.kid, public.algorithm) == (public, public.thumbprint, algorithm)
    written = {**CLAIMS, Typ.COUNTERSIGNATURE: countersigned(public)}
    assert set(written) == set(OPERATOR_SIGNS)
    for typ, claims in written.items():
        data = signing_input(typ, algorithm, identity.kid, claims)
        verify_elsewhere(public, identity.sign(data), data)
    assert "private" not in repr(identity).lower()


def test_the_key_cannot_leave_the_card(softhsm: SoftHsm) -> None:
    """It is born there, sensitive, not extractable, not modifiable, and can do nothing but sign."""
    made(softhsm)
    (private,) = [item for item in softhsm.objects() if item["CLASS"] == "CKO_PRIVATE_KEY"]
    true = {name for name, value in private.items() if value is True or value == 1}
    assert true == {"TOKEN", "PRIVATE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "SIGN"}
    assert set(softhsm.tool("extract")) & {"readable", "wrapped"} == set()


def test_what_no_person_signs_the_worker_refuses(softhsm: SoftHsm, opened: Callable[..., Card]) -> None:
    """A token, a bundle's metadata, a custodian's signature, another key's command, free text: none is signed."""
    made(softhsm)
    identity = opened().identity

    def jws(typ: Typ, claims: dict[str, object], kid: str = identity.kid) -> bytes:
        return signing_input(typ, Algorithm.ES256, kid, claims)  # type: ignore[arg-type]  # claims of any kind

    founding = signature_claims(world.APPLIANCE, "alice", CUSTODIAN, world.NOW)
    command = CLAIMS[Typ.COMMAND]
    inputs = [
        jws(Typ.ACCESS, {**write_claims(WORLD.credential())}),
        jws(Typ.ENROLMENT, {**command}),
        jws(Typ.FOUNDING, {**founding}),
        jws(Typ.APPROVAL, {**command}),
        jws(Typ.COMMAND, {**command, "extra": 1}),
        jws(Typ.COMMAND, {**command, "act": "credential.forge"}),
        jws(Typ.COMMAND, {**command, "exp": world.NOW + 15 * world.DAY}),
        jws(Typ.COMMAND, {**command}, "another key"),
        signing_input(Typ.COMMAND, Algorithm.ED25519, identity.kid, command),
        site_input(1),
        b"free text",
        b"",
    ]
    for data in inputs:
        assert fault(lambda data=data: identity.sign(data)) is CardFault.REFUSED, data  # type: ignore[misc]  # mypy infers no lambda with a default
    data = jws(Typ.COMMAND, {**command})
    verify_elsewhere(identity.public, identity.sign(data), data)


def test_a_wrong_pin_is_tried_once(softhsm: SoftHsm) -> None:
    """The PIN is asked for one time, tried one time, wiped, and named wrong; nothing is made with it either."""
    given: list[bytearray] = []

    def wrong(_card: str) -> bytearray:
        given.append(bytearray(b"canary-wrong"))
        return given[-1]

    assert fault(lambda: open_card(URI, wrong, softhsm.environment, installed)) is CardFault.WRONG_PIN
    makes = partial(make_key, URI, Algorithm.ES256, wrong, softhsm.environment, installed, os.urandom)
    assert fault(makes) is CardFault.WRONG_PIN
    assert given == [bytearray(len(b"canary-wrong"))] * 2
    assert not softhsm.objects()


def test_the_right_pin_is_wiped_too(softhsm: SoftHsm) -> None:
    """After the login the array holds zeros."""
    made(softhsm)
    given = bytearray(PIN)
    open_card(URI, lambda _card: given, softhsm.environment, installed).close()
    assert given == bytes(len(PIN))


def test_cards_that_are_not_there(softhsm: SoftHsm, opened: Callable[..., Card]) -> None:
    """Another name, two cards of one name, a library that is none: each is named, before a PIN is asked for."""

    def never(_card: str) -> bytearray:
        raise AssertionError("a PIN was asked for")

    assert fault(lambda: opened(URI.replace(LABEL, "nobody"), never)) is CardFault.MISSING
    assert fault(lambda: opened(URI.replace(MODULE, "/nowhere/lib.so"), never)) is CardFault.MODULE
    assert fault(lambda: opened(URI.replace(MODULE, "/usr/lib/os-release"), never)) is CardFault.MODULE
    assert fault(lambda: open_card(URI, never, {}, installed)) in {CardFault.MISSING, CardFault.MODULE, CardFault.FAULT}
    softhsm.tool("initialise")
    assert fault(lambda: opened(URI, never)) is CardFault.AMBIGUOUS


@pytest.mark.parametrize(
    "uri",
    [
        f"pkcs11:token={LABEL}",
        "pkcs11:",
        f"pkcs11:object=key;token={LABEL}?module-path={MODULE}",
        f"pkcs11:token={LABEL}?module-path={MODULE}&pin-value=hunter2",
        f"pkcs11:token={LABEL}?pin-source=/x&module-path={MODULE}",
        f"pkcs11:token={LABEL};id=?module-path={MODULE}",
        f"pkcs11:token={LABEL};id=%00;id=%01?module-path={MODULE}",
    ],
)
def test_uris_that_name_no_card(softhsm: SoftHsm, uri: str) -> None:
    """A URI without a module, with a PIN, or with attributes that are not ours is refused, and quotes no secret."""
    with pytest.raises(CardError) as caught:
        open_card(uri, asking(), softhsm.environment, installed)
    assert caught.value.fault is CardFault.URI
    assert "hunter2" not in str(caught.value)


def test_no_key_and_several(softhsm: SoftHsm, opened: Callable[..., Card]) -> None:
    """None is an error and several are one, until the URI names one; a second is made only under a name of its own."""
    assert fault(opened) is CardFault.NO_KEY
    first, uri = make_key(URI, Algorithm.ES256, asking(), softhsm.environment, installed, os.urandom)
    assert fault(lambda: made(softhsm)) is CardFault.HAS_KEY
    assert fault(lambda: made(softhsm, uri)) is CardFault.HAS_KEY
    other = f"pkcs11:token={LABEL};id=%07%FF?module-path={MODULE}"
    second = made(softhsm, other, Algorithm.ED25519)
    assert fault(opened) is CardFault.MANY_KEYS
    assert (opened(uri).identity.public, opened(other).identity.public) == (first, second)
    assert fault(lambda: opened(other.replace("%07", "%08"))) is CardFault.NO_KEY


def test_an_object_put_beside_the_key_makes_it_ambiguous(softhsm: SoftHsm, opened: Callable[..., Card]) -> None:
    """A private key with the same CKA_ID and label, which somebody else put there, is never signed with."""
    made(softhsm)
    (own,) = [item for item in softhsm.objects() if item["CLASS"] == "CKO_PRIVATE_KEY"]
    softhsm.tool("generate", key_id=own["ID"], key_label=own["LABEL"])
    assert fault(opened) is CardFault.MANY_KEYS


@pytest.mark.parametrize("wrong", ["SENSITIVE", "EXTRACTABLE", "MODIFIABLE"])
def test_a_key_that_could_leave_is_not_used(softhsm: SoftHsm, opened: Callable[..., Card], wrong: str) -> None:
    """A key with our label whose attributes are not those of one that stays as it was made is refused."""
    label = made_label(softhsm)
    softhsm.tool("generate", key_id="0707", key_label=label, wrong=wrong)
    expected = CardFault.UNFIT if wrong == "MODIFIABLE" else CardFault.EXPOSED
    assert fault(lambda: opened(f"pkcs11:token={LABEL};id=%07%07?module-path={MODULE}")) is expected


def made_label(softhsm: SoftHsm) -> str:
    """Make a key and give the label that it was born with."""
    made(softhsm)
    return str(softhsm.objects()[0]["LABEL"])


def test_an_appliances_token_is_nobodys_card(softhsm: SoftHsm, opened: Callable[..., Card]) -> None:
    """Who runs the appliance has that PIN; so no person's key is made there, and one that is there is not used."""
    made(softhsm)
    with_both = softhsm.store()
    with_both.generate(KeyOrder(b"1", CASES[Purpose.LOG].charter))
    with_both.close()
    assert fault(opened) is CardFault.NOT_ITS_OWN
    assert fault(lambda: made(softhsm, URI.replace("?", ";id=%02?"))) is CardFault.NOT_ITS_OWN


def test_a_card_that_is_pulled_signs_nothing_more(
    softhsm: SoftHsm, opened: Callable[..., Card], tmp_path: Path
) -> None:
    """The card goes away, or the process with it ends: it is said so, and no PIN is asked for again, card or not."""
    made(softhsm)
    asked: list[bytearray] = []

    def once(_card: str) -> bytearray:
        asked.append(bytearray(PIN))
        return asked[-1]

    card = opened(URI, once)
    data = signing_input(Typ.COMMAND, Algorithm.ES256, card.identity.kid, CLAIMS[Typ.COMMAND])
    softhsm.tokens.rename(tmp_path / "pulled")
    assert fault(lambda: card.identity.sign(data)) in {CardFault.MISSING, CardFault.FAULT, CardFault.LOST}
    assert fault(lambda: card.identity.sign(data)) in {CardFault.MISSING, CardFault.FAULT}
    (tmp_path / "pulled").rename(softhsm.tokens)
    assert fault(lambda: card.identity.sign(data)) is CardFault.LOST
    again = opened()
    kill_worker(again._store)
    assert fault(lambda: again.identity.sign(data)) is CardFault.LOST
    assert len(asked) == 1


def test_a_closed_card_signs_nothing(softhsm: SoftHsm, opened: Callable[..., Card]) -> None:
    """After `close` its process is gone and it does not come back."""
    made(softhsm)
    card = opened()
    pid = card._store.worker_pid
    card.close()
    assert pid is not None
    assert not Path(f"/proc/{pid}").exists()
    assert fault(lambda: card.identity.sign(b"")) is CardFault.LOST


def test_the_module_gets_no_other_variables(softhsm: SoftHsm, opened: Callable[..., Card]) -> None:
    """Of the caller's environment the worker has those by which modules find cards, and nothing that loads code."""
    made(softhsm)
    variables = {**softhsm.environment, "LD_PRELOAD": "/x.so", "PYTHONPATH": "/x", "HOME": "/x"}
    card = open_card(URI, asking(), variables, installed)
    try:
        assert card._store._environment == softhsm.environment
    finally:
        card.close()
    assert opened().identity.kid


@pytest.mark.parametrize("cause", CAUSES.values())
def test_every_fault_of_a_token_has_its_words(cause: type[HsmError]) -> None:
    """Whatever the HSM's floor reports is said of the card, with the detail and the code of the module."""
    told = CardError.of(cause("what was found", ckr="CKR_X"))
    assert told.detail == "what was found (CKR_X)"
    assert told.fault in CardFault
