"""What became of a command, told from its entries: who asked, who stood behind it, under what, and how it ended.

An entry says what it says; what no entry says is not told. Pure, but for `Search`, which finds entries page by page,
newest first, so that whoever asks about an old command holds nobody up.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from appliance import counting, policy
from appliance.authority import Authority
from appliance.errors import Refusal, Refused
from appliance.log import Log
from appliance.lookups import Lookups
from appliance.outcome import State
from appliance.rules import RULE
from appliance.standing import Standing
from appliance.terms import SHORTEST_ID
from coldcred import names
from coldcred.acts import Act
from coldcred.canonical import Json, loads
from coldcred.command import LONGEST_LIFE
from coldcred.jose import parse_unverified
from coldcred.log import entry as entries
from coldcred.log.entry import Entry
from coldcred.record import Record

PAGE = 4096
"""Entries that are looked through before others get their turn."""

MOST_TOLD = 200
"""Entries of one command that are told; a batch may have more."""

MOST_SIGNED = 16
"""Entries of one command of which the outcome of the signature is looked for."""

_TOLERANCE = 120
_JTI = 22
_UNTOLD = frozenset({"type", "document", "signs", "items", "shown"})
_OUTCOMES = b'"type":"outcomes"'

_T = TypeVar("_T")


class FromDisk(Protocol):
    """Runs a reading in the executor that owns the file."""

    def __call__(self, read: Callable[[], _T], /) -> Awaitable[_T]:
        """Give what `read` gives there."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """The entries about one command, in order; `all_entries` says how many there are where not all are here.

    `document` is the command as it was signed, `signed` has by entry what became of its signatures.
    """

    command: str | None
    entries: tuple[Entry, ...]
    all_entries: int
    document: bytes | None = None
    signed: Mapping[int, str] = field(default_factory=dict)


class Search:
    """Looks for the entries of a command, in the executor that owns the file."""

    def __init__(self, log: Log, run: FromDisk) -> None:
        """Read `log` by `run`, one page at a time."""
        self._log, self._run = log, run

    async def entry(self, seq: int) -> Found:
        """Find what the entry with this number is about; one that no command led to is told alone."""
        found = await self._run(partial(self._read, seq))
        if found is None:
            raise _unknown(f"the log has no entry {seq}")
        command = found.event.get("command", found.event.get("request"))
        return await self._command(command) if isinstance(command, str) else Found(None, (found,), 1)

    async def named(self, about: str) -> Found:
        """Find a command by its id or the first characters of it, or by the jti of a credential that it issued."""
        if len(about) == _JTI and (seq := await self._run(partial(self._log.credential_entry, about))) is not None:
            found = await self._run(partial(self._read, seq))
            # The table only says where to look: the entry has to say it itself.
            if found is not None and f'"jti":"{about}"'.encode() in found.body:
                return await self._command(str(found.event["command"]))
        if len(about) < SHORTEST_ID or not set(about) <= set("0123456789abcdef"):
            raise _unknown(f"nothing here is called {about[:64]!a}; name a command by {SHORTEST_ID} characters or more")
        return await self._command(about)

    async def _command(self, id_: str) -> Found:
        """Collect the entries of a command, from the newest down to the first that can be about it."""
        needles = [f'"{member}":"{id_}'.encode() for member in ("command", "request")]
        end = self._log.head.size
        found: list[Entry] = []
        oldest, document = 0, None
        while end > 0:
            first = max(0, end - PAGE)
            found = [*await self._run(partial(self._mentioning, first, end, needles)), *found]
            if document is None and (named := _document(found, id_)) is not None:
                document = await self._run(partial(self._log.blob, named))
                oldest = _signed_at(document) - _TOLERANCE
            elif document is None and (unkept := [entry for entry in found if "head" in entry.event]):
                oldest = unkept[0].time - LONGEST_LIFE - _TOLERANCE
            lowest = await self._run(partial(self._read, first))
            if lowest is None or lowest.time < oldest:
                break
            end = first
        ids = {one for entry in found for one in _ids(entry) if one.startswith(id_)}
        if len(ids) != 1:
            raise _unknown(f"{len(ids) or 'no'} commands have an id that begins with {id_[:16]}")
        told = found if len(found) <= MOST_TOLD else [*found[: MOST_TOLD // 2], *found[-MOST_TOLD // 2 :]]
        return Found(ids.pop(), tuple(told), len(found), document, await self._signed(found))

    async def _signed(self, found: Sequence[Entry]) -> dict[int, str]:
        """Find what became of the signatures that these entries asked for; it is written soon after each."""
        signed: dict[int, str] = {}
        for entry in [entry for entry in found if entry.event.get("signs")][-MOST_SIGNED:]:
            first = entry.seq
            while entry.seq not in signed and first < self._log.head.size:
                for outcomes in await self._run(partial(self._mentioning, first, first + PAGE, [_OUTCOMES])):
                    signed |= _outcomes(outcomes, entry.seq)
                first += PAGE
        return signed

    def _read(self, seq: int) -> Entry | None:
        return next((entries.parse(body) for body in self._log.bodies(seq, 1)), None)

    def _mentioning(self, first: int, end: int, needles: Sequence[bytes]) -> list[Entry]:
        return [entries.parse(body) for body in self._log.mentioning(first, end, needles)]


def _unknown(detail: str) -> Refused:
    return Refused(Refusal.UNKNOWN_REQUEST, detail, "what the log has entries of")


def _ids(entry: Entry) -> set[str]:
    return {found for member in ("command", "request") if isinstance(found := entry.event.get(member), str)}


def _document(found: Sequence[Entry], id_: str) -> str | None:
    """Give the SHA-256 of the signed command that these entries are about, once one of them names it."""
    for entry in found:
        document = None if "head" in entry.event else entry.event.get("document")
        if str(entry.event.get("command", "")).startswith(id_) and isinstance(document, str):
            return document
    return None


def _signed_at(document: bytes) -> int:
    return Record.of(loads(parse_unverified(document).payload), "command").integer("iat")


def _outcomes(entry: Entry, seq: int) -> dict[int, str]:
    for said in ("signed", "failed", "unknown"):
        listed = entry.event.get(said)
        if isinstance(listed, list) and seq in listed:
            return {seq: said}
    return {}


def retell(standing: Standing, found: Found, now: int) -> dict[str, Json]:
    """Tell what the entries say of a command."""
    told: dict[str, Json] = {
        "command": found.command,
        "entries": [_entry(entry, found.signed.get(entry.seq)) for entry in found.entries],
        "all_entries": found.all_entries,
    }
    if found.command is None:
        return told
    own = [entry for entry in found.entries if entry.event.get("command") == found.command]
    first, last = (own[0], own[-1]) if own else (None, None)
    asked = None if found.document is None else _asked(found.document)
    return {
        **told,
        "act": None if first is None else first.event.get("act"),
        "by": None if first is None else first.event.get("by"),
        "asked": asked,
        **_ending(standing, found, now),
        "policy": None if last is None else last.event.get("policy"),
        "permits": None if last is None else last.event.get("permits"),
        "profiles": None if last is None else last.event.get("profiles"),
        "people": None if first is None else _people(standing, found, own, now),
    }


def _entry(entry: Entry, signed: str | None) -> Json:
    says = {name: value for name, value in entry.event.items() if name not in _UNTOLD}
    told: dict[str, Json] = {"seq": entry.seq, "time": entry.time, "type": entry.type, "says": says}
    return told if signed is None else {**told, "signature": signed}


def _asked(document: bytes) -> Json:
    claims = Record.of(loads(parse_unverified(document).payload), "command")
    return {"args": claims.record("args").members(), "signed": claims.integer("iat"), "ends": claims.integer("exp")}


def _ending(standing: Standing, found: Found, now: int) -> dict[str, Json]:
    """Say how it ended: by its own entries, else by what the appliance would answer if it were sent again."""
    for entry in reversed(found.entries):
        if (said := _said(entry, found)) is not None:
            return said
    command, lookups = found.command or "", standing.lookups
    recorded, request = lookups.outcomes.get(command), lookups.requests.get(command)
    if recorded is None:
        return _state(None, None, None, "its entries say no more")
    if request is not None:
        recorded = counting.outcome(standing.authority, request, recorded, now)
        if now >= request.expires_at:
            return _state(State.REFUSED, Refusal.EXPIRED, RULE[Refusal.EXPIRED], "it ended while it waited")
    return _state(recorded.state, recorded.reason, recorded.rule, recorded.detail)


def _said(entry: Entry, found: Found) -> dict[str, Json] | None:
    """Give what one entry says of the end."""
    event, own = entry.event, entry.event.get("command") == found.command
    if own and entry.type == "command.refused":
        return _state(State.REFUSED, event.get("reason"), event.get("rule"), event.get("detail"))
    if own and "result" in event:
        signed = found.signed.get(entry.seq)
        if signed in {"failed", "unknown"}:
            detail = f"the outcome of its signature is {signed}"
            return _state(State.REFUSED, Refusal.HSM_FAULT, RULE[Refusal.HSM_FAULT], detail)
        return {**_state(State.DONE, None, None, None), "result": event["result"]}
    if own:
        return None
    if entry.type == "approval.given" and event.get("verdict") == "deny":
        why = f": {event['reason']}" if "reason" in event else ""
        return _state(State.REFUSED, Refusal.DENIED, RULE[Refusal.DENIED], f"denied by {event.get('by')}{why}")
    if entry.type == "request.withdrawn":
        return _state(State.REFUSED, Refusal.WITHDRAWN, RULE[Refusal.WITHDRAWN], f"withdrawn by {event.get('by')}")
    return None


def _state(state: State | None, reason: Json, rule: Json, detail: Json) -> dict[str, Json]:
    return {"state": None if state is None else state.value, "reason": reason, "rule": rule, "detail": detail}


def _people(standing: Standing, found: Found, own: Sequence[Entry], now: int) -> Json:
    """Say who stood behind it, whose approval did not count and why, and how many people it took."""
    authority, first, last = standing.authority, own[0], own[-1]
    act = Act(str(first.event["act"]))
    waited = first if first.type == "command.waiting" else None
    request = standing.lookups.requests.get(found.command or "")
    have = _texts(last, "people")
    need: int | None = None
    if request is not None:
        need = counting.need(authority, request)
        have = tuple(sorted(request.people_with(counting.counted(authority, request, now).values())))
    elif waited is not None and isinstance(needed := waited.event.get("need"), int):
        need = needed
    elif last.type != "command.refused":
        # It was carried out at once, so it took nobody else.
        need = authority.founding.people_for(act, by_workload=names.is_spiffe_id(str(first.event["by"])))
    named = _texts(waited, "named") if waited is not None else ()
    rule = None if need is None else policy.quorum_rule(authority, act, need, named)
    decided = next((entry for entry in own if entry.type != "command.waiting"), None)
    given = [entry for entry in found.entries if entry.type in {"approval.given", "approval.refused"}]
    return {
        "need": need,
        "rule": rule,
        "have": [*have],
        "approvals": [_approval(authority, standing.lookups, entry, decided, now) for entry in given],
    }


def _approval(authority: Authority, lookups: Lookups, entry: Entry, decided: Entry | None, now: int) -> Json:
    """Say whether an approval counted, and why not."""
    event = entry.event
    told: dict[str, Json] = {"person": event.get("by"), "verdict": event.get("verdict"), "entry": entry.seq}
    if entry.type == "approval.refused":
        return {**told, "counts": False, **{name: event.get(name) for name in ("reason", "rule", "detail")}}
    if event.get("verdict") == "deny":
        return {**told, "counts": True}
    why = _lapsed(entry, decided) if decided is not None else _lapses(authority, lookups, entry, now)
    if why is None:
        return {**told, "counts": True}
    return {
        **told,
        "counts": False,
        "reason": Refusal.APPROVAL_VOID,
        "rule": RULE[Refusal.APPROVAL_VOID],
        "detail": why,
    }


def _lapses(authority: Authority, lookups: Lookups, entry: Entry, now: int) -> str | None:
    """Say why an approval of what still waits does not count now."""
    request = lookups.requests.get(str(entry.event.get("request")))
    given = None if request is None else request.approvals.get(str(entry.event.get("approval")))
    if request is None or given is None:
        return None
    return counting.why_not(authority, request, given, now)


def _lapsed(entry: Entry, decided: Entry) -> str | None:
    """Say why an approval did not count when it was decided, as far as the two entries tell."""
    event = entry.event
    if event.get("approval") in _texts(decided, "approvals"):
        return None
    if isinstance(ends := event.get("expires"), int) and decided.time >= ends:
        return "it had ended"
    basis = event.get("basis")
    policy_, profiles = (basis.get("policy"), basis.get("profile")) if isinstance(basis, dict) else (None, None)
    if policy_ != decided.event.get("policy"):
        return "it was given for another policy"
    if profiles != decided.event.get("profiles"):
        return "it was given for another profile"
    return "the entry of the decision does not name it"


def _texts(entry: Entry, member: str) -> tuple[str, ...]:
    found = entry.event.get(member)
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()
