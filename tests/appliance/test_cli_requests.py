"""Requests, drafts and approvals that cross an air gap as files, by the real command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.signing import COMMAND_LIFE
from coldcred.canonical import b64u_decode, b64u_encode, sha256_hex
from tests.support.commandline import CTL, Ended, run
from tests.support.founded import PASSPHRASE, SITE, WORKLOAD, Plant

SUSPEND = ("workload", "suspend", WORKLOAD, "--reason", "found open")


def away(plant: Plant, who: str, *words: str | Path, cwd: Path) -> Ended:
    """Run a line on a machine that has no appliance: no home, and nothing but a person's key."""
    line = [*CTL, "--home", cwd / "nothing-here", "--as", plant.people / f"{who}.operator", *words]
    return run(line, secrets={"--passphrase-fd": PASSPHRASE}, cwd=cwd)


@pytest.fixture
def suspended(served: Plant) -> Plant:
    """Return a plant with a suspended workload, which two people may resume."""
    served.done(*SUSPEND, who="bob")
    return served


def asked(plant: Plant, folder: Path) -> tuple[str, Path]:
    """Let alice ask to resume the workload; give the request's id and its file for other machines."""
    waits = plant.ctl("workload", "resume", WORKLOAD, "--request", folder / "r.jws", "--json", who="alice")
    assert (waits.code, waits.json["state"]) == (3, "waiting"), waits
    out = folder / "alice.request"
    plant.done("request", "export", waits.json["command"][:8], "--out", out, who="alice")
    return waits.json["command"], out


def test_an_approval_made_elsewhere_completes_a_request(suspended: Plant, tmp_path: Path) -> None:
    """One file goes out, one comes back; elsewhere all that is signed for is shown, and nothing is reached."""
    command, request = asked(suspended, tmp_path)
    out = tmp_path / "bob.approval"
    signed = away(
        suspended, "bob", "approve", request, "--out", out, "--reason", "looked at it", "--json", cwd=tmp_path
    )
    assert (signed.code, signed.json["command"], signed.json["verdict"]) == (0, command, "approve"), signed
    for shown in (f"request {command}", "asked by alice", "act workload.resume", f'workload "{WORKLOAD}"'):
        assert shown in signed.err
    done = suspended.ctl("submit", out, "--json")
    assert (done.code, done.json["state"], done.json["have"]) == (0, "done", ["alice", "bob"]), done
    entries = suspended.done("log", "show", "--limit", "1000", "--json", who="carol").json
    (given,) = (entry["event"] for entry in entries if entry["event"].get("request") == command)
    assert (given["by"], given["reason"]) == ("bob", "looked at it")


def test_one_changed_byte_voids_it(suspended: Plant, tmp_path: Path) -> None:
    """Any byte of the approval, or of the request before it was approved: nothing is resumed by it."""
    command, request = asked(suspended, tmp_path)
    out = tmp_path / "bob.approval"
    assert away(suspended, "bob", "approve", request, "--out", out, cwd=tmp_path).code == 0
    header, payload, signature = out.read_text().strip().split(".")
    claims = bytearray(b64u_decode(payload))
    changed = tmp_path / "changed.approval"
    for place in range(0, len(claims), 29):
        flipped = bytes(byte ^ (place == at) for at, byte in enumerate(claims))
        changed.write_text(f"{header}.{b64u_encode(flipped)}.{signature}\n")
        ended = suspended.ctl("submit", changed, "--json")
        assert (ended.code, ended.json["error"]) == (1, "bad-signature"), ended
    (waiting,) = (row for row in _requests(suspended) if row["command"] == command)
    assert waiting["have"] == ["alice"]
    value: dict[str, Any] = json.loads(request.read_text())
    value["terms"]["policy"] = "0" * 64
    request.unlink()
    request.write_text(json.dumps(value))
    out.unlink()
    assert away(suspended, "bob", "approve", request, "--out", out, cwd=tmp_path).code == 0
    ended = suspended.ctl("submit", out, "--json")
    assert (ended.code, ended.json["error"]) == (1, "approval-void"), ended
    assert "policy" in ended.json["detail"]
    suspended.done("request", "withdraw", command[:8], who="alice")


