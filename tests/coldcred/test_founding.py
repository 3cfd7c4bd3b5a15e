"""The founding: read strictly, impossible numbers refused, and inert until every founder has signed twice (R1)."""

import contextlib
import hashlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred import founding
from coldcred.acts import NEVER_RAISED, Act, Role
from coldcred.canonical import MAX_INTEGER, Json, dumps, loads_canonical
from coldcred.charter import Purpose
from coldcred.errors import BadSignature, Malformed
from coldcred.jose import Typ, assemble, parse_unverified
from coldcred.keys import Algorithm
from coldcred.record import MAX_SECONDS, MAX_TIME
from tests.support import plant
from tests.support.effort import effort
from tests.support.signers import Signer, twin
from tests.support.values import JSON_VALUES, MISSING, THOROUGH, Place, edited, paths

MEMBERS = plant.members()
BODY = dumps(MEMBERS)
FOUNDED = founding.parse(BODY)
SIGNATURES = plant.signatures(BODY)

APPLIANCE = "e499be5d6dbd209d4b46d66fd1f0e72f72952489d24cc5f9f6117bae2767994f"


def refused(members: dict[str, Json]) -> str:
    """Give the sentence with which a founding is refused; it is one tame line."""
    with pytest.raises(Malformed) as caught:
        founding.parse(dumps(members))
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    return str(caught.value)


def by(roles: dict[str, list[str]], **quorums: Json) -> dict[str, Json]:
    """Give the members of a founding by people with these roles, quorums changed as told."""
    members = plant.members(roles)
    for name, value in quorums.items():
        members = edited(members, ["quorums", name], value)
    return members


def test_a_founding_is_read_as_it_stands() -> None:
    """Every part of the worked example arrives, and the appliance id is the SHA-256 of the bytes (golden)."""
    assert FOUNDED.body == BODY
    assert FOUNDED.appliance_id == hashlib.sha256(BODY).hexdigest() == APPLIANCE
    assert (FOUNDED.name, FOUNDED.trust_domain, FOUNDED.issuer) == ("plant-a", plant.DOMAIN, plant.ISSUER)
    assert FOUNDED.time == plant.TIME
    assert [person.id for person in FOUNDED.people] == ["alice", "bob", "carol"]
    assert FOUNDED.people[0].roles == {Role.OFFICER, Role.ISSUER}
    assert FOUNDED.people[0].operator == plant.operator("alice").public
    assert FOUNDED.people[2].custodian == plant.custodian("carol").public
    assert FOUNDED.quorums == founding.Quorums(2, 2, {})
    assert FOUNDED.tokens == (founding.Token("plant-a-daily", "daily", exclusive=True),)
    assert [key.charter.purpose for key in FOUNDED.keys] == [one for one in Purpose if one is not Purpose.OPERATOR]
    assert FOUNDED.horizons == founding.Horizons(plant.DAY, 21_600, 365 * plant.DAY, 90 * plant.DAY)
    assert FOUNDED.sites == (founding.Site("line-1", (plant.AUDIENCE,)),)
    assert [profile.name for profile in FOUNDED.profiles] == ["orders-reader"]
    assert not FOUNDED.single_operator
    assert founding.write(MEMBERS) == BODY


def test_one_person_can_found() -> None:
    """A founding by one person is read and says so; every number in it is one."""
    alone = founding.parse(dumps(plant.members(plant.ALONE)))
    assert alone.single_operator
    assert (alone.quorums.custodians, alone.quorums.recovery) == (1, 1)


def test_writing_proves_that_it_is_read_back() -> None:
    """`write` refuses what `parse` would, before anybody signs it."""
    with pytest.raises(Malformed, match="no officer"):
        founding.write(by({"alice": ["issuer"], "bob": ["approver"]}))


