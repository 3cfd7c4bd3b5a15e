"""`issue`, `revoke`, `approve`, `deny` and the registers, over the socket and without a server."""

import json
import stat
from pathlib import Path

import pytest

from coldcred.canonical import sha256_hex
from coldcred.command import document_id
from coldcred.credential import Kind, parse_claims
from coldcred.jose import Typ, parse_unverified
from tests.support.commandline import CTL, Ended, run
from tests.support.founded import AUDIENCE, EXAMPLE, PASSPHRASE, SITE, WORKLOAD, Plant

TWO = "orders-two"


@pytest.fixture(scope="module")
def careful(served: Plant) -> str:
    """Return a profile that takes two people for each credential, set by two people."""
    file = served.folder / "two.toml"
    text = (EXAMPLE / "orders-reader.toml").read_text()
    file.write_text(text.replace("orders-reader", TWO).replace("approvals = 1", "approvals = 2"))
    request = served.folder / "two.jws"
    assert served.ctl("profile", "set", file, "--request", request, who="alice").code == 3
    served.done("approve", request, who="bob")
    return TWO


def two(profile: str, *more: str | Path) -> list[str | Path]:
    """Give the line that asks for a credential under the careful profile."""
    return ["issue", "--profile", profile, "--workload", WORKLOAD, "--audience", AUDIENCE, *more]


def test_a_credential_goes_to_standard_output(served: Plant) -> None:
    """Without --out the token alone is data, and it says what was asked for."""
    ended = served.issue("--scope", "orders.read", "--scope", "orders.write", "--ttl", "15m")
    jws = parse_unverified(ended.out.strip())
    credential = parse_claims(jws.payload, Kind.ACCESS)
    assert (ended.code, jws.header.typ, credential.subject) == (0, Typ.ACCESS, WORKLOAD)
    assert credential.scopes == ("orders.read", "orders.write")
    assert credential.expires_at - credential.not_before == 900


def test_a_credential_goes_to_a_file_of_its_owners_alone(served: Plant, tmp_path: Path) -> None:
    """With --out the token is in a file of mode 0600, replaced whole, and --json says which."""
    out = tmp_path / "credential.jwt"
    out.write_text("an older one")
    ended = served.issue("--out", out, "--json")
    token = out.read_text()
    assert ended.json["files"] == {"token": str(out)}
    assert token not in ended.out
    assert parse_claims(parse_unverified(token).payload, Kind.ACCESS).jti == ended.json["result"]["jti"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["credential.jwt"]


def test_without_a_server_the_same_engine_answers(plant: Plant, tmp_path: Path) -> None:
    """With nothing serving, one command runs the engine in-process and leaves no socket."""
    copy = plant.copy_home(tmp_path / "home")
    ended = copy.issue("--json")
    assert (ended.code, ended.json["state"]) == (0, "done")
    assert not (copy.home / "operator.sock").exists()
    assert copy.done("log", "verify", "--json").json["verdict"] == "intact"
    reading = copy.ctl("workload", "list", "--json", who="carol", pin="")
    assert (reading.code, reading.json[0]["id"]) == (0, WORKLOAD)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--profile", "nobody"], "unknown-profile"),
        (["--workload", "spiffe://plant-a.example/line-1/nobody"], "unknown-workload"),
        (["--audience", "https://elsewhere.example"], "outside-profile"),
        (["--scope", "orders.delete"], "outside-profile"),
        (["--ttl", "9h"], "outside-profile"),
        (["--workload", "http://plant-a.example"], "malformed"),
        (["--scope", "a b"], "malformed"),
    ],
)
def test_refusals_say_what_why_and_what_next(served: Plant, more: list[str], reason: str) -> None:
    """What goes too far is refused with exit 1, a stable id and four lines, and nothing on standard output."""
    ended = served.issue(*more)
    assert (ended.code, ended.out) == (1, "")
    lines = ended.err.splitlines()
    assert reason in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["why", "rule", "state", "next"]


def test_roles_are_held_to(served: Plant) -> None:
    """An auditor issues nothing, and an approver asks for nothing."""
    for who in ("carol", "bob"):
        ended = served.issue("--json", who=who)
        assert (ended.code, ended.json["error"]) == (1, "not-allowed")


