"""Under what an entry says that its command was decided: policy, profiles, and the policies that permitted it.

Whether a policy permits it is not asked here; that the policy is the one in force is what makes it checkable.
"""

from dataclasses import dataclass

from coldcred import names
from coldcred.acts import BEYOND_POLICY, Act, Principal
from coldcred.errors import LogReason, LogRejected, Malformed
from coldcred.record import Record


@dataclass(frozen=True, slots=True)
class Under:
    """What a command is decided under, from its first step to its last, and who asked for it.

    `policy` and the version of `profiles` are SHA-256 in hex; the command needs so many people and counts these
    approvals.
    """

    requester: Principal
    policy: str
    profiles: str | None
    need: int
    approvals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What an entry says of it; a refusal may leave out profiles, as it may be about a batch without its file."""

    policy: str
    profiles: str | None
    refused: bool

    @classmethod
    def take(cls, event: Record, act: Act, *, refused: bool) -> "Told":
        """Take the members that say it; a refusal need not say what permitted its command, since nothing may have."""
        policy, profiles = event.digest("policy"), event.optional_text("profiles")
        permits = event.optional_texts("permits")
        if permits is None:
            if not refused and act not in BEYOND_POLICY:
                raise Malformed("names no policies that permitted it")
        elif list(permits) != sorted(names.label(name, "policy id") for name in permits):
            raise Malformed("its permits are not sorted")
        elif act in BEYOND_POLICY:
            raise Malformed(f"names policies, which are not asked about {act}")
        return cls(policy, profiles, refused)

    @property
    def leaves_out(self) -> bool:
        """Whether the version of its profiles is left out, as it may be."""
        return self.refused and self.profiles is None

    def check(self, under: Under) -> None:
        """Hold it to what stands, or stood when the command began (rule R8)."""
        if self.policy != under.policy:
            raise _bad("was decided under another policy than the one in force")
        if self.profiles != under.profiles and not self.leaves_out:
            raise _bad("was decided under other profiles than those that stand")

    def check_unkept(self, policy: str) -> None:
        """Hold what a refusal says whose command is not kept to the policy in force; its profiles are left out."""
        if self.policy != policy or not self.leaves_out:
            raise _bad("was decided under another policy than the one in force, or names profiles")


def _bad(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, detail)