@pytest.mark.parametrize(
    "change", [lambda body: body + b"\n", lambda body: b" " + body, lambda body: body.replace(b'"v":1', b'"v": 1')]
)
def test_other_bytes_for_the_same_founding_are_refused(change: Callable[[bytes], bytes]) -> None:
    """The id is over bytes, so only the canonical ones are read."""
    with pytest.raises(Malformed):
        founding.parse(change(BODY))


def test_a_founding_is_bounded() -> None:
    """More than 256 KiB are refused unread."""
    with pytest.raises(Malformed, match="at most 262144"):
        founding.parse(b" " * (founding.MAX_FOUNDING + 1))


@pytest.mark.parametrize("path", [path for path in paths(MEMBERS) if isinstance(path[-1], str)], ids=str)
def test_every_member_is_required(path: tuple[Place, ...]) -> None:
    """Without any one member, at any depth, or with null for it, the founding is refused."""
    refused(edited(MEMBERS, path, MISSING))
    refused(edited(MEMBERS, path, None))


@pytest.mark.parametrize(
    "place",
    [
        (),
        ("quorums",),
        ("quorums", "acts"),
        ("people", 0),
        ("people", 0, "operator"),
        ("tokens", 0),
        ("keys", 0),
        ("keys", 0, "charter"),
        ("horizons",),
        ("sites", 0),
        ("profiles", 0),
    ],
)
def test_no_other_member_is_read_past(place: tuple[Place, ...]) -> None:
    """A member unknown to this version, at any depth, is refused and quoted tamely."""
    assert "is not known here" in refused(edited(MEMBERS, (*place, "foo"), 1))
    assert "is not known here" in refused(edited(MEMBERS, (*place, "\x1b[2J"), 1))


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["v"], 2, "version"),
        (["kind"], "coldcred-command", "not a coldcred-founding"),
        (["name"], "Plant A", "appliance name"),
        (["trust_domain"], "Plant-A.example", "trust domain"),
        (["trust_domain"], "plant-b.example", "is not in trust domain"),
        (["issuer"], "http://issuer.plant-a.example", "https URI"),
        (["issuer"], "https://issuer.plant-b.example", "for another issuer"),
        (["time"], 0, "below 1"),
        (["time"], MAX_TIME + 1, "above"),
        (["time"], plant.TIME + 90 * plant.DAY, "ends before the founding"),
        (["people"], [], "has 0 items"),
        (["people", 0, "id"], "Alice", "person id"),
        (["people", 0, "id"], "bob", "person bob stands twice"),
        (["people", 0, "roles"], [], "has 0 items"),
        (["people", 0, "roles"], ["root"], "roles are among"),
        (["people", 0, "roles"], [{}], "not a text"),
        (["people", 0, "roles"], ["officer", "officer"], "twice"),
        (["people", 2, "roles"], ["auditor", "officer"], "an auditor holds no other role"),
        (["people", 0, "operator"], plant.operator("bob").public.jwk(), "stands twice"),
        (["people", 0, "custodian"], plant.custodian("bob").public.jwk(), "stands twice"),
        (["people", 0, "operator"], plant.custodian("alice").public.jwk(), "stands twice"),
        (["people", 0, "operator"], plant.custodian("carol").public.jwk(), "stands twice"),
        (["people", 0, "custodian"], plant.operator("dave").public.jwk(), "is not Ed25519"),
        (["people", 0, "operator"], {"kty": "RSA", "n": "AA", "e": "AQAB"}, "member 'crv' is missing"),
        (["quorums", "custodians"], 0, "below 1"),
        (["quorums", "custodians"], 1, "quorums.custodians is 1, which needs a founding by one person"),
        (["quorums", "custodians"], 4, "quorums.custodians is 4 of 3 people"),
        (["quorums", "recovery"], 0, "below 1"),
        (["quorums", "recovery"], 1, "quorums.recovery is 1, which needs a founding by one person"),
        (["quorums", "recovery"], 4, "quorums.recovery is 4 of 3 people"),
        (["quorums", "acts"], {"profile.set": 0}, "below 1"),
        (["quorums", "acts"], {"profile.unset": 2}, "'profile.unset' is not known here"),
        (["quorums", "acts"], {"profile.set": 3}, "profile.set takes 3 people"),
        (["quorums", "acts"], {"credential.issue": 3}, "credential.issue takes 3 people"),
        (["quorums", "acts"], {"log.export": MAX_INTEGER}, "people and these people cannot reach that"),
        (["quorums", "acts"], {"read.open": 2}, "raises read.open; it must never wait"),
        (["quorums", "acts"], {"credential.revoke": 2}, "raises credential.revoke; it must never wait"),
        (["quorums", "acts"], {"workload.suspend": 2}, "raises workload.suspend; it must never wait"),
        (["quorums", "acts"], {"key.suspend": 2}, "raises key.suspend; it must never wait"),
        (["quorums", "acts"], {"request.withdraw": 2}, "raises request.withdraw; it must never wait"),
        (["quorums", "acts"], {"review.confirm": 2}, "raises review.confirm; it must never wait"),
        (["quorums", "acts"], {"operator.recover": 3}, "raises operator.recover; its number is quorums.recovery"),
        (["tokens"], [], "has 0 items"),
        (["tokens", 0, "class"], "weekly", "class is daily or ceremony"),
        (["tokens", 0, "label"], "plant-b-daily", "names a token that is not in the founding"),
        (["tokens", 0, "exclusive"], 1, "not true or false"),
        (["keys"], [], "has 0 items"),
        (["keys", 1, "name"], "tokens-1", "key name tokens-1 stands twice"),
        (["keys", 0, "valid_for"], 0, "below 1"),
        (["keys", 0, "valid_for"], MAX_SECONDS + 1, "above"),
        (["keys", 0, "charter", "subjects"], ["spiffe://plant-b.example/*"], "is not in trust domain"),
        (["keys", 1, "charter", "prefix"], f"{plant.ISSUER}/status", "ends with a slash"),
        (["keys", 3, "charter", "algorithm"], "Ed25519", "the bundle key is ES256"),
        (["keys", 3, "charter", "until"], plant.TIME, "ends before the founding"),
        (["horizons", "window"], 59, "below 60"),
        (["horizons", "window"], MAX_SECONDS + 1, "above"),
        (["horizons", "grace"], -1, "below 0"),
        (["horizons", "root"], MAX_INTEGER, "above"),
        (["horizons", "targets"], 0, "below 60"),
        (["sites", 0, "audiences"], [], "has 0 items"),
        (["sites", 0, "audiences"], ["*"], "not a https URI"),
        (["sites", 0, "name"], "Line 1", "site name"),
        (["profiles", 0, "approvals"], 3, "credential.issue takes 3 people"),
        (["profiles", 0, "subjects"], ["spiffe://plant-b.example/*"], "is not in trust domain"),
    ],
)
def test_what_contradicts_itself_is_refused(path: Sequence[Place], value: object, reason: str) -> None:
    """Each rule of a founding has its own sentence."""
    assert reason in refused(edited(MEMBERS, path, value))


