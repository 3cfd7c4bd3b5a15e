"""Workloads in the log: which keys they proved, until when they were reviewed, and whether they are suspended."""

from dataclasses import dataclass

from coldcred.errors import LogReason, LogRejected
from coldcred.keys import PublicKey
from coldcred.record import Record

_MAX_ID = 2**32 - 1


@dataclass(slots=True)
class _Workload:
    """A workload that was enrolled; `key` is the one that it signs with at present, if any."""

    review_by: int
    key: PublicKey | None
    owner: str
    suspended: bool = False


class Workloads:
    """Every workload that was enrolled, as far as the log has been read."""

    def __init__(self) -> None:
        """Begin with none."""
        self._workloads: dict[str, _Workload] = {}
        self._holders: dict[str, str] = {}

    def enrolled(self, workload: str, review_by: int, key: PublicKey | None, owner: str) -> None:
        """Take an enrolment: it is active from now on, and an earlier key of its signs nothing more."""
        self._workloads[workload] = _Workload(review_by, key, owner)
        if key is not None:
            self._holders[key.thumbprint] = workload

    def suspended(self, workload: str, *, suspended: bool) -> None:
        """Suspend or resume a workload that was enrolled."""
        if workload not in self._workloads:
            raise _bad(f"{workload[:80]} is not enrolled")
        self._workloads[workload].suspended = suspended

    def owned_by(self, person: str) -> int:
        """Count the workloads that a person answers for."""
        return sum(found.owner == person for found in self._workloads.values())

    def holder(self, kid: str) -> str | None:
        """Give the workload that signs with this key at present."""
        workload = self._holders.get(kid)
        return workload if workload is not None and self.key(kid) is not None else None

    def key(self, kid: str) -> PublicKey | None:
        """Give the key with this thumbprint where a workload signs with it at present."""
        found = self._workloads.get(self._holders.get(kid, ""))
        return found.key if found and found.key and found.key.thumbprint == kid else None

    def check_issuing(self, workload: str) -> None:
        """Return when an enrolled workload is not suspended; one that no entry enrolled is another question."""
        found = self._workloads.get(workload)
        if found is not None and found.suspended:
            raise _bad(f"{workload} is suspended")

    def check_active(self, workload: str, time: int) -> None:
        """Return when a workload is neither suspended nor overdue at `time`."""
        self.check_issuing(workload)
        if time >= self._workloads[workload].review_by:
            raise _bad(f"the review of {workload} is overdue")


def take_peer(event: Record) -> None:
    """Take the process that sent a workload's command, where it came by the workloads' socket."""
    peer = event.optional_record("peer")
    if peer is None:
        return
    for name in ("uid", "gid", "pid"):
        peer.integer(name, most=_MAX_ID)
    peer.done()


def _bad(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, detail)
