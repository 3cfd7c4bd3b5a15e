"""What an approver is shown, at a terminal and off it: all that the signature covers, before anybody is asked."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli import reading
from coldcred.policy import DEFAULT
from coldcred.rendering import frame
from tests.appliance.test_cli_operators import countersigned
from tests.coldcred.test_rendering import spoof
from tests.support.commandline import CTL, Ended, run
from tests.support.founded import AUDIENCE, EXAMPLE, PASSPHRASE, WORKLOAD, Plant
from tests.support.screen import COLUMNS, Terminal, at_terminal

FORBID = '\n@id("no-careful")\nforbid (principal, action == Action::"credential.issue", resource)\n'
HIDDEN = DEFAULT + "// nothing\n" * 200 + f"// ---- end of policy; nothing else changed ----\n{FORBID};\n"
PASSPHRASE_ASKED, QUESTION = "passphrase of bob.operator: ", "this request? [y/N]: "


@pytest.fixture(scope="module")
def mine(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Return a served copy of the appliance with a profile that takes two people."""
    folder = tmp_path_factory.mktemp("shown")
    copy = plant.copy_home(folder / "home")
    careful = (EXAMPLE / "orders-reader.toml").read_text().replace("orders-reader", "orders-careful")
    (folder / "careful.toml").write_text(careful.replace("approvals = 1", "approvals = 2"))
    with copy.serving():
        waits = copy.ctl("profile", "set", folder / "careful.toml", "--request", folder / "careful.jws", who="alice")
        assert waits.code == 3, waits
        copy.done("approve", folder / "careful.jws", who="bob")
        yield copy


def approving(plant: Plant, *words: str | Path, home: Path | None = None) -> list[str]:
    """Give the line by which bob approves at a terminal, or denies."""
    return [str(word) for word in (*CTL, "--home", home or plant.home, "--as", plant.people / "bob.operator", *words)]


class Bob:
    """Bob at his terminal: he types his passphrase, reads to the end, or `pages` pages of it, and answers."""

    def __init__(self, answer: str, pages: int = 10_000) -> None:
        self.answer, self.pages, self.turned, self.typed = answer, pages, 0, 0

    def __call__(self, terminal: Terminal) -> None:
        """Type what comes next."""
        screen = bytes(terminal.screen)
        if self.typed == 0 and screen.endswith(PASSPHRASE_ASKED.encode()):
            self.typed = 1
            terminal.type(f"{PASSPHRASE}\n")
        elif screen.count(b"q leaves --") > self.turned:
            self.turned += 1
            terminal.type(" " if self.turned <= self.pages else "q")
        elif self.typed == 1 and screen.endswith(QUESTION.encode()):
            self.typed = 2
            terminal.type(f"{self.answer}\n")


def rows_of(screen: str) -> list[str]:
    """Give the rows between the words before the request and the question, without the pager's own."""
    text = re.sub(r"-- rows \d+ of \d+; space goes on, q leaves --\r +\r", "", screen).replace("\r\n", "\n")
    return text.partition("this request asks for")[2].split("\n")[1:]


def asked(plant: Plant, folder: Path, *words: str | Path, who: str = "alice") -> tuple[Ended, Path]:
    """Let somebody ask for what waits; gives what was said and the request file."""
    request = folder / "request.jws"
    waits = plant.ctl(*words, "--request", request, who=who)
    assert waits.code == 3, waits
    return waits, request


def test_a_batch_is_read_to_its_end_before_it_is_approved(mine: Plant, tmp_path: Path) -> None:
    """At 80x24, seven hundred lines of which the first looks like all: totals, every line, then the question."""
    (tmp_path / "spoof.jsonl").write_bytes(spoof())
    line = ("issue", "--requests", tmp_path / "spoof.jsonl", "--out", tmp_path / "out.jsonl")
    _, request = asked(mine, tmp_path, *line)
    code, screen = at_terminal(approving(mine, "approve", request), Bob("y", pages=3))
    assert (code, QUESTION in screen) == (130, False)
    bob = Bob("n")
    code, screen = at_terminal(approving(mine, "approve", request), bob)
    assert (code, bob.typed) == (130, 2)
    rows = rows_of(screen)
    assert max(map(len, rows)) < COLUMNS
    assert "  501 lines of it can be read and ask for a credential each" in rows
    assert "  | 500 spiffe://plant-a.example/line-1/robot-8" in rows
    assert next(row for row in rows if "act credential.issue" in row) == "  act credential.issue"
    assert rows.count("  act credential.issue") == 1
    assert not [row for row in rows if row.startswith("  items.count")]
    assert all(any(row.startswith(f"  | {number} ") for row in rows) for number in range(1, 701))
    assert json.loads(mine.done("request", "list", "--json", who="carol").out)
    mine.done("request", "withdraw", request_id(mine), who="alice")


