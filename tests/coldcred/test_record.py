"""Reading a closed record: every member once, with its exact type, none left over."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred.canonical import MAX_INTEGER, Json
from coldcred.errors import Malformed
from coldcred.record import MAX_ITEMS, MAX_SECONDS, MAX_TEXT, MAX_TIME, Record
from tests.support.values import ANY_TEXT, JSON_VALUES, THOROUGH

DIGEST = "ab" * 32

Take = Callable[[Record], object]

TAKES: dict[str, Take] = {
    "value": lambda record: record.value("m"),
    "text": lambda record: record.text("m"),
    "integer": lambda record: record.integer("m"),
    "time": lambda record: record.time("m"),
    "seconds": lambda record: record.seconds("m"),
    "boolean": lambda record: record.boolean("m"),
    "array": lambda record: record.array("m"),
    "texts": lambda record: record.texts("m"),
    "record": lambda record: record.record("m"),
    "records": lambda record: record.records("m"),
    "digest": lambda record: record.digest("m"),
}
OPTIONAL: dict[str, Take] = {
    "text": lambda record: record.optional_text("m"),
    "integer": lambda record: record.optional_integer("m"),
    "record": lambda record: record.optional_record("m"),
    "texts": lambda record: record.optional_texts("m"),
}

WRONG: dict[str, list[Json]] = {
    "text": [None, True, 1, "", [], {}, ["a"], "a" * (MAX_TEXT + 1)],
    "integer": [None, True, False, "1", [], {}, -1],
    "time": [None, True, "1", -1, MAX_TIME + 1, MAX_INTEGER],
    "seconds": [None, False, "1", -1, MAX_SECONDS + 1, MAX_INTEGER],
    "boolean": [None, 0, 1, "true", [], {}],
    "array": [None, True, 0, "a", {}, [0] * (MAX_ITEMS + 1)],
    "texts": [None, "a", {}, [1], [None], [""], [["a"]], ["a", "a"], ["a", {}], ["a" * (MAX_TEXT + 1)]],
    "record": [None, True, 0, "a", [], [{}]],
    "records": [None, {}, "a", [[]], [{}, None], ["a"]],
    "digest": [None, 1, "", "AB" * 32, "ab" * 31, "ab" * 33, DIGEST + "\n", [DIGEST]],
}

RIGHT: dict[str, list[tuple[Json, object]]] = {
    "value": [(None, None), ([1], [1])],
    "text": [("a", "a"), ("a" * MAX_TEXT, "a" * MAX_TEXT)],
    "integer": [(0, 0), (MAX_INTEGER, MAX_INTEGER)],
    "time": [(0, 0), (MAX_TIME, MAX_TIME)],
    "seconds": [(0, 0), (MAX_SECONDS, MAX_SECONDS)],
    "boolean": [(True, True), (False, False)],
    "array": [([], []), ([None, 1], [None, 1])],
    "texts": [([], ()), (["b", "a"], ("b", "a"))],
    "digest": [(DIGEST, DIGEST)],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in WRONG.items() for value in values])
def test_a_member_of_another_type_is_refused(kind: str, value: Json) -> None:
    """Each reader takes exactly its own type and range: no truthiness, no number for a boolean."""
    with pytest.raises(Malformed, match=r"^thing(: member 'm' |\.m)"):
        TAKES[kind](Record.of({"m": value}, "thing"))
    if kind in OPTIONAL:
        with pytest.raises(Malformed, match=r"^thing(: member 'm' |\.m)"):
            OPTIONAL[kind](Record.of({"m": value}, "thing"))


@pytest.mark.parametrize(("kind", "value", "taken"), [(kind, *case) for kind, cases in RIGHT.items() for case in cases])
def test_a_member_of_the_right_type_is_taken_once(kind: str, value: Json, taken: object) -> None:
    """What was taken is gone: it cannot be taken twice, and then nothing is left over."""
    record = Record.of({"m": value}, "thing")
    assert record.has("m")
    assert TAKES[kind](record) == taken
    assert not record.has("m")
    record.done()
    with pytest.raises(Malformed, match="'m' is missing"):
        TAKES[kind](record)


@pytest.mark.parametrize("kind", TAKES)
def test_an_absent_member_is_refused(kind: str) -> None:
    """A member that is not there is missing, unless it is asked for as optional, and null is not absent."""
    with pytest.raises(Malformed, match="thing: member 'm' is missing"):
        TAKES[kind](Record.of({"n": 1}, "thing"))
    if kind in OPTIONAL:
        assert OPTIONAL[kind](Record.of({}, "thing")) is None
        with pytest.raises(Malformed):
            OPTIONAL[kind](Record.of({"m": None}, "thing"))


@pytest.mark.parametrize("value", [None, True, 1, "a", [], [{}]])
def test_only_an_object_is_a_record(value: Json) -> None:
    """Anything else is refused by the name of what it should have been."""
    with pytest.raises(Malformed, match=r"^thing is not an object$"):
        Record.of(value, "thing")


def test_members_that_nobody_took_are_refused() -> None:
    """`done` names the first one left, in nested records too."""
    record = Record.of({"z": 1, "b": {"c": 1, "d": 2}, "a": 3}, "thing")
    inner = record.record("b")
    assert inner.integer("c") == 1
    with pytest.raises(Malformed, match=r"^thing\.b: member 'd' is not known here$"):
        inner.done()
    with pytest.raises(Malformed, match=r"^thing: member 'a' is not known here$"):
        record.done()


def test_members_takes_all_that_is_left() -> None:
    """A record whose member names are data is taken whole, once."""
    record = Record.of({"v": 1, "a": 2, "b": [3]}, "thing")
    record.version()
    assert record.members() == {"a": 2, "b": [3]}
    assert record.members() == {}
    record.done()


def test_reading_leaves_the_document_alone() -> None:
    """Taking members does not change the object that was read, which others may hold."""
    document: dict[str, Json] = {"a": 1, "b": {"c": 2}}
    record = Record.of(document, "thing")
    record.integer("a")
    record.record("b").integer("c")
    assert document == {"a": 1, "b": {"c": 2}}


@pytest.mark.parametrize("version", [0, 2, "1", True, None])
def test_only_the_known_version_is_read(version: Json) -> None:
    """A document of another version is refused before anything else of it is believed."""
    with pytest.raises(Malformed, match="thing: member 'v' "):
        Record.of({"v": version}, "thing").version()
    Record.of({"v": 3}, "thing").version(3)


def test_bounds_are_inclusive() -> None:
    """`least`, `most` and `max_chars` are the last values that are still taken."""
    document: dict[str, Json] = {"n": 5, "t": "abc", "a": [1, 2]}
    assert Record.of(document, "thing").integer("n", least=5, most=5) == 5
    assert Record.of(document, "thing").text("t", max_chars=3) == "abc"
    assert Record.of(document, "thing").array("a", least=2, most=2) == [1, 2]
    with pytest.raises(Malformed, match="below 6"):
        Record.of(document, "thing").integer("n", least=6)
    with pytest.raises(Malformed, match="above 4"):
        Record.of(document, "thing").integer("n", most=4)
    with pytest.raises(Malformed, match="longer than 2"):
        Record.of(document, "thing").text("t", max_chars=2)
    for least, most in ((3, 4), (0, 1)):
        with pytest.raises(Malformed, match=f"has 2 items where {least} to {most} are allowed"):
            Record.of(document, "thing").array("a", least=least, most=most)


def test_every_time_and_every_sum_of_a_time_and_a_span_is_a_date() -> None:
    """What passes as a time or a span never overflows the calendar of whoever formats it or adds them."""
    for day in (0, MAX_TIME):
        moment = datetime.fromtimestamp(day, UTC) + timedelta(seconds=MAX_SECONDS)
        assert moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("name", ["\x1b[2J", "\u202eabc", "n" * 60_000, "a\nb", "\u05d0\u0660", "\ud800"], ids=ascii)
def test_refusals_quote_member_names_tamely(name: str) -> None:
    """A foreign member name reaches the sentence as printable ASCII and cut."""
    with pytest.raises(Malformed) as caught:
        Record.of({name: 1}, "thing").done()
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


@THOROUGH
@given(st.sampled_from([*TAKES.values(), *OPTIONAL.values()]), JSON_VALUES | ANY_TEXT)
def test_any_value_is_taken_or_malformed(take: Take, value: Json) -> None:
    """No JSON value makes a reader raise anything but `Malformed`."""
    with contextlib.suppress(Malformed):
        take(Record.of({"m": value}, "thing"))


def test_the_bounds_of_members_are_the_documented_numbers() -> None:
    """Written out, since every test above takes them from where the reader does."""
    assert (MAX_TEXT, MAX_ITEMS, MAX_TIME, MAX_SECONDS) == (4096, 4096, 250_000_000_000, 3_153_600_000)


@pytest.mark.parametrize(("value", "says"), [(1, "is not a text"), ("", "is not a text"), ("abcd", "is longer than 3")])
def test_what_is_wrong_with_a_text_is_said(value: Json, says: str) -> None:
    """Another type and another length are different sentences."""
    with pytest.raises(Malformed, match=says):
        Record.of({"m": value}, "thing").text("m", max_chars=3)
