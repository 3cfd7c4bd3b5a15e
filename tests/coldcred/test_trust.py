"""Reading a trust store: what is there is what was applied, or it is refused by name."""

import dataclasses
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from coldcred import Kind, Reason, Rejected, TrustStore, generation, layout, verify
from coldcred.bundle import apply
from coldcred.canonical import Json, dumps
from coldcred.charter import BundleCharter, LogCharter, StatusCharter
from coldcred.documents import TrustKey
from coldcred.errors import BadSignature, CharterExceeded, Malformed
from coldcred.keys import Algorithm
from tests.support.signers import Signer
from tests.support.users import NOBODY, as_user
from tests.support.world import AUDIENCE, DAY, GRACE, ISSUER, NOW, PROFILE, SITE, STATUS_URI, World


@pytest.fixture
def copy(site: Path, tmp_path: Path) -> Path:
    """Return a trust store of one's own, to be damaged."""
    shutil.copytree(site, tmp_path / "trust", symlinks=True)
    return tmp_path / "trust"


def refused(path: Path) -> tuple[Reason, str]:
    """Return the reason and the sentence with which a trust store is refused."""
    with pytest.raises(Rejected) as caught:
        TrustStore.open(path)
    return caught.value.reason, caught.value.detail


def test_a_store_is_what_was_applied(world: World, store: TrustStore) -> None:
    """Everything in the bundle is there, by kid, name and URI, and none of it can be changed."""
    assert (store.site, store.generation) == (SITE, 1)
    assert store.identity == world.identity()
    assert {key.kid for key in world.trust_keys()} == set(store.keys)
    assert store.plan == world.plan()
    assert store.profiles == {PROFILE: False, "strict": True}
    assert store.sites[SITE].audiences[0] == AUDIENCE
    assert store.times == world.times()
    assert set(store.status_lists) == {STATUS_URI}
    assert store.checkpoint == world.checkpoint(1)
    with pytest.raises(TypeError):
        store.keys["x"] = store.keys[world.access_key.kid]  # type: ignore[index]  # what must not be possible
    with pytest.raises(dataclasses.FrozenInstanceError):
        store.generation = 2  # type: ignore[misc]  # what must not be possible


# Missing


def test_no_directory(tmp_path: Path) -> None:
    """A path that is nothing, or a file, is no trust store."""
    assert refused(tmp_path / "nowhere")[0] is Reason.TRUST_MISSING
    (tmp_path / "file").write_text("x")
    assert refused(tmp_path / "file")[0] is Reason.TRUST_MISSING


def test_an_empty_directory(tmp_path: Path) -> None:
    """A directory that `site init` did not make is no trust store."""
    reason, detail = refused(tmp_path)
    assert reason is Reason.TRUST_MISSING
    assert "site init" in detail


def test_no_bundle_yet(world: World, tmp_path: Path) -> None:
    """A site without a bundle trusts nothing, and is told what to do."""
    reason, detail = refused(world.bare_site(tmp_path / "trust"))
    assert reason is Reason.TRUST_MISSING
    assert "bundle apply" in detail


# Damaged


FILES = sorted(name for name in layout.REQUIRED)


def damage(path: Path, spoil: Callable[[bytes], bytes]) -> None:
    """Replace a file's bytes."""
    path.write_bytes(spoil(path.read_bytes()))


@pytest.mark.parametrize("name", [*FILES, layout.MANIFEST])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body[:-1] + bytes([body[-1] ^ 1]),
        lambda body: bytes([body[0] ^ 1]) + body[1:],
        lambda body: body[: len(body) // 2],
        lambda body: body + b"\n",
        lambda _: b"",
        lambda body: body * 5000,
    ],
    ids=["last bit", "first bit", "half", "one more", "empty", "huge"],
)
def test_a_damaged_file_is_named(copy: Path, name: str, spoil: Callable[[bytes], bytes]) -> None:
    """A changed, cut, grown or emptied file is damage, and the refusal names it."""
    damage(copy / "current" / name, spoil)
    reason, detail = refused(copy)
    assert reason is Reason.TRUST_DAMAGED
    assert detail.startswith(f"{name}: ")


