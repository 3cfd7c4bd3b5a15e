"""One issue in one process, disturbed by a fault; then the same line again, and everything held to the log."""

import signal
from pathlib import Path

from appliance.log import Log
from coldcred.command import document_id
from coldcred.jose import parse_unverified
from tests.support.commandline import Ended
from tests.support.ledger import Ledger
from tests.support.serving import Appliance
from tests.support.strace import Point, counting, points

WRITES = ("write", "pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "rename", "sendto")


def killed(ended: Ended) -> bool:
    """Whether SIGKILL ended it; strace ends itself as its child ended."""
    return ended.code in {-signal.SIGKILL, 128 + signal.SIGKILL}


def issue(mine: Appliance, request: Path, under: list[str]) -> tuple[Ended, str | None]:
    """Ask for a credential in one process, by the command in a file; gives how it ended, and the token."""
    out = request.with_suffix(".jwt")
    out.unlink(missing_ok=True)
    ended = mine.issue_in_process(request, out, under=under, spied="")
    return ended, out.read_text() if out.exists() else None


def undisturbed(mine: Appliance) -> list[Point]:
    """Give the points that one issue passes.

    SoftHSM's own writes are not among them: each C_Login truncates token.object and writes it anew in place, and a
    process killed between the two has destroyed the token, whoever called it.
    """
    trace, request = mine.folder / "trace", mine.folder / "undisturbed.jws"
    request.write_text(mine.issue())
    ended, _ = issue(mine, request, counting(WRITES, trace))
    assert ended.code == 0, ended
    files = [mine.log_path, mine.log_path.with_name("log.sqlite-wal"), mine.notes]
    return points(trace, files, ("fsync", "rename", "unlink", "sendto"))


def read(mine: Appliance, ledger: Ledger) -> None:
    """Take in the log of a home that nothing serves, and hold everything to it."""
    log = Log.open(mine.log_path)
    ledger.read(log.bodies())
    assert log.table_differences() == []
    log.close()
    ledger.settle(mine.notes)
    assert sorted(ledger.intents()) == sorted(ledger.outcomes), "an intent has no outcome after a clean end"


def disturb(mine: Appliance, under: list[str]) -> Ended:
    """Issue under an injected fault, run the same line again without it, and check; gives how the first one ended."""
    request, ledger = mine.folder / "request.jws", Ledger(mine.folder / "held")
    command = mine.issue()
    request.write_text(command)
    ended, token = issue(mine, request, under)
    again, later = issue(mine, request, [])
    for found in (token, later):
        if found is not None:
            ledger.hold(found, command)
    read(mine, ledger)
    seq = ledger.by_command[document_id(parse_unverified(command))]
    if seq > max(place for place, event in ledger.events.items() if event["type"] == "started"):
        # The first run left no trace: what it began never happened.
        assert (again.code, token) == (0, None), (ended, again)
    elif ledger.outcomes[seq] == "signed":
        assert (again.code, again.json["error"], later) == (1, "told-once", None), (ended, again)
    else:
        assert (again.code, again.json["error"], later) == (4, "hsm-fault", None), (ended, again)
    return ended
