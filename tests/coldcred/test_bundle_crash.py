"""A site's process killed while it applies a bundle: the old trust or the new, and applying it again finishes."""

import shutil
from pathlib import Path

import pytest

from coldcred import TrustStore
from coldcred.bundle import apply
from tests.support.killed import Point, kill_at, points
from tests.support.world import NOW, World

PROGRAM = """
import sys
from pathlib import Path
from coldcred.bundle import apply
apply(Path(sys.argv[1]).read_bytes(), sys.argv[2], now=float(sys.argv[3]))
"""


class Campaign:
    """One site with the first bundle, killed again and again while it applies the second."""

    def __init__(self, world: World, site: Path, folder: Path) -> None:
        self._site = site
        self._trust = folder / "trust"
        self._second, self._third = world.bundle(2), world.bundle(3)
        bundle = folder / "second.bundle"
        bundle.write_bytes(self._second)
        program = folder / "apply.py"
        program.write_text(PROGRAM)
        self._program = [str(program), str(bundle), str(self._trust), str(NOW + 300)]
        self._reset()
        self.points = points(self._program, folder / "log", begin="flock(")

    def _reset(self) -> None:
        shutil.rmtree(self._trust, ignore_errors=True)
        shutil.copytree(self._site, self._trust, symlinks=True)

    def visit(self, point: Point) -> int | None:
        """Kill at one point; the number of the bundle that was trusted after it, or None where it came too late."""
        self._reset()
        killed = kill_at(self._program, point)
        found = TrustStore.open(self._trust).times.sequence
        assert found in {1, 2}
        assert killed or found == 2
        assert apply(self._second, self._trust, now=NOW + 300).store.times.sequence == 2
        assert apply(self._third, self._trust, now=NOW + 300).store.generation == 3
        generations = sorted(path.name for path in (self._trust / "generations").iterdir())
        assert generations == ["2", "3"]
        assert not (self._trust / "current.new").is_symlink()
        return found if killed else None


def test_killed_at_some_calls(world: World, site: Path, tmp_path: Path) -> None:
    """Killed at 25 system calls spread over the whole of it, most before and some after the swap."""
    campaign = Campaign(world, site, tmp_path)
    swap = next(place for place, point in enumerate(campaign.points) if point.call.startswith("rename"))
    spread = campaign.points[:: max(1, len(campaign.points) // 20)][:20]
    chosen = [*spread, *campaign.points[swap - 2 : swap + 3]]
    outcomes = [campaign.visit(point) for point in chosen]
    assert outcomes.count(1) >= 5
    assert outcomes.count(2) >= 1
    assert outcomes.count(None) <= 3  # the start of an interpreter may differ by a call or two


@pytest.mark.soak
def test_killed_at_every_call(world: World, site: Path, tmp_path: Path) -> None:
    """Killed at each system call in turn; trust turns from old to new exactly once."""
    campaign = Campaign(world, site, tmp_path)
    outcomes = [found for point in campaign.points if (found := campaign.visit(point)) is not None]
    assert len(outcomes) > 150
    assert outcomes == sorted(outcomes)
