"""Credentials that have not ended, as a log tells of them, and the rule by which one entry revokes many of them.

An entry that revokes by workload, profile or key does not list what it revokes: a million fit no entry. It names a
selector and a time `as_of`, and everybody who reads the log, the appliance at its start and an auditor, finds the same
credentials: those that entries before it issued, that match, that end after `as_of`, and that are not revoked yet. What
ended between the entry before and this one is still there to be found, since `advance` comes after an entry was read.

What is revoked is held on: its site takes it until a bundle tells it, and the first that can is one that was begun
after the revocation. So `holds` and its like count it until such a bundle was signed.

Memory follows what is alive, not the length of the log: a credential is forgotten once it has ended.
"""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Self

from coldcred import names
from coldcred.canonical import Json
from coldcred.errors import Malformed
from coldcred.record import Record

MAX_SITES = 256
"""Most sites that a revocation is broken down by in its entry; its count is over all of them."""

_MAX_KID = 64


class By(StrEnum):
    """What a revocation selects by: one credential (`jti`), or all of a workload, a profile or a signing key (kid)."""

    CREDENTIAL = "credential"
    WORKLOAD = "workload"
    PROFILE = "profile"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Selector:
    """What one revocation is about: the `value` is a jti, a SPIFFE ID, a profile's name or a kid."""

    by: By
    value: str

    @classmethod
    def read(cls, record: Record) -> Self:
        """Take the one member of a record that selects; `Malformed` where there are none or several."""
        given = [by for by in By if record.has(by)]
        if len(given) != 1:
            raise Malformed(f"exactly one of {', '.join(By)} says what is revoked")
        return cls(given[0], _checked(given[0], record.text(given[0])))

    def as_json(self) -> dict[str, Json]:
        """Give it as an entry has it."""
        return {self.by.value: self.value}

    def __str__(self) -> str:
        """Name it for a person."""
        return f"{self.by} {self.value}"


def _checked(by: By, text: str) -> str:
    match by:
        case By.CREDENTIAL:
            return names.jti(text)
        case By.WORKLOAD:
            return names.spiffe_id(text)
        case By.PROFILE:
            return names.label(text, "profile name")
        case By.KEY:
            if len(text) > _MAX_KID:
                raise Malformed("a kid is a thumbprint of 43 characters")
            return text


@dataclass(frozen=True, slots=True)
class Issued:
    """What is remembered of a credential until it ends; times are Unix seconds, `seq` is the entry that issued it.

    Whoever makes one interns its texts (`sys.intern`): a million credentials share few of them.
    """

    seq: int
    list_uri: str
    index: int
    expires_at: int
    workload: str
    profile: str
    kid: str
    site: str
    issued_at: int = 0


