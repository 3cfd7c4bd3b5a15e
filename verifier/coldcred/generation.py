"""Reading a trust store safely: one directory handle, bounded reads, every file held to its digest.

No symbolic link is followed but `current`, which is resolved once and must name a generation. Nothing is read that
anybody may have written but root and whoever reads, since only a digest in the same folder stands behind it.
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
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

# What stands there is no file, folder or link as it was made; any other error is the system's, and says nothing of it.
_WRONG = _ABSENT | {errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENXIO}


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[int]:
    """Hold a directory handle on a trust store.

    Raises `Rejected`: `trust-missing` where there is none, `trust-unreadable` where the system does not let us look,
    `trust-exposed` where others may write.
    """
    name = os.fsdecode(path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise _unreadable(name, error) from error
        detail = f"{name} cannot be opened as a trust store: {os.strerror(error.errno or 0)}"
        raise Rejected(Reason.TRUST_MISSING, detail) from error
    try:
        check_closed(os.fstat(handle), name)
        yield handle
    finally:
        os.close(handle)


def check_mode(status: os.stat_result, name: str) -> None:
    """See that only its owner may change a file or folder (`Rejected`: `trust-exposed`)."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS_WRITE:
        who = "everybody" if mode & stat.S_IWOTH else "its group"
        raise Rejected(Reason.TRUST_EXPOSED, f"{name} can be written by {who} (mode {mode:04o})")


def check_closed(status: os.stat_result, name: str) -> None:
    """See that nobody but root and whoever runs this may change a file or folder (`Rejected`: `trust-exposed`)."""
    check_mode(status, name)
    owner, reader = status.st_uid, os.geteuid()
    if owner not in {0, reader}:
        allowed = f"root or uid {reader}, who runs this" if reader else "root, who runs this"
        detail = f"{name} belongs to uid {owner} and not to {allowed}"
        raise Rejected(Reason.TRUST_EXPOSED, detail)


def read_pins(handle: int) -> tuple[Pins, bytes]:
    """Read what `site init` pinned, and the root's bytes.

    Raises `Rejected`: `trust-missing` where there are no pins, else as `read_current`.
    """
    try:
        pins = Pins.parse(_read_file(handle, PINS, MAX_SMALL))
    except FileNotFoundError as error:
        raise Rejected(Reason.TRUST_MISSING, f"it holds no {PINS}, so `coldcred site init` never made it") from error
    except (OSError, Malformed) as error:
        raise _unusable(PINS, error) from error
    try:
        root = _read_file(handle, ROOT, MAX_METADATA)
    except (OSError, Malformed) as error:
        raise _unusable(ROOT, error) from error
    if sha256_hex(root) != pins.root:
        raise _damaged(ROOT, f"it is not the root that {PINS} pins")
    return pins, root


def read_beside(handle: int, name: str, most: int) -> bytes | None:
    """Read a file that stands beside the generations and may be absent; raises `Rejected` where it cannot be read."""
    try:
        return _read_file(handle, name, most)
    except FileNotFoundError:
        return None
    except (OSError, Malformed) as error:
        raise _unusable(name, error) from error


def current(handle: int) -> int | None:
    """Give the number of the generation in use, or None where no bundle was applied yet."""
    try:
        target = os.readlink(CURRENT, dir_fd=handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            what = "it is no symbolic link; was the store copied without keeping links (`cp -a` keeps them)?"
            raise _damaged(CURRENT, what) from error
        raise _unusable(CURRENT, error) from error
    match = _LINK.fullmatch(target)
    if match is None:
        raise _damaged(CURRENT, "it does not lead to a generation")
    return int(match[1])


def read_current(handle: int) -> tuple[int, dict[str, bytes]] | None:
    """Read the generation in use, every file held to the manifest; None where no bundle was applied yet.

    A bundle applied meanwhile may have taken the old generation away, so a failure counts only while `current` stands.
    Raises `Rejected`: `trust-damaged` where a file is not what was applied, `trust-unreadable` where the system does
    not let us read it, `trust-exposed` where others may write it.
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
        raise _unusable(folder, error) from error
    try:
        try:
            rows = parse_manifest(_read_file(generation, MANIFEST, MAX_METADATA))
        except (OSError, Malformed) as error:
            raise _unusable(MANIFEST, error) from error
        files = {}
        for name, (length, digest) in rows.items():
            try:
                files[name] = _read_file(generation, name, length)
            except (OSError, Malformed) as error:
                raise _unusable(name, error) from error
            if len(files[name]) != length or sha256_hex(files[name]) != digest:
                raise _damaged(name, f"it is not the file that {MANIFEST} lists")
        return files
    finally:
        os.close(generation)


def _open_folder(handle: int, path: str) -> int:
    """Open a folder below `handle` step by step, following no symbolic link."""
    found = os.dup(handle)
    segments = path.split("/")
    for place, segment in enumerate(segments, 1):
        try:
            below = os.open(segment, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found)
        finally:
            os.close(found)
        found = below
        try:
            check_closed(os.fstat(found), "/".join(segments[:place]))
        except Rejected:
            os.close(found)
            raise
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
        check_closed(status, path)
        if status.st_size > most:
            raise Malformed(f"it has {status.st_size} bytes where at most {most} are read")
        return file.read(most + 1)


def _unusable(name: str, error: OSError | Malformed) -> Rejected:
    """Say whether a file is not what was applied, or only cannot be read now."""
    if isinstance(error, Malformed):
        return _damaged(name, str(error))
    if error.errno == errno.ELOOP:
        return _damaged(name, "it is a symbolic link")
    if error.errno in _WRONG:
        return _damaged(name, os.strerror(error.errno or 0))
    return _unreadable(name, error)


def _damaged(name: str, what: str) -> Rejected:
    return Rejected(Reason.TRUST_DAMAGED, f"{name}: {what}")


def _unreadable(name: str, error: OSError) -> Rejected:
    return Rejected(Reason.TRUST_UNREADABLE, f"{name} cannot be read: {os.strerror(error.errno or 0)}")
