"""Profiles: what may be issued, to whom, for what and for how long. A request may only narrow one."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self, TypeVar

from coldcred import names
from coldcred.asked import Asked
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.credential import Kind
from coldcred.errors import Malformed
from coldcred.record import Record

_Choice = TypeVar("_Choice", bound=StrEnum)

LONGEST_LIFETIME = 24 * 3600
MAX_GROUPS = 16
"""Most groups that a profile, or a workload, names."""
MAX_EXCLUDES = 64
"""Most other profiles that one excludes."""


class Asker(StrEnum):
    """Who may ask under a profile: people with the role, or the workload itself."""

    ISSUER = "issuer"
    WORKLOAD = "workload"


class Required(StrEnum):
    """What a profile can require a request to carry."""

    PURPOSE = "purpose"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class Profile:
    """The bounds of one kind of credential; `lifetime` and `horizon` are seconds, `approvals` counts people.

    With `groups` the workload has to be in one of them. `excludes` names other profiles that must not be held beside
    this one. Absent members mean: any workload, asked for by people only, nothing required, nothing excluded.
    """

    name: str
    kind: Kind
    audiences: tuple[str, ...]
    scopes: tuple[str, ...]
    subjects: tuple[str, ...]
    lifetime: int
    horizon: int
    approvals: int
    holder_binding: bool
    refuse_stale: bool
    groups: tuple[str, ...] = ()
    asked_by: tuple[Asker, ...] = (Asker.ISSUER,)
    requires: tuple[Required, ...] = ()
    excludes: tuple[str, ...] = ()

    written: bytes = field(init=False, repr=False, compare=False)
    """Its canonical JSON, kept since each decision names its digest."""

    def __post_init__(self) -> None:
        """Write it once."""
        object.__setattr__(self, "written", dumps(self.as_json()))

    @classmethod
    def read(cls, record: Record, domain: str) -> Self:
        """Read a profile strictly; subjects lie in trust domain `domain`."""
        name = names.label(record.text("name"), "profile name")
        kind = record.text("kind")
        if kind not in set(Kind):
            message = f"profile {name}: kind is {' or '.join(Kind)}"
            raise Malformed(message)
        profile = cls(
            name=name,
            kind=Kind(kind),
            audiences=tuple(names.audience(text) for text in record.texts("audiences", least=1, most=64)),
            scopes=tuple(names.scope_token(text) for text in record.texts("scopes", most=64)),
            subjects=tuple(names.subject_pattern(text, domain) for text in record.texts("subjects", least=1, most=64)),
            lifetime=record.seconds("lifetime", least=1),
            horizon=record.seconds("horizon", least=1),
            approvals=record.integer("approvals", least=1),
            holder_binding=record.boolean("holder_binding"),
            refuse_stale=record.boolean("refuse_stale"),
            groups=read_groups(record),
            asked_by=_among(record, "asked_by", Asker) or (Asker.ISSUER,),
            requires=_among(record, "requires", Required),
            excludes=_excluded(record, name),
        )
        record.done()
        if profile.lifetime > LONGEST_LIFETIME:
            message = f"profile {name}: lifetime is at most {LONGEST_LIFETIME} seconds"
            raise Malformed(message)
        if profile.horizon < profile.lifetime:
            message = f"profile {name}: horizon is shorter than lifetime"
            raise Malformed(message)
        return profile

    def as_json(self) -> dict[str, Json]:
        """Give the profile as it is written; what is as it is by default is left out."""
        written: dict[str, Json] = {
            "name": self.name,
            "kind": self.kind.value,
            "audiences": list(self.audiences),
            "scopes": list(self.scopes),
            "subjects": list(self.subjects),
            "lifetime": self.lifetime,
            "horizon": self.horizon,
            "approvals": self.approvals,
            "holder_binding": self.holder_binding,
            "refuse_stale": self.refuse_stale,
        }
        if self.groups:
            written["groups"] = list(self.groups)
        if self.asked_by != (Asker.ISSUER,):
            written["asked_by"] = [asker.value for asker in self.asked_by]
        if self.requires:
            written["requires"] = [required.value for required in self.requires]
        if self.excludes:
            written["excludes"] = list(self.excludes)
        return written

    def missing(self, asked: Asked) -> tuple[Required, ...]:
        """Give what a request lacks of what the profile requires."""
        carried = {Required.PURPOSE: asked.purpose, Required.TASK: asked.task}
        return tuple(required for required in self.requires if carried[required] is None)


def digest_of(profiles: Iterable[Profile]) -> str:
    """Give the version of these profiles: SHA-256 (hex) of the canonical JSON array of them, sorted by name."""
    ordered = sorted(profiles, key=lambda profile: profile.name)
    return sha256_hex(b"[" + b",".join(profile.written for profile in ordered) + b"]")


def read_groups(record: Record) -> tuple[str, ...]:
    """Take the member `groups`: 1 to 16 labels, or none where it is absent."""
    if not record.has("groups"):
        return ()
    return tuple(names.label(text, "group") for text in record.texts("groups", least=1, most=MAX_GROUPS))


def _excluded(record: Record, profile: str) -> tuple[str, ...]:
    """Take the member `excludes`: 1 to 64 names of other profiles, or none where it is absent."""
    if not record.has("excludes"):
        return ()
    found = tuple(names.label(text, "profile name") for text in record.texts("excludes", least=1, most=MAX_EXCLUDES))
    if profile in found:
        message = f"profile {profile}: it excludes itself"
        raise Malformed(message)
    return found


def _among(record: Record, name: str, kind: type[_Choice]) -> tuple[_Choice, ...]:
    """Take an array of distinct members of a closed list, in its order; none where it is absent."""
    if not record.has(name):
        return ()
    found = record.texts(name, least=1, most=len(kind))
    if unknown := sorted(set(found) - set(kind)):
        message = f"profile: {name} knows {' and '.join(kind)}, not {unknown[0][:32]!a}"
        raise Malformed(message)
    return tuple(choice for choice in kind if choice in found)
