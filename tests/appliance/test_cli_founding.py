"""`operator keygen`, `token` and `init`: from nothing to an appliance, by files that go round or at one terminal."""

import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from appliance.identity import public_path, read_public
from appliance.log import Log
from coldcred import founding
from coldcred.founding import MAX_FOUNDING
from coldcred.log import entry as entries
from tests.support.commandline import CTL, ENVIRONMENT, Ended, run, typed
from tests.support.founded import EXAMPLE, PASSPHRASE, PEOPLE, Plant, alone_plan, begin, found, hsm_options
from tests.support.softhsm import MODULE, PIN, SoftHsm

REGISTERS = ("operator", "custodian")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, softhsm_prepared: SoftHsm) -> Plant:
    """Return three people with their keys and an empty token; nothing is founded."""
    return begin(tmp_path_factory.mktemp("people"), softhsm_prepared)


def draft(plant: Plant, out: Path) -> Ended:
    """Draft a founding from the example's plan."""
    return plant.ctl("init", "draft", "--plan", EXAMPLE / "plan.toml", "--people", plant.people, "--out", out, "--json")


def test_a_key_is_made_at_the_terminal(tmp_path: Path) -> None:
    """The passphrase is typed twice and never shown; key and public half are there afterwards."""
    key = tmp_path / "alice.operator"
    code, screen = typed([*CTL, "operator", "keygen", str(key)], PASSPHRASE, PASSPHRASE)
    assert (code, PASSPHRASE in screen) == (0, False)
    assert read_public(public_path(key)).thumbprint in screen
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_typing_error_makes_no_key(tmp_path: Path) -> None:
    """Two different passphrases make nothing."""
    code, screen = typed([*CTL, "operator", "keygen", str(tmp_path / "key")], PASSPHRASE, PASSPHRASE + "x")
    assert (code, "secret-differs" in screen) == (1, True)
    assert not list(tmp_path.iterdir())


def test_without_a_terminal_a_descriptor_is_needed(tmp_path: Path) -> None:
    """Where nobody can be asked, the verb says how a passphrase is given instead, and reads no standard input."""
    ended = subprocess.run(
        ["setsid", *CTL, "operator", "keygen", tmp_path / "key", "--json"],
        input=f"{PASSPHRASE}\n",
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, json.loads(ended.stdout)["error"]) == (2, "no-terminal")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("secret", "error"), [("short", "identity-weak-passphrase"), ("", "secret-empty")])
def test_weak_passphrases_make_no_key(tmp_path: Path, secret: str, error: str) -> None:
    """A weak or empty passphrase is refused by name."""
    ended = run([*CTL, "operator", "keygen", tmp_path / "key", "--json"], secrets={"--passphrase-fd": secret})
    assert (ended.code, ended.json["error"]) == (1, error)
    assert not list(tmp_path.iterdir())


def test_a_key_is_never_overwritten(people: Plant) -> None:
    """Making a key where there is one leaves it as it was."""
    key = people.people / "alice.operator"
    before = key.read_bytes()
    ended = run([*CTL, "operator", "keygen", key, "--json"], secrets={"--passphrase-fd": PASSPHRASE})
    assert (ended.code, ended.json["error"]) == (1, "identity-exists")
    assert key.read_bytes() == before


def test_no_secret_stands_in_the_process_list(tmp_path: Path) -> None:
    """While a verb waits for its secret and after it has it, neither arguments nor environment hold one."""
    read, write = os.pipe()
    command = [*CTL, "--passphrase-fd", str(read), "operator", "keygen", str(tmp_path / "key")]
    process = subprocess.Popen(command, env=ENVIRONMENT, pass_fds=(read,), stdout=subprocess.DEVNULL)
    os.close(read)
    seen = b""
    os.write(write, f"{PASSPHRASE}\n".encode())
    os.close(write)
    while process.poll() is None:
        for name in ("cmdline", "environ"):
            try:
                seen += Path(f"/proc/{process.pid}/{name}").read_bytes()
            except OSError:
                continue
        time.sleep(0.01)
    assert process.returncode == 0
    assert b"keygen" in seen
    assert PASSPHRASE.encode() not in seen


