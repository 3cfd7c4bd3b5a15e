"""Signed notes of type 0x02, ECDSA: other people's bytes first, then everything that must be refused.

The foreign vectors are the keys and notes of github.com/transparency-dev/formats v0.1.1, `note_verifier_test.go`
(Apache-2.0): a checkpoint of Sigstore's Rekor and one of the Pixel 6 transparency log, real logs that others run.
"""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from coldcred.errors import BadSignature, LogRejected, Malformed
from coldcred.keys import Algorithm, PublicKey, signature_from_der, signature_to_der
from coldcred.log import note
from tests.support.signers import Signer

REKOR_KEY = (
    "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLOC96l"
    "+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc="
)
REKOR_NOTE = (
    "Rekor\n798034\nf+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n\n\u2014 rekor.sigstore.dev wNI9ajBEAiARInWIWyCdyG27"
    "CO6LPnPekyw20qO0YJfoaPaowGp/XgIgc+qEHS3+GKVClgqq20uDLet7MCoTURUCRdxwWBHHufk=\n"
)
PIXEL_KEY = (
    "pixel6_transparency_log+91c16e30+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN+4x0Jk1yTwvLFI9A4NDdGZcX0aiWVdWM5XJVy0"
    "M4VWD3AvyW5Q6Hs9A0mcDkpUoYgn+KKPNzFC0H3nN3q6JQ8="
)
PIXEL_NOTE = (
    "DEFAULT\n10\nbsWRucJU5xJPHb5eBdOm6+DM+VelCZBuvtI3sHERJ9Y=\n\n\u2014 pixel6_transparency_log kcFuMDBFAiEAhqMAP8P6qf"
    "6QxtUJhzMhbN+MbZ9dwfUHzGQJmffJHtoCIGD0cNe47dHWBoPwYdgBCepB06/+g5O1FmYjXl06owL4\n"
)
FOREIGN = [(REKOR_KEY, REKOR_NOTE, "Rekor", 798_034), (PIXEL_KEY, PIXEL_NOTE, "DEFAULT", 10)]
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

OURS = Signer.named("log of type 0x02")
KEY = note.VerifierKey("plant-a.example/log", OURS.public)
TEXT = note.Checkpoint("plant-a.example/log", 7, b"r" * 32).text()


@pytest.mark.parametrize(("key", "body", "origin", "size"), FOREIGN)
def test_checkpoints_of_other_logs_are_read(key: str, body: str, origin: str, size: int) -> None:
    """Their key is written again as they write it, its id is that of the key alone, and their note opens under it."""
    parsed = note.VerifierKey.parse(key)
    assert parsed.format() == key
    assert note.open_checkpoint(body.encode(), parsed, origin=origin).size == size
    assert note.VerifierKey("another-name", parsed.key).key_id == parsed.key_id


@pytest.mark.parametrize(("key", "body"), [(key, body) for key, body, _, _ in FOREIGN])
def test_no_other_text_passes(key: str, body: str) -> None:
    """Each byte of the text changed alone is refused under a signature that is somebody else's and good."""
    parsed, (text, line) = note.VerifierKey.parse(key), body.split("\n\n")
    for place, letter in enumerate(text):
        other = text[:place] + ("a" if letter != "a" else "b") + text[place + 1 :]
        with pytest.raises(LogRejected, match="does not verify"):
            note.open_note(f"{other}\n\n{line}".encode(), [parsed])


def signed(signature: bytes, key: note.VerifierKey = KEY) -> bytes:
    """Return a note of TEXT with a signature just as it is given."""
    encoded = base64.b64encode(key.key_id + signature).decode()
    return TEXT + f"\n\u2014 {key.name} {encoded}\n".encode()


def test_a_note_of_ours_is_der() -> None:
    """What is made of the 64 bytes that a token gives opens again, and its line holds the DER that others read."""
    plain = OURS.sign(TEXT)
    body = note.sign_note(TEXT, (KEY, plain))
    assert body == signed(signature_to_der(plain))
    public = OURS.public.cryptography()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    der = note.parse_unverified(body).signatures[0].signature
    assert der == encode_dss_signature(*decode_dss_signature(der))
    assert note.open_checkpoint(body, KEY).size == 7
    assert note.VerifierKey.parse(KEY.format()) == KEY


