"""The log on disk: append with compare-and-swap on the head, one durable transaction for a group of entries.

An append that returned is on the disk. One that failed leaves the file as it was, and the process must stop: what the
disk holds after a failed sync is unknown until it is read again.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from appliance import registry
from appliance.database import SCHEMA, Store
from appliance.errors import HomeError, HomeFault
from coldcred.canonical import Json, sha256
from coldcred.errors import LogReason, LogRejected
from coldcred.log.chain import Head, verify_chain
from coldcred.log.entry import Entry
from coldcred.log.tree import Frontier, growth_proof, leaf_hash


class Log:
    """The one writer of a home's log; `head` and `frontier` are what the next append builds on."""

    def __init__(self, store: Store) -> None:
        """Take over an open store; call `load` before anything else."""
        self._store = store
        self.head = Head()
        self.frontier = Frontier()
        self._edge = Frontier()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing log (`HomeError` when it cannot be used)."""
        return cls(Store.open(path))

    def close(self) -> None:
        """Close the file; what was appended stays."""
        self._store.close()

    def load(self) -> Iterator[Entry]:
        """Yield every entry, checked against the one before it, and bring `head` and `frontier` to the end.

        Raises `HomeError` (log-damaged) naming the first bad entry.
        """
        self.head, self.frontier = Head(), Frontier()
        try:
            for entry in verify_chain(self._stored()):
                self.head = Head.of(entry)
                self.frontier = self.frontier.append(entry.leaf)
                yield entry
        except LogRejected as error:
            raise HomeError(HomeFault.LOG_DAMAGED, str(error)) from error

    def bodies(self, first: int = 0, limit: int = -1) -> Iterator[bytes]:
        """Yield stored entries from `first` on, verbatim and in order, at most `limit` (-1: all)."""
        sql = "SELECT body FROM entry WHERE seq >= ? ORDER BY seq LIMIT ?"
        for (body,) in self._store.rows(sql, first, limit):
            yield body if isinstance(body, bytes) else str(body).encode()

    def growth(self, size: int, root: bytes, new_size: int) -> tuple[bytes, ...]:
        """Prove that the first `new_size` entries grew from (`size`, `root`), which the log key's token keeps (R33).

        Entries are durable before a token is asked, so a log that is shorter, or has another root at that size, is an
        older copy, or another home signs with the same token: `HomeError` (home-behind-token). Reads again only what
        came since the size of the last call.
        """
        if size > new_size:
            detail = f"the token keeps a head of {size} entries, and this log has {new_size}"
            raise HomeError(HomeFault.BEHIND_TOKEN, detail)
        edge = self._edge if self._edge.size <= size else Frontier()
        self._edge = edge = edge.extend(self._leaves(edge.size, size))
        if edge.root() != root:
            detail = f"the token keeps another root than this log has at {size} entries"
            raise HomeError(HomeFault.BEHIND_TOKEN, detail)
        return growth_proof(edge, [*self._leaves(size, new_size)])

    def _leaves(self, first: int, end: int) -> Iterator[bytes]:
        return map(leaf_hash, self.bodies(first, end - first))

    def mentioning(self, first: int, end: int, texts: Sequence[bytes]) -> Iterator[bytes]:
        """Yield stored entries from `first` on and before `end` in which one of these texts stands, in order."""
        holds = " OR ".join("instr(body, ?)" for _ in texts)
        sql = f"SELECT body FROM entry WHERE seq >= ? AND seq < ? AND ({holds}) ORDER BY seq"  # noqa: S608 - marks only
        for (body,) in self._store.rows(sql, first, end, *texts):
            yield body if isinstance(body, bytes) else str(body).encode()

    def credential_entry(self, jti: str) -> int | None:
        """Give the entry that issued a credential, as the reading table has it; the entry says whether it is so."""
        row = self._store.row("SELECT seq FROM credential WHERE jti = ?", jti)
        return row[0] if row and isinstance(row[0], int) else None

    def _stored(self) -> Iterator[bytes]:
        """Yield stored entries in order; `LogRejected` where one is not what the digest beside it says."""
        for seq, body, digest in self._store.rows("SELECT seq, body, digest FROM entry ORDER BY seq"):
            if not isinstance(body, bytes) or sha256(body) != digest:
                detail = "its bytes are not those of the digest that was stored beside them"
                raise LogRejected(LogReason.BROKEN_CHAIN, detail, seq if isinstance(seq, int) else None)
            yield body

    def append(
        self, entries: Sequence[Entry], blobs: Mapping[str, bytes], notes: Sequence[tuple[int, bytes]] = ()
    ) -> None:
        """Append `entries`, store `blobs` (by SHA-256 hex) and keep `notes` (size, checkpoint) in one transaction.

        Raises `HomeError`; `LogRejected` and `ValueError` are the caller's mistakes, found before anything is written.
        """
        head, frontier = self.head, self.frontier.extend(entry.leaf for entry in entries)
        for entry in entries:
            head.check(entry)
            head = Head.of(entry)
        with self._store.transaction() as database:
            self._compare(self.head)
            for digest, body in blobs.items():
                if sha256(body).hex() != digest:
                    message = "a blob that is not what its digest says"
                    raise ValueError(message)
                database.conn.execute("INSERT OR IGNORE INTO blob VALUES (?, ?)", (bytes.fromhex(digest), body))
            database.conn.executemany("INSERT OR IGNORE INTO checkpoint VALUES (?, ?)", notes)
            rows = [(entry.seq, entry.digest, entry.body) for entry in entries]
            database.conn.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows)
            self._compare(head)
            for entry in entries:
                for sql, arguments in registry.project(entry):
                    database.conn.execute(sql, arguments)
        self.head, self.frontier = head, frontier

    def _compare(self, head: Head) -> None:
        """Refuse to write when the file does not end where this process left it, or to commit what is not there."""
        row = self._store.row("SELECT seq, digest FROM entry ORDER BY seq DESC LIMIT 1")
        if (row or (-1, Head().digest)) != (head.size - 1, head.digest):
            detail = f"the file does not end with entry {head.size - 1} as this process wrote it"
            raise HomeError(HomeFault.LOG_DAMAGED, detail)

    def blob(self, digest: str) -> bytes:
        """Give a stored blob by its SHA-256 (hex), checked; `HomeError` when it is missing or altered."""
        row = self._store.row("SELECT body FROM blob WHERE sha256 = ?", bytes.fromhex(digest))
        body = row[0] if row else None
        if not isinstance(body, bytes) or sha256(body).hex() != digest:
            raise HomeError(HomeFault.LOG_DAMAGED, f"blob {digest} is missing or is not what its digest says")
        return body

    def blobs_after(self, digest: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (SHA-256, blob) of those whose SHA-256 is beyond `digest`, in their order, unchecked."""
        sql = "SELECT sha256, body FROM blob WHERE sha256 > ? ORDER BY sha256"
        for name, body in self._store.rows(sql, digest, at_once=1):
            if isinstance(name, bytes):
                yield name, body if isinstance(body, bytes) else str(body).encode()

    def blobs(self) -> Iterator[bytes]:
        """Yield all stored blobs."""
        for (body,) in self._store.rows("SELECT body FROM blob ORDER BY sha256"):
            yield body if isinstance(body, bytes) else str(body).encode()

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Yield (size, signed note) of all kept checkpoints, smallest first."""
        for size, note in self._store.rows("SELECT size, note FROM checkpoint ORDER BY size"):
            if isinstance(size, int) and isinstance(note, bytes):
                yield size, note

    def newest_checkpoint(self) -> tuple[int, bytes] | None:
        """Give size and signed note of the newest checkpoint that was kept, if there is one."""
        row = self._store.row("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1")
        if row is None or not isinstance(row[0], int) or not isinstance(row[1], bytes):
            return None
        return row[0], row[1]

    def table(self, name: str, limit: int) -> list[Json]:
        """Give the newest `limit` rows of a reading table as objects."""
        columns = registry.TABLES[name]
        sql = f"SELECT {', '.join(columns)} FROM {name} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - our own names
        found: list[Json] = []
        for row in self._store.rows(sql, limit):
            cells = {column: cell for column, cell in zip(columns, row, strict=True) if isinstance(cell, int | str)}
            found.append({**cells})
        return found

    def table_differences(self) -> list[str]:
        """Compare the reading tables with the log; one sentence per row, or whole table, that differs."""
        if altered := self.altered_tables():
            return [f"{name}: the table is not as it was made" for name in altered]
        found = [(table, row) for table in registry.TABLES for row in self._store.rows(registry.query(table))]
        return registry.differences(SCHEMA, verify_chain(self._stored()), found)

    def altered_tables(self) -> list[str]:
        """Give the names of reading tables that are not as they were made, so that nothing can be written there."""
        return self._store.altered_tables()

    def damaged_blobs(self) -> list[str]:
        """Give the name of each blob that is not what its name says: a SHA-256 in hex, or what stands in its place."""
        rows = self._store.rows("SELECT sha256, body FROM blob ORDER BY sha256")
        return [
            name.hex() if isinstance(name, bytes) else str(name)
            for name, body in rows
            if not isinstance(body, bytes) or sha256(body) != name
        ]

    def rebuild_tables(self) -> None:
        """Write the reading tables anew from the log, in one transaction."""
        try:
            with self._store.transaction() as database:
                self._store.remake_tables(database)
                for entry in verify_chain(self._stored()):
                    for sql, arguments in registry.project(entry):
                        database.execute(sql, list(arguments))
        except LogRejected as error:
            raise HomeError(HomeFault.LOG_DAMAGED, str(error)) from error
