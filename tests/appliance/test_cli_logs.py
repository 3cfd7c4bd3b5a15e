"""`log`, `bundle` and `trust`: what is carried away from an appliance, and what it says of itself."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from appliance.cli.logs import verify_served
from coldcred.canonical import Json, loads, sha256_hex
from coldcred.errors import LogReason, LogRejected
from coldcred.log import entry as entries
from coldcred.log.entry import NO_PREV, Entry
from coldcred.log.tree import Frontier
from tests.support.commandline import coldcred
from tests.support.founded import SITE, WORKLOAD, Plant, submit_trust


def test_the_log_is_shown(served: Plant) -> None:
    """`log show` gives the newest entries, or those from a number on; an entry says when, what and by whom."""
    newest = served.done("log", "show", "--limit", "3", "--json", who="carol").json
    assert [entry["seq"] for entry in newest] == list(range(newest[0]["seq"], newest[0]["seq"] + 3))
    first = served.done("log", "show", "--from", "0", "--limit", "2", "--json", who="carol").json
    assert (first[0]["seq"], first[0]["event"]["type"]) == (0, "founded")
    lines = served.done("log", "show", "--limit", "1000", who="carol").out
    assert f'workload={{"id": "{WORKLOAD}' in lines or WORKLOAD in lines


def test_a_served_log_is_verified_through_the_socket(served: Plant) -> None:
    """Every entry is read and held to the size and root the appliance reports."""
    found = served.done("log", "verify", "--json", who="carol").json
    assert found["verdict"] == "intact"
    assert found["entries"] > 20


def _three() -> list[Entry]:
    found: list[Entry] = []
    for seq in range(3):
        found.append(entries.write(seq, 1_795_000_000, found[-1].digest if found else NO_PREV, {"type": "started"}))
    return found


ROOT_OF_THREE = Frontier().extend(entry.leaf for entry in _three()).root().hex()


@pytest.mark.parametrize(
    ("size", "root", "seq", "reason"),
    [
        (3, ROOT_OF_THREE, None, None),
        (4, ROOT_OF_THREE, None, LogReason.INCOMPLETE),
        (3, "00" * 32, None, LogReason.WRONG_ROOT),
        (3, ROOT_OF_THREE, 1, LogReason.BROKEN_CHAIN),
    ],
)
def test_a_server_that_lies_is_found(size: int, root: str, seq: int | None, reason: LogReason | None) -> None:
    """Entries that are too few, of another root, or not linked are not believed, whoever serves them."""
    served = _Lying(size, root, seq)
    if reason is None:
        assert verify_served(served)["verdict"] == "intact"
        return
    with pytest.raises(LogRejected) as refused:
        verify_served(served)
    assert refused.value.reason is reason


class _Lying:
    """A reading that reports a size and root, and gives three entries, one of them changed where told."""

    def __init__(self, size: int, root: str, changed: int | None) -> None:
        self._status: dict[str, Json] = {"entries": size, "root": root}
        self._entries = [loads(entry.body) for entry in _three()]
        if changed is not None:
            self._entries[changed] = {**cast("dict[str, Json]", self._entries[changed]), "time": 1_795_000_001}

    def read(self, name: str, **arguments: str) -> Json:
        """Give the view."""
        if name == "status":
            return self._status
        first = int(arguments["from"])
        return self._entries[first : first + int(arguments["limit"])]


def test_an_export_verifies_elsewhere(served: Plant, tmp_path: Path) -> None:
    """What an auditor carries away, `coldcred` verifies with the trust of a site."""
    export, trust = tmp_path / "log.export", tmp_path / "trust"
    served.done("log", "export", "--out", export, who="carol")
    root = served.folder / "root.json"
    fingerprint = sha256_hex(root.read_bytes())
    assert coldcred("site", "init", trust, "--root", root, "--fingerprint", fingerprint, "--site", SITE).code == 0
    assert coldcred("bundle", "apply", served.folder / "bundle", "--trust", trust).code == 0
    verified = coldcred("log", "verify", export, "--trust", trust, "--json")
    assert verified.code == 0, verified


@pytest.fixture
def stopped(plant: Plant, tmp_path: Path) -> Plant:
    """Return a copy of the home that nothing serves."""
    return plant.copy_home(tmp_path / "home")


def edit(plant: Plant, statement: str) -> None:
    """Change the database as somebody with the disk in hand would, and leave no trigger missing."""
    with closing(sqlite3.connect(plant.home / "log.sqlite")) as database:
        triggers = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            database.execute(f"DROP TRIGGER {name}")
        database.execute(statement)
        for _, trigger in triggers:
            database.execute(trigger)
        database.commit()


def test_a_stopped_log_is_verified_without_a_key(stopped: Plant) -> None:
    """With nothing serving, the log is held to its chain and to every checkpoint; no key and no PIN are needed."""
    found = stopped.ctl("log", "verify", "--json", pin="").json
    assert found["verdict"] == "intact"
    assert 0 < found["newest_checkpoint"] <= found["entries"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'alice', 'mabel') AS BLOB)",
        "DELETE FROM entry WHERE seq = 20",
        "DELETE FROM entry WHERE seq > (SELECT max(seq) - 5 FROM entry)",
    ],
)
def test_a_changed_log_is_found(stopped: Plant, statement: str) -> None:
    """An entry changed, taken out or cut off below a checkpoint is found, and the appliance does not start on it."""
    edit(stopped, statement)
    for verb in (["log", "verify"], ["workload", "list"]):
        ended = stopped.ctl(*verb, "--json", who="carol")
        assert (ended.code, ended.json["error"]) == (5, "log-damaged")


def test_a_changed_table_is_found_and_rebuilt(stopped: Plant) -> None:
    """A row edited by hand is named by --check, changes nothing that is decided, and goes when tables are rebuilt."""
    jti = stopped.issue("--json").json["result"]["jti"]
    assert stopped.done("log", "rebuild", "--check", "--json").json["differences"] == []
    edit(stopped, "UPDATE credential SET state = 'revoked', workload = 'mallory'")
    checked = stopped.ctl("log", "rebuild", "--check", "--json")
    assert (checked.code, any(jti in said for said in checked.json["differences"])) == (5, True)
    assert stopped.issue().code == 0
    stopped.done("log", "rebuild")
    assert stopped.done("log", "rebuild", "--check", "--json").json["differences"] == []


def test_a_served_home_is_not_rebuilt(served: Plant) -> None:
    """Tables of a home that is served are its server's: rebuilding hears that it is in use."""
    ended = served.ctl("log", "rebuild", "--check", "--json")
    assert (ended.code, ended.json["error"]) == (5, "home-in-use")


