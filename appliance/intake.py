"""Taking a submission in: replays answered from the record, people counted, requests that wait, approvals that fill.

Each step hands its events to `stage`, which folds them at once, so the next step sees them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from appliance import deciding, policy
from appliance.authority import Workload
from appliance.decision import Ask, Event, Peer
from appliance.errors import Refusal, Refused
from appliance.lookups import Request
from appliance.nouns import workloads
from appliance.outcome import State
from appliance.standing import Standing
from coldcred.acts import Act
from coldcred.asked import Asked
from coldcred.batch import BatchArguments, is_batch, profiles_in, read_items
from coldcred.canonical import loads, sha256_hex
from coldcred.command import Command, people
from coldcred.errors import Malformed
from coldcred.jose import parse_unverified
from coldcred.record import Record

Items: TypeAlias = tuple[Asked | str, ...]
"""The lines of a batch: what each asks for, or why it cannot be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a submission leads to: the outcome recorded for `command`, or first a decision over `ask`."""

    command: str
    ask: Ask | None = None


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
        if command.id in self.standing.lookups.under_way:
            raise Refused(Refusal.BUSY, "this command is being carried out; send it again to hear its outcome")
        self.admit(command.act)
        signer = deciding.signer(self.standing, command)
        asking = policy.principal(signer)
        ask = Ask(command, asking.id, people(asking.id, ()), (), attachments, peer)
        try:
            deciding.check_time(command, now)
            policy.permit(asking, command.act, policy.resource(self.standing.authority, command))
            policy.check_confirmed(self.standing.authority, {asking.id}, command.act, now)
            _check_manner(command, items)
            if isinstance(signer, Workload):
                workloads.check_active(self.standing.authority, signer, now)
        except Refused as refused:
            return self._refuse(ask, refused)
        named = profiles_in(items or ())
        need = policy.people_for(self.standing.authority, command, named, by_workload=asking.is_workload)
        request = self.standing.lookups.requests.get(command.id)
        if request is None and need > 1:
            policy.check_quota(self.standing.lookups, asking.id, now)
            self._keep(ask)
            self.stage(deciding.waiting_event(ask, need))
        for approval in approvals:
            self._approve(approval, now, about=command)
        return self._go_on(ask, need)

    def approval(self, token: str, now: int) -> Answer:
        """Take an approval; the one that fills the quorum leads to the decision, except for an issue.

        A credential is issued when its requester sends the command again, so that it reaches the one who asked.
        """
        request_id = self._approve(token, now, about=None)
        request = self.standing.lookups.requests.get(request_id)
        if request is None or request.act == Act.CREDENTIAL_ISSUE or len(request.people) < request.need:
            return Answer(request_id)
        command = deciding.read_command(self.standing, self.standing.archive.blob(request.document).decode("ascii"))
        attachments = {digest: self.standing.archive.blob(digest) for digest in request.attachments}
        ask = Ask(command, request.person, people(request.person, ()), (), attachments)
        return self._go_on(ask, request.need)

    def _approve(self, token: str, now: int, about: Command | None) -> str:
        """Count one approval, unless it was counted before; gives the id of the request it is about."""
        approval = deciding.read_approval(self.standing, token)
        if about is not None and approval.command != about.id:
            raise Refused(Refusal.UNKNOWN_REQUEST, "an approval that came with the command is about another one")
        if approval.id in self.standing.lookups.seen_approvals:
            return self.standing.lookups.seen_approvals[approval.id]
        if (
            approval.command in self.standing.lookups.outcomes
            and approval.command not in self.standing.lookups.requests
        ):
            return approval.command
        if (request := self.standing.lookups.requests.get(approval.command)) is not None:
            self.admit(request.act)
        event = deciding.approval_event(self.standing, approval, now)
        self.keep(token.encode())
        self.stage(event | {"document": sha256_hex(token.encode())})
        return approval.command

    def _go_on(self, ask: Ask, need: int) -> Answer:
        """Lead to the decision once enough distinct people have signed, and not before."""
        request = self.standing.lookups.requests.get(ask.command.id)
        if request is not None:
            ask = _with_people(ask, request)
        elif ask.command.id in self.standing.lookups.outcomes:
            return Answer(ask.command.id)
        if len(ask.people) < need:
            return Answer(ask.command.id)
        self._keep(ask)
        return Answer(ask.command.id, ask)

    def _refuse(self, ask: Ask, refused: Refused) -> Answer:
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
        raise Refused(Refusal.NOT_ALLOWED, f"a workload's own {Act.CREDENTIAL_ISSUE} is taken here and nothing else")


def _check_manner(command: Command, items: Items | None) -> None:
    """Refuse a batch that came as a single command, and the other way round."""
    if (command.act is Act.CREDENTIAL_ISSUE and is_batch(command.args)) != (items is not None):
        raise Refused(Refusal.MALFORMED, "a batch is sent as a batch, with its file beside it, and nothing else is")


def _with_people(ask: Ask, request: Request) -> Ask:
    return replace(ask, people=request.people, approvals=tuple(sorted(request.approvals)))
