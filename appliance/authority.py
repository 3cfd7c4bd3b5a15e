"""Authority: who may do what, with which keys. A frozen value folded from the verified log, and from nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from coldcred import policy
from coldcred.acts import Role
from coldcred.canonical import Json, sha256_hex
from coldcred.charter import KeyCharter, TokenCharter
from coldcred.credential import Kind
from coldcred.founding import Founding, Site
from coldcred.keys import PublicKey, SealingKey
from coldcred.log.review import Review
from coldcred.plan import Window
from coldcred.profile import Profile


@dataclass(frozen=True, slots=True)
class Operator:
    """A person with one enrolled key; who has several is there several times. `since` is when they joined."""

    person: str
    roles: frozenset[Role]
    key: PublicKey
    since: int = 0


@dataclass(frozen=True, slots=True)
class Custodian:
    """A founder's second key, which signs recoveries and the root of trust, and nothing else."""

    person: str
    key: PublicKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key in the HSM: ordered, then done with its public half; times are Unix seconds.

    While it is suspended, since `suspended_at`, it signs nothing.
    """

    name: str
    key_id: str
    token: str
    charter: KeyCharter
    ordered_at: int
    public: PublicKey | None = None
    not_before: int = 0
    not_after: int = 0
    suspended_at: int | None = None

    @property
    def suspended(self) -> bool:
        """Whether it is suspended."""
        return self.suspended_at is not None


@dataclass(frozen=True, slots=True)
class Workload:
    """A machine identity: who answers for it, until when it was reviewed, its groups, and the keys it holds, if any.

    `enrolment` is the SHA-256 of the document that proved possession of `key`; `suspended_at` is when it was suspended
    last (Unix seconds), while it is.
    """

    id: str
    owner: str
    review_by: int
    key: PublicKey | None
    seal: SealingKey | None = None
    groups: tuple[str, ...] = ()
    enrolment: str | None = None
    suspended_at: int | None = None

    @property
    def suspended(self) -> bool:
        """Whether it is suspended."""
        return self.suspended_at is not None


@dataclass(frozen=True, slots=True)
class Trust:
    """What custodians last signed: versions, the blobs by name (SHA-256 hex), the plan in it and the end of trust."""

    root_version: int
    targets_version: int
    files: Mapping[str, str]
    windows: tuple[Window, ...]
    end: int


@dataclass(frozen=True)
class Authority:
    """Everything a decision rests on, except what `Lookups` holds.

    `holders` has, by thumbprint, whose each workload's signing key is or was; `policy` is the SHA-256 (hex) of the
    policy text in force; `review` is the access review that is open, `reviewed` has the names of all that ever were.
    `owned` has the workloads of each owner.
    `places` has everybody who was ever enrolled, each with those whose place they took by a recovery.
    """

    founding: Founding
    epoch: int
    operators: Mapping[str, Operator]
    registers: Mapping[str, str]
    keys: Mapping[str, SigningKey] = field(default_factory=dict)
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    sites: Mapping[str, Site] = field(default_factory=dict)
    trust: Trust | None = None
    bundles: Mapping[str, int] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)
    policy: str = sha256_hex(policy.DEFAULT.encode())
    custodians: Mapping[str, Custodian] = field(default_factory=dict)
    review: Review | None = None
    reviewed: frozenset[str] = frozenset()
    places: Mapping[str, frozenset[str]] = field(default_factory=dict)
    owned: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def founded(cls, founding: Founding) -> "Authority":
        """Give the authority that a founding creates."""
        registers = {person.operator.thumbprint: "operator" for person in founding.people}
        registers |= {person.custodian.thumbprint: "custodian" for person in founding.people}
        return cls(
            founding=founding,
            epoch=1,
            operators={
                person.operator.thumbprint: Operator(person.id, person.roles, person.operator, founding.time)
                for person in founding.people
            },
            registers=registers,
            profiles={profile.name: profile for profile in founding.profiles},
            sites={site.name: site for site in founding.sites},
            custodians={
                person.custodian.thumbprint: Custodian(person.id, person.custodian) for person in founding.people
            },
            places={person.id: frozenset() for person in founding.people},
        )

    @property
    def people(self) -> dict[str, frozenset[Role]]:
        """Everyone who is enrolled, with their roles."""
        return {operator.person: operator.roles for operator in self.operators.values()}

    def keys_of(self, person: str) -> tuple[Operator, ...]:
        """Give a person once for each of their keys; nothing for somebody who is not enrolled."""
        return tuple(operator for operator in self.operators.values() if operator.person == person)

    def approver(self, kid: str) -> Operator | Custodian | None:
        """Give whoever signs approvals with this key at present."""
        return self.operators.get(kid) or self.custodians.get(kid)

    def approver_key(self, kid: str) -> PublicKey | None:
        """Give the key that may sign an approval: an operator's, or a custodian's."""
        approver = self.approver(kid)
        return approver.key if approver else None

    def owner_of(self, workload: str) -> str | None:
        """Give who answers for a workload, if it is enrolled."""
        found = self.workloads.get(workload)
        return found.owner if found is not None else None

    def kin(self, workload: str) -> frozenset[str]:
        """Give all workloads of whoever answers for this one; none where it is not enrolled."""
        found = self.workloads.get(workload)
        return self.owned[found.owner] if found is not None else frozenset()

    def is_enrolled(self, person: str) -> bool:
        """Whether somebody is enrolled here at present."""
        return any(operator.person == person for operator in self.operators.values())

    def workload_of(self, kid: str) -> Workload | None:
        """Give the workload whose signing key has this thumbprint now; a retired key is nobody's."""
        workload = self.workloads.get(self.holders.get(kid, ""))
        return workload if workload and workload.key and workload.key.thumbprint == kid else None

    def signer_key(self, kid: str) -> PublicKey | None:
        """Give the key that may sign a command: an operator's, a custodian's, or a workload's signing key."""
        signer = self.signer(kid)
        return signer.key if signer else None

    def signer(self, kid: str) -> Operator | Custodian | Workload | None:
        """Give whoever signs commands with this key at present."""
        return self.workload_of(kid) or self.approver(kid)

    def site_of(self, audience: str) -> Site | None:
        """Give the one site that answers for an audience."""
        return next((site for site in self.sites.values() if audience in site.audiences), None)

    def key_for(self, purpose: str, kind: Kind | None = None) -> SigningKey | None:
        """Give the key with this purpose, and for tokens of this kind, once it is done."""
        for key in self.keys.values():
            fits = key.charter.purpose == purpose
            if isinstance(key.charter, TokenCharter):
                fits = fits and key.charter.kind is kind
            if fits and key.public is not None:
                return key
        return None

    @property
    def token_charters(self) -> tuple[TokenCharter, ...]:
        """The charters of the keys that sign credentials, made or still to be made."""
        return tuple(key.charter for key in self.founding.keys if isinstance(key.charter, TokenCharter))

    @property
    def next_bundle(self) -> int:
        """The number of the next bundle; one series for all sites, so a site's next has this number or a later one."""
        return max(self.bundles.values(), default=0) + 1

    def with_member(self, name: str, key: str, value: object) -> "Authority":
        """Give the authority with one more or one replaced item in the mapping called `name`."""
        changes: dict[str, Any] = {name: {**getattr(self, name), key: value}}
        return replace(self, **changes)

    def with_workload(self, workload: Workload) -> "Authority":
        """Give the authority with a workload that is new, or as it is from now on."""
        before, owned = self.workloads.get(workload.id), {**self.owned}
        if before is not None and before.owner != workload.owner:
            owned[before.owner] -= {workload.id}
        if before is None or before.owner != workload.owner:
            owned[workload.owner] = owned.get(workload.owner, frozenset()) | {workload.id}
        return replace(self, workloads={**self.workloads, workload.id: workload}, owned=owned)

    def summary(self) -> dict[str, Json]:
        """Give the few facts that every screen shows."""
        return {
            "appliance": self.founding.appliance_id,
            "name": self.founding.name,
            "trust_domain": self.founding.trust_domain,
            "issuer": self.founding.issuer,
            "epoch": self.epoch,
            "policy": self.policy,
            "single_operator": self.founding.single_operator,
        }
