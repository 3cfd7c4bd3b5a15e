"""Issuing: one command for ten thousand, one caller, eight and sixty-four, and the latency of one."""

import asyncio
import cProfile
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeAlias
from unittest.mock import patch

from appliance.engine import Engine
from appliance.log import Log
from benchmarks import setting
from benchmarks.profiles import shares
from benchmarks.rows import Row, rate
from coldcred.canonical import b64u_decode
from coldcred.trust import TrustStore
from coldcred.verification import verify
from hsm.supervisor import WorkerKeyStore
from tests.support.serving import Appliance

LINES = 10_000
SINGLES = 600
AtEngine: TypeAlias = Callable[[Engine], Coroutine[Any, Any, None]]
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
    latencies, parts = asyncio.run(_one_by_one(mine))
    percentiles = quantiles(latencies, n=100)
    for name, seconds in (
        ("issue.p50", percentiles[49]),
        ("issue.p99", percentiles[98]),
        ("issue.socket.p50", socket_p50),
    ):
        rows.append(Row(name, seconds * 1e6, "us", "raw sign + raw commit", seconds * 1e6 / least))
    whole = rows[-3]
    for name, spans in parts.items():
        part = median(spans) * 1e6
        rows.append(Row(f"issue.p50.{name}", part, "us", whole.row, part / whole.value))
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


def _timed(method: Callable[..., Any], found: list[float]) -> Callable[..., Any]:
    """Give the method with its seconds noted."""

    def timed(*arguments: object) -> object:
        began = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            found.append(time.perf_counter() - began)

    return timed


async def _one_by_one(mine: Appliance) -> tuple[list[float], dict[str, list[float]]]:
    """Give the seconds of single commands, one after the other, at an engine in this process, and those of two parts.

    `commit` is the durable transaction, `hsm` the exchange with the worker; the hops between threads are in neither.
    """
    keystore = setting.store_of(mine)
    mine.use(keystore)
    found: list[float] = []
    parts: dict[str, list[float]] = {"commit": [], "hsm": []}
    try:
        async with mine.engine() as engine:
            commands = [mine.issue() for _ in range(SINGLES)]
            with (
                patch.object(Log, "append", _timed(Log.append, parts["commit"])),
                patch.object(WorkerKeyStore, "sign_unverified", _timed(WorkerKeyStore.sign_unverified, parts["hsm"])),
            ):
                for command in commands:
                    began = time.perf_counter()
                    outcome = await engine.submit_command(command)
                    found.append(time.perf_counter() - began)
                    if not outcome.files:
                        raise SystemExit("an issue was refused; nothing is measured by that")
    finally:
        keystore.close()
    return found[SINGLES // 10 :], parts


def _batch_at(mine: Appliance) -> AtEngine:
    command, attachments = setting.batch(mine, LINES)

    async def run(engine: Engine) -> None:
        stream = await engine.submit_batch(command, attachments)
        while await stream.chunk() is not None:
            pass

    return run


def _callers_at(mine: Appliance) -> AtEngine:
    commands = [mine.issue() for _ in range(CALLS[64] // 4)]

    async def call(engine: Engine) -> None:
        while commands:
            await engine.submit_command(commands.pop())

    async def run(engine: Engine) -> None:
        await asyncio.gather(*(call(engine) for _ in range(64)))

    return run


def where_time_goes(mine: Appliance) -> dict[str, list[tuple[str, float]]]:
    """Profile a batch, and 64 callers without a socket, at an engine here: shares of its thread by subject."""
    found = {}
    for name, prepare in (("A batch of 10,000", _batch_at), ("64 callers", _callers_at)):
        keystore = setting.store_of(mine)
        mine.use(keystore)
        try:
            found[name] = shares(asyncio.run(_profiled(mine, prepare(mine))))
        finally:
            keystore.close()
    return found


async def _profiled(mine: Appliance, work: AtEngine) -> cProfile.Profile:
    """Profile `work` once the engine serves."""
    profile = cProfile.Profile()
    async with mine.engine() as engine:
        profile.enable()
        await work(engine)
        profile.disable()
    return profile