def _append(name: str, item: object) -> dict[str, Json]:
    items = MEMBERS[name]
    assert isinstance(items, list)
    return edited(MEMBERS, [name], [*items, item])


def test_a_persons_key_is_in_no_token_of_an_appliance() -> None:
    """A founding orders no operator's key: the appliance has that token's PIN, and would sign as the person."""
    keys = MEMBERS["keys"]
    assert isinstance(keys, list)
    own = edited({"key": keys[0]}, ["key", "name"], "alice")["key"]
    own = edited({"key": own}, ["key", "charter"], plant.operator_charter())["key"]
    assert "alice is a person's key" in refused(_append("keys", own))


def test_nothing_stands_twice() -> None:
    """Names, charters, purposes and audiences are distinct; a second key for the same kind of token is refused."""
    twice = plant.members()
    keys = twice["keys"]
    assert isinstance(keys, list)
    for index, reason in enumerate(("key charter", "key charter", "key charter", "key charter")):
        key = edited({"key": keys[index]}, ["key", "name"], "other")["key"]
        assert reason in refused(_append("keys", key))
    other = edited({"key": keys[0]}, ["key", "charter", "lifetime"], 60)
    assert "token key for kind access stands twice" in refused(
        _append("keys", edited(other, ["key", "name"], "other")["key"])
    )
    log = edited({"key": keys[2]}, ["key", "charter", "origin"], "plant-a.example/log2")
    assert "2 keys for purpose log where there is one" in refused(
        _append("keys", edited(log, ["key", "name"], "other")["key"])
    )
    assert "token plant-a-daily stands twice" in refused(
        _append("tokens", {"label": "plant-a-daily", "class": "ceremony", "exclusive": False})
    )
    assert "site line-1 stands twice" in refused(_append("sites", {"name": "line-1", "audiences": ["https://b"]}))
    assert f"audience {plant.AUDIENCE} stands twice" in refused(
        _append("sites", {"name": "line-2", "audiences": ["https://b", plant.AUDIENCE]})
    )
    assert "profile orders-reader stands twice" in refused(_append("profiles", plant.profile()))


