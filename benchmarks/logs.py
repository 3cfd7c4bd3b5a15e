"""The log at size: appending, verifying an export, starting, memory, and whether an issue costs more then."""

import hashlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from appliance.engine.recovery import Recovery
from appliance.home import Home
from appliance.log import Log
from appliance.wiring import open_log
from benchmarks import setting
from benchmarks.rows import Row, each, rate
from coldcred.acts import Act
from coldcred.canonical import Json, b64u_encode, sha256, sha256_hex
from coldcred.keys import PublicKey
from coldcred.log import export
from coldcred.log.consistency import OF_BUNDLES, prove
from coldcred.log.entry import Entry
from coldcred.log.export import Anchor
from coldcred.log.note import VerifierKey
from coldcred.log.tree import HASH_SIZE, Tree
from coldcred.status import SIZE, StatusList, bits_with
from tests.support import plant
from tests.support.serving import Appliance

GROUP = 64
EXPORTED = 4_000
"""Credentials of a batch in the log that is exported; a quarter as many are issued one by one."""

SIZES = (10_000, 100_000, 1_000_000)


def measure(mine: Appliance) -> list[Row]:
    """Measure all of the log."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="coldcred-bench-") as folder:
        grown = mine.copy(Path(folder) / "grown")
        have, appended, spent = 0, 0, 0.0
        for size in SIZES:
            spent += grow(grown, have, size)
            appended += size - have
            have = size
            rows += _at(grown, size)
        rows.insert(0, rate("log.append", appended / spent))
    first, last = (next(row for row in rows if row.row == f"issue.at.{size:.0e}") for size in (SIZES[0], SIZES[-1]))
    rows.append(Row("issue.flat", last.value, "us", first.row, last.value / first.value))
    rows.append(_revocation_size())
    return rows + [row for size in SIZES for row in proofs(size)]


def verify_export(mine: Appliance) -> Row:
    """Give entries a second of verifying an export, with everything that people signed."""
    with mine.serve() as server:
        command, attachments = setting.batch(mine, EXPORTED)
        server.transport().batch(command, attachments, (), lambda _lines: None)
        for _ in range(EXPORTED // 4):
            server.transport().command(mine.issue(), {}, ())
        exported = b"".join(server.transport().command(mine.command("carol", Act.LOG_EXPORT), {}, ()).pages or ())
        reading = server.transport()
        reading.open_reading(mine.command("carol", Act.READ_OPEN))
        keys = reading.read("keys", {})
    if not isinstance(keys, list):
        raise SystemExit("the appliance told no keys")
    name = next(str(key["name"]) for key in keys if isinstance(key, dict) and key["purpose"] == "log")
    public = public_of(mine, name)
    anchor = Anchor(VerifierKey(str(plant.charters()["log"]["origin"]), public))
    began = time.perf_counter()
    report = export.verify(io.BytesIO(exported), anchor)
    verified = time.perf_counter() - began
    began = time.perf_counter()
    hashlib.sha256(exported).digest()
    hashed = time.perf_counter() - began
    return Row("log.verify", report.entries / verified, "entries/s", "hashing the same bytes", hashed / verified)


def public_of(mine: Appliance, name: str) -> PublicKey:
    """Give the public half of one of its keys, as its log pins it."""
    recovery = fold(mine)
    public = recovery.standing.authority.keys[name].public
    if public is None:
        raise SystemExit(f"key {name} is not made")
    return public


def fold(mine: Appliance) -> Recovery:
    """Fold its log from the first entry to the last."""
    home = Home.open(mine.home)
    with open_log(home) as log:
        recovery = Recovery(home, log, lambda: int(time.time()))
        recovery.fold()
    return recovery


def grow(mine: Appliance, have: int, size: int) -> float:
    """Append synthetic entries until there were `size` of them, each a chunk's worth a commit; gives the seconds."""
    home = Home.open(mine.home)
    with open_log(home) as log:
        recovery = Recovery(home, log, lambda: int(time.time()))
        recovery.fold()
        standing = recovery.standing
        kid = next(key.public.thumbprint for key in standing.authority.keys.values() if key.public)
        began = time.perf_counter()
        for first in range(have, size, GROUP):
            count = min(GROUP - 1, size - first - 1)
            start = standing.head.size
            entries = [
                standing.stage(_issued(first + place, start + place, kid), int(time.time())) for place in range(count)
            ]
            seqs: list[Json] = [*range(start, start + count)]
            entries.append(
                standing.stage({"type": "outcomes", "signed": seqs, "failed": [], "unknown": []}, int(time.time()))
            )
            _append(log, entries)
        return time.perf_counter() - began


