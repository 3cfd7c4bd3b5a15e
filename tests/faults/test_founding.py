"""A founding killed half-way: the same line again completes it, and there is never half a home (R1, R14)."""

import fcntl
import os
import shutil
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.cli import stopped
from appliance.engine.recovery import Recovery
from appliance.home import Home
from appliance.log import Log
from appliance.nouns import keys
from appliance.wiring import open_log
from coldcred.canonical import dumps
from coldcred.charter import label
from coldcred.keys import PublicKey
from coldcred.log.entry import parse
from hsm.keystore import KeyOrder
from tests.support import plant
from tests.support.commandline import Ended
from tests.support.disturbed import killed
from tests.support.running import LABEL
from tests.support.serving import Appliance
from tests.support.softhsm import MODULE, SoftHsm
from tests.support.strace import Point, counting, points, spread

CALLS = ("mkdir", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "unlink", "sendto", "flock")


@dataclass(frozen=True)
class Founders:
    """A founding that everyone signed, as files, and a token that nothing was made in."""

    folder: Path
    founded: int
    prepared: SoftHsm

    def appliance(self, folder: Path) -> Appliance:
        """Give a place to found in, with an empty token."""
        token = SoftHsm(folder / "hsm")
        token.configure()
        token.add_prepared(self.prepared, "token-1")
        return Appliance(folder, self.founded)

    def complete(self, mine: Appliance, under: list[str]) -> Ended:
        """Run `init complete`."""
        signatures = sorted(self.folder.glob("signature-*"))
        uri = mine.softhsm.uri.format()
        (variable,) = (f"{name}={value}" for name, value in mine.softhsm.environment.items())
        options = ["--module", MODULE, "--module-env", variable, "--token", f"{LABEL}={uri}"]
        return mine.ctl("init", "complete", self.folder / "founding.json", *signatures, *options, under=under)


@pytest.fixture(scope="module")
def founders(tmp_path_factory: pytest.TempPathFactory, softhsm_prepared: SoftHsm) -> Founders:
    """Return founders with their signed files."""
    folder = tmp_path_factory.mktemp("founders")
    founders = Founders(folder, int(time.time()) - 60, softhsm_prepared)
    body = Appliance(folder / "nowhere", founders.founded).founding
    (folder / "founding.json").write_bytes(body)
    for number, signature in enumerate(plant.signatures(body)):
        (folder / f"signature-{number}").write_text(f"{signature}\n")
    return founders


def check_home(mine: Appliance) -> None:
    """See that there is no home, or a whole one; looked at in a copy, so that nothing is mended by looking."""
    if not mine.home.exists():
        return
    copy = mine.folder / "copy"
    shutil.copytree(mine.home, copy)
    assert Home.open(copy).founding.body == mine.founding
    assert stopped.verify_log(copy)["verdict"] == "intact"
    shutil.rmtree(copy)


def check_done(mine: Appliance) -> None:
    """See that a founding is complete: the home is whole, nothing beside it, and the token holds the log's keys."""
    assert {path.name for path in mine.folder.iterdir()} == {"home", "hsm"}
    assert {path.name for path in mine.home.iterdir()} == {"settings.toml", "founding.json", "log.sqlite", "lock"}
    check_home(mine)
    log = Log.open(mine.log_path)
    events = [parse(body).event for body in log.bodies()]
    log.close()
    made = [event for event in events if event["type"] == "key.done"]
    assert len({str(event["name"]) for event in made}) == len(made) == 4
    with closing(mine.softhsm.store()) as store:
        found = store.inventory()
    assert found.foreign == ()
    assert {dumps(key.public.jwk()) for key in found.keys if key.public} == {dumps(event["public"]) for event in made}


def found_half_way(founders: Founders, mine: Appliance, point: Point) -> bool:
    """Kill a founding at a point, run the same line again, and check; whether the first one got so far."""
    ended = founders.complete(mine, point.kill())
    assert ended.code in {0, 4} or killed(ended), ended
    check_home(mine)
    again = founders.complete(mine, [])
    if again.code == 4 and "no class" in again.err:
        # SoftHSM was killed between making an object's file and writing into it. Nobody can use such an object, but
        # nobody can tell whose it is either, so a person has to look.
        assert "(hsm-content)" in again.err
        return True
    assert again.code == 0, (ended, again)
    check_done(mine)
    return ended.code != 0


def passed(founders: Founders, mine: Appliance) -> list[Point]:
    """Give the points that a founding passes."""
    trace = founders.folder / "trace"
    ended = founders.complete(mine, counting(CALLS, trace))
    assert ended.code == 0, ended
    check_done(mine)
    files = [mine.log_path, mine.log_path.with_name("log.sqlite-wal")]
    return points(trace, files, set(CALLS) - {"ftruncate"})


