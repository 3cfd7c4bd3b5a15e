"""A custodian's hand: it signs what follows from the founding and nothing else, whatever an appliance prepares."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import bundling, custodians
from appliance.custodians import CustodyError, Draft
from appliance.identity import Identity
from coldcred import layout
from coldcred.acts import Act
from coldcred.charter import TokenCharter
from coldcred.documents import Identity as Appliance
from coldcred.documents import parse_jwks, write_jwks
from coldcred.errors import Malformed
from coldcred.keys import Algorithm
from tests.support import plant
from tests.support.running import RunningPlant, run
from tests.support.signers import Signer

Files = dict[str, bytes]


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the worked example's appliance."""
    return RunningPlant(tmp_path / "home")


@pytest.fixture
def draft(running: RunningPlant) -> Draft:
    """Return what that appliance says is to be signed."""

    async def story() -> Draft:
        async with running.engine() as engine:
            reader = await engine.open_reading(running.command("alice", Act.READ_OPEN))
            return Draft.from_json(await reader.read("trust", {}))

    return run(story())


def hand(name: str) -> Identity:
    """Return the opened Ed25519 key of this name."""
    signer = Signer.named(name, Algorithm.ED25519)
    assert isinstance(signer.private, Ed25519PrivateKey)
    return Identity(signer.public, signer.private)


def prepared(running: RunningPlant, draft: Draft) -> Files:
    """Return the files as an honest appliance prepares them."""
    return custodians.prepare(running.founding, draft, running.clock.now())


def test_an_honest_preparation_is_signed(running: RunningPlant, draft: Draft) -> None:
    """What follows from the founding is signed, and what is shown names the quorum and the bundle key."""
    files = prepared(running, draft)
    assert custodians.sign(running.founding, files, hand("bob custodian"))
    facts = custodians.facts(running.founding, files)
    assert facts["root of trust"] == "signed by 2 of alice bob carol"
    assert facts["bundle key"] == draft.bundle_key.thumbprint


def _root(running: RunningPlant, draft: Draft, **changes: Any) -> Files:
    people = [person.custodian for person in running.founding.people]
    usual: dict[str, Any] = {"version": 1, "custodians": people, "threshold": 2, "bundle_key": draft.bundle_key}
    expires = running.clock.now() + plant.DAY
    made = bundling.root(**{**usual, "expires": expires, **changes})
    return {**prepared(running, draft), layout.ROOTS[0]: made.document}


def _stranger(running: RunningPlant, draft: Draft) -> Files:
    people = [person.custodian for person in running.founding.people]
    return _root(running, draft, custodians=[*people, hand("mallory").public])


def _lower(running: RunningPlant, draft: Draft) -> Files:
    return _root(running, draft, threshold=1)


def _other_bundle_key(running: RunningPlant, draft: Draft) -> Files:
    return _root(running, draft, bundle_key=Signer.named("mallory bundle").public)


def _over(running: RunningPlant, draft: Draft, documents: Files) -> Files:
    made = bundling.targets(
        version=1,
        documents=documents,
        bundle_key=draft.bundle_key,
        expires=running.clock.now() + plant.DAY,
    )
    return {**prepared(running, draft), **documents, layout.TARGETS: made.document}


def _other_charter(running: RunningPlant, draft: Draft) -> Files:
    keys = parse_jwks(draft.documents[layout.JWKS]).values()
    wide = [
        type(key)(key.public, _wider(key.charter), key.not_before, key.expires_at)
        if isinstance(key.charter, TokenCharter)
        else key
        for key in keys
    ]
    return _over(running, draft, {**draft.documents, layout.JWKS: write_jwks(wide)})


def _wider(charter: TokenCharter) -> TokenCharter:
    return TokenCharter(
        charter.algorithm,
        charter.kind,
        charter.issuer,
        ("spiffe://plant-a.example/*",),
        charter.audiences,
        charter.lifetime,
        charter.horizon,
    )


def _other_appliance(running: RunningPlant, draft: Draft) -> Files:
    found = Appliance.parse(draft.documents[layout.IDENTITY])
    other = Appliance(
        "0" * 64,
        found.name,
        found.trust_domain,
        found.issuer,
        found.single_operator,
        found.log_origin,
        found.log_vkey,
    )
    return _over(running, draft, {**draft.documents, layout.IDENTITY: other.write()})


@pytest.mark.parametrize(
    "change",
    [_stranger, _lower, _other_bundle_key, _other_charter, _other_appliance],
    ids=lambda change: change.__name__,
)
def test_what_does_not_follow_from_the_founding_is_not_signed(
    running: RunningPlant, draft: Draft, change: Callable[[RunningPlant, Draft], Files]
) -> None:
    """An engine alone cannot have an issuer, a custodian or a lower quorum signed in (R17)."""
    files = change(running, draft)
    with pytest.raises(Malformed):
        custodians.sign(running.founding, files, hand("bob custodian"))
    with pytest.raises(Malformed):
        custodians.facts(running.founding, files)


def test_a_strangers_key_signs_nothing(running: RunningPlant, draft: Draft) -> None:
    """Only a custodian of the founding signs."""
    with pytest.raises(CustodyError):
        custodians.sign(running.founding, prepared(running, draft), hand("mallory"))
