"""From a command to a decision: who signed, is it new, is it in time, may they, are they enough; then the act itself.

Everything here is pure: it reads the standing state and gives events or a refusal.
"""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TypeAlias

from appliance import counting, policy
from appliance.authority import Authority, Operator, Workload
from appliance.decision import Ask, Decision, Event, refused_members
from appliance.errors import Refusal, Refused
from appliance.exporting import decide_export
from appliance.nouns import bundles, credentials, keys, profiles, requests, reviews, revocation, sites, trust, workloads
from appliance.standing import Standing
from coldcred.acts import Act
from coldcred.canonical import sha256_hex
from coldcred.command import Approval, Command, Verdict, parse_approval, parse_command, shown
from coldcred.errors import BadSignature, ColdcredError, Malformed, UnknownSigner
from coldcred.record import Record

CLOCK_TOLERANCE = 120

Random: TypeAlias = Callable[[int], bytes]


def read_command(standing: Standing, token: str) -> Command:
    """Read and verify a command meant for this appliance and epoch; raises `Refused`."""
    try:
        command = parse_command(token, standing.authority.signer_key)
    except ColdcredError as error:
        raise _unread(error) from error
    _check_addressee(standing, command)
    return command


def read_approval(standing: Standing, token: str) -> Approval:
    """Read and verify an approval meant for this appliance and epoch; raises `Refused`."""
    try:
        approval = parse_approval(token, standing.authority.operator_key)
    except ColdcredError as error:
        raise _unread(error) from error
    _check_addressee(standing, approval)
    return approval


def _unread(error: ColdcredError) -> Refused:
    reasons: dict[type[ColdcredError], Refusal] = {
        Malformed: Refusal.MALFORMED,
        UnknownSigner: Refusal.UNKNOWN_SIGNER,
        BadSignature: Refusal.BAD_SIGNATURE,
    }
    return Refused(reasons.get(type(error), Refusal.MALFORMED), str(error))


def _check_addressee(standing: Standing, document: Command | Approval) -> None:
    authority = standing.authority
    if document.appliance != authority.founding.appliance_id:
        raise Refused(Refusal.WRONG_APPLIANCE, f"it names appliance {document.appliance[:16]}")
    if document.epoch != authority.epoch:
        raise Refused(Refusal.WRONG_EPOCH, f"it names epoch {document.epoch}, this is epoch {authority.epoch}")


def check_time(document: Command | Approval, now: int) -> None:
    """Hold a command or approval to its own times: at most 120 s from the future, not at or after its end."""
    if document.issued_at > now + CLOCK_TOLERANCE:
        raise Refused(Refusal.NOT_YET_VALID, f"it was signed {document.issued_at - now} s in the future")
    if now >= document.expires_at:
        raise Refused(Refusal.EXPIRED, f"it ended {now - document.expires_at} s ago")


def signer(standing: Standing, command: Command) -> Operator | Workload:
    """Give the person or the workload whose enrolled key signed a command that was read."""
    return standing.authority.workload_of(command.signer) or standing.authority.operators[command.signer]


def waiting_event(ask: Ask, need: int, named: Collection[str]) -> Event:
    """Give the event of a command that waits for more people; `named` are the profiles that it is about."""
    members: Event = {
        "need": need,
        "expires": ask.command.expires_at,
        "attachments": [*sorted(ask.attachments)],
        "shown": shown(ask.command, ask.person),
    }
    if named:
        members["named"] = [*sorted(named)]
    return ask.event("command.waiting", members)


def refused_event(ask: Ask, refused: Refused) -> Event:
    """Give the event of an authenticated command that is not carried out."""
    return ask.event("command.refused", refused_members(refused))


