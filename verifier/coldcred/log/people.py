"""People in the log: who asked, who approved, in time, with the roles for it, and enough of them (rules R2, R6, R9).

Nothing that an entry says of people is believed: commands and approvals are read again from their stored bytes, their
signatures verified under the keys of that moment, and distinct people counted. A workload that asks for itself counts
as nobody. Part of what is kept here ends with the command it is about, so memory follows the requests of fourteen days,
not the length of the log.
"""

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from coldcred import policy
from coldcred.acts import RULES, Act, Principal, Role
from coldcred.batch import BatchArguments, is_batch, profiles_in, read_items
from coldcred.canonical import sha256_hex
from coldcred.command import (
    LONGEST_LIFE,
    Approval,
    Basis,
    Command,
    Verdict,
    people,
    profiles_named,
    read_reason,
    read_rendering,
)
from coldcred.errors import LogReason, LogRejected, Malformed
from coldcred.founding import Founding
from coldcred.log import unkept
from coldcred.log.approvals import TOLERANCE, Given, Request, check_people, check_time, listed, shown, void
from coldcred.log.blobs import Blobs
from coldcred.log.entry import Entry
from coldcred.log.operators import Operators
from coldcred.log.reviews import Reviews
from coldcred.log.signed import Documents
from coldcred.log.under import Told, Under
from coldcred.log.workloads import Workloads, take_peer
from coldcred.profile import Asker, Profile, digest_of
from coldcred.record import Record


class Step(Enum):
    """Which step of carrying out a command an entry is; a command that takes one has the step `WHOLE`.

    Who asked is held to at the first step. `CHUNK` is a step that is held to who is enrolled when it is taken.
    """

    WHOLE = auto()
    FIRST = auto()
    NEXT = auto()
    CHUNK = auto()
    LAST = auto()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an entry says of a command, proved by the command's bytes: the people are those who signed."""

    command: Command
    requester: Principal
    people: tuple[str, ...]
    approvals: tuple[str, ...]


