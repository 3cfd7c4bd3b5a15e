"""A key of a store in the shape of a `cryptography` private key: other people's code signs with it."""

import copy
import datetime as dt
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Targets

from coldcred.charter import Purpose
from hsm.errors import CharterRefused, WorkerLost
from hsm.signer import P256Signer
from tests.support.fake_keystore import FakeKeyStore
from tests.support.hsm_inputs import admitted, site_input
from tests.support.signers import Signer

KEY = b"0123456789abcdef"
ECDSA = ec.ECDSA(hashes.SHA256())


@pytest.fixture
def store() -> FakeKeyStore:
    """Return a store in memory."""
    return FakeKeyStore()


@pytest.fixture
def signer(store: FakeKeyStore) -> P256Signer:
    """Return a signer over an admitted bundle key."""
    return P256Signer(store, KEY, admitted(store, Purpose.BUNDLE))


def test_it_signs_what_its_charter_allows(signer: P256Signer) -> None:
    """One element, whole input, DER out, and the signature verifies under the public key it gives."""
    data = site_input(1)
    signer.public_key().verify(signer.sign(data, ECDSA), data, ECDSA)
    signer.public_key().verify(signer.sign(memoryview(data), ECDSA), data, ECDSA)


def test_tuf_signs_with_it(signer: P256Signer) -> None:
    """The signer of TUF metadata takes it as it takes a software key."""
    signed = Targets.from_dict(_signed(site_input(1)))
    metadata = Metadata(signed)
    made = metadata.sign(CryptoSigner(signer))
    CryptoSigner(signer).public_key.verify_signature(made, metadata.signed_bytes)


def _signed(data: bytes) -> dict[str, object]:
    found: dict[str, object] = json.loads(data)
    return found


def test_what_exceeds_the_charter_is_not_signed_for_anybody(signer: P256Signer, store: FakeKeyStore) -> None:
    """A certificate builder that is handed the key meets the charter: nothing is signed."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rogue")])
    day = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(signer.public_key())
        .serial_number(1)
        .not_valid_before(day)
        .not_valid_after(day + dt.timedelta(days=1))
    )
    with pytest.raises(CharterRefused):
        builder.sign(signer, hashes.SHA256())
    assert store.signed == []


def test_a_fault_is_raised(signer: P256Signer, store: FakeKeyStore) -> None:
    """Where there is no signature there is an exception, and nothing else."""
    store.fail_next(WorkerLost("gone"))
    with pytest.raises(WorkerLost):
        signer.sign(site_input(1), ECDSA)


@pytest.mark.parametrize(
    "algorithm", [ec.ECDSA(hashes.SHA384()), ec.ECDSA(utils.Prehashed(hashes.SHA256())), ec.ECDSA(hashes.SHA3_256())]
)
def test_digests_and_other_hashes_are_refused(signer: P256Signer, algorithm: ec.ECDSA) -> None:
    """A digest made elsewhere cannot be read, and so is not signed."""
    with pytest.raises(ValueError, match="whole data"):
        signer.sign(bytes(32), algorithm)


def test_the_key_cannot_be_taken_out(signer: P256Signer) -> None:
    """Everything that would need the private value is refused; copies are the signer itself."""
    with pytest.raises(TypeError):
        signer.private_numbers()
    with pytest.raises(TypeError):
        signer.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    with pytest.raises(TypeError):
        signer.exchange(ec.ECDH(), signer.public_key())
    assert copy.copy(signer) is copy.deepcopy(signer) is signer
    assert (signer.curve.name, signer.key_size) == ("secp256r1", 256)


def test_a_log_key_is_no_p256_key(store: FakeKeyStore) -> None:
    """A key of another algorithm is the caller's mistake."""
    with pytest.raises(ValueError, match="ES256"):
        P256Signer(store, KEY, admitted(store, Purpose.LOG))


def test_its_repr_shows_no_store(signer: P256Signer) -> None:
    """What is printed is the key's id and public half."""
    assert "FakeKeyStore" not in repr(signer)
    assert Signer.named("x").public.thumbprint not in repr(signer)
