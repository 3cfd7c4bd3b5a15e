"""The one SQLite file: its schema, its settings, and the only connection there is.

Settings and why: write-ahead log with `synchronous=FULL`, so that a commit that returned is on the disk; exclusive
locking, so that no second connection can exist (SQLite before 3.51.3 can corrupt a write-ahead log that two
connections checkpoint at once); `secure_delete`; no memory mapping.
"""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self, cast

from sqlite_utils import Database

from appliance.errors import HomeError, HomeFault

APPLICATION_ID = 0x434F4C44
SCHEMA_VERSION = 1
PAGE = 256

_LOG_SCHEMA = """
CREATE TABLE entry (seq INTEGER PRIMARY KEY, digest BLOB NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE blob (sha256 BLOB PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, note BLOB NOT NULL) STRICT;

-- BEFORE INSERT holds even against INSERT OR REPLACE, which deletes without firing delete triggers.
CREATE TRIGGER entry_appends BEFORE INSERT ON entry
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq) + 1, 0) FROM entry)
    BEGIN SELECT raise(ABORT, 'the log only grows at its end'); END;
CREATE TRIGGER entry_stays BEFORE UPDATE ON entry BEGIN SELECT raise(ABORT, 'the log is append-only'); END;
CREATE TRIGGER entry_remains BEFORE DELETE ON entry BEGIN SELECT raise(ABORT, 'the log is append-only'); END;
CREATE TRIGGER blob_appends BEFORE INSERT ON blob
    WHEN EXISTS (SELECT 1 FROM blob WHERE sha256 = NEW.sha256 AND body IS NOT NEW.body)
    BEGIN SELECT raise(ABORT, 'a blob is what its digest says'); END;
CREATE TRIGGER blob_stays BEFORE UPDATE ON blob BEGIN SELECT raise(ABORT, 'blobs do not change'); END;
CREATE TRIGGER blob_remains BEFORE DELETE ON blob BEGIN SELECT raise(ABORT, 'blobs do not change'); END;
CREATE TRIGGER checkpoint_appends BEFORE INSERT ON checkpoint
    WHEN EXISTS (SELECT 1 FROM checkpoint WHERE size > NEW.size OR (size = NEW.size AND note IS NOT NEW.note))
    BEGIN SELECT raise(ABORT, 'checkpoints only grow'); END;
CREATE TRIGGER checkpoint_stays BEFORE UPDATE ON checkpoint BEGIN SELECT raise(ABORT, 'append-only'); END;
CREATE TRIGGER checkpoint_remains BEFORE DELETE ON checkpoint BEGIN SELECT raise(ABORT, 'append-only'); END;

"""

# For people and searches. No decision reads them.
_READING_SCHEMA = """
CREATE TABLE credential (
    jti TEXT PRIMARY KEY, seq INTEGER NOT NULL, workload TEXT NOT NULL, profile TEXT NOT NULL, audience TEXT NOT NULL,
    site TEXT NOT NULL, nbf INTEGER NOT NULL, exp INTEGER NOT NULL, list TEXT NOT NULL, idx INTEGER NOT NULL,
    kid TEXT NOT NULL, state TEXT NOT NULL
) STRICT;
CREATE INDEX credential_seq ON credential (seq);
CREATE INDEX credential_exp ON credential (exp);
CREATE TABLE request (
    command TEXT PRIMARY KEY, seq INTEGER NOT NULL, act TEXT NOT NULL, person TEXT NOT NULL, need INTEGER NOT NULL,
    people TEXT NOT NULL, state TEXT NOT NULL, exp INTEGER NOT NULL
) STRICT;
CREATE TABLE bundle (
    site TEXT NOT NULL, sequence INTEGER NOT NULL, seq INTEGER NOT NULL, issued_at INTEGER NOT NULL,
    end INTEGER NOT NULL, PRIMARY KEY (site, sequence)
) STRICT;
"""

SCHEMA = _LOG_SCHEMA + _READING_SCHEMA
_READING = ("credential", "request", "bundle")


