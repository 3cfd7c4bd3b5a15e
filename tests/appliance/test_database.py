"""The database file: settings asserted, append-only whatever SQL is used, and never two of it."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import database
from appliance.errors import HomeError, HomeFault
from appliance.log import Log
from tests.support.entries import chain


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a log of three entries, closed."""
    path = tmp_path / "log.sqlite"
    database.create(path)
    log = Log.open(path)
    log.append(chain(3), {})
    log.close()
    return path


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT OR REPLACE INTO entry VALUES (1, x'00', x'00')",
        "INSERT INTO entry VALUES (7, x'00', x'00')",
        "REPLACE INTO entry VALUES (0, x'00', x'00')",
        "INSERT INTO entry VALUES (2, x'00', x'00') ON CONFLICT DO UPDATE SET body = x'00'",
        "UPDATE entry SET body = x'00' WHERE seq = 1",
        "UPDATE OR IGNORE entry SET seq = 9 WHERE seq = 2",
        "DELETE FROM entry WHERE seq = 2",
        "DELETE FROM entry",
    ],
)
def test_entries_cannot_be_rewritten(path: Path, sql: str) -> None:
    """No SQL statement changes, replaces, deletes or skips an entry, also with recursive triggers off."""
    connection = sqlite3.connect(path)
    before = connection.execute("SELECT * FROM entry").fetchall()
    connection.execute("PRAGMA recursive_triggers=OFF")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(sql)
    connection.rollback()
    assert connection.execute("SELECT * FROM entry").fetchall() == before
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT OR REPLACE INTO blob VALUES (x'01', x'ff')",
        "UPDATE blob SET body = x'ff'",
        "DELETE FROM blob",
    ],
)
def test_blobs_cannot_be_rewritten(path: Path, sql: str) -> None:
    """A blob stays what its digest says."""
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO blob VALUES (x'01', x'aa')")
    connection.commit()
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(sql)
    connection.rollback()
    assert connection.execute("SELECT body FROM blob").fetchall() == [(b"\xaa",)]
    connection.close()


def test_a_kept_checkpoint_cannot_be_replaced_or_followed_by_a_smaller_one(path: Path) -> None:
    """Checkpoints only grow."""
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO checkpoint VALUES (2, x'aa')")
    for sql in ("INSERT OR REPLACE INTO checkpoint VALUES (2, x'bb')", "INSERT INTO checkpoint VALUES (1, x'aa')"):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(sql)
    connection.rollback()
    connection.close()


def test_a_second_process_is_refused(path: Path) -> None:
    """While one process has the log open, another cannot even read it."""
    log = Log.open(path)
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM entry').fetchall()"
    command = [sys.executable, "-c", script, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    log.close()
    assert "locked" in found.stderr


def test_a_missing_log_is_not_created(tmp_path: Path) -> None:
    """A wrong path is refused, so that it cannot start a second history."""
    with pytest.raises(HomeError) as caught:
        Log.open(tmp_path / "log.sqlite")
    assert caught.value.fault is HomeFault.MISSING
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_overwritten(path: Path) -> None:
    """`create` refuses where a file stands."""
    with pytest.raises(FileExistsError):
        database.create(path)


@pytest.mark.parametrize(
    ("pragma", "fault"),
    [("user_version=2", HomeFault.VERSION), ("application_id=7", HomeFault.OTHER_HOME)],
)
def test_another_version_or_another_programs_file_is_refused(path: Path, pragma: str, fault: HomeFault) -> None:
    """The file must say that it is ours and of our version."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA {pragma}")
    connection.close()
    with pytest.raises(HomeError) as caught:
        Log.open(path)
    assert caught.value.fault is fault


def test_a_file_open_to_others_is_refused(path: Path) -> None:
    """The log is its owner's alone."""
    path.chmod(0o640)
    with pytest.raises(HomeError) as caught:
        Log.open(path)
    assert caught.value.fault is HomeFault.UNREADABLE


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    """A text file is told from a log."""
    path = tmp_path / "log.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    path.chmod(0o600)
    with pytest.raises(HomeError) as caught:
        Log.open(path)
    assert caught.value.fault is HomeFault.LOG_DAMAGED
