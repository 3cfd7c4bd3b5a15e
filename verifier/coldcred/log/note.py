"""Signed notes and checkpoints, byte for byte as C2SP writes them (c2sp.org/signed-note, c2sp.org/tlog-checkpoint).

A note is a text that ends in a newline, an empty line, and signature lines `— NAME BASE64(key id || signature)`.
A checkpoint is a note whose text is the log's origin, its size and its root hash. Signatures by keys that the
caller does not hold are ignored, as witnesses add theirs; one bad signature by a key that he holds condemns the note.
Two types of signature are read and written here: 0x01, Ed25519 over the text, and 0x02, ECDSA over its SHA-256 under a
P-256 key, as DER. The key says which; a key id of type 0x02 is of the key alone and not of its name.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from coldcred.canonical import MAX_INTEGER, sha256
from coldcred.errors import BadSignature, LogReason, LogRejected, Malformed
from coldcred.keys import Algorithm, PublicKey, signature_from_der, signature_to_der
from coldcred.log.tree import EMPTY_ROOT, HASH_SIZE

MAX_NOTE = 1024 * 1024
MAX_SIGNATURES = 100  # C2SP asks for at least 16; post-quantum ones of 5 kB each still fit a note of this size
MAX_NAME = 255

_ED25519, _ECDSA = b"\x01", b"\x02"
_KEY_ID = 4
_DASH = "\u2014 "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_NAME = re.compile(rf"[^\s+\x00-\x1f\ud800-\udfff]{{1,{MAX_NAME}}}")  # \s is every Unicode space
_ORIGIN = re.compile(rf"[^\x00-\x1f\ud800-\udfff]{{1,{MAX_NAME}}}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_CHECKPOINT_LINES = 3


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A note key: its name and its key, Ed25519 or P-256; the 4-byte key id follows from them."""

    name: str
    key: PublicKey
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Refuse a name that notes cannot carry (`Malformed`)."""
        _check_name(self.name)
        if self.key.algorithm is Algorithm.ED25519:
            hashed = self.name.encode() + b"\n" + _ED25519 + self.key.raw
        else:
            hashed = self.key.spki()
        object.__setattr__(self, "key_id", sha256(hashed)[:_KEY_ID])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME+HEX(key id)+BASE64(type || key)`; a key id that does not follow from the key is `Malformed`."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        blob = _base64(encoded, "verifier key")
        if blob[:1] == _ED25519:
            key = cls(name, PublicKey(Algorithm.ED25519, blob[1:]))
        elif blob[:1] == _ECDSA:
            key = cls(name, PublicKey.from_spki(blob[1:]))
        else:
            raise Malformed("a verifier key whose type is neither 0x01 (Ed25519) nor 0x02 (ECDSA)")
        if key_id != key.key_id.hex() or key.format() != text:
            raise Malformed("a verifier key whose id does not follow from its name and key")
        return key

    def format(self) -> str:
        """Write the verifier key as one line of text."""
        edwards = self.key.algorithm is Algorithm.ED25519
        blob = _ED25519 + self.key.raw if edwards else _ECDSA + self.key.spki()
        return f"{self.name}+{self.key_id.hex()}+{_base64_text(blob)}"

    def verify(self, signature: bytes, text: bytes) -> None:
        """Return when `signature`, as a note carries it, is this key's over `text`, else raise `BadSignature`."""
        plain = signature if self.key.algorithm is Algorithm.ED25519 else signature_from_der(signature)
        self.key.verify(plain, text)


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who claims to have signed, by name and 4-byte key id, and the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class UnverifiedNote:
    """A well-formed note that nobody has checked yet; `text` is exactly the bytes that were signed."""

    text: bytes
    signatures: tuple[NoteSignature, ...]

    def signers(self, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
        """Give those of `keys` that signed the text, each once, in the caller's order.

        Raises `LogRejected` (`bad-checkpoint`) when a line that names one of them does not verify. Two different
        keys of one name and id are the caller's mistake: `ValueError`.
        """
        known: dict[tuple[str, bytes], VerifierKey] = {}
        for key in keys:
            if known.setdefault((key.name, key.key_id), key) != key:
                raise ValueError(f"two keys that notes cannot tell apart: {key.name}+{key.key_id.hex()}")
        found = set()
        for line in self.signatures:
            identity = (line.name, line.key_id)
            if identity not in known:
                continue
            try:
                known[identity].verify(line.signature, self.text)
            except BadSignature as error:
                detail = f"the signature of {line.name}+{line.key_id.hex()} does not verify"
                raise LogRejected(LogReason.BAD_CHECKPOINT, detail) from error
            found.add(identity)
        return tuple(key for identity, key in known.items() if identity in found)


def parse_unverified(note: bytes) -> UnverifiedNote:
    """Split a note into text and signature lines without believing it; `Malformed` on anything C2SP excludes."""
    if len(note) > MAX_NOTE:
        raise Malformed(f"a note of {len(note)} bytes where at most {MAX_NOTE} are read")
    cut = note.rfind(b"\n\n")
    if cut < 0:
        raise Malformed("a note without an empty line between text and signatures")
    text, tail = note[: cut + 1], note[cut + 2 :]
    _check_text(text)
    lines = _decode(tail).split("\n")
    if lines.pop():
        raise Malformed("a note that does not end with a newline")
    if not 0 < len(lines) <= MAX_SIGNATURES:
        raise Malformed(f"a note of {len(lines)} signatures where 1 to {MAX_SIGNATURES} are read")
    return UnverifiedNote(text, tuple(_signature_line(line) for line in lines))


def open_note(note: bytes, keys: Iterable[VerifierKey]) -> bytes:
    """Give the text of a note that at least one of `keys` signed, exactly as it was signed.

    Raises `Malformed`, or `LogRejected`: `bad-checkpoint` when one of `keys` signed something else, `unknown-signer`
    when none of them signed at all.
    """
    unverified = parse_unverified(note)
    if not unverified.signers(keys):
        raise LogRejected(LogReason.UNKNOWN_SIGNER, "no known key signed this note")
    return unverified.text


def signed_by(note: bytes, key: VerifierKey) -> bytes:
    """Give a note without the signatures of others than `key`, which may be many (`Malformed` where it is no note).

    Nothing is verified. A note that `key` did not sign comes back as it is.
    """
    unverified = parse_unverified(note)
    lines = note[len(unverified.text) + 1 :].splitlines(keepends=True)
    for line, signature in zip(lines, unverified.signatures, strict=True):
        if (signature.name, signature.key_id) == (key.name, key.key_id):
            return unverified.text + b"\n" + line
    return note


def sign_note(text: bytes, *signatures: tuple[VerifierKey, bytes]) -> bytes:
    """Join a text and signatures over exactly these bytes, made elsewhere, into a note.

    A signature is of 64 bytes, as tokens carry it, whatever its algorithm. Each is verified first (`BadSignature`); a
    text that cannot be a note's is a `ValueError`.
    """
    if not 0 < len(signatures) <= MAX_SIGNATURES:
        raise ValueError(f"{len(signatures)} signatures for a note that takes 1 to {MAX_SIGNATURES}")
    try:
        _check_text(text)
    except Malformed as error:
        raise ValueError(str(error)) from error
    lines = []
    for key, signature in signatures:
        key.key.verify(signature, text)
        written = signature if key.key.algorithm is Algorithm.ED25519 else signature_to_der(signature)
        lines.append(f"{_DASH}{key.name} {_base64_text(key.key_id + written)}\n")
    return text + b"\n" + "".join(lines).encode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its origin, its size in entries and the root hash (32 bytes) at that size."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse what no checkpoint of ours can say (`Malformed`)."""
        if not _ORIGIN.fullmatch(self.origin):
            raise Malformed("a checkpoint whose origin is empty, too long or holds a control character")
        if not 0 <= self.size <= MAX_INTEGER:
            raise Malformed("a checkpoint whose size is negative or beyond 2^53-1")
        if len(self.root) != HASH_SIZE:
            raise Malformed(f"a checkpoint whose root hash is {len(self.root)} bytes where {HASH_SIZE} belong")
        if (self.size == 0) != (self.root == EMPTY_ROOT):
            raise Malformed("a checkpoint whose size and root disagree on whether the log is empty")

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read a note's text as a checkpoint (`Malformed`).

        Extension lines are refused: C2SP advises against them, and a log key that signs free text signs anything.
        """
        _check_text(text)
        lines = text.decode().split("\n")
        if len(lines) != _CHECKPOINT_LINES + 1:
            raise Malformed(f"a checkpoint of {len(lines) - 1} lines; ours have origin, size and root hash")
        origin, size, root = lines[:_CHECKPOINT_LINES]
        if not _SIZE.fullmatch(size):
            raise Malformed("a checkpoint whose size is not a plain decimal number")
        return cls(origin, int(size), _base64(root, "root hash"))

    def text(self) -> bytes:
        """Give the bytes that the log key signs."""
        return f"{self.origin}\n{self.size}\n{_base64_text(self.root)}\n".encode()


def open_checkpoint(note: bytes, key: VerifierKey, *, origin: str | None = None) -> Checkpoint:
    """Read a checkpoint signed by the log key `key`, whose name is the origin unless one is given.

    Raises as `open_note` and `Checkpoint.parse` do; another log's checkpoint is `LogRejected` (`bad-checkpoint`).
    """
    checkpoint = Checkpoint.parse(open_note(note, (key,)))
    expected = key.name if origin is None else origin
    if checkpoint.origin != expected:
        detail = f"a checkpoint of log {checkpoint.origin!a} where {expected!a} is asked for"
        raise LogRejected(LogReason.BAD_CHECKPOINT, detail)
    return checkpoint


def _signature_line(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise Malformed("a signature line that is not a dash, a name and base64")
    _check_name(name)
    blob = _base64(encoded, "signature")
    if len(blob) <= _KEY_ID:
        raise Malformed("a signature line without a signature")
    return NoteSignature(name, blob[:_KEY_ID], blob[_KEY_ID:])


def _check_text(text: bytes) -> None:
    if not text.endswith(b"\n"):
        raise Malformed("a note text that does not end with a newline")
    _decode(text)


def _decode(part: bytes) -> str:
    try:
        text = part.decode()
    except UnicodeDecodeError as error:
        raise Malformed("a note that is not UTF-8") from error
    if _CONTROL.search(text):
        raise Malformed("a note with a control character other than newline")
    return text


def _check_name(name: str) -> None:
    if not _KEY_NAME.fullmatch(name):
        raise Malformed("a key name that is empty, too long, or holds a space, a plus or a control character")


def _base64(text: str, what: str) -> bytes:
    """Read standard padded base64 (RFC 4648 section 4) that is written in the one canonical way."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise Malformed(f"a {what} that is not base64") from error
    if _base64_text(data) != text:
        raise Malformed(f"a {what} whose base64 is not canonical")
    return data


def _base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
