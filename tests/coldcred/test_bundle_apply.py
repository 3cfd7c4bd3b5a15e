"""Applying a bundle: whose it is, its number, plan and times; that it is stored whole or not at all."""

import os
import random
import shutil
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import bundling
from coldcred import Kind, Reason, Rejected, TrustStore, framing, layout, verify
from coldcred.bundle import apply, inspect
from coldcred.bundle.targets import verify_bundle
from coldcred.canonical import b64u_encode, sha256_hex
from coldcred.documents import TrustKey
from coldcred.errors import BundleReason, BundleRefused, LogContradicted
from coldcred.founding import Site
from coldcred.jose import Typ
from coldcred.layout import Pins
from coldcred.plan import Plan, Window
from tests.support.folders import tree
from tests.support.signers import Signer
from tests.support.world import (
    APPLIANCE,
    AUDIENCE,
    DAY,
    GRACE,
    HOUR,
    NOW,
    SITE,
    STATUS_URI,
    SVID_AUDIENCE,
    World,
)


@pytest.fixture
def bare(world: World, tmp_path: Path) -> Path:
    """Return a trust store to which no bundle was applied."""
    return world.bare_site(tmp_path / "trust")


@pytest.fixture
def trust(site: Path, tmp_path: Path) -> Path:
    """Return a trust store with the first bundle applied."""
    shutil.copytree(site, tmp_path / "trust", symlinks=True)
    return tmp_path / "trust"


def refusal(path: Path, bundle: bytes, now: float = NOW) -> BundleReason:
    """Return why a bundle is refused, having seen that nothing was changed by it, but for evidence that is kept."""
    before = tree(path)
    with pytest.raises(BundleRefused) as caught:
        apply(bundle, path, now=now)
    assert {**tree(path), layout.EVIDENCE: before.get(layout.EVIDENCE)} == {layout.EVIDENCE: None, **before}
    assert isinstance(caught.value, LogContradicted) == (tree(path) != before)
    assert caught.value.detail.isprintable()
    return caught.value.reason


def reason(do: Callable[[], object]) -> BundleReason | None:
    """Return why something is refused, or None where it is done."""
    try:
        do()
    except BundleRefused as error:
        return error.reason
    return None


def test_the_first_bundle(world: World, bare: Path) -> None:
    """A first bundle makes trust, verbatim, and a credential verifies under it."""
    applied = apply(world.bundle(), bare, now=NOW)
    assert applied.changed
    assert applied.store == TrustStore.open(bare)
    for name, body in world.files().items():
        assert (bare / "generations" / "1" / name).read_bytes() == body
    assert (bare / "current").readlink() == Path("generations/1")
    for kind, audience in ((Kind.ACCESS, AUDIENCE), (Kind.SVID, SVID_AUDIENCE)):
        assert verify(world.token(kind), applied.store, audience=audience, kind=kind, now=NOW).bundle == 1


def test_the_same_bundle_again(world: World, trust: Path) -> None:
    """A bundle that is already applied is a success that changes nothing."""
    before = tree(trust)
    applied = apply(world.bundle(), trust, now=NOW + 60)
    assert not applied.changed
    assert applied.store == TrustStore.open(trust)
    assert tree(trust) == before


def test_the_next_bundle(world: World, trust: Path) -> None:
    """A newer bundle replaces what is trusted; the generation before it stays for readers, older ones go."""
    for number in (2, 3, 7):
        applied = apply(world.bundle(number, revoked={7}), trust, now=NOW + 600)
        assert applied.store.times.sequence == number
    assert sorted(path.name for path in (trust / "generations").iterdir()) == ["3", "4"]
    with pytest.raises(Rejected) as caught:
        verify(world.token(), TrustStore.open(trust), audience=AUDIENCE, now=NOW + 600)
    assert caught.value.reason is Reason.REVOKED


def test_another_bundle_of_the_same_number(world: World, trust: Path) -> None:
    """A bundle with the number of the one applied and other content is a rollback (B2)."""
    assert refusal(trust, world.bundle(1, revoked={7})) is BundleReason.ROLLBACK


