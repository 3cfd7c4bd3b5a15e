"""The only place that constructs: a home, its log, the HSM worker and the engine over them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from appliance import __version__, modulefile
from appliance.clock import Clock, SystemClock, guarded
from appliance.disk import free_bytes
from appliance.engine import Engine
from appliance.engine.notices import Notices
from appliance.engine.recovery import Recovery
from appliance.engine.watch import EVER, Watch
from appliance.errors import HomeError, HomeFault
from appliance.home import SETTINGS, Home, Settings
from appliance.log import Log
from appliance.pins import Opening
from coldcred.canonical import Json
from coldcred.errors import ColdcredError
from coldcred.founding import Token
from hsm import environment, tokens
from hsm.errors import TokenAmbiguous, TokenExists, TokenMissing
from hsm.keystore import KeyStore, Slots, TokenInfo
from hsm.supervisor import Observer, PinSource, WorkerKeyStore
from hsm.uri import TokenUri

Openings = Callable[[Token], Opening | None]
"""Says, for each token of the founding, how it is opened; None leaves it closed."""


@asynccontextmanager
async def open_engine(path: Path, openings: Openings | None, clock: Clock | None = None) -> AsyncIterator[Engine]:
    """Open a home and serve it until the block ends; the lock is held meanwhile.

    The tokens that `openings` opens can sign; what needs keys on the others is refused, and with none of them open the
    appliance serves reading and what needs no signature. `clock` is the machine's unless given. Raises `HomeError` or
    `HsmError`; a fault while serving is in `Engine.failure` and is raised when the block ends.
    """
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        engine = await loop.run_in_executor(None, _build, stack, path, openings, clock or SystemClock())
        engine.start()
        try:
            yield engine
        finally:
            await engine.stop()
        if engine.failure is not None:
            raise engine.failure


def _build(stack: ExitStack, path: Path, openings: Openings | None, clock: Clock) -> Engine:
    home = Home.open(path)
    log = stack.enter_context(open_log(home))
    recovery = Recovery(home, log, lambda: guarded(clock.now(), recovery.standing.lookups.last_time))
    recovery.fold()
    notices, keystores = Notices(), {}
    opened = _opened(home, openings)
    if opened:
        recovery.check_pins(opened)
        keystores = _keystores(stack, home.settings, opened, notices)
    recovery.settle()
    recovery.begin(__version__, os.urandom)
    if keystores:
        try:
            recovery.reconcile(keystores, os.urandom)
        except BaseException:
            # Durable before anybody hears of it: a PIN that was refused counts, whatever becomes of this process.
            recovery.record(notices.take(EVER))
            raise
    watch = Watch(partial(free_bytes, path), notices)
    return Engine(recovery.standing, log, keystores, clock, os.urandom, watch)


@contextmanager
def open_log(home: Home) -> Iterator[Log]:
    """Hold a home's lock and its log, without an engine: for verifying and rebuilding tables."""
    with home.locked():
        log = Log.open(home.log_path)
        try:
            yield log
        finally:
            log.close()


def _opened(home: Home, openings: Openings | None) -> dict[str, Opening]:
    """Give how each token is opened, by label, in the order of the founding; those that stay closed are left out."""
    found = ((token.label, openings(token)) for token in home.founding.tokens) if openings is not None else ()
    return {label: opening for label, opening in found if opening is not None}


def _keystores(
    stack: ExitStack, settings: Settings, opened: Mapping[str, Opening], notices: Notices
) -> dict[str, KeyStore]:
    keystores: dict[str, KeyStore] = {}
    for label, opening in opened.items():
        keystore = _keystore(settings, label, opening.pin, notices.observer(label, opening.mode))
        keystores[label] = stack.enter_context(keystore)
    return keystores


@contextmanager
def _keystore(settings: Settings, label: str, pin: PinSource, observer: Observer) -> Iterator[KeyStore]:
    if label not in settings.tokens:
        raise HomeError(HomeFault.SETTINGS, f"{SETTINGS}: [hsm.tokens] has no URI of token {label}, which is founded")
    try:
        uri = TokenUri.parse(settings.tokens[label])
        _check_module(settings.module)
        keystore = WorkerKeyStore(settings.module, uri, pin, environment=settings.environment, observer=observer)
    except (ValueError, ColdcredError) as error:
        raise HomeError(HomeFault.SETTINGS, f"{SETTINGS}: {error}") from error
    try:
        yield keystore
    finally:
        keystore.close()


def module_variables(given: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Give the variables for a PKCS#11 module with the paths in them absolute; an unknown one is a `ValueError`."""
    environment.check(given)
    return environment.absolute(given, str(folder.absolute()))


def look(settings: Settings) -> None:
    """See that the module can be loaded and has each token of the settings once; needs no PIN and changes nothing.

    Raises `HomeError` (settings-invalid) or `HsmError`.
    """
    try:
        uris = {label: TokenUri.parse(text) for label, text in settings.tokens.items()}
    except ColdcredError as error:
        raise HomeError(HomeFault.SETTINGS, str(error)) from error
    found = _tokens(settings.module, settings.environment).tokens
    for label, uri in uris.items():
        fitting = [one for one in found if _fits(uri, one)]
        if not fitting:
            raise TokenMissing(f"token {label}: none of the {len(found)} tokens of {settings.module} is {uri.format()}")
        if len(fitting) > 1:
            serials = ", ".join(one.serial for one in fitting)
            raise TokenAmbiguous(f"token {label}: {len(fitting)} tokens fit, with serials {serials}")


def _fits(uri: TokenUri, found: TokenInfo) -> bool:
    return uri.matches(token=found.label, serial=found.serial, manufacturer=found.manufacturer, model=found.model)


def list_tokens(module: str, variables: Mapping[str, str]) -> tuple[list[dict[str, Json]], tuple[str, ...]]:
    """Give the tokens that a PKCS#11 module offers, and the slots it could not read.

    A token is its label, serial, manufacturer and model. Raises `HsmError`, and `HomeError` for a module that others
    may write or a variable that no module is given.
    """
    found = _tokens(module, variables)
    return [_token(token) for token in found.tokens], found.unread


def check_free(module: str, label: str, variables: Mapping[str, str]) -> None:
    """Return when no token of a module has this label; raises `TokenExists`, and what `list_tokens` raises."""
    if any(found.label == label for found in _tokens(module, variables).tokens):
        raise TokenExists(f"a token labelled {label} exists")


def _tokens(module: str, variables: Mapping[str, str]) -> Slots:
    _check_module(module)
    try:
        return tokens.list_tokens(module, variables)
    except ValueError as error:
        raise HomeError(HomeFault.SETTINGS, str(error)) from error


def initialise_token(
    module: str, label: str, so_pin: bytearray, pin: bytearray, variables: Mapping[str, str]
) -> dict[str, Json]:
    """Make a new token with its two PINs, whose buffers are wiped; raises `HsmError`."""
    _check_module(module)
    return _token(tokens.initialise_token(module, label, so_pin, pin, variables))


def _check_module(module: str) -> None:
    """See that nobody but root and this user could change what is loaded, before any of it runs; `HomeError`."""
    if fault := modulefile.fault(Path(module)):
        raise HomeError(HomeFault.MODULE_OPEN, fault)


def _token(found: TokenInfo) -> dict[str, Json]:
    return {
        "label": found.label,
        "serial": found.serial,
        "manufacturer": found.manufacturer,
        "model": found.model,
    }