@pytest.mark.parametrize("name", [*FILES, layout.MANIFEST])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    """A file that is gone is damage, and the refusal names it."""
    (copy / "current" / name).unlink()
    reason, detail = refused(copy)
    assert reason is Reason.TRUST_DAMAGED
    assert detail.startswith(f"{name}: ")


@pytest.mark.parametrize("place", range(0, 1700, 53))
def test_any_damage_to_the_manifest_is_found(copy: Path, place: int) -> None:
    """The manifest has no byte that may change."""
    damage(copy / "current" / layout.MANIFEST, lambda body: body[:place] + bytes([body[place] ^ 2]) + body[place + 1 :])
    assert refused(copy)[0] is Reason.TRUST_DAMAGED


def test_pins_are_held_together(copy: Path, world: World) -> None:
    """site.json and root.json vouch for each other, and the bundle's site is the pinned one."""
    good = (copy / layout.PINS).read_bytes()
    damage(copy / layout.ROOT, lambda body: body + b" ")
    assert refused(copy) == (Reason.TRUST_DAMAGED, "root.json: it is not the root that site.json pins")
    (copy / layout.ROOT).unlink()
    assert refused(copy)[0] is Reason.TRUST_DAMAGED
    (copy / layout.ROOT).write_bytes(world.root())
    for body in (b"", b"{}", good[:-1], good.replace(b'"v":1', b'"v":2'), good.replace(b"{", b'{"extra":1,')):
        (copy / layout.PINS).write_bytes(body)
        assert refused(copy)[0] is Reason.TRUST_DAMAGED
    (copy / layout.PINS).write_bytes(good.replace(SITE.encode(), b"site-0002"))
    reason, detail = refused(copy)
    assert reason is Reason.TRUST_DAMAGED
    assert "site-0002" in detail
    (copy / layout.PINS).write_bytes(good)
    assert TrustStore.open(copy).site == SITE


@pytest.mark.parametrize(
    "target",
    [
        "generations/2",
        "generations/01",
        "generations/../generations/1",
        "../trust/generations/1",
        "generations/1/",
        "generations",
        "/",
        ".",
        "x" * 1000,
    ],
)
def test_current_must_name_a_generation(copy: Path, target: str) -> None:
    """A link that leads anywhere but to a generation that is there is damage."""
    (copy / "current").unlink()
    (copy / "current").symlink_to(target)
    assert refused(copy)[0] is Reason.TRUST_DAMAGED


def test_current_must_be_a_link(copy: Path) -> None:
    """A directory in the link's place is damage."""
    (copy / "current").unlink()
    shutil.copytree(copy / "generations" / "1", copy / "current")
    assert refused(copy)[0] is Reason.TRUST_DAMAGED


@pytest.mark.parametrize("name", [layout.JWKS, layout.MANIFEST, "metadata", "targets", "targets/trust"])
def test_no_link_is_followed(copy: Path, name: str) -> None:
    """A symbolic link in the place of a file or folder is not followed, wherever it leads."""
    inside = copy / "generations" / "1" / name
    inside.rename(copy / "elsewhere")
    inside.symlink_to(copy / "elsewhere")
    assert refused(copy)[0] is Reason.TRUST_DAMAGED


@pytest.mark.parametrize("name", [layout.PINS, layout.ROOT])
def test_no_link_is_followed_to_the_pins(copy: Path, name: str) -> None:
    """The pinned files are files."""
    (copy / name).rename(copy / "elsewhere")
    (copy / name).symlink_to("elsewhere")
    assert refused(copy) == (Reason.TRUST_DAMAGED, f"{name}: it is a symbolic link")