def test_every_pair_of_bundles(world: World) -> None:
    """Of twenty bundles, whichever is held, an older one is refused and a newer one taken."""
    root = world.root()
    pins = Pins(SITE, sha256_hex(root))
    bundles = [world.bundle(number, times=world.times(number, issued_at=NOW)) for number in range(1, 21)]
    files = [framing.read(bundle, framing.BUNDLE) for bundle in bundles]
    for held in range(20):
        for new in range(0, 20, 3):
            known: dict[str, Any] = {"pins": pins, "root": root, "held": files[held], "generation": 2, "now": NOW}
            found = reason(partial(verify_bundle, bundles[new], **known))
            assert found is (BundleReason.ROLLBACK if new < held else None)


def in_any_order(world: World, path: Path, orders: int, length: int) -> None:
    """Apply bundles in random orders; what is held is always the newest that was seen."""
    world.bare_site(path / "bare")
    choose = random.Random(5)
    bundles = [world.bundle(number, times=world.times(number, issued_at=NOW)) for number in range(1, 21)]
    for order in range(orders):
        site = path / str(order)
        shutil.copytree(path / "bare", site, symlinks=True)
        newest = 0
        for number in choose.choices(range(1, 21), k=length):
            found = reason(partial(apply, bundles[number - 1], site, now=NOW))
            assert found is (BundleReason.ROLLBACK if number < newest else None)
            newest = max(newest, number)
            assert TrustStore.open(site).times.sequence == newest
        shutil.rmtree(site)


