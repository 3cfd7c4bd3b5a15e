"""Machines that ask for themselves, end to end: real processes, a real token, the two sockets, a site at the end."""

import grp
import http.client
import json
import os
import shutil
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.sockets import connect
from coldcred.acts import Act
from coldcred.canonical import sha256_hex
from coldcred.cli.keyfile import signing_key
from coldcred.command import command_claims
from coldcred.jose import Typ
from tests.support.commandline import Ended, coldcred
from tests.support.founded import AUDIENCE, EXAMPLE, SITE, Plant

ROBOT = "spiffe://plant-a.example/line-1/robot-9"
SELF, CAREFUL = "orders-self", "orders-self-two"


@pytest.fixture(scope="module")
def robot(served: Plant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a machine that was enrolled with proof of its keys, under profiles that let it ask."""
    folder = tmp_path_factory.mktemp("robot")
    ended = enrol(served, folder, "--seal-key", folder / "seal.pem")
    assert ended.code == 0, ended
    asked = ("workload", "enrol", ROBOT, "--owner", "bob", "--group", "line-1", "--enrolment", folder / "enrolment.jws")
    by_two(served, folder / "enrol.jws", *asked)
    text = (EXAMPLE / "orders-reader.toml").read_text()
    for name, approvals in ((SELF, 1), (CAREFUL, 2)):
        profile = text.replace("orders-reader", name).replace("approvals = 1", f"approvals = {approvals}")
        file = folder / f"{name}.toml"
        file.write_text(f'{profile}\nasked_by = ["workload"]\ngroups = ["line-1"]\nrequires = ["task"]\n')
        by_two(served, folder / f"{name}.jws", "profile", "set", file)
    return folder


def enrol(plant: Plant, folder: Path, *more: str | Path) -> Ended:
    """Write the machine's enrolment document."""
    named = ("--appliance", appliance(plant), "--id", ROBOT, "--key", folder / "key.pem")
    return coldcred("enrol", *named, "--out", folder / "enrolment.jws", *more)


def appliance(plant: Plant) -> str:
    """Give the appliance's id."""
    return str(plant.done("status", "--json").json["appliance"])


def by_two(plant: Plant, request: Path, *verb: str | Path) -> None:
    """Have alice ask and bob approve."""
    waiting = plant.ctl(*verb, "--request", request, who="alice")
    assert waiting.code == 3, waiting
    plant.done("approve", request, who="bob")


def ask(plant: Plant, folder: Path, *more: str | Path, profile: str = SELF) -> Ended:
    """Ask over the socket for a credential for the machine itself."""
    named = ("--key", folder / "key.pem", "--id", ROBOT, "--profile", profile, "--audience", AUDIENCE)
    return coldcred("request", *named, "--task", "order 4711", "--socket", plant.home / "workload.sock", *more)


def events(plant: Plant, kind: str) -> list[dict[str, Any]]:
    """Read the events of a type."""
    shown = plant.done("log", "show", "--json", "--limit", "1000", who="carol").json
    return [entry["event"] for entry in shown if entry["event"]["type"] == kind]


def test_a_machine_asks_and_its_site_believes_the_credential(served: Plant, robot: Path, tmp_path: Path) -> None:
    """Enrolled with proof, it asks over the socket by itself; the site accepts, the auditor believes every entry."""
    out = tmp_path / "credential.jwt"
    ended = ask(served, robot, "--scope", "orders.read", "--ttl", "15m", "--out", out)
    assert (ended.code, ended.out) == (0, f"{out}\n"), ended
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    trust = site(served, tmp_path / "trust")
    verdict = coldcred("verify", "--trust", trust, "--audience", AUDIENCE, "--scope", "orders.read", "--json", out)
    assert (verdict.json["verdict"], verdict.json["claims"]["sub"]) == ("accepted", ROBOT), verdict
    assert verdict.json["claims"]["task"] == "order 4711"
    issued = events(served, "credential.issued")[-1]
    assert (issued["by"], issued["people"], issued["approvals"]) == (ROBOT, [], [])
    assert (issued["peer"]["uid"], issued["peer"]["gid"]) == (os.getuid(), os.getgid())
    export = tmp_path / "log.export"
    served.done("log", "export", "--out", export, who="carol")
    believed = coldcred("log", "verify", export, "--trust", trust, "--json")
    assert (believed.code, believed.json["verdict"]) == (0, "intact"), believed


def site(plant: Plant, folder: Path) -> Path:
    """Make a site's trust store and apply the plant's bundle."""
    root = plant.folder / "root.json"
    fingerprint = sha256_hex(root.read_bytes())
    for command in (
        ("site", "init", folder, "--root", root, "--fingerprint", fingerprint, "--site", SITE),
        ("bundle", "apply", plant.folder / "bundle", "--trust", folder),
    ):
        ended = coldcred(*command)
        assert ended.code == 0, ended
    return folder


def test_a_request_that_takes_people_waits_for_them(served: Plant, robot: Path, tmp_path: Path) -> None:
    """The machine counts as nobody: two people approve what it signed, then the same request gives the credential."""
    request, out = tmp_path / "request.jws", tmp_path / "credential.jwt"
    line = ("--request", request, "--out", out)
    first = ask(served, robot, *line, profile=CAREFUL)
    assert (first.code, first.out, out.exists()) == (3, f"{request}\n", False), first
    by_bob = served.ctl("approve", request, "--json", who="bob")
    assert (by_bob.code, by_bob.json["have"], by_bob.json["need"]) == (3, ["bob"], 2), by_bob
    assert f"asked by {ROBOT}" in by_bob.err
    again = ask(served, robot, *line, profile=CAREFUL)
    assert (again.code, "so far bob" in again.err) == (3, True), again
    other = ask(served, robot, *line, "--ttl", "1m", profile=CAREFUL)
    assert (other.code, "another request than this line" in other.err) == (2, True), other
    by_alice = served.ctl("approve", request, "--json", who="alice")
    assert (by_alice.code, by_alice.json["state"], by_alice.json["have"]) == (0, "ready", ["alice", "bob"]), by_alice
    spent = tmp_path / "spent.jws"
    shutil.copy(request, spent)
    assert ask(served, robot, *line, profile=CAREFUL).code == 0
    assert (out.exists(), request.exists()) == (True, False)
    told = ask(served, robot, "--request", spent, "--out", out, profile=CAREFUL)
    assert (told.code, "told-once" in told.err, spent.exists()) == (1, True, False), told
    anew = ask(served, robot, *line, profile=CAREFUL)
    assert (anew.code, request.exists()) == (3, True), anew
    issued = events(served, "credential.issued")[-1]
    assert (issued["by"], issued["people"], len(issued["approvals"])) == (ROBOT, ["alice", "bob"], 2)


def test_what_completes_a_request_is_carried_in_too(served: Plant, robot: Path, tmp_path: Path) -> None:
    """A machine with no way to the socket signs that its approved request is to be carried out; others cannot."""
    request, completes, out = (tmp_path / name for name in ("request.jws", "completes.jws", "credential.jwt"))
    named = ("--key", robot / "key.pem", "--id", ROBOT, "--profile", CAREFUL, "--audience", AUDIENCE, "--task", "t")
    to = ("--appliance", appliance(served), "--epoch", "1")
    early = coldcred("request", *named, *to, "--request", request, "--out-request", completes)
    assert (early.code, completes.exists()) == (2, False), early
    assert coldcred("request", *named, *to, "--out-request", request).code == 0
    waiting = served.ctl("submit", request, "--json")
    assert (waiting.code, waiting.json["state"]) == (3, "waiting"), waiting
    for person in ("bob", "alice"):
        served.ctl("approve", request, who=person)
    ready = served.ctl("submit", request, "--out", out, "--json")
    assert (ready.code, ready.json["state"], out.exists()) == (3, "ready", False), ready
    assert "only its requester completes it" in ready.err
    written = coldcred("request", *named, "--request", request, "--out-request", completes)
    assert (written.code, written.out) == (0, f"{completes}\n"), written
    ended = served.ctl("submit", completes, "--out", out, "--json")
    assert (ended.code, ended.json["files"], out.exists()) == (0, {"token": str(out)}, True), ended
    again = served.ctl("submit", completes, "--out", out, "--json")
    assert (again.code, again.json["error"]) == (1, "told-once"), again


def test_a_request_is_carried_in_as_a_file(served: Plant, robot: Path, tmp_path: Path) -> None:
    """A machine with no way to the socket writes its request; anybody carries it in, once, and needs no key for it."""
    request, out = tmp_path / "request.jws", tmp_path / "credential.jwt"
    named = ("--key", robot / "key.pem", "--id", ROBOT, "--profile", SELF, "--audience", AUDIENCE, "--task", "t")
    written = coldcred("request", *named, "--appliance", appliance(served), "--epoch", "1", "--out-request", request)
    assert (written.code, written.out) == (0, f"{request}\n"), written
    ended = served.ctl("submit", request, "--out", out, "--json")
    assert (ended.code, ended.json["files"]) == (0, {"token": str(out)}), ended
    assert "peer" not in events(served, "credential.issued")[-1]
    again = served.ctl("submit", request, "--out", out, "--json")
    assert (again.code, again.json["error"]) == (1, "told-once")


def test_any_signed_command_is_carried_in(served: Plant, tmp_path: Path) -> None:
    """What a person signed elsewhere goes in the same way; a file that is no command is refused."""
    request = tmp_path / "enrol.jws"
    verb = ("workload", "enrol", f"{ROBOT}0", "--owner", "bob", "--request", request)
    assert served.ctl(*verb, who="alice").code == 3
    waiting = served.ctl("submit", request, "--json")
    assert (waiting.code, waiting.json["have"]) == (3, ["alice"])
    approval = tmp_path / "bob.jws"
    served.done("approve", request, "--out", approval, who="bob")
    assert served.ctl("submit", request, "--approval", approval, "--json").json["state"] == "done"
    again = served.ctl("submit", approval, "--json")
    assert (again.code, again.json["state"]) == (0, "done")
    founding = tmp_path / "founding"
    founding.write_bytes((served.home / "founding.json").read_bytes())
    refused = served.ctl("submit", founding, "--json")
    assert (refused.code, refused.json["error"]) == (1, "malformed")


def test_suspended_it_gets_nothing_until_two_people_resume_it(served: Plant, robot: Path, tmp_path: Path) -> None:
    """One person stops it at once, by whatever way it asks; two let it go on; the list says how it stands."""

    def state() -> str:
        listed = served.done("workload", "list", "--json", who="carol").json
        return str(next(row["state"] for row in listed if row["id"] == ROBOT))

    assert state() == "active"
    served.done("workload", "suspend", ROBOT, "--reason", "found open", who="bob")
    assert state() == "suspended"
    ended = ask(served, robot)
    assert (ended.code, "workload-suspended" in ended.err) == (1, True), ended
    by_two(served, tmp_path / "resume.jws", "workload", "resume", ROBOT)
    assert state() == "active"
    assert ask(served, robot).code == 0


# -- the socket itself


def question(plant: Plant, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Ask at the workloads' socket and give status and answer."""
    found = connect(plant.home / "workload.sock", 10)
    assert found is not None
    with closing(http.client.HTTPConnection("appliance")) as connection:
        connection.sock = found
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_the_socket_lets_its_group_in_and_says_who_it_is(served: Plant) -> None:
    """Mode 0660, in a home that stays closed; it gives the appliance's id and epoch and nothing more."""
    assert stat.S_IMODE((served.home / "workload.sock").stat().st_mode) == 0o660
    assert stat.S_IMODE(served.home.stat().st_mode) == 0o700
    assert question(served, "GET", "/v1/appliance") == (200, {"appliance": appliance(served), "epoch": 1})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/approvals"),
        ("POST", "/v1/batches"),
        ("POST", "/v1/read"),
        ("GET", "/v1/read/status"),
        ("GET", "/v1/commands"),
    ],
)
def test_its_list_of_verbs_is_closed(served: Plant, method: str, path: str) -> None:
    """Nothing is read, approved or sent in batches there."""
    assert question(served, method, path, {"command": "a.b.c"})[1]["error"] == "unknown-question"


