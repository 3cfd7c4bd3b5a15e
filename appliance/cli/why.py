"""`why`: why a command was, or would be, carried out or not, by which rule, and what else stands in its way."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from appliance.cli import output
from appliance.cli.carried import MAX_ATTACHMENT, read_attachments, read_bounded
from appliance.cli.grammar import Duration, IdVerb
from appliance.cli.places import InputPath
from appliance.cli.session import Session
from coldcred.acts import Act
from coldcred.canonical import Json, dumps, loads
from coldcred.record import Record

_WIDTH = 9


@click.command(cls=IdVerb)
@click.argument("about", metavar="[ID]", required=False)
@click.option("--entry", type=click.IntRange(0), help="The number of an entry, in place of an id.")
@click.option("--person", metavar="ID", help="Whoever would ask.")
@click.option("--as-workload", "workload_asks", metavar="SPIFFE-ID", help="The machine that would ask for itself.")
@click.option("--custodian", is_flag=True, help="The person would sign with their custodian key.")
@click.option("--act", type=click.Choice([act.value for act in Act]), metavar="ACT", help="What would be asked for.")
@click.option("--args", "arguments", type=InputPath(), help="A JSON file with the act's arguments.")
@click.option(
    "--attachment", "beside", type=InputPath(), multiple=True,
    help="A file that the arguments name by its SHA-256; may be repeated.",
)  # fmt: skip
@click.option("--profile", help="The profile of a credential.")
@click.option("--workload", metavar="SPIFFE-ID", help="The machine that the credential would be for.")
@click.option("--audience", help="Whom the credential would be shown to.")
@click.option("--scope", "scopes", multiple=True, help="A scope; may be repeated.")
@click.option("--ttl", type=Duration(), help="How long it would live.")
@click.option("--purpose", help="What it would be for, where the profile asks.")
@click.option("--task", help="The task, where the profile asks.")
@click.option(
    "--approved-by", "approved_by", multiple=True, metavar="ID", help="A person who would approve; may be repeated."
)
@click.pass_obj
def why(  # noqa: PLR0913 - each is one option of the verb
    session: Session,
    *,
    about: str | None,
    entry: int | None,
    person: str | None,
    workload_asks: str | None,
    custodian: bool,
    act: str | None,
    arguments: Path | None,
    beside: tuple[Path, ...],
    profile: str | None,
    workload: str | None,
    audience: str | None,
    scopes: tuple[str, ...],
    ttl: int | None,
    purpose: str | None,
    task: str | None,
    approved_by: tuple[str, ...],
) -> None:
    """Say why: what became of a command, or what would become of one, and by which rule; nothing is changed by it.

    ID is a command's, or its first 8 characters, or a credential's jti. Without it, --person and --act imagine one.
    """
    if about is not None or entry is not None:
        if person or workload_asks or act or (about is not None and entry is not None):
            raise click.UsageError("name what was by ID or by --entry alone, or imagine it by --person and --act")
        found = session.client(hsm=False).why({"about": about} if about is not None else {"entry": entry})
        output.data(found, _retold(found if isinstance(found, dict) else {}))
        return
    if (person is None) == (workload_asks is None) or act is None:
        raise click.UsageError("say who would ask, by --person or --as-workload, and for what, by --act")
    named: dict[str, Json] = {
        "profile": profile, "workload": workload or workload_asks, "audience": audience, "scopes": [*scopes] or None,
        "ttl": ttl, "purpose": purpose, "task": task,
    }  # fmt: skip
    asked: dict[str, Json] = {}
    if arguments is not None:
        asked = Record.of(loads(read_bounded(arguments, MAX_ATTACHMENT)), "arguments").members()
    elif act == Act.CREDENTIAL_ISSUE:
        asked = {name: value for name, value in named.items() if value is not None}
    imagined: dict[str, Json] = {"by": person or workload_asks, "act": act, "args": asked}
    if approved_by:
        imagined["approved_by"] = [*approved_by]
    if custodian:
        imagined["custodian"] = True
    found = session.client(hsm=False).why(imagined, read_attachments(beside, dumps(asked)))
    output.data(found, _imagined(found if isinstance(found, dict) else {}))


def _imagined(found: Mapping[str, Json]) -> Iterator[str]:
    """Lay out what would become of a command: what decides first, then all that was looked at."""
    state = {"done": "would be carried out", "waiting": "would wait", "refused": "would be refused"}
    reason = f" ({found.get('reason')})" if found.get("reason") else ""
    yield f"{found.get('act')} asked for by {found.get('by')}: {state.get(str(found.get('state')), '')}{reason}"
    for name in ("rule", "detail"):
        if found.get(name) is not None:
            yield f"  {'rule' if name == 'rule' else 'why':6}{found[name]}"
    people = found.get("people")
    if isinstance(people, dict):
        yield from _people(people)
    yield "looked at, in this order:"
    checks = found.get("checks")
    for one in checks if isinstance(checks, list) else ():
        if isinstance(one, dict):
            reason = f" ({one['reason']})" if one.get("reason") else ""
            yield f"  {one.get('verdict')!s:{_WIDTH}}{one.get('what')}: {one.get('found')}{reason} [{one.get('rule')}]"


def _retold(found: Mapping[str, Json]) -> Iterator[str]:
    """Lay out what became of a command, and the entries that say so."""
    if found.get("command") is not None:
        reason = f" ({found['reason']})" if found.get("reason") else ""
        yield f"{found.get('act')} asked for by {found.get('by')}: {found.get('state') or 'no more is known'}{reason}"
        for name, label in (("rule", "rule"), ("detail", "why"), ("command", "id"), ("policy", "policy")):
            if found.get(name) is not None:
                yield f"  {label:8}{found[name]}"
        if found.get("permits"):
            yield f"  permitted by policy {output.cell(found['permits'])}"
        asked, people = found.get("asked"), found.get("people")
        if isinstance(asked, dict) and isinstance(args := asked.get("args"), dict):
            yield from (f"  {line}" for line in output.facts(args))
        if isinstance(people, dict):
            yield from _people(people)
    told = found.get("entries")
    yield "entries:"
    for one in told if isinstance(told, list) else ():
        if isinstance(one, dict) and isinstance(one.get("time"), int):
            signature = f" (its signature: {one['signature']})" if one.get("signature") else ""
            yield f"  {one.get('seq')}  {output.cell(one.get('time'), 'time')}  {one.get('type')}{signature}"
    listed = len(told) if isinstance(told, list) else 0
    if isinstance(everything := found.get("all_entries"), int) and everything > listed:
        yield f"  and {everything - listed} more in between"


def _people(people: Mapping[str, Json]) -> Iterator[str]:
    have = people.get("have")
    if people.get("need") is not None:
        yield f"people: {people['need']} by {people.get('rule')}; so far {output.cell(have)}"
    for name, said in (("approvals", "approved by"), ("could_not", "could not approve:")):
        listed = people.get(name)
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, dict):
                counts = "counts" if one.get("counts") else f"{one.get('detail')} [{one.get('rule')}]"
                yield f"  {said} {one.get('person')}: {counts}"
    if people.get("could"):
        yield f"  could approve: {output.cell(people['could'])}"
