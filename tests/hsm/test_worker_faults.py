"""A worker that dies, hangs or goes blind costs one batch, and nothing is signed twice."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from coldcred.charter import Purpose, StatusCharter
from coldcred.keys import Algorithm
from hsm.errors import (
    CharterRefused,
    HsmError,
    KeyMissing,
    KeyRemains,
    SignatureWrong,
    TokenFault,
    WorkerLost,
    WorkerTimeout,
)
from hsm.keystore import KeyOrder
from hsm.process import WorkerProcess
from hsm.supervisor import WorkerEvent
from tests.support.hsm_inputs import CASES, admitted, log_input, sign, signatures, tree_input
from tests.support.softhsm import SoftHsm, is_dead, kill_worker
from tests.support.tree import ROOT

KEY = b"0123456789abcdef"
RESPAWN = 3.0
"""Seconds within which a new worker must have signed, beside three times what the first one took."""


def gone(pid: int) -> bool:
    """Whether no process, not even a zombie, has this id."""
    return not Path(f"/proc/{pid}").exists()


def eventually(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.02)
    return True


def notes_of(path: Path) -> Counter[str]:
    """Return how often each input was given to the token to sign."""
    return Counter(line.split()[0] for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    ("order", "error", "seconds"),
    [
        ("kill@3", WorkerLost, 2.0),
        ("crash@3", WorkerLost, 2.0),
        ("hang@3", WorkerTimeout, 2.5),
        ("sleep@3", WorkerTimeout, 2.5),
    ],
)
def test_a_fault_in_a_batch_costs_that_batch(
    softhsm: SoftHsm, order: str, error: type[HsmError], seconds: float
) -> None:
    """The batch in hand is refused in time as a whole, a new worker signs the next within 3 s, nothing twice."""
    began = time.monotonic()
    store, notes = softhsm.spied_store(order, "once", timeout=1.5)
    public = admitted(store)
    slack = 3 * (time.monotonic() - began)  # what this machine takes for a worker
    inputs = CASES[Purpose.TOKENS].inputs(10, public.thumbprint)
    first = store.worker_pid
    assert first is not None

    began = time.monotonic()
    answers = store.sign(KEY, inputs[:5])
    assert time.monotonic() - began < seconds + slack
    assert [type(answer) for answer in answers] == [error] * 5
    assert gone(first)

    began = time.monotonic()
    for signature, data in zip(signatures(store.sign(KEY, inputs[5:])), inputs[5:], strict=True):
        public.verify(signature, data)
    assert time.monotonic() - began < RESPAWN + slack
    assert store.worker_pid != first
    counted = notes_of(notes)
    assert len(counted) == 3 + 5
    assert set(counted.values()) == {1}


def test_kills_at_any_moment_lose_batches_and_repeat_none(softhsm: SoftHsm) -> None:
    """With the worker killed again and again while signing, each input goes to the token at most once."""
    store, notes = softhsm.spied_store()
    public = admitted(store)
    inputs = CASES[Purpose.TOKENS].inputs(600, public.thumbprint)
    done = threading.Event()

    def kill_often() -> None:
        while not done.wait(0.13):
            pid = store.worker_pid
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_often)
    killer.start()
    answers: list[bytes | HsmError] = []
    for start in range(0, len(inputs), 20):
        answers += store.sign(KEY, inputs[start : start + 20])
    done.set()
    killer.join()

    good = [(answer, data) for answer, data in zip(answers, inputs, strict=True) if isinstance(answer, bytes)]
    for signature, data in good:
        public.verify(signature, data)
    assert {type(answer) for answer in answers} <= {bytes, WorkerLost}
    assert max(notes_of(notes).values()) == 1
    assert len(good) <= len(notes_of(notes))
    if store.worker_pid is not None:
        kill_worker(store)  # the last signal may be on its way
    signatures(store.sign(KEY, [CASES[Purpose.TOKENS].make(1000, public.thumbprint)]))


def test_a_worker_that_died_idle_is_replaced_unseen(softhsm: SoftHsm) -> None:
    """Nothing was in hand, so the next batch is simply signed, by a new worker."""
    events: list[WorkerEvent] = []
    store = softhsm.store(observer=lambda event, _: events.append(event))
    public = admitted(store)
    kill_worker(store)
    signatures(store.sign(KEY, CASES[Purpose.TOKENS].inputs(1, public.thumbprint)))
    again = [WorkerEvent.STARTED, WorkerEvent.LOGGED_IN]
    assert events == [*again, WorkerEvent.LOST, *again]


def test_a_stopped_worker_is_killed_not_waited_for(softhsm: SoftHsm) -> None:
    """SIGSTOP from outside: the call ends in time with `WorkerTimeout`, the process is gone, the next call works."""
    began = time.monotonic()
    store = softhsm.store(timeout=1.0)
    public = admitted(store)
    slack = 3 * (time.monotonic() - began)
    pid = store.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    inputs = CASES[Purpose.TOKENS].inputs(2, public.thumbprint)
    began = time.monotonic()
    assert isinstance(store.sign(KEY, inputs[:1])[0], WorkerTimeout)
    assert time.monotonic() - began < 2.0 + slack
    assert gone(pid)
    signatures(store.sign(KEY, inputs[1:]))


def test_a_worker_remembers_what_its_predecessor_may_have_signed(softhsm: SoftHsm) -> None:
    """A checkpoint that was in hand at a crash binds the next worker, signed or not."""
    store, _ = softhsm.spied_store("kill@2", "once")
    admitted(store, Purpose.LOG)
    signatures(sign(store, KEY, [tree_input(5)]))
    assert isinstance(sign(store, KEY, [tree_input(9)])[0], WorkerLost)
    assert isinstance(store.sign(KEY, [tree_input(8)])[0], CharterRefused)
    assert isinstance(store.sign(KEY, [log_input(9, root=b"x" * 32)])[0], CharterRefused)
    signatures(sign(store, KEY, [tree_input(9)]))


@pytest.mark.parametrize(
    ("exception", "stays"),
    [
        ("ObjectHandleInvalid", False),
        ("SessionHandleInvalid", False),
        ("GeneralError", False),
        ("DeviceRemoved", False),
        ("UserNotLoggedIn", False),
        ("DeviceMemory", True),
        ("DataLenRange", True),
    ],
)
def test_a_fault_is_answered_by_what_its_class_says(softhsm: SoftHsm, exception: str, stays: bool) -> None:  # noqa: FBT001 - a case
    """A stale or logged-out worker is replaced and the rest of its batch not sent; a sound one goes on."""
    store, notes = softhsm.spied_store(f"{exception}@2", "once")
    public = admitted(store)
    pid = store.worker_pid
    inputs = CASES[Purpose.TOKENS].inputs(6, public.thumbprint)
    answers = store.sign(KEY, inputs[:4])
    assert [isinstance(answer, bytes) for answer in answers] == (
        [True, False, True, True] if stays else [True] + [False] * 3
    )
    assert notes_of(notes).total() == (4 if stays else 2)
    signatures(store.sign(KEY, inputs[4:]))
    assert (store.worker_pid == pid) is stays


def test_a_wrong_signature_is_withheld(softhsm: SoftHsm) -> None:
    """A signature with a flipped bit never leaves the store; the worker, which may hold a damaged key, is replaced."""
    store, _ = softhsm.spied_store("flip@2", "once")
    public = admitted(store)
    inputs = CASES[Purpose.TOKENS].inputs(4, public.thumbprint)
    answers = store.sign(KEY, inputs[:3])
    assert [type(answer) for answer in answers] == [bytes, SignatureWrong, bytes]
    signatures(store.sign(KEY, inputs[3:]))


def test_a_token_taken_away_and_put_back_is_served_again(softhsm: SoftHsm) -> None:
    """Refusals within 5 s while it is away, a good signature within 15 s of its return, without a restart."""
    began = time.monotonic()
    store = softhsm.store()
    public = admitted(store)
    inputs = CASES[Purpose.TOKENS].inputs(9, public.thumbprint)
    signatures(store.sign(KEY, inputs[:1]))
    slack = 3 * (time.monotonic() - began)
    away = softhsm.folder / "away"
    softhsm.tokens.rename(away)
    for data in inputs[1:4]:
        began = time.monotonic()
        (answer,) = store.sign(KEY, [data])
        assert isinstance(answer, HsmError)
        assert time.monotonic() - began < 5.0 + slack
    with pytest.raises(HsmError):
        store.inventory()
    away.rename(softhsm.tokens)
    began = time.monotonic()
    while not isinstance(store.sign(KEY, inputs[8:])[0], bytes):
        assert time.monotonic() - began < 15.0 + slack
    assert store.inventory().keys[0].public == public


def test_a_token_that_was_away_unnoticed_is_found_again(softhsm: SoftHsm) -> None:
    """A token that left and came back between two calls costs one batch at most; no inventory is wrongly empty."""
    store = softhsm.store()
    public = admitted(store)
    inputs = CASES[Purpose.TOKENS].inputs(9, public.thumbprint)
    away = softhsm.folder / "away"
    softhsm.tokens.rename(away)
    away.rename(softhsm.tokens)
    assert [key.public for key in store.inventory().keys] == [public]
    softhsm.tokens.rename(away)
    away.rename(softhsm.tokens)
    store.sign(KEY, inputs[:1])
    signatures(store.sign(KEY, inputs[1:]))


def test_a_key_that_comes_back_is_found_again(softhsm: SoftHsm) -> None:
    """A key whose file is gone when the worker starts is `KeyMissing`, alone; restored, it signs again."""
    store = softhsm.store()
    public = admitted(store)
    log_key = b"the log key's id"
    log_public = admitted(store, Purpose.LOG, log_key)
    saved = softhsm.folder / "saved"
    shutil.copytree(softhsm.tokens, saved)
    store.close()

    # Which two files are the token key's: those that are there no more once it is destroyed.
    other = softhsm.store()
    before = set(softhsm.object_files())
    other.destroy(KEY)
    removed = before - set(softhsm.object_files())
    other.close()
    shutil.rmtree(softhsm.tokens)
    shutil.copytree(saved, softhsm.tokens)

    store = softhsm.store()
    store.admit(KEY, CASES[Purpose.TOKENS].charter, public)
    store.admit(log_key, CASES[Purpose.LOG].charter, log_public)
    for path in removed:
        path.unlink()
    kill_worker(store)
    inputs = CASES[Purpose.TOKENS].inputs(3, public.thumbprint)
    assert isinstance(store.sign(KEY, inputs[:1])[0], KeyMissing)
    signatures(sign(store, log_key, [tree_input(1)]))
    for path in removed:
        shutil.copy(saved / path.relative_to(softhsm.tokens), path)
    assert isinstance(store.sign(KEY, inputs[:1])[0], KeyMissing | bytes)
    signatures(store.sign(KEY, inputs[1:]))


@pytest.mark.parametrize("order", ["keep", "return"])
def test_a_destroyed_key_that_returns_is_an_alarm(softhsm: SoftHsm, order: str) -> None:
    """A module that reports success and keeps the object, or has it again when it starts anew, is found out."""
    store, _ = softhsm.spied_store(order)
    admitted(store)
    with pytest.raises(KeyRemains, match=KEY.hex()):
        store.destroy(KEY)


def test_close_leaves_no_process(softhsm: SoftHsm) -> None:
    """After `close` the worker's process is gone, its files closed."""
    store = softhsm.store()
    store.inventory()
    pid = store.worker_pid
    assert pid is not None
    store.close()
    assert gone(pid)


