"""An appliance whose log key is ECDSA P-256, from its founding to the site and the auditor, by the command lines."""

import shutil
from pathlib import Path

import pytest

from coldcred import framing
from coldcred.canonical import loads, sha256_hex
from coldcred.framing import EXPORT, FramedFile
from coldcred.keys import Algorithm
from coldcred.log.export import ABOUT, CHECKPOINT
from coldcred.log.note import VerifierKey, open_checkpoint, open_note, sign_note
from tests.support.commandline import COLDCRED, Ended, run
from tests.support.founded import AUDIENCE, EXAMPLE, SITE, WORKLOAD, Plant, begin, found, submit_trust
from tests.support.goreader import go_reader, read
from tests.support.shims import shim
from tests.support.signers import Signer
from tests.support.softhsm import SoftHsm

__all__ = ["go_reader"]


def coldcred(*arguments: str | Path) -> Ended:
    """Run `coldcred` and see that it succeeds."""
    ended = run([*COLDCRED, *arguments])
    assert ended.code == 0, ended
    return ended


def ecdsa_plan(folder: Path) -> Path:
    """Write the example's plan with an ECDSA log key, and give its file."""
    plan = (EXAMPLE / "plan.toml").read_text()
    assert plan.count('algorithm = "Ed25519"') == 1
    (folder / "plan.toml").write_text(plan.replace('algorithm = "Ed25519"', 'algorithm = "ES256"'))
    shutil.copy(EXAMPLE / "orders-reader.toml", folder)
    return folder / "plan.toml"


@pytest.fixture(scope="module")
def ecdsa(tmp_path_factory: pytest.TempPathFactory, softhsm_prepared: SoftHsm) -> Plant:
    """Return such an appliance after its first bundle; its token knows no EdDSA."""
    made = begin(tmp_path_factory.mktemp("ecdsa"), softhsm_prepared)
    ended = found(made, ecdsa_plan(made.folder), shim(made.folder, "NO_EDDSA"))
    assert ended.code == 0, ended
    with made.serving():
        submit_trust(made, ("alice", "bob"))
        made.done("bundle", "create", "--site", SITE, "--out", made.folder / "bundle", who="alice")
        request = made.folder / "enrol.jws"
        assert made.ctl("workload", "enrol", WORKLOAD, "--owner", "bob", "--request", request, who="alice").code == 3
        made.done("approve", request, who="bob")
        for number in (1, 2):
            made.done("log", "export", "--out", made.folder / f"export-{number}", who="carol")
            issued = made.issue("--out", made.folder / f"token-{number}")
            assert issued.code == 0, issued
        made.done("bundle", "create", "--site", SITE, "--out", made.folder / "bundle-2", who="alice")
        made.done("log", "export", "--out", made.folder / "export-3", who="carol")
    return made


def exported_key(export: Path) -> tuple[VerifierKey, bytes]:
    """Return the log key that an export names, and its checkpoint, which that key signed."""
    with export.open("rb") as file:
        framed = FramedFile(file, EXPORT)
        about = loads(framed.read(ABOUT, max_bytes=4096), max_bytes=4096)
        note = framed.read(CHECKPOINT, max_bytes=4096)
    assert isinstance(about, dict)
    key = VerifierKey.parse(str(about["vkey"]))
    open_checkpoint(note, key)
    return key, note


def test_what_it_writes_is_believed(ecdsa: Plant, tmp_path: Path) -> None:
    """A site applies both bundles and holds the key's checkpoint; the auditor finds the log intact under that trust."""
    trust, root = tmp_path / "trust", ecdsa.folder / "root.json"
    fingerprint = sha256_hex(root.read_bytes())
    coldcred("site", "init", trust, "--root", root, "--fingerprint", fingerprint, "--site", SITE)
    coldcred("bundle", "apply", ecdsa.folder / "bundle", "--trust", trust)
    coldcred("bundle", "apply", ecdsa.folder / "bundle-2", "--trust", trust)
    for number in (1, 2):
        coldcred("verify", "--trust", trust, "--audience", AUDIENCE, ecdsa.folder / f"token-{number}")
    key, _ = exported_key(ecdsa.folder / "export-3")
    assert key.key.algorithm is Algorithm.ES256
    for anchor in (("--trust", trust), ("--log-key", key.format())):
        assert coldcred("log", "verify", ecdsa.folder / "export-3", *anchor, "--json").json["verdict"] == "intact"


def test_it_starts_again_on_its_checkpoint(ecdsa: Plant, tmp_path: Path) -> None:
    """Its own newest checkpoint is read at the start, and its log verifies, served and stopped."""
    copy = ecdsa.copy_home(tmp_path / "home")
    assert copy.done("log", "verify", "--json").json["verdict"] == "intact"
    with copy.serving():
        assert copy.done("log", "verify", "--json", who="carol").json["verdict"] == "intact"


def test_another_key_or_a_changed_checkpoint_is_refused(ecdsa: Plant, tmp_path: Path) -> None:
    """A checkpoint that another key signed in the same form, and one whose signature is of another text."""
    export = ecdsa.folder / "export-3"
    key, note = exported_key(export)
    bodies = framing.read(export.read_bytes(), EXPORT)
    text = open_note(note, [key])
    stranger = Signer.named("stranger")
    other = VerifierKey(key.name, stranger.public)
    _, older = exported_key(ecdsa.folder / "export-1")
    forged = (
        (sign_note(text, (other, stranger.sign(text))), key),
        (text + older[older.index(b"\n\n") + 1 :], key),
        (note, other),
    )
    for checkpoint, anchor in forged:
        path = tmp_path / "export"
        path.write_bytes(framing.write(EXPORT, {**bodies, CHECKPOINT: checkpoint}))
        ended = run([*COLDCRED, "log", "verify", path, "--log-key", anchor.format()])
        assert ended.code == 1, ended
        assert "bad-checkpoint" in ended.err or "unknown-signer" in ended.err, ended


def test_a_token_without_eddsa_is_told_of_at_the_founding(tmp_path: Path, softhsm_prepared: SoftHsm) -> None:
    """With an Ed25519 log key the founding ends by the mechanism's name, and says that the log key may be ES256."""
    plant = begin(tmp_path, softhsm_prepared)
    ended = found(plant, EXAMPLE / "plan.toml", shim(tmp_path, "NO_EDDSA"))
    assert ended.code == 4, ended
    assert "(mechanism-missing)" in ended.err
    assert "CKM_EC_EDWARDS_KEY_PAIR_GEN" in ended.err
    assert "ES256" in ended.err.splitlines()[-1]


@pytest.mark.soak
@pytest.mark.modules
def test_go_reads_its_checkpoints(ecdsa: Plant, go_reader: Path) -> None:
    """Each checkpoint that it exported, under the verifier key that it names."""
    for number in (1, 2, 3):
        key, note = exported_key(ecdsa.folder / f"export-{number}")
        checkpoint = open_checkpoint(note, key)
        done = read(go_reader, key, key.name, note)
        assert (done.returncode, done.stdout.decode()) == (0, f"{checkpoint.size} {checkpoint.root.hex()}\n"), (
            done.stderr
        )
