"""`init`: found an appliance, with files that go round between its founders, or at one terminal."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from appliance import ceremony
from appliance.ceremony import Place
from appliance.cli import founding_files, output, reading, secret_input
from appliance.cli.exits import Exit
from appliance.cli.grammar import Noun
from appliance.cli.places import InputPath, OutputPath
from appliance.cli.session import Session, now
from appliance.identity import Identity
from coldcred import workable
from coldcred.files import FileKind, write_file
from coldcred.founding import Founding
from coldcred.jose import MAX_TOKEN
from coldcred.rendering import foundings

if TYPE_CHECKING:
    from appliance.home import Settings

_FILE = InputPath()
_OUT = OutputPath(FileKind.DOCUMENT)


def _option(*names: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: ANN401 - what click takes for an option
    return click.option(*names, **attributes)


_PLAN = _option("--plan", type=_FILE, required=True, help="The plan (TOML), its profile files beside it.")
_PEOPLE = _option("--people", type=_FILE, required=True, help="The folder with everyone's public keys, ID.*.pub.json.")
_MODULE = _option("--module", required=True, help="The PKCS#11 module's path.")
_TOKEN = _option(
    "--token",
    "tokens",
    multiple=True,
    metavar="LABEL=URI",
    help="The PKCS#11 URI of a token of the founding, pkcs11:token=LABEL unless given; may be repeated.",
)
_ENVIRONMENT = _option(
    "--module-env",
    "environment",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variable that the module finds its tokens by, such as SOFTHSM2_CONF; may be repeated.",
)


_YES = _option("--yes", is_flag=True, help="Sign without being asked once more at the terminal.")


@click.group(cls=Noun)
def init() -> None:
    """Found an appliance: draft, sign by everyone, complete."""


@init.command()
@_PLAN
@_PEOPLE
@click.option("--out", type=_OUT, required=True, help="Where to write founding.json.")
def draft(plan: Path, people: Path, out: Path) -> None:
    """Write the founding that follows from a plan and everyone's public keys; it is inert until all have signed."""
    founding = founding_files.document(plan, people, now())
    workable.check(founding)
    write_file(out, founding.body, FileKind.DOCUMENT)
    _show(founding)
    output.talk(f"wrote {out}; each founder signs it with both keys: coldcredctl --as KEY init sign {out} --out FILE")
    output.data({"appliance": founding.appliance_id, "founding": str(out)}, [founding.appliance_id])


@init.command()
@click.argument("file", metavar="FOUNDING", type=_FILE)
@click.option("--out", type=_OUT, required=True, help="Where to write the signature.")
@_YES
@click.pass_obj
def sign(session: Session, *, file: Path, out: Path, yes: bool) -> None:
    """Sign the founding with one of your two keys (--as); read what it says first."""
    founding = founding_files.read(file)
    workable.check(founding)
    reading.agree(foundings.lines(founding), "sign this founding?", yes=yes)
    identity = session.identity()
    place = ceremony.place_of(founding, identity.kid)
    write_file(out, f"{ceremony.sign(founding, identity, now())}\n".encode(), FileKind.DOCUMENT)
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
    ceremony.check(founding, signed)
    hsm = (module, tokens, environment)
    _look(session, founding, hsm)
    return _create(session, founding, signed, hsm)


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
@_YES
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
    yes: bool,
) -> Exit:
    """Draft, sign and complete at one terminal, everyone typing their own passphrases; keys lie in --people.

    Run it again when it stopped half-way: the same plan and people go on, others are refused. Whoever has a card signs
    by `init sign` instead.
    """
    begun = session.founding()
    founding = founding_files.document(plan, people, begun.time if begun else now())
    _look(session, founding, hsm := (module, tokens, environment))
    reading.agree(foundings.lines(founding), "sign and found this?", yes=yes or passphrase_dir is not None)
    if passphrase_dir is not None:
        output.talk(f"taking passphrases from files in {passphrase_dir}: for a demonstration, never for an appliance")
    signed = [_sign_here(session, founding, place, people, passphrase_dir) for place in ceremony.places(founding)]
    return _create(session, founding, signed, hsm)


def _show(founding: Founding) -> None:
    for row in reading.rows(foundings.lines(founding), err=True):
        click.echo(row, err=True)


def _sign_here(session: Session, founding: Founding, place: Place, people: Path, passphrases: Path | None) -> str:
    key = people / place.name
    ask = session.passphrase(key) if passphrases is None else _in_file(passphrases / f"{place.name}.passphrase")
    return ceremony.sign(founding, Identity.load(key, ask), now())


def _in_file(path: Path) -> Callable[[], bytearray]:
    def ask() -> bytearray:
        with path.open("rb") as file:
            return secret_input.from_descriptor(file.fileno(), "passphrase")

    return ask


_Hsm: TypeAlias = tuple[str, tuple[str, ...], tuple[str, ...]]
"""What a founding is told of its HSM: --module, each --token and each --module-env."""


def _settings(founding: Founding, hsm: _Hsm) -> "Settings":
    from appliance.home import Settings  # noqa: PLC0415 - loads the database

    module, tokens, environment = hsm
    return Settings(
        str(Path(module).absolute()),
        founding_files.token_uris(founding, tokens),
        founding_files.variables(environment),
    )


def _look(session: Session, founding: Founding, hsm: _Hsm) -> None:
    """Look at everything that a founding rests on before anybody signs or anything is made.

    A home that was begun is gone on with, with the settings that it was begun with and no others.
    """
    from appliance import wiring  # noqa: PLC0415 - loads the engine
    from appliance.home import check_same, resumed  # noqa: PLC0415 - only founding needs it, and each start would pay for it

    settings = _settings(founding, hsm)
    begun = resumed(session.home, founding)
    if begun is not None:
        given = frozenset(text.partition("=")[0] for text in hsm[1])
        check_same(begun.settings, settings, given)
        return
    workable.check(founding)
    wiring.look(settings)


def _create(session: Session, founding: Founding, signatures: Sequence[str], hsm: _Hsm) -> Exit:
    """Create the home, whole or not at all, then start once, so that the token makes every key that is missing."""
    from appliance.cli.inprocess import EngineTransport  # noqa: PLC0415 - loads the engine
    from appliance.home import create  # noqa: PLC0415 - loads the database

    ceremony.check(founding, signatures)
    create(session.home, founding, signatures, _settings(founding, hsm), now())
    output.talk(f"founded {founding.name} in {session.home}; the token makes its keys")
    engine = EngineTransport(session.home, session.pins.of_everybody)
    engine.close()
    output.talk("done: keep the passphrases apart from the keys, and start it with `coldcredctl serve`")
    output.data({"appliance": founding.appliance_id, "home": str(session.home)}, [founding.appliance_id])
    return Exit.DONE
