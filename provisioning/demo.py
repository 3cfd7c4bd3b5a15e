"""Tell the whole story once, unattended: found an appliance, issue, carry to a site, verify there with no network.

    provisioning/demo.py [FOLDER]      ./demo of this checkout unless given; what is in it is made afresh

Each line that begins with `$` is run as it stands there, by a shell in the folder above.
"""

import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLAN = ROOT / "docs" / "examples" / "plant-a" / "plan.toml"
PROFILE = ROOT / "docs" / "examples" / "plant-a" / "orders-reader.toml"
CAREFUL = "orders-careful"
PEOPLE = ("alice", "bob", "carol")
TOKEN, SITE = "plant-a-daily", "line-1"
WORKLOAD = "spiffe://plant-a.example/line-1/robot-7"
SECOND = "spiffe://plant-a.example/line-1/robot-8"
LINES = 1000
AUDIENCE = "https://orders.plant-a.example"
REFUSED = 1  # exit code of a verb that was refused
WAITING = 3  # and of one whose request waits for another person
READY_SECONDS = 20

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
)

README = """\
What `make demo` left here, at {when}

  home/                   the appliance: settings, founding, log. Its keys are not in it: they are in the token
  hsm/                    the SoftHSM token, which stands in for a hardware security module
  people/                 keys of {people}: NAME.operator for daily work, NAME.custodian for the root of
                          trust. Passphrases, and the token's PINs, lie beside them only because this is a demonstration
  carry/root.json         what a site pins; its fingerprint travels another way:
                          {fingerprint}
  carry/site-0001.bundle  the rotation bundle for site {site}
  carry/site-0002.bundle  the next one, which carries the revocation of a second robot's credentials
  site/trust/             the site's trust store, made with root.json and the fingerprint, filled by the bundle
  site/credential.jwt     a credential of workload {workload}
                          for audience {audience}, with scope orders.read,
                          not bound to a key of its holder: whoever has the file can show it
  site/two-people.jwt     a credential that took two people: one signed at the appliance, one on another machine
  site/revoked.jwt        one of 1000 credentials that were issued by one command; it was the second robot's, and the
                          second bundle revokes it
  audit/log.export        the whole log with a signed checkpoint, for an auditor who trusts none of the above

The credential lives for 8 hours, the longest that its profile (docs/examples/plant-a/orders-reader.toml) allows, inside
a window of 24 hours: verify it again today. Commands run in the folder above this one:

  coldcred verify --trust {demo}/site/trust --audience {audience} {demo}/site/credential.jwt
  coldcred log verify {demo}/audit/log.export --trust {demo}/site/trust

Start the appliance, and ask for another credential from a second terminal:

  coldcredctl --home {demo}/home --pin-fd 4 serve 4<{demo}/people/token.pin
  coldcredctl --home {demo}/home --as {demo}/people/alice.operator --passphrase-fd 3 \\
      issue --profile orders-reader --workload {workload} \\
      --audience {audience} --scope orders.read --ttl 15m 3<{demo}/people/alice.operator.passphrase
"""


