"""Batches: one command for thousands of credentials, decided in chunks of which each is one entry (rule R8).

The file beside the command is kept as a blob, so an entry names each credential by its line. Profiles are those of the
moment when the batch was taken in; suspension, reviews, keys and revocation are those of each chunk.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from appliance.authority import Authority
from appliance.decision import Ask, Decision, Finished, Signing, refused_members, signs
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from appliance.nouns import credentials
from appliance.nouns.credentials import Grant, Granting, Random
from appliance.writers import jwt
from coldcred.asked import Asked
from coldcred.batch import BatchArguments, read_held
from coldcred.canonical import Json, dumps
from coldcred.credential import Credential
from coldcred.jose import assemble
from coldcred.log.entry import MAX_BODY
from coldcred.profile import Profile
from coldcred.record import Record

CHUNK = 64
"""Most credentials of one chunk."""

ENVELOPE = 1024
"""Bytes of an entry that are kept for what is not its event."""

LARGEST_LINE = 6 * 1024
"""Bytes that one line takes in an entry at most: its credential with the longest names, or why it is refused, and the
credentials of all the sittings that it may resume, which it revokes."""

_SIGN = len(dumps([{"kid": "k" * 43, "sha256": "0" * 64}]))
_REVOKED = len(dumps(["j" * 22]))


@dataclass(frozen=True)
class Batch:
    """A batch that was taken in: what each line asks for, or why it cannot be read; lines count from 1.

    `before` has what earlier sittings issued for a line, oldest first; `held` the one that the client has, which need
    not be the last: what was issued in place of a lost one may have been lost as well.
    """

    ask: Ask
    items: tuple[Asked | str, ...]
    profiles: Mapping[str, Profile]
    before: Mapping[int, Sequence[str]]
    held: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next lines of a batch: a decision, the line after them, and how many were issued, refused and still held."""

    decision: Decision
    following: int
    issued: int
    refused: int
    held: int


def take_in(authority: Authority, lookups: Lookups, ask: Ask, items: tuple[Asked | str, ...]) -> tuple[Batch, Decision]:
    """Begin a batch whose file was read as `items`; raises `Refused`."""
    arguments = BatchArguments.read(Record(ask.command.args, "credential.issue"))
    held: dict[int, str] = {}
    before: dict[int, list[str]] = {}
    if arguments.held is not None:
        held = read_held(attached(ask, arguments.held.sha256))
        for command in arguments.resumes:
            for line, jti in lookups.batches.get(command, {}).items():
                before.setdefault(line, []).append(jti)
    for line, jti in held.items():
        if jti not in before.get(line, ()):
            raise Refused(Refusal.MALFORMED, f"line {line} holds credential {jti}, which was not issued for it")
    members: dict[str, Json] = {"held": None, "resumes": [], **arguments.as_json()}
    return Batch(ask, items, authority.profiles, before, held), Decision((ask.event("batch.begun", members),))


def attached(ask: Ask, digest: str) -> bytes:
    """Give a file that travels beside the command."""
    try:
        return ask.attachments[digest]
    except KeyError:
        raise Refused(Refusal.MALFORMED, "the command names a file that does not travel beside it") from None


def decide_chunk(batch: Batch, first: int, authority: Authority, lookups: Lookups, now: int, random: Random) -> Chunk:
    """Decide the lines from `first` on, as many as one entry takes; raises nothing: a refusal is a line's outcome."""
    making = _Making(batch, authority, lookups, now, random)
    line = first
    while line <= len(batch.items) and making.has_room:
        making.take(line)
        line += 1
    return making.finish(line)


