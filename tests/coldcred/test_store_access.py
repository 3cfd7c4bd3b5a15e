"""A trust store on a real machine: who may write it, who may read it, what its place has, and what tidying may stop."""

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coldcred import Reason, Rejected, TrustStore, layout
from coldcred.bundle import apply, init, storing
from coldcred.canonical import sha256_hex
from coldcred.errors import BundleReason, BundleRefused
from tests.coldcred.test_bundle_site import KEY
from tests.support import media
from tests.support.folders import tree
from tests.support.strace import strace
from tests.support.users import NOBODY, ROOT, as_user
from tests.support.world import NOW, SITE, World

UMASKS = (0o000, 0o022, 0o027, 0o077)
SERVICE = NOBODY if ROOT else os.geteuid()


@pytest.fixture
def trust(site: Path, tmp_path: Path) -> Path:
    """Return a trust store with the first bundle applied."""
    shutil.copytree(site, tmp_path / "trust", symlinks=True)
    return tmp_path / "trust"


@pytest.fixture
def everybody() -> Iterator[Path]:
    """Return a folder that every user can reach."""
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def make(path: Path, world: World) -> None:
    """Make a trust store."""
    root = world.root()
    init(path, root=root, fingerprint=sha256_hex(root), site=SITE, key=KEY)


def parts(trust: Path) -> list[Path]:
    """Return every folder and file of a store that a reader opens."""
    read = [trust, trust / layout.PINS, trust / layout.ROOT, trust / layout.GENERATIONS]
    current = trust / (trust / layout.CURRENT).readlink()
    return [*read, current, *sorted(current.rglob("*"))]


def opens() -> str:
    """Open the store in the folder that one is in."""
    return f"bundle {TrustStore.open('.').times.sequence}"


class Failing:
    """A call that fails from its n-th time on, or only then."""

    def __init__(self, real: Callable[..., Any], number: int, place: int, *, on: bool) -> None:
        self._real, self._number, self._place, self._on = real, number, place, on
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make the call, or fail."""
        self.calls += 1
        if self.calls == self._place or (self._on and self.calls > self._place):
            raise OSError(self._number, os.strerror(self._number))
        return self._real(*args, **kwargs)


# Who may write


@pytest.mark.parametrize("bit", [stat.S_IWGRP, stat.S_IWOTH], ids=["group", "everybody"])
def test_what_others_may_write_is_refused(world: World, trust: Path, bit: int) -> None:
    """Each folder or file of a store that its group or everybody may write: nothing is verified, nothing is applied."""
    bundles = [world.bundle(1), world.bundle(2)]
    before = tree(trust)
    found = parts(trust)
    assert len(found) > 20
    for part in found:
        mode = stat.S_IMODE(part.stat().st_mode)
        part.chmod(mode | bit)
        with pytest.raises(Rejected, match=part.name) as caught:
            TrustStore.open(trust)
        assert caught.value.reason is Reason.TRUST_EXPOSED
        for bundle in bundles:
            with pytest.raises(BundleRefused, match=part.name) as refused:
                apply(bundle, trust, now=NOW + 60)
            assert refused.value.reason is BundleReason.STORE_EXPOSED
        part.chmod(mode)
    assert tree(trust) == before
    assert TrustStore.open(trust).generation == 1


def test_what_belongs_to_somebody_else_is_refused(trust: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder or file of a store that is neither root's nor the reader's: refused, for root too."""
    for part in parts(trust):
        if ROOT:
            os.chown(part, 12345, 12345)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(Rejected, match="belongs to uid") as caught:
            TrustStore.open(trust)
        assert caught.value.reason is Reason.TRUST_EXPOSED
        if ROOT:
            assert part.name in caught.value.detail
            assert as_user(12345, opens, trust) == "bundle 1"
            assert as_user(NOBODY, opens, trust).startswith("trust-exposed")
            os.chown(part, 0, 0)