class Stage:
    """The folder of the demonstration, and a shell that runs what is shown; paths are relative to the folder above."""

    def __init__(self, folder: Path) -> None:
        """Begin afresh: what an earlier run left is removed."""
        self.folder = folder.resolve()
        self.above = self.folder.parent
        self.name = shlex.quote(self.folder.name)
        self._steps = 0
        if self.folder.exists():
            shutil.rmtree(self.folder)
        for part in ("hsm/tokens", "people", "carry", "site", "audit", "desk"):
            (self.folder / part).mkdir(parents=True, mode=0o700)
        self._environment = {"PATH": f"{self._commands()}:{os.environ.get('PATH', os.defpath)}", "LANG": "C.UTF-8"}

    def _commands(self) -> Path:
        """Give the folder with the two commands: beside this interpreter, or in a source tree written for this run."""
        beside = Path(sys.executable).parent
        if all((beside / command).exists() for command in ("coldcred", "coldcredctl")):
            return beside
        folder = self.folder / "desk" / "bin"
        folder.mkdir()
        for command, module in (("coldcred", "coldcred"), ("coldcredctl", "appliance")):
            script = folder / command
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m {module} "$@"\n')
            script.chmod(0o755)
        return folder

    def say(self, text: str) -> None:
        """Begin the next step of the story."""
        self._steps += 1
        print(f"\n{self._steps}. {text}", flush=True)

    def run(self, line: str, *, expect: int = 0) -> str:
        """Show a command line, run it, show what it says, and give its standard output."""
        print(f"   $ {line}", flush=True)
        ended = subprocess.run(
            ["sh", "-c", line],
            cwd=self.above,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        for said in (*ended.stderr.splitlines(), *ended.stdout.splitlines()):
            print(f"     {said[:160]}", flush=True)
        if ended.returncode != expect:
            raise SystemExit(f"demo: this should have ended with code {expect}, not {ended.returncode}; see above")
        return ended.stdout

    def ctl(self, verb: str, person: str = "", *, expect: int = 0) -> str:
        """Run `coldcredctl` for a person: `alice` signs with the operator key, `alice.custodian` with the other."""
        key = person if "." in person else f"{person}.operator"
        who = f"--as {self.name}/people/{key} --passphrase-fd 3 " if person else ""
        secret = f" 3<{self.name}/people/{key}.passphrase" if person else ""
        return self.run(f"coldcredctl --home {self.name}/home {who}{verb}{secret}", expect=expect)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve the appliance while the block runs, then stop it as a service manager would."""
        line = f"coldcredctl --home {self.name}/home --pin-fd 4 serve --ready-fd 1 4<{self.name}/people/token.pin"
        print(f"   $ {line} &", flush=True)
        server = subprocess.Popen(
            ["sh", "-c", f"exec {line}"],
            cwd=self.above,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            if server.stdout is None or server.stdout.readline() != "ready\n":
                raise SystemExit("demo: the appliance did not start; see above")
            yield
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                code = server.wait(READY_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                raise
        if code != 0:
            raise SystemExit(f"demo: the appliance stopped with code {code}")


def main() -> None:
    """Tell the story."""
    began = time.monotonic()
    stage = Stage(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "demo")
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None:
        raise SystemExit("demo: SoftHSM is not installed; `make demo` installs it (Debian package softhsm2)")
    print(f"Coldcred, once through. Everything happens in {stage.folder}; nothing needs a network.")
    make_token(stage, module)
    make_people(stage)
    found(stage, module)
    stage.say("The appliance starts to serve. It listens on a socket in its home and on nothing else.")
    with stage.serving():
        fingerprint = make_trust(stage)
        issue(stage)
        issue_by_two(stage)
        issue_many(stage)
        revoke(stage)
        stage.say("Carol, the auditor, exports the log. She can read everything and change nothing.")
        stage.ctl(f"log export --out {stage.name}/audit/log.export", "carol")
    verify_at_site(stage, fingerprint)
    carry_revocation(stage)
    stage.say("The auditor verifies the exported log with no help from the appliance: every entry, every signature.")
    stage.run(f"coldcred log verify {stage.name}/audit/log.export --trust {stage.name}/site/trust")
    finish(stage, fingerprint, time.monotonic() - began)


def make_token(stage: Stage, module: str) -> None:
    """Make the token that stands in for an HSM, with two new PINs."""
    stage.say("A token. It stands in for a hardware security module; signing keys are born in it and cannot leave it.")
    configuration = stage.folder / "hsm" / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {configuration.parent}/tokens\nobjectstore.backend = file\n")
    for name in ("token.pin", "token.so-pin"):
        write_secret(stage.folder / "people" / name, f"{secrets.randbelow(10**8):08}")
    people = f"{stage.name}/people"
    stage.run(
        f"coldcredctl --pin-fd 4 token init {TOKEN} --module {module} {module_env(stage)}"
        f" --so-pin-fd 3 3<{people}/token.so-pin 4<{people}/token.pin"
    )


def module_env(stage: Stage) -> str:
    """Give the option that tells SoftHSM where its token lies."""
    return f"--module-env SOFTHSM2_CONF={shlex.quote(str(stage.folder / 'hsm' / 'softhsm2.conf'))}"


def make_people(stage: Stage) -> None:
    """Let everyone make two keys."""
    stage.say("Three people each make two keys: one for daily work, one as custodian of what sites will trust.")
    for person in PEOPLE:
        for register in ("operator", "custodian"):
            key = f"people/{person}.{register}"
            write_secret(stage.folder / f"{key}.passphrase", secrets.token_urlsafe(18))
            path = f"{stage.name}/{key}"
            stage.run(f"coldcredctl --passphrase-fd 3 operator keygen {path} 3<{path}.passphrase")


def write_secret(path: Path, text: str) -> None:
    """Write a secret that only its owner reads, where no command line shows it."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{text}\n")


def found(stage: Stage, module: str) -> None:
    """Found the appliance."""
    stage.say(
        "They found the appliance: the plan says who they are and what keys may sign, and all of them sign it\n"
        "   with both keys. Then the token makes the appliance's own keys."
    )
    plan = shlex.quote(os.path.relpath(PLAN, stage.above))
    people = f"{stage.name}/people"
    stage.run(
        f"coldcredctl --home {stage.name}/home --pin-fd 4 init all --plan {plan} --people {people}"
        f" --passphrase-dir {people} --module {module} {module_env(stage)} 4<{people}/token.pin"
    )


