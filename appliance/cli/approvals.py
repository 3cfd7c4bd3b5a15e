"""`approve` and `deny`: second signatures over what a request asks for, here or on a machine without an appliance."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from appliance.cli import consequences, output, reading
from appliance.cli.asking import conclude, summary
from appliance.cli.carried import read_document, read_request, read_terms
from appliance.cli.exits import Exit
from appliance.cli.grammar import Duration, Verb
from appliance.cli.places import InputName, InputPath, OutputPath
from appliance.cli.session import Session, now, signing
from appliance.client import Client
from appliance.errors import Refusal, Refused
from appliance.outcome import Outcome, State
from appliance.signing import COMMAND_LIFE
from coldcred import names
from coldcred.canonical import loads
from coldcred.command import Verdict, document_id
from coldcred.files import FileKind, write_file
from coldcred.jose import parse_unverified
from coldcred.record import Record
from coldcred.requests import RequestFile, Seen
from coldcred.terms import Signer, Terms

_OF_IDS = frozenset("0123456789abcdef")

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
            "--attachment", "beside", type=InputPath(), multiple=True,
            help="A file that travels beside the command; may be repeated.",
        ),
        click.option(
            "--terms", "terms", type=InputPath(),
            help="What `coldcredctl terms` wrote, where the request file has none and no appliance is reached.",
        ),
        click.option("--reason", help="Why; it is signed and stands in the log."),
        click.option(
            "--out", type=OutputPath(FileKind.DOCUMENT),
            help="Write the signed approval here, to be carried, and send nothing.",
        ),
        click.argument("request", metavar="REQUEST", type=InputName()),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command(cls=Verb)
@click.option(
    "--approval", "carried", type=InputPath(), multiple=True,
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
    """Approve a REQUEST, a file or the id of one that waits: read all that it asks for, then sign.

    At a terminal it is paged to its end (space goes on, q leaves) before you are asked. Anywhere else all of it is
    written to standard error, with its SHA-256, and nobody is asked.
    """
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
    """Deny a REQUEST, a file or the id of one that waits; one denial ends it. It is shown as for `approve`."""
    return _sign(session, Verdict.DENY, _find(session, request, terms, beside, out), out, reason, valid_for, yes)


@dataclass(frozen=True, slots=True)
class _About:
    """A request that somebody is to sign for, its terms, and the way to ask more where there is one."""

    found: RequestFile
    terms: Terms
    client: Client | None = None


def _find(session: Session, request: str, terms: Path | None, beside: tuple[Path, ...], out: Path | None) -> _About:
    """Give a request and the terms to approve it under.

    They come from a file where one is named, or where the signature is to be carried and the request brings them; else
    the appliance says how things stand. The key is opened first, in every case: what needs it needs it there.
    """
    path = Path(request)
    found = read_request(path, beside) if path.exists() else None
    if found is None and not set(request) <= _OF_IDS:
        raise click.UsageError(f"there is no file {request}, and no request has an id like that")
    known = read_terms(terms) if terms is not None else None
    if found is not None and known is None and out is not None:
        known = found.terms
        if known is None and session.founding() is None:
            detail = "and no appliance is reached here. Take the file that `request export` writes, or give --terms"
            raise click.UsageError(f"{path} does not say under which terms it stands, {detail}")
    session.identity()
    if found is None:
        client = session.client()
        return _with_terms(client.request(request), client)
    if (known := known or _custodians_terms(session)) is not None:
        return _About(found, known)
    client = session.client()
    try:
        return _with_terms(client.request(document_id(parse_unverified(found.token))), client)
    except Refused as refused:
        if refused.reason is not Refusal.UNKNOWN_REQUEST:
            raise
    return _About(found, _terms_now(client, found), client)


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


def _with_terms(found: RequestFile, client: Client) -> _About:
    if found.terms is None:
        raise Refused(Refusal.MALFORMED, "the appliance gave a request without its terms")
    return _About(found, found.terms, client)


def _terms_now(client: Client, found: RequestFile) -> Terms:
    """Ask for the terms of a command that the appliance has not seen; a workload's own names itself in it."""
    claims = Record.of(loads(parse_unverified(found.token).payload), "command")
    workload = claims.record("args").members().get("workload")
    asks = {"requester": workload} if isinstance(workload, str) and names.is_spiffe_id(workload) else {}
    return Terms.read(Record.of(client.read("terms", **asks), "terms"))


def _sign(
    session: Session,
    verdict: Verdict,
    about: _About,
    out: Path | None,
    reason: str | None,
    valid_for: int,
    yes: bool,  # noqa: FBT001 - an option of the verb
) -> Exit:
    """Show a request to its end, ask, and sign for or against it with the key that was opened before."""
    if reason is not None:
        names.plain_text(reason, "reason")
    found, terms, identity = about.found, about.terms, session.identity()
    seen = found.seen(terms)
    lines = rendering(found, terms, seen)
    if about.client is not None and (approver := terms.signers.get(identity.kid)) is not None:
        lines += consequences.foretold(about.client, found, seen, approver.id, verdict)
    output.talk(f"this request asks for {seen.command.act}:")
    reading.agree(lines, f"{verdict.value} this request?", yes=yes)
    token = signing(identity).approval(seen, verdict, valid_for, reason)
    if out is None:
        return tell(session.client(signs=False).send_approval(token))
    write_file(out, f"{token}\n".encode(), FileKind.DOCUMENT)
    output.talk(f"wrote {out}; nothing was sent")
    output.data({"command": seen.command.id, "verdict": verdict.value, "file": str(out)}, [str(out)])
    return Exit.DONE


def rendering(found: RequestFile, terms: Terms, seen: Seen) -> list[str]:
    """Write a request for people: every line that is signed for, and below them what stands and what would change."""
    changes = consequences.changes(seen.command.act, seen.command.args, found.attachments, terms)
    return [*seen.lines, *consequences.stands(terms, seen), *changes]


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
