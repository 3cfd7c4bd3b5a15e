"""`policy`: the rules in Cedar that can forbid what the table of acts permits; set, shown and checked."""

from pathlib import Path

import click

from appliance.cedar import PolicySet
from appliance.cli import output
from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.exits import Exit
from appliance.cli.grammar import Noun
from appliance.cli.places import InputPath
from appliance.cli.registers import show
from appliance.cli.session import Session
from appliance.policyschema import schema
from appliance.policytext import MAX_BYTES, PolicyInvalid
from coldcred.acts import Act
from coldcred.canonical import Json, sha256_hex
from coldcred.policy import DEFAULT


@click.group(cls=Noun)
def policy() -> None:
    """Rules in Cedar that tighten who may do what."""


@policy.command("set")
@click.argument("file", type=InputPath())
@click.option("--yes", is_flag=True, help="Send it without being asked once more at the terminal.")
@asks
@click.pass_obj
def set_policy(
    session: Session, *, file: Path, request: Path | None, approval: tuple[Path, ...], valid_for: int, yes: bool
) -> Exit:
    """Put the policy in FILE (Cedar) in force, whole, in place of the one before; takes two people.

    At a terminal what it would change is shown first, and you are asked before you sign.
    """
    body = _read(file)
    digest = PolicySet.parse(body).digest
    args: dict[str, Json] = {"policy": digest}
    manner = Manner(request, approval, valid_for, yes=yes)
    return ask(session, Asking(Act.POLICY_SET, args, {digest: body}), manner)


@policy.command("show")
@click.option("--default", "beginning", is_flag=True, help="The one that an appliance begins with; asks no appliance.")
@click.option("--schema", "vocabulary", is_flag=True, help="What policies can speak of; asks no appliance.")
@click.option("--hash", "digest", metavar="SHA256", help="One that was in force before, as `policy list` names it.")
@click.pass_obj
def show_policy(session: Session, *, beginning: bool, vocabulary: bool, digest: str | None) -> None:
    """Show the policy in force, as it was written."""
    if sum((beginning, vocabulary, digest is not None)) > 1:
        raise click.UsageError("one of --default, --schema and --hash")
    if beginning:
        output.data({"policy": sha256_hex(DEFAULT.encode()), "text": DEFAULT}, DEFAULT.splitlines())
        return
    if vocabulary:
        output.data({"schema": schema()}, schema().splitlines())
        return
    found = session.client(hsm=False).read("policy", **({} if digest is None else {"hash": digest}))
    text = found.get("text") if isinstance(found, dict) else None
    output.data(found, str(text).splitlines())


@policy.command("check")
@click.argument("file", type=InputPath())
def check_policy(*, file: Path) -> None:
    """Read the policy in FILE and hold it to the schema; asks no appliance, so not whom it would lock out."""
    found = PolicySet.parse(_read(file))
    output.data({"policy": found.digest, "policies": [*found.ids]}, [found.digest])


@policy.command("list")
@click.pass_obj
def list_policies(session: Session) -> None:
    """List the policies that were in force, the oldest first, with who set each and when."""
    show(session, "policies", ("policy", "time", "people", "in_force"))


def _read(file: Path) -> bytes:
    """Read a text, no more of it than a policy has."""
    with file.open("rb") as opened:
        body = opened.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise PolicyInvalid(f"{file} has over {MAX_BYTES} bytes")
    return body