def test_two_people_and_the_same_line_again(served: Plant, careful: str, tmp_path: Path) -> None:
    """A credential that takes two waits, is approved by another, and comes when the requester runs the line again."""
    request, out = tmp_path / "request.jws", tmp_path / "credential.jwt"
    line = two(careful, "--request", request, "--out", out, "--json")
    first = served.ctl(*line, who="alice")
    assert (first.code, first.json["state"], first.json["have"], out.exists()) == (3, "waiting", ["alice"], False)
    listed = served.done("request", "list", "--json", who="carol").json
    assert first.json["command"] in [waiting["command"] for waiting in listed]
    own = served.ctl("approve", request, "--json", who="alice")
    assert (own.code, own.json["error"]) == (1, "not-allowed")
    approved = served.ctl("approve", request, "--json", who="bob")
    assert (approved.code, approved.json["state"], approved.json["have"]) == (0, "ready", ["alice", "bob"])
    assert f'workload "{WORKLOAD}"' in approved.err
    keyless = served.ctl(*line)
    assert (keyless.code, keyless.json["state"], out.exists()) == (3, "ready", False)
    other = served.ctl(*line, who="bob")
    assert (other.code, other.json["rule"], out.exists()) == (1, "R9 completed by its requester", False)
    again = served.ctl(*line, who="alice")
    assert (again.code, again.json["state"], again.json["result"]["site"]) == (0, "done", SITE)
    assert parse_claims(parse_unverified(out.read_text()).payload, Kind.ACCESS).profile == careful
    out.unlink()
    third = served.ctl(*line)
    assert (third.code, third.json["error"], out.exists()) == (1, "told-once", False)


def test_a_waiting_request_is_kept_where_it_was_asked(served: Plant, careful: str, tmp_path: Path) -> None:
    """Without --request the request file lies in the working folder, named by its id, and its name is the data."""
    key = ("--as", served.people / "alice.operator")
    line = [*CTL, "--home", served.home, *key, *two(careful)]
    ended = run(line, secrets={"--passphrase-fd": PASSPHRASE}, cwd=tmp_path)
    assert ended.code == 3
    (kept,) = tmp_path.iterdir()
    assert ended.out.strip() == kept.name
    assert kept.name == f"request-{document_id(parse_unverified(kept.read_text().strip()))[:12]}.jws"


def test_an_approval_may_be_carried(served: Plant, careful: str, tmp_path: Path) -> None:
    """An approval written to a file counts when the requester brings it along; for another request it does not."""
    request, approval = tmp_path / "request.jws", tmp_path / "approval.jws"
    line = two(careful, "--request", request, "--json")
    assert served.ctl(*line, who="alice").code == 3
    written = served.ctl("approve", request, "--out", approval, "--json", who="bob")
    assert (written.code, parse_unverified(approval.read_text().strip()).header.typ) == (0, Typ.APPROVAL)
    assert served.ctl(*line).code == 3
    other = two(careful, "--request", tmp_path / "other.jws", "--approval", approval, "--json")
    foreign = served.ctl(*other, who="alice")
    assert (foreign.code, foreign.json["error"]) == (1, "unknown-request")
    brought = served.ctl(*line, "--approval", approval, who="alice")
    assert (brought.code, brought.json["have"]) == (0, ["alice", "bob"])
    assert brought.json["files"]["token"].count(".") == 2


def test_a_request_is_completed_by_its_id(served: Plant, careful: str, tmp_path: Path) -> None:
    """Whoever lost the request file completes it by its id: once it has its people, and nobody else does."""
    request, out = tmp_path / "request.jws", tmp_path / "credential.jwt"
    id_ = served.ctl(*two(careful, "--request", request, "--json"), who="alice").json["command"]
    line = ("request", "complete", id_[:12], "--out", out, "--json")
    early = served.ctl(*line, who="alice")
    assert (early.code, early.json["error"]) == (1, "too-few-people")
    assert served.ctl("approve", request, who="bob").code == 0
    auditor = served.ctl(*line, who="carol")
    assert (auditor.code, auditor.json["error"], out.exists()) == (1, "not-allowed", False)
    own = served.ctl(*line, who="alice")
    assert (own.code, own.json["files"], out.exists()) == (0, {"token": str(out)}, True)
    late = served.ctl(*line, who="alice")
    assert (late.code, late.json["error"]) == (1, "unknown-request")


