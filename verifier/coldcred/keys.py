"""Public keys: two algorithms, one spelling as JWK, one thumbprint.

A key has exactly one algorithm (RFC 8725 section 3.1), named as in RFC 9864: `ES256` (P-256, signature r||s of
64 bytes, RFC 7518 section 3.4) or `Ed25519` (RFC 8032). Sealing keys (X25519, RFC 7748) sign nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from coldcred.canonical import Json, b64u_decode, b64u_encode, dumps, sha256
from coldcred.errors import BadSignature, Malformed
from coldcred.record import Record

COORDINATE = 32
POINT = 1 + 2 * COORDINATE
SIGNATURE = 64

# edwards25519 (RFC 8032 section 5.1): the field's prime and the curve's constant d.
_PRIME = 2**255 - 19
_D = -121665 * pow(121666, -1, _PRIME) % _PRIME

# Curve25519 (RFC 7748): the coordinates of the points of order 1, 2, 4 and 8, of the curve and its twist.
_LOW_ORDER = frozenset(
    {
        0,
        1,
        _PRIME - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)

_ECDSA_SHA256 = ec.ECDSA(utils.Prehashed(hashes.SHA256()))  # hashlib is the quicker way to the same digest


class Algorithm(StrEnum):
    """Fully-specified signature algorithms (RFC 9864)."""

    ES256 = "ES256"
    ED25519 = "Ed25519"


@dataclass(frozen=True)
class PublicKey:
    """A public key that is a point of its curve; raw is the 65-byte uncompressed point or 32 bytes of Ed25519.

    Ed25519 points of small order are refused: under them anybody can make signatures that verify.
    """

    algorithm: Algorithm
    raw: bytes

    def __post_init__(self) -> None:
        """Refuse bytes that are not a point (`Malformed`)."""
        try:
            _ = self._loaded
        except ValueError as error:
            message = f"not a {self.algorithm} public key"
            raise Malformed(message) from error

    @cached_property
    def _loaded(self) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
        if self.algorithm is Algorithm.ED25519:
            key = ed25519.Ed25519PublicKey.from_public_bytes(self.raw)
            _check_edwards_point(self.raw)
            return key
        if len(self.raw) != POINT:
            message = "a compressed or cut point"
            raise ValueError(message)
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.raw)

    @classmethod
    def from_jwk(cls, value: Json) -> Self:
        """Read a public JWK (RFC 7517, RFC 8037); private members and members unknown here are refused."""
        record = Record.of(value, "JWK")
        kty, crv = record.text("kty"), record.text("crv")
        names: tuple[str, ...]
        if (kty, crv) == ("EC", "P-256"):
            algorithm, prefix, names = Algorithm.ES256, b"\x04", ("x", "y")
        elif (kty, crv) == ("OKP", "Ed25519"):
            algorithm, prefix, names = Algorithm.ED25519, b"", ("x",)
        else:
            message = f"JWK of kty {kty[:16]!a} and crv {crv[:16]!a}; P-256 and Ed25519 are read"
            raise Malformed(message)
        parts = [b64u_decode(record.text(name)) for name in names]
        if any(len(part) != COORDINATE for part in parts):
            message = "JWK coordinate that is not 32 bytes"
            raise Malformed(message)
        key = cls(algorithm, prefix + b"".join(parts))
        if (named := record.optional_text("alg")) not in {None, algorithm.value}:
            message = f"JWK whose alg {ascii(named)[:32]} is not that of its curve"
            raise Malformed(message)
        if record.optional_text("use") not in {None, "sig"}:
            message = "JWK whose use is not sig"
            raise Malformed(message)
        if record.optional_text("kid") not in {None, key.thumbprint}:
            message = "JWK whose kid is not its RFC 7638 thumbprint"
            raise Malformed(message)
        record.done()
        return key

    @classmethod
    def from_cryptography(cls, key: object) -> Self:
        """Take a public key of the `cryptography` library; other types and curves are `Malformed`."""
        if isinstance(key, ed25519.Ed25519PublicKey):
            return cls(Algorithm.ED25519, key.public_bytes(Encoding.Raw, PublicFormat.Raw))
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            return cls(Algorithm.ES256, key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
        message = "a key that is neither P-256 nor Ed25519"
        raise Malformed(message)

    @classmethod
    def from_spki(cls, der: bytes) -> Self:
        """Read a SubjectPublicKeyInfo (RFC 5280 section 4.1), written in the one way that `spki` writes it."""
        try:
            key = cls.from_cryptography(load_der_public_key(der))
        except (ValueError, UnsupportedAlgorithm) as error:
            message = "not a SubjectPublicKeyInfo"
            raise Malformed(message) from error
        if key.spki() != der:
            message = "a SubjectPublicKeyInfo that is not written as it is here"
            raise Malformed(message)
        return key

    def spki(self) -> bytes:
        """Give the key as a SubjectPublicKeyInfo, DER; a P-256 point is uncompressed."""
        return self._loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def cryptography(self) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
        """Give the key as the `cryptography` library's own object."""
        return self._loaded

    def jwk(self) -> dict[str, Json]:
        """Give the members that RFC 7638 hashes: kty, crv, x and, for P-256, y."""
        if self.algorithm is Algorithm.ED25519:
            return {"crv": "Ed25519", "kty": "OKP", "x": b64u_encode(self.raw)}
        x, y = self.raw[1 : 1 + COORDINATE], self.raw[1 + COORDINATE :]
        return {"crv": "P-256", "kty": "EC", "x": b64u_encode(x), "y": b64u_encode(y)}

    @cached_property
    def thumbprint(self) -> str:
        """SHA-256 JWK thumbprint in base64url (RFC 7638), the `kid` everywhere."""
        return b64u_encode(sha256(dumps(self.jwk())))

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return when `signature` (64 bytes) is this key's over `message`, else raise `BadSignature`."""
        if len(signature) != SIGNATURE:
            reason = f"a signature of {len(signature)} bytes where 64 belong"
            raise BadSignature(reason)
        key = self._loaded
        try:
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            else:
                key.verify(signature_to_der(signature), sha256(message), _ECDSA_SHA256)
        except InvalidSignature as error:
            reason = f"the signature does not verify under key {self.thumbprint}"
            raise BadSignature(reason) from error


