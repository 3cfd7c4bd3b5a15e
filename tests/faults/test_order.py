"""In which order a server writes, syncs, signs and answers, proven by its system calls (S1, S2, R31)."""

import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.database import Store
from coldcred.canonical import sha256_hex
from coldcred.log import entry as entries
from tests.support.ledger import Ledger
from tests.support.replay import CALLS, Disk, calls
from tests.support.serving import Appliance
from tests.support.strace import strace

CLIENTS = 4
_SIGN = re.compile(rb'J....\{"do":"sign"[^{}]*\}B....', re.DOTALL)


@pytest.fixture(scope="module")
def traced(ready: Appliance, tmp_path_factory: pytest.TempPathFactory) -> tuple[Appliance, Path, Disk]:
    """Return a server's trace: ten requests one after the other, then some at once; and its disk before that."""
    folder = tmp_path_factory.mktemp("traced")
    mine, trace = ready.copy(folder / "mine"), folder / "trace"
    disk = Disk.of(mine.home)
    ledger = Ledger(folder / "held")
    with mine.serve(under=strace("-y", "-s", "100000", "-e", f"trace={CALLS}", output=trace)) as server:
        for _ in range(10):
            ledger.ask(server.transport(), mine.issue())

        def client() -> None:
            transport = server.transport()
            for _ in range(5):
                ledger.ask(transport, mine.issue())

        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert server.stop().code == 0
    assert len(ledger.held) == 10 + 5 * CLIENTS
    return mine, trace, disk


def steps(trace: Path) -> Iterator[str]:
    """Give what a server did, in order: request, write, sync, ask the token, hear from it, answer."""
    for ended, call in calls(trace):
        if call.name == "recvfrom" and ended and call.data.startswith(b"POST /v1/commands"):
            yield "request"
        elif call.name == "pwrite64" and not ended and call.file.endswith("log.sqlite-wal"):
            yield "write"
        elif call.name == "fdatasync" and ended and call.result == 0 and call.file.endswith("log.sqlite-wal"):
            yield "sync"
        elif call.name == "sendto" and not ended and _SIGN.match(call.data):
            yield "ask"
        elif call.name == "sendto" and not ended and call.data.startswith(b"HTTP/1.1 200"):
            yield "answer"


def test_between_request_and_answer_the_log_is_synced_and_then_the_token_asked(
    traced: tuple[Appliance, Path, Disk],
) -> None:
    """For requests one after the other: written, synced, asked, answered, in this order, without exception."""
    _, trace, _ = traced
    order = " ".join(steps(trace))
    alone = re.findall(r"request(.*?)answer", order)[:10]
    assert len(alone) == 10
    for between in alone:
        assert re.fullmatch(r" (?:(?:write )+sync )+ask (?:write |sync )*", between), between


def test_whatever_the_token_is_asked_to_sign_a_power_cut_would_not_take_from_the_log(
    traced: tuple[Appliance, Path, Disk], tmp_path: Path
) -> None:
    """At each frame to the worker, also with several clients: the strictest disk holds the entry of each input."""
    _, trace, disk = traced
    asked = 0
    for number, (ended, call) in enumerate(calls(trace)):
        frame = _SIGN.match(call.data) if call.name == "sendto" and not ended else None
        if frame is None:
            if ended:
                disk.apply(call)
            continue
        folder = tmp_path / str(number)
        disk.leave(folder)
        announced = _announced(folder / "log.sqlite")
        for data in _inputs(call.data[frame.end() :]):
            assert sha256_hex(data) in announced
            asked += 1
    assert asked >= 10 + 5 * CLIENTS


def _inputs(packed: bytes) -> Iterator[bytes]:
    """Give the byte strings of a frame, each behind four bytes of its length."""
    place = 0
    while place < len(packed):
        end = place + 4 + int.from_bytes(packed[place : place + 4])
        yield packed[place + 4 : end]
        place = end


def _announced(path: Path) -> set[str]:
    """Give the SHA-256 of every input that an entry announces, as the product reads the log."""
    path.chmod(0o600)
    with closing(Store.open(path)) as store:
        found = set()
        for (body,) in store.rows("SELECT body FROM entry"):
            assert isinstance(body, bytes)
            signs = entries.parse(body).event.get("signs", [])
            assert isinstance(signs, list)
            found |= {str(item["sha256"]) for item in signs if isinstance(item, dict)}
        return found
