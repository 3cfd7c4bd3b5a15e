"""python-tuf, reached through this module alone, and loaded without the back-ends that its signer package collects.

Importing `securesystemslib.signer` imports every HSM binding and cloud client that happens to be installed, so that
its own signers could use them. None of them has a place in a verifier, nor in the appliance outside the HSM worker, so
they are hidden while it loads; it takes them for not installed.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_BACKENDS = ("azure", "boto3", "botocore", "google", "hvac", "keylet", "pkcs11", "sigstore")


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is how an import is told that there is none
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


with _hidden(*_BACKENDS):
    from securesystemslib.signer import Key, Signature, SSlibKey
    from tuf.api.exceptions import LengthOrHashMismatchError, UnsignedMetadataError
    from tuf.api.metadata import (
        DelegatedRole,
        Delegations,
        Metadata,
        MetaFile,
        Role,
        Root,
        Signed,
        Snapshot,
        TargetFile,
        Targets,
        Timestamp,
    )
    from tuf.api.serialization import DeserializationError

__all__ = [
    "DelegatedRole",
    "Delegations",
    "DeserializationError",
    "Key",
    "LengthOrHashMismatchError",
    "MetaFile",
    "Metadata",
    "Role",
    "Root",
    "SSlibKey",
    "Signature",
    "Signed",
    "Snapshot",
    "TargetFile",
    "Targets",
    "Timestamp",
    "UnsignedMetadataError",
]
