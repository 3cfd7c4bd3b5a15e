"""Copies of a home: whichever is not the newest of its token signs nothing, and says so (rule R33)."""

import asyncio
import time
from contextlib import closing
from pathlib import Path

import pytest

from appliance import turns
from appliance.errors import HomeError, HomeFault
from appliance.pins import Opening
from appliance.views import VIEWS
from appliance.wiring import open_engine
from coldcred.canonical import sha256
from coldcred.charter import Purpose
from coldcred.log.system import PinMode
from coldcred.record import Record
from hsm.heads import KeptHead, label
from tests.support.commandline import Ended
from tests.support.fake_keystore import FakeKeyStore, MemoryToken, NoData
from tests.support.running import LABEL, RunningPlant, SetClock
from tests.support.serving import Appliance, NotReady
from tests.support.softhsm import PIN


def log_key(mine: Appliance) -> bytes:
    """Give the CKA_ID of the log key."""
    with closing(mine.softhsm.store()) as store:
        (key,) = (key for key in store.inventory().keys if key.label.startswith(Purpose.LOG))
    return key.key_id


def refused(mine: Appliance) -> Ended:
    """Start an appliance, which must be refused; gives how it ended."""
    with pytest.raises(NotReady) as caught, mine.serve():
        pass
    return caught.value.ended


def said(ended: Ended) -> None:
    """See that it says in four lines that this home is not the newest, with exit 5."""
    lines = ended.err.splitlines()[-4:]
    assert ended.code == 5, ended
    assert "(home-behind-token)" in lines[0], ended
    assert [line.split()[0] for line in lines[1:]] == ["why", "state", "next"]
    assert "its log keeps all that stands in it" in lines[2]  # and it has what this start appended


def twin(mine: Appliance, folder: Path) -> Appliance:
    """Give an appliance whose home is a copy and whose token is the same."""
    copy = mine.copy(folder)
    settings = copy.home / "settings.toml"
    settings.write_text(settings.read_text().replace(str(copy.softhsm.folder), str(mine.softhsm.folder)))
    return copy


def test_an_older_copy_of_a_home_does_not_start(ready: Appliance, tmp_path: Path) -> None:
    """Served again after the newer one, it is refused each time; the newer one put back goes on."""
    mine = ready.copy(tmp_path / "mine")
    older = twin(mine, tmp_path / "older")
    with mine.serve() as server:
        assert server.transport().command(mine.issue(), {}, ()).files
        server.stop()
    for _ in range(2):
        said(refused(older))
    with mine.serve() as server:
        assert server.transport().command(mine.issue(), {}, ()).files
        assert server.stop().code == 0


def test_a_second_home_on_a_served_token_does_not_start(ready: Appliance, tmp_path: Path) -> None:
    """Two homes from one copy: while one serves, or after kill -9, the other is refused, and the first goes on."""
    mine = ready.copy(tmp_path / "mine")
    second = twin(mine, tmp_path / "second")
    with mine.serve() as server:
        said(refused(second))
        assert server.transport().command(mine.issue(), {}, ()).files
        server.kill()
    said(refused(second))
    with mine.serve() as server:
        assert server.transport().command(mine.issue(), {}, ()).files
        assert server.stop().code == 0


def test_two_copies_that_start_at_once_are_two_logs(ready: Appliance, tmp_path: Path) -> None:
    """By one clock, at one moment: the start itself tells them apart, and the second is refused."""
    mine = ready.copy(tmp_path / "mine")
    second = twin(mine, tmp_path / "second")
    clock = SetClock(int(time.time()) + 60)
    opening = Opening(lambda: bytearray(PIN), PinMode.DESCRIPTOR)

    async def story() -> None:
        async with open_engine(mine.home, lambda _token: opening, clock=clock) as engine:
            with pytest.raises(HomeError) as caught:
                async with open_engine(second.home, lambda _token: opening, clock=clock):
                    pass
            assert caught.value.fault is HomeFault.BEHIND_TOKEN
            assert (await engine.submit_command(mine.issue())).files

    asyncio.run(asyncio.wait_for(story(), 300))


def test_a_home_that_another_overtakes_stops(ready: Appliance, tmp_path: Path) -> None:
    """A head in the token that this log does not have ends the service at the next checkpoint: exit 5, by name."""
    mine = ready.copy(tmp_path / "mine")
    key_id = log_key(mine)
    with mine.serve() as server:
        mine.softhsm.tool("put-data", object_label=label(key_id, KeptHead(10_000, sha256(b"another log"))))
        server.transport().command(mine.issue(), {}, ())
        said(server.wait())
    said(refused(mine))


def test_a_home_whose_token_keeps_no_head_yet_is_taken_as_it_is(ready: Appliance, tmp_path: Path) -> None:
    """A home of before has no head in its token: its first start keeps one, and an older copy is refused after it."""
    mine = ready.copy(tmp_path / "mine")
    older = twin(mine, tmp_path / "older")
    key_id = log_key(mine)
    with closing(mine.softhsm.store()) as store:
        assert store.inventory().heads == (key_id,)
    mine.softhsm.tool("destroy-data")
    with closing(mine.softhsm.store()) as store:
        assert store.inventory().heads == ()
    with mine.serve() as server:
        server.stop()
    said(refused(older))


@pytest.mark.parametrize(("token", "kept"), [(MemoryToken, "token"), (NoData, "none")])
def test_status_says_where_the_head_is_kept(tmp_path: Path, token: type[MemoryToken], kept: str) -> None:
    """`token`, or `none` where the module takes no data objects: it serves all the same."""
    running = RunningPlant(tmp_path / "home", keystore=FakeKeyStore(token(label=LABEL)))

    async def story() -> object:
        async with running.engine() as engine:
            await running.ready(engine)
            return Record.of(await turns.stepped(VIEWS["status"](engine.standing)), "status").text("head_kept_in")

    assert asyncio.run(story()) == kept


def test_an_engine_whose_token_runs_ahead_ends_by_itself(tmp_path: Path) -> None:
    """Also with nobody asking: the next checkpoint finds it, nothing more is decided, and who waits is told."""
    token = MemoryToken(label=LABEL)
    running = RunningPlant(tmp_path / "home", keystore=FakeKeyStore(token))

    async def story() -> HomeError | None:
        async with running.engine() as engine:
            await running.ready(engine)
            for key_id in token.heads:
                token.heads[key_id] = KeptHead(engine.standing.head.size + 5, sha256(b"another log"))
            return await asyncio.wait_for(engine.wait_failed(), 30)

    failure = asyncio.run(story())
    assert failure is not None
    assert failure.fault is HomeFault.BEHIND_TOKEN


def test_a_head_of_no_key_here_is_a_foreign_object(ready: Appliance, tmp_path: Path) -> None:
    """An exclusive token holds the head of its own log and no other's."""
    mine = ready.copy(tmp_path / "mine")
    mine.softhsm.tool("put-data", object_label=label(b"\x01" * 16, KeptHead(3, sha256(b"elsewhere"))))
    ended = refused(mine)
    assert (ended.code, "(hsm-content)" in ended.err) == (4, True), ended
