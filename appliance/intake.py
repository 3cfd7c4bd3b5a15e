"""Taking a submission in: replays answered from the record, people counted, requests that wait and are completed.

Each step hands its events to `stage`, which folds them at once, so the next step sees them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from appliance import addressed, counting, deciding, policy, showing
from appliance.decision import Ask, Event, Items, Peer
from appliance.errors import Refusal, Refused
from appliance.lookups import Request
from appliance.outcome import State
from appliance.standing import Standing
from coldcred.acts import RULES, Act
from coldcred.batch import BatchArguments, read_items
from coldcred.canonical import Json, loads, sha256_hex
from coldcred.command import Approval, Command, Verdict, people, profiles_named
from coldcred.errors import Malformed
from coldcred.jose import parse_unverified
from coldcred.record import Record


@dataclass(frozen=True, slots=True)
class Answer:
    """What a submission leads to: the outcome of `command`, first a decision over `ask`, or a logged refusal.

    `blobs` are kept with the decision over `ask`, by SHA-256, where no entry before it names them. `warnings` are told
    with the outcome of what begins to wait.
    """

    command: str
    ask: Ask | None = None
    refused: Refused | None = None
    blobs: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks for what, and for how many credentials at most; `digest` is the SHA-256 (hex) of what they signed."""

    signer: str
    act: str
    digest: str
    credentials: int = 0


Stage: TypeAlias = Callable[[Sequence[Event], Mapping[str, bytes]], object]


