"""Exports are handed over as they are read: of any size, in little memory, whole or not at all."""

import io
import os
import socket
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pytest

from appliance.cli.asking import conclude
from appliance.cli.exits import Exit
from appliance.client import ClientError, ClientFault, SocketTransport, _Local
from appliance.decision import Event
from appliance.engine import Engine
from appliance.engine.handover import PAGE
from appliance.home import Home
from appliance.nouns import checkpoints
from appliance.outcome import EXPORTED, Outcome, State
from appliance.wiring import open_log
from coldcred import framing
from coldcred.acts import Act
from coldcred.canonical import b64u_decode, dumps, loads, sha256_hex
from coldcred.files import FileKind, write_file
from coldcred.framing import EXPORT, FramedFile
from coldcred.log import entry as entries
from coldcred.log import export as exports
from coldcred.log.chain import Head
from tests.support.running import RunningPlant, run
from tests.support.serving import Appliance, mine, ready, secret
from tests.support.softhsm import PIN

__all__ = ["mine", "ready"]

MIB = 1024 * 1024
BLOB = MIB
BATCH = 16 * MIB
SLACK = 24 * MIB


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the plant's appliance, not started."""
    return RunningPlant(tmp_path / "home")


async def exported(running: RunningPlant, engine: Engine) -> Outcome:
    """Have carol export the log, to be handed over later."""
    return await engine.submit_command(running.command("carol", Act.LOG_EXPORT), whole=False)


def blobs_of(body: bytes) -> set[str]:
    """Give the digests of the blobs in an export."""
    found = set()
    for line in framing.read(body, EXPORT, max_bytes=len(body))[exports.BLOBS].splitlines():
        value = loads(line, max_bytes=len(line))
        assert isinstance(value, dict)
        found.add(sha256_hex(b64u_decode(str(value["body"]))))
    return found


def test_the_pages_are_the_export(running: RunningPlant) -> None:
    """What pages give is an intact export, the same as the whole one of that moment, and is given once."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            outcome = await exported(running, engine)
            assert outcome.export is not None
            body = b"".join([page async for page in engine.pages(outcome.export)])
            key = checkpoints.verifier_key(engine.standing.authority)
            report = exports.verify(io.BytesIO(body), exports.Anchor(key))
            assert report.entries == outcome.export.size
            again = b"".join([page async for page in engine.pages(outcome.export)])
            assert again == body

    run(story())


def test_what_happens_meanwhile_is_carried_out_and_left_out(running: RunningPlant) -> None:
    """Commands are carried out between two pages; neither their entries nor their documents are in the export."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            outcome = await exported(running, engine)
            assert outcome.export is not None
            body, commands = b"", []
            async for page in engine.pages(outcome.export):
                body += page
                commands.append(running.issue())
                assert (await engine.submit_command(commands[-1])).state is State.DONE
            assert len(commands) > 6
            key = checkpoints.verifier_key(engine.standing.authority)
            assert exports.verify(io.BytesIO(body), exports.Anchor(key)).entries == outcome.export.size
            found = blobs_of(body)
            assert not found & {sha256_hex(command.encode()) for command in commands}
            assert found

    run(story())


def test_what_came_beside_a_refused_command_is_not_handed_over(running: RunningPlant) -> None:
    """The command is, since an entry names it; what traveled beside it was not kept."""

    async def story() -> None:
        async with running.engine() as engine:
            text = b"no policy"
            command = running.command("alice", Act.POLICY_SET, {"policy": sha256_hex(text)})
            refused = await engine.submit_command(command, {sha256_hex(text): text})
            assert refused.state is State.REFUSED
            whole = (await engine.submit_command(running.command("carol", Act.LOG_EXPORT))).files["export"]
            kept = {sha256_hex(body) for body in engine.standing.archive.blobs()}
            assert blobs_of(whole) <= kept
            assert sha256_hex(command.encode()) in blobs_of(whole)
            assert sha256_hex(text) not in blobs_of(whole) | kept

    run(story())


# -- over the socket


def answered(*parts: bytes) -> SocketTransport:
    """Give a client whose service answers with these bytes and goes away."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            asked = b""
            while not asked.endswith(b"}"):
                asked += theirs.recv(65536)
            for part in parts:
                theirs.sendall(part)

    threading.Thread(target=serve).start()
    return SocketTransport(_Local(ours))


def chunk(data: bytes) -> bytes:
    """Write a chunk of HTTP."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: {EXPORTED}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
OUTCOME = dumps(Outcome("0" * 64, "log.export", State.DONE).as_json()) + b"\n"


