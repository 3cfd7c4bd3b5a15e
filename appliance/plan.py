"""The plan of an appliance: TOML that people write, and the founding document that follows from it.

A plan names people, not keys: the keys come from the public files that each person made. Profiles stand in files of
their own, in the form that `profile set` takes too. Durations are written `90s`, `15m`, `8h`, `7d`. Nothing is
optional but the further bounds of a profile, and nothing unknown is read past: a misspelt member is an error, not a
default.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from appliance import tomltext
from coldcred import founding
from coldcred.canonical import Json
from coldcred.charter import BUNDLE_ROLES, Purpose
from coldcred.errors import Malformed
from coldcred.keys import PublicKey
from coldcred.profile import Profile
from coldcred.record import Record

MAX_PLAN = 256 * 1024
MAX_PROFILE = 16 * 1024

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

KeyOf: TypeAlias = Callable[[str, str], PublicKey]
"""Gives a person's public key in a register (`operator` or `custodian`)."""

ReadFile: TypeAlias = Callable[[str], bytes]
"""Gives the bytes of a file that lies beside the plan."""


def duration(text: str) -> int:
    """Read `90s`, `15m`, `8h` or `7d` as seconds (`Malformed`)."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise Malformed(f"not a duration: {text[:32]!a}; written like 90s, 15m, 8h or 7d")
    return int(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan whose outline was read; `document` reads the rest while it writes the founding."""

    people: tuple[str, ...]
    _members: dict[str, Json]

    @classmethod
    def parse(cls, data: bytes) -> "Plan":
        """Read a plan's outline: that it is one, of this version, and whom it names (`Malformed`)."""
        members = _toml(data, MAX_PLAN, "plan")
        people = Record(members, "plan").records("people", least=1, most=32)
        return cls(tuple(person.text("id") for person in people), members)

    def document(self, *, key_of: KeyOf, read_file: ReadFile, time: int) -> bytes:
        """Give the founding's canonical bytes, as of `time` (Unix seconds), proven to read back.

        Raises `Malformed`, or what `key_of` and `read_file` raise.
        """
        plan = Record(self._members, "plan")
        domain, issuer = plan.text("trust_domain"), plan.text("issuer")
        members: dict[str, Json] = {
            "v": 1,
            "kind": "coldcred-founding",
            "name": plan.text("name"),
            "trust_domain": domain,
            "issuer": issuer,
            "time": time,
            "people": [_person(item, key_of) for item in plan.records("people", least=1, most=32)],
            "quorums": _quorums(plan.record("quorums")),
            "tokens": [_token(item) for item in plan.records("tokens", least=1, most=8)],
            "keys": [_key(item, issuer, time) for item in plan.records("keys", least=1, most=32)],
            "horizons": _horizons(plan.record("horizons")),
            "sites": [_site(item) for item in plan.records("sites", most=256)],
            "profiles": [_profile(name, read_file, domain) for name in plan.texts("profiles", most=256)],
        }
        plan.done()
        return founding.write(members)


def read_profile(data: bytes, domain: str) -> Profile:
    """Read a profile's TOML file; subjects lie in trust domain `domain` (`Malformed`)."""
    members = _toml(data, MAX_PROFILE, "profile")
    record = Record(members, "profile")
    for name in ("lifetime", "horizon"):
        members[name] = duration(record.text(name))
    return Profile.read(Record(members, "profile"), domain)


def _toml(data: bytes, max_bytes: int, what: str) -> dict[str, Json]:
    """Read TOML of `version = 1` (`Malformed`)."""
    members = tomltext.read(data, max_bytes, what)
    if (found := members.pop("version", None)) != 1 or isinstance(found, bool):
        raise Malformed(f"{what}: version = 1 is read, found {found!a}")
    return members


def _person(person: Record, key_of: KeyOf) -> Json:
    name, roles = person.text("id"), person.texts("roles", least=1)
    person.done()
    return {
        "id": name,
        "roles": list(roles),
        "operator": _jwk(key_of(name, founding.OPERATOR)),
        "custodian": _jwk(key_of(name, founding.CUSTODIAN)),
    }


def _jwk(key: PublicKey) -> Json:
    return key.jwk()


def _quorums(quorums: Record) -> Json:
    custodians, recovery = quorums.integer("custodians"), quorums.integer("recovery")
    acts = quorums.optional_record("acts")
    quorums.done()
    return {"custodians": custodians, "recovery": recovery, "acts": acts.members() if acts else {}}


def _token(token: Record) -> Json:
    written: Json = {
        "label": token.text("label"),
        "class": token.text("class"),
        "exclusive": token.boolean("exclusive"),
    }
    token.done()
    return written


def _key(key: Record, issuer: str, time: int) -> Json:
    """Write a key's plan; the charter's issuer is the appliance's, a bundle key's last day that of its validity."""
    name, token, valid_for = key.text("name"), key.text("token"), duration(key.text("valid_for"))
    purpose = key.text("purpose")
    charter: dict[str, Json] = {"v": 1, "purpose": purpose, "algorithm": key.text("algorithm")}
    match purpose:
        case Purpose.TOKENS:
            charter |= {
                "kind": key.text("kind"),
                "issuer": issuer,
                "subjects": list(key.texts("subjects", least=1)),
                "audiences": list(key.texts("audiences", least=1)),
                "lifetime": duration(key.text("lifetime")),
                "horizon": duration(key.text("horizon")),
            }
        case Purpose.STATUS:
            charter["prefix"] = key.text("prefix")
        case Purpose.LOG:
            charter["origin"] = key.text("origin")
        case Purpose.BUNDLE:
            charter |= {"roles": list(BUNDLE_ROLES), "until": time + valid_for}
        case _:
            ours = ", ".join(one for one in Purpose if one is not Purpose.OPERATOR)
            raise Malformed(f"plan: key {name[:32]!a} has a purpose among {ours}")
    key.done()
    return {"name": name, "token": token, "charter": charter, "valid_for": valid_for}


def _horizons(horizons: Record) -> Json:
    written: Json = {name: duration(horizons.text(name)) for name in ("window", "grace", "root", "targets")}
    horizons.done()
    return written


def _site(site: Record) -> Json:
    written: Json = {"name": site.text("name"), "audiences": list(site.texts("audiences", least=1))}
    site.done()
    return written


def _profile(name: str, read_file: ReadFile, domain: str) -> Json:
    if not _FILE_NAME.fullmatch(name):
        raise Malformed(f"plan: a profile file is named without a folder, not {name[:64]!a}")
    try:
        return read_profile(read_file(name), domain).as_json()
    except Malformed as error:
        raise Malformed(f"{name}: {error}") from error
