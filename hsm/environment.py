"""Which variables a PKCS#11 module is given: a closed list of names and of their beginnings. Pure.

Modules find their configuration by a variable of their maker's. Nothing else of the parent's environment is passed
on: a variable of another name, such as the loader's or the interpreter's, can load code.
"""

import os.path
import re
from collections.abc import Mapping

NAMES = frozenset({"ChrystokiConfigurationPath", "SOFTHSM2_CONF", "TSS2_LOG"})
"""Variables by their whole name."""

PREFIXES = (
    "CKNFAST_",
    "CS_PKCS11_",
    "ET_HSM_",
    "ET_PTKC_",
    "KRYOPTIC_",
    "NFAST_",
    "NSS_",
    "OPENSC_",
    "P11_KIT_",
    "PRIMUS_",
    "TPM2_PKCS11_",
    "YUBIHSM_PKCS11_",
)
"""Beginnings of the names that one maker's modules read."""

# Variables whose whole value is a path, by how their names end, and paths that stand inside a value, as in
# `swtpm:path=DIR` and `configdir='sql:DIR'`.
_PATHS = ("_CFG", "_CONF", "_FILE", "_HOME", "_STORE", "ConfigurationPath")
_INSIDE = re.compile(r"(\b(?:path|configdir)=['\"]?(?:[a-z]+:)?)(?=[^/'\"\s])", re.IGNORECASE)


def is_known(name: str) -> bool:
    """Whether a module may be given the variable of this name."""
    return name in NAMES or name.startswith(PREFIXES)


def check(environment: Mapping[str, str]) -> None:
    """Refuse a variable that no module of ours reads, saying which there are, and an impossible one (`ValueError`)."""
    for name, value in sorted(environment.items()):
        if not is_known(name):
            known = ", ".join((*sorted(NAMES), *(f"{prefix}..." for prefix in PREFIXES)))
            raise ValueError(f"variable {name[:64]!a} is not among those a PKCS#11 module is given: {known}")
        if "\0" in value or "=" in name or not name.isascii():
            raise ValueError(f"variable {name[:64]!a} cannot be given to a process")


def absolute(environment: Mapping[str, str], folder: str) -> dict[str, str]:
    """Give the variables with every path in them absolute, as seen from the absolute path `folder`.

    They are used later, from another working directory than that of whoever gave them.
    """
    return {name: _absolute(name, value, folder) for name, value in environment.items()}


def _absolute(name: str, value: str, folder: str) -> str:
    if name.endswith(_PATHS) or value.startswith(("./", "../")):
        return os.path.normpath(os.path.join(folder, value))  # noqa: PTH118 - a text stays a text
    return _INSIDE.sub(lambda found: f"{found[1]}{folder}/", value)
