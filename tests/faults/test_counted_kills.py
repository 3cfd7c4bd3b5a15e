"""A process killed at counted system calls while it issues: no token without its entry, and no repair (I1)."""

import signal
from contextlib import suppress
from pathlib import Path

import pytest

from appliance.client import ClientError
from appliance.errors import Refused
from appliance.log import Log
from coldcred.command import document_id
from coldcred.jose import parse_unverified
from tests.support.commandline import Ended
from tests.support.ledger import Ledger
from tests.support.serving import Appliance, NotReady
from tests.support.strace import Point, counting, points, spread

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
    """Give the points that one issue passes."""
    trace, request = mine.folder / "trace", mine.folder / "undisturbed.jws"
    request.write_text(mine.issue())
    ended, _ = issue(mine, request, counting(WRITES, trace))
    assert ended.code == 0, ended
    return points(trace, [mine.log_path, mine.log_path.with_name("log.sqlite-wal")])


def read(mine: Appliance, ledger: Ledger) -> None:
    """Take in the log of a home that nothing serves, and hold everything to it."""
    log = Log.open(mine.log_path)
    ledger.read(log.bodies())
    assert log.table_differences() == []
    log.close()
    ledger.settle(mine.notes)
    assert sorted(ledger.intents()) == sorted(ledger.outcomes), "an intent has no outcome after a clean end"


def disturb(mine: Appliance, point: Point) -> bool:
    """Kill an issue at a point, run the same line again, and check; whether the engine was killed."""
    request, ledger = mine.folder / "request.jws", Ledger(mine.folder / "held")
    command = mine.issue()
    request.write_text(command)
    ended, token = issue(mine, request, point.kill())
    assert ended.code in {0, 4} or killed(ended), ended
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
    return killed(ended)


def disturb_server(mine: Appliance, point: Point) -> bool:
    """Kill a server at a point while one client asks, start it again, and check; whether it was killed."""
    ledger = Ledger(mine.folder / "held")
    ended = None
    try:
        with mine.serve(under=point.kill(), spied="") as server:
            transport = server.transport()
            with suppress(ClientError, Refused):
                for _ in range(30):
                    ledger.ask(transport, mine.issue())
                server.stop()
            ended = server.wait()
    except NotReady as error:
        ended = error.ended
    assert ended.code == 0 or killed(ended), ended
    with mine.serve(spied="") as server:
        ledger.read_over(server.transport(), mine)
        for command in [*ledger.unanswered]:
            known = command in ledger.by_command
            outcome = ledger.ask(server.transport(), ledger.sent[command])
            assert bool(outcome.files) is not known
        assert server.stop().code == 0
    read(mine, Ledger(mine.folder / "unheld"))
    log = Log.open(mine.log_path)
    ledger.read(log.bodies(ledger.head.size))
    log.close()
    ledger.settle(mine.notes)
    return killed(ended)


def test_issues_killed_at_counted_points_leave_nothing_to_mend(mine: Appliance) -> None:
    """Twelve points spread over all writes, syncs and frames: the same line again gives its token or its record."""
    ends = [disturb(mine, point) for point in spread(undisturbed(mine), 12)]
    assert sum(ends) >= 6, "hardly any point was met"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_issues_killed_at_every_point_leave_nothing_to_mend(mine: Appliance) -> None:
    """The long form: every point of an issue, then a server at 200 more."""
    found = undisturbed(mine)
    met = sum([disturb(mine, point) for point in found])
    assert met >= len(found) // 2
    wal = mine.log_path.with_name("log.sqlite-wal")
    served = [Point(call, number, wal) for call, most in (("pwrite64", 120), ("fdatasync", 40)) for number in range(1, most)]
    served += [Point("sendto", number) for number in range(1, 43)]
    met = sum([disturb_server(mine, point) for point in served])
    assert met >= len(served) // 2
