"""`operator`: people and their keys."""

import os
from pathlib import Path

import click

from appliance import identity
from appliance.cli import output, staffing
from appliance.cli.grammar import Noun
from appliance.cli.registers import show
from appliance.cli.session import Session, now
from appliance.client import JTI_BYTES
from coldcred import names
from coldcred.canonical import b64u_encode, hex_digest
from coldcred.command import LONGEST_LIFE
from coldcred.countersignature import countersignature_claims
from coldcred.files import write_file
from coldcred.jose import Typ, assemble, signing_input


@click.group(cls=Noun)
def operator() -> None:
    """People and their keys."""


@operator.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def keygen(session: Session, file: Path) -> None:
    """Make your own key in FILE, under a passphrase, and its public half in FILE.pub.json.

    Make two: one for daily work, one as custodian. Hand over only the .pub.json files.
    """
    made = identity.keygen(file, session.new_passphrase(file))
    public = identity.public_path(file)
    output.talk(f"wrote {file} (keep it) and {public} (hand it over)")
    output.data({"file": str(file), "public": str(public), "kid": made.kid}, [made.kid])


@operator.command()
@click.option("--appliance", metavar="HEX", help="The appliance's id; that of the home, if there is one.")
@click.option("--person", required=True, metavar="NAME", help="Your own name, as you are to be enrolled.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The document to write.")
@click.pass_obj
def countersign(session: Session, *, appliance: str | None, person: str, out: Path) -> None:
    """Sign, with your new key, that it is yours, so that others can enrol it; needs no appliance here."""
    if appliance is None:
        founding = session.founding()
        if founding is None:
            raise click.UsageError("there is no home here to take the appliance's id from: give --appliance HEX")
        appliance = founding.appliance_id
    hex_digest(appliance)
    names.label(person, "person id")
    signer, time = session.identity(), now()
    claims = countersignature_claims(
        appliance=appliance,
        person=person,
        key=signer.public,
        jti=b64u_encode(os.urandom(JTI_BYTES)),
        issued_at=time,
        expires_at=time + LONGEST_LIFE,
    )
    data = signing_input(Typ.COUNTERSIGNATURE, signer.public.algorithm, signer.kid, claims)
    write_file(out, f"{assemble(data, signer.sign(data))}\n".encode(), mode=0o644)
    output.talk(f"the key's thumbprint is {signer.kid}: read it to whoever enrols you")
    output.talk(f"hand over {out} within 14 days: coldcredctl operator add {person} --countersignature FILE")
    members = {"file": str(out), "person": person, "kid": signer.kid, "appliance": appliance}
    output.data({**members}, [str(out)])


@operator.command("list")
@click.pass_obj
def list_people(session: Session) -> None:
    """List the people who are enrolled, with their roles and keys."""
    show(session, "people", ("person", "roles", "custodian", "since", "keys"))


for _verb in staffing.VERBS:
    operator.add_command(_verb)