@dataclass(frozen=True)
class Intake:
    """Where submissions are taken in: `stage` writes and folds events, and stores the blobs that they name.

    `admit` refuses an act that may not be taken in as the disk stands, `afford` one that is beyond its signer's quota.
    """

    standing: Standing
    stage: Stage
    admit: Callable[[str], None]
    afford: Callable[[Asking], None]

    def command(
        self,
        token: str,
        attachments: Mapping[str, bytes],
        approvals: Sequence[str],
        now: int,
        items: Items | None = None,
        peer: Peer | None = None,
        beside: bytes | None = None,
    ) -> Answer:
        """Take a command, with the lines of its batch where it asks for one, and what approvers are shown of them.

        One that comes from a `peer`, by the workloads' socket, has to be a workload's own. One that waits already is
        not decided again: sending it tells how it stands. Raises `Refused` only for what cannot be laid at the door
        of somebody enrolled.
        """
        command = addressed.read_command(self.standing, token)
        if peer is not None:
            _check_door(self.standing, command)
        recorded = self.standing.lookups.outcomes.get(command.id)
        if recorded is not None and recorded.state in {State.DONE, State.REFUSED}:
            completed = recorded.result.get("request") if command.act is Act.REQUEST_COMPLETE else None
            self._check_idle(completed)
            return Answer(completed if isinstance(completed, str) else command.id)
        addressed.check_begun(command, now)
        self._check_idle(command.id)
        if command.act in {Act.REQUEST_WITHDRAW, Act.REQUEST_COMPLETE}:
            self._check_idle(command.args.get("request"))
        act = deciding.counts_as(self.standing, command.act, command.args)
        self.admit(act)
        signer = addressed.signer(self.standing, command)
        asking = policy.principal(signer)
        self.afford(Asking(asking.id, act, _digest(command.token), _credentials(command, items)))
        waits = command.id in self.standing.lookups.requests
        deciding.check_beside(command, attachments, waits=waits)
        deciding.check_manner(self.standing, command, batch=items is not None)
        given = [self._read_approval(approval, command) for approval in approvals]
        if waits:
            addressed.check_time(command, now)
            return self._count(command.id, given, now)
        stands = policy.under(self.standing.authority, command, items or ())
        ask = Ask(command, asking.id, people(asking.id, ()), (), attachments, stands, peer)
        try:
            ask = deciding.hold(self.standing, ask, items or (), now)
        except Refused as refused:
            return self._refuse(ask, refused)
        if command.act is Act.REQUEST_COMPLETE:
            return self._complete(ask, items or (), now)
        named = profiles_named(command.act, command.args, items or ())
        need = policy.people_for(self.standing.authority, command.act, named, asking.id)
        if need <= 1:
            for approval in given:
                self._approve(approval, now)
            return Answer(command.id, ask, blobs=_kept(ask))
        policy.check_quota(self.standing.lookups, asking.id, now)
        try:
            deciding.check_early(self.standing, ask, named, now)
            told = showing.shown(ask, beside)
        except Refused as refused:
            return self._refuse(ask, refused)
        warnings = deciding.foreseen(self.standing, ask, now)
        self.stage([showing.waiting_event(ask, need, named, told)], _kept(ask))
        return replace(self._count(command.id, given, now), warnings=warnings)

    def approval(self, token: str, now: int) -> Answer:
        """Take an approval; the one that fills the quorum leads to the decision, except for an issue."""
        approval = addressed.read_approval(self.standing, token)
        return self._count(approval.command, [approval], now)

    def _count(self, request: str, approvals: Sequence[Approval], now: int) -> Answer:
        """Count approvals of a request; the one that fills the quorum leads to the decision, except for an issue.

        What is issued is given to whoever is there, so that waits for its requester's own `request.complete`. Nobody
        moves a request by sending again what others signed: an approval that was counted before leads to nothing.
        """
        lookups, fresh = self.standing.lookups, False
        void: Refused | None = None
        for approval in approvals:
            before = approval.id in lookups.seen_approvals
            refused = self._approve(approval, now)
            fresh = fresh or (refused is None and not before)
            void = void or refused
        found = lookups.requests.get(request)
        if found is None:
            return Answer(request, refused=None if request in lookups.outcomes else void)
        waits = found.act == Act.CREDENTIAL_ISSUE or not fresh
        if waits or counting.lacks(self.standing.authority, found, now) is not None:
            return Answer(request, refused=void)
        return self._go_on(deciding.asked_before(self.standing, found, (), now), (), now)

    def _complete(self, ask: Ask, items: Items, now: int) -> Answer:
        """Complete a request that has its people: its requester says so with a signature of this moment.

        `items` are the lines of the batch that waited, where the request is for one.
        """
        try:
            decision = deciding.decide(self.standing, ask, now, bytes)
            request = self.standing.lookups.requests[Record(ask.command.args, ask.command.act).digest("request")]
            deciding.check_key(self.standing, request)
            asked = deciding.asked_before(self.standing, request, items, now)
        except Refused as refused:
            return self._refuse(ask, refused)
        self.stage(decision.events, _kept(ask))
        return self._go_on(replace(asked, peer=ask.peer), items, now)

    def _go_on(self, asked: Ask, items: Items, now: int) -> Answer:
        """Lead what was asked before to its decision, under what stands now; it may have ended while it waited."""
        try:
            return Answer(asked.command.id, deciding.hold(self.standing, asked, items, now))
        except Refused as refused:
            return self._refuse(asked, refused)

    def _check_idle(self, command: Json) -> None:
        """Refuse what is about a command that took its first step and not its last: it comes too late, or too early."""
        if any(command == one for one in self.standing.lookups.under_way):  # an argument may be unhashable
            raise Refused(Refusal.BUSY, "this command is being carried out; send it again to hear its outcome")

    def _read_approval(self, token: str, about: Command) -> Approval:
        approval = addressed.read_approval(self.standing, token)
        if approval.command != about.id:
            raise Refused(Refusal.UNKNOWN_REQUEST, "an approval that came with the command is about another one")
        return approval

    def _approve(self, approval: Approval, now: int) -> Refused | None:
        """Count one approval, unless it was counted before; gives why it does not count.

        One that an enrolled person signed and that does not count is in the log, with the rule that it breaks.
        """
        lookups = self.standing.lookups
        self._check_idle(approval.command)
        if approval.id in lookups.seen_approvals:
            return None
        if (before := lookups.refused_approvals.get(approval.id)) is not None:
            return before
        request = lookups.requests.get(approval.command)
        if request is None and approval.command in lookups.outcomes:
            return None
        act = self._approved(approval, request)
        self.admit(act)
        by = addressed.approver(self.standing, approval).person
        self.afford(Asking(by, act, _digest(approval.token)))
        kept = {_digest(approval.token): approval.token.encode()}
        try:
            self.stage([deciding.approval_event(self.standing, approval, now)], kept)
        except Refused as refused:
            self.stage([deciding.approval_refused_event(self.standing, approval, refused)], kept)
            return refused
        return None

    def _approved(self, approval: Approval, request: Request | None) -> str:
        """Give the act that an approval leads to, as it counts; a denial stops something, as a withdrawal does."""
        if approval.verdict is Verdict.DENY:
            return Act.REQUEST_WITHDRAW
        if request is None:
            return "approval"
        return deciding.counts_as(self.standing, Act(request.act), _args(self.standing, request))

    def _refuse(self, ask: Ask, refused: Refused) -> Answer:
        """End a command; nothing that travels beside it is kept, so whoever may not ask fills no disk."""
        decision = deciding.refuse(self.standing, ask, refused)
        self.stage(decision.events, decision.blobs)
        return Answer(ask.command.id)


