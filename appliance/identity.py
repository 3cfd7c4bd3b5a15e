"""A person's own key: what can sign as that person, and the key file, encrypted under a passphrase.

A key on a card (`appliance.card`) is an `Identity` too. The file is OpenSSH's private key format (openssh-key-v1:
bcrypt-pbkdf and AES-256), so `ssh-keygen -y` and `ssh-keygen -p` work on it. The public half lies beside it as a JWK,
to be handed to whoever writes a founding. An operator's key and a custodian's key are made alike; the founding says
which is which.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, load_ssh_private_key

from coldcred.canonical import dumps, loads
from coldcred.errors import Malformed
from coldcred.files import FileKind, check_place, write_file
from coldcred.keys import PublicKey

SHORTEST_PASSPHRASE = 12  # bytes
FEWEST_DISTINCT = 5  # different bytes in a passphrase
MAX_KEY_FILE = 16 * 1024
PUBLIC_ENDING = ".pub.json"

# bcrypt-pbkdf rounds, twice the default of ssh-keygen: about a quarter of a second for each guess.
_KDF_ROUNDS = 32

AskPassphrase: TypeAlias = Callable[[], bytearray]


class IdentityFault(StrEnum):
    """What can be wrong with a key file or its passphrase: closed."""

    EXISTS = "identity-exists"
    MISSING = "identity-missing"
    UNREADABLE = "identity-unreadable"
    UNWRITABLE = "identity-unwritable"
    TOO_OPEN = "identity-too-open"
    NOT_A_KEY = "identity-not-a-key"
    NOT_ENCRYPTED = "identity-not-encrypted"
    NOT_OPENED = "identity-wrong-passphrase"
    TOO_WEAK = "identity-weak-passphrase"


class IdentityError(Exception):
    """A key file cannot be used or made; nothing was changed."""

    def __init__(self, fault: IdentityFault, detail: str) -> None:
        """Name the fault and say what was found."""
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail

    @property
    def id(self) -> str:
        """The fault's id."""
        return self.fault.value


class Hand(Protocol):
    """The private half, wherever it is: in this process, or on a card that it never leaves."""

    def sign(self, data: bytes, /) -> bytes:
        """Give the signature over exactly these bytes, in the form that JOSE wants."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An opened key that can sign; `public` is all that is ever shown of it."""

    public: PublicKey
    _private: Hand = field(repr=False, compare=False)

    @classmethod
    def load(cls, path: Path, passphrase: AskPassphrase) -> Self:
        """Open the key file `path`, asking for its passphrase only once the file itself is in order.

        Raises `IdentityError`. The array that `passphrase` returns is wiped; copies that the library makes are not ours
        to wipe.
        """
        data = _read(path)
        secret = passphrase()
        if not secret:
            raise IdentityError(IdentityFault.NOT_OPENED, f"an empty passphrase does not open {path}")
        try:
            private = load_ssh_private_key(data, bytes(secret))
        except TypeError as error:
            raise IdentityError(IdentityFault.NOT_ENCRYPTED, f"{path} is not encrypted") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            if "checksum" in str(error):
                detail = f"the passphrase does not open {path}"
                raise IdentityError(IdentityFault.NOT_OPENED, detail) from error
            detail = f"{path} is damaged or is not an OpenSSH private key"
            raise IdentityError(IdentityFault.NOT_A_KEY, detail) from error
        finally:
            secret[:] = bytes(len(secret))
        if not isinstance(private, Ed25519PrivateKey):
            raise IdentityError(IdentityFault.NOT_A_KEY, f"{path} is not an Ed25519 key")
        return cls(PublicKey.from_cryptography(private.public_key()), private)

    @property
    def kid(self) -> str:
        """The RFC 7638 thumbprint of the public half."""
        return self.public.thumbprint

    def sign(self, signing_input: bytes) -> bytes:
        """Give the signature (64 bytes) over exactly these bytes; a card may refuse (`CardError`)."""
        return self._private.sign(signing_input)