def test_a_command_is_made_signed_and_submitted_on_three_machines(suspended: Plant, tmp_path: Path) -> None:
    """Terms go out; a draft is made, signed and approved elsewhere; both files come back and the act is done."""
    terms, args = tmp_path / "plant.terms", tmp_path / "args.json"
    suspended.done("terms", "--out", terms, who="carol")
    args.write_text(json.dumps({"workload": WORKLOAD}))
    draft, request, approval = tmp_path / "draft", tmp_path / "request", tmp_path / "approval"
    made = run(
        [
            *CTL,
            "--home",
            tmp_path / "nothing-here",
            "command",
            "make",
            "workload.resume",
            "--args",
            args,
            "--terms",
            terms,
            "--out",
            draft,
        ]
    )
    assert made.code == 0, made
    signed = away(suspended, "alice", "command", "sign", draft, "--out", request, "--json", cwd=tmp_path)
    assert signed.code == 0, signed
    assert f'workload "{WORKLOAD}"' in signed.err
    assert away(suspended, "bob", "approve", request, "--out", approval, cwd=tmp_path).code == 0
    waits = suspended.ctl("command", "submit", request, "--json")
    assert (waits.code, waits.json["command"]) == (3, signed.json["command"]), waits
    done = suspended.ctl("command", "submit", approval, "--json")
    assert (done.code, done.json["state"]) == (0, "done"), done


def test_a_request_is_approved_by_its_id(suspended: Plant, tmp_path: Path) -> None:
    """Where the appliance is, eight characters name a request; a wrong id and a short one are refused."""
    command, _ = asked(suspended, tmp_path)
    for wrong in (command[:7], "0" * 64, command[:8] + "0" * 8):
        ended = suspended.ctl("approve", wrong, "--json", who="bob")
        assert (ended.code, ended.json["error"]) == (1, "unknown-request"), ended
    shown = suspended.done("request", "show", command[:8], who="carol")
    assert f"request {command}" in shown.out
    denied = suspended.ctl("deny", command[:8], "--reason", "not now", "--json", who="bob")
    assert (denied.code, denied.json["reason"], denied.json["detail"]) == (0, "denied", "denied by bob: not now")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("command", "make", "workload.resume", "--out", "d"), 2),
        (("command", "make", "no.act", "--appliance", "0" * 64, "--out", "d"), 2),
        (("command", "make", "read.open", "--appliance", "xyz", "--out", "d"), 1),
        (("command", "sign", "absent", "--out", "d"), 5),
        (("command", "sign", "garbage", "--out", "d"), 1),
        (("approve", "garbage", "--out", "d"), 1),
        (("submit", "garbage"), 1),
    ],
)
def test_what_is_wrong_is_said(suspended: Plant, tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    """Misuse and files that are none: a reason, the state and what to do, nothing written and never a traceback."""
    (tmp_path / "garbage").write_text('{"v":1,"kind":"something"}')
    ended = away(suspended, "bob", *words, cwd=tmp_path)
    assert ended.code == code, ended
    assert "Traceback" not in ended.err
    assert [line.split()[0] for line in ended.err.splitlines()[-3:]] == ["why", "state", "next"]
    assert not (tmp_path / "d").exists()


def test_a_draft_lives_from_its_signature_on(suspended: Plant, tmp_path: Path) -> None:
    """Made without terms, for an appliance by its id; its life begins when it is signed."""
    id_ = sha256_hex((suspended.home / "founding.json").read_bytes())
    draft, request = tmp_path / "draft", tmp_path / "request"
    made = away(suspended, "bob", "command", "make", "read.open", "--appliance", id_, "--out", draft, cwd=tmp_path)
    assert made.code == 0, made
    assert json.loads(draft.read_text())["life"] == COMMAND_LIFE
    assert away(suspended, "carol", "command", "sign", draft, "--out", request, cwd=tmp_path).code == 0
    assert "terms" not in json.loads(request.read_text())
    refused = away(suspended, "bob", "approve", request, "--out", tmp_path / "a", cwd=tmp_path)
    assert refused.code != 0
    assert "Traceback" not in refused.err


@pytest.mark.parametrize(
    ("act", "args", "who"), [("log.export", {}, "carol"), ("bundle.create", {"site": SITE}, "alice")]
)
def test_what_is_given_once_is_kept_where_nobody_named_a_file(
    served: Plant, act: str, args: dict[str, str], who: str, tmp_path: Path
) -> None:
    """An export or a bundle is no text: without --out it gets a name of its own in the working folder."""
    id_ = sha256_hex((served.home / "founding.json").read_bytes())
    draft, request = tmp_path / "draft", tmp_path / "request"
    (tmp_path / "args.json").write_text(json.dumps(args))
    named = ("--args", tmp_path / "args.json", "--appliance", id_, "--out", draft)
    assert away(served, who, "command", "make", act, *named, cwd=tmp_path).code == 0
    assert away(served, who, "command", "sign", draft, "--out", request, cwd=tmp_path).code == 0
    before = {*tmp_path.iterdir()}
    ended = run([*CTL, "--home", served.home, "submit", request], cwd=tmp_path)
    assert ended.code == 0, ended
    (kept,) = {*tmp_path.iterdir()} - before
    assert kept.stat().st_size > 1000
    assert f"wrote {kept.name}" in ended.err


def _requests(plant: Plant) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plant.done("request", "list", "--json", who="carol").json
    return found
