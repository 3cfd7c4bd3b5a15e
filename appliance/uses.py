"""Since when things stand here, and when something was last issued under them: folded, and read by no decision."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Uses:
    """Unix seconds by name: one number for each workload, profile and key, whatever their use.

    A workload stands since it was first enrolled, a profile since it was last set.
    """

    workload_since: dict[str, int] = field(default_factory=dict)
    profile_since: dict[str, int] = field(default_factory=dict)
    workload_last: dict[str, int] = field(default_factory=dict)
    profile_last: dict[str, int] = field(default_factory=dict)
    key_last: dict[str, int] = field(default_factory=dict)

    def issued(self, workload: str, profile: str, kid: str, time: int) -> None:
        """Note that a credential was issued."""
        self.workload_last[workload] = self.profile_last[profile] = self.key_last[kid] = time
