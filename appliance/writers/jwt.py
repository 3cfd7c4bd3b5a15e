"""Compact JWS credentials: access tokens and JWT-SVIDs share everything but their claims."""

from coldcred.credential import Credential, parse_claims, write_claims
from coldcred.jose import signing_input, split_signing_input
from coldcred.keys import PublicKey


def write(credential: Credential, key: PublicKey) -> bytes:
    """Give the signing input for `credential` under `key`, read back with the reader that verifiers use."""
    data = signing_input(credential.kind.typ, key.algorithm, key.thumbprint, write_claims(credential))
    _, payload = split_signing_input(data)
    if parse_claims(payload, credential.kind) != credential:
        message = "the written credential does not read back as decided"
        raise ValueError(message)
    return data