def test_what_completes_a_request_is_signed_elsewhere(served: Plant, careful: str, tmp_path: Path) -> None:
    """Made and signed where Alice's key is, carried in by anybody; the credential goes where that line says."""
    request, args, draft, completes, out = (tmp_path / name for name in ("r.jws", "args", "draft", "c.jws", "out"))
    id_ = served.ctl(*two(careful, "--request", request, "--json"), who="alice").json["command"]
    assert served.ctl("approve", request, who="bob").code == 0
    args.write_text(json.dumps({"request": id_}))
    appliance = sha256_hex((served.home / "founding.json").read_bytes())

    def away(*words: str | Path) -> Ended:
        line = [*CTL, "--home", tmp_path / "nothing-here", "--as", served.people / "alice.operator", "command", *words]
        return run(line, secrets={"--passphrase-fd": PASSPHRASE})

    assert away("make", "request.complete", "--args", args, "--appliance", appliance, "--out", draft).code == 0
    signed = away("sign", draft, "--out", completes)
    assert (signed.code, f'request "{id_}"' in signed.err) == (0, True), signed
    ended = served.ctl("submit", completes, "--out", out, "--json")
    assert (ended.code, ended.json["act"], ended.json["files"]) == (0, "credential.issue", {"token": str(out)}), ended
    assert parse_claims(parse_unverified(out.read_text()).payload, Kind.ACCESS).profile == careful


def test_a_batch_is_completed_by_the_same_line(served: Plant, careful: str, tmp_path: Path) -> None:
    """A file of requests that take two waits, says so however often it is asked, and comes once bob approved."""
    asked, out, request = (tmp_path / name for name in ("asked.jsonl", "out.jsonl", "request.jws"))
    line = {"profile": careful, "workload": WORKLOAD, "audience": AUDIENCE}
    asked.write_text(f"{json.dumps(line)}\n" * 3)
    words = ("issue", "--requests", asked, "--out", out, "--request", request, "--json")
    waiting, again = (served.ctl(*words, who="alice") for _ in range(2))
    for ended in (waiting, again):
        assert (ended.code, ended.json["state"]) == (3, "waiting"), ended
        assert {path.name for path in tmp_path.iterdir()} == {"asked.jsonl", "request.jws"}
    assert served.ctl("approve", request, who="bob").code == 0
    by_id = served.ctl("request", "complete", waiting.json["command"][:12], who="alice")
    assert (by_id.code, "issue --requests" in by_id.err) == (2, True), by_id
    other = served.ctl(*words, who="bob")
    assert (other.code, other.json["error"]) == (1, "not-allowed"), other
    done = served.ctl(*words, who="alice")
    assert (done.code, done.json["issued"]) == (0, 3), done
    assert {path.name for path in tmp_path.iterdir()} == {"asked.jsonl", "out.jsonl", "request.jws"}


def test_a_carried_approval_is_brought_in_by_anybody(served: Plant, tmp_path: Path) -> None:
    """`approve FILE --approval` counts what was signed elsewhere and asks for nobody's key."""
    request, approval = tmp_path / "request.jws", tmp_path / "approval.jws"
    asked = ("workload", "enrol", "spiffe://plant-a.example/line-1/robot-8", "--owner", "bob", "--request", request)
    assert served.ctl(*asked, who="alice").code == 3
    served.done("approve", request, "--out", approval, who="bob")
    ended = served.ctl("approve", request, "--approval", approval, "--json")
    assert (ended.code, ended.json["state"]) == (0, "done")


def test_one_denial_ends_a_request(served: Plant, careful: str, tmp_path: Path) -> None:
    """A denied request is done with: denying is exit 0, asking again is refused."""
    request = tmp_path / "request.jws"
    line = two(careful, "--request", request, "--json")
    assert served.ctl(*line, who="alice").code == 3
    denied = served.ctl("deny", request, "--json", who="bob")
    assert (denied.code, denied.json["reason"]) == (0, "denied")
    again = served.ctl(*line)
    assert (again.code, again.json["error"]) == (1, "denied")


