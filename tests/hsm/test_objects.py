"""What the objects of a token amount to, from their attributes alone."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred.errors import Malformed
from coldcred.keys import Algorithm
from hsm import attributes
from hsm.keystore import TokenInfo
from hsm.mechanisms import MECHANISMS, public_key, row_of_key_type
from hsm.objects import MODULES_OWN, TokenObject, assemble
from tests.support.signers import Signer

TOKEN = TokenInfo("label", "serial", "manufacturer", "model")
LABEL = "tokens-" + "0" * 24
ROW = MECHANISMS[Algorithm.ES256]
PUBLIC = Signer.named("objects").public
POINT = b"\x04\x41" + PUBLIC.raw


def private(**changes: Any) -> dict[str, object]:
    """Return the attributes of a sound private key, with some replaced."""
    common = {"CLASS": "PRIVATE_KEY", "LABEL": LABEL, "ID": b"id", "KEY_TYPE": ROW.key_type, "EC_PARAMS": ROW.curves[0]}
    return {**common, **attributes.PRIVATE_KEY, **changes}


def public(**changes: Any) -> dict[str, object]:
    """Return the attributes of its public half, with some replaced."""
    return {**private(), "CLASS": "PUBLIC_KEY", "EC_POINT": POINT, **attributes.PUBLIC_KEY, **changes}


def inventory(*objects: dict[str, object]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Return the faults of each key, and what is foreign."""
    found = assemble(TOKEN, [TokenObject(item) for item in objects])
    return [key.faults for key in found.keys], found.foreign


def test_a_sound_pair_is_a_key() -> None:
    """Both halves, as they were born, are one key with its algorithm and public key."""
    (key,) = assemble(TOKEN, [TokenObject(public()), TokenObject(private())]).keys
    assert (key.key_id, key.label, key.algorithm, key.public, key.faults) == (b"id", LABEL, Algorithm.ES256, PUBLIC, ())


@pytest.mark.parametrize("name", sorted(attributes.PRIVATE_KEY.keys() - attributes.UNUSED))
def test_each_attribute_of_a_private_key_counts(name: str) -> None:
    """Each one wrong, or not readable, is a fault of its own that names it."""
    wrong = not attributes.PRIVATE_KEY[name]
    assert inventory(private(**{name: wrong}), public())[0] == [(f"CKA_{name} is {str(wrong).lower()}",)]
    assert inventory(private(**{name: 1 if attributes.PRIVATE_KEY[name] else 0}), public())[0] != [()]
    if name not in attributes.OPTIONAL:
        assert inventory(without(name), public())[0] == [(f"CKA_{name} cannot be read",)]


def without(name: str) -> dict[str, object]:
    """Return the attributes of a sound private key without one of them."""
    return {key: value for key, value in private().items() if key != name}


def test_what_is_no_fault() -> None:
    """Not to know CKA_COPYABLE, and whatever is said of decrypting, which no key of ours could do."""
    for sound in (without("COPYABLE"), without("DECRYPT"), private(DECRYPT=True)):
        assert inventory(sound, public(ENCRYPT=True))[0] == [()]


@pytest.mark.parametrize("name", attributes.PRIVATE_KEY)
def test_a_key_is_exposed_by_what_lets_it_leave_and_by_nothing_else(name: str) -> None:
    """Wrong or unreadable: those attributes that say it was born in the token and stays there, and no others."""
    for found in (private(**{name: not attributes.PRIVATE_KEY[name]}), without(name)):
        (key,) = assemble(TOKEN, [TokenObject(found), TokenObject(public())]).keys
        assert key.exposed == (name in attributes.STAYS)
        if key.faults:
            assert key.unfit("key k").id == ("key-exposed" if key.exposed else "key-unfit")


@pytest.mark.parametrize("kind", sorted(MODULES_OWN))
def test_what_a_module_shows_of_itself_is_not_foreign(kind: str) -> None:
    """Objects that nobody made and nobody can remove refuse no start."""
    assert inventory({"CLASS": kind}, private(), public()) == ([()], ())


