"""Every return code and every exception of the binding has a cause and a reaction; none is forgotten."""

import PyKCS11
import pytest
from pkcs11 import exceptions

from hsm import ckr
from hsm.ckr import ROWS, error_for_code, error_for_exception, knows_exception
from hsm.errors import (
    CAUSES,
    HsmError,
    KeyAmbiguous,
    KeyMissing,
    MechanismMissing,
    PinIncorrect,
    PinLocked,
    Reaction,
    TokenAmbiguous,
    TokenFault,
    TokenMissing,
)
from hsm.messages import read_error, write_error

BINDING = sorted(
    name
    for name, item in vars(exceptions).items()
    if isinstance(item, type) and issubclass(item, exceptions.PKCS11Error) and item is not exceptions.PKCS11Error
)
STANDARD = {
    name: code
    for name, code in vars(PyKCS11).items()
    if name.startswith("CKR_") and isinstance(code, int) and name not in {"CKR_OK", "CKR_VENDOR_DEFINED"}
}


def test_no_code_of_the_standard_is_unmapped() -> None:
    """The table has every CKR that another binding's header knows, under the same number."""
    assert len(STANDARD) > 80
    ours = {row.name: row.code for row in ROWS}
    assert STANDARD.items() <= ours.items()


def test_no_code_stands_twice() -> None:
    """Names and numbers are unique."""
    assert len({row.name for row in ROWS}) == len({row.code for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("name", BINDING)
def test_no_exception_of_the_binding_is_unmapped(name: str) -> None:
    """Each class of the binding's exceptions has its row, and becomes an `HsmError` with that row's code."""
    assert knows_exception(name)
    error = error_for_exception(name, "", "signing failed")
    assert isinstance(error, HsmError)
    assert error.reaction in set(Reaction)
    assert error.ckr is None or error.ckr.replace("_", "").lower().startswith("ckr")


def test_an_unknown_exception_is_found_out() -> None:
    """A class that a later binding adds has no row, so the test above fails for it."""
    assert not knows_exception("TokenOnFire")


@pytest.mark.parametrize(
    ("name", "cause", "reaction"),
    [
        ("PinIncorrect", PinIncorrect, Reaction.STOP),
        ("PinLocked", PinLocked, Reaction.STOP),
        ("PinExpired", PinLocked, Reaction.STOP),
        ("UserPinNotInitialized", PinLocked, Reaction.STOP),
        ("ObjectHandleInvalid", TokenFault, Reaction.REINITIALISE),
        ("SessionHandleInvalid", TokenFault, Reaction.REINITIALISE),
        ("GeneralError", TokenFault, Reaction.REINITIALISE),
        ("DeviceRemoved", TokenMissing, Reaction.REINITIALISE),
        ("TokenNotPresent", TokenMissing, Reaction.REINITIALISE),
        ("UserNotLoggedIn", TokenFault, Reaction.RELOGIN),
        ("UserAlreadyLoggedIn", TokenFault, Reaction.RELOGIN),
        ("MechanismInvalid", MechanismMissing, Reaction.REFUSE),
        ("DataLenRange", TokenFault, Reaction.REFUSE),
        ("HostMemory", TokenFault, Reaction.RETRY),
        ("NoSuchKey", KeyMissing, Reaction.REINITIALISE),
        ("MultipleObjectsReturned", KeyAmbiguous, Reaction.REFUSE),
        ("NoSuchToken", TokenMissing, Reaction.REINITIALISE),
        ("MultipleTokensReturned", TokenAmbiguous, Reaction.REINITIALISE),
    ],
)
def test_the_codes_that_matter_react_as_they_should(name: str, cause: type[HsmError], reaction: Reaction) -> None:
    """What was measured on tokens that went away, lost their login or refused a PIN."""
    error = error_for_exception(name, "", "signing failed")
    assert (type(error), error.reaction) == (cause, reaction)


def test_what_the_binding_has_no_class_for_is_read_from_its_text() -> None:
    """Its root class carries the number; a vendor's code, or no number at all, calls for a new worker."""
    known = error_for_exception("PKCS11Error", "Unmapped error code 0x140", "generating a key failed")
    assert (type(known), known.ckr) == (MechanismMissing, "CKR_CURVE_NOT_SUPPORTED")
    for text, name in (("Unmapped error code 0x80000001", "CKR_0x80000001"), ("something else", None)):
        error = error_for_exception("PKCS11Error", text, "signing failed")
        assert (type(error), error.ckr, error.reaction) == (TokenFault, name, Reaction.REINITIALISE)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_error_crosses_the_channel_whole(row: ckr.Row) -> None:
    """Type, sentence, code and reaction are the same on the other side, for every code."""
    error = error_for_code(row.code, "signing failed")
    other = read_error(write_error(error))
    assert type(other) is type(error)
    assert (str(other), other.detail, other.ckr, other.reaction) == (
        f"signing failed ({row.name})",
        "signing failed",
        row.name,
        row.reaction,
    )


def test_ids_are_stable() -> None:
    """Programs and documents know these; add at the end, rename none."""
    assert list(CAUSES) == [
        "module-missing", "token-missing", "token-ambiguous", "token-exists", "pin-missing", "pin-incorrect",
        "pin-locked", "pin-unusable", "key-missing", "key-ambiguous", "key-exists", "key-exposed", "key-mismatch",
        "key-remains", "mechanism-missing", "charter-refused", "signature-wrong", "worker-lost", "worker-timeout",
        "token-fault", "foreign-object", "pin-delayed", "key-unfit", "head-refused",
    ]  # fmt: skip


def test_every_cause_is_in_the_register() -> None:
    """A type that is not in `CAUSES` could not cross the channel."""
    pending, found = [HsmError], set()
    while pending:
        below = pending.pop().__subclasses__()
        found |= set(below)
        pending += below
    assert found == set(CAUSES.values())
