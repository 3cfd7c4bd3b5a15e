"""The TUF workflow against TUF's nine attacks, with python-tuf's client as the oracle.

Each attack is made once and shown to both: to our verifier, and to ngclient with the same history. Both must refuse;
where ngclient does not, we are stricter on purpose and the case says so.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.bundling import Unsigned
from coldcred import framing, layout
from coldcred.bundle import apply, init
from coldcred.bundle.metadata import VerifiedMetadata, check_root, content, verify
from coldcred.canonical import sha256_hex
from coldcred.errors import BundleReason, BundleRefused
from coldcred.keys import Algorithm
from tests.support.folders import tree
from tests.support.forge import ROOT, SITE, SNAPSHOT, TARGETS, TIMESTAMP, Edit, forged, list_file, reforge
from tests.support.oracle import Oracle
from tests.support.signers import Signer
from tests.support.world import DAY, GRACE, NOW, World, signed

Files = dict[str, bytes]
THIEF = Signer.named("thief")


@dataclass(frozen=True)
class Attack:
    """A second bundle that must be refused for `reason`; `stricter` where ngclient would take it."""

    make: Callable[[World], Files]
    reason: BundleReason
    stricter: bool = False
    at: int = NOW + 100


def edit(name: str, change: Edit) -> Callable[[World], Files]:
    """Return a maker of a bundle in which one role says something else, signed by its own keys."""
    return lambda world: forged(world, edits={name: change})


def setting(**members: Any) -> Edit:
    """Return an edit that sets members."""
    return lambda signed: signed.update(members)


def signed_by(name: str, *signers: Signer) -> Callable[[World], Files]:
    """Return a maker of a bundle in which one role is signed by others."""
    return lambda world: forged(world, signers={name: signers})


def replaced(name: str, make: Callable[[World], bytes]) -> Callable[[World], Files]:
    """Return a maker of a good second bundle with one file exchanged afterwards."""
    return lambda world: {**world.files(2), name: make(world)}


def expiring(at: int) -> Edit:
    """Return an edit that lets a role expire at a time."""
    return setting(expires=f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}")


def delegated(**members: Any) -> Edit:
    """Return an edit of the one delegation in targets."""
    return lambda signed: signed["delegations"]["roles"][0].update(members)


def key_under_two_ids(signed: dict[str, Any]) -> None:
    """Let one custodian count twice: the same key once more, under an id that is not its own."""
    role = signed["roles"]["targets"]
    signed["keys"]["ab" * 32] = signed["keys"][role["keyids"][0]]
    role["keyids"] = [role["keyids"][0], "ab" * 32]


def root_of_two_ids(world: World) -> Files:
    """Return a bundle whose second root names one custodian under two ids, who then signs targets under both."""
    second = reforge(world.root(version=2), key_under_two_ids, world.custodians[:2])

    def both(data: bytes) -> bytes:
        metadata = json.loads(data)
        metadata["signatures"].append({**metadata["signatures"][0], "keyid": "ab" * 32})
        return written(metadata)

    return forged(
        world,
        edits={TARGETS: setting(version=2)},
        signers={TARGETS: world.custodians[:1]},
        spoil={TARGETS: both},
        roots=[world.root(), second],
    )


def with_roots(world: World, *later: bytes, **files: Any) -> Files:
    """Return a second bundle with a longer chain of roots."""
    return world.files(2, roots=[world.root(), *later], **files)


def twice(data: bytes) -> bytes:
    """Return metadata in which one signature stands twice, instead of two."""
    metadata = json.loads(data)
    metadata["signatures"] = [metadata["signatures"][0]] * 2
    return written(metadata)


def written(metadata: Any) -> bytes:
    """Return metadata as python-tuf writes it."""
    return json.dumps(metadata, sort_keys=True, separators=(",", ":")).encode()


def moved_to_site(world: World) -> Files:
    """Return a bundle in which the appliance, not the custodians, lists the keys to trust."""
    documents = {**world.trust_documents(keys=[world.trust_key(THIEF, world.access_charter())])}
    good = world.files(2)
    body = documents[layout.JWKS]
    made = forged(
        world,
        edits={
            TARGETS: lambda signed: signed["targets"].pop("trust/jwks.json"),
            SITE: lambda signed: list_file(signed, layout.JWKS, body),
        },
    )
    assert set(made) == set(good)
    return {**made, layout.JWKS: body}


def new_custodians() -> tuple[Signer, ...]:
    """Return three custodians of whom none was one before."""
    return tuple(Signer.named(f"new custodian {number}", Algorithm.ED25519) for number in (1, 2, 3))


def new_root(world: World) -> Unsigned:
    """Return a second root that hands over to new custodians."""
    return world.unsigned_root(version=2, custodians=[key.public for key in new_custodians()])


def taken_over(world: World, *signers: Signer) -> Files:
    """Return a bundle in which new custodians, by a second root that these have signed, already sign targets."""
    after = replace(world, custodians=new_custodians())
    return after.files(2, roots=[world.root(), signed(new_root(world), *signers)])


def mixed_root(world: World) -> bytes:
    """Return a second root in which a custodian may also sign timestamps."""

    def mix(root: dict[str, Any]) -> None:
        root["roles"]["timestamp"]["keyids"].append(root["roles"]["root"]["keyids"][0])

    return reforge(signed(world.unsigned_root(version=2), *world.custodians), mix, world.custodians)


def rebuilt(world: World, name: str) -> bytes:
    """Return one role's file as another bundle, of the same number, has it."""
    return world.files(2, revoked={3})[name]


