"""What a decision is made of: events to append, inputs to sign, and what to do with the signatures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from appliance.errors import Refused
from appliance.rules import rule_of
from coldcred.asked import Asked
from coldcred.canonical import Json, sha256_hex
from coldcred.command import Command

Event: TypeAlias = dict[str, Json]

Items: TypeAlias = tuple[Asked | str, ...]
"""The lines of a batch: what each asks for, or why it cannot be read."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of the workloads' socket, as the kernel noted it when it connected."""

    uid: int
    gid: int
    pid: int

    def as_json(self) -> dict[str, Json]:
        """Give it as entries write it."""
        return {"gid": self.gid, "pid": self.pid, "uid": self.uid}


@dataclass(frozen=True, slots=True)
class Ruled:
    """What a command is decided under: the policy in force (SHA-256 hex), and what that says.

    `profiles` is the version of the profiles that the command names, where it names any that stand; `permits` has the
    ids of the policies that permitted it, sorted, where policies were asked. `forbids` has by name the profiles of a
    batch that its requester may not ask under; entries do not carry it.
    """

    policy: str
    profiles: str | None = None
    permits: tuple[str, ...] | None = None
    forbids: Mapping[str, Refused] = field(default_factory=dict)

    def as_json(self) -> dict[str, Json]:
        """Give it as entries write it."""
        written: dict[str, Json] = {"policy": self.policy}
        if self.profiles is not None:
            written["profiles"] = self.profiles
        if self.permits is not None:
            written["permits"] = [*self.permits]
        return written


@dataclass(frozen=True, slots=True)
class Ask:
    """A command whose signature, time and role were found good, with the people who signed for it so far.

    `person` is who asked; where that is a workload it is not among `people`. `ruled` is what it is decided under, from
    its first step to its last. `peer` is there when the command came by the workloads' socket.
    """

    command: Command
    person: str
    people: frozenset[str]
    approvals: tuple[str, ...]
    attachments: Mapping[str, bytes]
    ruled: Ruled
    peer: Peer | None = None

    def event(self, kind: str, members: dict[str, Json], result: dict[str, Json] | None = None) -> Event:
        """Give an event of type `kind` that names this command and everyone who stands behind it.

        The event with a `result` is the one that ends the command; the result is told again when it is sent again.
        """
        event: Event = {
            "type": kind,
            "command": self.command.id,
            "document": sha256_hex(self.command.token.encode()),
            "act": self.command.act.value,
            "by": self.person,
            "people": [*sorted(self.people)],
            "approvals": [*sorted(self.approvals)],
            **self.ruled.as_json(),
            **members,
        }
        if self.peer is not None:
            event["peer"] = self.peer.as_json()
        if result is not None:
            event["result"] = result
        return event


@dataclass(frozen=True, slots=True)
class Looked:
    """One thing that was looked at: by which rule, what was found, and the refusal where it stands in the way.

    `waits` says that nothing is refused, and that other people have to sign first.
    """

    what: str
    rule: str
    found: str
    refused: Refused | None = None
    waits: bool = False

    @property
    def passed(self) -> bool:
        """Whether a command goes on from here."""
        return self.refused is None and not self.waits

    @classmethod
    def at(cls, what: str, rule: str, check: Callable[[], object], found: str = "") -> "Looked":
        """Make a check: where it refuses, the refusal says rule and what was found."""
        try:
            check()
        except Refused as refused:
            return cls(what, rule_of(refused), refused.detail, refused)
        return cls(what, rule, found)


@dataclass(frozen=True, slots=True)
class Signing:
    """One input for the HSM; its SHA-256 stands in the event at `place` of the same decision."""

    place: int
    key_id: str
    input: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a command: files that are released once, to whoever sent it, and signed checkpoints to keep.

    `warnings` are told to people with the answer and recorded nowhere.
    """

    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    notes: tuple[tuple[int, bytes], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """Events to append and inputs to sign; `finish` takes the verified signatures.

    `notes` are signed checkpoints (size, note) to keep in the same transaction.
    """

    events: tuple[Event, ...]
    signings: tuple[Signing, ...] = ()
    blobs: dict[str, bytes] = field(default_factory=dict, repr=False)
    notes: tuple[tuple[int, bytes], ...] = ()
    finish: "Callable[[Sequence[bytes]], Finished | Decision]" = field(
        default=lambda _signatures: Finished(), repr=False
    )


def refused_after(event: Event, refused: Refused) -> Event:
    """Give the event that ends, as refused, the command that an earlier `event` took a step of."""
    about = {name: event[name] for name in ("command", "document", "act", "by", "people", "approvals", "policy")}
    about |= {name: event[name] for name in ("profiles", "permits") if name in event}
    return {"type": "command.refused", **about, **refused_members(refused)}


def refused_members(refused: Refused) -> Event:
    """Say in an event why something was refused, by which rule, and what was found."""
    return {"reason": refused.reason.value, "rule": rule_of(refused), "detail": refused.detail[:1024] or refused.id}


def signs(*inputs: tuple[str, bytes]) -> Json:
    """Give the `signs` member of an event: for each (kid, signing input) the key and the SHA-256 of the input."""
    return [{"kid": kid, "sha256": sha256_hex(data)} for kid, data in inputs]
