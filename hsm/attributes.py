"""What the attributes of a key must be when it was born in the token and cannot leave it. Pure.

WebTrust and SP 800-57 ask for keys that are made and stay in the module; PKCS#11 says so in attributes that only the
module can set (`LOCAL`, `ALWAYS_SENSITIVE`, `NEVER_EXTRACTABLE`). They are read back at birth and at every start.
"""

from collections.abc import Mapping
from types import MappingProxyType

from hsm.mechanisms import MechanismRow

PRIVATE_KEY: Mapping[str, bool] = MappingProxyType(
    {
        "TOKEN": True,
        "PRIVATE": True,
        "SENSITIVE": True,
        "EXTRACTABLE": False,
        "ALWAYS_SENSITIVE": True,
        "NEVER_EXTRACTABLE": True,
        "LOCAL": True,
        "MODIFIABLE": False,
        "COPYABLE": False,
        "SIGN": True,
        "DECRYPT": False,
        "UNWRAP": False,
        "DERIVE": False,
    }
)
"""CKA_* of a private key, and the value each must have."""

PUBLIC_KEY: Mapping[str, bool] = MappingProxyType(
    {
        "TOKEN": True,
        "LOCAL": True,
        "MODIFIABLE": False,
        "ENCRYPT": False,
        "WRAP": False,
    }
)
"""CKA_* of a public key; a wrong one misleads nobody, since the pinned key is what counts, but it is reported."""

OPTIONAL = frozenset({"COPYABLE"})
"""What a module need not know (v2.40 brought it): absent it is no fault, for a copy cannot leave either.

PKCS#11 lets no copy become extractable or less sensitive than what it was copied from.
"""

UNUSED = frozenset({"DECRYPT", "ENCRYPT"})
"""What is asked to be false and not insisted on: no mechanism of PKCS#11 decrypts with a key of ours.

tpm2-pkcs11 makes no EC key for which it is false.
"""

STAYS = frozenset({"PRIVATE", "SENSITIVE", "EXTRACTABLE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL"})
"""What says that a private key was born in the token and cannot leave it."""

LEANER: tuple[frozenset[str], ...] = (frozenset(), UNUSED, OPTIONAL, OPTIONAL | UNUSED)
"""What is left out of the templates, in turn, until a module takes one."""


def could_leave(found: Mapping[str, object]) -> bool:
    """Whether the private key with these attributes is not known to have been born in the token and to stay there."""
    return any(found.get(name) is not PRIVATE_KEY[name] for name in STAYS)


def private_faults(row: MechanismRow | None, found: Mapping[str, object]) -> tuple[str, ...]:
    """Say what is wrong with a private key whose attributes are `found`; an absent one could not be read."""
    faults = list(_wrong(PRIVATE_KEY, found, ""))
    if row is None:
        faults.append("is of a key type that is not used here")
    elif found.get("EC_PARAMS") not in row.curves:
        faults.append(f"is not on the curve of {row.algorithm.value}")
    return tuple(faults)


def public_faults(row: MechanismRow, found: Mapping[str, object]) -> tuple[str, ...]:
    """Say what is wrong with the public half."""
    faults = list(_wrong(PUBLIC_KEY, found, "public key: "))
    if found.get("EC_PARAMS") not in row.curves:
        faults.append("public key: is on another curve")
    return tuple(faults)


def _wrong(expected: Mapping[str, bool], found: Mapping[str, object], prefix: str) -> list[str]:
    faults = []
    for name, value in expected.items():
        if name in UNUSED:
            continue
        if name not in found:
            if name not in OPTIONAL:
                faults.append(f"{prefix}CKA_{name} cannot be read")
        elif found[name] is not value:
            faults.append(f"{prefix}CKA_{name} is {str(found[name]).lower()}")
    return faults
