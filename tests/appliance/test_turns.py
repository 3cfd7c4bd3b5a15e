"""What readers ask is worked out apart: nobody else waits for it, and it has its bounds."""

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance import preview, views
from appliance.authority import Workload
from appliance.cedar import PolicySet
from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from appliance.inventory import Kind, Listing
from appliance.preview import Comparison
from appliance.reading import LARGEST_PAGE, MOST_REVOKED, Reader
from appliance.turns import Steps, Turns, stepped
from appliance.views import Page
from coldcred.acts import Act
from coldcred.canonical import Json, sha256_hex
from coldcred.log.live import Issued
from coldcred.policy import DEFAULT
from coldcred.profile import Asker
from coldcred.record import Record
from tests.support import plant
from tests.support.running import RunningPlant, run
from tests.support.steps import counted, walked

CROWD = 3000
"""Workloads of a large appliance, as far as these tests go."""

PROFILES = 12
OTHER_POLICY = f'{DEFAULT}\n@id("x") forbid (principal == Person::"bob", action == Action::"site.add", resource);\n'


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the plant's appliance, not started."""
    return RunningPlant(tmp_path / "home")


def for_ever(until: Callable[[], bool] = lambda: False) -> Steps[str]:
    """Work until something is so."""
    while not until():
        yield
    return "done"


@pytest.fixture
def turns() -> Turns:
    """Return turns with a disk of their own."""
    return Turns(ThreadPoolExecutor(1))


def test_others_go_on_while_a_question_is_worked_out(turns: Turns) -> None:
    """Work that ends only once somebody else did something comes to its end."""

    async def story() -> None:
        done: list[bool] = []
        asyncio.get_running_loop().call_later(0.01, done.append, True)
        assert await turns.work("carol", for_ever(lambda: bool(done))) == "done"

    run(story())


def test_a_question_beyond_its_budget_is_refused() -> None:
    """What never ends is ended, with a reason of its own."""

    async def story() -> None:
        with pytest.raises(Refused) as refused:
            await stepped(for_ever(), moment=0.001, budget=0.01)
        assert refused.value.reason is Refusal.OVER_BUDGET

    run(story())


def test_each_person_has_one_question_and_all_have_one_at_a_time(turns: Turns) -> None:
    """A second question of a person is refused as busy, one of somebody else waits, and a view waits for neither."""
    at_work: list[str] = []

    def working(who: str, until: Callable[[], bool]) -> Steps[str]:
        at_work.append(who)
        yield from for_ever(until)
        at_work.remove(who)
        return who

    async def story() -> None:
        go = asyncio.Event()
        first = asyncio.create_task(turns.work("carol", working("carol", go.is_set)))
        while not at_work:  # noqa: ASYNC110 - the event loop's own turn is what is waited for
            await asyncio.sleep(0)
        assert at_work == ["carol"]
        with pytest.raises(Refused) as refused:
            await turns.work("carol", for_ever())
        assert refused.value.reason is Refusal.BUSY
        second = asyncio.create_task(turns.work("bob", working("bob", lambda: at_work == ["bob"])))
        looked = iter(range(9))
        assert await turns.view(for_ever(lambda: next(looked) > 3)) == "done"
        assert at_work == ["carol"]
        go.set()
        assert (await first, await second) == ("carol", "bob")
        assert await turns.work("carol", for_ever(lambda: True)) == "done"

    run(story())


def test_a_question_that_failed_or_was_left_makes_room(turns: Turns) -> None:
    """Its person may ask again, and others are not kept waiting."""

    def failing() -> Steps[None]:
        yield
        raise Refused(Refusal.MALFORMED, "no")

    async def story() -> None:
        with pytest.raises(Refused, match="no"):
            await turns.work("carol", failing())
        begun = asyncio.Event()

        def never() -> bool:
            begun.set()
            return False

        left = asyncio.create_task(turns.work("carol", for_ever(never)))
        await begun.wait()
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert await turns.work("carol", for_ever(lambda: True)) == "done"

    run(story())


