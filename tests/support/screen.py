"""A terminal of 80 columns and 24 rows, at which a program asks and somebody types."""

import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.commandline import ENVIRONMENT

COLUMNS, ROWS = 80, 24


@dataclass
class Terminal:
    """What a program wrote, and what is typed to it."""

    master: int
    screen: bytearray = field(default_factory=bytearray)

    def read(self) -> bool:
        """Take what the program wrote; False once it is gone."""
        try:
            part = os.read(self.master, 65536)
        except OSError:
            return False
        self.screen += part
        return bool(part)

    def type(self, text: str) -> None:
        """Type."""
        os.write(self.master, text.encode())


def at_terminal(
    command: list[str], answer: Callable[[Terminal], None], columns: int = COLUMNS, rows: int = ROWS
) -> tuple[int, str]:
    """Run a command at a terminal; `answer` is called after each part of output. Gives its code and the output."""
    child, master = pty.fork()
    if child == 0:
        fcntl.ioctl(sys.__stdin__.fileno() if sys.__stdin__ else 0, termios.TIOCSWINSZ, size(columns, rows))
        os.execve(command[0], command, ENVIRONMENT)  # noqa: S606 - the child of a terminal
    terminal = Terminal(master)
    while terminal.read():
        answer(terminal)
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), terminal.screen.decode()


def size(columns: int, rows: int) -> bytes:
    """Give a terminal's size as the system takes it."""
    return struct.pack("HHHH", rows, columns, 0, 0)
