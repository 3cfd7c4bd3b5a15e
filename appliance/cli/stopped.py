"""What is done on a home while nothing serves it, and without its HSM: verifying the log, rebuilding its tables."""

from pathlib import Path

from appliance.cli.session import now
from appliance.engine.recovery import Recovery
from appliance.errors import HomeError, HomeFault
from appliance.home import Home
from appliance.log import Log
from appliance.wiring import open_log
from coldcred.canonical import Json


def verify_log(path: Path) -> dict[str, Json]:
    """Fold the whole log, link by link, and hold it to every checkpoint that was kept; raises `HomeError`."""
    home = Home.open(path)
    with open_log(home) as log:
        recovery = Recovery(home, log, now)
        recovery.fold()
        _check_blobs(log)
        standing = recovery.standing
        kept: list[int] = [size for size, _ in log.checkpoints()]
    return {
        "verdict": "intact",
        "entries": standing.head.size,
        "root": standing.frontier.root().hex(),
        "checkpoints": len(kept),
        "newest_checkpoint": max(kept, default=0),
    }


def rebuild_tables(path: Path, *, check: bool) -> list[str]:
    """Give a sentence per row that differs from the log, and unless `check` write the tables anew.

    Raises `HomeError` where the log itself, entries or blobs, is damaged: nothing can be rebuilt from that.
    """
    with open_log(Home.open(path)) as log:
        _check_blobs(log)
        differences = log.table_differences()
        if not check:
            log.rebuild_tables()
    return differences


def _check_blobs(log: Log) -> None:
    if damaged := log.damaged_blobs():
        raise HomeError(HomeFault.LOG_DAMAGED, f"blob {damaged[0]} is not what its digest says")
