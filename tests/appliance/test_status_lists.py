"""Status lists (rule R23): an index is given out once and for good, and only in a list that some bundle has shipped."""

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.engine import Engine
from appliance.errors import Refusal
from appliance.lookups import Lookups
from appliance.nouns import credentials
from appliance.outcome import Outcome, State
from coldcred import framing, layout
from coldcred.acts import Act
from coldcred.canonical import Json, sha256
from coldcred.log.live import Issued
from coldcred.status import SIZE, IndexSet
from tests.support.running import SITE, RunningPlant, run, settled


def few(seed: int, many: int) -> Callable[[int], bytes]:
    """Return a random source that draws one of few indices, so that it meets those that were given out."""
    numbers, chance = itertools.count(), random.Random(seed)

    def draw(size: int) -> bytes:
        if size == 4:
            return chance.randrange(many).to_bytes(4)
        return sha256(f"{seed} {next(numbers)}".encode())[:size]

    return draw


def place(outcome: Outcome) -> tuple[str, int]:
    """Give the list and the index of a credential."""
    found = outcome.result["status"]
    assert isinstance(found, dict)
    return str(found["uri"]), int(str(found["idx"]))


async def carry(running: RunningPlant, engine: Engine) -> set[str]:
    """Make the site's next bundle; gives the names of the status lists in it."""
    made = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": SITE}))
    await settled(engine)
    return set(framing.read(made.files["bundle"], framing.BUNDLE)) & set(layout.STATUS_LISTS)


@pytest.mark.parametrize("seed", range(5))
def test_an_index_is_never_given_out_again(seed: int) -> None:
    """Not while its credential lives, nor after it ended or was revoked: all of a small list are given out once."""
    lookups, chance, many = Lookups(), random.Random(seed), 64
    source, time, given = few(seed, many), 1000, []
    for seq in range(many):
        index = credentials.free_index(lookups, "list", source)
        given.append(index)
        jti = f"jti-{seq}"
        lookups.add_issued(jti, Issued(seq, "list", index, time + chance.randrange(1, 20), "w", "p", "k", SITE))
        if chance.random() < 0.3:
            lookups.revoke(jti, "list", index)
        time += chance.randrange(10)
        lookups.advance(time)
    assert sorted(given) == list(range(many))
    assert lookups.fill("list") == many / SIZE


def test_an_index_is_never_given_out_again_after_a_restart(tmp_path: Path) -> None:
    """The log is what remembers it: the next start knows every index, also of credentials that ended long ago."""
    running = RunningPlant(tmp_path / "home", random=few(1, 8))
    given: list[tuple[str, int]] = []

    async def story(*, first: bool) -> None:
        async with running.engine() as engine:
            if first:
                await running.ready(engine)
            given.extend([place(await engine.submit_command(running.issue())) for _ in range(4)])

    run(story(first=True))
    running.clock.time += 3600
    run(story(first=False))
    assert sorted(index for _, index in given) == list(range(8))


def test_a_list_is_left_at_its_half_for_the_next_that_was_shipped(tmp_path: Path) -> None:
    """Up to the last index below its half; then the next list, if a bundle brought it, else nothing is issued."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            lookups = engine.standing.lookups
            (first,) = lookups.shipped[SITE]
            lookups.used[first] = IndexSet(range(SIZE // 2 - 1))
            assert place(await engine.submit_command(running.issue()))[0] == first
            refused = await engine.submit_command(running.issue())
            assert (refused.state, refused.reason) == (State.REFUSED, Refusal.LIST_FULL)
            await settled(engine)
            assert await carry(running, engine) == set(layout.STATUS_LISTS[:2])
            uri, index = place(await engine.submit_command(running.issue()))
            assert uri == lookups.shipped[SITE][1] != first
            assert (lookups.fill(uri), index in lookups.used[uri]) == (1 / SIZE, True)
            assert await carry(running, engine) == set(layout.STATUS_LISTS[:2])

    run(story())


def test_an_audience_of_no_site_is_refused(tmp_path: Path) -> None:
    """Nobody could be told of a revocation."""
    elsewhere = "https://nowhere.plant-a.example"
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            profile: Json = {**engine.standing.authority.profiles["orders-reader"].as_json(), "audiences": [elsewhere]}
            command = running.command("alice", Act.PROFILE_SET, {"profile": profile})
            done = await engine.submit_command(command, approvals=[running.approval("bob", command)])
            assert done.state is State.DONE
            refused = await engine.submit_command(running.issue(audience=elsewhere))
            assert refused.reason == Refusal.UNKNOWN_SITE

    run(story())
