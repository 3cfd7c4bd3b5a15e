"""The founding ceremony as values: who has to sign what, a signature, and whether all are there (rule R1).

Files are carried between people by the command line; nothing here reads or writes one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from appliance.identity import Identity
from coldcred.founding import CUSTODIAN, OPERATOR, Founding, signature_claims, verify_signatures
from coldcred.jose import Typ, assemble, parse_unverified, signing_input


class CeremonyFault(StrEnum):
    """What can be wrong with a signature of a founding: closed."""

    STRANGER = "not-a-founder"


class CeremonyError(Exception):
    """A signature cannot be made or does not belong; nothing was changed."""

    def __init__(self, fault: CeremonyFault, detail: str) -> None:
        """Name the fault and say what was found."""
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail

    @property
    def id(self) -> str:
        """The fault's id."""
        return self.fault.value


@dataclass(frozen=True, slots=True)
class Place:
    """One line that a founding is signed on: a person, and which of the person's two keys."""

    person: str
    register: str
    kid: str

    @property
    def name(self) -> str:
        """How files of this key are called: `alice.operator`."""
        return f"{self.person}.{self.register}"


def places(founding: Founding) -> tuple[Place, ...]:
    """Give every line of the founding that has to be signed, in the order of its people."""
    return tuple(
        Place(person.id, register, key.thumbprint)
        for person in founding.people
        for register, key in ((OPERATOR, person.operator), (CUSTODIAN, person.custodian))
    )


def place_of(founding: Founding, kid: str) -> Place:
    """Find the line that the key with thumbprint `kid` signs; `CeremonyError` where it has none."""
    for place in places(founding):
        if place.kid == kid:
            return place
    raise CeremonyError(CeremonyFault.STRANGER, f"key {kid} is not in this founding")


def sign(founding: Founding, identity: Identity, time: int) -> str:
    """Sign the founding with a founder's key as of `time` (Unix seconds); `CeremonyError` for any other key."""
    place = place_of(founding, identity.kid)
    claims = signature_claims(founding.appliance_id, place.person, place.register, time)
    data = signing_input(Typ.FOUNDING, identity.public.algorithm, identity.kid, claims)
    return assemble(data, identity.sign(data))


def check(founding: Founding, tokens: Iterable[str]) -> None:
    """Return when every line is signed; raises `SignaturesMissing`, `BadSignature` or `Malformed`, naming whose."""
    verify_signatures(founding, tokens)


def missing(founding: Founding, tokens: Iterable[str]) -> tuple[Place, ...]:
    """Give the lines that none of these signatures claims to be for; whether they are good is for `check`."""
    claimed = {parse_unverified(token).header.kid for token in tokens}
    return tuple(place for place in places(founding) if place.kid not in claimed)
