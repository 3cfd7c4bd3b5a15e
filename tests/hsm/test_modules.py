"""The key-store contract on modules of other makers (`make modules`), and the exact first thing that stops each."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coldcred.charter import LogCharter, Purpose
from coldcred.keys import Algorithm
from hsm.errors import KeyExposed, MechanismMissing
from hsm.keystore import KeyOrder, KeyStore
from tests.hsm import test_contract
from tests.support.hsm_inputs import CASES
from tests.support.modules import MODULES, Foreign

pytestmark = [pytest.mark.soak, pytest.mark.modules]

KEY = b"0123456789abcdef"
WHOLE = ("p11-kit", "kryoptic", "tpm2-pkcs11")


@pytest.fixture
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Foreign]:
    """Return the module that the test names, with a token of its own."""
    row = MODULES[request.param]
    if not row.there:
        pytest.skip(f"{row.library} is not installed")
    with row.begin(tmp_path) as made:
        yield made
        for store in made.stores:
            store.close()


@pytest.fixture(params=WHOLE)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyStore]:
    """Return an empty key store of each module that carries an appliance; its log key is what its tokens can make."""
    row = MODULES[request.param]
    if not row.there:
        pytest.skip(f"{row.library} is not installed")
    if not row.edwards:
        case = CASES[Purpose.LOG]
        assert isinstance(case.charter, LogCharter)
        monkeypatch.setitem(CASES, Purpose.LOG, replace(case, charter=replace(case.charter, algorithm=Algorithm.ES256)))
    with row.begin(tmp_path) as made:
        yield made.store()
        for opened in made.stores:
            opened.close()


# The contract itself, on the stores of this module.
globals().update({name: value for name, value in vars(test_contract).items() if name.startswith("test_")})


@pytest.mark.parametrize("foreign", [name for name, row in MODULES.items() if not row.edwards], indirect=True)
def test_no_ed25519_is_said_by_the_mechanisms_name(foreign: Foreign) -> None:
    """Before anything is made, and with nothing left behind."""
    keys = foreign.store()
    with pytest.raises(MechanismMissing, match="CKM_EC_EDWARDS_KEY_PAIR_GEN"):
        keys.generate(KeyOrder(KEY, LogCharter(Algorithm.ED25519, "plant-a.example/log")))
    assert keys.inventory().keys == ()


@pytest.mark.parametrize("foreign", ["nss"], indirect=True)
def test_nss_keeps_no_key_that_it_does_not_vouch_for(foreign: Foreign) -> None:
    """It makes a key, does not say that the key was born there, and the key is destroyed."""
    keys = foreign.store()
    with pytest.raises(KeyExposed, match=r"destroyed: CKA_LOCAL is false; public key: CKA_LOCAL is false$"):
        keys.generate(KeyOrder(KEY, CASES[Purpose.TOKENS].charter))
    assert keys.inventory().keys == ()


def test_every_module_of_the_page_is_tried() -> None:
    """docs/hsm.md has a row for each; where one is missing here, this test says so on a machine that should have it."""
    assert set(WHOLE) | {"nss"} == set(MODULES)
    assert shutil.which("swtpm") is not None or not MODULES["tpm2-pkcs11"].there
