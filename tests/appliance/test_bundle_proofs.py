"""What an appliance gives a site so that it never takes back history, and what it finds out about itself (R38, R39)."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.formats import encode_canonical

from appliance.custodians import Draft, prepare
from appliance.engine import Engine
from appliance.errors import Refusal
from appliance.exporting import _file
from appliance.outcome import Outcome, State
from coldcred import TrustStore, framing, layout
from coldcred.acts import Act
from coldcred.bundle import apply, init
from coldcred.bundle.roles import tuf_key
from coldcred.canonical import Json, b64u_decode, b64u_encode, loads, sha256_hex
from coldcred.errors import BundleReason, BundleRefused
from coldcred.log import consistency
from coldcred.log.consistency import OF_BUNDLES
from coldcred.log.entry import parse
from tests.support import hands, plant
from tests.support.fake_keystore import FakeKeyStore, MemoryToken
from tests.support.forge import signature
from tests.support.running import LABEL, SITE, RunningPlant, believed, run, settled


async def bundle(running: RunningPlant, engine: Engine, **args: Json) -> bytes:
    """Make the site's next bundle."""
    made = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": SITE, **args}))
    assert made.state is State.DONE, made
    await settled(engine)
    return made.files["bundle"]


def site(path: Path, data: bytes) -> Path:
    """Make a trust store at the site that a bundle is for, and apply it."""
    root = framing.read(data, framing.BUNDLE)[layout.ROOTS[0]]
    init(path, root=root, fingerprint=sha256_hex(root), site=SITE, key=Ed25519PrivateKey.generate())
    return path


def sizes(data: bytes) -> tuple[list[int], int]:
    """Return the sizes from which a bundle has proofs, and that of its own checkpoint."""
    files = framing.read(data, framing.BUNDLE)
    size = int(files[layout.CHECKPOINT].split(b"\n")[1])
    return [proof.size for proof in consistency.parse(files[layout.CONSISTENCY])], size


def test_each_bundle_proves_the_checkpoints_of_those_before(tmp_path: Path) -> None:
    """From all of this site's bundles to its own, the newest first, across a restart; a site takes them in any gaps."""
    running = RunningPlant(tmp_path / "home")
    made: list[bytes] = []

    async def story(*, first: bool) -> None:
        async with running.engine() as engine:
            if first:
                await running.ready(engine)
            for _ in range(3):
                running.clock.time += 60
                await engine.submit_command(running.issue())
                made.append(await bundle(running, engine))
            if not first:
                await believed(running, engine)

    run(story(first=True))
    run(story(first=False))
    own = [sizes(data)[1] for data in made]
    before = sizes(made[0])[0]
    assert len(before) == 1
    for place, data in enumerate(made):
        assert sizes(data)[0] == [*reversed(before + own[:place])]
    path = site(tmp_path / "trust", made[0])
    for data in (made[0], made[1], made[4], made[5]):
        assert apply(data, path, now=running.clock.time).changed


def test_proofs_are_of_the_last_bundles_alone(tmp_path: Path) -> None:
    """There are 64 at most, and those of another site's bundles are not among them."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            lookups = engine.standing.lookups
            for size in range(1, OF_BUNDLES + 20):
                lookups.add_site_checkpoint(SITE, size)
                lookups.add_site_checkpoint("line-2", 1)
            assert [*lookups.site_checkpoints[SITE]] == [*range(20, OF_BUNDLES + 20)]
            found, size = sizes(await bundle(running, engine))
            assert found == [*reversed(range(20, size + 1))]

    run(story())


def test_two_sites_bundles_are_told_apart_in_the_log(tmp_path: Path) -> None:
    """An entry says which checkpoint a bundle lists; an older log, which did not, is folded by the one before it."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            data = await bundle(running, engine)
            events = [parse(body).event for body in engine.standing.archive.bodies()]
            signed = [event for event in events if event["type"] == "bundle.signed"]
            assert [event["role"] for event in signed if "checkpoint" in event] == ["site", "site"]
            assert signed[-2]["checkpoint"] == sizes(data)[1]

    run(story())


def cloned(running: RunningPlant, path: Path) -> RunningPlant:
    """Copy a home that is not served, with a token that holds the same keys."""
    shutil.copytree(running.path, path)
    keystore = running.keystore
    assert isinstance(keystore, FakeKeyStore)
    token = MemoryToken(label=LABEL)
    token.held = [*keystore.token.held]
    return replace(running, path=path, keystore=FakeKeyStore(token), clock=replace(running.clock))


