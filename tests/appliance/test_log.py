"""The log on disk: what was acknowledged is there after any kill, and what was changed by hand is found."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance import database
from appliance.errors import HomeError, HomeFault
from appliance.log import Log
from coldcred.canonical import sha256, sha256_hex
from tests.support.entries import chain

ROOT = Path(__file__).parents[2]

WRITER = """
import sys
from pathlib import Path
sys.path.append(sys.argv[2])  # for tests.support; the appliance is the one that is installed
from appliance.log import Log
from tests.support.entries import chain
log = Log.open(Path(sys.argv[1]))
last = None
for last in log.load():
    pass
for _ in range(300):
    group = chain(3, last)
    log.append(group, {})
    last = group[-1]
    sys.stdout.write(f"{last.seq}\\n")
    sys.stdout.flush()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return an empty log."""
    path = tmp_path / "log.sqlite"
    database.create(path)
    return path


def test_what_was_appended_is_read_back_after_reopening(path: Path) -> None:
    """Entries come back verbatim, and head and frontier with them."""
    log = Log.open(path)
    entries = chain(70)
    log.append(entries[:30], {sha256_hex(b"x"): b"x"})
    log.append(entries[30:], {})
    head, frontier = log.head, log.frontier
    log.close()
    again = Log.open(path)
    assert [entry.body for entry in again.load()] == [entry.body for entry in entries]
    assert (again.head, again.frontier) == (head, frontier)
    assert again.blob(sha256_hex(b"x")) == b"x"
    again.close()


def test_append_compares_the_head(path: Path) -> None:
    """A writer whose idea of the end is not the file's writes nothing."""
    log = Log.open(path)
    entries = chain(4)
    log.append(entries[:2], {})
    log.head = type(log.head).of(entries[2])
    with pytest.raises(HomeError) as caught:
        log.append(entries[3:], {})
    assert caught.value.fault is HomeFault.LOG_DAMAGED
    assert len(list(log.bodies())) == 2
    log.close()


def test_a_failed_append_leaves_nothing(path: Path) -> None:
    """All of a group is stored, or none of it: entries, blobs and checkpoints."""
    log = Log.open(path)
    entries = chain(2)
    with pytest.raises(ValueError, match="digest"):
        log.append(entries, {sha256_hex(b"x"): b"other"}, [(1, b"note")])
    assert list(log.bodies()) == []
    assert list(log.blobs()) == []
    assert list(log.checkpoints()) == []
    log.append(entries, {})
    assert log.head.size == 2
    log.close()


def _edit(path: Path, sql: str, *arguments: object) -> None:
    """Edit the file as an attacker with the file would: without the triggers, which are put back afterwards."""
    connection = sqlite3.connect(path)
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(sql, arguments)
    for _, trigger in triggers:
        connection.execute(trigger)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("digest", [False, True])
@pytest.mark.parametrize("seq", [0, 5, 9, 10])
def test_an_edited_entry_is_found_and_named(path: Path, seq: int, digest: bool) -> None:  # noqa: FBT001 - a case
    """Loading names the entry that was edited, with its stored digest too unless it is the last.

    The last one, edited with its digest, only a checkpoint can show.
    """
    log = Log.open(path)
    log.append(chain(11), {})
    body = next(log.bodies(seq, 1))
    log.close()
    body = body.replace(b'"v":1', b'"v":1 ') if seq < 10 else body.replace(b'"time":', b'"time":1')
    _edit(path, "UPDATE entry SET body = ? WHERE seq = ?", body, seq)
    if digest:
        _edit(path, "UPDATE entry SET digest = ? WHERE seq = ?", sha256(body), seq)
    log = Log.open(path)
    if digest and seq == 10:
        assert len(list(log.load())) == 11
        log.close()
        return
    with pytest.raises(HomeError, match=f"entry {seq}") as caught:
        list(log.load())
    log.close()
    assert caught.value.fault is HomeFault.LOG_DAMAGED


