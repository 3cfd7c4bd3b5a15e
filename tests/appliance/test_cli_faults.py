"""Bad input at the front: each fault has an id, four lines for people, an exit code, and leaves things as they were."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.commandline import CTL, Ended, run
from tests.support.founded import Plant
from tests.support.softhsm import SoftHsm


@pytest.fixture
def copy(plant: Plant, tmp_path: Path) -> Plant:
    """Return a copy of the home that nothing serves."""
    return plant.copy_home(tmp_path / "home")


def settings(plant: Plant, old: str, new: str) -> None:
    """Change the home's settings."""
    path = plant.home / "settings.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def refused(ended: Ended, code: int, name: str) -> None:
    """See that a run ended with this code and id, with words in four lines, or five where there is a rule."""
    assert (ended.code, ended.json["error"], ended.json["exit"]) == (code, name, code), ended
    assert len(ended.err.splitlines()) == 4 + (ended.json["rule"] is not None)
    assert "Traceback" not in ended.err


def test_a_wrong_pin(copy: Plant) -> None:
    """A wrong PIN is exit 4, and issuing works with the right one afterwards."""
    refused(copy.ctl("issue", *_asked(), "--json", who="alice", pin="00000000"), 4, "pin-incorrect")
    refused(copy.ctl("serve", "--json", pin="00000000"), 4, "pin-incorrect")
    assert copy.issue().code == 0


def test_after_five_wrong_pins_the_right_one_waits(copy: Plant) -> None:
    """Across runs, since the log counts: exit 4 with the seconds that are left, and what needs no PIN goes on."""
    for _ in range(5):
        refused(copy.ctl("issue", *_asked(), "--json", who="alice", pin="00000000"), 4, "pin-incorrect")
    for verb in (["issue", *_asked(), "--json"], ["serve", "--json"]):
        ended = copy.ctl(*verb, who="alice")
        refused(ended, 4, "pin-delayed")
        assert 0 < int(ended.json["detail"].split()[-2]) <= 60
    entries = copy.done("log", "show", "--limit", "1000", "--json", who="carol").json
    told = [entry["event"] for entry in entries if entry["event"]["type"] == "pin.refused"]
    assert [(event["mode"], set(event)) for event in told] == [("descriptor", {"type", "token", "mode"})] * 5


def _asked() -> list[str]:
    return [
        "--profile",
        "orders-reader",
        "--workload",
        "spiffe://plant-a.example/line-1/robot-7",
        "--audience",
        "https://x",
    ]


def test_a_missing_token(copy: Plant, tmp_path: Path) -> None:
    """Where the token is not there, nothing is signed and it is said so."""
    empty = SoftHsm(tmp_path / "empty")
    empty.configure()
    settings(copy, str(copy.hsm), str(empty.folder))
    refused(copy.issue("--json"), 4, "token-missing")


def test_two_tokens_of_one_label(copy: Plant, softhsm_prepared: SoftHsm, tmp_path: Path) -> None:
    """Two tokens that answer to one name are an error, never the first of them."""
    both = SoftHsm(tmp_path / "both")
    both.configure()
    both.add_prepared(softhsm_prepared, "one")
    both.tool("initialise")
    settings(copy, str(copy.hsm), str(both.folder))
    refused(copy.issue("--json"), 4, "token-ambiguous")


def test_another_token_of_that_label(copy: Plant, softhsm_prepared: SoftHsm, tmp_path: Path) -> None:
    """A token without the keys that the log pins is refused."""
    other = SoftHsm(tmp_path / "other")
    other.configure()
    other.add_prepared(softhsm_prepared, "token-1")
    settings(copy, str(copy.hsm), str(other.folder))
    refused(copy.issue("--json"), 4, "key-missing")


def test_a_missing_module(copy: Plant) -> None:
    """A PKCS#11 library that is not there is exit 4."""
    settings(copy, "libsofthsm2.so", "libnothing.so")
    refused(copy.issue("--json"), 4, "module-missing")


def test_a_home_that_is_not_there(tmp_path: Path) -> None:
    """A home that does not exist is exit 5, and nothing is created in its place."""
    home = tmp_path / "nowhere"
    for verb in (["status"], ["serve"], ["log", "verify"]):
        refused(run([*CTL, "--home", home, *verb, "--json"], secrets={"--pin-fd": "0000"}), 5, "home-missing")
    assert not home.exists()


def test_a_home_of_another_version(copy: Plant) -> None:
    """A newer home is refused and left alone."""
    settings(copy, "version = 1", "version = 2")
    before = (copy.home / "log.sqlite").read_bytes()
    refused(copy.issue("--json"), 5, "home-version")
    assert (copy.home / "log.sqlite").read_bytes() == before


