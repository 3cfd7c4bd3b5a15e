"""A site never takes back history: a log that is another, revocations undone, and sizes that a thief burnt (R38)."""

import io
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from appliance.bundling import one_window
from coldcred import Reason, Rejected, TrustStore, framing, layout, verify
from coldcred.__main__ import main
from coldcred.bundle import apply, inspect
from coldcred.bundle.history import ENTRIES_A_SECOND, ENTRIES_AT_ONCE
from coldcred.canonical import MAX_INTEGER
from coldcred.errors import BundleReason, BundleRefused, LogContradicted, LogReason, LogRejected, Malformed
from coldcred.keys import Algorithm
from coldcred.log import consistency, keeping
from coldcred.log.consistency import OF_BUNDLES, Proof
from coldcred.log.export import Anchor, find_checkpoints
from coldcred.log.export import verify as verify_log
from coldcred.log.note import VerifierKey
from coldcred.log.tree import Tree, node_hash
from tests.support.logworld import ORIGIN as LOG_ORIGIN
from tests.support.logworld import LogWorld, appliance_key, note_over, vkey
from tests.support.signers import Signer
from tests.support.tree import ROOT
from tests.support.world import AUDIENCE, DAY, GRACE, HOUR, LOG, NOW, STATUS_URI, World, log, signed

OLD = ROOT / "tests" / "vectors" / "without-proofs"
OLD_FINGERPRINT = "6b2b0d4da963a83693300404f9795efa47eb26205738a1e7374b5826470da3ba"
OLD_TIME = 1_795_002_600


@pytest.fixture
def trust(site: Path, tmp_path: Path) -> Path:
    """Return a trust store with the first bundle applied."""
    shutil.copytree(site, tmp_path / "trust", symlinks=True)
    return tmp_path / "trust"


def of_log(world: World, tree: Tree, size: int, sizes: Sequence[int]) -> dict[str, Any]:
    """Return what a bundle says of a log of this tree and size: its checkpoint, and proofs from these sizes."""
    note = world.checkpoint(size, tree.frontier(size).root())
    return {"checkpoint": note, "proofs": consistency.prove(tree, sizes, size)}


def refused(path: Path, bundle: bytes, now: float = NOW + 3600) -> BundleRefused:
    """Return the refusal of a bundle, having seen that what is trusted is what it was."""
    before = TrustStore.open(path)
    with pytest.raises(BundleRefused) as caught:
        apply(bundle, path, now=now)
    assert TrustStore.open(path) == before
    return caught.value


def evidence(path: Path) -> tuple[keeping.Contradiction, ...]:
    """Return what a site kept of contradictions."""
    file = path / layout.EVIDENCE
    return keeping.parse_evidence(file.read_bytes()) if file.exists() else ()


# The log


FORKED = {
    "one size, two roots": (5, (), BundleReason.LOG_FORKED),
    "longer, and of another root at the size that is known": (9, (5,), BundleReason.LOG_FORKED),
    "longer, with no proof from the size that is known": (9, (3, 4, 6), BundleReason.LOG_UNPROVEN),
    "shorter": (4, (3,), BundleReason.ROLLBACK),
}


@pytest.mark.parametrize("case", FORKED)
def test_a_forked_log_is_refused_and_both_checkpoints_are_kept(world: World, trust: Path, case: str) -> None:
    """A history that went another way before the site's checkpoint is never taken, and the site can show both."""
    size, sizes, reason = FORKED[case]
    held = of_log(world, LOG, 5, (1,))
    apply(world.bundle(2, **held), trust, now=NOW + 3600)
    found = of_log(world, log(16, fork=2), size, sizes)
    error = refused(trust, world.bundle(3, **found))
    assert isinstance(error, LogContradicted)
    assert error.reason is reason
    (kept,) = evidence(trust)
    assert (kept.held, kept.held_bundle, kept.found, kept.found_bundle) == (
        held["checkpoint"], 2, found["checkpoint"], 3,
    )  # fmt: skip
    assert kept.reason == reason
    refused(trust, world.bundle(3, **found))
    assert evidence(trust) == (kept,)
    assert apply(world.bundle(4, **of_log(world, LOG, 9, (1, 5))), trust, now=NOW + 3600).changed