def test_a_request_file_is_for_its_own_line(served: Plant, careful: str, tmp_path: Path) -> None:
    """A line that asks for something else than the request file holds is misuse, and sends nothing."""
    request = tmp_path / "request.jws"
    assert served.ctl(*two(careful, "--request", request), who="alice").code == 3
    ended = served.ctl(*two(careful, "--request", request, "--scope", "orders.read"), "--json")
    assert (ended.code, ended.json["error"]) == (2, "misuse")


@pytest.mark.parametrize("text", ["", "not a request\n", "a.b.c", "é", "x" * 70_000])
def test_what_is_no_request_is_refused(served: Plant, tmp_path: Path, text: str) -> None:
    """A file that is not a signed command is refused before a passphrase is asked for."""
    file = tmp_path / "request.jws"
    file.write_text(text)
    ended = served.ctl("approve", file, "--json", who="bob", passphrase="")
    assert (ended.code, ended.json["error"]) == (1, "malformed")


def test_a_revoked_credential_is_recorded(served: Plant) -> None:
    """Revoking takes one person and the jti; a jti of nobody is refused."""
    jti = served.issue("--json").json["result"]["jti"]
    ended = served.ctl("revoke", jti, "--reason", "robot 7 was replaced", "--json", who="bob")
    assert (ended.code, ended.json["result"]["selector"]) == (0, {"credential": jti})
    assert served.ctl("revoke", "A" * 22, "--reason", "x", who="bob").code == 1


def test_all_of_a_workload_are_revoked_and_listed(served: Plant, tmp_path: Path) -> None:
    """The list goes to --out, whole; the text says how many, which bundle carries it and that it stops no new ones."""
    issued = {served.issue("--json").json["result"]["jti"] for _ in range(3)}
    listed = tmp_path / "revoked.jsonl"
    ended = served.ctl("revoke", "--workload", WORKLOAD, "--reason", "stolen", "--out", listed, who="bob")
    assert ended.code == 0, ended
    found = [json.loads(line) for line in listed.read_text().splitlines()]
    assert issued <= {row["jti"] for row in found}
    assert {(row["workload"], row["site"]) for row in found} == {(WORKLOAD, SITE)}
    assert f"revoked {len(found)} credentials: workload {WORKLOAD}" in ended.out
    assert f"coldcredctl bundle create --site {SITE}" in ended.err
    assert "does not stop new ones" in ended.err
    again = served.ctl("revoke", "--workload", WORKLOAD, "--reason", "stolen", "--json", who="bob")
    assert (again.code, again.json["error"]) == (1, "nothing-to-revoke")


def test_a_long_list_is_shown_in_part(served: Plant, tmp_path: Path) -> None:
    """Twenty are shown and the rest counted; a key is named by its name, a profile by its own."""
    line = {"profile": "orders-reader", "workload": WORKLOAD, "audience": AUDIENCE}
    (tmp_path / "requests").write_text(f"{json.dumps(line)}\n" * 22)
    served.done("issue", "--requests", tmp_path / "requests", "--out", tmp_path / "tokens", who="alice")
    (name,) = (
        row["name"] for row in served.done("key", "list", "--json", who="bob").json if row["purpose"] == "tokens"
    )
    shown = served.done("revoke", "--key", name, "--reason", "test", who="bob").out.splitlines()
    assert sum(WORKLOAD in line for line in shown) == 20
    assert shown[-1].startswith("and ")
    served.issue("--json")
    assert (
        "revoked 1 credential: profile"
        in served.done("revoke", "--profile", "orders-reader", "--reason", "test", who="bob").out
    )


@pytest.mark.parametrize("line", [(), ("A" * 22, "--profile", "orders-reader"), ("--profile", "p", "--key", "k")])
def test_one_thing_is_revoked_at_a_time(served: Plant, line: tuple[str, ...]) -> None:
    """None, or several, is misuse, and nothing is sent."""
    ended = served.ctl("revoke", *line, "--reason", "x", "--json", who="bob")
    assert (ended.code, ended.json["error"]) == (2, "misuse")


