"""The one writer of files: whole or not at all, with the right mode, on media and under settings as they are found."""

import ast
import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from coldcred import files
from coldcred.files import FileKind, check_place, make_folders, write_file
from tests.support import media
from tests.support.strace import strace
from tests.support.tree import ROOT

UMASKS = (0o000, 0o022, 0o027, 0o077)
ERRORS = ("EACCES", "EROFS", "EPERM", "ENOSYS", "EINVAL", "EBUSY", "EMLINK", "EOPNOTSUPP", "ENOSPC", "EIO", "ESTALE")
CALLS = ("fchmod", "fsync", "link", "replace", "open", "fdopen")
NEW, OLD = b"new body", b"old body"


def written(path: Path, kind: FileKind) -> None:
    """Write a file, with the arguments of `check_place`."""
    write_file(path, NEW, kind)


@pytest.fixture(params=UMASKS, ids=lambda mask: f"umask-{mask:03o}")
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set a umask for a test."""
    before = os.umask(request.param)
    try:
        yield request.param
    finally:
        os.umask(before)


@pytest.mark.parametrize("kind", FileKind)
@pytest.mark.usefixtures("umask")
def test_the_mode_is_the_kind_s(tmp_path: Path, kind: FileKind) -> None:
    """Whatever the umask is, a file is readable by exactly those whom its kind lets in."""
    path = tmp_path / "file"
    check_place(path, kind)
    write_file(path, NEW, kind)
    assert stat.S_IMODE(path.stat().st_mode) == kind.mode
    assert (path.read_bytes(), os.listdir(tmp_path)) == (NEW, ["file"])  # noqa: PTH208 - hidden names too


@pytest.mark.usefixtures("umask")
def test_folders_are_passable_and_closed(tmp_path: Path) -> None:
    """Folders that are made on the way let everybody pass and nobody else write."""
    made = make_folders(tmp_path / "a" / "b")
    assert made == [tmp_path / "a", tmp_path / "a" / "b"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o755}


@pytest.mark.parametrize("kind", FileKind)
def test_what_is_there(tmp_path: Path, kind: FileKind) -> None:
    """A file is replaced where its kind can be made again, and is otherwise left as it is, which is said early."""
    path = tmp_path / "file"
    path.write_bytes(OLD)
    if kind.once:
        for call in (check_place, written):
            with pytest.raises(FileExistsError, match="never written over") as caught:
                call(path, kind)
            assert caught.value.filename == str(path)
    else:
        write_file(path, NEW, kind)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (OLD if kind.once else NEW, ["file"])  # noqa: PTH208 - as above


@pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])
def test_a_file_that_appears_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool) -> None:
    """Two who write one name at once do not both succeed, with hard links and without."""

    def too_early(path: Path, _kind: FileKind) -> None:
        path.write_bytes(OLD)

    monkeypatch.setattr(files, "_check_target", too_early)
    if not links:
        monkeypatch.setattr(files, "os", Failing("link", "EPERM", None))
    for kind in FileKind:
        path = tmp_path / kind.name
        if kind.once:
            with pytest.raises(FileExistsError) as caught:
                write_file(path, NEW, kind)
            assert (path.read_bytes(), caught.value.filename) == (OLD, str(path))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kind", FileKind)
def test_what_is_no_file_is_left_alone(tmp_path: Path, kind: FileKind) -> None:
    """A folder, a pipe, a device, and a link that leads nowhere or to one of them: nothing takes their place."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "nowhere").symlink_to("missing")
    before = sorted(tmp_path.iterdir())
    for path in before:
        for call in (check_place, written):
            with pytest.raises(OSError, match=r"folder|regular|nowhere") as caught:
                call(path, kind)
            assert caught.value.filename == str(path)
    assert sorted(tmp_path.iterdir()) == before
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_name_as_long_as_a_folder_takes(tmp_path: Path) -> None:
    """Nothing is added to a name on the way, so that any name which can be there can be written."""
    path = tmp_path / ("n" * 255)
    write_file(path, NEW, FileKind.DOCUMENT)
    assert path.read_bytes() == NEW


