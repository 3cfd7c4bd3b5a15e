"""Reading: what a signed `read.open` lets its connection see. Reads only, and only what the log already says.

All of it is worked out by turns (`appliance.turns`), so that no reader holds up what is decided meanwhile.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from appliance import explaining, preview, retelling, terms
from appliance.errors import Refusal, Refused
from appliance.explaining import Imagined
from appliance.inventory import Listing
from appliance.log import Log
from appliance.lookups import Request
from appliance.nouns import trust
from appliance.retelling import Search
from appliance.standing import Standing
from appliance.turns import Steps, Turns
from appliance.views import BEGINNING, PAGED, VIEWS, Page, requests, toxic
from coldcred import layout
from coldcred.acts import Act
from coldcred.canonical import Json, b64u_encode, loads_canonical
from coldcred.log.entry import MAX_BODY
from coldcred.record import Record

LONGEST_PAGE = 1000
LONGEST_ID = 64

LARGEST_PAGE = 4 * 1024 * 1024
"""Bytes of entries after which a page ends, with fewer entries than were asked for."""

MOST_REVOKED = 10_000
"""Credentials that live, unrevoked, up to which a revocation is imagined."""

_T = TypeVar("_T")


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
            found = terms.terms(self._standing.authority, self._now(), requester=arguments.get("requester"))
            text = await self._from_disk(lambda: self._standing.policy_text(found.policy).decode("ascii"))
            return replace(found, policy_text=text).as_json()
        if name == "requests":
            return await self._turns.view(requests(self._standing, self._now()))
        if name == "request":
            request = terms.find_request(self._standing.lookups, arguments.get("command", ""))
            return await self._from_disk(lambda: self._request(request))
        if name == "policy":
            digest = arguments.get("hash", self._standing.authority.policy)
            return await self._from_disk(lambda: self._policy(digest))
        if name in PAGED:
            offset, limit = _number(arguments, "offset", 0), min(_number(arguments, "limit", 100), LONGEST_PAGE)
            page = Page(self._standing, self._now(), arguments, range(offset, offset + limit), self._listing)
            if name == "toxic" and offset == 0:
                return await self._turns.work(self._kid, toxic(page))
            return await self._turns.view(PAGED[name](page))
        view = VIEWS.get(name)
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
        self._check_reader()
        standing, now = self._standing, self._now()
        read = partial(preview.read, standing.authority, act, args, attachments)
        new = await asyncio.get_running_loop().run_in_executor(None, read)
        steps = preview.preview(standing.authority, standing.lookups, standing.policies, new, now)
        return await self._turns.work(self._kid, steps)

    def _policy(self, digest: str) -> Json:
        """Give the text of a policy that was in force once, or of the one that an appliance begins with."""
        if digest not in {row.digest for row in self._standing.lookups.policies} | {BEGINNING}:
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
            "last": {name: b64u_encode(body) for name, body in (trust.signed_last(held, self._log.blob) or {}).items()},
        }

    def _request(self, request: Request) -> Json:
        found = terms.request_file(self._standing.authority, self._log, request, self._now())
        if request.act == Act.POLICY_SET and found.terms is not None:
            text = self._standing.policy_text(found.terms.policy).decode("ascii")
            found = replace(found, terms=replace(found.terms, policy_text=text))
        return found.as_json()

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