ATTACKS: dict[str, Attack] = {
    # arbitrary software, endless data, wrong file
    "timestamp by a thief": Attack(signed_by(TIMESTAMP, THIEF), BundleReason.BAD_SIGNATURE),
    "snapshot by a thief": Attack(signed_by(SNAPSHOT, THIEF), BundleReason.BAD_SIGNATURE),
    "site by a thief": Attack(signed_by(SITE, THIEF), BundleReason.BAD_SIGNATURE),
    "targets by a thief": Attack(signed_by(TARGETS, THIEF), BundleReason.BAD_SIGNATURE),
    "targets by the appliance": Attack(
        lambda world: forged(world, signers={TARGETS: [world.bundle_key]}), BundleReason.BAD_SIGNATURE
    ),
    "nothing signed": Attack(signed_by(TIMESTAMP), BundleReason.BAD_SIGNATURE),
    "timestamp by a custodian": Attack(
        lambda world: forged(world, signers={TIMESTAMP: world.custodians}), BundleReason.BAD_SIGNATURE
    ),
    "a changed file": Attack(replaced(layout.TAINTS, lambda _: b'{"kids":[],"v":2}'), BundleReason.BAD_SIGNATURE),
    "a changed key set": Attack(
        replaced(layout.JWKS, lambda world: world.trust_documents(keys=world.trust_keys()[:2])[layout.JWKS]),
        BundleReason.BAD_SIGNATURE,
    ),
    "a longer file": Attack(
        replaced(layout.TAINTS, lambda world: world.files(2)[layout.TAINTS] + b" "), BundleReason.BAD_SIGNATURE
    ),
    "a file nobody lists": Attack(
        replaced(layout.STATUS_LISTS[5], lambda world: world.status_list().encode()), BundleReason.BAD_SIGNATURE
    ),
    # key compromise below the threshold
    "one custodian of two": Attack(
        lambda world: forged(world, signers={TARGETS: world.custodians[:1]}), BundleReason.BAD_SIGNATURE
    ),
    "one custodian twice": Attack(
        lambda world: forged(world, edits={TARGETS: setting(version=2)}, spoil={TARGETS: twice}),
        BundleReason.MALFORMED,
    ),
    "one custodian under two ids": Attack(root_of_two_ids, BundleReason.MALFORMED, stricter=True),
    "a threshold of nothing": Attack(edit(TARGETS, delegated(threshold=0)), BundleReason.MALFORMED),
    "a threshold below nothing": Attack(edit(TARGETS, delegated(threshold=-1)), BundleReason.MALFORMED),
    "a threshold that is true": Attack(edit(TARGETS, delegated(threshold=True)), BundleReason.MALFORMED, stricter=True),
    "a threshold over the keys": Attack(edit(TARGETS, delegated(threshold=2)), BundleReason.MALFORMED),
    "no key at all": Attack(edit(TARGETS, delegated(keyids=[])), BundleReason.MALFORMED),
    # rollback and equal number
    "the first bundle again, other content": Attack(lambda world: world.files(1, revoked={3}), BundleReason.ROLLBACK),
    # fast-forward
    "a version beyond 2^53": Attack(edit(TIMESTAMP, setting(version=2**53)), BundleReason.MALFORMED, stricter=True),
    "targets jump": Attack(
        lambda world: world.files(2, targets=world.targets(version=1002)), BundleReason.FAST_FORWARD, stricter=True
    ),
    # freeze
    "expired timestamp": Attack(edit(TIMESTAMP, expiring(NOW + 100)), BundleReason.EXPIRED),
    "expired snapshot": Attack(edit(SNAPSHOT, expiring(NOW + 100)), BundleReason.EXPIRED),
    "expired targets": Attack(edit(TARGETS, expiring(NOW + 100)), BundleReason.EXPIRED),
    "expired site": Attack(edit(SITE, expiring(NOW + 100)), BundleReason.EXPIRED),
    "expired root": Attack(
        lambda world: with_roots(world, signed(world.unsigned_root(version=2, expires=NOW + 100), *world.custodians)),
        BundleReason.EXPIRED,
    ),
    "a bundle kept back": Attack(lambda world: world.files(2), BundleReason.EXPIRED, at=NOW + DAY + GRACE),
    # mix and match
    "another snapshot": Attack(replaced(SNAPSHOT, lambda world: rebuilt(world, SNAPSHOT)), BundleReason.BAD_SIGNATURE),
    "another site": Attack(replaced(SITE, lambda world: rebuilt(world, SITE)), BundleReason.BAD_SIGNATURE),
    "another timestamp": Attack(
        replaced(TIMESTAMP, lambda world: rebuilt(world, TIMESTAMP)), BundleReason.BAD_SIGNATURE
    ),
    "the first site": Attack(replaced(SITE, lambda world: world.files(1)[SITE]), BundleReason.BAD_SIGNATURE),
    "another targets": Attack(
        lambda world: {
            **world.files(2, targets=world.targets(version=2)),
            TARGETS: world.targets(version=2, expires=NOW + DAY),
        },
        BundleReason.BAD_SIGNATURE,
    ),
    "snapshot of another version than named": Attack(
        edit(TIMESTAMP, lambda signed: signed["meta"]["snapshot.json"].update(version=6)), BundleReason.BAD_SIGNATURE
    ),
    "targets of another version than named": Attack(
        edit(SNAPSHOT, lambda signed: signed["meta"]["targets.json"].update(version=6)), BundleReason.BAD_SIGNATURE
    ),
    "another site that lists the same": Attack(
        lambda world: {
            **(files := world.files(2)),
            SITE: reforge(files[SITE], expiring(NOW + DAY), [world.bundle_key]),
        },
        BundleReason.BAD_SIGNATURE,
    ),
    "site of another version than named": Attack(
        edit(SNAPSHOT, lambda signed: signed["meta"]["site.json"].update(version=6)), BundleReason.BAD_SIGNATURE
    ),
    "snapshot without site": Attack(
        edit(SNAPSHOT, lambda signed: signed["meta"].pop("site.json")), BundleReason.MALFORMED
    ),
    "snapshot with a role more": Attack(
        edit(SNAPSHOT, lambda signed: signed["meta"].update({"more.json": {"version": 1}})),
        BundleReason.MALFORMED,
        stricter=True,
    ),
    # roles and delegation
    "keys listed by the appliance": Attack(moved_to_site, BundleReason.BAD_SIGNATURE),
    "keys listed by both": Attack(
        lambda world: forged(
            world, edits={SITE: lambda signed: list_file(signed, layout.JWKS, world.files(2)[layout.JWKS])}
        ),
        BundleReason.MALFORMED,
        stricter=True,
    ),
    "a listed file left out": Attack(
        edit(SITE, lambda signed: list_file(signed, layout.STATUS_LISTS[8], b"x")),
        BundleReason.MALFORMED,
        stricter=True,
    ),
    "trust delegated to the appliance": Attack(
        edit(TARGETS, delegated(paths=["trust/*", "revocation/*", "log/*", "time/*"])),
        BundleReason.MALFORMED,
        stricter=True,
    ),
    "one path more": Attack(
        edit(TARGETS, delegated(paths=["revocation/*", "sealed/*", "log/*", "time/*", "trust/*"])),
        BundleReason.MALFORMED,
        stricter=True,
    ),
    "a path less": Attack(
        edit(TARGETS, delegated(paths=["revocation/*", "log/*", "sealed/*"])), BundleReason.MALFORMED
    ),
    "paths in one text": Attack(edit(TARGETS, delegated(paths="*")), BundleReason.MALFORMED),
    "not terminating": Attack(edit(TARGETS, delegated(terminating=False)), BundleReason.MALFORMED, stricter=True),
    "another name": Attack(edit(TARGETS, delegated(name="../site")), BundleReason.MALFORMED),
    "nothing delegated": Attack(edit(TARGETS, lambda signed: signed.pop("delegations")), BundleReason.MALFORMED),
    "two delegations": Attack(
        edit(
            TARGETS,
            lambda signed: signed["delegations"]["roles"].append({**signed["delegations"]["roles"][0], "name": "more"}),
        ),
        BundleReason.MALFORMED,
        stricter=True,
    ),
    "site delegates further": Attack(
        lambda world: forged(
            world,
            edits={SITE: setting(delegations=json.loads(world.targets())["signed"]["delegations"])},
        ),
        BundleReason.MALFORMED,
        stricter=True,
    ),
    "one key for custodians and appliance": Attack(
        lambda world: with_roots(world, mixed_root(world)), BundleReason.MALFORMED, stricter=True
    ),
    "versions that differ": Attack(edit(SITE, setting(version=6)), BundleReason.MALFORMED, stricter=True),
    # roots
    "root version 3 after 1": Attack(
        lambda world: with_roots(world, signed(world.unsigned_root(version=3), *world.custodians)),
        BundleReason.MALFORMED,
    ),
    "a second root by its own keys alone": Attack(
        lambda world: taken_over(world, *new_custodians()), BundleReason.BAD_SIGNATURE
    ),
    "a second root by the old keys alone": Attack(
        lambda world: taken_over(world, *world.custodians), BundleReason.BAD_SIGNATURE
    ),
    "a second root by too few": Attack(
        lambda world: with_roots(world, signed(world.unsigned_root(version=2), world.custodians[0])),
        BundleReason.BAD_SIGNATURE,
    ),
    # JSON that two parsers read differently, and metadata of another kind
    "a member twice": Attack(
        lambda world: {**(files := world.files(2)), TIMESTAMP: files[TIMESTAMP].replace(b"{", b'{"signed":{},', 1)},
        BundleReason.MALFORMED,
        stricter=True,
    ),
    "no JSON": Attack(replaced(TIMESTAMP, lambda _: b"{"), BundleReason.MALFORMED),
    "a list": Attack(replaced(TIMESTAMP, lambda _: b"[]"), BundleReason.MALFORMED),
    "deep": Attack(replaced(TIMESTAMP, lambda _: b"[" * 10_000), BundleReason.MALFORMED),
    "a snapshot as timestamp": Attack(
        replaced(TIMESTAMP, lambda world: world.files(2)[SNAPSHOT]), BundleReason.MALFORMED
    ),
    "a version that is true": Attack(edit(TIMESTAMP, setting(version=True)), BundleReason.MALFORMED),
    "a version that is a text": Attack(edit(TIMESTAMP, setting(version="4")), BundleReason.MALFORMED),
    "hashed with MD5": Attack(
        edit(SNAPSHOT, lambda signed: signed["meta"]["site.json"].update(hashes={"md5": "00"})), BundleReason.MALFORMED
    ),
    "a signature that is no hexadecimal": Attack(
        lambda world: {**(files := world.files(2)), TIMESTAMP: files[TIMESTAMP].replace(b'"sig":"3', b'"sig":"x')},
        BundleReason.MALFORMED,
    ),
}