@pytest.mark.parametrize(
    ("halves", "fault"),
    [
        ([], "has 0 public keys in the token"),
        ([public(), public()], "has 2 public keys in the token"),
        ([public(ID=b"other")], "has 0 public keys in the token"),
        (
            [public(EC_POINT=POINT[:-1])],
            "public key: a CKA_EC_POINT that is neither a point nor one short octet string",
        ),
        ([public(EC_POINT=b"\x04\x41" + bytes(65))], "public key: not a ES256 public key"),
        ([public(EC_PARAMS=b"")], "public key: is on another curve"),
        ([public(MODIFIABLE=True)], "public key: CKA_MODIFIABLE is true"),
        ([public(LABEL="log-" + "0" * 24)], "public key: has another label"),
    ],
)
def test_each_flaw_of_the_public_half_counts(halves: list[dict[str, object]], fault: str) -> None:
    """Missing, doubled, unreadable, of another curve or label."""
    assert inventory(private(), *halves)[0] == [(fault,)]


def test_a_key_of_another_type_is_reported() -> None:
    """An RSA key, or a P-384 one, under a label of ours has faults and no algorithm that could sign."""
    assert inventory(private(KEY_TYPE=0), public())[0] == [("is of a key type that is not used here",)]
    assert inventory(private(EC_PARAMS=b"\x06\x05+\x81\x04\x00\x22"), public())[0] == [
        ("is not on the curve of ES256",)
    ]


def test_all_else_is_foreign() -> None:
    """Each object that is no pair of ours is described, in the order found, and identical ones each for themselves."""
    strange: list[dict[str, object]] = [
        {"CLASS": "DATA", "LABEL": "x"},
        {"CLASS": "DATA", "LABEL": "x"},
        {},
        private(LABEL="tokens-short", ID=b"short"),
        public(ID=b"orphan"),
    ]
    keys, foreign = inventory(*strange, private(), public())
    assert keys == [()]
    assert foreign == (
        "data labelled 'x', CKA_ID none",
        "data labelled 'x', CKA_ID none",
        "unknown object labelled '', CKA_ID none",
        "private key labelled 'tokens-short', CKA_ID " + b"short".hex(),
        f"public key labelled '{LABEL}', CKA_ID " + b"orphan".hex(),
    )


def test_a_strangers_key_of_the_same_id_is_a_fault_of_ours() -> None:
    """A private key under another label that shares the CKA_ID is foreign, and the key of ours is not sound."""
    keys, foreign = inventory(private(), public(), private(LABEL="stranger"))
    assert keys == [("shares its CKA_ID with another private key",)]
    assert len(foreign) == 1


@given(text=st.text(), key_id=st.binary())
def test_descriptions_cannot_deceive(text: str, key_id: bytes) -> None:
    """Whatever stands in a token, a description is one short line of printable ASCII."""
    (line,) = inventory({"CLASS": "DATA", "LABEL": text, "ID": key_id, "VALUE": b"?"})[1]
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 640


def test_every_algorithm_has_its_row() -> None:
    """The table is complete, and each key type belongs to one row."""
    assert set(MECHANISMS) == set(Algorithm)
    assert all(row_of_key_type(row.key_type) is row and row.algorithm is name for name, row in MECHANISMS.items())
    assert row_of_key_type(0) is None


@given(st.binary(max_size=70))
def test_a_point_is_read_or_malformed(data: bytes) -> None:
    """Any bytes in CKA_EC_POINT are a point of the curve, raw or in an octet string, or `Malformed`."""
    for row in MECHANISMS.values():
        with suppress(Malformed):
            assert public_key(row, data).raw in {data, data[2:]}


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_point_may_stand_raw_or_in_an_octet_string(algorithm: Algorithm) -> None:
    """Both ways give the key, told apart by length; an Edwards point that begins as an octet string does is one."""
    row, keys = MECHANISMS[algorithm], [Signer.named(f"point {n}", algorithm).public for n in range(64)]
    for key in keys:
        assert public_key(row, key.raw) == public_key(row, bytes((4, len(key.raw))) + key.raw) == key
    for wrong in (keys[0].raw[:-1], keys[0].raw + b"x", bytes((4, len(keys[0].raw))) + keys[0].raw + b"x"):
        with pytest.raises(Malformed):
            public_key(row, wrong)