def test_attachments_and_approvals_are_not_taken(served: Plant, robot: Path) -> None:
    """A request is one signed command and nothing beside it."""
    for member in ("attachments", "approvals"):
        status, answer = question(served, "POST", "/v1/commands", {"command": request(served, robot), member: []})
        assert (status, answer["error"]) == (400, "malformed")


def request(plant: Plant, robot: Path, act: Act = Act.CREDENTIAL_ISSUE, **args: Any) -> str:
    """Sign a command with the machine's key."""
    asked = {"profile": SELF, "workload": ROBOT, "audience": AUDIENCE, "task": "t", **args}
    founded = plant.home.joinpath("founding.json").read_bytes()
    time = json.loads(founded)["time"]
    claims = command_claims(
        appliance=sha256_hex(founded),
        epoch=1,
        act=act,
        args=asked,
        jti=os.urandom(16).hex(),
        issued_at=time,
        expires_at=time + 24 * 3600,
    )
    return signing_key(robot / "key.pem").token(Typ.COMMAND, claims)


def test_only_a_workloads_own_request_is_taken(served: Plant, robot: Path, tmp_path: Path) -> None:
    """A person's command and a machine's other acts are turned away at this socket and leave no entry."""
    kept = tmp_path / "alice.jws"
    assert served.ctl("workload", "enrol", f"{ROBOT}1", "--owner", "bob", "--request", kept, who="alice").code == 3
    before = served.done("status", "--json", who="carol").json["entries"]
    for token in (kept.read_text().strip(), request(served, robot, Act.READ_OPEN)):
        status, answer = question(served, "POST", "/v1/commands", {"command": token})
        assert (status, answer["error"]) == (403, "not-allowed")
    # Reading that number is itself an entry, and a checkpoint with its outcome may come between.
    shown = served.done("log", "show", "--json", "--from", str(before), who="carol").json
    assert {entry["event"]["type"] for entry in shown} <= {"reading.opened", "checkpoint", "outcomes"}


