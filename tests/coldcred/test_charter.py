"""Key charters (rule R13): what one key may sign, spelt one way and bound to the key's label."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred import charter
from coldcred.canonical import MAX_INTEGER, Json, dumps
from coldcred.charter import (
    OPERATOR_SIGNS,
    BundleCharter,
    LogCharter,
    OperatorCharter,
    Purpose,
    StatusCharter,
    TokenCharter,
)
from coldcred.credential import Credential, Kind, StatusReference
from coldcred.errors import CharterExceeded, LifetimeExceeded, Malformed
from coldcred.jose import Typ
from coldcred.keys import Algorithm
from coldcred.record import MAX_SECONDS, MAX_TIME
from tests.support import plant
from tests.support.values import JSON_VALUES, MISSING, THOROUGH, Place, edited, paths

CHARTERS = {**plant.charters(), "operator": plant.operator_charter()}

TOKENS = TokenCharter(
    algorithm=Algorithm.ES256,
    kind=Kind.ACCESS,
    issuer=plant.ISSUER,
    subjects=("spiffe://plant-a.example/line-1/*", "spiffe://plant-a.example/gate"),
    audiences=(plant.AUDIENCE, "https://stock.plant-a.example"),
    lifetime=3600,
    horizon=7200,
)
CREDENTIAL = Credential(
    kind=Kind.ACCESS,
    issuer=plant.ISSUER,
    subject=plant.WORKLOAD,
    audiences=(plant.AUDIENCE,),
    scopes=(),
    jti="A" * 22,
    issued_at=1000,
    not_before=4600,
    expires_at=8200,
    status=StatusReference(f"{plant.ISSUER}/status/1", 0),
    log_index=1,
    profile="orders-reader",
)


@pytest.mark.parametrize("purpose", Purpose)
def test_what_is_written_is_read_back(purpose: Purpose) -> None:
    """Each purpose has its own record, which survives reading and writing and knows its purpose."""
    read = charter.parse(CHARTERS[purpose])
    assert read.purpose is purpose
    assert read.as_json() == CHARTERS[purpose]
    assert charter.parse(read.as_json()) == read


def test_the_kinds_of_charter() -> None:
    """The five purposes are read into the five types."""
    read = {purpose: charter.parse(document) for purpose, document in CHARTERS.items()}
    assert isinstance(read["tokens"], TokenCharter)
    assert read["status"] == StatusCharter(Algorithm.ES256, f"{plant.ISSUER}/status/")
    assert read["log"] == LogCharter(Algorithm.ED25519, "plant-a.example/log")
    assert read["bundle"] == BundleCharter(
        Algorithm.ES256, ("site", "snapshot", "timestamp"), plant.TIME + 90 * plant.DAY
    )
    assert read["operator"] == OperatorCharter(Algorithm.ES256)


def test_labels_bind_key_and_charter() -> None:
    """Golden labels: a key is found by them in its token, so they cannot change; another charter has another one."""
    labels = {purpose: charter.label(charter.parse(document)) for purpose, document in CHARTERS.items()}
    assert labels == {
        "tokens": "tokens-66d54f5834465ceca3b9760b",
        "status": "status-c5cd8663126da19838dcb168",
        "log": "log-4897c56f20765a023fc5c6cd",
        "bundle": "bundle-9ee011fb5787505603f799bb",
        "operator": "operator-63b247a61bf403952f67b627",
    }
    tokens = charter.parse(CHARTERS["tokens"])
    assert charter.label(tokens) == f"tokens-{charter.digest(tokens)[:24]}"
    other = charter.parse(edited(CHARTERS["tokens"], ["lifetime"], 1))
    assert charter.digest(other) != charter.digest(tokens)


@pytest.mark.parametrize("purpose", Purpose)
def test_every_member_is_required_and_no_other_is_read(purpose: Purpose) -> None:
    """Without any one member, with null for it or with another one the charter is refused."""
    document = CHARTERS[purpose]
    for name in document:
        for value in (MISSING, None, {}, [[]]):
            with pytest.raises(Malformed):
                charter.parse(edited(document, [name], value))
    with pytest.raises(Malformed, match="'extra' is not known here"):
        charter.parse({**document, "extra": 1})


@pytest.mark.parametrize("value", [None, True, 1, "tokens", [], [{}], {}])
def test_only_an_object_is_a_charter(value: Json) -> None:
    """Other JSON is refused."""
    with pytest.raises(Malformed):
        charter.parse(value)


@pytest.mark.parametrize(
    ("purpose", "name", "value"),
    [
        *((purpose, "v", value) for purpose in Purpose for value in (0, 2, "1", True)),
        *((purpose, "algorithm", value) for purpose in Purpose for value in ("EdDSA", "es256", "RS256", "", 1)),
        *((purpose, "purpose", value) for purpose in Purpose for value in ("token", "TOKENS", "", "\x1b[2J", 1)),
        ("tokens", "purpose", "log"),
        ("log", "purpose", "tokens"),
        ("tokens", "kind", "any"),
        ("tokens", "kind", "\u202e"),
        ("tokens", "issuer", "http://issuer.plant-a.example"),
        ("tokens", "subjects", []),
        ("tokens", "subjects", ["*"]),
        ("tokens", "subjects", ["spiffe://*"]),
        ("tokens", "subjects", ["spiffe://plant-a.example/a*"]),
        ("tokens", "subjects", ["spiffe://plant-a.example/*", "spiffe://plant-a.example/*"]),
        ("tokens", "subjects", "spiffe://plant-a.example/*"),
        ("tokens", "audiences", []),
        ("tokens", "audiences", ["*"]),
        ("tokens", "audiences", ["https://orders.plant-a.example/*"]),
        ("tokens", "lifetime", 0),
        ("tokens", "lifetime", True),
        ("tokens", "lifetime", MAX_SECONDS + 1),
        ("tokens", "horizon", 0),
        ("tokens", "horizon", MAX_INTEGER),
        ("status", "prefix", "https://issuer.plant-a.example/status"),
        ("status", "prefix", "https://issuer.plant-a.example"),
        ("status", "prefix", "http://issuer.plant-a.example/status/"),
        ("status", "prefix", "/"),
        ("log", "origin", ""),
        ("log", "origin", "plant a"),
        ("log", "origin", "plant+a"),
        ("log", "origin", "plant\na"),
        ("log", "origin", "pl\u00e4nt"),
        ("log", "origin", "a" * 256),
        ("bundle", "roles", []),
        ("bundle", "roles", ["root"]),
        ("bundle", "roles", ["targets", "site"]),
        ("bundle", "roles", ["site", "site"]),
        ("bundle", "until", 0),
        ("bundle", "until", MAX_TIME + 1),
    ],
)
def test_members_of_another_form_are_refused(purpose: str, name: str, value: object) -> None:
    """Unknown purposes, algorithms and roles, open patterns and endless spans are `Malformed`, in one tame line."""
    with pytest.raises(Malformed) as caught:
        charter.parse(edited(CHARTERS[purpose], [name], value))
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


def test_a_jwt_svid_is_signed_with_es256() -> None:
    """SPIFFE's list of algorithms has no Ed25519, so no key may be ordered for it; access tokens may use it."""
    svid = edited(CHARTERS["tokens"], ["kind"], "svid")
    assert charter.parse(svid).algorithm is Algorithm.ES256
    with pytest.raises(Malformed, match="ES256"):
        charter.parse(edited(svid, ["algorithm"], "Ed25519"))
    assert charter.parse(edited(CHARTERS["tokens"], ["algorithm"], "Ed25519")).algorithm is Algorithm.ED25519


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"subject": "spiffe://plant-a.example/gate"},
        {"audiences": (plant.AUDIENCE, "https://stock.plant-a.example")},
        {"not_before": 8199},
        {"issued_at": 1000},
    ],
)
def test_a_credential_within_the_charter_passes(change: dict[str, Any]) -> None:
    """Lifetime and horizon may be used up to the second."""
    TOKENS.check(replace(CREDENTIAL, **change))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": Kind.SVID}, "signs access credentials, not svid"),
        ({"issuer": "https://issuer.plant-b.example"}, "signs for issuer"),
        ({"issuer": f"{plant.ISSUER}/"}, "signs for issuer"),
        ({"subject": "spiffe://plant-a.example/line-1"}, "does not cover subject"),
        ({"subject": "spiffe://plant-a.example/line-10/robot"}, "does not cover subject"),
        ({"subject": "spiffe://plant-b.example/line-1/robot"}, "does not cover subject"),
        ({"subject": "spiffe://plant-a.example/gate/2"}, "does not cover subject"),
        ({"audiences": (f"{plant.AUDIENCE}/",)}, "does not cover audience"),
        ({"audiences": (plant.AUDIENCE, "https://orders.plant-b.example")}, "does not cover audience"),
        ({"issued_at": 999}, "allows a horizon of 7200 s, found 7201"),
        ({"not_before": 4599}, "allows 3600 s of lifetime, found 3601"),
    ],
)
def test_a_credential_outside_the_charter_is_refused(change: dict[str, Any], reason: str) -> None:
    """Each dimension alone is enough; an audience is compared whole and every one of them must be covered."""
    with pytest.raises(CharterExceeded, match=f"^the key's charter {reason}"):
        TOKENS.check(replace(CREDENTIAL, **change))


