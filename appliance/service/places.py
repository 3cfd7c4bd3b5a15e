"""Which connections the service keeps: so many in all, for each socket and for each user, and who makes room (P12).

A newcomer who finds no place takes that of whoever holds the most and has been silent the longest. So idle connections,
however many there are, keep nobody out; a connection whose request is being answered is never ended for another.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

PLACES = 256
"""Connections that are served at once."""

AWAY = 64
"""Connections beyond those that may wait to hear that there is no place."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a socket may hold: `reserved` places that no other socket takes, and at most `each` for one user id."""

    reserved: int
    each: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end: the socket they came by, and their user id."""

    listener: str
    uid: int


SHARES: Mapping[str, Share] = {"operator.sock": Share(reserved=64, each=PLACES)}
OTHERS = Share(reserved=0, each=32)
"""The share of every other socket."""

G = TypeVar("G")


@dataclass(frozen=True, slots=True)
class Entry(Generic[G]):
    """Whether a newcomer is served, and the connection that has to be ended for that, if one has to."""

    served: bool
    ends: G | None = None


class Places(Generic[G]):
    """The places of one service; a guest is whatever stands for a connection."""

    def __init__(self, shares: Mapping[str, Share] = SHARES, others: Share = OTHERS, most: int = PLACES) -> None:
        """Give `most` places, by these shares; `others` is the share of sockets that are not named."""
        self._shares = shares
        self._others = others
        self._most = most
        self._peers: dict[G, Caller] = {}
        self._held: Counter[Caller] = Counter()
        self._silent: dict[G, None] = {}
        self._reading: dict[G, None] = {}
        self._away: dict[G, None] = {}

    def enter(self, guest: G, peer: Caller) -> Entry[G]:
        """Give a newcomer a place, silent until it asks for something."""
        ends: G | None = None
        if (rivals := self._rivals(peer)) is not None:
            ends = self._longest_silent(rivals)
            if ends is None:
                return Entry(served=False, ends=self._turn_away(guest))
            self.leave(ends)
        self._peers[guest] = peer
        self._held[peer] += 1
        self._silent[guest] = None
        return Entry(served=True, ends=ends)

    def works(self, guest: G) -> None:
        """Note that a whole request is being answered."""
        self._silent.pop(guest, None)
        self._reading.pop(guest, None)

    def rests(self, guest: G, *, reads: bool) -> None:
        """Note that it was answered; one that `reads` makes room only where nobody else can."""
        if guest in self._peers:
            self.works(guest)
            (self._reading if reads else self._silent)[guest] = None

    def leave(self, guest: G) -> None:
        """Free the place of a connection that ended."""
        self.works(guest)
        self._away.pop(guest, None)
        peer = self._peers.pop(guest, None)
        if peer is not None:
            self._held[peer] -= 1
            self._held += Counter()  # forgets who holds none

    def _rivals(self, peer: Caller) -> set[Caller] | None:
        """Give the peers of whom one has to make room for a newcomer; None where there is room."""
        if self._held[peer] >= self._share(peer).each:
            return {peer}
        same = {other for other in self._held if other.listener == peer.listener}
        if self._of(peer) >= self._most - self._reserved_beside(peer):
            return same
        if len(self._peers) >= self._most:
            return same | {other for other in self._held if self._of(other) > self._share(other).reserved}
        return None

    def _longest_silent(self, rivals: set[Caller]) -> G | None:
        for pool in (self._silent, self._reading):
            found = [guest for guest in pool if self._peers[guest] in rivals]
            if found:
                return max(found, key=lambda guest: self._held[self._peers[guest]])  # the first of the most
        return None

    def _turn_away(self, guest: G) -> G | None:
        self._away[guest] = None
        if len(self._away) <= AWAY:
            return None
        first = next(iter(self._away))
        del self._away[first]
        return first

    def _share(self, peer: Caller) -> Share:
        return self._shares.get(peer.listener, self._others)

    def _of(self, peer: Caller) -> int:
        """Give how many the socket of this peer holds."""
        return sum(count for other, count in self._held.items() if other.listener == peer.listener)

    def _reserved_beside(self, peer: Caller) -> int:
        return sum(share.reserved for listener, share in self._shares.items() if listener != peer.listener)
