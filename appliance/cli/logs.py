"""`log`: look at it, verify it, rebuild what is read from it, carry it away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import click

from appliance.cli import failures, output
from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.exits import Exit
from appliance.cli.grammar import Noun
from appliance.cli.session import SOCKET, Session
from appliance.client import SocketTransport
from coldcred.acts import Act
from coldcred.canonical import Json, dumps
from coldcred.errors import LogReason, LogRejected
from coldcred.log.chain import verify_chain
from coldcred.log.tree import Frontier
from coldcred.record import Record

PAGE = 500


@click.group(cls=Noun)
def log() -> None:
    """Look at, verify and carry away the log of everything that happened."""


@log.command()
@click.option("--from", "first", type=click.IntRange(0), help="The first entry; the newest ones unless given.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many entries.")
@click.pass_obj
def show(session: Session, *, first: int | None, limit: int) -> None:
    """Show entries, the newest unless told from where."""
    client = session.client(hsm=False)
    if first is None:
        first = max(0, Record.of(client.read("status"), "status").integer("entries") - limit)
    entries = [*entries_of(client, first, first + limit)]
    rows = [_row(entry) for entry in entries]
    output.data(entries, output.table(rows, ("seq", "time", "type", "by", "what")))


def _row(entry: Json) -> dict[str, Json]:
    """Give an entry's line: who, and the members that say what it is about."""
    record = Record.of(entry, "entry")
    event = record.record("event").members()
    shown = ("workload", "credential", "profile", "site", "name", "token", "request", "reason", "size", "version")
    what = " ".join(f"{name}={output.cell(event[name])[:48]}" for name in shown if name in event)
    return {
        "seq": record.integer("seq"),
        "time": record.integer("time"),
        "type": event.get("type"),
        "by": event.get("by"),
        "what": what,
    }


@log.command()
@click.pass_obj
def verify(session: Session) -> Exit:
    """Verify the whole log: every link, and the root against what the appliance says and signed.

    This is the appliance's own word. An auditor verifies an export elsewhere: `coldcred log verify`.
    """
    served = SocketTransport.connect(session.home / SOCKET)
    if served is None:
        from appliance.cli.stopped import verify_log  # noqa: PLC0415 - loads the engine

        facts = verify_log(session.home)
    else:
        served.close()
        facts = verify_served(session.client())
    output.data(facts, output.facts(facts))
    return Exit.DONE


class Reading(Protocol):
    """What `verify_served` needs of a client."""

    def read(self, name: str, **arguments: str) -> Json:
        """Read a named view."""


def verify_served(client: Reading) -> dict[str, Json]:
    """Hold every entry of a running appliance to the size and root that it reports; raises `LogRejected`."""
    status = Record.of(client.read("status"), "status")
    size, root = status.integer("entries"), status.text("root")
    frontier = Frontier().extend(entry.leaf for entry in verify_chain(_bodies(client, size)))
    if frontier.size != size:
        raise LogRejected(LogReason.INCOMPLETE, f"{frontier.size} entries where the appliance reports {size}")
    if frontier.root().hex() != root:
        raise LogRejected(LogReason.WRONG_ROOT, "the entries have another root than the appliance reports")
    return {"verdict": "intact", "entries": size, "root": root}


def _bodies(client: Reading, size: int) -> Iterator[bytes]:
    return (dumps(entry) for entry in entries_of(client, 0, size))


def entries_of(client: Reading, first: int, end: int) -> Iterator[Json]:
    """Read the entries from `first` on and before `end`, page by page: large ones make short pages."""
    while first < end:
        page = client.read("entries", **{"from": str(first), "limit": str(min(PAGE, end - first))})
        if not isinstance(page, list) or not page:
            return
        yield from page
        first += len(page)


@log.command()
@click.option("--check", is_flag=True, help="Compare only; say which rows differ.")
@click.pass_obj
def rebuild(session: Session, *, check: bool) -> Exit:
    """Write the reading tables anew from the log, or compare them with it; nothing may be serving the home."""
    from appliance.cli.stopped import rebuild_tables  # noqa: PLC0415 - loads the database

    differences = rebuild_tables(session.home, check=check)
    found: list[Json] = [*differences]
    if check and differences:
        output.data({"differences": found}, differences)
        return failures.explain("tables-differ", f"{len(differences)} rows differ", as_json=False)
    said = "the tables are what the log says" if check else f"written anew; {len(differences)} rows had differed"
    output.data({"differences": found, "rebuilt": not check}, [said])
    return Exit.DONE


@log.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to write.")
@asks
@click.pass_obj
def export(session: Session, *, out: Path, request: Path | None, approval: tuple[Path, ...], valid_for: int) -> Exit:
    """Export the log, signed, for `coldcred log verify` elsewhere."""
    asking = Asking(Act.LOG_EXPORT, {}, paths={"export": out})
    return ask(session, asking, Manner(request, approval, valid_for))
