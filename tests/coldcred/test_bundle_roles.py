"""Metadata is read with exact types and one spelling of each key; python-tuf alone would let some of this pass."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from coldcred.bundle.library import Root, Snapshot, Targets, Timestamp
from coldcred.bundle.roles import SITE_PATHS, read, read_stored, tuf_key
from coldcred.errors import Malformed
from coldcred.keys import Algorithm
from coldcred.layout import MAX_METADATA
from tests.support.forge import sign
from tests.support.signers import Signer
from tests.support.world import World

WORLD = World.make()
FILES = WORLD.files()
ROLES: dict[type[Any], str] = {
    Root: "metadata/1.root.json",
    Targets: "metadata/targets.json",
    Snapshot: "metadata/snapshot.json",
    Timestamp: "metadata/timestamp.json",
}

Change = Callable[[dict[str, Any]], object]


def with_site(**members: Any) -> Change:
    """Return a change of the one delegation."""
    return lambda signed: signed["delegations"]["roles"][0].update(members)


def with_key(**members: Any) -> Change:
    """Return a change of each key of a root."""
    return lambda signed: [key.update(members) for key in signed["keys"].values()]


def with_meta(name: str, **members: Any) -> Change:
    """Return a change of what is said of another role's file."""
    return lambda signed: signed["meta"][name].update(members)


def with_file(**members: Any) -> Change:
    """Return a change of one listed file."""
    return lambda signed: signed["targets"]["trust/jwks.json"].update(members)


def _as_object(signed: dict[str, Any]) -> None:
    role = signed["roles"]["root"]
    role["keyids"] = dict.fromkeys(role["keyids"], "x")


def _more_content(signed: dict[str, Any]) -> None:
    for key in signed["keys"].values():
        key["keyval"]["private"] = ""


UNKNOWN_ALGORITHM = (
    "-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(bytes.fromhex("300a300506032a0304030100")).decode() + "\n"
    "-----END PUBLIC KEY-----\n"
)
"""A public key of an algorithm (1.2.3.4) that nobody has."""