# One site and one oracle for each attack, both with the first bundle behind them.


@pytest.fixture
def trust(site: Path, tmp_path: Path) -> Path:
    """Return a trust store with the first bundle applied."""
    shutil.copytree(site, tmp_path / "trust", symlinks=True)
    return tmp_path / "trust"


@pytest.fixture(scope="module")
def first(world: World) -> Files:
    """Return the files of the first bundle."""
    return world.files(1)


@pytest.fixture
def oracle(world: World, tmp_path: Path) -> Oracle:
    """Return a client of python-tuf that has taken the first bundle."""
    made = Oracle(tmp_path / "oracle", world.root())
    assert made.accepts(world.files(1), NOW)
    return made


def refusal(files: Files, trust: Path, at: int) -> BundleReason | None:
    """Return why a bundle is refused, and that nothing was changed by it; None where it is applied."""
    before = tree(trust)
    try:
        apply(framing.write(framing.BUNDLE, files), trust, now=at)
    except BundleRefused as error:
        refused = error
    else:
        return None
    assert tree(trust) == before
    assert refused.detail.isprintable()
    return refused.reason


@pytest.mark.parametrize("case", ATTACKS)
def test_attacks_fail(world: World, trust: Path, oracle: Oracle, case: str) -> None:
    """Every attack is refused for its reason, nothing is stored, and what ngclient refuses we refuse."""
    attack = ATTACKS[case]
    files = attack.make(world)
    assert refusal(files, trust, attack.at) is attack.reason
    assert oracle.accepts(files, attack.at) is attack.stricter


