"""Exports: what is believed and what is not, whatever is done to the file; people and keys have tests of their own."""

import io
import random
import re
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from coldcred import framing
from coldcred.acts import Act
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.errors import LogReason, LogRejected
from coldcred.framing import FramedFile
from coldcred.log import entry as entries
from coldcred.log.blobs import Blobs
from coldcred.log.chain import verify_chain
from coldcred.log.export import Anchor, Report, find_checkpoint, verify
from coldcred.log.history import History
from coldcred.log.note import VerifierKey
from coldcred.log.tree import Frontier
from tests.support import independent_verifier as independent
from tests.support import plant
from tests.support.logrules import site_args
from tests.support.logworld import ORIGIN, LogWorld, about, appliance_key, blob_lines, note_over, vkey, write_export
from tests.support.signers import Signer

FLIPS, CUTS = 2_000, 1_000


@pytest.fixture(scope="module")
def logged() -> LogWorld:
    """Return a log with one of everything, exported."""
    return LogWorld.begin().start().day().exported()


@pytest.fixture(scope="module")
def export(logged: LogWorld) -> bytes:
    """Return its export."""
    return logged.export()


def read(data: bytes, anchor: Anchor | None = None, kept: Mapping[str, bytes] | None = None) -> Report:
    """Verify an export, under the log's real key unless told."""
    return verify(io.BytesIO(data), anchor or Anchor(vkey()), (kept or {}).items())


def refused(data: bytes, anchor: Anchor | None = None, *kept: bytes) -> tuple[LogReason, int | None] | None:
    """Give reason and entry of the refusal; None when the export is intact."""
    try:
        read(data, anchor, {f"kept {number}": note for number, note in enumerate(kept)})
    except LogRejected as error:
        return error.reason, error.seq
    return None


def refused_elsewhere(data: bytes) -> bool:
    """Whether the independent verifier refuses an export."""
    try:
        independent.check(data, vkey().format())
    except independent.Bad:
        return True
    return False


# --- what is believed


def test_an_intact_export_says_what_it_holds(logged: LogWorld, export: bytes) -> None:
    """The report has the appliance, the tree, the span of time, the keys, and who founded it."""
    report = read(export)
    assert (report.appliance, report.name) == (logged.founded.appliance_id, "plant-a")
    assert (report.entries, report.root) == (len(logged.bodies), logged.frontier.root().hex())
    assert (report.first_time, report.last_time) == (plant.TIME + 3601, logged.time)
    assert {key.name: key.public for key in report.keys} == {
        plan.name: appliance_key(plan.charter.purpose).public for plan in logged.founded.keys
    }
    assert report.anchored
    assert not report.single_operator
    assert (report.log_key, report.kept, report.newer) == (vkey().format(), (), None)
    assert not refused_elsewhere(export)


def test_without_an_anchor_the_signer_is_unknown(export: bytes) -> None:
    """An export that agrees with itself is reported as not anchored; anybody could have made it."""
    assert not verify(io.BytesIO(export)).anchored
    theirs = LogWorld.begin(owner="mallory").start().exported()
    assert not verify(io.BytesIO(theirs.export())).anchored
    assert refused(theirs.export()) == (LogReason.UNKNOWN_SIGNER, None)


def test_the_anchor_names_the_appliance(logged: LogWorld, export: bytes) -> None:
    """A trust store knows whose log its key signs, so the same key cannot vouch for other founders."""
    appliance = logged.founded.appliance_id
    assert read(export, Anchor(vkey(), appliance)).appliance == appliance
    assert refused(export, Anchor(vkey(), "0" * 64)) == (LogReason.UNKNOWN_SIGNER, None)
    theirs = LogWorld.begin(plant.members(plant.ALONE)).start().exported().export()
    assert refused(theirs) is None
    assert refused(theirs, Anchor(vkey(), appliance)) == (LogReason.UNKNOWN_SIGNER, None)


