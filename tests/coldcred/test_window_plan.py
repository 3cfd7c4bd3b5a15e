"""The window plan to the second: what is safe, and the first second at which it no longer is."""

from dataclasses import replace

import pytest

from coldcred.documents import BundleTimes, TrustKey
from coldcred.errors import BundleReason, BundleRefused, Malformed
from coldcred.plan import Plan, Window
from tests.support.signers import Signer
from tests.support.world import DAY, NOW, World

LONG = 7 * 24 * 3600
"""A grace that no bundle here reaches."""

KEYS = {key.kid: key for key in World.make().trust_keys()}
KIDS = tuple(sorted(KEYS))
NEW = World.make().trust_key(Signer.named("next access key"), World.make().access_charter())


def window(number: int, begin: int, end: int, kids: tuple[str, ...] = KIDS) -> Window:
    """Return a window between two seconds from now in which all of these keys sign."""
    return Window(number, NOW + begin, NOW + end, kids, kids)


def safe(*windows: Window, keys: dict[str, TrustKey] | None = None, times: BundleTimes | None = None) -> bool:
    """Whether a plan is safe for a bundle issued now."""
    try:
        Plan(windows, LONG).check(KEYS if keys is None else keys, times or World.make().times())
    except BundleRefused as error:
        refused = error
    else:
        return True
    assert refused.reason is BundleReason.PLAN_UNSAFE
    assert "window" in refused.detail
    return False


@pytest.mark.parametrize(("begin", "expected"), [(-1, True), (0, True), (1, False)])
def test_the_first_window_has_begun(begin: int, *, expected: bool) -> None:
    """The first window begins at the latest in the second in which the bundle is issued."""
    assert safe(window(1, begin, DAY)) is expected


@pytest.mark.parametrize(("end", "expected"), [(0, False), (1, True)])
def test_the_last_window_is_not_over(end: int, *, expected: bool) -> None:
    """A bundle issued in the second at which the last window ends comes too late."""
    assert safe(window(1, -100, end)) is expected


def test_the_bundle_lasts_as_long_as_the_plan() -> None:
    """The bundle ends with the last window or later, not a second earlier."""
    times = World.make().times()
    span = times.end - NOW
    assert safe(window(1, 0, span), times=times)
    assert not safe(window(1, 0, span + 1), times=times)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 300), (200, 500), True),
        ((0, 300), (201, 501), False),
        ((0, 300), (150, 600), True),
        ((0, 300), (151, 602), False),
        ((0, 450), (300, 600), True),
        ((0, 450), (301, 601), False),
    ],
)
def test_overlap_is_a_third_of_the_longer(first: tuple[int, int], second: tuple[int, int], *, expected: bool) -> None:
    """Exactly a third is enough, a second less is not, whichever window is the longer."""
    assert safe(window(1, *first), window(2, *second)) is expected


def test_windows_come_one_after_the_other() -> None:
    """Each window begins and ends after the one before; a second is enough, the same second is not."""
    assert safe(window(1, 0, 300), window(2, 1, 301))
    assert not safe(window(1, 0, 300), window(2, 0, 301))
    assert not safe(window(1, 0, 300), window(2, 1, 300))


@pytest.mark.parametrize("number", [1, 3, 7])
def test_windows_are_numbered_without_gaps(number: int) -> None:
    """A window that bears another number than the next is not the next."""
    assert not safe(window(1, 0, 300), window(number, 100, 400))
    assert safe(window(7, 0, 300), window(8, 100, 400))


def test_a_key_stays_published_until_what_it_signed_is_over() -> None:
    """In a window that begins when the signer's window is over the key may be gone; a second earlier it may not."""
    keys = {**KEYS, NEW.kid: NEW}
    both, old, new = (*KIDS, NEW.kid), KIDS, (NEW.kid,)
    first = Window(1, NOW, NOW + 300, both, old)
    second = Window(2, NOW + 100, NOW + 400, both, new)
    for begin, expected in ((300, True), (299, False)):
        third = Window(3, NOW + begin, NOW + begin + 300, new, new)
        assert safe(first, replace(second, expires_at=NOW + 400), third, keys=keys) is expected


@pytest.mark.parametrize(("change", "expected"), [(-1, False), (0, True), (1, True)])
def test_a_key_is_valid_for_the_whole_window(change: int, *, expected: bool) -> None:
    """A signer's validity may begin and end with its window, and not a second inside it."""
    for key in KEYS.values():
        late = {**KEYS, key.kid: replace(key, not_before=NOW - change)}
        short = {**KEYS, key.kid: replace(key, expires_at=NOW + 300 + change)}
        assert safe(window(1, 0, 300), keys=late) is expected
        assert safe(window(1, 0, 300), keys=short) is expected


def test_a_window_has_a_length() -> None:
    """A window that ends when it begins is none, and cannot even be read."""
    with pytest.raises(Malformed, match="ends before it begins"):
        Plan.parse(Plan((window(1, 0, 0),)).write())
    assert Plan.parse(Plan((window(1, 0, 1),)).write()) == Plan((window(1, 0, 1),))


def test_a_plan_has_a_window() -> None:
    """A plan without windows cannot be read."""
    with pytest.raises(Malformed):
        Plan.parse(Plan(()).write())


def test_trust_outlives_the_last_window_by_the_signed_grace_at_most() -> None:
    """The appliance cannot lengthen what custodians signed: one second more is refused."""
    whole = window(1, 0, 24 * 3600)
    times = replace(World.make().times(), end=whole.expires_at + 60)
    Plan((whole,), 60).check(KEYS, times)
    with pytest.raises(BundleRefused, match="outlived"):
        Plan((whole,), 59).check(KEYS, times)