def test_root_applies_and_a_service_reads(world: World, everybody: Path) -> None:
    """A store of root's is read by others, by its group alone too, and with the set-group-ID bit."""
    trust = everybody / "trust"
    trust.mkdir()
    os.chown(trust, -1, SERVICE if ROOT else -1)
    trust.chmod(0o2750)
    make(trust, world)
    apply(world.bundle(), trust, now=NOW)
    assert stat.S_IMODE(trust.stat().st_mode) == 0o2750
    assert as_user(SERVICE, opens, trust) == "bundle 1"
    assert {path.lstat().st_gid for path in trust.rglob("*")} == {trust.stat().st_gid}
    if ROOT:
        assert as_user(SERVICE + 1, lambda: str(os.access(trust, os.X_OK)), everybody) == "False"


# Modes


@pytest.mark.parametrize("mask", UMASKS, ids=lambda mask: f"umask-{mask:03o}")
def test_modes_are_right_under_any_umask(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: int
) -> None:
    """Whatever the umask of who makes and fills a store, everybody can read it from the first moment."""
    monkeypatch.setattr(storing, "mend", lambda _: None)
    trust = tmp_path / "a" / "b" / "trust"
    before = os.umask(mask)
    try:
        make(trust, world)
        apply(world.bundle(1), trust, now=NOW)
        apply(world.bundle(2), trust, now=NOW + 60)
    finally:
        os.umask(before)
    for path in [tmp_path / "a", tmp_path / "a" / "b", trust, *trust.rglob("*")]:
        if path.is_symlink():
            continue
        closed = path.name in {layout.SITE_KEY, layout.LOCK}
        expected = 0o755 if path.is_dir() else 0o600 if closed else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_applying_again_mends_modes(world: World, trust: Path) -> None:
    """A store that an earlier umask closed to those who verify is open again after the bundle it holds, or a next."""
    for bundle in (world.bundle(1), world.bundle(2)):
        for path in [*trust.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)
        apply(bundle, trust, now=NOW + 60)
        for path in trust.rglob("*"):
            if not path.is_symlink() and path.name not in {layout.SITE_KEY, layout.LOCK}:
                assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path
        assert stat.S_IMODE((trust / layout.SITE_KEY).stat().st_mode) == 0o600


# What the system does not let us read


@pytest.mark.parametrize("error", ["EACCES", "EIO", "ESTALE", "EPERM", "ENOMEM", "EMFILE", "ETIMEDOUT", "ENETDOWN"])
def test_errors_of_the_system_are_never_damage(trust: Path, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    """Whatever the system says, at whichever call, is told as that: the store may be good."""
    number = getattr(errno, error)
    for name in ("open", "readlink"):
        for place in range(1, 200):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, Failing(getattr(os, name), number, place, on=True))
                found: Rejected | None = None
                try:
                    TrustStore.open(trust)
                except Rejected as rejected:
                    found = rejected
                with pytest.raises(BundleRefused) as caught:
                    apply(b"", trust, now=NOW)
            if found is None:
                break
            assert (found.reason, os.strerror(number) in found.detail) == (Reason.TRUST_UNREADABLE, True)
            assert caught.value.reason in {BundleReason.STORE_UNREADABLE, BundleReason.STORE_UNWRITABLE}
        assert place > (1 if name == "readlink" else 40)


@pytest.mark.parametrize("what", ["file", "folder", "loop"])
def test_a_copy_without_links_is_damage_that_says_so(trust: Path, what: str) -> None:
    """A store that was copied with links followed is damaged, and the sentence says how it came to be."""
    current = trust / layout.CURRENT
    held = current.resolve()
    current.unlink()
    if what == "folder":
        shutil.copytree(held, current)
    elif what == "file":
        current.write_bytes(b"generations/1")
    else:
        current.symlink_to(layout.CURRENT)
    with pytest.raises(Rejected, match="current") as caught:
        TrustStore.open(trust)
    assert caught.value.reason is Reason.TRUST_DAMAGED
    assert what == "loop" or "cp -a" in caught.value.detail


