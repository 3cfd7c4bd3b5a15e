"""Workloads: machine identities with an owner who answers for them and a date by which they are reviewed."""

from appliance.authority import Authority, Workload
from appliance.decision import Ask, Decision, Event
from appliance.errors import Refusal, Refused
from coldcred import names
from coldcred.keys import PublicKey
from coldcred.record import Record

LONGEST_REVIEW = 400 * 24 * 3600


def decide_enrol(authority: Authority, ask: Ask, now: int) -> Decision:
    """Enrol a workload: args `id`, `owner`, `review_by` and optionally its public `key` as JWK.

    One whose review is overdue is enrolled again, under a new date, by as many people.
    """
    args = Record(ask.command.args, "workload.enrol")
    workload = _read(args, authority.founding.trust_domain)
    args.done()
    before = authority.workloads.get(workload.id)
    if before is not None and now < before.review_by:
        raise Refused(Refusal.ALREADY_EXISTS, f"{workload.id} is enrolled already")
    if workload.owner not in {operator.person for operator in authority.operators.values()}:
        raise Refused(Refusal.UNKNOWN_PERSON, f"the owner {workload.owner} is nobody enrolled here")
    if not now < workload.review_by <= now + LONGEST_REVIEW:
        raise Refused(Refusal.MALFORMED, "review_by lies in the past or more than 400 days ahead")
    kept = before is not None and before.key == workload.key
    if workload.key is not None and not kept and workload.key.thumbprint in authority.registers:
        register = authority.registers[workload.key.thumbprint]
        raise Refused(Refusal.KEY_IN_USE, f"the workload's key stands in the {register} register already")
    event = ask.event("workload.enrolled", {"workload": _write(workload)}, {"workload": workload.id})
    return Decision((event,))


def evolve_enrolled(authority: Authority, event: Event) -> Authority:
    """Fold `workload.enrolled`."""
    record = Record.of(event["workload"], "workload")
    workload = _read(record, authority.founding.trust_domain)
    record.done()
    authority = authority.with_member("workloads", workload.id, workload)
    if workload.key is not None:
        authority = authority.with_member("registers", workload.key.thumbprint, "workload-sign")
    return authority


def _read(record: Record, domain: str) -> Workload:
    return Workload(
        id=names.spiffe_id(record.text("id"), domain),
        owner=names.label(record.text("owner"), "person id"),
        review_by=record.integer("review_by", least=1),
        key=PublicKey.from_jwk(record.value("key")) if record.has("key") else None,
    )


def _write(workload: Workload) -> Event:
    written: Event = {"id": workload.id, "owner": workload.owner, "review_by": workload.review_by}
    if workload.key is not None:
        written["key"] = workload.key.jwk()
    return written