CASES: dict[str, tuple[type[Any], Change, str]] = {
    "version true": (Timestamp, lambda signed: signed.update(version=True), "version"),
    "consistent snapshots": (Root, lambda signed: signed.update(consistent_snapshot=True), "consistent_snapshot"),
    "consistent snapshots unsaid": (
        Root,
        lambda signed: signed.update(consistent_snapshot=None),
        "consistent_snapshot",
    ),
    "consistent snapshots zero": (Root, lambda signed: signed.update(consistent_snapshot=0), "consistent_snapshot"),
    "threshold true": (Root, lambda signed: signed["roles"]["root"].update(threshold=True), "threshold"),
    "threshold over its keys": (Root, lambda signed: signed["roles"]["root"].update(threshold=4), "threshold"),
    "keyids in an object": (Root, _as_object, "not a list"),
    "keyid of nobody": (Root, lambda signed: signed["roles"]["root"]["keyids"].append("00"), "not there"),
    "key that is no key": (Root, with_key(keyval={"public": "00"}), "cannot be read"),
    "key without content": (Root, with_key(keyval={"public": ""}), "cannot be read"),
    "key of an unknown algorithm": (
        Root,
        with_key(keytype="ecdsa", scheme="ecdsa-sha2-nistp256", keyval={"public": UNKNOWN_ALGORITHM}),
        "cannot be read",
    ),
    "key of another kind": (Root, with_key(keytype="rsa", scheme="rsassa-pss-sha256"), "neither"),
    "key with more": (Root, with_key(expires="never"), "spelled"),
    "key with more content": (Root, _more_content, "spelled"),
    "meta version true": (Timestamp, with_meta("snapshot.json", version=True), "version"),
    "meta length true": (Timestamp, with_meta("snapshot.json", length=True), "length"),
    "meta hashed otherwise": (Timestamp, with_meta("snapshot.json", hashes={"sha512": "00"}), "SHA-256"),
    "meta hashed twice": (Snapshot, with_meta("site.json", hashes={"sha256": "00", "md5": "00"}), "SHA-256"),
    "meta of snapshot true": (Snapshot, with_meta("targets.json", version=True), "version"),
    "file length true": (Targets, with_file(length=True), "length"),
    "file hashed otherwise": (Targets, with_file(hashes={"md5": "00"}), "SHA-256"),
    "paths in an object": (Targets, with_site(paths=dict.fromkeys(SITE_PATHS, "x")), "not a list"),
    "paths by hash": (Targets, with_site(paths=None, path_hash_prefixes=["00"]), "not a list"),
    "terminating one": (Targets, with_site(terminating=1), "terminating"),
    "site's key with more": (
        Targets,
        lambda signed: [key.update(x="y") for key in signed["delegations"]["keys"].values()],
        "spelled",
    ),
    "bins": (
        Targets,
        lambda signed: signed.update(
            delegations={
                "keys": {},
                "succinct_roles": {"keyids": [], "threshold": 1, "bit_length": 1, "name_prefix": "site"},
            }
        ),
        "delegates",
    ),
    "of another type": (Targets, lambda signed: signed.update(_type="mirrors"), "not TUF metadata"),
    "of another specification": (Timestamp, lambda signed: signed.update(spec_version="2.0.0"), "not TUF metadata"),
    "without an expiry": (Timestamp, lambda signed: signed.pop("expires"), "not TUF metadata"),
    "with another spelling of time": (
        Timestamp,
        lambda signed: signed.update(expires="2027-01-16 14:00:00"),
        "not TUF metadata",
    ),
    "version zero": (Timestamp, lambda signed: signed.update(version=0), "not TUF metadata"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_exactly_ours_is_malformed(case: str) -> None:
    """A value of another type, another key or another division of roles is malformed, and the sentence says which."""
    role, change, said = CASES[case]
    signed = json.loads(FILES[ROLES[role]])["signed"]
    before = json.dumps(signed)
    change(signed)
    assert json.dumps(signed) != before
    with pytest.raises(Malformed, match=said):
        read(sign(signed, []), role, "it")


@pytest.mark.parametrize("role", ROLES)
def test_what_is_ours_is_read(role: type[Any]) -> None:
    """The same metadata unchanged is read, and only as what it is."""
    data = FILES[ROLES[role]]
    assert isinstance(read(data, role, "it").signed, role)
    for other in ROLES:
        if other is not role:
            with pytest.raises(Malformed, match="where"):
                read(data, other, "it")


def test_an_empty_file_may_be_listed() -> None:
    """A length of zero is a length."""
    signed = json.loads(FILES[ROLES[Targets]])["signed"]
    signed["targets"]["trust/jwks.json"]["length"] = 0
    assert read(sign(signed, []), Targets, "it").signed.targets["trust/jwks.json"].length == 0


@pytest.mark.parametrize("member", ["length", "hashes"])
def test_a_role_is_named_with_length_and_hash(member: str) -> None:
    """TUF lets a role be named by its version alone; here its bytes are what the role above it names."""
    signed = json.loads(FILES[ROLES[Timestamp]])["signed"]
    del signed["meta"]["snapshot.json"][member]
    with pytest.raises(Malformed):
        read(sign(signed, []), Timestamp, "it")


@pytest.mark.parametrize("spoil", [str.upper, lambda text: " " + text, lambda text: text.replace("\n", "\r\n")])
def test_a_key_has_one_spelling(spoil: Callable[[str], str]) -> None:
    """The same key written otherwise would have another id and could count twice, so it is refused."""
    signed = json.loads(FILES[ROLES[Root]])["signed"]
    key = tuf_key(WORLD.bundle_key.public)
    for keyid, member in signed["keys"].items():
        changed = spoil(member["keyval"]["public"])
        if keyid == key.keyid or changed != member["keyval"]["public"]:
            member["keyval"]["public"] = changed
    with pytest.raises(Malformed, match="key"):
        read(sign(signed, []), Root, "it")


def test_both_algorithms_have_their_form_in_tuf() -> None:
    """Ed25519 keys stand as hexadecimal, P-256 keys as PEM, each under the id that securesystemslib computes."""
    ed25519, p256 = tuf_key(Signer.named("a", Algorithm.ED25519).public), tuf_key(Signer.named("a").public)
    assert (ed25519.keytype, ed25519.scheme) == ("ed25519", "ed25519")
    assert (p256.keytype, p256.scheme) == ("ecdsa", "ecdsa-sha2-nistp256")
    assert len(ed25519.keyid) == len(p256.keyid) == 64


def test_the_paths_of_the_role_site_are_the_documented_ones() -> None:
    """Written out here, since the writer and the reader share the constant: what sites pinned must stay."""
    assert SITE_PATHS == ("revocation/*", "sealed/*", "log/*", "time/*")
    targets = json.loads(FILES["metadata/targets.json"])["signed"]
    (role,) = targets["delegations"]["roles"]
    assert role["paths"] == ["revocation/*", "sealed/*", "log/*", "time/*"]


@pytest.mark.parametrize("reader", [read, read_stored])
def test_metadata_of_half_a_mebibyte_is_read_and_no_byte_more(reader: Callable[..., Any]) -> None:
    """A file of the largest size is read, and one of a byte more is refused for that."""

    def with_name(length: int) -> bytes:
        site = json.loads(FILES["metadata/site.json"])["signed"]
        (listed, *_) = site["targets"].values()
        return sign({**site, "targets": {f"log/{'x' * length}": listed}}, [Signer.named("any", Algorithm.ED25519)])

    short = len(with_name(1))
    largest = with_name(1 + MAX_METADATA - short)
    assert (len(largest), MAX_METADATA) == (512 * 1024, 524288)
    assert reader(largest, Targets, "site.json").signed.version
    with pytest.raises(Malformed, match="bytes"):
        reader(with_name(2 + MAX_METADATA - short), Targets, "site.json")
