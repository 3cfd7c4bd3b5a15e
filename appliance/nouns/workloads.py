"""Workloads: machine identities with an owner who answers for them and a date by which they are reviewed.

A workload proves that it holds its keys before people enrol it. It gets nothing while it is suspended, its owner has
left, its review is overdue, or an access review passed that nobody confirmed it in.
"""

from dataclasses import replace
from enum import StrEnum

from appliance.authority import Authority, Workload
from appliance.decision import Ask, Decision, Event
from appliance.errors import Refusal, Refused
from appliance.nouns import proofs, suspensions
from coldcred import names
from coldcred.enrolment import parse_enrolment
from coldcred.keys import PublicKey, SealingKey
from coldcred.profile import read_groups
from coldcred.record import Record

LONGEST_REVIEW = 400 * 24 * 3600
REVIEW_WARNING = 30 * 24 * 3600
"""Seconds before a review is due from which people are warned, and the workload may be enrolled anew."""

_DAY = 24 * 3600
_WHAT = "enrolment document"


class Condition(StrEnum):
    """How a workload stands: closed."""

    ACTIVE = "active"
    DUE = "due"
    OVERDUE = "overdue"
    SUSPENDED = "suspended"
    ORPHANED = "orphaned"
    UNCONFIRMED = "unconfirmed"


_FALLEN = frozenset({Condition.SUSPENDED, Condition.ORPHANED})
"""How a workload stands that is enrolled anew before its review is due; a missed access review is another thing."""


def condition(authority: Authority, workload: Workload, now: int) -> Condition:
    """Give how a workload stands at `now`."""
    if workload.suspended:
        return Condition.SUSPENDED
    if not authority.is_enrolled(workload.owner):
        return Condition.ORPHANED
    if now >= workload.review_by:
        return Condition.OVERDUE
    if authority.review is not None and authority.review.lacks_workload(workload.id, now):
        return Condition.UNCONFIRMED
    return Condition.DUE if _is_due(workload, now) else Condition.ACTIVE


def _is_due(workload: Workload, now: int) -> bool:
    return now >= workload.review_by - REVIEW_WARNING


def check_active(authority: Authority, workload: Workload, now: int) -> None:
    """Return when something may be issued to the workload, else refuse."""
    match condition(authority, workload, now):
        case Condition.SUSPENDED:
            raise Refused(Refusal.WORKLOAD_SUSPENDED, f"{workload.id} is suspended", "suspension of the workload")
        case Condition.ORPHANED:
            raise Refused(Refusal.OWNER_LEFT, f"the owner {workload.owner} of {workload.id} is enrolled no more")
        case Condition.UNCONFIRMED:
            detail = f"nobody confirmed {workload.id} in the access review by its date"
            rule = None if authority.review is None else f"review {authority.review.name}"
            raise Refused(Refusal.REVIEW_MISSED, detail, rule)
        case Condition.OVERDUE:
            raise Refused(Refusal.REVIEW_OVERDUE, f"{workload.id} was to be reviewed by its owner {workload.owner}")
        case _:
            return


def warnings(authority: Authority, workload: Workload, now: int) -> tuple[str, ...]:
    """Give what people should hear with an answer about the workload."""
    if condition(authority, workload, now) is not Condition.DUE:
        return ()
    days = (workload.review_by - now) // _DAY
    return (f"review due: {workload.owner} has {days} days left to review {workload.id}, then it gets nothing more",)


def decide_enrol(authority: Authority, ask: Ask, now: int) -> Decision:
    """Enrol a workload: args `id`, `owner`, `review_by`, optionally `groups` and `enrolment`, a document's SHA-256.

    One that is suspended, lost its owner, or has its review due within 30 days or overdue, is enrolled again likewise.
    """
    args = Record(ask.command.args, "workload.enrol")
    workload = Workload(
        id=names.spiffe_id(args.text("id"), authority.founding.trust_domain),
        owner=names.label(args.text("owner"), "person id"),
        review_by=args.integer("review_by", least=1),
        key=None,
        groups=read_groups(args),
        enrolment=args.digest("enrolment") if args.has("enrolment") else None,
    )
    args.done()
    if not now < workload.review_by <= now + LONGEST_REVIEW:
        raise Refused(Refusal.MALFORMED, "review_by lies in the past or more than 400 days ahead", "workload review_by")
    before = authority.workloads.get(workload.id)
    if before is not None and not _is_due(before, now) and condition(authority, before, now) not in _FALLEN:
        detail = f"{workload.id} is enrolled already, and its review is not due"
        raise Refused(Refusal.ALREADY_EXISTS, detail, "enrolled anew when the review is due")
    _check_asked_since(ask, before)
    if not authority.is_enrolled(workload.owner):
        raise Refused(Refusal.UNKNOWN_PERSON, f"the owner {workload.owner} is nobody enrolled here")
    if workload.enrolment is not None:
        proof = proofs.read(ask, workload.enrolment, parse_enrolment, _WHAT)
        proofs.check(authority, proof, _WHAT, now)
        if proof.workload != workload.id:
            raise Refused(
                Refusal.MALFORMED, f"the {_WHAT} is for {proof.workload[:128]}", "R3 a proof of one's own key"
            )
        workload = replace(workload, key=proof.key, seal=proof.seal)
        _check_register(authority, proof.key, before.key if before else None)
        _check_register(authority, proof.seal, before.seal if before else None)
    event = ask.event("workload.enrolled", {"workload": _write(workload)}, {"workload": workload.id})
    return Decision((event,))


