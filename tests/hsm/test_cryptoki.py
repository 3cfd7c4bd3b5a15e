"""The one module that knows the binding: nothing of the binding escapes, and threads do not crash it."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

import pytest
from pkcs11 import exceptions

from coldcred.canonical import sha256
from coldcred.keys import Algorithm
from hsm import cryptoki, slots
from hsm.errors import (
    HsmError,
    KeyExists,
    KeyExposed,
    KeyMissing,
    MechanismMissing,
    PinIncorrect,
    Reaction,
    TokenFault,
    TokenMissing,
)
from hsm.keystore import TokenInfo
from hsm.mechanisms import MECHANISMS
from hsm.uri import TokenUri
from tests.support.softhsm import PIN, SoftHsm

FOREIGN = [ValueError, KeyError, IndexError, TypeError, AttributeError, MemoryError, OSError, OverflowError,
           NotImplementedError, AssertionError, UnicodeDecodeError]  # fmt: skip
BINDING = [
    item for item in vars(exceptions).values() if isinstance(item, type) and issubclass(item, exceptions.PKCS11Error)
]
KEY = b"0123456789abcdef"


class Failing:
    """Stands for anything of the binding: whatever is asked of it raises."""

    def __init__(self, error: type[Exception]) -> None:
        """Raise `error` from every call."""
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def fail(*_: object, **__: object) -> None:
            raise self._error(*(("utf-8", b"", 0, 1, "") if self._error is UnicodeDecodeError else ("text",)))

        return fail


def failing(error: type[Exception]) -> cryptoki.TokenKeys:
    """Return a token every call of which fails."""
    token = cryptoki.TokenKeys.__new__(cryptoki.TokenKeys)
    bad: Any = Failing(error)
    token._token = token._module = bad
    token._sessions, token._lane_keys = [bad], {}
    token.info = TokenInfo("label", "", "", "")
    token._keys = {KEY: (bad, MECHANISMS[Algorithm.ES256])}
    return token


@pytest.mark.parametrize("error", BINDING + FOREIGN, ids=lambda error: error.__name__)
def test_no_exception_of_the_binding_escapes(error: type[Exception]) -> None:
    """Whatever each operation meets below, what comes out is an `HsmError`, and `close` meets nothing."""
    token = failing(error)
    operations: list[Callable[[], object]] = [
        lambda: token.sign(KEY, b"data"),
        lambda: token.find(KEY),
        lambda: token.destroy(KEY),
        lambda: token.holds(KEY),
        lambda: token.generate(KEY, "label", Algorithm.ES256),
        token.inventory,
        lambda: token.login(bytearray(b"1234")),
        lambda: slots.the_token(token._module, TokenUri(token="label")),
    ]
    for operation in operations:
        with pytest.raises(HsmError) as caught:
            operation()
        assert caught.value.reaction in set(Reaction)
    with pytest.raises(HsmError):
        raise _closing(token)


def _closing(token: cryptoki.TokenKeys) -> HsmError:
    token._module = type("Module", (), {"finalize": staticmethod(lambda: None)})()
    token.close()
    try:
        token.holds(KEY)
    except HsmError as error:
        return error
    raise AssertionError("a closed token answers")


class _Opening:
    """A token that opens sessions and notes the PIN it is given."""

    def __init__(self) -> None:
        self.pins: list[bytes] = []

    def open(self, *, rw: bool, user_pin: slots.Pin | None = None) -> object:
        if user_pin is not None:
            self.pins.append(bytes(user_pin.encode()))
        return rw


@pytest.mark.parametrize("refused", [False, True])
def test_the_workers_copy_of_the_pin_is_wiped(refused: bool) -> None:  # noqa: FBT001 - a case
    """The buffer that the frame was read into holds noughts after the login, granted or refused."""
    token, opening, pin = failing(exceptions.PinIncorrect), _Opening(), bytearray(b"4711-canary")
    if refused:
        with pytest.raises(PinIncorrect):
            token.login(pin)
    else:
        token._token = cast("Any", opening)
        token.login(pin)
        assert opening.pins == [b"4711-canary"]
    assert pin == bytes(11)


@pytest.mark.parametrize("error", [exceptions.PinIncorrect, exceptions.PinLenRange, exceptions.PinInvalid])
def test_a_pin_the_token_never_takes_is_as_wrong_as_any(error: type[Exception]) -> None:
    """At login, a length or a character that no PIN has is a wrong PIN: not to be tried again."""
    with pytest.raises(PinIncorrect) as caught:
        failing(error).login(bytearray(b"1"))
    assert caught.value.reaction is Reaction.STOP


def test_a_foreign_answer_calls_for_a_new_worker() -> None:
    """An answer the binding cannot read says nothing about the token's state: begin anew."""
    with pytest.raises(TokenFault, match="cannot be read") as caught:
        failing(ValueError).sign(KEY, b"data")
    assert caught.value.reaction is Reaction.REINITIALISE