def test_a_proof_that_fails_is_a_fork(world: World, trust: Path) -> None:
    """One whose root is the right one and whose hashes lead elsewhere is evidence too, and not a damaged file."""
    good = Proof.of(LOG, 1, 6)
    for hashes in (good.hashes[:-1], (*good.hashes[:-1], bytes(32)), ()):
        proofs = consistency.write([replace(good, hashes=hashes)])
        error = refused(trust, world.bundle(2, checkpoint=world.checkpoint(6), proofs=proofs))
        assert error.reason is BundleReason.LOG_FORKED


def test_each_proof_of_a_bundle_leads_to_its_checkpoint(world: World, trust: Path) -> None:
    """A bundle with a proof that leads elsewhere is refused by every site, and by `inspect`."""
    spoilt = consistency.write([Proof.of(LOG, 1, 6), replace(Proof.of(LOG, 3, 6), root=bytes(32))])
    bundle = world.bundle(2, checkpoint=world.checkpoint(6), proofs=spoilt)
    assert refused(trust, bundle).reason is BundleReason.MALFORMED
    with pytest.raises(BundleRefused) as caught:
        inspect(bundle)
    assert caught.value.reason is BundleReason.MALFORMED


def test_proofs_reach_back_sixty_four_bundles(world: World, trust: Path) -> None:
    """A site that missed 63 bundles takes the next; one that missed 64 is told what to do, and that helps."""
    times = {"times": world.times(OF_BUNDLES + 1, issued_at=NOW + 60)}
    assert inspect(world.bundle(OF_BUNDLES + 1, **times)).proofs == OF_BUNDLES
    late = trust.parent / "late"
    shutil.copytree(trust, late, symlinks=True)
    assert apply(world.bundle(OF_BUNDLES + 1, **times), trust, now=NOW + 60).changed
    number = OF_BUNDLES + 2
    times = {"times": world.times(number, issued_at=NOW + 60)}
    assert refused(late, world.bundle(number, **times), NOW + 60).reason is BundleReason.LOG_UNPROVEN
    note = (late / "current" / layout.CHECKPOINT).read_bytes()
    assert note == world.checkpoint(1)
    carried = world.proofs(world.checkpoint(number), 1, *range(number - OF_BUNDLES, number))
    assert apply(world.bundle(number, proofs=carried, **times), late, now=NOW + 60).changed


def test_a_bundle_of_an_earlier_release(world: World, tmp_path: Path) -> None:
    """One without proofs is taken until one with proofs was, by size and by the root at the same size."""
    path = world.site(tmp_path / "trust", world.bundle(1, proofs=None, checkpoint=world.checkpoint(5)))
    other = world.checkpoint(5, bytes(32))
    assert refused(path, world.bundle(2, proofs=None, checkpoint=other)).reason is BundleReason.LOG_FORKED
    assert refused(path, world.bundle(2, proofs=None, checkpoint=world.checkpoint(4))).reason is BundleReason.ROLLBACK
    assert apply(world.bundle(2, proofs=None, checkpoint=world.checkpoint(6)), path, now=NOW + 60).changed
    assert refused(path, world.bundle(3, **of_log(world, LOG, 9, (5,)))).reason is BundleReason.LOG_UNPROVEN
    assert apply(world.bundle(3, **of_log(world, LOG, 9, (5, 6))), path, now=NOW + 120).changed
    plain = world.bundle(4, proofs=None, checkpoint=world.checkpoint(10))
    assert refused(path, plain).reason is BundleReason.LOG_UNPROVEN
    after, made = renewed(world)
    plain = after.bundle(4, proofs=None, checkpoint=world.checkpoint(10), **made)
    assert refused(path, plain).reason is BundleReason.LOG_UNPROVEN


