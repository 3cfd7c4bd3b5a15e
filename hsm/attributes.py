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
        if name not in found:
            faults.append(f"{prefix}CKA_{name} cannot be read")
        elif found[name] is not value:
            faults.append(f"{prefix}CKA_{name} is {str(found[name]).lower()}")
    return faults
