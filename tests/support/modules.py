"""Other people's PKCS#11 modules, each with a fresh token in a folder of the test's own, for `make modules`.

A module that is not installed is not tried: `provisioning/modules` installs them.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hsm.process import COMMAND
from hsm.supervisor import WorkerKeyStore
from hsm.tokens import initialise_token
from hsm.uri import TokenUri
from tests.support.softhsm import PIN, SO_PIN, SoftHsm
from tests.support.tree import ROOT

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
KRYOPTIC = ROOT / ".modules" / "libkryoptic_pkcs11.so"
LABEL = "coldcred-test"
_TPM2_PKCS11 = LIBRARIES / "libtpm2_pkcs11.so.1"
_PING = "org.freedesktop.DBus.Peer.Ping"
_WAIT = 10.0
_TIMEOUT = 60.0
"""Seconds for one request: a TPM in software signs some hundred times a second on a quiet machine."""


@dataclass
class Foreign:
    """A module with one initialised, empty token."""

    library: Path
    environment: Mapping[str, str]
    label: str = LABEL
    command: tuple[str, ...] = COMMAND
    stores: list[WorkerKeyStore] = field(default_factory=list)

    def store(self) -> WorkerKeyStore:
        """Give a key store on the token; it is closed when the test ends."""
        uri = TokenUri(token=self.label)
        store = WorkerKeyStore(
            str(self.library),
            uri,
            lambda: bytearray(PIN),
            environment=self.environment,
            command=self.command,
            timeout=_TIMEOUT,
        )
        self.stores.append(store)
        return store

    def initialise(self) -> None:
        """Make the token, as `coldcredctl token init` does."""
        initialise_token(str(self.library), self.label, bytearray(SO_PIN), bytearray(PIN), self.environment)


@contextmanager
def _proxy(folder: Path) -> Iterator[Foreign]:
    softhsm = SoftHsm(folder / "hsm")
    softhsm.configure()
    made = Foreign(LIBRARIES / "p11-kit-proxy.so", {**softhsm.environment, "TSS2_LOG": "all+NONE"})
    made.initialise()
    yield made


@contextmanager
def _kryoptic(folder: Path) -> Iterator[Foreign]:
    slots = [f'[[slots]]\nslot = {slot}\ndbtype = "sqlite"\ndbargs = "{folder}/{slot}.sql"\n' for slot in (42, 43)]
    (folder / "kryoptic.conf").write_text("".join(slots))
    made = Foreign(KRYOPTIC, {"KRYOPTIC_CONF": str(folder / "kryoptic.conf")})
    made.initialise()
    yield made


@contextmanager
def _running(*command: str | Path, until: Callable[[], bool], **variables: str) -> Iterator[None]:
    """Run a server for as long as the block, from when `until` says that it answers."""
    environment = {"PATH": os.defpath, **variables}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _WAIT
        while not until():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"does not answer: {command}")
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _tpm(folder: Path) -> Iterator[Foreign]:
    """Begin a TPM in software behind a resource manager, as the kernel has one (/dev/tpmrm0).

    Without one a TPM has three places for keys, and the module leaves them occupied.
    """
    for name in ("state", "store"):
        (folder / name).mkdir()
    tpm, bus = folder / "tpm", folder / "bus"
    server = ("--server", f"type=unixio,path={tpm}", "--ctrl", f"type=unixio,path={tpm}.ctrl")
    state = ("--tpmstate", f"dir={folder}/state", "--flags", "not-need-init,startup-clear")
    address = f"unix:path={bus}"
    daemon = ("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}")
    manager = ("/usr/sbin/tpm2-abrmd", "--session", "--allow-root", f"--tcti=swtpm:path={tpm}")
    asked = ["dbus-send", f"--bus={address}", "--print-reply", "--dest=com.intel.tss2.Tabrmd", "/", _PING]
    environment = {
        "TPM2_PKCS11_STORE": f"{folder}/store",
        "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
        "TPM2_PKCS11_BACKEND": "esysdb",
        "TSS2_LOG": "all+NONE",
    }
    # The bus is found by a variable that no module of ours is given; /dev/tpmrm0 needs none.
    command = ("/usr/bin/env", f"DBUS_SESSION_BUS_ADDRESS={address}", *COMMAND)
    direct = {**environment, "TPM2_PKCS11_TCTI": f"swtpm:path={tpm}"}
    with _running("swtpm", "socket", "--tpm2", *server, *state, until=tpm.exists):
        Foreign(_TPM2_PKCS11, direct).initialise()
        with (
            _running(*daemon, until=bus.exists),
            _running(
                *manager,
                until=lambda: subprocess.run(asked, capture_output=True, check=False).returncode == 0,
                DBUS_SESSION_BUS_ADDRESS=address,
            ),
        ):
            made = Foreign(_TPM2_PKCS11, environment, command=command)
            yield made
            for store in made.stores:
                store.close()  # before its TPM goes


@contextmanager
def _nss(folder: Path) -> Iterator[Foreign]:
    (folder / "pin").write_bytes(PIN + b"\n")
    subprocess.run(["certutil", "-N", "-d", f"sql:{folder}", "-f", folder / "pin"], check=True, capture_output=True)
    parameters = f"configdir='sql:{folder}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
    yield Foreign(LIBRARIES / "libsoftokn3.so", {"NSS_LIB_PARAMS": parameters}, "NSS Certificate DB")


@dataclass(frozen=True)
class Row:
    """What is known of a module: its library, and whether its tokens make Ed25519 keys."""

    library: Path
    begin: Callable[[Path], AbstractContextManager[Foreign]]
    edwards: bool

    @property
    def there(self) -> bool:
        """Whether it is installed."""
        return self.library.exists()


MODULES: Mapping[str, Row] = {
    "p11-kit": Row(LIBRARIES / "p11-kit-proxy.so", _proxy, edwards=True),
    "kryoptic": Row(KRYOPTIC, _kryoptic, edwards=False),
    "tpm2-pkcs11": Row(_TPM2_PKCS11, _tpm, edwards=False),
    "nss": Row(LIBRARIES / "libsoftokn3.so", _nss, edwards=False),
}
