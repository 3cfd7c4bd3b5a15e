"""What stays within a charter and what exceeds it, per purpose, on the whole bytes."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from appliance import bundling
from coldcred.canonical import Json, dumps, loads
from coldcred.charter import BUNDLE_ROLES, BundleCharter, KeyCharter, Purpose
from coldcred.credential import write_claims
from coldcred.founding import signature_claims
from coldcred.jose import Header, Typ, signing_input
from coldcred.keys import Algorithm
from hsm.charter import check, headers, merge
from hsm.errors import CharterRefused
from hsm.keystore import NOTHING_SIGNED, CharterMemory
from tests.support import world
from tests.support.hsm_inputs import CASES, UNTIL, WORLD, log_input, site_input, status_input, token_input
from tests.support.values import JSON_VALUES

KID = "the-thumbprint-of-the-key"
TOKENS, STATUS, LOG, BUNDLE = (
    CASES[purpose].charter for purpose in (Purpose.TOKENS, Purpose.STATUS, Purpose.LOG, Purpose.BUNDLE)
)


def refused(charter: KeyCharter, data: bytes, memory: CharterMemory = NOTHING_SIGNED) -> str:
    """Return what the refusal says."""
    with pytest.raises(CharterRefused) as caught:
        check(charter, data, memory, kid=KID)
    return str(caught.value)


def allowed(charter: KeyCharter, data: bytes, memory: CharterMemory = NOTHING_SIGNED) -> CharterMemory:
    """Return the memory after an input that is within the charter."""
    return check(charter, data, memory, kid=KID)


@pytest.mark.parametrize("purpose", Purpose)
def test_valid_inputs_are_within(purpose: Purpose) -> None:
    """The inputs that the appliance makes are within the charter; tokens and lists and commands leave no memory."""
    memory = NOTHING_SIGNED
    for data in CASES[purpose].inputs(3, KID):
        memory = allowed(CASES[purpose].charter, data, memory)
    assert (memory == NOTHING_SIGNED) is (purpose in {Purpose.TOKENS, Purpose.STATUS, Purpose.OPERATOR})


@given(st.data())
def test_a_header_read_before_changes_no_answer(data: st.DataObject) -> None:
    """With the header read before and without, an input is within the charter or is refused in the same words."""

    def answer(changed: bytes, read: Mapping[bytes, Header]) -> str | CharterMemory:
        try:
            return check(TOKENS, changed, NOTHING_SIGNED, kid=KID, read=read)
        except CharterRefused as error:
            return str(error)

    good = token_input(1, data.draw(st.sampled_from([KID, "the-thumbprint-of-another-key"])))
    place = data.draw(st.integers(0, len(good)))
    changed = good[:place] + data.draw(st.binary(max_size=2)) + good[place + data.draw(st.integers(0, 2)) :]
    for found in (good, changed):
        assert answer(found, headers(TOKENS, KID)) == answer(found, {})
    assert token_input(1, KID).partition(b".")[0] in headers(TOKENS, KID)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"subject": "spiffe://other.example/line/1"}, "subject"),
        ({"subject": "spiffe://plant-a.example.evil.example/line/1"}, "subject"),
        ({"issuer": "https://issuer.plant-b.example"}, "issuer"),
        ({"audiences": ("https://unlisted.plant-a.example",)}, "audience"),
        ({"expires_at": world.NOW + world.HOUR + 1}, "lifetime"),
        ({"not_before": world.NOW + 90_000, "expires_at": world.NOW + 90_001}, "horizon"),
        ({"expires_at": world.NOW}, "nbf"),
    ],
)
def test_tokens_beyond_the_charter(changes: dict[str, Any], says: str) -> None:
    """One claim beyond the charter is enough, and by one second too."""
    assert says in refused(TOKENS, token_input(1, KID, **changes))


def test_a_token_at_the_edge_is_within() -> None:
    """The longest lifetime and the horizon are allowed to the second."""
    allowed(TOKENS, token_input(1, KID, expires_at=world.NOW + world.HOUR))
    edge = {"not_before": world.NOW + world.DAY - 60, "expires_at": world.NOW + world.DAY}
    allowed(TOKENS, token_input(1, KID, **edge))


@pytest.mark.parametrize(
    ("typ", "algorithm", "kid", "says"),
    [
        (Typ.SVID, Algorithm.ES256, KID, "signs at[+]jwt, not 'JWT'"),
        (Typ.COMMAND, Algorithm.ES256, KID, "signs at[+]jwt"),
        (Typ.ACCESS, Algorithm.ED25519, KID, "is for ES256, not 'Ed25519'"),
        (Typ.ACCESS, Algorithm.ES256, "another key", "another one"),
    ],
)
def test_headers_beyond_the_charter(typ: Typ, algorithm: Algorithm, kid: str, says: str) -> None:
    """`typ`, algorithm and `kid` must be the key's own."""
    with pytest.raises(CharterRefused, match=says):
        check(TOKENS, signing_input(typ, algorithm, kid, write_claims(WORLD.credential())), NOTHING_SIGNED, kid=KID)


