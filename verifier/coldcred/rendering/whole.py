"""What approvers are shown of a request: the command and all that travels beside it, as lines that are signed for (R9).

The lines are a function of the command, of who signed it and of its attachments, so approver, appliance and auditor
reckon the same. An approval names their SHA-256 (`shown`) and this form of them (`rendering`, 2). What stands here, and
what it reads with, is part of the form: lines that would differ are another form, with the next number.
"""

from collections.abc import Iterator, Mapping

from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.command import Command, attachments_named
from coldcred.errors import Malformed
from coldcred.rendering import beside, frame, members
from coldcred.rendering.beside import Items
from coldcred.rendering.words import moment, span

_ABSENT = {
    "groups": "no groups: for a workload in any group or none",
    "asked_by": "no asked_by: people ask, workloads do not",
    "requires": "no requires: neither purpose nor task has to be given",
    "excludes": "no excludes: it may be held beside any other",
}


def lines(command: Command, by: str, attachments: Mapping[str, bytes], items: Items | None = None) -> Iterator[str]:
    """Write a request for whoever is to approve it; `by` is who signed the command.

    `Malformed` where something beside it is missing, is not named by it, or is of no known type.
    """
    yield from alone(command, by)
    yield from attached(command.act, command.args, attachments, items)


def alone(command: Command, by: str) -> Iterator[str]:
    """Write the command without what travels beside it."""
    yield frame.said(f"request {command.id}")
    yield frame.said(f"appliance {command.appliance}")
    yield frame.said(f"epoch {command.epoch}")
    yield frame.said(f"asked by {by}")
    yield frame.said(f"signed {moment(command.issued_at)}")
    life = command.expires_at - command.issued_at
    yield frame.said(f"ends {moment(command.expires_at)}, {span(life)} after it was signed")
    yield from asked(command.act, command.args, command.issued_at)


def asked(act: Act, args: dict[str, Json], since: int | None = None) -> Iterator[str]:
    """Write an act and its arguments; `since` is when they were signed, if they were."""
    yield frame.said(f"act {act}")
    yield from members.lines(args, since=since)
    profile = args.get("profile")
    if act is Act.PROFILE_SET and isinstance(profile, dict):
        yield from (frame.said(says) for name, says in _ABSENT.items() if name not in profile)


def attached(
    act: Act, args: dict[str, Json], attachments: Mapping[str, bytes], items: Items | None = None
) -> Iterator[str]:
    """Write what travels beside it, where anything does; for a large batch that takes its time."""
    if attachments.keys() != attachments_named(act, args):
        raise Malformed("what travels beside it is not what the command names, and approving covers it")
    yield from beside.lines(act, args, attachments, items)


def shown(command: Command, by: str, attachments: Mapping[str, bytes], items: Items | None = None) -> str:
    """Give the SHA-256 (hex) of the lines, each ended by a newline."""
    return frame.digest(lines(command, by, attachments, items))
