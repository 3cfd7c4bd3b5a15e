"""The exit codes of `coldcredctl`: a closed list that scripts rely on."""

from enum import IntEnum


class Exit(IntEnum):
    """How a run ended."""

    DONE = 0
    REFUSED = 1
    MISUSE = 2
    WAITING = 3
    HSM = 4
    STORAGE = 5
    INTERRUPTED = 130
