"""Signed notes, verifier keys and checkpoints: other people's bytes first, then everything that must be refused.

The foreign vectors are the example of c2sp.org/signed-note with its verifier key, its older example (a poem with an
empty line inside), the keys and notes of the tests of golang.org/x/mod/sumdb/note (BSD-3-Clause), the example of
c2sp.org/tlog-checkpoint, and checkpoints of the Go checksum database, a log that has run since 2019.
"""

import base64
import dataclasses
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from coldcred.errors import BadSignature, ColdcredError, LogReason, LogRejected, Malformed
from coldcred.keys import PublicKey
from coldcred.log import note, tree

SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_TEXT = "This is an example message.\n"
SPEC_LINE = (
    "\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ENOCH_LINE = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
POEM = (
    "Ognuno sta solo sul cuor della terra\n"
    "trafitto da un raggio di sole:\n"
    "\n"
    "ed \u00e8 subito sera.\n"
    "\n"
    "\u2014 quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)
SUMDB_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
SUMDB_ORIGIN = "go.sum database tree"
SUMDB_NOTES = {
    445_646: (
        "go.sum database tree\n445646\njEFFy4AtYgBBNTSZTiNnQrgQqMbcH0mfO2oP2FxR9VU=\n\n\u2014 sum.golang.org "
        "Az3grkGho/PqvUmEuTv6+r2g303hUhu60FOD6vLpm19mBwH9UjquWY2OKxNmZ55z0gHrp24AgPC3Q5WO7uZrVdvdCQU=\n"
    ),
    15_368_405: (
        "go.sum database tree\n15368405\n/g9am3I6YWNKaZX/jkne1fqd9zEyjss+JXyPXG0WfkY=\n\n\u2014 sum.golang.org "
        "Az3grqJGUaSGukG9p8nI2vKgiFn7qGHxn0W+mrwyI6Gz3F0t1J3LzmWk/p96Ybf295EjwdSwlzgijq5WA9d1Ded7owM=\n"
    ),
}
CHECKPOINT_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
CHECKPOINT_LINES = (
    "\u2014 example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)

ROOT = tree.leaf_hash(b"entry")


def vkey(text: str) -> note.VerifierKey:
    """Return a verifier key from its text."""
    return note.VerifierKey.parse(text)


def pair(name: str, seed: int) -> tuple[note.VerifierKey, Ed25519PrivateKey]:
    """Return a verifier key and its private key, made from a small number."""
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return note.VerifierKey(name, PublicKey.from_cryptography(private.public_key())), private


OURS, OUR_PRIVATE = pair("plant-a.example/log/1", 1)


def signed(text: bytes, *others: tuple[note.VerifierKey, Ed25519PrivateKey]) -> bytes:
    """Return a note signed by our log key and others."""
    pairs = ((OURS, OUR_PRIVATE), *others)
    return note.sign_note(text, *((key, private.sign(text)) for key, private in pairs))


def unknown_line(number: int, length: int = 68) -> str:
    """Return a well-formed signature line of somebody unknown."""
    return f"\u2014 witness.example/{number} {base64.b64encode(random.Random(number).randbytes(length)).decode()}\n"


def refusal(data: bytes, *keys: note.VerifierKey) -> ColdcredError:
    """Return the refusal of a note, which must come."""
    with pytest.raises(ColdcredError) as caught:
        note.open_note(data, keys)
    return caught.value


# --- other people's bytes


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [(SPEC_TEXT, SPEC_LINE, SPEC_KEY), (GO_TEXT, PETER_LINE, PETER_KEY), (GO_TEXT, ENOCH_LINE, ENOCH_KEY)],
)
def test_published_notes_open(text: str, line: str, key: str) -> None:
    """The notes of the specification and of Go's tests verify under their published keys."""
    assert note.open_note(f"{text}\n{line}".encode(), [vkey(key)]) == text.encode()


def test_a_published_note_is_made_byte_for_byte() -> None:
    """Signing Go's text with Go's key gives Go's bytes."""
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(PETER_SEED)[1:])
    text = GO_TEXT.encode()
    assert note.sign_note(text, (vkey(PETER_KEY), private.sign(text))) == f"{GO_TEXT}\n{PETER_LINE}".encode()


def test_a_published_note_of_two_signers() -> None:
    """One known key is enough, both are counted when both are known, in the caller's order, once each."""
    data = f"{GO_TEXT}\n{PETER_LINE}{ENOCH_LINE}{PETER_LINE}".encode()
    peter, enoch = vkey(PETER_KEY), vkey(ENOCH_KEY)
    unverified = note.parse_unverified(data)
    assert unverified.signers([peter]) == (peter,)
    assert unverified.signers([enoch, peter, enoch]) == (enoch, peter)
    assert unverified.signers([vkey(SPEC_KEY)]) == ()
    assert note.open_note(data, [enoch]) == GO_TEXT.encode()


def test_the_poem_keeps_its_empty_line() -> None:
    """The last empty line separates; those before it belong to the text (the specification's older example)."""
    unverified = note.parse_unverified(POEM.encode())
    assert unverified.text.decode() == POEM[: POEM.index("\n\u2014")]
    assert unverified.text.count(b"\n\n") == 1
    (line,) = unverified.signatures
    assert (line.name, line.key_id.hex(), len(line.signature)) == ("quasimodo.example/salvatore", "367ba04b", 64)


@pytest.mark.parametrize("size", SUMDB_NOTES)
def test_checkpoints_of_a_real_log_open(size: int) -> None:
    """Checkpoints of the Go checksum database verify, and are written back to the bytes that were signed."""
    key, data = vkey(SUMDB_KEY), SUMDB_NOTES[size].encode()
    checkpoint = note.open_checkpoint(data, key, origin=SUMDB_ORIGIN)
    assert (checkpoint.origin, checkpoint.size) == (SUMDB_ORIGIN, size)
    assert data.startswith(checkpoint.text() + b"\n")


def test_the_published_checkpoint_reads() -> None:
    """The example of the checkpoint specification, with a witness's cosignature that is longer than ours."""
    unverified = note.parse_unverified(f"{CHECKPOINT_TEXT}\n{CHECKPOINT_LINES}".encode())
    checkpoint = note.Checkpoint.parse(unverified.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert checkpoint.text().decode() == CHECKPOINT_TEXT
    assert [(line.key_id.hex(), len(line.signature)) for line in unverified.signatures] == [
        ("033de0ae", 64),
        ("8d66cf3f", 72),
    ]


# --- verifier keys


@pytest.mark.parametrize("text", [SPEC_KEY, PETER_KEY, ENOCH_KEY, SUMDB_KEY])
def test_published_verifier_keys_are_read_and_written(text: str) -> None:
    """Each published key's id follows from its name and key, and writing gives the text again."""
    key = vkey(text)
    assert key.format() == text
    assert key.key_id.hex() == text.split("+")[1]


def test_any_change_to_a_verifier_key_is_malformed() -> None:
    """Go's manglings: each proper part of the key's text, and each character moved on by one."""
    parts = {PETER_KEY[begin:end] for begin in range(len(PETER_KEY)) for end in range(begin, len(PETER_KEY) + 1)}
    moved = {PETER_KEY[:at] + chr(ord(one) + 1) + PETER_KEY[at + 1 :] for at, one in enumerate(PETER_KEY)}
    for text in (parts | moved) - {PETER_KEY}:
        with pytest.raises(Malformed):
            vkey(text)


@pytest.mark.parametrize(
    "text",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        PETER_KEY.replace("c74f20a3", "C74F20A3"),
        PETER_KEY.replace("c74f20a3", "0xc74f20"),
        PETER_KEY + "\n",
        " " + PETER_KEY,
        PETER_KEY.replace("PeterNeumann", "Peter Neumann"),
        PETER_KEY.replace("PeterNeumann", "Peter\u00a0Neumann"),
        PETER_KEY.replace("PeterNeumann", "Peter\u2028Neumann"),
        PETER_KEY.replace("PeterNeumann", "Peter\x7f\x00"),
        PETER_KEY.replace("PeterNeumann", "Peter\udcff"),
        PETER_KEY.replace("PeterNeumann", ""),
        PETER_KEY.replace("PeterNeumann", "P" * 256),
        PETER_KEY.replace("+ARpc", "++ARpc"),
        PETER_KEY.replace("ARpc", "ARp\u0441"),
        "",
        "++",
    ],
    ids=ascii,
)
def test_other_verifier_keys_are_malformed(text: str) -> None:
    """Go's keys of a wrong length and type, other spellings of the id, and names that no note can carry."""
    with pytest.raises(Malformed):
        vkey(text)


def test_a_name_is_checked_even_with_the_right_id() -> None:
    """A key made here, not parsed, is held to the same names."""
    key = OURS.key
    for name in ("", "a b", "a+b", "a\tb", "a\nb", "a\x01b", "a\u3000b", "a\ud800", "n" * 256):
        with pytest.raises(Malformed):
            note.VerifierKey(name, key)
    assert note.VerifierKey("n" * 255, key).name == "n" * 255


# --- notes


def test_unknown_signers_are_ignored() -> None:
    """A key of the same name with another id, or the same id under another name, is not the known key."""
    text, line = GO_TEXT, PETER_LINE
    same_name = line.replace("x08go/", "x08gp/")
    same_id = line.replace("PeterNeumann", "CarmenSandiego")
    peter = vkey(PETER_KEY)
    for other in (same_name, same_id):
        assert refusal(f"{text}\n{other}".encode(), peter).id == "unknown-signer"
        assert note.open_note(f"{text}\n{other}{line}{other}".encode(), [peter]) == text.encode()
    assert refusal(f"{text}\n{line}".encode()).id == "unknown-signer"


def test_one_bad_signature_of_a_known_key_condemns_the_note() -> None:
    """Even beside a good one of the same or another known key; the reason is not that the signer is unknown."""
    peter, enoch = vkey(PETER_KEY), vkey(ENOCH_KEY)
    blob = bytearray(base64.b64decode(PETER_LINE.split(" ")[2]))
    blob[-1] ^= 1
    bad = f"\u2014 PeterNeumann {base64.b64encode(blob).decode()}\n"
    short = f"\u2014 PeterNeumann {base64.b64encode(blob[:67]).decode()}\n"
    long = PETER_LINE[:60] + "ABCD" + PETER_LINE[60:]
    for wrong in (bad, short, long):
        for lines in (wrong, PETER_LINE + wrong, wrong + PETER_LINE, ENOCH_LINE + wrong):
            found = refusal(f"{GO_TEXT}\n{lines}".encode(), peter, enoch)
            assert isinstance(found, LogRejected)
            assert found.reason is LogReason.BAD_CHECKPOINT
            assert "PeterNeumann+c74f20a3" in found.detail
        assert note.open_note(f"{GO_TEXT}\n{ENOCH_LINE}{wrong}".encode(), [enoch]) == GO_TEXT.encode()


def test_keys_that_notes_cannot_tell_apart_are_the_callers_mistake() -> None:
    """Two keys of one name and id are ambiguous; the same key twice is not."""
    clash = dataclasses.replace(OURS, key=pair("x", 2)[0].key)
    object.__setattr__(clash, "key_id", OURS.key_id)
    data = signed(b"text\n")
    assert note.open_note(data, [OURS, OURS]) == b"text\n"
    with pytest.raises(ValueError, match="cannot tell apart"):
        note.open_note(data, [OURS, clash])


GOOD = f"{GO_TEXT}\n{PETER_LINE}"
MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "only newlines": b"\n\n\n",
    "text alone": GO_TEXT.encode(),
    "no signature": f"{GO_TEXT}\n".encode(),
    "no empty line": f"{GO_TEXT}{PETER_LINE}".encode(),
    "no final newline": GOOD[:-1].encode(),
    "no final newline after the second": f"{GOOD}{ENOCH_LINE[:-1]}".encode(),
    "an empty line at the end": f"{GOOD}\n".encode(),
    "a line after the signatures": f"{GOOD}Unexpected line.\n".encode(),
    "a line before the signatures": f"{GO_TEXT}\nUnexpected line.\n{PETER_LINE}".encode(),
    "no text": f"\n{PETER_LINE}".encode(),
    "carriage returns": GOOD.replace("\n", "\r\n").encode(),
    "a control character in the text": f"\x01{GOOD}".encode(),
    "a tab in the text": GOOD.replace("you think", "you\tthink").encode(),
    "an escape in the text": GOOD.replace("you think", "\x1b[2J").encode(),
    "a control character in a name": GOOD.replace("PeterNeumann", "Peter\x1fNeumann").encode(),
    "text that is not UTF-8": b"\xff" + GOOD.encode(),
    "a surrogate in the text": b"\xed\xa0\x80" + GOOD.encode(),
    "a name that is not UTF-8": GOOD.encode().replace(b"PeterNeumann", b"Peter\xff"),
    "a name with a space": GOOD.replace("PeterNeumann", "Peter Neumann").encode(),
    "a name with a Unicode space": GOOD.replace("PeterNeumann", "Peter\u2003Neumann").encode(),
    "a name with a plus": GOOD.replace("PeterNeumann", "Peter+Neumann").encode(),
    "no name": GOOD.replace("PeterNeumann", "").encode(),
    "a long name": GOOD.replace("PeterNeumann", "P" * 256).encode(),
    "a hyphen for the dash": GOOD.replace("\u2014", "-").encode(),
    "an en dash for the dash": GOOD.replace("\u2014", "\u2013").encode(),
    "no space after the dash": GOOD.replace("\u2014 ", "\u2014").encode(),
    "a second space": GOOD.replace("Neumann ", "Neumann  ").encode(),
    "a space at the end": GOOD[:-1].encode() + b" \n",
    "no signature bytes": f"{GO_TEXT}\n\u2014 PeterNeumann x08gow==\n".encode(),
    "three bytes": f"{GO_TEXT}\n\u2014 PeterNeumann x08g\n".encode(),
    "an empty signature": f"{GO_TEXT}\n\u2014 PeterNeumann \n".encode(),
    "no signature field": f"{GO_TEXT}\n\u2014 PeterNeumann\n".encode(),
    "no padding": GOOD.replace("nAM=", "nAM").encode(),
    "more padding": GOOD.replace("nAM=", "nAM==").encode(),
    "stray trailing bits": GOOD.replace("nAM=", "nAN=").encode(),
    "base64url": GOOD.replace("x08go/", "x08go_").encode(),
    "base64 of other letters": GOOD.replace("x08go", "x08g\u043e").encode(),
    "a bad line of somebody unknown": f"{GOOD}\u2014 witness ????\n".encode(),
    "101 signatures": (f"{GO_TEXT}\n" + PETER_LINE * 101).encode(),
    "101 signatures of unknown keys": (GOOD + "".join(unknown_line(number) for number in range(100))).encode(),
    "over a mebibyte": ("a" * 2**20 + GOOD).encode(),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_notes_are_refused_before_any_signature_counts(what: str) -> None:
    """What C2SP excludes is malformed, even where a known key's good signature stands in it."""
    assert isinstance(refusal(MALFORMED[what], vkey(PETER_KEY)), Malformed)


def test_refusals_say_what_is_missing() -> None:
    """The two halves of a note are told apart when one of them is not there."""
    for text, why in (
        (GO_TEXT, "without an empty line"),
        (f"{GO_TEXT}\n", "0 signatures"),
        (f"x\n\n{POEM[:-1]}", "newline"),
    ):
        with pytest.raises(Malformed, match=why):
            note.parse_unverified(text.encode())
    with pytest.raises(Malformed, match="a checkpoint of 2 lines; ours have origin, size and root hash"):
        note.Checkpoint.parse(b"log\n1\n")


def test_a_hundred_signatures_are_read() -> None:
    """The limit itself is accepted, as are sixteen of post-quantum size, which C2SP asks for."""
    lines = "".join(unknown_line(number) for number in range(99))
    assert note.open_note((GOOD + lines).encode(), [vkey(PETER_KEY)]) == GO_TEXT.encode()
    large = "".join(unknown_line(number, 4 + 4_996) for number in range(99))
    assert note.open_note((GOOD + large).encode(), [vkey(PETER_KEY)]) == GO_TEXT.encode()


def test_a_mebibyte_is_read() -> None:
    """The limit on a note's size itself is accepted; one byte more was refused above."""
    padding = "a" * (note.MAX_NOTE - len(GOOD.encode()) - 1) + "\n"
    unverified = note.parse_unverified((padding + GOOD).encode())
    assert len(unverified.text) + len(f"\n{PETER_LINE}".encode()) == note.MAX_NOTE == 2**20
    with pytest.raises(Malformed, match="at most 1048576"):
        note.parse_unverified(("a" + padding + GOOD).encode())


def test_any_flipped_bit_of_a_signed_note_is_refused() -> None:
    """Every single bit of a published note: nothing opens as another text, nothing but our refusals comes out."""
    data = f"{SPEC_TEXT}\n{SPEC_LINE}".encode()
    key = vkey(SPEC_KEY)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert refusal(bytes(changed), key).id in {"malformed", "bad-checkpoint", "unknown-signer"}


def test_every_cut_of_a_note_is_refused() -> None:
    """No prefix of a note is a note that its key signed."""
    data = f"{SPEC_TEXT}\n{SPEC_LINE}".encode()
    for length in range(len(data)):
        assert refusal(data[:length], vkey(SPEC_KEY)).id == "malformed"


@settings(max_examples=100, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32) | st.just("\n"), max_size=80).map(
        lambda text: text.encode() + b"\n"
    ),
    seeds=st.sets(st.integers(2, 9), max_size=4),
)
def test_what_is_signed_opens_for_every_signer(text: bytes, seeds: set[int]) -> None:
    """Any text with any number of signers: every signer's key opens it to the same bytes."""
    others = [pair(f"witness.example/{seed}", seed) for seed in sorted(seeds)]
    data = signed(text, *others)
    for key in (OURS, *(key for key, _ in others)):
        assert note.open_note(data, [key]) == text
    assert len(note.parse_unverified(data).signatures) == 1 + len(others)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_noise_is_malformed(data: bytes) -> None:
    """Arbitrary bytes are refused as malformed, alone and as signature lines after a text."""
    for candidate in (data, b"text\n\n" + data, b"text\n\n\xe2\x80\x94 " + data + b"\n"):
        assert refusal(candidate, OURS).id in {"malformed", "unknown-signer"}