def test_the_anchors_own_checkpoint_counts_where_it_lies_inside(logged: LogWorld, export: bytes) -> None:
    """What a trust store knows of the log is held to it; where the store is newer than the export, that is said."""
    assert read(export, Anchor(vkey(), None, logged.note(20))).kept == (20,)
    whole = read(export, Anchor(vkey(), None, logged.note()))
    assert (whole.kept, whole.newer) == ((len(logged.bodies),), None)
    later = logged.copy().checkpoint().settle()
    assert read(export, Anchor(vkey(), None, later.note())).newer == len(logged.bodies) + 2
    other = note_over([b"\0" * 32] * 20, appliance_key("log"))
    assert refused(export, Anchor(vkey(), None, other)) == (LogReason.WRONG_ROOT, None)
    unsigned = note_over([b"\0" * 32] * 20, Signer.named("mallory", appliance_key("log").public.algorithm))
    assert refused(export, Anchor(vkey(), None, unsigned)) == (LogReason.UNKNOWN_SIGNER, None)


def test_a_second_verifier_needs_nothing_of_ours(export: bytes, tmp_path: Path) -> None:
    """An auditor's own program of under 300 lines, copied elsewhere, comes to the same verdict (L7)."""
    source = Path(independent.__file__)
    copied = shutil.copy(source, tmp_path / "verifier.py")
    assert len(source.read_text().splitlines()) < 300
    assert not re.search(r"^\s*(import|from) (coldcred|appliance|hsm|tests)", source.read_text(), re.MULTILINE)
    for data, verdict in ((export, "intact\n"), (export[:-1], "not intact: 'founding.json'\n")):
        (tmp_path / "log.export").write_bytes(data)
        command = [sys.executable, "-I", copied, tmp_path / "log.export", vkey().format()]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (run.stdout, run.stderr) == (verdict, "")


# --- checkpoints kept outside


def test_a_log_has_grown_from_every_checkpoint_that_was_kept(logged: LogWorld, export: bytes) -> None:
    """Each kept checkpoint is a prefix of the log, the empty one and the whole one too."""
    kept = {f"kept-{size}": logged.note(size) for size in (1, 7, 20, len(logged.bodies))}
    assert read(export, None, kept).kept == (1, 7, 20, len(logged.bodies))
    assert read(export, None, {"empty": note_over([], appliance_key("log"))}).kept == (0,)


def test_history_cannot_be_rewritten_under_a_kept_checkpoint(logged: LogWorld) -> None:
    """Another history, signed by the log's own key, is refused by the sizes at which it parts from what was kept."""
    other = LogWorld.begin().start()
    for _ in range(20):
        other.append({"type": "stopped"})
    kept = {"same": logged.note(11), "before": logged.note(20)}
    with pytest.raises(LogRejected, match="before covers 20 entries, and the first 20 here are not those") as found:
        read(other.exported().export(), None, kept)
    assert found.value.reason is LogReason.WRONG_ROOT


def test_a_log_that_was_rolled_back_is_found_by_a_kept_checkpoint(logged: LogWorld) -> None:
    """An older export is whole in itself; only what was kept since tells that entries are gone."""
    older = LogWorld.begin().start()
    size = older.head.size
    older.exported()
    assert refused(older.export()) is None
    assert refused(older.export(), None, logged.note(size)) is None
    with pytest.raises(LogRejected, match=rf"later covers {len(logged.bodies)} entries, this log has only {size + 1}"):
        read(older.export(), None, {"later": logged.note()})


def test_a_kept_checkpoint_counts_only_under_the_log_key(logged: LogWorld, export: bytes) -> None:
    """A note by another key, of another log, or that is none, proves nothing and is not passed over."""
    stranger = Signer.named("mallory", appliance_key("log").public.algorithm)
    assert refused(export, None, logged.note(20, key=stranger)) == (LogReason.UNKNOWN_SIGNER, None)
    assert refused(export, None, b"not a note") == (LogReason.BAD_CHECKPOINT, None)
    flipped = logged.note(20).replace(b"\n20\n", b"\n21\n")
    assert refused(export, None, flipped) == (LogReason.BAD_CHECKPOINT, None)


def test_a_kept_checkpoint_may_come_inside_an_export_or_a_bundle(logged: LogWorld, export: bytes) -> None:
    """The note is found in whatever file it was kept in."""
    note = logged.note(20)
    bundle = framing.write(framing.BUNDLE, {"targets/log/checkpoint": note})
    assert find_checkpoint(io.BytesIO(note)) == find_checkpoint(io.BytesIO(bundle)) == note
    assert find_checkpoint(io.BytesIO(export)) == logged.note()
    for data in (b"", b"x" * (1024 * 1024), b"coldcred-export 2\n"):
        assert refused(export, None, find_checkpoint(io.BytesIO(data))) == (LogReason.BAD_CHECKPOINT, None)


