"""Compact JWS credentials: access tokens and JWT-SVIDs share everything but their claims."""

from coldcred.canonical import b64u_encode, dumps
from coldcred.credential import Credential, Kind
from coldcred.jose import header_part
from coldcred.keys import PublicKey


class Writer:
    """Writes signing inputs of one kind for one key; the worker reads each with the reader that verifiers use."""

    def __init__(self, kind: Kind, key: PublicKey) -> None:
        """Write the header once: it is the same for every credential under this key."""
        self._kind = kind
        self._head = f"{header_part(kind.typ, key.algorithm, key.thumbprint)}."

    def write(self, credential: Credential) -> bytes:
        """Give the signing input for a credential of this kind."""
        if credential.kind is not self._kind:
            raise ValueError(f"a credential of kind {credential.kind} where {self._kind} is written")
        return f"{self._head}{b64u_encode(_claims(credential).encode())}".encode("ascii")


def write(credential: Credential, key: PublicKey) -> bytes:
    """Give the signing input for one credential under `key`."""
    return Writer(credential.kind, key).write(credential)


def _claims(credential: Credential) -> str:
    """Write the claims as `dumps(write_claims(credential))` does, in a tenth of the time.

    All but the texts for people are names that need no escape; members stand in the order of RFC 8785.
    """
    subject, status = credential.subject, credential.status
    audiences = '","'.join(credential.audiences)
    audience, client = f'["{audiences}"]', ""
    if credential.kind is Kind.ACCESS:
        audience, client = f'"{audiences}"', f'"client_id":"{subject}",'
    confirmation = "" if credential.confirmation is None else f'"cnf":{{"jkt":"{credential.confirmation}"}},'
    purpose = "" if credential.purpose is None else f'"purpose":{_text(credential.purpose)},'
    scope = f'"scope":"{" ".join(credential.scopes)}",' if credential.scopes else ""
    task = "" if credential.task is None else f',"task":{_text(credential.task)}'
    return (
        f'{{"aud":{audience},{client}{confirmation}"exp":{credential.expires_at},"iat":{credential.issued_at},'
        f'"iss":"{credential.issuer}","jti":"{credential.jti}","log":{credential.log_index},'
        f'"nbf":{credential.not_before},"profile":"{credential.profile}",{purpose}{scope}'
        f'"status":{{"status_list":{{"idx":{status.index},"uri":"{status.uri}"}}}},"sub":"{subject}"{task}}}'
    )


def _text(text: str) -> str:
    return dumps(text).decode()
