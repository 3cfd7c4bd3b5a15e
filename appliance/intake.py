"""Taking a submission in: replays answered from the record, people counted, requests that wait, approvals that fill.

Each step hands its events to `stage`, which folds them at once, so the next step sees them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from appliance import counting, deciding, policy
from appliance.authority import Workload
from appliance.decision import Ask, Event, Peer
from appliance.errors import Refusal, Refused
from appliance.nouns import workloads
from appliance.outcome import State
from appliance.standing import Standing
from coldcred.acts import Act, Principal
from coldcred.asked import Asked
from coldcred.batch import BatchArguments, read_items
from coldcred.canonical import Json, loads
from coldcred.command import Approval, Command, people, profiles_named
from coldcred.errors import Malformed
from coldcred.jose import parse_unverified
from coldcred.record import Record

Items: TypeAlias = tuple[Asked | str, ...]
"""The lines of a batch: what each asks for, or why it cannot be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a submission leads to: the outcome of `command`, first a decision over `ask`, or a logged refusal."""

    command: str
    ask: Ask | None = None
    refused: Refused | None = None


@dataclass(frozen=True)
class Intake:
    """Where submissions are taken in: `stage` writes and folds an event, `keep` stores a blob beside it.

    `admit` refuses an act that may not be taken in as the disk stands.
    """

    standing: Standing
    stage: Callable[[Event], object]
    keep: Callable[[bytes], object]
    admit: Callable[[str], None]

    def command(
        self,
        token: str,
        attachments: Mapping[str, bytes],
        approvals: Sequence[str],
        now: int,
        items: Items | None = None,
        peer: Peer | None = None,
    ) -> Answer:
        """Take a command, with the lines of its batch where it asks for one.

        One that comes from a `peer`, by the workloads' socket, has to be a workload's own `credential.issue`. Raises
        `Refused` only for what cannot be laid at the door of somebody enrolled.
        """
        command = deciding.read_command(self.standing, token)
        if peer is not None:
            _check_door(self.standing, command)
        recorded = self.standing.lookups.outcomes.get(command.id)
        if recorded is not None and recorded.state in {State.DONE, State.REFUSED}:
            return Answer(command.id)
        self._check_idle(command.id)
        if command.act is Act.REQUEST_WITHDRAW:
            self._check_idle(command.args.get("request"))
        self.admit(command.act)
        waits = command.id in self.standing.lookups.requests
        deciding.check_beside(command, attachments, waits=waits)
        deciding.check_manner(command, batch=items is not None)
        given = [self._read_approval(approval, command) for approval in approvals]
        signer = deciding.signer(self.standing, command)
        asking = policy.principal(signer)
        stands = policy.under(self.standing.authority, command, items or ())
        ask = Ask(command, asking.id, people(asking.id, ()), (), attachments, stands, peer)
        try:
            deciding.check_time(command, now)
            policy.check_confirmed(self.standing.authority, {asking.id}, command.act, now)
            ask = self._ruled(ask, asking, items or ())
            if isinstance(signer, Workload):
                workloads.check_active(self.standing.authority, signer, now)
        except Refused as refused:
            return self._refuse(ask, refused)
        named = profiles_named(command.act, command.args, items or ())
        need = policy.people_for(self.standing.authority, command.act, named, asking.id)
        if need > 1 and not waits:
            policy.check_quota(self.standing.lookups, asking.id, now)
            try:
                deciding.check_early(self.standing, ask, named, now)
            except Refused as refused:
                return self._refuse(ask, refused)
            self._keep(ask)
            self.stage(deciding.waiting_event(ask, need, named))
        void = [self._approve(approval, now)[1] for approval in given]
        answer = self._go_on(ask, need, now)
        return answer if answer.ask else replace(answer, refused=next(filter(None, void), None))

    def approval(self, token: str, now: int) -> Answer:
        """Take an approval; the one that fills the quorum leads to the decision, except for an issue.

        A credential is issued when its requester sends the command again, so that it reaches the one who asked.
        """
        request_id, refused = self._approve(deciding.read_approval(self.standing, token), now)
        request = self.standing.lookups.requests.get(request_id)
        if refused is not None or request is None or request.act == Act.CREDENTIAL_ISSUE:
            return Answer(request_id, refused=refused)
        command = deciding.read_command(self.standing, self.standing.archive.blob(request.document).decode("ascii"))
        ask = Ask(
            command, request.person, people(request.person, ()), (), {}, policy.under(self.standing.authority, command)
        )
        try:
            # Policy, profiles and roles may have changed while the request waited, and it may have ended.
            deciding.check_time(command, now)
            policy.check_confirmed(self.standing.authority, {request.person}, command.act, now)
            ask = self._ruled(ask, policy.principal(deciding.signer(self.standing, command)), ())
        except Refused as later:
            return self._refuse(ask, later)
        return self._go_on(ask, request.need, now)

    def _check_idle(self, command: Json) -> None:
        """Refuse what is about a command that took its first step and not its last: it comes too late, or too early."""
        if any(command == one for one in self.standing.lookups.under_way):  # an argument may be unhashable
            raise Refused(Refusal.BUSY, "this command is being carried out; send it again to hear its outcome")

    def _ruled(self, ask: Ask, asking: Principal, items: Items) -> Ask:
        """Ask whether the command may be asked for now; what is decided next is decided under that."""
        standing = self.standing
        return replace(ask, ruled=policy.ruled(standing.authority, standing.policies, asking, ask.command, items))

    def _read_approval(self, token: str, about: Command) -> Approval:
        approval = deciding.read_approval(self.standing, token)
        if approval.command != about.id:
            raise Refused(Refusal.UNKNOWN_REQUEST, "an approval that came with the command is about another one")
        return approval

    def _approve(self, approval: Approval, now: int) -> tuple[str, Refused | None]:
        """Count one approval, unless it was counted before; gives the id of its request, and why it does not count.

        One that an enrolled person signed and that does not count is in the log, with the rule that it breaks.
        """
        lookups = self.standing.lookups
        self._check_idle(approval.command)
        if approval.id in lookups.seen_approvals:
            return lookups.seen_approvals[approval.id], None
        if (before := lookups.refused_approvals.get(approval.id)) is not None:
            return approval.command, before
        request = lookups.requests.get(approval.command)
        if request is None and approval.command in lookups.outcomes:
            return approval.command, None
        self.admit(request.act if request is not None else "approval")
        self.keep(approval.token.encode())
        try:
            self.stage(deciding.approval_event(self.standing, approval, now))
        except Refused as refused:
            self.stage(deciding.approval_refused_event(self.standing, approval, refused))
            return approval.command, refused
        return approval.command, None

    def _go_on(self, ask: Ask, need: int, now: int) -> Answer:
        """Lead to the decision once enough distinct people have signed, and not before."""
        authority, request = self.standing.authority, self.standing.lookups.requests.get(ask.command.id)
        if request is not None:
            need, given = counting.need(authority, request), counting.counted(authority, request, now)
            attachments = {digest: self.standing.archive.blob(digest) for digest in request.attachments}
            signed = request.people_with(given.values())
            ask = replace(ask, people=signed, approvals=tuple(sorted(given)), attachments=attachments)
        elif ask.command.id in self.standing.lookups.outcomes:
            return Answer(ask.command.id)
        if len(ask.people) < need:
            return Answer(ask.command.id)
        self._keep(ask)
        return Answer(ask.command.id, ask)

    def _refuse(self, ask: Ask, refused: Refused) -> Answer:
        """End a command; of what travels beside it only the lines of a batch that may be asked for are kept."""
        if ask.command.act is not Act.CREDENTIAL_ISSUE:
            ask = replace(ask, attachments={})
        elif ask.attachments and ask.ruled.permits is None:
            # Whoever may not ask fills no disk; without the lines nobody can say which profiles they name.
            ask = replace(ask, attachments={}, ruled=replace(ask.ruled, profiles=None))
        self._keep(ask)
        self.stage(deciding.refused_event(ask, refused))
        return Answer(ask.command.id)

    def _keep(self, ask: Ask) -> None:
        """Keep the command's own bytes and what travels with it, so that an auditor can check both."""
        self.keep(ask.command.token.encode())
        for body in ask.attachments.values():
            self.keep(body)


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
    if command.act is not Act.CREDENTIAL_ISSUE or standing.authority.workload_of(command.signer) is None:
        detail = f"a workload's own {Act.CREDENTIAL_ISSUE} is taken here and nothing else"
        raise Refused(Refusal.NOT_ALLOWED, detail, "R12 the workloads' socket")
