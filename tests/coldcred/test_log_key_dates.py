"""Keys act within their dates for whoever reads a log: rule R41, check L21."""

from collections.abc import Callable

import pytest

from coldcred.errors import LogReason
from coldcred.log.approvals import TOLERANCE
from tests.support import plant
from tests.support.logrules import refusal, verified
from tests.support.logworld import LogWorld

LIFE = 90 * plant.DAY


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log whose appliance was founded by four people and has its keys, each for 90 days."""
    return LogWorld.begin().start()


def _checkpoint(world: LogWorld, jump: int) -> int:
    world.time += jump
    world.checkpoint()
    return world.head.size - 1


def _status(world: LogWorld, jump: int) -> int:
    world.time += jump
    world.begin_bundle(1, end=plant.TIME + LIFE, issued_at=world.time - jump)
    return world.head.size - 1


def _role(world: LogWorld, jump: int) -> int:
    world.time += jump - 300
    making = world.begin_bundle(1, end=plant.TIME + LIFE)
    making[1]["end"] = plant.TIME + LIFE
    world.settle()
    world.time += 300
    world.sign_role(making, "site")
    return world.head.size - 1


SIGNS: dict[str, Callable[[LogWorld, int], int]] = {"log": _checkpoint, "status": _status, "bundle": _role}


@pytest.mark.parametrize("purpose", SIGNS)
def test_a_key_that_has_ended_signs_nothing(begun: LogWorld, purpose: str) -> None:
    """An announced signature from the key's end on, two minutes allowed, is `wrong-key`; just before it is not."""
    left = min(key.not_after for key in verified(begun.copy()).keys) + TOLERANCE - begun.time
    late, early = begun.copy(), begun.copy()
    seq = SIGNS[purpose](late, left + 10)
    assert refusal(late) == (LogReason.WRONG_KEY, seq)
    SIGNS[purpose](early, left - TOLERANCE - 60)
    assert refusal(early) is None


def test_a_checkpoint_over_what_came_after_its_keys_end_is_refused(begun: LogWorld) -> None:
    """Also where no entry announces it: entries may follow the key's end, a checkpoint over them may not."""
    world = begun.copy()
    world.time += LIFE + 2 * TOLERANCE
    world.append({"type": "stopped"})
    assert refusal(world) == (LogReason.WRONG_KEY, None)


@pytest.mark.parametrize(("beyond", "seen"), [(0, False), (1, True)])
def test_a_bundle_ends_within_its_keys_charter(begun: LogWorld, beyond: int, seen: bool) -> None:  # noqa: FBT001 - a case
    """A bundle that ends later than the `until` of the bundle key is `wrong-key` where that key first signs it."""
    world = begun.copy()
    making = world.begin_bundle(1, end=plant.TIME + LIFE + beyond)
    making[1]["end"] = plant.TIME + LIFE + beyond
    world.settle()
    world.sign_role(making, "site")
    seq = world.head.size - 1
    assert refusal(world) == ((LogReason.WRONG_KEY, seq) if seen else None)
