"""How the tokens of an appliance are opened in one run of `coldcredctl`: whose PIN, from where, in how many parts (R5).

A token of class `daily` has one PIN: in the service manager's credential directory, on a line of the descriptor, or
typed. One of class `ceremony` has a PIN in two parts that two people know, on two lines or typed one after the other;
it stays closed unless somebody asks for it, and a credential directory is no place for it.

The engine asks when a worker logs in, in the order of the founding. Each PIN is then kept, off the swap where the
system lets us, so that a new worker can log in, and wiped when the run ends.
"""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import click

from appliance.cli import secret_input, service_credential
from appliance.cli.output import talk
from appliance.cli.secret_input import SecretError, SecretFault
from appliance.cli.terminal import Terminal
from appliance.pins import Opening, joined, part_fault
from coldcred import memory
from coldcred.founding import CEREMONY, Founding, Token
from coldcred.log.system import PinMode


class TokenPins:
    """The PINs of one run."""

    def __init__(self, descriptor: int | None, terminal: Terminal) -> None:
        """Read PINs from `descriptor`, one a line, or else at the `terminal`."""
        self._descriptor = descriptor
        self._terminal = terminal
        self._kept: dict[str, bytearray] = {}

    def __repr__(self) -> str:
        return f"TokenPins(of={sorted(self._kept)})"

    def wipe(self) -> None:
        """Forget every PIN."""
        memory.wipe(*self._kept.values())
        self._kept.clear()

    def of_people(self, asked_for: Collection[str], token: Token) -> Opening | None:
        """Open every daily token, and those ceremony tokens that were `asked_for`, with people there to give PINs."""
        if token.token_class == CEREMONY:
            return self.of_two(token) if token.label in asked_for else None
        mode = PinMode.TERMINAL if self._descriptor is None else PinMode.DESCRIPTOR
        return self._opening(token, mode, lambda: self._ask(f"PIN of token {token.label}"))

    def of_two(self, token: Token) -> Opening:
        """Open a ceremony token with the two people who know its PIN."""
        return self._opening(token, PinMode.TWO_PEOPLE, lambda: self._in_parts(token.label))

    def of_everybody(self, token: Token) -> Opening | None:
        """Open every token: at a founding all are there."""
        return self.of_people({token.label}, token)

    def of_service(self, asked_for: Collection[str], credentials: Path | None, token: Token) -> Opening | None:
        """Open what can be opened where perhaps nobody is there: a daily token for which no PIN comes stays closed."""
        if credentials is not None and token.token_class != CEREMONY:
            path = service_credential.path(credentials, token.label)
            if path.exists():
                return self._opening(token, PinMode.CREDENTIAL, partial(service_credential.read, path))
        nobody = self._descriptor is None and not self._terminal.is_there()
        if nobody and token.token_class != CEREMONY:
            talk(f"token {token.label} stays closed: no PIN came with it, and nobody is there to give one")
            return None
        return self.of_people(asked_for, token)

    def new(self, what: str) -> bytearray:
        """Ask for a PIN that is about to be set: typed twice, or a line of the descriptor."""
        return self._ask(what, new=True)

    def new_in_parts(self, label: str) -> bytearray:
        """Ask for the two parts of a ceremony token's PIN that is about to be set, each typed twice by its holder."""
        return self._in_parts(label, new=True)

    def _opening(self, token: Token, mode: PinMode, ask: Callable[[], bytearray]) -> Opening:
        def pin() -> bytearray:
            if token.label not in self._kept:
                self._kept[token.label] = kept = ask()
                memory.hold(kept)
            return bytearray(self._kept[token.label])

        return Opening(pin, mode)

    def _in_parts(self, label: str, *, new: bool = False) -> bytearray:
        first = self._part(f"first part of the PIN of token {label}", new=new)
        try:
            second = self._part(f"second part of the PIN of token {label}", new=new)
        except BaseException:
            memory.wipe(first)
            raise
        return joined(first, second)

    def _part(self, what: str, *, new: bool) -> bytearray:
        part = self._ask(f"{'new ' * new}{what}", new=new)
        if fault := part_fault(part):
            memory.wipe(part)
            raise SecretError(SecretFault.PART, f"the {what}: {fault}")
        return part

    def _ask(self, what: str, *, new: bool = False) -> bytearray:
        if self._descriptor is not None:
            return secret_input.from_descriptor(self._descriptor, what, new=new)
        return (self._terminal.new_secret if new else self._terminal.secret)(what)


def check(founding: Founding, asked_for: Collection[str], credentials: Path | None) -> None:
    """Refuse what no run may do: a ceremony's PIN in a credential directory (R5), a token that is none of a ceremony.

    A credential named like a PIN of no token is refused too: it is a misspelt name, whose token would stay closed.
    Raises `SecretError` or `click.UsageError`.
    """
    ceremonies = {token.label for token in founding.tokens if token.token_class == CEREMONY}
    for label in asked_for:
        if label not in ceremonies:
            raise click.UsageError(f"--ceremony {label}: the founding has no token of class ceremony called that")
    if credentials is None:
        return
    for label in sorted(ceremonies):
        if (file := service_credential.path(credentials, label)).exists():
            raise SecretError(SecretFault.CEREMONY, f"{file}: two people give the PIN of token {label}")
    known = {service_credential.path(credentials, token.label).name for token in founding.tokens}
    for stranger in service_credential.named(credentials):
        if stranger not in known:
            labels = ", ".join(token.label for token in founding.tokens)
            raise SecretError(SecretFault.CREDENTIAL, f"{stranger} is of no token; those of the founding are {labels}")
