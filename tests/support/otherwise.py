"""Documents near a document: each of its members changed alone, left out, doubled, or one more beside it."""

from collections.abc import Iterator

from coldcred.canonical import Json


def otherwise(value: Json) -> Iterator[Json]:
    """Give values near this one: another of its kind, one member less, one more, the same in another order."""
    match value:
        case bool():
            yield not value
        case int():
            yield value + 1
            yield value - 1
        case str():
            yield value[:-1] + ("a" if value[-1:] != "a" else "b")
            yield value + "a"
        case list():
            for place, item in enumerate(value):
                yield value[:place] + value[place + 1 :]
                for other in otherwise(item):
                    yield [*value[:place], other, *value[place + 1 :]]
            if len(value) > 1:
                yield value[::-1]
            if value:
                yield [*value, value[0]]
        case dict():
            yield {**value, "more": 1}
            for name, item in value.items():
                yield {other: found for other, found in value.items() if other != name}
                for other in otherwise(item):
                    yield {**value, name: other}
        case _:
            yield 1