@pytest.mark.parametrize("name", [layout.JWKS, layout.MANIFEST, layout.PINS, layout.ROOT])
def test_a_pipe_is_not_waited_for(copy: Path, name: str) -> None:
    """A pipe in a file's place is damage, at once."""
    path = copy / name if name in {layout.PINS, layout.ROOT} else copy / "generations" / "1" / name
    path.unlink()
    os.mkfifo(path)
    reason, detail = refused(copy)
    assert reason is Reason.TRUST_DAMAGED
    assert "not a regular file" in detail


def test_a_huge_file_is_not_read(copy: Path) -> None:
    """A file of 10 GiB is refused by its size and never read."""
    for path in (copy / "current" / layout.JWKS, copy / "current" / layout.MANIFEST, copy / layout.PINS):
        good = path.read_bytes()
        with path.open("wb") as file:
            file.truncate(10 * 2**30)
        reason, detail = refused(copy)
        assert reason is Reason.TRUST_DAMAGED
        assert "10737418240 bytes where at most" in detail
        path.write_bytes(good)


def test_files_that_nobody_listed_are_not_read(copy: Path) -> None:
    """What lies beside the listed files is nobody's business."""
    (copy / "generations" / "1" / "targets" / "trust" / "extra.json").write_text("{")
    (copy / "note.txt").write_text("from the last shift")
    assert TrustStore.open(copy).generation == 1


def test_a_store_that_may_not_be_read(copy: Path) -> None:
    """What may not be read is told by name as just that, and never as damage or as no store."""
    assert opened_by_nobody(copy) == "opened"
    (copy / "current" / layout.JWKS).chmod(0)
    assert opened_by_nobody(copy) == f"trust-unreadable: {layout.JWKS} cannot be read: Permission denied"
    copy.chmod(0)
    assert opened_by_nobody(copy).startswith("trust-unreadable")
    copy.chmod(0o755)


def opened_by_nobody(path: Path) -> str:
    """Return what a user without privileges is told: root may read everything."""

    def opens() -> str:
        TrustStore.open(".")
        return "opened"

    return as_user(NOBODY, opens, path)


# While a bundle is applied