def test_a_wrong_signature_never_becomes_a_note() -> None:
    """Writing verifies what the HSM gave back, over exactly this text, before it stands in a note."""
    text = b"text\n"
    for signature in (OUR_PRIVATE.sign(b"other\n"), bytes(64), b"", OUR_PRIVATE.sign(text)[:-1]):
        with pytest.raises(BadSignature):
            note.sign_note(text, (OURS, signature))


@pytest.mark.parametrize("text", [b"", b"no newline", b"tab\t\n", b"\xff\n", b"cr\r\n"])
def test_texts_that_notes_cannot_carry_are_the_callers_mistake(text: bytes) -> None:
    """They are refused before a note exists that nobody could read."""
    with pytest.raises(ValueError, match="note"):
        note.sign_note(text, (OURS, OUR_PRIVATE.sign(text)))


def test_a_note_has_one_to_a_hundred_signatures() -> None:
    """None, or more than readers accept, is the caller's mistake."""
    signature = (OURS, OUR_PRIVATE.sign(b"text\n"))
    assert note.open_note(note.sign_note(b"text\n", *[signature] * 100), [OURS]) == b"text\n"
    for count in (0, 101):
        with pytest.raises(ValueError, match="signatures"):
            note.sign_note(b"text\n", *[signature] * count)