def test_bundles_and_export_of_the_release_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the release before made is read: both bundles are applied in turn, and its log verifies against the site."""
    line = ["site", "init", str(tmp_path / "trust"), "--root", str(OLD / "root.json"), "--site", "line-1"]
    assert main([*line, "--fingerprint", OLD_FINGERPRINT]) == 0
    for name in ("site-0001.bundle", "site-0002.bundle"):
        assert inspect((OLD / name).read_bytes()).proofs == 0
        assert apply((OLD / name).read_bytes(), tmp_path / "trust", now=OLD_TIME).changed
    assert main(["log", "verify", str(OLD / "log.export"), "--trust", str(tmp_path / "trust")]) == 0
    said = capsys.readouterr().out
    assert said.count("grown from the checkpoint") == 2


def test_another_log_key(world: World, trust: Path) -> None:
    """A log under another key is another log, also when custodians signed it: nothing says that it continues ours."""
    other = replace(world, log_key=Signer.named("another log", Algorithm.ED25519))
    error = refused(trust, other.bundle(2, targets=other.targets(version=2)))
    assert error.reason is BundleReason.OTHER_LOG


def test_malformed_proofs(world: World, trust: Path) -> None:
    """Proofs out of order, one twice, too many, or with members of their own are no document."""
    good = Proof.of(LOG, 1, 2), Proof.of(LOG, 0, 2)
    body = consistency.write(good)
    assert consistency.parse(body) == good
    for bad in (
        b'{"proofs":[],"v":2}',
        b'{"proofs":[],"v":1} ',
        b'{"more":1,"proofs":[],"v":1}',
        consistency.write([good[0], good[0]]),
        body.replace(b'"size":1', b'"size":-1'),
        consistency.write(Proof(size, bytes(32), ()) for size in range(consistency.MAX_PROOFS + 1)),
    ):
        assert refused(trust, world.bundle(2, proofs=bad)).reason is BundleReason.MALFORMED


def test_the_largest_proofs_fit() -> None:
    """As many proofs as there may be, each as long as one can be, lie within the bound of their file."""
    full = [Proof(MAX_INTEGER - place, bytes([place]) * 32, tuple(bytes([n]) * 32 for n in range(64)))
            for place in range(consistency.MAX_PROOFS)]  # fmt: skip
    body = consistency.write(full)
    assert len(body) < layout.LIMITS[layout.CONSISTENCY] == consistency.MAX_BODY
    assert consistency.parse(body) == tuple(full)


# Sizes that a thief burnt


def grown(world: World, number: int, entries: int, seconds: int) -> bytes:
    """Return a bundle whose log grew by so many entries in so many seconds, with a proof as anybody can make one up."""
    hashes = tuple(bytes([place]) * 32 for place in range(entries.bit_length()))
    first = LOG.frontier(1).root()
    note = world.checkpoint(1 + entries, reduce(node_hash, hashes, first))
    proofs = consistency.write([Proof(1, first, hashes)])
    return world.bundle(number, checkpoint=note, proofs=proofs, times=world.times(number, issued_at=NOW + seconds))


@pytest.mark.parametrize("seconds", [0, 100])
def test_a_log_grows_no_faster_than_any_appliance_can(world: World, trust: Path, seconds: int) -> None:
    """Whoever has both keys can make up any proof, so a size may jump only as far as time has passed."""
    most = ENTRIES_AT_ONCE + ENTRIES_A_SECOND * seconds
    for entries in (most + 1, MAX_INTEGER - 1):
        error = refused(trust, grown(world, 2, entries, seconds))
        assert error.reason is BundleReason.FAST_FORWARD
    assert apply(grown(world, 2, most, seconds), trust, now=NOW + 3600).changed


def renewed(world: World) -> tuple[World, dict[str, Any]]:
    """Return the world after custodians replaced the bundle key, and what its bundles are made with."""
    after = replace(world, bundle_key=Signer.named("new bundle"))
    roots = [world.root(), signed(after.unsigned_root(version=2), *world.custodians[:2])]
    return after, {"roots": roots, "targets": after.targets(version=2)}


def test_a_burnt_size_no_longer_counts_once_the_bundle_key_is_replaced(world: World, trust: Path) -> None:
    """The thief's size holds honest bundles back; a new bundle key undoes it, aloud, and keeps both checkpoints."""
    apply(grown(world, 2, ENTRIES_AT_ONCE, 60), trust, now=NOW + 3600)
    assert refused(trust, world.bundle(3)).reason is BundleReason.ROLLBACK
    after, made = renewed(world)
    applied = apply(after.bundle(3, **made), trust, now=NOW + 3600)
    assert applied.contradicted is not None
    assert applied.contradicted.reason is BundleReason.ROLLBACK
    assert [one.found_bundle for one in evidence(trust)] == [3]
    assert TrustStore.open_whole(trust)[1] == (world.checkpoint(3),)
    next_one = apply(after.bundle(4, **made), trust, now=NOW + 3600)
    assert (next_one.changed, next_one.contradicted) == (True, None)