def test_good_bundles_are_taken_by_both(world: World, trust: Path, oracle: Oracle) -> None:
    """A series of bundles, one left out, one with more signatures than needed, is accepted here and by ngclient."""
    everyone = {TARGETS: world.custodians, TIMESTAMP: [world.bundle_key, THIEF], SITE: [THIEF, world.bundle_key]}
    for files in (world.files(2), world.files(4), forged(world, 5), forged(world, 6, signers=everyone)):
        assert refusal(files, trust, NOW + 300) is None
        assert oracle.accepts(files, NOW + 300)


def test_rollback(world: World, trust: Path, oracle: Oracle) -> None:
    """After the third bundle the second and the first are refused, here and by ngclient."""
    assert refusal(world.files(3), trust, NOW + 300) is None
    assert oracle.accepts(world.files(3), NOW + 300)
    for number in (2, 1):
        assert refusal(world.files(number), trust, NOW + 300) is BundleReason.ROLLBACK
        assert not oracle.accepts(world.files(number), NOW + 300)


def test_rollback_of_targets(world: World, trust: Path, oracle: Oracle) -> None:
    """A new bundle with an older version of what custodians signed is refused, here and by ngclient."""
    second = world.files(2, targets=world.targets(version=2))
    assert refusal(second, trust, NOW + 300) is None
    assert oracle.accepts(second, NOW + 300)
    assert refusal(world.files(3), trust, NOW + 300) is BundleReason.ROLLBACK
    assert not oracle.accepts(world.files(3), NOW + 300)


