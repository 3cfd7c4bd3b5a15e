"""Go's checkpoint reader, which shares nothing with ours: built from `tests/vectors/checkpoint-reader`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from coldcred.log.note import VerifierKey
from tests.support.tree import ROOT

SOURCE = ROOT / "tests" / "vectors" / "checkpoint-reader"


def read(reader: Path, key: VerifierKey, origin: str, note: bytes) -> subprocess.CompletedProcess[bytes]:
    """Have Go open a checkpoint: size and root (hex) on standard output, or exit code 1."""
    return subprocess.run([reader, key.format(), origin], input=note, capture_output=True, check=False)


@pytest.fixture(scope="session")
def go_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the reader, built; Go fetches its two libraries, by the hashes of go.sum and the caller's own settings."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        pytest.skip("no go on this machine")
    built = tmp_path_factory.mktemp("go") / "reader"
    subprocess.run([go, "build", "-mod=readonly", "-o", built, "."], cwd=SOURCE, env=os.environ, check=True)
    return built
