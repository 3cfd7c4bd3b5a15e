"""Toxic combinations: profiles that one workload, or the workloads of one owner, must not hold at once.

A profile names those that it excludes, and it works both ways. The appliance and every reader of its log follow this
one rule: what counts as held is what the entries before issued, that has neither ended nor been revoked.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from coldcred.log.live import Live
from coldcred.profile import Profile

OwnerOf: TypeAlias = Callable[[str], str | None]
"""Gives who answers for a workload; None for one that nobody enrolled."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two profiles that are not held together; it is `profile` that says so."""

    profile: str
    excludes: str

    def other(self, name: str) -> str:
        """Give the other one of the two."""
        return self.excludes if name == self.profile else self.profile

    def __str__(self) -> str:
        """Name the rule."""
        return f"profile {self.profile} excludes {self.excludes}"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why something is not issued: the `holder`, a workload, holds the other profile of the pair."""

    pair: Pair
    holder: str
    held: str


def pairs(profiles: Mapping[str, Profile], name: str | None = None) -> tuple[Pair, ...]:
    """Give the pairs that profiles name, all or those with this one in them; one that is named twice is there once."""
    found: dict[frozenset[str], Pair] = {}
    for profile in profiles.values():
        for excluded in profile.excludes:
            if name is None or name in {profile.name, excluded}:
                found.setdefault(frozenset({profile.name, excluded}), Pair(profile.name, excluded))
    return tuple(found.values())


class Holdings:
    """Who holds what at one moment, and what the same entry adds to it; asked for no more than is needed."""

    def __init__(self, profiles: Mapping[str, Profile], live: Live, owner_of: OwnerOf, as_of: int) -> None:
        """Look at what lives at `as_of` (Unix seconds) under `profiles`."""
        self._profiles = profiles
        self._live = live
        self._owner_of = owner_of
        self._as_of = as_of
        self._pairs: dict[str, tuple[Pair, ...]] = {}
        self._holders: dict[str, dict[str, str]] = {}
        self._added: dict[str, list[str]] = {}

    def conflict(self, workload: str, profile: str) -> Conflict | None:
        """Give what keeps a workload from a profile, if anything does."""
        found = self._pairs.get(profile)
        if found is None:
            found = self._pairs[profile] = pairs(self._profiles, profile)
        for pair in found:
            holders = self._holders_of(other := pair.other(profile))
            holder = holders.get(workload) or holders.get(self._owner_of(workload) or "")
            if holder is not None:
                return Conflict(pair, holder, other)
        return None

    def add(self, workload: str, profile: str) -> None:
        """Take note of what the same entry issues."""
        self._added.setdefault(profile, []).append(workload)
        if profile in self._holders:
            self._note(self._holders[profile], workload)

    def both(self, pair: Pair) -> Collection[str]:
        """Give the workloads and owners that hold both profiles of a pair."""
        return self._holders_of(pair.profile).keys() & self._holders_of(pair.excludes).keys()

    def holds(self, name: str, profile: str) -> bool:
        """Whether a workload, or an owner, holds a profile."""
        return name in self._holders_of(profile)

    def _holders_of(self, profile: str) -> dict[str, str]:
        """Give who holds a profile, by workload and by owner: neither's name can be the other's."""
        holders = self._holders.get(profile)
        if holders is None:
            holders = self._holders[profile] = {}
            for workload in (*self._live.holders(profile, self._as_of), *self._added.get(profile, ())):
                self._note(holders, workload)
        return holders

    def _note(self, holders: dict[str, str], workload: str) -> None:
        holders.setdefault(workload, workload)
        if (owner := self._owner_of(workload)) is not None:
            holders.setdefault(owner, workload)