def found_each(founders: Founders, folder: Path, most: int) -> int:
    """Found half-way at so many points; gives how many of them were met."""
    chosen = spread(passed(founders, founders.appliance(folder / "home-0")), most)
    # Points on the log's files name the home they are in; every home has its own.
    met = 0
    for number, point in enumerate(chosen, 1):
        mine = founders.appliance(folder / f"home-{number}")
        path = None if point.path is None else mine.home / point.path.name
        met += found_half_way(founders, mine, replace(point, path=path))
        shutil.rmtree(mine.folder)
    return met


def test_a_founding_killed_half_way_is_completed_by_the_same_line(founders: Founders, tmp_path: Path) -> None:
    """At six points from the draft to the last key: no half home ever, and the second run finishes the first."""
    assert found_each(founders, tmp_path, 6) >= 4, "hardly any point was met"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_founding_killed_anywhere_is_completed_by_the_same_line(founders: Founders, tmp_path: Path) -> None:
    """The long form: every write, sync, rename and frame of a founding, SoftHSM's own among them."""
    assert found_each(founders, tmp_path, 1000) >= 200


@pytest.fixture
def ordered(founders: Founders, tmp_path: Path) -> tuple[Appliance, dict[str, KeyOrder]]:
    """Return an appliance that stopped after its keys were ordered, and the orders by name; the token is empty."""
    mine = founders.appliance(tmp_path / "mine")
    mine.create_home()
    home = Home.open(mine.home)
    with open_log(home) as log:
        recovery = Recovery(home, log, lambda: mine.founded)
        recovery.fold()
        recovery.begin("test", bytes)
        for plan in home.founding.keys:
            recovery._commit(keys.ordered(recovery.standing.authority, plan.name, os.urandom(16).hex()))
        found = recovery.standing.authority.keys
    return mine, {name: KeyOrder(bytes.fromhex(key.key_id), key.charter) for name, key in found.items()}


def pinned(mine: Appliance, founders: Founders) -> dict[str, PublicKey]:
    """Start it once as a founding does, and give the keys that its log pins then."""
    ended = founders.complete(mine, [])
    assert ended.code == 0, ended
    check_done(mine)
    log = Log.open(mine.log_path)
    events = [parse(body).event for body in log.bodies()]
    log.close()
    return {str(event["name"]): PublicKey.from_jwk(event["public"]) for event in events if event["type"] == "key.done"}


def test_a_key_that_was_ordered_and_not_made_is_made(
    ordered: tuple[Appliance, dict[str, KeyOrder]], founders: Founders
) -> None:
    """Nothing in the token answers to the orders: the next start makes all four."""
    mine, orders = ordered
    assert pinned(mine, founders).keys() == orders.keys()


def test_a_key_that_was_made_and_not_told_is_adopted(
    ordered: tuple[Appliance, dict[str, KeyOrder]], founders: Founders
) -> None:
    """An object that answers to an open order is the key; no second one is made."""
    mine, orders = ordered
    with closing(mine.softhsm.store()) as store:
        made = {name: store.generate(order) for name, order in orders.items() if name != "log-1"}
    found = pinned(mine, founders)
    assert {name: found[name] for name in made} == made


@pytest.mark.parametrize("lost", [0, 1])
def test_a_key_that_was_made_by_half_is_made_anew(
    ordered: tuple[Appliance, dict[str, KeyOrder]], founders: Founders, lost: int
) -> None:
    """One half of a pair alone, private or public, is destroyed and the key made again."""
    mine, orders = ordered
    with closing(mine.softhsm.store()) as store:
        half = store.generate(orders["tokens-1"])
    mine.softhsm.object_files()[lost].unlink()
    assert pinned(mine, founders)["tokens-1"] != half


def test_a_key_that_somebody_else_made_is_not_adopted(
    ordered: tuple[Appliance, dict[str, KeyOrder]], founders: Founders
) -> None:
    """An object with the ordered id and label that could leave the token is destroyed and the key made again."""
    mine, orders = ordered
    order = orders["tokens-1"]
    mine.softhsm.tool("generate", key_id=order.key_id.hex(), key_label=label(order.charter), wrong="EXTRACTABLE")
    pinned(mine, founders)


def test_a_second_founding_at_once_is_refused(founders: Founders, tmp_path: Path) -> None:
    """While one process drafts a home another does not touch the draft; what is not a draft's stays."""
    mine = founders.appliance(tmp_path / "mine")
    draft = mine.home.with_name(".home.draft")
    draft.mkdir()
    descriptor = os.open(draft, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    ended = founders.complete(mine, [])
    os.close(descriptor)
    assert (ended.code, "(home-in-use)" in ended.err) == (5, True), ended
    (draft / "letter").write_text("not of a home")
    ended = founders.complete(mine, [])
    assert (ended.code, "(home-exists)" in ended.err) == (1, True), ended
    assert (draft / "letter").read_text() == "not of a home"
    assert not mine.home.exists()