def make_trust(stage: Stage) -> str:
    """Have the custodians sign what sites trust, make the first bundle, and give the root's fingerprint."""
    desk, carry = f"{stage.name}/desk", f"{stage.name}/carry"
    stage.say("Two custodians sign what sites will trust. The appliance alone could not add a key to it.")
    stage.ctl(f"trust prepare --out {desk}/trust", "alice")
    for person in ("alice", "bob"):
        stage.ctl(f"trust sign {desk}/trust --out {desk}/{person}.signature", f"{person}.custodian")
    signatures = f"{desk}/alice.signature {desk}/bob.signature"
    stage.ctl(f"trust submit {desk}/trust {signatures} --root-out {carry}/root.json", "alice")
    stage.say(f"The bundle for site {SITE}: keys, windows, revocations and time in one signed file, to be carried.")
    stage.ctl(f"bundle create --site {SITE} --out {carry}/site-0001.bundle", "alice")
    return stage.run(f"sha256sum {carry}/root.json").split()[0]


def issue(stage: Stage) -> None:
    """Enrol a workload with a second person's approval and issue it a credential."""
    request = f"{stage.name}/desk/enrol.jws"
    stage.say("Alice enrols a robot. That takes two people, so her request waits until Bob has read and approved it.")
    stage.ctl(f"workload enrol {WORKLOAD} --owner bob --request {request}", "alice", expect=WAITING)
    stage.ctl(f"approve {request}", "bob")
    stage.say(
        "Alice asks for the robot's credential. It is logged first, then signed in the token, checked, and given."
    )
    stage.ctl(
        f"issue --profile orders-reader --workload {WORKLOAD} --audience {AUDIENCE} --scope orders.read --ttl 8h"
        f" --out {stage.name}/site/credential.jwt",
        "alice",
    )


def issue_by_two(stage: Stage) -> None:
    """Issue under a profile that takes two people; the second one signs on a machine without the appliance."""
    desk = f"{stage.name}/desk"
    text = PROFILE.read_text().replace('"orders-reader"', f'"{CAREFUL}"').replace("approvals = 1", "approvals = 2")
    (stage.folder / "desk" / "careful.toml").write_text(text)
    stage.say(
        "A profile under which each credential takes two people. Setting it takes two as well, and what it would\n"
        "   change for everybody is shown before it is asked for."
    )
    stage.ctl(f"profile set {desk}/careful.toml --request {desk}/profile.jws", "alice", expect=WAITING)
    stage.ctl(f"approve {desk}/profile.jws", "bob")
    line = (
        f"issue --profile {CAREFUL} --workload {WORKLOAD} --audience {AUDIENCE} --scope orders.write --ttl 15m"
        f" --request {desk}/careful.jws --out {stage.name}/site/two-people.jwt"
    )
    stage.say("Alice asks under it. She counts as one, and nobody approves what they asked for themselves.")
    stage.ctl(line, "alice", expect=WAITING)
    stage.ctl(f"approve {desk}/careful.jws", "alice", expect=REFUSED)
    stage.say(
        "Bob works elsewhere, where no appliance is. One file goes to him and one comes back: his signature over\n"
        "   the request, over what he was shown, and over the policy and the profile that stood."
    )
    waiting = json.loads(stage.ctl("request list --json", "carol"))
    stage.ctl(f"request export {waiting[0]['command'][:12]} --out {desk}/careful.request", "alice")
    bob = f"--as {stage.name}/people/bob.operator --passphrase-fd 3"
    secret = f"3<{stage.name}/people/bob.operator.passphrase"
    stage.run(f"coldcredctl --home /nowhere {bob} approve {desk}/careful.request --out {desk}/bob.approval {secret}")
    stage.say("One changed character voids it. As he signed it, it counts, and the request has its two people.")
    token = (stage.folder / "desk" / "bob.approval").read_text()
    place = len(token) // 2
    other = "A" if token[place - 1] != "A" else "B"
    stage.run(f"sed 's/./{other}/{place}' {desk}/bob.approval > {desk}/changed.approval")
    stage.ctl(f"submit {desk}/changed.approval", expect=REFUSED)
    stage.ctl(f"submit {desk}/bob.approval")
    stage.say(
        "Others can read what waits, an auditor in the log for one. Who sends it hears how it stands and gets\n"
        "   nothing. Alice completes it with one more signature, by the same line, and gets the credential."
    )
    stage.ctl(f"submit {desk}/careful.jws", expect=WAITING)
    stage.ctl(line, "alice")