class Failing:
    """The `os` module, of which one call fails, always or the n-th time only."""

    def __init__(self, name: str, error: str, only: int | None) -> None:
        self._name, self._error, self._only = name, getattr(errno, error), only
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        """Give the real thing, but for the one that fails."""
        real = getattr(os, name)
        if name != self._name:
            return real

        def failing(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self._only in {None, self.calls}:
                raise OSError(self._error, os.strerror(self._error))
            return real(*args, **kwargs)

        return failing


@pytest.mark.parametrize("only", [None, 1, 2], ids=["always", "first", "second"])
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: str, only: int | None
) -> None:
    """Whatever fails with whatever errno: the name holds all of the new or the old, and the error names the file."""
    for kind in FileKind:
        folder = tmp_path / kind.name
        folder.mkdir()
        path = folder / "file"
        if not kind.once:
            path.write_bytes(OLD)
        refused = None
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", Failing(call, error, only))
            try:
                write_file(path, NEW, kind)
            except OSError as caught:
                refused = caught
        found = path.read_bytes() if path.exists() else None
        if refused is None:
            assert found == NEW
        else:
            assert (refused.filename, refused.errno) == (str(path), getattr(errno, error))
            # Only the folder's own sync comes after the name was given.
            assert found in ({NEW, OLD} if call in {"fsync", "open"} and not kind.once else {None, OLD, NEW})
        assert set(os.listdir(folder)) <= {"file"}  # noqa: PTH208 - hidden names too


