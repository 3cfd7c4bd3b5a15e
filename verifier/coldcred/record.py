"""Reading a closed record: each member is taken once, with its exact type, and none may be left over."""

from typing import Final, Self

from coldcred.canonical import MAX_INTEGER, Json, hex_digest
from coldcred.errors import Malformed

MAX_TEXT = 4096
MAX_ITEMS = 4096
MAX_TIME = 250_000_000_000
"""Unix seconds in the year 9892: a time plus a span is still a date that RFC 3339 and `datetime` can write."""
MAX_SECONDS = 100 * 365 * 24 * 3600

_MISSING: Final = object()


class Record:
    """A JSON object being read member by member; `done` refuses members nobody took."""

    __slots__ = ("_left", "_where")

    def __init__(self, members: dict[str, Json], where: str) -> None:
        """Read `members`; `where` names the record in refusals."""
        self._left = dict(members)
        self._where = where

    @classmethod
    def of(cls, value: Json, where: str) -> Self:
        """Begin to read `value`, which must be an object."""
        if not isinstance(value, dict):
            message = f"{where} is not an object"
            raise Malformed(message)
        return cls(value, where)

    def has(self, name: str) -> bool:
        """Whether the member is there and not yet taken."""
        return name in self._left

    def value(self, name: str) -> Json:
        """Take a member of any type."""
        if name not in self._left:
            raise self._refusal(name, "is missing")
        return self._left.pop(name)

    def text(self, name: str, *, max_chars: int = MAX_TEXT) -> str:
        """Take a non-empty text of at most `max_chars` characters."""
        value = self._left.pop(name, _MISSING)
        if isinstance(value, str) and 0 < len(value) <= max_chars:
            return value
        if value is _MISSING:
            raise self._refusal(name, "is missing")
        if not isinstance(value, str) or not value:
            raise self._refusal(name, "is not a text")
        raise self._refusal(name, f"is longer than {max_chars} characters")

    def integer(self, name: str, *, least: int = 0, most: int = MAX_INTEGER) -> int:
        """Take an integer from `least` to `most` (a boolean is not one)."""
        value = self._left.pop(name, _MISSING)
        if type(value) is int and least <= value <= most:
            return value
        if value is _MISSING:
            raise self._refusal(name, "is missing")
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._refusal(name, "is not an integer")
        if value < least:
            raise self._refusal(name, f"is below {least}")
        if value > most:
            raise self._refusal(name, f"is above {most}")
        return value

    def time(self, name: str, *, least: int = 0) -> int:
        """Take a time in Unix seconds, at most `MAX_TIME`."""
        return self.integer(name, least=least, most=MAX_TIME)

    def seconds(self, name: str, *, least: int = 0) -> int:
        """Take a span of at most a hundred years, in seconds."""
        return self.integer(name, least=least, most=MAX_SECONDS)

    def version(self, known: int = 1) -> None:
        """Take `v`, which must be the version this reader knows."""
        found = self.integer("v")
        if found != known:
            raise self._refusal("v", f"is {found}; this reader knows version {known}")

    def boolean(self, name: str) -> bool:
        """Take true or false."""
        value = self.value(name)
        if not isinstance(value, bool):
            raise self._refusal(name, "is not true or false")
        return value

    def array(self, name: str, *, least: int = 0, most: int = MAX_ITEMS) -> list[Json]:
        """Take an array of `least` to `most` items."""
        value = self.value(name)
        if not isinstance(value, list):
            raise self._refusal(name, "is not an array")
        if not least <= len(value) <= most:
            raise self._refusal(name, f"has {len(value)} items where {least} to {most} are allowed")
        return value

    def texts(self, name: str, *, least: int = 0, most: int = MAX_ITEMS) -> tuple[str, ...]:
        """Take an array of distinct, non-empty texts."""
        items = self.array(name, least=least, most=most)
        texts = tuple(item for item in items if isinstance(item, str) and 0 < len(item) <= MAX_TEXT)
        if len(texts) != len(items):
            raise self._refusal(name, "holds something that is not a text")
        if len(set(texts)) != len(texts):
            raise self._refusal(name, "names something twice")
        return texts

    def record(self, name: str) -> "Record":
        """Take a member that is itself an object."""
        return Record.of(self.value(name), f"{self._where}.{name}")

    def records(self, name: str, *, least: int = 0, most: int = MAX_ITEMS) -> tuple["Record", ...]:
        """Take an array of objects."""
        items = self.array(name, least=least, most=most)
        return tuple(Record.of(item, f"{self._where}.{name}[{place}]") for place, item in enumerate(items))

    def members(self) -> dict[str, Json]:
        """Take all that is left, for a record whose member names are data."""
        left, self._left = self._left, {}
        return left

    def digest(self, name: str) -> str:
        """Take a SHA-256 in lower-case hexadecimal."""
        text = self.text(name, max_chars=64)
        try:
            hex_digest(text)
        except Malformed as error:
            raise self._refusal(name, str(error)) from error
        return text

    def optional_text(self, name: str, *, max_chars: int = MAX_TEXT) -> str | None:
        """Take a text, or None where the member is absent."""
        return self.text(name, max_chars=max_chars) if self.has(name) else None

    def optional_integer(self, name: str, *, least: int = 0) -> int | None:
        """Take an integer, or None where the member is absent."""
        return self.integer(name, least=least) if self.has(name) else None

    def optional_record(self, name: str) -> "Record | None":
        """Take an object, or None where the member is absent."""
        return self.record(name) if self.has(name) else None

    def optional_texts(self, name: str) -> tuple[str, ...] | None:
        """Take an array of texts, or None where the member is absent."""
        return self.texts(name) if self.has(name) else None

    def done(self) -> None:
        """Refuse members that this version does not know."""
        if self._left:
            raise self._refusal(min(self._left), "is not known here")

    def _refusal(self, name: str, what: str) -> Malformed:
        return Malformed(f"{self._where}: member {name[:64]!a} {what}")