def test_a_machine_asks_for_itself_alone(served: Plant, robot: Path) -> None:
    """Signed by its key for another machine, or under a profile for people, a request is refused and logged."""
    others: list[dict[str, Any]] = [
        {"workload": "spiffe://plant-a.example/line-1/robot-7"},
        {"profile": "orders-reader"},
    ]
    for args in others:
        status, answer = question(served, "POST", "/v1/commands", {"command": request(served, robot, **args)})
        assert (status, answer["state"], answer["reason"]) == (200, "refused", "not-allowed")
        refused = events(served, "command.refused")[-1]
        assert (refused["by"], refused["reason"], refused["peer"]["uid"]) == (ROBOT, "not-allowed", os.getuid())


@pytest.mark.parametrize(
    ("wanted", "table"),
    [
        ("a socket outside", '\n[workloads]\nsocket = "{folder}/run/workload.sock"\n'),
        ("and its group", '\n[workloads]\nsocket = "{folder}/run/workload.sock"\ngroup = "{group}"\n'),
    ],
)
def test_settings_name_the_socket_and_its_group(plant: Plant, tmp_path: Path, wanted: str, table: str) -> None:
    """Where settings say so the socket lies outside the home and belongs to the group; the home stays closed."""
    group = grp.getgrgid(os.getgroups()[0] if os.getgroups() else os.getgid())
    copy = plant.copy_home(tmp_path / "home")
    (tmp_path / "run").mkdir()
    settings = copy.home / "settings.toml"
    settings.write_text(settings.read_text() + table.format(folder=tmp_path, group=group.gr_name))
    with copy.serving():
        found = (tmp_path / "run" / "workload.sock").stat()
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert found.st_gid == (group.gr_gid if "group" in wanted else os.getgid())
        assert not (copy.home / "workload.sock").exists()
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize(
    "table",
    [
        '[workloads]\ngroup = "daemon"\n',
        '[workloads]\nsocket = "run/workload.sock"\n',
        '[workloads]\nsocket = ""\n',
        "[workloads]\nsocket = 7\n",
        '[workloads]\nmode = "0666"\n',
        '[workloads]\nsocket = "/run/workload.sock"\ngroup = "no such group"\n',
    ],
)
def test_settings_that_are_no_socket_stop_the_start(plant: Plant, tmp_path: Path, table: str) -> None:
    """A group without a socket outside, a relative path, an unknown group or member: `settings-invalid`."""
    copy = plant.copy_home(tmp_path / "home")
    settings = copy.home / "settings.toml"
    text = settings.read_text()
    settings.write_text(f"{text}\n{table}")
    ended = copy.ctl("serve", "--json")
    assert (ended.code, ended.json["error"]) == (5, "settings-invalid"), ended


