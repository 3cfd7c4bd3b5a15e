"""Workloads in the log: owners, keys they proved, until when they were reviewed, and whether they are suspended."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from coldcred.errors import LogReason, LogRejected
from coldcred.keys import PublicKey
from coldcred.log.approvals import check_asked_since
from coldcred.record import Record

_MAX_ID = 2**32 - 1


@dataclass(slots=True)
class _Workload:
    """A workload that was enrolled; `key` is the one that it signs with at present, if any.

    `suspended_at` is when it was suspended last (Unix seconds), while it is.
    """

    review_by: int
    key: PublicKey | None
    owner: str
    suspended_at: int | None = None


class Workloads:
    """Every workload that was enrolled, as far as the log has been read."""

    def __init__(self) -> None:
        """Begin with none."""
        self._workloads: dict[str, _Workload] = {}
        self._holders: dict[str, str] = {}
        self._owned: defaultdict[str, set[str]] = defaultdict(set)

    @property
    def owners(self) -> Mapping[str, str]:
        """Who answers for each of them."""
        return {name: workload.owner for name, workload in self._workloads.items()}

    def kin(self, workload: str) -> AbstractSet[str]:
        """Give all workloads of whoever answers for this one; none where no entry enrolled it."""
        found = self._workloads.get(workload)
        return self._owned[found.owner] if found is not None else frozenset()

    def enrolled(self, workload: str, review_by: int, key: PublicKey | None, owner: str, asked_at: int) -> None:
        """Take an enrolment: it is active from now on, and an earlier key of its signs nothing more."""
        if (before := self._workloads.get(workload)) is not None:
            check_asked_since(before.suspended_at, asked_at)
            self._owned[before.owner].remove(workload)
        self._owned[owner].add(workload)
        self._workloads[workload] = _Workload(review_by, key, owner)
        if key is not None:
            self._holders[key.thumbprint] = workload

    def suspended(self, workloads: Iterable[str], time: int) -> None:
        """Suspend workloads that were enrolled, from `time` on."""
        for workload in workloads:
            self._named(workload).suspended_at = time

    def resumed(self, workload: str, asked_at: int) -> None:
        """Resume a workload that was enrolled; people asked for that at `asked_at`, after it was suspended last."""
        found = self._named(workload)
        check_asked_since(found.suspended_at, asked_at)
        found.suspended_at = None

    def adopted(self, workload: str, owner: str) -> None:
        """Give a workload that was enrolled another owner; the rest of it stays."""
        found = self._named(workload)
        self._owned[found.owner].remove(workload)
        self._owned[owner].add(workload)
        found.owner = owner

    def owned_by(self, person: str) -> int:
        """Count the workloads that a person answers for."""
        return len(self._owned.get(person, ()))

    def holder(self, kid: str) -> str | None:
        """Give the workload that signs with this key at present."""
        workload = self._holders.get(kid)
        return workload if workload is not None and self.key(kid) is not None else None

    def key(self, kid: str) -> PublicKey | None:
        """Give the key with this thumbprint where a workload signs with it at present."""
        found = self._workloads.get(self._holders.get(kid, ""))
        return found.key if found and found.key and found.key.thumbprint == kid else None

    def check_issuing(self, workload: str, people: Collection[str]) -> None:
        """Return when a workload is enrolled and not suspended, and its owner among the `people` who are enrolled."""
        found = self._named(workload)
        if found.suspended_at is not None:
            raise _bad(f"{workload} is suspended")
        if found.owner not in people:
            raise _bad(f"the owner {found.owner} of {workload} is enrolled no more")

    def check_reviewed(self, workload: str, time: int) -> None:
        """Return when a workload is not overdue at `time`."""
        if time >= self._workloads[workload].review_by:
            raise _bad(f"the review of {workload} is overdue")

    def _named(self, workload: str) -> _Workload:
        if workload not in self._workloads:
            raise _bad(f"{workload[:80]} is not enrolled")
        return self._workloads[workload]


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