@contextmanager
def engine(softhsm: SoftHsm, *orders: str) -> Generator[tuple["subprocess.Popen[str]", int]]:
    """Run a process that owns a store, is asked to sign at once, and prints its worker's id before that."""
    program = f"""
import sys
sys.path.append({str(ROOT)!r})
from pathlib import Path
from tests.support.softhsm import SoftHsm
from tests.support.hsm_inputs import CASES, admitted
from coldcred.charter import Purpose, StatusCharter
from coldcred.keys import Algorithm
softhsm = SoftHsm(Path({str(softhsm.folder)!r}))
store, _ = softhsm.spied_store(*{orders!r}, timeout=60)
public = admitted(store)
print(store.worker_pid, flush=True)
store.sign({KEY!r}, CASES[Purpose.TOKENS].inputs(1, public.thumbprint))
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("orders", [(), ("sleep@1",)])
def test_a_worker_does_not_outlive_its_engine(softhsm: SoftHsm, orders: tuple[str, ...]) -> None:
    """When the engine is killed, the worker ends by itself: at once when idle, soon when the token's call hangs."""
    with engine(softhsm, *orders) as (process, worker):
        assert not gone(worker)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert eventually(lambda: is_dead(worker))


def test_signals_for_the_service_leave_the_worker_alone(softhsm: SoftHsm) -> None:
    """SIGTERM, SIGINT and SIGHUP go to a whole service; the worker stays until the engine lets it go."""
    store = softhsm.store()
    public = admitted(store)
    pid = store.worker_pid
    assert pid is not None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(pid, number)
    signatures(store.sign(KEY, CASES[Purpose.TOKENS].inputs(1, public.thumbprint)))
    assert store.worker_pid == pid


