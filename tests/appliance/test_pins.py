"""How long a PIN waits: a table over counts and times."""

import pytest

from appliance.pins import RefusedPins


@pytest.mark.parametrize(
    ("count", "delay"), [(0, 0), (1, 0), (4, 0), (5, 60), (6, 60), (9, 60), (10, 900), (11, 900), (1000, 900)]
)
def test_the_delay_follows_from_the_count(count: int, delay: int) -> None:
    """A minute from the fifth in a row, a quarter of an hour from the tenth, counted from the last refusal."""
    refused = RefusedPins(count, 1000)
    assert refused.seconds_left(1000) == delay
    assert refused.seconds_left(1000 + delay) == 0
    assert refused.seconds_left(1000 + delay - 1) == (1 if delay else 0)
    assert refused.again(2000) == RefusedPins(count + 1, 2000)
