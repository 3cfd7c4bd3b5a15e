"""Batches whose engine is killed again and again: every line ends with exactly one living credential, or a refusal."""

import json
import random
import subprocess
import time
from pathlib import Path

import pytest

from appliance.engine.recovery import Recovery
from appliance.home import Home
from appliance.wiring import open_log
from tests.support.commandline import CTL, ENVIRONMENT
from tests.support.founded import AUDIENCE, PASSPHRASE, WORKLOAD, Plant
from tests.support.serving import secret, wait_until


def requests(path: Path, count: int) -> Path:
    """Write a file of requests; each seventh line asks for longer than its profile allows."""
    asked = {"profile": "orders-reader", "workload": WORKLOAD, "audience": AUDIENCE}
    lines = [{**asked, "ttl": 3600 if number % 7 else 10**6} for number in range(1, count + 1)]
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    return path


class Run:
    """One run of `coldcredctl issue --requests`, under way."""

    def __init__(self, plant: Plant, asked: Path, out: Path) -> None:
        key = plant.people / "alice.operator"
        with secret("--passphrase-fd", PASSPHRASE.encode()) as (option, descriptor):
            words = [*CTL, "--home", plant.home, "--as", key, *option, "issue", "--requests", asked, "--out", out]
            self.process = subprocess.Popen(
                [str(word) for word in words],
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(descriptor,),
                text=True,
            )

    def end(self) -> tuple[int, str]:
        """Wait for its end; gives its exit code and its talk."""
        _, told = self.process.communicate(timeout=300)
        return self.process.returncode, told


def campaign(plant: Plant, folder: Path, *, lines: int, kills: int, seed: int) -> None:
    """Kill the engine `kills` times in the middle of one batch, then let it end, and hold log and outcomes together."""
    chance = random.Random(seed)
    asked, out = requests(folder / "requests.jsonl", lines), folder / "outcomes.jsonl"
    partial = out.with_name("outcomes.jsonl.partial")
    for _ in range(kills):
        with plant.serving() as server:
            before = partial.stat().st_size if partial.exists() else 0
            run = Run(plant, asked, out)
            more = chance.randrange(1, 600 * lines // kills)
            wait_until(
                lambda run=run, most=before + more: (  # type: ignore[misc]  # mypy infers no lambda with a default
                    run.process.poll() is not None or (partial.exists() and partial.stat().st_size > most)
                ),
                60,
            )
            server.kill()
            server.wait()
            code, told = run.end()
            assert code != 0, told
            assert "Traceback" not in told
            assert not out.exists()
    with plant.serving():
        code, told = Run(plant, asked, out).end()
    assert code == 1, told
    assert not partial.exists(), told
    check(plant, out, lines)


def check(plant: Plant, out: Path, lines: int) -> None:
    """Each line has one outcome; the credentials held are exactly those of the log that live."""
    outcomes = [json.loads(line) for line in out.read_text().splitlines()]
    assert [found["line"] for found in outcomes] == list(range(1, lines + 1))
    refused = {found["line"]: found["reason"] for found in outcomes if "token" not in found}
    assert refused == dict.fromkeys(range(7, lines + 1, 7), "outside-profile")
    held = {found["jti"] for found in outcomes if "token" in found}
    home = Home.open(plant.home)
    with open_log(home) as log:
        recovery = Recovery(home, log, lambda: int(time.time()))
        recovery.fold()
    lookups = recovery.standing.lookups
    assert not lookups.open_intents
    assert held == {jti for jti in lookups.issued if lookups.lives(jti, int(time.time()))}


def test_a_batch_survives_kills_of_the_engine(plant: Plant, tmp_path: Path) -> None:
    """Four kills in a batch of 2,000 lines."""
    campaign(plant.copy_home(tmp_path / "home"), tmp_path, lines=2_000, kills=4, seed=20261126)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_large_batch_survives_many_kills_of_the_engine(plant: Plant, tmp_path: Path) -> None:
    """The long form: twenty kills in a batch of 10,000 lines."""
    campaign(plant.copy_home(tmp_path / "home"), tmp_path, lines=10_000, kills=20, seed=20261127)
