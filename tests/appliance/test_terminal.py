"""At a terminal: nothing of a secret is ever on the screen, and the terminal is given back, however the run ends."""

import os
import pty
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.cli.interrupts import ENDING
from tests.support.commandline import CTL, ENVIRONMENT, run
from tests.support.founded import PASSPHRASE, Plant, make_key
from tests.support.softhsm import MODULE, PIN, SoftHsm

_SECONDS = 300
_LOCAL_MODES = 3

_HARNESS = """
import os, signal, sys, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def front(group):
    os.tcsetpgrp(0, group)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
try:
    os.setpgid(child, child)
except PermissionError:  # it did so itself, and runs its program already
    pass
front(child)
print("child", child, flush=True)
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        front(os.getpgrp())
        print("stopped", flush=True)
        sys.stdin.readline()
        front(child)
        os.kill(child, signal.SIGCONT)
        continue
    front(os.getpgrp())
    print("ended", os.waitstatus_to_exitcode(status), flush=True)
    sys.stdin.readline()
    break
"""
"""A shell as far as job control goes: one job in front, put back to the front after it was stopped."""


@dataclass
class Screen:
    """A terminal with a job in front of it; `text` is all that was written to it."""

    master: int
    text: str = ""

    def until(self, what: str, seconds: float = _SECONDS) -> str:
        """Read until `what` is on the screen, and give what came with it."""
        begin, end = len(self.text), time.monotonic() + seconds
        while what not in self.text[begin:]:
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{what!r} never came: {self.text!r}"
            self.text += os.read(self.master, 4096).decode("utf-8", "replace")
        return self.text[begin:]

    def shows(self, what: str) -> None:
        """See that `what` is on the screen, now or soon."""
        if what not in self.text:
            self.until(what)

    def type(self, *lines: str) -> None:
        """Type lines."""
        os.write(self.master, "".join(f"{line}\n" for line in lines).encode())

    def modes(self) -> int:
        """Give the terminal's local modes as they are now."""
        return int(termios.tcgetattr(self.master)[_LOCAL_MODES])

    def echoes(self) -> bool:
        """Whether what is typed now would be shown."""
        return bool(self.modes() & termios.ECHO)

    def job(self) -> int:
        """Give the job's process."""
        self.shows("child ")
        while "\n" not in self.text.split("child ")[1]:
            self.until("\n")
        return int(self.text.split("child ")[1].split()[0])

    def ended(self) -> int:
        """Wait for the job's end and give its exit code."""
        if "ended " not in self.text:
            self.until("ended ")
        while not self.text.rsplit("ended ", 1)[1].strip():
            self.text += os.read(self.master, 4096).decode()
        return int(self.text.rsplit("ended ", 1)[1].split()[0])


@contextmanager
def terminal(*command: str | Path) -> Iterator[Screen]:
    """Run a command as a job at a terminal of its own, with a shell of a kind behind it."""
    child, master = pty.fork()
    if child == 0:
        words = [sys.executable, "-c", _HARNESS, *map(str, command)]
        os.execve(sys.executable, words, ENVIRONMENT)  # noqa: S606 - the child of a terminal
    try:
        yield Screen(master)
    finally:
        os.close(master)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Return a key file under the passphrase."""
    path = tmp_path / "alice.operator"
    make_key(path)
    return path


def show(key: Path) -> list[str]:
    """Give a line that asks for one passphrase and needs no appliance."""
    return [*CTL, "--as", str(key), "operator", "show"]


ASKED = "passphrase of alice.operator: "


def test_one_secret(key: Path) -> None:
    """It is asked for, not shown, and the terminal is as it was afterwards."""
    with terminal(*show(key)) as screen:
        screen.until(ASKED)
        assert not screen.echoes()
        screen.type(PASSPHRASE)
        assert screen.ended() == 0
        assert screen.echoes()
        assert PASSPHRASE not in screen.text


@pytest.mark.parametrize("number", [signal.SIGINT, *ENDING], ids=lambda number: number.name)
def test_every_signal_gives_the_terminal_back(key: Path, number: signal.Signals) -> None:
    """A run that is ended at a prompt ends as interrupted, and what is typed next is seen."""
    with terminal(*show(key)) as screen:
        job = screen.job()
        screen.shows(ASKED)
        assert not screen.echoes()
        os.kill(job, number)
        assert screen.ended() == 130
        assert screen.echoes()
        assert "interrupted" in screen.text


def test_job_control(key: Path) -> None:
    """Stopped, the terminal is as it was; continued, it is silent again and the question stands there anew."""
    with terminal(*show(key)) as screen:
        job = screen.job()
        screen.shows(ASKED)
        for _ in range(2):
            os.kill(job, signal.SIGTSTP)
            screen.until("stopped")
            assert screen.echoes()
            screen.type("fg")
            screen.until(ASKED)
            assert not screen.echoes()
        screen.type(PASSPHRASE)
        assert screen.ended() == 0
        assert PASSPHRASE not in screen.text


_PAGED = """
from appliance.cli import reading
from coldcred.rendering import frame