def _check_asked_since(ask: Ask, workload: Workload | None) -> None:
    if workload is not None:
        suspensions.check_asked_since(ask, workload.suspended_at, Refusal.WORKLOAD_SUSPENDED, workload.id)


def _check_register(
    authority: Authority, key: PublicKey | SealingKey | None, before: PublicKey | SealingKey | None
) -> None:
    """Refuse a key that was ever seen here, unless it is the one that this workload has at present (rule R10)."""
    if key is not None and key != before:
        proofs.check_register(authority, key, "the workload")


def decide_suspend(authority: Authority, ask: Ask) -> Decision:
    """Stop issuing to a workload: args `workload` and `reason`; suspending what is suspended adds a reason."""
    args = Record(ask.command.args, "workload.suspend")
    workload = _named(authority, args)
    reason = names.plain_text(args.text("reason", max_chars=256), "reason")
    args.done()
    members: Event = {"workload": workload.id, "reason": reason}
    return Decision((ask.event("workload.suspended", members, {"workload": workload.id}),))


def decide_resume(authority: Authority, ask: Ask) -> Decision:
    """Issue to a suspended workload again: args `workload`."""
    args = Record(ask.command.args, "workload.resume")
    workload = _named(authority, args)
    args.done()
    _check_asked_since(ask, workload)
    return Decision((ask.event("workload.resumed", {"workload": workload.id}, {"workload": workload.id}),))


def decide_adopt(authority: Authority, ask: Ask, _now: int) -> Decision:
    """Give a workload another owner, who signed for it: args `workload`, `owner` and `reason`; the rest stays."""
    args = Record(ask.command.args, "workload.adopt")
    workload = _named(authority, args)
    owner = names.label(args.text("owner"), "person id")
    reason = names.plain_text(args.text("reason", max_chars=256), "reason")
    args.done()
    if not authority.is_enrolled(owner):
        raise Refused(Refusal.UNKNOWN_PERSON, f"{owner} is nobody enrolled here")
    if owner not in ask.people:
        detail = f"{owner} did not sign, and nobody is made answerable without their signature"
        raise Refused(Refusal.NOT_ALLOWED, detail, rule="workload.adopt: the new owner signs")
    members: Event = {"workload": workload.id, "owner": owner, "reason": reason}
    return Decision((ask.event("workload.adopted", members, {"owner": owner, "workload": workload.id}),))


def _named(authority: Authority, args: Record) -> Workload:
    name = names.spiffe_id(args.text("workload"))
    workload = authority.workloads.get(name)
    if workload is None:
        raise Refused(Refusal.UNKNOWN_WORKLOAD, f"{name} is not enrolled")
    return workload


def evolve_enrolled(authority: Authority, event: Event) -> Authority:
    """Fold `workload.enrolled`; it is active from now on, whatever it was before."""
    record = Record.of(event["workload"], "workload")
    workload = _read(record)
    record.done()
    authority = authority.with_workload(workload)
    if workload.key is not None:
        authority = authority.with_member("registers", workload.key.thumbprint, "workload-sign")
        authority = authority.with_member("holders", workload.key.thumbprint, workload.id)
    if workload.seal is not None:
        authority = authority.with_member("registers", workload.seal.thumbprint, "workload-seal")
    return authority


def evolve_suspended(authority: Authority, event: Event, since: int | None) -> Authority:
    """Fold `workload.suspended` of a moment, or `workload.resumed`, since when it is not."""
    workload = replace(authority.workloads[str(event["workload"])], suspended_at=since)
    return authority.with_workload(workload)


def evolve_adopted(authority: Authority, event: Event) -> Authority:
    """Fold `workload.adopted`."""
    workload = replace(authority.workloads[str(event["workload"])], owner=str(event["owner"]))
    return authority.with_workload(workload)


def _read(record: Record) -> Workload:
    return Workload(
        id=record.text("id"),
        owner=record.text("owner"),
        review_by=record.integer("review_by", least=1),
        key=PublicKey.from_jwk(record.value("key")) if record.has("key") else None,
        seal=SealingKey.from_jwk(record.value("seal")) if record.has("seal") else None,
        groups=read_groups(record),
        enrolment=record.digest("enrolment") if record.has("enrolment") else None,
    )


def _write(workload: Workload) -> Event:
    written: Event = {"id": workload.id, "owner": workload.owner, "review_by": workload.review_by}
    if workload.groups:
        written["groups"] = list(workload.groups)
    if workload.enrolment is not None and workload.key is not None:
        written |= {"enrolment": workload.enrolment, "key": workload.key.jwk()}
    if workload.seal is not None:
        written["seal"] = workload.seal.jwk()
    return written