def test_a_reader_sees_one_generation_or_the_next(world: World, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation that is swapped and cleaned away under a reader makes it read the newer one, whole."""
    bundles = [world.bundle(number) for number in (2, 3, 4)]

    def meddle(body: bytes) -> dict[str, tuple[int, str]]:
        pending = bundles.copy()
        bundles.clear()
        for bundle in pending:
            apply(bundle, copy, now=NOW + 180)
        return layout.parse_manifest(body)

    monkeypatch.setattr(generation, "parse_manifest", meddle)
    found = TrustStore.open(copy)
    assert (found.generation, found.times.sequence) == (4, 4)


def test_a_reader_does_not_run_after_a_writer_for_ever(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that changes at each look is damage after a few."""
    numbers = itertools.count(2)
    monkeypatch.setattr(generation, "current", lambda _: next(numbers))
    reason, detail = refused(copy)
    assert reason is Reason.TRUST_DAMAGED
    assert "faster" in detail


# What the files say


def test_documents_must_name_one_appliance(world: World) -> None:
    """Times of another appliance than the identity's make no trust."""
    files = world.files(times=world.times(appliance="0" * 64))
    with pytest.raises(Malformed, match="another appliance"):
        TrustStore.of_files(files, generation=1)


def with_list(world: World, token: str) -> dict[str, bytes]:
    """Return a bundle's files with another status list."""
    return {**world.files(), layout.STATUS_LISTS[0]: token.encode()}


def test_a_status_list_is_signed_by_a_status_key(world: World) -> None:
    """A list signed by a key of another purpose, by a stranger or not at all is refused by name."""
    for key in (world.access_key, Signer.named("thief")):
        with pytest.raises(BadSignature, match="status-1"):
            TrustStore.of_files(with_list(world, world.status_list(key=key)), generation=1)
    token = world.status_list()
    with pytest.raises(BadSignature, match="status-1"):
        TrustStore.of_files(with_list(world, token[:-4] + "AAAA"), generation=1)


def test_a_status_list_is_of_its_typ(world: World) -> None:
    """The status key's signature under another typ does not make a list."""
    with pytest.raises(Malformed, match="status-1"):
        TrustStore.of_files(with_list(world, world.token(key=world.status_key)), generation=1)


def test_a_status_list_lies_under_the_prefix_of_its_key(world: World) -> None:
    """A list outside the prefix of the key's charter is outside the charter."""
    with pytest.raises(CharterExceeded, match="status-1"):
        TrustStore.of_files(with_list(world, world.status_list(uri=f"{ISSUER}/elsewhere/1")), generation=1)


def test_a_status_list_lives_within_its_key(world: World) -> None:
    """A list that outlives its key, or is older than it, is refused."""
    for token in (world.status_list(expires_at=NOW + 31 * DAY), world.status_list(issued_at=NOW - 2 * DAY)):
        with pytest.raises(BadSignature, match="not valid for as long"):
            TrustStore.of_files(with_list(world, token), generation=1)


def test_two_lists_of_one_uri_are_refused(world: World) -> None:
    """No second list can stand in for the first."""
    again = world.status_list(revoked={3}).encode()
    with pytest.raises(Malformed, match="same uri"):
        TrustStore.of_files({**world.files(), layout.STATUS_LISTS[1]: again}, generation=1)


def test_a_list_under_a_tainted_key_is_as_good_as_none(world: World) -> None:
    """A taint on the status key takes its lists away, so that credentials are rejected and not believed (R21)."""
    found = TrustStore.of_files(world.files(taints=[world.status_key.kid]), generation=1)
    assert not found.status_lists


def test_of_a_series_of_lists_each_is_held(world: World) -> None:
    """A second list of the series is held beside the first."""
    second = world.status_list(uri=f"{ISSUER}/status/{SITE}/2")
    found = TrustStore.of_files(world.files(status_lists=[world.status_list(), second]), generation=1)
    assert [uri[-1] for uri in found.status_lists] == ["1", "2"]


SPOILT: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "identity of another version": (layout.IDENTITY, lambda body: body.replace(b'"v":1', b'"v":2')),
    "identity not canonical": (layout.IDENTITY, lambda body: body.replace(b":", b": ", 1)),
    "identity with more": (layout.IDENTITY, lambda body: body.replace(b"{", b'{"a":1,', 1)),
    "log with more": (layout.IDENTITY, lambda body: body.replace(b'"log":{', b'"log":{"a":1,')),
    "jwks without keys": (layout.JWKS, lambda _: b'{"keys":[]}'),
    "jwks with a key twice": (layout.JWKS, lambda body: body.replace(b'{"keys":[', b'{"keys":[' + _key(body) + b",")),
    "jwks with a private key": (layout.JWKS, lambda body: body.replace(b'"crv":', b'"d":"AAAA","crv":', 1)),
    "jwks without use": (layout.JWKS, lambda body: body.replace(b',"use":"sig"', b"", 1)),
    "jwks without kid": (layout.JWKS, lambda _: dumps({"keys": [{"alg": "ES256", "use": "sig"}]})),
    "plan without windows": (layout.PLAN, lambda _: b'{"v":1,"windows":[]}'),
    "plan that ends before it begins": (layout.PLAN, lambda body: body.replace(b'"nbf":1', b'"nbf":2')),
    "profile twice": (layout.PROFILES, lambda _: _twice("profiles", {"name": "a", "refuse_stale": True})),
    "site twice": (layout.SITES, lambda _: _twice("sites", {"audiences": [AUDIENCE], "name": "a"})),
    "no site": (layout.SITES, lambda _: b'{"sites":[],"v":1}'),
    "taint twice": (layout.TAINTS, lambda _: b'{"kids":["a","a"],"v":1}'),
    "times out of order": (layout.TIMES, lambda body: body.replace(b'"end":1', b'"end":0')),
    "times out of order by one": (layout.TIMES, lambda body: body.replace(b'"issued_at":18', b'"issued_at":19')),
    "sequence zero": (layout.TIMES, lambda body: body.replace(b'"sequence":1', b'"sequence":0')),
}


