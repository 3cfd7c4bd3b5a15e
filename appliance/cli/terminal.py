"""The terminal of one run: silent from before the first secret until after the last.

Between two prompts, and while something slow goes on, people type ahead; what they type may be half of a ceremony's
PIN, with the other person looking on. So the echo is off for the whole of it, and the answer to a visible question is
written by this program.
"""

import os
import signal
import termios
from collections.abc import Collection
from contextlib import suppress
from types import FrameType
from typing import Any

from appliance.cli import secret_input
from appliance.cli.secret_input import SecretError, SecretFault
from coldcred import memory

_ERASE_LINE = b"\r\x1b[K"
_YES = frozenset({b"y", b"yes"})
_LOCAL_MODES = 3


class Terminal:
    """The controlling terminal, whatever standard input is; taken once, given back when the run ends.

    Needs the main thread, since it follows job control: stopped, the terminal is as it was; continued, silent again.
    """

    def __init__(self) -> None:
        """Take nothing yet."""
        self._descriptor: int | None = None
        self._before: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._question = b""
        self._by_line = True
        self._resumed = False

    def __repr__(self) -> str:
        return f"Terminal(taken={self._descriptor is not None})"

    @staticmethod
    def is_there() -> bool:
        """Whether there is a terminal to ask at."""
        try:
            os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        except OSError:
            return False
        return True

    def hush(self) -> int:
        """Turn the echo off, if there is a terminal and it is not off yet, and give its descriptor (`SecretError`).

        What was typed before is thrown away: it stands on the screen, and was meant for somebody else.
        """
        if self._descriptor is None:
            try:
                found = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError as error:
                raise SecretError(SecretFault.NO_TERMINAL, "no terminal to ask at") from error
            self._before = termios.tcgetattr(found)
            self._descriptor = found
            for number, handler in ((signal.SIGTSTP, self._stopped), (signal.SIGCONT, self._continued)):
                self._handlers[number] = signal.signal(number, handler)
            self._silence(termios.TCSAFLUSH)
        return self._descriptor

    def release(self) -> None:
        """Give the terminal back as it was."""
        if self._descriptor is None:
            return
        self._restore()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
        os.close(self._descriptor)
        self._descriptor = None

    def secret(self, what: str, *, new: bool = False) -> bytearray:
        """Ask for a secret without showing what is typed; the question is erased after. Raises `SecretError`."""
        try:
            return secret_input.from_descriptor(self._ask(what), what, new=new)
        finally:
            self._answered(_ERASE_LINE)

    def new_secret(self, what: str) -> bytearray:
        """Ask for a new secret two times, since nobody sees what was typed."""
        first, second = self.secret(what, new=True), self.secret(f"{what} again", new=True)
        same = first == second
        memory.wipe(second)
        if not same:
            memory.wipe(first)
            raise SecretError(SecretFault.DIFFERS, f"the two times the {what} was typed differ")
        return first

    def agrees(self, question: str) -> bool:
        """Ask a question that only `y` or `yes` agrees to, and write down which it was; nothing else that was typed."""
        answer = bytearray()
        try:
            answer = secret_input.line(self._ask(f"{question} [y/N]"), question)
        finally:
            agreed = bytes(answer).strip().lower() in _YES
            memory.wipe(answer)
            self._answered(b"yes\r\n" if agreed else b"no\r\n")
        return agreed

    def key(self, prompt: str, wanted: Collection[bytes]) -> bytes:
        """Wait for one of these keys, none of which is shown, or for the end (empty); the prompt is erased after.

        What was typed before the prompt stood there is none of them.
        """
        self.hush()
        self._by_line = False
        self._silence(termios.TCSAFLUSH)
        descriptor = self._put(prompt)
        try:
            while (pressed := os.read(descriptor, 1)) and pressed not in wanted:
                pass
        finally:
            self._by_line = True
            self._answered(b"\r" + b" " * len(self._question) + b"\r")
            self._silence(termios.TCSADRAIN)
        return pressed

    def _ask(self, what: str) -> int:
        return self._put(f"{what}: ")

    def _put(self, question: str) -> int:
        descriptor = self.hush()
        self._question = question.encode()
        os.write(descriptor, self._question)
        return descriptor

    def _answered(self, written: bytes) -> None:
        self._question = b""
        if self._descriptor is not None:
            with suppress(OSError):
                os.write(self._descriptor, written)

    def _silence(self, when: int) -> None:
        """Have nothing shown that is typed, and have it come by line or, while a key is waited for, by key."""
        if self._descriptor is not None:
            silent = termios.tcgetattr(self._descriptor)
            silent[_LOCAL_MODES] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON)
            silent[_LOCAL_MODES] |= termios.ICANON if self._by_line else 0
            termios.tcsetattr(self._descriptor, when, silent)

    def _restore(self) -> None:
        if self._descriptor is not None:
            # A terminal that is gone has no modes to restore. One where much is left to be read keeps it.
            with suppress(termios.error, OSError):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def _stopped(self, _number: int, _frame: FrameType | None) -> None:
        """Stop as the person asked, with the terminal as it was; here again, the run was continued."""
        self._restore()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        self._resumed = False
        os.kill(os.getpid(), signal.SIGTSTP)
        if not self._resumed:  # a group that no shell watches is not stopped at all
            self._continued(signal.SIGCONT, None)

    def _continued(self, _number: int, _frame: FrameType | None) -> None:
        """Be silent again and repeat the question, ready to be stopped once more before anybody can see it."""
        self._resumed = True
        signal.signal(signal.SIGTSTP, self._stopped)
        with suppress(termios.error, OSError):
            self._silence(termios.TCSADRAIN)
            if self._question and self._descriptor is not None:
                os.write(self._descriptor, _ERASE_LINE + self._question)