def public_path(path: Path) -> Path:
    """Where the public half of the key file `path` lies: beside it, `NAME.pub.json`."""
    return path.with_name(f"{path.name}{PUBLIC_ENDING}")


def keygen(path: Path, passphrase: AskPassphrase) -> Identity:
    """Make a new key in file `path` (0600) and its public JWK beside it; neither may exist yet (`IdentityError`)."""
    with _told():
        check_place(path, FileKind.SECRET)
        check_place(public_path(path), FileKind.DOCUMENT)
    secret = passphrase()
    try:
        check_passphrase(secret)
        private = Ed25519PrivateKey.generate()
        encryption = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(_KDF_ROUNDS).build(bytes(secret))
        data = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption)
    finally:
        secret[:] = bytes(len(secret))
    public = PublicKey.from_cryptography(private.public_key())
    _create(path, data, FileKind.SECRET)
    try:
        write_public(public_path(path), public)
    except IdentityError:
        path.unlink(missing_ok=True)
        raise
    return Identity(public, private)


def public_jwk(public: PublicKey) -> bytes:
    """Give the public half as the JWK that stands in `NAME.pub.json`."""
    return dumps({**public.jwk(), "alg": public.algorithm.value, "kid": public.thumbprint, "use": "sig"}) + b"\n"


def write_public(path: Path, public: PublicKey) -> None:
    """Write a public half to a new file; `IdentityError` where one is there already or cannot be written."""
    _create(path, public_jwk(public), FileKind.DOCUMENT)


def check_passphrase(secret: bytearray) -> None:
    """Refuse a passphrase that a machine guesses at once (`IdentityError`)."""
    if len(secret) < SHORTEST_PASSPHRASE:
        detail = f"a passphrase has at least {SHORTEST_PASSPHRASE} characters"
        raise IdentityError(IdentityFault.TOO_WEAK, detail)
    if len(set(secret)) < FEWEST_DISTINCT:
        detail = f"a passphrase has at least {FEWEST_DISTINCT} different characters"
        raise IdentityError(IdentityFault.TOO_WEAK, detail)


def _read(path: Path) -> bytes:
    try:
        # Without O_NONBLOCK a named pipe in place of the key would hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise IdentityError(IdentityFault.NOT_A_KEY, f"{path} is not a file")
            if status.st_mode & 0o077:
                detail = f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})"
                raise IdentityError(IdentityFault.TOO_OPEN, detail)
            data = file.read(MAX_KEY_FILE + 1)
    except FileNotFoundError as error:
        raise IdentityError(IdentityFault.MISSING, f"there is no key file {path}") from error
    except OSError as error:
        raise IdentityError(IdentityFault.UNREADABLE, f"{path}: {error.strerror}") from error
    if len(data) > MAX_KEY_FILE:
        raise IdentityError(IdentityFault.NOT_A_KEY, f"{path} is too large for a key file")
    return data


def _create(path: Path, data: bytes, kind: FileKind) -> None:
    with _told():
        write_file(path, data, kind)


@contextmanager
def _told() -> Iterator[None]:
    """Tell what the file system says as what is wrong with a key file."""
    try:
        yield
    except FileExistsError as error:
        raise IdentityError(IdentityFault.EXISTS, f"{error.filename} exists and is never overwritten") from error
    except OSError as error:
        raise IdentityError(IdentityFault.UNWRITABLE, f"{error.filename}: {error.strerror}") from error


def read_public(path: Path) -> PublicKey:
    """Read a `NAME.pub.json`; `IdentityError` where there is none, `Malformed` where it is not a public JWK."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE + 1)
    except FileNotFoundError as error:
        raise IdentityError(IdentityFault.MISSING, f"there is no public key file {path}") from error
    except OSError as error:
        raise IdentityError(IdentityFault.UNREADABLE, f"{path}: {error.strerror}") from error
    try:
        return PublicKey.from_jwk(loads(data, max_bytes=MAX_KEY_FILE))
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from error
