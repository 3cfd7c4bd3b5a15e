"""Appliances that were really founded, on real tokens, by the command line: fixtures for tests of the front.

plant       one for the whole run, trust submitted, a bundle made, a workload enrolled; nothing serves it
served      the same while a server runs on it, for a module
alone       one that a single person founded
"""

import os
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from appliance import identity
from coldcred.keys import PublicKey
from tests.support.commandline import CTL, ENVIRONMENT, Ended, run
from tests.support.softhsm import MODULE, PIN, SoftHsm
from tests.support.tree import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "plant-a"
PEOPLE = ("alice", "bob", "carol")
SITE = "line-1"
WORKLOAD = "spiffe://plant-a.example/line-1/robot-7"
AUDIENCE = "https://orders.plant-a.example"
PASSPHRASE = "canary passphrase 5512"
READY_SECONDS = 120


@dataclass(frozen=True)
class Plant:
    """A founded appliance: its folder, which holds home, people and hsm, and how to speak to it."""

    folder: Path
    home: Path
    token: Path | None = None

    @property
    def hsm(self) -> Path:
        """The folder of its token: beside the people, or a copied home's own."""
        return self.token or self.folder / "hsm"

    @property
    def people(self) -> Path:
        """Everyone's keys: NAME.operator and NAME.custodian."""
        return self.folder / "people"

    @property
    def environment(self) -> str:
        """The option value that tells the module where its tokens are."""
        return f"SOFTHSM2_CONF={self.hsm / 'softhsm2.conf'}"

    def ctl(self, *arguments: str | Path, who: str = "", passphrase: str = PASSPHRASE, pin: str | None = None) -> Ended:
        """Run `coldcredctl` on this home: `who` is `alice` for the operator key, `alice.custodian` for the other."""
        secrets = {"--pin-fd": PIN.decode() if pin is None else pin}
        key: list[str | Path] = []
        if who:
            key = ["--as", self.people / (who if "." in who else f"{who}.operator")]
            secrets["--passphrase-fd"] = passphrase
        return run([*CTL, "--home", self.home, *key, *arguments], secrets=secrets)

    def done(self, *arguments: str | Path, who: str = "") -> Ended:
        """Run `coldcredctl` and see that it succeeds."""
        ended = self.ctl(*arguments, who=who)
        assert ended.code == 0, ended
        return ended

    def issue(self, *more: str | Path, who: str = "alice") -> Ended:
        """Ask for a credential for the workload of the example."""
        asked = ("--profile", "orders-reader", "--workload", WORKLOAD, "--audience", AUDIENCE)
        return self.ctl("issue", *asked, *more, who=who)

    def copy_home(self, folder: Path) -> "Plant":
        """Give a plant whose home is a copy in `folder`, with a token of its own beside it; people are the same.

        The token goes along: it keeps the head of one log.
        """
        shutil.copytree(self.home, folder, ignore=shutil.ignore_patterns("*.sock"))
        token = SoftHsm(folder.with_name(f"{folder.name}.hsm"))
        shutil.copytree(self.hsm / "tokens", token.tokens)
        token.configure()
        settings = folder / "settings.toml"
        settings.write_text(settings.read_text().replace(str(self.hsm), str(token.folder)))
        return replace(self, home=folder, token=token.folder)

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Serve the home while the block runs, and stop it as a service manager does."""
        pin_read, pin_write = os.pipe()
        ready_read, ready_write = os.pipe()
        os.write(pin_write, PIN + b"\n")
        os.close(pin_write)
        server = subprocess.Popen(
            [*CTL, "--home", self.home, "--pin-fd", str(pin_read), "serve", "--ready-fd", str(ready_write), *arguments],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(pin_read, ready_write),
            text=True,
        )
        os.close(pin_read)
        os.close(ready_write)
        try:
            with os.fdopen(ready_read) as ready:
                if ready.readline() != "ready\n":
                    raise RuntimeError(server.communicate(timeout=READY_SECONDS))
            yield server
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGTERM)
            server.communicate(timeout=READY_SECONDS)


def begin(folder: Path, prepared: SoftHsm, people: tuple[str, ...] = PEOPLE) -> Plant:
    """Lay out a folder with a token and everyone's keys, before anything is founded."""
    token = SoftHsm(folder / "hsm")
    token.configure()
    token.add_prepared(prepared, "token-1")
    (folder / "people").mkdir()
    for person in people:
        for register in ("operator", "custodian"):
            key = folder / "people" / f"{person}.{register}"
            make_key(key)
            key.with_name(f"{key.name}.passphrase").write_text(f"{PASSPHRASE}\n")
    return Plant(folder, folder / "home")


