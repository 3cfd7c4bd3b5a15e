"""A log that cannot be written: typed refusals in time, nothing signed any more, and a next start without a hand.

Reliability I2, S3, S4.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.client import ClientError, SocketTransport
from appliance.disk import RESERVE
from appliance.errors import Refusal, Refused
from appliance.log import Log
from coldcred.acts import Act
from coldcred.canonical import Json
from tests.support.commandline import Ended
from tests.support.disturbed import disturb, read, undisturbed
from tests.support.ledger import Ledger
from tests.support.serving import Appliance, NotReady, Server, bounded, issue_words
from tests.support.softhsm import PIN
from tests.support.strace import Point, spread

IN_TIME = 5.0
"""Seconds within which a fault of the disk has become a refusal, beside three times what a good answer took before."""

MOST = 60
"""Issues after which a fault must have been met."""


def wal(mine: Appliance) -> Path:
    """Give the write-ahead log's path."""
    return mine.log_path.with_name("log.sqlite-wal")


def refused_in_time(mine: Appliance, transport: SocketTransport, ledger: Ledger) -> Refused:
    """Ask until the fault is met; gives the refusal, which came in time."""
    good = 0.0
    for _ in range(MOST):
        began = time.monotonic()
        try:
            ledger.ask(transport, mine.issue())
        except Refused as refused:
            assert time.monotonic() - began < IN_TIME + 3 * good
            return refused
        good = max(good, time.monotonic() - began)
    raise AssertionError("the fault was not met")


def said(ended: Ended, code: int, name: str) -> None:
    """See that a process ended with this code, and with a sentence for people that names the fault, not a traceback."""
    assert ended.code == code, ended
    assert f"({name})" in ended.err
    lines = ended.err.splitlines()[-3:]
    assert [line.split()[0] for line in lines] == ["why", "state", "next"], ended
    assert "Traceback" not in ended.err


def fails_served(mine: Appliance, server: Server, ledger: Ledger, name: str) -> None:
    """Drive a server into its fault: refused in time, nothing signed after, ended by itself with exit 5."""
    transport = server.transport()
    refused = refused_in_time(mine, transport, ledger)
    signed = mine.notes.read_bytes()
    assert refused.reason is Refusal.STORAGE_FAULT
    assert name in refused.detail
    for _ in range(3):
        with suppress(ClientError):
            with pytest.raises(Refused) as caught:
                ledger.ask(transport, mine.issue())
            assert caught.value.reason in {Refusal.STORAGE_FAULT, Refusal.STOPPING}
    said(server.wait(), 5, name)
    assert mine.notes.read_bytes() == signed, "something was signed after the fault"


def starts_again(mine: Appliance, ledger: Ledger) -> None:
    """See that the same start as ever serves, and that what was refused was never given to the token."""
    with mine.serve(spied="") as server:
        ledger.read_over(server.transport(), mine)
        ledger.settle(mine.notes)
        notes = mine.notes.read_text()
        for command in ledger.unanswered & ledger.by_command.keys():
            for announced in ledger.announced(ledger.by_command[command]):
                assert announced not in notes, f"command {command} was refused and signed"
        assert ledger.ask(server.transport(), mine.issue()).files
        assert server.stop().code == 0