class _Interrupted(Exception):
    """Raised by a signal handler in the middle of a request."""


def test_an_interrupted_request_does_not_shift_the_answers(softhsm: SoftHsm) -> None:
    """When the calling thread is interrupted while it waits, the next call does not read the earlier answer."""
    store, notes = softhsm.spied_store("hang@1", "once")
    public = admitted(store)
    inputs = CASES[Purpose.TOKENS].inputs(2, public.thumbprint)

    def interrupt(*_: object) -> None:
        raise _Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(_Interrupted):
            store.sign(KEY, inputs[:1])
    finally:
        signal.signal(signal.SIGALRM, before)
    (signature,) = signatures(store.sign(KEY, inputs[1:]))
    public.verify(signature, inputs[1])
    assert set(notes_of(notes).values()) == {1}


@pytest.mark.parametrize(
    "command",
    [
        ("/bin/true",),
        ("/bin/sh", "-c", "exit 7", "sh"),
        ("/bin/sh", "-c", "printf 'no frame at all' >&$1; exec sleep 60", "sh"),
        ("/bin/sh", "-c", r"printf 'J\0\0\0\002{}' >&$1; exec sleep 60", "sh"),
        ("/bin/sh", "-c", r"printf 'J\377\377\377\377' >&$1; exec sleep 60", "sh"),
        ("/nonexistent/python",),
    ],
)
def test_a_worker_that_is_none_is_lost(softhsm: SoftHsm, command: tuple[str, ...]) -> None:
    """A process that ends, babbles or cannot be started is `WorkerLost` in a moment, and ended."""
    began = time.monotonic()
    admitted(softhsm.store())
    good = time.monotonic() - began
    store = softhsm.store(command=command)
    began = time.monotonic()
    with pytest.raises(WorkerLost):
        store.inventory()
    assert time.monotonic() - began < 2.0 + 3 * good
    assert store.worker_pid is None


