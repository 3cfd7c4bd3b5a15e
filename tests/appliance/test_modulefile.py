"""A PKCS#11 module that somebody else could change is not loaded, and one from nowhere is asked about first."""

import os
import shutil
from pathlib import Path

import pytest

from appliance import modulefile
from appliance.card import CardError, CardFault, open_card
from tests.support.commandline import CTL, run
from tests.support.softhsm import LABEL, MODULE, SoftHsm


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """Return a module that is nobody's but ours, in a folder of its own."""
    folder = tmp_path / "lib"
    folder.mkdir(mode=0o755)
    path = folder / "module.so"
    shutil.copy(MODULE, path)
    path.chmod(0o755)
    return path


def never(_asked: str) -> bool:
    """Answer a question that is not to be asked."""
    raise AssertionError


def fault(module: Path, softhsm: SoftHsm, *, vouched: bool | None = None) -> CardFault | None:
    """Open a card by a module, and give what is wrong with it; `vouched` is what somebody at a terminal says."""
    uri = f"pkcs11:token={LABEL}?module-path={module}"
    allow = never if vouched is None else lambda _module: bool(vouched)
    try:
        open_card(uri, lambda _card: bytearray(b"canary"), softhsm.environment, allow).close()
    except CardError as error:
        return error.fault
    return None


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_who_may_write_it(module: Path, softhsm: SoftHsm, mode: int) -> None:
    """The file, or any folder on its way, writable by group or others: no code of it runs."""
    module.chmod(mode)
    assert fault(module, softhsm) is CardFault.MODULE_OPEN
    module.chmod(0o755)
    module.parent.chmod(mode)
    assert fault(module, softhsm) is CardFault.MODULE_OPEN


def test_whose_it_is(module: Path, softhsm: SoftHsm) -> None:
    """A stranger's file or folder is a stranger's code."""
    os.chown(module, 12345, 12345)
    assert fault(module, softhsm) is CardFault.MODULE_OPEN
    os.chown(module, 0, 0)
    os.chown(module.parent, 12345, 12345)
    assert fault(module, softhsm) is CardFault.MODULE_OPEN


def test_a_link_is_followed(module: Path, softhsm: SoftHsm, tmp_path: Path) -> None:
    """What counts is where the code lies, not what it is called."""
    module.chmod(0o777)
    link = tmp_path / "link.so"
    link.symlink_to(module)
    assert fault(link, softhsm) is CardFault.MODULE_OPEN


def test_a_module_from_nowhere_is_asked_about(module: Path, softhsm: SoftHsm) -> None:
    """Before its code runs somebody has to vouch for it; for one that is installed nobody is asked."""
    assert not modulefile.is_known(module)
    assert fault(module, softhsm, vouched=False) is CardFault.MODULE_NEW
    assert fault(module, softhsm, vouched=True) in {CardFault.NO_KEY, CardFault.WRONG_PIN}
    assert modulefile.is_known(Path(MODULE))
    assert fault(Path(MODULE), softhsm) in {CardFault.NO_KEY, CardFault.WRONG_PIN}


def test_the_appliances_module_too(module: Path) -> None:
    """Tokens are not even listed through a module that others may write."""
    module.chmod(0o777)
    ended = run([*CTL, "token", "list", "--module", module, "--json"])
    assert (ended.code, ended.json["error"]) == (5, "module-open"), ended