@pytest.mark.parametrize(("number", "expected"), [(2001, None), (2002, BundleReason.FAST_FORWARD)])
def test_fast_forward(world: World, trust: Path, number: int, expected: BundleReason | None) -> None:
    """A number may rise by a thousand for each of two sites and not by more; TUF itself has no such bound."""
    files = world.files(number, times=replace(world.times(), sequence=number), checkpoint=world.checkpoint(1))
    assert refusal(files, trust, NOW) is expected


def test_rollback_of_targets_behind_a_new_key(world: World, trust: Path) -> None:
    """A new bundle key forgets burnt numbers of its own roles, never what custodians signed since."""
    second = world.files(2, targets=world.targets(version=2))
    assert refusal(second, trust, NOW + 300) is None
    after = replace(world, bundle_key=Signer.named("new bundle"))
    roots = [world.root(), signed(after.unsigned_root(version=2), *world.custodians)]
    older = after.files(3, roots=roots, targets=after.targets(version=1))
    assert refusal(older, trust, NOW + 300) is BundleReason.ROLLBACK
    assert refusal(after.files(3, roots=roots, targets=after.targets(version=3)), trust, NOW + 300) is None


# Rotation of the root


def rotated(world: World) -> World:
    """Return the world after its custodians and its bundle key were replaced."""
    return replace(world, custodians=new_custodians(), bundle_key=Signer.named("new bundle"))


