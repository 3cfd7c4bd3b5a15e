"""What comes back from the HSM otherwise than it should: a wrong signature, and a fault that nobody foresaw."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.errors import HomeError, HomeFault, Refused
from appliance.log import Log
from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.log import entry as entries
from hsm.errors import HsmError
from hsm.heads import KeptHead
from tests.support.fake_keystore import FakeKeyStore, MemoryToken
from tests.support.running import LABEL, RunningPlant, believed, run, settled


class Flipping(FakeKeyStore):
    """A store of which one key gives a wrong signature, as a flipped bit in its file does, until it is told so."""

    def __init__(self) -> None:
        """Begin sound."""
        super().__init__(MemoryToken(label=LABEL))
        self.flips = False
        self.told = 0

    def sign_unverified(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
        """Sign, and turn one bit of each signature."""
        answers = super().sign_unverified(key_id, inputs)
        if not self.flips:
            return answers
        return [bytes([item[0] ^ 1]) + item[1:] if isinstance(item, bytes) else item for item in answers]

    def signed_wrongly(self) -> None:
        """Be replaced by a sound one."""
        self.told += 1
        self.flips = False


def test_a_worker_whose_signature_is_wrong_is_replaced(tmp_path: Path) -> None:
    """The credential does not leave, its store is told once, and the next credential is signed by the new worker."""
    store = Flipping()
    running = RunningPlant(tmp_path / "home", keystore=store)

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            assert store.told == 0
            store.flips = True
            refused = await engine.submit_command(running.issue())
            assert (refused.state, refused.reason, refused.files) == ("refused", "hsm-fault", {})
            assert "signature-wrong" in (refused.detail or "")
            assert (await engine.submit_command(running.issue())).state == "done"
            assert store.told == 1
            await settled(engine)
            await believed(running, engine)

    run(story())


class Breaking(FakeKeyStore):
    """A store that fails as nothing of ours does where the log's head is asked for."""

    broken = False

    def kept(self, key_id: bytes) -> KeptHead | None:
        """Give the head, or break."""
        if self.broken:
            raise ZeroDivisionError
        return super().kept(key_id)


def test_nothing_goes_on_from_an_unforeseen_fault(tmp_path: Path) -> None:
    """The engine ends and says why: what comes next is not carried out, and leaves no entry."""
    store = Breaking(MemoryToken(label=LABEL))
    running = RunningPlant(tmp_path / "home", keystore=store)
    site: dict[str, Json] = {"name": "line-9", "audiences": ["https://line-9.plant-a.example"]}

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            store.broken = True
            for command in (
                running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"}),
                running.command("alice", Act.SITE_ADD, site),
            ):
                with pytest.raises((Refused, HomeError), match="ZeroDivisionError"):
                    await engine.submit_command(command)
            assert engine.failure is not None
            assert engine.failure.fault is HomeFault.DEFECT

    run(story())
    log = Log.open(running.path / "log.sqlite")
    assert "line-9" not in str([entries.parse(body).event for body in log.bodies()])
    log.close()
