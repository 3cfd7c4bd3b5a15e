"""The first form of what approvers were shown: the command alone, and nothing of what travels beside it.

Auditors hold to it the requests and approvals of logs whose entries name no form. Nothing is shown in it any more.
"""

import json
from collections.abc import Iterator

from coldcred.canonical import Json
from coldcred.command import Command
from coldcred.rendering import frame
from coldcred.rendering.words import moment


def shown(command: Command, by: str) -> str:
    """Give the SHA-256 (hex) of the lines; `by` is who signed the command."""
    return frame.digest(lines(command, by))


def lines(command: Command, by: str) -> Iterator[str]:
    """Write every member of a command as a line of printable ASCII."""
    yield f"appliance {command.appliance}"
    yield f"epoch {command.epoch}"
    yield f"request {command.id}"
    yield f"asked by {by}"
    yield f"signed {moment(command.issued_at)}"
    yield f"ends {moment(command.expires_at)}"
    yield f"act {command.act}"
    yield from _flattened("", command.args)


def _flattened(path: str, value: Json) -> Iterator[str]:
    match value:
        case dict() if value:
            for name in sorted(value):
                label = name if name.isidentifier() and name.isascii() else json.dumps(name)
                yield from _flattened(f"{path}.{label}" if path else label, value[name])
        case list() if value:
            for place, item in enumerate(value):
                yield from _flattened(f"{path}[{place}]", item)
        case _ if path:
            yield f"{path} {json.dumps(value)}"
        case _:
            return
