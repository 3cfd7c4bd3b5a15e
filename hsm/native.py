"""What the binding does wrongly or not at all with a module's list of functions, through ctypes.

`C_Initialize` with `CKF_OS_LOCKING_OK`: the binding passes NULL, which promises one thread, and crashes SoftHSM with
two. `C_InitToken`: the binding has none. `C_GetSlotList`: the binding ends at the first slot that gives no answer.
All on the very list that the binding holds, since p11-kit gives each caller another one and each is started for
itself. Knows the C ABI and nothing of the binding.
"""

import ctypes
from collections.abc import Callable

from hsm.ckr import OK, error_for_code
from hsm.keystore import TOKEN_LABEL

_CKF_OS_LOCKING_OK = 2
_BUFFER_TOO_SMALL = 0x150
# CK_FUNCTION_LIST of v2.40 (unchanged since v2.0): the version in place 0, then 68 functions.
_PLACES = 69
_INITIALIZE, _FINALIZE, _GET_SLOT_LIST, _GET_SLOT_INFO, _INIT_TOKEN = 1, 2, 5, 6, 10
_SLOT_INFO = 256  # more than a CK_SLOT_INFO has

_Number = ctypes.c_ulong
_Numbers = ctypes.POINTER(_Number)
_SlotList = ctypes.CFUNCTYPE(_Number, ctypes.c_ubyte, _Numbers, _Numbers)


class _InitializeArguments(ctypes.Structure):
    # The last two differ by author: PKCS#11 ends with one reserved pointer, which NSS reads as its parameters and
    # follows with a reserved one of its own.
    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("parameters", ctypes.c_char_p),
        ("reserved", ctypes.c_void_p),
    )


class FunctionList:
    """A copy of a module's list of functions whose list of slots leaves out those that give no answer.

    `address` is for whoever calls through it, for as long as this object lives. `silent` are the slots left out the
    last time: the slot's number and the code it answered with.
    """

    def __init__(self, original: int) -> None:
        """Copy the list that stands at the address `original`."""
        self._places = (ctypes.c_void_p * _PLACES).from_buffer_copy((ctypes.c_void_p * _PLACES).from_address(original))
        self._slot_list = self._function(_GET_SLOT_LIST, ctypes.c_ubyte, _Numbers, _Numbers)
        self._slot_info = self._function(_GET_SLOT_INFO, _Number, ctypes.c_void_p)
        self._ours = _SlotList(self._answering_slots)
        self._places[_GET_SLOT_LIST] = ctypes.cast(self._ours, ctypes.c_void_p)
        self.address = ctypes.addressof(self._places)
        self.silent: dict[int, int] = {}

    def initialise(self, parameters: str | None = None) -> None:
        """Call `C_Initialize`, asking for the operating system's locks; raises `HsmError`.

        `parameters` are those that NSS wants; other modules refuse any.
        """
        arguments = _InitializeArguments(
            flags=_CKF_OS_LOCKING_OK, parameters=None if parameters is None else parameters.encode()
        )
        function = self._function(_INITIALIZE, ctypes.c_void_p)
        _check(function(ctypes.byref(arguments)), "starting the PKCS#11 module")

    def finalise(self) -> None:
        """Call `C_Finalize`; TPM modules leak objects in the device without it. Raises `HsmError`."""
        _check(self._function(_FINALIZE, ctypes.c_void_p)(None), "stopping the PKCS#11 module")

    def initialise_token(self, slot: int, label: str, so_pin: bytearray) -> None:
        """Call `C_InitToken` on a slot without a token; the PIN is read where it lies. Raises `HsmError`."""
        padded = label.encode().ljust(TOKEN_LABEL)
        if len(padded) != TOKEN_LABEL:
            raise ValueError(f"a token label of more than {TOKEN_LABEL} bytes")
        function = self._function(_INIT_TOKEN, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_char_p)
        pin = (ctypes.c_char * len(so_pin)).from_buffer(so_pin)
        _check(function(slot, ctypes.byref(pin), len(so_pin), padded), "initialising the token")

    def _function(self, place: int, *arguments: type) -> Callable[..., int]:
        return ctypes.CFUNCTYPE(_Number, *arguments)(self._places[place] or 0)

    def _answering_slots(
        self, present: int, slots: "ctypes._Pointer[_Number]", count: "ctypes._Pointer[_Number]"
    ) -> int:
        """Stand in for `C_GetSlotList`; nothing may be raised into C."""
        total = _Number()
        code = self._slot_list(present, None, ctypes.byref(total))
        found = (_Number * total.value)()
        if code == OK and total.value:
            code = self._slot_list(present, found, ctypes.byref(total))
        if code != OK:
            return code
        information = ctypes.create_string_buffer(_SLOT_INFO)
        answers = {slot: self._slot_info(slot, information) for slot in found[: total.value]}
        self.silent = {slot: answer for slot, answer in answers.items() if answer != OK}
        sound = [slot for slot in answers if slot not in self.silent]
        room, count[0] = count[0], len(sound)
        if slots:  # type: ignore[truthy-bool] # NULL is false
            if room < len(sound):
                return _BUFFER_TOO_SMALL
            for place, slot in enumerate(sound):
                slots[place] = slot
        return OK


def _check(code: int, doing: str) -> None:
    if code != OK:
        raise error_for_code(code, f"{doing} failed")
