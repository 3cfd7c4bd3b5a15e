"""`make bench`: measure every row in one run, then write benchmarks/results.json and docs/benchmarks.md."""

import json
import os
import platform
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography.hazmat.backends.openssl import backend

from appliance.home import Home
from appliance.wiring import open_log
from benchmarks import issuing, limits, logs, report, setting, verifying
from benchmarks.rows import Row
from coldcred import layout
from tests.support.serving import Appliance

ROOT = Path(__file__).resolve().parents[1]
RESULTS, DOCUMENT = ROOT / "benchmarks" / "results.json", ROOT / "docs" / "benchmarks.md"


def main() -> None:
    """Measure and write."""
    rows: list[Row] = []

    def add(more: list[Row]) -> None:
        for row in more:
            print(json.dumps(row.as_json()), flush=True)
        rows.extend(more)

    with setting.appliance() as mine:
        add(limits.measure(mine.copy(mine.folder.parent / "limits").softhsm))
        found = {row.row: row for row in rows}
        bundle, root = setting.bundle_of(mine), _root_of(mine)
        store = setting.site_of(bundle)
        token = _token_of(mine)
        add(verifying.measure(found, store, root, bundle, token))
        # The exported log is that of a day's work, not of the load that follows.
        add([logs.verify_export(mine.copy(mine.folder.parent / "exported"))])
        add(issuing.measure(mine, found, store))
        profiles = issuing.where_time_goes(mine)
        add(logs.measure(mine))
    results = [row.as_json() for row in rows]
    RESULTS.write_text("[\n" + ",\n".join(f"  {json.dumps(row)}" for row in results) + "\n]\n")
    DOCUMENT.write_text(report.write(results, _machine(), profiles))
    print(f"wrote {RESULTS.relative_to(ROOT)} and {DOCUMENT.relative_to(ROOT)}")


def _root_of(mine: Appliance) -> bytes:
    """Give the root of trust that its custodians signed."""
    recovery = logs.fold(mine)
    trust = recovery.standing.authority.trust
    if trust is None:
        raise SystemExit("the appliance has no trust")
    with open_log(Home.open(mine.home)) as log:
        return log.blob(trust.files[layout.ROOTS[0]])


def _token_of(mine: Appliance) -> str:
    with mine.serve() as server:
        return server.transport().command(mine.issue(), {}, ()).files["token"].decode("ascii")


def _machine() -> dict[str, str]:
    """Say what it was measured on, without naming it."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    softhsm = subprocess.run(["softhsm2-util", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    return {
        "processor": f"{cpu}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
        "cryptography": f"{version('cryptography')} with {backend.openssl_version_text()}",
        "SoftHSM": softhsm,
        "SQLite": sqlite3.sqlite_version,
        "uvicorn": f"{version('uvicorn')} with httptools {version('httptools')}",
        "PyJWT, joserfc": f"{version('PyJWT')}, {version('joserfc')}",
    }


def read_results() -> list[dict[str, Any]]:
    """Give the rows of the last run."""
    found: list[dict[str, Any]] = json.loads(RESULTS.read_text())
    return found


if __name__ == "__main__":
    main()
