"""The views that a reading gives: what stands, as people read it. Each is made in steps, for `appliance.turns`."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance import combinations, counting
from appliance.authority import Authority, SigningKey
from appliance.errors import Refusal, Refused
from appliance.inventory import Kind, Listing
from appliance.lookups import Request
from appliance.nouns import keys, operators, reviews, workloads
from appliance.nouns.workloads import Condition
from appliance.outcome import State
from appliance.standing import Standing
from appliance.turns import Steps
from coldcred.canonical import Json, sha256_hex
from coldcred.policy import DEFAULT


@dataclass(frozen=True, slots=True)
class Page:
    """What a view that is read page by page is asked for, at `now`; `listing` is the reader's own."""

    standing: Standing
    now: int
    arguments: Mapping[str, str]
    range: range
    listing: Listing


def _status(standing: Standing) -> Steps[Json]:
    """Give the appliance's state in a few facts."""
    conditions = yield from _conditions(standing)
    lookups, authority = standing.lookups, standing.authority
    return {
        **authority.summary(),
        "entries": standing.head.size,
        "root": standing.frontier.root().hex(),
        "newest_entry": lookups.last_time,
        "checkpoint": lookups.checkpoint_size,
        "requests": len(_open_requests(standing)),
        "live_credentials": lookups.live.unrevoked,
        "keys": len(authority.keys),
        "suspended_keys": [key.name for key in authority.keys.values() if key.suspended],
        "open_tokens": [*sorted(standing.opened)],
        "makes_checkpoints": keys.signs_log(authority, standing.opened, lookups.last_time),
        "head_kept_in": _head_kept_in(standing),
        "trust": None if authority.trust is None else authority.trust.targets_version,
        "bundles": {**authority.bundles},
        "workloads": conditions,
        "review": _open_review(standing),
    }


def _open_review(standing: Standing) -> Json:
    review = reviews.standing(standing.authority)
    if review is None:
        return None
    return {
        "name": review.name,
        "until": review.until,
        "unconfirmed_operators": len(review.people),
        "unconfirmed_workloads": len(review.workloads),
    }


def _head_kept_in(standing: Standing) -> Json:
    """Say where the log's newest head is kept a second time (rule R33); null while the log key's token is closed."""
    kept = standing.head_in_token
    return None if kept is None else "token" if kept else "none"


def _conditions(standing: Standing) -> Steps[Json]:
    """Count workloads by how they stand: what is due or overdue is somebody's to do."""
    now = standing.lookups.last_time
    authority = standing.authority
    found: Counter[Condition] = Counter()
    for workload in authority.workloads.values():
        found[workloads.condition(authority, workload, now)] += 1
        yield
    return {one.value: found[one] for one in Condition if found[one]}


def requests(standing: Standing, now: int) -> Steps[Json]:
    """List what waits: who stands behind it now, and whose approval counts no more, and why."""
    authority = standing.authority
    found: list[Json] = []
    for request in _open_requests(standing):
        yield
        have = sorted(request.people_with(counting.counted(authority, request, now).values()))
        need = counting.need(authority, request)
        reasons = [
            (given.person, counting.why_not(authority, request, given, now)) for given in request.approvals.values()
        ]
        found.append(
            {
                "command": request.command,
                "act": request.act,
                "by": request.person,
                "state": (State.READY if len(have) >= need else State.WAITING).value,
                "need": need,
                "have": [*have],
                "void": {person: reason for person, reason in reasons if reason is not None},
                "expires": request.expires_at,
            }
        )
    return found


def _open_requests(standing: Standing) -> list[Request]:
    lookups = standing.lookups
    return [request for request in lookups.requests.values() if request.expires_at > lookups.last_time]


def _keys(standing: Standing) -> Steps[Json]:
    yield
    return [_key(key) for key in standing.authority.keys.values()]


def _key(key: SigningKey) -> Json:
    return {
        "name": key.name,
        "id": key.key_id,
        "token": key.token,
        "purpose": key.charter.purpose.value,
        "algorithm": key.charter.algorithm.value,
        "kid": key.public.thumbprint if key.public else None,
        "not_before": key.not_before,
        "not_after": key.not_after,
        "suspended": key.suspended,
        "charter": key.charter.as_json(),
    }


