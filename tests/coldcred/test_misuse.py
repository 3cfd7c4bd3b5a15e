"""The library called wrongly: whatever the mistake, a `ValueError` with a sentence, and nothing else."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from coldcred import TrustStore, verify
from coldcred.bundle.apply import apply
from coldcred.errors import BundleRefused
from tests.support.example import trust_at
from tests.support.tree import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "plant-a"
NEVER: list[Any] = [
    None,
    True,
    "now",
    b"1",
    [],
    {},
    datetime(2026, 1, 1, tzinfo=UTC),
    Decimal(1),
    float("nan"),
    float("inf"),
]
NO_TIME: list[Any] = [*NEVER, 10**400, -(10**400)]
NO_PATH: list[Any] = [None, 0, 1.5, [], {}, b"store", "", "a\0b", "\ud800", True]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrustStore:
    """Return the trust of the worked example."""
    files = {name: (EXAMPLE / name).read_bytes() for name in ("root.json", "site-0001.bundle")}
    folder = tmp_path_factory.mktemp("trust") / "trust"
    trust_at(folder, files, "site-0001.bundle")
    return TrustStore.open(folder)


@pytest.mark.parametrize("now", NO_TIME, ids=range(len(NO_TIME)))
def test_a_time_that_is_none_is_the_callers_mistake(store: TrustStore, tmp_path: Path, now: Any) -> None:
    """Verifying and applying take a number and say so: dates, infinities and texts are none."""
    token = (EXAMPLE / "credential.jwt").read_text()
    with pytest.raises(ValueError, match="now is"):
        verify(token, store, audience="https://orders.plant-a.example", now=now)
    with pytest.raises(ValueError, match="now is"):
        apply(b"", tmp_path, now=now)


@pytest.mark.parametrize("path", NO_PATH, ids=range(len(NO_PATH)))
def test_a_path_that_no_file_has_is_the_callers_mistake(path: Any) -> None:
    """Opening a trust store and applying to one take a path."""
    with pytest.raises(ValueError, match="path"):
        TrustStore.open(path)
    with pytest.raises(ValueError, match="path"):
        apply(b"", path, now=0)


@pytest.mark.parametrize("store", [None, "store", Path("store"), {}, TrustStore], ids=range(5))
def test_a_store_that_is_none_is_the_callers_mistake(store: Any) -> None:
    """A path is no trust store: it is opened first."""
    with pytest.raises(ValueError, match="as TrustStore"):
        verify("token", store, audience="https://orders.plant-a.example", now=0)


@pytest.mark.parametrize("data", [None, "bundle", bytearray(b"x"), memoryview(b"x"), [1]], ids=range(5))
def test_a_bundle_that_is_no_bytes_is_the_callers_mistake(tmp_path: Path, data: Any) -> None:
    """A bundle is bytes."""
    with pytest.raises(ValueError, match="bytes"):
        apply(data, tmp_path, now=0)


@pytest.mark.parametrize(
    ("now", "reason"), [(253402300800, "expired"), (1e18, "expired"), (-1e18, "clock-behind-floor")]
)
def test_a_clock_beyond_all_calendars_refuses_a_bundle(tmp_path: Path, now: float, reason: str) -> None:
    """A machine whose clock is lost gets a reason for its bundle, and its trust stays what it was."""
    files = {name: (EXAMPLE / name).read_bytes() for name in ("root.json", "site-0001.bundle")}
    folder = trust_at(tmp_path / "trust", files)
    with pytest.raises(BundleRefused) as caught:
        apply(files["site-0001.bundle"], folder, now=now)
    assert caught.value.id == reason
