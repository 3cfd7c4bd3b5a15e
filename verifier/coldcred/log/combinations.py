"""Toxic combinations: profiles that one workload, or the workloads of one owner, must not hold at once.

A profile names those that it excludes, and it works both ways. The appliance and every reader of its log follow this
one rule: what the entries before issued counts as held until it has ended, or a bundle was signed that tells its site
that it is revoked.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

from coldcred.log.live import Live
from coldcred.profile import Profile

OwnerOf: TypeAlias = Callable[[str], str | None]
"""Gives who answers for a workload; None for one that nobody enrolled."""

Kin: TypeAlias = Callable[[str], AbstractSet[str]]
"""Gives the workloads of whoever answers for a workload; none for one that nobody enrolled."""


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
    """What one moment's question looks at: what lives, and what the same entry adds to it.

    It asks about the workload and those of its owner, and never about all that hold a profile: that is asked with
    every credential, by the appliance and by whoever reads its log.
    """

    def __init__(self, profiles: Mapping[str, Profile], live: Live, kin: Kin, as_of: int) -> None:
        """Look at what lives at `as_of` (Unix seconds) under `profiles`."""
        self._profiles = profiles
        self._live = live
        self._kin = kin
        self._as_of = as_of
        self._pairs: dict[str, tuple[Pair, ...]] = {}
        self._added: defaultdict[str, set[str]] = defaultdict(set)

    def conflict(self, workload: str, profile: str) -> Conflict | None:
        """Give what keeps a workload from a profile, if anything does."""
        found = self._pairs.get(profile)
        if found is None:
            found = self._pairs[profile] = pairs(self._profiles, profile)
        for pair in found:
            other = pair.other(profile)
            holder = self._holder({workload}, other) or self._holder(self._kin(workload), other)
            if holder is not None:
                return Conflict(pair, holder, other)
        return None

    def add(self, workload: str, profile: str) -> None:
        """Take note of what the same entry issues."""
        self._added[profile].add(workload)

    def _holder(self, workloads: AbstractSet[str], profile: str) -> str | None:
        added = self._added.get(profile, set()) & workloads
        return min(added) if added else self._live.holder(workloads, profile, self._as_of)


class Holders:
    """All who hold each profile at one moment, workloads and owners, for reports; a profile is looked through once."""

    def __init__(self, live: Live, owner_of: OwnerOf, as_of: int) -> None:
        """Look at what lives at `as_of` (Unix seconds)."""
        self._live = live
        self._owner_of = owner_of
        self._as_of = as_of
        self._found: dict[str, frozenset[str]] = {}

    def both(self, pair: Pair) -> frozenset[str]:
        """Give the workloads and owners that hold both profiles of a pair."""
        return self._of(pair.profile) & self._of(pair.excludes)

    def holds(self, name: str, profile: str) -> bool:
        """Whether a workload, or an owner, holds a profile."""
        return name in self._of(profile)

    def _of(self, profile: str) -> frozenset[str]:
        """Give who holds a profile, workloads and owners: neither's name can be the other's."""
        if profile not in self._found:
            workloads = frozenset(self._live.holders(profile, self._as_of))
            owners = (self._owner_of(workload) for workload in workloads)
            self._found[profile] = workloads | {owner for owner in owners if owner is not None}
        return self._found[profile]