# --- checkpoints


def test_our_checkpoint_round_trips() -> None:
    """Text, note and back; the log key's name is the origin."""
    checkpoint = note.Checkpoint(OURS.name, 7, ROOT)
    assert note.Checkpoint.parse(checkpoint.text()) == checkpoint
    assert note.open_checkpoint(signed(checkpoint.text(), pair("witness", 5)), OURS) == checkpoint


def test_the_empty_log_has_a_checkpoint() -> None:
    """Size 0 goes with the root of the empty tree and with no other; no other size has that root."""
    empty = note.Checkpoint("log", 0, tree.EMPTY_ROOT)
    assert empty.text() == b"log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    assert note.Checkpoint.parse(empty.text()) == empty
    for size, root in ((0, ROOT), (1, tree.EMPTY_ROOT)):
        with pytest.raises(Malformed, match="empty"):
            note.Checkpoint("log", size, root)


def test_another_logs_checkpoint_is_refused() -> None:
    """The right key over another origin, or the right checkpoint asked for under another: bad checkpoint."""
    theirs = signed(note.Checkpoint("plant-b.example/log/1", 7, ROOT).text())
    ours = signed(note.Checkpoint(OURS.name, 7, ROOT).text())
    for data, origin in ((theirs, None), (ours, "plant-b.example/log/1"), (ours, OURS.name + "/"), (ours, "")):
        with pytest.raises(LogRejected) as caught:
            note.open_checkpoint(data, OURS, origin=origin)
        assert caught.value.reason is LogReason.BAD_CHECKPOINT
    assert note.open_checkpoint(theirs, OURS, origin="plant-b.example/log/1").size == 7