def test_a_token_is_initialised_and_listed(tmp_path: Path) -> None:
    """`token init` makes a token with two PINs, `token list` shows it, and the same label is refused."""
    softhsm = SoftHsm(tmp_path)
    softhsm.configure()
    module = ("--module", MODULE, "--module-env", f"SOFTHSM2_CONF={tmp_path / 'softhsm2.conf'}", "--json")

    def init() -> Ended:
        pins = {"--pin-fd": "12345678"}, {"--so-pin-fd": "87654321"}
        return run([*CTL, "token", "init", "plant-a-daily", *module], secrets=pins[0], verb_secrets=pins[1])

    assert [token["label"] for token in init().json] == ["plant-a-daily"]
    listed = run([*CTL, "token", "list", *module])
    assert [token["label"] for token in listed.json] == ["plant-a-daily"]
    again = init()
    assert (again.code, again.json["error"]) == (4, "token-exists")


def test_a_founding_goes_round_by_files(people: Plant, tmp_path: Path) -> None:
    """Draft, two signatures from each, complete; a wrong PIN half-way is gone on from, and running it again is safe."""
    plant = Plant(people.folder, tmp_path / "home")
    document = tmp_path / "founding.json"
    drafted = draft(plant, document)
    assert (drafted.code, drafted.json["appliance"]) == (0, founding.parse(document.read_bytes()).appliance_id)
    signatures: list[str | Path] = []
    for person in PEOPLE:
        for register in REGISTERS:
            signatures.append(tmp_path / f"{person}.{register}.jws")
            key = f"{person}.{register}"
            signed = plant.done("init", "sign", document, "--out", signatures[-1], "--json", who=key)
            assert (signed.json["person"], signed.json["register"]) == (person, register)
    options = hsm_options(plant)
    too_few = plant.ctl("init", "complete", document, *signatures[1:], *options, "--json")
    assert (too_few.code, too_few.json["error"]) == (1, "signatures-missing")
    assert "alice" in too_few.json["detail"]
    assert not plant.home.exists()

    wrong = plant.ctl("init", "complete", document, *signatures, *options, "--json", pin="00000000")
    assert (wrong.code, wrong.json["error"]) == (4, "pin-incorrect")
    completed = plant.ctl("init", "complete", document, *signatures, *options, "--json")
    assert (completed.code, completed.json["appliance"]) == (0, drafted.json["appliance"])
    keys = plant.done("key", "list", "--json", who="alice").json
    assert {key["name"] for key in keys if key["kid"]} == {"access-1", "status-1", "log-1", "bundle-1"}

    again = plant.ctl("init", "complete", document, *signatures, *options)
    assert again.code == 0
    assert plant.done("key", "list", "--json", who="alice").json == keys
    other = tmp_path / "other.json"
    time.sleep(1.1)  # a founding is named by its second
    draft(plant, other)
    refused = plant.ctl("init", "complete", other, *signatures, *options, "--json")
    assert refused.code == 1
    whole = plant.ctl("init", "all", "--plan", EXAMPLE / "plan.toml", "--people", plant.people, *options, "--help")
    assert whole.code == 0


def test_init_refuses_to_overwrite(people: Plant, tmp_path: Path) -> None:
    """A draft, a signature and a home are never written over what is there."""
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert draft(people, taken).json["error"] == "file"
    document = tmp_path / "founding.json"
    draft(people, document)
    signed = people.ctl("init", "sign", document, "--out", taken, "--json", who="alice")
    assert (signed.code, signed.json["error"]) == (5, "file")
    assert taken.read_text() == "mine"

    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    whole = found(Plant(people.folder, folder))
    assert (whole.code, "home-exists" in whole.err) == (1, True)
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_init_all_runs_again(plant: Plant, tmp_path: Path) -> None:
    """`init all` on the home it made goes on with the same founding; with another plan it is refused."""
    copy = plant.copy_home(tmp_path / "home")
    assert found(copy).code == 0
    other = tmp_path / "plan.toml"
    other.write_text((EXAMPLE / "plan.toml").read_text().replace('window = "24h"', 'window = "12h"'))
    (tmp_path / "orders-reader.toml").write_bytes((EXAMPLE / "orders-reader.toml").read_bytes())
    refused = found(copy, other)
    assert (refused.code, "home-exists" in refused.err) == (1, True)