def _append(log: Log, entries: list[Entry]) -> None:
    log.append(entries, {})


def _issued(number: int, seq: int, kid: str) -> dict[str, Json]:
    """Give the event of a credential, with digests of nothing behind it."""
    digest = sha256_hex(number.to_bytes(8))
    now = int(time.time())
    return {
        "type": "credential.issued",
        "command": digest,
        "document": digest,
        "act": "credential.issue",
        "by": "alice",
        "people": ["alice"],
        "approvals": [],
        "workload": f"spiffe://plant-a.example/line-1/robot-{number % 5000}",
        "profile": "orders-reader",
        "audience": plant.AUDIENCE,
        "scopes": ["orders.read"],
        "site": "line-1",
        "signs": [{"kid": kid, "sha256": digest}],
        "result": {
            "jti": b64u_encode(sha256(number.to_bytes(8))[:16]),
            "iat": now,
            "nbf": now,
            "exp": now + 8 * 3600,
            "status": {"idx": number % SIZE, "uri": "https://issuer.plant-a.example/status/line-1/2"},
            "log": seq,
            "site": "line-1",
        },
    }


def _at(mine: Appliance, size: int) -> list[Row]:
    """Start in a process of its own: seconds, memory, and what an issue costs then."""
    command = [sys.executable, "-P", "-m", "benchmarks.logs", str(mine.folder), str(mine.founded)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(ended.stdout)
    return [
        Row(f"startup.{size:.0e}", found["seconds"], "s", "entries folded a second", size / found["seconds"]),
        Row(f"memory.{size:.0e}", found["memory"] / 1024, "MiB"),
        Row(f"issue.at.{size:.0e}", found["issue"] * 1e6, "us"),
    ]


def _revocation_size() -> Row:
    """Give the bytes of a list's bits for a million credentials, one in a hundred revoked, against their entropy."""
    revoked = {int.from_bytes(sha256(number.to_bytes(4))[:4]) % SIZE for number in range(SIZE // 100)}
    found = StatusList("https://issuer.example/status/1", bits_with(revoked), 1, 2, 1).claims()["status_list"]
    text = found["lst"] if isinstance(found, dict) else ""
    size = len(str(text)) * 3 / 4
    least = 0.0808 * SIZE / 8  # binary entropy of 0.01, in bits
    return Row("revocation.size", size / 1000, "kB", "entropy of the bits", size / least)


def proofs(size: int) -> list[Row]:
    """Give the bytes of the proofs that a bundle carries, and what they take, for bundles spread over the whole log."""
    tree = Tree()
    for seq in range(size):
        tree.append(sha256(seq.to_bytes(8)))
    sizes = [(size - 1) * place // OF_BUNDLES for place in range(1, OF_BUNDLES + 1)]
    body = prove(tree, sizes, size)
    hashes = sum(len(tree.consistency_proof(old)) for old in sizes)
    return [
        Row(f"proofs.{size:.0e}", len(body) / 1000, "kB", "their hashes alone", len(body) / (hashes * HASH_SIZE)),
        Row(f"proofs.time.{size:.0e}", each(lambda: prove(tree, sizes, size), 5) * 1000, "ms"),
    ]


def main() -> None:
    """Start the appliance in the folder given, and print what that took."""
    import asyncio  # noqa: PLC0415 - only this process needs it

    mine = Appliance(Path(sys.argv[1]), int(sys.argv[2]))
    began = time.perf_counter()
    fold(mine)
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    keystore = setting.store_of(mine)
    mine.use(keystore)

    async def issue() -> float:
        found = []
        async with mine.engine() as engine:
            for command in [mine.issue() for _ in range(400)]:
                before = time.perf_counter()
                await engine.submit_command(command)
                found.append(time.perf_counter() - before)
        return sorted(found)[len(found) // 2]

    try:
        print(json.dumps({"seconds": seconds, "memory": memory, "issue": asyncio.run(issue())}))
    finally:
        keystore.close()


if __name__ == "__main__":
    main()
