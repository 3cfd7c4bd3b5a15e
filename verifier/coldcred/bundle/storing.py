"""Writing to a trust store so that a crash at any point leaves the old state or the new one, never a mix.

Files and folders are durable before the name that makes them count is: a generation is complete and synced, its parent
synced, and only then does a rename let `current` lead to it. What a crash left behind is removed by the next writer.
What is made has its mode whatever the umask is, since others verify with it.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from coldcred.errors import BundleReason, BundleRefused
from coldcred.layout import (
    CURRENT,
    ENROLMENT,
    EVIDENCE,
    GENERATIONS,
    LOCK,
    MANIFEST,
    PINS,
    ROOT,
    SITE_KEY,
    write_manifest,
)

_SWAP = "current.new"
_GENERATION = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NFS locks what is open to write

FOLDER_MODE = 0o755
FILE_MODE = 0o644
SECRET_MODE = 0o600


@contextmanager
def locked(handle: int) -> Iterator[None]:
    """Be the only writer of the trust store behind a directory handle.

    Raises `BundleRefused` (`store-unwritable`) where there is another, or where nothing can be locked. On a medium that
    is read-only nobody writes, so what changes nothing there goes on without a lock.
    """
    try:
        lock = os.open(LOCK, _LOCK, SECRET_MODE, dir_fd=handle)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise _unlocked(error) from error
        yield
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BundleRefused(BundleReason.STORE_UNWRITABLE, "another bundle is being applied here now") from error
        except OSError as error:
            raise _unlocked(error) from error
        yield
    finally:
        os.close(lock)


def _unlocked(error: OSError) -> BundleRefused:
    cause = os.strerror(error.errno or 0)
    return BundleRefused(BundleReason.STORE_UNWRITABLE, f"{LOCK} in the trust store cannot be locked: {cause}")


def store(handle: int, number: int, files: Mapping[str, bytes]) -> None:
    """Make `files` generation `number` and let `current` lead to it.

    Raises `BundleRefused` (`store-unwritable`) when the disk is full or read-only: the old generation stays in use and
    nothing else is left. Only where the very last sync fails may the new one be in use already.
    """
    _tidy(handle, keep={number, number - 1, number - 2})
    try:
        _remove(handle, number)
        _write_generation(handle, number, files)
        _swap(handle, number)
    except OSError as error:
        with suppress(OSError):  # the first cause is the one to tell, and the next writer cleans too
            _undo(handle, number)
        raise unwritable(error) from error
    _tidy(handle, keep={number, number - 1})  # two suffice: the new one, and the one that a reader may be in
    mend(handle)


def mend(handle: int) -> None:
    """Give what is there the mode that it would be made with, as far as it is ours to give.

    The folder of the store itself is left as it is: whoever prepared it said who may enter.
    """
    for name, mode in ((SITE_KEY, SECRET_MODE), *((name, FILE_MODE) for name in (PINS, ROOT, ENROLMENT, EVIDENCE))):
        _mend(handle, name, mode)
    for _, _, files, folder in os.fwalk(GENERATIONS, dir_fd=handle):
        _mend(folder, ".", FOLDER_MODE)
        for name in files:
            _mend(folder, name, FILE_MODE)


def _mend(folder: int, name: str, mode: int) -> None:
    with suppress(OSError):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        right = mode | (status.st_mode & stat.S_ISGID)
        if not stat.S_ISLNK(status.st_mode) and stat.S_IMODE(status.st_mode) != right:
            os.chmod(name, right, dir_fd=folder)


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
    cause = error.strerror or os.strerror(error.errno or 0)
    where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
    return BundleRefused(BundleReason.STORE_UNWRITABLE, f"the trust store cannot be written: {where}{cause}")


def _write_generation(handle: int, number: int, files: Mapping[str, bytes]) -> None:
    generations = os.open(GENERATIONS, _FOLDER, dir_fd=handle)
    try:
        generation = make_folder(generations, str(number))
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
    _remove(handle, number)


def _remove(handle: int, number: int) -> None:
    """Remove what a crash left of generation `number`, which is to be written."""
    generations = os.open(GENERATIONS, _FOLDER, dir_fd=handle)
    try:
        with suppress(FileNotFoundError):
            shutil.rmtree(str(number), dir_fd=generations)
    finally:
        os.close(generations)


def _tidy(handle: int, *, keep: set[int]) -> None:
    """Remove generations that are not in use: older ones, and those that a crash left unfinished.

    What cannot be removed stays: an old generation does no harm, and a newer bundle must not wait for it.
    """
    with suppress(OSError):
        generations = os.open(GENERATIONS, _FOLDER, dir_fd=handle)
        try:
            for name in os.listdir(generations):  # noqa: PTH208 - a handle, which no path can name
                if _GENERATION.fullmatch(name) and int(name) not in keep:
                    shutil.rmtree(name, ignore_errors=True, dir_fd=generations)
        finally:
            os.close(generations)


def make_folder(parent: int, name: str) -> int:
    """Make a folder below a handle, and give a handle on it (`OSError`)."""
    os.mkdir(name, FOLDER_MODE, dir_fd=parent)
    made = os.open(name, _FOLDER, dir_fd=parent)
    try:
        os.fchmod(made, FOLDER_MODE | (os.fstat(made).st_mode & stat.S_ISGID))
    except OSError:
        os.close(made)
        raise
    return made


def _folder(base: int, path: str, folders: dict[str, int]) -> int:
    """Give a handle on the folder `path` below `base`, made if need be; `folders` holds those opened so far."""
    if not path:
        return base
    if path not in folders:
        above, _, name = path.rpartition("/")
        parent = _folder(base, above, folders)
        folders[path] = make_folder(parent, name)
    return folders[path]


def _write(folder: int, name: str, body: bytes, mode: int) -> None:
    with os.fdopen(os.open(name, _NEW, mode, dir_fd=folder), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
