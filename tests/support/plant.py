"""The worked example as data: the founding of an appliance at Plant A by three people, and by one."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from coldcred import founding
from coldcred.acts import Act
from coldcred.canonical import Json, dumps, sha256
from coldcred.command import command_claims
from coldcred.countersignature import countersignature_claims
from coldcred.enrolment import enrolment_claims
from coldcred.jose import Typ
from coldcred.keys import Algorithm, SealingKey
from tests.support.signers import Signer

DOMAIN = "plant-a.example"
ISSUER = "https://issuer.plant-a.example"
AUDIENCE = "https://orders.plant-a.example"
WORKLOAD = "spiffe://plant-a.example/line-1/robot-7"
TIME = 1_795_000_000
"""Unix seconds: November 2026."""

DAY = 24 * 3600
ROLES = {"alice": ["officer", "issuer"], "bob": ["officer", "approver"], "carol": ["auditor"]}
ALONE = {"alice": ["officer", "issuer", "approver"]}


def robot(name: str = "robot-7") -> Signer:
    """Give a workload's signing key."""
    return Signer.named(f"{name} signing")


def sealing(name: str = "robot-7") -> SealingKey:
    """Give a workload's sealing key."""
    private = X25519PrivateKey.from_private_bytes(sha256(f"{name} sealing".encode()))
    return SealingKey(private.public_key().public_bytes_raw())


def operator(person: str) -> Signer:
    """Give a person's operator key."""
    return Signer.named(f"{person} operator")


def custodian(person: str) -> Signer:
    """Give a person's custodian key."""
    return Signer.named(f"{person} custodian", Algorithm.ED25519)


def _jwk(signer: Signer) -> Json:
    return signer.public.jwk()


def token_charter() -> dict[str, Json]:
    """Give the charter of the key that signs access tokens."""
    return {
        "v": 1,
        "purpose": "tokens",
        "algorithm": "ES256",
        "kind": "access",
        "issuer": ISSUER,
        "subjects": ["spiffe://plant-a.example/line-1/*"],
        "audiences": [AUDIENCE],
        "lifetime": 8 * 3600,
        "horizon": DAY,
    }


def operator_charter() -> dict[str, Json]:
    """Give the charter of a person's key on a card."""
    return {"v": 1, "purpose": "operator", "algorithm": "ES256"}


def charters() -> dict[str, dict[str, Json]]:
    """Give one charter of each purpose that an appliance has keys for, by purpose."""
    return {
        "tokens": token_charter(),
        "status": {"v": 1, "purpose": "status", "algorithm": "ES256", "prefix": f"{ISSUER}/status/"},
        "log": {"v": 1, "purpose": "log", "algorithm": "Ed25519", "origin": "plant-a.example/log"},
        "bundle": {
            "v": 1,
            "purpose": "bundle",
            "algorithm": "ES256",
            "roles": ["site", "snapshot", "timestamp"],
            "until": TIME + 90 * DAY,
        },
    }


def profile() -> dict[str, Json]:
    """Give the profile of the worked example."""
    return {
        "name": "orders-reader",
        "kind": "access",
        "audiences": [AUDIENCE],
        "scopes": ["orders.read", "orders.write"],
        "subjects": ["spiffe://plant-a.example/line-1/*"],
        "lifetime": 8 * 3600,
        "horizon": DAY,
        "approvals": 1,
        "holder_binding": False,
        "refuse_stale": False,
    }


def members(roles: dict[str, list[str]] | None = None) -> dict[str, Json]:
    """Give the members of a founding by these people; by alice, bob and carol unless told."""
    roles = ROLES if roles is None else roles
    people: list[Json] = [
        {
            "id": person,
            "roles": [*held],
            "operator": _jwk(operator(person)),
            "custodian": _jwk(custodian(person)),
        }
        for person, held in roles.items()
    ]
    keys: list[Json] = [
        {"name": f"{purpose}-1", "token": "plant-a-daily", "charter": charter, "valid_for": 90 * DAY}
        for purpose, charter in charters().items()
    ]
    quorum = min(2, len(roles))
    return {
        "v": 1,
        "kind": "coldcred-founding",
        "name": "plant-a",
        "trust_domain": DOMAIN,
        "issuer": ISSUER,
        "time": TIME,
        "people": people,
        "quorums": {"custodians": quorum, "recovery": quorum, "acts": {}},
        "tokens": [{"label": "plant-a-daily", "class": "daily", "exclusive": True}],
        "keys": keys,
        "horizons": {"window": DAY, "grace": 6 * 3600, "root": 365 * DAY, "targets": 90 * DAY},
        "sites": [{"name": "line-1", "audiences": [AUDIENCE]}],
        "profiles": [profile()],
    }


def signatures(body: bytes) -> list[str]:
    """Give what every founder signs over these bytes of a founding, with both keys."""
    founded = founding.parse(body)
    return [
        signer.token(Typ.FOUNDING, founding.signature_claims(founded.appliance_id, person.id, register, TIME + 60))
        for person in founded.people
        for register, signer in (
            (founding.OPERATOR, operator(person.id)),
            (founding.CUSTODIAN, custodian(person.id)),
        )
    ]


def appliance_id() -> str:
    """Give the id of the appliance that alice, bob and carol found."""
    return founding.parse(dumps(members())).appliance_id


def enrolment(signer: Signer | None = None, seal: SealingKey | None = None, **changes: Any) -> str:
    """Give the document by which a workload's key proves that somebody holds it; it lives for an hour."""
    signer = signer or robot()
    claims: dict[str, Any] = {
        "appliance": appliance_id(),
        "workload": WORKLOAD,
        "key": signer.public,
        "seal": seal,
        "jti": "AAECAwQFBgcICQoLDA0ODw",
        "issued_at": TIME,
        "expires_at": TIME + 3600,
    }
    return signer.token(Typ.ENROLMENT, enrolment_claims(**{**claims, **changes}))


def countersignature(signer: Signer, person: str, **changes: Any) -> str:
    """Give the document by which a person's new key proves that somebody holds it; it lives for an hour."""
    claims: dict[str, Any] = {
        "appliance": appliance_id(),
        "person": person,
        "key": signer.public,
        "jti": "AAECAwQFBgcICQoLDA0ODw",
        "issued_at": TIME,
        "expires_at": TIME + 3600,
    }
    return signer.token(Typ.COUNTERSIGNATURE, countersignature_claims(**{**claims, **changes}))


def command(act: Act = Act.CREDENTIAL_ISSUE, args: dict[str, Json] | None = None) -> dict[str, Json]:
    """Give the claims of a command that lives for an hour."""
    return command_claims(
        appliance=appliance_id(),
        epoch=1,
        act=act,
        args={"profile": "orders-reader"} if args is None else args,
        jti="AAECAwQFBgcICQoLDA0ODw",
        issued_at=TIME,
        expires_at=TIME + 3600,
    )