# --- what stands beside the entries


def _about(logged: LogWorld) -> dict[str, Json]:
    return {"v": 1, "appliance": logged.founded.appliance_id, "size": len(logged.bodies), "vkey": vkey().format()}


def _other(logged: LogWorld) -> dict[str, bytes]:
    """Give bodies that do not belong in this export, each well-formed in itself."""
    size, key = len(logged.bodies), vkey()
    stranger = Signer.named("mallory", appliance_key("log").public.algorithm)
    return {
        "about of another appliance": about("0" * 64, size, key),
        "about of another size": about(logged.founded.appliance_id, size - 1, key),
        "about of another log key": about(logged.founded.appliance_id, size, VerifierKey(ORIGIN, stranger.public)),
        "about of a later version": dumps({"v": 2, "appliance": "0" * 64, "size": 1, "vkey": key.format()}),
        "about with more": dumps({**_about(logged), "note": ""}),
        "about without its size": dumps({"v": 1, "appliance": logged.founded.appliance_id, "vkey": key.format()}),
        "about that is not canonical": logged.files()["about.json"] + b" ",
        "founding of another appliance": dumps(plant.members()),
        "founding that is none": b"{}",
        "checkpoint over fewer": logged.note(size - 1),
        "checkpoint by a stranger": logged.note(key=stranger),
        "checkpoint that is none": b"",
        "blobs of nobody": b"",
        "blobs out of order": b"".join(reversed(logged.files()["blobs.jsonl"].splitlines(keepends=True))),
        "blobs twice": b"".join(line * 2 for line in logged.files()["blobs.jsonl"].splitlines(keepends=True)),
        "blobs with a space": logged.files()["blobs.jsonl"].replace(b'":"', b'": "', 1),
        "blobs that are not base64url": logged.files()["blobs.jsonl"].replace(b'":"', b'":"*', 1),
        "blobs with an escape": logged.files()["blobs.jsonl"].replace(b'":"', b'":"\\u0041', 1),
        "blobs under another name": logged.files()["blobs.jsonl"].replace(b'{"body', b'{"bodY', 1),
        "blobs with another end": logged.files()["blobs.jsonl"].replace(b'"}\n', b'"]\n', 1),
        "blobs with half a line": blob_lines([*logged.blobs.values(), b""]).replace(b'{"body":""}', b'{"body":"}'),
        "blobs that are not ASCII": logged.files()["blobs.jsonl"].replace(b'":"', b'":"\xff', 1),
        "entries of nobody": b"",
        "entries without the last line's end": logged.files()["entries.jsonl"][:-1],
        "entries with an empty line": logged.files()["entries.jsonl"] + b"\n",
    }


@pytest.mark.parametrize("case", list(_other(LogWorld.begin().start())))
def test_a_body_that_does_not_belong_is_refused(case: str, logged: LogWorld) -> None:
    """Every body is held to the others, even when all digests of the file are right."""
    data = logged.export(**{case.partition(" ")[0]: _other(logged)[case]})
    assert refused(data) is not None
    if case != "founding that is none":
        reason = refused(data)
        assert reason is not None
        assert reason[0] in set(LogReason)


def test_the_bodies_of_an_export_are_a_closed_list(logged: LogWorld) -> None:
    """A file with one body more, one less, or of another kind is no export."""
    files = logged.files()
    less = {name: body for name, body in files.items() if name != "blobs.jsonl"}
    for data in (
        framing.write(framing.EXPORT, {**files, "note.txt": b"trust me"}),
        framing.write(framing.EXPORT, less),
        framing.write(framing.BUNDLE, files),
        b"",
        b"coldcred-export 1\n",
    ):
        assert refused(data) == (LogReason.MALFORMED, None)