@dataclass(frozen=True)
class SealingKey:
    """A public X25519 key to which something can be encrypted; raw is the 32 bytes of RFC 7748.

    Points of low order are refused: what is sealed to one, anybody can open. So is a second spelling of a key.
    """

    raw: bytes

    def __post_init__(self) -> None:
        """Refuse bytes that are no key (`Malformed`)."""
        number = int.from_bytes(self.raw, "little")
        if len(self.raw) != COORDINATE or number >= _PRIME or number in _LOW_ORDER:
            message = "not an X25519 public key"
            raise Malformed(message)

    @classmethod
    def from_jwk(cls, value: Json) -> Self:
        """Read a public JWK (RFC 8037 section 2); private members and members unknown here are refused."""
        record = Record.of(value, "JWK")
        kty, crv = record.text("kty"), record.text("crv")
        if (kty, crv) != ("OKP", "X25519"):
            message = f"JWK of kty {kty[:16]!a} and crv {crv[:16]!a} where X25519 belongs"
            raise Malformed(message)
        key = cls(b64u_decode(record.text("x")))
        if record.optional_text("use") not in {None, "enc"}:
            message = "JWK whose use is not enc"
            raise Malformed(message)
        if record.optional_text("kid") not in {None, key.thumbprint}:
            message = "JWK whose kid is not its RFC 7638 thumbprint"
            raise Malformed(message)
        record.done()
        return key

    def jwk(self) -> dict[str, Json]:
        """Give the members that RFC 7638 hashes: kty, crv and x."""
        return {"crv": "X25519", "kty": "OKP", "x": b64u_encode(self.raw)}

    @cached_property
    def thumbprint(self) -> str:
        """SHA-256 JWK thumbprint in base64url (RFC 7638)."""
        return b64u_encode(sha256(dumps(self.jwk())))


def signature_from_der(signature: bytes) -> bytes:
    """Give r||s (64 bytes) of an ECDSA signature in DER (RFC 3279 section 2.2.3); other spellings: `BadSignature`."""
    try:
        r, s = utils.decode_dss_signature(signature)
        plain = r.to_bytes(COORDINATE) + s.to_bytes(COORDINATE)
    except (ValueError, OverflowError) as error:
        reason = "an ECDSA signature that is not DER"
        raise BadSignature(reason) from error
    if signature_to_der(plain) != signature:
        reason = "an ECDSA signature that is not in its one DER form"
        raise BadSignature(reason)
    return plain


def signature_to_der(signature: bytes) -> bytes:
    """Give r||s as the DER that the library reads (RFC 3279 section 2.2.3)."""
    r, s = signature[:COORDINATE], signature[COORDINATE:]
    if not (r[0] and s[0]):  # one in 128 has a shorter number
        return utils.encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
    first = b"\x02\x21\x00" if r[0] & 0x80 else b"\x02\x20"
    second = b"\x02\x21\x00" if s[0] & 0x80 else b"\x02\x20"
    body = first + r + second + s
    return b"0" + bytes((len(body),)) + body


def _check_edwards_point(raw: bytes) -> None:
    """Raise `ValueError` on 32 bytes that are no point, not its one encoding, or a point of order 1, 2, 4 or 8.

    OpenSSL takes any 32 bytes. The cases follow RFC 8032 section 5.1.3, with x^2 = u/v from y; u is 0 at the points of
    order 1 and 2, y at those of order 4, and y^2 = -x^2 at those of order 8.
    """
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    u, v = (y * y - 1) % _PRIME, (_D * y * y + 1) % _PRIME
    on_curve = y < _PRIME and pow(u * v, (_PRIME - 1) // 2, _PRIME) == 1
    if not on_curve or y == 0 or (u + y * y * v) % _PRIME == 0:
        raise ValueError("not a point that is good for a key")