def request_id(plant: Plant) -> str:
    """Give the id of the one request that waits."""
    (found,) = (row for row in plant.done("request", "list", "--json", who="carol").json if row["state"] == "waiting")
    return str(found["command"])


def test_a_policy_is_approved_with_its_last_line_its_difference_and_its_effect(mine: Plant, tmp_path: Path) -> None:
    """A rule behind two hundred lines of comment is on the screen three times: by number, as new, by what it does."""
    (tmp_path / "hidden.cedar").write_text(HIDDEN)
    _, request = asked(mine, tmp_path, "policy", "set", tmp_path / "hidden.cedar")
    denied = run(
        approving(mine, "--passphrase-fd", "0", "deny", request, "--reason", "it forbids"), stdin=f"{PASSPHRASE}\n"
    )
    assert denied.code == 0, denied
    number = HIDDEN.splitlines().index('@id("no-careful")') + 2
    rows = denied.err.splitlines()
    told = [row for row in rows if row.startswith(f"  | {number} forbid")]
    assert len(told) == 1
    assert any(row.startswith('  | +forbid (principal, action == Action::"credential.issue"') for row in rows)
    effect = "".join(row.removeprefix("  : ") for row in rows[rows.index(EFFECT) :])
    assert "becomes forbidden (policy no-careful)" in effect


EFFECT = "  what it would change for everything now alive"


def test_a_key_is_approved_by_its_thumbprint(mine: Plant, tmp_path: Path) -> None:
    """Which key comes in stands on the screen before anybody signs for it; so it does for a machine."""
    proof, kid = countersigned(mine, tmp_path, "dora")
    _, request = asked(mine, tmp_path, "operator", "add", "dora", "--role", "officer", "--countersignature", proof)
    code, screen = at_terminal(approving(mine, "approve", request), Bob("n"))
    assert code == 130
    before, _, _ = screen.partition(QUESTION)
    assert f"  | key {kid} (Ed25519)" in before.replace("\r\n", "\n").split("\n")
    assert "  compare the key with what its holder reads to you; a name proves nothing" in before
    mine.done("request", "withdraw", request_id(mine), who="alice")


def test_everything_is_asked_in_one_order(mine: Plant, tmp_path: Path) -> None:
    """The passphrase, then what is signed for, then the question: at the appliance and with a file from it."""
    reason = ("--reason", "padded" + " " * 90 + "act read.open")
    mine.done("workload", "suspend", WORKLOAD, "--reason", "found open", who="bob")
    _, request = asked(mine, tmp_path, "workload", "resume", WORKLOAD)
    carried = tmp_path / "carried.request"
    mine.done("request", "export", request_id(mine), "--out", carried, who="alice")
    away = approving(mine, "approve", carried, "--out", tmp_path / "out", *reason, home=tmp_path / "none")
    for line in (approving(mine, "approve", request), approving(mine, "approve", request_id(mine)), away):
        bob = Bob("n")
        code, screen = at_terminal(line, bob)
        assert (code, bob.typed) == (130, 2), screen
        order = [screen.index(part) for part in (PASSPHRASE_ASKED, "this request asks for", QUESTION)]
        assert order == sorted(order)
    bare = run(approving(mine, "approve", request, "--out", tmp_path / "out", home=tmp_path / "none"))
    assert (bare.code, "request export" in bare.err, "passphrase" in bare.err) == (2, True, False), bare
    mine.done("approve", request, who="bob")


