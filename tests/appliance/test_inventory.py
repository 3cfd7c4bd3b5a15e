"""The inventory: every live thing once, with what is overdue, page by page, and safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.authority import Authority
from appliance.cli.inventory import as_csv
from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from appliance.inventory import KEY_WARNING, UNUSED, Kind, Listing, Overdue
from appliance.lookups import Lookups
from appliance.nouns.workloads import REVIEW_WARNING
from appliance.outcome import State
from appliance.reading import LONGEST_PAGE, Reader
from appliance.standing import Standing
from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.log.live import Issued
from tests.support import plant
from tests.support.running import RunningPlant, run, settled
from tests.support.steps import walked

OTHER = f"{plant.WORKLOAD}0"
Rows = list[dict[str, Any]]


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the worked example's appliance, not started yet."""
    return RunningPlant(tmp_path / "home")


async def opened(running: RunningPlant, engine: Engine) -> Reader:
    """Open a reading by the auditor."""
    return await engine.open_reading(running.command("carol", Act.READ_OPEN))


async def read(reader: Reader, kind: Kind, limit: int = LONGEST_PAGE, **arguments: str) -> Rows:
    """Read a kind to its end."""
    rows: Rows = []
    following: Any = 0
    while following is not None:
        given = {"kind": kind.value, "offset": str(following), "limit": str(limit), **arguments}
        answer: Any = await reader.read("inventory", given)
        assert len(answer["rows"]) <= limit
        rows += answer["rows"]
        following = answer["next"]
    return rows


def test_everything_that_lives_is_listed_once(running: RunningPlant) -> None:
    """With owner, since, end, last issue and state; what is revoked or has ended is not."""

    async def story() -> None:
        async with running.engine() as engine:
            begun = running.clock.now()
            await running.ready(engine)
            running.clock.time += 60
            first, second = [(await engine.submit_command(running.issue())).result for _ in range(2)]
            await settled(engine)
            await engine.submit_command(
                running.command("bob", Act.CREDENTIAL_REVOKE, {"credential": second["jti"], "reason": "lost"})
            )
            reader, now = await opened(running, engine), running.clock.now()
            (credential,) = await read(reader, Kind.CREDENTIAL)
            assert credential == {
                "kind": "credential", "name": first["jti"], "owner": "alice", "workload": plant.WORKLOAD,
                "profile": "orders-reader", "since": now, "age_days": 0, "end": now + 900, "last_issue": now,
                "state": "live", "overdue": [],
            }  # fmt: skip
            (workload,) = await read(reader, Kind.WORKLOAD)
            assert (workload["owner"], workload["since"], workload["last_issue"]) == ("alice", begun, now)
            assert (workload["end"], workload["state"]) == (begun + 90 * plant.DAY, "active")
            (profile,) = await read(reader, Kind.PROFILE)
            assert (profile["since"], profile["last_issue"]) == (plant.TIME, now)
            keys = {row["name"]: row for row in await read(reader, Kind.KEY)}
            assert sorted(keys) == ["bundle-1", "log-1", "status-1", "tokens-1"]
            assert (keys["tokens-1"]["last_issue"], keys["log-1"]["last_issue"]) == (now, None)
            assert {row["name"] for row in await read(reader, Kind.OPERATOR)} == {"alice", "bob", "carol"}
            running.clock.time += 900
            assert await read(reader, Kind.CREDENTIAL) == []
            for kind in Kind:
                assert [row for row in await read(reader, kind, overdue="yes") if not row["overdue"]] == []

    run(story())


def test_a_start_folds_the_same_inventory(running: RunningPlant) -> None:
    """Since and last issue are in the log, those of a batch's credentials too."""
    seen: list[Rows] = []

    async def story() -> None:
        async with running.engine() as engine:
            if not seen:
                await running.ready(engine)
                assert (await engine.submit_command(running.issue())).state is State.DONE
                profile: Json = {**plant.profile(), "name": "other"}
                await running.by_two(engine, Act.PROFILE_SET, {"profile": profile})
                await settled(engine)
            reader = await opened(running, engine)
            seen.append([row for kind in Kind for row in await read(reader, kind)])

    run(story())
    run(story())
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1 + 4 + 1 + 3 + 2


def marks(standing: Standing, kind: Kind, name: str, now: int) -> list[str]:
    """Give what is overdue of one thing."""
    page: Any = walked(Listing().page(standing, kind, range(LONGEST_PAGE), now, overdue=False))
    (found,) = [row["overdue"] for row in page["rows"] if row["name"] == name]
    return list(found)