# -- what the commands refuse


def test_keys_are_made_once_and_kept_closed(served: Plant, robot: Path, tmp_path: Path) -> None:
    """Key files are 0600 and never written over; one that others can read, or that is no key, is not used."""
    for name in ("key.pem", "seal.pem"):
        assert stat.S_IMODE((robot / name).stat().st_mode) == 0o600
    before = (robot / "key.pem").read_bytes()
    assert enrol(served, robot).code == 0
    assert (robot / "key.pem").read_bytes() == before
    opened = tmp_path / "key.pem"
    opened.write_bytes(before)
    for content, mode, said in ((before, 0o640, "used by others"), (b"no key", 0o600, "is not a private key")):
        opened.write_bytes(content)
        opened.chmod(mode)
        ended = ask(served, tmp_path)
        assert (ended.code, said in ended.err, ended.out) == (1, True, ""), ended
    ended = enrol(served, robot, "--seal-key", robot / "key.pem")
    assert (ended.code, "not X25519" in ended.err) == (1, True), ended


def test_an_enrolment_for_something_else_is_said_to_be(served: Plant, robot: Path, tmp_path: Path) -> None:
    """Another machine's document, or one for another appliance, is refused before anybody signs."""
    other = tmp_path / "enrolment.jws"
    coldcred("enrol", "--appliance", "0" * 64, "--id", ROBOT, "--key", tmp_path / "k.pem", "--out", other)
    for name, file, said in (
        (f"{ROBOT}2", robot / "enrolment.jws", f"enrols {ROBOT}, and this line {ROBOT}2"),
        (ROBOT, other, f"is for appliance {'0' * 64}, and this one is {appliance(served)}"),
    ):
        verb = ("workload", "enrol", name, "--owner", "bob", "--enrolment", file, "--json")
        ended = served.ctl(*verb, who="alice", passphrase="")
        assert (ended.code, ended.json["error"], said in ended.json["detail"]) == (1, "malformed", True), ended


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["--socket", "s", "--out-request", "r"],
        ["--out-request", "r"],
        ["--out-request", "r", "--appliance", "0" * 64, "--epoch", "1", "--out", "t"],
        ["--socket", "/nowhere/workload.sock"],
        ["--socket", "s", "--ttl", "soon"],
    ],
)
def test_a_request_that_is_called_wrongly_is_misuse(tmp_path: Path, more: list[str]) -> None:
    """Neither way or both, no appliance to name, nobody there: exit 2, one sentence, nothing written."""
    named = ("--key", tmp_path / "key.pem", "--id", ROBOT, "--profile", SELF, "--audience", AUDIENCE)
    ended = coldcred("request", *named, *more)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1), ended
    assert list(tmp_path.iterdir()) == []
