"""The command `coldcred`: exit codes, the JSON verdict, one clear sentence for each failure and never a traceback."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coldcred import Freshness, Kind, Reason, layout
from coldcred.__main__ import main
from coldcred.canonical import sha256_hex
from coldcred.cli.speech import ADVICE, BUNDLE_ADVICE, clean, read_time, utc
from coldcred.errors import BundleReason
from tests.support.folders import tree
from tests.support.world import (
    AUDIENCE,
    DAY,
    GRACE,
    NOW,
    OTHER_AUDIENCE,
    SITE,
    SUBJECT,
    SVID_AUDIENCE,
    World,
)

AT = "2027-01-15T08:00:00Z"
KEYS = ["verdict", "reason", "freshness", "claims", "kid", "bundle", "bundle_age_s", "as_of"]


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code, its data and its talk."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """Return the JSON on standard output, which has exactly the public members."""
        report: dict[str, Any] = json.loads(self.out)
        assert list(report) == KEYS
        return report


class Command:
    """Runs the command in this process, as the script does."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Outcome:
        """Run with these arguments; a traceback would be an exception here."""
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else -1
        captured = self._capsys.readouterr()
        if code != 0:
            assert captured.err
            assert "Traceback" not in captured.err
        return Outcome(code, captured.out, captured.err)


