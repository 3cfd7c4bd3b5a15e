"""A person's key file: made once, opened by its passphrase only, refused when others could have read it."""

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.identity import Identity, IdentityError, IdentityFault, keygen, public_path, read_public
from coldcred.errors import Malformed

PASSPHRASE = b"four random words 88"


def asking(secret: bytes = PASSPHRASE) -> Callable[[], bytearray]:
    """Give a passphrase as the terminal would: in an array of its own."""
    return lambda: bytearray(secret)


def never() -> bytearray:
    """Fail where a passphrase is asked for too early."""
    raise AssertionError("a passphrase was asked for")


def fault(path: Path, ask: Callable[[], bytearray] = never) -> IdentityFault:
    """Give why a key file is refused."""
    with pytest.raises(IdentityError) as refused:
        Identity.load(path, ask)
    assert str(path) in refused.value.detail
    return refused.value.fault


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a key that was made; each costs a quarter of a second, so tests copy one."""
    folder = tmp_path_factory.mktemp("made") / "people"
    folder.mkdir()
    keygen(folder / "alice.operator", asking())
    return folder


@pytest.fixture
def key(made: Path, tmp_path: Path) -> Path:
    """Return a key file of the test's own."""
    shutil.copytree(made, tmp_path / "people")
    return tmp_path / "people" / "alice.operator"


def test_a_made_key_opens_and_signs(key: Path) -> None:
    """What keygen made, its passphrase opens, and what it signs verifies under the public half beside it."""
    opened = Identity.load(key, asking())
    public = read_public(public_path(key))
    public.verify(opened.sign(b"what is asked for"), b"what is asked for")
    assert (opened.public, opened.kid) == (public, public.thumbprint)


def test_only_its_owner_reads_it_and_it_is_encrypted(key: Path) -> None:
    """The key file has mode 0600 and is OpenSSH's encrypted form; nothing else was written but the public half."""
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert sorted(path.name for path in key.parent.iterdir()) == ["alice.operator", "alice.operator.pub.json"]


def test_two_keys_differ(tmp_path: Path) -> None:
    """Each key is new."""
    assert keygen(tmp_path / "a", asking()).kid != keygen(tmp_path / "b", asking()).kid


@pytest.mark.parametrize("taken", ["alice.operator", "alice.operator.pub.json"])
def test_nothing_is_overwritten(tmp_path: Path, taken: str) -> None:
    """A key or public file that exists is left as it is, and no passphrase is asked for."""
    (tmp_path / taken).write_text("mine")
    with pytest.raises(IdentityError) as refused:
        keygen(tmp_path / "alice.operator", never)
    assert refused.value.fault is IdentityFault.EXISTS
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["folder", "pipe", "missing/key", ".", ""])
def test_a_place_where_no_key_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A folder or a pipe is told for what it is, and not for a key, before a passphrase is asked for."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    os.mkfifo("pipe")
    with pytest.raises(IdentityError, match=r"folder|regular|No such") as refused:
        keygen(Path(name), never)
    assert refused.value.fault is IdentityFault.UNWRITABLE


@pytest.mark.parametrize("secret", [b"", b"short", b"eleven char", b"aaaaaaaaaaaaaaaa", b"abababababab"])
def test_weak_passphrases_are_refused(tmp_path: Path, secret: bytes) -> None:
    """A passphrase that is short or of few characters is refused and leaves no file."""
    with pytest.raises(IdentityError) as refused:
        keygen(tmp_path / "key", asking(secret))
    assert refused.value.fault is IdentityFault.TOO_WEAK
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """A key that cannot be written is a typed error."""
    with pytest.raises(IdentityError) as refused:
        keygen(tmp_path / "no such folder" / "key", asking())
    assert refused.value.fault is IdentityFault.UNWRITABLE


def test_a_wrong_passphrase_is_said_to_be_wrong(key: Path) -> None:
    """Another passphrase, or none, does not open the key, and the error is about the passphrase."""
    assert fault(key, asking(b"four random words 89")) is IdentityFault.NOT_OPENED
    assert fault(key, asking(b"")) is IdentityFault.NOT_OPENED


@pytest.mark.parametrize("secret", [PASSPHRASE, b"a wrong passphrase", b"weak"])
def test_the_passphrase_is_wiped(key: Path, tmp_path: Path, secret: bytes) -> None:
    """The array that held a passphrase holds zeros afterwards, opened or not, made or refused."""
    held = bytearray(secret)
    with suppress(IdentityError):
        Identity.load(key, lambda: held)
    assert held == bytes(len(secret))
    held[:] = secret
    with suppress(IdentityError):
        keygen(tmp_path / "other", lambda: held)
    assert held == bytes(len(secret))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(key: Path, mode: int) -> None:
    """A file that group or others can use is refused before its passphrase is asked for."""
    key.chmod(mode)
    assert fault(key) is IdentityFault.TOO_OPEN


def test_a_key_without_a_passphrase_is_refused(tmp_path: Path) -> None:
    """A private key that lies open in its file is not used."""
    path = tmp_path / "key"
    data = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    path.write_bytes(data)
    path.chmod(0o600)
    assert fault(path, asking()) is IdentityFault.NOT_ENCRYPTED


def test_another_algorithm_is_refused(tmp_path: Path) -> None:
    """An operator's key is Ed25519; a good RSA key in the same form is not one."""
    path = tmp_path / "key"
    encryption = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(1).build(PASSPHRASE)
    path.write_bytes(generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption))
    path.chmod(0o600)
    assert fault(path, asking()) is IdentityFault.NOT_A_KEY


@pytest.mark.parametrize(("kept", "more"), [(0, b""), (100, b""), (60, b"!"), (0, b"not a key\n"), (0, bytes(20_000))])
def test_damaged_files_are_refused(key: Path, kept: int, more: bytes) -> None:
    """A file that is not a whole key is refused as such."""
    data = key.read_bytes()
    key.write_bytes(data[:kept] + more + (data[kept + 1 :] if more == b"!" else b""))
    assert fault(key, asking()) is IdentityFault.NOT_A_KEY


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    """Nothing, a folder and a named pipe are told apart from a key, and none of them blocks."""
    assert fault(tmp_path / "nothing") is IdentityFault.MISSING
    (tmp_path / "folder").mkdir(mode=0o700)
    assert fault(tmp_path / "folder") in {IdentityFault.NOT_A_KEY, IdentityFault.UNREADABLE}
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert fault(tmp_path / "pipe") is IdentityFault.NOT_A_KEY


def test_public_files_are_read_strictly(key: Path, tmp_path: Path) -> None:
    """A public file that is missing, damaged or holds a private key is refused, naming the file."""
    with pytest.raises(IdentityError) as refused:
        read_public(tmp_path / "bob.operator.pub.json")
    assert refused.value.fault is IdentityFault.MISSING
    path = public_path(key)
    for text in ("", "{}", path.read_text().replace("kty", "kTy"), path.read_text()[:-3] + ',"d":"AA"}'):
        path.write_text(text)
        with pytest.raises(Malformed, match=r"pub\.json"):
            read_public(path)


def test_nothing_private_is_shown(key: Path) -> None:
    """An opened key shows its public half and nothing else."""
    opened = Identity.load(key, asking())
    assert "private" not in repr(opened).lower()
