"""What the worker process is given, what it keeps to itself, and who cannot use it."""

import ctypes
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from coldcred.charter import Purpose
from hsm import process
from hsm.errors import WorkerLost
from hsm.supervisor import WorkerKeyStore
from hsm.uri import TokenUri
from tests.support.hsm_inputs import CASES, admitted, signatures
from tests.support.softhsm import PIN, SoftHsm

KEY = b"0123456789abcdef"
CANARIES = (PIN, PIN.hex().encode(), PIN.decode().encode("utf-16-le"))


@pytest.fixture
def store(softhsm: SoftHsm) -> WorkerKeyStore:
    """Return a store that has signed, so that its worker is in its usual state."""
    store = softhsm.store()
    public = admitted(store)
    signatures(store.sign(KEY, CASES[Purpose.TOKENS].inputs(1, public.thumbprint)))
    return store


@pytest.fixture
def proc(store: WorkerKeyStore) -> Path:
    """Return the worker's folder under /proc."""
    return Path("/proc") / str(store.worker_pid)


_PROBE = """
import json, os, sys
descriptors = {}
for number in range(4096):
    try:
        descriptors[number] = os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:
        pass
with open(sys.argv[1], "w") as file:
    json.dump({"environment": dict(os.environ), "descriptors": descriptors, "arguments": sys.argv[2:]}, file)
"""


def given_to_a_worker(softhsm: SoftHsm) -> dict[str, Any]:
    """Return what a process in the worker's place is given: environment, descriptors and arguments."""
    seen = softhsm.folder / "seen.json"
    store = softhsm.store(command=(sys.executable, "-I", "-c", _PROBE, str(seen)))
    with pytest.raises(WorkerLost):
        store.inventory()
    found: dict[str, Any] = json.loads(seen.read_text())
    return found


def test_the_worker_is_given_nothing_but_its_variables(softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the engine's environment nothing reaches the worker; what it has is what the settings name."""
    for name in ("PYTHONPATH", "HOME", "COLDCRED_SECRET", "LC_ALL"):
        monkeypatch.setenv(name, "leak")
    environment = given_to_a_worker(softhsm)["environment"]
    environment.pop("LC_CTYPE", None)  # the interpreter sets it for itself where there is no locale
    assert environment == softhsm.environment


@pytest.mark.parametrize("name", ["LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONSTARTUP", "PATH", "OPENSSL_CONF"])
def test_variables_that_load_code_are_refused(softhsm: SoftHsm, name: str) -> None:
    """Only variables of the closed list can be set at all."""
    with pytest.raises(ValueError, match=name):
        WorkerKeyStore(softhsm.module, softhsm.uri, softhsm.pin, environment={name: "/tmp/evil.so"})


def test_the_module_is_an_absolute_path_and_the_only_one(softhsm: SoftHsm) -> None:
    """A relative library would be searched for; a URI that names another library than the settings is a mistake."""
    with pytest.raises(ValueError, match="absolute"):
        WorkerKeyStore("libsofthsm2.so", softhsm.uri, softhsm.pin)
    with pytest.raises(ValueError, match="another"):
        WorkerKeyStore(softhsm.module, TokenUri(token="x", module="/other.so"), softhsm.pin)


def test_the_worker_inherits_no_descriptor_but_its_socket(softhsm: SoftHsm, tmp_path: Path) -> None:
    """Files, pipes and sockets that are open in the engine, even inheritable ones, are not open in the worker."""
    with (tmp_path / "operator.key").open("w") as file, socket.socket() as other:
        os.set_inheritable(file.fileno(), True)
        other.set_inheritable(True)
        found = given_to_a_worker(softhsm)
    descriptors = {int(number): target for number, target in found["descriptors"].items()}
    assert {number: target for number, target in descriptors.items() if number < 3} == dict.fromkeys(
        range(3), "/dev/null"
    )
    (number,) = descriptors.keys() - range(3)
    assert descriptors[number].startswith("socket:")
    assert found["arguments"] == [str(number)]


def test_the_worker_leaves_no_core_and_gains_no_privilege(proc: Path) -> None:
    """The limit for core files is nought, and a set-uid program started from it would gain nothing."""
    limits = (proc / "limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", (proc / "status").read_text(), re.MULTILINE)


def test_the_worker_is_not_dumpable() -> None:
    """After `lock_down` the kernel says so: other processes of the user may not read the memory or attach."""
    program = """
import ctypes, hsm.worker
system = ctypes.CDLL(None)
before = system.prctl(3, 0, 0, 0, 0)
hsm.worker.lock_down()
print(before, system.prctl(3, 0, 0, 0, 0))
"""
    run = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1", "0"]


def test_the_worker_has_a_session_of_its_own(proc: Path) -> None:
    """The terminal's interrupt does not reach it: it leads its own session and process group."""
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    process_group, session = fields[2], fields[3]
    assert (process_group, session) == (proc.name, proc.name)


def test_the_pin_is_nowhere_to_be_seen(store: WorkerKeyStore, proc: Path) -> None:
    """Not in arguments, environment or any `repr`; after login not in the worker's memory, which only root may read."""
    shown = [repr(store), str(store), (proc / "cmdline").read_bytes().decode(), repr(vars(store))]
    assert not any(PIN.decode() in text for text in shown)
    if os.geteuid() != 0:
        for name in ("mem", "environ", "maps"):
            with pytest.raises(PermissionError):
                (proc / name).read_bytes()
        return
    assert PIN not in (proc / "environ").read_bytes()
    memory = _memory(proc)
    assert b"hsm.worker" in memory
    assert [canary for canary in CANARIES if canary in memory] == []


def _memory(proc: Path) -> bytes:
    found = []
    with (proc / "mem").open("rb", buffering=0) as memory:
        for line in (proc / "maps").read_text().splitlines():
            span, permissions, *_ = line.split()
            if permissions.startswith("rw"):
                start, end = (int(part, 16) for part in span.split("-"))
                memory.seek(start)
                found.append(memory.read(end - start))
    return b"".join(found)


def test_the_probe_of_memory_sees_what_is_there(softhsm: SoftHsm) -> None:
    """The search that finds no PIN does find the label of the token, which is no secret."""
    store = softhsm.store()
    store.inventory()
    if os.geteuid() == 0:
        assert softhsm.label.encode() in _memory(Path("/proc") / str(store.worker_pid))


def test_a_forked_child_cannot_sign(store: WorkerKeyStore) -> None:
    """0 of 100 forked children get a signature or close the parent's store; the parent signs on."""
    public = next(key.public for key in store.inventory().keys)
    assert public is not None
    store.admit(KEY, CASES[Purpose.TOKENS].charter, public)
    data = CASES[Purpose.TOKENS].make(2, public.thumbprint)
    pid = store.worker_pid
    for _ in range(100):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                refused = isinstance(store.sign(KEY, [data])[0], WorkerLost)
                store.close()
                status = 0 if refused else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    signatures(store.sign(KEY, [data]))
    assert store.worker_pid == pid


def test_an_executed_child_has_no_way_to_the_worker(store: WorkerKeyStore) -> None:
    """A program started with every inheritable descriptor open finds no socket among them."""
    program = "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if n > '2'])"
    run = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False, close_fds=False
    )
    assert "socket:" not in run.stdout
    assert store.worker_pid is not None