def test_a_fault_says_how_the_worker_ended(softhsm: SoftHsm) -> None:
    """The sentence names the signal, which is what a person needs first."""
    store, _ = softhsm.spied_store("crash@1")
    public = admitted(store)
    (answer,) = store.sign(KEY, CASES[Purpose.TOKENS].inputs(1, public.thumbprint))
    assert isinstance(answer, WorkerLost)
    assert "SIGSEGV" in str(answer)


def test_a_token_fault_names_the_return_code(softhsm: SoftHsm) -> None:
    """The standard's name of the code stands in the error, beside the sentence."""
    store, _ = softhsm.spied_store("DeviceError@1")
    public = admitted(store)
    (answer,) = store.sign(KEY, CASES[Purpose.TOKENS].inputs(1, public.thumbprint))
    assert isinstance(answer, TokenFault)
    assert answer.ckr == "CKR_DEVICE_ERROR"
    assert "CKR_DEVICE_ERROR" in str(answer)


def test_a_charter_that_cannot_be_read_is_refused(softhsm: SoftHsm) -> None:
    """A charter built by hand that no reader takes is refused by name; the worker stays and makes no key."""
    store = softhsm.store()
    store.inventory()
    pid = store.worker_pid
    with pytest.raises(CharterRefused, match="https URI"):
        store.generate(KeyOrder(KEY, StatusCharter(Algorithm.ES256, "not a uri")))
    assert store.worker_pid == pid
    assert store.inventory().keys == ()


@pytest.mark.parametrize("script", ["exec sleep 60", "printf x >&$1; exec sleep 60", "exit 3"])
def test_a_process_that_failed_is_ended_by_the_failure_itself(script: str) -> None:
    """Whoever asks once, without a supervisor, has no process left over after a timeout or a loss."""
    worker = WorkerProcess({}, command=("/bin/sh", "-c", script, "sh"))
    with pytest.raises((WorkerLost, WorkerTimeout)):
        worker.ask({"do": "tokens"}, timeout=0.3)
    assert gone(worker.pid)
    worker.close()


LARGE_ANSWER = """
import socket, struct, sys
with socket.socket(fileno=int(sys.argv[1])) as channel:
    channel.recv(65536)
    body = b'{"ok":[' + b",".join([b'{"at":1}'] * 800000) + b"]}"
    channel.sendall(struct.pack(">cI", b"J", len(body)) + body)
    channel.recv(1)
"""


def test_an_answer_too_large_to_be_read_in_time_is_not_read() -> None:
    """A worker that answers with 800,000 members is ended at the head of its frame, and is lost, not late."""
    worker = WorkerProcess({}, command=(sys.executable, "-I", "-c", LARGE_ANSWER))
    with pytest.raises(WorkerLost, match="no sense"):
        worker.sign(KEY, [b"x"], timeout=30)
    assert not worker.alive()
