"""Batches in the log (rule R8): begun over a file that the command's signature covers, issued chunk by chunk, done.

Each credential answers to one line of that file and each line to at most one credential, so a compromised engine can
neither issue what nobody asked for nor pass a line over unseen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coldcred.asked import Asked
from coldcred.batch import BatchArguments, read_held, read_items
from coldcred.canonical import Json
from coldcred.charter import Purpose
from coldcred.command import LONGEST_LIFE, Command
from coldcred.credential import Credential, StatusReference
from coldcred.errors import LogReason, LogRejected
from coldcred.log.blobs import Blobs
from coldcred.log.deeds import check_issued
from coldcred.log.signing import LoggedKey, Signing
from coldcred.profile import Asker, Profile
from coldcred.record import Record

REMEMBERED = 2 * (LONGEST_LIFE + 24 * 3600)
"""Seconds for which a batch can be resumed: as long as its command lives, and as long again after its end."""


@dataclass(slots=True)
class _Batch:
    """A batch as far as it came: what each line asks for, and the jti that was issued for it."""

    since: int
    items: tuple[Asked | str, ...]
    profiles: Mapping[str, Profile]
    before: Mapping[int, list[str]]
    held: Mapping[int, str]
    seen: set[int] = field(default_factory=set)
    lines: dict[int, str] = field(default_factory=dict)
    refused: int = 0
    runs: bool = True


class Batches:
    """The batches of a log, as far as it has been read."""

    def __init__(self, signing: Signing, blobs: Blobs, issuer: str) -> None:
        """Begin before the first batch; intents go to `signing`, files are read from `blobs`."""
        self._signing = signing
        self._blobs = blobs
        self._issuer = issuer
        self._batches: dict[str, _Batch] = {}

    def begun(self, event: Record, command: Command, time: int, profiles: Mapping[str, Profile]) -> None:
        """Take `batch.begun`: the files that the command names, and nothing held that was not issued."""
        arguments = BatchArguments.read(Record(command.args, command.act))
        expected: dict[str, Json] = {"held": None, "resumes": [], **arguments.as_json()}
        for name, value in expected.items():
            if event.value(name) != value:
                raise _bad(f"its {name} is not what the signed command asks for")
        before: dict[int, list[str]] = {}
        held: dict[int, str] = {}
        if arguments.held is not None:
            held = read_held(self._file(arguments.held.sha256))
            for resumed in arguments.resumes:
                for line, jti in self._batches[resumed].lines.items() if resumed in self._batches else ():
                    before.setdefault(line, []).append(jti)
        if wrong := [line for line, jti in held.items() if jti not in before.get(line, ())]:
            raise _bad(f"holds a credential for line {wrong[0]} that no batch before it issued for it")
        self._forget(time)
        items = read_items(self._file(arguments.items.sha256))
        if len(items) != arguments.items.count:
            raise _bad("names another number of lines than its file has")
        self._batches[command.id] = _Batch(time, items, dict(profiles), before, held)

    def started(self, time: int) -> None:
        """Take `started`, which ends what a crash cut short, however long ago: from then on it can be resumed."""
        for batch in self._batches.values():
            if batch.runs:
                batch.since, batch.runs = time, False

    def issued(self, event: Record, command: Command, seq: int, time: int) -> tuple[tuple[Credential, LoggedKey], ...]:
        """Take `batch.issued` and give its credentials, each with the key that was to sign it."""
        batch = self._of(command)
        iat = event.time("iat")
        for item in event.records("refused"):
            self._see(batch, item.integer("line", least=1))
            item.text("reason", max_chars=64)
            item.text("rule", max_chars=256)
            item.text("detail", max_chars=256)
            item.done()
            batch.refused += 1
        credentials = [self._credential(item, batch, iat, seq) for item in event.records("items")]
        revoked = event.texts("revokes")
        known = {jti for issued in batch.before.values() for jti in issued} if revoked else set()
        if not known.issuperset(revoked):
            raise _bad("revokes a credential that no batch that it resumes issued")
        if not credentials and event.value("signs") == []:
            return ()
        signs = self._signing.intent(event, seq, Purpose.TOKENS, time=time)
        if len(signs) != len(credentials):
            raise LogRejected(LogReason.MALFORMED, "does not sign each of its credentials once")
        for credential, sign in zip(credentials, signs, strict=True):
            check_issued(credential, sign.key, seq=seq, time=time)
        return tuple((credential, sign.key) for credential, sign in zip(credentials, signs, strict=True))

    def profiles_of(self, command: Command) -> Mapping[str, Profile]:
        """Give the profiles that a batch began under."""
        return self._of(command).profiles

    def done(self, event: Record, command: Command) -> None:
        """Take `batch.done`: every line was issued, refused or held, and the counts say so."""
        batch = self._of(command)
        left = set(range(1, len(batch.items) + 1)) - batch.seen
        if left - batch.held.keys():
            raise _bad(f"is done, and line {min(left - batch.held.keys())} has no outcome")
        expected: dict[str, Json] = {"held": len(left), "issued": len(batch.lines), "refused": batch.refused}
        if event.value("result") != expected:
            raise _bad("its result is not what its entries say")
        batch.runs = False

    def _credential(self, item: Record, batch: _Batch, iat: int, seq: int) -> Credential:
        line = item.integer("line", least=1)
        self._see(batch, line)
        asked = batch.items[line - 1]
        if isinstance(asked, str):
            raise _bad(f"issues a credential for line {line}, which asks for nothing: {asked}")
        if (item.text("workload"), item.text("profile"), item.text("audience")) != (
            asked.workload,
            asked.profile,
            asked.audience,
        ):
            raise _bad(f"issues another credential than line {line} asks for")
        profile = batch.profiles.get(asked.profile)
        if profile is None:
            raise _bad(f"issues under a profile that was not set when the batch began: {asked.profile}")
        if Asker.ISSUER not in profile.asked_by:
            raise _bad(f"issues under profile {profile.name}, under which people may not ask")
        item.text("site")
        credential = Credential(
            kind=profile.kind,
            issuer=self._issuer,
            subject=asked.workload,
            audiences=(asked.audience,),
            scopes=asked.scopes,
            jti=item.text("jti"),
            issued_at=iat,
            not_before=iat,
            expires_at=item.time("exp"),
            status=StatusReference(item.text("uri"), item.integer("idx")),
            log_index=seq,
            profile=asked.profile,
        )
        item.done()
        if asked.lifetime is not None and credential.expires_at - iat > asked.lifetime:
            raise _bad(f"issues a credential for longer than line {line} asks for")
        batch.lines[line] = credential.jti
        return credential

    def _see(self, batch: _Batch, line: int) -> None:
        if line > len(batch.items) or line in batch.seen:
            raise _bad(f"gives line {line} an outcome, which it has already or which is not there")
        batch.seen.add(line)

    def _of(self, command: Command) -> _Batch:
        batch = self._batches.get(command.id)
        if batch is None:
            raise _bad("goes on with a batch that no entry before it began")
        return batch

    def _file(self, digest: str) -> bytes:
        return self._blobs.read(digest)

    def _forget(self, time: int) -> None:
        for command in [name for name, batch in self._batches.items() if batch.since < time - REMEMBERED]:
            del self._batches[command]


def _bad(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, detail)