def test_each_purpose_has_its_key() -> None:
    """A founding without a key for status lists, log, bundles or credentials is refused."""
    keys = MEMBERS["keys"]
    assert isinstance(keys, list)
    spare = edited({"key": keys[0]}, ["key", "charter", "kind"], "svid")
    svid = edited(spare, ["key", "name"], "svid-1")["key"]
    founding.parse(dumps(_append("keys", svid)))
    for index, reason in ((1, "purpose status"), (2, "purpose log"), (3, "purpose bundle")):
        left = [*keys[:index], *keys[index + 1 :], svid]
        assert f"0 keys for {reason}" in refused(edited(MEMBERS, ["keys"], left))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (by({"alice": ["issuer"], "bob": ["approver"]}), "no officer"),
        (by({"alice": ["auditor"], "bob": ["auditor"]}), "no officer"),
        (by({"alice": ["officer"], "bob": ["auditor"]}), "credential.issue takes 1 people"),
        (by({"alice": ["officer", "issuer"], "bob": ["auditor"]}), "workload.enrol takes 2 people"),
        (by({"alice": ["officer", "issuer"], "bob": ["issuer"]}), "profile.set takes 2 people"),
        (by({"alice": ["officer", "approver"], "bob": ["officer"]}), "credential.issue takes 1 people"),
        (by({"alice": ["officer"]}), "credential.issue takes 1 people"),
        (by({"alice": ["auditor"]}), "no officer"),
        (by({"alice": ["issuer", "approver"]}), "no officer"),
        (by(plant.ALONE, custodians=2), "quorums.custodians is 2 of 1 people"),
        (by(plant.ALONE, recovery=2), "quorums.recovery is 2 of 1 people"),
        (by(plant.ALONE, acts={"workload.enrol": 2}), "one person cannot be several"),
        (by(plant.ROLES, acts={"site.add": 3}), "site.add takes 3 people"),
        (by(plant.ROLES, acts={"log.export": 4}), "log.export takes 4 people"),
        (by({**plant.ROLES, "dave": ["issuer"]}, acts={"credential.issue": 4}), "credential.issue takes 4 people"),
    ],
)
def test_numbers_that_these_people_cannot_reach_are_refused(members: dict[str, Json], reason: str) -> None:
    """An act nobody may ask for or that too few may approve would be dead for ever; auditors approve nothing."""
    assert reason in refused(members)


