"""What one signer may have the appliance write, so that nobody's many stop the others (rules R11 and R40).

Each person and each workload has three buckets: bytes of the log, credentials, and refused documents. What is written
in a signer's name is taken out of them; they fill again with time. They are kept in memory and are full at each start.
What stops something may overdraw a person's buckets by a reserve, as it may use the disk's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from types import MappingProxyType

from appliance.errors import Refusal, Refused
from coldcred import names
from coldcred.acts import STOPPING

HOUR = 3600
RULE = "R40 quotas of one signer"
_MIB = 1024 * 1024


class Of(StrEnum):
    """What is counted: closed."""

    BYTES = "bytes of the log"
    CREDENTIALS = "credentials"
    REFUSALS = "refused documents"


@dataclass(frozen=True, slots=True)
class Limit:
    """So many at once, so many come back in an hour, and so many more for what stops something."""

    most: int
    hourly: int
    reserve: int = 0


PERSON: Mapping[Of, Limit] = MappingProxyType(
    {
        Of.BYTES: Limit(96 * _MIB, 2 * 1024 * HOUR, 16 * _MIB),
        Of.CREDENTIALS: Limit(131_072, 2 * HOUR),
        Of.REFUSALS: Limit(512, HOUR // 5, 512),
    }
)
"""For a person: two batches of the largest size at once, and then a credential each half second."""

WORKLOAD: Mapping[Of, Limit] = MappingProxyType(
    {
        Of.BYTES: Limit(_MIB, 256 * HOUR),
        Of.CREDENTIALS: Limit(256, HOUR // 15),
        Of.REFUSALS: Limit(64, HOUR // 15),
    }
)
"""For a machine: a credential each 15 s, so that it alone fills half of a status list in no less than 90 days."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is left at a moment, in seconds of any steady clock; below zero it is overdrawn."""

    left: float
    at: float

    def filled(self, limit: Limit, at: float) -> "Bucket":
        """Give it as it is at `at`, no fuller than its limit."""
        back = max(0.0, at - self.at) * limit.hourly / HOUR
        return Bucket(min(float(limit.most), self.left + back), max(at, self.at))

    def less(self, amount: int) -> "Bucket":
        """Give it after so much was taken out."""
        return Bucket(self.left - amount, self.at)


class Quotas:
    """The buckets of all signers of one run of the appliance; `at` is in seconds of any steady clock."""

    def __init__(self) -> None:
        """Begin with full ones."""
        self._buckets: dict[tuple[str, Of], Bucket] = {}

    def check(self, signer: str, act: str, credentials: int, at: float) -> None:
        """Return when a signer (a person's id or a SPIFFE ID) may ask for `act`, and so many credentials with it.

        Raises `Refused` (quota-exceeded), which says how long it takes until they may.
        """
        wanted = {Of.BYTES: 1, Of.CREDENTIALS: credentials, Of.REFUSALS: 1}
        for of, limit in _limits(signer).items():
            reserve = limit.reserve if act in STOPPING else 0
            left = self._bucket(signer, of, at).left + reserve
            if wanted[of] and left < wanted[of]:  # what takes nothing out may be done though it is overdrawn
                raise Refused(Refusal.QUOTA_EXCEEDED, _say(signer, of, limit, wanted[of], left), RULE)

    def spend(self, signer: str, of: Of, amount: int, at: float) -> None:
        """Take out what was written in a signer's name, though it be more than was left."""
        self._buckets[signer, of] = self._bucket(signer, of, at).less(amount)

    def _bucket(self, signer: str, of: Of, at: float) -> Bucket:
        limit = _limits(signer)[of]
        found = self._buckets.get((signer, of))
        return Bucket(float(limit.most), at) if found is None else found.filled(limit, at)


def _limits(signer: str) -> Mapping[Of, Limit]:
    return WORKLOAD if names.is_spiffe_id(signer) else PERSON


def _say(signer: str, of: Of, limit: Limit, wanted: int, left: float) -> str:
    said = f"{signer} may have {limit.most} {of} at once and {limit.hourly} more an hour"
    if wanted > limit.most:
        return f"{said}; {wanted} are asked for"
    return f"{said}; there is room again in {ceil((wanted - left) * HOUR / limit.hourly)} s"
