"""Making a bundle: what is signed is known before it is signed, and what cannot be read is not made."""

import json
from dataclasses import replace
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from appliance import bundling
from appliance.bundling import Unsigned
from coldcred import layout
from coldcred.canonical import loads_canonical, sha256_hex
from coldcred.errors import BadSignature, Malformed
from coldcred.keys import Algorithm
from tests.support.signers import Signer
from tests.support.world import APPLIANCE, DAY, GRACE, NOW, SITE, World, signed


@pytest.fixture(scope="module")
def world() -> World:
    """Return the world whose keys sign."""
    return World.make()


def test_signatures_are_attached_to_exactly_what_was_logged(world: World) -> None:
    """The input is known first; the file holds the signature over it, in python-tuf's form and under its key id."""
    unsigned = world.unsigned_root()
    data = world.by_custodians(unsigned)
    metadata: Metadata[Root] = Metadata.from_bytes(data)
    assert metadata.signed_bytes == unsigned.signing_input
    expected = {CryptoSigner(key.private).public_key.keyid for key in world.custodians[:2]}
    assert set(metadata.signatures) == expected
    metadata.signed.verify_delegate("root", metadata.signed_bytes, metadata.signatures)
    assert data == metadata.to_bytes()


def test_signatures_of_the_hsm_take_tuf_s_form(world: World) -> None:
    """A raw r||s of the bundle key becomes DER, which python-tuf verifies under the root."""
    data = world.files()[layout.TIMESTAMP]
    root: Metadata[Root] = Metadata.from_bytes(world.root())
    timestamp: Metadata[Any] = Metadata.from_bytes(data)
    root.signed.verify_delegate("timestamp", timestamp.signed_bytes, timestamp.signatures)
    (found,) = json.loads(data)["signatures"]
    assert found["sig"].startswith("30")


def test_a_signature_that_is_not_one_is_never_attached(world: World) -> None:
    """A signature over other bytes, by another key or cut short is refused before it stands in a file."""
    unsigned, key = world.unsigned_root(), world.custodians[0]
    good = key.sign(unsigned.signing_input)
    for public, raw in (
        (key.public, key.sign(b"other")),
        (world.custodians[1].public, good),
        (key.public, good[:-1]),
        (world.bundle_key.public, bytes(64)),
    ):
        with pytest.raises(BadSignature):
            unsigned.signed((public, raw))
    with pytest.raises(BadSignature, match="twice"):
        unsigned.signed((key.public, good), (key.public, good))


def test_a_custodian_signs_what_the_document_says(world: World) -> None:
    """A document read anew gives the same input; one that was changed gives another, and so no valid signature."""
    for unsigned in (
        world.unsigned_root(),
        bundling.targets(
            version=1, documents=world.trust_documents(), bundle_key=world.bundle_key.public, expires=NOW + DAY
        ),
    ):
        again = Unsigned.read(unsigned.role, unsigned.document)
        assert again == unsigned
        assert again.version == 1
        changed = Unsigned.read(unsigned.role, unsigned.document.replace(b'"version":1', b'"version":2', 1))
        assert changed.signing_input != unsigned.signing_input
        signature = world.custodians[0].sign(unsigned.signing_input)
        with pytest.raises(BadSignature):
            changed.signed((world.custodians[0].public, signature))


def test_signatures_that_came_with_a_document_are_left_out(world: World) -> None:
    """What somebody else attached does not ride along."""
    again = Unsigned.read("root", world.root())
    assert again == world.unsigned_root()
    assert json.loads(again.document)["signatures"] == []


@pytest.mark.parametrize("document", [b"", b"{}", b"[" * 100, b'{"signatures":[],"signed":{}}'])
def test_documents_are_read_strictly(document: bytes) -> None:
    """A document from outside that is no metadata is malformed; a role that is none is the caller's mistake."""
    with pytest.raises(Malformed):
        Unsigned.read("root", document)
    with pytest.raises(ValueError, match="no role"):
        Unsigned.read("mirrors", document)


def test_a_document_is_of_its_role(world: World) -> None:
    """Targets are not signed as a root."""
    with pytest.raises(Malformed, match="targets"):
        Unsigned.read("root", world.targets())


def online(world: World) -> list[Unsigned]:
    """Return the roles that the bundle key signs, as made for bundle 3."""
    documents, expires = world.site_documents(world.times(3)), world.times(3).end
    site = bundling.site(sequence=3, documents=documents, expires=expires)
    by_site = signed(site, world.bundle_key)
    snapshot = bundling.snapshot(sequence=3, targets=world.targets(), site=by_site, expires=expires)
    timestamp = bundling.timestamp(sequence=3, snapshot=signed(snapshot, world.bundle_key), expires=expires)
    return [site, snapshot, timestamp]


def test_what_the_hsm_signs_is_canonical_json(world: World) -> None:
    """The worker can hold each input to the key's charter: type, version 2n and expiry stand in canonical JSON."""
    for unsigned, kind in zip(online(world), ["targets", "snapshot", "timestamp"], strict=True):
        found = loads_canonical(unsigned.signing_input)
        assert isinstance(found, dict)
        assert (found["_type"], found["version"], found["expires"]) == (kind, 6, "2027-01-16T14:00:00Z")


def test_each_role_names_the_one_before(world: World) -> None:
    """Snapshot names targets and site, timestamp the snapshot, each by version, length and SHA-256."""
    files = world.files(3)
    for role, names in ((layout.SNAPSHOT, ["targets.json", "site.json"]), (layout.TIMESTAMP, ["snapshot.json"])):
        meta = json.loads(files[role])["signed"]["meta"]
        assert sorted(meta) == sorted(names)
        for name in names:
            body = files[f"metadata/{name}"]
            assert meta[name]["length"] == len(body)
            assert meta[name]["hashes"] == {"sha256": sha256_hex(body)}


