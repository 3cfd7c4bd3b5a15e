"""`operator`: people who join, change, leave and are recovered, at the command line and on a real token."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coldcred import founding as foundings
from coldcred.countersignature import parse_countersignature
from tests.support.commandline import CTL, Ended, run
from tests.support.founded import PASSPHRASE, Plant, make_key

REASON = ("--reason", "the key was lost")


@pytest.fixture
def mine(plant: Plant, tmp_path: Path) -> Iterator[Plant]:
    """Return the appliance with a home of the test's own, served; people's keys are shared."""
    copy = plant.copy_home(tmp_path / "home")
    with copy.serving():
        yield copy


def appliance(plant: Plant) -> str:
    """Give the appliance's id."""
    return foundings.parse((plant.home / "founding.json").read_bytes()).appliance_id


def countersigned(plant: Plant, folder: Path, person: str, name: str = "") -> tuple[Path, str]:
    """Make a key for a person and countersign with it where no appliance is; gives the document and the kid."""
    key = folder / f"{name or person}.operator"
    make_key(key)
    out = folder / f"{key.name}.countersignature"
    words: list[str | Path] = [
        "operator",
        "countersign",
        "--appliance",
        appliance(plant),
        "--person",
        person,
        "--out",
        out,
    ]
    nowhere = folder / "no home here"
    ended = run([*CTL, "--home", nowhere, "--as", key, *words], secrets={"--passphrase-fd": PASSPHRASE})
    assert ended.code == 0, ended
    return out, parse_countersignature(out.read_text().strip()).key.thumbprint


def by_two(plant: Plant, folder: Path, *words: str | Path) -> Ended:
    """Ask as alice and approve as bob."""
    request = folder / f"{words[1]}-{words[2]}.jws"
    waiting = plant.ctl("operator", *words[1:], "--request", request, who="alice")
    assert waiting.code == 3, waiting
    return plant.ctl("approve", request, "--json", who="bob")


def people(plant: Plant) -> dict[str, dict[str, object]]:
    """Give who is enrolled, by name."""
    return {row["person"]: row for row in plant.done("operator", "list", "--json", who="alice").json}


def test_somebody_joins_changes_and_leaves(mine: Plant, tmp_path: Path) -> None:
    """From a key made on another machine to the last line of the log, each step by two people."""
    proof, kid = countersigned(mine, tmp_path, "erin")
    added = by_two(mine, tmp_path, "operator", "add", "erin", "--role", "officer", "--countersignature", proof)
    assert (added.code, added.json["result"]) == (0, {"kid": kid, "person": "erin"})
    assert people(mine)["erin"]["roles"] == ["officer"]
    changed = by_two(
        mine, tmp_path, "operator", "roles", "erin", "--role", "issuer", "--role", "approver", "--reason", "new work"
    )
    assert changed.json["result"] == {"person": "erin", "roles": ["approver", "issuer"]}
    second, newer = countersigned(mine, tmp_path, "erin", "erin-2")
    more = by_two(mine, tmp_path, "operator", "add-key", "erin", "--countersignature", second, "--reason", "a card")
    assert more.json["result"] == {"keys": sorted([kid, newer]), "person": "erin"}
    fewer = by_two(mine, tmp_path, "operator", "retire-key", "erin", kid, "--reason", "worn")
    assert fewer.json["result"] == {"keys": [newer], "person": "erin"}
    third, newest = countersigned(mine, tmp_path, "erin", "erin-3")
    other = by_two(
        mine, tmp_path, "operator", "replace-key", "erin", "--countersignature", third, "--retire", newer, *REASON
    )
    assert other.json["result"] == {"keys": [newest], "person": "erin"}
    shown = mine.done("operator", "list", who="alice").out
    assert newest in shown
    assert newer not in shown
    key = tmp_path / "erin-3.operator"
    read = run([*CTL, "--home", mine.home, "--as", key, "status", "--json"], secrets={"--passphrase-fd": PASSPHRASE})
    assert read.code == 0, read
    gone = by_two(mine, tmp_path, "operator", "remove", "erin", "--reason", "left the plant")
    assert gone.json["result"] == {"person": "erin", "workloads": 0}
    assert "erin" not in people(mine)
    stranger = run([*CTL, "--home", mine.home, "--as", key, "status"], secrets={"--passphrase-fd": PASSPHRASE})
    assert (stranger.code, "unknown-signer" in stranger.err) == (1, True), stranger


