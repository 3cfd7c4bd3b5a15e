"""Rows edited by hand in SQLite: reported, mended where the log says how, and no decision ever followed one."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.cli import stopped
from appliance.cli.asking import request_id
from coldcred import framing, status
from coldcred.acts import Act
from coldcred.canonical import Json, sha256_hex
from coldcred.jose import parse_unverified
from tests.support import plant
from tests.support.running import SITE
from tests.support.serving import Appliance, NotReady


def edit(mine: Appliance, *statements: str, **values: str | int) -> None:
    """Do to a home's database what its triggers would not allow, and leave the schema as it was."""
    with closing(sqlite3.connect(mine.log_path, isolation_level=None)) as database:
        triggers = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            database.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            before = database.total_changes
            database.execute(statement, values)
            assert database.total_changes > before, f"it changed nothing: {statement}"
        for _, sql in triggers:
            database.execute(sql)


def query(mine: Appliance, sql: str) -> list[tuple[object, ...]]:
    """Ask a home's database."""
    with closing(sqlite3.connect(mine.log_path)) as database:
        return [tuple(row) for row in database.execute(sql)]


def tables(mine: Appliance) -> dict[str, list[tuple[object, ...]]]:
    """Give the reading tables as they stand."""
    names = ("credential", "request", "bundle")
    return {name: query(mine, f"SELECT * FROM {name} ORDER BY 1") for name in names}  # noqa: S608 - our own names


@dataclass(frozen=True)
class Used:
    """An appliance in use: credentials by their commands, the revoked one first, and a command that waits."""

    appliance: Appliance
    issued: dict[str, dict[str, Json]]
    waiting: str

    @property
    def places(self) -> list[int]:
        """The status indices of its credentials, the revoked one's first."""
        return [int(str(_status(result)["idx"])) for result in self.issued.values()]