class Live:
    """The credentials that have not ended, by jti; those not revoked also by workload, profile and key.

    Those of which sites have not been told yet that they are revoked are there by profile and workload, and by list.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._by_jti: dict[str, Issued] = {}
        # One set for each combination that occurs, so that a credential stands in one of them instead of in three.
        # Beside them, how many sets there are for each workload under a profile, and for each key: those are few.
        self._lots: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
        self._lots_under: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._lots_by: Counter[str] = Counter()
        self._ends: defaultdict[int, list[str]] = defaultdict(list)
        self._next_ends: list[int] = []
        self._unrevoked = 0
        self._untold: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._untold_in: defaultdict[str, deque[tuple[int, str, Issued]]] = defaultdict(deque)

    @property
    def by_jti(self) -> Mapping[str, Issued]:
        """All that have not ended, revoked ones included; for reading only."""
        return MappingProxyType(self._by_jti)

    @property
    def unrevoked(self) -> int:
        """How many have neither ended nor been revoked."""
        return self._unrevoked

    def add(self, jti: str, issued: Issued) -> bool:
        """Add one that was issued; gives False, and adds nothing, where a live one has the same jti."""
        if jti in self._by_jti:
            return False
        self._by_jti[jti] = issued
        lot = _lot(issued)
        if lot not in self._lots:
            self._lots_under[issued.profile][issued.workload] += 1
            self._lots_by[issued.kid] += 1
        self._lots[lot].add(jti)
        self._unrevoked += 1
        if issued.expires_at not in self._ends:
            heapq.heappush(self._next_ends, issued.expires_at)
        self._ends[issued.expires_at].append(jti)
        return True

    def revoke(self, jti: str, at: int | None = None) -> Issued | None:
        """Take one out of what is not revoked; gives it, or None where it ended, was revoked or never was.

        `at` is the entry that revokes it; without one nobody ever had it.
        """
        issued = self._by_jti.get(jti)
        if issued is None or not self._take_out(jti, issued):
            return None
        if at is not None:
            self._untold[issued.profile][issued.workload].add(jti)
            self._untold_in[issued.list_uri].append((at, jti, issued))
        return issued

    def told(self, lists: Iterable[str], begun: int) -> None:
        """Take note that a bundle with these status lists was signed, which entry `begun` began."""
        for uri in lists:
            waiting = self._untold_in.get(uri, deque())
            while waiting and waiting[0][0] <= begun:
                _, jti, issued = waiting.popleft()
                if self._by_jti.get(jti) is issued:
                    self._forget_untold(jti, issued)
            if not waiting:
                self._untold_in.pop(uri, None)

    def advance(self, time: int) -> None:
        """Forget what has ended at `time`; each credential costs once, when it ends."""
        while self._next_ends and self._next_ends[0] <= time:
            for jti in self._ends.pop(heapq.heappop(self._next_ends)):
                issued = self._by_jti.pop(jti)
                if not self._take_out(jti, issued):
                    self._forget_untold(jti, issued)

    def select(self, selector: Selector, as_of: int) -> Iterator[tuple[str, Issued]]:
        """Yield (jti, credential) of all that match, end after `as_of` and are not revoked; in no order."""
        for jti in self._matching(selector):
            issued = self._by_jti[jti]
            if issued.expires_at > as_of:
                yield jti, issued

    def matching(self, selector: Selector) -> tuple[str, ...]:
        """Give by jti all that match and are not revoked, to be looked at while others come and go."""
        return tuple(self._matching(selector))

    def holders(self, profile: str, as_of: int) -> Iterator[str]:
        """Yield the workloads that hold something under a profile that ends after `as_of`."""
        found = {one for under in self._under(profile) for one in under}
        return (one for one in found if self.holds(one, profile, as_of))

    def holds(self, workload: str, profile: str, as_of: int) -> bool:
        """Whether a workload holds something under a profile that ends after `as_of`; sites may not know it revoked."""
        lots: list[AbstractSet[str]] = [self._lots.get((workload, profile, kid), set()) for kid in self._lots_by]
        if profile in self._untold:
            lots.append(self._untold[profile].get(workload, set()))
        return any(self._by_jti[jti].expires_at > as_of for lot in lots for jti in lot)

    def holder(self, workloads: AbstractSet[str], profile: str, as_of: int) -> str | None:
        """Give the first by name of these workloads that holds something under a profile, if one does.

        It looks at these workloads or at those that hold the profile, whichever are fewer.
        """
        both: set[str] = set()
        for under in self._under(profile):
            few, many = sorted((workloads, under), key=len)
            both |= {one for one in few if one in many}
        return min((one for one in both if self.holds(one, profile, as_of)), default=None)

    def _under(self, profile: str) -> tuple[AbstractSet[str], AbstractSet[str]]:
        """Give the workloads with something under a profile that is not revoked, and that sites know nothing of."""
        unrevoked: Mapping[str, int] = self._lots_under.get(profile, {})
        untold: Mapping[str, set[str]] = self._untold.get(profile, {})
        return unrevoked.keys(), untold.keys()

    def _forget_untold(self, jti: str, issued: Issued) -> None:
        """Hold what was revoked no longer: it ended, or its site can know."""
        under = self._untold.get(issued.profile)
        if under is None or issued.workload not in under:
            return
        under[issued.workload].discard(jti)
        if not under[issued.workload]:
            del under[issued.workload]
        if not under:
            del self._untold[issued.profile]

    def _matching(self, selector: Selector) -> Iterator[str]:
        if selector.by is By.CREDENTIAL:
            issued = self._by_jti.get(selector.value)
            if issued is not None and selector.value in self._lots.get(_lot(issued), ()):
                yield selector.value
            return
        place = _PLACES[selector.by]
        for lot, members in self._lots.items():
            if lot[place] == selector.value:
                yield from members

    def _take_out(self, jti: str, issued: Issued) -> bool:
        lot = _lot(issued)
        members = self._lots.get(lot)
        if members is None or jti not in members:
            return False
        members.remove(jti)
        if not members:
            del self._lots[lot]
            _less(self._lots_under[issued.profile], issued.workload)
            if not self._lots_under[issued.profile]:
                del self._lots_under[issued.profile]
            _less(self._lots_by, issued.kid)
        self._unrevoked -= 1
        return True


_PLACES: Mapping[By, int] = MappingProxyType({By.WORKLOAD: 0, By.PROFILE: 1, By.KEY: 2})


def _less(counts: Counter[str], name: str) -> None:
    """Count one less, and forget what has none left."""
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


def _lot(issued: Issued) -> tuple[str, str, str]:
    return issued.workload, issued.profile, issued.kid


def tally(found: Iterable[Issued]) -> dict[str, Json]:
    """Count what one entry revokes: `count`, and `sites` by name, each with its count, first and last end."""
    sites: dict[str, tuple[int, int, int]] = {}
    count = 0
    for issued in found:
        number, first, last = sites.get(issued.site, (0, issued.expires_at, issued.expires_at))
        sites[issued.site] = number + 1, min(first, issued.expires_at), max(last, issued.expires_at)
        count += 1
    rows: list[Json] = [
        {"site": site, "count": number, "first_end": first, "last_end": last}
        for site, (number, first, last) in sorted(sites.items())[:MAX_SITES]
    ]
    return {"count": count, "sites": rows}