def test_bundles_in_any_order(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 random orders: never an older bundle after a newer one."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # order is the question here, not the disk
    in_any_order(world, tmp_path, orders=200, length=3)


@pytest.mark.soak
def test_bundles_in_any_order_at_length(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 random orders of twenty bundles, five steps each: never an older one after a newer one (B2)."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    in_any_order(world, tmp_path, orders=10_000, length=5)


# Whose bundle it is, and for whom


def test_another_site(world: World, bare: Path) -> None:
    """A bundle for another site is refused, and so is one whose custodians do not know this site."""
    assert refusal(bare, world.bundle(times=world.times(site="site-0002"))) is BundleReason.OTHER_SITE
    elsewhere = world.trust_documents(sites=[Site("site-0002", (AUDIENCE,))])
    assert refusal(bare, world.bundle(trust=elsewhere)) is BundleReason.OTHER_SITE


@pytest.mark.parametrize("changes", [{"appliance": "0" * 64}, {"trust_domain": "plant-b.example"}])
def test_another_appliance(world: World, trust: Path, changes: dict[str, str]) -> None:
    """The first bundle pins the appliance and its trust domain, even against the same custodians (R16)."""
    identity = world.identity(**changes)
    times = world.times(2, appliance=identity.appliance)
    targets = world.trust_documents(identity=identity)
    bundle = world.bundle(2, trust=targets, times=times)
    assert refusal(trust, bundle, NOW + 60) is BundleReason.OTHER_APPLIANCE


def test_names_of_two_appliances_in_one_bundle(world: World, bare: Path) -> None:
    """Identity and times must name one appliance."""
    assert refusal(bare, world.bundle(times=world.times(appliance="0" * 64))) is BundleReason.MALFORMED


def test_the_number_is_half_the_version(world: World, bare: Path) -> None:
    """Bundle n has TUF version 2n (R27)."""
    assert refusal(bare, world.bundle(2, times=world.times(1)), NOW + 60) is BundleReason.MALFORMED


# Log, end, plan, status lists, clock


def test_checkpoint(world: World, trust: Path) -> None:
    """The checkpoint is the log's own, and the log never shrinks."""
    thief = Signer.named("thief", world.log_key.public.algorithm)
    good = world.checkpoint(5)
    assert (
        refusal(trust, world.bundle(2, checkpoint=good.replace(b"\n5\n", b"\n6\n")), NOW + 60)
        is BundleReason.BAD_SIGNATURE
    )
    assert (
        refusal(trust, world.bundle(2, checkpoint=world.checkpoint(5, key=thief)), NOW + 60)
        is BundleReason.BAD_SIGNATURE
    )
    assert refusal(trust, world.bundle(2, checkpoint=b"x\n"), NOW + 60) is BundleReason.MALFORMED
    assert refusal(trust, world.bundle(2, checkpoint=world.checkpoint(0)), NOW + 60) is BundleReason.ROLLBACK
    assert apply(world.bundle(2, checkpoint=world.checkpoint(1)), trust, now=NOW + 60).changed


def test_the_end_is_the_timestamp_s(world: World, bare: Path) -> None:
    """A bundle whose times end at another second than its timestamp is refused."""
    assert refusal(bare, world.bundle(expires=NOW + DAY + GRACE + 1)) is BundleReason.MALFORMED


def windows(*bounds: tuple[int, int], keys: tuple[TrustKey, ...]) -> Plan:
    """Return a plan of windows between these hours from now, all with the same keys."""
    kids = tuple(sorted(key.kid for key in keys))
    windows = tuple(Window(n, NOW + a * HOUR, NOW + b * HOUR, kids, kids) for n, (a, b) in enumerate(bounds, 1))
    return Plan(windows, 2 * DAY)


PLANS: dict[str, tuple[tuple[tuple[int, int], ...], bool]] = {
    "one window": (((-1, 24),), True),
    "a third": (((-1, 11), (7, 19), (15, 27)), True),
    "less than a third": (((-1, 11), (8, 20)), False),
    "a third of the shorter": (((-1, 8), (5, 29)), False),
    "a gap": (((-1, 8), (9, 18)), False),
    "one inside the other": (((-1, 24), (1, 23)), False),
    "out of order": (((5, 20), (-1, 11)), False),
    "not begun": (((1, 24),), False),
    "over": (((-9, -1),), False),
    "longer than the bundle": (((-1, 31),), False),
}


@pytest.mark.parametrize("case", PLANS)
def test_plan(world: World, bare: Path, case: str) -> None:
    """Windows overlap by a third of the longer and cover the bundle from its issue to its end."""
    bounds, safe = PLANS[case]
    plan = windows(*bounds, keys=world.trust_keys())
    bundle = world.bundle(trust=world.trust_documents(plan=plan))
    if safe:
        assert apply(bundle, bare, now=NOW).store.plan == plan
    else:
        assert refusal(bare, bundle) is BundleReason.PLAN_UNSAFE


def two_windows(**changes: Any) -> Callable[[str, str], Plan]:
    """Return a maker of a plan in which a new key takes over, with members of the second window changed."""

    def make(old: str, new: str) -> Plan:
        first = {"publish": (old, new), "sign": (old,)}
        second = {"publish": (new, old), "sign": (new,)}
        for name, kids in changes.items():
            place, _, member = name.partition("_")
            chosen = first if place == "first" else second
            chosen[member] = tuple({"old": old, "new": new, "none": "x" * 43}[kid] for kid in kids)
        windows = (
            Window(1, NOW - HOUR, NOW + 11 * HOUR, **first),
            Window(2, NOW + 7 * HOUR, NOW + 19 * HOUR, **second),
        )
        return Plan(windows, 2 * DAY)

    return make


HANDOVERS: dict[str, tuple[Callable[[str, str], Plan], bool]] = {
    "published, signs, stays": (two_windows(), True),
    "not published before it signs": (two_windows(first_publish=["old"]), False),
    "not published while it signs": (two_windows(second_publish=["old"]), False),
    "gone while what it signed lives": (two_windows(second_publish=["new"]), False),
    "retired while published": (two_windows(second_retire=["old"]), False),
    "a key that nobody holds": (two_windows(first_publish=["old", "new", "none"]), False),
    "signs with a key that nobody holds": (two_windows(first_sign=["none"]), False),
}


@pytest.mark.parametrize("case", HANDOVERS)
def test_handover(world: World, bare: Path, case: str) -> None:
    """A key is published before it signs and as long as anything it signed may live."""
    make, safe = HANDOVERS[case]
    new = Signer.named("next access key")
    keys = (*world.trust_keys(), world.trust_key(new, world.access_charter(lifetime=HOUR + 1)))
    plan = make(world.access_key.kid, new.kid)
    bundle = world.bundle(trust=world.trust_documents(keys=keys, plan=plan))
    if safe:
        assert apply(bundle, bare, now=NOW).changed
    else:
        assert refusal(bare, bundle) is BundleReason.PLAN_UNSAFE


def test_keys_are_valid_for_the_windows_they_sign_in(world: World, bare: Path) -> None:
    """A key that ends a second before its window does makes the plan unsafe."""
    for changes in ({"expires_at": NOW + DAY - 1}, {"not_before": NOW - HOUR + 1}):
        access, *others = world.trust_keys()
        short = world.trust_key(world.access_key, access.charter, **changes)
        bundle = world.bundle(trust=world.trust_documents(keys=(short, *others)))
        assert refusal(bare, bundle) is BundleReason.PLAN_UNSAFE


def test_a_plan_needs_a_key_for_credentials(world: World, bare: Path) -> None:
    """A window in which only status lists can be signed is no window."""
    status = world.trust_keys()[2:]
    bundle = world.bundle(
        trust=world.trust_documents(plan=bundling.one_window(NOW - HOUR, NOW + DAY, status, grace=DAY))
    )
    assert refusal(bare, bundle) is BundleReason.PLAN_UNSAFE


def test_status_lists(world: World, bare: Path) -> None:
    """A status list that is over, forged or not where its key may sign is not stored."""
    over = world.status_list(issued_at=NOW - 60, expires_at=NOW)
    assert refusal(bare, world.bundle(status_lists=[over])) is BundleReason.EXPIRED
    forged = world.status_list(key=world.access_key)
    assert refusal(bare, world.bundle(status_lists=[forged])) is BundleReason.BAD_SIGNATURE
    elsewhere = world.status_list(uri="https://issuer.plant-a.example/other/1")
    assert refusal(bare, world.bundle(status_lists=[elsewhere])) is BundleReason.BAD_SIGNATURE


@pytest.mark.parametrize(("now", "expected"), [(-121, BundleReason.CLOCK_BEHIND_FLOOR), (-120, None), (0, None)])
def test_the_clock_may_be_a_little_behind(world: World, bare: Path, now: int, expected: BundleReason | None) -> None:
    """A site whose clock is over 120 s before the bundle's issue is told to set it, before anything is stored."""
    if expected is None:
        assert apply(world.bundle(), bare, now=NOW + now).changed
    else:
        assert refusal(bare, world.bundle(), NOW + now) is expected


def test_the_floor_is_the_time_of_reference(world: World, trust: Path) -> None:
    """A clock set back does not make an expired bundle good: time is at least the newest issue seen (R18)."""
    later = world.times(9, issued_at=NOW + 2 * HOUR)
    apply(world.bundle(9, times=later), trust, now=NOW + 2 * HOUR)
    stale = world.bundle(
        10, times=world.times(10, issued_at=NOW, end=NOW + 2 * HOUR, ageing_after=NOW, stale_after=NOW)
    )
    assert refusal(trust, stale, NOW) is BundleReason.EXPIRED
    assert (
        refusal(trust, world.bundle(10, times=world.times(10, issued_at=NOW + 2 * HOUR)), NOW)
        is BundleReason.CLOCK_BEHIND_FLOOR
    )


def test_issue_times_only_rise(world: World, trust: Path) -> None:
    """A newer number with an older time is a rollback."""
    bundle = world.bundle(2, times=world.times(2, issued_at=NOW - 1))
    assert refusal(trust, bundle) is BundleReason.ROLLBACK


# The file


def test_framing(world: World, bare: Path) -> None:
    """What is not a bundle, whole and with no byte more, is malformed."""
    good = world.bundle()
    for bad in (
        b"",
        b"coldcred-export 1\n",
        good[:-1],
        good + b"\n",
        good[:100],
        good.replace(b"bundle 1", b"bundle 2", 1),
    ):
        assert refusal(bare, bad) is BundleReason.MALFORMED
    assert refusal(bare, bytes(framing.MAX_BUNDLE)) is BundleReason.MALFORMED
    assert refusal(bare, bytes(framing.MAX_BUNDLE + 1)) is BundleReason.TOO_LARGE


@pytest.mark.parametrize("name", sorted(layout.REQUIRED))
def test_nothing_may_be_missing(world: World, bare: Path, name: str) -> None:
    """A bundle without one of its files is incomplete."""
    files = {key: body for key, body in world.files().items() if key != name}
    assert refusal(bare, framing.write(framing.BUNDLE, files)) is BundleReason.INCOMPLETE


HOSTILE = [
    "metadata/0.root.json",
    "metadata/01.root.json",
    "metadata/257.root.json",
    "metadata/2.site.json",
    "targets/trust/extra.json",
    "targets/revocation/status-0.jwt",
    "targets/revocation/status-01.jwt",
    "targets/revocation/status-33.jwt",
    "manifest.json",
    "current",
    "site.json",
    "site.key",
    "generations/1/manifest.json",
    "targets/trust/jwks.json.bak",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_come_from_a_closed_list(world: World, bare: Path, name: str) -> None:
    """A file of any other name, however harmless or clever, makes the bundle malformed and nothing is written."""
    bundle = framing.write(framing.BUNDLE, {**world.files(), name: b"{}"})
    assert refusal(bare, bundle) is BundleReason.MALFORMED


NAMES = [
    "../../etc/passwd",
    "/etc/passwd",
    "targets/../x",
    "a\x00b",
    "..",
    "targets//x",
    "Targets/x",
    "a/b/c/d/e",
    "é",
    "x" * 200,
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leads_out(world: World, bare: Path, name: str) -> None:
    """Names that the framing cannot even hold are refused too, written by hand into the index."""
    good = world.bundle()
    bundle = good.replace(b"targets/time/bundle.json", name.encode(), 1)
    parent = tree(bare.parent)
    assert refusal(bare, bundle) is BundleReason.MALFORMED
    assert tree(bare.parent) == parent


@given(st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_refused(data: bytes) -> None:
    """Whatever is given as a bundle is refused with a reason and without a traceback."""
    for candidate in (data, framing.BUNDLE + data):
        with pytest.raises(BundleRefused):
            inspect(candidate)


def test_a_bundle_is_bounded_file_by_file(world: World, bare: Path) -> None:
    """A file beyond its own bound is refused before it is parsed."""
    for name in (layout.TIMESTAMP, layout.JWKS, layout.TAINTS, layout.STATUS_LISTS[0]):
        bundle = framing.write(framing.BUNDLE, {**world.files(), name: b" " * (layout.LIMITS[name] + 1)})
        assert refusal(bare, bundle) is BundleReason.MALFORMED


def test_a_bomb_in_a_status_list(world: World, bare: Path) -> None:
    """A list that would inflate beyond its fixed size is cut off there."""
    bomb = b64u_encode(zlib.compress(bytes(2**25), level=9))
    token = world.jws(
        Typ.STATUS_LIST,
        {"sub": STATUS_URI, "iat": NOW, "exp": NOW + DAY, "ttl": 60, "status_list": {"bits": 1, "lst": bomb}},
        world.status_key,
    )
    assert refusal(bare, world.bundle(status_lists=[token])) is BundleReason.MALFORMED


# Looking into a bundle


def test_inspect(world: World) -> None:
    """A bundle says what it is without a trust store, at any time, with the fingerprint that people compare."""
    found = inspect(world.bundle(3, taints=["x"]))
    assert found.fingerprint == sha256_hex(world.root())
    assert (found.root_version, found.targets_version, found.files) == (1, 1, 15)
    assert (found.store.identity.appliance, found.store.times.sequence) == (APPLIANCE, 3)
    assert found.size == len(world.bundle(3, taints=["x"]))


def test_inspect_refuses_what_is_not_signed_under_its_own_root(world: World) -> None:
    """A bundle that does not hold together is not described."""
    files = world.files()
    changed = {**files, layout.TAINTS: b'{"kids":["y"],"v":1}'}
    with pytest.raises(BundleRefused) as caught:
        inspect(framing.write(framing.BUNDLE, changed))
    assert caught.value.reason is BundleReason.BAD_SIGNATURE