def test_a_site_refuses_a_home_that_was_put_back(tmp_path: Path) -> None:
    """An older copy that outgrows what the site knows is refused, and says so itself once the checkpoint is back."""
    running = RunningPlant(tmp_path / "home")

    async def until(made: RunningPlant, entries: int, **args: Json) -> bytes:
        async with made.engine() as engine:
            if not entries:
                await made.ready(engine)
            for _ in range(entries):
                await engine.submit_command(made.issue())
            return await bundle(made, engine, **args)

    first = run(until(running, 0))
    other = cloned(running, tmp_path / "copy")
    path = site(tmp_path / "trust", first)
    apply(first, path, now=running.clock.time)
    apply(run(until(running, 3)), path, now=running.clock.time)

    async def carried(made: RunningPlant, text: str) -> Outcome:
        async with made.engine() as engine:
            args: dict[str, Json] = {"site": SITE, "from": b64u_encode(text.encode())}
            return await engine.submit_command(made.command("alice", Act.BUNDLE_CREATE, args))

    note = (path / "current" / layout.CHECKPOINT).read_bytes()
    behind = run(carried(other, note.decode()))
    assert (behind.state, behind.reason) == (State.REFUSED, Refusal.LOG_FORKED)
    run(until(other, 1))
    trusted = TrustStore.open(path)
    for entries in (5, 10):
        with pytest.raises(BundleRefused) as caught:
            apply(run(until(other, entries)), path, now=running.clock.time)
        assert caught.value.reason is BundleReason.LOG_UNPROVEN
        assert TrustStore.open(path) == trusted
    assert json.loads((path / layout.EVIDENCE).read_bytes())["found"][0]["held"] == note.decode()

    refused = run(carried(other, note.decode()))
    assert (refused.state, refused.reason) == (State.REFUSED, Refusal.LOG_FORKED)
    good = run(carried(running, note.decode()))
    assert good.state is State.DONE
    assert apply(good.files["bundle"], path, now=running.clock.time).changed


def test_what_is_carried_back_is_a_checkpoint_of_this_log(tmp_path: Path) -> None:
    """Another text is malformed; a checkpoint beyond the log that the log key signed says that the home is behind."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            first = await bundle(running, engine)
            note = framing.read(first, framing.BUNDLE)[layout.CHECKPOINT].decode()
            # From before its last 64 bundles: the proof is there because it was asked for.
            engine.standing.lookups.site_checkpoints.clear()
            assert sizes(await bundle(running, engine))[0] == []
            engine.standing.lookups.site_checkpoints.clear()
            assert sizes(await bundle(running, engine, **{"from": b64u_encode(note.encode())}))[0] == [sizes(first)[1]]
            for text in ("x", note.replace("\n", "\n\n", 1), note[:-8] + "AAAAAA=\n"):
                args: dict[str, Json] = {"site": SITE, "from": b64u_encode(text.encode())}
                outcome = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, args))
                assert (outcome.state, outcome.reason) == (State.REFUSED, Refusal.MALFORMED)
            await believed(running, engine)

    run(story())


# What custodians signed, spelled otherwise


def with_third_signature(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files with one more good signature on the root, by a custodian who came late."""
    name, signer = layout.ROOTS[0], plant.custodian("carol")
    value = json.loads(files[name])
    data = (encode_canonical(value["signed"]) or "").encode()
    value["signatures"].append({"keyid": tuf_key(signer.public).keyid, "sig": signature(signer, data)})
    return {**files, name: json.dumps(value, sort_keys=True, separators=(",", ":")).encode()}


def test_a_root_that_sites_hold_stays_as_they_pinned_it(tmp_path: Path) -> None:
    """Submitted again with another signature it is the same root, and bundles go on to carry the one of before."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            first = await bundle(running, engine)
            path = site(tmp_path / "trust", first)
            apply(first, path, now=running.clock.time)
            trust = engine.standing.authority.trust
            assert trust is not None
            pinned = engine.standing.archive.blob(trust.files[layout.ROOTS[0]])
            reader = await engine.open_reading(running.command("alice", Act.READ_OPEN))
            prepared = prepare(running.founding, Draft.from_json(await reader.read("trust", {})), running.clock.now())
            files = with_third_signature(hands.signed(running.founding, prepared))
            assert files[layout.ROOTS[0]] != pinned
            outcome = await engine.submit_command(*running.submission(dict(files)))
            assert outcome.state is State.DONE, outcome
            second = await bundle(running, engine)
            assert framing.read(second, framing.BUNDLE)[layout.ROOTS[0]] == pinned
            assert apply(second, path, now=running.clock.time).changed

    run(story())


# Exports


def test_an_export_holds_what_its_entries_name(tmp_path: Path) -> None:
    """What custodians signed is in it; what travelled beside a refused command, or came after its end, is not."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            refused = b"not what custodians sign"
            digest = sha256_hex(refused)
            named: dict[str, Json] = {"files": {layout.TARGETS: digest}}
            command = running.command("alice", Act.TRUST_SUBMIT, named)
            assert (await engine.submit_command(command, {digest: refused})).state is State.REFUSED
            await believed(running, engine)
            await bundle(running, engine)  # its checkpoint covers the refusal, and is kept before its next step
            note = engine.standing.archive.newest_checkpoint()
            assert note is not None
            late = running.command("alice", Act.CREDENTIAL_ISSUE, {**running.issue_args(), "ttl": 61})
            await engine.submit_command(late)
            await settled(engine)
            export = _file(engine.standing, *note).export
            assert export is not None
            body = b"".join([page async for page in engine.pages(export)])
            found = framing.read(body, framing.EXPORT)["blobs.jsonl"]
            held = {sha256_hex(plain(line)) for line in found.splitlines()}
            trust = engine.standing.authority.trust
            assert trust is not None
            assert set(trust.files.values()) <= held
            assert digest not in held
            assert sha256_hex(late.encode()) not in held

    run(story())


def plain(line: bytes) -> bytes:
    """Return a blob from its line."""
    value = loads(line, max_bytes=10**6)
    assert isinstance(value, dict)
    return b64u_decode(str(value["body"]))