@pytest.fixture
def coldcred(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return the command."""
    return Command(capsys, monkeypatch)


@pytest.fixture
def token(world: World, tmp_path: Path) -> Path:
    """Return the file of a good token, as an editor or a shell leaves it: with a line end."""
    path = tmp_path / "credential.jwt"
    path.write_text(world.token() + "\n")
    return path


def sentence(outcome: Outcome) -> str:
    """Return the one sentence on standard error, printable and with no more than one line."""
    line = outcome.err.removesuffix("\n")
    assert line.startswith("coldcred: ")
    assert line.isascii()
    assert line.isprintable()
    return line


# verify


def test_accepted(coldcred: Command, world: World, site: Path, token: Path) -> None:
    """A good credential: exit 0, the verdict as JSON with exactly the public members, nothing on standard error."""
    outcome = coldcred("verify", "--trust", site, "--audience", AUDIENCE, "--at", AT, "--json", token)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.report == {
        "verdict": "accepted",
        "reason": None,
        "freshness": "fresh",
        "claims": json.loads(world.payload()),
        "kid": world.access_key.kid,
        "bundle": 1,
        "bundle_age_s": 0,
        "as_of": AT,
    }


def test_accepted_for_people(coldcred: Command, site: Path, token: Path) -> None:
    """Without --json the same in words: who, for what, until when, and what the verdict rests on."""
    outcome = coldcred("verify", "--trust", site, "--audience", AUDIENCE, "--at", AT, token)
    assert (outcome.code, outcome.err) == (0, "")
    for fact in ("accepted", SUBJECT, AUDIENCE, "orders:read", "2027-01-15T08:15:00Z", "fresh, bundle 1", SITE):
        assert fact in outcome.out
    assert "SINGLE OPERATOR" not in outcome.out


def test_a_home_of_one_person_says_so(coldcred: Command, world: World, tmp_path: Path, token: Path) -> None:
    """Where one person founded the appliance, the verdict and the look into its bundle say so (R2)."""
    alone = world.trust_documents(identity=world.identity(single_operator=True))
    bundle = tmp_path / "b"
    bundle.write_bytes(world.bundle(trust=alone))
    path = world.site(tmp_path / "trust", bundle.read_bytes())
    outcome = coldcred("verify", "--trust", path, "--audience", AUDIENCE, "--at", AT, token)
    assert "SINGLE OPERATOR" in outcome.out
    assert "SINGLE OPERATOR" in coldcred("bundle", "inspect", bundle).out


def test_kind_scope_and_standard_input(coldcred: Command, world: World, site: Path) -> None:
    """A JWT-SVID from standard input is accepted as one; scopes are held; no line end is needed."""
    common = ("verify", "--trust", site, "--at", AT)
    svid = world.token(Kind.SVID).encode()
    assert coldcred(*common, "--audience", SVID_AUDIENCE, "--kind", "svid", "-", stdin=svid).code == 0
    access = world.token().encode()
    scopes = ("--scope", "orders:read", "--scope", "orders:write")
    assert coldcred(*common, "--audience", AUDIENCE, *scopes, "-", stdin=access + b"\r\n").code == 0
    outcome = coldcred(*common, "--audience", AUDIENCE, "--scope", "orders:delete", "--json", "-", stdin=access)
    assert (outcome.code, outcome.report["reason"]) == (1, "scope-missing")


REJECTED: dict[str, tuple[Reason, Sequence[str], str]] = {
    "another audience": (Reason.WRONG_AUDIENCE, ["--audience", OTHER_AUDIENCE], AT),
    "another word": (Reason.WRONG_AUDIENCE, ["--audience", "orders"], AT),
    "another kind": (Reason.WRONG_KIND, ["--audience", AUDIENCE, "--kind", "svid"], AT),
    "expired": (Reason.EXPIRED, ["--audience", AUDIENCE], "2027-01-15T08:15:00Z"),
    "not yet valid": (Reason.NOT_YET_VALID, ["--audience", AUDIENCE], "2027-01-15T07:59:59Z"),
    "clock behind": (Reason.CLOCK_BEHIND_FLOOR, ["--audience", AUDIENCE], "2027-01-15T07:57:59Z"),
    "trust over": (Reason.TRUST_EXPIRED, ["--audience", AUDIENCE], "2027-01-16T14:00:00Z"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_rejected(coldcred: Command, world: World, site: Path, token: Path, case: str) -> None:
    """A rejection: exit 1, the reason, no claims, and a sentence that says what to do."""
    reason, options, at = REJECTED[case]
    outcome = coldcred("verify", "--trust", site, *options, "--at", at, "--json", token)
    assert outcome.code == 1
    report = outcome.report
    assert (report["verdict"], report["reason"], report["claims"]) == ("rejected", reason.value, None)
    assert (report["kid"], report["bundle"], report["as_of"]) == (world.access_key.kid, 1, AT)
    behind = reason is Reason.CLOCK_BEHIND_FLOOR
    assert (report["freshness"] == "none") is (report["bundle_age_s"] is None) is behind
    assert ADVICE[reason] in sentence(outcome)
    spoken = coldcred("verify", "--trust", site, *options, "--at", at, token)
    assert (spoken.code, spoken.out) == (1, "")
    assert reason.value in sentence(spoken)


def test_one_changed_character(coldcred: Command, site: Path, token: Path) -> None:
    """Changed characters, padding and foreign text: rejected, exit 1, never a traceback."""
    good = token.read_bytes().strip()
    expected = {"malformed", "bad-signature", "unknown-key", "wrong-algorithm", "wrong-kind"}
    changed = [
        good[:place] + (b"A" if good[place : place + 1] != b"A" else b"B") + good[place + 1 :]
        for place in range(0, 700, 37)
    ]
    for bad in (*changed, good + b"=", good + b"\n\n", b" " + good, b"", b"\xff\xfe", "ümlaut".encode(), b"\x1b[2J"):
        token.write_bytes(bad)
        outcome = coldcred("verify", "--trust", site, "--audience", AUDIENCE, "--at", AT, "--json", token)
        assert outcome.code == 1
        assert outcome.report["reason"] in expected
        sentence(outcome)


@pytest.mark.parametrize("size", [64 * 1024 + 3, 10 * 2**30])
def test_a_file_beyond_the_limit_is_not_read(coldcred: Command, site: Path, token: Path, size: int) -> None:
    """A file that is too large is refused by its size, at once."""
    with token.open("wb") as file:
        file.truncate(size)
    begin = time.process_time()
    outcome = coldcred("verify", "--trust", site, "--audience", AUDIENCE, "--json", token)
    assert time.process_time() - begin < 1
    assert (outcome.code, outcome.report["reason"]) == (1, "too-large")


def test_endless_input_is_cut_off(coldcred: Command, site: Path) -> None:
    """A device that never ends, or a long standard input, is read no further than the limit."""
    for file, stdin in (("/dev/zero", b""), ("-", b"A" * 200_000)):
        outcome = coldcred("verify", "--trust", site, "--audience", AUDIENCE, "--json", file, stdin=stdin)
        assert (outcome.code, outcome.report["reason"]) == (1, "too-large")


def test_no_trust(coldcred: Command, world: World, tmp_path: Path, token: Path) -> None:
    """Trust that is missing or damaged is a rejection: exit 1, freshness none, nothing known about a bundle."""
    nowhere = coldcred("verify", "--trust", tmp_path / "no", "--audience", AUDIENCE, "--json", token)
    bare = world.bare_site(tmp_path / "bare")
    empty = coldcred("verify", "--trust", bare, "--audience", AUDIENCE, "--json", token)
    broken = world.site(tmp_path / "trust")
    (broken / "current" / layout.JWKS).write_bytes(b"{}")
    damaged = coldcred("verify", "--trust", broken, "--audience", AUDIENCE, "--json", token)
    for outcome, reason in ((nowhere, "trust-missing"), (empty, "trust-missing"), (damaged, "trust-damaged")):
        assert outcome.code == 1
        none = dict.fromkeys(KEYS[3:])
        assert outcome.report == {"verdict": "rejected", "reason": reason, "freshness": "none", **none}
    assert layout.JWKS in sentence(damaged)


@pytest.mark.parametrize(
    ("at", "freshness"),
    [
        (NOW + (DAY + GRACE) // 2 - 1, "fresh"),
        (NOW + (DAY + GRACE) // 2, "ageing"),
        (NOW + (DAY + GRACE) * 4 // 5, "stale"),
    ],
)
def test_freshness_is_said(
    coldcred: Command, world: World, site: Path, tmp_path: Path, at: int, freshness: str
) -> None:
    """Ageing and stale trust is accepted where the profile allows, and said on standard error."""
    token = tmp_path / "t"
    token.write_text(world.token(issued_at=at, not_before=at, expires_at=at + 60))
    outcome = coldcred("verify", "--trust", site, "--audience", AUDIENCE, "--at", utc(at), "--json", token)
    assert (outcome.code, outcome.report["freshness"], outcome.report["bundle_age_s"]) == (0, freshness, at - NOW)
    assert (freshness in outcome.err) is (freshness != "fresh")
    assert Freshness(freshness)


MISUSE: list[list[str]] = [
    [],
    ["nothing"],
    ["verify"],
    ["verify", "--trust", "{site}", "{token}"],
    ["verify", "--audience", AUDIENCE, "{token}"],
    ["verify", "--trust", "{site}", "--audience", AUDIENCE],
    ["verify", "--trust", "{site}", "--audience", AUDIENCE, "--kind", "any", "{token}"],
    ["verify", "--trust", "{site}", "--audience", "", "{token}"],
    ["verify", "--trust", "{site}", "--audience", AUDIENCE, "--scope", "", "{token}"],
    ["verify", "--trust", "{site}", "--audience", AUDIENCE, "{site}/nowhere"],
    ["verify", "--trust", "{site}", "--audience", AUDIENCE, "{site}"],
    ["verify", "--trust", "{site}", "--audience", AUDIENCE, "a\x00b"],
    ["verify", "--trus", "{site}", "--audience", AUDIENCE, "{token}"],
    *(
        ["verify", "--trust", "{site}", "--audience", AUDIENCE, "--at", at, "{token}"]
        for at in ("", "now", "1800000000", "2027-01-15", "2027-01-15T08:00:00", "2027-01-15T08:00:00+01:00")
    ),
    ["verify", "--trust", "{site}", "--audience", AUDIENCE, "--at", "2027-02-30T08:00:00Z", "{token}"],
    ["verify", "--trust", "{site}", "--audience", AUDIENCE, "--at", "0000-01-01T00:00:00Z", "{token}"],
    ["site"],
    ["site", "init"],
    ["site", "init", "{new}", "--root", "{site}/root.json", "--fingerprint", "abc", "--site", SITE],
    ["site", "init", "{new}", "--root", "{site}/root.json", "--fingerprint", "0" * 64, "--site", "Not A Site"],
    ["site", "init", "{new}", "--root", "{site}/nowhere", "--fingerprint", "0" * 64, "--site", SITE],
    ["bundle"],
    ["bundle", "apply", "{token}"],
    ["bundle", "apply", "{site}/nowhere", "--trust", "{site}"],
    ["bundle", "inspect", "{site}/nowhere"],
]


@pytest.mark.parametrize("arguments", MISUSE, ids=" ".join)
def test_misuse(coldcred: Command, site: Path, token: Path, tmp_path: Path, arguments: list[str]) -> None:
    """A command that is called wrongly ends with 2 and says how, and does nothing."""
    before = tree(tmp_path)
    filled = [argument.format(site=site, token=token, new=tmp_path / "new") for argument in arguments]
    outcome = coldcred(*filled)
    assert (outcome.code, outcome.out) == (2, "")
    assert tree(tmp_path) == before


# site init, bundle inspect, bundle apply


@pytest.fixture
def carried(tmp_path: Path) -> tuple[World, Path]:
    """Return a world of today and what a person carries to the site: root.json and a bundle."""
    today = World.make(int(time.time()) - 5)
    (tmp_path / "root.json").write_bytes(today.root())
    (tmp_path / "site-0001.bundle").write_bytes(today.bundle())
    return today, tmp_path


def test_from_nothing_to_a_verdict(coldcred: Command, carried: tuple[World, Path]) -> None:
    """The whole of a site's work: pin, apply, verify, apply again, each with its exit code."""
    today, folder = carried
    trust, bundle = folder / "site" / "trust", folder / "site-0001.bundle"
    fingerprint = sha256_hex(today.root())
    pinning = ("site", "init", trust, "--root", folder / "root.json", "--fingerprint", fingerprint, "--site", SITE)
    made = coldcred(*pinning)
    assert made.code == 0
    assert fingerprint in made.out
    assert coldcred(*pinning).code == 1
    applied = coldcred("bundle", "apply", bundle, "--trust", trust)
    assert applied.code == 0
    assert "applied bundle 1" in applied.out
    again = coldcred("bundle", "apply", bundle, "--trust", trust)
    assert (again.code, "already applied" in again.out) == (0, True)
    (folder / "t").write_text(today.token())
    assert coldcred("verify", "--trust", trust, "--audience", AUDIENCE, folder / "t").code == 0


@pytest.mark.parametrize("written", ["{}", "{upper}", "{colons}", "{fours}", "{lines}"])
def test_a_fingerprint_as_people_write_it(coldcred: Command, carried: tuple[World, Path], written: str) -> None:
    """Either case, colons, groups and line ends: what was read out is taken; else the option is named."""
    today, folder = carried
    plain = sha256_hex(today.root())
    groups = [plain[place : place + 4] for place in range(0, 64, 4)]
    said = written.format(
        plain,
        upper=plain.upper(),
        colons=":".join(plain[place : place + 2] for place in range(0, 64, 2)),
        fours=" ".join(groups),
        lines="\n".join(" ".join(groups[row : row + 4]) for row in range(0, 16, 4)) + "\n",
    )
    root = ("--root", folder / "root.json", "--site", SITE)
    assert coldcred("site", "init", folder / "trust", *root, "--fingerprint", said).code == 0
    wrong = coldcred("site", "init", folder / "other", *root, "--fingerprint", said[:-2])
    assert (wrong.code, "fingerprint: " in sentence(wrong)) == (2, True)
    machine = ("--id", "spiffe://plant-a.example/m", "--key", folder / "key", "--out", folder / "out")
    assert coldcred("enrol", "--appliance", said, *machine).code == 0
    wrong = coldcred("enrol", "--appliance", said[:8], *machine)
    assert (wrong.code != 0, "--appliance: " in sentence(wrong)) == (True, True)


def test_a_clock_that_is_ahead_is_named(coldcred: Command, carried: tuple[World, Path]) -> None:
    """What seems over at a clock that is ahead is told with this machine's time and the bundle's own."""
    today, folder = carried
    trust, bundle, token = today.bare_site(folder / "trust"), folder / "old.bundle", folder / "t"
    past = World.make(today.now - 40 * DAY)
    bundle.write_bytes(past.bundle(roots=[today.root()]))
    refused = coldcred("bundle", "apply", bundle, "--trust", trust)
    assert "(expired)" in sentence(refused)
    assert coldcred("bundle", "apply", folder / "site-0001.bundle", "--trust", trust).code == 0
    token.write_text(today.token())
    told = [refused]
    for days in (1, 40):
        at = utc(today.now + days * DAY)
        told.append(coldcred("verify", "--trust", trust, "--audience", AUDIENCE, "--at", at, token))
        assert at in sentence(told[-1])
    assert ["expired" in sentence(one) for one in told] == [True] * 3
    for one, issued in zip(told, (past.now, today.now, today.now), strict=True):
        assert f"issued at {utc(issued)}" in sentence(one)
        assert "if the clock is ahead, set it first" in sentence(one)


def test_a_refused_bundle(coldcred: Command, carried: tuple[World, Path]) -> None:
    """A bundle that is refused: exit 1, the reason, what to do, and the store as it was."""
    today, folder = carried
    trust, bundle = today.bare_site(folder / "trust"), folder / "bad.bundle"
    cases = {
        BundleReason.OTHER_SITE: today.bundle(times=today.times(site="site-0002")),
        BundleReason.MALFORMED: today.bundle()[:-1],
        BundleReason.CLOCK_BEHIND_FLOOR: World.make(today.now + 3600).bundle(roots=[today.root()]),
        BundleReason.EXPIRED: World.make(today.now - 2 * DAY).bundle(roots=[today.root()]),
    }
    before = tree(trust)
    for reason, body in cases.items():
        bundle.write_bytes(body)
        outcome = coldcred("bundle", "apply", bundle, "--trust", trust)
        assert (outcome.code, outcome.out) == (1, "")
        assert f"({reason.value})" in sentence(outcome)
        assert BUNDLE_ADVICE[reason] in sentence(outcome)
        assert tree(trust) == before
    outcome = coldcred("bundle", "apply", folder / "site-0001.bundle", "--trust", folder / "nowhere")
    assert (outcome.code, "store-missing" in outcome.err) == (1, True)


def test_a_bundle_beyond_the_limit_is_not_read(coldcred: Command, carried: tuple[World, Path]) -> None:
    """A bundle or root of 10 GiB is refused by its size, at once."""
    today, folder = carried
    trust, huge = today.bare_site(folder / "trust"), folder / "huge"
    with huge.open("wb") as file:
        file.truncate(10 * 2**30)
    pinning = ("site", "init", folder / "new", "--root", huge, "--fingerprint", "0" * 64, "--site", SITE)
    for arguments in (("bundle", "apply", huge, "--trust", trust), ("bundle", "inspect", huge), pinning):
        begin = time.process_time()
        outcome = coldcred(*arguments)
        assert time.process_time() - begin < 1
        assert (outcome.code, "too-large" in outcome.err) == (1, True)


def test_inspect(coldcred: Command, world: World, tmp_path: Path) -> None:
    """Looking into a bundle needs no trust store, in words and as JSON, and works at any time."""
    bundle = tmp_path / "b"
    bundle.write_bytes(world.bundle(4, taints=["a" * 43]))
    spoken = coldcred("bundle", "inspect", bundle)
    assert spoken.code == 0
    for fact in (sha256_hex(world.root()), "bundle 4", SITE, "2027-01-15T08:03:00Z", world.access_key.kid, "a" * 43):
        assert fact in spoken.out
    found = json.loads(coldcred("bundle", "inspect", bundle, "--json").out)
    assert (found["root"], found["bundle"], found["site"]) == (sha256_hex(world.root()), 4, SITE)
    assert (found["single_operator"], len(found["keys"]), len(found["windows"])) == (False, 3, 1)
    bundle.write_bytes(world.bundle()[:-1])
    assert coldcred("bundle", "inspect", bundle).code == 1


# Words


def test_every_reason_has_advice() -> None:
    """No reason is told without what to do next."""
    assert set(ADVICE) == set(Reason)
    assert set(BUNDLE_ADVICE) == set(BundleReason)
    assert all(text.endswith(".") for text in (*ADVICE.values(), *BUNDLE_ADVICE.values()))


@pytest.mark.parametrize("text", ["\x1b[2Jx", "a\nb\r", "\x9b1m", "\u202egnp.exe", "é\ud800", "\x00", "\x7f"])
def test_what_is_said_is_clean(text: str) -> None:
    """Nothing that came from outside can move a cursor or turn the text around."""
    assert clean(text).isprintable()
    assert clean(text).isascii()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(AT, NOW), ("2027-01-15T08:00:00+00:00", NOW), ("2027-01-15T08:00:00.5Z", NOW + 0.5), ("1970-01-01T00:00:00Z", 0)],
)
def test_times(text: str, seconds: float) -> None:
    """RFC 3339 in UTC, with or without a part of a second."""
    assert read_time(text) == seconds


