"""Modules differ: what the standard leaves open, or a maker reads otherwise, stops nothing and loosens nothing."""

import ctypes.util
import subprocess
import sys
from pathlib import Path

import pytest

from coldcred.charter import Purpose
from hsm.attributes import LEANER, PRIVATE_KEY, PUBLIC_KEY, STAYS
from hsm.errors import HsmError, KeyExposed, ModuleMissing, TokenFault, TokenMissing
from hsm.keystore import KeyOrder
from hsm.tokens import initialise_token, list_tokens
from tests.support.hsm_inputs import CASES, admitted, log_input, signatures, token_input
from tests.support.shims import shim
from tests.support.softhsm import MODULE, SoftHsm

KEY = b"0123456789abcdef"
OTHER = b"another key's id"
GENERAL_ERROR, TYPE_INVALID = "0x5", "0x12"


def signs(softhsm: SoftHsm) -> None:
    """Make a key of each algorithm, have both sign, and find them sound in a new worker."""
    store = softhsm.store()
    public = admitted(store)
    log = admitted(store, Purpose.LOG, OTHER)
    public.verify(signatures(store.sign(KEY, [data := token_input(1, public.thumbprint)]))[0], data)
    log.verify(signatures(store.sign(OTHER, [log_input(1)]))[0], log_input(1))
    store.close()
    inventory = softhsm.store().inventory()
    assert {key.key_id: (key.public, key.faults) for key in inventory.keys} == {KEY: (public, ()), OTHER: (log, ())}
    assert inventory.foreign == ()


@pytest.mark.parametrize(
    "ways",
    [
        (),
        ("RAW_POINT",),
        (f"NO_COPYABLE={GENERAL_ERROR}",),
        (f"NO_COPYABLE={TYPE_INVALID}",),
        ("MUST_DECRYPT",),
        ("MUST_DECRYPT", f"NO_COPYABLE={TYPE_INVALID}"),
        ("CURVE_NAME",),
        ("OWN_OBJECTS",),
        ("LIST_EACH",),
        ("RAW_POINT", "OWN_OBJECTS", "LIST_EACH", "MUST_DECRYPT", f"NO_COPYABLE={GENERAL_ERROR}"),
    ],
    ids="+".join,
)
def test_a_module_that_differs_is_worked_with(softhsm: SoftHsm, tmp_path: Path, ways: tuple[str, ...]) -> None:
    """Keys are made, sign and are found again without faults; what the module shows of itself is not foreign."""
    softhsm.module = shim(tmp_path, *ways)
    signs(softhsm)


@pytest.mark.parametrize("ways", [(), ("MUST_DECRYPT",), (f"NO_COPYABLE={GENERAL_ERROR}",)], ids="+".join)
def test_no_leaner_template_makes_a_key_that_could_leave(
    softhsm: SoftHsm, tmp_path: Path, ways: tuple[str, ...]
) -> None:
    """Seen by another library through SoftHSM itself: whatever was left out, all that keeps a key inside is there."""
    softhsm.module = shim(tmp_path, *ways)
    store = softhsm.store()
    admitted(store)
    store.close()
    softhsm.module = MODULE
    (private,) = (row for row in softhsm.objects() if row["CLASS"] == "CKO_PRIVATE_KEY")
    assert {name: bool(private[name]) for name in STAYS} == {name: PRIVATE_KEY[name] for name in STAYS}
    assert softhsm.tool("extract") == ["hidden", "CKR_KEY_UNEXTRACTABLE"]


def test_nothing_that_keeps_a_key_inside_is_ever_left_out() -> None:
    """No template lacks an attribute that says a key stays, and each is one that a key is held to."""
    assert LEANER[0] == frozenset()
    assert all(
        not without & (STAYS | {"TOKEN", "SIGN", "DERIVE", "UNWRAP", "WRAP", "MODIFIABLE"}) for without in LEANER
    )
    assert PRIVATE_KEY.keys() >= STAYS
    assert frozenset().union(*LEANER) <= PRIVATE_KEY.keys() | PUBLIC_KEY.keys()


def test_a_key_that_need_not_have_been_born_here_is_destroyed(softhsm: SoftHsm, tmp_path: Path) -> None:
    """A module that does not say CKA_LOCAL of what it made (as NSS) keeps no key of ours."""
    softhsm.module = shim(tmp_path, "NOT_LOCAL")
    store = softhsm.store()
    with pytest.raises(KeyExposed, match="destroyed: CKA_LOCAL is false"):
        store.generate(KeyOrder(KEY, CASES[Purpose.TOKENS].charter))
    assert store.inventory().keys == ()


