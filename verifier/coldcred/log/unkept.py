"""What entries say of refusals, and of refused commands of which only the beginning is kept (rule R40).

A command of up to 4 KiB is kept whole, and its signature can be checked. Of a longer one the entry has the SHA-256, the
size and the first KiB, in which the header names the key. That it was signed with that key is the appliance's word.
"""

from dataclasses import dataclass

from coldcred.acts import Act
from coldcred.errors import LogReason, LogRejected, Malformed
from coldcred.jose import MAX_TOKEN, Typ, split_signing_input
from coldcred.record import Record

KEPT_WHOLE = 4096
"""Bytes of a refused command that is kept whole."""

HEAD = 1024
"""Bytes of a longer one that its entry has."""


@dataclass(frozen=True, slots=True)
class Unkept:
    """What an entry says of such a command; `kid` is the key that its header names."""

    command: str
    act: Act
    by: str
    kid: str


def take(event: Record) -> Unkept:
    """Take the members that stand in the place of the document; raises `LogRejected`, or `Malformed`."""
    head = event.text("head", max_chars=HEAD)
    event.integer("size", least=KEPT_WHOLE + 1, most=MAX_TOKEN)
    event.digest("document")
    act = event.text("act")
    if len(head) != HEAD or act not in set(Act):
        raise Malformed("a refused command that is not kept, without its beginning or its act")
    first, _, _ = head.partition(".")
    header, _ = split_signing_input(f"{first}.".encode())
    if header.typ != Typ.COMMAND:
        raise LogRejected(LogReason.BAD_COMMAND, "the beginning that it names is no command's")
    if event.texts("approvals"):
        raise LogRejected(LogReason.BAD_COMMAND, "counts approvals of a command that never waited")
    return Unkept(event.digest("command"), Act(act), event.text("by"), header.kid)


def take_reason(event: Record) -> None:
    """Take why something was refused, by which rule, and what was found: they grant nothing, so nobody checks them."""
    event.text("reason", max_chars=64)
    event.text("rule", max_chars=256)
    event.text("detail")
