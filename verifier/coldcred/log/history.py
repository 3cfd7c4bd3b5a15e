"""The history that a log tells, entry by entry: each must follow from the entries before it and from signed documents.

The event types are a closed list. An entry of another type is refused as malformed: a reader that passed over what it
does not know would vouch for it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from coldcred.acts import Act
from coldcred.canonical import sha256_hex
from coldcred.charter import LogCharter, Purpose
from coldcred.command import Command
from coldcred.errors import BadSignature, LogReason, LogRejected, Malformed
from coldcred.founding import Founding, verify_signatures
from coldcred.log import deeds, system
from coldcred.log.batches import Batches
from coldcred.log.blobs import Blobs
from coldcred.log.bundles import Bundles
from coldcred.log.combinations import Holdings
from coldcred.log.credentials import Credentials
from coldcred.log.entry import Entry
from coldcred.log.note import Checkpoint, VerifierKey
from coldcred.log.people import People, Step
from coldcred.log.signing import Signing, check_dates
from coldcred.log.staffing import Staffing
from coldcred.log.tree import Frontier
from coldcred.profile import Profile
from coldcred.record import MAX_TIME, Record

_Taker: TypeAlias = Callable[[Entry, Record, Command], None]


class History:
    """What a log has established so far; `counts` has the number of entries of each type."""

    def __init__(self, founding: Founding, blobs: Blobs) -> None:
        """Begin before the first entry, which must be the one that founds `founding`."""
        self._founding = founding
        self._token_classes = {token.label: token.token_class for token in founding.tokens}
        self._blobs = blobs
        self._people = People(founding, blobs)
        self.signing = Signing(founding)
        self._staffing = Staffing(self._people, self.signing, blobs)
        self._bundles = Bundles(self.signing)
        self._batches = Batches(self.signing, blobs, founding.issuer)
        self._credentials = Credentials()
        self._checkpoints: dict[int, int] = {}
        self._newest_checkpoint = 0
        self._time = 0
        self._takers = self._takers_by_type()
        self._of_requests: Mapping[str, Callable[[Record, int], None]] = {
            "command.waiting": self._people.waiting,
            "command.refused": self._people.refused,
            "approval.given": self._people.approval,
            "approval.refused": self._people.approval_refused,
        }
        self.counts: Counter[str] = Counter()

    def take(self, entry: Entry, before: Frontier) -> None:
        """Take the next entry of a verified chain; `before` is the tree of all entries before it.

        Raises `LogRejected`, naming this entry, or an earlier one that lacks what should have followed it.
        """
        event = Record(entry.event, entry.type)
        try:
            _check_place(entry)
            event.text("type")
            self._take(entry, event, before)
            event.done()
            self._blobs.name(entry.body)
        except Malformed as error:
            raise LogRejected(LogReason.MALFORMED, str(error), entry.seq) from error
        except LogRejected as error:
            if error.seq is not None:
                raise
            raise LogRejected(error.reason, error.detail, entry.seq) from error
        self.counts[entry.type] += 1
        self._time = entry.time
        self._credentials.advance(entry.time)

    def log_key(self) -> VerifierKey:
        """Give the log key that the log itself names; `LogRejected` (`wrong-key`) before it was made."""
        key = self.signing.key_for(Purpose.LOG)
        if key is None or not isinstance(key.charter, LogCharter):
            raise LogRejected(LogReason.WRONG_KEY, "no entry before made a log key")
        return VerifierKey(key.charter.origin, key.public)

    def check_checkpoint(self, time: int) -> None:
        """Return where a checkpoint over an entry of `time` is by a log key that had not ended; else `LogRejected`."""
        key = self.signing.key_for(Purpose.LOG)
        if key is not None:
            check_dates(key, time)

    def _take(self, entry: Entry, event: Record, before: Frontier) -> None:
        match entry.type:
            case "founded":
                self._founded(event)
            case "started":
                event.text("version", max_chars=64)
                event.optional_text("run", max_chars=22)  # earlier releases drew nothing
                self.signing.started()
                self._batches.started(entry.time)
            case "stopped":
                pass
            case "key.ordered":
                self.signing.ordered(event)
            case "key.done":
                self.signing.done(event, entry.time)
            case "outcomes":
                self._settled(event)
            case "checkpoint":
                self._checkpoint(event, entry.seq, before, entry.time)
            case kind if kind in self._of_requests:
                self._of_requests[kind](event, entry.time)
            case kind if kind in system.EVENTS:
                system.take(kind, event, entry.event, self._token_classes)
            case _:
                self._carried(entry, event)

    def _settled(self, event: Record) -> None:
        for seq, outcome in self.signing.settled(event).items():
            size = self._checkpoints.pop(seq, 0)
            if outcome == "signed":
                self._newest_checkpoint = max(self._newest_checkpoint, size)
            self._credentials.settled(seq, signed=outcome == "signed")
            if (bundle := self._bundles.settled(seq, signed=outcome == "signed")) is not None:
                self._credentials.told(*bundle)

    def _carried(self, entry: Entry, event: Record) -> None:
        """Take an event that carries out a command."""
        act = _ACTS.get(entry.type)
        if act is None:
            raise Malformed(f"an event of type {entry.type}, which this reader does not know")
        command = self._people.carried(entry, event, act, _STEPS.get(entry.type, Step.WHOLE))
        self._takers[entry.type](entry, event, command)

    def _takers_by_type(self) -> Mapping[str, _Taker]:
        bundles, batches, blobs = self._bundles, self._batches, self._blobs
        return {
            "credential.issued": self._issued,
            "batch.begun": lambda entry, event, command: batches.begun(
                event, command, entry.time, self._people.profiles
            ),
            "batch.issued": self._issued_batch,
            "batch.done": lambda _entry, event, command: batches.done(event, command),
            "credential.revoked": lambda entry, event, command: self._credentials.revoked(
                event, command, self._time, entry.time, bundles.following, self._revokes_at(entry)
            ),
            "workload.enrolled": self._enrolled,
            "workload.suspended": lambda entry, event, command: self._people.workloads.suspended(
                (deeds.suspended(event, command),), entry.time
            ),
            "workload.resumed": lambda _entry, event, command: self._people.workloads.resumed(
                deeds.resumed(event, command), command.issued_at
            ),
            "profile.set": self._profile_set,
            "policy.set": self._policy_set,
            "site.added": lambda _entry, event, command: deeds.site_added(event, command),
            "trust.submitted": lambda _entry, event, command: deeds.trust_submitted(event, command, blobs),
            "bundle.begun": lambda entry, event, command: bundles.begun(event, command, entry.seq, entry.time),
            "bundle.signed": lambda entry, event, command: bundles.signed(event, command, entry.seq, entry.time),
            "bundle.created": lambda entry, event, command: bundles.created(event, command, entry.seq, entry.time),
            "log.exported": lambda entry, event, _command: deeds.exported(event, entry.seq, self._newest_checkpoint),
            "key.suspended": lambda entry, event, command: self.signing.suspended(
                deeds.key_named(event, command), entry.time
            ),
            "key.activated": lambda _entry, event, command: self.signing.activated(
                deeds.key_named(event, command), command.issued_at
            ),
            "request.withdrawn": lambda _entry, event, command: self._people.withdrawn(event, command),
            "request.completed": self._people.completed,
            "reading.opened": lambda _entry, event, _command: deeds.reading_opened(event),
            **self._staffing.takers(),
            "workload.adopted": self._adopt,
            "review.started": self._review_started,
            "review.confirmed": self._review_confirmed,
            "review.closed": self._review_closed,
        }

    def _enrolled(self, entry: Entry, event: Record, command: Command) -> None:
        found = deeds.enrolled(event, command, self._blobs, entry.time)
        self.signing.workload_key(found.workload, found.key)
        self.signing.workload_key(found.workload, found.seal)
        if found.owner not in self._people.enrolled:
            raise LogRejected(LogReason.BAD_COMMAND, f"its owner {found.owner[:48]!a} is nobody enrolled")
        workloads = self._people.workloads
        workloads.enrolled(found.workload, found.review_by, found.key, found.owner, command.issued_at)

    def _adopt(self, entry: Entry, event: Record, command: Command) -> None:
        workload, owner = deeds.adopted(event, command)
        if owner not in self._people.enrolled or owner not in Record(entry.event, entry.type).texts("people"):
            raise LogRejected(LogReason.BAD_COMMAND, f"its new owner {owner[:48]!a} is not enrolled, or did not sign")
        self._people.workloads.adopted(workload, owner)

    def _review_started(self, entry: Entry, event: Record, command: Command) -> None:
        people = self._people
        people.reviews.started(event, command, entry.time, people.workloads.owners, people.enrolled)

    def _review_confirmed(self, entry: Entry, event: Record, command: Command) -> None:
        people = self._people
        by = str(entry.event["by"])
        people.reviews.confirmed(event, command, by, entry.time, people.workloads.owners, people.enrolled)

    def _review_closed(self, entry: Entry, event: Record, command: Command) -> None:
        people = self._people
        stopped = people.reviews.closed(event, command, entry.time, people.workloads.owners, people.enrolled)
        people.workloads.suspended(stopped, entry.time)

    def _profile_set(self, _entry: Entry, event: Record, command: Command) -> None:
        profile = deeds.profile_set(event, command, self._founding.trust_domain)
        if Act.CREDENTIAL_ISSUE in self._people.operators.unreachable([profile]):
            raise LogRejected(LogReason.TOO_FEW_PEOPLE, f"sets {profile.name} for more people than are enrolled")
        self._people.profiles[profile.name] = profile

    def _policy_set(self, _entry: Entry, event: Record, command: Command) -> None:
        self._people.policy = deeds.policy_set(event, command, self._blobs)

    def _issued_batch(self, entry: Entry, event: Record, command: Command) -> None:
        made = self._batches.issued(event, command, entry.seq, entry.time)
        told = Record(entry.event, entry.type)
        self._credentials.replaced(told.texts("revokes"), self._revokes_at(entry))
        held = self._holdings(self._batches.profiles_of(command), told.integer("iat"))
        for (credential, key), item in zip(made, told.records("items"), strict=True):
            self._credentials.check_combination(held, credential)
            self._people.check_issuing(credential.subject, entry.time)
            kid, site = key.public.thumbprint, item.text("site")
            self._credentials.issued(credential.jti, deeds.remembered(credential, kid=kid, site=site))

    def _revokes_at(self, entry: Entry) -> int | None:
        """Give the entry where what it revokes counts as held until its site can know; earlier releases had it gone."""
        return entry.seq if self._bundles.names_checkpoints else None

    def _holdings(self, profiles: Mapping[str, Profile], as_of: int) -> Holdings:
        return self._credentials.holdings(profiles, self._people.workloads.kin, as_of)

    def _founded(self, event: Record) -> None:
        if event.digest("founding") != self._founding.appliance_id:
            raise LogRejected(LogReason.BAD_COMMAND, "founds another appliance than founding.json")
        self._blobs.read(self._founding.appliance_id)
        tokens = [self._blobs.read(digest) for digest in event.texts("signatures")]
        try:
            verify_signatures(self._founding, (token.decode("ascii") for token in tokens))
        except (BadSignature, Malformed, UnicodeDecodeError) as error:
            raise LogRejected(LogReason.BAD_COMMAND, str(error)) from error

    def _checkpoint(self, event: Record, seq: int, before: Frontier, time: int) -> None:
        """Take a checkpoint: over all entries before it, and signed as exactly the note that says so."""
        checkpoint = Checkpoint(self.log_key().name, event.integer("size"), bytes.fromhex(event.digest("root")))
        if (checkpoint.size, checkpoint.root) != (seq, before.root()):
            raise LogRejected(LogReason.WRONG_ROOT, "its size and root are not those of the entries before it")
        (sign,) = self.signing.intent(event, seq, Purpose.LOG, time=time, most=1)
        if sign.sha256 != sha256_hex(checkpoint.text()):
            raise LogRejected(LogReason.BAD_CHECKPOINT, "signs another text than its own checkpoint")
        self._checkpoints[seq] = checkpoint.size
        self._bundles.checkpoint(checkpoint.size)

    def _issued(self, entry: Entry, event: Record, command: Command) -> None:
        name = command.args.get("profile")
        profile = self._people.profiles.get(name) if isinstance(name, str) else None
        if profile is None:
            raise LogRejected(LogReason.BAD_COMMAND, "issues under a profile that no entry before it set")
        credential = deeds.read_issued(event, command, profile, issuer=self._founding.issuer)
        self._people.check_issuing(credential.subject, entry.time)
        self._credentials.check_combination(self._holdings(self._people.profiles, credential.issued_at), credential)
        (sign,) = self.signing.intent(event, entry.seq, Purpose.TOKENS, time=entry.time, most=1)
        deeds.check_issued(credential, sign.key, seq=entry.seq, time=entry.time)
        kid, site = sign.key.public.thumbprint, str(entry.event["site"])
        self._credentials.issued(credential.jti, deeds.remembered(credential, kid=kid, site=site))


_STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "batch.begun": Step.FIRST,
        "batch.issued": Step.CHUNK,
        "batch.done": Step.LAST,
        "bundle.begun": Step.FIRST,
        "bundle.signed": Step.NEXT,
        "bundle.created": Step.LAST,
    }
)


def _check_place(entry: Entry) -> None:
    if entry.time > MAX_TIME:
        raise Malformed("its time lies beyond all calendars")
    if (entry.seq == 0) != (entry.type == "founded"):
        raise Malformed("the first entry, and no other, founds the appliance")


_ACTS: Mapping[str, Act] = MappingProxyType(
    {
        "credential.issued": Act.CREDENTIAL_ISSUE,
        "batch.begun": Act.CREDENTIAL_ISSUE,
        "batch.issued": Act.CREDENTIAL_ISSUE,
        "batch.done": Act.CREDENTIAL_ISSUE,
        "credential.revoked": Act.CREDENTIAL_REVOKE,
        "workload.enrolled": Act.WORKLOAD_ENROL,
        "profile.set": Act.PROFILE_SET,
        "policy.set": Act.POLICY_SET,
        "site.added": Act.SITE_ADD,
        "trust.submitted": Act.TRUST_SUBMIT,
        "bundle.begun": Act.BUNDLE_CREATE,
        "bundle.signed": Act.BUNDLE_CREATE,
        "bundle.created": Act.BUNDLE_CREATE,
        "log.exported": Act.LOG_EXPORT,
        "reading.opened": Act.READ_OPEN,
        "workload.suspended": Act.WORKLOAD_SUSPEND,
        "workload.resumed": Act.WORKLOAD_RESUME,
        "key.suspended": Act.KEY_SUSPEND,
        "key.activated": Act.KEY_ACTIVATE,
        "request.withdrawn": Act.REQUEST_WITHDRAW,
        "request.completed": Act.REQUEST_COMPLETE,
        "operator.added": Act.OPERATOR_ADD,
        "operator.removed": Act.OPERATOR_REMOVE,
        "operator.roles-set": Act.OPERATOR_ROLES,
        "operator.key-replaced": Act.OPERATOR_REPLACE_KEY,
        "operator.recovered": Act.OPERATOR_RECOVER,
        "workload.adopted": Act.WORKLOAD_ADOPT,
        "review.started": Act.REVIEW_START,
        "review.confirmed": Act.REVIEW_CONFIRM,
        "review.closed": Act.REVIEW_CLOSE,
    }
)
