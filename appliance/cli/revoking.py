"""`revoke`: one credential, or all that live of a workload, a profile or a key; and what follows at the sites."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import click

from appliance.cli import output
from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.exits import Exit
from appliance.cli.grammar import IdVerb
from appliance.cli.places import OutputPath
from appliance.cli.session import Session
from appliance.outcome import Outcome
from coldcred import names
from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.errors import Malformed
from coldcred.files import FileKind
from coldcred.record import Record

SHOWN = 20
"""Most credentials that are shown on a screen; a file takes the whole list."""

_COLUMNS = ("jti", "workload", "profile", "site", "exp")
_STILL: Mapping[str, str] = MappingProxyType(
    {
        "workload": "this does not stop new ones: `coldcredctl workload suspend ID --reason WHY` does",
        "profile": "this does not stop new ones: the profile still allows them",
        "key": "this does not stop new ones: `coldcredctl key suspend NAME --reason WHY` does",
    }
)


@click.command(cls=IdVerb)
@click.argument("credential", metavar="[JTI]", required=False)
@click.option("--workload", metavar="ID", help="All that live of this workload, instead of one credential.")
@click.option("--profile", metavar="P", help="All that live under this profile.")
@click.option("--key", metavar="KEY", help="All that live of this signing key: its name or its kid.")
@click.option("--reason", required=True, help="Why; it stands in the log.")
@click.option(
    "--out", type=OutputPath(FileKind.GIVEN), help="Write the whole list of what is revoked, one JSON a line."
)
@asks
@click.pass_obj
def revoke(  # noqa: PLR0913 - each is one option of the verb
    session: Session,
    *,
    credential: str | None,
    workload: str | None,
    profile: str | None,
    key: str | None,
    reason: str,
    out: Path | None,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Revoke one credential by its JTI, or many; sites learn of it with their next bundle."""
    given = {"credential": credential, "workload": workload, "profile": profile, "key": key}
    selected: dict[str, Json] = {name: value for name, value in given.items() if value is not None}
    if len(selected) != 1:
        raise click.UsageError("name one thing to revoke: a JTI, --workload, --profile or --key")
    if key is not None:
        selected["key"] = _kid(session, key)
    paths = {} if out is None else {"revoked": out}
    asking = Asking(Act.CREDENTIAL_REVOKE, {**selected, "reason": reason}, paths=paths, lines=partial(_lines, out))
    return ask(session, asking, Manner(request, approval, valid_for))


def _kid(session: Session, key: str) -> str:
    """Give the kid of a key that is named; what is no name of a key is a kid already."""
    try:
        names.label(key)
    except Malformed:
        return key
    rows = session.client().read("keys")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row["name"] == key and isinstance(row["kid"], str):
            return row["kid"]
    return key


def _lines(out: Path | None, outcome: Outcome) -> list[str]:
    """Say what was revoked, when it would have ended, and which bundles carry it; `out` has the whole list."""
    result = Record(dict(outcome.result), "result")
    count, number = result.integer("count"), result.integer("next_bundle")
    ((by, value),) = result.record("selector").members().items()
    lines = [f"revoked {count} {'credential' if count == 1 else 'credentials'}: {by} {value}"]
    for site in result.records("sites"):
        name, some = site.text("site"), site.integer("count")
        first, last = output.moment(site.integer("first_end")), output.moment(site.integer("last_end"))
        end = f"at {first}" if first == last else f"from {first} to {last}"
        lines.append(f"site {name}: {some}, refused there once the next bundle for {name} is applied; else over {end}")
        output.talk(
            f"next: `coldcredctl bundle create --site {name} --out FILE` (it is bundle {number} or a later one)"
        )
    if by in _STILL:
        output.talk(_STILL[by])
    return [*lines, *_table(outcome.files.get("revoked", b""), count, out)]


def _table(listed: bytes, count: int, out: Path | None) -> list[str]:
    """Lay out the first of the list, and say how many more there are."""
    rows: list[dict[str, Json]] = [json.loads(line) for line in listed.splitlines()[:SHOWN]]
    if not rows:
        return []
    where = "--out FILE takes the list" if out is None else f"{out} has the list"
    more = [f"and {count - len(rows)} more; {where}"] if count > len(rows) else []
    return ["", *output.table(rows, _COLUMNS), *more]