@pytest.mark.parametrize(
    "members",
    [
        by({"alice": ["officer", "issuer"], "bob": ["officer"]}),
        by({"alice": ["officer", "issuer"], "bob": ["approver"]}),
        by(plant.ROLES, acts={act.value: 2 for act in Act if act not in NEVER_RAISED}),
        by({**plant.ROLES, "dave": ["issuer"]}, acts={"credential.issue": 3}, custodians=4, recovery=4),
        by(plant.ALONE, acts={"workload.enrol": 1}),
        edited(by(plant.ALONE), ["profiles", 0, "approvals"], 3),
        edited(MEMBERS, ["profiles", 0, "approvals"], 2),
        edited(MEMBERS, ["sites"], []),
        edited(MEMBERS, ["profiles"], []),
    ],
)
def test_numbers_that_these_people_can_reach_are_fine(members: dict[str, Json]) -> None:
    """Numbers may be raised as far as there are people; with one founder a profile's number is one as well."""
    founding.parse(dumps(members))


def test_a_founding_full_of_audiences_costs_little() -> None:
    """The largest number of sites and audiences that fits is checked for doubles in proportion to its size."""
    sites: list[Json] = [
        {"name": f"site-{site}", "audiences": [f"https://{site:x}/{number:x}" for number in range(64)]}
        for site in range(240)
    ]
    body = dumps(edited(MEMBERS, ["sites"], sites))
    assert founding.MAX_FOUNDING * 9 // 10 < len(body) <= founding.MAX_FOUNDING
    reading = effort(lambda: loads_canonical(body, max_bytes=founding.MAX_FOUNDING))
    assert effort(lambda: founding.parse(body)) < 20 * reading


# Signatures


def test_a_founding_counts_when_everybody_has_signed_twice() -> None:
    """Six signatures for three people, in any order, each as often as it likes, are enough."""
    founding.verify_signatures(FOUNDED, SIGNATURES)
    founding.verify_signatures(FOUNDED, [*reversed(SIGNATURES), SIGNATURES[0]])


