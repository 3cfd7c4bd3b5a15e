"""The inventory: everything that lives here with its owner, its age, its end, its last use and what is overdue.

All of it comes from memory, and so from the log; a page of it is made in steps, so that nobody waits for it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from appliance.authority import Authority, SigningKey, Workload
from appliance.nouns.workloads import REVIEW_WARNING, condition
from appliance.standing import Standing
from appliance.turns import Steps
from coldcred.canonical import Json

KEY_WARNING = 30 * 24 * 3600
"""Seconds before a key ends from which its end is overdue work."""

UNUSED = 90 * 24 * 3600
"""Seconds without use after which a workload or a profile is asked about."""

_DAY = 24 * 3600

Row: TypeAlias = dict[str, Json]


class Kind(StrEnum):
    """What the inventory lists: closed."""

    CREDENTIAL = "credential"
    KEY = "key"
    WORKLOAD = "workload"
    OPERATOR = "operator"
    PROFILE = "profile"


class Overdue(StrEnum):
    """What somebody should see to: closed."""

    REVIEW_DUE = "review-due"
    REVIEW_OVERDUE = "review-overdue"
    OWNER_LEFT = "owner-left"
    TO_CONFIRM = "to-confirm"
    UNCONFIRMED = "unconfirmed"
    KEY_ENDS = "key-ends"
    KEY_ENDED = "key-ended"
    KEY_SUSPENDED = "key-suspended"
    NEVER_USED = "never-used"
    UNUSED = "unused"


@dataclass(slots=True)
class Listing:
    """One walk through all of a kind, page by page: what is listed is fixed by its first page, its rows are of now."""

    _kind: Kind | None = None
    _names: tuple[str, ...] = field(default=())
    _kept: tuple[Json, ...] = field(default=())

    def page(self, standing: Standing, kind: Kind, page: range, now: int, *, overdue: bool) -> Steps[Json]:
        """Give in steps a page's rows that still stand, all or what is `overdue`, and where the `next` page begins."""
        if page.start == 0 or kind is not self._kind:
            self._kind, self._names = kind, tuple(_NAMES[kind](standing))
        row_of = _ROWS[kind]
        rows: list[Json] = []
        for name in self._names[page.start : page.stop]:
            row = row_of(standing, name, now)
            if row is not None and (row["overdue"] or not overdue):
                rows.append(row)
            yield
        return {"rows": rows, "next": page.stop if page.stop < len(self._names) else None}

    def keep(self, rows: Iterable[Json]) -> None:
        """Keep the rows of a report, to give them page by page."""
        self._kept = tuple(rows)

    def kept(self, page: range) -> Json:
        """Give a page of the report that was kept."""
        rows: list[Json] = [*self._kept[page.start : page.stop]]
        return {"rows": rows, "next": page.stop if page.stop < len(self._kept) else None}


def _row(kind: Kind, name: str, now: int, since: int, **members: Json) -> Row:
    made: Row = {
        "kind": kind.value,
        "name": name,
        "owner": None,
        "workload": None,
        "profile": None,
        "since": since,
        "age_days": max(0, now - since) // _DAY,
        "end": None,
        "last_issue": None,
        "state": "active",
        "overdue": [],
    }
    return made | members


def _told(found: Iterable[tuple[Overdue, bool]]) -> Json:
    return [what.value for what, is_so in found if is_so]


def _credential(standing: Standing, jti: str, now: int) -> Row | None:
    authority, lookups = standing.authority, standing.lookups
    if not lookups.lives(jti, now):
        return None
    issued = lookups.issued[jti]
    workload = authority.workloads.get(issued.workload)
    return _row(
        Kind.CREDENTIAL,
        jti,
        now,
        issued.issued_at,
        owner=workload.owner if workload else None,
        workload=issued.workload,
        profile=issued.profile,
        end=issued.expires_at,
        last_issue=issued.issued_at,
        state="live",
    )


