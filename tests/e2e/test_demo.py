"""`make demo`, as a newcomer runs it: one command, a story, the files it promises, and a credential that holds."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commandline import COLDCRED, CTL, Ended, coldcred, run
from tests.support.tree import ROOT

AUDIENCE = "https://orders.plant-a.example"
SECONDS = 30
"""What the demonstration may take on a quiet machine; here it may share one."""

OLD = ("home/founding.json", "home/log.sqlite", "site/trust/site.json", "people/alice.operator", "notes.txt")

FILES = {
    "README.txt",
    "audit/log.export",
    "carry/root.json",
    "carry/site-0001.bundle",
    "carry/site-0002.bundle",
    "home/founding.json",
    "home/lock",
    "home/log.sqlite",
    "home/settings.toml",
    "hsm/softhsm2.conf",
    "site/credential.jwt",
    "site/revoked.jwt",
    "site/two-people.jwt",
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return what one run left and what it told: run where an older one lies, with no network but loopback."""
    folder = tmp_path_factory.mktemp("checkout") / "demo"
    for name in OLD:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("left by an older run")
    ended = subprocess.run(
        ["unshare", "-rn", sys.executable, "-P", str(ROOT / "provisioning" / "demo.py"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return folder, ended.stdout


def verify(folder: Path, *more: str, token: str | None = None) -> Ended:
    """Verify the demonstration's credential, or another token, with the site's trust."""
    options: list[str | Path] = ["verify", "--trust", folder / "site" / "trust", "--json", *more]
    if token is None:
        return coldcred(*options, folder / "site" / "credential.jwt")
    return coldcred(*options, "-", stdin=token)


def test_it_leaves_what_it_promises(demo: tuple[Path, str]) -> None:
    """Exactly the promised files are there, nothing of an older run and nothing of its own work."""
    folder, _ = demo
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    people = {name for name in found if name.startswith("people/")}
    rest = {name for name in found - people if not name.startswith(("site/trust/", "hsm/tokens/"))}
    assert rest == FILES
    names = [
        f"people/{person}.{register}" for person in ("alice", "bob", "carol") for register in ("operator", "custodian")
    ]
    expected = {f"{name}{end}" for name in names for end in ("", ".passphrase", ".pub.json")}
    assert people == expected | {"people/token.pin", "people/token.so-pin"}
    for name in people:
        assert name.endswith(".pub.json") or stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_the_credential_is_accepted_and_fresh(demo: tuple[Path, str]) -> None:
    """The verifier accepts the credential with the trust that was carried, and still does hours later."""
    folder, _ = demo
    now = verify(folder, "--audience", AUDIENCE)
    assert (now.code, now.json["verdict"], now.json["freshness"]) == (0, "accepted", "fresh")
    assert now.json["claims"]["exp"] - now.json["claims"]["iat"] == 8 * 3600
    assert "cnf" not in now.json["claims"]
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7 * 3600))
    assert verify(folder, "--audience", AUDIENCE, "--at", later).json["verdict"] == "accepted"


def test_a_revoked_credential_is_rejected(demo: tuple[Path, str]) -> None:
    """One of the thousand, of the workload that was revoked, is rejected for that; before, it was accepted."""
    folder, story = demo
    token = (folder / "site" / "revoked.jwt").read_text().strip()
    ended = verify(folder, "--audience", AUDIENCE, token=token)
    assert (ended.code, ended.json["reason"]) == (1, "revoked")
    assert story.count("accepted") >= 3
    assert "rejected (revoked)" in story


def test_any_other_token_is_rejected(demo: tuple[Path, str]) -> None:
    """Another audience, another kind, padding and any changed character are rejected, never with a traceback."""
    folder, _ = demo
    token = (folder / "site" / "credential.jwt").read_text().strip()
    other = verify(folder, "--audience", "https://elsewhere.example")
    assert (other.code, other.json["reason"]) == (1, "wrong-audience")
    kind = verify(folder, "--audience", AUDIENCE, "--kind", "svid")
    assert (kind.code, kind.json["reason"]) == (1, "wrong-kind")
    for changed in changes(token):
        ended = verify(folder, "--audience", AUDIENCE, token=changed)
        assert (ended.code, ended.json["verdict"]) == (1, "rejected")
        assert "Traceback" not in ended.err


def changes(token: str) -> Iterator[str]:
    """Give the token with padding, and with one character changed here and there; every place is tried elsewhere."""
    yield token + "="
    for place in range(0, len(token), 97):
        yield token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]


def test_the_story_is_plain(demo: tuple[Path, str]) -> None:
    """It is told in numbered steps with the commands that were run, ends with where things are, and tells no secret."""
    folder, story = demo
    steps = [line for line in story.splitlines() if line[:1].isdigit()]
    assert [int(step.partition(".")[0]) for step in steps] == list(range(1, len(steps) + 1))
    assert "coldcredctl --home demo/home" in story
    assert "accepted" in story
    assert "rejected (bad-signature)" in story
    assert str(folder / "README.txt") in story
    for secret in [*folder.glob("people/*.passphrase"), *folder.glob("people/token.*pin")]:
        assert secret.read_text().strip() not in story


def test_it_takes_half_a_minute_at_most(demo: tuple[Path, str]) -> None:
    """The demonstration says how long it took."""
    seconds = int(demo[1].splitlines()[-1].removeprefix("Done in ").partition(" ")[0])
    assert seconds <= SECONDS * max(1.0, os.getloadavg()[0])


def test_the_readme_tells_the_truth(demo: tuple[Path, str], tmp_path: Path) -> None:
    """The commands of README.txt do what it says, run by a shell as they stand there."""
    folder, _ = demo
    text = (folder / "README.txt").read_text().replace("\\\n", " ")
    verify_it, verify_log, serve, issue = (line.strip() for line in text.splitlines() if line.startswith("  coldcred"))
    for command, words in (("coldcred", COLDCRED), ("coldcredctl", CTL)):
        script = tmp_path / command
        script.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
        script.chmod(0o755)
    wait = f"until [ -S {folder / 'home' / 'operator.sock'} ]; do sleep 0.1; done"
    served = f"{serve} & server=$!; {wait}; {issue}; code=$?; kill $server; wait $server; exit $code"
    for line in (verify_it, verify_log):
        ended = run(["sh", "-c", f"PATH={tmp_path}:$PATH; {line}"], cwd=folder.parent)
        assert ended.code == 0, ended
    issued = run(["sh", "-c", f"PATH={tmp_path}:$PATH; {served}"], cwd=folder.parent)
    assert (issued.code, issued.out.count(".")) == (0, 2)


def test_the_appliance_goes_on(demo: tuple[Path, str]) -> None:
    """The home that was left serves: an auditor reads it, and its log verifies."""
    folder, _ = demo
    home = ("--home", folder / "home")
    assert run([*CTL, *home, "log", "verify", "--json"]).json["verdict"] == "intact"
    passphrase = (folder / "people" / "carol.operator.passphrase").read_text().strip()
    key = ("--as", folder / "people" / "carol.operator")
    status = run([*CTL, *home, *key, "status", "--json"], secrets={"--passphrase-fd": passphrase}).json
    assert (status["name"], status["single_operator"], status["bundles"]) == ("plant-a", False, {"line-1": 2})