def test_a_client_reads_the_outcome_and_then_the_pages() -> None:
    """However the bytes are cut, and whatever empty lines said that work went on."""
    export = b"coldcred-export 1\n\n\nbody\n"
    for parts in (
        [OUTCOME, b"\n", b"\n\n", export],
        [OUTCOME + b"\n" + export],
        [OUTCOME[:10], OUTCOME[10:] + b"\n\n\n" + export[:5], export[5:]],
    ):
        with closing(answered(HEAD, *map(chunk, parts), b"0\r\n\r\n")) as transport:
            outcome = transport.command("x", {}, ())
            assert outcome.state is State.DONE
            assert b"".join(outcome.given["export"]) == export  # type: ignore[arg-type]  # comes in pages


@pytest.mark.parametrize("before", [None, b"an older export"])
@pytest.mark.parametrize(
    "cut", [[], [chunk(b"\n")], [chunk(b"coldcred-")], [chunk(b"a" * MIB)], [chunk(b"abc")[:-3]], [b"5"]]
)
def test_a_connection_that_breaks_leaves_no_half_export(
    tmp_path: Path, cut: list[bytes], before: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is as it was before, nothing lies beside it, and what is said is that it was carried out and is lost."""
    path = tmp_path / "log.export"
    if before is not None:
        path.write_bytes(before)
    with closing(answered(HEAD, chunk(OUTCOME), *cut)) as transport:
        outcome = transport.command("x", {}, ())
        assert conclude(outcome, {"export": path}) is Exit.STORAGE
    assert "nothing was written there; the export is lost" in capsys.readouterr().err
    assert [found.read_bytes() for found in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_broken_connection_is_said_where_it_is_read(tmp_path: Path) -> None:
    """Whoever takes the pages hears that the connection was lost, and a file that takes them is not there."""
    with closing(answered(HEAD, chunk(OUTCOME + b"abc"))) as transport:
        pages = transport.command("x", {}, ()).pages
        assert pages is not None
        with pytest.raises(ClientError) as lost:
            write_file(tmp_path / "a", pages, FileKind.GIVEN)
    assert lost.value.fault is ClientFault.LOST
    assert not [*tmp_path.iterdir()]


def fill(appliance: Appliance, size: int) -> None:
    """Put so many bytes of documents in the log, each named by an entry."""
    home = Home.open(appliance.home)
    with open_log(home) as log:
        *_, last = log.load()
        for _ in range(0, size, BATCH):
            head, found, blobs = log.head, [], [os.urandom(BLOB) for _ in range(BATCH // BLOB)]
            for blob in blobs:
                event: Event = {
                    "type": "command.refused", "command": sha256_hex(blob[1:]), "document": sha256_hex(blob),
                    "act": "read.open", "by": "carol", "people": ["carol"], "approvals": [], "policy": "0" * 64,
                    "reason": "malformed", "rule": "R10 closed forms", "detail": "x" * 1000,
                }  # fmt: skip
                found.append(entries.write(head.size, last.time, head.digest, event))
                head = Head.of(found[-1])
            log.append(found, {sha256_hex(blob): blob for blob in blobs})


def high_water(pid: int) -> int:
    """Give the most memory that a process had resident, in bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def ran(words: list[str], *descriptors: int) -> int:
    """Run a program to its end; gives the most memory that it, or this process before it began, had resident."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=descriptors)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss * 1024


@pytest.mark.parametrize(
    "size", [64 * MIB, pytest.param(1024 * MIB, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_an_export_takes_no_memory_of_its_size(mine: Appliance, tmp_path: Path, size: int) -> None:
    """Neither of the appliance nor of who asked: pages go from the disk over the socket to the disk."""
    fill(mine, size)
    request, out = tmp_path / "request.jws", tmp_path / "log.export"
    with mine.serve() as server:
        status = ran(mine.arguments("status"))
        request.write_text(f"{mine.command('carol', Act.LOG_EXPORT)}\n")
        before = high_water(server.pid)
        asked = ran(mine.arguments("log", "export", "--request", request, "--out", out))
        assert high_water(server.pid) < before + SLACK
        assert asked < status + SLACK
    check(out, size)
    out.unlink()
    request.write_text(f"{mine.command('carol', Act.LOG_EXPORT)}\n")
    with secret("--pin-fd", PIN) as (option, descriptor):
        words = mine.arguments(*option, "log", "export", "--request", request, "--out", out)
        assert ran(words, descriptor) < max(before, status) + 2 * SLACK  # and now there is an engine in it
    check(out, size)


def check(path: Path, size: int) -> None:
    """Hold every body of a large export to its index."""
    assert path.stat().st_size > size
    with path.open("rb") as stream:
        framed = FramedFile(stream, EXPORT)
        assert tuple(framed.bodies) == exports.FILES
        for name in framed.bodies:
            assert sum(map(len, framed.chunks(name))) == framed.bodies[name].length


def test_a_page_is_small() -> None:
    """A page is what one reader may put before a commit."""
    assert PAGE <= MIB // 4
