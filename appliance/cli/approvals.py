"""`approve` and `deny`: second signatures over what a request asks for, here or on a machine without an appliance."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from appliance.cli import output
from appliance.cli.asking import conclude, summary
from appliance.cli.carried import read_document, read_request, read_terms
from appliance.cli.exits import Exit
from appliance.cli.grammar import Duration, Verb
from appliance.cli.session import Session, now, signing
from appliance.client import Client
from appliance.errors import Refusal, Refused
from appliance.outcome import Outcome, State
from appliance.signing import COMMAND_LIFE
from coldcred import names
from coldcred.canonical import Json, loads
from coldcred.command import Verdict, document_id
from coldcred.files import write_file
from coldcred.jose import parse_unverified
from coldcred.record import Record
from coldcred.requests import RequestFile, Seen
from coldcred.terms import Signer, Terms

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _signs(function: _Function) -> _Function:
    """Give a verb that signs for or against a request its argument and options."""
    for option in (
        click.option(
            "--valid-for", type=Duration(), default=f"{COMMAND_LIFE // 3600}h", show_default=True,
            help="How long your signature counts.",
        ),
        click.option("--yes", is_flag=True, help="Sign without being asked once more at the terminal."),
        click.option(
            "--attachment", "beside", type=click.Path(path_type=Path), multiple=True,
            help="A file that travels beside the command; may be repeated.",
        ),
        click.option(
            "--terms", "terms", type=click.Path(path_type=Path),
            help="What `coldcredctl terms` wrote, where the request file has none and no appliance is reached.",
        ),
        click.option("--reason", help="Why; it is signed and stands in the log."),
        click.option(
            "--out", type=click.Path(path_type=Path),
            help="Write the signed approval here, to be carried, and send nothing.",
        ),
        click.argument("request", metavar="REQUEST"),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command(cls=Verb)
@click.option(
    "--approval", "carried", type=click.Path(path_type=Path), multiple=True,
    help="Bring in an approval that somebody signed elsewhere, instead of signing; may be repeated.",
)  # fmt: skip
@_signs
@click.pass_obj
def approve(  # noqa: PLR0913 - each is one option of the verb
    session: Session,
    *,
    request: str,
    carried: tuple[Path, ...],
    out: Path | None,
    reason: str | None,
    terms: Path | None,
    beside: tuple[Path, ...],
    yes: bool,
    valid_for: int,
) -> Exit:
    """Approve a REQUEST, a file or the id of one that waits: read what it asks for, then sign."""
    if not carried:
        return _sign(session, Verdict.APPROVE, _find(session, request, terms, beside, out), out, reason, valid_for, yes)
    if out is not None:
        raise click.UsageError("--approval brings in what is signed already; --out is for signing")
    found = read_request(Path(request), beside)
    client = session.client(signs=False)
    return tell(client.send(found.token, found.attachments, [read_document(path) for path in carried]))


@click.command(cls=Verb)
@_signs
@click.pass_obj
def deny(
    session: Session,
    *,
    request: str,
    out: Path | None,
    reason: str | None,
    terms: Path | None,
    beside: tuple[Path, ...],
    yes: bool,
    valid_for: int,
) -> Exit:
    """Deny a REQUEST, a file or the id of one that waits; one denial ends it."""
    return _sign(session, Verdict.DENY, _find(session, request, terms, beside, out), out, reason, valid_for, yes)


def _find(
    session: Session, request: str, terms: Path | None, beside: tuple[Path, ...], out: Path | None
) -> tuple[RequestFile, Terms]:
    """Give a request and the terms to approve it under.

    They come from a file where one is named, or where the signature is to be carried and the request brings them; else
    the appliance says how things stand.
    """
    path = Path(request)
    if not path.exists():
        return _with_terms(session.client().request(request))
    found = read_request(path, beside)
    if terms is not None:
        return found, read_terms(terms)
    if out is not None and found.terms is not None:
        return found, found.terms
    if (known := _custodians_terms(session)) is not None:
        return found, known
    client = session.client()
    try:
        return _with_terms(client.request(document_id(parse_unverified(found.token))))
    except Refused as refused:
        if refused.reason is not Refusal.UNKNOWN_REQUEST:
            raise
    return found, _terms_now(client, found)


def _custodians_terms(session: Session) -> Terms | None:
    """Give the terms for a custodian, whose key opens no reading: the founding's, and the policy in force.

    None for everybody else.
    """
    founding = session.founding()
    custodians = {person.custodian.thumbprint: person for person in founding.people} if founding else {}
    if founding is None or session.identity().kid not in custodians:
        return None
    about = Record.of(session.client(signs=False).transport.about(), "appliance")
    return Terms(
        appliance=founding.appliance_id,
        name=founding.name,
        trust_domain=founding.trust_domain,
        epoch=about.integer("epoch", least=1),
        time=now(),
        policy=about.digest("policy"),
        profiles=(),
        signers={kid: Signer(person.id, person.custodian) for kid, person in custodians.items()},
    )


def _with_terms(found: RequestFile) -> tuple[RequestFile, Terms]:
    if found.terms is None:
        raise Refused(Refusal.MALFORMED, "the appliance gave a request without its terms")
    return found, found.terms


def _terms_now(client: Client, found: RequestFile) -> Terms:
    """Ask for the terms of a command that the appliance has not seen; a workload's own names itself in it."""
    claims = Record.of(loads(parse_unverified(found.token).payload), "command")
    workload = claims.record("args").members().get("workload")
    asks = {"requester": workload} if isinstance(workload, str) and names.is_spiffe_id(workload) else {}
    return Terms.read(Record.of(client.read("terms", **asks), "terms"))