def test_a_stranger_cannot_sign(people: Plant, tmp_path: Path) -> None:
    """A key that is not in the founding is told so."""
    document = tmp_path / "founding.json"
    draft(people, document)
    stranger = tmp_path / "mallory"
    run([*CTL, "operator", "keygen", stranger], secrets={"--passphrase-fd": PASSPHRASE})
    ended = run(
        [*CTL, "--as", stranger, "init", "sign", document, "--out", tmp_path / "x", "--json"],
        secrets={"--passphrase-fd": PASSPHRASE},
    )
    assert (ended.code, ended.json["error"]) == (1, "not-a-founder")


@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 1000, b'{"v":1}', b"x" * (MAX_FOUNDING + 1)])
def test_what_is_no_founding_is_refused(people: Plant, tmp_path: Path, body: bytes) -> None:
    """A file that is not a canonical founding is refused before a passphrase is asked for."""
    document = tmp_path / "founding.json"
    document.write_bytes(body)
    ended = people.ctl("init", "sign", document, "--out", tmp_path / "x", "--json", who="alice")
    assert (ended.code, ended.json["error"]) == (1, "malformed")


def test_a_missing_public_key_is_named(tmp_path: Path) -> None:
    """A plan that names somebody without keys says whose file is missing."""
    (tmp_path / "people").mkdir()
    plan = ("--plan", EXAMPLE / "plan.toml", "--people", tmp_path / "people")
    ended = Plant(tmp_path, tmp_path / "home").ctl("init", "draft", *plan, "--out", tmp_path / "f", "--json")
    assert (ended.code, "alice.operator.pub.json" in ended.json["detail"]) == (2, True)


def test_one_person_is_called_a_single_operator(alone: Plant, tmp_path: Path) -> None:
    """A home founded by one person says so on every screen, and takes one person for everything."""
    for verb in (["status"], ["workload", "list"], ["key", "list"], ["log", "show"], ["request", "list"]):
        ended = alone.done(*verb, who="alice")
        assert "SINGLE OPERATOR" in ended.err, verb
    assert "SINGLE OPERATOR" in alone.done("status").err
    plan = ("--plan", alone.folder / "plan.toml", "--people", alone.people)
    assert "SINGLE OPERATOR" in alone.done("init", "draft", *plan, "--out", tmp_path / "founding.json").err
    assert alone.done("status", "--json").json["single_operator"] is True
    enrolled = alone.done("workload", "enrol", "spiffe://plant-a.example/line-1/a", "--owner", "alice", who="alice")
    assert "SINGLE OPERATOR" in enrolled.err


def test_a_founding_opens_a_ceremonys_token_too(tmp_path: Path, softhsm_prepared: SoftHsm) -> None:
    """Everybody is there: each token makes its keys, the ceremony's with the parts of two people."""
    plant = begin(tmp_path / "two", softhsm_prepared, ("alice",))
    module = ("--module", MODULE, "--module-env", plant.environment)
    made = run(
        [*CTL, "token", "init", "plant-a-ceremony", *module, "--ceremony"],
        secrets={"--pin-fd": "canary-first-1\ncanary-second-2"},
        verb_secrets={"--so-pin-fd": "87654321"},
    )
    assert made.code == 0, made
    plan = alone_plan(plant.folder)
    text = plan.read_text()
    key = text[text.index('[[keys]]\nname = "access-1"') : text.index('[[keys]]\nname = "status-1"')]
    key = key.replace("access-1", "svid-1").replace("plant-a-daily", "plant-a-ceremony").replace('"access"', '"svid"')
    token = '[[tokens]]\nlabel = "plant-a-ceremony"\nclass = "ceremony"\nexclusive = true\n\n'
    plan.write_text(text.replace("[horizons]", token + key + "[horizons]"))
    people = ("--people", plant.people, "--passphrase-dir", plant.people)
    pins = f"{PIN.decode()}\ncanary-first-1\ncanary-second-2"
    founded = plant.ctl("init", "all", "--plan", plan, *people, *hsm_options(plant), pin=pins)
    assert founded.code == 0, founded
    log = Log.open(plant.home / "log.sqlite")
    events = [entries.parse(body).event for body in log.bodies()]
    log.close()
    assert {event["name"] for event in events if event["type"] == "key.done"} >= {"access-1", "svid-1"}
    assert {(event["token"], event["mode"]) for event in events if event["type"] == "pin.accepted"} == {
        ("plant-a-daily", "descriptor"),
        ("plant-a-ceremony", "two-people"),
    }
