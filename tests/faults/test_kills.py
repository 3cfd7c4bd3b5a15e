"""Engine and HSM worker killed while issuing: nothing that a client holds is missing from the log (I1, H4)."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.client import ClientError, SocketTransport
from appliance.errors import Refused
from coldcred import framing, status
from coldcred.acts import Act
from coldcred.jose import parse_unverified
from coldcred.log import export
from coldcred.log.export import Anchor
from coldcred.log.note import VerifierKey
from tests.support import plant
from tests.support.ledger import Ledger, told
from tests.support.running import SITE
from tests.support.serving import Appliance, Server, wait_until

CLIENTS = 4
RESPAWN = 3.0
"""Seconds after a worker's death within which a new one has signed."""


@dataclass
class Campaign:
    """Kills of one appliance under load, and the accounts of it."""

    appliance: Appliance
    ledger: Ledger
    chance: random.Random
    respawns: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    again: int = 0

    def run(self, kills: int) -> None:
        """Kill the worker and the engine in turn, `kills` times in all, and check after each."""
        server = self._start()
        try:
            for number in range(kills):
                if number % 2:
                    self._kill_engine(server)
                    server.close()
                    server = self._start()
                else:
                    self._kill_worker(server)
                self._check(server)
            self._end(server)
        finally:
            server.close()

    def _start(self) -> Server:
        """Start it by the same command as ever, without any repair."""
        began = time.monotonic()
        server = Server(self.appliance, spied="")
        try:
            server.wait_ready()
        except BaseException:
            server.close()
            raise
        self.starts.append(time.monotonic() - began)
        return server

    def _kill_worker(self, server: Server) -> None:
        """Kill the worker under load; the engine stays, and a new worker serves in time."""
        engine = server.pid
        with self._load(server):
            self._wait()
            worker = server.worker()
            assert worker is not None
            killed = time.monotonic()
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: any(held.began > killed for held in self.ledger.held[-CLIENTS:]), 2 * RESPAWN)
            came = min(held.came for held in self.ledger.held[-CLIENTS:] if held.began > killed)
            self.respawns.append(came - killed)
        assert self.respawns[-1] < RESPAWN
        assert (server.process.poll(), server.pid) == (None, engine), "a worker's death ended the appliance"
        assert server.worker() not in {None, worker}

    def _kill_engine(self, server: Server) -> None:
        with self._load(server):
            self._wait()
            server.kill()

    def _wait(self) -> None:
        """Let some work go on; sometimes none."""
        before = len(self.ledger.held)
        if self.chance.random() < 0.8:
            wait_until(lambda: len(self.ledger.held) > before, 10)
        time.sleep(self.chance.uniform(0, 0.15))

    @contextmanager
    def _load(self, server: Server) -> Iterator[None]:
        """Let several clients ask while the block runs, and until each has its last answer or lost its connection."""
        ended = threading.Event()
        failures: list[BaseException] = []

        def client(transport: SocketTransport) -> None:
            try:
                while not ended.is_set():
                    self.ledger.ask(transport, self.appliance.issue())
            except (ClientError, Refused):
                pass  # the engine was killed; what was asked stands in `unanswered`
            except BaseException as error:  # noqa: BLE001 - told by the test, not by a thread
                failures.append(error)

        threads = [threading.Thread(target=client, args=(server.transport(),)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join(20)
        assert not failures, failures
        assert not any(thread.is_alive() for thread in threads)

    def _check(self, server: Server) -> None:
        """Hold clients, log and token to each other, then send again what was not answered and some that was."""
        transport = server.transport()
        self.ledger.read_over(transport, self.appliance)
        self.ledger.settle(self.appliance.notes)
        known = [*self.ledger.by_command]
        for command in [*self.ledger.unanswered, *self.chance.sample(known, min(3, len(known)))]:
            outcome = self.ledger.ask(transport, self.ledger.sent[command])
            if command in known:
                told(self.ledger, command, outcome)
                self.again += 1
            else:
                assert outcome.files, "a command that the log never saw was not carried out"
        assert not self.ledger.unanswered

    def _end(self, server: Server) -> None:
        """See that the last bundle revokes what nobody may use, that a stop is clean, and that all of it verifies."""
        transport = server.transport()
        made = transport.command(self.appliance.command("alice", Act.BUNDLE_CREATE, {"site": SITE}), {}, ())
        files = framing.read(made.files["bundle"], framing.BUNDLE)
        bits = status.parse(parse_unverified(files["targets/revocation/status-1.jwt"].decode("ascii")).payload)
        exported = b"".join(transport.command(self.appliance.command("carol", Act.LOG_EXPORT), {}, ()).pages or ())
        self._check(server)
        assert server.stop().code == 0
        places = {seq: self.ledger.place(seq) for seq in self.ledger.by_command.values()}
        revoked = {seq for seq, place in places.items() if bits.is_set(place)}
        assert revoked == set(self.ledger.unknown())
        self._verify_export(exported)
        assert self.appliance.ctl("log", "verify").code == 0
        assert self.appliance.ctl("log", "rebuild", "--check").code == 0

    def _verify_export(self, exported: bytes) -> None:
        path = self.appliance.folder / "export"
        path.write_bytes(exported)
        origin = str(plant.charters()["log"]["origin"])
        (key,) = (key for key in self.ledger.keys.values() if key.algorithm == "Ed25519")
        with path.open("rb") as stream:
            report = export.verify(stream, Anchor(VerifierKey(origin, key)))
        assert report.open_intents == ()
        assert report.counts["credential.issued"] == len(self.ledger.by_command)

    def figures(self) -> str:
        """Say what the campaign did."""
        return (
            f"{len(self.respawns)} workers and {len(self.starts) - 1} engines killed; {len(self.ledger.held)} tokens"
            f" held, {len(self.ledger.unknown())} revoked for want of an outcome, {self.again} commands sent again,"
            f" {self.ledger.head.size} entries; new worker in at most {max(self.respawns):.2f} s,"
            f" start in at most {max(self.starts):.2f} s"
        )


def campaign(appliance: Appliance, path: Path, kills: int, seed: int) -> None:
    """Run a campaign to its end and say what it did."""
    found = Campaign(appliance, Ledger(path / "held"), random.Random(seed))
    found.run(kills)
    print(found.figures())  # noqa: T201 - `pytest -rP` shows it; a long campaign's figures are its result


def test_kills_during_issuing_lose_nothing(mine: Appliance, tmp_path: Path) -> None:
    """Sixteen kills, in turn: each token is in the log, each intent is closed, each command is done at most once."""
    campaign(mine, tmp_path, 16, seed=20261123)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_many_kills_during_issuing_lose_nothing(mine: Appliance, tmp_path: Path) -> None:
    """The long form: 200 kills."""
    campaign(mine, tmp_path, 200, seed=20261124)
