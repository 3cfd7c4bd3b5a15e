"""`site init`: whom to trust is fixed once, from bytes whose fingerprint people compared, whole or not at all (R16)."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from coldcred import layout
from coldcred.bundle import init
from coldcred.canonical import loads_canonical, sha256_hex
from coldcred.errors import BundleReason, BundleRefused
from coldcred.keys import PublicKey
from tests.support.folders import tree
from tests.support.forge import sign
from tests.support.world import NOW, SITE, World, signed

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def make(path: Path, world: World, **changes: Any) -> layout.Pins:
    """Make a trust store with other arguments than the good ones."""
    root = changes.pop("root", world.root())
    asked = {"root": root, "fingerprint": sha256_hex(root), "site": SITE, "key": KEY} | changes
    return init(path, **asked)


def refused(path: Path, world: World, **changes: Any) -> BundleReason:
    """Return why a trust store is refused, having seen that nothing was made."""
    before = tree(path.parent)
    with pytest.raises(BundleRefused) as caught:
        make(path, world, **changes)
    assert tree(path.parent) == before
    return caught.value.reason


def test_what_is_made(world: World, tmp_path: Path) -> None:
    """The store holds the pins, the root verbatim, the site's own key and the enrolment file, and no bundle."""
    path = tmp_path / "trust"
    pins = make(path, world)
    assert pins == layout.Pins(SITE, sha256_hex(world.root()))
    assert sorted(tree(path)) == ["generations", "lock", "root.json", "site-key.json", "site.json", "site.key"]
    assert json.loads((path / "site.json").read_bytes()) == {"v": 1, "site": SITE, "root": pins.root}
    assert (path / "root.json").read_bytes() == world.root()
    assert [path.name for path in tmp_path.iterdir()] == ["trust"]


def test_the_site_s_key(world: World, tmp_path: Path) -> None:
    """The private key is readable by its owner alone; the enrolment file carries its public half and no more."""
    path = tmp_path / "trust"
    before = os.umask(0)
    try:
        make(path, world)
    finally:
        os.umask(before)
    assert stat.S_IMODE((path / "site.key").stat().st_mode) == 0o600
    private = load_pem_private_key((path / "site.key").read_bytes(), None)
    public = PublicKey.from_cryptography(private.public_key())
    enrolment = loads_canonical((path / "site-key.json").read_bytes())
    assert enrolment == {"v": 1, "site": SITE, "key": public.jwk()}
    assert public == PublicKey.from_cryptography(KEY.public_key())


def test_parents_are_made_and_an_empty_directory_is_taken(world: World, tmp_path: Path) -> None:
    """The directory may be there and empty, or not there, its parents included."""
    make(tmp_path / "a" / "b" / "trust", world)
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty", world)
    assert (tmp_path / "empty" / "site.json").is_file()


def test_a_store_is_never_made_twice(world: World, tmp_path: Path) -> None:
    """Where a trust store is, or anything else, nothing is made."""
    path = tmp_path / "trust"
    make(path, world)
    assert refused(path, world) is BundleReason.STORE_EXISTS
    assert refused(path, world, site="site-0002") is BundleReason.STORE_EXISTS
    (tmp_path / "file").write_text("x")
    assert refused(tmp_path / "file", world) is BundleReason.STORE_EXISTS
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("x")
    assert refused(tmp_path / "folder", world) is BundleReason.STORE_EXISTS
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert refused(tmp_path / "link", world) is BundleReason.STORE_EXISTS


def test_fingerprint(world: World, tmp_path: Path) -> None:
    """The root's bytes must have the fingerprint that people compared, in either case of letters."""
    other = sha256_hex(b"another root")
    assert refused(tmp_path / "trust", world, fingerprint=other) is BundleReason.ROOT_MISMATCH
    assert refused(tmp_path / "trust", world, fingerprint="0" * 64) is BundleReason.ROOT_MISMATCH
    make(tmp_path / "trust", world, fingerprint=sha256_hex(world.root()).upper())


