"""`coldcredctl policy`, as docs/policy.md teaches it: its lines are run here, and what it shows is what is said."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.policyschema import schema
from coldcred.canonical import sha256_hex
from coldcred.policy import DEFAULT
from tests.support.founded import EXAMPLE, Plant

DOCUMENT = Path(__file__).parents[2] / "docs" / "policy.md"
OWN = (EXAMPLE / "policy.cedar").read_text()


@pytest.fixture
def own(plant: Plant, tmp_path: Path) -> Iterator[Plant]:
    """Return a served copy of the appliance, since other tests live under the policy of the beginning."""
    copy = plant.copy_home(tmp_path / "home")
    shutil.copy(EXAMPLE / "policy.cedar", tmp_path)
    (tmp_path / "activate.json").write_text('{"key": "access-1", "reason": "it was not copied"}')
    with copy.serving():
        yield copy


def steps() -> Iterator[tuple[list[str], list[str]]]:
    """Give each line that the document has people type, and what it says is shown below it."""
    shown: list[str] | None = None
    words: list[str] = []
    for line in DOCUMENT.read_text().replace("\\\n", "").splitlines():
        if line.startswith("    $ "):
            if shown is not None:
                yield words, shown
            words, shown = shlex.split(line.removeprefix("    $ ")), []
        elif line.startswith("    ") and shown is not None:
            shown.append(line.strip())
        elif shown is not None:
            yield words, shown
            shown = None


def test_the_worked_example_is_what_happens(own: Plant, tmp_path: Path) -> None:
    """Each line of the document, in order, with what the document says is shown."""
    codes = []
    for words, shown in steps():
        assert words[0] == "coldcredctl"
        who = words[2].removesuffix(".operator") if words[1] == "--as" else ""
        rest = words[3:] if who else words[1:]
        files = re.compile(r"\.(cedar|jws|json)$")
        ended = own.ctl(*(tmp_path / word if files.search(word) else word for word in rest), who=who)
        codes.append(ended.code)
        for line in shown:
            assert line in ended.out + ended.err, (words, line, ended)
    assert codes == [0, 3, 0, 1, 0, 0, 0]


def test_the_document_shows_what_the_code_says() -> None:
    """The policies that it quotes are those of the code and of the worked example, word by word."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", DOCUMENT.read_text(), re.MULTILINE)
    quoted = ["\n".join(line[4:] for line in block.strip("\n").splitlines()) for block in blocks if "@id" in block]
    assert len(quoted) == 2
    assert quoted[0] in DEFAULT
    assert quoted[1] in OWN
    assert OWN.startswith(DEFAULT)


def test_a_policy_is_shown_whole_and_listed(own: Plant, tmp_path: Path) -> None:
    """What is in force, what was, what it begins with, and what policies can speak of."""
    begins = sha256_hex(DEFAULT.encode())
    assert own.done("policy", "show", who="alice").out == DEFAULT
    assert own.done("policy", "show", "--default").out == DEFAULT
    assert own.done("policy", "show", "--schema").out == schema() + ("" if schema().endswith("\n") else "\n")
    request = tmp_path / "policy.jws"
    waiting = own.ctl("policy", "set", tmp_path / "policy.cedar", "--request", request, "--json", who="alice")
    assert waiting.code == 3
    assert {one["by"] for one in waiting.json["preview"]["changes"]} == {
        "policy short-profiles",
        "policy bob-adds-no-sites",
    }
    own.done("approve", request, who="bob")
    found = own.done("policy", "show", "--json", who="carol").json
    assert (found["text"], found["in_force"]) == (OWN, True)
    before = own.done("policy", "show", "--hash", begins, "--json", who="carol").json
    assert (before["text"], before["in_force"]) == (DEFAULT, False)
    rows = own.done("policy", "list", "--json", who="carol").json
    assert [(row["policy"], row["people"], row["in_force"]) for row in rows] == [
        (begins, [], False),
        (sha256_hex(OWN.encode()), ["alice", "bob"], True),
    ]
    assert own.ctl("policy", "show", "--hash", "0" * 64, "--json", who="carol").json["error"] == "malformed"
    assert own.ctl("policy", "show", "--default", "--schema").code == 2
    done = own.done("policy", "set", tmp_path / "policy.cedar", "--request", request, "--json", who="alice")
    assert done.json["result"] == {"policy": sha256_hex(OWN.encode())}


@pytest.mark.parametrize(
    ("text", "reason", "says"),
    [
        ("permit (principal, action, resource);", "policy-invalid", "line 1: a policy without an id"),
        ('\n@id("a") permit (principal, action, resource) when { principal.shoes };', "policy-invalid", "line 2"),
        ("// " + "x" * 40_000, "policy-invalid", "over 32768 bytes"),
        ("// nothing is permitted", "policy-locks-out", "policy.set"),
    ],
)
def test_what_is_no_policy_is_refused_here(own: Plant, tmp_path: Path, text: str, reason: str, says: str) -> None:
    """With Cedar's words and the line; nothing of it is sent."""
    file = tmp_path / "bad.cedar"
    file.write_text(text)
    ended = own.ctl("policy", "set", file, "--json", who="alice")
    assert (ended.code, ended.json["error"]) == (1, reason)
    assert says in ended.json["detail"]
    checked = own.ctl("policy", "check", file, "--json")
    assert checked.code == (0 if reason == "policy-locks-out" else 1)


def test_setting_a_profile_shows_what_it_changes(own: Plant, tmp_path: Path) -> None:
    """How much lives outside it, what is narrower, and then the request waits as ever."""
    own.issue("--ttl", "2h")
    file = tmp_path / "profile.toml"
    file.write_text((EXAMPLE / "orders-reader.toml").read_text().replace('lifetime = "8h"', 'lifetime = "1h"'))
    waiting = own.ctl("profile", "set", file, "--request", tmp_path / "profile.jws", who="alice")
    assert waiting.code == 3
    for line in ("1 outside it then; they stay good until they end", "narrower than before: lifetime"):
        assert line in waiting.err
