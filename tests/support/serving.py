"""A real appliance to do violence to: a home and a SoftHSM token of its own, served or used by real processes.

    ready                       an `Appliance` that can issue, made once for the run and never started by a test
    mine = ready.copy(folder)   a copy to break: home, token and settings, in milliseconds
    with mine.serve() as server:
        server.transport().command(mine.issue(), {}, ())
        server.kill()           SIGKILL; leaving the block ends whatever is left

People's keys and commands are those of the worked example, signed in the test's own process. The machine's clock is
used, because the processes use it.
"""

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance import home as homes
from appliance.client import SocketTransport
from appliance.engine import Engine
from appliance.home import Settings
from coldcred.acts import Act
from coldcred.canonical import Json, b64u_encode
from tests.support import plant
from tests.support.commandline import CTL, ENVIRONMENT, Ended
from tests.support.running import LABEL, RunningPlant, SetClock, run
from tests.support.softhsm import MODULE, PIN, SoftHsm, is_dead

READY_SECONDS = 120
STOP_SECONDS = 120
RUN_SECONDS = 300

_WORKERS = ("hsm.worker", "spy_worker.py")
_SPIED = Path(__file__).with_name("spied_ctl.py")


class MachineClock(SetClock):
    """The clock that the processes use too."""

    def now(self) -> int:
        """Give the machine's time."""
        return int(time.time())


@dataclass
class Appliance:
    """A founded appliance in `folder`, which holds home and hsm; `founded` is the time of its founding."""

    folder: Path
    founded: int
    _running: RunningPlant = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the signer of its people's commands."""
        until: dict[str, Json] = {**plant.charters()["bundle"], "until": self.founded + 90 * plant.DAY}
        keys: list[Json] = [
            {"name": f"{purpose}-1", "token": LABEL, "charter": charter, "valid_for": 80 * plant.DAY}
            for purpose, charter in {**plant.charters(), "bundle": until}.items()
        ]
        members: dict[str, Json] = {"time": self.founded, "keys": keys}
        self._running = RunningPlant(self.home, clock=MachineClock(), members=members, random=os.urandom)

    @property
    def home(self) -> Path:
        """The appliance's home."""
        return self.folder / "home"

    @property
    def log_path(self) -> Path:
        """The log database."""
        return self.home / "log.sqlite"

    @property
    def softhsm(self) -> SoftHsm:
        """The token's configuration."""
        return SoftHsm(self.folder / "hsm")

    @property
    def notes(self) -> Path:
        """Where the spy in the worker's place notes each signature before it is made."""
        return self.folder / "signed"

    @property
    def founding(self) -> bytes:
        """The founding's bytes."""
        return self._running.founding.body

    @property
    def settings(self) -> Settings:
        """The settings of its home."""
        return Settings(MODULE, {LABEL: self.softhsm.uri.format()}, self.softhsm.environment)

    def create_home(self) -> None:
        """Make the home, before any key."""
        founding = self._running.founding
        homes.create(self.home, founding, plant.signatures(founding.body), self.settings, self.founded)

    def copy(self, folder: Path) -> "Appliance":
        """Give a copy in `folder` that shares nothing with this one."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("*.sock"))
        for path in (folder / "home" / "settings.toml", folder / "hsm" / "softhsm2.conf"):
            path.write_text(path.read_text().replace(str(self.folder), str(folder)))
        return Appliance(folder, self.founded)

    def command(self, person: str, act: Act, args: dict[str, Json] | None = None) -> str:
        """Give a new command, signed by a person."""
        return self._running.command(person, act, args, jti=b64u_encode(os.urandom(16)))

    def issue(self) -> str:
        """Give a new command that issues a credential."""
        return self.command("alice", Act.CREDENTIAL_ISSUE, issue_args())

    async def make_ready(self) -> None:
        """Bring it to where it can issue, with an engine in this process."""
        async with self._running.engine() as engine:
            await self._running.ready(engine)

    def engine(self) -> AbstractAsyncContextManager[Engine]:
        """Start an engine on its home in this process."""
        return self._running.engine()

    def use(self, store: Any) -> None:
        """Let engines in this process sign with `store`."""
        self._running.keystore = store

    def arguments(self, *arguments: str | Path, spied: str | None = None) -> list[str]:
        """Give the command line of `coldcredctl` on this home, without secrets; `spied`: orders for the spy."""
        program: tuple[str, ...] = CTL
        if spied is not None:
            program = (*CTL[:-2], str(_SPIED), str(self.notes), spied)
        return [*program, "--home", str(self.home), *map(str, arguments)]

    def ctl(
        self, *arguments: str | Path, under: Sequence[str] = (), spied: str | None = None, limit: float = RUN_SECONDS
    ) -> Ended:
        """Run `coldcredctl` to its end; `under` goes before it, such as strace."""
        with secret("--pin-fd", PIN) as (option, descriptor):
            words = self.arguments(*option, *arguments, spied=spied)
            return bounded([*under, *words], (descriptor,), limit)

    def issue_in_process(
        self, request: Path, out: Path, *, under: Sequence[str] = (), spied: str | None = None
    ) -> Ended:
        """Run `coldcredctl issue` where nothing serves: the command in the file `request`, the token to `out`."""
        return self.ctl(*issue_words(request, out), under=under, spied=spied)

    @contextmanager
    def serve(self, *, under: Sequence[str] = (), spied: str | None = None) -> "Iterator[Server]":
        """Serve the home while the block runs; at its end whatever still runs is killed."""
        server = Server(self, under, spied)
        try:
            server.wait_ready()
            yield server
        finally:
            server.close()


def issue_args() -> dict[str, Json]:
    """Give the arguments that issue the worked example's credential."""
    return {
        "profile": "orders-reader",
        "workload": plant.WORKLOAD,
        "audience": plant.AUDIENCE,
        "scopes": ["orders.read"],
        "ttl": 900,
    }


