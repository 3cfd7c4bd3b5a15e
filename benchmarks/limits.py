"""Limits, measured in the same run as everything else: raw signing, raw verifying, plain hashing, a plain commit."""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.rows import Row, each, rate
from tests.support.softhsm import MODULE, PIN, SoftHsm

SIGNATURES = 8_000
COMMITS = 1_000
ENTRY = 700
"""Bytes that a plain commit writes, and that are hashed: about what one credential adds to the log."""


def measure(token: SoftHsm) -> list[Row]:
    """Measure all limits; `token` gets one more key."""
    one, two = _raw_sign(token)
    key = ec.generate_private_key(ec.SECP256R1())
    public, message, scheme = key.public_key(), os.urandom(ENTRY), ec.ECDSA(hashes.SHA256())
    signature = key.sign(message, scheme)
    raw = rate("raw.sign", one)
    return [
        raw,
        rate("raw.sign.2", two, raw),
        rate("raw.verify", 1 / each(lambda: public.verify(signature, message, scheme), 3_000)),
        rate("raw.sha256", 1 / each(lambda: hashlib.sha256(message).digest(), 50_000)),
        Row("raw.commit", _commit() * 1e6, "us"),
    ]


def _raw_sign(token: SoftHsm) -> tuple[float, float]:
    """Sign in a process of its own, as the worker does, by one thread and then by two."""
    environment = {**os.environ, **token.environment}
    command = [sys.executable, "-P", "-m", "benchmarks.raw_sign", MODULE, token.label]
    ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, input=PIN.decode())
    one, two = json.loads(ended.stdout)
    return one, two


def sign_by_threads(signers: list[object], digest: bytes, mechanism: object) -> float:
    """Give signatures a second of so many threads, each with a session of its own."""

    def sign(key: object) -> None:
        for _ in range(SIGNATURES // len(signers)):
            key.sign(digest, mechanism=mechanism)  # type: ignore[attr-defined]  # the binding adds it to private keys as it loads

    threads = [threading.Thread(target=sign, args=(key,)) for key in signers]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return SIGNATURES / (time.perf_counter() - began)


def _commit() -> float:
    """Give the median seconds of a durable commit of one row, with the settings of the log."""
    with tempfile.TemporaryDirectory(prefix="coldcred-bench-") as folder:
        connection = sqlite3.connect(Path(folder) / "plain.sqlite", isolation_level=None)
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE entry (seq INTEGER PRIMARY KEY, body BLOB)")
        body, found = os.urandom(ENTRY), []
        for seq in range(COMMITS):
            began = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO entry VALUES (?, ?)", (seq, body))
            connection.execute("COMMIT")
            found.append(time.perf_counter() - began)
        connection.close()
    return median(found)
