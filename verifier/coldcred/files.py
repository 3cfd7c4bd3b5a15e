"""Putting a file in place: whole, durable, and with the mode it is to have from its first moment."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def write_file(path: Path, body: bytes | Iterable[bytes], mode: int = 0o600, *, replace: bool = True) -> None:
    """Write `body` beside `path`, sync it, move it there, and sync the folder; raises `OSError`.

    A body may come in pieces; where it breaks off, what its iterator raises is raised and nothing was written.
    Without `replace` a file that exists is `FileExistsError`, and stays as it is.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.writelines((body,) if isinstance(body, bytes) else body)
            file.flush()
            os.fsync(descriptor)
        if replace:
            Path(name).replace(path)
        else:
            path.hardlink_to(name)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
