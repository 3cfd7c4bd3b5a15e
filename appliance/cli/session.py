"""One run of `coldcredctl`: which home, whose key, which descriptors carry secrets, and the way to the appliance."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from appliance.cli import opening, secret_input
from appliance.cli.course import Course
from appliance.cli.opening import TokenPins
from appliance.cli.output import SINGLE_OPERATOR, talk
from appliance.cli.terminal import Terminal
from appliance.client import Client, ClientError, ClientFault, SocketTransport, Transport
from appliance.clock import usable
from appliance.identity import Identity
from appliance.pins import Opening
from appliance.signing import Signing
from coldcred import founding
from coldcred.founding import Founding, Token

SOCKET = "operator.sock"
FOUNDING = "founding.json"


@dataclass
class Session:
    """What the options before the verb said; connections opened through it end with the run."""

    home: Path
    key_file: Path | None = None
    passphrase_fd: int | None = None
    pin_fd: int | None = None
    card: str | None = None
    ceremony: frozenset[str] = frozenset()
    course: Course = field(default_factory=Course)
    terminal: Terminal = field(default_factory=Terminal)
    pins: TokenPins = field(init=False)
    _exits: ExitStack = field(default_factory=ExitStack)
    _identity: Identity | None = None
    _client: Client | None = None

    def __post_init__(self) -> None:
        """Begin with no PIN, and silence a terminal at which a secret is going to be typed."""
        self.pins = TokenPins(self.pin_fd, self.terminal)
        typed = self.key_file is not None and self.passphrase_fd is None
        if (typed or (self.card is not None and self.pin_fd is None)) and self.terminal.is_there():
            self.terminal.hush()

    def close(self) -> None:
        """End whatever this run opened: in-process, the engine stops here."""
        try:
            self._exits.close()
        finally:
            self.pins.wipe()
            self.terminal.release()

    def identity(self) -> Identity:
        """Open the key of whoever runs this, asking for its secret once; misuse where no key was named."""
        if self._identity is None:
            self._identity = self._on_card(self.card) if self.card is not None else self._in_file()
        return self._identity

    @property
    def is_somebody(self) -> bool:
        """Whether a key was named that could sign."""
        return self.key_file is not None or self.card is not None

    def _in_file(self) -> Identity:
        if self.key_file is None:
            raise click.UsageError("this verb signs with your key: give --as KEYFILE|pkcs11:URI before the verb")
        return Identity.load(self.key_file, self.passphrase(self.key_file))

    def _on_card(self, uri: str) -> Identity:
        from appliance.card import open_card  # noqa: PLC0415 - only those who have a card need the worker's supervisor

        card = open_card(uri, self.card_pin, os.environ, self.vouches)
        self._exits.callback(card.close)
        return card.identity

    def card_pin(self, card: str) -> bytearray:
        """Ask for the PIN of the person's own card; on the descriptor it stands before the PIN of the token.

        `card` says which card was found, by which module.
        """
        return self._secret(self.pin_fd, f"PIN of your card {card}")

    def vouches(self, module: str) -> bool:
        """Ask whether a module that lies where none is installed may run; without a terminal it may not."""
        return self.terminal.is_there() and self.terminal.agrees(f"load {module}, and give it the PIN?")

    def passphrase(self, key_file: Path) -> Callable[[], bytearray]:
        """Give the way to ask for a key file's passphrase."""
        return lambda: self._secret(self.passphrase_fd, f"passphrase of {key_file.name}")

    def new_passphrase(self, key_file: Path) -> Callable[[], bytearray]:
        """Give the way to ask for the passphrase of a key that is about to be made: typed twice."""
        what = f"new passphrase of {key_file.name}"
        return lambda: self._secret(self.passphrase_fd, what, new=True)

    def openings(self) -> Callable[[Token], Opening | None]:
        """Give how the engine of a verb opens its tokens, after what no run may do was refused."""
        if (found := self.founding()) is not None:
            opening.check(found, self.ceremony, None)
        return partial(self.pins.of_people, self.ceremony)

    def founding(self) -> Founding | None:
        """Read the home's founding, if there is a home; `Malformed` where it is damaged."""
        try:
            body = (self.home / FOUNDING).read_bytes()
        except OSError:
            return None
        return founding.parse(body)

    def client(self, *, signs: bool = True, hsm: bool = True) -> Client:
        """Connect to the appliance: over its socket where it is served, else by running its engine in this process.

        `signs` opens the person's key first. In this process the token is opened only for what needs it (`hsm`). A verb
        that asks twice is given the same connection, so its first call says what all of them need.
        """
        if self._client is not None:
            return self._client
        identity = self.identity() if signs else None
        client = Client.connect(self._transport(hsm=hsm), identity, now, os.urandom)
        client.sending, client.heard = self.course.sending, self.course.heard
        if client.single_operator:
            talk(SINGLE_OPERATOR)
        self._client = client
        return client

    def _transport(self, *, hsm: bool) -> Transport:
        transport: Transport | None = SocketTransport.connect(self.home / SOCKET)
        if transport is None:
            if hsm and self.founding() is not None:
                self._agree_to_open()
            # The engine and the PKCS#11 seam are loaded only when nothing serves the home.
            from appliance.cli.inprocess import EngineTransport  # noqa: PLC0415 - only a home that nobody serves needs the engine

            transport = EngineTransport(self.home, self.openings() if hsm else None)
        self._exits.callback(transport.close)
        return transport

    def _agree_to_open(self) -> None:
        """Have somebody agree that this run opens home and token by itself: nobody is asked for a PIN unexpectedly."""
        if self.pin_fd is not None:
            return
        told = f"nothing serves {self.home}"
        question = f"{told}; open it here, with the PIN of its token, for this one line?"
        if not (self.terminal.is_there() and self.terminal.agrees(question)):
            raise ClientError(ClientFault.NOT_SERVING, told)

    def _secret(self, descriptor: int | None, what: str, *, new: bool = False) -> bytearray:
        if descriptor is not None:
            return secret_input.from_descriptor(descriptor, what, new=new)
        return (self.terminal.new_secret if new else self.terminal.secret)(what)


def signing(identity: Identity) -> Signing:
    """Give what signs with an opened key, by this machine's clock; no appliance is needed."""
    return Signing(identity, now, os.urandom)


def now() -> int:
    """Give this machine's time in Unix seconds; `HomeError` where its clock is beyond use."""
    return usable(time.time())