HASH = base64.b64encode(ROOT).decode()
BAD_CHECKPOINTS: dict[str, str] = {
    "nothing": "",
    "two lines": "log\n1\n",
    "no final newline": f"log\n1\n{HASH}",
    "an extension line": f"log\n1\n{HASH}\nextension\n",
    "an empty line at the end": f"log\n1\n{HASH}\n\n",
    "an empty line between": f"log\n\n1\n{HASH}\n",
    "no origin": f"\n1\n{HASH}\n",
    "a long origin": f"{'l' * 256}\n1\n{HASH}\n",
    "a control character in the origin": f"log\x01\n1\n{HASH}\n",
    "a carriage return": f"log\r\n1\n{HASH}\n",
    "leading zero": f"log\n01\n{HASH}\n",
    "double zero": f"log\n00\n{HASH}\n",
    "a sign": f"log\n+1\n{HASH}\n",
    "negative": f"log\n-1\n{HASH}\n",
    "hexadecimal": f"log\n0x1\n{HASH}\n",
    "an underscore": f"log\n1_0\n{HASH}\n",
    "a space": f"log\n1 \n{HASH}\n",
    "other digits": f"log\n\u0661\n{HASH}\n",
    "no size": f"log\n\n{HASH}\n",
    "beyond 2^53-1": f"log\n9007199254740992\n{HASH}\n",
    "a thousand digits": f"log\n{'1' * 1000}\n{HASH}\n",
    "no hash": "log\n1\n\n",
    "a short hash": f"log\n1\n{base64.b64encode(ROOT[:31]).decode()}\n",
    "a long hash": f"log\n1\n{base64.b64encode(ROOT + b'x').decode()}\n",
    "a hash in hexadecimal": f"log\n1\n{ROOT.hex()}\n",
    "a hash without padding": f"log\n1\n{HASH.rstrip('=')}\n",
    "a hash with stray bits": "log\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
    "an empty log with a root": f"log\n0\n{HASH}\n",
}


