"""A key of a store in the shape that other libraries take private keys in."""

from dataclasses import dataclass, field
from typing import NoReturn, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, KeySerializationEncryption, PrivateFormat

from coldcred.keys import COORDINATE, Algorithm, PublicKey
from hsm.errors import HsmError
from hsm.keystore import KeyStore


@dataclass(frozen=True)
class P256Signer(ec.EllipticCurvePrivateKey):
    """One P-256 key of a store in the shape the `cryptography` library's own private keys have.

    X.509, SSH and TUF code takes it as it takes a software key. Each `sign` is a batch of one, whole input, within
    the key's charter; the `HsmError` of a refusal or fault is raised.
    """

    store: KeyStore = field(repr=False)
    key_id: bytes
    public: PublicKey

    def __post_init__(self) -> None:
        """Refuse a key of another algorithm, the caller's mistake."""
        if self.public.algorithm is not Algorithm.ES256:
            raise ValueError("P256Signer adapts ES256 keys")

    @property
    def curve(self) -> ec.EllipticCurve:
        """Always P-256."""
        return ec.SECP256R1()

    @property
    def key_size(self) -> int:
        """Always 256 bits."""
        return 8 * COORDINATE

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Give the pinned public key."""
        key = self.public.cryptography()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise TypeError
        return key

    def sign(
        self, data: bytes | bytearray | memoryview, signature_algorithm: ec.EllipticCurveSignatureAlgorithm
    ) -> bytes:
        """Sign whole data with ECDSA over SHA-256 and give the signature as DER; raises `HsmError`."""
        whole = isinstance(signature_algorithm, ec.ECDSA) and isinstance(signature_algorithm.algorithm, hashes.SHA256)
        if not whole:
            raise ValueError("this key signs ECDSA over SHA-256 of whole data; a digest made elsewhere is not signed")
        (answer,) = self.store.sign(self.key_id, [bytes(data)])
        if isinstance(answer, HsmError):
            raise answer
        return utils.encode_dss_signature(int.from_bytes(answer[:COORDINATE]), int.from_bytes(answer[COORDINATE:]))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:  # noqa: ARG002 - the abstract class names it
        """Refuse: the key signs and does nothing else."""
        raise TypeError("a signing key agrees on no secrets")

    def private_numbers(self) -> NoReturn:
        """Refuse: the key never leaves the token."""
        raise TypeError("the private key stays in its token")

    def private_bytes(
        self,
        encoding: Encoding,  # noqa: ARG002 - the abstract class names it
        format: PrivateFormat,  # noqa: A002, ARG002 - the abstract class names it
        encryption_algorithm: KeySerializationEncryption,  # noqa: ARG002 - the abstract class names it
    ) -> NoReturn:
        """Refuse: the key never leaves the token."""
        self.private_numbers()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self
