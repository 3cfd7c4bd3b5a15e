"""What a token's objects amount to: our keys, sound or with faults, and everything else. Pure.

Each object comes as the attributes that could be read of it; what the token would not say is absent.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coldcred.charter import LABEL_DIGITS, Purpose
from coldcred.errors import Malformed
from coldcred.keys import PublicKey
from hsm import attributes, heads
from hsm.keystore import Inventory, StoredKey, TokenInfo
from hsm.mechanisms import MechanismRow, public_key, row_of_key_type

PRIVATE_KEY, PUBLIC_KEY, DATA = "PRIVATE_KEY", "PUBLIC_KEY", "DATA"

MODULES_OWN = frozenset({"HW_FEATURE", "MECHANISM", "PROFILE"})
"""Classes of objects by which a module tells of itself (kryoptic shows one for each mechanism); nobody made them."""

READ = ("CLASS", "LABEL", "ID", "KEY_TYPE", "EC_PARAMS", "EC_POINT")
"""CKA_* that are read of every object, besides those that `hsm.attributes` asks for."""

_OUR_LABEL = re.compile(rf"(?:{'|'.join(Purpose)})-[0-9a-f]{{{LABEL_DIGITS}}}", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class TokenObject:
    """One object; `found` maps CKA_* names to values: bool, int, bytes, text, and for CLASS its CKO_* name."""

    found: Mapping[str, object]

    @property
    def kind(self) -> str:
        """The class, as PRIVATE_KEY, or nothing."""
        return self._text("CLASS")

    @property
    def label(self) -> str:
        """The label, or nothing."""
        return self._text("LABEL")

    @property
    def key_id(self) -> bytes:
        """The CKA_ID, or nothing."""
        return self._bytes("ID")

    @property
    def point(self) -> bytes:
        """The CKA_EC_POINT, or nothing."""
        return self._bytes("EC_POINT")

    @property
    def is_empty(self) -> bool:
        """Whether it is data without label and value: what is left of a head that was cut short in its making."""
        return self.kind == DATA and not self.found.get("LABEL") and not self.found.get("VALUE")

    @property
    def row(self) -> MechanismRow | None:
        """The algorithm of its key type, or None where we use no such keys."""
        value = self.found.get("KEY_TYPE")
        return row_of_key_type(value) if isinstance(value, int) else None

    def describe(self) -> str:
        """Say in one line, for people, what this is; text from the token is escaped and cut."""
        kind = self.kind.lower().replace("_", " ") or "unknown object"
        return f"{kind} labelled {self.label[:48]!a}, CKA_ID {self.key_id[:32].hex() or 'none'}"

    def _text(self, name: str) -> str:
        value = self.found.get(name)
        return value if isinstance(value, str) else ""

    def _bytes(self, name: str) -> bytes:
        value = self.found.get(name)
        return value if isinstance(value, bytes) else b""


def assemble(token: TokenInfo, objects: Sequence[TokenObject]) -> Inventory:
    """Tell our keys and the heads kept beside them, which bear a label of ours, from all other objects."""
    ours = [item for item in objects if _OUR_LABEL.fullmatch(item.label)]
    keys, used = [], set()
    for private in (item for item in ours if item.kind == PRIVATE_KEY):
        halves = [item for item in ours if item.kind == PUBLIC_KEY and item.key_id == private.key_id]
        rivals = [item for item in objects if item.kind == PRIVATE_KEY and item.key_id == private.key_id]
        keys.append(stored_key(private, halves, rivals=len(rivals) - 1))
        used |= {private, *halves}
    kept = {item: found[0] for item in objects if item.kind == DATA and (found := heads.read(item.label))}
    foreign = (
        item for item in objects if not (item in used or item in kept or item.is_empty or item.kind in MODULES_OWN)
    )
    return Inventory(token, tuple(keys), tuple(item.describe() for item in foreign), tuple(sorted({*kept.values()})))


def stored_key(private: TokenObject, publics: Sequence[TokenObject], *, rivals: int = 0) -> StoredKey:
    """Judge one key pair; `rivals` counts other private keys of the same CKA_ID."""
    row, public = private.row, None
    faults = list(attributes.private_faults(row, private.found))
    if rivals:
        faults.append("shares its CKA_ID with another private key")
    if len(publics) != 1:
        faults.append(f"has {len(publics)} public keys in the token")
    elif row is not None:
        half = publics[0]
        faults += attributes.public_faults(row, half.found)
        if half.label != private.label:
            faults.append("public key: has another label")
        public = _public(row, half.point, faults)
    algorithm, exposed = None if row is None else row.algorithm, attributes.could_leave(private.found)
    return StoredKey(private.key_id, private.label, algorithm, public, tuple(faults), exposed)


def _public(row: MechanismRow, point: bytes, faults: list[str]) -> PublicKey | None:
    try:
        return public_key(row, point)
    except Malformed as error:
        faults.append(f"public key: {error}")
        return None