@pytest.mark.parametrize("changes", [{"fingerprint": ""}, {"fingerprint": "ab" * 31}, {"fingerprint": "xy" * 32}])
def test_what_cannot_be_a_fingerprint_is_misuse(world: World, tmp_path: Path, changes: dict[str, str]) -> None:
    """Text that is no SHA-256 at all is the caller's mistake."""
    with pytest.raises(ValueError, match="hexadecimal"):
        make(tmp_path / "trust", world, **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("site", ["", "Site", "site 1", "../site", "site-", "s" * 33, "site\n", "\x1b[2J", "sité"])
def test_what_cannot_be_a_site_is_misuse(world: World, tmp_path: Path, site: str) -> None:
    """Text that is no site's name is the caller's mistake."""
    with pytest.raises(ValueError, match="site name"):
        make(tmp_path / "trust", world, site=site)
    assert not list(tmp_path.iterdir())


def test_the_root_must_be_one(world: World, tmp_path: Path) -> None:
    """Bytes that are no root, or a root not signed by its own threshold, are not pinned, whatever their fingerprint."""
    path = tmp_path / "trust"
    good = world.root()
    for bad in (
        b"",
        b"{}",
        b"[" * 1000,
        good[:-1],
        world.targets(),
        good.replace(b'"version":1', b'"version":1,"version":1'),
    ):
        assert refused(path, world, root=bad) is BundleReason.MALFORMED
    one = signed(world.unsigned_root(), world.custodians[0])
    unsigned = sign(json.loads(good)["signed"], [])
    for bad in (one, unsigned, good.replace(b"2028", b"2029")):
        assert refused(path, world, root=bad) is BundleReason.BAD_SIGNATURE


def test_a_root_for_larger_repositories_is_not_ours(world: World, tmp_path: Path) -> None:
    """Consistent snapshots, other algorithms and mixed roles are refused when the root is pinned, not later."""

    def changed(**members: Any) -> bytes:
        return sign({**json.loads(world.root())["signed"], **members}, world.custodians[:2])

    keys = json.loads(world.root())["signed"]["keys"]
    rsa = {name: {**key, "keytype": "rsa", "scheme": "rsassa-pss-sha256"} for name, key in keys.items()}
    for bad in (changed(consistent_snapshot=True), changed(keys=rsa), changed(keys={})):
        assert refused(tmp_path / "trust", world, root=bad) is BundleReason.MALFORMED


def test_an_expired_root_may_be_pinned(world: World, tmp_path: Path) -> None:
    """A root that is over can still lead to the newer ones that a bundle carries (TUF 5.3.4)."""
    make(tmp_path / "trust", world, root=world.root(expires=NOW - 1))


@pytest.mark.parametrize("fails", ["mkdir", "open", "fsync", "rename", "fdopen", "symlink", "fchmod", "listdir"])
def test_a_disk_that_fails_leaves_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Where the disk is full or read-only, a typed refusal and no half of a store."""
    target = Path if fails == "mkdir" else os
    (tmp_path / "trust").mkdir() if fails == "listdir" else None
    before = tree(tmp_path)
    real, failures = getattr(target, fails), iter([OSError(errno.ENOSPC, "No space left on device")])

    def full(*args: Any, **kwargs: Any) -> Any:
        for failure in failures:
            raise failure
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(target, fails, full)
        with pytest.raises(BundleRefused) as caught:
            make(tmp_path / "trust", world)
    assert caught.value.reason is BundleReason.STORE_UNWRITABLE
    assert tree(tmp_path) == before
    make(tmp_path / "trust", world)


def test_a_place_that_cannot_be_looked_into(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be told whether a store is there, none is made."""

    def forbidden(_: object) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "trust").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", forbidden)
        with pytest.raises(BundleRefused) as caught:
            make(tmp_path / "trust", world)
    assert caught.value.reason is BundleReason.STORE_UNWRITABLE


def test_what_a_crash_left_is_no_obstacle(world: World, tmp_path: Path) -> None:
    """A half-made store, which has no pins yet, is made anew by the next attempt."""
    leftover = tmp_path / "trust"
    (leftover / "generations").mkdir(parents=True)
    (leftover / "site.key").write_text("half")
    (leftover / "site.json.new").write_text("half")
    make(leftover, world)
    assert sorted(tree(leftover)) == ["generations", "lock", "root.json", "site-key.json", "site.json", "site.key"]
