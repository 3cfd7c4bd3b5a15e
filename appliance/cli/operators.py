"""`operator`: people and their keys."""

import os
from pathlib import Path

import click

from appliance import identity
from appliance.cli import output, staffing
from appliance.cli.grammar import Noun
from appliance.cli.registers import show
from appliance.cli.session import Session, now
from appliance.identity import IdentityError, IdentityFault
from appliance.signing import JTI_BYTES
from coldcred import names
from coldcred.canonical import b64u_encode, hex_digest, loads
from coldcred.command import LONGEST_LIFE
from coldcred.countersignature import countersignature_claims
from coldcred.files import write_file
from coldcred.jose import Typ, assemble, signing_input
from coldcred.keys import Algorithm


@click.group(cls=Noun)
def operator() -> None:
    """People and their keys."""


@operator.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--card", metavar="pkcs11:URI", help="Make the key on your card instead; FILE.pub.json is all that is written."
)
@click.option(
    "--algorithm",
    type=click.Choice([one.value for one in Algorithm]),
    help="Of a key on a card; ES256 unless given. In a file: Ed25519.",
)
@click.pass_obj
def keygen(session: Session, *, file: Path, card: str | None, algorithm: str | None) -> None:
    """Make your own key in FILE, under a passphrase, and its public half in FILE.pub.json.

    Make two: one for daily work, which may be on a card, and one as custodian. Hand over only the .pub.json files.
    """
    if card is not None:
        _make_on_card(session, file, card, Algorithm(algorithm or Algorithm.ES256))
        return
    if algorithm not in {None, Algorithm.ED25519}:
        raise click.UsageError("a key in a file is Ed25519; for ES256 give --card too")
    made = identity.keygen(file, session.new_passphrase(file))
    public = identity.public_path(file)
    output.talk(f"wrote {file} (keep it) and {public} (hand it over)")
    output.data({"file": str(file), "public": str(public), "kid": made.kid}, [made.kid])


def _make_on_card(session: Session, file: Path, uri: str, algorithm: Algorithm) -> None:
    from appliance.card import make_key  # noqa: PLC0415 - only those who have a card need the worker's supervisor

    public_file = identity.public_path(file)
    if os.path.lexists(public_file):
        raise IdentityError(IdentityFault.EXISTS, f"{public_file} exists and is never overwritten")
    output.check_writable(public_file)
    public, named = make_key(uri, algorithm, session.card_pin, os.environ, session.vouches, os.urandom)
    output.talk(f"made an {algorithm} key on the card: {named}")
    identity.write_public(public_file, public)
    output.talk(f"wrote {public_file} (hand it over); the key stays on the card")
    output.data(
        {"card": named, "public": str(public_file), "kid": public.thumbprint, "algorithm": algorithm.value},
        [public.thumbprint],
    )


@operator.command("show")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the public half here: NAME.pub.json.")
@click.pass_obj
def show_own(session: Session, out: Path | None) -> None:
    """Show the public half of your own key (--as), in a file or on a card, as it is handed over."""
    public = session.identity().public
    if out is not None:
        identity.write_public(out, public)
        output.talk(f"wrote {out} (hand it over)")
    written = identity.public_jwk(public)
    output.data(loads(written), [written.decode().rstrip()])


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
