"""A machine's own key files: PKCS#8 in PEM without a passphrase, mode 0600, made once and never overwritten.

No person is there to type a passphrase when a machine asks at night; the mode of the file keeps its key.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from coldcred import memory
from coldcred.canonical import Json
from coldcred.errors import ColdcredError
from coldcred.files import FileKind, write_file
from coldcred.jose import Typ, assemble, signing_input
from coldcred.keys import COORDINATE, PublicKey, SealingKey

MAX_KEY_FILE = 16 * 1024


class KeyFileUnfit(ColdcredError):
    """A key file cannot be used as it is."""

    @property
    def id(self) -> str:
        """Always `key-file`."""
        return "key-file"


@dataclass(frozen=True)
class SigningKey:
    """A private key that signs for this machine."""

    private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey = field(repr=False)
    public: PublicKey

    def token(self, typ: Typ, claims: dict[str, Json]) -> str:
        """Sign claims as a compact JWS."""
        data = signing_input(typ, self.public.algorithm, self.public.thumbprint, claims)
        return assemble(data, self._sign(data))

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(data)
        r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(COORDINATE) + s.to_bytes(COORDINATE)


def signing_key(path: Path) -> SigningKey:
    """Read a signing key, P-256 or Ed25519; raises `KeyFileUnfit` or `OSError`."""
    private = _read(path)
    if isinstance(private, ed25519.Ed25519PrivateKey) or (
        isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1)
    ):
        return SigningKey(private, PublicKey.from_cryptography(private.public_key()))
    raise KeyFileUnfit(f"{path} holds a key that is neither P-256 nor Ed25519")


def sealing_key(path: Path) -> SealingKey:
    """Read the public half of a sealing key, X25519; raises `KeyFileUnfit` or `OSError`."""
    private = _read(path)
    if not isinstance(private, X25519PrivateKey):
        raise KeyFileUnfit(f"{path} holds a key that is not X25519")
    return SealingKey(private.public_key().public_bytes_raw())


def make_signing_key(path: Path) -> bool:
    """Make a signing key unless a file is there; says whether it was made."""
    return _make(path, lambda: _pem(ec.generate_private_key(ec.SECP256R1())))


def make_sealing_key(path: Path) -> bool:
    """Make a sealing key unless a file is there; says whether it was made."""
    return _make(path, lambda: _pem(X25519PrivateKey.generate()))


def _pem(private: ec.EllipticCurvePrivateKey | X25519PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _make(path: Path, make: Callable[[], bytes]) -> bool:
    """Put a new key in place whole: a file that exists, or appears meanwhile, stays what it is."""
    _guard()
    if path.exists():
        return False
    try:
        write_file(path, make(), FileKind.SECRET)
    except FileExistsError:
        return False
    return True


def _guard() -> None:
    """Guard this process's memory before a key comes into it."""
    try:
        memory.guard()
    except memory.Unguarded as error:
        raise KeyFileUnfit(f"no key is opened or made where memory cannot be guarded ({error})") from error


def _read(path: Path) -> object:
    _guard()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileUnfit(f"{path} is not a file")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise KeyFileUnfit(f"{path} can be used by others (mode {mode:04o}); chmod 600, or make a new key")
        data = file.read(MAX_KEY_FILE)
    try:
        return load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileUnfit(f"{path} is not a private key in PEM without a passphrase") from error
