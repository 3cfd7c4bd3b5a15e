"""Requests in the log and what their approvals rest on (rule R9): which of them still count."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from coldcred.acts import RULES, Act, Principal
from coldcred.command import Basis, Command
from coldcred.errors import LogReason, LogRejected, Malformed
from coldcred.profile import Profile
from coldcred.record import Record
from coldcred.rendering import first, whole

TOLERANCE = 120
"""Seconds that an entry may lie before the signing of its command, after its end, or beside the times it names."""

SignerOf: TypeAlias = Callable[[str], Principal | None]
"""Gives who signs with a key, by thumbprint, at present."""


@dataclass(frozen=True, slots=True)
class Given:
    """An approval that was given: by whom, with which key, on what basis, and when it ends (Unix seconds)."""

    person: str
    kid: str
    basis: Basis
    expires_at: int


@dataclass(slots=True)
class Request:
    """A command that waits for people, signed by `kid`; `given` maps approval id to what was given.

    `named` are the profiles that it is about, `shown` the SHA-256 of what its approvers are shown in the form
    `rendering`. `completed_at` is the entry by which its requester had it carried out, once it had its people.
    """

    act: Act
    kid: str
    requester: str
    need: int
    expires_at: int
    attachments: tuple[str, ...]
    named: frozenset[str]
    shown: str
    rendering: int
    given: dict[str, Given] = field(default_factory=dict)
    completed_at: int | None = None

    def basis(self, policy: str, profiles: Mapping[str, Profile]) -> Basis:
        """Give what an approval has to rest on under a policy (SHA-256) and profiles as they stand."""
        named = [profiles[name] for name in self.named if name in profiles]
        return Basis.of(
            policy=policy,
            profiles=named,
            attachments=self.attachments,
            shown=self.shown,
            rendering=self.rendering,
        )


def shown(command: Command, by: str, beside: Mapping[str, bytes], form: int) -> str:
    """Give the hash of what approvers of a command are shown in this form; of the first nothing beside it is part."""
    if form == 1:
        return first.shown(command, by)
    try:
        return whole.shown(command, by, beside)
    except Malformed as error:
        raise LogRejected(LogReason.BAD_COMMAND, f"waits with what cannot be shown: {error}") from error


def void(request: Request, given: Given, time: int, stands: Basis, signer_of: SignerOf) -> str | None:
    """Say why an approval does not count at `time`, within the tolerance of clocks; None where it does."""
    if time >= given.expires_at + TOLERANCE:
        return "it has ended"
    approver = signer_of(given.kid)
    if approver is None or not RULES[request.act].counts_approval_of(approver):
        return "who gave it may not approve any more"
    differs = given.basis.differs(stands)
    return f"it was given for another {' and '.join(differs)}" if differs else None


def check_people(event: Record, least: frozenset[str], most: frozenset[str]) -> tuple[str, ...]:
    """Take the people that an entry names: at least these, and at most those, sorted."""
    found = event.texts("people")
    if found == tuple(sorted(found)) and least <= {*found} <= most:
        return found
    detail = f"names {listed(found)} where {listed(sorted(most))} signed"
    raise LogRejected(LogReason.TOO_FEW_PEOPLE if len(found) > len(most) else LogReason.BAD_COMMAND, detail)


def check_time(issued_at: int, expires_at: int, time: int) -> None:
    """Return when `time` lies in the life of a command or an approval, within the tolerance of clocks."""
    if not issued_at - TOLERANCE <= time < expires_at + TOLERANCE:
        detail = f"rests on what was signed for {issued_at} to {expires_at}, at {time}"
        raise LogRejected(LogReason.BAD_COMMAND, detail)


def check_asked_since(suspended_at: int | None, asked_at: int) -> None:
    """Return when what was suspended, if it was, is taken up by what people asked for after that, not before."""
    if suspended_at is not None and asked_at + TOLERANCE < suspended_at:
        detail = f"takes up what was suspended at {suspended_at} by what was asked for at {asked_at}, before that"
        raise LogRejected(LogReason.BAD_COMMAND, detail)


def listed(found: Iterable[str]) -> str:
    """Name people in a line."""
    return ", ".join(person[:32] for person in found)
