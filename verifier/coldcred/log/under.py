"""What a command in the log is decided under, from its first step to its last (rules R8 and R9).

Whether the policy permits it is not asked here: that the policy is the one in force is what makes it checkable.
"""

from dataclasses import dataclass

from coldcred import names
from coldcred.acts import BEYOND_POLICY, Principal
from coldcred.command import Command
from coldcred.errors import LogReason, LogRejected, Malformed
from coldcred.record import Record


@dataclass(frozen=True, slots=True)
class Under:
    """Who asked, the policy (SHA-256), the version of the profiles, people needed, and the approvals that count."""

    requester: Principal
    policy: str
    profiles: str | None
    need: int
    approvals: tuple[str, ...]


def take_under(event: Record, command: Command, under: Under, *, refused: bool = False) -> None:
    """Hold what an entry says it was decided under to what stands, or stood when its command began.

    A refusal need not say which profiles, since it may be about a batch without its file, nor what permitted it.
    """
    told, version = event.digest("policy"), event.optional_text("profiles")
    permits = event.optional_texts("permits")
    if told != under.policy:
        raise _bad("was decided under another policy than the one in force")
    if version != under.profiles and not (refused and version is None):
        raise _bad("was decided under other profiles than those that stand")
    if permits is None:
        if not refused and command.act not in BEYOND_POLICY:
            raise Malformed("names no policies that permitted it")
    elif list(permits) != sorted(names.label(name, "policy id") for name in permits):
        raise Malformed("its permits are not sorted")
    elif command.act in BEYOND_POLICY:
        raise Malformed(f"names policies, which are not asked about {command.act}")


def _bad(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, detail)