def test_only_a_window_that_is_all_that_is_wrong_is_a_lifetime() -> None:
    """A longer window is told apart for the verifier's own reason, but never hides another excess."""
    with pytest.raises(LifetimeExceeded):
        TOKENS.check(replace(CREDENTIAL, not_before=1001))
    others: list[dict[str, Any]] = [{"issuer": "https://a"}, {"audiences": ("https://a",)}, {"issued_at": 0}]
    for change in others:
        with pytest.raises(CharterExceeded) as caught:
            TOKENS.check(replace(CREDENTIAL, not_before=1001, **change))
        assert type(caught.value) is CharterExceeded


@pytest.mark.parametrize(
    ("uri", "covered"),
    [
        ("https://issuer.plant-a.example/status/1", True),
        ("https://issuer.plant-a.example/status/a/b", True),
        ("https://issuer.plant-a.example/status", False),
        ("https://issuer.plant-a.example/status-2/1", False),
        ("https://issuer.plant-a.example/", False),
        ("https://issuer.plant-a.example.evil.example/status/1", False),
        ("http://issuer.plant-a.example/status/1", False),
    ],
)
def test_status_lists_lie_below_the_prefix(uri: str, *, covered: bool) -> None:
    """A prefix ends with a slash, so it never ends in the middle of a host or of a folder's name."""
    read = charter.parse(CHARTERS["status"])
    assert isinstance(read, StatusCharter)
    if covered:
        read.check(uri)
    else:
        with pytest.raises(CharterExceeded, match="signs status lists under"):
            read.check(uri)


