"""The credentials that have not ended: found by any selector, forgotten at their end, counted as they go."""

import random
import tracemalloc

import pytest

from coldcred.log.live import By, Issued, Live, Selector

WORKLOADS = [f"spiffe://plant-a.example/line-1/robot-{number}" for number in range(4)]
PROFILES, KEYS = ["orders-reader", "orders-writer"], ["kid-access", "kid-svid"]


def issued(seq: int, expires_at: int, workload: str, profile: str, kid: str) -> Issued:
    """Return a credential of this entry."""
    return Issued(seq, "list", seq, expires_at, workload, profile, kid, "line-1")


class Plain:
    """The same in the plainest way: a list that is searched."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Issued]] = []
        self.revoked: set[str] = set()
        self.told: set[str] = set()

    def select(self, by: By, value: str, as_of: int) -> set[str]:
        """Give the jti of all that match."""
        return {
            jti
            for jti, row in self.rows
            if value == {"credential": jti, "workload": row.workload, "profile": row.profile, "key": row.kid}[by]
            and row.expires_at > as_of
            and jti not in self.revoked
        }


def holders(plain: Plain, profile: str, time: int) -> list[str]:
    """Give who holds a profile, by name: what is revoked as long as no bundle says so."""
    rows = (row for jti, row in plain.rows if jti not in plain.told and row.profile == profile)
    return sorted({row.workload for row in rows if row.expires_at > time})


@pytest.mark.parametrize("seed", range(20))
def test_it_finds_what_a_search_would_find(seed: int) -> None:
    """Whatever is issued, revoked and ends, every selector finds the same as a search of the whole history."""
    chance = random.Random(seed)
    live, plain, time = Live(), Plain(), 1000
    revoked_at: dict[str, int] = {}
    for step in range(300):
        before, time = time, time + chance.choice([0, 0, 1, 7])
        if chance.random() < 0.7:
            lot = chance.choice(WORKLOADS), chance.choice(PROFILES), chance.choice(KEYS)
            row = (f"jti-{step}", issued(step, time + chance.randrange(1, 90), *lot))
            assert live.add(*row)
            plain.rows.append(row)
        else:
            by = chance.choice(list(By))
            value = chance.choice([f"jti-{chance.randrange(step + 1)}", *WORKLOADS, *PROFILES, *KEYS, "nobody"])
            as_of = chance.randint(before, time)
            found = plain.select(by, value, as_of)
            assert {jti for jti, _ in live.select(Selector(by, value), as_of)} == found
            for jti in found:
                assert live.revoke(jti, step) is not None
                assert live.revoke(jti, step) is None
            plain.revoked |= found
            revoked_at |= dict.fromkeys(found, step)
        if chance.random() < 0.1:
            begun = chance.randrange(step + 1)
            live.told(["another", "list"], begun)
            plain.told |= {jti for jti in plain.revoked if revoked_at[jti] <= begun}
        for profile in PROFILES:
            held = holders(plain, profile, time)
            assert sorted(live.holders(profile, time)) == held
            for some in (set(WORKLOADS[:1]), set(WORKLOADS[1:]), {*WORKLOADS, "nobody"}):
                expected = next((one for one in held if one in some), None)
                assert live.holder(some, profile, time) == expected
        live.advance(time)
        assert set(live.by_jti) == {jti for jti, row in plain.rows if row.expires_at > time}
        assert live.unrevoked == len(set(live.by_jti) - plain.revoked)


def test_one_jti_stands_for_one_credential() -> None:
    """A second live credential with the same jti is not taken."""
    live = Live()
    assert live.add("jti", issued(1, 1000, *("w", "p", "k")))
    assert not live.add("jti", issued(2, 2000, *("w", "p", "k")))
    assert live.by_jti["jti"].seq == 1


def test_memory_follows_what_is_alive() -> None:
    """After a hundred thousand credentials that ended, what is kept is as little as before; a live one takes little."""
    live = Live()
    tracemalloc.start()
    try:
        for number in range(20_000):
            lot = WORKLOADS[number % 4], PROFILES[0], KEYS[0]
            live.add(f"jti-{number:018}", issued(number, 2000 + number % 900, *lot))
        each = tracemalloc.get_traced_memory()[0] / 20_000
        live.advance(3000)
        for number in range(100_000):
            live.add(f"jti-{number:018}", issued(number, 3001 + number, *(WORKLOADS[0], PROFILES[0], KEYS[0])))
            live.advance(3001 + number)
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert each < 512
    assert left < 2**16
