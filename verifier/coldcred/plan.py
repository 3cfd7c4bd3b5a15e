"""The window plan: which keys are published, sign and retire in each span of time, as the DNS root's ceremonies do it.

A plan is safe when no site can be left without a key it needs: consecutive windows overlap by at least a third, a key
is published before it signs and stays published until the last thing it signed has expired.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from coldcred.canonical import Json, dumps, loads_canonical
from coldcred.charter import Purpose
from coldcred.documents import MAX_DOCUMENT, BundleTimes, TrustKey
from coldcred.errors import BundleReason, BundleRefused, Malformed
from coldcred.record import Record

MAX_WINDOWS = 512
LEAST_OVERLAP = 3  # consecutive windows share at least one part in so many of each


@dataclass(frozen=True, slots=True)
class Window:
    """One span, `not_before` <= t < `expires_at` (Unix seconds), and the kids published, signing and retired in it."""

    number: int
    not_before: int
    expires_at: int
    publish: tuple[str, ...]
    sign: tuple[str, ...]
    retire: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """Give the window as it is written."""
        return {
            "win": self.number,
            "nbf": self.not_before,
            "exp": self.expires_at,
            "publish": list(self.publish),
            "sign": list(self.sign),
            "retire": list(self.retire),
        }

    @classmethod
    def read(cls, record: Record) -> Self:
        """Read one window (`Malformed`)."""
        window = cls(
            number=record.integer("win", least=1),
            not_before=record.time("nbf"),
            expires_at=record.time("exp"),
            publish=record.texts("publish", least=1, most=256),
            sign=record.texts("sign", least=1, most=256),
            retire=record.texts("retire", most=256),
        )
        record.done()
        if not window.not_before < window.expires_at:
            raise Malformed(f"plan: window {window.number} ends before it begins")
        return window


@dataclass(frozen=True, slots=True)
class Plan:
    """Consecutive windows, oldest first, at least one; trust may outlive the last by `grace` seconds, no longer."""

    windows: tuple[Window, ...]
    grace: int = 0

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read `trust/plan.json` (`Malformed`); whether it is safe is another question, for `check`."""
        record = Record.of(loads_canonical(body, max_bytes=MAX_DOCUMENT), "plan")
        record.version()
        windows = tuple(Window.read(item) for item in record.records("windows", least=1, most=MAX_WINDOWS))
        grace = record.seconds("grace")
        record.done()
        return cls(windows, grace)

    def write(self) -> bytes:
        """Give the document's bytes."""
        return dumps({"v": 1, "grace": self.grace, "windows": [window.as_json() for window in self.windows]})

    def check(self, keys: Mapping[str, TrustKey], times: BundleTimes) -> None:
        """Return when the plan is safe with these trust keys and covers the bundle's times.

        Raises `BundleRefused` (`plan-unsafe`), naming the window.
        """
        self.check_keys(keys)
        self._check_times(times)

    def check_keys(self, keys: Mapping[str, TrustKey]) -> None:
        """Return when every window is safe with these trust keys; raises as `check`."""
        for window in self.windows:
            _check_keys(window, keys)
        for before, after in pairwise(self.windows):
            _check_order(before, after)
            _check_published_before(before, after)
        for place, window in enumerate(self.windows):
            for later in self.windows[place + 1 :]:
                _check_stays_published(window, later)

    def _check_times(self, times: BundleTimes) -> None:
        first, last = self.windows[0], self.windows[-1]
        if times.issued_at < first.not_before:
            raise _unsafe(first, "begins after the bundle was issued")
        if times.issued_at >= last.expires_at:
            raise _unsafe(last, "is over, and it is the last one")
        if times.end < last.expires_at:
            raise _unsafe(last, "outlives the bundle")
        if times.end > last.expires_at + self.grace:
            raise _unsafe(last, f"is outlived by the bundle by more than the {self.grace} s that custodians signed")


def _check_keys(window: Window, keys: Mapping[str, TrustKey]) -> None:
    for kid in window.publish:
        if kid not in keys:
            raise _unsafe(window, f"publishes {kid[:64]!a}, which the bundle does not hold")
    for kid in window.sign:
        if kid not in window.publish:
            raise _unsafe(window, f"signs with {kid[:64]!a}, which it does not publish")
        if not keys[kid].covers(window.not_before, window.expires_at):
            raise _unsafe(window, f"signs with {kid}, which is not valid for all of it")
    if not any(keys[kid].charter.purpose is Purpose.TOKENS for kid in window.sign):
        raise _unsafe(window, "has no key that signs credentials")
    if set(window.retire) & {*window.publish, *window.sign}:
        raise _unsafe(window, "retires a key that it publishes")


def _check_order(before: Window, after: Window) -> None:
    if after.number != before.number + 1:
        raise _unsafe(after, f"follows window {before.number}")
    if not (before.not_before < after.not_before and before.expires_at < after.expires_at):
        raise _unsafe(after, f"does not come after window {before.number}")
    overlap = before.expires_at - after.not_before
    longer = max(window.expires_at - window.not_before for window in (before, after))
    if overlap * LEAST_OVERLAP < longer:
        raise _unsafe(after, f"overlaps window {before.number} by {overlap} s of {longer}, less than a third")


def _check_published_before(before: Window, after: Window) -> None:
    for kid in after.sign:
        if kid not in before.publish:
            raise _unsafe(after, f"signs with {kid}, which window {before.number} did not publish yet")


def _check_stays_published(window: Window, later: Window) -> None:
    for kid in window.sign:
        if later.not_before < window.expires_at and kid not in later.publish:
            raise _unsafe(later, f"no longer publishes {kid}, whose window {window.number} is not over")


def _unsafe(window: Window, what: str) -> BundleRefused:
    return BundleRefused(BundleReason.PLAN_UNSAFE, f"window {window.number} {what}")