def approval_event(standing: Standing, approval: Approval, now: int) -> Event:
    """Give the event of an approval that counts, or of a denial; raises `Refused`."""
    check_time(approval, now)
    authority, request = standing.authority, standing.lookups.requests.get(approval.command)
    if request is None:
        raise Refused(Refusal.UNKNOWN_REQUEST, f"no request {approval.command[:16]} waits here")
    operator = authority.operators[approval.signer]
    policy.check_may_approve(operator, request.person)
    if approval.verdict is Verdict.APPROVE:
        policy.check_confirmed(standing.authority, {operator.person}, Act(request.act), now)
    if now >= request.expires_at:
        raise Refused(Refusal.EXPIRED, "the request it is about has ended")
    have = {*counting.counted(authority, request, now).values()}
    if approval.verdict is Verdict.APPROVE:
        if operator.person in have:
            detail = f"{operator.person} approved this already; another key of the same person adds nobody"
            raise Refused(Refusal.ALREADY_APPROVED, detail)
        if differs := approval.basis.differs(counting.basis(authority, request)):
            raise Refused(Refusal.APPROVAL_VOID, f"it was given for another {' and '.join(differs)} than what stands")
    event: Event = {
        **_about(approval, operator),
        "kid": approval.signer,
        "expires": approval.expires_at,
        "basis": approval.basis.as_json(),
        "people": [*sorted(request.people_with({*have, operator.person}))],
        "need": request.need,
    }
    if approval.reason is not None:
        event["reason"] = approval.reason
    return {"type": "approval.given", **event}


def approval_refused_event(standing: Standing, approval: Approval, refused: Refused) -> Event:
    """Give the event of an authenticated approval that does not count."""
    about = _about(approval, standing.authority.operators[approval.signer])
    return {"type": "approval.refused", **about, **refused_members(refused)}


def _about(approval: Approval, operator: Operator) -> Event:
    return {
        "approval": approval.id,
        "request": approval.command,
        "verdict": approval.verdict.value,
        "by": operator.person,
        "document": sha256_hex(approval.token.encode()),
    }


def check_signers(standing: Standing, ask: Ask, now: int) -> None:
    """Return while everyone who stands behind a command is confirmed; what takes many steps is held to it at each."""
    policy.check_confirmed(standing.authority, ask.people | {ask.person}, ask.command.act, now)


def decide(standing: Standing, ask: Ask, now: int, random: Random) -> Decision:
    """Decide the act that a sufficiently signed command asks for; raises `Refused`."""
    authority, lookups = standing.authority, standing.lookups
    try:
        match ask.command.act:
            case Act.CREDENTIAL_ISSUE:
                return credentials.decide_issue(authority, lookups, ask, now, random)
            case Act.CREDENTIAL_REVOKE:
                return revocation.decide_revoke(authority, lookups, ask, now)
            case Act.PROFILE_SET:
                return profiles.decide_set(authority, lookups, ask, now)
            case Act.SITE_ADD:
                return sites.decide_add(authority, ask)
            case Act.TRUST_SUBMIT:
                return trust.decide_submit(authority, ask, now)
            case Act.BUNDLE_CREATE:
                return bundles.decide_create(
                    authority, lookups, lambda: standing.frontier, standing.archive.blob, ask, now
                )
            case Act.LOG_EXPORT:
                return decide_export(standing, ask)
            case Act.READ_OPEN:
                Record(ask.command.args, Act.READ_OPEN).done()
                return Decision((ask.event("reading.opened", {}, {}),))
            case Act.REQUEST_WITHDRAW:
                return requests.decide_withdraw(lookups, ask, now)
            case Act.WORKLOAD_SUSPEND | Act.WORKLOAD_RESUME | Act.KEY_SUSPEND | Act.KEY_ACTIVATE:
                return _SUSPENSIONS[ask.command.act](authority, ask)
            case Act.WORKLOAD_ENROL | Act.WORKLOAD_ADOPT | Act.REVIEW_START | Act.REVIEW_CONFIRM | Act.REVIEW_CLOSE:
                return _ANSWERED_FOR[ask.command.act](authority, ask, now)
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error)) from error


_SUSPENSIONS: Mapping[Act, Callable[[Authority, Ask], Decision]] = MappingProxyType(
    {
        Act.WORKLOAD_SUSPEND: workloads.decide_suspend,
        Act.WORKLOAD_RESUME: workloads.decide_resume,
        Act.KEY_SUSPEND: keys.decide_suspend,
        Act.KEY_ACTIVATE: keys.decide_activate,
    }
)

_ANSWERED_FOR: Mapping[Act, Callable[[Authority, Ask, int], Decision]] = MappingProxyType(
    {
        Act.WORKLOAD_ENROL: workloads.decide_enrol,
        Act.WORKLOAD_ADOPT: workloads.decide_adopt,
        Act.REVIEW_START: reviews.decide_start,
        Act.REVIEW_CONFIRM: reviews.decide_confirm,
        Act.REVIEW_CLOSE: reviews.decide_close,
    }
)
