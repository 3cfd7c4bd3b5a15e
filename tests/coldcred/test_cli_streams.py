"""`coldcred` with standard streams that are closed, full, broken or narrow: a true exit code and no traceback."""

import subprocess
from pathlib import Path

import pytest

from coldcred.canonical import sha256_hex
from tests.support.commandline import COLDCRED, ENVIRONMENT
from tests.support.world import World

MACHINE = ["--id", "spiffe://t.example/m"]
APPLIANCE = ["--appliance", "a" * 64]


def run(words: list[str | Path], how: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line with its streams as a shell gives them."""
    command = ["sh", "-c", f'exec "$@" {how}', "sh", *COLDCRED, *map(str, words)]
    return subprocess.run(
        command, env={**ENVIRONMENT, **variables}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("how", [">&-", "2>&-", "<&- >&- 2>&-", ""])
def test_a_store_is_made_whatever_is_closed(world: World, tmp_path: Path, how: str) -> None:
    """What was done is done, and its exit code says so."""
    root = tmp_path / "root.json"
    root.write_bytes(world.root())
    line: list[str | Path] = ["site", "init", tmp_path / "store", "--root", root, "--site", "line-1"]
    made = run([*line, "--fingerprint", sha256_hex(world.root())], how)
    assert (made.returncode, (tmp_path / "store" / "site.json").exists()) == (0, True), made


@pytest.mark.parametrize("how", ["> /dev/full", "| true"])
def test_what_was_done_and_could_not_be_told(world: World, tmp_path: Path, how: str) -> None:
    """It is said that it was done; nobody is told that nothing was changed."""
    root = tmp_path / "root.json"
    root.write_bytes(world.root())
    line: list[str | Path] = ["site", "init", tmp_path / "store", "--root", root, "--site", "line-1"]
    made = run([*line, "--fingerprint", sha256_hex(world.root())], how)
    assert made.returncode == (1 if "full" in how else 0)  # of a pipe the shell gives the code of its last part
    assert (tmp_path / "store" / "site.json").exists()
    assert "Nothing was changed" not in made.stderr
    assert "Traceback" not in made.stderr


def test_a_name_that_the_screen_cannot_show(world: World, tmp_path: Path) -> None:
    """A store whose name has letters that the output lacks is made and told, its name escaped."""
    root = tmp_path / "root.json"
    root.write_bytes(world.root())
    line: list[str | Path] = ["site", "init", tmp_path / "st\u00e6", "--root", root, "--site", "line-1"]
    made = run([*line, "--fingerprint", sha256_hex(world.root())], "", PYTHONIOENCODING="ascii")
    assert (made.returncode, (tmp_path / "st\u00e6" / "site.json").exists()) == (0, True), made


def test_a_credential_is_not_asked_for_where_nobody_could_take_it(tmp_path: Path) -> None:
    """With standard output closed `request` names --out, before it looks for the appliance."""
    key = tmp_path / "key.pem"
    enrolled = run(["enrol", *APPLIANCE, *MACHINE, "--key", key, "--out", tmp_path / "e.jws"], "")
    assert enrolled.returncode == 0, enrolled
    asks: list[str | Path] = ["request", "--key", key, *MACHINE, "--profile", "p"]
    asks += ["--audience", "https://a.example", "--socket", tmp_path / "none.sock", *APPLIANCE, "--epoch", "1"]
    ended = run(asks, ">&-")
    assert (ended.returncode, "--out FILE" in ended.stderr) == (2, True), ended


@pytest.mark.parametrize("given", [(), ("--request", "r.jws")])
def test_a_request_that_cannot_be_kept_is_not_sent(tmp_path: Path, given: tuple[str, ...]) -> None:
    """Only its file completes it: without one, nothing goes to the appliance, and nothing is left."""
    key = tmp_path / "key.pem"
    run(["enrol", *APPLIANCE, *MACHINE, "--key", key, "--out", tmp_path / "e.jws"], "")
    asks: list[str | Path] = ["request", "--key", key, *MACHINE, "--profile", "p", *given]
    asks += ["--audience", "https://a.example", "--socket", tmp_path / "none.sock", *APPLIANCE, "--epoch", "1"]
    command = ["sh", "-c", 'cd /proc && exec "$@"', "sh", *COLDCRED, *map(str, asks)]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    # A file that the line names is looked at before the verb begins; one that it does not, before anything is sent.
    why = "r.jws: " if given else "kept before it is sent"
    assert (ended.returncode, why in ended.stderr) == (2, True), ended
    here = run([*asks], "")
    assert (here.returncode, "no appliance answers" in here.stderr) == (2, True), here
    assert not [path for path in Path.cwd().iterdir() if path.name.startswith(("request-", "r.jws"))]


def test_nothing_is_read_from_what_is_closed(tmp_path: Path) -> None:
    """Standard input that is closed is misuse where it is to be read, and no traceback."""
    ended = run(["verify", "--trust", tmp_path, "--audience", "https://a.example", "-"], "<&-")
    assert (ended.returncode, "standard input is closed" in ended.stderr) == (2, True), ended
    assert "Traceback" not in ended.stderr
