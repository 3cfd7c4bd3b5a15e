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


@pytest.mark.parametrize(
    ("members", "asked_by", "requires", "groups"),
    [
        ({}, ["issuer"], [], []),
        ({"asked_by": ["workload"]}, ["workload"], [], []),
        ({"asked_by": ["issuer", "workload"]}, ["issuer", "workload"], [], []),
        ({"requires": ["purpose", "task"]}, ["issuer"], ["purpose", "task"], []),
        ({"groups": ["robots", "line-1"]}, ["issuer"], [], ["robots", "line-1"]),
    ],
)
def test_further_bounds_are_read_and_written(
    members: dict[str, Json], asked_by: list[str], requires: list[str], groups: list[str]
) -> None:
    """Absent they are what they always were, and then they are not written, so that older files stay as they are."""
    profile = read({**plant.profile(), **members})
    assert (list(profile.asked_by), list(profile.requires), list(profile.groups)) == (asked_by, requires, groups)
    assert profile.as_json() == {**plant.profile(), **members}
    assert read(profile.as_json()) == profile


def test_what_says_the_default_is_the_default() -> None:
    """Written out or in another order, the same bounds are the same profile."""
    assert read({**plant.profile(), "asked_by": ["issuer"]}) == read(plant.profile())
    other: list[Json] = ["workload", "issuer"]
    assert read({**plant.profile(), "asked_by": other}).as_json()["asked_by"] == ["issuer", "workload"]


@pytest.mark.parametrize("name", ["groups", "asked_by", "requires"])
@pytest.mark.parametrize("value", [None, [], "issuer", [""], [7], ["Robots"], ["spiffe://a/b"], ["issuer", "issuer"]])
def test_further_bounds_are_read_strictly(name: str, value: Json) -> None:
    """An empty list, a text, twice the same or what is in no list is refused: nobody means it."""
    with pytest.raises(Malformed):
        read({**plant.profile(), name: value})


@pytest.mark.parametrize(("count", "good"), [(1, True), (15, True), (16, True), (17, False)])
def test_a_profile_names_at_most_sixteen_groups(count: int, good: bool) -> None:  # noqa: FBT001 - a column of the table
    """One to sixteen."""
    groups: list[Json] = [f"group-{number}" for number in range(count)]
    if good:
        assert len(read({**plant.profile(), "groups": groups}).groups) == count
    else:
        with pytest.raises(Malformed):
            read({**plant.profile(), "groups": groups})
