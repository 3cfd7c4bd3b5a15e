"""Commands and approvals: ids that survive a twin signature, keys that only the caller knows, claims read strictly."""

import contextlib
import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred import command
from coldcred.acts import Act
from coldcred.canonical import MAX_INTEGER, Json, b64u_encode, dumps
from coldcred.command import (
    LONGEST_LIFE,
    Approval,
    Basis,
    Command,
    Verdict,
    approval_claims,
    parse_approval,
    parse_command,
)
from coldcred.errors import BadSignature, Malformed, UnknownSigner
from coldcred.jose import Typ, assemble, parse_unverified
from coldcred.keys import Algorithm, PublicKey
from coldcred.record import MAX_TIME
from tests.support import plant
from tests.support.signers import Signer, twin
from tests.support.values import ANY_TEXT, JSON_VALUES, MISSING, THOROUGH, edited

ALICE, BOB = plant.operator("alice"), plant.operator("bob")
ED25519 = Signer.named("carol's other key", Algorithm.ED25519)
REGISTER = {signer.kid: signer.public for signer in (ALICE, BOB, ED25519)}

ASKED = plant.command()
TOKEN = ALICE.token(Typ.COMMAND, ASKED)
COMMAND_ID = hashlib.sha256(TOKEN.rpartition(".")[0].encode()).hexdigest()
BASIS = Basis("a" * 64, None, None, "b" * 64)
GIVEN = approval_claims(
    appliance=plant.appliance_id(),
    epoch=1,
    command=COMMAND_ID,
    verdict=Verdict.APPROVE,
    basis=BASIS,
    jti="EBESExQVFhcYGRobHB0eHw",
    issued_at=plant.TIME + 60,
    expires_at=plant.TIME + 660,
)

Parse = Callable[[str, command.KeyLookup], Command | Approval]
KINDS: dict[str, tuple[Parse, Typ, dict[str, Json]]] = {
    "command": (parse_command, Typ.COMMAND, ASKED),
    "approval": (parse_approval, Typ.APPROVAL, GIVEN),
}


def key_of(kid: str) -> PublicKey | None:
    """Give the key with this thumbprint, as an appliance does."""
    return REGISTER.get(kid)


def refused(kind: str, claims: dict[str, Json]) -> str:
    """Give the sentence with which well-signed claims are refused; it is one tame line."""
    parse, typ, _ = KINDS[kind]
    with pytest.raises(Malformed) as caught:
        parse(ALICE.token(typ, claims), key_of)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("signer", [ALICE, BOB, ED25519], ids=["ES256", "ES256-other", "Ed25519"])
def test_a_command_is_read_as_it_was_signed(signer: Signer) -> None:
    """Every claim arrives, with who signed and the bytes that were signed."""
    token = signer.token(Typ.COMMAND, ASKED)
    assert parse_command(token, key_of) == Command(
        id=hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest(),
        signer=signer.kid,
        appliance=plant.appliance_id(),
        epoch=1,
        act=Act.CREDENTIAL_ISSUE,
        issued_at=plant.TIME,
        expires_at=plant.TIME + 3600,
        jti="AAECAwQFBgcICQoLDA0ODw",
        args={"profile": "orders-reader"},
        token=token,
    )


@pytest.mark.parametrize("verdict", Verdict)
def test_an_approval_is_read_as_it_was_signed(verdict: Verdict) -> None:
    """It names the command by id, and says approve or deny."""
    token = BOB.token(Typ.APPROVAL, {**GIVEN, "verdict": verdict.value})
    assert parse_approval(token, key_of) == Approval(
        id=hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest(),
        signer=BOB.kid,
        appliance=plant.appliance_id(),
        epoch=1,
        command=COMMAND_ID,
        verdict=verdict,
        basis=BASIS,
        reason=None,
        issued_at=plant.TIME + 60,
        expires_at=plant.TIME + 660,
        jti="EBESExQVFhcYGRobHB0eHw",
        token=token,
    )


def test_the_id_does_not_cover_the_signature() -> None:
    """R6: the twin signature gives another token and the same id, and the id is that of the approval's command."""
    jws = parse_unverified(TOKEN)
    other = parse_command(assemble(jws.signing_input, twin(jws.signature)), key_of)
    first = parse_command(TOKEN, key_of)
    assert other.token != first.token
    assert other.id == first.id == command.document_id(jws) == COMMAND_ID