@pytest.mark.parametrize("new", ["colour = 1\nversion = 1", "version = 1\n[hsm", ""])
def test_settings_that_cannot_be_read(copy: Plant, new: str) -> None:
    """Unknown settings and damaged ones refuse the start."""
    settings(copy, "version = 1", new)
    ended = copy.issue("--json")
    assert ended.json["error"] in {"settings-invalid", "home-version"}
    assert ended.code == 5


def test_a_founding_of_another_appliance(copy: Plant, alone: Plant) -> None:
    """A founding that is not the one the log begins with is refused."""
    shutil.copy(alone.home / "founding.json", copy.home / "founding.json")
    refused(copy.ctl("log", "verify", "--json"), 5, "log-damaged")


def test_a_read_only_home(copy: Plant) -> None:
    """On a file system that cannot be written nothing starts."""
    mount = f"mount --bind {copy.home} {copy.home} && mount -o remount,ro,bind {copy.home}"
    verify = f"{' '.join(CTL)} --home {copy.home} log verify --json"
    refused(run(["unshare", "-rm", "sh", "-c", f"{mount} && {verify}"]), 5, "home-read-only")


def test_a_home_in_use(served: Plant) -> None:
    """What needs the home for itself hears that it is in use; everything else goes through the socket."""
    refused(served.ctl("log", "rebuild", "--json"), 5, "home-in-use")
    assert served.issue().code == 0


def test_a_wrong_passphrase(served: Plant) -> None:
    """A wrong passphrase is exit 1 before anything is sent."""
    refused(
        served.ctl("workload", "list", "--json", who="alice", passphrase="not the passphrase"),
        1,
        "identity-wrong-passphrase",
    )


def test_a_missing_key_file(served: Plant) -> None:
    """A key file that is not there is misuse."""
    refused(served.ctl("workload", "list", "--json", who="mallory"), 2, "identity-missing")


def test_a_key_file_that_others_read(served: Plant, tmp_path: Path) -> None:
    """A key file that others can read is refused."""
    people = tmp_path / "people"
    people.mkdir()
    shutil.copy(served.people / "alice.operator", people)
    (people / "alice.operator").chmod(0o644)
    ended = replace(served, folder=tmp_path).ctl("workload", "list", "--json", who="alice")
    refused(ended, 1, "identity-too-open")


def test_a_stranger(served: Plant, alone: Plant) -> None:
    """A good key that is not enrolled here reads nothing."""
    ended = replace(served, folder=alone.folder).ctl("workload", "list", "--json", who="alice")
    refused(ended, 1, "unknown-signer")


def test_a_folder_that_cannot_be_written(served: Plant, tmp_path: Path) -> None:
    """Where the token could not be written nothing is asked for, so nothing was issued."""
    before = served.done("status", "--json", who="carol").json["live_credentials"]
    refused(served.issue("--out", tmp_path / "nowhere" / "credential.jwt", "--json"), 5, "file")
    assert served.done("status", "--json", who="carol").json["live_credentials"] == before


def test_a_full_disk(copy: Plant) -> None:
    """On a disk without room nothing is done that cannot be logged, and the log stays whole."""
    small = copy.home.with_name("small")
    small.mkdir()
    words = f"--home {small}/home --as {copy.people}/carol.operator --passphrase-fd 3 workload list --json"
    lines = (
        f"mount -t tmpfs -o size=1m,mode=700 none {small}",
        f"cp -r {copy.home} {small}/home",
        f"{{ cat /dev/zero >{small}/filler || true; }} 2>{small}/error",
        f"{' '.join(CTL)} {words} 3<{copy.people}/carol.operator.passphrase || true",
        f"rm {small}/filler",
        f"{' '.join(CTL)} --home {small}/home log verify --json",
    )
    ended = run(["unshare", "-rm", "sh", "-c", " && ".join(lines)])
    full, verified = (json.loads(line) for line in ended.out.splitlines())
    assert (full["error"], full["exit"]) == ("disk-full", 5)
    assert verified["verdict"] == "intact"
    assert "Traceback" not in ended.err


def test_descriptors_that_carry_nothing(served: Plant) -> None:
    """A descriptor that is not open or holds nothing is named; nothing is asked of standard input."""
    key = ("--as", served.people / "alice.operator")
    closed = run([*CTL, "--home", served.home, *key, "--passphrase-fd", "77", "key", "list", "--json"])
    refused(closed, 2, "secret-descriptor")
    refused(served.ctl("key", "list", "--json", who="alice", passphrase=""), 1, "secret-empty")
    refused(served.ctl("key", "list", "--json", who="alice", passphrase="x" * 5000), 1, "secret-too-long")


def test_a_server_that_dies_under_a_client(plant: Plant, tmp_path: Path) -> None:
    """A killed server leaves a home that the next command opens without a hand."""
    copy = plant.copy_home(tmp_path / "home")
    with copy.serving() as server:
        assert copy.issue().code == 0
        os.kill(server.pid, 9)
        server.wait(120)
        assert copy.issue().code == 0
    assert copy.done("log", "verify", "--json").json["verdict"] == "intact"