class _Making:
    """One chunk being made."""

    def __init__(self, batch: Batch, authority: Authority, lookups: Lookups, now: int, random: Random) -> None:
        self._batch, self._lookups = batch, lookups
        self._granting = Granting(authority, lookups, batch.profiles, now)
        self._now, self._random = now, random
        self._grants: dict[Asked, Grant | Refused] = {}
        self._drawn: set[int] = set()
        # What is the same in each chunk of a batch, counted in full, so that no entry is too large (rule R36).
        self._room = MAX_BODY - ENVELOPE - len(dumps(batch.ask.event("batch.issued", _members(now, [], [], [], []))))
        self._held = 0
        self._items: list[Json] = []
        self._signs: list[tuple[str, bytes]] = []
        self._signings: list[Signing] = []
        self._refused: list[Json] = []
        self._revokes: list[Json] = []
        self._lines: list[tuple[int, Credential | Refused]] = []
        self._writers: dict[str, jwt.Writer] = {}

    @property
    def has_room(self) -> bool:
        return len(self._lines) < CHUNK and self._room >= LARGEST_LINE

    def take(self, line: int) -> None:
        """Issue what a line asks for, say why not, or leave what the client holds and still lives."""
        alive = [jti for jti in self._batch.before.get(line, ()) if self._lookups.lives(jti, self._now)]
        if alive and alive == [self._batch.held.get(line)]:
            self._held += 1
            return
        self._revokes += alive
        self._room -= _REVOKED * len(alive)
        granted = self._uncombined(self._grant(line))
        if isinstance(granted, Refused):
            told = _refusal(line, granted)
            self._refused.append(told)
            self._lines.append((line, granted))
            self._room -= len(dumps([told]))
            return
        self._issue(line, granted)

    def _grant(self, line: int) -> Grant | Refused:
        asked = self._batch.items[line - 1]
        if isinstance(asked, str):
            return Refused(Refusal.MALFORMED, asked)
        found = self._grants.get(asked)
        if found is None:
            try:
                if (forbidden := self._batch.ask.ruled.forbids.get(asked.profile)) is not None:
                    raise forbidden
                found = self._granting.grant(asked)
            except Refused as refused:
                found = refused
            self._grants[asked] = found
        return found

    def _uncombined(self, granted: Grant | Refused) -> Grant | Refused:
        """Hold a line to what is held already, the lines before it included."""
        if isinstance(granted, Refused):
            return granted
        try:
            self._granting.check_combination(granted.asked)
        except Refused as refused:
            return refused
        return granted

    def _issue(self, line: int, granted: Grant) -> None:
        index = credentials.free_index(self._lookups, granted.list_uri, self._random, self._drawn)
        self._drawn.add(index)
        credential = credentials.draw(granted, index, self._lookups.size, self._now, self._random)
        kid = granted.public.thumbprint
        writer = self._writers.get(kid)
        if writer is None:
            writer = self._writers[kid] = jwt.Writer(granted.kind, granted.public)
        data = writer.write(credential)
        self._signs.append((kid, data))
        self._signings.append(Signing(0, granted.key.key_id, data))
        self._lines.append((line, credential))
        item: dict[str, Json] = {
            "audience": granted.asked.audience,
            "exp": credential.expires_at,
            "idx": index,
            "jti": credential.jti,
            "line": line,
            "profile": granted.asked.profile,
            "site": granted.site,
            "uri": granted.list_uri,
            "workload": granted.asked.workload,
        }
        self._items.append(item)
        self._room -= len(dumps([item])) + _SIGN

    def finish(self, following: int) -> Chunk:
        """Give the chunk; one in which every line is held already has no entry."""
        members = _members(self._now, self._items, self._refused, self._revokes, signs(*self._signs))
        events = (self._batch.ask.event("batch.issued", members),) if self._lines else ()
        lines, signings = self._lines, tuple(self._signings)
        decision = Decision(
            events,
            signings,
            finish=lambda signatures: Finished({"lines": _told(lines, signings, signatures)}),
        )
        return Chunk(decision, following, len(self._items), len(self._refused), self._held)


def _members(iat: int, items: list[Json], refused: list[Json], revokes: list[Json], signed: Json) -> dict[str, Json]:
    return {"iat": iat, "items": items, "refused": refused, "revokes": revokes, "signs": signed}


def _told(
    lines: Sequence[tuple[int, Credential | Refused]], signings: Sequence[Signing], signatures: Sequence[bytes]
) -> bytes:
    """Write the outcome of each line as one line of canonical JSON."""
    signed = iter(zip(signings, signatures, strict=True))
    return b"".join(_tell(line, found, signed) for line, found in lines)


def _tell(line: int, found: Credential | Refused, signed: Iterator[tuple[Signing, bytes]]) -> bytes:
    if isinstance(found, Refused):
        return dumps(_refusal(line, found)) + b"\n"
    item, signature = next(signed)
    token = assemble(item.input, signature)
    # Nothing in it needs an escape, so this is what `dumps` would write.
    return (
        f'{{"exp":{found.expires_at},"jti":"{found.jti}","line":{line},"log":{found.log_index},"token":"{token}"}}\n'
    ).encode("ascii")


def _refusal(line: int, refused: Refused) -> dict[str, Json]:
    """Say of one line why it is refused, and by which rule: in fewer characters, since there may be thousands."""
    return {**refused_members(refused), "detail": refused.detail[:256], "line": line}


def decide_done(ask: Ask, *, issued: int, refused: int, held: int) -> Decision:
    """End a batch of which every line has its outcome."""
    result: dict[str, Json] = {"held": held, "issued": issued, "refused": refused}
    return Decision((ask.event("batch.done", {}, result),))
