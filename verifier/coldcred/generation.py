"""Reading a trust store safely: one directory handle, bounded reads, every file held to its digest.

No symbolic link is followed but `current`, which is resolved once and must name a generation.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from coldcred.canonical import sha256_hex
from coldcred.errors import Malformed, Reason, Rejected
from coldcred.layout import (
    CURRENT,
    GENERATIONS,
    MANIFEST,
    MAX_METADATA,
    MAX_SMALL,
    PINS,
    ROOT,
    Pins,
    parse_manifest,
)

_LINK = re.compile(r"generations/([1-9][0-9]{0,14})", re.ASCII)
_ATTEMPTS = 3


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[int]:
    """Hold a directory handle on a trust store; `Rejected` (`trust-missing`) where there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        detail = f"{os.fspath(path)} cannot be opened as a trust store: {os.strerror(error.errno or 0)}"
        raise Rejected(Reason.TRUST_MISSING, detail) from error
    try:
        yield handle
    finally:
        os.close(handle)


def read_pins(handle: int) -> tuple[Pins, bytes]:
    """Read what `site init` pinned, and the root's bytes (`Rejected`: `trust-missing` or `trust-damaged`)."""
    try:
        pins = Pins.parse(_read_file(handle, PINS, MAX_SMALL))
    except FileNotFoundError as error:
        raise Rejected(Reason.TRUST_MISSING, f"it holds no {PINS}, so `coldcred site init` never made it") from error
    except (OSError, Malformed) as error:
        raise _damaged(PINS, _cause(error)) from error
    try:
        root = _read_file(handle, ROOT, MAX_METADATA)
    except (OSError, Malformed) as error:
        raise _damaged(ROOT, _cause(error)) from error
    if sha256_hex(root) != pins.root:
        raise _damaged(ROOT, f"it is not the root that {PINS} pins")
    return pins, root


def read_beside(handle: int, name: str, most: int) -> bytes | None:
    """Read a file that stands beside the generations and may be absent (`Rejected`: `trust-damaged`)."""
    try:
        return _read_file(handle, name, most)
    except FileNotFoundError:
        return None
    except (OSError, Malformed) as error:
        raise _damaged(name, _cause(error)) from error


def current(handle: int) -> int | None:
    """Give the number of the generation in use, or None where no bundle was applied yet."""
    try:
        target = os.readlink(CURRENT, dir_fd=handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(CURRENT, _cause(error)) from error
    match = _LINK.fullmatch(target)
    if match is None:
        raise _damaged(CURRENT, "it does not lead to a generation")
    return int(match[1])


def read_current(handle: int) -> tuple[int, dict[str, bytes]] | None:
    """Read the generation in use, every file held to the manifest; None where no bundle was applied yet.

    A bundle applied meanwhile may have taken the old generation away, so a failure counts only while `current` stands.
    """
    number = current(handle)
    for _ in range(_ATTEMPTS):
        if number is None:
            return None
        try:
            return number, _read_generation(handle, number)
        except Rejected:
            before, number = number, current(handle)
            if before == number:
                raise
    raise _damaged(CURRENT, "it changes faster than it can be read")


def _read_generation(handle: int, number: int) -> dict[str, bytes]:
    folder = f"{GENERATIONS}/{number}"
    try:
        generation = _open_folder(handle, folder)
    except OSError as error:
        raise _damaged(folder, _cause(error)) from error
    try:
        try:
            rows = parse_manifest(_read_file(generation, MANIFEST, MAX_METADATA))
        except (OSError, Malformed) as error:
            raise _damaged(MANIFEST, _cause(error)) from error
        files = {}
        for name, (length, digest) in rows.items():
            try:
                files[name] = _read_file(generation, name, length)
            except (OSError, Malformed) as error:
                raise _damaged(name, _cause(error)) from error
            if len(files[name]) != length or sha256_hex(files[name]) != digest:
                raise _damaged(name, f"it is not the file that {MANIFEST} lists")
        return files
    finally:
        os.close(generation)


def _open_folder(handle: int, path: str) -> int:
    """Open a folder below `handle` step by step, following no symbolic link."""
    found = os.dup(handle)
    for segment in path.split("/"):
        try:
            below = os.open(segment, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found)
        finally:
            os.close(found)
        found = below
    return found


def _read_file(handle: int, path: str, most: int) -> bytes:
    """Read a regular file below `handle`; one of more than `most` bytes is `Malformed` and not read."""
    folder, _, name = path.rpartition("/")
    parent = _open_folder(handle, folder) if folder else os.dup(handle)
    try:
        # O_NONBLOCK: a pipe in a file's place must not make the reader wait for a writer.
        found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)
    with os.fdopen(found, "rb") as file:
        status = os.fstat(found)
        if not stat.S_ISREG(status.st_mode):
            raise Malformed("it is not a regular file")
        if status.st_size > most:
            raise Malformed(f"it has {status.st_size} bytes where at most {most} are read")
        return file.read(most + 1)


def _cause(error: OSError | Malformed) -> str:
    if isinstance(error, Malformed):
        return str(error)
    if error.errno == errno.ELOOP:
        return "it is a symbolic link"
    return os.strerror(error.errno or 0)


def _damaged(name: str, what: str) -> Rejected:
    return Rejected(Reason.TRUST_DAMAGED, f"{name}: {what}")