def test_a_new_bundle_key_over_the_same_log_begins_nothing_anew(world: World, trust: Path) -> None:
    """Where the log does follow, the checkpoints of before stay, and nothing is said."""
    after, made = renewed(world)
    assert apply(after.bundle(2, **made), trust, now=NOW + 3600).contradicted is None
    assert TrustStore.open_whole(trust)[1] == (world.checkpoint(1), world.checkpoint(2))
    assert evidence(trust) == ()


@pytest.mark.parametrize(("custodians", "key", "taken"), [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 1)])
def test_a_burnt_version_of_targets(world: World, trust: Path, custodians: int, key: int, taken: int) -> None:
    """It counts for as long as one of the keys is believed that signed it: the custodians' or the bundle key."""
    assert apply(world.bundle(2, targets=world.targets(version=1001)), trust, now=NOW + 3600).changed
    after = world
    if custodians:
        new = tuple(Signer.named(f"new custodian {number}", Algorithm.ED25519) for number in (1, 2, 3))
        after = replace(after, custodians=new)
    if key:
        after = replace(after, bundle_key=Signer.named("new bundle"))
    signers = [*world.custodians[:2], *(after.custodians[:2] if custodians else ())]
    roots = [world.root(), signed(after.unsigned_root(version=2), *signers)] if custodians or key else None
    bundle = after.bundle(3, roots=roots, targets=after.targets(version=2))
    if taken:
        assert apply(bundle, trust, now=NOW + 3600).changed
    else:
        assert refused(trust, bundle).reason is BundleReason.ROLLBACK


# Revocations and taints


def test_a_revocation_is_never_taken_back(world: World, trust: Path) -> None:
    """A list of the same URI that clears a bit, or is older, or is left out, is refused by whomever it is signed."""
    later: dict[str, Any] = {"issued_at": NOW + 60}
    apply(world.bundle(2, status_lists=[world.status_list({7, 9}, **later)]), trust, now=NOW + 3600)
    elsewhere = world.status_list({7, 9}, uri=f"{STATUS_URI[:-1]}2", **later)
    for lists in (
        [world.status_list({9}, issued_at=NOW + 120)],
        [world.status_list({7, 9}, issued_at=NOW + 59)],
        [elsewhere],
    ):
        error = refused(trust, world.bundle(3, status_lists=lists))
        assert error.reason is BundleReason.ROLLBACK
        assert "status list" in error.detail
    more = world.bundle(3, status_lists=[world.status_list({7, 8, 9}, **later), elsewhere])
    assert apply(more, trust, now=NOW + 3600).changed
    with pytest.raises(Rejected) as caught:
        verify(world.token(), TrustStore.open(trust), audience=AUDIENCE, now=NOW + 600)
    assert caught.value.reason is Reason.REVOKED


def test_a_taint_leaves_with_its_key_alone(world: World, trust: Path) -> None:
    """The appliance cannot take a taint back; custodians can, by no longer signing the key."""
    kid = world.svid_key.kid
    apply(world.bundle(2, taints=[kid, "y"]), trust, now=NOW + 3600)
    assert refused(trust, world.bundle(3, taints=["y"])).reason is BundleReason.ROLLBACK
    assert refused(trust, world.bundle(3, targets=world.targets(version=2))).reason is BundleReason.ROLLBACK
    keys = [key for key in world.trust_keys() if key.kid != kid]
    documents = world.trust_documents(keys=keys, plan=one_window(NOW - HOUR, NOW + DAY, keys, grace=GRACE))
    bundle = world.bundle(3, trust=documents, targets=world.targets(documents, version=2))
    assert apply(bundle, trust, now=NOW + 3600).store.taints == frozenset()


