"""What became of a command: the answer to whoever sent it, and what is told again when it is sent again."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from coldcred.canonical import Json, b64u_decode, b64u_encode
from coldcred.record import Record

MAX_FILE_TEXT = 64 * 1024 * 1024
SHORT_ID = 12
"""So many characters of an id are shown to people, and are enough to name it."""


class State(StrEnum):
    """Where a command stands; `ready` waits only for its requester to complete it."""

    DONE = "done"
    WAITING = "waiting"
    READY = "ready"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of the command with id `command`; `have` are the people who signed, of `need`.

    `files` (a token, a bundle, an export, a list) are given once, to the sender, and are never stored; nor are
    `warnings`.
    """

    command: str
    act: str
    state: State
    reason: str | None = None
    detail: str | None = None
    rule: str | None = None
    need: int = 1
    have: tuple[str, ...] = ()
    result: dict[str, Json] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """Give the outcome as it travels over the socket."""
        return {
            "command": self.command,
            "act": self.act,
            "state": self.state.value,
            "reason": self.reason,
            "detail": self.detail,
            "rule": self.rule,
            "need": self.need,
            "have": list(self.have),
            "result": self.result,
            "files": {name: b64u_encode(data) for name, data in self.files.items()},
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Read an outcome; `Malformed` where it is not one."""
        record = Record.of(value, "outcome")
        reason, detail, rule = (record.value(name) for name in ("reason", "detail", "rule"))
        files = record.record("files")
        outcome = cls(
            command=record.digest("command"),
            act=record.text("act"),
            state=State(record.text("state")),
            reason=reason if isinstance(reason, str) else None,
            detail=detail if isinstance(detail, str) else None,
            rule=rule if isinstance(rule, str) else None,
            need=record.integer("need"),
            have=record.texts("have"),
            result=record.record("result").members(),
            files={
                name: b64u_decode(files.text(name, max_chars=MAX_FILE_TEXT))
                for name in ("token", "bundle", "export", "revoked")
                if files.has(name)
            },
            warnings=record.texts("warnings"),
        )
        files.done()
        record.done()
        return outcome
