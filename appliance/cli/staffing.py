"""`operator add`, `remove`, `roles`, `add-key`, `replace-key`, `retire-key` and `recover`: who is enrolled, changed."""

from pathlib import Path

import click

from appliance.cli import output
from appliance.cli.asking import Asking, Manner, ask, asks
from appliance.cli.carried import read_document
from appliance.cli.exits import Exit
from appliance.cli.grammar import IdVerb, Verb
from appliance.cli.places import InputPath
from appliance.cli.session import Session
from coldcred.acts import Act, Role
from coldcred.canonical import Json, sha256_hex
from coldcred.countersignature import Countersignature, parse_countersignature
from coldcred.errors import ColdcredError, Malformed

_REASON = click.option("--reason", required=True, help="Why; it stands in the log.")
_ROLES = click.option(
    "--role", "roles", multiple=True, required=True, type=click.Choice([role.value for role in Role]),
    help="A role; may be repeated. An auditor holds no other.",
)  # fmt: skip
_PROOF = click.option(
    "--countersignature",
    "proof",
    required=True,
    type=InputPath(),
    metavar="FILE",
    help="What `operator countersign` wrote with the new key.",
)


@click.command("add", cls=Verb)
@click.argument("person", metavar="NAME")
@_ROLES
@_PROOF
@click.option("--reason", help="Why; it stands in the log.")
@asks
@click.pass_obj
def add(
    session: Session,
    *,
    person: str,
    roles: tuple[str, ...],
    proof: Path,
    reason: str | None,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Enrol a person with the key that they countersigned; takes two people."""
    signed = _read(session, proof, person)
    args: dict[str, Json] = {"person": person, "roles": [*dict.fromkeys(roles)]}
    if reason is not None:
        args["reason"] = reason
    return _ask(session, Act.OPERATOR_ADD, args, signed, Manner(request, approval, valid_for))


@click.command("remove", cls=Verb)
@click.argument("person", metavar="NAME")
@_REASON
@asks
@click.pass_obj
def remove(
    session: Session, *, person: str, reason: str, request: Path | None, approval: tuple[Path, ...], valid_for: int
) -> Exit:
    """Let a person go: their keys sign nothing any more; takes two people."""
    args: dict[str, Json] = {"person": person, "reason": reason}
    return _ask(session, Act.OPERATOR_REMOVE, args, None, Manner(request, approval, valid_for))


@click.command("roles", cls=Verb)
@click.argument("person", metavar="NAME")
@_ROLES
@_REASON
@asks
@click.pass_obj
def change(
    session: Session,
    *,
    person: str,
    roles: tuple[str, ...],
    reason: str,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Give a person exactly these roles; takes two people."""
    args: dict[str, Json] = {"person": person, "roles": [*dict.fromkeys(roles)], "reason": reason}
    return _ask(session, Act.OPERATOR_ROLES, args, None, Manner(request, approval, valid_for))


@click.command("add-key", cls=Verb)
@click.argument("person", metavar="NAME")
@_PROOF
@_REASON
@asks
@click.pass_obj
def add_key(
    session: Session,
    *,
    person: str,
    proof: Path,
    reason: str,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Enrol a further key of a person, who still counts once; takes two people."""
    args: dict[str, Json] = {"person": person, "retires": [], "reason": reason}
    signed = _read(session, proof, person)
    return _ask(session, Act.OPERATOR_REPLACE_KEY, args, signed, Manner(request, approval, valid_for))


@click.command("replace-key", cls=Verb)
@click.argument("person", metavar="NAME")
@_PROOF
@click.option(
    "--retire", "kids", multiple=True, required=True, metavar="KID", help="A key that is lost or worn; may be repeated."
)
@_REASON
@asks
@click.pass_obj
def replace_key(
    session: Session,
    *,
    person: str,
    proof: Path,
    kids: tuple[str, ...],
    reason: str,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Enrol a person's new key in the place of others; takes two people. `operator list` shows the kids."""
    args: dict[str, Json] = {"person": person, "retires": [*dict.fromkeys(kids)], "reason": reason}
    signed = _read(session, proof, person)
    return _ask(session, Act.OPERATOR_REPLACE_KEY, args, signed, Manner(request, approval, valid_for))


@click.command("retire-key", cls=IdVerb)
@click.argument("person", metavar="NAME")
@click.argument("kids", metavar="KID...", nargs=-1, required=True)
@_REASON
@asks
@click.pass_obj
def retire_key(
    session: Session,
    *,
    person: str,
    kids: tuple[str, ...],
    reason: str,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Take some of a person's keys out of use; they keep at least one. Takes two people."""
    args: dict[str, Json] = {"person": person, "retires": [*dict.fromkeys(kids)], "reason": reason}
    return _ask(session, Act.OPERATOR_REPLACE_KEY, args, None, Manner(request, approval, valid_for))


@click.command("recover", cls=Verb)
@click.argument("officer", metavar="OFFICER")
@_PROOF
@_REASON
@asks
@click.pass_obj
def recover(
    session: Session,
    *,
    officer: str,
    proof: Path,
    reason: str,
    request: Path | None,
    approval: tuple[Path, ...],
    valid_for: int,
) -> Exit:
    """Put a new key in an officer's place, as custodians: --as is your custodian key, the others' approve.

    FILE says whose key it is: the officer's own, or that of somebody new, who gets the officer's roles.
    """
    signed = _read(session, proof)
    args: dict[str, Json] = {"replaces": officer, "person": signed.person, "reason": reason}
    output.talk(f"in the place of {officer}: {signed.person}, key {signed.key.thumbprint}")
    return _ask(session, Act.OPERATOR_RECOVER, args, signed, Manner(request, approval, valid_for))


VERBS = (add, remove, change, add_key, replace_key, retire_key, recover)


def _ask(session: Session, act: Act, args: dict[str, Json], signed: Countersignature | None, manner: Manner) -> Exit:
    attachments: dict[str, bytes] = {}
    if signed is not None:
        body = signed.token.encode()
        args["countersignature"] = sha256_hex(body)
        attachments[sha256_hex(body)] = body
    return ask(session, Asking(act, args, attachments), manner)


def _read(session: Session, path: Path, person: str | None = None) -> Countersignature:
    """Read a countersignature and say, before anything is signed, when it is for something else."""
    try:
        found = parse_countersignature(read_document(path))
    except ColdcredError as error:
        raise type(error)(f"{path}: {error}") from error
    if person is not None and found.person != person:
        raise Malformed(f"{path} is signed for {found.person}, and this line is about {person[:64]!a}")
    founding = session.founding()
    if founding is not None and found.appliance != founding.appliance_id:
        raise Malformed(f"{path} is for appliance {found.appliance}, and this one is {founding.appliance_id}")
    return found
