"""Reading: what a signed `read.open` lets its connection see. Reads only, and only what the log already says.

All of it is worked out by turns (`appliance.turns`), so that no reader holds up what is decided meanwhile.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from appliance import combinations, counting, explaining, preview, retelling, terms
from appliance.authority import Authority, SigningKey
from appliance.errors import Refusal, Refused
from appliance.explaining import Imagined
from appliance.inventory import Kind, Listing
from appliance.log import Log
from appliance.lookups import Request
from appliance.nouns import operators, reviews, trust, workloads
from appliance.nouns.workloads import Condition
from appliance.outcome import State
from appliance.retelling import Search
from appliance.standing import Standing
from appliance.turns import Steps, Turns
from coldcred import layout
from coldcred.acts import Act
from coldcred.canonical import Json, b64u_encode, loads_canonical, sha256_hex
from coldcred.charter import Purpose
from coldcred.log.entry import MAX_BODY
from coldcred.policy import DEFAULT
from coldcred.record import Record

LONGEST_PAGE = 1000
LONGEST_ID = 64

LARGEST_PAGE = 4 * 1024 * 1024
"""Bytes of entries after which a page ends, with fewer entries than were asked for."""

MOST_REVOKED = 10_000
"""Credentials that live, unrevoked, up to which a revocation is imagined."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Page:
    """What a view that is read page by page is asked for, at `now`; `listing` is the reader's own."""

    standing: Standing
    now: int
    arguments: Mapping[str, str]
    range: range
    listing: Listing


class Reader:
    """A reading that is open; dies with the connection that holds it."""

    def __init__(
        self,
        standing: Standing,
        log: Log,
        turns: Turns,
        now: Callable[[], int],
        admit: Callable[[str], None],
        kid: str,
    ) -> None:
        """Read from `standing` in memory and from `log` where the file is, by `turns`; `now` is Unix seconds.

        `admit` refuses an act that the disk has no room for; `kid` is the key that opened the reading.
        """
        self._now = now
        self._admit = admit
        self._kid = kid
        self._standing = standing
        self._log = log
        self._turns = turns
        self._listing = Listing()

    async def read(self, name: str, arguments: Mapping[str, str]) -> Json:
        """Give a view by name; `Refused` where there is none, an argument is wrong, or the reader's key was retired."""
        self._check_reader()
        if name == "entries":
            first, limit = _number(arguments, "from", 0), _number(arguments, "limit", 100)
            bodies = await self._from_disk(lambda: self._bodies(first, min(limit, LONGEST_PAGE)))
            return await self._turns.view(_entries(bodies))
        if name == "credentials":
            limit = min(_number(arguments, "limit", 100), LONGEST_PAGE)
            return await self._from_disk(lambda: self._log.table("credential", limit))
        if name == "trust":
            return await self._from_disk(self._trust)
        if name == "terms":
            requester = arguments.get("requester")
            return terms.terms(self._standing.authority, self._now(), requester=requester).as_json()
        if name == "requests":
            return await self._turns.view(_requests(self._standing, self._now()))
        if name == "request":
            request = terms.find_request(self._standing.lookups, arguments.get("command", ""))
            return await self._from_disk(lambda: self._request(request))
        if name == "policy":
            digest = arguments.get("hash", self._standing.authority.policy)
            return await self._from_disk(lambda: self._policy(digest))
        if name in _PAGED:
            offset, limit = _number(arguments, "offset", 0), min(_number(arguments, "limit", 100), LONGEST_PAGE)
            page = Page(self._standing, self._now(), arguments, range(offset, offset + limit), self._listing)
            if name == "toxic" and offset == 0:
                return await self._turns.work(self._kid, _toxic(page))
            return await self._turns.view(_PAGED[name](page))
        view = _VIEWS.get(name)
        if view is None:
            raise Refused(Refusal.MALFORMED, f"there is no view called {name[:32]!a}")
        return await self._turns.view(view(self._standing))

    def _check_reader(self) -> None:
        if self._standing.authority.signer(self._kid) is None:
            raise Refused(Refusal.UNKNOWN_SIGNER, "the key that opened this reading was retired", rule="R12 reading")

    async def why(self, asked: Record, attachments: Mapping[str, bytes]) -> Json:
        """Say why: what became of a command, by `about` or `entry`, or what would become of one that is imagined.

        Nothing is decided or recorded. Entries are read in the executor that owns the file.
        """
        self._check_reader()
        if asked.has("about") or asked.has("entry"):
            search = Search(self._log, self._from_disk)
            about = asked.optional_text("about", max_chars=LONGEST_ID)
            entry = asked.optional_integer("entry", least=0)
            asked.done()
            if (about is None) == (entry is None):
                raise Refused(Refusal.MALFORMED, "either `about` or `entry` says what is asked about")
            found = await (search.named(about) if about is not None else search.entry(entry or 0))
            return retelling.retell(self._standing, found, self._now())
        return await self._turns.work(self._kid, self._explained(Imagined.read(asked, attachments)))

    def _explained(self, imagined: Imagined) -> Steps[Json]:
        """Imagine a command, in one step; not a revocation that would have to look at very many credentials."""
        alive = self._standing.lookups.live.unrevoked
        if imagined.act is Act.CREDENTIAL_REVOKE and alive > MOST_REVOKED:
            raise Refused(Refusal.OVER_BUDGET, f"{alive} credentials live; it is said of up to {MOST_REVOKED}")
        yield
        return explaining.explain(self._standing, imagined, self._now(), self._admit)

    async def preview(self, act: str, args: Record, attachments: Mapping[str, bytes]) -> Json:
        """Say what setting a policy or a profile would change; raises `Refused` as its decision would.

        A text is read in a thread, where Cedar lets others work meanwhile; what it would change is asked by turns.
        """
        standing, now = self._standing, self._now()
        read = partial(preview.read, standing.authority, act, args, attachments)
        new = await asyncio.get_running_loop().run_in_executor(None, read)
        steps = preview.preview(standing.authority, standing.lookups, standing.policies, new, now)
        return await self._turns.work(self._kid, steps)

    def _policy(self, digest: str) -> Json:
        """Give the text of a policy that was in force once, or of the one that an appliance begins with."""
        if digest not in {row.digest for row in self._standing.lookups.policies} | {_BEGINNING}:
            raise Refused(Refusal.MALFORMED, f"no policy {digest[:64]!a} was ever in force here")
        text = self._standing.policy_text(digest).decode("ascii")
        return {"policy": digest, "text": text, "in_force": digest == self._standing.authority.policy}

    async def _from_disk(self, read: Callable[[], _T]) -> _T:
        return await self._turns.page(read)

    def _trust(self) -> Json:
        """Give what custodians are to sign next: documents, the roots that sites hold, and the version that follows."""
        authority = self._standing.authority
        held = authority.trust
        roots = {name: digest for name, digest in held.files.items() if name in layout.ROOTS} if held else {}
        return {
            "documents": {name: b64u_encode(body) for name, body in trust.draft(authority, self._now()).items()},
            "roots": {name: b64u_encode(self._log.blob(digest)) for name, digest in roots.items()},
            "targets_version": held.targets_version + 1 if held else 1,
            "bundle_key": {**trust.bundle_key(authority).jwk()},
        }

    def _request(self, request: Request) -> Json:
        return terms.request_file(self._standing.authority, self._log, request, self._now()).as_json()

    def _bodies(self, first: int, limit: int) -> list[bytes]:
        found: list[bytes] = []
        size = 0
        for body in self._log.bodies(first, limit):
            found.append(body)
            size += len(body)
            if size >= LARGEST_PAGE:
                break
        return found


