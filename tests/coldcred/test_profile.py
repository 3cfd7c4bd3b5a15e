"""Profiles: what may be issued, read strictly."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred.canonical import MAX_INTEGER, Json, dumps
from coldcred.credential import Kind
from coldcred.errors import Malformed
from coldcred.profile import LONGEST_LIFETIME, Profile
from coldcred.record import MAX_SECONDS, Record
from tests.support import plant
from tests.support.values import JSON_VALUES, MISSING, THOROUGH, edited, paths


def read(document: dict[str, Json]) -> Profile:
    """Read a profile of Plant A's trust domain."""
    return Profile.read(Record.of(document, "profile"), plant.DOMAIN)


def test_what_is_written_is_read_back() -> None:
    """Every member is read as it stands, and written as it was."""
    profile = read(plant.profile())
    assert profile == Profile(
        name="orders-reader",
        kind=Kind.ACCESS,
        audiences=("https://orders.plant-a.example",),
        scopes=("orders.read", "orders.write"),
        subjects=("spiffe://plant-a.example/line-1/*",),
        lifetime=28_800,
        horizon=86_400,
        approvals=1,
        holder_binding=False,
        refuse_stale=False,
    )
    assert profile.as_json() == plant.profile()
    assert read(profile.as_json()) == profile


def test_every_member_is_required_and_no_other_is_read() -> None:
    """Nothing has a default: a misspelt member is an error and not the absence of a bound."""
    for name in plant.profile():
        for value in (MISSING, None):
            with pytest.raises(Malformed):
                read(edited(plant.profile(), [name], value))
    with pytest.raises(Malformed, match="'scope' is not known here"):
        read({**plant.profile(), "scope": []})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "Orders"),
        ("name", "../orders"),
        ("name", "a" * 33),
        ("kind", "any"),
        ("kind", ["access"]),
        ("kind", {}),
        ("audiences", []),
        ("audiences", ["*"]),
        ("audiences", ["https://a", "https://a"]),
        ("audiences", [f"https://a/{number}" for number in range(65)]),
        ("audiences", plant.AUDIENCE),
        ("scopes", ["a b"]),
        ("scopes", [""]),
        ("scopes", ["a", "a"]),
        ("scopes", [f"s{number}" for number in range(65)]),
        ("scopes", "orders.read"),
        ("subjects", []),
        ("subjects", ["*"]),
        ("subjects", ["spiffe://plant-b.example/*"]),
        ("subjects", ["spiffe://plant-a.example.evil/*"]),
        ("subjects", ["spiffe://plant-a.example/line-*"]),
        ("lifetime", 0),
        ("lifetime", LONGEST_LIFETIME + 1),  # longer than the horizon too; see below
        ("lifetime", "8h"),
        ("lifetime", True),
        ("horizon", 0),
        ("horizon", 28_799),
        ("horizon", MAX_SECONDS + 1),
        ("horizon", MAX_INTEGER),
        ("approvals", 0),
        ("approvals", -1),
        ("approvals", True),
        ("holder_binding", 0),
        ("holder_binding", "false"),
        ("refuse_stale", 1),
    ],
)
def test_members_of_another_form_are_refused(name: str, value: object) -> None:
    """Other types, open patterns, foreign trust domains, empty bounds and endless spans are `Malformed`."""
    with pytest.raises(Malformed):
        read(edited(plant.profile(), [name], value))


def test_bounds_may_be_used_up() -> None:
    """A day of lifetime, a horizon as short as the lifetime and no scopes at all are fine."""
    longest = edited(plant.profile(), ["lifetime"], LONGEST_LIFETIME)
    with pytest.raises(Malformed, match="lifetime is at most 86400 seconds"):
        read(edited(edited(longest, ["lifetime"], LONGEST_LIFETIME + 1), ["horizon"], 7 * LONGEST_LIFETIME))
    assert read(longest).lifetime == read(longest).horizon == LONGEST_LIFETIME
    assert read(edited(plant.profile(), ["scopes"], [])).scopes == ()
    assert read(edited(plant.profile(), ["kind"], "svid")).kind is Kind.SVID


@THOROUGH
@given(st.data())
def test_any_damaged_profile_is_read_or_malformed(data: st.DataObject) -> None:
    """Whatever stands in any place, the reader raises `Malformed` or gives a profile that writes itself back."""
    path = data.draw(st.sampled_from(paths(plant.profile())))
    changed = edited(plant.profile(), path, data.draw(JSON_VALUES))
    with contextlib.suppress(Malformed):
        assert dumps(read(changed).as_json()) == dumps(changed)
