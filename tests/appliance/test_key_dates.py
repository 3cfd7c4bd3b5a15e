"""Keys act within their dates at the engine and in the worker: rule R41."""

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.decision import Signing
from appliance.errors import Refusal, Refused
from appliance.nouns import keys
from coldcred.acts import Act
from coldcred.charter import Purpose
from coldcred.log import export
from coldcred.log.export import Anchor
from coldcred.log.note import VerifierKey
from coldcred.record import Record
from hsm.errors import CharterRefused
from hsm.keystore import NOTHING_SIGNED, KeyOrder
from tests.support import plant, world
from tests.support.fake_keystore import FakeKeyStore, MemoryToken
from tests.support.hsm_inputs import CASES, sign
from tests.support.running import LABEL, RunningPlant

KEY = b"0123456789abcdef"
OURS = [purpose for purpose in Purpose if purpose is not Purpose.OPERATOR]


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return an appliance whose keys live for 90 days."""
    return RunningPlant(tmp_path / "home", keystore=FakeKeyStore(MemoryToken(label=LABEL)))


def test_after_its_end_the_log_key_signs_no_checkpoint_and_exports_go_up_to_the_newest(running: RunningPlant) -> None:
    """The clock goes 400 days on: reading works, the export is intact, ends before the key did, and says which did."""

    async def story() -> tuple[bytes, tuple[str, ...], int, bool]:
        async with running.engine() as engine:
            await running.ready(engine)
        running.clock.time += 400 * plant.DAY
        async with running.engine() as engine:
            ended = await engine.submit_command(running.command("carol", Act.LOG_EXPORT))
            reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
            status = Record.of(await reader.read("status", {}), "status")
            return ended.files["export"], ended.warnings, engine.standing.head.size, status.boolean("makes_checkpoints")

    body, warnings, size, makes = asyncio.run(story())
    assert any("key log-1 ended at" in said for said in warnings), warnings
    assert makes is False
    report = export.verify(io.BytesIO(body), None)
    assert report.entries < size
    (log_key,) = (key for key in report.keys if key.charter.purpose is Purpose.LOG)
    assert report.last_time < log_key.not_after
    assert export.verify(io.BytesIO(body), Anchor(VerifierKey.parse(report.log_key))).anchored


@pytest.mark.parametrize("purpose", OURS)
def test_no_key_signs_after_its_end(running: RunningPlant, purpose: Purpose) -> None:
    """Up to the last second a key is usable; then only one of credentials is, whose windows were held to it."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            standing = engine.standing
            key = standing.authority.keys[f"{purpose}-1"]
            meant = [Signing(0, key.key_id, b"")]
            keys.check_usable(standing.authority, standing.opened, meant, key.not_after - 1)
            if purpose is Purpose.TOKENS:
                keys.check_usable(standing.authority, standing.opened, meant, key.not_after)
                return
            with pytest.raises(Refused) as caught:
                keys.check_usable(standing.authority, standing.opened, meant, key.not_after)
            assert caught.value.reason is Refusal.KEY_ENDED
            assert f"key {key.name} ended at 20" in caught.value.detail

    asyncio.run(story())


@pytest.mark.parametrize("purpose", [Purpose.BUNDLE, Purpose.LOG, Purpose.STATUS])
def test_a_bundle_is_not_begun_that_an_ended_key_would_have_to_finish(running: RunningPlant, purpose: Purpose) -> None:
    """Each of the three keys that a bundle takes is looked at before its number is used."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            standing = engine.standing
            key = standing.authority.key_for(purpose)
            assert key is not None
            over = replace(key, not_after=running.clock.now())
            standing.authority = standing.authority.with_member("keys", key.name, over)
            before = standing.authority.next_bundle
            outcome = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"}))
            assert (outcome.reason, outcome.rule) == (Refusal.KEY_ENDED, "R41 keys within their dates")
            assert standing.authority.next_bundle == before

    asyncio.run(story())


@pytest.mark.parametrize("purpose", OURS)
def test_the_worker_holds_keys_to_their_end_by_its_own_clock(purpose: Purpose) -> None:
    """A key that has ended signs nothing, whatever the engine asks; one of credentials none that ends after it."""
    now = [world.NOW]
    store = FakeKeyStore(clock=lambda: now[0])
    charter = CASES[purpose].charter
    public = store.generate(KeyOrder(KEY, charter))
    until = world.NOW + 30 * world.DAY
    store.admit(KEY, charter, public, NOTHING_SIGNED, until)
    first, second = CASES[purpose].inputs(2, public.thumbprint)
    now[0] = until - 1
    assert isinstance(sign(store, KEY, [first])[0], bytes)
    now[0] = until
    answer = sign(store, KEY, [second])[0]
    if purpose is not Purpose.TOKENS:
        assert isinstance(answer, CharterRefused)
        assert f"ended at {until}" in answer.detail
        return
    assert isinstance(answer, bytes)
    sooner = FakeKeyStore()
    public = sooner.generate(KeyOrder(KEY, charter))
    sooner.admit(KEY, charter, public, NOTHING_SIGNED, world.NOW + 1)
    assert isinstance(sooner.sign(KEY, CASES[purpose].inputs(1, public.thumbprint))[0], CharterRefused)