def _status(result: dict[str, Json]) -> dict[str, Json]:
    found = result["status"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def prepared(ready: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Used:
    """Return an appliance with a revoked credential, two live ones and a request that waits; to be copied."""
    mine = ready.copy(tmp_path_factory.mktemp("used") / "mine")
    waiting = mine.command("alice", Act.WORKLOAD_ENROL, enrolment(mine))
    issued = {}
    with mine.serve() as server:
        transport = server.transport()
        for command in (mine.issue() for _ in range(3)):
            issued[command] = transport.command(command, {}, ()).result
        revoked: dict[str, Json] = {"credential": next(iter(issued.values()))["jti"], "reason": "robot retired"}
        assert transport.command(mine.command("bob", Act.CREDENTIAL_REVOKE, revoked), {}, ()).state == "done"
        assert transport.command(waiting, {}, ()).state == "waiting"
        assert server.stop().code == 0
    return Used(mine, issued, waiting)


@pytest.fixture
def used(prepared: Used, tmp_path: Path) -> Used:
    """Return a copy of it."""
    return replace(prepared, appliance=prepared.appliance.copy(tmp_path / "mine"))


def enrolment(mine: Appliance) -> dict[str, Json]:
    """Give arguments of an act that takes two people."""
    review_by = mine.founded + 30 * plant.DAY
    return {"id": "spiffe://plant-a.example/line-1/robot-8", "owner": "alice", "review_by": review_by}


ROW_PUT_IN = """
    INSERT INTO credential
    SELECT 'AAAAAAAAAAAAAAAAAAAAAA', seq + 1, workload, profile, audience, site, nbf, exp, list, idx + 1, kid, 'live'
    FROM credential ORDER BY seq DESC LIMIT 1"""

# Rows that the coming entries would be given: a reading table must not be able to stop the log.
ROWS_TO_COME = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
    INSERT INTO credential
    SELECT 'AAAAAAAAAAAAAAAAAAAA' || (10 + i), seq + i, workload, profile, audience, site, nbf, exp, list, i, kid, state
    FROM n, (SELECT * FROM credential ORDER BY seq DESC LIMIT 1)"""

EDITS = {
    "a state": ("credential", "UPDATE credential SET state = 'live' WHERE state = 'revoked'"),
    "an expiry": ("credential", "UPDATE credential SET exp = exp + 86400 WHERE state = 'live'"),
    "an index": ("credential", "UPDATE credential SET idx = 7 WHERE seq = (SELECT max(seq) FROM credential)"),
    "a row taken out": ("credential", "DELETE FROM credential WHERE seq = (SELECT min(seq) FROM credential)"),
    "a row put in": ("credential", ROW_PUT_IN),
    "a request done": ("request", "UPDATE request SET state = 'done' WHERE state = 'waiting'"),
    "a person more": ("request", "UPDATE request SET people = '[\"alice\", \"bob\"]' WHERE state = 'waiting'"),
    "a bundle": ("bundle", "UPDATE bundle SET sequence = 77"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_row_is_named_and_mended(used: Used, name: str) -> None:
    """The comparison names table and row, rebuilding gives the tables back as they were, and then nothing differs."""
    mine, (table, statement) = used.appliance, EDITS[name]
    before = tables(mine)
    assert stopped.rebuild_tables(mine.home, check=True) == []
    edit(mine, statement)
    differences = stopped.rebuild_tables(mine.home, check=True)
    assert differences
    assert all(sentence.startswith(f"{table} ") for sentence in differences)
    assert stopped.rebuild_tables(mine.home, check=False) == differences
    assert stopped.rebuild_tables(mine.home, check=True) == []
    assert tables(mine) == before


def test_the_command_line_reports_and_mends_edited_rows(used: Used) -> None:
    """`log rebuild --check` exits 5 with a line for each row, `log rebuild` mends them, `--check` exits 0 again."""
    mine = used.appliance
    edit(mine, EDITS["a state"][1], EDITS["a request done"][1], EDITS["a bundle"][1])
    checked = mine.ctl("log", "rebuild", "--check")
    assert checked.code == 5
    assert "(tables-differ)" in checked.err
    assert {line.split()[0] for line in checked.out.splitlines()} == {"credential", "request", "bundle"}
    assert mine.ctl("log", "rebuild").code == 0
    assert mine.ctl("log", "rebuild", "--check").code == 0


def test_no_decision_follows_an_edited_row(used: Used) -> None:
    """With every table rewritten by hand, and rows put where the next ones come, the appliance decides by its log."""
    mine = used.appliance
    coming = mine.issue()
    edit(
        mine,
        *(
            EDITS[name][1]
            for name in ("a state", "an expiry", "an index", "a person more", "a request done", "a bundle")
        ),
        "DELETE FROM credential WHERE state = 'live' AND idx = 7",
        ROWS_TO_COME,
        "INSERT INTO request SELECT :coming, 3, act, person, need, people, 'denied', exp FROM request LIMIT 1",
        "INSERT INTO bundle SELECT site, 2, seq, issued_at, end FROM bundle LIMIT 1",
        coming=request_id(coming),
    )
    with mine.serve() as server:
        transport = server.transport()
        for command, result in used.issued.items():
            again = transport.command(command, {}, ())
            assert (again.state, again.result, again.files) == ("done", result, {})
        assert transport.command(coming, {}, ()).files
        waiting = transport.command(used.waiting, {}, ())
        assert (waiting.state, waiting.have) == ("waiting", ("alice",))
        invented: dict[str, Json] = {"credential": "AAAAAAAAAAAAAAAAAAAA11", "reason": "never issued"}
        refused = transport.command(mine.command("bob", Act.CREDENTIAL_REVOKE, invented), {}, ())
        assert (refused.state, refused.reason) == ("refused", "unknown-credential")
        bundle = transport.command(mine.command("alice", Act.BUNDLE_CREATE, {"site": SITE}), {}, ())
        assert bundle.result["sequence"] == 2
        files = framing.read(bundle.files["bundle"], framing.BUNDLE)
        bits = status.parse(parse_unverified(files["targets/revocation/status-1.jwt"].decode("ascii")).payload)
        assert [bits.is_set(place) for place in used.places] == [True, False, False]
        assert server.stop().code == 0


ENTRIES = {
    "a name": ("UPDATE entry SET body = CAST(replace(body, 'robot retired', 'robot replied') AS BLOB)", "{revoked}"),
    "the founding": ("UPDATE entry SET body = CAST(replace(body, 'founded', 'fuonded') AS BLOB) WHERE seq = 0", "0"),
    "the last": (
        "UPDATE entry SET body = CAST(replace(body, 'outcomes', 'outcomez') AS BLOB) WHERE seq = {last}",
        "{last}",
    ),
    "a digest": ("UPDATE entry SET digest = zeroblob(32) WHERE seq = 7", "7"),
    "one taken out": ("DELETE FROM entry WHERE seq = 9", "9"),
    "two exchanged": (
        (
            "UPDATE entry SET seq = -1 WHERE seq = 12; UPDATE entry SET seq = 12 WHERE seq = 13;"
            "UPDATE entry SET seq = 13 WHERE seq = -1"
        ),
        "12",
    ),
    "not JSON": ("UPDATE entry SET body = x'00' WHERE seq = 5", "5"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_edited_entry_refuses_the_start_and_is_named(used: Used, name: str) -> None:
    """Whatever was done to an entry: start and comparison are refused with exit 5 in words that name the entry."""
    mine, (statement, seq) = used.appliance, ENTRIES[name]
    ((last,),) = query(mine, "SELECT max(seq) FROM entry")
    ((revoked,),) = query(mine, "SELECT seq FROM entry WHERE instr(body, 'robot retired')")
    edit(mine, *statement.format(last=last).split(";"))
    with pytest.raises(NotReady) as caught, mine.serve():
        pass
    ended = caught.value.ended
    assert ended.code == 5
    assert "(log-damaged)" in ended.err
    assert f"entry {seq.format(last=last, revoked=revoked)}" in ended.err
    checked = mine.ctl("log", "rebuild", "--check")
    assert checked.code == 5
    assert f"entry {seq.format(last=last, revoked=revoked)}" in checked.err


def test_an_edited_blob_is_named(used: Used) -> None:
    """A command's own bytes changed in the database: verifying and comparing exit 5 and name the blob."""
    mine = used.appliance
    name = sha256_hex(used.waiting.encode())
    edit(
        mine,
        "UPDATE blob SET body = CAST(replace(body, 'a', 'b') AS BLOB) WHERE hex(sha256) = upper(:name)",
        name=name,
    )
    for verb in (("log", "verify"), ("log", "rebuild", "--check"), ("log", "rebuild")):
        ended = mine.ctl(*verb)
        assert ended.code == 5
        assert "(log-damaged)" in ended.err
        assert f"blob {name}" in ended.err


def test_an_edited_checkpoint_refuses_the_start(used: Used) -> None:
    """A signed checkpoint changed in the database is named by its size, and nothing starts on it."""
    mine = used.appliance
    ((size,),) = query(mine, "SELECT max(size) FROM checkpoint")
    edit(
        mine,
        "UPDATE checkpoint SET note = CAST(replace(note, 'plant-a', 'plant-b') AS BLOB) WHERE size = :size",
        size=int(str(size)),
    )
    with pytest.raises(NotReady) as caught, mine.serve():
        pass
    assert caught.value.ended.code == 5
    assert f"checkpoint of size {size}" in caught.value.ended.err


SCHEMAS = {
    "a trigger put in": (
        "CREATE TRIGGER lose BEFORE INSERT ON entry WHEN instr(NEW.body, 'credential.issued')"
        " BEGIN SELECT raise(IGNORE); END"
    ),
    "a trigger taken out": "DROP TRIGGER entry_stays",
    "a trigger changed": (
        "DROP TRIGGER entry_remains;CREATE TRIGGER entry_remains BEFORE DELETE ON entry WHEN OLD.seq < 0"
        " BEGIN SELECT raise(ABORT, 'the log is append-only'); END"
    ),
    "a table put in": "CREATE TABLE letter (body TEXT)",
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_changed_schema_refuses_the_start(used: Used, name: str) -> None:
    """Triggers decide what becomes of an insert, so a log with other ones than ours is not written."""
    mine = used.appliance
    with closing(sqlite3.connect(mine.log_path, isolation_level=None)) as database:
        database.executescript(SCHEMAS[name])
    with pytest.raises(NotReady) as caught, mine.serve():
        pass
    assert caught.value.ended.code == 5
    assert "(log-damaged)" in caught.value.ended.err
    assert "not as it was made" in caught.value.ended.err


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE credential",
        "ALTER TABLE request ADD COLUMN note TEXT",
        "DROP INDEX credential_seq",
        "CREATE TRIGGER stop BEFORE INSERT ON credential BEGIN SELECT raise(ABORT, 'no'); END",
    ],
)
def test_a_reading_table_of_another_form_is_reported_and_made_anew(used: Used, statement: str) -> None:
    """The start is refused with what to run; the comparison names the table; rebuilding gives the tables back."""
    mine = used.appliance
    before = tables(mine)
    with closing(sqlite3.connect(mine.log_path, isolation_level=None)) as database:
        database.execute(statement)
    with pytest.raises(NotReady) as caught, mine.serve():
        pass
    assert caught.value.ended.code == 5
    assert "coldcredctl log rebuild" in caught.value.ended.err
    (difference,) = stopped.rebuild_tables(mine.home, check=True)
    assert difference.endswith("not as it was made")
    assert mine.ctl("log", "rebuild").code == 0
    assert tables(mine) == before
    with mine.serve() as server:
        assert server.transport().command(mine.issue(), {}, ()).files
        assert server.stop().code == 0
