"""Listing tokens and making new ones, before any appliance uses them: each time in a worker of its own.

The PKCS#11 library is never loaded into the caller's process.
"""

from collections.abc import Mapping
from contextlib import closing

from coldcred.canonical import Json
from coldcred.errors import Malformed
from coldcred.record import Record
from hsm import messages
from hsm.errors import WorkerLost
from hsm.keystore import TOKEN_LABEL, Slots, TokenInfo
from hsm.process import WorkerProcess

TIMEOUT = 30.0
"""Seconds for one request: a smart card takes its time to be initialised."""


def list_tokens(module: str, environment: Mapping[str, str], *, timeout: float = TIMEOUT) -> Slots:
    """Give what is in the slots of the PKCS#11 library at `module`; raises `HsmError`."""
    with closing(WorkerProcess(environment)) as worker:
        answer = worker.ask({"do": "tokens", "module": module}, timeout=timeout)
    try:
        return messages.read_slots(answer)
    except Malformed as error:
        raise _senseless(error) from error


def initialise_token(
    module: str,
    label: str,
    so_pin: bytearray,
    pin: bytearray,
    environment: Mapping[str, str],
    *,
    timeout: float = TIMEOUT,
) -> TokenInfo:
    """Make a new token in the library's first free slot, with its two PINs; both buffers are wiped.

    Raises `TokenExists` when a token has that label, `TokenMissing` when no slot is free, `PinUnusable` when the token
    takes no such PIN, or another `HsmError`. A label or a PIN of an impossible length is a `ValueError`.
    """
    request: dict[str, Json] = {"do": "initialise", "module": module, "label": label}
    try:
        if not 1 <= len(label.encode()) <= TOKEN_LABEL:
            raise ValueError(f"a token label has 1 to {TOKEN_LABEL} bytes")
        with closing(WorkerProcess(environment)) as worker:
            answer = worker.ask(request, so_pin, pin, timeout=timeout)
    finally:
        for secret in (so_pin, pin):
            secret[:] = bytes(len(secret))
    try:
        return messages.read_token(Record.of(answer, "token"))
    except Malformed as error:
        raise _senseless(error) from error


def _senseless(error: Malformed) -> WorkerLost:
    return WorkerLost(f"the worker's answer makes no sense: {error}")
