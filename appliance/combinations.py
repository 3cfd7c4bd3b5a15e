"""What is, or could be, held together though it must not be: the report on profiles that exclude each other."""

from collections.abc import Iterator
from typing import TypeAlias

from appliance.authority import Authority, Workload
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from coldcred import names
from coldcred.canonical import Json
from coldcred.log.combinations import Holders, Holdings, Pair, pairs
from coldcred.profile import Profile

SLICE = 50
"""Workloads that are looked at before others get their turn."""

Row: TypeAlias = dict[str, Json]

HOLDS, MAY = "holds", "may"


def check(held: Holdings, workload: str, profile: str) -> None:
    """Return when a workload may be given something under a profile beside what is held already, else refuse."""
    found = held.conflict(workload, profile)
    if found is not None:
        whose = "it" if found.holder == workload else f"{found.holder}, of the same owner,"
        detail = (
            f"{whose} holds a credential under profile {found.held} that its site still takes, so {workload} gets none"
            f" under {profile}; one that is revoked counts until a bundle for its site is made"
        )
        raise Refused(Refusal.TOXIC_COMBINATION, detail, rule=str(found.pair))


def warnings(authority: Authority, lookups: Lookups, profile: Profile, now: int) -> tuple[str, ...]:
    """Say which combinations of a profile that is about to be set are held already; nothing is revoked for them."""
    profiles = {**authority.profiles, profile.name: profile}
    held = Holders(lookups.live, authority.owner_of, now)
    found = [(pair, both) for pair in pairs(profiles, profile.name) if (both := held.both(pair))]
    return tuple(
        f"toxic combination: {pair}, and both are held by {len(both)} owners and workloads, such as {min(both)}"
        for pair, both in found
    )


def report(authority: Authority, lookups: Lookups, now: int) -> Iterator[Row | None]:
    """Yield a row for each workload, or owner, that holds or may get both of a pair; None where others may go first.

    An owner has a row of their own where no single workload of theirs says as much.
    """
    held = Holders(lookups.live, authority.owner_of, now)
    for pair in pairs(authority.profiles):
        if pair.excludes in authority.profiles:
            yield from _of_pair(authority, held, pair)


def _of_pair(authority: Authority, held: Holders, pair: Pair) -> Iterator[Row | None]:
    first, second = authority.profiles[pair.profile], authority.profiles[pair.excludes]
    told: dict[str, set[str]] = {}
    might: dict[str, list[bool]] = {}
    for place, workload in enumerate(authority.workloads.values()):
        may = [_may(first, workload), _may(second, workload)]
        holds = [held.holds(workload.id, first.name), held.holds(workload.id, second.name)]
        both = might.setdefault(workload.owner, [False, False])
        might[workload.owner] = [before or one for before, one in zip(both, may, strict=True)]
        state = HOLDS if all(holds) else MAY if all(may) else None
        if state is not None:
            told.setdefault(workload.owner, set()).add(state)
            yield _row(pair, workload.owner, workload.id, state)
        if place % SLICE == SLICE - 1:
            yield None
    for owner, may in might.items():
        said = told.get(owner, set())
        if held.holds(owner, first.name) and held.holds(owner, second.name):
            if HOLDS not in said:
                yield _row(pair, owner, None, HOLDS)
        elif all(may) and not said:
            yield _row(pair, owner, None, MAY)


def _may(profile: Profile, workload: Workload) -> bool:
    """Whether a profile is for a workload, by its subjects and groups."""
    if profile.groups and not set(profile.groups) & set(workload.groups):
        return False
    return any(names.matches(pattern, workload.id) for pattern in profile.subjects)


def _row(pair: Pair, owner: str, workload: str | None, state: str) -> Row:
    return {
        "owner": owner,
        "workload": workload,
        "profile": pair.profile,
        "excludes": pair.excludes,
        "state": state,
    }