# The lock


@pytest.mark.parametrize("error", ["EBADF", "ENOLCK", "ENOSYS", "EOPNOTSUPP", "EIO", "EINTR"])
def test_errors_of_the_lock_are_told(world: World, trust: Path, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    """Only a lock that somebody holds is somebody else's bundle; anything else is told as what it is."""

    def failing(*_: Any) -> None:
        raise OSError(getattr(errno, error), os.strerror(getattr(errno, error)))

    monkeypatch.setattr(fcntl, "flock", failing)
    with pytest.raises(BundleRefused, match=os.strerror(getattr(errno, error))) as caught:
        apply(world.bundle(2), trust, now=NOW + 60)
    assert (caught.value.reason, "another" in caught.value.detail) == (BundleReason.STORE_UNWRITABLE, False)


def test_the_lock_is_on_what_is_open_to_write(world: World, trust: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is taken on a descriptor that can write, since NFS gives none on any other; old stores get the file."""
    (trust / layout.LOCK).unlink()
    real = fcntl.flock

    def watched(descriptor: int, operation: int) -> None:
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", watched)
    assert apply(world.bundle(2), trust, now=NOW + 60).changed


# Tidying


def test_an_old_generation_that_cannot_go_stops_nothing(
    world: World, trust: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bundles are applied one after another, though nothing of what is old can be removed."""
    real = shutil.rmtree

    def stuck(path: str, *, ignore_errors: bool = False, **kwargs: Any) -> None:
        if not ignore_errors:
            real(path, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", stuck)
    for number in range(2, 8):
        assert apply(world.bundle(number), trust, now=NOW + 600).changed
    assert len(list((trust / layout.GENERATIONS).iterdir())) == 7
    assert TrustStore.open(trust).times.sequence == 7


def test_a_leftover_of_the_very_number_has_to_go(world: World, trust: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what stands where the new generation goes stops it, and is named; once it can go the bundle is applied."""
    (trust / layout.GENERATIONS / "2" / "x").mkdir(parents=True)

    def stuck(path: str, **_: Any) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stuck)
        with pytest.raises(BundleRefused, match=r"2: Device or resource busy"):
            apply(world.bundle(2), trust, now=NOW + 60)
    assert apply(world.bundle(2), trust, now=NOW + 60).changed


def test_a_service_goes_on_after_root_was_there(world: World, everybody: Path) -> None:
    """A store that belongs to a service takes its bundles, whatever root left in it, and root's own are refused."""
    trust = everybody / "trust"
    trust.mkdir()
    os.chown(trust, SERVICE, -1)
    bundles = {number: world.bundle(number) for number in range(1, 7)}

    def applies(number: int) -> Callable[[], str]:
        return lambda: f"bundle {apply(bundles[number], '.', now=NOW + 600).store.times.sequence}"

    make(trust, world)
    assert {path.lstat().st_uid for path in [trust, *trust.rglob("*")]} == {SERVICE}
    for number in (1, 2):
        assert as_user(SERVICE, applies(number), trust) == f"bundle {number}"
    if ROOT:
        with pytest.raises(BundleRefused, match="store-exposed"):
            apply(bundles[3], trust, now=NOW + 600)
        os.chown(trust / layout.GENERATIONS / "1", 0, 0)
    for number in (3, 4, 5, 6):
        assert as_user(SERVICE, applies(number), trust) == f"bundle {number}"


# Where a store is made


def test_a_prepared_folder_is_filled_in_place(world: World, tmp_path: Path) -> None:
    """An empty folder stays the same folder with the mode that it was given, lost+found or not."""
    trust = tmp_path / "trust"
    trust.mkdir()
    trust.chmod(0o2750)
    (trust / "lost+found").mkdir()
    before = trust.stat()
    make(trust, world)
    assert (trust.stat().st_ino, trust.stat().st_mode) == (before.st_ino, before.st_mode)
    apply(world.bundle(), trust, now=NOW)
    assert TrustStore.open(trust).generation == 1


def test_nothing_of_root_s_is_given_away(world: World, everybody: Path) -> None:
    """A service that links a file of root's into the folder that root fills for it does not get the file."""
    trust, theirs = everybody / "trust", everybody / "root's own"
    trust.mkdir()
    theirs.write_text("secret")
    theirs.chmod(0o600)
    os.chown(trust, SERVICE, -1)
    (trust / layout.LOCK).hardlink_to(theirs)
    if ROOT:
        with pytest.raises(BundleRefused, match="another name"):
            make(trust, world)
    assert (theirs.stat().st_uid, theirs.read_text()) == (os.geteuid(), "secret")
    assert not (trust / layout.PINS).exists()


def test_an_empty_volume_is_filled(world: World, tmp_path: Path) -> None:
    """A mount point, which nothing can be renamed onto, becomes a store like any folder."""
    with media.memory(tmp_path / "volume", "size=2m,mode=755") as volume:
        place = volume or tmp_path / "volume"
        make(place, world)
        apply(world.bundle(), place, now=NOW)
        assert TrustStore.open(place).generation == 1


@pytest.mark.parametrize("mode", [0o775, 0o777, 0o1777])
def test_a_folder_that_others_may_write_is_not_filled(world: World, tmp_path: Path, mode: int) -> None:
    """A store is not begun where it would be refused, and nothing is left there."""
    trust = tmp_path / "trust"
    trust.mkdir()
    trust.chmod(mode)
    with pytest.raises(BundleRefused, match="can be written by") as caught:
        make(trust, world)
    assert (caught.value.reason, tree(trust)) == (BundleReason.STORE_EXPOSED, {})


INIT = """
import sys
from coldcred.__main__ import main
sys.exit(main(["site", "init", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("name", media.NAMES)
@pytest.mark.parametrize("prepared", [True, False], ids=["prepared", "new"])
def test_a_stick_is_no_place_for_a_store(world: World, tmp_path: Path, name: str, *, prepared: bool) -> None:
    """Where there are no links, modes or locks a store is refused before its key is made, with the reason."""
    root = tmp_path / "root.json"
    root.write_bytes(world.root())
    words = ["--root", str(root), "--fingerprint", sha256_hex(world.root()), "--site", SITE]
    with media.stick(name, tmp_path) as mounted:
        place = mounted or tmp_path / name
        without = strace("-e", "trace=symlink,symlinkat", "-e", "inject=symlink,symlinkat:error=EPERM")
        trust = place if prepared else place / "trust"
        ended = subprocess.run(
            [*([] if mounted else without), sys.executable, "-P", "-c", INIT, str(trust), *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        left = sorted(path.name for path in place.iterdir())
    assert (ended.returncode, "exFAT and FAT" in ended.stderr) == (1, True), ended
    assert left == []


@pytest.mark.parametrize("call", ["symlink", "open", "mkdir", "rename", "fsync", "fchmod", "unlink"])
@pytest.mark.parametrize("error", ["ENOSPC", "EROFS", "EACCES", "EIO"])
def test_a_store_is_made_whole_or_not_at_all(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: str
) -> None:
    """Whichever call fails first: typed, nothing made, and the same line makes the store once it does not."""
    trust = tmp_path / "trust"
    trust.mkdir()
    for place in range(1, 60):
        refused = None
        with monkeypatch.context() as patch:
            patch.setattr(os, call, Failing(getattr(os, call), getattr(errno, error), place, on=False))
            try:
                make(trust, world)
            except BundleRefused as caught:
                refused = caught
        if refused is None:
            break
        assert refused.reason is BundleReason.STORE_UNWRITABLE
        assert not (trust / layout.PINS).exists()
    assert (trust / layout.PINS).is_file()
    apply(world.bundle(), trust, now=NOW)
