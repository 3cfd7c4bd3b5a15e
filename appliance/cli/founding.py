"""`init`: found an appliance, with files that go round between its founders, or at one terminal."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from appliance import ceremony
from appliance.ceremony import Place
from appliance.cli import founding_files, output, secret_input
from appliance.cli.exits import Exit
from appliance.cli.grammar import Noun
from appliance.cli.session import Session, now
from appliance.identity import Identity
from coldcred.files import write_file
from coldcred.founding import Founding
from coldcred.jose import MAX_TOKEN

_FILE = click.Path(path_type=Path)


def _option(*names: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: ANN401
    return click.option(*names, **attributes)


_PLAN = _option("--plan", type=_FILE, required=True, help="The plan (TOML), its profile files beside it.")
_PEOPLE = _option("--people", type=_FILE, required=True, help="The folder with everyone's public keys, ID.*.pub.json.")
_MODULE = _option("--module", required=True, help="The PKCS#11 module's path.")
_TOKEN = _option(
    "--token",
    "tokens",
    multiple=True,
    metavar="LABEL=URI",
    help="The PKCS#11 URI of a token of the founding; pkcs11:token=LABEL unless given.",
)
_ENVIRONMENT = _option(
    "--module-env",
    "environment",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variable that the module finds its tokens by, such as SOFTHSM2_CONF.",
)


@click.group(cls=Noun)
def init() -> None:
    """Found an appliance: draft, sign by everyone, complete."""


@init.command()
@_PLAN
@_PEOPLE
@click.option("--out", type=_FILE, required=True, help="Where to write founding.json.")
def draft(plan: Path, people: Path, out: Path) -> None:
    """Write the founding that follows from a plan and everyone's public keys; it is inert until all have signed."""
    founding = founding_files.document(plan, people, now())
    write_file(out, founding.body, 0o644, replace=False)
    founding_files.tell(founding)
    output.talk(f"wrote {out}; each founder signs it with both keys: coldcredctl --as KEY init sign {out} --out FILE")
    output.data({"appliance": founding.appliance_id, "founding": str(out)}, [founding.appliance_id])


@init.command()
@click.argument("file", metavar="FOUNDING", type=_FILE)
@click.option("--out", type=_FILE, required=True, help="Where to write the signature.")
@click.pass_obj
def sign(session: Session, file: Path, out: Path) -> None:
    """Sign the founding with one of your two keys (--as); read what it says first."""
    founding = founding_files.read(file)
    founding_files.tell(founding)
    identity = session.identity()
    place = ceremony.place_of(founding, identity.kid)
    write_file(out, f"{ceremony.sign(founding, identity, now())}\n".encode(), 0o644, replace=False)
    output.talk(f"signed as {place.person} with the {place.register} key; wrote {out}")
    output.data(
        {"appliance": founding.appliance_id, "person": place.person, "register": place.register, "file": str(out)},
        [str(out)],
    )


@init.command()
@click.argument("file", metavar="FOUNDING", type=_FILE)
@click.argument("signatures", metavar="SIGNATURE...", nargs=-1, required=True, type=_FILE)
@_MODULE
@_TOKEN
@_ENVIRONMENT
@click.pass_obj
def complete(
    session: Session,
    *,
    file: Path,
    signatures: tuple[Path, ...],
    module: str,
    tokens: tuple[str, ...],
    environment: tuple[str, ...],
) -> Exit:
    """Create the home from a founding that everyone signed, and have the token make the keys.

    Run it again when it stopped half-way: it goes on with the same founding and refuses any other.
    """
    founding = founding_files.read(file)
    signed = [
        founding_files.bounded(path, MAX_TOKEN).decode("ascii", "replace").removesuffix("\n") for path in signatures
    ]
    return _create(session, founding, signed, (module, tokens, environment))


@init.command("all")
@_PLAN
@_PEOPLE
@_MODULE
@_TOKEN
@_ENVIRONMENT
@click.option(
    "--passphrase-dir",
    type=_FILE,
    help="For demonstrations: the folder with ID.operator.passphrase and ID.custodian.passphrase of each.",
)
@click.pass_obj
def all_at_once(
    session: Session,
    *,
    plan: Path,
    people: Path,
    module: str,
    tokens: tuple[str, ...],
    environment: tuple[str, ...],
    passphrase_dir: Path | None,
) -> Exit:
    """Draft, sign and complete at one terminal, everyone typing their own passphrases; keys lie in --people.

    Run it again when it stopped half-way: the same plan and people go on, others are refused. Whoever has a card signs
    by `init sign` instead.
    """
    begun = session.founding()
    founding = founding_files.document(plan, people, begun.time if begun else now())
    founding_files.tell(founding)
    if passphrase_dir is not None:
        output.talk(f"taking passphrases from files in {passphrase_dir}: for a demonstration, never for an appliance")
    signed = [_sign_here(session, founding, place, people, passphrase_dir) for place in ceremony.places(founding)]
    return _create(session, founding, signed, (module, tokens, environment))


def _sign_here(session: Session, founding: Founding, place: Place, people: Path, passphrases: Path | None) -> str:
    key = people / place.name
    ask = session.passphrase(key) if passphrases is None else _in_file(passphrases / f"{place.name}.passphrase")
    return ceremony.sign(founding, Identity.load(key, ask), now())


def _in_file(path: Path) -> Callable[[], bytearray]:
    def ask() -> bytearray:
        with path.open("rb") as file:
            return secret_input.from_descriptor(file.fileno(), "passphrase")

    return ask


def _create(
    session: Session,
    founding: Founding,
    signatures: Sequence[str],
    hsm: tuple[str, tuple[str, ...], tuple[str, ...]],
) -> Exit:
    """Create the home, whole or not at all, then start once, so that the token makes every key that is missing."""
    from appliance.cli.inprocess import EngineTransport  # noqa: PLC0415 - loads the engine
    from appliance.home import Home, Settings, create  # noqa: PLC0415 - loads the database

    module, tokens, environment = hsm
    settings = Settings(
        str(Path(module).absolute()),
        founding_files.token_uris(founding, tokens),
        founding_files.variables(environment),
    )
    ceremony.check(founding, signatures)
    create(session.home, founding, signatures, settings, now())
    output.talk(f"founded {founding.name} in {session.home}; the token makes its keys")
    if Home.open(session.home).settings != settings:
        output.talk("settings.toml in the home stays as it is: --module, --module-env and --token were not used")
    engine = EngineTransport(session.home, session.pins.of_everybody)
    engine.close()
    output.talk("done: keep the passphrases apart from the keys, and start it with `coldcredctl serve`")
    output.data({"appliance": founding.appliance_id, "home": str(session.home)}, [founding.appliance_id])
    return Exit.DONE
