"""Which PKCS#11 mechanisms an algorithm needs, as plain numbers: one row per algorithm, no library behind it.

ES256 signs with CKM_ECDSA over a SHA-256 digest that the worker computes from the whole input: modules without a
hashing ECDSA mechanism exist, and the digest must be of the very bytes the charter was checked on. Both mechanisms
give the signature as JOSE wants it: r||s of 64 bytes (PKCS#11 v3.0 section 2.3.6), and RFC 8032's 64 bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from coldcred.errors import Malformed
from coldcred.keys import COORDINATE, POINT, Algorithm, PublicKey

_OCTET_STRING = 0x04


@dataclass(frozen=True, slots=True)
class MechanismRow:
    """One algorithm in PKCS#11 terms; `hashed` says whether the mechanism wants a SHA-256 digest.

    `curves` are the spellings of CKA_EC_PARAMS (DER) that mean its curve, in the order in which they are asked for.
    `point` is the length of a public key in bytes.
    """

    algorithm: Algorithm
    key_type: int
    generate: int
    sign: int
    curves: tuple[bytes, ...]
    point: int
    hashed: bool
    names: tuple[str, str]


MECHANISMS: Mapping[Algorithm, MechanismRow] = MappingProxyType(
    {
        Algorithm.ES256: MechanismRow(
            algorithm=Algorithm.ES256,
            key_type=0x03,  # CKK_EC
            generate=0x1040,
            sign=0x1041,
            curves=(bytes.fromhex("06082a8648ce3d030107"),),  # OID 1.2.840.10045.3.1.7
            point=POINT,
            hashed=True,
            names=("CKM_EC_KEY_PAIR_GEN", "CKM_ECDSA"),
        ),
        Algorithm.ED25519: MechanismRow(
            algorithm=Algorithm.ED25519,
            key_type=0x40,  # CKK_EC_EDWARDS
            generate=0x1055,
            sign=0x1057,
            # OID 1.3.101.112 (RFC 8410), or the curve's name as a PrintableString, which SoftHSM gives private keys.
            curves=(bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519"),
            point=COORDINATE,
            hashed=False,
            names=("CKM_EC_EDWARDS_KEY_PAIR_GEN", "CKM_EDDSA"),
        ),
    }
)


def row_of_key_type(key_type: int) -> MechanismRow | None:
    """Give the row whose keys have this CKK, or None where we make no such keys."""
    return next((row for row in MECHANISMS.values() if row.key_type == key_type), None)


def public_key(row: MechanismRow, point: bytes) -> PublicKey:
    """Read CKA_EC_POINT, the point itself or a DER OCTET STRING of it; `Malformed` on anything else.

    PKCS#11 v3.0 section 2.3.3 has the octet string; since v3.1 Edwards points stand there raw. The length tells
    which, before any byte does: the first byte of a raw point may be an octet string's tag.
    """
    if len(point) == row.point:
        return PublicKey(row.algorithm, point)
    if point[:2] != bytes((_OCTET_STRING, row.point)) or len(point) != row.point + 2:
        raise Malformed("a CKA_EC_POINT that is neither a point nor one short octet string")
    return PublicKey(row.algorithm, point[2:])