@pytest.mark.parametrize("missing", range(6))
def test_without_one_signature_a_founding_is_inert(missing: int) -> None:
    """Whichever is missing is named, by person and register; another one twice does not replace it."""
    person, register = FOUNDED.people[missing // 2].id, (founding.OPERATOR, founding.CUSTODIAN)[missing % 2]
    rest = [token for index, token in enumerate(SIGNATURES) if index != missing]
    for tokens in (rest, [*rest, rest[0], rest[0]]):
        with pytest.raises(BadSignature, match=rf"^founding: not signed by {person} \({register} key\)$"):
            founding.verify_signatures(FOUNDED, tokens)
    with pytest.raises(BadSignature, match="not signed by alice"):
        founding.verify_signatures(FOUNDED, [])


def test_a_twin_is_the_same_signature() -> None:
    """(r, n-s) over the same bytes is no second signature and does no harm."""
    jws = parse_unverified(SIGNATURES[0])
    other = assemble(jws.signing_input, twin(jws.signature))
    founding.verify_signatures(FOUNDED, [other, *SIGNATURES[1:]])
    with pytest.raises(BadSignature, match="not signed by alice"):
        founding.verify_signatures(FOUNDED, [SIGNATURES[0], other, *SIGNATURES[2:]])


def claims(**changes: Json) -> dict[str, Json]:
    """Give the claims of alice's operator signature, changed as told."""
    return {**founding.signature_claims(FOUNDED.appliance_id, "alice", founding.OPERATOR, plant.TIME), **changes}


@pytest.mark.parametrize(
    ("token", "refusal"),
    [
        (Signer.named("mallory").token(Typ.FOUNDING, claims()), BadSignature),
        (plant.operator("alice").token(Typ.COMMAND, claims()), Malformed),
        (plant.operator("alice").token(Typ.FOUNDING, claims(founding="00" * 32)), BadSignature),
        (plant.operator("alice").token(Typ.FOUNDING, claims(founding="AB" * 32)), Malformed),
        (plant.operator("alice").token(Typ.FOUNDING, claims(person="bob")), BadSignature),
        (plant.operator("alice").token(Typ.FOUNDING, claims(register="custodian")), BadSignature),
        (plant.operator("alice").token(Typ.FOUNDING, claims(iat="now")), Malformed),
        (plant.operator("alice").token(Typ.FOUNDING, claims(iat=MAX_INTEGER)), Malformed),
        (plant.operator("alice").token(Typ.FOUNDING, claims(extra=1)), Malformed),
        (plant.operator("alice").token(Typ.FOUNDING, edited(claims(), ["iat"], MISSING)), Malformed),
        (plant.custodian("alice").token(Typ.FOUNDING, claims()), BadSignature),
        (plant.operator("bob").token(Typ.FOUNDING, claims()), BadSignature),
        ("", Malformed),
        ("\x1b[2J", Malformed),
    ],
)
def test_one_wrong_signature_condemns_the_set(token: str, refusal: type[Exception]) -> None:
    """By a stranger, of another kind, over other bytes, for another person: refused, also beside good ones."""
    for tokens in ([token, *SIGNATURES], [*SIGNATURES, token]):
        with pytest.raises(refusal) as caught:
            founding.verify_signatures(FOUNDED, tokens)
        assert str(caught.value).isascii()
        assert str(caught.value).isprintable()


def test_custodians_sign_with_ed25519_whatever_operators_use() -> None:
    """Operator keys may be of either algorithm; both kinds of signature are found by thumbprint."""
    signer = Signer.named("alice operator", Algorithm.ED25519)
    body = dumps(edited(MEMBERS, ["people", 0, "operator"], signer.public.jwk()))
    founded = founding.parse(body)
    tokens = [
        (signer if (person.id, register) == ("alice", founding.OPERATOR) else key).token(
            Typ.FOUNDING, founding.signature_claims(founded.appliance_id, person.id, register, plant.TIME)
        )
        for person in founded.people
        for register, key in (
            (founding.OPERATOR, plant.operator(person.id)),
            (founding.CUSTODIAN, plant.custodian(person.id)),
        )
    ]
    founding.verify_signatures(founded, tokens)


# Properties


@THOROUGH
@given(st.integers(0, len(BODY) * 8 - 1))
def test_no_flipped_bit_is_founded(bit: int) -> None:
    """With any one bit of the document changed it is not read, or its signatures are for other bytes."""
    body = bytearray(BODY)
    body[bit // 8] ^= 1 << bit % 8
    with pytest.raises((Malformed, BadSignature)):
        founding.verify_signatures(founding.parse(bytes(body)), SIGNATURES)


@THOROUGH
@given(st.integers(0, len(SIGNATURES) - 1), st.data())
def test_no_changed_signature_is_taken(index: int, data: st.DataObject) -> None:
    """With any one character of any one signature file changed the founding stays inert."""
    token = SIGNATURES[index]
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.sampled_from("AZaz09-_.=\n") | st.characters()) + token[at + 1 :]
    if changed == token:
        return
    with pytest.raises((Malformed, BadSignature)):
        founding.verify_signatures(FOUNDED, [*SIGNATURES[:index], changed, *SIGNATURES[index + 1 :]])


@THOROUGH
@given(st.data())
def test_any_damaged_founding_is_read_or_malformed(data: st.DataObject) -> None:
    """Whatever stands in any place, the reader raises `Malformed` or nothing."""
    path = data.draw(st.sampled_from(paths(MEMBERS)))
    with contextlib.suppress(Malformed):
        founding.parse(dumps(edited(MEMBERS, path, data.draw(JSON_VALUES))))


@THOROUGH
@given(JSON_VALUES.map(dumps) | st.binary(max_size=200))
def test_any_bytes_are_malformed(body: bytes) -> None:
    """No bytes make the reader raise anything but `Malformed`."""
    with pytest.raises(Malformed):
        founding.parse(body)