@pytest.mark.parametrize(
    ("given", "code", "error"),
    [
        (f"-n{'A' * 20}", 1, "unknown-credential"),
        (f"-h{'A' * 20}", 1, "unknown-credential"),
        (f"--{'A' * 20}", 1, "unknown-credential"),
        ("-n", 2, "misuse"),
        ("--resaon", 2, "misuse"),
        (f"--{'A' * 19}", 2, "misuse"),
    ],
)
def test_an_id_may_begin_with_a_hyphen(served: Plant, given: str, code: int, error: str) -> None:
    """As one in 64 does: it is no option; and what is no id is an option that there is not."""
    ended = served.ctl("revoke", given, "--reason", "lost", "--json", who="bob")
    assert (ended.code, ended.json["error"]) == (code, error), ended
    about = served.ctl("why", given, "--json", who="carol")
    assert (about.code, about.json["error"]) == (code, "unknown-request" if code == 1 else "misuse"), about


def test_a_suspended_key_is_named_until_two_people_activate_it(served: Plant, tmp_path: Path) -> None:
    """One person suspends, the log key's suspension is said in status, and a second person is waited for."""
    keys = {row["purpose"]: row["name"] for row in served.done("key", "list", "--json", who="bob").json}
    for purpose in ("log", "tokens"):
        served.done("key", "suspend", keys[purpose], "--reason", "a seal was broken", who="bob")
    refused = served.issue("--json")
    assert (refused.code, refused.json["error"]) == (1, "key-suspended")
    status = served.ctl("status", who="carol")
    assert "the log key is suspended" in status.err
    for purpose in ("log", "tokens"):
        request = tmp_path / purpose
        waiting = served.ctl("key", "activate", keys[purpose], "--reason", "dust", "--request", request, who="alice")
        assert waiting.code == 3, waiting
        served.done("approve", request, who="bob")
    assert served.issue("--json").code == 0
    assert "suspended: no" not in served.ctl("status", who="carol").err


@pytest.mark.parametrize(
    "verb",
    ["workload list", "profile list", "site list", "key list", "request list", "operator list", "log show", "status"],
)
def test_what_is_read_is_a_table_or_json(served: Plant, verb: str) -> None:
    """Each reading verb gives lines for people and one document for programs, and nothing else on standard output."""
    lines = served.done(*verb.split(), who="carol").out.splitlines()
    found = json.loads(served.done(*verb.split(), "--json", who="carol").out)
    assert len(lines) == (len(found) + 1 if isinstance(found, list) else len(found))
    assert all(line == line.rstrip() for line in lines)


def test_a_site_is_added_by_two(served: Plant, tmp_path: Path) -> None:
    """A new site takes two people; an audience that belongs to a site already is refused."""
    request = tmp_path / "request.jws"
    asked = ("site", "add", "line-2", "--audience", "https://press.plant-a.example", "--request", request, "--json")
    assert served.ctl(*asked, who="alice").code == 3
    assert served.ctl("approve", request, "--json", who="bob").json["state"] == "done"
    assert "line-2" in served.done("site", "list", who="carol").out
    clash = tmp_path / "clash.jws"
    asked = ("site", "add", "line-3", "--audience", AUDIENCE, "--request", clash, "--json")
    assert served.ctl(*asked, who="alice").code == 3
    assert served.ctl("approve", clash, "--json", who="bob").json["error"] == "already-exists"


@pytest.mark.parametrize(
    "change", [("version = 1", "version = 2"), ("lifetime", "lifetme"), ('"access"', '"ssh"'), ("[", "[[")]
)
def test_a_malformed_profile_is_refused(served: Plant, tmp_path: Path, change: tuple[str, str]) -> None:
    """A profile file that cannot be read strictly is refused here, and nothing is signed."""
    file = tmp_path / "profile.toml"
    file.write_text((EXAMPLE / "orders-reader.toml").read_text().replace(*change))
    ended = served.ctl("profile", "set", file, "--json", who="alice")
    assert (ended.code, ended.json["error"]) == (1, "malformed")
