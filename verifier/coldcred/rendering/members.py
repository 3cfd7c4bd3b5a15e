"""JSON by meaning: every member a line of content, by its path, with times and spans said in words beside it."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from coldcred.canonical import Json
from coldcred.rendering import frame
from coldcred.rendering.words import moment, span

_TIMES = frozenset({"exp", "iat", "nbf", "not_after", "not_before", "review_by", "time", "until"})
_SPANS = frozenset({"grace", "horizon", "lifetime", "max_lifetime", "ttl", "window"})
_SAYS: Mapping[tuple[str, Json], str] = MappingProxyType(
    {
        ("holder_binding", True): "a credential is bound to its holder's key",
        ("holder_binding", False): "whoever holds a credential can use it",
        ("refuse_stale", True): "refused at a site whose trust is stale",
        ("refuse_stale", False): "accepted at a site whose trust is stale",
    }
)


def lines(value: Json, *, since: int | None = None, path: str = "") -> Iterator[str]:
    """Write a value member by member, sorted by name; a time is also told by how long after `since` it is."""
    match value:
        case dict() if value:
            for name in sorted(value):
                label = name if name.isidentifier() and name.isascii() else frame.quoted(name)
                yield from lines(value[name], since=since, path=f"{path}.{label}" if path else label)
        case list() if value:
            for place, item in enumerate(value):
                yield from lines(item, since=since, path=f"{path}[{place}]")
        case _ if path:
            words = meaning(path.rpartition(".")[2], value, since)
            yield frame.content(f"{path} {written(value)}{f' ({words})' if words else ''}")
        case _:
            return


def written(value: Json) -> str:
    """Write a value that has no members in JSON, in printable ASCII."""
    return frame.quoted(value) if isinstance(value, str) else json.dumps(value, sort_keys=True)


def meaning(name: str, value: Json, since: int | None = None) -> str | None:
    """Say in words what a member's value means; None where it says so by itself."""
    match value:
        case bool():
            return _SAYS.get((name, value))
        case int() if name in _TIMES:
            after = f", {span(value - since)} after it was signed" if since is not None and value > since else ""
            return f"{moment(value)}{after}"
        case int() if name in _SPANS:
            return span(value)
        case int() if name == "approvals":
            return "people who must sign, the requester included"
        case _:
            return None
