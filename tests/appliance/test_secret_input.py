"""Secrets by descriptor: a line as any editor ends it and nothing else, from a descriptor that the caller opened."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from appliance.cli.app import root
from appliance.cli.course import Descriptor
from appliance.cli.secret_input import SecretError, SecretFault, from_descriptor
from tests.support.commandline import CTL, ENVIRONMENT, TIMEOUT
from tests.support.founded import PASSPHRASE, Plant
from tests.support.softhsm import MODULE, PIN, SoftHsm

TYPED = b"canary 8812"
UNTYPED = {
    "mark": b"\xef\xbb\xbfcanary 8812\n",
    "wide": "canary 8812\n".encode("utf-16"),
    "wide, no mark": "canary 8812\n".encode("utf-16-le"),
    "nul": b"canary\x008812\n",
    "tab": b"canary\t8812\n",
    "escape": b"\x1b[Acanary\n",
    "delete": b"canary\x7f\n",
    "two returns": b"canary\r\r\n",
}
UNSEEN = {"blank at the end": b"canary \n", "blank before": b" canary\n", "latin-1": b"w\xf6rter 8812\n"}


@pytest.fixture(params=["passphrase", "PIN"])
def what(request: pytest.FixtureRequest) -> str:
    """Return what a secret is for."""
    return str(request.param)


def given(line: bytes, what: str, *, new: bool = False) -> bytes:
    """Read a secret that arrives as these bytes."""
    read, write = os.pipe()
    os.write(write, line)
    os.close(write)
    try:
        return bytes(from_descriptor(read, what, new=new))
    finally:
        os.close(read)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"", b"\r"])
@pytest.mark.parametrize("new", [True, False])
def test_a_line_ends_as_any_editor_ends_it(what: str, end: bytes, new: bool) -> None:  # noqa: FBT001 - a case
    """The end of the line is no part of the secret, whichever system wrote it."""
    assert given(TYPED + end, what, new=new) == TYPED


@pytest.mark.parametrize("line", UNTYPED.values(), ids=UNTYPED)
def test_what_nobody_typed_is_not_tried(what: str, line: bytes) -> None:
    """It is refused as it comes, by what is wrong with it, and nothing of it is repeated."""
    with pytest.raises(SecretError) as refused:
        given(line, what)
    assert (refused.value.fault, "canary" in str(refused.value)) == (SecretFault.UNUSABLE, False)


@pytest.mark.parametrize("line", [*UNTYPED.values(), *UNSEEN.values()], ids=[*UNTYPED, *UNSEEN])
def test_what_not_every_terminal_can_type_is_not_set(what: str, line: bytes) -> None:
    """A new secret is printable ASCII without a blank at its ends."""
    with pytest.raises(SecretError) as refused:
        given(line, what, new=True)
    assert refused.value.fault is SecretFault.UNUSABLE


@pytest.mark.parametrize("line", UNSEEN.values(), ids=UNSEEN)
def test_a_secret_that_was_set_once_still_opens(what: str, line: bytes) -> None:
    """What is unwise in a new one may be in an old one."""
    assert given(line, what) == line.removesuffix(b"\n")


@pytest.mark.parametrize("length", [1024, 1025, 1026, 5000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_the_longest(length: int, end: bytes) -> None:
    """1024 bytes, the end of the line not counted."""
    if length == 1024:
        assert given(b"x" * length + end, "PIN") == b"x" * length
        return
    with pytest.raises(SecretError) as refused:
        given(b"x" * length + end, "PIN")
    assert refused.value.fault is SecretFault.TOO_LONG


@pytest.mark.parametrize("line", UNTYPED.values(), ids=UNTYPED)
def test_no_token_is_made_with_it(softhsm: SoftHsm, line: bytes) -> None:
    """Neither PIN of a new token may be what nobody can type."""
    softhsm.configure()
    variable = next(f"{name}={value}" for name, value in softhsm.environment.items())
    verb = ["token", "init", "another", "--module", MODULE, "--module-env", variable]
    for so_pin, pin in ((line, b"12345678\n"), (b"87654321\n", line)):
        ended = opened([*CTL, "--pin-fd", "PIN", *verb, "--so-pin-fd", "SO"], {"PIN": pin, "SO": so_pin})
        assert (ended.returncode, b"secret-unusable" in ended.stderr) == (1, True), ended
    listed = opened([*CTL, "token", "list", "--module", MODULE, "--module-env", variable], {})
    assert b"another" not in listed.stdout


@pytest.mark.parametrize("line", UNTYPED.values(), ids=UNTYPED)
def test_no_token_counts_it(plant: Plant, tmp_path: Path, line: bytes) -> None:
    """A PIN that nobody typed is not tried: the log has no refused PIN, by a descriptor or by the service manager."""
    copy = plant.copy_home(tmp_path / "home")
    ended = opened([*CTL, "--home", copy.home, "--pin-fd", "PIN", "serve"], {"PIN": line})
    assert (ended.returncode, b"secret-unusable" in ended.stderr) == (1, True), ended
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "coldcred.pin.plant-a-daily").write_bytes(line)
    (folder / "coldcred.pin.plant-a-daily").chmod(0o400)
    ended = opened([*CTL, "--home", copy.home, "serve"], {}, {"CREDENTIALS_DIRECTORY": str(folder)})
    assert (ended.returncode, b"secret-unusable" in ended.stderr) == (1, True), ended
    entries = copy.done("log", "show", "--limit", "1000", "--json", who="carol").json
    assert not [entry for entry in entries if entry["event"]["type"] == "pin.refused"]


def opened(
    words: list[str | Path], secrets: dict[str, bytes], variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a line; each word that names a secret becomes the descriptor that holds it."""
    descriptors: dict[str, int] = {}
    for name, body in secrets.items():
        descriptors[name], write = os.pipe()
        os.write(write, body)
        os.close(write)
    line = [str(descriptors.get(str(word), word)) for word in words]
    environment = {**ENVIRONMENT, **(variables or {})}
    try:
        return subprocess.run(
            line,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=list(descriptors.values()),
            check=False,
            timeout=TIMEOUT,
            start_new_session=True,
        )
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def taking_descriptors() -> Iterator[tuple[list[str], str]]:
    """Give each option of the whole command that takes a descriptor, with the words of its verb."""

    def walk(command: click.Command, words: list[str]) -> Iterator[tuple[list[str], str]]:
        for parameter in command.params:
            if isinstance(parameter.type, Descriptor) or any(option.endswith("-fd") for option in parameter.opts):
                assert isinstance(parameter.type, Descriptor), (words, parameter.opts)
                yield words, parameter.opts[0]
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from walk(found, [*words, name])

    return walk(root, [])