def _sign(
    session: Session,
    verdict: Verdict,
    about: tuple[RequestFile, Terms],
    out: Path | None,
    reason: str | None,
    valid_for: int,
    yes: bool,  # noqa: FBT001 - an option of the verb
) -> Exit:
    """Show a request, then sign for or against it; the passphrase is asked for last where nothing needed it before."""
    found, terms = about
    seen = found.seen(terms)
    if reason is not None:
        names.plain_text(reason, "reason")
    output.talk(f"this request asks for {seen.command.act}:")
    output.show(rendering(found, terms, seen))
    if not yes and sys.stdin.isatty():
        click.confirm(f"{verdict.value} this request?", default=False, abort=True, err=True)
    token = signing(session.identity()).approval(seen, verdict, valid_for, reason)
    if out is None:
        return tell(session.client(signs=False).send_approval(token))
    write_file(out, f"{token}\n".encode(), replace=False)
    output.talk(f"wrote {out}; nothing was sent")
    output.data({"command": seen.command.id, "verdict": verdict.value, "file": str(out)}, [str(out)])
    return Exit.DONE


def rendering(found: RequestFile, terms: Terms, seen: Seen) -> list[str]:
    """Write a request for the person who is to sign for it: every line that is hashed, and what it stands beside."""
    about: Mapping[str, Json] = {"appliance": terms.name, "policy": terms.policy, "as of": output.moment(terms.time)}
    lines = [*seen.lines, "", *output.facts(about)]
    named = [profile for profile in terms.profiles if profile.name in seen.named]
    for profile in named[:_MOST_SHOWN]:
        lines += ["", *output.facts(profile.as_json())]
    for digest, body in sorted(found.attachments.items()):
        lines += ["", f"beside it {digest} ({len(body)} bytes)", *_text(body)]
    return lines


_MOST_SHOWN = 16
_MOST_LINES = 200


def _text(body: bytes) -> list[str]:
    """Give a text that travels beside a request, for reading; of what is no text, or long, the beginning at most."""
    try:
        lines = body.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return []
    return lines[:_MOST_LINES] + ([f"({len(lines) - _MOST_LINES} more lines)"] if len(lines) > _MOST_LINES else [])


def tell(outcome: Outcome) -> Exit:
    """Say what an approval led to: decided, ready for its requester, or still waiting for others."""
    if outcome.state is State.REFUSED and outcome.reason == Refusal.DENIED:
        output.talk(f"{outcome.act} is denied and will not be carried out")
    elif outcome.state is State.WAITING:
        output.talk(f"counted: {outcome.act} takes {outcome.need} people, so far {', '.join(outcome.have)}")
    elif outcome.state is State.READY:
        output.talk(f"{outcome.act} is ready: its requester runs the same line again, and nobody else completes it")
    else:
        return conclude(outcome)
    output.data(summary(outcome), [outcome.state.value])
    return Exit.WAITING if outcome.state is State.WAITING else Exit.DONE
