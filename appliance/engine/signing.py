"""Asking the HSM: inputs grouped by key, every signature verified against the public key pinned in authority.

A bit that flipped in a key file gives a wrong signature and no error, so nothing leaves here unverified.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from appliance.authority import Authority, SigningKey
from coldcred.charter import Purpose
from coldcred.errors import BadSignature
from hsm.errors import HsmError, SignatureWrong
from hsm.keystore import MAX_INPUTS, KeyStore


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


WRONG = Failure(SignatureWrong.id, "the HSM gave a signature that does not verify under the key pinned here")


UNREACHED = Failure("key-not-ready", "no such key")


def is_head(authority: Authority, item: Wanted) -> bool:
    """Whether a checkpoint is to be signed, whose turn comes by itself (`sign_head`)."""
    key = _find(authority, item)
    return key is not None and key.charter.purpose is Purpose.LOG


def keystore_of(authority: Authority, keystores: Mapping[str, KeyStore], item: Wanted) -> KeyStore | None:
    """Give the store whose key is to sign, or None where the key is not made or its token is closed."""
    key = _find(authority, item)
    return None if key is None or key.public is None else keystores.get(key.token)


def sign_head(keystore: KeyStore, item: Wanted, proof: Sequence[bytes]) -> bytes | HsmError:
    """Have the store keep a checkpoint as the log's head (R33) and sign it; blocks while it works."""
    key_id = bytes.fromhex(item.key_id)
    try:
        keystore.keep(key_id, item.input, proof)
    except HsmError as error:
        return error
    (answer,) = keystore.sign_unverified(key_id, [item.input])
    return answer


def ask(
    authority: Authority, keystores: Mapping[str, KeyStore], wanted: Sequence[Wanted]
) -> list[bytes | HsmError | Failure]:
    """Give, in order, what the HSM answers for each input, unverified; blocks while it works, never retries.

    Checkpoints are passed over: each is signed by `sign_head`.
    """
    results: list[bytes | HsmError | Failure] = [UNREACHED] * len(wanted)
    for key_id in dict.fromkeys(item.key_id for item in wanted):
        places = [place for place, item in enumerate(wanted) if item.key_id == key_id]
        keystore = keystore_of(authority, keystores, wanted[places[0]])
        if keystore is None or is_head(authority, wanted[places[0]]):
            continue
        for first in range(0, len(places), MAX_INPUTS):
            some = places[first : first + MAX_INPUTS]
            found = keystore.sign_unverified(bytes.fromhex(key_id), [wanted[place].input for place in some])
            for place, answer in zip(some, found, strict=True):
                results[place] = answer
    return results


def verified(authority: Authority, item: Wanted, answer: bytes | HsmError | Failure) -> bytes | Failure:
    """Give a signature that verifies under the key that the log pinned, or the failure that stands in its place."""
    if isinstance(answer, HsmError):
        return Failure(answer.id, str(answer))
    if isinstance(answer, Failure):
        return answer
    public = _key(authority, item).public
    try:
        if public is not None:
            public.verify(answer, item.input)
            return answer
    except BadSignature:
        pass
    return WRONG


def tell_wrong(authority: Authority, keystores: Mapping[str, KeyStore], wanted: Sequence[Wanted]) -> None:
    """Tell each store whose signature over one of `wanted` did not verify; blocks while it replaces its worker."""
    for token in {_key(authority, item).token for item in wanted}:
        with suppress(HsmError):
            keystores[token].signed_wrongly()


def _find(authority: Authority, item: Wanted) -> SigningKey | None:
    return next((key for key in authority.keys.values() if key.key_id == item.key_id), None)


def _key(authority: Authority, item: Wanted) -> SigningKey:
    key = _find(authority, item)
    if key is None:
        raise LookupError(f"no key {item.key_id}")
    return key
