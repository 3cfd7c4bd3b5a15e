"""`review`, `inventory` and `workload adopt` at a terminal: the whole of a review, and what is listed of it."""

import csv
import io
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commandline import Ended
from tests.support.founded import AUDIENCE, EXAMPLE, WORKLOAD, Plant

SECOND = f"{WORKLOAD}0"


@pytest.fixture(scope="module")
def copied(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Generator[Plant]:
    """Return an appliance of our own while it is served."""
    made = plant.copy_home(tmp_path_factory.mktemp("reviewed") / "home")
    with made.serving():
        yield made


def by_two(plant: Plant, folder: Path, *words: str | Path) -> Ended:
    """Have Alice ask and Bob approve."""
    request = folder / f"{'-'.join(str(word) for word in words[:2])}.jws"
    asked = plant.ctl(*words, "--request", request, who="alice")
    assert asked.code == 3, asked
    return plant.done("approve", request, who="bob")


def test_a_review_from_start_to_close(copied: Plant, tmp_path: Path) -> None:
    """Shown, confirmed by owner and officers, refused to be closed early, closed; the log is intact."""
    nothing = copied.done("review", "show", who="carol")
    assert nothing.out == "no review is open\n"
    refused = copied.ctl("review", "confirm", "--mine", "--json", who="bob")
    assert (refused.code, refused.json["error"]) == (1, "unknown-review")
    by_two(copied, tmp_path, "review", "start", "autumn", "--until", "30d", "--reason", "each autumn")
    shown = copied.done("review", "show", "--json", who="carol").json
    assert (shown["review"], shown["operators"], shown["passed"]) == ("autumn", ["alice", "bob", "carol"], False)
    assert shown["workloads"] == [{"id": WORKLOAD, "owner": "bob"}]
    text = copied.done("review", "show", who="carol").out
    assert WORKLOAD in text
    assert "alice bob carol" in text
    status = copied.done("status", "--json", who="carol").json["review"]
    assert (status["name"], status["unconfirmed_operators"], status["unconfirmed_workloads"]) == ("autumn", 3, 1)
    early = copied.ctl("review", "close", "--request", tmp_path / "early.jws", who="alice")
    assert early.code == 3
    closed = copied.ctl("approve", tmp_path / "early.jws", "--json", who="bob")
    assert (closed.code, closed.json["error"]) == (1, "review-open")
    assert copied.ctl("review", "confirm", who="bob").code == 2
    alone = copied.ctl("review", "confirm", "--operator", "alice", "--json", who="alice")
    assert (alone.code, alone.json["error"]) == (1, "not-allowed")
    mine = copied.done("review", "confirm", "--mine", "--operator", "alice", who="bob")
    assert mine.out == "review autumn: left to confirm: workloads 0, operators 2\n"
    again = copied.done("review", "confirm", "--mine", who="bob")
    assert "nothing that you own is left" in again.err
    copied.done("review", "confirm", "--operator", "bob", "--operator", "carol", who="alice")
    by_two(copied, tmp_path, "review", "close")
    assert copied.done("review", "show", "--json", who="carol").json is None


def test_a_review_that_nobody_may_start_is_refused(copied: Plant) -> None:
    """A date too near or too far, and somebody who may not; each with its words."""
    for span in ("23h", "91d"):
        waiting = copied.ctl("review", "start", "winter", "--until", span, "--json", who="carol")
        assert (waiting.code, waiting.json["error"]) == (1, "not-allowed")


def test_a_workload_is_handed_over(copied: Plant, tmp_path: Path) -> None:
    """The new owner asks and somebody else approves; the list names the new one."""
    words = ("workload", "adopt", WORKLOAD, "--owner", "alice", "--reason", "line 1 is hers now")
    by_two(copied, tmp_path, *words)
    (row,) = copied.done("workload", "list", "--json", who="carol").json
    assert (row["owner"], row["state"]) == ("alice", "active")


def test_the_inventory_is_text_json_and_csv(copied: Plant) -> None:
    """The same rows in each form; --kind and --overdue narrow it."""
    issued = copied.issue("--json").json["result"]
    rows = copied.done("inventory", "--json", who="carol").json
    assert [row["kind"] for row in rows] == (
        ["key"] * 4 + ["operator"] * 3 + ["profile"] + ["workload"] + ["credential"]
    )
    assert (rows[-1]["name"], rows[-1]["end"], rows[-1]["profile"]) == (issued["jti"], issued["exp"], "orders-reader")
    assert copied.done("inventory", "--format", "json", who="carol").json == rows
    table: Any = list(csv.DictReader(io.StringIO(copied.done("inventory", "--format", "csv", who="carol").out)))
    assert [row["kind"] for row in table] == [row["kind"] for row in rows]
    text = copied.done("inventory", "--kind", "workload", "--kind", "key", who="carol").out.splitlines()
    assert (len(text), text[0].split()[:3]) == (6, ["kind", "name", "owner"])
    assert WORKLOAD in text[-1]
    assert copied.done("inventory", "--overdue", who="carol").out == "nothing\n"
    copied.done("key", "suspend", "status-1", "--reason", "lost", who="bob")
    (overdue,) = copied.done("inventory", "--overdue", "--json", who="carol").json
    assert (overdue["name"], overdue["overdue"]) == ("status-1", ["key-suspended"])
    assert copied.ctl("inventory", "--toxic", "--overdue", who="carol").code == 2


def test_what_profiles_exclude_is_reported_and_refused(copied: Plant, tmp_path: Path) -> None:
    """Setting the profile warns; the report names who holds and who may; the second credential is refused."""
    file = tmp_path / "payer.toml"
    text = (EXAMPLE / "orders-reader.toml").read_text().replace('name = "orders-reader"', 'name = "orders-payer"')
    file.write_text(text + '\nexcludes = ["orders-reader"]\n')
    by_two(copied, tmp_path, "profile", "set", file)
    rows = copied.done("inventory", "--toxic", "--json", who="carol").json
    assert rows == [
        {
            "owner": "alice",
            "workload": WORKLOAD,
            "profile": "orders-payer",
            "excludes": "orders-reader",
            "state": "may",
        }
    ]
    copied.issue()
    words = ("issue", "--profile", "orders-payer", "--workload", WORKLOAD, "--audience", AUDIENCE, "--json")
    refused = copied.ctl(*words, who="alice")
    assert (refused.code, refused.json["error"]) == (1, "toxic-combination")
    assert "inventory --toxic" in refused.json["next"]
    assert "may" in copied.done("inventory", "--toxic", who="carol").out
