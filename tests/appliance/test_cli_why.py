"""`coldcredctl why` as people use it: of what was, of what might be, served and in its own process."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.founded import AUDIENCE, WORKLOAD, Plant

ISSUE = ("--act", "credential.issue", "--profile", "orders-reader", "--workload", WORKLOAD, "--audience", AUDIENCE)


@pytest.fixture(scope="module")
def served(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Return a served copy of the appliance, since something is issued here."""
    copy = plant.copy_home(tmp_path_factory.mktemp("why") / "home")
    with copy.serving():
        yield copy


def test_what_is_imagined_is_what_happens(served: Plant) -> None:
    """The same reason and rule before the line is run and after; the rule stands in the words, too."""
    asked = ("--ttl", "9h")
    before = served.done("why", "--person", "alice", *ISSUE, *asked, "--json", who="carol").json
    ended = served.ctl("issue", *ISSUE[2:], *asked, "--json", who="alice")
    assert (before["state"], ended.code) == ("refused", 1)
    assert (before["reason"], before["rule"]) == (ended.json["error"], ended.json["rule"])
    assert "  rule  profile orders-reader lifetime\n" in ended.err
    good = served.done("why", "--person", "alice", *ISSUE, who="carol").out
    assert good.startswith("credential.issue asked for by alice: would be carried out\n")
    machine = served.done("why", "--as-workload", WORKLOAD, *ISSUE, "--json", who="carol").json
    assert machine["reason"] == "unknown-signer"


def test_arguments_and_what_travels_beside_come_from_files(served: Plant, tmp_path: Path) -> None:
    """A policy that would lock everybody out is refused here as it would be there."""
    text = tmp_path / "empty.cedar"
    text.write_text("// nothing is permitted\n")
    digest = served.done("policy", "check", text).out.strip()
    args = tmp_path / "args.json"
    args.write_text(json.dumps({"policy": digest}))
    line = (
        "why",
        "--person",
        "alice",
        "--act",
        "policy.set",
        "--args",
        args,
        "--attachment",
        text,
        "--approved-by",
        "bob",
    )
    found = served.done(*line, "--json", who="carol").json
    assert (found["reason"], found["people"]["have"]) == ("policy-locks-out", ["alice", "bob"])
    assert "approved by bob: counts" in served.done(*line, who="carol").out


def newest(plant: Plant, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Give the newest entry of this kind, however much the appliance wrote by itself since."""
    shown = plant.done("log", "show", "--limit", "1000", "--json", who="carol").json
    found: dict[str, Any] = max((one for one in shown if wanted(one["event"])), key=lambda one: one["seq"])
    return found


def test_what_was_is_told(served: Plant) -> None:
    """By the id of a refused command, by a jti, and by the number of an entry."""
    refused = served.ctl("site", "add", "line-1", "--audience", AUDIENCE, "--json", who="carol")
    assert (refused.json["error"], refused.json["rule"]) == ("not-allowed", "R2 who may ask")
    entry = newest(served, lambda event: event.get("act") == "site.add")
    told = served.done("why", entry["event"]["command"][:8], who="carol").out
    assert told.startswith("site.add asked for by carol: refused (not-allowed)\n  rule    R2 who may ask\n")
    assert f"  {entry['seq']}  " in told
    same = served.done("why", "--entry", str(entry["seq"]), "--json", who="carol").json
    assert (same["command"], same["reason"]) == (entry["event"]["command"], "not-allowed")
    assert served.issue().code == 0
    jti = newest(served, lambda event: event["type"] == "credential.issued")["event"]["result"]["jti"]
    assert "credential.issue asked for by alice: done\n" in served.done("why", jti, who="carol").out
    missing = served.ctl("why", "0" * 64, "--json", who="carol")
    assert (missing.code, missing.json["error"]) == (1, "unknown-request")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--person", "alice"),
        ("--act", "site.add"),
        ("--person", "alice", "--as-workload", WORKLOAD, "--act", "credential.issue"),
        ("0" * 64, "--person", "alice"),
        ("0" * 64, "--entry", "1"),
    ],
)
def test_what_cannot_be_meant_is_misuse(served: Plant, words: tuple[str, ...]) -> None:
    """Either what was, or what might be."""
    assert served.ctl("why", *words, who="carol").code == 2


def test_it_is_told_without_a_service_and_without_a_token(plant: Plant, tmp_path: Path) -> None:
    """In its own process; no PIN is asked for."""
    copy = plant.copy_home(tmp_path / "home")
    found = copy.done("why", "--person", "bob", *ISSUE, "--json", who="carol").json
    assert (found["reason"], found["rule"]) == ("not-allowed", "R2 who may ask")
