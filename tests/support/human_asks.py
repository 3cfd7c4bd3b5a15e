"""What people may ask for in the model of authority: for each act a few wishes, the most sensible ones first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coldcred.canonical import Json, sha256_hex
from tests.support import plant
from tests.support.plain_authority import Plain
from tests.support.plain_table import DAY, POLICIES, policy_text
from tests.support.running import RunningPlant
from tests.support.signers import Signer

ROBOTS = tuple(f"spiffe://{plant.DOMAIN}/{path}" for path in ("line-1/robot-7", "line-1/robot-8", "line-2/robot-9"))
ROLE_SETS: Sequence[list[str]] = (
    ["officer", "issuer", "approver"],
    ["officer", "approver"],
    ["auditor"],
    ["issuer"],
    ["approver"],
    ["auditor", "officer"],
    [],
)
PROFILES: Sequence[dict[str, Json]] = (
    {"name": "strict", "approvals": 2},
    {"name": "orders-reader"},
    {"name": "robots", "asked_by": ["issuer", "workload"]},
    {"name": "strict", "approvals": 2, "lifetime": 1800},
    {"name": "orders-reader", "lifetime": 3600, "groups": ["line-1"]},
    {"name": "strict", "approvals": 3, "excludes": ["orders-reader"]},
    {"name": "robots", "approvals": 2, "asked_by": ["workload"]},
    {"name": "strict", "audiences": ["https://elsewhere.example"]},
    {"name": "strict", "approvals": 0},
    {"name": "strict", "approvals": 9},
)
GARBAGE = "permit (everybody);"


@dataclass
class Wish:
    """What a command says; `facts` are what the model is told where arguments say it only by digests."""

    args: dict[str, Json]
    attachments: dict[str, bytes] = field(default_factory=dict, repr=False)
    facts: dict[str, Any] | None = None


@dataclass
class Asks:
    """Makes wishes out of what stands; new keys go to the humans who are to have them."""

    plain: Plain
    running: RunningPlant
    humans: tuple[str, ...]
    keys: dict[str, list[Signer]]
    tokens_kid: str
    jtis: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    robots: dict[str, list[Signer]] = field(default_factory=lambda: {name: [] for name in ROBOTS})

    def wish(self, act: str, who: str, pick: int) -> Wish:
        """Give the wish of this number for an act; `who` asks."""
        wishes = _WISHES[act](self, who, pick)
        return wishes[pick % len(wishes)]

    def _human(self, pick: int, *, enrolled: bool) -> str:
        """Give a human who is enrolled, or is not, if there is one."""
        found = [one for one in self.humans if (one in self.plain.roles) is enrolled] or [*self.humans]
        return found[pick % len(found)]

    def _machine(self, pick: int) -> str:
        """Give a workload that is enrolled, or seldom any."""
        found = [*self.plain.machines, ROBOTS[2]]
        return found[pick % len(found)]

    def _new_key(self, person: str, *, holder: str | None = None) -> tuple[str, dict[str, bytes]]:
        """Give a new key to a human, who countersigns for it."""
        holder = holder or person
        key = Signer.named(f"{holder} key {len(self.keys[holder])}")
        self.keys[holder].append(key)
        self.plain.holder[key.kid] = holder
        return self._signed(key, person)

    def _old_key(self, person: str) -> tuple[str, dict[str, bytes]]:
        return self._signed(self.keys[person][0], person)

    def _signed(self, key: Signer, person: str) -> tuple[str, dict[str, bytes]]:
        proof = self.running.countersignature(key, person).encode()
        digest = self.running.keep(proof)
        return digest, {digest: proof}

    def issue(self, _who: str, pick: int) -> list[Wish]:
        """One workload or another, under one profile or another."""
        names = ["orders-reader", "strict", "robots"]
        args: dict[str, Json] = {
            "profile": names[pick // 2 % 3],
            "workload": self._machine(pick // 6),
            "audience": plant.AUDIENCE,
            "scopes": ["orders.read"],
            "ttl": 600,
        }
        wide: list[dict[str, Json]] = [
            {**args, "ttl": 8 * 3600 + 1},
            {**args, "scopes": ["admin"]},
            {**args, "workload": ROBOTS[2]},
            {**args, "audience": "https://elsewhere.example"},
            {**args, "profile": "nothing"},
        ]
        longest = {name: value for name, value in args.items() if name != "ttl"}
        return [Wish(one) for one in (args, args, args, longest, wide[pick // 5 % 5])]

    def revoke(self, _who: str, pick: int) -> list[Wish]:
        """One of the newest, all of a workload, of a profile or of the key."""
        reason: dict[str, Json] = {"reason": "lost"}
        newest: list[str] = self.jtis[-1:] or ["c" * 22]
        return [
            Wish({"credential": newest[0], **reason}),
            Wish({"workload": ROBOTS[pick // 5 % 3], **reason}),
            Wish({"profile": "strict", **reason}),
            Wish({"credential": self.jtis[0] if self.jtis else "d" * 22, **reason}),
            Wish({"key": self.tokens_kid, **reason}),
        ]

    def enrol(self, who: str, pick: int) -> list[Wish]:
        """Any workload, with a new key, an old one or none, owned by whoever asks or by another."""
        workload, now = ROBOTS[pick // 4 % 3], self.running.clock.now()
        args: dict[str, Json] = {"id": workload, "owner": who, "review_by": now + 20 * DAY, "groups": ["line-1"]}
        other: dict[str, Json] = {**args, "owner": self._human(pick, enrolled=True)}
        fresh = Signer.named(f"{workload} key {len(self.robots[workload])}")
        if pick % 4 == 0:
            self.robots[workload].append(fresh)
        key = (self.robots[workload] or [fresh])[-1 if pick % 4 == 0 else 0]
        proof = self.running.proof(key, workload=workload).encode()
        digest = self.running.keep(proof)
        return [
            Wish({**args, "enrolment": digest}, {digest: proof}),
            Wish({**other, "review_by": now + 3 * DAY}),
            Wish({**other, "review_by": now + 90 * DAY, "enrolment": digest}, {digest: proof}),
            Wish({**other, "review_by": now + 401 * DAY}),
        ]

    def workload(self, _who: str, pick: int) -> list[Wish]:
        """One of them."""
        return [Wish({"workload": self._machine(pick)})]

    def suspend(self, _who: str, pick: int) -> list[Wish]:
        """One of them, for a reason."""
        return [Wish({"workload": self._machine(pick), "reason": "lost"})]

    def adopt(self, who: str, pick: int) -> list[Wish]:
        """By whoever asks, or by another, who has to be among those who sign."""
        owners = (who, self._human(pick, enrolled=True), self._human(pick, enrolled=False))
        return [Wish({"workload": self._machine(pick), "owner": one, "reason": "left"}) for one in owners]

    def key(self, _who: str, pick: int) -> list[Wish]:
        """Name the key for tokens, or one that nobody ordered."""
        return [Wish({"key": "tokens-9" if pick % 5 == 4 else "tokens-1", "reason": "seen"})]

    def profile(self, _who: str, pick: int) -> list[Wish]:
        """One of those above."""
        return [Wish({"profile": {**plant.profile(), **PROFILES[pick % len(PROFILES)]}})]

    def policy(self, _who: str, pick: int) -> list[Wish]:
        """One that forbids something, or one that is none."""
        texts = [*(policy_text(names) for names in POLICIES.values()), GARBAGE]
        text = texts[pick % len(texts)].encode()
        return [Wish({"policy": self.running.keep(text)}, {sha256_hex(text): text})]

    def site(self, _who: str, pick: int) -> list[Wish]:
        """Wish for a new one, or for one that stands."""
        name = f"line-{1 + pick % 4}"
        return [Wish({"name": name, "audiences": [f"https://{name}.example"]})]

    def bundle(self, _who: str, pick: int) -> list[Wish]:
        """For a site that sites know, or for one that nobody signed for yet."""
        return [Wish({"site": "line-1"}), Wish({"site": "line-1"}), Wish({"site": f"line-{2 + pick % 3}"})]

    def nothing(self, _who: str, _pick: int) -> list[Wish]:
        """No argument."""
        return [Wish({})]

    def request(self, who: str, pick: int) -> list[Wish]:
        """One's own request, or another's."""
        own = [id_ for id_, waiting in self.plain.waiting.items() if waiting.sent.signer == who]
        all_ = [*own, *self.plain.waiting, *self.sent[-3:]] or ["0" * 64]
        return [Wish({"request": all_[0]}), Wish({"request": all_[pick % len(all_)]})]

    def start(self, _who: str, pick: int) -> list[Wish]:
        """One that ends in a day or two, or too soon."""
        name, now = f"review-{len(self.plain.reviews) + pick % 2}", self.running.clock.now()
        return [Wish({"name": name, "until": now + span}) for span in (DAY + 60, 2 * DAY, DAY - 60)]

    def confirm(self, who: str, pick: int) -> list[Wish]:
        """Everybody else, everything, one of them, or oneself."""
        review = self.plain.review
        name: Json = review.name if review else "review-0"
        others: list[Json] = [one for one in sorted(self.plain.roles) if one != who]
        workloads: list[Json] = [*sorted(self.plain.machines)]
        one = others[pick % len(others)] if others else who
        return [
            Wish({"review": name, **({"operators": others} if others else {})}),
            Wish({"review": name, **({"workloads": workloads} if workloads else {})}),
            Wish({"review": name, "operators": [one]}),
            Wish({"review": name, "operators": [who]}),
            Wish({"review": "review-99", "operators": [one]}),
        ]

    def close(self, _who: str, _pick: int) -> list[Wish]:
        """Name the one that is open."""
        return [Wish({"review": self.plain.review.name if self.plain.review else "review-0"})]

    def add(self, _who: str, pick: int) -> list[Wish]:
        """Somebody who is not here, seldom under a key that was seen before, or somebody who is."""
        person = self._human(pick, enrolled=pick % 7 == 6)
        digest, attached = self._old_key(person) if pick % 5 == 4 else self._new_key(person)
        roles: Json = [*ROLE_SETS[pick // 2 % len(ROLE_SETS)]]
        return [Wish({"person": person, "roles": roles, "countersignature": digest}, attached)]

    def remove(self, _who: str, pick: int) -> list[Wish]:
        """Somebody."""
        person = self._human(pick, enrolled=pick % 7 != 6)
        return [Wish({"person": person, "reason": "left"})]

    def roles(self, _who: str, pick: int) -> list[Wish]:
        """Any roles for anybody."""
        roles: Json = [*ROLE_SETS[pick // 2 % len(ROLE_SETS)]]
        return [Wish({"person": self._human(pick, enrolled=pick % 9 != 8), "roles": roles, "reason": "work"})]

    def replace_key(self, _who: str, pick: int) -> list[Wish]:
        """One more key for somebody, a new one for an old one, or one key less."""
        person = self._human(pick // 4, enrolled=True)
        held: list[Json] = [kid for kid, one in self.plain.operators.items() if one == person]
        args: dict[str, Json] = {"person": person, "reason": "worn", "retires": []}
        if pick % 4 == 3:
            return [Wish({**args, "retires": held[:1]})]
        digest, attached = self._new_key(person)
        args["countersignature"] = digest
        return [Wish({**args, "retires": held[:1] if pick % 4 == 2 else []}, attached)]

    def another_key(self, person: str) -> Wish:
        """Wish for a new key in the place of one that somebody has."""
        held: list[Json] = [kid for kid, one in self.plain.operators.items() if one == person]
        digest, attached = self._new_key(person)
        args: dict[str, Json] = {"person": person, "reason": "lost", "retires": held[:1], "countersignature": digest}
        return Wish(args, attached)

    def other_roles(self, person: str) -> Wish:
        """Wish that somebody approves no more."""
        return Wish({"person": person, "reason": "elsewhere", "roles": ["issuer"]})

    def recover(self, _who: str, pick: int) -> list[Wish]:
        """Wish for an officer under a new key, somebody new in an officer's place, or somebody who is none."""
        officers = [one for one, roles in sorted(self.plain.roles.items()) if "officer" in roles]
        replaced = officers[pick // 3 % len(officers)] if pick % 3 != 2 else self._human(pick, enrolled=True)
        person = self._human(pick, enrolled=False) if pick % 3 == 1 else replaced
        digest, attached = self._new_key(person)
        args: dict[str, Json] = {"replaces": replaced, "person": person, "reason": "lost", "countersignature": digest}
        return [Wish(args, attached)]


_WISHES: Mapping[str, Callable[[Asks, str, int], list[Wish]]] = {
    "credential.issue": Asks.issue,
    "credential.revoke": Asks.revoke,
    "workload.enrol": Asks.enrol,
    "workload.suspend": Asks.suspend,
    "workload.resume": Asks.workload,
    "workload.adopt": Asks.adopt,
    "key.suspend": Asks.key,
    "key.activate": Asks.key,
    "profile.set": Asks.profile,
    "policy.set": Asks.policy,
    "site.add": Asks.site,
    "bundle.create": Asks.bundle,
    "log.export": Asks.nothing,
    "read.open": Asks.nothing,
    "request.withdraw": Asks.request,
    "request.complete": Asks.request,
    "review.start": Asks.start,
    "review.confirm": Asks.confirm,
    "review.close": Asks.close,
    "operator.add": Asks.add,
    "operator.remove": Asks.remove,
    "operator.roles": Asks.roles,
    "operator.replace-key": Asks.replace_key,
    "operator.recover": Asks.recover,
}
"""Wishes by act; what custodians sign, `trust.submit`, the machine makes itself."""