def test_making_is_repeatable(world: World) -> None:
    """The same values give the same bytes, so a bundle can be made anew from the log."""
    assert world.bundle(3) == world.bundle(3)
    assert [one.signing_input for one in online(world)] == [one.signing_input for one in online(world)]


def test_the_division_of_roles(world: World) -> None:
    """Custodians for root and targets, the bundle key for the rest; neither for the other's (R17)."""
    roles = json.loads(world.root())["signed"]["roles"]
    assert roles["root"] == roles["targets"]
    assert roles["snapshot"] == roles["timestamp"]
    assert (roles["root"]["threshold"], len(roles["root"]["keyids"])) == (2, 3)
    assert not set(roles["root"]["keyids"]) & set(roles["timestamp"]["keyids"])
    (delegated,) = json.loads(world.targets())["signed"]["delegations"]["roles"]
    assert (delegated["name"], delegated["terminating"], delegated["threshold"]) == ("site", True, 1)
    assert delegated["keyids"] == roles["timestamp"]["keyids"]


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0},
        {"threshold": -1},
        {"threshold": 4},
        {"custodians": []},
        {"bundle_key": Signer.named("ed25519", Algorithm.ED25519).public},
        {"bundle_key": World.make().custodians[0].public},
        {"custodians": [World.make().custodians[0].public] * 2},
    ],
)
def test_a_root_that_counts_wrongly_is_not_made(world: World, changes: dict[str, Any]) -> None:
    """A quorum of none, of more than there are, of one person twice, or with the appliance among them is misuse."""
    with pytest.raises(ValueError, match=r"threshold|ES256|twice"):
        world.unsigned_root(**changes)


def test_roles_list_their_own_documents_only(world: World) -> None:
    """Custodians sign exactly the trust documents, the appliance never one of them."""
    trust, ours = world.trust_documents(), world.site_documents(world.times())
    for documents in ({**trust, **ours}, {layout.JWKS: trust[layout.JWKS]}):
        with pytest.raises(ValueError, match="exactly"):
            bundling.targets(version=1, documents=documents, bundle_key=world.bundle_key.public, expires=NOW)
    with pytest.raises(ValueError, match="only"):
        bundling.site(sequence=1, documents={**ours, layout.JWKS: trust[layout.JWKS]}, expires=NOW)


def test_documents_that_sites_would_not_read_are_not_made(world: World) -> None:
    """A value outside the formats is the caller's mistake, found before anybody is asked to sign."""
    wrong: list[dict[str, Any]] = [
        {"identity": world.identity(issuer="http://plain.example")},
        {"keys": []},
        {"profiles": {"Not A Name": True}},
        {"sites": []},
        {"keys": [*world.trust_keys(), world.trust_keys()[0]]},
    ]
    for changes in wrong:
        with pytest.raises(ValueError):  # noqa: PT011 - each says what it found
            world.trust_documents(**changes)
    for times in (world.times(0), world.times(end=NOW), world.times(site="Not A Name"), world.times(stale_after=0)):
        with pytest.raises(ValueError):  # noqa: PT011 - the same
            world.site_documents(times)
    with pytest.raises(ValueError, match="status lists"):
        world.site_documents(world.times(), status_lists=[])
    with pytest.raises(ValueError, match="status lists"):
        world.site_documents(world.times(), status_lists=["x"] * 33)
    with pytest.raises(ValueError, match="at most"):
        world.site_documents(world.times(), status_lists=["x" * (512 * 1024 + 1)])


def test_a_bundle_that_no_site_would_take_is_not_assembled(world: World) -> None:
    """A file of another name, or beyond its size, is found where the bundle is made."""
    parts: dict[str, Any] = {
        "roots": [world.root()],
        "timestamp": b"{}",
        "snapshot": b"{}",
        "targets": b"{}",
        "site": b"{}",
    }
    for documents in ({"targets/trust/extra.json": b"{}"}, {layout.TAINTS: bytes(64 * 1024 + 1)}):
        with pytest.raises(ValueError, match=r"not a file of a bundle|at most"):
            bundling.assemble(**parts, documents=documents)
    with pytest.raises(ValueError, match="at most"):
        bundling.assemble(**{**parts, "site": bytes(512 * 1024 + 1)}, documents={})


def test_all_custodians_may_have_to_sign(world: World) -> None:
    """A quorum of everybody is a quorum."""
    everybody = replace(world, threshold=3)
    assert json.loads(everybody.root())["signed"]["roles"]["targets"]["threshold"] == 3


def test_times_follow_from_the_span() -> None:
    """Ageing from half, stale from four fifths, in whole seconds, for any span."""
    for span in (1, 2, 3, 7, 60, DAY + GRACE):
        times = bundling.bundle_times(APPLIANCE, SITE, 1, issued_at=NOW, end=NOW + span)
        assert (times.ageing_after, times.stale_after) == (NOW + span // 2, NOW + span * 4 // 5)
        assert type(times).parse(times.write()) == times


def test_a_plan_of_one_window(world: World) -> None:
    """One window in which every key is published and signs, and which is safe for a bundle inside it."""
    plan = bundling.one_window(NOW, NOW + DAY, world.trust_keys(), grace=DAY)
    (window,) = plan.windows
    assert (window.number, window.not_before, window.expires_at) == (1, NOW, NOW + DAY)
    assert set(window.publish) == set(window.sign) == {key.kid for key in world.trust_keys()}
    plan.check({key.kid: key for key in world.trust_keys()}, world.times())
