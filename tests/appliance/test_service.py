"""The appliance as a server: one socket, one connection at a time trusted with what it opened, and a clean end."""

import asyncio
import http.client
import json
import os
import resource
import select
import signal
import socket
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.client import Client, ClientError, ClientFault, SocketTransport
from appliance.decision import Peer
from appliance.engine import Engine
from appliance.errors import HomeError, HomeFault, Refusal, Refused
from appliance.identity import Identity
from appliance.outcome import State
from appliance.service.app import MAX_BODY, application
from appliance.service.connection import REQUEST_SECONDS, Connection, LocalProtocol, peer_uid, protocol
from appliance.service.places import PLACES, Places
from appliance.service.serving import _config, _LocalServer
from appliance.sockets import connect, listen
from coldcred.acts import Act
from coldcred.canonical import Json
from tests.support.commandline import CTL, ENVIRONMENT, run
from tests.support.founded import PASSPHRASE, SITE, Plant


def now() -> int:
    """Give the machine's time, as the command line does."""
    return int(time.time())


@pytest.fixture(scope="module")
def alice(plant: Plant) -> Identity:
    """Return an officer's opened key."""
    return Identity.load(plant.people / "alice.operator", lambda: bytearray(PASSPHRASE.encode()))


@contextmanager
def client(plant: Plant, identity: Identity | None) -> Iterator[Client]:
    """Connect to a served appliance."""
    made = Client.connect(plant.home, identity, now, os.urandom)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def raw(plant: Plant) -> Iterator[socket.socket]:
    """Connect to the socket and speak for oneself."""
    found = connect(plant.home / "operator.sock", REQUEST_SECONDS * 2)
    assert found is not None
    with closing(found):
        yield found


def exchange(plant: Plant, request: bytes) -> tuple[int, Any]:
    """Send bytes and read one answer: its status and JSON."""
    with raw(plant) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, json.loads(response.read())


