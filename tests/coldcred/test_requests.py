"""Terms, request files, drafts and what approvers are shown: read strictly, shown whole, and hashed as shown."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.command import Basis, Command, profiles_named
from coldcred.errors import ColdcredError, Malformed, UnknownSigner
from coldcred.jose import Typ
from coldcred.profile import Profile, digest_of
from coldcred.record import Record
from coldcred.rendering import first, whole
from coldcred.requests import DraftFile, RequestFile
from coldcred.terms import Signer as TermsSigner
from coldcred.terms import Terms
from tests.support import plant
from tests.support.values import JSON_VALUES, MISSING, edited

ALICE = plant.operator("alice")
PROFILE = Profile.read(Record(plant.profile(), "profile"), plant.DOMAIN)
TERMS = Terms(
    appliance=plant.appliance_id(),
    name="plant-a",
    trust_domain=plant.DOMAIN,
    epoch=1,
    time=plant.TIME,
    policy="a" * 64,
    profiles=(PROFILE,),
    signers={ALICE.kid: TermsSigner("alice", ALICE.public)},
)
BODY = dumps({"profile": "orders-reader", "workload": plant.WORKLOAD, "audience": plant.AUDIENCE}) + b"\n"
BATCH = BatchArguments(Manifest.of(BODY)).as_json()
REQUEST = RequestFile(
    ALICE.token(Typ.COMMAND, plant.command(Act.CREDENTIAL_ISSUE, BATCH)), {sha256_hex(BODY): BODY}, TERMS
)
DRAFT = DraftFile(plant.appliance_id(), 1, Act.READ_OPEN, {}, 3600, {}, TERMS)

FILES: dict[Any, Any] = {Terms: TERMS, RequestFile: REQUEST, DraftFile: DRAFT}


def command(args: dict[str, Json], act: Act = Act.SITE_ADD) -> Command:
    """Give a command that asks for an act."""
    return Command("1" * 64, ALICE.kid, plant.appliance_id(), 1, act, plant.TIME, plant.TIME + 60, "j" * 22, args, "")


def test_what_is_written_is_read() -> None:
    """Terms, a request and a draft come back as they were."""
    assert Terms.parse(TERMS.write()) == TERMS
    assert RequestFile.parse(REQUEST.write()) == REQUEST
    assert DraftFile.parse(DRAFT.write()) == DRAFT
    bare = RequestFile(REQUEST.token)
    assert RequestFile.parse(bare.write()) == bare


@pytest.mark.parametrize("kind", [Terms, RequestFile, DraftFile], ids=lambda kind: kind.__name__)
def test_every_member_is_held_to(kind: Any) -> None:
    """One that is missing or another: a clear refusal; `terms` alone may be absent."""
    whole = json.loads(FILES[kind].write())
    fits = [("epoch", 7), ("time", 7), ("life", 7), ("profiles", []), ("signers", []), ("terms", MISSING)]
    for member in whole:
        for value in (MISSING, None, 7, [], "\x1b[2J"):
            changed = edited(whole, [member], value)
            if changed == whole or any((member, value) == pair for pair in fits):
                kind.parse(dumps(changed))
                continue
            with pytest.raises(Malformed) as caught:
                kind.parse(dumps(changed))
            assert str(caught.value).isascii()
    with pytest.raises(Malformed, match="not known here"):
        kind.parse(dumps({**whole, "surprise": 1}))


@given(JSON_VALUES)
def test_no_value_is_taken_for_a_file(value: Json) -> None:
    """Whatever JSON says: refused as malformed, and never otherwise."""
    for kind in (Terms, RequestFile, DraftFile):
        with pytest.raises(Malformed):
            kind.parse(dumps(value))


def test_an_attachment_is_what_its_digest_says() -> None:
    """Changed on its way, it is refused before anything is shown."""
    value = json.loads(REQUEST.write())
    value["attachments"] = {sha256_hex(b"other"): value["attachments"][sha256_hex(BODY)]}
    with pytest.raises(Malformed, match="not what its digest says"):
        RequestFile.parse(dumps(value))


def test_what_is_seen_rests_on_what_was_read() -> None:
    """Each digest, reckoned by hand."""
    seen = REQUEST.seen(TERMS)
    assert seen.by == "alice"
    assert seen.named == ("orders-reader",)
    profiles = json.dumps([PROFILE.as_json()], sort_keys=True, separators=(",", ":")).encode()
    beside = f'["{hashlib.sha256(BODY).hexdigest()}"]'.encode()
    lines = "".join(f"{line}\n" for line in seen.lines).encode()
    assert seen.basis == Basis(
        "a" * 64,
        hashlib.sha256(profiles).hexdigest(),
        hashlib.sha256(beside).hexdigest(),
        hashlib.sha256(lines).hexdigest(),
    )


def test_terms_of_another_appliance_or_without_the_signer_show_nothing() -> None:
    """What cannot be verified is not shown."""
    other = Terms.parse(dumps({**TERMS.as_json(), "appliance": "0" * 64}))
    with pytest.raises(Malformed, match="another appliance"):
        REQUEST.seen(other)
    with pytest.raises(UnknownSigner):
        REQUEST.seen(Terms.parse(dumps({**TERMS.as_json(), "signers": []})))


def test_a_batch_is_approved_with_its_lines() -> None:
    """Its profiles stand in them; without the file nobody can say what is approved."""
    assert REQUEST.seen(TERMS).named == ("orders-reader",)
    with pytest.raises(Malformed, match="lines of the batch"):
        RequestFile(REQUEST.token).seen(TERMS)


def test_the_profiles_a_command_is_about() -> None:
    """Those of an issue, and the one that is replaced; nothing else is about a profile."""
    assert profiles_named(Act.CREDENTIAL_ISSUE, {"profile": "p"}) == ("p",)
    assert profiles_named(Act.PROFILE_SET, {"profile": {"name": "p"}}) == ("p",)
    assert profiles_named(Act.PROFILE_SET, {"profile": "p"}) == ()
    assert profiles_named(Act.CREDENTIAL_REVOKE, {"profile": "p"}) == ()
    assert digest_of([]) == sha256_hex(b"[]")


def test_the_lines_of_the_first_form() -> None:
    """Golden: approvals in older logs were given for these bytes."""
    args: dict[str, Json] = {"name": "line-2", "audiences": ["https://a", "b"], "more": {"x y": True, "z": {}}}
    assert tuple(first.lines(command(args), "alice")) == (
        f"appliance {plant.appliance_id()}",
        "epoch 1",
        f"request {'1' * 64}",
        "asked by alice",
        "signed 2026-11-18T11:06:40Z",
        "ends 2026-11-18T11:07:40Z",
        "act site.add",
        'audiences[0] "https://a"',
        'audiences[1] "b"',
        'more."x y" true',
        "more.z {}",
        'name "line-2"',
    )


@given(st.dictionaries(st.text(), JSON_VALUES), st.dictionaries(st.text(), JSON_VALUES))
def test_no_argument_hides_or_looks_like_another(one: dict[str, Json], other: dict[str, Json]) -> None:
    """Printable ASCII behind the gutter only, and two different sets of arguments never have the same lines."""
    lines = tuple(whole.lines(command(one), "alice", {}))
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert all(line.startswith("| ") for line in lines[7:])
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (whole.shown(command(one), "alice", {}) == whole.shown(command(other), "alice", {})) == same


def test_garbage_is_refused_by_type() -> None:
    """Bytes that are no file: an error of ours."""
    for body in (b"", b"{", b"\xff", b"[]", b'{"v":2}'):
        for kind in (Terms, RequestFile, DraftFile):
            with pytest.raises(ColdcredError):
                kind.parse(body)
