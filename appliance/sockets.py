"""The Unix sockets of a home: made so that only those who may can use them, and found again by their path.

A socket address holds 107 bytes and a home may lie deeper than that, so both sides reach the socket through a
descriptor of its folder.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import HomeError, HomeFault

_BACKLOG = 128
_OWNER_ALONE = 0o600
_TIMEVAL = struct.Struct("@ll")
_NOBODY_THERE = {errno.ECONNREFUSED, errno.ENOENT}


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path, timeout: float) -> socket.socket | None:
    """Connect to the socket `path`, or give None where nothing listens; `timeout` is in seconds. Raises `OSError`.

    Where many connect at once the kernel keeps it waiting, for so long; a socket with Python's own time-out would fail.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(int(timeout), 0))
    try:
        with _address(path) as address:
            connection.connect(address)
        connection.settimeout(timeout)
    except OSError as error:
        connection.close()
        if error.errno in _NOBODY_THERE:
            return None
        raise
    return connection


@contextlib.contextmanager
def listen(path: Path, mode: int = _OWNER_ALONE, group: int | None = None) -> Iterator[socket.socket]:
    """Listen on the socket `path`, for its owner alone unless `mode` and `group` say otherwise; remove it in the end.

    The caller holds the home's lock, so a socket that nobody answers is what a dead server left and is replaced. One
    that is answered is `HomeError` (`socket-in-use`). Changes the process's umask while it binds.
    """
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _bind(server, path)
        _open_to(path, mode, group)
    except OSError as error:
        server.close()
        fault = HomeFault.READ_ONLY if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM} else HomeFault.STORAGE
        raise HomeError(fault, f"{path}: {error.strerror}") from error
    except HomeError:
        server.close()
        raise
    try:
        server.listen(_BACKLOG)
        yield server
    finally:
        server.close()
        path.unlink(missing_ok=True)


def _open_to(path: Path, mode: int, group: int | None) -> None:
    """Let others in, before anybody listens: the group first, so that no other group ever had the mode."""
    if group is not None:
        os.chown(path, -1, group, follow_symlinks=False)
    if mode != _OWNER_ALONE:
        path.chmod(mode)


def _bind(server: socket.socket, path: Path) -> None:
    if (other := connect(path, timeout=1)) is not None:
        other.close()
        raise HomeError(HomeFault.SOCKET_IN_USE, f"something else answers on {path}")
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        with _address(path) as address:
            server.bind(address)
    finally:
        os.umask(before)
