"""Proofs of possession that travel beside a command: signed by the key they carry, named by what people signed for."""

from collections.abc import Callable
from typing import TypeVar

from appliance.authority import Authority
from appliance.decision import Ask
from appliance.errors import Refusal, Refused
from coldcred.countersignature import Countersignature
from coldcred.enrolment import Enrolment
from coldcred.errors import BadSignature, Malformed
from coldcred.keys import PublicKey, SealingKey

CLOCK_TOLERANCE = 120

_Proof = TypeVar("_Proof", Enrolment, Countersignature)


def read(ask: Ask, digest: str | None, parse: Callable[[str], _Proof], what: str) -> _Proof:
    """Read the document that is attached under the digest that people signed for; raises `Refused`."""
    body = ask.attachments.get(digest or "")
    if body is None:
        raise Refused(Refusal.MALFORMED, f"the {what} that it names does not travel beside it")
    try:
        return parse(body.decode("ascii"))
    except BadSignature as error:
        raise Refused(Refusal.BAD_SIGNATURE, f"the {what}: {error}") from error
    except (Malformed, UnicodeDecodeError) as error:
        raise Refused(Refusal.MALFORMED, f"the {what}: {error}") from error


def check(authority: Authority, proof: Enrolment | Countersignature, what: str, now: int) -> None:
    """Hold a document to this appliance and to its own times; raises `Refused`."""
    if proof.appliance != authority.founding.appliance_id:
        raise Refused(Refusal.WRONG_APPLIANCE, f"the {what} names appliance {proof.appliance[:16]}")
    if proof.issued_at > now + CLOCK_TOLERANCE:
        raise Refused(Refusal.NOT_YET_VALID, f"the {what} was signed {proof.issued_at - now} s in the future")
    if now >= proof.expires_at:
        raise Refused(Refusal.EXPIRED, f"the {what} ended {now - proof.expires_at} s ago")


def check_register(authority: Authority, key: PublicKey | SealingKey, whose: str) -> None:
    """Refuse a key that was ever seen here (rule R10)."""
    if (register := authority.registers.get(key.thumbprint)) is not None:
        raise Refused(Refusal.KEY_IN_USE, f"the key of {whose} stands in the {register} register already")
