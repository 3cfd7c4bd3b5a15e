"""The head of a log as its token keeps it (rule R33): in the label of a data object. Pure.

The label is what a module lets change in place (SoftHSM lets no value change). Two objects take turns, the older one is
written: a write that was cut short leaves the other.
"""

import re
from dataclasses import dataclass

VALUE = b"coldcred log head"
"""What the object itself holds; its label says the rest."""

_LABEL = re.compile(r"log-head-((?:[0-9a-f]{2}){1,32})-(0|[1-9][0-9]{0,15})-([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeptHead:
    """A log's size in entries and its root (32 bytes) at that size."""

    size: int
    root: bytes


def label(key_id: bytes, head: KeptHead) -> str:
    """Give the label that says this head of the log whose key has this CKA_ID."""
    return f"log-head-{key_id.hex()}-{head.size}-{head.root.hex()}"


def read(text: str) -> tuple[bytes, KeptHead] | None:
    """Read such a label: the log key's CKA_ID, and the head; None where it says something else."""
    found = _LABEL.fullmatch(text)
    return None if found is None else (bytes.fromhex(found[1]), KeptHead(int(found[2]), bytes.fromhex(found[3])))
