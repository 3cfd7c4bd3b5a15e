"""What entries may do to people (rules R3, R4): the countersignatures are read again, and no act goes out of reach.

Each entry says what its signed command asks for, which keys that retires and whom it leaves; all of it is computed here
anew from the command and from who was enrolled before.
"""

from collections.abc import Callable, Mapping

from coldcred.acts import Act, Role, roles_of
from coldcred.canonical import Json
from coldcred.command import Command
from coldcred.countersignature import parse_countersignature
from coldcred.errors import BadSignature, LogReason, LogRejected, Malformed
from coldcred.keys import PublicKey
from coldcred.log.approvals import TOLERANCE
from coldcred.log.blobs import Blobs
from coldcred.log.entry import Entry
from coldcred.log.people import People
from coldcred.log.signing import Signing
from coldcred.names import label, stored_text
from coldcred.record import Record


class Staffing:
    """Takes the events that change who is enrolled."""

    def __init__(self, people: People, signing: Signing, blobs: Blobs) -> None:
        """Change `people`, keep the register of keys in `signing`, read countersignatures from `blobs`."""
        self._people = people
        self._operators = people.operators
        self._signing = signing
        self._blobs = blobs

    def takers(self) -> Mapping[str, Callable[[Entry, Record, Command], None]]:
        """Give what takes each event, by its type."""
        return {
            "operator.added": self._added,
            "operator.removed": self._removed,
            "operator.roles-set": self._roles_set,
            "operator.key-replaced": self._key_replaced,
            "operator.recovered": self._recovered,
        }

    def _added(self, entry: Entry, event: Record, command: Command) -> None:
        args = Record(command.args, Act.OPERATOR_ADD)
        person, roles = label(args.text("person"), "person id"), roles_of(args.texts("roles"))
        digest = args.digest("countersignature")
        reason: dict[str, Json] = {"reason": _reason(args)} if args.has("reason") else {}
        args.done()
        self._operators.check_new(person)
        key = self._proved(digest, person, command, entry.time)
        members: dict[str, Json] = {"person": person, "roles": [*sorted(roles)], "countersignature": digest, **reason}
        _check(event, {**members, "key": key.jwk()}, {"kid": key.thumbprint, "person": person})
        self._enrol(person, roles, key)

    def _removed(self, _entry: Entry, event: Record, command: Command) -> None:
        args = Record(command.args, Act.OPERATOR_REMOVE)
        person, reason = args.text("person"), _reason(args)
        args.done()
        self._operators.roles_of(person)
        retires = self._operators.keys_of(person)
        result: dict[str, Json] = {"person": person, "workloads": self._people.workloads.owned_by(person)}
        _check(event, {"person": person, "reason": reason, "retires": [*sorted(retires)]}, result)
        with _Reach(self._people):
            self._people.retire(retires)

    def _roles_set(self, _entry: Entry, event: Record, command: Command) -> None:
        args = Record(command.args, Act.OPERATOR_ROLES)
        person, roles, reason = args.text("person"), roles_of(args.texts("roles")), _reason(args)
        args.done()
        listed: Json = [*sorted(roles)]
        _check(event, {"person": person, "roles": listed, "reason": reason}, {"person": person, "roles": listed})
        with _Reach(self._people):
            self._operators.change(person, roles)

    def _key_replaced(self, entry: Entry, event: Record, command: Command) -> None:
        args = Record(command.args, Act.OPERATOR_REPLACE_KEY)
        person, retires, reason = args.text("person"), args.texts("retires"), _reason(args)
        digest = args.digest("countersignature") if args.has("countersignature") else None
        args.done()
        roles, held = self._operators.roles_of(person), self._operators.keys_of(person)
        if not held.issuperset(retires):
            raise _bad(f"retires a key that is not {person}'s")
        members: dict[str, Json] = {"person": person, "reason": reason, "retires": [*sorted(retires)]}
        left = held - {*retires}
        key = None
        if digest is not None:
            key = self._proved(digest, person, command, entry.time)
            left |= {key.thumbprint}
            members |= {"countersignature": digest, "key": key.jwk()}
        if not left:
            raise _bad(f"leaves {person} without a key")
        _check(event, members, {"keys": [*sorted(left)], "person": person})
        if key is not None:
            self._enrol(person, roles, key)
        self._people.retire(retires)

    def _recovered(self, entry: Entry, event: Record, command: Command) -> None:
        args = Record(command.args, Act.OPERATOR_RECOVER)
        replaced, person, reason = args.text("replaces"), label(args.text("person"), "person id"), _reason(args)
        digest = args.digest("countersignature")
        args.done()
        roles, retires = self._operators.roles_of(replaced), self._operators.keys_of(replaced)
        if Role.OFFICER not in roles:
            raise _bad(f"recovers the place of {replaced}, who is no officer")
        if person != replaced:
            self._operators.check_new(person, replaced)
        key = self._proved(digest, person, command, entry.time)
        members: dict[str, Json] = {
            "replaces": replaced,
            "person": person,
            "roles": [*sorted(roles)],
            "countersignature": digest,
            "key": key.jwk(),
            "retires": [*sorted(retires)],
            "reason": reason,
        }
        workloads = 0 if person == replaced else self._people.workloads.owned_by(replaced)
        _check(event, members, {"kid": key.thumbprint, "person": person, "workloads": workloads})
        self._operators.replace(replaced, person)
        self._enrol(person, roles, key)
        self._people.retire(retires)

    def _enrol(self, person: str, roles: frozenset[Role], key: PublicKey) -> None:
        self._signing.person_key(person, key)
        self._operators.enrol(person, roles, key)

    def _proved(self, digest: str, person: str, command: Command, time: int) -> PublicKey:
        """Read a countersignature again, and hold it to the person, the appliance and the time of its entry."""
        try:
            proof = parse_countersignature(self._blobs.read(digest).decode("ascii"))
        except (BadSignature, Malformed, UnicodeDecodeError) as error:
            raise _bad(f"its countersignature: {error}") from error
        if (proof.appliance, proof.person) != (command.appliance, person):
            raise _bad("its countersignature is for another appliance or person")
        if not proof.issued_at - TOLERANCE <= time < proof.expires_at + TOLERANCE:
            raise _bad("its countersignature is of another time")
        return proof.key


class _Reach:
    """Refuses a change, made in its block, after which people could not finish some act."""

    def __init__(self, people: People) -> None:
        self._people = people

    def __enter__(self) -> None:
        """Begin the change."""

    def __exit__(self, *error: object) -> None:
        lost = self._people.operators.unreachable(self._people.profiles.values())
        if lost:
            raise LogRejected(LogReason.TOO_FEW_PEOPLE, f"leaves too few people for {min(lost)}")


def _check(event: Record, members: Mapping[str, Json], result: dict[str, Json]) -> None:
    for name, value in {**members, "result": result}.items():
        if event.value(name) != value:
            raise _bad(f"its {name} is not what the signed command asks for")


def _reason(args: Record) -> str:
    return stored_text(args.text("reason", max_chars=256), "reason")


def _bad(detail: str) -> LogRejected:
    return LogRejected(LogReason.BAD_COMMAND, detail)