def issue_words(request: Path, out: Path) -> list[str]:
    """Give the verb and options that send the issuing command in the file `request` and put its token in `out`."""
    named = ("--profile", "orders-reader", "--workload", plant.WORKLOAD, "--audience", plant.AUDIENCE)
    narrowed = ("--scope", "orders.read", "--ttl", "15m")
    return ["issue", *named, *narrowed, "--request", str(request), "--out", str(out), "--json"]


class NotReady(Exception):
    """The server ended, or did not answer in time; `ended` says how."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(str(ended))
        self.ended = ended


class Server:
    """`coldcredctl serve` as a process of its own; what it says goes to files in the appliance's folder."""

    def __init__(self, appliance: Appliance, under: Sequence[str] = (), spied: str | None = None) -> None:
        """Start it; `wait_ready` waits until its socket answers."""
        self.appliance = appliance
        self._under = bool(under)
        self._out, self._err = (appliance.folder / name for name in ("serve.out", "serve.err"))
        self._ready, write = os.pipe()
        with (
            secret("--pin-fd", PIN) as (option, descriptor),
            self._out.open("wb") as out,
            self._err.open("wb") as err,
        ):
            words = appliance.arguments(*option, "serve", "--ready-fd", str(write), spied=spied)
            self.process = subprocess.Popen(
                [*under, *words],
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=(descriptor, write),
            )
        os.close(write)
        self._transports: list[SocketTransport] = []

    def wait_ready(self) -> None:
        """Wait until it serves; raises `NotReady`."""
        readable, _, _ = select.select([self._ready], [], [], READY_SECONDS)
        if not readable or os.read(self._ready, 16) != b"ready\n":
            raise NotReady(self.wait() if readable else Ended(-1, self._out.read_text(), self._err.read_text()))

    @property
    def pid(self) -> int:
        """The process id of the engine, also where something traces it."""
        if not self._under:
            return self.process.pid
        return next(pid for pid in descendants(self.process.pid) if "serve" in arguments_of(pid)[-3:])

    def worker(self) -> int | None:
        """Give the process id of the HSM worker, or None while there is none."""
        for pid in descendants(self.process.pid):
            if any(word.endswith(_WORKERS) for word in arguments_of(pid)):
                return pid
        return None

    def transport(self) -> SocketTransport:
        """Connect to its socket."""
        found = SocketTransport.connect(self.appliance.home / "operator.sock")
        assert found is not None, "nothing serves"
        self._transports.append(found)
        return found

    def kill(self) -> None:
        """Send SIGKILL to the engine, and see that its worker ends by itself."""
        worker = self.worker()
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        if worker is not None:
            wait_until(lambda: is_dead(worker), 5)

    def stop(self) -> Ended:
        """Stop it as a service manager does."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self) -> Ended:
        """Wait until it ends."""
        code = self.process.wait(STOP_SECONDS)
        return Ended(code, self._out.read_text(), self._err.read_text())

    def close(self) -> None:
        """End whatever still runs."""
        for transport in self._transports:
            transport.close()
        os.close(self._ready)
        left = descendants(self.process.pid) if self.process.poll() is None else []
        for pid in reversed(left):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait(STOP_SECONDS)
        for pid in left:
            wait_until(lambda pid=pid: is_dead(pid), 5)  # type: ignore[misc]  # mypy infers no lambda with a default


@contextmanager
def secret(option: str, text: bytes) -> Iterator[tuple[list[str], int]]:
    """Give an option whose descriptor holds a secret, and the descriptor, which a child is to inherit."""
    read, write = os.pipe()
    os.write(write, text + b"\n")
    os.close(write)
    try:
        yield [option, str(read)], read
    finally:
        os.close(read)


def bounded(command: Sequence[str], descriptors: tuple[int, ...] = (), limit: float = RUN_SECONDS) -> Ended:
    """Run a command to its end; one that takes longer than `limit` seconds is killed with all it started."""
    with ExitStack() as stack:
        process = subprocess.Popen(
            command,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            start_new_session=True,
            text=True,
        )
        stack.callback(_end_group, process)
        out, err = process.communicate(timeout=limit)
    return Ended(process.returncode, out, err)


def _end_group(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def descendants(pid: int) -> list[int]:
    """Give the processes below one, parents first."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in path.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found + [below for child in found for below in descendants(child)]


def arguments_of(pid: int) -> list[str]:
    """Give the command line of a process, nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    """Wait for something, and fail when it does not come in time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.01)


def make(folder: Path, prepared: SoftHsm) -> Appliance:
    """Found an appliance and bring it to where it can issue."""
    token = SoftHsm(folder / "hsm")
    token.configure()
    token.add_prepared(prepared, "token-1")
    appliance = Appliance(folder, int(time.time()) - 60)
    appliance.create_home()
    store = token.store()
    appliance.use(store)
    try:
        run(appliance.make_ready())
    finally:
        store.close()
    return appliance


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory, softhsm_prepared: SoftHsm) -> Appliance:
    """Return an appliance that can issue; to be copied, never started."""
    return make(tmp_path_factory.mktemp("ready") / "appliance", softhsm_prepared)


@pytest.fixture
def mine(ready: Appliance, tmp_path: Path) -> Appliance:
    """Return a copy of the test's own."""
    return ready.copy(tmp_path / "mine")