def _speak(data: bytes) -> tuple[bytes, int]:
    """Start a worker by hand, send it bytes, and give what it answered and its exit status."""
    ours, theirs = socket.socketpair()
    number = theirs.fileno()
    with ours, subprocess.Popen((*process.COMMAND, str(number)), pass_fds=(number,), stderr=subprocess.PIPE) as child:
        theirs.close()
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionResetError):  # it left without reading to the end
            answer = ours.recv(4096)
        _, talk = child.communicate(timeout=10)
    assert talk == b""
    return answer, child.returncode


def _frame(body: bytes) -> bytes:
    return b"J" + len(body).to_bytes(4) + body


@pytest.mark.parametrize(
    "data",
    [
        b"garbage, not a frame",
        _frame(b"nope"),
        _frame(b"{}"),
        _frame(b"[]"),
        _frame(b'{"do":"dance"}'),
        _frame(b'{"do":"inventory","x":1}'),
        _frame(b'{"do":"open","module":"/x","token":"pkcs11:token=a?pin-value=1"}'),
        _frame(b'{"do":"sign","inputs":["#"],"key_id":"AA"}'),
        b"S\x00\x00\x00\x01x",
        b"J\xff\xff\xff\xff",
    ],
)
def test_the_worker_does_not_talk_to_strangers(data: bytes) -> None:
    """What is no request ends the worker with a status of its own, without an answer or a traceback."""
    assert _speak(data) == (b"", 3)


def test_a_worker_that_hears_nothing_ends_well() -> None:
    """A socket that closes before the first request is an orderly end."""
    assert _speak(b"") == (b"", 0)


@pytest.mark.parametrize("arguments", [(), ("x",), ("1", "2")])
def test_the_worker_is_started_by_the_supervisor_only(arguments: tuple[str, ...]) -> None:
    """Without the one argument it says by its status that this is misuse."""
    run = subprocess.run((*process.COMMAND, *arguments), check=False, capture_output=True)
    assert (run.returncode, run.stdout, run.stderr) == (64, b"", b"")


def test_requests_out_of_order_are_refused() -> None:
    """A request before the login is an error that asks for a new login, and the worker goes on."""
    answer, status = _speak(_frame(b'{"do":"inventory"}'))
    assert b'"ckr":"CKR_USER_NOT_LOGGED_IN"' in answer
    assert status == 0


def test_prctl_is_really_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel refuses to lock the process down, the worker does not start."""
    from hsm import worker  # noqa: PLC0415 - loads the binding

    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: type("System", (), {"prctl": lambda *_: -1})())
    assert worker.main(["0"]) == worker.EXIT_UNLOCKED
