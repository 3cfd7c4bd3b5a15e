"""The files of a founding as they go round: the plan and public keys in, the document, what it says, HSM settings."""

from collections.abc import Iterable
from pathlib import Path

import click

from appliance.cli import output
from appliance.identity import public_path, read_public
from appliance.plan import MAX_PLAN, MAX_PROFILE, Plan
from coldcred import founding as foundings
from coldcred.canonical import Json
from coldcred.founding import MAX_FOUNDING, Founding
from coldcred.keys import PublicKey


def document(plan: Path, people: Path, time: int) -> Founding:
    """Give the founding that follows from a plan file and the folder of everyone's public keys, as of `time`.

    Raises `Malformed`, `IdentityError` where a public key is missing, `OSError`.
    """

    def key_of(person: str, register: str) -> PublicKey:
        return read_public(public_path(people / f"{person}.{register}"))

    def read_file(name: str) -> bytes:
        return bounded(plan.parent / name, MAX_PROFILE)

    body = Plan.parse(bounded(plan, MAX_PLAN)).document(key_of=key_of, read_file=read_file, time=time)
    return foundings.parse(body)


def read(path: Path) -> Founding:
    """Read a founding document; `Malformed` names what is wrong with it."""
    return foundings.parse(bounded(path, MAX_FOUNDING))


def bounded(path: Path, limit: int) -> bytes:
    """Read a file, at most one byte more than `limit`, which its reader then refuses. Raises `OSError`."""
    with path.open("rb") as file:
        return file.read(limit + 1)


def tell(founding: Founding) -> None:
    """Say what a founding founds, for whoever is about to sign it."""
    if founding.single_operator:
        output.talk(output.SINGLE_OPERATOR)
    members: dict[str, Json] = {
        "appliance": founding.appliance_id,
        "name": founding.name,
        "trust domain": founding.trust_domain,
        "issuer": founding.issuer,
        "time": founding.time,
        "custodians": f"{founding.quorums.custodians} of {len(founding.people)} sign the root of trust",
        "recovery": f"{founding.quorums.recovery} of {len(founding.people)} can replace an officer",
    }
    members |= {f"person {person.id}": [*sorted(person.roles)] for person in founding.people}
    members |= {f"key {key.name}": f"{key.charter.purpose} in token {key.token}" for key in founding.keys}
    members |= {f"site {site.name}": [*site.audiences] for site in founding.sites}
    output.talk("the founding says:")
    output.show(output.facts(members))


def token_uris(founding: Founding, given: Iterable[str]) -> dict[str, str]:
    """Give the PKCS#11 URI of each token of the founding; `given` holds LABEL=URI where it is not by label."""
    found = {token.label: f"pkcs11:token={token.label}" for token in founding.tokens}
    for label, uri in _pairs(given, "--token LABEL=URI"):
        if label not in found:
            raise click.UsageError(f"--token: the founding has no token {output.clean(label)}")
        found[label] = uri
    return found


def variables(given: Iterable[str]) -> dict[str, str]:
    """Give the variables that the module finds its tokens by, from NAME=VALUE; what is no such one is misuse.

    Paths in them are taken from the working directory, as that of the module is.
    """
    from appliance import wiring  # noqa: PLC0415 - loads the engine, which `--help` need not

    try:
        return wiring.module_variables(dict(_pairs(given, "--module-env NAME=VALUE")), Path.cwd())
    except ValueError as error:
        raise click.UsageError(f"--module-env: {error}") from error


def _pairs(given: Iterable[str], form: str) -> list[tuple[str, str]]:
    pairs = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise click.UsageError(f"write {form}")
        pairs.append((name, value))
    return pairs
