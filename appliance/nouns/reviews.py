"""Access reviews: started over everything that stands, confirmed one by one, closed (`coldcred.log.review`)."""

from dataclasses import replace

from appliance.authority import Authority
from appliance.decision import Ask, Decision, Event
from appliance.errors import Refusal, Refused
from coldcred import names
from coldcred.acts import Act
from coldcred.log.review import (
    LONGEST,
    SHORTEST,
    Confirmed,
    Review,
    may_confirm_person,
    may_confirm_workload,
)
from coldcred.record import Record

_BY_WHOM = "an access review: by owner or officer"


def decide_start(authority: Authority, ask: Ask, now: int) -> Decision:
    """Start a review of all workloads and people: args `name`, `until` (Unix seconds) and maybe `reason`."""
    args = Record(ask.command.args, Act.REVIEW_START)
    name, until = names.label(args.text("name"), "review"), args.time("until")
    reason = names.plain_text(args.text("reason", max_chars=256), "reason") if args.has("reason") else None
    args.done()
    if not now + SHORTEST <= until <= now + LONGEST:
        raise Refused(Refusal.MALFORMED, "until lies less than a day ahead, or more than 90 days", "review until")
    if authority.review is not None:
        open_ = authority.review.name
        raise Refused(Refusal.REVIEW_OPEN, f"review {open_} is open; it is closed first", f"review {open_}")
    if name in authority.reviewed:
        raise Refused(Refusal.ALREADY_EXISTS, f"there was a review {name} before")
    members: Event = {"review": name, "until": until, "reason": reason}
    return Decision((ask.event("review.started", members, _counts(_started(authority, name, until))),))


def decide_confirm(authority: Authority, ask: Ask, now: int) -> Decision:
    """Confirm subjects of the open review: args `review`, and `workloads`, `operators` or both."""
    confirmed = Confirmed.read(Record(ask.command.args, Act.REVIEW_CONFIRM))
    review = _open(authority, confirmed.review)
    if not confirmed.workloads and not confirmed.people:
        raise Refused(Refusal.MALFORMED, "it names neither workloads nor operators")
    for workload in confirmed.workloads:
        _check_workload(authority, ask.person, workload)
    for person in confirmed.people:
        _check_person(authority, review, ask.person, person, now)
    members: Event = {
        "review": review.name,
        "workloads": [*confirmed.workloads],
        "operators": [*confirmed.people],
    }
    return Decision((ask.event("review.confirmed", members, _counts(review.confirmed(confirmed))),))


def decide_close(authority: Authority, ask: Ask, now: int) -> Decision:
    """Close the review: args `review`. Workloads that nobody confirmed are suspended; people have to be confirmed."""
    args = Record(ask.command.args, Act.REVIEW_CLOSE)
    name = names.label(args.text("review"), "review")
    args.done()
    review = _open(authority, name)
    if review.people:
        left = ", ".join(sorted(review.people)[:8])
        detail = f"nobody confirmed {left}; confirm them, or remove them as operators, first"
        raise Refused(Refusal.REVIEW_OPEN, detail, f"review {review.name}")
    if review.workloads and now < review.until:
        detail = f"{len(review.workloads)} workloads are not confirmed, and the date has not passed"
        raise Refused(Refusal.REVIEW_OPEN, detail, f"review {review.name}")
    result: Event = {"review": review.name, "suspended": len(review.workloads)}
    return Decision((ask.event("review.closed", {"review": review.name}, result),))


def standing(authority: Authority) -> Review | None:
    """Give the open review with those of its subjects that are still enrolled."""
    return authority.review and authority.review.left(authority.workloads, authority.people)


def _open(authority: Authority, name: str) -> Review:
    review = standing(authority)
    if review is None or review.name != name:
        raise Refused(Refusal.UNKNOWN_REVIEW, f"no review {name} is open")
    return review


def _check_workload(authority: Authority, by: str, name: str) -> None:
    workload = authority.workloads.get(name)
    if workload is None:
        raise Refused(Refusal.UNKNOWN_WORKLOAD, f"{name} is not enrolled")
    if not may_confirm_workload(by, workload.owner, authority.people):
        detail = f"{name} is confirmed by its owner {workload.owner} or by an officer"
        raise Refused(Refusal.NOT_ALLOWED, detail, rule=_BY_WHOM)


def _check_person(authority: Authority, review: Review, by: str, person: str, now: int) -> None:
    people, alone = authority.people, authority.founding.single_operator
    if person not in people:
        raise Refused(Refusal.UNKNOWN_PERSON, f"{person} is nobody enrolled here")
    if not may_confirm_person(by, person, people, review, now, alone=alone):
        detail = f"{person} is confirmed by an officer who is another person"
        raise Refused(Refusal.NOT_ALLOWED, detail, rule=_BY_WHOM)


def _counts(review: Review) -> Event:
    """Give what is left to confirm, in numbers: names may be too many for an entry."""
    return {"review": review.name, "workloads": len(review.workloads), "operators": len(review.people)}


def _started(authority: Authority, name: str, until: int) -> Review:
    return Review(name, until, frozenset(authority.workloads), frozenset(authority.people))


def evolve_started(authority: Authority, event: Event) -> Authority:
    """Fold `review.started`."""
    record = Record(event, "review.started")
    review = _started(authority, record.text("review"), record.time("until"))
    return replace(authority, review=review, reviewed=authority.reviewed | {review.name})


def evolve_confirmed(authority: Authority, event: Event) -> Authority:
    """Fold `review.confirmed`."""
    record = Record(event, "review.confirmed")
    confirmed = Confirmed(record.text("review"), record.texts("workloads"), record.texts("operators"))
    return replace(authority, review=authority.review and authority.review.confirmed(confirmed))


def evolve_closed(authority: Authority, time: int) -> Authority:
    """Fold `review.closed`: workloads that nobody confirmed are suspended from then on."""
    review = standing(authority)
    stopped = {
        name: replace(authority.workloads[name], suspended_at=time) for name in (review.workloads if review else ())
    }
    return replace(authority, review=None, workloads={**authority.workloads, **stopped})