# The process


def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-P", "-m", "coldcred", *map(str, arguments)]
    return subprocess.run(command, text=True, check=False, timeout=300, **({"capture_output": True} | options))


def test_as_a_process(site: Path, token: Path) -> None:
    """The same from outside: verdicts on standard output, talk on standard error, exit codes."""
    common = ("verify", "--trust", site, "--audience", AUDIENCE, "--json", token)
    accepted, rejected, misuse = run(*common, "--at", AT), run(*common), run("verify")
    assert (accepted.returncode, json.loads(accepted.stdout)["verdict"]) == (0, "accepted")
    assert (rejected.returncode, json.loads(rejected.stdout)["verdict"]) == (1, "rejected")
    assert (misuse.returncode, misuse.stdout) == (2, "")
    assert run("--help").returncode == 0


def test_an_output_that_cannot_be_written(site: Path, token: Path) -> None:
    """A verdict that could not be delivered is not a success, and a full or closed output is no traceback."""
    common = ("verify", "--trust", site, "--audience", AUDIENCE, "--json", "--at", AT, token)
    with Path("/dev/full").open("w") as full:
        outcome = run(*common, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (outcome.returncode, "No space left" in outcome.stderr) == (1, True)
    assert "Traceback" not in outcome.stderr
    read, write = os.pipe()
    os.close(read)
    outcome = run(*common, capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (outcome.returncode, "Traceback" in outcome.stderr) == (1, False)


def test_verifying_loads_nothing_that_applying_needs() -> None:
    """The library loads no TUF and no argument parser, and verifying by command loads no TUF."""
    heavy = ["tuf", "securesystemslib", "argparse", "sqlite3"]
    ask = f"import sys, {{}}; print([name for name in {heavy} if name in sys.modules])"
    for module, found in (("coldcred", "[]"), ("coldcred.__main__", "['argparse']")):
        answer = subprocess.run(
            [sys.executable, "-P", "-c", ask.format(module)], capture_output=True, text=True, check=True
        )
        assert answer.stdout.strip() == found


def test_without_the_extra(carried: tuple[World, Path]) -> None:
    """Where the extra is not installed, verifying works and applying says what is missing."""
    today, folder = carried
    trust = today.site(folder / "trust")
    (folder / "t").write_text(today.token())
    (folder / "tuf.py").write_text("raise ModuleNotFoundError(\"No module named 'tuf'\", name='tuf')\n")
    (folder / "securesystemslib.py").write_text("raise ModuleNotFoundError('no', name='securesystemslib')\n")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    assert run("verify", "--trust", trust, "--audience", AUDIENCE, folder / "t", env=environment).returncode == 0
    outcome = run("bundle", "apply", folder / "site-0001.bundle", "--trust", trust, env=environment)
    assert outcome.returncode == 2
    assert "coldcred[bundle]" in outcome.stderr
    assert "Traceback" not in outcome.stderr
