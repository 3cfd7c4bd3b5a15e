"""Secrets come from the terminal, unseen, or from a file descriptor; never from arguments or the environment."""

import os
from enum import StrEnum

from coldcred import memory

LONGEST = 1024  # bytes

_LINE_END = ord("\n")
_RETURN = ord("\r")
_PRINTABLE = range(0x20, 0x7F)
_BLANKS = b" "
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""How files begin that an editor marked as Unicode."""


class SecretFault(StrEnum):
    """Why a secret did not arrive: closed."""

    NO_TERMINAL = "no-terminal"
    BAD_DESCRIPTOR = "secret-descriptor"
    EMPTY = "secret-empty"
    TOO_LONG = "secret-too-long"
    UNUSABLE = "secret-unusable"
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


def from_descriptor(descriptor: int, what: str, *, new: bool = False) -> bytearray:
    """Read one secret, a line without its end; a second one may follow on the next line. Raises `SecretError`.

    A line may end as Windows ends it. What nobody can have typed, a control character or the mark of an editor, is
    refused before a token or a key could count it as a wrong guess. A `new` secret has to be one that can be typed
    at any terminal.
    """
    secret = line(descriptor, what)
    if fault := _fault(secret, new=new):
        memory.wipe(secret)
        raise SecretError(SecretFault.UNUSABLE if secret else SecretFault.EMPTY, f"the {what} {fault}")
    return secret


def line(descriptor: int, what: str) -> bytearray:
    """Read one line of any bytes, without its end.

    Byte by byte into a place off the swap, then into an array of its length that the caller wipes: nothing is read
    ahead, and no array grows, which would leave copies behind.
    """
    memory.guard()
    place = bytearray(LONGEST + 2)
    memory.hold(place)
    view, length = memoryview(place), 0
    try:
        while os.readv(descriptor, [view[length : length + 1]]) and place[length] != _LINE_END:
            length += 1
            if length > LONGEST + 1:
                break
        if length and place[length - 1] == _RETURN:
            length -= 1
        if length > LONGEST:
            raise SecretError(SecretFault.TOO_LONG, f"the {what} is longer than {LONGEST} bytes")
        secret = bytearray(view[:length])
        memory.hold(secret)
    except OSError as error:
        raise SecretError(SecretFault.BAD_DESCRIPTOR, f"descriptor {descriptor}: {error.strerror}") from error
    finally:
        memory.wipe(place)
    return secret


def _fault(secret: bytearray, *, new: bool) -> str | None:
    """Say what keeps a line from being a secret; nothing of it is quoted."""
    if not secret:
        return "is empty"
    if secret.startswith(_MARKS):
        return "begins with a byte order mark; save the file as plain text"
    if any(octet < _PRINTABLE.start or octet == _PRINTABLE.stop for octet in secret):
        return "holds a control character; save the file as plain text, the secret on a line of its own"
    if new and any(octet not in _PRINTABLE for octet in secret):
        return "has characters that not every terminal can type; take printable ASCII"
    if new and (secret[:1] in _BLANKS or secret[-1:] in _BLANKS):
        return "begins or ends with a blank, which nobody sees"
    return None
