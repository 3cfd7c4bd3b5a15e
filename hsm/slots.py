"""A PKCS#11 module, loaded and started, and the tokens in its slots: one of the two modules that know the binding.

One slot that gives no answer hides no other: it is passed over and named. Nothing of the binding leaves this floor:
what it raises becomes an `HsmError` in `translated`.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pkcs11 import PKCS11Error, TokenFlag, _pkcs11, types

from hsm import native
from hsm.ckr import error_for_code, error_for_exception
from hsm.errors import (
    HsmError,
    ModuleMissing,
    PinIncorrect,
    PinUnusable,
    Reaction,
    TokenAmbiguous,
    TokenExists,
    TokenFault,
    TokenMissing,
)
from hsm.keystore import Slots, TokenInfo
from hsm.uri import TokenUri

PARAMETERS = "NSS_LIB_PARAMS"
"""The variable whose value NSS is started with, as it reads no other word of where its database is."""

# What the binding raises besides its own exceptions when a module answers what no module should: unknown classes and
# key types (ValueError), lengths (struct.error, MemoryError), a key that may not sign and so lacks the method.
_FOREIGN_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
# The answers of a slot that is merely empty, or that waits for its token to be made (kryoptic's way to say so).
_EMPTY, _FREE = "CKR_TOKEN_NOT_PRESENT", "CKR_TOKEN_NOT_INITIALIZED"
_NAMED = 8


class Pin:
    """A PIN the binding can read where it lies, and that can be wiped; `repr` shows nothing of it."""

    __slots__ = ("_buffer",)

    def __init__(self, buffer: bytearray) -> None:
        """Keep `buffer` itself, not a copy."""
        self._buffer = buffer

    def encode(self, *_: object) -> bytearray:
        """Give the buffer, as the binding asks text for its bytes."""
        return self._buffer

    def wipe(self) -> None:
        """Overwrite the PIN."""
        self._buffer[:] = bytes(len(self._buffer))


class Module(_pkcs11.lib):
    """A loaded module that was told the process may have threads."""

    functions: native.FunctionList

    def initialize(self) -> None:
        """Start the module; the binding's own constructor calls this, and its own version passes NULL."""
        # The binding's objects begin with three pointers to lists of functions and tell nobody what they hold. A
        # test compares this one with the module's own answer.
        place = ctypes.c_void_p.from_address(id(self) + object.__basicsize__)
        self.functions = native.FunctionList(place.value or 0)
        place.value = self.functions.address
        self.functions.initialise(os.environ.get(PARAMETERS))

    def finalize(self) -> None:
        """Stop the module, once, when nothing uses it any more."""
        self.functions.finalise()


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Let no exception of the binding escape."""
    try:
        yield
    except PKCS11Error as error:
        raise error_for_exception(type(error).__name__, str(error), f"{doing} failed") from error
    except _FOREIGN_FAULTS as error:
        raise TokenFault(
            f"{doing} failed: the module gave an answer that cannot be read ({type(error).__name__})",
            reaction=Reaction.REINITIALISE,
        ) from error


def load(path: str) -> Module:
    """Load and start the module at `path`; raises `ModuleMissing`, with the loader's words, or another `HsmError`."""
    try:
        with translated("loading the PKCS#11 module"):
            return Module(path)
    except TokenFault as error:
        if error.ckr is not None:
            raise
        said = str(error.__cause__).removeprefix(f"OS exception while loading {path}: ")
        raise ModuleMissing(f"no PKCS#11 module at {path}: {said}") from error


def tokens(path: str) -> Slots:
    """Give every initialised token of the module at `path`, and the slots passed over; raises `HsmError`."""
    with _loaded(path) as module:
        found, unread = initialised(module)
        return Slots(tuple(info for _, info in found), unread)


@contextmanager
def _loaded(path: str) -> Iterator[Module]:
    module = load(path)
    try:
        yield module
    finally:
        with suppress(HsmError):
            module.finalize()


