"""Checkpoints of ours, read by Go's checkpoint reader (`make modules`)."""

from pathlib import Path

import pytest

from coldcred.keys import Algorithm
from coldcred.log import note
from tests.support.goreader import go_reader, read
from tests.support.signers import Signer

__all__ = ["go_reader"]

pytestmark = [pytest.mark.soak, pytest.mark.modules]

ORIGIN = "plant-a.example/log"


@pytest.mark.parametrize("algorithm", Algorithm)
def test_go_reads_what_is_written_here(go_reader: Path, algorithm: Algorithm) -> None:
    """Sixteen checkpoints of each type, with its own size and root; one changed letter, or another key, is refused."""
    signer = Signer.named("read by go", algorithm)
    key = note.VerifierKey(ORIGIN, signer.public)
    stranger = note.VerifierKey(ORIGIN, Signer.named("not read by go", algorithm).public)
    for size in range(1, 17):
        text = note.Checkpoint(ORIGIN, size, bytes([size]) * 32).text()
        body = note.sign_note(text, (key, signer.sign(text)))
        done = read(go_reader, key, ORIGIN, body)
        assert (done.returncode, done.stdout) == (0, f"{size} {bytes([size] * 32).hex()}\n".encode()), done.stderr
        changed = body.replace(f"\n{size}\n".encode(), f"\n{size + 1}\n".encode(), 1)
        assert read(go_reader, key, ORIGIN, changed).returncode == 1
        assert read(go_reader, stranger, ORIGIN, body).returncode == 1
