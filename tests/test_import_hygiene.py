"""What each module drags in when it is imported.

import-linter reads the source; this asks a real interpreter, which also sees what libraries import and what is
imported late. The modules are found by looking, so a new one is held to the rules of its package from its first day.
"""

import sys
from collections.abc import Mapping

import pytest

from tests.support.loading import Answer, loaded_by
from tests.support.tree import PACKAGES, module_name, sources

MODULES = {package: [module_name(path) for path in sources(package)] for package in PACKAGES}
EVERY_MODULE = [name for names in MODULES.values() for name in names]

CRYPTOGRAPHY = {"cryptography", "cffi", "_cffi_backend", "_openssl", "bcrypt"}
"""The library, its native parts, and bcrypt, which it tries for encrypted OpenSSH keys and does without."""

BUNDLE = {"tuf", "securesystemslib"}
"""What the extra `coldcred[bundle]` adds."""

NETWORK = {
    "aiohttp",
    "ftplib",
    "httpx",
    "requests",
    "smtplib",
    "tuf.ngclient",
    "urllib.request",
    "urllib3",
    "websockets",
    "xmlrpc.client",
}
"""Clients of networks. `http.client` is not among them: it also speaks over the appliance's Unix socket."""

SERVER = {"starlette", "uvicorn", "httptools", "anyio"}

Loaded = Mapping[str, frozenset[str]]
"""Module of ours to the modules that importing it loads."""


@pytest.fixture(scope="module")
def answers() -> dict[str, Answer]:
    """Return what importing each module of ours does."""
    return loaded_by(EVERY_MODULE)


@pytest.fixture(scope="module")
def loaded(answers: dict[str, Answer]) -> Loaded:
    """Return what each module of ours loads, those that end with an error included."""
    return {module: answer.loaded for module, answer in answers.items()}


@pytest.mark.parametrize("module", EVERY_MODULE)
def test_every_module_can_be_imported_alone(module: str, answers: dict[str, Answer]) -> None:
    """Each module loads in a fresh interpreter, whatever was imported before it elsewhere."""
    assert answers[module].error is None


def under(module: str, *packages: str) -> bool:
    """Whether a module is one of the packages or lies inside one."""
    return any(module == package or module.startswith(package + ".") for package in packages)


def foreign(modules: frozenset[str]) -> set[str]:
    """Return the top-level packages among the modules that are neither the standard library nor coldcred."""
    return {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"coldcred"}


def touching(modules: frozenset[str], packages: set[str]) -> set[str]:
    """Return those of the modules that are one of the packages or lie inside one."""
    return {module for module in modules if under(module, *packages)}


@pytest.mark.parametrize("module", MODULES["coldcred"])
def test_verifying_needs_the_standard_library_and_cryptography(module: str, loaded: Loaded) -> None:
    """A module of coldcred loads nothing foreign but cryptography; only coldcred.bundle adds TUF metadata."""
    allowed = CRYPTOGRAPHY | (BUNDLE if under(module, "coldcred.bundle") else set())
    assert foreign(loaded[module]) <= allowed


@pytest.mark.parametrize("module", EVERY_MODULE)
def test_no_module_loads_a_network_client(module: str, loaded: Loaded) -> None:
    """Nothing that could open a connection to another machine is loaded by any module of ours."""
    assert not touching(loaded[module], NETWORK)


@pytest.mark.parametrize("module", EVERY_MODULE)
def test_the_pkcs11_binding_is_loaded_in_the_worker_only(module: str, loaded: Loaded) -> None:
    """A damaged token can crash its library, so only the worker's modules load the binding (design, rule 8)."""
    if module not in {"hsm.cryptoki", "hsm.slots", "hsm.worker"}:
        assert not touching(loaded[module], {"pkcs11", "PyKCS11", "asn1crypto"})


@pytest.mark.parametrize("module", MODULES["coldcred"] + MODULES["hsm"])
def test_the_lower_floors_know_no_store_and_no_server(module: str, loaded: Loaded) -> None:
    """Neither coldcred nor hsm loads SQLite, the server, the command line or anything of the appliance."""
    assert not touching(loaded[module], SERVER | {"sqlite3", "sqlite_utils", "click", "appliance"})


@pytest.mark.parametrize("module", MODULES["coldcred"])
def test_coldcred_does_not_know_the_floors_above(module: str, loaded: Loaded) -> None:
    """An auditor needs coldcred and nothing else of ours."""
    assert not touching(loaded[module], {"hsm", "appliance", "tui"})


def test_decisions_load_nothing_that_acts(loaded: Loaded) -> None:
    """Decisions are pure: they load no store, socket, server, process or HSM."""
    acting = SERVER | {"sqlite3", "sqlite_utils", "socket", "subprocess", "asyncio", "hsm", "click", "tuf"}
    for module in EVERY_MODULE:
        if under(module, "appliance.nouns", "appliance.authority", "appliance.policy"):
            # TUF metadata is made here as values; its key library loads subprocess, for signers we never use.
            makes_metadata = under(module, "appliance.nouns.bundles", "appliance.nouns.trust")
            values = {"tuf", "subprocess"} if makes_metadata else set()
            assert not touching(loaded[module], acting - values), module


def test_the_client_is_light(loaded: Loaded) -> None:
    """The client holds a transport and a signing key: no store, no server, no HSM worker, no engine."""
    heavy = SERVER | {"sqlite3", "sqlite_utils", "hsm.worker", "appliance.engine"}
    for module in EVERY_MODULE:
        if under(module, "appliance.client"):
            assert not touching(loaded[module], heavy), module


@pytest.mark.parametrize("module", EVERY_MODULE)
def test_no_module_loads_a_screen(module: str, loaded: Loaded) -> None:
    """The terminal console stands above everything and is loaded by nothing."""
    assert not touching(loaded[module], {"tui", "textual", "rich"})


def test_the_question_is_really_asked() -> None:
    """The probe sees what an import loads, and an import that fails is an error and not an empty answer."""
    answer = loaded_by(["http.client", "colorsys", "no_such_module"])
    assert "socket" in answer["http.client"].loaded
    assert "socket" not in answer["colorsys"].loaded
    assert answer["colorsys"].error is None
    assert "no_such_module" in (answer["no_such_module"].error or "")
