"""Putting a file in place: whole, durable, and never over what nobody could make again, on whatever medium there is.

Files are carried on media that other people made. exFAT and FAT32 have neither hard links nor modes, some network file
systems sync no folder, and any medium may be full or read-only. What a medium lacks is done without where that harms
nobody, and is refused where a secret would lie open. Every error names the file that was asked for.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

_NO_MODES = frozenset({errno.EPERM, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.EBADF, errno.EOPNOTSUPP})
_UNFINISHED = ".coldcred-"  # short, so that a name may be as long as a folder takes
_PROBE = bytes(4096)

FOLDER_MODE = 0o755


class FileKind(Enum):
    """What a file holds. It decides the mode, whatever the umask is, and whether a file that is there is replaced.

    Never replaced is what cannot be made again as it was. What can be asked for anew is replaced at once and whole.
    """

    SECRET = (0o600, True, True)
    """A private key, or a file of a home: not written at all where others could read it."""
    DOCUMENT = (0o644, True, False)
    """What somebody signs or signed, a request, and public halves of people's keys."""
    OUTCOMES = (0o600, True, False)
    """What became of a batch, its credentials included."""
    CREDENTIAL = (0o600, False, False)
    """A credential: closed to others where the medium has modes, and still for carrying."""
    GIVEN = (0o644, False, False)
    """What can be asked for again and is no secret: bundles, exports, terms, lists, the root, a machine's enrolment."""

    def __init__(self, mode: int, once: bool, closed: bool) -> None:  # noqa: FBT001 - members of a table
        """Say the mode, whether it is written once, and whether it needs a medium that keeps modes."""
        self.mode = mode
        self.once = once
        self.closed = closed


def write_file(path: Path, body: bytes | Iterable[bytes], kind: FileKind) -> None:
    """Write `body` beside `path`, sync it, give it its name, and sync the folder; raises `OSError`, naming `path`.

    A body may come in pieces; where it breaks off, what its iterator raises is raised and nothing was written. A file
    that is there is replaced, or stays and is `FileExistsError`, as `kind` says. After an error or a crash the
    name holds all of the body, what it held before, or nothing. Only on media without hard links a power cut can leave
    a new name empty; part of a body never stands under it.
    """
    with _about(path):
        _check_target(path, kind)
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _set_mode(descriptor, kind)
                file.writelines((body,) if isinstance(body, bytes) else body)
                file.flush()
                _sync(descriptor)
            if kind.once:
                _name_new(unfinished, path)
            else:
                os.replace(unfinished, path)  # noqa: PTH105 - a name as `mkstemp` gives it
        finally:
            with suppress(OSError):
                os.unlink(unfinished)  # noqa: PTH108 - as above
        sync_folder(path.parent)


def check_place(path: Path, kind: FileKind) -> None:
    """See that `write_file` could put a file at `path`, before anything is done that it is to hold (`OSError`)."""
    with _about(path):
        _check_target(path, kind)
        descriptor, probe = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
        try:
            _set_mode(descriptor, kind)
            os.write(descriptor, _PROBE)  # a disk that is full takes an empty file
        finally:
            os.close(descriptor)
            with suppress(OSError):
                os.unlink(probe)  # noqa: PTH108 - a name as `mkstemp` gives it


def make_folders(path: Path) -> list[Path]:
    """Make a folder and those above it that are missing, each 0755 whatever the umask is (`OSError`).

    Gives what was made, outermost first.
    """
    made: list[Path] = []
    with _about(path), _unmade(made):
        for folder in reversed([each for each in (path, *path.parents) if not os.path.lexists(each)]):
            folder.mkdir(FOLDER_MODE)
            made.append(folder)
            try:
                folder.chmod(FOLDER_MODE)
            except OSError as error:
                if error.errno not in _NO_MODES:
                    raise
    return made


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where its file system can and this user may look into it (`OSError`)."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        _sync(folder)
    finally:
        os.close(folder)


@contextmanager
def _unmade(folders: list[Path]) -> Iterator[None]:
    try:
        yield
    except OSError:
        with suppress(OSError):
            for folder in reversed(folders):
                folder.rmdir()
        raise


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Name the file that was asked for in every error, and never one that only we know of."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or type(error).__name__, str(path)) from error


def _check_target(path: Path, kind: FileKind) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        if not path.is_symlink():
            return
        raise OSError(errno.ENOENT, "it is a symbolic link that leads nowhere") from None
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is there and is no regular file")
    if kind.once:
        raise OSError(errno.EEXIST, "it is there already and is never written over")


def _set_mode(descriptor: int, kind: FileKind) -> None:
    try:
        os.fchmod(descriptor, kind.mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise
    if kind.closed and stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
        raise OSError(errno.EPERM, "this medium keeps no modes, so others could use the secret; choose another place")


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _name_new(unfinished: str, path: Path) -> None:
    """Give a finished file a name that nothing has.

    A hard link does it in one step. Where there are none the name is claimed, empty, and at once renamed over.
    """
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            os.replace(unfinished, path)  # noqa: PTH105 - a name as `mkstemp` gives it
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