@pytest.mark.parametrize("extra", [{"admin": True}, {"aud": [world.AUDIENCE, "https://x.example"]}, {"exp": "soon"}])
def test_claims_that_nobody_reads_are_not_signed(extra: dict[str, Any]) -> None:
    """A claim outside the closed set, or one of another type, is refused: a key signs what is understood."""
    claims = write_claims(WORLD.credential()) | extra
    refused(TOKENS, signing_input(Typ.ACCESS, Algorithm.ES256, KID, claims))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b".",
        lambda data: data + b"\n",
        lambda data: data + b"=",
        lambda data: data[:-1],
        lambda data: data.replace(b".", b".."),
        lambda data: b" " + data,
        lambda data: b"\xff" + data,
        lambda _: b"",
        lambda data: data.partition(b".")[2],
    ],
)
def test_what_is_no_signing_input_is_refused(change: Callable[[bytes], bytes]) -> None:
    """Anything but two canonical base64url parts is refused."""
    data = token_input(1, KID)
    if change(data) != data:
        refused(TOKENS, change(data))


@pytest.mark.parametrize(
    "uri",
    ["https://issuer.plant-a.example/other/1", "https://issuer.plant-b.example/status/x/1", "https://evil.example/"],
)
def test_status_lists_elsewhere_are_refused(uri: str) -> None:
    """A list outside the charter's prefix is not signed."""
    assert "status lists under" in refused(STATUS, status_input(1, KID, uri))


def test_a_status_list_must_be_one() -> None:
    """The payload is read as a list, its bits included: a bomb or a list of another size is refused."""
    claims: dict[str, Json] = {
        "sub": world.STATUS_URI,
        "iat": 1,
        "exp": 2,
        "ttl": 3,
        "status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ"},
    }
    refused(STATUS, signing_input(Typ.STATUS_LIST, Algorithm.ES256, KID, claims))


def test_checkpoints_of_another_log_are_refused() -> None:
    """Only the charter's own origin."""
    assert world.ORIGIN in refused(LOG, log_input(1, origin="plant-b.example/log/1"))


@pytest.mark.parametrize("tail", [b"free text\n", b"\n", b" "])
def test_a_log_key_signs_no_free_text(tail: bytes) -> None:
    """Extension lines, empty lines and stray bytes after the root are refused."""
    refused(LOG, log_input(1) + tail)


@given(first=st.integers(1, 2**40), second=st.integers(1, 2**40), same=st.booleans())
def test_the_log_only_grows(first: int, second: int, same: bool) -> None:  # noqa: FBT001 - a case
    """After a size the same root at that size, or a larger size, is within the charter and nothing else is."""
    memory = allowed(LOG, log_input(first))
    assert (memory.log_size, memory.log_root) == (first, first.to_bytes(32))
    root = second.to_bytes(32) if same else b"r" * 32
    if second > first or (second == first and same):
        assert allowed(LOG, log_input(second, root=root), memory).log_size == second
    else:
        refused(LOG, log_input(second, root=root), memory)


def test_a_size_without_a_root_in_memory_binds_the_size() -> None:
    """Where the log says only how far it was signed, that size may be signed once more, a smaller one never."""
    memory = CharterMemory(log_size=5)
    allowed(LOG, log_input(5), memory)
    refused(LOG, log_input(4), memory)


def snapshot_input(sequence: int = 1, expires: int = UNTIL) -> bytes:
    """Return the signed part of the role snapshot, as the appliance makes it."""
    return bundling.snapshot(
        sequence=sequence, targets=WORLD.targets(), site=_site_file(sequence), expires=expires
    ).signing_input


