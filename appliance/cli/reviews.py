"""`review`: everything that stands is confirmed by a date, or stops."""

from pathlib import Path

import click

from appliance.cli import output
from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.exits import Exit
from appliance.cli.grammar import Duration, Noun
from appliance.cli.session import Session, now
from appliance.client import Client
from appliance.errors import Refusal, Refused
from appliance.outcome import Outcome
from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.log.review import MAX_CONFIRMED
from coldcred.record import Record

PAGE = 1000
"""Workloads that are read at once."""


@click.group(cls=Noun)
def review() -> None:
    """Have everything that stands confirmed by a date; what is not stops."""


@review.command("start")
@click.argument("name")
@click.option("--until", type=Duration(), required=True, metavar="30d", help="How long people have: 1 to 90 days.")
@click.option("--reason", help="Why; it stands in the log.")
@asks
@click.pass_obj
def start(
    session: Session,
    *,
    name: str,
    until: int,
    reason: str | None,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Start a review of all workloads and operators; takes two people."""
    args: dict[str, Json] = {"name": name, "until": now() + until}
    if reason is not None:
        args["reason"] = reason
    asking = Asking(Act.REVIEW_START, args, unsaid=frozenset({"until"}), lines=_left)
    return ask(session, asking, Manner(request, approval, valid_for))


@review.command("confirm")
@click.option("--workload", "workloads", multiple=True, metavar="ID", help="A workload that stays; may be repeated.")
@click.option("--operator", "operators", multiple=True, metavar="PERSON", help="A person who stays; may be repeated.")
@click.option("--mine", is_flag=True, help="All workloads that you own and nobody confirmed yet.")
@asks
@click.pass_obj
def confirm(
    session: Session,
    *,
    workloads: tuple[str, ...],
    operators: tuple[str, ...],
    mine: bool,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Confirm workloads that you own and, as an officer, any workload and other people; takes one person."""
    if not workloads and not operators and not mine:
        raise click.UsageError("name what stays: --workload, --operator or --mine")
    client = session.client()
    found = _open_review(client)
    named = [*workloads]
    if mine:
        named += [one for one in _workloads(client, _me(client)) if one not in workloads]
        if not named and not operators:
            output.talk("nothing that you own is left to confirm")
            output.data({"review": found, "workloads": []}, [])
            return Exit.DONE
    parts = [named[first : first + MAX_CONFIRMED] for first in range(0, len(named), MAX_CONFIRMED)] or [[]]
    if len(parts) > 1 and (request is not None or approval):
        raise click.UsageError(f"one request confirms at most {MAX_CONFIRMED} workloads; leave out --request")
    code = Exit.DONE
    for place, part in enumerate(parts):
        args: dict[str, Json] = {"review": found}
        if part:
            args["workloads"] = [*part]
        if operators and place == 0:
            args["operators"] = [*operators]
        asking = Asking(Act.REVIEW_CONFIRM, args, lines=_left)
        code = ask(session, asking, Manner(request, approval, valid_for))
        if code is not Exit.DONE:
            break
    return code


@review.command("close")
@asks
@click.pass_obj
def close(session: Session, *, request: Path | None, approval: tuple[Path, ...], valid_for: int) -> Exit:
    """Close the review; takes two people. Workloads that nobody confirmed are suspended."""
    args: dict[str, Json] = {"review": _open_review(session.client())}
    return ask(session, Asking(Act.REVIEW_CLOSE, args), Manner(request, approval, valid_for))


@review.command("show")
@click.pass_obj
def show(session: Session) -> None:
    """Show the review that is open: its date, and whom and what nobody confirmed yet."""
    client = session.client(hsm=False)
    found = _page(client, 0)
    if found is None:
        output.data(None, ["no review is open"])
        return
    rows = [*found["workloads"]] if isinstance(found["workloads"], list) else []
    while len(rows) < int(str(found["count"])) and (more := _page(client, len(rows))) is not None:
        part = more["workloads"]
        if not isinstance(part, list) or not part:
            break
        rows += part
    facts = {name: found[name] for name in ("review", "until", "passed", "operators")}
    lines = output.facts({"review": facts["review"], "end": facts["until"], "passed": facts["passed"]})
    lines += output.facts({"unconfirmed_operators": facts["operators"]})
    table = output.table([row for row in rows if isinstance(row, dict)], ("id", "owner")) if rows else []
    output.data({**facts, "workloads": rows}, [*lines, "", *table] if table else lines)


def _left(outcome: Outcome) -> list[str]:
    """Say how many are left to confirm."""
    result = Record(dict(outcome.result), "result")
    name, workloads, operators = result.text("review"), result.integer("workloads"), result.integer("operators")
    return [f"review {name}: left to confirm: workloads {workloads}, operators {operators}"]


def _open_review(client: Client) -> str:
    found = client.read("review", limit="0")
    if not isinstance(found, dict):
        raise Refused(Refusal.UNKNOWN_REVIEW, "no review is open")
    return str(found["review"])


def _page(client: Client, offset: int, **more: str) -> dict[str, Json] | None:
    found = client.read("review", offset=str(offset), limit=str(PAGE), **more)
    return found if isinstance(found, dict) else None


def _workloads(client: Client, owner: str) -> list[str]:
    """Give every workload of an owner that nobody confirmed yet."""
    names: list[str] = []
    while (found := _page(client, len(names), owner=owner)) is not None:
        rows = found["workloads"]
        part = [str(row["id"]) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        if not part:
            break
        names += part
    return names


def _me(client: Client) -> str:
    """Give the person whose key signs."""
    rows = client.read("people")
    kid = client.identity.kid if client.identity is not None else ""
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row["kid"] == kid:
            return str(row["person"])
    raise Refused(Refusal.UNKNOWN_SIGNER, "your key is nobody's here")