class People:
    """Operators, workloads, profiles and open requests, as far as the log has been read."""

    def __init__(self, founding: Founding, blobs: Blobs) -> None:
        """Begin with the people and profiles of `founding`; signed documents are read from `blobs`."""
        self.workloads = Workloads()
        self.reviews = Reviews(alone=founding.single_operator)
        self._founding = founding
        self._blobs = blobs
        self.operators = Operators(founding)
        self._documents = Documents(founding, blobs, self.operators, self.workloads)
        self._begun: dict[str, Under] = {}
        self._requests: dict[str, Request] = {}
        self._ended: set[str] = set()
        self._batch_profiles: dict[str, frozenset[str]] = {}
        self._ends: list[tuple[int, str, bool]] = []
        self.policy = sha256_hex(policy.DEFAULT.encode())
        self.profiles: dict[str, Profile] = {profile.name: profile for profile in founding.profiles}

    @property
    def enrolled(self) -> Mapping[str, frozenset[Role]]:
        """Everyone who is enrolled at this entry, with their roles."""
        return self.operators.people

    def check_issuing(self, workload: str, time: int) -> None:
        """Return when something may be issued to a workload at `time`, whoever asks."""
        self.workloads.check_issuing(workload, self.enrolled)
        self.workloads.check_reviewed(workload, time - TOLERANCE)
        self.reviews.check_workload(workload, time)

    def waiting(self, event: Record, time: int) -> None:
        """Take `command.waiting`: a command that is new here and takes more people than its requester."""
        asked = self._asked(event, time)
        self._check_may_ask(asked, time)
        self._check_in_time(asked, time)
        self._check_under(event, asked)
        command = asked.command
        if command.id in self._requests:
            raise _bad("waits though it waited before")
        need, needed = event.integer("need"), self._need(asked)
        if need < needed:
            raise LogRejected(LogReason.TOO_FEW_PEOPLE, f"waits for {need} people where {command.act} takes {needed}")
        if need != needed or needed <= 1:
            raise _bad(f"waits for {need} people where {command.act} takes {needed}")
        if event.time("expires") != command.expires_at:
            raise _bad("gives another end than the command's own")
        if event.text("kid") != command.signer:
            raise _bad("names another key than the one that signed")
        attachments = event.texts("attachments")
        bodies = {digest: self._blobs.read(digest) for digest in attachments}
        named = self._profiles_of(command)
        if frozenset(event.optional_texts("named") or ()) != named:
            raise _bad("names other profiles than the command does")
        by, ends = asked.requester.id, command.expires_at
        told, form = event.digest("shown"), read_rendering(event)
        if told != shown(command, by, bodies, form):
            raise _bad("gives another hash of what approvers are shown")
        self._requests[command.id] = Request(
            command.act, command.signer, by, need, ends, attachments, named, told, form
        )
        heapq.heappush(self._ends, (command.expires_at, command.id, False))

    def refused(self, event: Record, time: int) -> None:
        """Take `command.refused`, which ends a command and grants nothing: only the signature has to be good."""
        if event.has("head"):
            command, ends = self._refused_unkept(event, time), time + LONGEST_LIFE + TOLERANCE
        else:
            asked = self._asked(event, time)
            self._check_under(event, asked, refused=True)
            command, ends = asked.command.id, asked.command.expires_at
        unkept.take_reason(event)
        self._end(command, ends)

    def _refused_unkept(self, event: Record, time: int) -> str:
        """Take what a refusal says of a command that was too long to be kept (rule R40), and give the command."""
        self._forget(time)
        told = unkept.take(event)
        requester = self._documents.signer(told.kid)
        if told.by != requester.id or told.command in self._requests or told.command in self._begun:
            raise _bad(
                "names somebody else than the key in the command's header does, or what an entry before it keeps"
            )
        check_people(event, people(requester.id, ()), people(requester.id, ()))
        Told.take(event, told.act, refused=True).check_unkept(self.policy)
        if requester.is_workload:
            take_peer(event)
        return told.command

    def carried(self, entry: Entry, event: Record, act: Act, step: Step = Step.WHOLE) -> Command:
        """Take what every event that carries out `act` says of its command."""
        asked = self._asked(event, time := entry.time)
        command = asked.command
        if step is Step.CHUNK:
            asked = replace(asked, requester=self._documents.signer(command.signer))
        if command.act is not act:
            raise _bad(f"carries out {act} on a command that asks for {command.act}")
        if step is Step.FIRST and command.id in self._begun:
            raise _bad("takes the first step of a command that took it before")
        self._check_may_ask(asked, time)
        if command.id not in self._begun or step not in {Step.NEXT, Step.LAST}:
            self._check_in_time(asked, time)
        under = self._check_under(event, asked)
        self._check_completed(command, entry.seq)
        if len(asked.people) < under.need:
            detail = f"{act} takes {under.need} people; {listed(asked.people)} signed"
            raise LogRejected(LogReason.TOO_FEW_PEOPLE, detail)
        if step is Step.FIRST:
            self._begun[command.id] = under
            heapq.heappush(self._ends, (command.expires_at + LONGEST_LIFE, command.id, True))
        if step in {Step.WHOLE, Step.LAST}:
            self._end(command.id, command.expires_at)
        return command

    def retire(self, kids: Collection[str]) -> None:
        """Take keys out of use: what they signed and was not begun yet is carried out no more."""
        self.operators.retire(kids)
        for command, request in list(self._requests.items()):
            if request.kid in kids and command not in self._begun:
                self._end(command, request.expires_at)

    def withdrawn(self, event: Record, command: Command) -> None:
        """Take `request.withdrawn`: by whoever made the request, which ends."""
        request_id, request = self._own_request(event, command)
        if read_reason(event) != command.args.get("reason"):
            raise _bad("gives another reason than the command does")
        self._end(request_id, request.expires_at)

    def completed(self, entry: Entry, event: Record, command: Command) -> None:
        """Take `request.completed`: by whoever made the request, which has its people; what it asks for follows."""
        _, request = self._own_request(event, command)
        signed = people(request.requester, self._have(request, entry.time))
        if len(signed) < request.need:
            detail = f"completes what takes {request.need} people; {listed(sorted(signed))} signed"
            raise LogRejected(LogReason.TOO_FEW_PEOPLE, detail)
        request.completed_at = entry.seq

    def _own_request(self, event: Record, command: Command) -> tuple[str, Request]:
        """Give the request that a command of its own requester names, and the entry with it."""
        request_id = event.digest("request")
        if request_id != command.args.get("request") or event.value("result") != {"request": request_id}:
            raise _bad("names another request than the command does")
        request = self._requests.get(request_id)
        if request is None:
            raise _bad("names what does not wait here")
        if request.requester != self._documents.signer(command.signer).id:
            raise _bad("names a request that somebody else made")
        return request_id, request

    def _check_completed(self, command: Command, seq: int) -> None:
        """Hold an issue that waited to its requester, who says so in the entry before; others could read what waits."""
        request = self._requests.get(command.id)
        if request is None or command.act is not Act.CREDENTIAL_ISSUE or command.id in self._begun:
            return
        if request.completed_at != seq - 1:
            raise _bad("issues what waited and what its requester did not complete")

    def _check_under(self, event: Record, asked: _Asked, *, refused: bool = False) -> Under:
        """Hold what an entry says it was decided under to what stands, or stood when its command began (rule R8)."""
        told, under = Told.take(event, asked.command.act, refused=refused), self._begun.get(asked.command.id)
        if under is None:
            profiles = None if told.leaves_out else self._version(asked.command)
            under = Under(asked.requester, self.policy, profiles, 0 if refused else self._need(asked), asked.approvals)
        told.check(under)
        return under

    def _version(self, command: Command) -> str | None:
        """Give the version of the profiles that a command names, as far as they stand."""
        stands = [self.profiles[name] for name in self._profiles_of(command) if name in self.profiles]
        return digest_of(stands) if stands else None

    def approval(self, event: Record, time: int) -> None:
        """Take `approval.given`: by someone who may, about a command that waits, counted once; a deny ends it."""
        document, person = self._told(event)
        if event.text("kid") != document.signer or event.time("expires") != document.expires_at:
            raise _bad("does not say what the approval says that it names")
        basis = event.record("basis")
        if Basis.read(basis) != document.basis or read_reason(event) != document.reason:
            raise _bad("does not say what the approval says that it names")
        basis.done()
        check_time(document.issued_at, document.expires_at, time)
        self._forget(time)
        request = self._requests.get(document.command)
        if request is None:
            raise _bad("approves or denies what does not wait here")
        if not RULES[request.act].counts_approval_of(person) or person.id == request.requester:
            raise _bad(f"{person.id} may not approve this: by role, by key, or as its requester")
        if document.id in request.given:
            raise _bad("counts one approval twice")
        if event.integer("need") != request.need:
            raise _bad(f"gives another number of people than the {request.need} the request waits for")
        # What lapsed within the tolerance of clocks may, or may not, have been counted.
        most, least = self._have(request, time), self._have(request, time + TOLERANCE)
        signed = [people(request.requester, (*have, person.id)) for have in (least, most)]
        check_people(event, *signed)
        if document.verdict is Verdict.DENY:
            self._end(document.command, request.expires_at)
            return
        found = Given(person.id, document.signer, document.basis, document.expires_at)
        if (why := self._void(request, found, time)) is not None:
            raise _bad(f"counts an approval that counts no more: {why}")
        if person.id in least:
            raise _bad(f"counts {person.id} twice, by two approvals")
        request.given[document.id] = found

    def approval_refused(self, event: Record, _time: int) -> None:
        """Take `approval.refused`, which grants nothing: only what it says of the approval has to be so."""
        document, _ = self._told(event)
        if event.time("expires") != document.expires_at:
            raise _bad("does not say what the approval says that it names")
        unkept.take_reason(event)

    def _told(self, event: Record) -> tuple[Approval, Principal]:
        """Read an approval again from its stored bytes and hold the entry to it; gives it and who signed it."""
        document = self._documents.approval(event.digest("document"))
        person = self._documents.signer(document.signer)
        told = (event.digest("approval"), event.digest("request"), event.text("verdict"), event.text("by"))
        if told != (document.id, document.command, document.verdict.value, person.id):
            raise _bad("does not say what the approval says that it names")
        return document, person

    def _have(self, request: Request, time: int) -> set[str]:
        """Give the people whose approvals count at `time`, within the tolerance of clocks."""
        return {given.person for given in request.given.values() if self._void(request, given, time) is None}

    def _void(self, request: Request, given: Given, time: int) -> str | None:
        if self.reviews.holds(given.person, request.act, time):
            return f"nobody confirmed {given.person} in the access review by its date"
        stands = request.basis(self.policy, self.profiles)
        return void(request, given, time, stands, self.operators.principal)

    def _asked(self, event: Record, time: int) -> _Asked:
        """Read a command again from its stored bytes and hold the entry to it and to the approvals before it."""
        self._forget(time)
        command = self._documents.command(event.digest("document"))
        begun = self._begun.get(command.id)
        requester = self._documents.signer(command.signer) if begun is None else begun.requester
        told = (event.digest("command"), event.text("act"), event.text("by"))
        if told != (command.id, command.act.value, requester.id):
            raise _bad("does not say what the command says that it names")
        request = self._requests.get(command.id)
        given = request.given if request else {}
        counted = event.texts("approvals")
        if unproved := [one for one in counted if one not in given]:
            raise _bad(f"counts approval {unproved[0][:64]!a}, which no entry before it shows")
        if list(counted) != sorted(counted):
            raise Malformed("its approvals are not sorted")
        if begun is not None:
            if counted != begun.approvals:
                raise _bad("counts other approvals than its first step")
        elif request is not None:
            self._check_counted(request, counted, time)
        signed = people(requester.id, (given[one].person for one in counted))
        if requester.is_workload:
            take_peer(event)
        return _Asked(command, requester, check_people(event, signed, signed), counted)

    def _check_counted(self, request: Request, counted: tuple[str, ...], time: int) -> None:
        """Hold what is counted to what still counts."""
        for one in counted:
            if (why := self._void(request, request.given[one], time)) is not None:
                raise _bad(f"counts an approval that counts no more: {why}")

    def _check_may_ask(self, asked: _Asked, time: int) -> None:
        command = asked.command
        if not RULES[command.act].admits(asked.requester):
            raise _bad(f"{asked.requester.id} may not ask for {command.act}")
        if asked.requester.is_workload:
            self._check_own(asked.requester.id, command, time)
        asker = Asker.WORKLOAD if asked.requester.is_workload else Asker.ISSUER
        profile = self._profile(command)
        if profile is not None and asker not in profile.asked_by:
            raise _bad(f"{asked.requester.id} may not ask under profile {profile.name}")
        if command.id in self._ended:
            raise _bad("carries out a command that was carried out, refused or denied before")

    def _check_in_time(self, asked: _Asked, time: int) -> None:
        """Hold a command to its times, and who is behind it to the access review, as it stands when it begins."""
        self.reviews.check_people((asked.requester.id, *asked.people), asked.command.act, time)
        check_time(asked.command.issued_at, asked.command.expires_at, time)

    def _check_own(self, workload: str, command: Command, time: int) -> None:
        """Hold a workload to asking for itself, and only while something may be issued to it."""
        if command.act is Act.CREDENTIAL_ISSUE and command.args.get("workload") != workload:
            raise _bad(f"{workload} asks for somebody else")
        self.check_issuing(workload, time)

    def _need(self, asked: _Asked) -> int:
        """Count the people a command takes: the table, raised by the founding and by the profile it names."""
        act = asked.command.act
        approvals = 0
        if act is Act.CREDENTIAL_ISSUE:
            named = self._profiles_of(asked.command)
            approvals = max((self.profiles[name].approvals for name in named if name in self.profiles), default=0)
        return self._founding.people_for(act, approvals, by_workload=asked.requester.is_workload)

    def _profile(self, command: Command) -> Profile | None:
        """Give the profile that a request for one credential names, where it stands."""
        name = command.args.get("profile") if command.act is Act.CREDENTIAL_ISSUE else None
        return self.profiles.get(name) if isinstance(name, str) else None

    def _profiles_of(self, command: Command) -> frozenset[str]:
        """Name the profile that a command asks for, or those that the lines of its batch do."""
        if command.act is not Act.CREDENTIAL_ISSUE or not is_batch(command.args):
            return frozenset(profiles_named(command.act, command.args))
        if command.id not in self._batch_profiles:
            arguments = BatchArguments.read(Record(command.args, command.act))
            items = self._blobs.read(arguments.items.sha256)
            self._batch_profiles[command.id] = profiles_in(read_items(items))
        return self._batch_profiles[command.id]

    def _end(self, command: str, expires_at: int) -> None:
        self._requests.pop(command, None)
        self._begun.pop(command, None)
        self._batch_profiles.pop(command, None)
        self._ended.add(command)
        heapq.heappush(self._ends, (expires_at, command, False))

    def _forget(self, time: int) -> None:
        """Drop commands that are over by their own times and so can never be carried out, or approved, again.

        What began in time may end later, when a key signs slowly or the clock was set: it stays as long again.
        """
        while self._ends and time >= self._ends[0][0] + TOLERANCE:
            _, command, begun = heapq.heappop(self._ends)
            if command in self._begun and not begun:
                continue
            self._requests.pop(command, None)
            self._begun.pop(command, None)
            self._batch_profiles.pop(command, None)
            self._ended.discard(command)


def _bad(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, detail)