def test_a_key_of_its_own_making_does_not_pass_for_the_logs(logged: LogWorld) -> None:
    """An export that names and uses a log key which its own entries never made does not even agree with itself."""
    mallory = Signer.named("mallory", appliance_key("log").public.algorithm)
    key = VerifierKey(ORIGIN, mallory.public)
    data = logged.export(
        about=about(logged.founded.appliance_id, len(logged.bodies), key), checkpoint=logged.note(key=mallory)
    )
    with pytest.raises(LogRejected) as found:
        verify(io.BytesIO(data))
    assert found.value.reason is LogReason.WRONG_KEY
    assert refused(data, Anchor(key)) == (LogReason.WRONG_KEY, None)


@pytest.mark.parametrize("added", [b"", b"\0" * 100, b"This was never signed by anybody. " * 1000])
def test_a_blob_that_no_entry_names_is_nobody_s(logged: LogWorld, added: bytes) -> None:
    """What somebody put into an export on the way makes it not intact, though nothing else was changed (L20)."""
    more = blob_lines([*logged.blobs.values(), added])
    assert refused(logged.export(blobs=more)) == (LogReason.MALFORMED, None)


def test_two_blobs_whose_digests_begin_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch, export: bytes) -> None:
    """Only the beginning of a digest is kept, so lookups compare the whole: with one byte kept nothing changes."""
    monkeypatch.setattr("coldcred.log.blobs._PREFIX", 1)
    assert refused(export) is None


# --- damage


@pytest.fixture(scope="module")
def small() -> LogWorld:
    """Return a short log, for what is done a thousand times."""
    world = LogWorld.begin().start()
    asked, members = site_args()
    asking = world.agreed(world.command("alice", Act.SITE_ADD, asked))
    world.asked("site.added", asking, members, {"site": "line-9"})
    world.issue()
    return world.settle().exported()


def _flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def _flip(export: bytes, seed: int) -> None:
    places = random.Random(seed)
    place, bit = places.randrange(len(export)), places.randrange(8)
    changed = _flipped(export, place, bit)
    assert refused(changed) is not None, f"bit {bit} of byte {place}"
    assert refused_elsewhere(changed), f"bit {bit} of byte {place}"


def test_any_flipped_bit_is_refused(small: LogWorld) -> None:
    """2,000 random single bits: each is found, by both verifiers, and none ends in anything but a refusal."""
    export = small.export()
    for seed in range(FLIPS):
        _flip(export, seed)


@pytest.mark.soak
def test_any_of_many_flipped_bits_is_refused(export: bytes) -> None:
    """10,000 random single bits more."""
    for seed in range(FLIPS, FLIPS + 10_000):
        _flip(export, seed)


def test_a_flipped_bit_of_an_entry_is_located(small: LogWorld) -> None:
    """1,000 random bits of entries, of the last one and of line ends too: the entry is named each time."""
    export = small.export()
    start = export.index(b"".join(body + b"\n" for body in small.bodies))
    bounds = [start]
    for body in small.bodies:
        bounds.append(bounds[-1] + len(body) + 1)
    places = random.Random(1)
    for number in range(1_000):
        seq = len(small.bodies) - 1 if number % 20 == 0 else places.randrange(len(small.bodies))
        place = bounds[seq + 1] - 1 if number % 50 == 0 else places.randrange(bounds[seq], bounds[seq + 1])
        found = refused(_flipped(export, place, places.randrange(8)))
        assert found is not None
        assert found[1] == seq, f"byte {place}: {found}"


def _with_time(body: bytes) -> bytes:
    """Give an entry's bytes a second later, with everything else as it was."""
    old = entries.parse(body)
    return body.replace(f'"time":{old.time}'.encode(), f'"time":{old.time + 1}'.encode())


def test_the_end_of_a_log_is_located_too(small: LogWorld) -> None:
    """No second link binds the last entries, so the root has to tell which end of the last link was changed."""
    world = small.copy()
    world.append({"type": "stopped"})
    world.append({"type": "stopped"})
    export, size = world.export(), len(world.bodies)
    one, last = world.bodies[-2:]
    prev = entries.parse(last).prev.hex().encode()
    other = prev.replace(prev[:1], b"1" if prev[:1] == b"0" else b"0")
    assert refused(export.replace(one, _with_time(one))) == (LogReason.BROKEN_CHAIN, size - 2)
    assert refused(export.replace(last, last.replace(prev, other))) == (LogReason.BROKEN_CHAIN, size - 1)
    assert refused(export.replace(last, _with_time(last))) == (LogReason.MALFORMED, size - 1)
    assert refused(export.replace(last + b"\n", last + b" ")) == (LogReason.MALFORMED, size - 1)
    digest = sha256_hex(world.files()["entries.jsonl"]).encode()
    assert refused(export.replace(digest, digest[::-1])) == (LogReason.MALFORMED, None)