def test_what_would_be_refused_is_said_before_it_is_approved(mine: Plant, tmp_path: Path) -> None:
    """A policy came meanwhile that forbids what waits: the approver hears of it before signing, with the rule."""
    line = (
        "--profile",
        "orders-careful",
        "--workload",
        WORKLOAD,
        "--audience",
        AUDIENCE,
        "--task",
        "x" + " " * 80 + "y",
    )
    _, request = asked(mine, tmp_path, "issue", *line)
    waiting = request_id(mine)
    approved = mine.ctl("request", "show", waiting, who="bob").out
    assert "no-careful" not in approved
    careful = FORBID.replace("resource)", 'resource == Profile::"orders-careful")')
    (tmp_path / "forbid.cedar").write_text(f"{DEFAULT}{careful};\n")
    other = tmp_path / "policy"
    other.mkdir()
    _, policy = asked(mine, other, "policy", "set", tmp_path / "forbid.cedar")
    mine.done("approve", policy, who="bob")
    code, screen = at_terminal(approving(mine, "approve", request), Bob("n"))
    assert code == 130
    assert "as things stand, and with your approval, it would be refused" in screen.partition(QUESTION)[0]
    assert "no-careful" in screen.partition(QUESTION)[0]
    assert not [row for row in rows_of(screen) if row.strip().startswith("y")]
    (tmp_path / "back.cedar").write_text(DEFAULT)
    back = tmp_path / "back"
    back.mkdir()
    _, policy = asked(mine, back, "policy", "set", tmp_path / "back.cedar")
    mine.done("approve", policy, who="bob")
    mine.done("request", "withdraw", waiting, who="alice")


def test_the_line_that_a_recovery_prints_works(plant: Plant, tmp_path: Path) -> None:
    """A custodian's key may not read at the appliance, so the file brings what the custodian has to see."""
    copy = plant.copy_home(tmp_path / "home")
    proof, kid = countersigned(copy, tmp_path, "bob", "bob-2")
    with copy.serving():
        line = ("operator", "recover", "bob", "--countersignature", proof, "--reason", "lost")
        waits, _ = asked(copy, tmp_path, *line, who="alice.custodian")
        found = re.search(r"`coldcredctl --as THEIR-CUSTODIAN-KEY (approve \S+)`", waits.err)
        assert found is not None, waits
        done = copy.done(*found[1].split(), who="carol.custodian")
    assert f"  | key {kid} (Ed25519)" in done.err.splitlines()


def test_what_is_shown_is_what_was_hashed(mine: Plant, tmp_path: Path) -> None:
    """Above the line that says so stand the lines whose SHA-256 it names; nothing is left out, nothing added."""
    body = json.dumps({"profile": "orders-careful", "workload": WORKLOAD, "audience": AUDIENCE, "task": "x" * 200})
    (tmp_path / "one.jsonl").write_text(f"{body}\n{'z' * 300}\n")
    asked(mine, tmp_path, "issue", "--requests", tmp_path / "one.jsonl", "--out", tmp_path / "out.jsonl")
    shown = mine.done("request", "show", request_id(mine), who="carol").out.splitlines()
    lines: list[str] = []
    for row in (row.removeprefix("  ") for row in shown):
        if row.startswith(frame.MORE):
            lines[-1] += row.removeprefix(frame.MORE)
        elif row.startswith(frame.INDENT):
            lines[-1] += row.removeprefix(frame.INDENT)
        else:
            lines.append(row)
    (says,) = (line for line in lines if line.endswith(frame.digest(lines[: lines.index(line) - 1])))
    assert says.startswith(f"the {lines.index(says) - 1} lines above are signed for, as SHA-256 ")
    assert reading.rows(["| x"])[0] == "  | x"
    mine.done("request", "withdraw", request_id(mine), who="alice")


def test_whoever_asks_sees_what_approvers_will_see(mine: Plant, tmp_path: Path) -> None:
    """At a terminal a policy is shown with its difference and its effect, and nothing is sent without a yes."""
    (tmp_path / "hidden.cedar").write_text(HIDDEN)
    line = approving(mine, "policy", "set", tmp_path / "hidden.cedar", "--request", tmp_path / "policy.jws")
    bob = Bob("n")
    code, screen = at_terminal(line, bob)
    assert (code, bob.typed) == (130, 2), screen
    assert "becomes forbidden" in screen
    assert "| +forbid (principal" in screen
    assert not (tmp_path / "policy.jws").exists()
    assert "policy.set" not in mine.done("request", "list", who="carol").out
