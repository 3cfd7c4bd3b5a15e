"""Modules that answer as others do: SoftHSM behind a few lines of C, compiled for each way (`shim.c`).

from tests.support.shims import shim

def test_something(softhsm: SoftHsm, tmp_path: Path) -> None:
    softhsm.module = shim(tmp_path, "RAW_POINT")
"""

import subprocess
from pathlib import Path

from tests.support.softhsm import MODULE

SOURCE = Path(__file__).with_name("shim.c")


def shim(folder: Path, *ways: str) -> str:
    """Compile a module that differs from SoftHSM in `ways`, each NAME or NAME=VALUE of `shim.c`; gives its path.

    RAW_POINT: CKA_EC_POINT is the point itself. TOKEN, SLOT: a token labelled "other" answers C_GetTokenInfo, or
    C_GetSlotInfo too, with CKR_DEVICE_ERROR. NO_COPYABLE=CKR: the attribute is not known, and a template that has it
    is answered by the number. MUST_DECRYPT: no key is made that may not decrypt. NOT_LOCAL: CKA_LOCAL is false.
    NO_EDDSA: the mechanisms for Ed25519 are not offered. CURVE_NAME: edwards25519 is taken by its name only.
    OWN_OBJECTS: an object of class CKO_MECHANISM is shown. LIST_EACH: each caller has a list of functions of its own.
    REFUSES_TO_START=CKR: what C_Initialize answers.
    """
    target = folder / f"libshim-{'-'.join(ways).replace('=', '-').lower()}.so"
    defines = [f"-D{way}" for way in (*ways, f'SOFTHSM="{MODULE}"')]
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", *defines, "-o", str(target), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return str(target)
