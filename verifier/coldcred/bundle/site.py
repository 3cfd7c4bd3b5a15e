"""`site init`: the one moment at which a site is told whom to trust (rule R16). It happens whole or not at all."""

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from coldcred import generation, layout, names
from coldcred.bundle import storing
from coldcred.bundle.metadata import check_root
from coldcred.canonical import dumps, said_digest, sha256_hex
from coldcred.errors import BundleReason, BundleRefused, Malformed, Rejected
from coldcred.files import make_folders, sync_folder
from coldcred.keys import PublicKey
from coldcred.layout import Pins

_MADE = (layout.GENERATIONS, layout.ROOT, layout.SITE_KEY, layout.ENROLMENT, layout.LOCK)
_NEW_PINS = "site.json.new"
_LOST_AND_FOUND = "lost+found"
_UNABLE = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


def init(path: str | os.PathLike[str], *, root: bytes, fingerprint: str, site: str, key: Ed25519PrivateKey) -> Pins:
    """Make a trust store in `path`, which must not exist or be empty, for site `site`.

    A folder that is there stays the one it is, with its owner and mode; what root makes in one of somebody else belongs
    to that user.

    Pins the root of trust by its bytes, whose SHA-256 must be `fingerprint` (hexadecimal, as people write it), and the
    site's name; stores the site's own new key, and beside it the enrolment file that carries its public half to the
    appliance. Raises `BundleRefused`, and then nothing was made; a name or fingerprint that cannot be one is a
    `ValueError`.
    """
    pins = _pins(root, fingerprint, site)
    check_root(root)
    target = Path(path).absolute()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = PublicKey.from_cryptography(key.public_key())
    enrolment = dumps({"v": 1, "site": site, "key": public.jwk()})
    made: list[Path] = []
    try:
        _check_free(target)
        made = make_folders(target)
        handle = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        _remove(made)
        raise storing.unwritable(error) from error
    try:
        with storing.locked(handle):
            _check_free(target)
            try:
                _empty(handle)
                _look(handle)
                _check_owner(handle, target)
                _fill(handle, {layout.ROOT: root, layout.ENROLMENT: enrolment}, secret, pins.write())
            except (OSError, BundleRefused):
                _undo(handle)
                raise
        for folder in made:
            sync_folder(folder.parent)
    except OSError as error:
        _remove(made)
        raise storing.unwritable(error) from error
    except BundleRefused:
        _remove(made)
        raise
    finally:
        os.close(handle)
    return pins


def _pins(root: bytes, fingerprint: str, site: str) -> Pins:
    try:
        wanted = said_digest(fingerprint, "fingerprint")
        names.label(site, "site name")
    except Malformed as error:
        raise ValueError(str(error)) from error
    if sha256_hex(root) != wanted:
        detail = f"its SHA-256 is {sha256_hex(root)}, which is not the fingerprint that was given"
        raise BundleRefused(BundleReason.ROOT_MISMATCH, detail)
    return Pins(site, wanted)


def _check_free(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not (target.is_dir() and _is_free(target))):
        raise BundleRefused(BundleReason.STORE_EXISTS, f"{target.name} exists and is not an empty directory")


def _check_owner(handle: int, target: Path) -> None:
    """Refuse a folder that was prepared so that others may write; root may fill one for its owner."""
    status = os.fstat(handle)
    try:
        generation.check_mode(status, os.fspath(target))
        if os.geteuid() != 0:
            generation.check_closed(status, os.fspath(target))
    except Rejected as error:
        raise BundleRefused(BundleReason.STORE_EXPOSED, error.detail) from error


def _is_free(folder: Path) -> bool:
    """Whether there is nothing but what a crash of an earlier attempt left, or a file system makes for itself."""
    return set(os.listdir(folder)) <= {*_MADE, _NEW_PINS, _LOST_AND_FOUND}  # noqa: PTH208 - names alone are asked for


def _fill(handle: int, files: Mapping[str, bytes], secret: bytes, pins: bytes) -> None:
    """Make everything, and last of all the pins: without them there is no trust store."""
    os.close(storing.make_folder(handle, layout.GENERATIONS))
    storing.write_files(handle, {layout.SITE_KEY: secret}, mode=storing.SECRET_MODE)
    storing.write_files(handle, {**files, _NEW_PINS: pins})
    _hand_over(handle)
    os.rename(_NEW_PINS, layout.PINS, src_dir_fd=handle, dst_dir_fd=handle)
    os.fsync(handle)


def _look(handle: int) -> None:
    """See that the place has what a trust store needs; the lock, which has a mode, is held already."""
    needs = "a trust store needs symbolic links, modes and locks, which exFAT and FAT lack; choose another folder"
    try:
        os.symlink(layout.GENERATIONS, _NEW_PINS, dir_fd=handle)
        os.unlink(_NEW_PINS, dir_fd=handle)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
        raise BundleRefused(BundleReason.STORE_UNWRITABLE, f"no symbolic link can be made here: {needs}") from error
    if stat.S_IMODE(os.stat(layout.LOCK, dir_fd=handle, follow_symlinks=False).st_mode) & 0o077:
        raise BundleRefused(BundleReason.STORE_UNWRITABLE, f"no mode is kept here: {needs}")


def _hand_over(handle: int) -> None:
    """Give what root made to whom the folder was prepared for.

    Its owner may put something of root's there meanwhile, by a link; that is not given away.
    """
    owner = os.fstat(handle)
    if owner.st_uid == os.geteuid():
        return
    for name in (*_MADE, _NEW_PINS):
        made = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
        try:
            status = os.fstat(made)
            if not stat.S_ISDIR(status.st_mode) and status.st_nlink != 1:
                raise OSError(errno.EMLINK, "it has another name elsewhere", name)
            os.fchown(made, owner.st_uid, owner.st_gid)
        finally:
            os.close(made)


def _empty(handle: int) -> None:
    """Remove what an attempt made, but for the lock that this one holds."""
    for name in {*_MADE, _NEW_PINS, layout.PINS} - {layout.GENERATIONS, layout.LOCK}:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=handle)
    with suppress(FileNotFoundError):
        os.rmdir(layout.GENERATIONS, dir_fd=handle)


def _undo(handle: int) -> None:
    with suppress(OSError):
        _empty(handle)
        os.unlink(layout.LOCK, dir_fd=handle)


def _remove(made: list[Path]) -> None:
    """Remove the folders that were made for the store, unless something is in them."""
    with suppress(OSError):
        for folder in reversed(made):
            folder.rmdir()
