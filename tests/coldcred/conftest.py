"""What the tests of coldcred share: one world for the whole run, and a site in it for each test that wants one."""

from pathlib import Path

import pytest

from coldcred import TrustStore
from tests.support.world import World


@pytest.fixture(scope="session")
def world() -> World:
    """Return a world; it is frozen, so all tests can have the same."""
    return World.make()


@pytest.fixture(scope="session")
def site(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trust store with the first bundle applied; tests read it and leave it as it is."""
    return world.site(tmp_path_factory.mktemp("site") / "trust")


@pytest.fixture(scope="session")
def store(site: Path) -> TrustStore:
    """Return what that site trusts."""
    return TrustStore.open(site)
