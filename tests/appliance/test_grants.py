"""What is issued never exceeds the grant, whatever is asked (I6, I10): finished bytes are decoded, not requests."""

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from appliance.authority import Authority, Workload
from appliance.errors import Refused
from appliance.lookups import Lookups
from appliance.nouns import credentials
from appliance.nouns.credentials import Granting
from appliance.writers import jwt
from coldcred import names
from coldcred.asked import Asked
from coldcred.charter import TokenCharter
from coldcred.credential import Credential, parse_claims
from coldcred.errors import Malformed
from coldcred.jose import split_signing_input
from coldcred.profile import Profile
from coldcred.record import Record
from tests.support import plant
from tests.support.running import RunningPlant, run

SUBJECTS = [f"spiffe://{plant.DOMAIN}/{path}" for path in ("line-1/robot-7", "line-1/a/b", "line-2/robot-7", "line-1")]
PATTERNS = [f"spiffe://{plant.DOMAIN}/line-1/*", f"spiffe://{plant.DOMAIN}/*", *SUBJECTS[:2]]
AUDIENCES = [plant.AUDIENCE, f"{plant.AUDIENCE}/v2", "https://elsewhere.example"]
SCOPES = ["orders.read", "orders.write", "orders.*", "orders", "admin"]
GROUPS = ["line-1", "line-2", "spare"]
LIFETIMES = [1, 59, 60, 61, 900, 3600, 8 * 3600 - 1, 8 * 3600, 8 * 3600 + 1, 24 * 3600, 10**9]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Lookups, int]:
    """Return what a running appliance knows, and its time."""
    running = RunningPlant(tmp_path_factory.mktemp("grants") / "home")

    async def story() -> tuple[Authority, Lookups, int]:
        async with running.engine() as engine:
            await running.ready(engine)
            return engine.standing.authority, engine.standing.lookups, running.clock.now()

    return run(story())


def generated(chance: random.Random, count: int) -> Iterator[tuple[Profile, Workload, Asked]]:
    """Give profiles, workloads and requests, many of them at the edge of what is allowed and over it."""

    def some(things: list[str], least: int = 0) -> tuple[str, ...]:
        return tuple(chance.sample(things, chance.randint(least, len(things))))

    while count:
        lifetime = chance.choice(LIFETIMES[:-2])
        members: dict[str, Any] = {
            **plant.profile(),
            "audiences": AUDIENCES[:1] if chance.random() < 0.7 else [*some(AUDIENCES, 1)],
            "scopes": [*some(SCOPES)],
            "subjects": [*some(PATTERNS, 1)],
            "lifetime": lifetime,
            "horizon": lifetime + chance.choice([0, 3600]),
            "groups": [*some(GROUPS)] if chance.random() < 0.5 else [],
            "requires": [*some(["purpose", "task"])] if chance.random() < 0.5 else [],
        }
        members = {name: value for name, value in members.items() if value != [] or name not in {"groups", "requires"}}
        profile = Profile.read(Record(members, "profile"), plant.DOMAIN)
        subject = chance.choice([SUBJECTS[0], *SUBJECTS])
        workload = Workload(subject, "alice", 2**40, None, groups=some(GROUPS))
        for _ in range(5):
            asked: dict[str, Any] = {
                "profile": profile.name,
                "workload": subject,
                "audience": chance.choice([plant.AUDIENCE, plant.AUDIENCE, *AUDIENCES]),
                "scopes": [*some([*profile.scopes] if chance.random() < 0.7 else SCOPES)],
                "ttl": chance.choice([None, lifetime, lifetime + 1, *LIFETIMES]),
                "purpose": chance.choice([None, "stocktaking", 'say "\\"']),
                "task": chance.choice([None, "order 4711"]),
            }
            record = Record({name: value for name, value in asked.items() if value is not None}, "request")
            yield profile, workload, Asked.read(record)
            count -= 1