reading.agree([frame.given(f"line {number}") for number in range(200)], "sign this?")
"""


def test_job_control_between_pages() -> None:
    """Stopped between two pages and continued, the prompt stands there anew and one key, unseen, turns the page."""
    with terminal(sys.executable, "-P", "-c", _PAGED) as screen:
        job = screen.job()
        for _ in range(2):
            screen.until("q leaves --")
            os.kill(job, signal.SIGTSTP)
            screen.until("stopped")
            assert screen.modes() & termios.ECHO
            assert screen.modes() & termios.ICANON
            screen.type("fg")
            screen.until("q leaves --")
            assert not screen.modes() & (termios.ECHO | termios.ICANON)
            os.write(screen.master, b" ")
        screen.until("q leaves --")
        os.write(screen.master, b"q")
        assert screen.ended() != 0
        assert screen.echoes()


def test_what_is_typed_ahead(softhsm: SoftHsm) -> None:
    """Four secrets typed at once are four answers, and none of them is ever on the screen."""
    softhsm.configure()
    variable = next(f"{name}={value}" for name, value in softhsm.environment.items())
    line = [*CTL, "token", "init", "typed-ahead", "--module", MODULE, "--module-env", variable, "--ceremony"]
    parts = ["canary-so-1", "canary-part-one", "canary-part-two"]
    with terminal(*line) as screen:
        screen.until(": ")
        assert not screen.echoes()
        screen.type(*[part for part in parts for _ in range(2)])
        assert screen.ended() == 0, screen.text
        assert "canary" not in screen.text
        assert screen.text.count(": ") >= 2 * len(parts)
        assert screen.echoes()


def test_the_echo_is_off_before_the_first_slow_step(plant: Plant, tmp_path: Path) -> None:
    """What is typed while the appliance reads its log, before its PIN is asked for, is not seen and not lost."""
    copy = plant.copy_home(tmp_path / "home")
    with terminal(*CTL, "--home", copy.home, "serve") as screen:
        job = screen.job()
        _wait(lambda: not screen.echoes())
        screen.type(PIN.decode())
        screen.until("serving on")
        _wait(screen.echoes)
        assert PIN.decode() not in screen.text
        os.kill(job, signal.SIGHUP)
        assert screen.ended() == 0, screen.text
    newest = copy.done("log", "show", "--limit", "1000", "--json", who="carol").json
    assert {"stopped", "checkpoint"} <= {entry["event"]["type"] for entry in newest}


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < end
        select.select([], [], [], 0.01)


def test_nobody_is_asked_for_a_pin_unexpectedly(plant: Plant, tmp_path: Path) -> None:
    """With nothing serving the home it is said so, and a PIN is asked for only after somebody agreed."""
    copy = plant.copy_home(tmp_path / "home")
    line: list[str | Path] = [
        *CTL,
        "--home",
        copy.home,
        "--as",
        copy.people / "alice.operator",
        "key",
        "suspend",
        "x",
        "--reason",
        "y",
    ]
    for answer in ("", PIN.decode()):
        with terminal(*line) as screen:
            screen.until("passphrase of")
            screen.type(PASSPHRASE)
            screen.until("[y/N]: ")
            assert "nothing serves" in screen.text
            screen.type(answer)
            assert screen.ended() == 5
            assert "not-serving" in screen.text
            assert "PIN of token" not in screen.text
            assert PIN.decode() not in screen.text
    with terminal(*line) as screen:
        screen.until("passphrase of")
        screen.type(PASSPHRASE)
        screen.until("[y/N]: ")
        screen.type("y")
        screen.until("PIN of token")
        screen.type(PIN.decode())
        assert screen.ended() == 1, screen.text
        assert "unknown-key" in screen.text


def test_without_a_terminal_no_pin_is_asked_for(plant: Plant, tmp_path: Path) -> None:
    """A script whose service is down hears so, with what to do."""
    copy = plant.copy_home(tmp_path / "home")
    secrets = {"--passphrase-fd": PASSPHRASE}
    ended = run([*CTL, "--home", copy.home, "--as", copy.people / "alice.operator", "key", "list"], secrets=secrets)
    assert ended.code in {0, 5}
    suspends = ["key", "suspend", "x", "--reason", "y", "--json"]
    ended = run([*CTL, "--home", copy.home, "--as", copy.people / "alice.operator", *suspends], secrets=secrets)
    assert (ended.code, ended.json["error"]) == (5, "not-serving"), ended