def _key(standing: Standing, name: str, now: int) -> Row:
    key = standing.authority.keys[name]
    last = standing.lookups.uses.key_last.get(key.public.thumbprint) if key.public else None
    ends = key.public is not None and now >= key.not_after - KEY_WARNING
    ended = key.public is not None and now >= key.not_after
    overdue = _told(
        (
            (Overdue.KEY_ENDS, ends and not ended),
            (Overdue.KEY_ENDED, ended),
            (Overdue.KEY_SUSPENDED, key.suspended),
        )
    )
    since, end = (key.not_before, key.not_after) if key.public else (key.ordered_at, None)
    return _row(Kind.KEY, name, now, since, end=end, last_issue=last, state=_key_state(key, now), overdue=overdue)


def _key_state(key: SigningKey, now: int) -> str:
    if key.public is None:
        return "ordered"
    if key.suspended:
        return "suspended"
    return "ended" if now >= key.not_after else "active"


def _workload(standing: Standing, name: str, now: int) -> Row:
    authority, uses = standing.authority, standing.lookups.uses
    workload = authority.workloads[name]
    since, last = uses.workload_since.get(name, authority.founding.time), uses.workload_last.get(name)
    return _row(
        Kind.WORKLOAD,
        name,
        now,
        since,
        owner=workload.owner,
        end=workload.review_by,
        last_issue=last,
        state=condition(authority, workload, now).value,
        overdue=_told((*_of_workload(authority, workload, now), *_unused(since, last, now))),
    )


def _of_workload(authority: Authority, workload: Workload, now: int) -> Iterable[tuple[Overdue, bool]]:
    review = authority.review
    pending = review is not None and workload.id in review.workloads
    yield Overdue.REVIEW_DUE, workload.review_by - REVIEW_WARNING <= now < workload.review_by
    yield Overdue.REVIEW_OVERDUE, now >= workload.review_by
    yield Overdue.OWNER_LEFT, not authority.is_enrolled(workload.owner)
    yield Overdue.TO_CONFIRM, pending and review is not None and now < review.until
    yield Overdue.UNCONFIRMED, pending and review is not None and now >= review.until


def _operator(standing: Standing, person: str, now: int) -> Row | None:
    held = [operator for operator in standing.authority.operators.values() if operator.person == person]
    if not held:
        return None
    review = standing.authority.review
    pending = review is not None and person in review.people
    passed = review is not None and now >= review.until
    overdue = _told(((Overdue.TO_CONFIRM, pending and not passed), (Overdue.UNCONFIRMED, pending and passed)))
    state = "unconfirmed" if pending and passed else "active"
    since = min(operator.since for operator in held)
    return _row(Kind.OPERATOR, person, now, since, owner=person, state=state, overdue=overdue)


def _profile(standing: Standing, name: str, now: int) -> Row:
    uses = standing.lookups.uses
    since = uses.profile_since.get(name, standing.authority.founding.time)
    last = uses.profile_last.get(name)
    overdue = _told(_unused(since, last, now))
    return _row(Kind.PROFILE, name, now, since, profile=name, last_issue=last, overdue=overdue)


def _unused(since: int, last: int | None, now: int) -> Iterable[tuple[Overdue, bool]]:
    yield Overdue.NEVER_USED, last is None and now >= since + UNUSED
    yield Overdue.UNUSED, last is not None and now >= last + UNUSED


_NAMES: Mapping[Kind, Callable[[Standing], Iterable[str]]] = MappingProxyType(
    {
        Kind.CREDENTIAL: lambda standing: standing.lookups.issued,
        Kind.KEY: lambda standing: standing.authority.keys,
        Kind.WORKLOAD: lambda standing: standing.authority.workloads,
        Kind.OPERATOR: lambda standing: standing.authority.people,
        Kind.PROFILE: lambda standing: standing.authority.profiles,
    }
)

_ROWS: Mapping[Kind, Callable[[Standing, str, int], Row | None]] = MappingProxyType(
    {
        Kind.CREDENTIAL: _credential,
        Kind.KEY: _key,
        Kind.WORKLOAD: _workload,
        Kind.OPERATOR: _operator,
        Kind.PROFILE: _profile,
    }
)
