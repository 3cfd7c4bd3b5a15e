"""What is asked for when one credential is asked for: the arguments of `credential.issue`, or one line of a batch."""

from dataclasses import dataclass
from typing import Self

from coldcred import names
from coldcred.canonical import Json
from coldcred.record import Record

MAX_NOTE = 256


@dataclass(frozen=True, slots=True)
class Asked:
    """One credential that is asked for; `lifetime` is in seconds, None for the longest that the profile allows."""

    profile: str
    workload: str
    audience: str
    scopes: tuple[str, ...]
    lifetime: int | None
    purpose: str | None
    task: str | None

    @classmethod
    def read(cls, record: Record) -> Self:
        """Read the members strictly, to the last; `Malformed` names the first that is wrong."""
        asked = cls(
            profile=names.label(record.text("profile"), "profile name"),
            workload=names.spiffe_id(record.text("workload")),
            audience=names.audience(record.text("audience")),
            scopes=tuple(names.scope_token(text) for text in record.optional_texts("scopes") or ()),
            lifetime=record.optional_integer("ttl", least=1),
            purpose=_note(record, "purpose"),
            task=_note(record, "task"),
        )
        record.done()
        return asked

    def as_json(self) -> dict[str, Json]:
        """Give it as the arguments of a command; what is absent is left out."""
        written: dict[str, Json] = {
            "profile": self.profile,
            "workload": self.workload,
            "audience": self.audience,
            "scopes": [*self.scopes] or None,
            "ttl": self.lifetime,
            "purpose": self.purpose,
            "task": self.task,
        }
        return {name: value for name, value in written.items() if value is not None}


def _note(record: Record, name: str) -> str | None:
    text = record.optional_text(name, max_chars=MAX_NOTE)
    return None if text is None else names.stored_text(text, name)
