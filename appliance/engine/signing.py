"""Asking the HSM: inputs grouped by key, every signature verified against the public key pinned in authority.

A bit that flipped in a key file gives a wrong signature and no error, so nothing leaves here unverified.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.authority import Authority
from coldcred.errors import BadSignature
from coldcred.keys import PublicKey
from hsm.errors import HsmError
from hsm.keystore import KeyStore


@dataclass(frozen=True, slots=True)
class Wanted:
    """One signature that is wanted: its key (CKA_ID as hex) and the whole input."""

    key_id: str
    input: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """A signature that is not to be had; the id of what went wrong and a sentence."""

    id: str
    detail: str


def sign(authority: Authority, keystores: Mapping[str, KeyStore], wanted: Sequence[Wanted]) -> list[bytes | Failure]:
    """Give, in order, a verified signature or a failure for each input; blocks while the HSM works, never retries."""
    results: list[bytes | Failure] = [Failure("key-not-ready", "no such key")] * len(wanted)
    keys = {key.key_id: key for key in authority.keys.values()}
    for key_id in dict.fromkeys(item.key_id for item in wanted):
        places = [place for place, item in enumerate(wanted) if item.key_id == key_id]
        key = keys.get(key_id)
        if key is None or key.public is None or key.token not in keystores:
            continue
        found = _batch(keystores[key.token], key_id, [wanted[place].input for place in places])
        for place, signature in zip(places, found, strict=True):
            results[place] = _verified(key.public, signature, wanted[place].input)
    return results


def _batch(keystore: KeyStore, key_id: str, inputs: Sequence[bytes]) -> Sequence[bytes | HsmError]:
    try:
        return keystore.sign(bytes.fromhex(key_id), inputs)
    except HsmError as error:
        return [error] * len(inputs)


def _verified(public: PublicKey, signature: bytes | HsmError, data: bytes) -> bytes | Failure:
    if isinstance(signature, HsmError):
        return Failure(signature.id, str(signature))
    try:
        public.verify(signature, data)
    except BadSignature:
        return Failure("wrong-signature", "the HSM gave a signature that does not verify under the key pinned here")
    return signature