def issue_many(stage: Stage) -> None:
    """Issue a file of requests for two robots, and keep one credential of the second."""
    stage.say(f"A second robot, and credentials for {LINES} errands of both: one command, one outcome a line.")
    request, asked = f"{stage.name}/desk/enrol-2.jws", stage.folder / "desk" / "requests.jsonl"
    stage.ctl(f"workload enrol {SECOND} --owner alice --request {request}", "alice", expect=WAITING)
    stage.ctl(f"approve {request}", "bob")
    with asked.open("w") as file:
        for number in range(1, LINES + 1):
            line = {
                "profile": "orders-reader",
                "workload": WORKLOAD if number % 2 else SECOND,
                "audience": AUDIENCE,
                "scopes": ["orders.read"],
                "ttl": 8 * 3600,
                "task": f"errand {number}",
            }
            file.write(json.dumps(line) + "\n")
    outcomes = f"{stage.name}/desk/outcomes.jsonl"
    stage.ctl(f"issue --requests {stage.name}/desk/requests.jsonl --out {outcomes}", "alice")
    last = json.loads((stage.folder / "desk" / "outcomes.jsonl").read_text().splitlines()[-1])
    write_secret(stage.folder / "site" / "revoked.jwt", last["token"])


def revoke(stage: Stage) -> None:
    """Revoke whatever the second robot holds, and make the bundle that says so."""
    stage.say("The second robot is found with its case open. Bob alone revokes all that it holds: stopping is quick.")
    stage.ctl(f"revoke --workload {SECOND} --reason 'found with its case open' --out {stage.name}/desk/revoked", "bob")
    stage.ctl(f"bundle create --site {SITE} --out {stage.name}/carry/site-0002.bundle", "alice")


def carry_revocation(stage: Stage) -> None:
    """Show that a site learns of a revocation by the next bundle, and by nothing else."""
    trust = f"{stage.name}/site/trust"
    verify = f"coldcred verify --trust {trust} --audience {AUDIENCE} {stage.name}/site"
    stage.say("The second robot's credential is accepted until somebody tells the site: then the next bundle arrives.")
    stage.run(f"{verify}/revoked.jwt")
    stage.run(f"coldcred bundle apply {stage.name}/carry/site-0002.bundle --trust {trust}")
    stage.run(f"{verify}/revoked.jwt", expect=1)
    stage.run(f"{verify}/credential.jwt")


def verify_at_site(stage: Stage, fingerprint: str) -> None:
    """Carry root, bundle and credential to the site and verify there."""
    trust, carry = f"{stage.name}/site/trust", f"{stage.name}/carry"
    stage.say("At the site, far from any network: pin the root by its fingerprint, apply the bundle.")
    stage.run(f"coldcred site init {trust} --root {carry}/root.json --fingerprint {fingerprint} --site {SITE}")
    stage.run(f"coldcred bundle apply {carry}/site-0001.bundle --trust {trust}")
    cut_off, said = no_network(stage)
    stage.say(f"The robot shows its credential, and the site verifies it with what it holds. {said}")
    verify = f"{cut_off}coldcred verify --trust {trust} --audience {AUDIENCE}"
    token = (stage.folder / "site" / "credential.jwt").read_text()
    stage.run(f"{verify} {stage.name}/site/credential.jwt")
    place = len(token) // 2
    other = "A" if token[place - 1] != "A" else "B"
    stage.say("Somebody changes one character of it, and it is worth nothing.")
    stage.run(f"sed 's/./{other}/{place}' {stage.name}/site/credential.jwt | {verify} -", expect=1)


def no_network(stage: Stage) -> tuple[str, str]:
    """Give what puts a command where no network is, and what to say of it."""
    for prefix in ("unshare -n ", "unshare -rn "):
        tried = subprocess.run(["sh", "-c", f"{prefix}true"], cwd=stage.above, capture_output=True, check=False)
        if tried.returncode == 0:
            return prefix, "`unshare -n` gives it no network at all."
    return "", "(This machine does not allow `unshare -n`, so the network is merely not used.)"


def finish(stage: Stage, fingerprint: str, seconds: float) -> None:
    """Leave the README and nothing else of the work."""
    shutil.rmtree(stage.folder / "desk")
    (stage.folder / "README.txt").write_text(
        README.format(
            when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            people=", ".join(PEOPLE),
            fingerprint=fingerprint,
            site=SITE,
            workload=WORKLOAD,
            audience=AUDIENCE,
            demo=stage.name,
        )
    )
    print(f"\nDone in {seconds:.0f} seconds. {stage.folder / 'README.txt'} says what is where, and what to try next.")


if __name__ == "__main__":
    main()