FAULTS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "no sync, ever": (lambda path: Point("fdatasync", 6, path).fail("EIO"), "storage-fault"),
    "no sync, once": (lambda path: Point("fdatasync", 6, path).fail("EIO", on=False), "storage-fault"),
    "no room to sync": (lambda path: Point("fdatasync", 7, path).fail("ENOSPC"), "storage-fault"),
    "no write": (lambda path: Point("pwrite64", 25, path).fail("EIO", on=False), "storage-fault"),
    "no room": (lambda path: Point("pwrite64", 31, path).fail("ENOSPC"), "disk-full"),
    "file too large": (lambda _: ["prlimit", "--fsize=200000"], "storage-fault"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_log_that_cannot_be_written_ends_the_appliance(mine: Appliance, tmp_path: Path, fault: str) -> None:
    """The sender hears a typed refusal, the token hears nothing, the server ends with 5, the next start is plain."""
    under, name = FAULTS[fault]
    ledger = Ledger(tmp_path / "held")
    with mine.serve(under=under(wal(mine)), spied="") as server:
        fails_served(mine, server, ledger, name)
    starts_again(mine, ledger)


@pytest.mark.parametrize("name", ["log.sqlite", "log.sqlite-wal"])
def test_a_database_removed_under_the_engine_is_noticed(mine: Appliance, tmp_path: Path, name: str) -> None:
    """What would be written into a file that has no name any more is refused; put back, it goes on."""
    ledger = Ledger(tmp_path / "held")
    path, away = mine.home / name, mine.folder / "away"
    with mine.serve(spied="") as server:
        assert ledger.ask(server.transport(), mine.issue()).files
        path.rename(away)
        fails_served(mine, server, ledger, "storage-fault")
    away.rename(path)
    starts_again(mine, ledger)


def test_a_database_replaced_under_the_engine_is_noticed(mine: Appliance, tmp_path: Path) -> None:
    """Another file in the database's place is not written beside."""
    ledger = Ledger(tmp_path / "held")
    before = mine.log_path.read_bytes()
    with mine.serve(spied="") as server:
        assert ledger.ask(server.transport(), mine.issue()).files
        mine.log_path.unlink()
        mine.log_path.write_bytes(before)
        mine.log_path.chmod(0o600)
        fails_served(mine, server, ledger, "storage-fault")


def test_a_lock_held_by_another_refuses_the_start(mine: Appliance) -> None:
    """While somebody has the home's lock, or the database's, nothing starts: in time, typed, exit 5."""
    began = time.monotonic()
    with mine.serve() as server:
        in_time = IN_TIME + 3 * (time.monotonic() - began)
        assert server.stop().code == 0
    with (mine.home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        with pytest.raises(NotReady) as caught, mine.serve():
            pass
        assert time.monotonic() - began < in_time
        said(caught.value.ended, 5, "home-in-use")
    other = Log.open(mine.log_path)
    try:
        began = time.monotonic()
        with pytest.raises(NotReady) as caught, mine.serve():
            pass
        assert time.monotonic() - began < in_time
        said(caught.value.ended, 5, "home-in-use")
    finally:
        other.close()
    with mine.serve() as server:
        assert server.stop().code == 0


FULL_DISK = """
home=$1; size=$2; free=$3; shift 3
mkdir "$home.kept"
cp -a "$home/." "$home.kept"
mount -t tmpfs -o size=$size,mode=700 small "$home"
cp -a "$home.kept/." "$home"
left=$(df --output=avail -B1 "$home" | tail -n 1)
head -c $((left - free)) /dev/zero > "$home/ballast"
"$@" 4<"$home.pin" || true
rm "$home/ballast"
echo again
"$@" 4<"$home.pin" || true
cp -a "$home/." "$home.kept"
umount "$home"
cp -a "$home.kept/." "$home"
"""


def on_a_full_disk(mine: Appliance, size: str, free: int, *verb: str | Path) -> tuple[Any, Any]:
    """Run a verb on a disk of this size with so many bytes left, and again with room; gives the JSON of both."""
    private = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    mine.home.with_name("home.pin").write_bytes(PIN + b"\n")
    words = mine.arguments("--pin-fd", "4", *verb, spied="")
    ended = bounded([*private, "sh", "-euc", FULL_DISK, "sh", str(mine.home), size, str(free), *words])
    assert ended.code == 0, ended
    assert "Traceback" not in ended.err
    full, room = (json.loads(part.splitlines()[-1]) for part in ended.out.split("again\n"))
    return full, room


def test_an_almost_full_disk_issues_nothing_until_there_is_room(mine: Appliance, tmp_path: Path) -> None:
    """Within the reserve an issue is refused with exit 5, leaving no trace; with room again the same line does it."""
    request, out = mine.folder / "full.jws", mine.folder / "full.jwt"
    request.write_text(mine.issue())
    full, room = on_a_full_disk(mine, "80m", RESERVE - 64 * 1024, *issue_words(request, out))
    assert (full["error"], full["exit"]) == ("disk-reserve", 5)
    assert room["state"] == "done"
    ledger = Ledger(tmp_path / "held")
    ledger.hold(out.read_text(), request.read_text())
    read(mine, ledger)


def test_the_status_says_so(mine: Appliance) -> None:
    """Anybody at the machine sees that the disk is low, and when it is not any more."""
    full, room = on_a_full_disk(mine, "80m", RESERVE - 64 * 1024, "status", "--json")
    assert (full["disk_low"], room["disk_low"]) == (True, False)
    assert full["disk_free"] < RESERVE <= room["disk_free"]


@pytest.mark.parametrize("free", [0, 12 * 1024, 28 * 1024, 60 * 1024])
def test_a_full_disk_stops_what_may_use_the_reserve_until_there_is_room(
    mine: Appliance, tmp_path: Path, free: int
) -> None:
    """With so many bytes left a revocation is told as failed with exit 5, or done; with room the same line does it."""
    request, out = mine.folder / "full.jws", mine.folder / "full.jwt"
    request.write_text(command := mine.issue())
    jti = mine.issue_in_process(request, out, spied="").json["result"]["jti"]
    revoke: dict[str, Json] = {"credential": jti, "reason": "lost"}
    request.write_text(mine.command("alice", Act.CREDENTIAL_REVOKE, revoke))
    words = ("revoke", jti, "--reason", "lost", "--request", request, "--json")
    full, room = on_a_full_disk(mine, "4m", free, *words)
    assert (full["error"], full["exit"]) == ("disk-full", 5) if free == 0 else full.get("exit", 0) in {0, 5}
    assert room["state"] == "done"
    ledger = Ledger(tmp_path / "held")
    ledger.hold(out.read_text(), command)
    read(mine, ledger)
    revoked = [event["selector"] for event in ledger.events.values() if event["type"] == "credential.revoked"]
    assert revoked == [{"credential": jti}]


@pytest.mark.parametrize("verb", ["bundle create", "bundle create again"])
def test_a_revocation_reaches_its_site_on_an_almost_full_disk(mine: Appliance, verb: str) -> None:
    """Within the reserve the bundle with a revocation is made and handed over; one that carries none waits for room."""
    request, out = mine.folder / "full.jws", mine.folder / "full.jwt"
    request.write_text(mine.issue())
    jti = mine.issue_in_process(request, out, spied="").json["result"]["jti"]
    request.write_text(mine.command("alice", Act.CREDENTIAL_REVOKE, {"credential": jti, "reason": "lost"}))
    if verb == "bundle create":
        revoked = mine.ctl("revoke", jti, "--reason", "lost", "--request", request, "--json")
        assert json.loads(revoked.out.splitlines()[-1])["state"] == "done"
    handed = mine.folder / "0003.bundle"
    request.write_text(mine.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"}))
    words = ("bundle", "create", "--site", "line-1", "--out", handed, "--request", request, "--json")
    full, room = on_a_full_disk(mine, "80m", RESERVE - 64 * 1024, *words)
    if verb == "bundle create":
        assert (full["state"], handed.stat().st_size > 0) == ("done", True)
    else:
        assert (full["error"], full["exit"], room["state"]) == ("disk-reserve", 5, "done")


def test_every_failing_call_is_told(mine: Appliance) -> None:
    """One write or sync of an issue fails, at six points: exit 5 in words or nothing lost, and the line works again."""
    fail_each(mine, spread(storing(mine), 6), ("EIO",))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_failing_call_is_told_at_every_point(mine: Appliance) -> None:
    """The long form: each write, sync, truncation and removal of an issue fails once, by EIO and by ENOSPC."""
    fail_each(mine, storing(mine), ("EIO", "ENOSPC"))


def storing(mine: Appliance) -> list[Point]:
    """Give the points of an issue at which something is stored."""
    return [point for point in undisturbed(mine) if point.call != "sendto"]


def fail_each(mine: Appliance, found: list[Point], errors: tuple[str, ...]) -> None:
    """Let an issue fail at each point, see that it says so, and run the same line again."""
    ends = [disturb(mine, point.fail(error, on=False)) for point in found for error in errors]
    for ended in ends:
        assert "Traceback" not in ended.err
        assert ended.code in {0, 4, 5}, ended
        if ended.code != 0:
            said_last = json.loads(ended.out.splitlines()[-1])
            assert said_last["exit"] == ended.code
            assert said_last["error"] != "unexpected"
    assert sum(ended.code == 5 for ended in ends) >= len(ends) // 3, "hardly any fault was met"
