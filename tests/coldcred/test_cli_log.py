"""`coldcred log verify`: exit codes, the JSON verdict, what is said to people, and nothing raw from a log."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coldcred.__main__ import main
from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.cli.log import LOG_ADVICE
from coldcred.cli.speech import clean
from coldcred.errors import LogReason
from tests.support import plant
from tests.support.logworld import ORIGIN, LogWorld, vkey
from tests.support.world import World

MEMBERS = [
    "verdict", "reason", "seq", "detail", "appliance", "name", "single_operator", "log_key", "entries", "root",
    "first_time", "last_time", "counts", "outcomes", "open_intents", "keys", "kept", "newer",
]  # fmt: skip
UNSAFE = re.compile(r"[^\n -~]")
KEY = ("--log-key", vkey().format())


@dataclass(frozen=True)
class Said:
    """What a run said: its exit code, its data and its talk."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """Return the JSON on standard output, which has exactly the public members."""
        report: dict[str, Any] = json.loads(self.out)
        assert list(report) == MEMBERS
        return report


class Verifier:
    """Runs `coldcred log verify` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Said:
        """Run it and see that it says nothing unsafe, whatever it was given."""
        try:
            code = main(["log", "verify", *map(str, arguments)])
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        said = self._capsys.readouterr()
        assert "Traceback" not in said.err
        assert not UNSAFE.search(said.out + said.err)
        return Said(code, said.out, said.err)


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Verifier:
    """Return the command."""
    return Verifier(capsys)


@pytest.fixture(scope="module")
def logged() -> LogWorld:
    """Return a log with one of everything, exported."""
    return LogWorld.begin().start().day().exported()


@pytest.fixture
def export(logged: LogWorld, tmp_path: Path) -> Path:
    """Return the file of its export."""
    return written(tmp_path / "log.export", logged.export())


def written(path: Path, data: bytes) -> Path:
    """Write a file."""
    path.write_bytes(data)
    return path


def store(world: World, logged: LogWorld, path: Path, *, appliance: str = "", note: bytes | None = None) -> Path:
    """Make a trust store that knows this log and its checkpoint over 20 entries, unless told."""
    appliance = appliance or logged.founded.appliance_id
    identity = world.identity(appliance=appliance, log_origin=ORIGIN, log_vkey=vkey().format())
    times = world.times(appliance=appliance)
    documents = world.trust_documents(identity=identity)
    return world.site(path, world.bundle(trust=documents, times=times, checkpoint=note or logged.note(20)))


# --- verdicts


def test_intact_under_a_key_from_outside(verify: Verifier, export: Path, logged: LogWorld) -> None:
    """Exit 0: what it is, how much, from when to when, its root, its keys and how often each thing happened."""
    said = verify(export, *KEY)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"intact: {len(logged.bodies)} entries of appliance plant-a\n")
    for text in (logged.founded.appliance_id, logged.frontier.root().hex(), "2026-", " 2  credential.issued", "log-1"):
        assert text in said.out
    assert "SINGLE OPERATOR" not in said.out


def test_intact_as_json(verify: Verifier, export: Path, logged: LogWorld) -> None:
    """The same as one JSON document, with times in RFC 3339."""
    said = verify(export, *KEY, "--json")
    report = said.report
    assert (said.code, report["verdict"], report["reason"], report["seq"]) == (0, "intact", None, None)
    assert (report["entries"], report["root"]) == (len(logged.bodies), logged.frontier.root().hex())
    assert report["counts"]["bundle.created"] == 1
    assert report["last_time"].endswith("Z")
    assert {key["purpose"] for key in report["keys"]} == {"tokens", "status", "log", "bundle"}
    assert (report["single_operator"], report["kept"], report["newer"]) == (False, [], None)


def test_signer_unknown(verify: Verifier, export: Path) -> None:
    """Without anything from outside a log can only agree with itself: exit 1 and the verdict of its own."""
    said = verify(export)
    assert said.code == 1
    assert said.out.startswith("self-consistent, signer unknown: ")
    assert "--trust" in said.err
    report = verify(export, "--json").report
    assert (report["verdict"], report["reason"]) == ("signer-unknown", "unknown-signer")
    assert report["entries"] > 40