def make_key(path: Path) -> None:
    """Make a key file as `operator keygen` does, but one whose passphrase is quick to try."""
    private = Ed25519PrivateKey.generate()
    encryption = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(1).build(PASSPHRASE.encode())
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption))
    path.chmod(0o600)
    public = PublicKey.from_cryptography(private.public_key())
    identity.public_path(path).write_bytes(identity.public_jwk(public))


def hsm_options(plant: Plant, module: str = MODULE) -> list[str]:
    """Give the options of `init` that name the module and the token."""
    label = SoftHsm(plant.folder / "hsm").label
    token = tomllib.loads((EXAMPLE / "plan.toml").read_text())["tokens"][0]["label"]
    return ["--module", module, "--module-env", plant.environment, "--token", f"{token}=pkcs11:token={label}"]


def found(plant: Plant, plan: Path = EXAMPLE / "plan.toml", module: str = MODULE) -> Ended:
    """Found the appliance at one terminal."""
    people: list[str | Path] = ["--people", plant.people, "--passphrase-dir", plant.people]
    return plant.ctl("init", "all", "--plan", plan, *people, *hsm_options(plant, module))


def submit_trust(plant: Plant, custodians: tuple[str, ...]) -> None:
    """Have custodians sign what sites trust, and hand it in."""
    folder = plant.folder / "trust"
    plant.done("trust", "prepare", "--out", folder, who="alice")
    signatures = [plant.folder / f"{person}.signature" for person in custodians]
    for person, signature in zip(custodians, signatures, strict=True):
        plant.done("trust", "sign", folder, "--out", signature, who=f"{person}.custodian")
    plant.done("trust", "submit", folder, *signatures, "--root-out", plant.folder / "root.json", who="alice")


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory, softhsm_prepared: SoftHsm) -> Plant:
    """Return an appliance that is ready to issue; nothing serves it."""
    made = begin(tmp_path_factory.mktemp("plant"), softhsm_prepared)
    ended = found(made)
    assert ended.code == 0, ended
    with made.serving():
        submit_trust(made, ("alice", "bob"))
        made.done("bundle", "create", "--site", SITE, "--out", made.folder / "bundle", who="alice")
        request = made.folder / "enrol.jws"
        waiting = made.ctl("workload", "enrol", WORKLOAD, "--owner", "bob", "--request", request, who="alice")
        assert waiting.code == 3, waiting
        made.done("approve", request, who="bob")
    return made


@pytest.fixture(scope="module")
def served(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Return a copy of the plant while a server runs on it: what a module does there, no other one meets."""
    copy = plant.copy_home(tmp_path_factory.mktemp("served") / "home")
    with copy.serving():
        yield copy


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory, softhsm_prepared: SoftHsm) -> Plant:
    """Return an appliance that one person founded."""
    made = begin(tmp_path_factory.mktemp("alone"), softhsm_prepared, ("alice",))
    ended = found(made, alone_plan(made.folder))
    assert ended.code == 0, ended
    return made


def alone_plan(folder: Path) -> Path:
    """Write the example's plan as one person founds it, and give its file."""
    plan = (EXAMPLE / "plan.toml").read_text()
    before, rest = plan[: plan.index('[[people]]\nid = "alice"')], plan[plan.index("# How many custodians") :]
    person = '[[people]]\nid = "alice"\nroles = ["officer", "issuer", "approver"]\n\n'
    lowered = rest.replace("custodians = 2", "custodians = 1").replace("recovery = 2", "recovery = 1")
    lowered = lowered.replace('"workload.enrol" = 2\n', "")
    (folder / "plan.toml").write_text(before + person + lowered)
    shutil.copy(EXAMPLE / "orders-reader.toml", folder)
    return folder / "plan.toml"
