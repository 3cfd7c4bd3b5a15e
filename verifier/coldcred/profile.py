"""Profiles: what may be issued, to whom, for what and for how long. A request may only narrow one."""

from dataclasses import dataclass
from typing import Self

from coldcred import names
from coldcred.canonical import Json
from coldcred.credential import Kind
from coldcred.errors import Malformed
from coldcred.record import Record

LONGEST_LIFETIME = 24 * 3600


@dataclass(frozen=True, slots=True)
class Profile:
    """The bounds of one kind of credential; `lifetime` and `horizon` are seconds, `approvals` counts people."""

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
        """Give the profile as it is written."""
        return {
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