def _kept(ask: Ask) -> Mapping[str, bytes]:
    """Give the command's own bytes and what travels with it, so that an auditor can check both."""
    return {_digest(ask.command.token): ask.command.token.encode(), **ask.attachments}


def _digest(token: str) -> str:
    return sha256_hex(token.encode())


def _args(standing: Standing, request: Request) -> Mapping[str, Json]:
    """Give what a request asks for; its command was verified when it began to wait, its key may be retired by now."""
    document = standing.archive.blob(request.document).decode("ascii")
    return Record.of(loads(parse_unverified(document).payload), "command").record("args").members()


def _credentials(command: Command, items: Items | None) -> int:
    """Count the credentials that a command asks for at most: a line that is held gets none."""
    if items is None:
        return int(command.act in {Act.CREDENTIAL_ISSUE, Act.REQUEST_COMPLETE})
    held = command.args.get("held")
    count = held.get("count") if isinstance(held, dict) else 0
    return len(items) - (count if isinstance(count, int) else 0)


def batch_meant(
    standing: Standing, token: str, attachments: Mapping[str, bytes]
) -> tuple[str, Mapping[str, bytes]] | None:
    """Give the command for a batch, with its files: the one that was sent, or the one that it is to complete.

    None where nobody has to read its lines: what completes it was taken in before, or is not its requester's, or
    nothing waits. A command for a batch is not believed yet; what completes one is, before anything is read for it.
    Raises `Refused`.
    """
    try:
        claims = Record.of(loads(parse_unverified(token).payload), "command")
        if claims.text("act") != Act.REQUEST_COMPLETE:
            return token, attachments
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error)) from error
    command = addressed.read_command(standing, token)
    request = standing.lookups.requests.get(str(command.args.get("request")))
    asking = policy.principal(addressed.signer(standing, command)).id
    if command.id in standing.lookups.outcomes or request is None or not request.is_batch or request.person != asking:
        return None
    blob = standing.archive.blob
    return blob(request.document).decode("ascii"), {digest: blob(digest) for digest in request.attachments}


def read_batch(token: str, attachments: Mapping[str, bytes]) -> Items:
    """Read the lines that a command for a batch covers, before anything is decided; raises `Refused`.

    Nothing of the command is believed yet but the digest of the file, which has to be there with exactly that digest.
    """
    try:
        claims = Record.of(loads(parse_unverified(token).payload), "command")
        arguments = BatchArguments.read(claims.record("args"))
        body = attachments.get(arguments.items.sha256, b"")
        arguments.items.check(body)
        if arguments.held is not None:
            arguments.held.check(attachments.get(arguments.held.sha256, b""))
        return read_items(body)
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error)) from error


def _check_door(standing: Standing, command: Command) -> None:
    """Refuse, at the workloads' socket, whatever is not a workload's own request; nothing of it is recorded."""
    if not RULES[command.act].workloads or standing.authority.workload_of(command.signer) is None:
        taken = " and ".join(act for act in Act if RULES[act].workloads)
        detail = f"a workload's own {taken} are taken here and nothing else"
        raise Refused(Refusal.NOT_ALLOWED, detail, "R12 the workloads' socket")