def post(path: str, body: bytes) -> bytes:
    """Write a POST."""
    return f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def test_the_socket_is_its_owners_alone(served: Plant) -> None:
    """The socket has mode 0600 in a folder of mode 0700."""
    assert stat.S_IMODE((served.home / "operator.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(served.home.stat().st_mode) == 0o700


def test_nothing_listens_on_a_network(plant: Plant, tmp_path: Path) -> None:
    """No socket of the server's processes is an internet socket of any kind."""
    with plant.copy_home(tmp_path / "home").serving() as server:
        families: set[str] = set()
        inodes = set()
        for process in (server.pid, *_children(server.pid)):
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                if (target := str(descriptor.readlink())).startswith("socket:["):
                    inodes.add(target[8:-1])
        for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
            path = Path(f"/proc/{server.pid}/net/{table}")
            for line in path.read_text().splitlines()[1:] if path.exists() else ():
                if line.split()[9] in inodes:
                    families.add(table)
    assert inodes
    assert not families


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


@pytest.mark.parametrize(
    ("request_bytes", "status", "error"),
    [
        (b"GET /v1/elsewhere HTTP/1.1\r\nhost: a\r\n\r\n", 404, "unknown-question"),
        (b"DELETE /v1/commands HTTP/1.1\r\nhost: a\r\n\r\n", 404, "unknown-question"),
        (b"GET /v1/read/status HTTP/1.1\r\nhost: a\r\n\r\n", 403, "not-allowed"),
        (post("/v1/commands", b""), 400, "malformed"),
        (post("/v1/commands", b"{"), 400, "malformed"),
        (post("/v1/commands", b'{"command":"a","command":"b"}'), 400, "malformed"),
        (post("/v1/commands", b'{"command":"a.b.c"}'), 403, "malformed"),
        (post("/v1/commands", b'{"command":"a.b.c","force":true}'), 400, "malformed"),
        (post("/v1/commands", b'{"command":"a","attachments":{"00":"AA"}}'), 400, "malformed"),
        (post("/v1/commands", b"[" * 5000), 400, "malformed"),
        (post("/v1/approvals", b'{"approval":7}'), 400, "malformed"),
        (post("/v1/read", b'{"command":"x"}'), 403, "malformed"),
    ],
)
def test_bad_requests_get_a_reason(served: Plant, request_bytes: bytes, status: int, error: str) -> None:
    """Whatever is asked wrongly is answered with a status, a stable id and a sentence."""
    found, answer = exchange(served, request_bytes)
    assert (found, answer["error"]) == (status, error)
    assert set(answer) == {"error", "detail", "rule"} - (set() if status == 403 else {"rule"})


def test_a_body_that_is_too_large_is_not_taken(served: Plant) -> None:
    """A body beyond the limit is refused while it arrives."""
    with raw(served) as connection:
        connection.sendall(b"POST /v1/commands HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        part = b"10000\r\n" + b"[" * 0x10000 + b"\r\n"
        for _ in range(MAX_BODY // 0x10000 + 2):
            try:
                connection.sendall(part)
            except OSError:
                break
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, json.loads(response.read())["error"]) == (413, "too-large")


def test_a_head_without_end_is_cut_off(served: Plant) -> None:
    """Headers beyond the limit end the connection without an answer, before the time of an older one is over."""
    with raw(served) as silent, raw(served) as connection:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012 - at any of these
            connection.sendall(b"GET /v1/appliance HTTP/1.1\r\n")
            for _ in range(1000):
                connection.sendall(b"x-padding: " + b"y" * 1000 + b"\r\n")
                time.sleep(0)
            if connection.recv(1) == b"":
                raise ConnectionResetError
        assert not _is_over(silent)


def test_slow_clients_are_cut_off_and_harm_nobody(served: Plant, alice: Identity) -> None:
    """A connection that says nothing, half a head or half a body is ended in time; others are served meanwhile."""
    head = b"POST /v1/commands HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{"
    began = time.monotonic()
    with raw(served) as silent, raw(served) as half_head, raw(served) as half_body, raw(served) as answered:
        half_head.sendall(head[:20])
        half_body.sendall(head)
        answered.sendall(b"GET /v1/appliance HTTP/1.1\r\nhost: a\r\n\r\n")
        answered.recv(65536)
        with client(served, alice) as other:
            other.read("status")
            assert not any(_is_over(slow) for slow in (silent, half_head, half_body))
            for slow in (silent, half_head, half_body, answered):
                assert _ended(slow)
            assert time.monotonic() - began > REQUEST_SECONDS - 1
            other.read("status")


def _is_over(connection: socket.socket) -> bool:
    """Whether the other side has ended a connection, or said something more, as it is now."""
    return bool(select.select([connection], [], [], 0)[0])


def _ended(connection: socket.socket) -> bool:
    """Wait until the other side ends a connection, whatever it still had to say."""
    with suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


def test_reading_dies_with_its_connection(served: Plant, alice: Identity) -> None:
    """What one connection opened, another cannot read by, and reading is opened by an enrolled key only."""
    with client(served, alice) as first, client(served, None) as second:
        first.read("people")
        with pytest.raises(Refused) as refused:
            second.transport.read("people", {})
        assert refused.value.reason is Refusal.NOT_ALLOWED
        first.read("people")


def test_a_custodian_key_opens_nothing(served: Plant) -> None:
    """A key of another register reads nothing; it signs for recovery alone."""
    custodian = Identity.load(served.people / "alice.custodian", lambda: bytearray(PASSPHRASE.encode()))
    with client(served, custodian) as other, pytest.raises(Refused) as refused:
        other.read("status")
    assert refused.value.reason is Refusal.NOT_ALLOWED


def test_unknown_views_and_arguments_are_refused(served: Plant, alice: Identity) -> None:
    """A view that does not exist is a refusal, and the connection goes on."""
    with client(served, alice) as other:
        for name, arguments in (("secrets", {}), ("a%00b", {}), ("entries", {"from": "-1"})):
            with pytest.raises(Refused) as refused:
                other.read(name, **arguments)
            assert refused.value.reason is Refusal.MALFORMED
        assert other.read("status")


def test_many_clients_are_served_at_once(served: Plant, alice: Identity) -> None:
    """Twenty clients that read together all get the same people."""
    found: list[Json] = []

    def read() -> None:
        with client(served, alice) as other:
            found.append(other.read("people"))

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all(people == found[0] for people in found)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process hold more than a thousand connections while a test runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_connections_keep_nobody_out(served: Plant, alice: Identity) -> None:
    """Silent, half a head or half a body: others come in, are answered and keep their connection (P12)."""
    halves = (b"", b"POST /v1/comm", post("/v1/commands", b"{" * 100)[:-50])
    with ExitStack() as stack:
        opened = [stack.enter_context(raw(served)) for _ in range(100)]
        first = stack.enter_context(client(served, alice))
        first.read("status")
        for place in range(900):
            opened.append(connection := stack.enter_context(raw(served)))
            with suppress(OSError):
                connection.sendall(halves[place % len(halves)])
        for _ in range(3):
            with client(served, alice) as other:
                assert other.read("people")
        assert first.read("people")
        ended = sum(_has_ended(connection) for connection in opened)
        assert len(opened) - ended <= PLACES


def _has_ended(connection: socket.socket) -> bool:
    """Whether the other side has ended a connection already."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_who_finds_no_place_hears_so(tmp_path: Path) -> None:
    """While every place has a request that is being answered a newcomer is told that the service is busy."""

    async def story() -> bytes:
        path, engine = tmp_path / "operator.sock", _Waiting()
        async with _service(engine, path):
            waiting = [await _open(path) for _ in range(PLACES)]
            for _, writer in waiting:
                writer.write(post("/v1/approvals", b'{"approval":"x"}'))
            await engine.all_asked.wait()
            reader, writer = await _open(path)
            writer.write(b"GET /v1/appliance HTTP/1.1\r\nhost: a\r\n\r\n")
            answer = await reader.readline()
            for _, other in (*waiting, (reader, writer)):
                other.close()
            return answer

    assert asyncio.run(asyncio.wait_for(story(), 30)).split()[1] == b"503"


async def _open(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as our clients do: where many come at once the kernel keeps them waiting."""
    connected = await asyncio.to_thread(connect, path, 30)
    assert connected is not None
    return await asyncio.open_unix_connection(sock=connected)


class _Waiting:
    """An engine that answers nobody."""

    def __init__(self) -> None:
        """Count who asks."""
        self._asked = 0
        self.all_asked = asyncio.Event()

    async def submit_approval(self, _token: str, _source: str, *, whole: bool) -> object:  # noqa: ARG002 - the engine's
        """Keep the caller waiting."""
        self._asked += 1
        if self._asked == PLACES:
            self.all_asked.set()
        return await asyncio.Event().wait()


@asynccontextmanager
async def _service(engine: object, path: Path) -> AsyncIterator[None]:
    """Serve an engine on the socket `path`."""
    ready = asyncio.Event()
    with listen(path) as listener:
        kind = protocol(LocalProtocol, Places())
        server = _LocalServer(_config(application, kind, cast("Engine", engine), print), ready.set, [])
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await ready.wait()
        yield
        server.force_exit = server.should_exit = True
        await task


def test_a_command_sent_twice_is_carried_out_once(served: Plant, alice: Identity) -> None:
    """The same signed bytes lead to one outcome, and its files are given once."""
    with client(served, alice) as other:
        command = other.command(Act.BUNDLE_CREATE, {"site": SITE})
        first, second = other.send(command), other.send(command)
    assert first.state is second.state is State.DONE
    assert first.result == second.result
    assert ("bundle" in first.files, "bundle" in second.files) == (True, False)


def test_signing_needs_an_identity(served: Plant) -> None:
    """A client without a key signs nothing; that is its caller's mistake."""
    with client(served, None) as other, pytest.raises(ValueError, match="identity"):
        other.command(Act.READ_OPEN, {})


def test_nobody_there_is_said_so(plant: Plant, tmp_path: Path) -> None:
    """Where nothing serves, a client hears that, and a socket left behind by a dead server is nobody."""
    home = plant.copy_home(tmp_path / "home").home
    assert SocketTransport.connect(home / "operator.sock") is None
    _leave_dead_socket(home / "operator.sock")
    assert SocketTransport.connect(home / "operator.sock") is None
    with pytest.raises(ClientError) as refused:
        Client.connect(home, None, now, os.urandom)
    assert refused.value.fault is ClientFault.NOT_SERVING


def _leave_dead_socket(path: Path) -> None:
    with listen(path):
        os.link(path, path.with_name("kept"))
    path.with_name("kept").rename(path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_stops_cleanly(plant: Plant, tmp_path: Path, number: signal.Signals) -> None:
    """On a signal the log ends with the stop and a checkpoint over it, the socket is gone, and the code is 0."""
    copy = plant.copy_home(tmp_path / "home")
    with copy.serving() as server:
        copy.issue()
        server.send_signal(number)
        out, err = server.communicate(timeout=120)
        assert (server.returncode, out) == (0, "")
        assert "Traceback" not in err
    assert not (copy.home / "operator.sock").exists()
    with closing(sqlite3.connect(copy.home / "log.sqlite")) as database:
        bodies = [body for (body,) in database.execute("SELECT body FROM entry ORDER BY seq")]
        (covered,) = database.execute("SELECT max(size) FROM checkpoint").fetchone()
    kinds = [json.loads(body)["event"]["type"] for body in bodies]
    assert "stopped" in kinds[-4:]
    assert covered >= kinds.index("stopped", len(kinds) - 4) + 1


def test_a_second_server_is_refused(served: Plant) -> None:
    """A home has one writer: a second server hears that it is in use, and the first goes on."""
    ended = served.ctl("serve")
    assert (ended.code, "home-in-use" in ended.err) == (5, True)
    served.done("status", who="alice")


def test_a_dead_socket_is_replaced_and_a_live_one_is_not(plant: Plant, tmp_path: Path) -> None:
    """What a killed server left is taken over; where something answers, the server does not start."""
    copy = plant.copy_home(tmp_path / "home")
    _leave_dead_socket(copy.home / "operator.sock")
    with copy.serving():
        copy.done("status", who="alice")
    with listen(copy.home / "operator.sock"):
        ended = copy.ctl("serve")
    assert (ended.code, "socket-in-use" in ended.err) == (5, True)


def test_a_home_may_lie_deep(plant: Plant, tmp_path: Path) -> None:
    """A path longer than a socket's address is no obstacle."""
    folder = tmp_path / ("deep-" * 20) / ("deeper-" * 20)
    folder.mkdir(parents=True)
    copy = plant.copy_home(folder / "home")
    with copy.serving():
        copy.done("status", who="alice")


def test_a_socket_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    """Listening in a folder that is not there is an error of the home."""
    with pytest.raises(HomeError) as refused, listen(tmp_path / "nowhere" / "operator.sock"):
        pass
    assert refused.value.fault in set(HomeFault)


def test_the_kernel_says_who_is_there() -> None:
    """The peer's user id is the one the kernel noted."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        assert peer_uid(ours) == os.getuid()


def test_no_core_is_dumped(plant: Plant, tmp_path: Path) -> None:
    """The server may not dump core, and its memory is not its owner's to read."""
    with plant.copy_home(tmp_path / "home").serving() as server:
        limits = Path(f"/proc/{server.pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]
        assert Path(f"/proc/{server.pid}/mem").stat().st_uid == 0


def test_a_killed_worker_costs_one_batch(plant: Plant, tmp_path: Path) -> None:
    """When the process with the HSM dies, a new one logs in with the PIN that is kept, and issuing goes on."""
    with plant.copy_home(tmp_path / "home").serving() as server:
        copy = replace(plant, home=tmp_path / "home")
        assert copy.issue().code == 0
        (worker,) = _children(server.pid)
        os.kill(worker, signal.SIGKILL)
        codes = [copy.issue().code for _ in range(2)]
        assert codes in ([0, 0], [4, 0])
        assert _children(server.pid) != [worker]


class _Broken:
    """An engine with a defect."""

    async def submit_approval(self, _token: str, _source: str, *, whole: bool) -> object:  # noqa: ARG002 - the engine's
        """Fail as no code should."""
        raise KeyError("canary 7741")


def test_a_defect_shows_no_text_to_the_client() -> None:
    """An exception nobody foresaw is an answer without its words; the server's own log hears of it."""
    told: list[Exception] = []
    app = application(cast("Engine", _Broken()), told.append)
    status, body = asyncio.run(_ask(app, b'{"approval":"x"}'))
    assert (status, json.loads(body)["error"]) == (500, "internal")
    assert b"canary" not in body
    assert [type(error) for error in told] == [KeyError]


async def _ask(app: Callable[..., Any], body: bytes) -> tuple[int, bytes]:
    """Put one POST to an ASGI application."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/v1/approvals",
        "raw_path": b"/v1/approvals",
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
        "server": None,
        "client": None,
        "root_path": "",
        "state": {"connection": Connection(Peer(0, 0, 0))},
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def test_the_environment_reaches_nobody(plant: Plant, tmp_path: Path) -> None:
    """A server started with a secret-looking environment passes none of it on to the HSM worker."""
    assert run([*CTL, "--help"]).code == 0
    with plant.copy_home(tmp_path / "home").serving() as server:
        environments = [Path(f"/proc/{child}/environ").read_bytes() for child in _children(server.pid)]
    assert environments
    for found in environments:
        assert not any(f"{name}=".encode() in found for name in ENVIRONMENT)
