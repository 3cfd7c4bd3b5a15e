"""A worker that notes every signature it asks of the token and obeys orders: put in the real worker's place by tests.

    python -I spy_worker.py NOTES ORDERS FD

Each `C_Sign` appends one line to the file NOTES before it happens: the hash of what is signed, and the process. ORDERS,
joined by commas, name a call counted from 1 in this process and a fault:

    crash@3     the process gets SIGSEGV in place of its third signature          kill@3     SIGKILL
    hang@3      the third signature stops the process (SIGSTOP)                    sleep@3    ... takes for ever
    CLASS@3     the binding raises its exception CLASS                             flip@3     gives a wrong signature
    keep        destroying a key reports success and leaves it where it is
    return      a key that was destroyed is there again once this process has ended
    once        the orders hold for the first process that NOTES shows; later ones sign plainly
"""

import os
import signal
import sys
import threading
from pathlib import Path

from pkcs11 import exceptions

from coldcred.canonical import sha256_hex
from hsm import cryptoki, worker

NOTES, ORDERS = Path(sys.argv[1]), [order for order in sys.argv[2].split(",") if order]


class _SpiedSigning:
    """Stands before the binding's private key object."""

    def __init__(self, key: object, count: list[int]) -> None:
        self._key = key
        self._count = count

    def sign(self, data: bytes, *, mechanism: object) -> bytes:
        earlier = NOTES.read_text() if ORDERS and NOTES.exists() else ""
        with NOTES.open("a") as notes:
            notes.write(f"{sha256_hex(data)} {os.getpid()}\n")
        self._count[0] += 1
        others = {line.split()[1] for line in earlier.splitlines()} - {str(os.getpid())}
        fault = next((order for order in ORDERS if order.endswith(f"@{self._count[0]}")), None)
        if fault is not None and not ("once" in ORDERS and others):
            _befall(fault.partition("@")[0])
        signature: bytes = self._key.sign(data, mechanism=mechanism)  # type: ignore[attr-defined]  # the binding adds it to private keys as it loads
        return bytes([signature[0] ^ 1]) + signature[1:] if fault and fault.startswith("flip") else signature


def _befall(fault: str) -> None:
    if fault == "crash":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "hang":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "sleep":
        threading.Event().wait()
    elif fault != "flip":
        raise getattr(exceptions, fault)


def main() -> int:
    """Put the spy in place and be the worker."""
    count = [0]
    found = cryptoki.TokenKeys.find

    def find(self: cryptoki.TokenKeys, key_id: bytes) -> object:
        stored = found(self, key_id)
        if key_id in self._keys:
            key, row = self._keys[key_id]
            self._keys[key_id] = _SpiedSigning(key, count), row
        return stored

    in_lane = cryptoki.TokenKeys._in_lane
    cryptoki.TokenKeys.find = find  # type: ignore[method-assign, assignment]  # put in the real one's place
    cryptoki.TokenKeys._in_lane = lambda *about: _SpiedSigning(in_lane(*about), count)  # type: ignore[method-assign]  # put in the real one's place
    files: dict[Path, bytes] = {}
    destroyed = cryptoki.TokenKeys.destroy

    def destroy(self: cryptoki.TokenKeys, key_id: bytes) -> None:
        files.update({path: path.read_bytes() for path in NOTES.parent.rglob("*.object")})
        destroyed(self, key_id)

    if "keep" in ORDERS:
        cryptoki.TokenKeys.destroy = lambda *_: None  # type: ignore[method-assign]  # put in the real one's place
    elif "return" in ORDERS:
        cryptoki.TokenKeys.destroy = destroy  # type: ignore[method-assign]  # put in the real one's place
    status = worker.main(sys.argv[3:])
    for path, body in files.items():
        path.write_bytes(body)
    return status


if __name__ == "__main__":
    sys.exit(main())
