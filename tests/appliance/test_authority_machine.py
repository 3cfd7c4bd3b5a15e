"""The whole authority against the plainest model of it: whatever humans sign, in whatever order, tricks included.

Nobody does alone what takes two (P3), an auditor changes nothing (P5), no credential lies outside its profile, and an
auditor's reader believes every log that comes out. The model says what becomes of each step, so that nothing passes
because everything is refused.
"""

import random

import pytest
from hypothesis import HealthCheck, find, settings
from hypothesis import strategies as st

from coldcred.acts import Act
from tests.support.authority_run import FOUNDED, HUMANS, Run, Tally
from tests.support.authority_steps import ASKED, HOWS, OFTEN, Step, take
from tests.support.plain_table import TABLE


def made_up(number: int, length: int) -> list[Step]:
    """Make up what humans do, evenly over all there is: a thousand steps are few for so many acts."""
    chance = random.Random(number)
    return [
        Step(
            kind=chance.choice(OFTEN),
            who=chance.choice(HUMANS),
            act=chance.choice(ASKED),
            pick=chance.randrange(60),
            key=chance.randrange(5),
            how=chance.choice(HOWS),
        )
        for _ in range(length)
    ]


def live(tally: Tally, founded: int, steps: list[Step]) -> None:
    """Let one appliance see these steps, and an auditor its log."""
    with Run(tally, founded) as run:
        for step in steps:
            take(run, step)


def fails(founded: int, steps: list[Step]) -> bool:
    """Whether an appliance that sees these steps does what it must not."""
    try:
        live(Tally(), founded, steps)
    except Exception:  # noqa: BLE001 - whatever is wrong with it
        return True
    return False


def shortest(founded: int, steps: list[Step]) -> list[Step]:
    """Leave steps out of a failure as long as it stays one; hypothesis knows how."""
    kept = st.lists(st.sampled_from((False, *(True,) * 999)), min_size=len(steps), max_size=len(steps))
    checked = settings(max_examples=200, deadline=None, database=None, suppress_health_check=[*HealthCheck])

    def chosen(keeps: list[bool]) -> list[Step]:
        return [step for step, keep in zip(steps, keeps, strict=True) if keep]

    return chosen(find(kept, lambda keeps: fails(founded, chosen(keeps)), settings=checked))


def campaign(first: int, runs: int, length: int) -> Tally:
    """Let so many appliances live for so many steps each, and give what was seen; a failure tells the fewest steps."""
    tally = Tally()
    for number in range(first, first + runs):
        founded, steps = number % len(FOUNDED), made_up(number, length)
        try:
            live(tally, founded, steps)
        except Exception as error:
            told = "\n".join(f"    {step}," for step in shortest(founded, steps))
            error.add_note(f"run {number}, founded as {founded}; the fewest steps that fail:\n{told}")
            raise
    return tally


@pytest.mark.timeout(900)  # shrinking a failure takes its time
def test_nobody_does_alone_what_takes_two() -> None:
    """More than a thousand signatures; every act there is was carried out among them."""
    tally = campaign(first=1, runs=10, length=100)
    assert tally.steps >= 1000
    assert tally.done == {*TABLE} == {act.value for act in Act}
    assert tally.verified >= 10


@pytest.mark.soak
@pytest.mark.parametrize("block", range(1, 11))
def test_nobody_does_alone_what_takes_two_for_long(block: int) -> None:
    """Ten thousand each time, so that a hundred thousand are seen."""
    tally = campaign(first=1000 * block, runs=75, length=100)
    assert tally.steps >= 10_000
    assert tally.done == {*TABLE}
