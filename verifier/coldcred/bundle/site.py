"""`site init`: the one moment at which a site is told whom to trust (rule R16). It happens whole or not at all."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from coldcred import layout, names
from coldcred.bundle import storing
from coldcred.bundle.metadata import check_root
from coldcred.canonical import dumps, hex_digest, sha256_hex
from coldcred.errors import BundleReason, BundleRefused, Malformed
from coldcred.keys import PublicKey
from coldcred.layout import Pins


def init(path: str | os.PathLike[str], *, root: bytes, fingerprint: str, site: str, key: Ed25519PrivateKey) -> Pins:
    """Make a trust store in `path`, which must not exist or be empty, for site `site`.

    Pins the root of trust by its bytes, whose SHA-256 must be `fingerprint` (hexadecimal), and the site's name; stores
    the site's own new key, and beside it the enrolment file that carries its public half to the appliance. Raises
    `BundleRefused`, and then nothing was made; a name or fingerprint that cannot be one is a `ValueError`.
    """
    pins = _pins(root, fingerprint, site)
    check_root(root)
    target = Path(path).absolute()
    _check_free(target)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = PublicKey.from_cryptography(key.public_key())
    enrolment = dumps({"v": 1, "site": site, "key": public.jwk()})
    files = {layout.PINS: pins.write(), layout.ROOT: root, layout.ENROLMENT: enrolment}
    unfinished = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(unfinished)  # what a crash of an earlier attempt left
        _make(unfinished, files, secret)
        _put_in_place(unfinished, target)
    except OSError as error:
        with suppress(OSError):
            _remove(unfinished)
        raise storing.unwritable(error) from error
    return pins


def _pins(root: bytes, fingerprint: str, site: str) -> Pins:
    try:
        wanted = hex_digest(fingerprint.lower()).hex()
        names.label(site, "site name")
    except Malformed as error:
        raise ValueError(str(error)) from error
    if sha256_hex(root) != wanted:
        detail = f"its SHA-256 is {sha256_hex(root)}, which is not the fingerprint that was given"
        raise BundleRefused(BundleReason.ROOT_MISMATCH, detail)
    return Pins(site, wanted)


def _check_free(target: Path) -> None:
    try:
        taken = target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir())))
    except OSError as error:
        raise storing.unwritable(error) from error
    if taken:
        raise BundleRefused(BundleReason.STORE_EXISTS, f"{target.name} exists and is not an empty directory")


def _make(folder: Path, files: dict[str, bytes], secret: bytes) -> None:
    folder.mkdir(storing.FOLDER_MODE)
    (folder / layout.GENERATIONS).mkdir(storing.FOLDER_MODE)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        storing.write_files(handle, {layout.SITE_KEY: secret}, mode=storing.SECRET_MODE)
        storing.write_files(handle, files)
    finally:
        os.close(handle)


def _put_in_place(unfinished: Path, target: Path) -> None:
    unfinished.rename(target)  # replaces an empty directory, and fails where somebody was faster
    parent = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
