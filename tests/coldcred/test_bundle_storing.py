"""The trust store on disk: one writer, whole or not at all, on a disk that may fail at any call."""

import errno
import fcntl
import itertools
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coldcred import Reason, Rejected, TrustStore, layout
from coldcred.bundle import apply, storing
from coldcred.errors import BundleReason, BundleRefused
from tests.support.folders import tree
from tests.support.world import NOW, World


@pytest.fixture
def trust(site: Path, tmp_path: Path) -> Path:
    """Return a trust store with the first bundle applied."""
    shutil.copytree(site, tmp_path / "trust", symlinks=True)
    return tmp_path / "trust"


def refusal(path: Path, bundle: bytes, now: float = NOW) -> BundleRefused | None:
    """Return the refusal of a bundle, or None where it is applied."""
    try:
        apply(bundle, path, now=now)
    except BundleRefused as error:
        return error
    return None


def refused_unchanged(path: Path, bundle: bytes, now: float = NOW) -> BundleReason | None:
    """Return why a bundle is refused, having seen that nothing was changed by it."""
    before = tree(path)
    found = refusal(path, bundle, now)
    assert tree(path) == before
    return None if found is None else found.reason


def test_no_store(world: World, tmp_path: Path) -> None:
    """Where `site init` made nothing, nothing is applied."""
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(BundleRefused) as caught:
            apply(world.bundle(), path, now=NOW)
        assert caught.value.reason is BundleReason.STORE_MISSING


@pytest.mark.parametrize("name", [layout.PINS, layout.ROOT, f"current/{layout.JWKS}", f"current/{layout.MANIFEST}"])
def test_a_damaged_store_takes_nothing(world: World, trust: Path, name: str) -> None:
    """What is held decides what may come next, so a store that cannot be believed is not built upon."""
    path = trust / name
    path.write_bytes(path.read_bytes()[:-1])
    assert refused_unchanged(trust, world.bundle(2), NOW + 60) is BundleReason.STORE_DAMAGED


def test_one_writer_at_a_time(world: World, trust: Path) -> None:
    """While one process applies a bundle another is refused, and afterwards it is not."""
    other = os.open(trust / layout.LOCK, os.O_RDWR)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert refused_unchanged(trust, world.bundle(2), NOW + 60) is BundleReason.STORE_UNWRITABLE
    finally:
        os.close(other)
    assert apply(world.bundle(2), trust, now=NOW + 60).changed


def test_two_writers_at_once(world: World, trust: Path) -> None:
    """Many threads that apply the same bundles leave one good generation."""
    bundles = [world.bundle(number) for number in (2, 3, 4)]
    reasons: set[BundleReason | None] = set()

    def work() -> None:
        for bundle in bundles * 2:
            found = refusal(trust, bundle, NOW + 300)
            reasons.add(None if found is None else found.reason)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reasons <= {None, BundleReason.STORE_UNWRITABLE, BundleReason.ROLLBACK}
    apply(bundles[-1], trust, now=NOW + 300)
    assert TrustStore.open(trust).times.sequence == 4


class FaultyOs:
    """The `os` module, of which one call, counted over those that change or sync something, fails.

    Syncing costs nothing here: whether a crash is survived is asked of a real process in test_bundle_crash.
    """

    COUNTED = ("mkdir", "open", "fsync", "symlink", "rename", "unlink", "listdir", "fdopen")

    def __init__(self, fails_at: int, error: int, *, for_good: bool) -> None:
        self.calls = 0
        self._fails_at = fails_at
        self._error = error
        self._for_good = for_good

    def __getattr__(self, name: str) -> Any:
        """Return the real thing, behind a counter where it counts."""
        real = getattr(os, name)
        if name not in self.COUNTED:
            return real

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self._fails_at or (self._for_good and self.calls > self._fails_at):
                raise OSError(self._error, os.strerror(self._error))
            return None if name == "fsync" else real(*args, **kwargs)

        return counted


