"""What people are told of PKCS#11 modules, and from where a module's variables are seen: by the command line."""

import tomllib
from pathlib import Path

import pytest

from appliance.card import CardError, CardFault
from appliance.cli import failures
from hsm.ckr import ROWS, Row
from hsm.errors import CAUSES, TokenFault
from hsm.tokens import initialise_token
from tests.support.commandline import CTL, Ended, run
from tests.support.founded import EXAMPLE, begin, found
from tests.support.shims import shim
from tests.support.softhsm import MODULE, SoftHsm

CONF = "SOFTHSM2_CONF=softhsm2.conf"


def ctl(*arguments: str | Path, cwd: Path | None = None) -> Ended:
    """Run `coldcredctl` without a home or secrets."""
    return run([*CTL, *arguments], cwd=cwd)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_the_module_answered_is_told(row: Row) -> None:
    """Whatever error a return code becomes, its name stands in what people read, once."""
    error = row.error("signing failed")
    name, detail = failures.describe(error)
    assert (name, detail) == (error.id, f"signing failed ({row.name})")


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_no_cause_loses_the_modules_code(cause: type[TokenFault]) -> None:
    """Each type of error, given a maker's own code."""
    assert failures.describe(cause("what it did", ckr="CKR_0x80000012")) == (cause.id, "what it did (CKR_0x80000012)")
    assert failures.describe(cause("what it did")) == (cause.id, "what it did")


@pytest.mark.parametrize(
    "code",
    ["CKR_OBJECT_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID", "CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED",
     "CKR_DEVICE_REMOVED"],
)  # fmt: skip
def test_a_card_that_went_away_is_lost(code: str) -> None:
    """Handles of a card are gone with it; the module's answer is told beside."""
    (row,) = (row for row in ROWS if row.name == code)
    error = CardError.of(row.error("signing failed"))
    assert error.fault is CardFault.LOST
    assert code in error.detail


def test_the_start_of_a_module_is_told_of(tmp_path: Path) -> None:
    """A module that refuses to start, and a file that is none: with its code, with the loader's words."""
    refusing = shim(tmp_path, "REFUSES_TO_START=0x80000012")
    ended = ctl("token", "list", "--module", refusing)
    assert ended.code == 4
    assert "why   starting the PKCS#11 module failed (CKR_0x80000012)" in ended.err
    (tmp_path / "text.so").write_text("no library")
    ended = ctl("token", "list", "--module", tmp_path / "text.so")
    assert ended.code == 4
    assert "(module-missing)" in ended.err
    assert "file too short" in ended.err or "invalid ELF header" in ended.err


def test_a_slot_passed_over_is_named_in_the_list(softhsm: SoftHsm, tmp_path: Path) -> None:
    """Beside the tokens that can be read, which are listed."""
    initialise_token(MODULE, "other", bytearray(b"officer-7351"), bytearray(b"user-7351"), softhsm.environment)
    ended = ctl("token", "list", "--module", shim(tmp_path, "SLOT"), "--module-env", CONF, cwd=softhsm.folder)
    assert ended.code == 0, ended
    assert softhsm.label in ended.out
    assert "passed over, as it could not be read: slot" in ended.err
    assert "CKR_DEVICE_ERROR" in ended.err


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PYTHONPATH", "SOFTHSM2"])
def test_another_variable_is_refused_before_anything_is_made(
    tmp_path: Path, softhsm_prepared: SoftHsm, name: str
) -> None:
    """By every verb that takes one: misuse, with the list of those that there are."""
    plant = begin(tmp_path, softhsm_prepared)
    variable = ("--module", MODULE, "--module-env", f"{name}=/x")
    people = ("--people", plant.people, "--passphrase-dir", plant.people)
    for words in (("token", "list"), ("init", "all", "--plan", EXAMPLE / "plan.toml", *people)):
        ended = plant.ctl(*words, *variable)
        assert ended.code == 2, ended
        assert name in ended.err
        assert "SOFTHSM2_CONF" in ended.err
        assert "KRYOPTIC_" in ended.err
    assert not plant.home.exists()


def test_a_relative_path_is_kept_absolute(tmp_path: Path, softhsm_prepared: SoftHsm) -> None:
    """What is seen from one folder at the founding is seen from every other later; a second time options are unused."""
    plant = begin(tmp_path, softhsm_prepared)
    people: list[str | Path] = ["--people", plant.people, "--passphrase-dir", plant.people]
    token = f"plant-a-daily=pkcs11:token={softhsm_prepared.label}"
    words: list[str | Path] = [
        "init",
        "all",
        "--plan",
        EXAMPLE / "plan.toml",
        *people,
        "--module",
        MODULE,
        "--token",
        token,
    ]
    ended = run(
        [*CTL, "--home", plant.home, *words, "--module-env", CONF],
        secrets={"--pin-fd": "canary-pin-3907"},
        cwd=plant.folder / "hsm",
    )
    assert ended.code == 0, ended
    settings = tomllib.loads((plant.home / "settings.toml").read_text())
    assert settings["hsm"]["environment"] == {"SOFTHSM2_CONF": str(plant.folder / "hsm" / "softhsm2.conf")}
    wrong = plant.ctl("serve", pin="wrong pin")
    assert wrong.code == 4, wrong
    assert f"logging in to token '{softhsm_prepared.label}' failed (CKR_PIN_INCORRECT)" in wrong.err
    shown = plant.done("log", "show", who="carol")
    (refused,) = (line for line in shown.out.splitlines() if "pin.refused" in line)
    assert "token=plant-a-daily" in refused
    again = found(plant, module=shim(tmp_path, "RAW_POINT"))
    assert (again.code, "is not used" in again.err) == (5, True), again