def test_readers_are_given_the_file_one_page_at_a_time() -> None:
    """Of ten pages that are asked for at once one stands at the disk, so that a commit waits for no more."""
    disk = ThreadPoolExecutor(1)
    turns, opened = Turns(disk), threading.Event()

    async def story() -> None:
        pages = [asyncio.create_task(turns.page(opened.wait)) for _ in range(10)]
        await asyncio.sleep(0.01)
        commit = asyncio.get_running_loop().run_in_executor(disk, lambda: "committed")
        opened.set()
        assert await commit == "committed"
        assert sum(page.done() for page in pages) <= 2
        await asyncio.gather(*pages)

    run(story())
    disk.shutdown()


# -- the largest that can be asked


def crowd(engine: Engine) -> None:
    """Enrol very many workloads, under several profiles that let them ask and exclude each other, as if by entries."""
    authority = engine.standing.authority
    (profile,) = authority.profiles.values()
    names = [f"p{number}" for number in range(PROFILES)]
    profiles = {
        name: replace(profile, name=name, asked_by=(Asker.WORKLOAD,), excludes=(names[0],)) for name in names[1:]
    }
    profiles[names[0]] = replace(profile, name=names[0], asked_by=(Asker.WORKLOAD,))
    found = {
        id_: Workload(id_, "bob", plant.TIME + 90 * plant.DAY, None)
        for id_ in (f"spiffe://{plant.DOMAIN}/line-1/m{number}" for number in range(CROWD))
    }
    engine.standing.authority = replace(
        authority,
        profiles={**authority.profiles, **profiles},
        workloads={**authority.workloads, **found},
        owned={**authority.owned, "bob": frozenset(found)},
    )


async def of_policy(reader: Reader) -> Json:
    """Ask what another policy would change."""
    body = OTHER_POLICY.encode()
    return await reader.preview(
        Act.POLICY_SET, Record({"policy": sha256_hex(body)}, "policy.set"), {sha256_hex(body): body}
    )


async def of_profile(reader: Reader) -> Json:
    """Ask what another lifetime would change."""
    args: dict[str, Json] = {"profile": {**plant.profile(), "name": "p0", "asked_by": ["workload"], "lifetime": 601}}
    return await reader.preview(Act.PROFILE_SET, Record(args, "profile.set"), {})


async def of_combinations(reader: Reader) -> Json:
    """Ask for the report on profiles that exclude each other."""
    return await reader.read("toxic", {})


@pytest.mark.parametrize("ask", [of_policy, of_profile, of_combinations])
def test_stopping_waits_for_nothing_that_an_auditor_asks(running: RunningPlant, ask: Callable[..., Any]) -> None:
    """Beside the largest preview and report one suspension after the other is done before the answer is."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.enrol(engine)
            crowd(engine)
            reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
            question = asyncio.create_task(ask(reader))
            await asyncio.sleep(0.02)
            for _ in range(3):
                stopped = running.command("bob", Act.WORKLOAD_SUSPEND, {"workload": plant.WORKLOAD, "reason": "x"})
                assert (await engine.submit_command(stopped)).state == "done"
                assert not question.done()
            with pytest.raises(Refused) as refused:
                await of_profile(reader)
            assert refused.value.reason is Refusal.BUSY
            assert await reader.read("status", {})
            question.cancel()

    run(story())


def test_a_preview_asks_no_more_than_so_many_questions(running: RunningPlant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond them the workloads that are left are counted and not asked about; a profile's asks about it alone."""
    monkeypatch.setattr(preview, "MOST_QUESTIONS", 1000)

    async def story() -> None:
        async with running.engine() as engine:
            crowd(engine)
            authority, old = engine.standing.authority, engine.standing.policies
            new = PolicySet.parse(OTHER_POLICY.encode())
            comparison = Comparison.of_policies(authority, old, new)
            found, steps = counted(preview._told(comparison))
            asked = found["workloads"]
            assert isinstance(asked, dict)
            assert asked["all"] == CROWD
            assert asked["asked"] == comparison.workloads < CROWD
            assert 1000 <= steps < 1000 + len(authority.profiles) + 1
            monkeypatch.undo()
            alone = Comparison.of_profile(authority, old, replace(authority.profiles["p0"], lifetime=601))
            found, steps = counted(preview._told(alone))
            assert found["workloads"] == {"asked": CROWD, "all": CROWD}
            assert CROWD < steps < CROWD + 100

    run(story())


