"""Damaged token files: a fault or a crash in the worker is an `HsmError`, and no wrong signature gets out."""

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from coldcred.charter import Purpose
from coldcred.keys import PublicKey
from hsm.errors import HsmError
from tests.support.hsm_inputs import CASES, admitted, signatures
from tests.support.softhsm import SoftHsm

KEY = b"0123456789abcdef"
CASE = CASES[Purpose.TOKENS]


def damage(path: Path, chance: random.Random) -> None:
    """Flip one bit of a file."""
    body = bytearray(path.read_bytes())
    body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    path.write_bytes(body)


def use(softhsm: SoftHsm, public: PublicKey, number: int) -> str:
    """Start on the token, read it, admit its key and sign; return how far that went."""
    store = softhsm.store()
    data = CASE.make(number, public.thumbprint)
    try:
        store.inventory()
        store.admit(KEY, CASE.charter, public)
    except HsmError as error:
        return f"start: {error.id}"
    finally:
        (answer,) = store.sign(KEY, [data])
        store.close()
    if isinstance(answer, HsmError):
        return f"sign: {answer.id}"
    public.verify(answer, data)
    return "signed"


def campaign(softhsm: SoftHsm, flips: int, seed: int) -> Counter[str]:
    """Flip one bit at a time, each in a fresh copy of the token; return how often each outcome came."""
    store = softhsm.store()
    public = admitted(store)
    store.close()
    sound = softhsm.folder / "sound"
    shutil.copytree(softhsm.tokens, sound)
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    for number in range(flips):
        shutil.rmtree(softhsm.tokens)
        shutil.copytree(sound, softhsm.tokens)
        files = [*softhsm.object_files(), *softhsm.tokens.rglob("token.object")]
        damage(files[number % len(files)], chance)
        outcomes[use(softhsm, public, number)] += 1
    shutil.rmtree(softhsm.tokens)
    shutil.copytree(sound, softhsm.tokens)
    assert use(softhsm, public, flips) == "signed"
    return outcomes


def test_a_flipped_bit_is_an_error_of_ours_or_harmless(softhsm: SoftHsm) -> None:
    """In 30 flips over key and token files nothing but a good signature or an `HsmError` comes out."""
    outcomes = campaign(softhsm, 30, seed=30)
    assert outcomes.total() == 30
    assert 0 < outcomes["signed"] < 30


@pytest.mark.soak
def test_a_thousand_flipped_bits(softhsm: SoftHsm) -> None:
    """The same for a thousand flips: 0 bad signatures, 0 foreign exceptions."""
    outcomes = campaign(softhsm, 1000, seed=1000)
    assert outcomes.total() == 1000


@pytest.mark.parametrize("keep", [0, 1, 40])
def test_a_cut_file_is_an_error_of_ours(softhsm: SoftHsm, keep: int) -> None:
    """Object files cut short, to nothing too, are refused at the start, and whole again they serve."""
    store = softhsm.store()
    public = admitted(store)
    store.close()
    bodies = {path: path.read_bytes() for path in softhsm.object_files()}
    for path, body in bodies.items():
        path.write_bytes(body[:keep])
    assert use(softhsm, public, 1).startswith("start: ")
    for path, body in bodies.items():
        path.write_bytes(body)
    assert use(softhsm, public, 2) == "signed"


def test_damage_under_a_running_worker_is_seen_at_the_next_start(softhsm: SoftHsm) -> None:
    """A running module signs from what it read; `inventory` begins anew, sees the damage, and names it."""
    store = softhsm.store()
    public = admitted(store)
    for path in softhsm.object_files():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    signatures(store.sign(KEY, [CASE.make(1, public.thumbprint)]))
    try:
        inventory = store.inventory()
    except HsmError:
        return
    assert [key for key in inventory.keys if key.key_id == KEY and not key.faults] == []