@pytest.mark.parametrize("what", BAD_CHECKPOINTS)
def test_malformed_checkpoints_are_refused(what: str) -> None:
    """A text that is not exactly origin, size and root hash is no checkpoint."""
    with pytest.raises(Malformed):
        note.Checkpoint.parse(BAD_CHECKPOINTS[what].encode())


def test_a_good_signature_makes_no_checkpoint() -> None:
    """Of the texts above, those that a note can carry are refused as malformed although our log key signed them."""
    carried = 0
    for text in (one.encode() for one in BAD_CHECKPOINTS.values()):
        try:
            data = signed(text)
        except ValueError:
            continue
        carried += 1
        with pytest.raises(Malformed):
            note.open_checkpoint(data, OURS)
    assert carried == len(BAD_CHECKPOINTS) - 4


def test_the_largest_log_has_a_checkpoint() -> None:
    """Sizes reach 2^53-1, the largest number that our documents can name."""
    largest = note.Checkpoint("log", 2**53 - 1, ROOT)
    assert note.Checkpoint.parse(largest.text()) == largest
    for size in (-1, 2**53):
        with pytest.raises(Malformed, match="size"):
            note.Checkpoint("log", size, ROOT)


def test_a_checkpoint_that_is_not_utf8_is_malformed() -> None:
    """The charter check of the worker reads bytes that nobody has looked at before."""
    with pytest.raises(Malformed, match="UTF-8"):
        note.Checkpoint.parse(f"log\n1\n{HASH}\n".encode().replace(b"log", b"l\xffg"))