def _key(jwks: bytes) -> bytes:
    return jwks[len(b'{"keys":[') : jwks.index(b'"}') + 2]


def _twice(name: str, item: Json) -> bytes:
    return dumps({name: [item, item], "v": 1})


@pytest.mark.parametrize("case", SPOILT)
def test_documents_are_read_strictly(world: World, case: str) -> None:
    """A document that is not exactly one of ours is refused by name."""
    name, spoil = SPOILT[case]
    files = world.files()
    changed = spoil(files[name])
    assert changed != files[name]
    with pytest.raises(Malformed, match=name):
        TrustStore.of_files({**files, name: changed}, generation=1)


def test_sites_hold_no_key_for_bundles_or_logs(world: World) -> None:
    """The set that sites trust has keys for tokens and status lists only."""
    bundle = world.trust_key(world.bundle_key, BundleCharter(Algorithm.ES256, ("site",), NOW + DAY))
    log = world.trust_key(world.log_key, LogCharter(Algorithm.ED25519, "plant-a.example/log/1"))
    for key in (bundle, log):
        with pytest.raises(Malformed, match="sites hold keys for"):
            TrustKey.read(key.as_json())


def test_a_key_is_of_its_charter_s_algorithm(world: World) -> None:
    """A charter for one algorithm does not hold a key of another."""
    ed25519 = Signer.named("ed25519", Algorithm.ED25519)
    for charter, key in (
        (StatusCharter(Algorithm.ES256, f"{ISSUER}/status/"), ed25519),
        (world.access_charter(algorithm=Algorithm.ED25519), world.access_key),
    ):
        with pytest.raises(Malformed, match="its charter is for"):
            TrustKey.read(world.trust_key(key, charter).as_json())


@pytest.mark.parametrize(("length", "fits"), [(-1, False), (0, False), (1, True)])
def test_a_key_has_a_time(world: World, length: int, *, fits: bool) -> None:
    """A key that ends when it begins is none."""
    key = world.trust_key(world.access_key, world.access_charter(), not_before=NOW, expires_at=NOW + length)
    if fits:
        assert TrustKey.read(key.as_json()) == key
    else:
        with pytest.raises(Malformed, match="ends before it begins"):
            TrustKey.read(key.as_json())


def test_a_bundle_has_a_time(world: World) -> None:
    """A bundle may be stale at once, and not over at once; its times may fall together, and not cross."""
    good = world.times(ageing_after=NOW, stale_after=NOW, end=NOW + 1)
    assert type(good).parse(good.write()) == good
    for changes in (
        {"ageing_after": NOW, "stale_after": NOW, "end": NOW},
        {"ageing_after": NOW - 1},
        {"stale_after": good.ageing_after - 1},
        {"end": NOW},
    ):
        bad = world.times(**changes)
        with pytest.raises(Malformed, match="bundle"):
            type(bad).parse(bad.write())


def test_an_ed25519_key_is_trusted_like_any_other(world: World) -> None:
    """A token key of the other algorithm gives tokens that are accepted."""
    key = Signer.named("ed25519", Algorithm.ED25519)
    keys = (*world.trust_keys(), world.trust_key(key, world.access_charter(algorithm=Algorithm.ED25519)))
    found = TrustStore.of_files(world.files(trust=world.trust_documents(keys=keys)), generation=1)
    assert verify(world.token(key=key), found, audience=AUDIENCE, kind=Kind.ACCESS, now=NOW).kid == key.kid


def test_the_span_is_divided_by_half_and_four_fifths(world: World) -> None:
    """The appliance's usual times: ageing from half of the span, stale from four fifths (R20)."""
    times, span = world.times(), DAY + GRACE
    assert (times.ageing_after - NOW, times.stale_after - NOW, times.end - NOW) == (span // 2, span * 4 // 5, span)