@pytest.mark.parametrize("way", ["TOKEN", "SLOT"])
def test_a_broken_slot_hides_no_other(softhsm: SoftHsm, tmp_path: Path, way: str) -> None:
    """It is passed over and named, in the list and in what is said when a token is not found."""
    made = softhsm.store().inventory().token
    initialise_token(MODULE, "other", bytearray(b"officer-7351"), bytearray(b"user-7351"), softhsm.environment)
    softhsm.module = shim(tmp_path, way)
    found = list_tokens(softhsm.module, softhsm.environment)
    assert found.tokens == (made,)
    (line,) = found.unread
    assert line.startswith("slot ")
    assert line.endswith("(CKR_DEVICE_ERROR)")
    signs(softhsm)
    softhsm.label = "other"
    with pytest.raises(TokenMissing, match=r"passed over, as they could not be read: slot .*CKR_DEVICE_ERROR"):
        softhsm.store().inventory()
    third = initialise_token(
        softhsm.module, "third", bytearray(b"officer-7351"), bytearray(b"user-7351"), softhsm.environment
    )
    assert third.label == "third"


@pytest.mark.parametrize(
    ("code", "name"),
    [(0x30, "CKR_DEVICE_ERROR"), (0x7, "CKR_ARGUMENTS_BAD"), (0x80000012, "CKR_0x80000012"), (0xA, "CKR_CANT_LOCK")],
)
def test_what_a_module_answers_at_its_start_is_told(softhsm: SoftHsm, tmp_path: Path, code: int, name: str) -> None:
    """The name of the code, or its number where it is a maker's own."""
    with pytest.raises(HsmError, match="starting the PKCS#11 module failed") as caught:
        list_tokens(shim(tmp_path, f"REFUSES_TO_START={code:#x}"), softhsm.environment)
    assert isinstance(caught.value, TokenFault | ModuleMissing)
    assert caught.value.ckr == name
    assert name in str(caught.value)


def test_what_the_loader_says_is_told(softhsm: SoftHsm, tmp_path: Path) -> None:
    """Of a text, a folder, a library that is no module, a missing file, and one that needs what is not there."""
    text, needy = tmp_path / "text.so", tmp_path / "needy.so"
    text.write_text("no library\n")
    (tmp_path / "gone.c").write_text("int gone(void) { return 0; }\n")
    gone = tmp_path / "libgone.so"
    subprocess.run(["cc", "-shared", "-o", str(gone), str(tmp_path / "gone.c")], check=True)
    (tmp_path / "needy.c").write_text("int gone(void); int C_GetFunctionList(void) { return gone(); }\n")
    subprocess.run(["cc", "-shared", "-o", str(needy), str(tmp_path / "needy.c"), str(gone)], check=True)
    gone.unlink()
    for path, said in {
        text: "file too short|invalid ELF header",
        tmp_path: "Is a directory",
        Path("/nowhere/libnone.so"): "No such file or directory",
        needy: "libgone.so: cannot open shared object file",
        Path(ctypes.util.find_library("z") or "libz.so.1"): "undefined symbol: C_GetFunctionList",
    }.items():
        with pytest.raises(ModuleMissing, match=said):
            list_tokens(str(path), softhsm.environment)


def test_the_list_that_is_started_is_the_one_that_is_called() -> None:
    """The place from which it is read in the binding's object is where the module's own list stands."""
    program = f"""
import ctypes.util
from hsm import slots
from pkcs11 import _pkcs11
assert _pkcs11.HasFuncList.__basicsize__ == object.__basicsize__ + 3 * ctypes.sizeof(ctypes.c_void_p)
seen = []
honest = slots.native.FunctionList
slots.native.FunctionList = lambda address: seen.append(address) or honest(address)
module = slots.load({MODULE!r})
own = ctypes.POINTER(ctypes.c_void_p)()
ctypes.CDLL({MODULE!r}).C_GetFunctionList(ctypes.byref(own))
assert seen == [ctypes.addressof(own.contents)], seen
place = ctypes.c_void_p.from_address(id(module) + object.__basicsize__)
assert place.value == module.functions.address
print("same")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "same\n", done.stderr