@pytest.mark.parametrize(("error", "for_good"), [(errno.ENOSPC, False), (errno.EROFS, True)], ids=["full", "read-only"])
def test_a_disk_that_fails_at_any_call(
    world: World, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, *, for_good: bool
) -> None:
    """A disk that is full or read-only from any call on is a typed refusal; the old trust stands, or the new."""
    second, third = world.bundle(2), world.bundle(3)
    before = tree(site)
    for place in itertools.count(1):
        trust = tmp_path / str(place)
        shutil.copytree(site, trust, symlinks=True)
        faulty = FaultyOs(place, error, for_good=for_good)
        with monkeypatch.context() as patch:
            patch.setattr(storing, "os", faulty)
            refused = refusal(trust, second, NOW + 300)
        held = TrustStore.open(trust).times.sequence
        if refused is None:  # no call failed any more, or one of those that only tidy up
            assert held == 2
            if faulty.calls < place:
                break
            continue
        assert (refused.reason, os.strerror(error) in refused.detail) == (BundleReason.STORE_UNWRITABLE, True)
        assert held in {1, 2}
        if held == 1 and not for_good:
            assert tree(trust) == before
        monkeypatch.setattr(os, "fsync", lambda _: None)
        assert apply(third, trust, now=NOW + 300).changed
    assert place > 40


def test_what_a_crash_left_is_cleaned(world: World, trust: Path) -> None:
    """Half a generation, a link not yet swapped in and generations long unused are gone after the next bundle."""
    generations = trust / "generations"
    shutil.copytree(generations / "1", generations / "2")
    (generations / "2" / "manifest.json").unlink()
    (generations / "17").mkdir()
    (trust / "current.new").symlink_to("generations/17")
    assert TrustStore.open(trust).generation == 1
    assert apply(world.bundle(2), trust, now=NOW + 60).store.generation == 2
    assert sorted(path.name for path in generations.iterdir()) == ["1", "2"]
    assert not (trust / "current.new").is_symlink()


def test_the_generation_that_a_reader_may_be_in_stays_until_another_is_in_use(
    world: World, trust: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the next one is written the two before it are whole; when it is in use the older of them goes."""
    apply(world.bundle(2), trust, now=NOW + 60)
    there: list[list[str]] = []
    write = storing.write_files

    def looked(folder: int, files: Mapping[str, bytes], *, mode: int = storing.FILE_MODE) -> None:
        there.append(sorted(path.name for path in (trust / "generations").iterdir() if [*path.iterdir()]))
        write(folder, files, mode=mode)

    monkeypatch.setattr(storing, "write_files", looked)
    apply(world.bundle(3), trust, now=NOW + 120)
    assert there == [["1", "2"]]
    assert sorted(path.name for path in (trust / "generations").iterdir()) == ["2", "3"]


def test_what_is_not_ours_is_left_alone(world: World, trust: Path) -> None:
    """Cleaning removes generations and nothing else."""
    (trust / "generations" / "notes").mkdir()
    (trust / "generations" / "007").mkdir()
    (trust / "notes.txt").write_text("kept")
    apply(world.bundle(2), trust, now=NOW + 60)
    assert (trust / "generations" / "notes").is_dir()
    assert (trust / "generations" / "007").is_dir()
    assert (trust / "notes.txt").read_text() == "kept"


def test_a_store_that_holds_what_no_reader_takes_is_damaged(world: World, trust: Path) -> None:
    """Files that fit their manifest and still make no trust are the store's damage, not the new bundle's."""
    jwks = trust / "current" / layout.JWKS
    jwks.write_bytes(b"{}")
    files = {name: (trust / "current" / name).read_bytes() for name in layout.REQUIRED}
    (trust / "current" / layout.MANIFEST).write_bytes(layout.write_manifest(files))
    assert refused_unchanged(trust, world.bundle(2), NOW + 60) is BundleReason.STORE_DAMAGED
    with pytest.raises(Rejected) as caught:
        TrustStore.open(trust)
    assert caught.value.reason is Reason.TRUST_DAMAGED
