"""System events: each in its one shape, and nothing beside it; they grant nothing, whatever they say."""

import pytest

from coldcred.canonical import Json
from coldcred.errors import LogReason
from coldcred.log import system
from tests.support import plant
from tests.support.logrules import refusal, verified
from tests.support.logworld import LogWorld

Event = dict[str, Json]

PIN: Event = {"token": "plant-a-daily", "mode": "terminal"}
WORKER: Event = {"token": "plant-a-daily", "count": 3}
SHAPES: dict[str, Event] = {
    "input.refused": {"count": 3, "reasons": {"malformed": 1, "bad-signature": 2}, "sha256": "0" * 64},
    "submission.failed": {"count": 2, "kind": "KeyError", "place": "decide:12", "submissions": ["0" * 64, "1" * 64]},
    "quota.exceeded": {"count": 3, "signers": {"alice": 2, plant.WORKLOAD: 1}, "sha256": "0" * 64},
    "pin.accepted": PIN,
    "pin.refused": {**PIN, "mode": "descriptor"},
    "worker.lost": WORKER,
    "worker.timed-out": WORKER,
    "worker.replaced": WORKER,
    "clock.behind": {"seconds": 3},
    "clock.right": {},
}


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log whose appliance was founded by four people and has its keys."""
    return LogWorld.begin().start()


def test_the_shapes_are_those_of_the_closed_list(begun: LogWorld) -> None:
    """Every type is known, and a log that has each of them is intact."""
    assert set(SHAPES) == set(system.EVENTS)
    world = begun.copy()
    for kind, members in SHAPES.items():
        world.append({"type": kind, **members})
    assert {kind: verified(world.copy()).counts[kind] for kind in SHAPES} == dict.fromkeys(SHAPES, 1)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_system_event_brings_nothing_along(begun: LogWorld, kind: str) -> None:
    """One more member is refused, a signature above all; and each member has to be there."""
    extras: list[Event] = [{"person": "mallory"}, {"signs": [*begun.signs("tokens", b"anything")]}, {"result": {}}]
    for more in extras:
        _is_malformed(begun, {"type": kind, **SHAPES[kind], **more})
    for member in SHAPES[kind]:
        _is_malformed(begun, {"type": kind, **{name: SHAPES[kind][name] for name in SHAPES[kind] if name != member}})


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("input.refused", {"count": 4}),
        ("input.refused", {"count": 0, "reasons": {}}),
        ("input.refused", {"reasons": {"malformed": 3, "bad-signature": 0}}),
        ("input.refused", {"reasons": {"malformed": 2, "not-allowed": 1}}),
        ("input.refused", {"reasons": {"malformed": True, "bad-signature": 2}}),
        ("input.refused", {"reasons": ["malformed"]}),
        ("input.refused", {"sha256": "a stranger's words"}),
        ("submission.failed", {"count": 1}),
        ("submission.failed", {"count": 0}),
        ("submission.failed", {"kind": "a secret"}),
        ("submission.failed", {"place": "x" * 65}),
        ("submission.failed", {"submissions": []}),
        ("submission.failed", {"count": 17, "submissions": [f"{number:064}" for number in range(17)]}),
        ("submission.failed", {"submissions": ["a stranger's words"]}),
        ("quota.exceeded", {"count": 2}),
        ("quota.exceeded", {"signers": {}}),
        ("quota.exceeded", {"signers": {"alice": 0}}),
        ("quota.exceeded", {"signers": {"a stranger's words": 1}}),
        ("quota.exceeded", {"count": 17, "signers": {f"person-{number}": 1 for number in range(17)}}),
        ("quota.exceeded", {"sha256": "0"}),
        ("pin.refused", {"mode": "guess"}),
        ("pin.refused", {"token": "a\u202eb"}),
        ("pin.accepted", {"token": ""}),
        ("worker.lost", {"count": 0}),
        ("worker.replaced", {"count": "3"}),
        ("clock.behind", {"seconds": 0}),
        ("clock.behind", {"seconds": 10**10}),
    ],
)
def test_a_system_event_of_another_shape_is_refused(begun: LogWorld, kind: str, changes: Event) -> None:
    """Numbers add up, ids are of closed lists, names are names."""
    _is_malformed(begun, {"type": kind, **SHAPES[kind], **changes})


CEREMONIAL: Json = [
    {"label": "plant-a-daily", "class": "daily", "exclusive": True},
    {"label": "plant-a-ceremony", "class": "ceremony", "exclusive": True},
]


@pytest.mark.parametrize("kind", ["pin.accepted", "pin.refused"])
def test_a_pin_comes_as_its_token_s_class_wants(kind: str) -> None:
    """Two people give a ceremony's PIN, and nobody gives a daily one so (R5); other tokens are none of the founding."""
    world = LogWorld.begin(plant.members() | {"tokens": CEREMONIAL}).start()
    modes = {"plant-a-daily": {"terminal", "descriptor", "credential"}, "plant-a-ceremony": {"two-people"}}
    for token, allowed in modes.items():
        for mode in system.PinMode:
            event: Event = {"type": kind, "token": token, "mode": mode.value}
            if mode in allowed:
                told = world.copy()
                told.append(event)
                assert verified(told).counts[kind] == 1
            else:
                _is_malformed(world, event)
    _is_malformed(world, {"type": kind, "token": "plant-b-daily", "mode": "terminal"})


def _is_malformed(begun: LogWorld, event: Event) -> None:
    world = begun.copy()
    seq = world.append(event)
    world.open = []
    assert refusal(world) == (LogReason.MALFORMED, seq), event
