"""Compact JWS credentials: access tokens and JWT-SVIDs share everything but their claims."""

from coldcred.canonical import b64u_encode, dumps
from coldcred.credential import Credential, Kind, write_claims
from coldcred.jose import header_part
from coldcred.keys import PublicKey


class Writer:
    """Writes signing inputs of one kind for one key; the worker reads each with the reader that verifiers use."""

    def __init__(self, kind: Kind, key: PublicKey) -> None:
        """Write the header once: it is the same for every credential under this key."""
        self._head = f"{header_part(kind.typ, key.algorithm, key.thumbprint)}."

    def write(self, credential: Credential) -> bytes:
        """Give the signing input for a credential of this kind."""
        return f"{self._head}{b64u_encode(dumps(write_claims(credential)))}".encode("ascii")


def write(credential: Credential, key: PublicKey) -> bytes:
    """Give the signing input for one credential under `key`."""
    return Writer(credential.kind, key).write(credential)
