"""Keys that follow from a name, so that every run signs with the same ones."""

import hashlib
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from coldcred.canonical import Json
from coldcred.jose import Typ, assemble, signing_input
from coldcred.keys import COORDINATE, Algorithm, PublicKey

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order n of P-256: a signature (r, s) verifies exactly when (r, n-s) does."""


@dataclass(frozen=True)
class Signer:
    """A private key for tests and its public half."""

    private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    public: PublicKey

    @classmethod
    def named(cls, name: str, algorithm: Algorithm = Algorithm.ES256) -> Self:
        """Give the key of this name; the same name and algorithm give the same key in every run."""
        seed = hashlib.sha256(name.encode()).digest()
        private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
        if algorithm is Algorithm.ED25519:
            private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        else:
            private = ec.derive_private_key(1 + int.from_bytes(seed) % (P256_ORDER - 1), ec.SECP256R1())
        return cls(private, PublicKey.from_cryptography(private.public_key()))

    @property
    def kid(self) -> str:
        """The thumbprint of the public half."""
        return self.public.thumbprint

    def sign(self, data: bytes) -> bytes:
        """Give the 64 bytes of a JWS signature; ECDSA with the nonce of RFC 6979, so this too repeats."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(data)
        der = self.private.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        r, s = utils.decode_dss_signature(der)
        return r.to_bytes(COORDINATE) + s.to_bytes(COORDINATE)

    def token(self, typ: Typ, claims: dict[str, Json]) -> str:
        """Give a compact JWS over `claims`."""
        data = signing_input(typ, self.public.algorithm, self.kid, claims)
        return assemble(data, self.sign(data))


def twin(signature: bytes) -> bytes:
    """Give the other signature that verifies wherever this ECDSA signature does: (r, n-s)."""
    r, s = signature[:COORDINATE], int.from_bytes(signature[COORDINATE:])
    return r + (P256_ORDER - s).to_bytes(COORDINATE)