def initialised(module: Module) -> tuple[list[tuple[types.Token, TokenInfo]], tuple[str, ...]]:
    """Give each initialised token, and a line for each slot whose token could not be read."""
    found: list[tuple[types.Token, TokenInfo]] = []
    unread: list[str] = []
    for slot in _slots(module, unread):
        try:
            with translated("reading the token"):
                token = slot.get_token()
                if token.flags & TokenFlag.TOKEN_INITIALIZED:
                    found.append((token, _info(token)))
        except HsmError as error:
            if error.ckr not in {_EMPTY, _FREE}:
                unread.append(f"slot {slot.slot_id} ({error.ckr or error.detail})")
    return found, tuple(unread)


def _slots(module: Module, unread: list[str], *, present: bool = False) -> list[types.Slot]:
    with translated("listing the slots"):
        slots = list(module.get_slots(token_present=present))
    for number, code in module.functions.silent.items():
        unread.append(f"slot {number} ({error_for_code(code, '').ckr})")
    return slots


def _info(token: types.Token) -> TokenInfo:
    serial = token.serial.rstrip(b"\0 ").decode("utf-8", errors="replace")
    return TokenInfo(token.label, serial, token.manufacturer_id, token.model)


def initialise_token(path: str, label: str, so_pin: bytearray, pin: bytearray) -> TokenInfo:
    """Make a new token in the first free slot, with its two PINs; both buffers are wiped.

    A token of that label which never got its user PIN is one that was made by half; it is finished. Raises
    `TokenExists` when a token has that label, `TokenMissing` when no slot is free, `PinUnusable`, `PinIncorrect` (of
    the security officer, for a token made by half), or another `HsmError`.
    """
    officer, user = Pin(so_pin), Pin(pin)
    try:
        with _loaded(path) as module:
            begun = [token for token, info in initialised(module)[0] if info.label == label]
            if any(token.flags & TokenFlag.USER_PIN_INITIALIZED for token in begun):
                raise TokenExists(f"a token labelled {label!a} exists; it is left as it is")
            if not begun:
                _make(module, label, so_pin)
            token, info = the_token(module, TokenUri(token=label))
            with translated("setting the user PIN"), token.open(rw=True, so_pin=officer) as session:
                session.init_pin(user)  # type: ignore[arg-type] # encode() is all the binding asks of a PIN
            return info
    finally:
        officer.wipe()
        user.wipe()


def _make(module: Module, label: str, so_pin: bytearray) -> None:
    try:
        module.functions.initialise_token(_free_slot(module), label, so_pin)
    except PinIncorrect as error:
        # A free slot has no PIN that could be wrong: SoftHSM says so of one it does not take.
        raise PinUnusable("the token takes no such PIN of the security officer", ckr=error.ckr) from error


def _free_slot(module: Module) -> int:
    unread: list[str] = []
    for slot in _slots(module, unread, present=True):
        try:
            with translated("looking for a free slot"):
                if not slot.get_token().flags & TokenFlag.TOKEN_INITIALIZED:
                    return slot.slot_id
        except HsmError as error:
            if error.ckr == _FREE:
                return slot.slot_id
            unread.append(f"slot {slot.slot_id} ({error.ckr or error.detail})")
    raise TokenMissing(f"the module offers no slot for a new token{_passed_over(unread)}")


def the_token(module: Module, uri: TokenUri) -> tuple[types.Token, TokenInfo]:
    """Give the one token that `uri` names; raises `TokenMissing` or `TokenAmbiguous`."""
    tokens, unread = initialised(module)
    found = [
        (token, info)
        for token, info in tokens
        if uri.matches(token=info.label, serial=info.serial, manufacturer=info.manufacturer, model=info.model)
    ]
    if not found:
        raise TokenMissing(f"no token is {uri.format()}; is it attached, and named rightly?{_passed_over(unread)}")
    if len(found) > 1:
        serials = ", ".join(info.serial for _, info in found)
        raise TokenAmbiguous(f"{len(found)} tokens are {uri.format()} (serials {serials}); add serial= to the URI")
    return found[0]


def _passed_over(unread: list[str] | tuple[str, ...]) -> str:
    if not unread:
        return ""
    more = f" and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
    return f"; passed over, as they could not be read: {', '.join(unread[:_NAMED])}{more}"
