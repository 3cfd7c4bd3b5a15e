"""`serve` and `status`: the appliance at work, and how it stands."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from appliance.cli import opening, output
from appliance.cli.course import Descriptor
from appliance.cli.exits import Exit
from appliance.cli.grammar import Verb
from appliance.cli.session import SOCKET, Session
from appliance.client import SocketTransport
from appliance.disk import free_bytes, is_low
from appliance.errors import HomeError, HomeFault, Refusal, Refused
from appliance.home import check_settings
from appliance.pins import Opening
from coldcred.canonical import Json
from coldcred.founding import Token


@click.command(cls=Verb)
@click.option("--ready-fd", type=Descriptor(), metavar="N", help="Write a line to descriptor N once it serves.")
@click.option("--closed", is_flag=True, help="Open no token: serve reading, and what needs no signature.")
@click.pass_obj
def serve(session: Session, *, ready_fd: int | None, closed: bool) -> Exit:
    """Serve the home on its socket until stopped by SIGTERM, SIGINT or SIGHUP.

    PINs of daily tokens may come from the service manager, in $CREDENTIALS_DIRECTORY. A token without one stays closed
    where nobody is there to type it.
    """
    from appliance.cli.served import serve_home  # noqa: PLC0415 - only this verb needs a server

    _tell_single(session)
    if not closed and session.pin_fd is None and session.terminal.is_there():
        session.terminal.hush()
    serve_home(session.home, None if closed else _openings(session), ready_fd, session.terminal.release)
    output.data({"served": str(session.home)}, [])
    return Exit.DONE


@click.command(cls=Verb)
@click.pass_obj
def status(session: Session) -> Exit:
    """Say how the appliance stands; with --as also what only its people may read."""
    founding = session.founding()
    if founding is None:
        raise HomeError(HomeFault.MISSING, f"{session.home} is not a folder with a home in it")
    check_settings(session.home)
    facts: dict[str, Json] = {
        "home": str(session.home),
        "served": _is_served(session),
        "appliance": founding.appliance_id,
        "name": founding.name,
        "trust_domain": founding.trust_domain,
        "single_operator": founding.single_operator,
        "disk_free": (free := free_bytes(session.home)),
        "disk_low": is_low(free),
    }
    if not session.is_somebody:
        _tell_single(session)
    else:
        facts |= _read(session)
        if facts.get("makes_checkpoints") is False and (facts["served"] or facts.get("suspended_keys")):
            output.talk(
                "the log key is suspended or has ended, or its token is closed: no checkpoint and no bundle is made"
            )
    output.data(facts, output.facts(facts))
    return Exit.DONE


def _openings(session: Session) -> Callable[[Token], Opening | None]:
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    credentials = None if given is None else Path(given)
    if (founding := session.founding()) is not None:
        opening.check(founding, session.ceremony, credentials)
    return partial(session.pins.of_service, session.ceremony, credentials)


def _read(session: Session) -> dict[str, Json]:
    """Read what the appliance says of itself; nothing where only its disk keeps it from opening a reading."""
    try:
        found = session.client(hsm=False).read("status")
    except Refused as refused:
        if refused.reason is not Refusal.DISK_RESERVE:
            raise
        output.talk(f"the appliance answers no reading: {refused.detail}")
        return {}
    return found if isinstance(found, dict) else {}


def _is_served(session: Session) -> bool:
    transport = SocketTransport.connect(session.home / SOCKET)
    if transport is None:
        return False
    transport.close()
    return True


def _tell_single(session: Session) -> None:
    founding = session.founding()
    if founding is not None and founding.single_operator:
        output.talk(output.SINGLE_OPERATOR)
