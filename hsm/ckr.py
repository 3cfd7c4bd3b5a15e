"""Every return code of PKCS#11 (its header, v3.2): which cause it is and what it calls for.

The codes stand here as numbers and names so that nothing but `hsm.cryptoki` needs the binding. A test compares the
table with the constants and exceptions of two bindings and fails on one that is missing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hsm.errors import (
    HsmError,
    KeyAmbiguous,
    KeyMissing,
    MechanismMissing,
    ModuleMissing,
    PinIncorrect,
    PinLocked,
    PinUnusable,
    Reaction,
    TokenAmbiguous,
    TokenFault,
    TokenMissing,
)

OK = 0
_RETRY, _RELOGIN, _AGAIN = Reaction.RETRY, Reaction.RELOGIN, Reaction.REINITIALISE
_REFUSE, _STOP = Reaction.REFUSE, Reaction.STOP


@dataclass(frozen=True, slots=True)
class Row:
    """One return code: its name in the standard, its number, what it calls for and the type that says so."""

    name: str
    code: int
    reaction: Reaction
    cause: type[HsmError] = TokenFault

    def error(self, detail: str) -> HsmError:
        """Build the error for this code."""
        return self.cause(detail, ckr=self.name, reaction=self.reaction)


ROWS: tuple[Row, ...] = (
    Row("CKR_CANCEL", 0x001, _RETRY),
    Row("CKR_HOST_MEMORY", 0x002, _RETRY),
    Row("CKR_SLOT_ID_INVALID", 0x003, _AGAIN),
    Row("CKR_GENERAL_ERROR", 0x005, _AGAIN),
    Row("CKR_FUNCTION_FAILED", 0x006, _AGAIN),
    Row("CKR_ARGUMENTS_BAD", 0x007, _REFUSE),
    Row("CKR_NO_EVENT", 0x008, _REFUSE),
    Row("CKR_NEED_TO_CREATE_THREADS", 0x009, _STOP, ModuleMissing),
    Row("CKR_CANT_LOCK", 0x00A, _STOP, ModuleMissing),
    Row("CKR_ATTRIBUTE_READ_ONLY", 0x010, _REFUSE),
    Row("CKR_ATTRIBUTE_SENSITIVE", 0x011, _REFUSE),
    Row("CKR_ATTRIBUTE_TYPE_INVALID", 0x012, _REFUSE),
    Row("CKR_ATTRIBUTE_VALUE_INVALID", 0x013, _REFUSE),
    Row("CKR_ACTION_PROHIBITED", 0x01B, _REFUSE),
    Row("CKR_DATA_INVALID", 0x020, _REFUSE),
    Row("CKR_DATA_LEN_RANGE", 0x021, _REFUSE),
    Row("CKR_DEVICE_ERROR", 0x030, _AGAIN),
    Row("CKR_DEVICE_MEMORY", 0x031, _RETRY),
    Row("CKR_DEVICE_REMOVED", 0x032, _AGAIN, TokenMissing),
    Row("CKR_ENCRYPTED_DATA_INVALID", 0x040, _REFUSE),
    Row("CKR_ENCRYPTED_DATA_LEN_RANGE", 0x041, _REFUSE),
    Row("CKR_AEAD_DECRYPT_FAILED", 0x042, _REFUSE),
    Row("CKR_FUNCTION_CANCELED", 0x050, _RETRY),
    Row("CKR_FUNCTION_NOT_PARALLEL", 0x051, _REFUSE),
    Row("CKR_FUNCTION_NOT_SUPPORTED", 0x054, _REFUSE, MechanismMissing),
    Row("CKR_KEY_HANDLE_INVALID", 0x060, _AGAIN),
    Row("CKR_KEY_SIZE_RANGE", 0x062, _REFUSE),
    Row("CKR_KEY_TYPE_INCONSISTENT", 0x063, _REFUSE),
    Row("CKR_KEY_NOT_NEEDED", 0x064, _REFUSE),
    Row("CKR_KEY_CHANGED", 0x065, _AGAIN),
    Row("CKR_KEY_NEEDED", 0x066, _REFUSE),
    Row("CKR_KEY_INDIGESTIBLE", 0x067, _REFUSE),
    Row("CKR_KEY_FUNCTION_NOT_PERMITTED", 0x068, _REFUSE),
    Row("CKR_KEY_NOT_WRAPPABLE", 0x069, _REFUSE),
    Row("CKR_KEY_UNEXTRACTABLE", 0x06A, _REFUSE),
    Row("CKR_MECHANISM_INVALID", 0x070, _REFUSE, MechanismMissing),
    Row("CKR_MECHANISM_PARAM_INVALID", 0x071, _REFUSE, MechanismMissing),
    Row("CKR_OBJECT_HANDLE_INVALID", 0x082, _AGAIN),
    Row("CKR_OPERATION_ACTIVE", 0x090, _AGAIN),
    Row("CKR_OPERATION_NOT_INITIALIZED", 0x091, _AGAIN),
    Row("CKR_PIN_INCORRECT", 0x0A0, _STOP, PinIncorrect),
    Row("CKR_PIN_INVALID", 0x0A1, _REFUSE, PinUnusable),
    Row("CKR_PIN_LEN_RANGE", 0x0A2, _REFUSE, PinUnusable),
    Row("CKR_PIN_EXPIRED", 0x0A3, _STOP, PinLocked),
    Row("CKR_PIN_LOCKED", 0x0A4, _STOP, PinLocked),
    Row("CKR_SESSION_CLOSED", 0x0B0, _AGAIN),
    Row("CKR_SESSION_COUNT", 0x0B1, _AGAIN),
    Row("CKR_SESSION_HANDLE_INVALID", 0x0B3, _AGAIN),
    Row("CKR_SESSION_PARALLEL_NOT_SUPPORTED", 0x0B4, _REFUSE),
    Row("CKR_SESSION_READ_ONLY", 0x0B5, _REFUSE),
    Row("CKR_SESSION_EXISTS", 0x0B6, _AGAIN),
    Row("CKR_SESSION_READ_ONLY_EXISTS", 0x0B7, _AGAIN),
    Row("CKR_SESSION_READ_WRITE_SO_EXISTS", 0x0B8, _AGAIN),
    Row("CKR_SIGNATURE_INVALID", 0x0C0, _REFUSE),
    Row("CKR_SIGNATURE_LEN_RANGE", 0x0C1, _REFUSE),
    Row("CKR_TEMPLATE_INCOMPLETE", 0x0D0, _REFUSE),
    Row("CKR_TEMPLATE_INCONSISTENT", 0x0D1, _REFUSE),
    Row("CKR_TOKEN_NOT_PRESENT", 0x0E0, _AGAIN, TokenMissing),
    Row("CKR_TOKEN_NOT_RECOGNIZED", 0x0E1, _AGAIN, TokenMissing),
    Row("CKR_TOKEN_WRITE_PROTECTED", 0x0E2, _REFUSE),
    Row("CKR_UNWRAPPING_KEY_HANDLE_INVALID", 0x0F0, _REFUSE),
    Row("CKR_UNWRAPPING_KEY_SIZE_RANGE", 0x0F1, _REFUSE),
    Row("CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", 0x0F2, _REFUSE),
    Row("CKR_USER_ALREADY_LOGGED_IN", 0x100, _RELOGIN),
    Row("CKR_USER_NOT_LOGGED_IN", 0x101, _RELOGIN),
    Row("CKR_USER_PIN_NOT_INITIALIZED", 0x102, _STOP, PinLocked),
    Row("CKR_USER_TYPE_INVALID", 0x103, _REFUSE),
    Row("CKR_USER_ANOTHER_ALREADY_LOGGED_IN", 0x104, _RELOGIN),
    Row("CKR_USER_TOO_MANY_TYPES", 0x105, _RELOGIN),
    Row("CKR_WRAPPED_KEY_INVALID", 0x110, _REFUSE),
    Row("CKR_WRAPPED_KEY_LEN_RANGE", 0x112, _REFUSE),
    Row("CKR_WRAPPING_KEY_HANDLE_INVALID", 0x113, _REFUSE),
    Row("CKR_WRAPPING_KEY_SIZE_RANGE", 0x114, _REFUSE),
    Row("CKR_WRAPPING_KEY_TYPE_INCONSISTENT", 0x115, _REFUSE),
    Row("CKR_RANDOM_SEED_NOT_SUPPORTED", 0x120, _REFUSE),
    Row("CKR_RANDOM_NO_RNG", 0x121, _REFUSE),
    Row("CKR_DOMAIN_PARAMS_INVALID", 0x130, _REFUSE, MechanismMissing),
    Row("CKR_CURVE_NOT_SUPPORTED", 0x140, _REFUSE, MechanismMissing),
    Row("CKR_BUFFER_TOO_SMALL", 0x150, _AGAIN),
    Row("CKR_SAVED_STATE_INVALID", 0x160, _REFUSE),
    Row("CKR_INFORMATION_SENSITIVE", 0x170, _REFUSE),
    Row("CKR_STATE_UNSAVEABLE", 0x180, _REFUSE),
    Row("CKR_CRYPTOKI_NOT_INITIALIZED", 0x190, _AGAIN),
    Row("CKR_CRYPTOKI_ALREADY_INITIALIZED", 0x191, _AGAIN),
    Row("CKR_MUTEX_BAD", 0x1A0, _AGAIN),
    Row("CKR_MUTEX_NOT_LOCKED", 0x1A1, _AGAIN),
    Row("CKR_NEW_PIN_MODE", 0x1B0, _STOP, PinLocked),
    Row("CKR_NEXT_OTP", 0x1B1, _STOP, PinLocked),
    Row("CKR_EXCEEDED_MAX_ITERATIONS", 0x1B5, _RETRY),
    Row("CKR_FIPS_SELF_TEST_FAILED", 0x1B6, _STOP),
    Row("CKR_LIBRARY_LOAD_FAILED", 0x1B7, _AGAIN, ModuleMissing),
    Row("CKR_PIN_TOO_WEAK", 0x1B8, _REFUSE, PinUnusable),
    Row("CKR_PUBLIC_KEY_INVALID", 0x1B9, _REFUSE),
    Row("CKR_FUNCTION_REJECTED", 0x200, _REFUSE),
    Row("CKR_TOKEN_RESOURCE_EXCEEDED", 0x201, _RETRY),
    Row("CKR_OPERATION_CANCEL_FAILED", 0x202, _AGAIN),
    Row("CKR_KEY_EXHAUSTED", 0x203, _REFUSE),
    Row("CKR_PENDING", 0x204, _AGAIN),
    Row("CKR_SESSION_ASYNC_NOT_SUPPORTED", 0x205, _REFUSE),
    Row("CKR_SEED_RANDOM_REQUIRED", 0x206, _REFUSE),
    Row("CKR_OPERATION_NOT_VALIDATED", 0x207, _REFUSE),
    Row("CKR_TOKEN_NOT_INITIALIZED", 0x208, _AGAIN, TokenMissing),
    Row("CKR_PARAMETER_SET_NOT_SUPPORTED", 0x209, _REFUSE, MechanismMissing),
)
"""All codes but CKR_OK and the open range from CKR_VENDOR_DEFINED (0x80000000) on."""

BY_CODE: Mapping[int, Row] = MappingProxyType({row.code: row for row in ROWS})

_ODD_NAMES = {
    "AnotherUserAlreadyLoggedIn": "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
    "FunctionCancelled": "CKR_FUNCTION_CANCELED",
    "RandomNoRNG": "CKR_RANDOM_NO_RNG",
    "SessionReadWriteSOExists": "CKR_SESSION_READ_WRITE_SO_EXISTS",
    "SlotIDInvalid": "CKR_SLOT_ID_INVALID",
    "TokenNotRecognised": "CKR_TOKEN_NOT_RECOGNIZED",
}
_BY_EXCEPTION: Mapping[str, Row] = MappingProxyType(
    {"".join(part.capitalize() for part in row.name.split("_")[1:]): row for row in ROWS}
    | {odd: row for odd, name in _ODD_NAMES.items() for row in ROWS if row.name == name}
)
_WITHOUT_CODE: Mapping[str, type[HsmError]] = MappingProxyType(
    {
        "MultipleObjectsReturned": KeyAmbiguous,
        "MultipleTokensReturned": TokenAmbiguous,
        "NoSuchKey": KeyMissing,
        "NoSuchToken": TokenMissing,
    }
)
_CODE_IN_TEXT = re.compile(r"0x([0-9a-f]{1,16})\b")


def error_for_code(code: int, detail: str) -> HsmError:
    """Build the error for a return code; one that no standard knows (a vendor's) calls for a new worker."""
    row = BY_CODE.get(code)
    if row is None:
        return TokenFault(detail, ckr=f"CKR_0x{code:x}", reaction=Reaction.REINITIALISE)
    return row.error(detail)


def knows_exception(name: str) -> bool:
    """Whether an exception class of the binding, by its name, has a place in the table."""
    return name in _BY_EXCEPTION or name in _WITHOUT_CODE


def error_for_exception(name: str, text: str, detail: str) -> HsmError:
    """Build the error for an exception of the binding from its class name and text.

    The binding names most codes by a class; the rest come as its root class with the number in the text.
    """
    if name in _BY_EXCEPTION:
        return _BY_EXCEPTION[name].error(detail)
    if name in _WITHOUT_CODE:
        return _WITHOUT_CODE[name](detail)
    number = _CODE_IN_TEXT.search(text)
    if number is not None:
        return error_for_code(int(number[1], 16), detail)
    return TokenFault(detail, ckr=None, reaction=Reaction.REINITIALISE)
