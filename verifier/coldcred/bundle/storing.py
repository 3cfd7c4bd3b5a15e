"""Writing to a trust store so that a crash at any point leaves the old state or the new one, never a mix.

Files and folders are durable before the name that makes them count is: a generation is complete and synced, its parent
synced, and only then does a rename let `current` lead to it. What a crash left behind is removed by the next writer.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from coldcred.errors import BundleReason, BundleRefused
from coldcred.layout import CURRENT, GENERATIONS, MANIFEST, write_manifest

_SWAP = "current.new"
_GENERATION = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

FOLDER_MODE = 0o755
FILE_MODE = 0o644
SECRET_MODE = 0o600


@contextmanager
def locked(handle: int) -> Iterator[None]:
    """Be the only writer of the trust store behind a directory handle (`BundleRefused` where there is another)."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise BundleRefused(BundleReason.STORE_UNWRITABLE, "another bundle is being applied here now") from error
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


def store(handle: int, number: int, files: Mapping[str, bytes]) -> None:
    """Make `files` generation `number` and let `current` lead to it.

    Raises `BundleRefused` (`store-unwritable`) when the disk is full or read-only: the old generation stays in use and
    nothing else is left. Only where the very last sync fails may the new one be in use already.
    """
    try:
        _clean(handle, keep={number - 1, number - 2})
        _write_generation(handle, number, files)
        _swap(handle, number)
    except OSError as error:
        with suppress(OSError):  # the first cause is the one to tell, and the next writer cleans too
            _undo(handle, number)
        raise unwritable(error) from error
    with suppress(OSError):  # two generations suffice: the new one, and the one that a reader may be in
        _clean(handle, keep={number, number - 1})


def write_files(folder: int, files: Mapping[str, bytes], *, mode: int = FILE_MODE) -> None:
    """Write new files below a directory handle, and make them and their folders durable (`OSError`)."""
    folders: dict[str, int] = {}
    try:
        for name, body in sorted(files.items()):
            path, _, file = name.rpartition("/")
            _write(_folder(folder, path, folders), file, body, mode)
        for made in folders.values():
            os.fsync(made)
        os.fsync(folder)
    finally:
        for made in folders.values():
            os.close(made)


def unwritable(error: OSError) -> BundleRefused:
    """Give the refusal that an error of the file system amounts to."""
    cause = os.strerror(error.errno or 0)
    return BundleRefused(BundleReason.STORE_UNWRITABLE, f"the trust store cannot be written: {cause}")


def _write_generation(handle: int, number: int, files: Mapping[str, bytes]) -> None:
    generations = os.open(GENERATIONS, _FOLDER, dir_fd=handle)
    try:
        os.mkdir(str(number), FOLDER_MODE, dir_fd=generations)
        generation = os.open(str(number), _FOLDER, dir_fd=generations)
        try:
            write_files(generation, {**files, MANIFEST: write_manifest(files)})
        finally:
            os.close(generation)
        os.fsync(generations)
    finally:
        os.close(generations)


def _swap(handle: int, number: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(_SWAP, dir_fd=handle)
    os.symlink(f"{GENERATIONS}/{number}", _SWAP, dir_fd=handle)
    os.rename(_SWAP, CURRENT, src_dir_fd=handle, dst_dir_fd=handle)
    os.fsync(handle)


def _undo(handle: int, number: int) -> None:
    """Remove what was written of generation `number`, unless `current` leads to it already."""
    with suppress(FileNotFoundError):
        os.unlink(_SWAP, dir_fd=handle)
    with suppress(FileNotFoundError):
        if os.readlink(CURRENT, dir_fd=handle) == f"{GENERATIONS}/{number}":
            return
    _clean(handle, keep={number - 1, number - 2})


def _clean(handle: int, *, keep: set[int]) -> None:
    """Remove generations that are not in use: older ones, and those that a crash left unfinished."""
    generations = os.open(GENERATIONS, _FOLDER, dir_fd=handle)
    try:
        for name in os.listdir(generations):  # noqa: PTH208 - a handle, which no path can name
            if _GENERATION.fullmatch(name) and int(name) not in keep:
                shutil.rmtree(name, dir_fd=generations)
    finally:
        os.close(generations)


def _folder(base: int, path: str, folders: dict[str, int]) -> int:
    """Give a handle on the folder `path` below `base`, made if need be; `folders` holds those opened so far."""
    if not path:
        return base
    if path not in folders:
        above, _, name = path.rpartition("/")
        parent = _folder(base, above, folders)
        os.mkdir(name, FOLDER_MODE, dir_fd=parent)
        folders[path] = os.open(name, _FOLDER, dir_fd=parent)
    return folders[path]


def _write(folder: int, name: str, body: bytes, mode: int) -> None:
    with os.fdopen(os.open(name, _NEW, mode, dir_fd=folder), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