def test_a_list_leaves_with_its_tainted_key_alone(world: World, trust: Path) -> None:
    """A list under a tainted key is as good as none, so it may be missing; a taint of another key is no excuse."""
    elsewhere = [world.status_list(uri=f"{STATUS_URI[:-1]}2")]
    other = world.bundle(2, status_lists=elsewhere, taints=[world.svid_key.kid])
    assert refused(trust, other).reason is BundleReason.ROLLBACK
    assert apply(world.bundle(2, taints=[world.status_key.kid]), trust, now=NOW + 3600).store.status_lists == {}


def test_a_new_bundle_key_undoes_what_a_thief_revoked(world: World, trust: Path) -> None:
    """With the bundle key replaced, the honest list and taints count, whatever the thief's said."""
    burnt = world.bundle(
        2, status_lists=[world.status_list(range(64), issued_at=NOW + 60)], taints=[world.access_key.kid]
    )
    apply(burnt, trust, now=NOW + 3600)
    after, made = renewed(world)
    store = apply(after.bundle(3, **made), trust, now=NOW + 3600).store
    assert verify(world.token(), store, audience=AUDIENCE, now=NOW + 600).bundle == 3


# What is kept


def test_every_checkpoint_is_kept(world: World, trust: Path) -> None:
    """All that were applied stand in the newest generation, the oldest first, and nothing of one that was refused."""
    for number in (2, 3, 7):
        apply(world.bundle(number), trust, now=NOW + 3600)
    refused(trust, world.bundle(8, checkpoint=world.checkpoint(2)))
    assert TrustStore.open_whole(trust)[1] == tuple(world.checkpoint(number) for number in (1, 2, 3, 7))


def test_checkpoints_are_bounded(world: World) -> None:
    """Beyond 256 every second one of the older half goes: the first stays, the newest stay, and none is made up."""
    notes = [world.checkpoint(number) for number in range(1, 1200)]
    kept: tuple[bytes, ...] = ()
    for count, note in enumerate(notes, 1):
        kept = keeping.parse_kept(keeping.write_kept(kept, note))
        assert len(kept) == count or keeping.MOST_KEPT // 2 < len(kept) <= keeping.MOST_KEPT
        assert (kept[0], kept[-1]) == (notes[0], note)
    assert [note for note in notes if note in kept] == [*kept]
    assert len(keeping.write_kept(kept, notes[0])) < layout.IN_GENERATION[layout.KEPT]
    assert keeping.write_kept(kept, kept[-1]) == keeping.write_kept(kept[:-1], kept[-1])


def test_contradictions_are_bounded(world: World, trust: Path) -> None:
    """The first sixteen are kept; what is refused after them is refused just so."""
    for number in range(2, keeping.MOST_FOUND + 5):
        refused(trust, world.bundle(number, checkpoint=world.checkpoint(1, bytes([number]) * 32)))
    assert [one.found_bundle for one in evidence(trust)] == [*range(2, keeping.MOST_FOUND + 2)]


def test_evidence_that_cannot_be_read_is_left_alone(world: World, trust: Path) -> None:
    """A bundle is refused for its log whatever stands in the way of keeping it."""
    (trust / layout.EVIDENCE).write_bytes(b"not evidence")
    refused(trust, world.bundle(2, checkpoint=world.checkpoint(1, bytes(32))))
    assert (trust / layout.EVIDENCE).read_bytes() == b"not evidence"
    assert main(["bundle", "evidence", "--trust", str(trust)]) == 1


# An auditor


@pytest.fixture(scope="module")
def logged() -> LogWorld:
    """Return a log with one of everything, exported."""
    return LogWorld.begin().start().day().exported()


def known_to(world: World, logged: LogWorld, path: Path, *notes: bytes) -> Path:
    """Return a trust store to which bundles with these checkpoints of the log were applied, as earlier releases did."""
    identity = world.identity(appliance=logged.founded.appliance_id, log_origin=LOG_ORIGIN, log_vkey=vkey().format())
    trust = world.trust_documents(identity=identity)
    world.bare_site(path)
    for number, note in enumerate(notes, 1):
        times = world.times(number, appliance=identity.appliance)
        apply(world.bundle(number, trust=trust, times=times, checkpoint=note, proofs=None), path, now=NOW + 3600)
    return path