def test_custodians_recover_an_officer(mine: Plant, tmp_path: Path) -> None:
    """The custodian's key asks, another custodian's approval is carried in; the old key opens nothing any more."""
    proof, kid = countersigned(mine, tmp_path, "bob", "bob-2")
    request = tmp_path / "recover.jws"
    line: tuple[str | Path, ...] = ("operator", "recover", "bob", "--countersignature", proof, *REASON)
    refused = mine.ctl(*line, who="alice")
    assert (refused.code, "not-allowed" in refused.err) == (1, True), refused
    waiting = mine.ctl(*line, "--request", request, who="alice.custodian")
    assert waiting.code == 3, waiting
    assert f"in the place of bob: bob, key {kid}" in waiting.err
    assert "THEIR-CUSTODIAN-KEY" in waiting.err
    approval = tmp_path / "approval.jws"
    mine.done("approve", request, "--attachment", proof, "--out", approval, who="carol.custodian")
    done = mine.ctl(*line, "--request", request, "--approval", approval, "--json", who="alice.custodian")
    assert (done.code, done.json["have"]) == (0, ["alice", "carol"]), done
    assert people(mine)["bob"]["keys"] == [kid]
    assert mine.ctl("status", who="bob").code == 1


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("remove", "bob", "--reason", "left"), 1, "below-quorum"),
        (("roles", "alice", "--role", "officer", "--reason", "less"), 1, "below-quorum"),
        (("remove", "erin", "--reason", "left"), 1, "unknown-person"),
        (("retire-key", "bob", "A" * 43, "--reason", "lost"), 1, "unknown-key"),
        (("retire-key", "bob", f"-h{'A' * 41}", f"--{'h' * 41}", "--reason", "lost"), 1, "unknown-key"),
    ],
)
def test_a_refusal_is_explained_once_people_agreed(
    words: tuple[str, ...], code: int, name: str, mine: Plant, tmp_path: Path
) -> None:
    """What, why, in what state, and what to do; the home is as it was."""
    request = tmp_path / "request.jws"
    assert mine.ctl("operator", *words, "--request", request, who="alice").code == 3
    ended = mine.ctl("approve", request, who="bob")
    assert (ended.code, f"({name})" in ended.err) == (code, True), ended
    assert "nothing was changed" in ended.err
    assert [*people(mine)] == ["alice", "bob", "carol"]


@pytest.mark.parametrize(
    "words",
    [
        ("remove", "Bob", "--reason", "left"),
        ("roles", "carol", "--role", "auditor", "--role", "issuer", "--reason", "more"),
    ],
)
def test_what_has_no_form_is_refused_before_anybody_is_asked(words: tuple[str, ...], mine: Plant) -> None:
    """A name of two spellings, and duties that are separate: nobody spends an approval on them."""
    ended = mine.ctl("operator", *words, who="alice")
    assert (ended.code, "(malformed)" in ended.err, "nothing was changed" in ended.err) == (1, True, True), ended
    assert mine.ctl("request", "list", "--json", who="bob").json == []


def test_a_document_for_something_else_is_refused_before_anything_is_signed(mine: Plant, tmp_path: Path) -> None:
    """Another person's, another appliance's, no document at all, a role that does not exist, a key that is missing."""
    proof, _ = countersigned(mine, tmp_path, "erin")
    role = ("--role", "officer")
    other = mine.ctl("operator", "add", "frank", *role, "--countersignature", proof, who="alice")
    assert (other.code, "is signed for erin" in other.err) == (1, True), other
    nothing = mine.ctl("operator", "add", "erin", *role, "--countersignature", mine.home / "founding.json", who="alice")
    assert (nothing.code, "not a signed document" in nothing.err) == (1, True), nothing
    assert mine.ctl("operator", "add", "erin", "--role", "root", "--countersignature", proof, who="alice").code == 2
    elsewhere = tmp_path / "elsewhere"
    words = ("operator", "countersign", "--appliance", "0" * 64, "--person", "erin", "--out", elsewhere)
    assert mine.ctl(*words, who="alice").code == 0
    away = mine.ctl("operator", "add", "erin", *role, "--countersignature", elsewhere, who="alice")
    assert (away.code, "is for appliance 0000" in away.err) == (1, True), away


def test_countersigning_takes_the_appliance_from_the_home(mine: Plant, tmp_path: Path) -> None:
    """Where there is none it has to be named; a name and an id are held to their spelling."""
    out = tmp_path / "proof"
    done = mine.ctl("operator", "countersign", "--person", "alice", "--out", out, "--json", who="alice")
    assert (done.code, done.json["appliance"]) == (0, appliance(mine)), done
    words: list[str | Path] = ["operator", "countersign", "--person", "alice", "--out", tmp_path / "other"]
    key = mine.people / "alice.operator"
    nowhere: list[str | Path] = [*CTL, "--home", tmp_path / "nowhere", "--as", key, *words]
    assert run(nowhere, secrets={"--passphrase-fd": PASSPHRASE}).code == 2
    for wrong in (["--appliance", "0" * 63], ["--person", "Alice\u202e"]):
        ended = run([*nowhere, "--appliance", "0" * 64, *wrong], secrets={"--passphrase-fd": PASSPHRASE})
        assert (ended.code, "(malformed)" in ended.err) == (1, True), ended
        assert "\u202e" not in ended.err
