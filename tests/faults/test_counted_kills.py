"""A process killed at counted system calls while it issues: no token without its entry, and no repair (I1)."""

from contextlib import suppress

import pytest

from appliance.client import ClientError
from appliance.errors import Refused
from appliance.log import Log
from tests.support.disturbed import disturb, killed, read, undisturbed
from tests.support.ledger import Ledger
from tests.support.serving import Appliance, NotReady
from tests.support.strace import Point, spread


def kill_each(mine: Appliance, found: list[Point]) -> int:
    """Kill an issue at each point; gives how many of them ended it, the others having ended its worker or nothing."""
    ends = [disturb(mine, point.kill()) for point in found]
    for ended in ends:
        assert ended.code in {0, 4} or killed(ended), ended
    return sum(killed(ended) for ended in ends)


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
    """Ten points spread over all writes, syncs and frames: the same line again gives its token or its record."""
    assert kill_each(mine, spread(undisturbed(mine), 10)) >= 5, "hardly any point was met"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_issues_killed_at_every_point_leave_nothing_to_mend(mine: Appliance) -> None:
    """The long form: every point of an issue, then a server at 200 more."""
    found = undisturbed(mine)
    assert kill_each(mine, found) >= len(found) // 2
    wal = mine.log_path.with_name("log.sqlite-wal")
    served = [
        Point(call, number, wal) for call, most in (("pwrite64", 120), ("fdatasync", 40)) for number in range(1, most)
    ]
    served += [Point("sendto", number) for number in range(1, 43)]
    met = sum([disturb_server(mine, point) for point in served])
    assert met >= len(served) // 2