def second_root(world: World) -> bytes:
    """Return the root that hands over, signed by old and new custodians."""
    after = rotated(world)
    unsigned = after.unsigned_root(version=2)
    return signed(unsigned, *world.custodians[:2], *after.custodians[:2])


def rotated_files(world: World, number: int, **changes: Any) -> Files:
    """Return a bundle of the world after the rotation."""
    return rotated(world).files(number, roots=[world.root(), second_root(world)], **changes)


def test_root_rotation_is_followed(world: World, trust: Path, oracle: Oracle) -> None:
    """A second root signed by both thresholds is followed, and what the old keys sign from then on is refused."""
    files = rotated_files(world, 2, targets=rotated(world).targets(version=2))
    assert refusal(files, trust, NOW + 300) is None
    assert oracle.accepts(files, NOW + 300)
    old = world.files(3, roots=[world.root(), second_root(world)])
    assert refusal(old, trust, NOW + 300) is BundleReason.BAD_SIGNATURE
    assert not oracle.accepts(old, NOW + 300)


def test_the_chain_of_roots_is_never_shorter(world: World, trust: Path, oracle: Oracle) -> None:
    """After a rotation, a bundle that knows only the first root is refused, whatever its number."""
    files = rotated_files(world, 2, targets=rotated(world).targets(version=2))
    assert refusal(files, trust, NOW + 300) is None
    assert oracle.accepts(files, NOW + 300)
    assert refusal(world.files(3), trust, NOW + 300) is BundleReason.ROLLBACK
    assert not oracle.accepts(world.files(3), NOW + 300)


def test_numbers_that_a_thief_burnt_come_back_with_a_new_key(world: World, trust: Path, oracle: Oracle) -> None:
    """TUF 5.3.11: once custodians replaced the appliance's key, its old numbers no longer hold newer ones back (B5)."""
    burnt = world.files(1001, times=world.times(1001, issued_at=NOW + 1), checkpoint=world.checkpoint(1))
    assert refusal(burnt, trust, NOW + 300) is None
    assert oracle.accepts(burnt, NOW + 300)
    assert refusal(world.files(3), trust, NOW + 300) is BundleReason.ROLLBACK
    renewed = rotated_files(world, 3, targets=rotated(world).targets(version=2))
    assert refusal(renewed, trust, NOW + 300) is None
    assert oracle.accepts(renewed, NOW + 300)


@pytest.mark.parametrize("number", [1, 5000])
def test_numbers_begin_anew_with_a_new_key(world: World, trust: Path, number: int) -> None:
    """With the appliance's key replaced, neither the number held nor how far the new one is from it matters."""
    times = replace(world.times(), sequence=number)
    files = rotated_files(world, number, targets=rotated(world).targets(version=2), times=times)
    assert refusal(files, trust, NOW + 300) is None


def test_time_never_goes_back_even_with_a_new_key(world: World, trust: Path) -> None:
    """The floor stands whatever custodians sign: a bundle issued earlier than the one held is refused."""
    assert refusal(world.files(5), trust, NOW + 300) is None
    after = rotated(world)
    files = rotated_files(world, 2, targets=after.targets(version=2))
    assert refusal(files, trust, NOW + 300) is BundleReason.ROLLBACK