def _entries(bodies: list[bytes]) -> Steps[Json]:
    found: list[Json] = []
    for body in bodies:
        found.append(loads_canonical(body, max_bytes=MAX_BODY))
        yield
    return found


def _number(arguments: Mapping[str, str], name: str, default: int) -> int:
    text = arguments.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > len("9007199254740991"):
        raise Refused(Refusal.MALFORMED, f"{name} is not a number")
    return int(text)


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
        "makes_checkpoints": _makes_checkpoints(standing),
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


def _makes_checkpoints(standing: Standing) -> bool:
    key = standing.authority.key_for(Purpose.LOG)
    return key is not None and not key.suspended and key.token in standing.opened


def _conditions(standing: Standing) -> Steps[Json]:
    """Count workloads by how they stand: what is due or overdue is somebody's to do."""
    now = standing.lookups.last_time
    authority = standing.authority
    found: Counter[Condition] = Counter()
    for workload in authority.workloads.values():
        found[workloads.condition(authority, workload, now)] += 1
        yield
    return {one.value: found[one] for one in Condition if found[one]}


def _requests(standing: Standing, now: int) -> Steps[Json]:
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
    beginning: list[tuple[str, int | None, tuple[str, ...]]] = [(_BEGINNING, None, ())]
    settings = [*beginning, *((row.digest, row.time, row.people) for row in standing.lookups.policies)]
    newest = len(settings) - 1
    return [
        {"policy": digest, "time": time, "people": [*people], "in_force": place == newest and digest == present}
        for place, (digest, time, people) in enumerate(settings)
    ]


_BEGINNING = sha256_hex(DEFAULT.encode())

_VIEWS: Mapping[str, Callable[[Standing], Steps[Json]]] = {
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


def _toxic(page: Page) -> Steps[Json]:
    """Give a page of the report on profiles that exclude each other; it is made when its first page is read."""
    if page.range.start == 0:
        rows: list[Json] = []
        for row in combinations.report(page.standing.authority, page.standing.lookups, page.now):
            if row is not None:
                rows.append(row)
            yield
        page.listing.keep(rows)
    return page.listing.kept(page.range)


_PAGED: Mapping[str, Callable[[Page], Steps[Json]]] = {
    "review": _review,
    "inventory": _inventory,
    "toxic": _toxic,
}
"""Views that are read page by page: `offset` and `limit`."""