def test_a_signature_has_one_spelling() -> None:
    """Raw r||s, BER lengths, numbers with noughts before them, negative or too large ones, more bytes: all refused."""
    plain = OURS.sign(TEXT)
    der = signature_to_der(plain)
    r, s = plain[:32], plain[32:]
    padded = b"\x02" + bytes([35]) + bytes(3) + r
    wrong = [
        b"",
        plain,
        der + b"\x00",
        der[:-1],
        b"\x30\x81" + der[1:],
        b"\x30\x80" + der[2:] + b"\x00\x00",
        b"\x30" + bytes([len(padded) + len(der) - 2]) + padded + der[2:],
        encode_dss_signature(int.from_bytes(r) + 2**256, int.from_bytes(s)),
        encode_dss_signature(0, 0),
        encode_dss_signature(int.from_bytes(r), int.from_bytes(s) + ORDER),
        bytes(64),
    ]
    for signature in wrong:
        with pytest.raises(LogRejected) as caught:
            note.open_note(signed(signature or b"\x00"), [KEY])
        assert caught.value.id == "bad-checkpoint"
    assert note.open_note(signed(der), [KEY]) == TEXT


@pytest.mark.parametrize("short", [(0, 1), (1, 0), (1, 1), (0, 31), (31, 31)])
def test_short_numbers_are_written_short(short: tuple[int, int]) -> None:
    """A number that begins with noughts, or with a high bit, has its one DER form both ways."""
    for first in (0x01, 0x7F, 0x80, 0xFF):
        plain = b"".join((bytes(count) + bytes([first]) * (32 - count)) for count in short)
        der = signature_to_der(plain)
        assert der == encode_dss_signature(int.from_bytes(plain[:32]), int.from_bytes(plain[32:]))
        assert signature_from_der(der) == plain


def test_what_is_signed_is_verified_before_it_is_written() -> None:
    """A signature over something else makes no note."""
    with pytest.raises(BadSignature):
        note.sign_note(TEXT, (KEY, OURS.sign(TEXT + b"x")))


def test_one_key_of_each_type_signs_beside_the_other() -> None:
    """A note may carry both; each is checked, and one that is bad condemns it."""
    edwards = Signer.named("log of type 0x01", Algorithm.ED25519)
    other = note.VerifierKey(KEY.name, edwards.public)
    body = note.sign_note(TEXT, (KEY, OURS.sign(TEXT)), (other, edwards.sign(TEXT)))
    assert note.parse_unverified(body).signers([other, KEY]) == (other, KEY)
    lines = body.split(b"\n")
    bad = signed(encode_dss_signature(1, 1)) + lines[-2] + b"\n"
    with pytest.raises(LogRejected):
        note.open_note(bad, [other, KEY])


def _spki(curve: ec.EllipticCurve, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    return ec.derive_private_key(7, curve).public_key().public_bytes(Encoding.DER, form)


def _compressed() -> bytes:
    """Return a SubjectPublicKeyInfo whose point is compressed: the same key, otherwise written."""
    spki = OURS.public.spki()
    point = bytes([2 + (OURS.public.raw[-1] & 1)]) + OURS.public.raw[1:33]
    return b"\x30\x39" + spki[2:23] + b"\x03\x22\x00" + point


@pytest.mark.parametrize(
    "blob",
    [
        b"\x02",
        b"\x02" + OURS.public.raw,
        b"\x02" + _spki(ec.SECP384R1()),
        b"\x02" + _compressed(),
        b"\x02" + OURS.public.spki() + b"\x00",
        b"\x02" + Signer.named("edwards", Algorithm.ED25519).public.spki(),
        b"\x01" + OURS.public.spki(),
        b"\x03" + OURS.public.spki(),
        b"\x05" + OURS.public.spki(),
    ],
    ids=lambda blob: blob[:8].hex(),
)
def test_other_verifier_keys_are_malformed(blob: bytes) -> None:
    """Another curve, a compressed or bare point, bytes after it, a key of the other type, a type of other documents."""
    with pytest.raises(Malformed):
        note.VerifierKey.parse(f"log+{KEY.key_id.hex()}+{base64.b64encode(blob).decode()}")


def test_a_key_id_that_is_not_the_keys_is_malformed() -> None:
    """Also where it is what type 0x01 would make of the same key: the id of type 0x02 has no name in it."""
    with pytest.raises(Malformed, match="does not follow"):
        note.VerifierKey.parse(KEY.format().replace(KEY.key_id.hex(), "00000000"))


def test_a_key_of_the_other_type_is_malformed_under_its_own_id() -> None:
    """An Ed25519 key in the form of type 0x02, with the id that it has as type 0x01."""
    key = Signer.named("edwards", Algorithm.ED25519).public
    blob = base64.b64encode(b"\x02" + key.spki()).decode()
    with pytest.raises(Malformed):
        note.VerifierKey.parse(f"log+{note.VerifierKey('log', key).key_id.hex()}+{blob}")


def test_a_key_is_read_as_it_is_written() -> None:
    """SubjectPublicKeyInfo both ways, for both algorithms."""
    for algorithm in Algorithm:
        key = Signer.named("spki", algorithm).public
        assert PublicKey.from_spki(key.spki()) == key
    with pytest.raises(Malformed):
        PublicKey.from_spki(_compressed())
