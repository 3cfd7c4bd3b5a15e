"""A token that is damaged, changed or away: only good signatures leave, and whoever starts it reads what is wrong.

Reliability I3, H1, H4, H5, H11.
"""

import asyncio
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from appliance.cli import failures
from appliance.cli.exits import Exit
from appliance.errors import HomeError
from appliance.log import Log
from appliance.outcome import Outcome, State
from appliance.pins import Opening
from appliance.wiring import open_engine
from coldcred.charter import KeyCharter, label, parse
from coldcred.log import entry as entries
from coldcred.log.system import PinMode
from hsm.errors import HsmError
from tests.support.ledger import Ledger
from tests.support.serving import Appliance, NotReady
from tests.support.softhsm import PIN, is_dead


def key_of(mine: Appliance, purpose: str) -> tuple[bytes, KeyCharter]:
    """Give the CKA_ID and the charter of a key that the log ordered."""
    log = Log.open(mine.log_path)
    events = [entries.parse(body).event for body in log.bodies()]
    log.close()
    for event in events:
        if event["type"] == "key.ordered" and event["name"] == f"{purpose}-1":
            return bytes.fromhex(str(event["id"])), parse(event["charter"])
    raise LookupError(purpose)


def take_out(mine: Appliance, key_id: bytes) -> None:
    """Destroy a key in the token, behind the appliance's back."""
    with closing(mine.softhsm.store()) as store:
        store.destroy(key_id)


def key_gone(mine: Appliance) -> str:
    """Take the key out that signs credentials."""
    take_out(mine, key_of(mine, "tokens")[0])
    return "key-missing"


def key_gone_log(mine: Appliance) -> str:
    """Take the log's key out."""
    take_out(mine, key_of(mine, "log")[0])
    return "key-missing"


def key_changed(mine: Appliance) -> str:
    """Put another key, sound in all its attributes, in the place of ours."""
    key_id, charter = key_of(mine, "tokens")
    take_out(mine, key_id)
    mine.softhsm.tool("generate", key_id=key_id.hex(), key_label=label(charter))
    return "key-mismatch"


def key_exposed(mine: Appliance) -> str:
    """Put a key that could leave the token in the place of ours."""
    key_id, charter = key_of(mine, "tokens")
    take_out(mine, key_id)
    mine.softhsm.tool("generate", key_id=key_id.hex(), key_label=label(charter), wrong="EXTRACTABLE")
    return "key-exposed"


def key_doubled(mine: Appliance) -> str:
    """Put a second key of the same id and label beside ours."""
    key_id, charter = key_of(mine, "tokens")
    mine.softhsm.tool("generate", key_id=key_id.hex(), key_label=label(charter))
    return "key-ambiguous"


def key_strange(mine: Appliance) -> str:
    """Put a key nobody ordered into the token, under a label such as ours."""
    mine.softhsm.tool("generate", key_id="77" * 16, key_label=label(key_of(mine, "tokens")[1]))
    return "hsm-content"


def object_strange(mine: Appliance) -> str:
    """Put an object of another kind into the token."""
    mine.softhsm.tool("put-data", object_label="left behind")
    return "hsm-content"


CHANGES = [key_gone, key_gone_log, key_changed, key_exposed, key_doubled, key_strange, object_strange]


@pytest.mark.parametrize("change", CHANGES)
def test_a_token_whose_content_is_not_what_was_left_refuses_the_start(
    mine: Appliance, change: Callable[[Appliance], str]
) -> None:
    """Exit 4 in time, with what is wrong and what to do; the token as it was starts again, with nothing to mend."""
    sound = mine.folder / "sound"
    shutil.copytree(mine.softhsm.tokens, sound)
    name = change(mine)
    began = time.monotonic()
    with pytest.raises(NotReady) as caught, mine.serve():
        pass
    ended = caught.value.ended
    took = time.monotonic() - began
    assert ended.code == 4, ended
    lines = ended.err.splitlines()[-4:]
    assert f"({name})" in lines[0], ended
    assert [line.split()[0] for line in lines[1:]] == ["why", "state", "next"]
    shutil.rmtree(mine.softhsm.tokens)
    sound.rename(mine.softhsm.tokens)
    began = time.monotonic()
    with mine.serve() as server:
        assert took < 5 + 3 * (time.monotonic() - began)
        assert server.transport().command(mine.issue(), {}, ()).files
        assert server.stop().code == 0


def flip(path: Path, chance: random.Random) -> None:
    """Flip one bit of a file."""
    body = bytearray(path.read_bytes())
    body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    path.write_bytes(body)


def issue_on(mine: Appliance, command: str) -> Outcome | HomeError | HsmError:
    """Start an engine on the token as it is and ask for a credential."""

    async def story() -> Outcome:
        opening = Opening(lambda: bytearray(PIN), PinMode.DESCRIPTOR)
        async with open_engine(mine.home, lambda _token: opening) as engine:
            return await engine.submit_command(command)

    try:
        return asyncio.run(asyncio.wait_for(story(), 60))
    except (HomeError, HsmError) as error:
        return error