def test_intermediate_roots_may_be_expired(world: World, tmp_path: Path) -> None:
    """A root on the way may be over; the last one may not."""
    third = signed(world.unsigned_root(version=3), *world.custodians)
    over = signed(world.unsigned_root(version=2, expires=NOW - DAY), *world.custodians)
    path = world.bare_site(tmp_path / "trust")
    oracle = Oracle(tmp_path / "oracle", world.root())
    files = world.files(1, roots=[world.root(), over])
    assert refusal(files, path, NOW) is BundleReason.EXPIRED
    assert not oracle.accepts(files, NOW)
    files = world.files(1, roots=[world.root(), over, third])
    assert refusal(files, path, NOW) is None
    assert oracle.accepts(files, NOW)


def test_a_site_may_pin_a_later_root(world: World, tmp_path: Path) -> None:
    """A site made after a rotation pins the second root and needs nothing of the first but its bytes."""
    root = second_root(world)
    key = Ed25519PrivateKey.generate()
    init(tmp_path / "trust", root=root, fingerprint=sha256_hex(root), site="site-0001", key=key)
    files = rotated_files(world, 2, targets=rotated(world).targets(version=2))
    assert refusal(files, tmp_path / "trust", NOW + 300) is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((1, 3), BundleReason.INCOMPLETE),
        ((2,), BundleReason.INCOMPLETE),
    ],
)
def test_the_chain_of_roots_has_no_gap(
    world: World, trust: Path, names: tuple[int, ...], expected: BundleReason
) -> None:
    """A chain without its beginning or with a hole is incomplete."""
    files = {name: body for name, body in world.files(2).items() if name not in layout.ROOTS}
    roots = {1: world.root(), 2: second_root(world), 3: signed(world.unsigned_root(version=3), *world.custodians)}
    files |= {layout.ROOTS[number - 1]: roots[number] for number in names}
    assert refusal(files, trust, NOW + 100) is expected


def test_another_root_with_the_same_number_is_refused(world: World, trust: Path) -> None:
    """A root that this site already holds cannot come in other bytes, however well signed."""
    assert refusal(rotated_files(world, 2, targets=rotated(world).targets(version=2)), trust, NOW + 300) is None
    other = signed(rotated(world).unsigned_root(version=2, expires=NOW + DAY), *world.custodians, *new_custodians())
    files = rotated(world).files(3, roots=[world.root(), other], targets=rotated(world).targets(version=2))
    assert refusal(files, trust, NOW + 300) is BundleReason.ROOT_MISMATCH


def test_a_bundle_of_another_root_is_refused(world: World, tmp_path: Path) -> None:
    """A bundle of other custodians, complete and good in itself, does not come from the pinned root."""
    path = world.bare_site(tmp_path / "trust")
    assert refusal(rotated(world).files(1), path, NOW) is BundleReason.ROOT_MISMATCH


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_bytes_as_a_root_are_refused(data: bytes) -> None:
    """Whatever is given as a root is refused with a reason and without a traceback."""
    with pytest.raises(BundleRefused):
        check_root(data)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_changed_byte_of_metadata_is_refused(world: World, first: Files, data: st.DataObject) -> None:
    """A single changed byte in any role's file is refused, or is in a signature that nobody asks for or keeps."""
    files = first
    name = data.draw(st.sampled_from([ROOT, TARGETS, SITE, SNAPSHOT, TIMESTAMP]))
    place = data.draw(st.integers(0, len(files[name]) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != files[name][place]))
    changed = files[name][:place] + bytes([value]) + files[name][place + 1 :]
    good = verify(files, world.root(), held=None, at=NOW)
    try:
        found = verify({**files, name: changed}, world.root(), held=None, at=NOW)
    except BundleRefused:
        return
    assert name == ROOT
    assert found == good


def test_metadata_tells_what_it_established(world: World) -> None:
    """Versions and the expiry of the timestamp are given on."""
    files = world.files(3)
    found = verify(files, world.root(), held=world.files(2), at=NOW)
    spelled = {name: files[name] for name in (ROOT, TIMESTAMP)}
    assert content(spelled) == content(found.spelled)
    assert found == VerifiedMetadata(1, 6, 1, NOW + DAY + GRACE, renewed=False, spelled=found.spelled)