@THOROUGH
@given(st.sampled_from(list(CHARTERS.values())), st.data())
def test_any_damaged_charter_is_read_or_malformed(document: dict[str, Json], data: st.DataObject) -> None:
    """Whatever stands in any place, the reader raises `Malformed` or gives a charter that writes itself back."""
    path: tuple[Place, ...] = data.draw(st.sampled_from(paths(document)))
    changed = edited(document, path, data.draw(JSON_VALUES))
    with contextlib.suppress(Malformed):
        read = charter.parse(changed)
        assert dumps(read.as_json()) == dumps(changed)


@THOROUGH
@given(JSON_VALUES)
def test_any_json_is_malformed(value: Json) -> None:
    """No JSON value makes the reader raise anything but `Malformed`."""
    with pytest.raises(Malformed):
        charter.parse(value)


def test_an_operators_key_signs_what_people_sign() -> None:
    """Of every `typ` it takes those of people's documents; no credential, list or receipt, and no other spelling."""
    own = OperatorCharter(Algorithm.ES256)
    for typ in OPERATOR_SIGNS:
        assert own.check(typ.value) is typ
    others = [typ.value for typ in Typ if typ not in OPERATOR_SIGNS]
    assert {Typ.ACCESS, Typ.SVID, Typ.STATUS_LIST, Typ.ENROLMENT, Typ.RECEIPT} <= set(others)
    for text in (*others, "", "COLDCRED-COMMAND+JWT", "application/coldcred-command+jwt"):
        with pytest.raises(CharterExceeded, match="what people sign"):
            own.check(text)
