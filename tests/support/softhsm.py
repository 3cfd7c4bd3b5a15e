"""SoftHSM tokens for tests: a token directory and its configuration of their own for each test.

    from tests.support.softhsm import softhsm, softhsm_prepared        # in a conftest.py; then in a test:

    def test_something(softhsm: SoftHsm) -> None:
        store = softhsm.store()                    # a WorkerKeyStore on an empty, initialised token
        home_settings = softhsm.module, softhsm.uri.format(), softhsm.environment, softhsm.pin()

Initialising a token takes a process and 0.1 s, copying a prepared one a millisecond; so one is prepared per run and
copied. Nothing here loads the PKCS#11 module into the test process.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hsm.process import COMMAND
from hsm.supervisor import WorkerKeyStore
from hsm.uri import TokenUri
from tests.support import softhsm_tool

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
LABEL = "coldcred-test"
PIN = b"canary-pin-3907"
SO_PIN = b"canary-so-pin-3907"


@dataclass
class SoftHsm:
    """One SoftHSM configuration in `folder`; its tokens lie in `folder/tokens`."""

    folder: Path
    module: str = MODULE
    label: str = LABEL
    stores: list[WorkerKeyStore] = field(default_factory=list)

    @property
    def tokens(self) -> Path:
        """The directory that holds one directory per token."""
        return self.folder / "tokens"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a worker on these tokens is given."""
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    @property
    def uri(self) -> TokenUri:
        """The URI of the token."""
        return TokenUri(token=self.label)

    def configure(self) -> None:
        """Write the configuration file and an empty token directory."""
        self.tokens.mkdir(parents=True, exist_ok=True)
        lines = (
            f"directories.tokendir = {self.tokens}",
            "objectstore.backend = file",
            "log.level = ERROR",
            "slots.removable = false",
        )
        (self.folder / "softhsm2.conf").write_text("\n".join(lines) + "\n")

    def pin(self) -> bytearray:
        """Give the user PIN in a fresh buffer: a `PinSource`."""
        return bytearray(PIN)

    def store(self, **options: Any) -> WorkerKeyStore:
        """Give a key store on the token, closed when the test ends; options go to `WorkerKeyStore`."""
        pin = options.pop("pin", self.pin)
        store = WorkerKeyStore(self.module, self.uri, pin, environment=self.environment, **options)
        self.stores.append(store)
        return store

    def spied_store(self, *orders: str, **options: Any) -> tuple[WorkerKeyStore, Path]:
        """Give a key store whose worker notes each C_Sign in the file given beside it; `orders`: see spy_worker."""
        notes = self.folder / "signed"
        spy = Path(__file__).with_name("spy_worker.py")
        command = (COMMAND[0], "-I", str(spy), str(notes), ",".join(orders))
        return self.store(command=command, **options), notes

    def close(self) -> None:
        """Close all stores."""
        for store in self.stores:
            store.close()

    def tool(self, task: str, **arguments: str) -> Any:
        """Do a task of `softhsm_tool` on these tokens."""
        request = {"label": self.label, "pin": PIN.decode(), "so_pin": SO_PIN.decode(), **arguments}
        run = subprocess.run(
            [sys.executable, "-I", softhsm_tool.__file__, self.module, task],
            input=json.dumps(request),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if run.returncode != 0:
            raise RuntimeError(run.stderr)
        return json.loads(run.stdout)

    def objects(self) -> list[dict[str, Any]]:
        """List what the token holds, as PyKCS11 sees it."""
        found: list[dict[str, Any]] = self.tool("objects")
        return found

    def object_files(self) -> Sequence[Path]:
        """List the files of the token's objects, sorted."""
        return sorted(path for path in self.tokens.rglob("*.object") if path.name != "token.object")

    def add_prepared(self, prepared: "SoftHsm", name: str) -> None:
        """Add a copy of a prepared token under a directory name of its own: one more token of that label."""
        (source,) = (path for path in prepared.tokens.iterdir() if path.is_dir())
        shutil.copytree(source, self.tokens / name)


def kill_worker(store: WorkerKeyStore) -> None:
    """Kill a store's worker and see it dead: a signal is sent at once and received a moment later."""
    worker = store._worker
    assert worker is not None
    with suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGKILL)
    end = time.monotonic() + 5.0
    while worker.alive():
        assert time.monotonic() < end
        threading.Event().wait(0.005)


def is_dead(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture(scope="session")
def softhsm_prepared(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """Return an initialised, empty token that tests copy and never open."""
    prepared = SoftHsm(tmp_path_factory.mktemp("softhsm"))
    prepared.configure()
    prepared.tool("initialise")
    return prepared


@pytest.fixture
def softhsm(softhsm_prepared: SoftHsm, tmp_path: Path) -> Generator[SoftHsm]:
    """Return a configuration of the test's own with one initialised, empty token in it."""
    mine = SoftHsm(tmp_path / "softhsm")
    mine.configure()
    mine.add_prepared(softhsm_prepared, "token-1")
    yield mine
    mine.close()