def test_any_other_claim_gives_another_id() -> None:
    """Two commands that differ in anything but their signature are different commands."""
    tokens = [ALICE.token(Typ.COMMAND, {**ASKED, "jti": f"{number:022d}"}) for number in range(5)]
    tokens.append(BOB.token(Typ.COMMAND, ASKED))
    tokens.append(TOKEN)
    assert len({parse_command(token, key_of).id for token in tokens}) == 7


@pytest.mark.parametrize("kind", KINDS)
def test_only_known_keys_sign(kind: str) -> None:
    """A key outside the register is an unknown signer; one that claims another's kid has a bad signature."""
    parse, typ, claims = KINDS[kind]
    with pytest.raises(UnknownSigner, match="a key this appliance does not know"):
        parse(Signer.named("mallory").token(typ, claims), key_of)
    with pytest.raises(UnknownSigner):
        parse(ALICE.token(typ, claims), lambda _kid: None)
    stolen = Signer.named("mallory")
    forged = parse_unverified(ALICE.token(typ, claims)).signing_input
    with pytest.raises(BadSignature):
        parse(assemble(forged, stolen.sign(forged)), key_of)
    with pytest.raises(BadSignature, match="names another key"):
        parse(ALICE.token(typ, claims), lambda _kid: BOB.public)


@pytest.mark.parametrize("kid", ["k", "\x1b[2J", "\u202e" * 40, "k" * 400])
def test_unknown_signers_are_quoted_tamely(kid: str) -> None:
    """A foreign kid reaches the sentence as printable ASCII and cut."""
    data = f"{encoded_header(kid)}.{TOKEN.split('.')[1]}".encode()
    with pytest.raises((UnknownSigner, Malformed)) as caught:
        parse_command(assemble(data, ALICE.sign(data)), key_of)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def encoded_header(kid: str) -> str:
    """Give the encoded header of a command with any `kid`."""
    return b64u_encode(dumps({"alg": "ES256", "kid": kid, "typ": "coldcred-command+jwt"}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("typ", Typ)
def test_documents_of_another_kind_are_refused(kind: str, typ: Typ) -> None:
    """Well-signed claims under another `typ` are neither a command nor an approval."""
    parse, right, claims = KINDS[kind]
    token = ALICE.token(typ, claims)
    if typ is right:
        parse(token, key_of)
    else:
        with pytest.raises(Malformed, match="belongs"):
            parse(token, key_of)


@pytest.mark.parametrize("kind", KINDS)
def test_every_claim_is_required_and_no_other_is_read(kind: str) -> None:
    """Without any one claim, with null for it or with another one the document is refused."""
    claims = KINDS[kind][2]
    for name in claims:
        if name != "rendering":  # without it, it is of the first form
            refused(kind, edited(claims, [name], MISSING))
        refused(kind, edited(claims, [name], None))
    for name in ("nbf", "iss", "sub", "profiles", "\x1b[2J"):
        assert "is not known here" in refused(kind, {**claims, name: 1})


CASES: list[tuple[str, str, list[object]]] = [
    ("aud", "both", ["", "plant-a", "00" * 31, "AB" * 32, ["00" * 32], 1]),
    ("epoch", "both", [0, -1, "1", True]),
    ("jti", "both", ["", "short", "a" * 65, "AAECAwQFBgcICQoLDA0OD=", 1]),
    ("iat", "both", [-1, "0", True, MAX_TIME + 1, MAX_INTEGER]),
    ("exp", "both", [0, plant.TIME - 1, MAX_TIME + 1, MAX_INTEGER, plant.TIME + LONGEST_LIFE + 61]),
    ("act", "command", ["", "credential", "CREDENTIAL.ISSUE", "credential.issue\n", "\x1b[2J", [], {}, 1]),
    ("args", "command", ["", [], 1, True]),
    ("command", "approval", ["", "00", "AB" * 32, COMMAND_ID + "\n", [COMMAND_ID]]),
    ("rendering", "approval", [0, 1, 3, "2", True]),
    ("verdict", "approval", ["", "Approve", "yes", "approve ", [], {}, True]),
]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (kind, name, value)
        for name, where, values in CASES
        for kind in KINDS
        if where in {"both", kind}
        for value in values
    ],
)
def test_claims_of_another_form_are_refused(kind: str, name: str, value: object) -> None:
    """Other types, spellings and ranges are `Malformed`, in one tame line."""
    refused(kind, edited(KINDS[kind][2], [name], value))


