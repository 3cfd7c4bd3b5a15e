"""`operator`: people and their keys."""

import os
from pathlib import Path

import click

from appliance import identity
from appliance.cli import output
from appliance.cli.grammar import Noun
from appliance.cli.registers import show
from appliance.cli.session import Session
from appliance.identity import IdentityError, IdentityFault
from coldcred.canonical import loads
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
    public, named = make_key(uri, algorithm, session.card_pin, os.environ, os.urandom)
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


@operator.command("list")
@click.pass_obj
def list_people(session: Session) -> None:
    """List the people who are enrolled, with their roles."""
    show(session, "people", ("person", "roles", "kid"))