@pytest.mark.parametrize("error", ["EPERM", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EINVAL"])
def test_what_a_medium_lacks_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    """Without hard links, modes and syncing of folders every kind is written, and is still never written over."""
    for call in ("link", "fchmod", "fsync") if error != "EMLINK" else ("link",):
        for kind in FileKind:
            if call == "fsync" and error == "EPERM":
                continue  # no file system says so of syncing
            path = tmp_path / f"{call}-{kind.name}"
            monkeypatch.setattr(files, "os", Failing(call, error, None))
            write_file(path, NEW, kind)
            assert path.read_bytes() == NEW
            if kind.once:
                with pytest.raises(FileExistsError):
                    write_file(path, OLD, kind)
            monkeypatch.undo()


def test_a_secret_is_not_written_where_it_would_lie_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a new file is open to others whatever is asked, a secret is refused before a byte of it is there."""

    def open_to_all(**where: Any) -> tuple[int, str]:
        descriptor, name = real(**where)
        os.fchmod(descriptor, 0o777)
        return descriptor, name

    real = tempfile.mkstemp
    monkeypatch.setattr(tempfile, "mkstemp", open_to_all)
    monkeypatch.setattr(files, "os", Failing("fchmod", "ENOSYS", None))
    for kind in FileKind:
        path = tmp_path / kind.name
        if kind.closed:
            for call in (check_place, written):
                with pytest.raises(PermissionError, match="keeps no modes"):
                    call(path, kind)
            assert not path.exists()
        else:
            check_place(path, kind)
            write_file(path, NEW, kind)
            assert path.read_bytes() == NEW
    assert not list(tmp_path.glob(".*"))


WRITES = """
import json, sys
from pathlib import Path
from coldcred.files import FileKind, check_place, write_file
told = {}
for kind in FileKind:
    path = Path(sys.argv[1]) / f"{kind.name}.file"
    try:
        check_place(path, kind)
        write_file(path, b"first", kind)
        again = "replaced"
        try:
            write_file(path, b"again", kind)
        except FileExistsError:
            again = "kept"
        told[kind.name] = [again, path.read_bytes().decode(), oct(path.stat().st_mode & 0o777)]
    except OSError as error:
        told[kind.name] = [error.strerror, error.filename]
print(json.dumps(told))
"""

_LIKE_A_STICK = (
    "-e", "trace=link,linkat,fchmod,fchmodat",
    "-e", "inject=link,linkat,fchmodat:error=EPERM", "-e", "inject=fchmod:error=ENOSYS",
)  # fmt: skip
_SYNCS_NO_FOLDER = ("-e", "trace=fsync", "-e", "inject=fsync:error=EINVAL")


def told(place: Path, umask: int, *before: str) -> dict[str, list[str]]:
    """Write a file of each kind in a process of its own, and give what was said of each."""
    ended = subprocess.run(
        [*before, sys.executable, "-P", "-c", WRITES, str(place)], umask=umask, capture_output=True, check=True
    )
    found: dict[str, list[str]] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("name", media.NAMES)
def test_on_a_stick_from_the_shop(umask: int, tmp_path: Path, name: str) -> None:
    """On exFAT and FAT32 all that is carried can be written; a secret is, or is refused, and never lies open."""
    os.umask(0o022)
    with media.stick(name, tmp_path) as mounted:
        place = mounted or tmp_path / name
        found = told(place, umask, *([] if mounted else strace(*_LIKE_A_STICK)))
        left = sorted(os.listdir(place))  # noqa: PTH208 - hidden names too
    for kind in FileKind:
        said = found[kind.name]
        if kind.closed and len(said) == 2:
            assert ("keeps no modes" in said[0], said[1]) == (True, str(place / f"{kind.name}.file"))
            assert f"{kind.name}.file" not in left
            continue
        assert said[:2] == (["kept", "first"] if kind.once else ["replaced", "again"])
        assert not kind.closed or said[2][-2:] == "00"
    assert all(entry.endswith(".file") for entry in left)


def test_where_no_folder_is_synced(umask: int, tmp_path: Path) -> None:
    """A real process whose file system syncs nothing writes every kind, with its mode."""
    found = told(tmp_path, umask, *strace(*_SYNCS_NO_FOLDER))
    for kind in FileKind:
        assert found[kind.name] == [
            "kept" if kind.once else "replaced",
            "first" if kind.once else "again",
            oct(kind.mode),
        ]


def fill(disk: Path) -> None:
    """Fill a disk to its last byte."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


@pytest.mark.parametrize("options", ["size=64k", "ro"], ids=["full", "read-only"])
def test_on_a_disk_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    """A full disk and a read-only one are said of the file that was asked for, before anything is to go there."""
    error = "EROFS" if options == "ro" else "ENOSPC"
    with media.memory(tmp_path / "disk", options) as mounted:
        place = mounted or tmp_path
        if mounted is None:
            monkeypatch.setattr(files, "os", Failing("write", error, None))
        elif options != "ro":
            fill(place)
        for kind in FileKind:
            with pytest.raises(OSError, match=os.strerror(getattr(errno, error))) as caught:
                check_place(place / "file", kind)
            assert caught.value.filename == str(place / "file")
        left = {path.name for path in place.iterdir() if path.is_file()}
    assert left <= {"filler"}


WRITERS = {
    "verifier/coldcred/files.py": "the writer",
    "verifier/coldcred/bundle/storing.py": "a trust store, through handles",
    "verifier/coldcred/bundle/evidence.py": "evidence in a trust store, through handles",
    "verifier/coldcred/bundle/site.py": "the pins, which get their name last",
    "appliance/home.py": "the lock, and the draft of a home",
    "appliance/database.py": "the log's database",
    "appliance/cli/batches.py": "outcomes that are appended while a batch runs",
}
"""The modules that make files or folders."""

_MAKING = {
    "write_bytes",
    "write_text",
    "mkdir",
    "makedirs",
    "mkstemp",
    "mkdtemp",
    "NamedTemporaryFile",
    "touch",
    "rename",
}


def test_nothing_else_writes_files() -> None:
    """In the code that people run every file is written by the one writer, but for what is listed with its reason."""
    found = set()
    for package in ("appliance", "hsm", "verifier/coldcred"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and _makes(node):
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == set(WRITERS)


def _makes(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in _MAKING or any(
        "os.O_CREAT" in ast.unparse(argument) or ast.unparse(argument) in {"_NEW", "_LOCK"} for argument in call.args
    ):
        return True
    modes = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    return name == "open" and any(
        isinstance(mode, ast.Constant)
        and isinstance(mode.value, str)
        and set("wax+") & set(mode.value)
        and len(mode.value) < 4
        for mode in modes
    )
