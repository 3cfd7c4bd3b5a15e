"""Secrets come from the terminal, unseen, or from a file descriptor; never from arguments or the environment."""

import os
import termios
from enum import StrEnum

from coldcred import memory

LONGEST = 1024  # bytes

_LINE_END = ord("\n")
_ERASE_LINE = b"\r\x1b[K"


class SecretFault(StrEnum):
    """Why a secret did not arrive: closed."""

    NO_TERMINAL = "no-terminal"
    BAD_DESCRIPTOR = "secret-descriptor"
    EMPTY = "secret-empty"
    TOO_LONG = "secret-too-long"
    DIFFERS = "secret-differs"
    PART = "pin-part-unusable"
    CREDENTIAL = "credential-unusable"
    CEREMONY = "credential-for-ceremony"


class SecretError(Exception):
    """A secret could not be read; nothing was done."""

    def __init__(self, fault: SecretFault, detail: str) -> None:
        """Name the fault and say what was found."""
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail

    @property
    def id(self) -> str:
        """The fault's id."""
        return self.fault.value


def from_descriptor(descriptor: int, what: str) -> bytearray:
    """Read one line from a descriptor, without its end; a second secret may follow on the next line.

    Byte by byte into a place off the swap, then into an array of its length that the caller wipes: nothing is read
    ahead, and no array grows, which would leave copies behind.
    """
    memory.guard()
    place = bytearray(LONGEST + 1)
    memory.hold(place)
    view, length = memoryview(place), 0
    try:
        while os.readv(descriptor, [view[length : length + 1]]) and place[length] != _LINE_END:
            length += 1
            if length > LONGEST:
                raise SecretError(SecretFault.TOO_LONG, f"the {what} is longer than {LONGEST} bytes")
        secret = bytearray(view[:length])
        memory.hold(secret)
    except OSError as error:
        raise SecretError(SecretFault.BAD_DESCRIPTOR, f"descriptor {descriptor}: {error.strerror}") from error
    finally:
        memory.wipe(place)
    if not secret:
        raise SecretError(SecretFault.EMPTY, f"the {what} is empty")
    return secret


def has_terminal() -> bool:
    """Whether there is a terminal to ask at."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def from_terminal(what: str) -> bytearray:
    """Ask at the terminal, whatever standard input is, without showing what is typed; the question is erased after."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise SecretError(SecretFault.NO_TERMINAL, f"no terminal to ask for the {what} at") from error
    try:
        before = termios.tcgetattr(terminal)
        silent = termios.tcgetattr(terminal)
        silent[3] &= ~(termios.ECHO | termios.ECHONL)
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        try:
            os.write(terminal, f"{what}: ".encode())
            return from_descriptor(terminal, what)
        finally:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
            os.write(terminal, _ERASE_LINE)
    finally:
        os.close(terminal)


def twice_from_terminal(what: str) -> bytearray:
    """Ask for a new secret two times, since nobody sees what was typed."""
    first, second = from_terminal(what), from_terminal(f"{what} again")
    same = first == second
    memory.wipe(second)
    if not same:
        memory.wipe(first)
        raise SecretError(SecretFault.DIFFERS, f"the two times the {what} was typed differ")
    return first
