"""What each founder reads before they sign: the whole founding, in words."""

from dataclasses import replace
from typing import Any

import pytest

from coldcred import founding
from coldcred.canonical import Json, dumps
from coldcred.errors import Malformed
from coldcred.rendering import foundings
from coldcred.rendering.frame import given
from coldcred.rendering.words import moment
from tests.support import plant
from tests.support.otherwise import otherwise


def _members() -> dict[str, Json]:
    """Give a founding in which every member that may be there is there."""
    profile: Json = {
        **plant.profile(),
        "groups": ["robots"],
        "asked_by": ["workload", "issuer"],
        "requires": ["purpose"],
        "excludes": ["orders-writer"],
    }
    members = plant.members()
    quorums: Json = {"custodians": 2, "recovery": 2, "acts": {"bundle.create": 2, "workload.enrol": 2}}
    return {**members, "profiles": [profile], "quorums": quorums}


def _screen(found: founding.Founding) -> list[str]:
    """Give what is shown, but for the id, which any change changes."""
    unnamed = given(f"appliance: {found.appliance_id}")
    lines = foundings.lines(found)
    assert unnamed in lines
    return [line for line in lines if line != unnamed]


def test_each_member_of_a_founding_changed_alone_changes_the_screen() -> None:
    """Whatever a founder would sign otherwise, they would read otherwise, in more than the id."""
    found = founding.parse(dumps(_members()))
    honest, shown, refused = _screen(found), 0, 0
    nameless: dict[str, Any] = {"body": b"", "appliance_id": ""}
    for other in otherwise(_members()):
        try:
            changed = founding.parse(dumps(other))
        except Malformed:
            refused += 1
            continue
        if replace(changed, **nameless) == replace(found, **nameless):
            continue  # the same set in another order
        assert _screen(changed) != honest
        shown += 1
    assert shown > 80
    assert refused > 200


def test_the_screen_says_what_stands_in_the_founding() -> None:
    """Times and spans are words, keys are thumbprints, and one person alone is called so."""
    lines = foundings.lines(founding.parse(dumps(_members())))
    assert "| window: 1 day" in lines
    assert "| may sign, lifetime: 8 hours" in lines
    assert f"| operator key: {plant.operator('alice').kid} (ES256)" in lines
    assert "| holder binding: no" in lines
    assert any("until: 20" in line for line in lines)
    assert foundings.SINGLE_OPERATOR not in lines
    alone = founding.parse(dumps(plant.members(plant.ALONE)))
    assert foundings.lines(alone)[0] == foundings.SINGLE_OPERATOR


@pytest.mark.parametrize(
    ("window", "grace", "first"),
    [(3600, 3600, "every 1 hour 2 custodians"), (7 * plant.DAY, plant.DAY, "every 7 days 2 custodians")],
)
def test_the_plan_is_read_back_in_words(window: int, grace: int, first: str) -> None:
    """How often custodians sign, how long a site lives and when everything ends follow from the numbers."""
    horizons: Json = {"window": window, "grace": grace, "root": 365 * plant.DAY, "targets": 90 * plant.DAY}
    said = foundings.costs(founding.parse(dumps({**plant.members(), "horizons": horizons})))
    assert first in said[1]
    last = plant.TIME + 90 * plant.DAY - window - grace
    assert moment(last) in said[4]
    assert moment(last + window + grace) in said[4]