def test_entries_beyond_the_checkpoint_are_refused(small: LogWorld) -> None:
    """What the log key did not sign is no part of the log, however well it is chained."""
    longer = small.copy()
    longer.append({"type": "stopped"})
    lines = b"".join(body + b"\n" for body in longer.bodies)
    assert refused(small.export(entries=lines)) == (LogReason.WRONG_ROOT, len(small.bodies))
    noise = small.files()["entries.jsonl"] + b"{}\n"
    assert refused(small.export(entries=noise)) == (LogReason.MALFORMED, len(small.bodies))


def test_a_cut_file_is_refused(export: bytes) -> None:
    """Cut at any of 1,000 random places, the file is refused before anything of it is believed (L13)."""
    places = random.Random(2)
    for _ in range(CUTS):
        cut = export[: places.randrange(len(export))]
        assert refused(cut) == (LogReason.MALFORMED, None)
        assert refused_elsewhere(cut)
    assert refused(export + b"\n") == (LogReason.MALFORMED, None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda places: bytes(places.randrange(256) for _ in range(places.randrange(400))),
        lambda places: b"coldcred-export 1\n" + bytes(places.randrange(256) for _ in range(places.randrange(400))),
        lambda places: b"coldcred-export 1\n" + b"[" * places.randrange(400) + b"\n",
    ],
    ids=["noise", "noise after the magic", "brackets"],
)
def test_noise_is_refused(spoil: Callable[[random.Random], bytes]) -> None:
    """Nothing but a refusal comes of bytes that were never an export."""
    places = random.Random(3)
    for _ in range(300):
        assert refused(spoil(places)) == (LogReason.MALFORMED, None)


@pytest.mark.parametrize("name", ["about", "blobs", "checkpoint", "entries", "founding"])
def test_noise_in_a_body_is_refused(name: str, logged: LogWorld) -> None:
    """Random bytes written over a body, with every digest of the file made right again."""
    places, files = random.Random(name), logged.files()
    body = next(body for file, body in files.items() if file.startswith(name))
    for _ in range(60):
        place, length = places.randrange(len(body)), places.randrange(1, 9)
        noise = bytes(places.randrange(256) for _ in range(length))
        changed = body[:place] + noise + body[place + length :]
        if changed != body:
            assert refused(write_export(files, **{name: changed})) is not None


# --- size


def test_memory_does_not_grow_with_what_is_stored() -> None:
    """An export of 24 MiB of attachments is verified in a third of that."""
    world = LogWorld.begin().start()
    places = random.Random(4)
    files: Json = {f"targets/{number}": world.keep(places.randbytes(1024 * 1024)) for number in range(24)}
    asking = world.command("alice", Act.TRUST_SUBMIT, {"files": files})
    versions: dict[str, Json] = {"root_version": 1, "targets_version": 1}
    world.asked("trust.submitted", asking, {"files": files, "windows": [{}], "end": 1, **versions}, versions)
    stream = io.BytesIO(world.exported().export())
    tracemalloc.start()
    try:
        report = verify(stream, Anchor(vkey()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.counts["trust.submitted"] == 1
    assert peak < 8 * 1024 * 1024


def test_what_a_command_leaves_behind_is_forgotten_with_it() -> None:
    """Memory follows the commands of fourteen days, not the length of the log."""
    world = LogWorld.begin().start()
    for _ in range(30):
        world.time += plant.DAY
        world.wait(world.command("alice", Act.SITE_ADD, {}))
        world.issue()
        world.settle()
    stream = io.BytesIO(world.export())
    history = History(world.founded, Blobs(FramedFile(stream, framing.EXPORT), stream, "blobs.jsonl"))
    frontier = Frontier()
    for entry in verify_chain(world.bodies):
        history.take(entry, frontier)
        frontier = frontier.append(entry.leaf)
    people = history._people
    assert len(people._requests) + len(people._ended) + len(people._ends) <= 4