def test_what_is_overdue_is_said_from_its_second_on(running: RunningPlant) -> None:
    """Reviews, owners who left, keys that end or are suspended, and what nobody uses."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            standing, now = engine.standing, running.clock.now()
            review_by = now + 90 * plant.DAY
            unused = now + UNUSED
            assert unused == review_by
            for at, found in (
                (review_by - REVIEW_WARNING - 1, []),
                (review_by - REVIEW_WARNING, [Overdue.REVIEW_DUE]),
                (review_by - 1, [Overdue.REVIEW_DUE]),
                (review_by, [Overdue.REVIEW_OVERDUE, Overdue.NEVER_USED]),
            ):
                assert marks(standing, Kind.WORKLOAD, plant.WORKLOAD, at) == found
            profile = [marks(standing, Kind.PROFILE, "orders-reader", plant.TIME + at) for at in (UNUSED - 1, UNUSED)]
            assert profile == [[], [Overdue.NEVER_USED]]
            await engine.submit_command(running.issue())
            assert marks(standing, Kind.PROFILE, "orders-reader", now + UNUSED - 1) == []
            assert marks(standing, Kind.PROFILE, "orders-reader", now + UNUSED) == [Overdue.UNUSED]
            end = standing.authority.keys["tokens-1"].not_after
            for at, found in (
                (end - KEY_WARNING - 1, []),
                (end - KEY_WARNING, [Overdue.KEY_ENDS]),
                (end - 1, [Overdue.KEY_ENDS]),
                (end, [Overdue.KEY_ENDED]),
            ):
                assert marks(standing, Kind.KEY, "tokens-1", at) == found
            stop: dict[str, Json] = {"key": "tokens-1", "reason": "lost"}
            await engine.submit_command(running.command("bob", Act.KEY_SUSPEND, stop))
            assert marks(standing, Kind.KEY, "tokens-1", now) == [Overdue.KEY_SUSPENDED]
            until = now + 7 * plant.DAY
            await running.by_two(engine, Act.REVIEW_START, {"name": "spring", "until": until})
            for kind, one in ((Kind.WORKLOAD, plant.WORKLOAD), (Kind.OPERATOR, "bob")):
                assert marks(standing, kind, one, until - 1) == [Overdue.TO_CONFIRM]
                assert marks(standing, kind, one, until) == [Overdue.UNCONFIRMED]
            left = {kid: one for kid, one in standing.authority.operators.items() if one.person != "alice"}
            standing.authority = replace(standing.authority, operators=left)
            assert marks(standing, Kind.WORKLOAD, plant.WORKLOAD, now) == [Overdue.OWNER_LEFT, Overdue.TO_CONFIRM]

    run(story())


def test_a_kind_that_is_not_there_is_refused(running: RunningPlant) -> None:
    """The list of kinds is closed, and a page begins with a number."""

    async def story() -> None:
        async with running.engine() as engine:
            reader = await opened(running, engine)
            for arguments in ({"kind": "secret"}, {}, {"kind": "key", "offset": "-1"}, {"kind": "key", "limit": "x"}):
                with pytest.raises(Refused) as raised:
                    await reader.read("inventory", arguments)
                assert raised.value.reason is Refusal.MALFORMED

    run(story())


class Nothing:
    """An archive that is not asked."""

    def blob(self, digest: str) -> bytes:
        """Hold nothing."""
        raise KeyError(digest)

    def blobs(self) -> Iterator[bytes]:
        """Hold nothing."""
        return iter(())

    def bodies(self, first: int = 0, limit: int = -1) -> Iterator[bytes]:
        """Hold nothing."""
        del first, limit
        return iter(())

    def newest_checkpoint(self) -> tuple[int, bytes] | None:
        """Hold nothing."""
        return None


def crowded(running: RunningPlant, count: int) -> Standing:
    """Give a standing with so many live credentials."""
    lookups = Lookups()
    for number in range(count):
        issued = Issued(number, "list", number, 2 * plant.TIME, plant.WORKLOAD, "orders-reader", "k", "line-1", 7)
        lookups.add_issued(f"credential-{number}", issued)
    return Standing(Authority.founded(running.founding), Nothing(), lookups=lookups)


def test_a_hundred_thousand_credentials_are_listed_page_by_page(running: RunningPlant) -> None:
    """No page is longer than the longest, so each holds others up for a bounded time; all are listed, once."""
    standing, listing = crowded(running, 100_000), Listing()
    names: list[str] = []
    following: Any = 0
    while following is not None:
        asked = range(following, following + LONGEST_PAGE)
        page: Any = walked(listing.page(standing, Kind.CREDENTIAL, asked, plant.TIME, overdue=False))
        assert len(page["rows"]) <= LONGEST_PAGE
        names += [row["name"] for row in page["rows"]]
        following = page["next"]
    assert len(names) == len(set(names)) == 100_000


def test_a_walk_goes_on_while_things_change(running: RunningPlant) -> None:
    """What ends meanwhile is left out, what is new waits for the next walk, and nothing is listed twice."""
    standing, listing = crowded(running, 10), Listing()

    def walk(first: int) -> Any:
        return walked(listing.page(standing, Kind.CREDENTIAL, range(first, first + 4), plant.TIME, overdue=False))

    assert [row["name"] for row in walk(0)["rows"]] == [f"credential-{number}" for number in range(4)]
    standing.lookups.revoke("credential-5", "list", 5)
    standing.lookups.add_issued("new", Issued(11, "list", 11, 2 * plant.TIME, "w", "p", "k", "line-1"))
    assert [row["name"] for row in walk(4)["rows"]] == [f"credential-{number}" for number in (4, 6, 7)]
    last = walk(8)
    assert ([row["name"] for row in last["rows"]], last["next"]) == (["credential-8", "credential-9"], None)
    assert walk(0)["next"] == 4
    assert [row["name"] for row in walk(8)["rows"]] == ["credential-8", "credential-9", "new"]


# -- for spreadsheets


def test_csv_is_that_of_the_rfc_and_holds_no_formula() -> None:
    """CRLF after each record, quotes where they are needed, an apostrophe before what would be a formula."""
    rows: Any = [{"name": "=HYPERLINK(1)", "end": plant.TIME, "overdue": ["a", "b"]}, {"name": '"x", y', "end": None}]
    assert as_csv(rows, ("name", "end", "overdue")) == (
        'name,end,overdue\r\n\'=HYPERLINK(1),2026-11-18T11:06:40Z,a b\r\n"""x"", y",,\r\n'
    )


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_no_cell_is_a_formula(texts: list[str]) -> None:
    """Whatever a name is, a reader of CSV gets as many cells, and none that a spreadsheet would work out."""
    columns = [f"c{place}" for place in range(len(texts))]
    written = as_csv([dict(zip(columns, texts, strict=True))], columns)
    (header, cells) = csv.reader(io.StringIO(written, newline=""))
    assert (header, len(cells)) == (columns, len(texts))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in cells)
