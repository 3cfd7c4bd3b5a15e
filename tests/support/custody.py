"""An appliance with a token of each class: access tokens by the daily one, JWT-SVIDs by the one of a ceremony.

The tokens are made by `coldcredctl token init`, the ceremony's by two people, and `coldcredctl serve` is a real process
without a terminal.
"""

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance import home as homes
from appliance.client import SocketTransport
from appliance.home import Settings
from appliance.log import Log
from appliance.outcome import Outcome
from appliance.pins import Opening
from appliance.wiring import open_engine
from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.founding import Token
from coldcred.keys import PublicKey
from coldcred.log import entry as entries
from coldcred.log.note import VerifierKey
from coldcred.log.system import PinMode
from tests.support import plant
from tests.support.commandline import CTL, ENVIRONMENT, Ended, run
from tests.support.running import LABEL
from tests.support.running import run as wait_for
from tests.support.serving import READY_SECONDS, STOP_SECONDS, Appliance, NotReady, descendants, issue_args, secret
from tests.support.softhsm import MODULE, SoftHsm

CEREMONY = "plant-a-ceremony"
DAILY_PIN, FIRST, SECOND = "canary-daily-4471", "canary-first-8820", "canary-second-6613"
SO_PIN = "canary-officer-2954"
ALL_PINS = (DAILY_PIN, FIRST, SECOND)
SVID_AUDIENCE = plant.AUDIENCE


@dataclass
class TwoTokens(Appliance):
    """An appliance whose founding names two tokens."""

    def __post_init__(self) -> None:
        """Add the ceremony's token, its key and the profile that uses it."""
        super().__post_init__()
        members = self._running.members
        charter: Json = {**plant.token_charter(), "kind": "svid"}
        svid: Json = {"name": "svid-1", "token": CEREMONY, "charter": charter, "valid_for": 80 * plant.DAY}
        keys = members["keys"]
        assert isinstance(keys, list)
        profile: Json = {**plant.profile(), "name": "robots", "kind": "svid", "scopes": []}
        self._running.members = {
            **members,
            "keys": [*keys, svid],
            "profiles": [plant.profile(), profile],
            "tokens": [
                {"label": LABEL, "class": "daily", "exclusive": True},
                {"label": CEREMONY, "class": "ceremony", "exclusive": True},
            ],
        }

    @property
    def settings(self) -> Settings:
        """The settings of its home."""
        uris = {label: f"pkcs11:token={label}" for label in (LABEL, CEREMONY)}
        return Settings(MODULE, uris, self.softhsm.environment)

    def copy(self, folder: Path) -> "TwoTokens":
        """Give a copy in `folder` that shares nothing with this one."""
        super().copy(folder)
        return TwoTokens(folder, self.founded)

    def init_token(self, label: str, *lines: str, ceremony: bool = False) -> Ended:
        """Make a token by the command line; `lines` are what --pin-fd holds."""
        where = ("--module", MODULE, "--module-env", f"SOFTHSM2_CONF={self.softhsm.folder / 'softhsm2.conf'}")
        words = [*CTL, "token", "init", label, *where, *["--ceremony"] * ceremony, "--json"]
        return run(words, secrets={"--pin-fd": "\n".join(lines)}, verb_secrets={"--so-pin-fd": SO_PIN})

    def found(self) -> None:
        """Found it on both tokens, with everybody there, and bring it to where it can issue."""

        def opening(token: Token) -> Opening:
            by_two = token.label == CEREMONY
            pin = FIRST + SECOND if by_two else DAILY_PIN
            return Opening(lambda: bytearray(pin.encode()), PinMode.TWO_PEOPLE if by_two else PinMode.DESCRIPTOR)

        async def story() -> None:
            async with open_engine(self.home, opening) as engine:
                await self._running.ready(engine)

        founding = self._running.founding
        homes.create(self.home, founding, plant.signatures(founding.body), self.settings, self.founded)
        wait_for(story())

    def svid(self) -> str:
        """Give a new command that issues a JWT-SVID, which the ceremony's key signs."""
        asked = {**issue_args(), "profile": "robots"}
        del asked["scopes"]
        return self.command("alice", Act.CREDENTIAL_ISSUE, asked)

    def entries(self) -> list[dict[str, Json]]:
        """Give the events of the log, in order."""
        log = Log.open(self.log_path)
        try:
            return [entries.parse(body).event for body in log.bodies()]
        finally:
            log.close()

    def log_vkey(self) -> str:
        """Give the log's public key as the log itself names it."""
        (made,) = [event for event in self.entries() if event["type"] == "key.done" and event["name"] == "log-1"]
        return VerifierKey("plant-a.example/log", PublicKey.from_jwk(made["public"])).format()

    def logins(self, since: int = 0, kind: str = "pin.accepted") -> dict[str, str]:
        """Give how the PIN of each token came, by token, in the entries from `since` on."""
        found = [event for event in self.entries()[since:] if event["type"] == kind]
        return {str(event["token"]): str(event["mode"]) for event in found}

    @contextmanager
    def running(
        self, *options: str, pins: Sequence[str] = (), credentials: Path | None = None, verb: Sequence[str] = ()
    ) -> "Iterator[Served]":
        """Serve the home without a terminal while the block runs; raises `NotReady` where it does not come to that."""
        served = Served(self, options, pins, credentials, verb)
        try:
            served.wait_ready()
            yield served
        finally:
            served.close()


