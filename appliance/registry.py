"""Reading tables: folded from entries beside the log, for people and searches; no decision trusts them.

`differences` compares them with the log, so that a row edited by hand is found (`coldcredctl log rebuild --check`).
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from coldcred.canonical import Json
from coldcred.log.entry import Entry
from coldcred.log.live import By, Selector
from coldcred.record import Record

TABLES = {
    "credential": (
        "jti", "seq", "workload", "profile", "audience", "site", "nbf", "exp", "list", "idx", "kid", "state",
    ),
    "request": ("command", "seq", "act", "person", "need", "people", "state", "exp"),
    "bundle": ("site", "sequence", "seq", "issued_at", "end"),
}  # fmt: skip

Statement: TypeAlias = tuple[str, tuple[object, ...]]


def project(entry: Entry) -> Iterator[Statement]:
    """Give the SQL that folds one entry into the reading tables."""
    event = entry.event
    command = event.get("command")
    match entry.type:
        case "credential.issued":
            yield _insert("credential", _credential(entry))
        case "batch.issued":
            yield from _chunk(entry)
        case "credential.revoked":
            yield _revocation(event)
        case "outcomes":
            yield from _outcomes(event)
        case "command.waiting":
            people = json.dumps(event["people"])
            row = (command, entry.seq, event["act"], event["by"], event["need"], people, "waiting", event["expires"])
            yield _insert("request", row)
        case "approval.given":
            yield from _approval(event)
        case "bundle.created":
            yield _insert("bundle", (event["site"], event["sequence"], entry.seq, event["issued_at"], event["end"]))
        case "command.refused":
            yield "UPDATE request SET state = 'refused' WHERE command = ?", (command,)
        case _:
            pass
    if "result" in event:
        yield "UPDATE request SET state = 'done' WHERE command = ?", (command,)


def _insert(table: str, row: tuple[object, ...]) -> Statement:
    # A row that somebody put where this one belongs must not stop the log.
    marks = ", ".join("?" for _ in row)
    return f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row  # noqa: S608 - the table's name is one of ours


def _credential(entry: Entry) -> tuple[object, ...]:
    event = entry.event
    result = Record.of(event["result"], "result")
    status = result.record("status")
    (sign,) = Record(event, entry.type).records("signs", least=1, most=1)
    return (
        result.text("jti"),
        entry.seq,
        *(event[name] for name in ("workload", "profile", "audience", "site")),
        result.integer("nbf"),
        result.integer("exp"),
        status.text("uri"),
        status.integer("idx"),
        sign.text("kid"),
        "signing",
    )


# One statement for all credentials of an entry, from its own bytes: SQLite takes them without going back and forth.
_CHUNK = """
INSERT OR REPLACE INTO credential
SELECT item.value ->> 'jti', ?1, item.value ->> 'workload', item.value ->> 'profile', item.value ->> 'audience',
       item.value ->> 'site', ?2 ->> '$.event.iat', item.value ->> 'exp', item.value ->> 'uri', item.value ->> 'idx',
       ?2 ->> ('$.event.signs[' || item.key || '].kid'), 'signing'
FROM json_each(?2, '$.event.items') AS item
"""


def _chunk(entry: Entry) -> Iterator[Statement]:
    record = Record(entry.event, "batch.issued")
    for jti in record.texts("revokes"):
        yield "UPDATE credential SET state = 'revoked' WHERE jti = ?", (jti,)
    yield _CHUNK, (entry.seq, entry.body.decode())


_SELECTED_BY = {By.CREDENTIAL: "jti", By.WORKLOAD: "workload", By.PROFILE: "profile", By.KEY: "kid"}


def _revocation(event: dict[str, Json]) -> Statement:
    record = Record(event, "credential.revoked")
    selector = Selector.read(record.record("selector"))
    # What lives is found by its end, whatever it is selected by: an index for each selector would cost every credential
    # a page of the write-ahead log, for an act that is rare.
    sql = f"""
        UPDATE credential SET state = 'revoked'
        WHERE {_SELECTED_BY[selector.by]} = ? AND exp > ? AND state IN ('signing', 'live')
    """  # noqa: S608 - our own names
    return sql, (selector.value, record.integer("as_of"))


def _outcomes(event: dict[str, Json]) -> Iterator[Statement]:
    for member, state in (("signed", "live"), ("failed", "failed"), ("unknown", "unknown")):
        found = event[member]
        for seq in found if isinstance(found, list) else ():
            yield "UPDATE credential SET state = ? WHERE seq = ? AND state = 'signing'", (state, seq)


def _approval(event: dict[str, Json]) -> Iterator[Statement]:
    record = Record(event, "approval.given")
    enough = len(record.texts("people")) >= record.integer("need")
    state = "denied" if record.text("verdict") == "deny" else "ready" if enough else "waiting"
    people = json.dumps(event["people"])
    yield "UPDATE request SET people = ?, state = ? WHERE command = ?", (people, state, event["request"])


def differences(schema: str, entries: Iterable[Entry], found: Iterable[tuple[str, tuple[object, ...]]]) -> list[str]:
    """Compare reading tables with what `entries` give; `found` are (table, row) pairs of the tables as they stand.

    `schema` is the SQL that makes the tables. Returns one sentence per row that differs, none when all agree.
    """
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    try:
        fresh.executescript(schema)
        for entry in entries:
            for sql, arguments in project(entry):
                fresh.execute(sql, arguments)
        expected = {(table, row) for table in TABLES for row in fresh.execute(query(table))}
    finally:
        fresh.close()
    standing = set(found)
    missing = [f"{table} {row[0]}: the log says {row}, no such row stands" for table, row in expected - standing]
    foreign = [
        f"{table} {row[0]}: a row stands that the log does not give: {row}" for table, row in standing - expected
    ]
    return sorted(missing + foreign)


def query(table: str) -> str:
    """Give the SQL that reads a whole table, its columns in the order of `TABLES`."""
    return f"SELECT {', '.join(TABLES[table])} FROM {table}"  # noqa: S608 - our own names
