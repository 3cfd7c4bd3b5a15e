"""The two calls of a PKCS#11 module that the binding makes wrongly or not at all, through ctypes.

`C_Initialize` with `CKF_OS_LOCKING_OK`: the binding passes NULL, which promises one thread, and crashes SoftHSM with
two. `C_InitToken`: the binding has none. Knows the C ABI and nothing of the binding.
"""

import ctypes
from collections.abc import Callable

from hsm.ckr import OK, error_for_code
from hsm.errors import ModuleMissing
from hsm.keystore import TOKEN_LABEL

_CKF_OS_LOCKING_OK = 2
# Places in CK_FUNCTION_LIST, whose place 0 is the version (PKCS#11 v2.40 header, unchanged since v2.0).
_INITIALIZE, _FINALIZE, _INIT_TOKEN = 1, 2, 10


class _InitializeArguments(ctypes.Structure):
    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


def initialise(path: str) -> None:
    """Call `C_Initialize`, asking for the operating system's locks; raises `HsmError`."""
    arguments = _InitializeArguments(flags=_CKF_OS_LOCKING_OK)
    function = _function(path, _INITIALIZE, ctypes.c_void_p)
    _check(function(ctypes.byref(arguments)), "starting the PKCS#11 module")


def finalise(path: str) -> None:
    """Call `C_Finalize`; TPM modules leak objects in the device without it. Raises `HsmError`."""
    _check(_function(path, _FINALIZE, ctypes.c_void_p)(None), "stopping the PKCS#11 module")


def initialise_token(path: str, slot: int, label: str, so_pin: bytearray) -> None:
    """Call `C_InitToken` on a slot without a token; the PIN is read where it lies. Raises `HsmError`."""
    padded = label.encode().ljust(TOKEN_LABEL)
    if len(padded) != TOKEN_LABEL:
        raise ValueError(f"a token label of more than {TOKEN_LABEL} bytes")
    function = _function(path, _INIT_TOKEN, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_char_p)
    pin = (ctypes.c_char * len(so_pin)).from_buffer(so_pin)
    _check(function(slot, ctypes.byref(pin), len(so_pin), padded), "initialising the token")


def _function(path: str, place: int, *arguments: type) -> Callable[..., int]:
    functions = ctypes.POINTER(ctypes.c_void_p)()
    try:
        library = ctypes.CDLL(path)
        code = library.C_GetFunctionList(ctypes.byref(functions))
    except (OSError, AttributeError) as error:
        raise ModuleMissing(f"no PKCS#11 module at {path}") from error
    _check(code, "reading the module's function list")
    return ctypes.CFUNCTYPE(ctypes.c_ulong, *arguments)(functions[place] or 0)


def _check(code: int, doing: str) -> None:
    if code != OK:
        raise error_for_code(code, f"{doing} failed")