def test_not_intact(verify: Verifier, logged: LogWorld, tmp_path: Path) -> None:
    """Exit 1: the reason, the first bad entry and what to do; nothing on standard output but the JSON."""
    bodies = [*logged.bodies]
    del bodies[30]
    bad = written(tmp_path / "bad.export", logged.export(entries=b"".join(body + b"\n" for body in bodies)))
    said = verify(bad, *KEY)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("coldcred: not intact (wrong-sequence at entry 30): ")
    assert LOG_ADVICE[LogReason.WRONG_SEQUENCE] in said.err
    report = verify(bad, *KEY, "--json").report
    assert (report["verdict"], report["reason"], report["seq"]) == ("not-intact", "wrong-sequence", 30)
    assert report["entries"] is None
    assert verify(bad).code == 1


def test_a_key_that_did_not_sign(verify: Verifier, export: Path) -> None:
    """A key from outside that did not sign this log: not intact, for that reason."""
    report = verify(export, "--log-key", vkey("mallory").format(), "--json").report
    assert (report["verdict"], report["reason"], report["seq"]) == ("not-intact", "unknown-signer", None)


def test_every_reason_has_its_advice() -> None:
    """Whatever a log is refused for, somebody is told what to do."""
    assert set(LOG_ADVICE) == set(LogReason)


def test_one_founder_is_named_in_capitals(verify: Verifier, tmp_path: Path) -> None:
    """A log of a home founded by one person says so, on screen and as JSON."""
    alone = LogWorld.begin(plant.members(plant.ALONE)).start().exported()
    path = written(tmp_path / "alone.export", alone.export())
    assert "SINGLE OPERATOR" in verify(path, *KEY).out
    assert verify(path, *KEY, "--json").report["single_operator"] is True


# --- trust stores


def test_a_trust_store_knows_the_log(
    verify: Verifier, export: Path, world: World, logged: LogWorld, tmp_path: Path
) -> None:
    """A site's trust store gives the key, the appliance and a checkpoint, which the log has grown from."""
    trust = store(world, logged, tmp_path / "trust")
    said = verify(export, "--trust", trust)
    assert (said.code, said.err) == (0, "")
    assert "grown from the checkpoint over 20 entries" in said.out
    assert verify(export, "--trust", trust, "--json").report["kept"] == [20]


def test_a_trust_store_of_another_appliance(
    verify: Verifier, export: Path, world: World, logged: LogWorld, tmp_path: Path
) -> None:
    """The same log key under another founding is not believed."""
    trust = store(world, logged, tmp_path / "trust", appliance="0" * 64)
    assert verify(export, "--trust", trust, "--json").report["reason"] == "unknown-signer"


def test_a_trust_store_that_saw_another_history(
    verify: Verifier, export: Path, world: World, logged: LogWorld, tmp_path: Path
) -> None:
    """What the appliance once gave to a site, it can no longer deny."""
    other = LogWorld.begin().start()
    for _ in range(10):
        other.append({"type": "stopped"})
    trust = store(world, logged, tmp_path / "trust", note=other.note(20))
    said = verify(export, "--trust", trust)
    assert said.code == 1
    assert "the trust store's checkpoint covers 20 entries" in said.err


def test_a_trust_store_that_is_newer(
    verify: Verifier, world: World, logged: LogWorld, export: Path, tmp_path: Path
) -> None:
    """An older export is what it is: intact, and said to be older than what the trust store knows."""
    later = logged.copy().checkpoint().settle()
    trust = store(world, logged, tmp_path / "trust", note=later.note())
    said = verify(export, "--trust", trust)
    assert said.code == 0
    assert "this is an older export" in said.err
    assert verify(export, "--trust", trust, "--json").report["newer"] == len(later.bodies)


def test_no_trust_no_signer(verify: Verifier, export: Path, tmp_path: Path) -> None:
    """A trust store that is missing or damaged vouches for nobody."""
    said = verify(export, "--trust", tmp_path / "nowhere")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("coldcred: signer unknown (trust-missing): ")
    report = verify(export, "--trust", tmp_path / "nowhere", "--json").report
    assert (report["verdict"], report["reason"], report["entries"]) == ("signer-unknown", "trust-missing", None)


# --- kept checkpoints


def test_kept_checkpoints(verify: Verifier, export: Path, logged: LogWorld, world: World, tmp_path: Path) -> None:
    """A checkpoint may be kept as a note, in an older export or in a bundle; all are held to the log."""
    note = written(tmp_path / "note", logged.note(10))
    older = written(tmp_path / "older.export", LogWorld.begin().start().export())
    appliance = logged.founded.appliance_id
    identity = world.identity(appliance=appliance, log_origin=ORIGIN, log_vkey=vkey().format())
    bundle = world.bundle(
        trust=world.trust_documents(identity=identity),
        times=world.times(appliance=appliance),
        checkpoint=logged.note(30),
    )
    kept = [note, older, written(tmp_path / "site.bundle", bundle)]
    options = [word for path in kept for word in ("--checkpoint", path)]
    assert verify(export, *KEY, *options, "--json").report["kept"] == [10, 15, 30]