def test_an_export_is_held_to_every_checkpoint_that_a_site_believed(
    world: World, logged: LogWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not to the newest alone: one that lies beyond an older export does not spare it the ones before."""
    (tmp_path / "log.export").write_bytes(logged.export())
    path = known_to(world, logged, tmp_path / "good", logged.note(10), logged.note(20))
    line = ["log", "verify", str(tmp_path / "log.export"), "--trust"]
    assert main([*line, str(path)]) == 0
    assert capsys.readouterr().out.count("grown from the checkpoint") == 2
    beyond = other_history(len(logged.bodies) + 10)
    path = known_to(world, logged, tmp_path / "bad", other_history(10), beyond)
    assert main([*line, str(path)]) == 1
    assert "wrong-root" in capsys.readouterr().err


def other_history(size: int) -> bytes:
    """Return a checkpoint by the log's own key over so many entries that are not in it."""
    return note_over([bytes([7]) * 32] * size, appliance_key("log", "plant-a"))


def test_evidence_is_for_an_auditor(
    world: World, logged: LogWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`bundle evidence` shows both checkpoints and writes them; the export of either history fails one of them."""
    path = known_to(world, logged, tmp_path / "trust", logged.note(10))
    assert main(["bundle", "evidence", "--trust", str(path)]) == 0
    assert "no bundle has contradicted" in capsys.readouterr().out
    identity = TrustStore.open(path).identity
    other = world.bundle(
        2,
        trust=world.trust_documents(identity=identity),
        times=world.times(2, appliance=identity.appliance),
        checkpoint=other_history(10),
        proofs=None,
    )
    (tmp_path / "other.bundle").write_bytes(other)
    line = ["bundle", "apply", str(tmp_path / "other.bundle"), "--trust", str(path)]
    assert refused(path, other).reason is BundleReason.LOG_FORKED
    capsys.readouterr()
    assert main(line) == 1
    said = capsys.readouterr().err
    assert "log-forked" in said
    assert "bundle evidence" in said
    out = tmp_path / "evidence"
    assert main(["bundle", "evidence", "--trust", str(path), "--out", str(out)]) == 0
    assert "log-forked: bundle 2" in capsys.readouterr().out
    found = find_checkpoints(io.BytesIO(out.read_bytes()))
    assert found == ((" (held, bundle 1)", logged.note(10)), (" (refused, bundle 2)", other_history(10)))
    (tmp_path / "log.export").write_bytes(logged.export())
    key = ["--log-key", vkey().format()]
    assert main(["log", "verify", str(tmp_path / "log.export"), *key, "--checkpoint", str(out)]) == 1
    assert "wrong-root" in capsys.readouterr().err
    assert main(["log", "verify", str(tmp_path / "log.export"), *key]) == 0
    assert main(["bundle", "evidence", "--trust", str(path), "--out", str(out)]) == 2


def test_documents_of_what_is_kept_are_closed() -> None:
    """Both are read as strictly as all documents."""
    for bad in (b"", b"{}", b'{"notes":[""],"v":1}', b'{"notes":[1],"v":1}', b'{"more":1,"notes":[],"v":1}'):
        with pytest.raises(Malformed):
            keeping.parse_kept(bad)
    for bad in (b"{}", b'{"found":[{}],"v":1}', b'{"found":[],"more":1,"v":1}'):
        with pytest.raises(Malformed):
            keeping.parse_evidence(bad)


def test_an_anchor_without_a_checkpoint_knows_none(logged: LogWorld) -> None:
    """A key alone holds an export to nothing but itself."""
    report = verify_log(io.BytesIO(logged.export()), Anchor(VerifierKey.parse(vkey().format()), earlier=(b"x",)))
    assert report.kept == ()
    with pytest.raises(LogRejected) as caught:
        verify_log(io.BytesIO(logged.export()), Anchor(vkey(), checkpoint=logged.note(5), earlier=(b"x",)))
    assert caught.value.reason is LogReason.BAD_CHECKPOINT


def test_bundles_stay_within_their_bound(world: World) -> None:
    """Proofs of 64 bundles over a log of 2,048 entries make a bundle of less than 100 kB."""
    bundle = world.bundle(2000, times=replace(world.times(), sequence=2000))
    assert len(framing.read(bundle, framing.BUNDLE)[layout.CONSISTENCY]) < 64_000
    assert len(bundle) < 100_000