def timestamp_input(sequence: int = 1, expires: int = UNTIL) -> bytes:
    """Return the signed part of the role timestamp, as the appliance makes it."""
    unsigned = bundling.snapshot(sequence=sequence, targets=WORLD.targets(), site=_site_file(sequence), expires=expires)
    snapshot = world.signed(unsigned, WORLD.bundle_key)
    return bundling.timestamp(sequence=sequence, snapshot=snapshot, expires=expires).signing_input


def _site_file(sequence: int) -> bytes:
    documents = WORLD.site_documents(WORLD.times(sequence))
    unsigned = bundling.site(sequence=sequence, documents=documents, expires=UNTIL)
    return world.signed(unsigned, WORLD.bundle_key)


ROLE_INPUTS: dict[str, Callable[[int], bytes]] = {
    "site": site_input,
    "snapshot": snapshot_input,
    "timestamp": timestamp_input,
}


@pytest.mark.parametrize("role", BUNDLE_ROLES)
def test_each_role_has_versions_of_its_own(role: str) -> None:
    """Every role that the appliance signs is within, remembered under its name, never falls, and has an end."""
    make = ROLE_INPUTS[role]
    memory = allowed(BUNDLE, make(3))
    assert memory.versions == ((role, 6),)
    assert allowed(BUNDLE, make(3), memory) == memory
    assert "would go back" in refused(BUNDLE, make(2), memory)
    other = next(name for name in BUNDLE_ROLES if name != role)
    assert dict(allowed(BUNDLE, ROLE_INPUTS[other](1), memory).versions) == {role: 6, other: 2}
    assert "ends at" in refused(replace_until(-1), make(1))
    assert isinstance(BUNDLE, BundleCharter)
    assert role in refused(replace(BUNDLE, roles=tuple(set(BUNDLE_ROLES) - {role})), make(1))


def replace_until(seconds: int) -> BundleCharter:
    """Return the bundle charter with another end."""
    assert isinstance(BUNDLE, BundleCharter)
    return replace(BUNDLE, until=UNTIL + seconds)


def test_what_custodians_sign_the_bundle_key_does_not() -> None:
    """Neither root nor the top-level targets, nor a targets role that delegates, even to nobody."""
    root = Metadata.from_bytes(WORLD.root()).signed_bytes
    targets = Metadata[Targets].from_bytes(WORLD.targets())
    refused(BUNDLE, root)
    refused(BUNDLE, targets.signed_bytes)
    site = Metadata[Targets].from_bytes(_site_file(1))
    allowed(BUNDLE, site.signed_bytes)
    delegating = loads(site.signed_bytes)
    assert isinstance(delegating, dict)
    refused(BUNDLE, dumps(delegating | {"delegations": {"keys": {}, "roles": []}}))


@pytest.mark.parametrize(
    "path",
    [
        "trust/jwks.json",
        "trust/identity.json",
        "revocation",
        "revocation/",
        "revocationx/a",
        "revocation/../trust/jwks.json",
        "/revocation/a",
        "log/a//b",
        "time/a/b/c/d",
        "Log/a",
        "x",
    ],
)
def test_site_names_only_what_is_its_own(path: str) -> None:
    """A target outside revocation, sealed, log and time, or one whose name plays tricks, is refused."""
    signed = Targets(version=2, expires=_date(), targets={path: TargetFile.from_data(path, b"x")})
    refused(BUNDLE, Metadata(signed).signed_bytes)


_WORSE: tuple[dict[str, Json], ...] = (
    {"x": 1},
    {"version": 0},
    {"version": "2"},
    {"expires": "2030-1-1T0:0:0Z"},
    {"spec_version": "2.0.0"},
)
"""Members that spoil any role."""