@dataclass
class Served:
    """One `coldcredctl serve`, started with PINs on a descriptor, a credential directory, both or neither."""

    appliance: TwoTokens
    options: Sequence[str]
    pins: Sequence[str]
    credentials: Path | None
    verb: Sequence[str]
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        """Start it."""
        self._ready, write = os.pipe()
        words, descriptors = [*self.options], [write]
        if self.pins:
            option, descriptor = self._stack.enter_context(secret("--pin-fd", "\n".join(self.pins).encode()))
            words += option
            descriptors.append(descriptor)
        environment = {**ENVIRONMENT}
        if self.credentials is not None:
            environment["CREDENTIALS_DIRECTORY"] = str(self.credentials)
        self._said = self.appliance.folder / "said"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                self.appliance.arguments(*words, "serve", "--ready-fd", str(write), *self.verb),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                pass_fds=descriptors,
                start_new_session=True,
            )
        os.close(write)

    def wait_ready(self) -> None:
        """Wait until it serves; raises `NotReady`."""
        readable, _, _ = select.select([self._ready], [], [], READY_SECONDS)
        if not readable or os.read(self._ready, 16) != b"ready\n":
            raise NotReady(Ended(self.process.wait(STOP_SECONDS), self.said(), ""))

    def said(self) -> str:
        """Give what it has said so far."""
        return self._said.read_text()

    def workers(self) -> list[int]:
        """Give the process ids of its HSM workers."""
        return descendants(self.process.pid)

    def send(self, command: str) -> Outcome:
        """Send a command over its socket."""
        transport = SocketTransport.connect(self.appliance.home / "operator.sock")
        assert transport is not None
        try:
            outcome = transport.command(command, {}, ())
            if outcome.pages is None:
                return outcome
            return replace(outcome, files={**outcome.files, "export": b"".join(outcome.pages)}, pages=None)
        finally:
            transport.close()

    def read(self, view: str, opening: str) -> Json:
        """Read a view over its socket, with a command that opens reading."""
        transport = SocketTransport.connect(self.appliance.home / "operator.sock")
        assert transport is not None
        try:
            transport.open_reading(opening)
            return transport.read(view, {})
        finally:
            transport.close()

    def stop(self) -> int:
        """Stop it as a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        """End it, if it still runs."""
        self._stack.close()
        os.close(self._ready)
        self.process.kill()
        self.process.wait(STOP_SECONDS)


def make_two(folder: Path, founded: int) -> TwoTokens:
    """Make both tokens, and an appliance founded on them that can issue."""
    SoftHsm(folder / "hsm").configure()
    appliance = TwoTokens(folder, founded)
    for ended in (
        appliance.init_token(LABEL, DAILY_PIN),
        appliance.init_token(CEREMONY, FIRST, SECOND, ceremony=True),
    ):
        assert ended.code == 0, ended
    appliance.found()
    return appliance


def credential(directory: Path, label: str, body: str | bytes, mode: int = 0o400) -> Path:
    """Put a PIN where the service manager would."""
    directory.mkdir(exist_ok=True)
    path = directory / f"coldcred.pin.{label}"
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    path.chmod(mode)
    return path
