"""`token`: PKCS#11 tokens, seen and initialised before an appliance is founded on them."""

from pathlib import Path

import click

from appliance.cli import output, secret_input
from appliance.cli.course import Descriptor
from appliance.cli.founding_files import variables
from appliance.cli.grammar import Noun
from appliance.cli.places import InputPath
from appliance.cli.session import Session
from coldcred import names
from coldcred.canonical import Json

_COLUMNS = ("label", "serial", "manufacturer", "model")
_MODULE = click.option("--module", required=True, type=InputPath(text=True), help="The PKCS#11 module's path.")
_ENVIRONMENT = click.option(
    "--module-env",
    "environment",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variable that the module finds its tokens by, such as SOFTHSM2_CONF; may be repeated.",
)


@click.group(cls=Noun)
def token() -> None:
    """See and initialise PKCS#11 tokens."""


@token.command("list")
@_MODULE
@_ENVIRONMENT
def list_them(module: str, environment: tuple[str, ...]) -> None:
    """List the tokens that a module offers; needs no PIN."""
    from appliance import wiring  # noqa: PLC0415 - loads the engine, which `--help` need not

    found, unread = wiring.list_tokens(str(Path(module).absolute()), variables(environment))
    _show(found)
    for slot in unread:
        output.talk(f"passed over, as it could not be read: {slot}")


@token.command("init")
@click.argument("label")
@_MODULE
@_ENVIRONMENT
@click.option("--so-pin-fd", type=Descriptor(), metavar="N", help="Descriptor N has the security officer's PIN.")
@click.option("--ceremony", is_flag=True, help="A ceremony's token: two people set one part each of the user's PIN.")
@click.pass_obj
def init_token(
    session: Session, *, label: str, module: str, environment: tuple[str, ...], so_pin_fd: int | None, ceremony: bool
) -> None:
    """Initialise a token called LABEL in a free slot, with two new PINs: the security officer's and the user's.

    With --ceremony the user's PIN is two parts, the second right behind the first, of 8 to 32 characters each: two
    people type one each, twice, or --pin-fd has them on two lines. Nobody else is to know either.
    """
    names.label(label, "token label")
    where = variables(environment)
    from appliance import wiring  # noqa: PLC0415 - loads the engine, which `--help` need not

    wiring.check_free(str(Path(module).absolute()), label, where)
    what = "new PIN of the security officer"
    if so_pin_fd is None:
        so_pin = session.terminal.new_secret(what)
    else:
        so_pin = secret_input.from_descriptor(so_pin_fd, what, new=True)
    pin = session.pins.new_in_parts(label) if ceremony else session.pins.new("new PIN of the user")
    made = wiring.initialise_token(str(Path(module).absolute()), label, so_pin, pin, where)
    output.talk(f"initialised token {label}; keep the two PINs apart")
    _show([made])


def _show(rows: list[dict[str, Json]]) -> None:
    output.data([*rows], output.table(rows, _COLUMNS))