def test_an_append_that_stored_nothing_is_no_append(path: Path) -> None:
    """Where the database silently drops an entry, the append fails, and the file is as it was."""
    log = Log.open(path)
    log.append(chain(2), {})
    trigger = "CREATE TRIGGER lose BEFORE INSERT ON entry BEGIN SELECT raise(IGNORE); END"
    log._store._database.execute(trigger)
    with pytest.raises(HomeError, match="does not end with entry 2") as caught:
        log.append(chain(3)[2:], {})
    assert caught.value.fault is HomeFault.LOG_DAMAGED
    assert len(list(log.bodies())) == 2
    log.close()


def test_a_deleted_entry_is_found(path: Path) -> None:
    """A gap is not read over."""
    log = Log.open(path)
    log.append(chain(11), {})
    log.close()
    _edit(path, "DELETE FROM entry WHERE seq = 4")
    log = Log.open(path)
    with pytest.raises(HomeError, match="entry 4"):
        list(log.load())
    log.close()


def test_an_altered_blob_is_found(path: Path) -> None:
    """A blob that is not what its digest says is not given out."""
    log = Log.open(path)
    log.append(chain(1), {sha256_hex(b"x"): b"x"})
    log.close()
    _edit(path, "UPDATE blob SET body = x'00'")
    log = Log.open(path)
    with pytest.raises(HomeError) as caught:
        log.blob(sha256_hex(b"x"))
    log.close()
    assert caught.value.fault is HomeFault.LOG_DAMAGED


def _acknowledged(output: bytes) -> int:
    """Give the newest entry that the writer said was durable; a cut last line does not count."""
    lines = output.split(b"\n")[:-1]
    return int(lines[-1]) if lines else -1


def _check(path: Path, acknowledged: int) -> None:
    log = Log.open(path)
    found = list(log.load())
    log.close()
    assert len(found) > acknowledged
    assert len(found) % 3 == 0, "a group was torn"


def _kill_at_random(path: Path, rounds: int) -> None:
    chance = random.Random(7)
    for _ in range(rounds):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(ROOT)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(chance.uniform(0, 0.05))
            writer.kill()
            rest = writer.stdout.read()
        assert first, "the writer was killed before it wrote anything"
        _check(path, _acknowledged(first + rest))


def _kill_at_syscall(path: Path, number: int) -> None:
    """Kill the writer at its `number`-th write or sync of any kind."""
    calls = "pwrite64,write,fdatasync,fsync,unlink,rename,ftruncate"
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"]
    inject = ["-e", f"inject={calls}:signal=SIGKILL:when={number}"]
    found = subprocess.run(
        [*strace, *inject, sys.executable, "-c", WRITER, str(path), str(ROOT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=300,
    )
    assert found.returncode == -signal.SIGKILL, "the writer was not killed"
    _check(path, _acknowledged(found.stdout))


def test_no_acknowledged_entry_is_lost_to_kills_at_random_points(path: Path) -> None:
    """After kill -9 while appending, each acknowledged group is there, whole, and no repair is needed."""
    _kill_at_random(path, 12)


def test_no_acknowledged_entry_is_lost_to_kills_at_counted_syscalls(path: Path) -> None:
    """After kill -9 at the n-th write or sync, as above, for n over the first appends."""
    for number in range(1, 40, 3):
        _kill_at_syscall(path, number)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_acknowledged_entry_is_lost_to_many_kills(path: Path) -> None:
    """The long form: 200 random points and 400 counted syscalls."""
    _kill_at_random(path, 200)
    for number in range(1, 401):
        _kill_at_syscall(path, number)


def test_every_append_syncs_before_it_returns(path: Path) -> None:
    """Between two acknowledgements there is always a sync, in 100 % of the trace."""
    trace = path.parent / "trace"
    subprocess.run(
        ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=write,fdatasync,fsync",
         sys.executable, "-c", WRITER, str(path), str(ROOT)],
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=300,
    )  # fmt: skip
    synced = False
    acknowledgements = 0
    for line in trace.read_text().splitlines():
        if "sync(" in line:
            synced = True
        elif "write(1," in line:
            assert synced, "an acknowledgement without a sync before it"
            synced, acknowledgements = False, acknowledgements + 1
    assert acknowledgements == 300