def _workloads(standing: Standing) -> Steps[Json]:
    found: list[Json] = []
    authority = standing.authority
    for workload in authority.workloads.values():
        found.append(
            {
                "id": workload.id,
                "owner": workload.owner,
                "review_by": workload.review_by,
                "state": workloads.condition(authority, workload, standing.lookups.last_time).value,
                "groups": [*workload.groups],
                "kid": workload.key.thumbprint if workload.key else None,
                "key": workload.key.jwk() if workload.key else None,
                "seal": workload.seal.thumbprint if workload.seal else None,
            }
        )
        yield
    return found


def _profiles(standing: Standing) -> Steps[Json]:
    yield
    return [profile.as_json() for profile in standing.authority.profiles.values()]


def _sites(standing: Standing) -> Steps[Json]:
    yield
    authority: Authority = standing.authority
    return [
        {
            "name": site.name,
            "audiences": [*site.audiences],
            "bundle": authority.bundles.get(site.name),
        }
        for site in authority.sites.values()
    ]


def _people(standing: Standing) -> Steps[Json]:
    yield
    return operators.as_json(standing.authority)


def _policies(standing: Standing) -> Steps[Json]:
    """List the policies that were in force, in order, with who set them; the first is that of the beginning."""
    yield
    present = standing.authority.policy
    beginning: list[tuple[str, int | None, tuple[str, ...]]] = [(BEGINNING, None, ())]
    settings = [*beginning, *((row.digest, row.time, row.people) for row in standing.lookups.policies)]
    newest = len(settings) - 1
    return [
        {"policy": digest, "time": time, "people": [*people], "in_force": place == newest and digest == present}
        for place, (digest, time, people) in enumerate(settings)
    ]


BEGINNING = sha256_hex(DEFAULT.encode())

VIEWS: Mapping[str, Callable[[Standing], Steps[Json]]] = {
    "status": _status,
    "keys": _keys,
    "workloads": _workloads,
    "profiles": _profiles,
    "sites": _sites,
    "people": _people,
    "policies": _policies,
}


def _review(page: Page) -> Steps[Json]:
    """Give the open review: its date, who is not confirmed, and a page of the workloads, of one `owner` if named."""
    authority, owner = page.standing.authority, page.arguments.get("owner")
    review = reviews.standing(authority)
    if review is None:
        return None
    found: list[Json] = []
    for workload in authority.workloads.values():
        if workload.id in review.workloads and owner in {None, workload.owner}:
            found.append({"id": workload.id, "owner": workload.owner})
        yield
    return {
        "review": review.name,
        "until": review.until,
        "passed": page.now >= review.until,
        "operators": [*sorted(review.people)],
        "count": len(found),
        "workloads": found[page.range.start : page.range.stop],
    }


def _inventory(page: Page) -> Steps[Json]:
    """Give a page of what lives of one `kind`; `overdue` leaves out what nobody has to see to."""
    kind = page.arguments.get("kind", "")
    if kind not in set(Kind):
        raise Refused(Refusal.MALFORMED, f"the inventory has the kinds {', '.join(Kind)}, not {kind[:32]!a}")
    overdue = page.arguments.get("overdue") == "yes"
    return (yield from page.listing.page(page.standing, Kind(kind), page.range, page.now, overdue=overdue))


def toxic(page: Page) -> Steps[Json]:
    """Give a page of the report on profiles that exclude each other; it is made when its first page is read."""
    if page.range.start == 0:
        rows: list[Json] = []
        for row in combinations.report(page.standing.authority, page.standing.lookups, page.now):
            if row is not None:
                rows.append(row)
            yield
        page.listing.keep(rows)
    return page.listing.kept(page.range)


PAGED: Mapping[str, Callable[[Page], Steps[Json]]] = {
    "review": _review,
    "inventory": _inventory,
    "toxic": toxic,
}
"""Views that are read page by page: `offset` and `limit`."""
