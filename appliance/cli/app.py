"""The options before the verb, the verbs, and the guard round all of them."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

import click
from click.shell_completion import shell_complete

from appliance.cli import failures
from appliance.cli.course import Course, Descriptor, course_of
from appliance.cli.exits import Exit
from appliance.cli.grammar import Noun
from appliance.cli.interrupts import as_interrupts
from appliance.cli.session import Session
from coldcred import memory, streams

DEFAULT_HOME = Path("/var/lib/coldcred/home")
_NAME = "coldcredctl"
_COMPLETE = "_COLDCREDCTL_COMPLETE"
_CARD = "pkcs11:"

_VERBS = MappingProxyType(
    {
        "init": "founding",
        "serve": "serving",
        "status": "serving",
        "operator": "operators",
        "token": "tokens",
        "workload": "workloads",
        "profile": "registers",
        "policy": "policies",
        "site": "registers",
        "key": "registers",
        "issue": "credentials",
        "revoke": "revoking",
        "request": "requests",
        "terms": "requests",
        "approve": "approvals",
        "deny": "approvals",
        "submit": "submitting",
        "command": "commands",
        "trust": "trust",
        "bundle": "bundles",
        "log": "logs",
        "review": "reviews",
        "inventory": "inventory",
        "why": "why",
    }
)
"""Each verb and the module it stands in; a module is loaded when its verb is used, which keeps `--help` quick."""


class _Verbs(Noun):
    """The verbs, in the order of a first day rather than of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in _VERBS:
            return None
        module = importlib.import_module(f"appliance.cli.{_VERBS[cmd_name]}")
        found: click.Command = getattr(module, cmd_name)
        return found


_EPILOG = """Exit codes: 0 done, 1 refused, 2 misuse, 3 waiting for approval, 4 HSM, 5 storage, 130 interrupted.
Data goes to standard output, talk to standard error. Secrets come from the terminal or from a descriptor, as in
`coldcredctl --home HOME --as alice.operator --passphrase-fd 3 status 3<passphrase`. A key on a card is named as in
`--as "pkcs11:token=alice?module-path=/usr/lib/softhsm/libsofthsm2.so" --pin-fd 3`; its module is given the variables
by which modules find their cards, such as SOFTHSM2_CONF, and no others. Where nothing serves the home and the
appliance's token is opened too, its PIN stands on the line after the card's."""


@click.command(
    cls=_Verbs, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--home", type=click.Path(path_type=Path), default=DEFAULT_HOME, show_default=True, help="The appliance's folder."
)
@click.option("--as", "who", metavar="KEYFILE|pkcs11:URI", help="Your own key, in a file or on a card, which signs.")
@click.option("--passphrase-fd", type=Descriptor(), metavar="N", help="Descriptor N has passphrases, one a line.")
@click.option("--pin-fd", type=Descriptor(), metavar="N", help="Descriptor N has PINs, one a line, your card's first.")
@click.option(
    "--ceremony", multiple=True, metavar="LABEL", help="Open this ceremony token too: two people give its PIN in parts."
)
@click.pass_context
def root(
    context: click.Context,
    *,
    home: Path,
    who: str | None,
    passphrase_fd: int | None,
    pin_fd: int | None,
    ceremony: tuple[str, ...],
) -> None:
    """Run an offline credential appliance: signed commands in, logged events out."""
    card = who if who is not None and who.startswith(_CARD) else None
    key_file = Path(who) if who is not None and card is None else None
    course = course_of(context)
    session = Session(home.absolute(), key_file, passphrase_fd, pin_fd, card, frozenset(ceremony), course)
    context.obj = session
    context.call_on_close(session.close)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and give its exit code; whatever goes wrong is said in words."""
    streams.fill()
    streams.escape_what_does_not_fit()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if completion := os.environ.get(_COMPLETE):
        return shell_complete(root, {}, _NAME, _COMPLETE, completion)
    course = Course(streams.inherited())
    try:
        with as_interrupts():
            memory.guard()
            return _run(given, course)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one guard: no traceback ever
        return failures.report(error, course, as_json="--json" in given)


def _run(given: list[str], course: Course) -> int:
    """Run what was asked for. Not by click's own `main`, which ends a run whose output fails in a way of its own."""
    try:
        with root.make_context(_NAME, given, obj=course) as context:
            code = root.invoke(context)
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    if sys.stdout is not None:
        sys.stdout.flush()
    return code if isinstance(code, int) else Exit.DONE
