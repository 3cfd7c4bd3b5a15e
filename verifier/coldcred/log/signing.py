"""What the log says of signing: keys ordered and made, signatures meant (intents) and what became of them (outcomes).

An entry with `signs` is an intent: it was durable before the HSM was asked (rule R31). Each intent gets exactly one
outcome, in the order of the intents, or as `unknown` at the next start; only those of the last few commits can still be
open, since the HSM is given a few groups at a time.
"""

import re
from collections import Counter
from dataclasses import dataclass

from coldcred import charter
from coldcred.charter import KeyCharter, Purpose
from coldcred.errors import LogReason, LogRejected
from coldcred.founding import Founding
from coldcred.keys import PublicKey, SealingKey
from coldcred.log.approvals import TOLERANCE, check_asked_since
from coldcred.log.entry import MAX_BODY
from coldcred.record import Record

MAX_SIGNS = 1024
FLIGHTS = 4
"""Groups of entries that may be at the HSM at once: so often may an intent be passed over before its outcome."""
OUTCOMES = ("signed", "failed", "unknown")

_KEY_ID = re.compile(r"(?:[0-9a-f]{2}){1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LoggedKey:
    """A key that the log says was made: its charter is the founding's; valid for `not_before` <= t < `not_after`."""

    name: str
    public: PublicKey
    charter: KeyCharter
    not_before: int
    not_after: int


@dataclass(frozen=True, slots=True)
class Sign:
    """One signature that an intent announces: the key, and the SHA-256 (hex) of the whole signing input."""

    key: LoggedKey
    sha256: str


class Signing:
    """Keys, open intents and outcomes, as far as the log has been read."""

    def __init__(self, founding: Founding) -> None:
        """Begin with the keys that `founding` plans, none of them ordered."""
        self._plans = {plan.name: plan for plan in founding.keys}
        self._ids: dict[str, str] = {}
        self._made: set[str] = set()
        self._registered = {
            key.thumbprint: person.id for person in founding.people for key in (person.operator, person.custodian)
        }
        self._suspended: dict[str, int] = {}
        self._open: dict[int, int] = {}
        self.keys: dict[str, LoggedKey] = {}
        self.outcomes: Counter[str] = Counter()

    @property
    def open_intents(self) -> tuple[int, ...]:
        """Entries whose signatures have no outcome yet, in order."""
        return tuple(self._open)

    def key_for(self, purpose: Purpose) -> LoggedKey | None:
        """Give the first key that was made for `purpose`."""
        return next((key for key in self.keys.values() if key.charter.purpose is purpose), None)

    def ordered(self, event: Record) -> None:
        """Take `key.ordered`: a key of the founding, on its token, with its charter, once."""
        name, key_id = event.text("name"), event.text("id")
        plan = self._plans.get(name)
        if plan is None:
            raise _wrong_key(f"orders key {name[:48]!a}, which is not in the founding")
        if name in self._ids:
            raise _wrong_key(f"orders key {name} a second time")
        if not _KEY_ID.fullmatch(key_id) or key_id in self._ids.values():
            raise _wrong_key(f"orders key {name} under an id that is none, or another key's")
        if (event.text("token"), charter.parse(event.value("charter"))) != (plan.token, plan.charter):
            raise _wrong_key(f"orders key {name} with another charter or token than the founding's")
        self._ids[name] = key_id

    def done(self, event: Record, time: int) -> None:
        """Take `key.done`: the public half of an ordered key, valid as long as the founding says, once."""
        name = event.text("name")
        if name not in self._ids or name in self._made:
            raise _wrong_key(f"makes key {name[:48]!a}, which was not ordered or was made before")
        plan = self._plans[name]
        key = LoggedKey(
            name=name,
            public=PublicKey.from_jwk(event.value("public")),
            charter=plan.charter,
            not_before=event.time("not_before"),
            not_after=event.time("not_after"),
        )
        kid = key.public.thumbprint
        if key.public.algorithm is not plan.charter.algorithm:
            raise _wrong_key(f"key {name} is for another algorithm than its charter")
        if kid in self._registered:
            raise _wrong_key(f"key {name} is somebody's already: {self._registered[kid]}'s")
        if abs(key.not_before - time) > TOLERANCE or key.not_after - key.not_before != plan.valid_for:
            raise _wrong_key(f"key {name} is valid from another time or for longer than the founding allows")
        self._made.add(name)
        self._registered[kid] = name
        self.keys[kid] = key

    def suspended(self, name: str, time: int) -> None:
        """Take `key.suspended`: a key that was made signs nothing from here on; intents before are not touched."""
        if name not in self._made or name in self._suspended:
            raise _wrong_key(f"suspends key {name[:48]!a}, which was not made or is suspended already")
        self._suspended[name] = time

    def activated(self, name: str, asked_at: int) -> None:
        """Take `key.activated`: a suspended key signs again; people asked for that after it was suspended."""
        if name not in self._suspended:
            raise _wrong_key(f"activates key {name[:48]!a}, which is not suspended")
        check_asked_since(self._suspended.pop(name), asked_at)

    def workload_key(self, workload: str, key: PublicKey | SealingKey | None) -> None:
        """Take a key of a workload, if it has one: it is in no other register and no other workload's (R10)."""
        if key is None:
            return
        owner = self._registered.setdefault(key.thumbprint, workload)
        if owner != workload:
            raise _wrong_key(f"the key of {workload} is {owner}'s already")

    def person_key(self, person: str, key: PublicKey) -> None:
        """Take a person's new key, which no entry before it has named (R10)."""
        if (owner := self._registered.get(key.thumbprint)) is not None:
            raise _wrong_key(f"the new key of {person} is {owner}'s already")
        self._registered[key.thumbprint] = person

    def intent(
        self, event: Record, seq: int, purpose: Purpose, *, time: int, most: int = MAX_SIGNS
    ) -> tuple[Sign, ...]:
        """Take `signs`: 1 to `most` signatures at `time`, each by a key made before this entry and for `purpose`."""
        signs = []
        for item in event.records("signs", least=1, most=most):
            key = self.keys.get(item.text("kid", max_chars=64))
            if key is None:
                raise _wrong_key("signs with a key that no entry before it made")
            if key.charter.purpose is not purpose:
                raise _wrong_key(f"signs with key {key.name}, which is for {key.charter.purpose}, not for {purpose}")
            if key.name in self._suspended:
                raise _wrong_key(f"signs with key {key.name}, which is suspended")
            check_dates(key, time)
            signs.append(Sign(key, item.digest("sha256")))
            item.done()
        self._open[seq] = 0
        return tuple(signs)

    def settled(self, event: Record) -> dict[int, str]:
        """Take `outcomes`: each names intents that were open, and none is passed over more often than can be.

        Outcomes come in the order of the intents, and no more than `FLIGHTS` groups are at the HSM at once. Gives the
        outcome of each.
        """
        found: dict[int, str] = {}
        for name in OUTCOMES:
            for seq in event.array(name, most=MAX_BODY):
                if not isinstance(seq, int) or isinstance(seq, bool) or seq not in self._open:
                    raise LogRejected(LogReason.MALFORMED, f"gives an outcome to {seq!a}, which is no open intent")
                del self._open[seq]
                self.outcomes[name] += 1
                found[seq] = name
        for seq, passed in self._open.items():
            if passed == FLIGHTS:
                raise LogRejected(LogReason.INCOMPLETE, "its signatures never got an outcome", seq)
            self._open[seq] = passed + 1
        return found

    def started(self) -> None:
        """Take `started`: what a stop or a crash left open was closed first (rule R31)."""
        for seq in self._open:
            raise LogRejected(LogReason.INCOMPLETE, "the appliance started anew and it had no outcome", seq)


def check_dates(key: LoggedKey, time: int) -> None:
    """Return where `key` may sign at `time`; one of credentials is held to the window of each of them instead (R41)."""
    if key.charter.purpose is Purpose.TOKENS:
        return
    if not key.not_before - TOLERANCE <= time < key.not_after + TOLERANCE:
        raise _wrong_key(f"signs with key {key.name} outside its dates")


def _wrong_key(detail: str) -> LogRejected:
    return LogRejected(LogReason.WRONG_KEY, detail)