@pytest.mark.parametrize("kind", KINDS)
def test_a_life_is_one_second_to_fourteen_days(kind: str) -> None:
    """R7: ids are remembered for 14 days, so nothing may live longer; what ends as it begins never lived."""
    parse, typ, claims = KINDS[kind]
    for life, allowed in ((-1, False), (0, False), (1, True), (LONGEST_LIFE, True), (LONGEST_LIFE + 1, False)):
        timed: dict[str, Json] = {**claims, "iat": plant.TIME, "exp": plant.TIME + life}
        if allowed:
            assert parse(ALICE.token(typ, timed), key_of).expires_at == plant.TIME + life
        else:
            assert "seconds where 1 to 1209600 are allowed" in refused(kind, timed)
    assert LONGEST_LIFE == 14 * 24 * 3600


@pytest.mark.parametrize("act", Act)
def test_every_act_can_be_asked_for(act: Act) -> None:
    """The list of acts is closed and each of its names is read; the arguments are the act's own business."""
    args: dict[str, Json] = {"x": [1, {"y": None}], "z": "Ölstand"}
    read = parse_command(ALICE.token(Typ.COMMAND, plant.command(act, args)), key_of)
    assert read.act is act
    assert read.args == args


def test_people_are_counted_not_signatures() -> None:
    """V14: the requester once, each approver once, however often and with however many keys they signed."""
    assert command.people("alice", []) == {"alice"}
    assert command.people("alice", ["alice", "alice"]) == {"alice"}
    assert len(command.people("alice", ["bob", "bob", "alice"])) == 2
    assert len(command.people("alice", iter(["bob", "carol"]))) == 3


def test_secrets_and_bulk_stay_out_of_what_is_printed() -> None:
    """Neither arguments nor the token appear in a `repr`."""
    shown = repr(parse_command(TOKEN, key_of)) + repr(parse_approval(BOB.token(Typ.APPROVAL, GIVEN), key_of))
    assert TOKEN not in shown
    assert "orders-reader" not in shown
    assert "token" not in shown


@THOROUGH
@given(st.sampled_from(list(KINDS)), st.sampled_from([ALICE, ED25519]), st.data())
def test_no_changed_character_is_obeyed(kind: str, signer: Signer, data: st.DataObject) -> None:
    """With any one character replaced, dropped or doubled the document is refused."""
    parse, typ, claims = KINDS[kind]
    token = signer.token(typ, claims)
    at = data.draw(st.integers(0, len(token) - 1))
    piece = data.draw(st.sampled_from("AZaz09-_.=") | st.characters() | st.just("") | st.just(token[at] * 2))
    changed = token[:at] + piece + token[at + 1 :]
    if changed == token:
        return
    with pytest.raises((Malformed, BadSignature, UnknownSigner)):
        parse(changed, key_of)


@THOROUGH
@given(st.sampled_from(list(KINDS)), st.data())
def test_any_damaged_claims_are_read_or_malformed(kind: str, data: st.DataObject) -> None:
    """Whatever a known signer puts in the place of any claim, the reader raises `Malformed` or nothing."""
    parse, typ, claims = KINDS[kind]
    changed = edited(claims, [data.draw(st.sampled_from(sorted(claims)))], data.draw(JSON_VALUES))
    with contextlib.suppress(Malformed):
        parse(ED25519.token(typ, changed), key_of)


@THOROUGH
@given(st.sampled_from(list(KINDS)), ANY_TEXT | st.lists(ANY_TEXT, min_size=3, max_size=3).map(".".join))
def test_any_text_is_refused(kind: str, token: str) -> None:
    """No text makes the readers raise anything but their own refusals."""
    with pytest.raises((Malformed, BadSignature, UnknownSigner)):
        KINDS[kind][0](token, key_of)
