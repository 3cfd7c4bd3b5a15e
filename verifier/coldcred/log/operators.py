"""Who is enrolled at each entry: people with their roles and keys, founders with their custodian keys, retired keys.

Keys count people, not the other way round: who has several keys is one person with one set of roles.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from coldcred.acts import Act, Principal, Role
from coldcred.errors import LogReason, LogRejected
from coldcred.founding import Founding
from coldcred.keys import PublicKey
from coldcred.profile import Profile


class Operators:
    """People and custodians, as far as the log has been read."""

    def __init__(self, founding: Founding) -> None:
        """Begin with the people of `founding`."""
        self._founding = founding
        self._roles: dict[str, frozenset[Role]] = {person.id: person.roles for person in founding.people}
        self._keys = {person.operator.thumbprint: (person.id, person.operator) for person in founding.people}
        self._custodians = {person.custodian.thumbprint: (person.id, person.custodian) for person in founding.people}
        self._retired: dict[str, PublicKey] = {}
        self._places: dict[str, frozenset[str]] = {person.id: frozenset() for person in founding.people}

    @property
    def people(self) -> Mapping[str, frozenset[Role]]:
        """Everyone who is enrolled, with their roles."""
        return MappingProxyType(self._roles)

    def principal(self, kid: str) -> Principal | None:
        """Give whoever signs with this key at present; a retired key is nobody's."""
        if (found := self._keys.get(kid)) is not None:
            return Principal(found[0], self._roles[found[0]])
        custodian = self._custodians.get(kid)
        return Principal(custodian[0], custodian=True) if custodian else None

    def key(self, kid: str) -> PublicKey | None:
        """Give the key with this thumbprint, of an operator or a custodian, while somebody signs with it."""
        found = self._keys.get(kid) or self._custodians.get(kid)
        return found[1] if found else None

    def retired_key(self, kid: str) -> PublicKey | None:
        """Give a key that signs nothing new, but may have signed what was begun before."""
        return self._retired.get(kid)

    def keys_of(self, person: str) -> frozenset[str]:
        """Give the thumbprints of a person's keys; none for somebody who is not enrolled."""
        return frozenset(kid for kid, (owner, _) in self._keys.items() if owner == person)

    def roles_of(self, person: str) -> frozenset[Role]:
        """Give the roles of somebody who is enrolled."""
        if person not in self._roles:
            raise _bad(f"{person[:48]!a} is nobody enrolled there")
        return self._roles[person]

    def check_new(self, person: str, replaced: str | None = None) -> None:
        """Return when a name is nobody's and never was, or is given back by whoever took that person's place."""
        if person in self._roles:
            raise _bad(f"enrols {person}, who is enrolled already")
        if person in self._places and person not in self._places.get(replaced or "", ()):
            raise _bad(f"gives the name {person}, which somebody had, to somebody else")

    def replace(self, replaced: str, person: str) -> None:
        """Take a person in the place of another, who may have it back."""
        if person != replaced:
            self._places[person] = self._places[replaced] | {replaced}

    def enrol(self, person: str, roles: frozenset[Role], key: PublicKey) -> None:
        """Take a person with one more key."""
        self._places.setdefault(person, frozenset())
        self._roles[person] = roles
        self._keys[key.thumbprint] = (person, key)

    def retire(self, kids: Collection[str]) -> None:
        """Take keys out of use; whose last one goes is enrolled no more."""
        for kid in kids:
            _, self._retired[kid] = self._keys.pop(kid)
        left = {person for person, _ in self._keys.values()}
        self._roles = {person: roles for person, roles in self._roles.items() if person in left}

    def change(self, person: str, roles: frozenset[Role]) -> None:
        """Give somebody who is enrolled other roles."""
        self.roles_of(person)
        self._roles[person] = roles

    def unreachable(self, profiles: Iterable[Profile]) -> frozenset[Act]:
        """Give the acts that the people of this moment could never finish."""
        return self._founding.unreachable(self._roles, profiles)


def _bad(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, detail)
