"""Token status lists (draft-ietf-oauth-status-list): one bit a credential, fixed size, one bit means revoked.

The list travels as a `statuslist+jwt` inside the rotation bundle and is never fetched.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from coldcred import names
from coldcred.canonical import Json, b64u_decode, b64u_encode, loads
from coldcred.errors import Malformed
from coldcred.record import Record

SIZE = 2**20
SIZE_BYTES = SIZE // 8
MAX_TOKEN = 512 * 1024


@dataclass(frozen=True, slots=True)
class StatusList:
    """One list: `bits` is 131,072 bytes, index 0 is the least significant bit of byte 0; times are Unix seconds."""

    uri: str
    bits: bytes
    issued_at: int
    expires_at: int
    ttl: int

    def __post_init__(self) -> None:
        """Refuse a list of another size, the caller's mistake."""
        if len(self.bits) != SIZE_BYTES:
            message = f"a status list has {SIZE_BYTES} bytes"
            raise ValueError(message)

    def is_set(self, index: int) -> bool:
        """Whether the credential at `index` is revoked; `IndexError` outside the list."""
        _check(index)
        return bool(self.bits[index // 8] >> (index % 8) & 1)

    def claims(self) -> dict[str, Json]:
        """Give the claims of the status list token."""
        lst = b64u_encode(zlib.compress(self.bits, level=9))
        return {
            "sub": self.uri,
            "iat": self.issued_at,
            "exp": self.expires_at,
            "ttl": self.ttl,
            "status_list": {"bits": 1, "lst": lst},
        }


class IndexSet:
    """Some indices of one list, as its bits: 128 KiB however many there are. `IndexError` outside the list."""

    __slots__ = ("_bits", "_count")

    def __init__(self, indices: Iterable[int] = ()) -> None:
        """Begin with these indices."""
        self._bits = bytearray(SIZE_BYTES)
        self._count = 0
        for index in indices:
            self.add(index)

    def add(self, index: int) -> bool:
        """Add an index; gives whether it is new here."""
        _check(index)
        mask = 1 << (index & 7)
        if self._bits[index >> 3] & mask:
            return False
        self._bits[index >> 3] |= mask
        self._count += 1
        return True

    def __contains__(self, index: int) -> bool:
        """Whether an index is in it."""
        _check(index)
        return bool(self._bits[index >> 3] >> (index & 7) & 1)

    def __len__(self) -> int:
        """How many indices are in it; kept, not counted."""
        return self._count

    def bits(self) -> bytes:
        """Give the bits as a status list has them."""
        return bytes(self._bits)


def _check(index: int) -> None:
    if not 0 <= index < SIZE:
        raise IndexError("status index out of range")


def bits_with(indices: Iterable[int]) -> bytes:
    """Give the bits of a list in which exactly `indices` are set; `IndexError` outside the list."""
    return IndexSet(indices).bits()


def parse_uri(payload: bytes) -> str:
    """Read only the list's `sub`, for a check that need not inflate the bits."""
    return names.https_uri(Record.of(loads(payload, max_bytes=MAX_TOKEN), "status list").text("sub"))


def parse(payload: bytes) -> StatusList:
    """Read the payload of a verified status list token; inflation is bounded to the fixed size."""
    record = Record.of(loads(payload, max_bytes=MAX_TOKEN), "status list")
    uri = names.https_uri(record.text("sub"))
    issued_at, expires_at = record.time("iat"), record.time("exp")
    ttl = record.seconds("ttl", least=1)
    if issued_at >= expires_at:
        raise Malformed("status list: iat < exp does not hold")
    body = record.record("status_list")
    if body.integer("bits") != 1:
        message = "status list: one bit a credential is read"
        raise Malformed(message)
    bits = _inflate(b64u_decode(body.text("lst", max_chars=MAX_TOKEN)))
    body.done()
    record.done()
    return StatusList(uri, bits, issued_at, expires_at, ttl)


def _inflate(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        bits = stream.decompress(data, SIZE_BYTES + 1)
    except zlib.error as error:
        message = "status list: not a zlib stream"
        raise Malformed(message) from error
    if len(bits) != SIZE_BYTES or not stream.eof or stream.unused_data:
        message = f"status list: not exactly {SIZE_BYTES} bytes"
        raise Malformed(message)
    return bits