def test_metadata_by_other_hands_is_read_too() -> None:
    """What python-tuf itself writes for the online roles is within; with anything more it is refused."""
    good = [
        Timestamp(version=2, expires=_date(), snapshot_meta=MetaFile(2)),
        Snapshot(version=2, expires=_date(), meta={"targets.json": MetaFile(1), "site.json": MetaFile(2)}),
        Targets(version=2, expires=_date(), targets={"log/checkpoint": TargetFile.from_data("log/checkpoint", b"x")}),
    ]
    for signed in good:
        data = Metadata(signed).signed_bytes  # type: ignore[type-var]  # roles of several types
        allowed(BUNDLE, data)
        value = loads(data)
        assert isinstance(value, dict)
        for change in _WORSE:
            refused(BUNDLE, dumps(value | change))
        refused(BUNDLE, data + b"\n")
        refused(BUNDLE, data.replace(b":", b": ", 1))
    refused(BUNDLE, Metadata(Snapshot(version=2, expires=_date(), meta={"evil.json": MetaFile(1)})).signed_bytes)
    refused(BUNDLE, Metadata(Targets(version=2, expires=_date())).signed_bytes)
    assert "type 'root'" in refused(BUNDLE, Metadata(Root(version=2, expires=_date())).signed_bytes)


def _date() -> Any:
    return Metadata[Timestamp].from_bytes(WORLD.files()["metadata/timestamp.json"]).signed.expires


@given(data=st.binary(max_size=200) | JSON_VALUES.map(dumps), purpose=st.sampled_from(Purpose))
def test_nothing_but_a_refusal_comes_out_of_nonsense(data: bytes, purpose: Purpose) -> None:
    """Any bytes are refused by one error type, never by another exception."""
    refused(CASES[purpose].charter, data)


@given(data=st.data(), purpose=st.sampled_from(Purpose))
def test_a_changed_byte_is_read_or_refused(data: st.DataObject, purpose: Purpose) -> None:
    """A valid input with one byte changed is either still within the charter or refused."""
    original = bytearray(CASES[purpose].make(1, KID))
    place = data.draw(st.integers(0, len(original) - 1))
    original[place] ^= data.draw(st.integers(1, 255))
    with suppress(CharterRefused):
        allowed(CASES[purpose].charter, bytes(original))


MEMORIES = st.builds(
    CharterMemory,
    st.integers(0, 9),
    st.sampled_from([None, b"r" * 32]),
    st.dictionaries(st.sampled_from(BUNDLE_ROLES), st.integers(1, 9)).map(lambda found: tuple(sorted(found.items()))),
)


@given(one=MEMORIES, other=MEMORIES)
def test_merging_memories_lowers_nothing(one: CharterMemory, other: CharterMemory) -> None:
    """The merged memory is at least each of the two, in every part."""
    merged = merge(one, other)
    assert merged.log_size == max(one.log_size, other.log_size)
    for memory in (one, other):
        assert all(dict(merged.versions)[role] >= version for role, version in memory.versions)
    assert merge(merged, one) == merged


def _listing(path: str) -> bytes:
    """Give the signed part of the role `site` with one more file listed at `path`."""
    signed = loads(site_input(1))
    assert isinstance(signed, dict)
    listed = signed["targets"]
    assert isinstance(listed, dict)
    return dumps({**signed, "targets": {**listed, path: next(iter(listed.values()))}})


def test_a_path_has_128_characters_at_most() -> None:
    """One more is not signed."""
    longest = f"log/{'a' * 124}"
    assert len(longest) == 128
    allowed(BUNDLE, _listing(longest))
    assert "names" in refused(BUNDLE, _listing(f"{longest}a"))


def test_metadata_has_a_mebibyte_at_most() -> None:
    """An input of exactly that is read, to its last byte; one of a byte more is not."""
    large = 1024 * 1024
    spare = large - len(_listing("log/a")) + 1
    assert len(_listing(f"log/{'a' * spare}")) == large
    assert "names" in refused(BUNDLE, _listing(f"log/{'a' * spare}"))
    assert "bytes" in refused(BUNDLE, _listing(f"log/{'a' * (spare + 1)}"))


@pytest.mark.parametrize(("register", "signs"), [("operator", True), ("custodian", False)])
def test_a_persons_operator_key_signs_a_founding_as_that_alone(register: str, signs: bool) -> None:  # noqa: FBT001 - a case
    """The same claims for the register of custodians, whose keys are other ones, are beyond its charter."""
    charter = CASES[Purpose.OPERATOR].charter
    data = signing_input(Typ.FOUNDING, Algorithm.ES256, KID, signature_claims("a" * 64, "alice", register, world.NOW))
    if signs:
        allowed(charter, data)
    else:
        assert "signs a founding as operator, not as 'custodian'" in refused(charter, data)