REST = {"token init": ["x", "--module", MODULE], "": ["status"]}
OPTIONS = [(words, option) for words, option in taking_descriptors()]


@pytest.mark.parametrize(("words", "option"), OPTIONS, ids=[f"{' '.join(words)} {option}" for words, option in OPTIONS])
@pytest.mark.parametrize("number", [3, 5, 8, 77])
def test_a_descriptor_that_nobody_opened_is_none_of_ours(
    plant: Plant, words: list[str], option: str, number: int
) -> None:
    """Whichever number it has, it is refused before a file of the program could get it; nothing is read as a secret."""
    line: list[str | Path] = [*CTL, "--home", plant.home, *words, option, str(number), *REST.get(" ".join(words), [])]
    ended = opened(line, {})
    assert (ended.returncode, b"secret-descriptor" in ended.stderr) == (2, True), ended


def test_the_number_is_a_number(plant: Plant) -> None:
    """What is no number, or a huge one, is misuse or not open, and no traceback."""
    for word in ("x", "-1", "3.5", "\u0663", "9" * 30, ""):
        ended = opened([*CTL, "--home", plant.home, "--pin-fd", word, "status"], {})
        assert (ended.returncode, b"Traceback" in ended.stderr) == (2, False), ended


def test_a_passphrase_of_two_lines(plant: Plant, tmp_path: Path) -> None:
    """Passphrase and PIN may stand on one descriptor, each ended as Windows ends a line."""
    copy = plant.copy_home(tmp_path / "home")
    both = f"{PASSPHRASE}\r\n{PIN.decode()}\r\n".encode()
    key = copy.people / "alice.operator"
    line: list[str | Path] = [*CTL, "--home", copy.home, "--as", key, "--passphrase-fd", "BOTH", "--pin-fd", "BOTH"]
    ended = opened([*line, "key", "suspend", "nothing", "--reason", "test"], {"BOTH": both})
    assert (ended.returncode, b"unknown-key" in ended.stderr) == (1, True), ended