def test_a_rolled_back_log(verify: Verifier, export: Path, logged: LogWorld, tmp_path: Path) -> None:
    """An older export, put in the place of a newer one, is found by what was kept since."""
    older = written(tmp_path / "older.export", LogWorld.begin().start().exported().export())
    assert verify(older, *KEY).code == 0
    said = verify(older, *KEY, "--checkpoint", export)
    assert said.code == 1
    assert f"{export} covers {len(logged.bodies)} entries, this log has only 16" in said.err


def test_a_file_that_holds_no_checkpoint(verify: Verifier, export: Path, tmp_path: Path) -> None:
    """What is given as a checkpoint and is none is refused, not passed over."""
    for data in (b"", b"hello\n", b"coldcred-export 1\n", b"\x1b[31m" * 300_000):
        kept = written(tmp_path / "kept", data)
        assert verify(export, *KEY, "--checkpoint", kept, "--json").report["reason"] == "bad-checkpoint"


# --- misuse


def test_misuse(verify: Verifier, export: Path, tmp_path: Path) -> None:
    """Exit 2, a sentence and nothing on standard output: no file, two anchors, a key that is none."""
    pipe, other_end = os.pipe()
    os.close(other_end)
    cases: list[tuple[str | Path, ...]] = [
        (),
        (tmp_path / "nowhere",),
        (tmp_path,),
        (f"/dev/fd/{pipe}",),
        ("\0",),
        (export, "--log-key", "not a key"),
        (export, "--log-key", KEY[1], "--trust", tmp_path),
        (export, *KEY, "--checkpoint", tmp_path / "nowhere"),
        (export, *KEY, "--check", export),
    ]
    for arguments in cases:
        said = verify(*arguments)
        assert (said.code, said.out) == (2, ""), arguments
        assert said.err
    os.close(pipe)


def test_a_bundle_is_no_export(verify: Verifier, world: World, tmp_path: Path) -> None:
    """Another kind of our own files is named as what it is."""
    path = written(tmp_path / "site.bundle", world.bundle())
    said = verify(path, *KEY)
    assert said.code == 1
    assert "this is a coldcred bundle" in said.err


# --- what a log says cannot deceive


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J\x1b[1;31mintact",
        "\x1b]0;title\x07",
        "\u202etcatni",
        "\u2066a\u2069\u200b\ufeff",
        "line\nintact: 9 entries",
        "\r\x7f\x9b31m\x85",
        "\U000e0041\u2028\u2029",
    ],
    ids=["screen", "title", "right to left", "isolates", "newline", "controls", "tags"],
)
def test_no_text_of_a_log_reaches_the_terminal_raw(text: str, verify: Verifier, tmp_path: Path) -> None:
    """Every place a refusal quotes from, filled with text that would move a cursor: only printable ASCII comes out."""
    asked: dict[str, Json] = {"name": text, "audiences": [text]}

    def issue(world: LogWorld) -> None:
        world.issue(people=["alice", text])

    def refuse(world: LogWorld) -> None:
        asking = world.command("alice", Act.CREDENTIAL_ISSUE, {})
        world.asked("command.refused", asking, {"reason": text, "rule": text, "detail": text, text[:0] + "x": 1})

    def wait(world: LogWorld) -> None:
        asking = world.agreed(world.command("alice", Act.SITE_ADD, asked))
        world.asked("site.added", asking, {"site": {**asked}}, {"site": text})

    def order(world: LogWorld) -> None:
        world.order(text)

    def role(world: LogWorld) -> None:
        world.sign_role(world.begin_bundle(1), text)

    for number, break_with in enumerate((issue, refuse, wait, order, role)):
        world = LogWorld.begin().start()
        break_with(world)
        path = written(tmp_path / f"{number}.export", world.exported().export())
        said = verify(path, *KEY)
        assert said.code == 1
        assert verify(path, *KEY, "--json").code == 1
        assert break_with is not issue or clean(text)[:16] in said.err


def test_no_name_of_a_file_reaches_the_terminal_raw(verify: Verifier, tmp_path: Path, export: Path) -> None:
    """File names come from outside too."""
    path = tmp_path / "\x1b[31mred\u202e"
    assert verify(path, *KEY).code == 2
    assert verify(export, *KEY, "--checkpoint", written(path, b"")).code == 1
