"""Issuing: one command for ten thousand, one caller, eight and sixty-four, and the latency of one."""

import asyncio
import cProfile
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks import setting
from benchmarks.profiles import shares
from benchmarks.rows import Row, rate
from coldcred.canonical import b64u_decode
from coldcred.trust import TrustStore
from coldcred.verification import verify
from tests.support.serving import Appliance

LINES = 10_000
SINGLES = 600
CALLS = {1: 600, 8: 4_000, 64: 8_000}


def measure(mine: Appliance, limits: dict[str, Row], store: TrustStore) -> list[Row]:
    """Measure all of issuing; each token that is counted is verified with `store`, after the clock has stopped."""
    raw = limits["raw.sign"]
    rows = [rate("issue.batch", _batch(mine, store), raw)]
    socket_p50 = 0.0
    for connections, calls in CALLS.items():
        found = _load(mine, connections, calls, store)
        rows.append(rate(f"issue.c{connections}", calls / found["seconds"], raw))
        if connections == 1:
            socket_p50 = found["latencies"][calls // 2]
    without = _load(mine, 64, CALLS[64], store, under=("eatmydata",))
    rows.append(rate("issue.c64.nofsync", CALLS[64] / without["seconds"], rows[-1]))
    least = 1e6 / raw.value + limits["raw.commit"].value
    latencies = asyncio.run(_one_by_one(mine))
    percentiles = quantiles(latencies, n=100)
    for name, seconds in (
        ("issue.p50", percentiles[49]),
        ("issue.p99", percentiles[98]),
        ("issue.socket.p50", socket_p50),
    ):
        rows.append(Row(name, seconds * 1e6, "us", "raw sign + raw commit", seconds * 1e6 / least))
    return rows


def _check(tokens: Sequence[str], count: int, store: TrustStore) -> None:
    """See that every answer was a credential, and that each verifies."""
    if len(tokens) != count:
        raise SystemExit(f"{len(tokens)} of {count} requests gave a credential; nothing is measured by that")
    for token in tokens:
        verify(token, store, audience=setting.AUDIENCE, now=time.time())


def _batch(mine: Appliance, store: TrustStore) -> float:
    """Give credentials a second of one batch, read to its end over the socket; the best of three."""
    found: list[float] = []
    with mine.serve() as server:
        transport = server.transport()
        for _ in range(3):
            command, attachments = setting.batch(mine, LINES)
            parts: list[bytes] = []
            began = time.perf_counter()
            transport.batch(command, attachments, (), parts.append)
            found.append(LINES / (time.perf_counter() - began))
            _check([json.loads(line)["token"] for line in b"".join(parts).splitlines()], LINES, store)
    return max(found)


def _load(
    mine: Appliance, connections: int, calls: int, store: TrustStore, under: Sequence[str] = ()
) -> dict[str, Any]:
    """Give what the load generator measured: the better of two runs."""
    runs = []
    with mine.serve(under=under), tempfile.NamedTemporaryFile() as file:
        for _ in range(2):
            Path(file.name).write_text("\n".join(mine.issue() for _ in range(calls)))
            socket = mine.home / "operator.sock"
            command = [sys.executable, "-P", "-m", "benchmarks.load", str(socket), str(connections), file.name]
            ended = subprocess.run(command, check=True, capture_output=True, text=True)
            found: dict[str, Any] = json.loads(ended.stdout)
            _check([b64u_decode(text).decode("ascii") for text in found["tokens"]], calls, store)
            runs.append(found)
    return min(runs, key=lambda found: float(found["seconds"]))


async def _one_by_one(mine: Appliance) -> list[float]:
    """Give the seconds of single commands, one after the other, at an engine in this process."""
    keystore = setting.store_of(mine)
    mine.use(keystore)
    found = []
    try:
        async with mine.engine() as engine:
            for command in [mine.issue() for _ in range(SINGLES)]:
                began = time.perf_counter()
                outcome = await engine.submit_command(command)
                found.append(time.perf_counter() - began)
                if not outcome.files:
                    raise SystemExit("an issue was refused; nothing is measured by that")
    finally:
        keystore.close()
    return found[SINGLES // 10 :]


def where_time_goes(mine: Appliance) -> list[tuple[str, float]]:
    """Profile a batch at an engine in this process, once it runs: shares of its own thread by subject."""
    keystore = setting.store_of(mine)
    mine.use(keystore)
    profile = cProfile.Profile()

    async def run() -> None:
        async with mine.engine() as engine:
            command, attachments = setting.batch(mine, LINES)
            profile.enable()
            stream = await engine.submit_batch(command, attachments)
            while await stream.chunk() is not None:
                pass
            profile.disable()

    try:
        asyncio.run(run())
    finally:
        keystore.close()
    return shares(profile)