def flip_each(mine: Appliance, folder: Path, flips: int, seed: int) -> Counter[str]:
    """Flip one bit at a time in a fresh copy of the token and issue; gives how often each end came.

    Which flips do harm differs with the keys' bytes: where none was harmless, up to four times as many follow.
    """
    sound, chance, ledger = mine.folder / "sound", random.Random(seed), Ledger(folder / "held")
    shutil.copytree(mine.softhsm.tokens, sound)
    ends: Counter[str] = Counter()
    last = ""
    for number in range(5 * flips + 1):
        flipping = number < flips or (not ends["signed"] and number < 5 * flips)
        shutil.rmtree(mine.softhsm.tokens)
        shutil.copytree(sound, mine.softhsm.tokens)
        if flipping:
            files = [*mine.softhsm.object_files(), *mine.softhsm.tokens.rglob("token.object")]
            flip(files[number % len(files)], chance)
        command = mine.issue()
        found = issue_on(mine, command)
        if isinstance(found, Outcome):
            assert found.state is State.DONE or found.reason == "hsm-fault", found
            for token in found.files.values():
                ledger.hold(token.decode("ascii"), command)
            last = "signed" if found.files else "refused"
        else:
            assert failures.exit_of(found.id) is Exit.HSM, found
            last = found.id
        ends[last] += 1
        if not flipping:
            break
    log = Log.open(mine.log_path)
    ledger.read(log.bodies())
    log.close()
    ledger.settle()
    assert "signed" in last, "the sound token does not sign"
    return ends


def test_a_flipped_bit_in_the_token_lets_no_bad_signature_out(mine: Appliance, tmp_path: Path) -> None:
    """Twelve flips, one in each file: a good token, a refusal, or a start refused with an HSM's exit code."""
    ends = flip_each(mine, tmp_path, 12, seed=12)
    assert ends.total() >= 13
    assert 1 < ends["signed"] < 13, ends


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_flipped_bits_in_the_token_let_no_bad_signature_out(mine: Appliance, tmp_path: Path) -> None:
    """The long form."""
    print(flip_each(mine, tmp_path, 1000, seed=1000))  # noqa: T201 - the figures are the result


def test_wrong_signatures_stay_inside(mine: Appliance, tmp_path: Path) -> None:
    """With a token that signs wrongly every other time, what comes out verifies; the rest is refused and revoked."""
    ledger = Ledger(tmp_path / "held")
    with mine.serve(spied="flip@2") as server:
        transport = server.transport()
        outcomes = [ledger.ask(transport, mine.issue()) for _ in range(12)]
        refused = [outcome for outcome in outcomes if outcome.state is State.REFUSED]
        assert refused
        assert {outcome.reason for outcome in refused} == {"hsm-fault"}
        assert all("signature-wrong" in str(outcome.detail) for outcome in refused)
        assert len(ledger.held) + len(refused) == 12
        ledger.read_over(transport, mine)
        server.kill()
    with mine.serve(spied="") as server:
        ledger.read_over(server.transport(), mine)
    ledger.settle(mine.notes)
    failed = [seq for seq, what in ledger.outcomes.items() if what == "failed"]
    assert len([seq for seq in failed if ledger.events[seq]["type"] == "credential.issued"]) == len(refused)


def test_a_token_taken_away_is_served_again_when_it_is_back(mine: Appliance) -> None:
    """Refusals in time while it is away, a credential soon after its return, and never a restart."""
    away = mine.folder / "away"
    began = time.monotonic()
    with mine.serve() as server:
        slack = 3 * (time.monotonic() - began)  # what a slow machine takes for as much as starting
        transport = server.transport()
        assert transport.command(mine.issue(), {}, ()).files
        mine.softhsm.tokens.rename(away)
        worker = server.worker()
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        for _ in range(3):
            began = time.monotonic()
            refused = transport.command(mine.issue(), {}, ())
            assert time.monotonic() - began < 5 + slack
            assert (refused.state, refused.reason) == (State.REFUSED, "hsm-fault")
        away.rename(mine.softhsm.tokens)
        began = time.monotonic()
        while not transport.command(mine.issue(), {}, ()).files:
            assert time.monotonic() - began < 15 + slack
        assert server.stop().code == 0


@pytest.mark.soak
def test_a_worker_that_hangs_is_replaced(mine: Appliance) -> None:
    """SIGSTOP while it is asked: refused within eleven seconds, the process gone, the next request served."""
    began = time.monotonic()
    with mine.serve() as server:
        slack = 3 * (time.monotonic() - began)
        transport, worker = server.transport(), server.worker()
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)
        began = time.monotonic()
        refused = transport.command(mine.issue(), {}, ())
        assert time.monotonic() - began < 11 + slack
        assert (refused.state, refused.reason) == (State.REFUSED, "hsm-fault")
        assert is_dead(worker)
        assert transport.command(mine.issue(), {}, ()).files
        assert server.stop().code == 0