def create(path: Path) -> None:
    """Create an empty log database, mode 0600; refuses to touch a file that exists."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    os.close(descriptor)
    connection = _connect(path)
    try:
        connection.executescript(
            f"BEGIN; {SCHEMA} PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


class Store:
    """The one connection; every SQLite error that leaves it is a `HomeError`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Take over a connection to `path` that was checked."""
        self._database = Database(connection, execute_plugins=False)
        self._files = {path: _identity(path)}
        self._wal = path.with_name(f"{path.name}-wal")

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the log of an existing home; never creates one, so a wrong path cannot start a second history.

        Raises `HomeError` when it is missing, not ours, of another version, readable by others or in use.
        """
        _check_file(path)
        connection: sqlite3.Connection | None = None
        try:
            connection = _connect(path)
            _check(connection, path)
        except (sqlite3.Error, HomeError) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                raise storage_error(error) from error
            raise
        return cls(connection, path)

    def close(self) -> None:
        """Close the file; what was committed stays."""
        with _told():
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """Give the database for one transaction: durable when the block ends, as if it never was when it raises.

        Durable means under its own name: where the file was removed meanwhile the commit is a `HomeError` too.
        """
        with _told():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.conn.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        self._check_in_place()

    def _check_in_place(self) -> None:
        """See that the files still have their names: SQLite goes on writing into one that was removed."""
        self._files.setdefault(self._wal, _identity(self._wal))
        for path, identity in self._files.items():
            if identity is None or _identity(path) != identity:
                raise HomeError(HomeFault.STORAGE, f"{path} was removed or replaced while this process had it open")

    def altered_tables(self) -> list[str]:
        """Give the names of reading tables that are not as this program makes them, with their indices and triggers."""
        with _told():
            found, made = _schema(self._database.conn), _made(SCHEMA)
        return [name for name in _READING if found.get(name) != made[name]]

    def remake_tables(self, database: Database) -> None:
        """Put empty reading tables in the place of those there are, in the transaction of `database`."""
        for name in _READING:
            database.execute(f"DROP TABLE IF EXISTS {name}")
        for statement in filter(str.strip, _READING_SCHEMA.split(";")):
            database.execute(statement)

    def rows(self, sql: str, *arguments: object, at_once: int = PAGE) -> Iterator[tuple[object, ...]]:
        """Run a query and give its rows, of which so many are in memory at once."""
        with _told():
            cursor = self._database.execute(sql, list(arguments))
        while True:
            with _told():
                page = cursor.fetchmany(at_once)
            if not page:
                return
            yield from page

    def row(self, sql: str, *arguments: object) -> tuple[object, ...] | None:
        """Run a query and give its first row, or None."""
        with _told():
            cursor = self._database.execute(sql, list(arguments))
            found = cursor.fetchone()
            cursor.close()
        return None if found is None else tuple(found)


def _identity(path: Path) -> tuple[int, int] | None:
    """Give what tells one file from another under the same name, or None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HomeError(HomeFault.STORAGE, f"{path}: {error.strerror}") from error
    return found.st_dev, found.st_ino


@contextmanager
def _told() -> Iterator[None]:
    """Say every SQLite error as a fault of the home."""
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(error) from error


def _check_file(path: Path) -> None:
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise HomeError(HomeFault.MISSING, f"there is no log at {path}") from error
    except OSError as error:
        raise HomeError(HomeFault.UNREADABLE, f"{path}: {error.strerror}") from error
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise HomeError(HomeFault.UNREADABLE, f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):o})")
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise HomeError(HomeFault.READ_ONLY, f"{path} or its folder cannot be written")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2)
    for pragma in (
        "locking_mode=EXCLUSIVE",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
        "recursive_triggers=ON",
        "trusted_schema=OFF",
        "mmap_size=0",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Hold the file to what we asked for: settings are asserted, not assumed."""

    def value(pragma: str) -> object:
        row = connection.execute(f"PRAGMA {pragma}").fetchone()
        return row[0] if row else None

    if value("application_id") != APPLICATION_ID:
        raise HomeError(HomeFault.OTHER_HOME, f"{path} is not a Coldcred log")
    if (version := value("user_version")) != SCHEMA_VERSION:
        raise HomeError(HomeFault.VERSION, f"{path} has schema version {version}, this program {SCHEMA_VERSION}")
    expected = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "locking_mode": "exclusive"}
    for pragma, wanted in expected.items():
        if (found := value(pragma)) != wanted:
            raise HomeError(HomeFault.STORAGE, f"SQLite runs {path} with {pragma}={found} where {wanted} is needed")
    _check_schema(connection, path)
    # The exclusive lock is taken at the first write; taking it now shows at once that the file can be written.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise HomeError(HomeFault.LOG_DAMAGED, f"{path}: {problem}")


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a log whose tables and triggers are not exactly ours: a trigger that ignores an insert loses an entry."""
    found, made = _schema(connection), _made(SCHEMA)
    for name in sorted((found.keys() | made.keys()) - set(_READING)):
        if found.get(name) != made.get(name):
            raise HomeError(HomeFault.LOG_DAMAGED, f"{path}: table {name} or a trigger on it is not as it was made")


def _schema(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Give what makes each table and all that hangs on it, as SQL in one spacing."""
    found: dict[str, list[str]] = {}
    rows = connection.execute("SELECT tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
    for name, sql in rows.fetchall():
        found.setdefault(str(name), []).append(" ".join(str(sql).split()))
    return found


def _made(schema: str) -> dict[str, list[str]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        fresh.executescript(schema)
        return _schema(fresh)


def storage_error(error: sqlite3.Error) -> HomeError:
    """Say which fault of a home an SQLite error is."""
    name = cast("str", getattr(error, "sqlite_errorname", "SQLITE_ERROR"))
    faults = {
        "SQLITE_FULL": HomeFault.DISK_FULL,
        "SQLITE_BUSY": HomeFault.IN_USE,
        "SQLITE_LOCKED": HomeFault.IN_USE,
        "SQLITE_READONLY": HomeFault.READ_ONLY,
        "SQLITE_CORRUPT": HomeFault.LOG_DAMAGED,
        "SQLITE_NOTADB": HomeFault.LOG_DAMAGED,
        "SQLITE_CANTOPEN": HomeFault.UNREADABLE,
        "SQLITE_PERM": HomeFault.UNREADABLE,
    }
    fault = next((fault for prefix, fault in faults.items() if name.startswith(prefix)), HomeFault.STORAGE)
    return HomeError(fault, f"SQLite: {error} ({name})")