class _Key:
    """Notes what it is asked to sign."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, int]] = []

    def sign(self, data: bytes, *, mechanism: int) -> bytes:
        self.asked.append((data, int(mechanism)))
        return b"signature"


@pytest.mark.parametrize("algorithm", Algorithm)
def test_what_reaches_the_token(algorithm: Algorithm) -> None:
    """For ES256 the SHA-256 of the whole input under CKM_ECDSA, for Ed25519 the input under CKM_EDDSA."""
    token, key = failing(ValueError), _Key()
    token._keys[KEY] = key, MECHANISMS[algorithm]
    token.sign(KEY, b"whole input")
    digest = sha256(b"whole input")
    assert key.asked == [(digest, 0x1041) if algorithm is Algorithm.ES256 else (b"whole input", 0x1057)]


class _Slot:
    """A slot whose token has some mechanisms only."""

    def __init__(self, *offered: int) -> None:
        self.offered = set(offered)

    def get_mechanisms(self) -> set[int]:
        return self.offered


def test_a_token_without_eddsa_makes_no_log_key() -> None:
    """The refusal names the mechanism that is missing, before anything is made."""
    token = failing(ValueError)
    token._token = type("Token", (), {"slot": _Slot(0x1040, 0x1041, 0x1055)})()
    with pytest.raises(MechanismMissing, match="no CKM_EDDSA, which Ed25519 keys need"):
        token.generate(KEY, "label", Algorithm.ED25519)


def test_a_vanished_token_is_not_an_empty_one() -> None:
    """A search that finds nothing is believed only while the token still answers."""
    token = failing(exceptions.TokenNotPresent)
    token._token = type("Token", (), {"slot": Failing(exceptions.TokenNotPresent)})()
    token._sessions = [type("Session", (), {"get_objects": lambda *_: iter(())})()]
    with pytest.raises(TokenMissing):
        token.inventory()


# The rest runs on SoftHSM, each in a process of its own: a crash must be seen, not suffered.

_START = """
import os, sys, threading
os.environ["SOFTHSM2_CONF"] = sys.argv[1]
from coldcred.keys import Algorithm
from hsm import cryptoki, slots
from hsm.errors import *
from hsm.uri import TokenUri
token = cryptoki.open_token(sys.argv[2], TokenUri(token=sys.argv[3]))
token.login(bytearray(sys.argv[4].encode()))
key = b"0123456789abcdef"
"""


def run(softhsm: SoftHsm, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has `token` logged in."""
    arguments = (softhsm.environment["SOFTHSM2_CONF"], softhsm.module, softhsm.label, PIN.decode())
    return subprocess.run(
        [sys.executable, "-I", "-c", _START + program, *arguments], capture_output=True, text=True, check=False
    )


def test_the_module_is_started_for_threads(softhsm: SoftHsm) -> None:
    """Two threads signing at once for a while, which crashes SoftHSM when it was promised one thread only."""
    program = """
public = token.generate(key, "tokens-" + "0" * 24, Algorithm.ES256)
signing, row = token._keys[key]
from pkcs11 import Mechanism
bad, sessions = [], [token._token.open() for _ in range(2)]
def sign(session):
    mine = next(iter(list(session.get_objects({cryptoki.Attribute.CLASS: cryptoki.ObjectClass.PRIVATE_KEY}))))
    for number in range(4000):
        mine.sign(bytes(32), mechanism=Mechanism.ECDSA)
    bad.append(number)
threads = [threading.Thread(target=sign, args=(session,)) for session in sessions]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(bad)
"""
    for _ in range(2):
        done = run(
            softhsm,
            program
            if not softhsm.object_files()
            else program.replace(
                'public = token.generate(key, "tokens-" + "0" * 24, Algorithm.ES256)', "token.find(key)"
            ),
        )
        assert (done.returncode, done.stdout) == (0, "[3999, 3999]\n"), done.stderr


def test_a_key_that_is_born_wrong_does_not_live(softhsm: SoftHsm) -> None:
    """When the module does not do as asked, the key it made is destroyed at once and the refusal says why."""
    program = """
from hsm import attributes
honest = cryptoki._template
cryptoki._template = lambda *given: honest(*given) | {cryptoki.Attribute.EXTRACTABLE: True} \
    if "EXTRACTABLE" in given[0] else honest(*given)
try:
    token.generate(key, "tokens-" + "0" * 24, Algorithm.ES256)
except KeyExposed as error:
    print(error)
print(token.holds(key), len(token.inventory().keys))
"""
    done = run(softhsm, program)
    assert "CKA_EXTRACTABLE is true" in done.stdout, done.stderr
    assert done.stdout.endswith("False 0\n")
    assert KeyExposed.id == "key-exposed"


def test_a_token_in_one_process(softhsm: SoftHsm) -> None:
    """Generate, find, sign, destroy, close; after close the token answers no more and the module can start again."""
    program = """
for algorithm in Algorithm:
    public = token.generate(key, "tokens-" + "0" * 24, algorithm)
    public.verify(token.sign(key, b"data"), b"data")
    token._keys.clear()
    public.verify(token.sign(key, b"data"), b"data")
    try: token.generate(key, "x", algorithm)
    except KeyExists as error: print(error.id)
    token.destroy(key)
    try: token.sign(key, b"data")
    except KeyMissing as error: print(error.id)
token.close()
try: token.holds(key)
except TokenFault as error: print(error.reaction)
again = cryptoki.open_token(sys.argv[2], TokenUri(token=sys.argv[3]))
try: again.login(bytearray(b"wrong"))
except PinIncorrect as error: print(error.id)
again.close()
"""
    done = run(softhsm, program)
    expected = [KeyExists.id, KeyMissing.id] * 2 + [Reaction.RELOGIN.value, "pin-incorrect"]
    assert done.stdout.split() == expected, done.stderr


def test_two_users_of_the_module_in_one_process_are_noticed(softhsm: SoftHsm) -> None:
    """Somebody else's C_Initialize, with who knows what promises, is not built upon."""
    done = run(softhsm, "\ntry: cryptoki.load(sys.argv[2])\nexcept HsmError as error: print(error.ckr)\n")
    assert done.stdout == "CKR_CRYPTOKI_ALREADY_INITIALIZED\n", done.stderr
