"""Listing tokens and making new ones, without loading the module into the caller's process."""

import sys
from pathlib import Path

import pytest

from hsm.errors import HsmError, ModuleMissing, PinIncorrect, PinUnusable, TokenExists
from hsm.supervisor import WorkerKeyStore
from hsm.tokens import initialise_token, list_tokens
from hsm.uri import TokenUri
from tests.support.hsm_inputs import admitted
from tests.support.softhsm import MODULE, SoftHsm


@pytest.fixture
def empty(tmp_path: Path) -> SoftHsm:
    """Return a configuration without any token."""
    made = SoftHsm(tmp_path / "empty")
    made.configure()
    return made


def test_a_new_token_is_ready_for_keys(empty: SoftHsm) -> None:
    """Initialised, listed, logged in with its PIN, and given a key; the buffers of both PINs are wiped."""
    assert list_tokens(MODULE, empty.environment).tokens == ()
    so_pin, pin = bytearray(b"officer-7351"), bytearray(b"user-7351")
    made = initialise_token(MODULE, "coldcred-daily", so_pin, pin, empty.environment)
    assert (so_pin, pin) == (bytearray(12), bytearray(9))
    assert made.label == "coldcred-daily"
    assert list_tokens(MODULE, empty.environment).tokens == (made,)
    uri = TokenUri(token=made.label, serial=made.serial)
    store = WorkerKeyStore(MODULE, uri, lambda: bytearray(b"user-7351"), environment=empty.environment)
    empty.stores.append(store)
    admitted(store)
    assert store.inventory().token == made
    empty.close()


def test_several_tokens_stand_side_by_side(empty: SoftHsm) -> None:
    """Each in a slot of its own, with its own serial; a label of full width and beyond ASCII is kept whole."""
    labels = ["coldcred-daily", "x" * 32, "été"]
    for label in labels:
        initialise_token(MODULE, label, bytearray(b"officer-7351"), bytearray(b"user-7351"), empty.environment)
    found = list_tokens(MODULE, empty.environment).tokens
    assert sorted(token.label for token in found) == sorted(labels)
    assert len({token.serial for token in found}) == 3


def test_a_token_is_never_initialised_anew(softhsm: SoftHsm) -> None:
    """A label that is taken is refused, and the token keeps its keys and its PIN."""
    store = softhsm.store()
    public = admitted(store)
    store.close()
    with pytest.raises(TokenExists, match=softhsm.label):
        initialise_token(
            MODULE, softhsm.label, bytearray(b"officer-7351"), bytearray(b"user-7351"), softhsm.environment
        )
    assert [key.public for key in softhsm.store().inventory().keys] == [public]


def test_the_officers_pin_is_not_the_users(empty: SoftHsm) -> None:
    """The PIN of the security officer opens nothing for the user."""
    initialise_token(MODULE, "coldcred-daily", bytearray(b"officer-7351"), bytearray(b"user-7351"), empty.environment)
    uri = TokenUri(token="coldcred-daily")
    store = WorkerKeyStore(MODULE, uri, lambda: bytearray(b"officer-7351"), environment=empty.environment)
    with pytest.raises(PinIncorrect):
        store.inventory()
    store.close()


def test_an_officers_pin_the_token_does_not_take_is_refused(empty: SoftHsm) -> None:
    """SoftHSM wants four characters; the refusal says that the PIN is unusable, and no token was made."""
    with pytest.raises(PinUnusable):
        initialise_token(MODULE, "coldcred-daily", bytearray(b"so"), bytearray(b"user-7351"), empty.environment)
    assert list_tokens(MODULE, empty.environment).tokens == ()


def test_a_token_made_by_half_is_finished(empty: SoftHsm) -> None:
    """When the user's PIN is refused after the token was made, doing it again with a better one finishes that token."""
    label = "coldcred-daily"
    with pytest.raises(PinUnusable):
        initialise_token(MODULE, label, bytearray(b"officer-7351"), bytearray(b"us"), empty.environment)
    with pytest.raises(PinIncorrect):
        initialise_token(MODULE, label, bytearray(b"another-7351"), bytearray(b"user-7351"), empty.environment)
    made = initialise_token(MODULE, label, bytearray(b"officer-7351"), bytearray(b"user-7351"), empty.environment)
    assert list_tokens(MODULE, empty.environment).tokens == (made,)
    with pytest.raises(TokenExists):
        initialise_token(MODULE, label, bytearray(b"officer-7351"), bytearray(b"user-7351"), empty.environment)
    uri = TokenUri(token=label)
    store = WorkerKeyStore(MODULE, uri, lambda: bytearray(b"user-7351"), environment=empty.environment)
    assert store.inventory().token == made
    store.close()


@pytest.mark.parametrize("label", ["", "x" * 33, "é" * 17])
def test_an_impossible_label_is_misuse(empty: SoftHsm, label: str) -> None:
    """No label, or one wider than a token's, is a `ValueError`, and the PINs are wiped all the same."""
    pin = bytearray(b"user-7351")
    with pytest.raises(ValueError, match="label"):
        initialise_token(MODULE, label, bytearray(b"officer-7351"), pin, empty.environment)
    assert pin == bytearray(9)


def test_an_impossible_pin_is_misuse(empty: SoftHsm) -> None:
    """No PIN at all is a `ValueError`, and no worker is left over."""
    with pytest.raises(ValueError, match="secret"):
        initialise_token(MODULE, "coldcred-daily", bytearray(b"officer-7351"), bytearray(), empty.environment)
    assert list_tokens(MODULE, empty.environment).tokens == ()


def test_a_missing_module_is_said(empty: SoftHsm) -> None:
    """Both ask a worker, and both give its error."""
    with pytest.raises(ModuleMissing):
        list_tokens("/nowhere/libnone.so", empty.environment)
    with pytest.raises(HsmError):
        initialise_token("/nowhere/libnone.so", "x", bytearray(b"1234"), bytearray(b"1234"), empty.environment)


def test_the_callers_process_never_loads_the_module(softhsm: SoftHsm) -> None:
    """After all this the library is in no mapping of this process, and the binding was not imported for it."""
    list_tokens(MODULE, softhsm.environment)
    softhsm.store().inventory()
    assert "libsofthsm2" not in Path("/proc/self/maps").read_text()
    assert "hsm.supervisor" in sys.modules