def test_every_view_and_report_goes_in_steps(running: RunningPlant) -> None:
    """Each view is work in steps, and what goes through workloads or credentials rests after fifty of them at most."""

    async def story() -> None:
        async with running.engine() as engine:
            crowd(engine)
            standing = engine.standing
            for number in range(CROWD):
                issued = Issued(number, "list", number, 2 * plant.TIME, plant.WORKLOAD, "p0", "k", "line-1", 7)
                standing.lookups.live.add(f"credential-{number}", issued)
            for view in views.VIEWS.values():
                assert inspect.isgeneratorfunction(view)
            for name in ("status", "workloads"):
                assert counted(views.VIEWS[name](standing))[1] >= CROWD // 50
            for kind in (Kind.WORKLOAD, Kind.CREDENTIAL):
                page = Page(standing, plant.TIME, {"kind": kind.value}, range(1000), Listing())
                assert counted(views._inventory(page))[1] >= 1000 // 50
            for view_of in views.PAGED.values():
                assert inspect.isgeneratorfunction(view_of)
            page = Page(standing, plant.TIME, {}, range(100), Listing())
            assert counted(views.toxic(page))[1] >= PROFILES * CROWD // 50
            profile = replace(standing.authority.profiles["p0"], lifetime=601)
            asked = preview.Asked(profile=profile)
            steps = preview.preview(standing.authority, standing.lookups, standing.policies, asked, plant.TIME)
            found, number = counted(steps)
            assert isinstance(found, dict)
            assert (found["live"], number > 2 * CROWD) == (CROWD, True)

    run(story())


def test_a_revocation_of_very_many_is_not_imagined(running: RunningPlant) -> None:
    """Looking at all that lives would hold everybody up: it is refused by a reason of its own."""

    async def story() -> None:
        async with running.engine() as engine:
            for number in range(MOST_REVOKED + 1):
                issued = Issued(number, "list", number, 2 * plant.TIME, plant.WORKLOAD, "p0", "k", "line-1", 7)
                engine.standing.lookups.live.add(f"credential-{number}", issued)
            reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
            args: dict[str, Json] = {"profile": "orders-reader", "reason": "x"}
            asked: dict[str, Json] = {"by": "alice", "act": "credential.revoke", "args": args}
            with pytest.raises(Refused) as refused:
                await reader.why(Record(asked, "why"), {})
            assert refused.value.reason is Refusal.OVER_BUDGET

    run(story())


def test_a_page_of_large_entries_is_short(running: RunningPlant) -> None:
    """A page ends where its entries exceed its bytes, and whoever reads goes on from there."""
    body = b'{"a":"' + b"x" * 60_000 + b'"}'

    class Large:
        def bodies(self, first: int, limit: int) -> list[bytes]:
            return [body] * (min(first + limit, 1000) - first)

    async def story() -> None:
        async with running.engine() as engine:
            reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
            reader._log = Large()  # type: ignore[assignment]  # stands for a log that takes minutes to write
            page = await reader.read("entries", {"from": "0", "limit": "1000"})
            assert isinstance(page, list)
            assert len(page) == LARGEST_PAGE // len(body) + 1

    run(story())


def test_what_steps_come_to_is_what_was_asked_for() -> None:
    """Work in steps gives its value, also where it has none."""
    assert walked(for_ever(lambda: True)) == "done"