def check(credential: Credential, profile: Profile, workload: Workload, asked: Asked, charter: TokenCharter) -> None:
    """Hold every member of what was decoded to profile, workload, request and charter."""
    lifetime = credential.expires_at - credential.not_before
    assert lifetime == (profile.lifetime if asked.lifetime is None else asked.lifetime)
    assert lifetime <= min(profile.lifetime, charter.lifetime)
    assert credential.expires_at - credential.issued_at <= charter.horizon
    assert credential.audiences == (asked.audience,)
    assert asked.audience in profile.audiences
    assert set(credential.scopes) == set(asked.scopes) <= set(profile.scopes)
    assert credential.subject == workload.id == asked.workload
    assert any(names.matches(pattern, credential.subject) for pattern in profile.subjects)
    assert any(names.matches(pattern, credential.subject) for pattern in charter.subjects)
    assert not profile.groups or set(profile.groups) & set(workload.groups)
    assert (credential.purpose, credential.task) == (asked.purpose, asked.task)
    assert not [need for need in profile.requires if getattr(credential, need) is None]
    assert (credential.profile, credential.kind, credential.confirmation) == (profile.name, profile.kind, None)


def campaign(standing: tuple[Authority, Lookups, int], seed: int, count: int) -> int:
    """Decide generated requests and check what was issued; gives how many were."""
    authority, lookups, now = standing
    chance, issued = random.Random(seed), 0
    for profile, workload, asked in generated(chance, count):
        known = replace(authority, profiles={profile.name: profile}, workloads={workload.id: workload})
        try:
            granted = Granting(known, lookups, known.profiles, now).grant(asked)
        except Refused:
            continue
        data = jwt.write(credentials.draw(granted, issued, issued, now, chance.randbytes), granted.public)
        _, payload = split_signing_input(data)
        charter = granted.key.charter
        assert isinstance(charter, TokenCharter)
        check(parse_claims(payload, profile.kind), profile, workload, asked, charter)
        issued += 1
    return issued


def test_what_is_issued_lies_within_its_grant(standing: tuple[Authority, Lookups, int]) -> None:
    """2,000 generated requests; both what is refused and what is issued occur often."""
    issued = campaign(standing, seed=20261126, count=2_000)
    assert 20 < issued < 1_900


@pytest.mark.soak
def test_what_is_issued_lies_within_its_grant_for_long(standing: tuple[Authority, Lookups, int]) -> None:
    """The long form: 100,000."""
    assert campaign(standing, seed=20261127, count=100_000) > 1_000


def ids(standing: tuple[Authority, Lookups, int], count: int) -> set[str]:
    """Draw so many credentials for one grant and give their ids."""
    authority, lookups, now = standing
    asked = Asked("orders-reader", plant.WORKLOAD, plant.AUDIENCE, (), None, None, None)
    granted = Granting(authority, lookups, authority.profiles, now).grant(asked)
    return {credentials.draw(granted, 0, 0, now, os.urandom).jti for _ in range(count)}


def test_no_two_credentials_have_the_same_id(standing: tuple[Authority, Lookups, int]) -> None:
    """50,000 ids, of 128 random bits each."""
    found = ids(standing, 50_000)
    assert len(found) == 50_000
    assert {len(jti) for jti in found} == {22}


@pytest.mark.soak
def test_no_two_credentials_of_a_million_have_the_same_id(standing: tuple[Authority, Lookups, int]) -> None:
    """The long form: 1,000,000."""
    assert len(ids(standing, 1_000_000)) == 1_000_000


def test_a_lifetime_of_nothing_is_not_asked_for() -> None:
    """A request for zero seconds is refused where it is read, and does not stand for the profile's longest."""
    with pytest.raises(Malformed):
        Asked.read(Record({**plant.command()["args"], "ttl": 0}, "request"))  # type: ignore[dict-item]  # what a JSON reader gives