def test_a_new_plan_follows_the_one_before(stopped: Plant, tmp_path: Path) -> None:
    """Custodians sign again: the root stays as sites hold it, and the site's next bundle has the next number."""
    folder = tmp_path / "second"
    folder.mkdir()
    second = Plant(folder, stopped.home)
    (folder / "people").symlink_to(stopped.people)
    with second.serving():
        before = {site["name"]: site["bundle"] for site in second.done("site", "list", "--json", who="carol").json}
        submit_trust(second, ("bob", "carol"))
        made = second.done("bundle", "create", "--site", SITE, "--out", folder / "bundle", "--json", who="alice")
    assert made.json["result"]["sequence"] == before[SITE] + 1
    assert (folder / "root.json").read_bytes() == (stopped.folder / "root.json").read_bytes()


def test_custodians_are_counted(served: Plant, tmp_path: Path) -> None:
    """One custodian's signature, or an operator's, is not enough; a changed document is not signed at all."""
    folder = tmp_path / "trust"
    served.done("trust", "prepare", "--out", folder, who="alice")
    one = tmp_path / "one"
    served.done("trust", "sign", folder, "--out", one, who="alice.custodian")
    few = served.ctl("trust", "submit", folder, one, one, "--json", who="alice")
    assert (few.code, few.json["error"]) == (1, "too-few-custodians")
    wrong = served.ctl("trust", "sign", folder, "--out", tmp_path / "operator", "--json", who="bob")
    assert (wrong.code, wrong.json["error"]) == (1, "not-a-custodian")
    plan = folder / "targets" / "trust" / "plan.json"
    plan.write_bytes(plan.read_bytes().replace(b'"exp":1', b'"exp":2'))
    changed = served.ctl("trust", "sign", folder, "--out", tmp_path / "x", "--json", who="bob.custodian")
    assert (changed.code, changed.json["error"], "plan.json" in changed.json["detail"]) == (
        1,
        "trust-unfounded",
        True,
    )


def test_prepared_files_are_not_written_over(served: Plant, tmp_path: Path) -> None:
    """A folder that exists is left as it is."""
    ended = served.ctl("trust", "prepare", "--out", tmp_path, "--json", who="alice")
    assert (ended.code, ended.json["error"]) == (5, "file")
