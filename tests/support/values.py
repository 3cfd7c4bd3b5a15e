"""Values to throw at readers: hypothesis strategies for JSON and text, and edits of a valid document."""

import copy
import json
from collections.abc import Sequence
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st

from coldcred.canonical import MAX_INTEGER, Json

Place = str | int

THOROUGH: Final = settings(max_examples=200, deadline=None)
"""For every property: twice the usual examples, and no deadline, since a busy machine is no defect."""

MISSING: Final = object()
"""As the new value of `edited`: the member is taken out."""

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=40)
"""Text with everything a Python string can hold, lone surrogates and control characters included."""

UTF8_TEXT = st.text(max_size=40)
NAMES = st.text(st.characters(max_codepoint=127), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | UTF8_TEXT

JSON_VALUES: st.SearchStrategy[Json] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
"""What our formats can hold, at most a few levels deep."""

LOOSE_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
"""What JSON can hold and our formats cannot: floats, huge numbers, lone surrogates, any member name."""


def loose_bytes(value: object) -> bytes:
    """Write any value as JSON would, non-canonically, with escapes for all that is not ASCII."""
    return json.dumps(value).encode("ascii")


def edited(document: dict[str, Json], path: Sequence[Place], value: object) -> dict[str, Json]:
    """Give a deep copy of `document` in which the member at `path` is `value`, or is gone (`MISSING`)."""
    changed = copy.deepcopy(document)
    inner: object = changed
    for place in path[:-1]:
        inner = _member(inner, place)
    last = path[-1]
    if isinstance(inner, dict) and isinstance(last, str):
        if value is MISSING:
            del inner[last]
        else:
            inner[last] = value
    elif isinstance(inner, list) and isinstance(last, int):
        inner[last] = value
    else:
        raise TypeError(f"no place {last!r} in {type(inner).__name__}")
    return changed


def _member(container: object, place: Place) -> object:
    if isinstance(container, dict) and isinstance(place, str):
        return container[place]
    if isinstance(container, list) and isinstance(place, int):
        return container[place]
    raise TypeError(f"no place {place!r} in {type(container).__name__}")


def paths(value: object, above: tuple[Place, ...] = ()) -> list[tuple[Place, ...]]:
    """Give the path of every member below `value`, outer ones first."""
    found: list[tuple[Place, ...]] = []
    items: Sequence[tuple[Place, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for place, item in items:
        found.append((*above, place))
        found.extend(paths(item, (*above, place)))
    return found
