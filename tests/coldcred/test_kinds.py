"""One key, one purpose (I9): every key signs every kind of document, and each reader takes exactly its own."""

import itertools

import pytest

from coldcred.charter import Purpose
from coldcred.credential import Kind, write_claims
from coldcred.errors import Rejected
from coldcred.jose import Typ
from coldcred.trust import TrustStore
from coldcred.verification import verify
from tests.support.signers import Signer
from tests.support.world import AUDIENCE, NOW, SVID_AUDIENCE, World

KEYS = ("access", "svid", "status", "bundle", "log")
CLAIMS = ("access", "svid")


@pytest.fixture(scope="module")
def world() -> World:
    """Return a world with one key of each purpose."""
    return World.make()


@pytest.fixture(scope="module")
def store(world: World, tmp_path_factory: pytest.TempPathFactory) -> TrustStore:
    """Return a site that holds its first bundle."""
    return TrustStore.open(world.site(tmp_path_factory.mktemp("site") / "trust"))


def accepted(world: World, store: TrustStore, key: Signer, typ: Typ, claims: str, kind: Kind) -> bool:
    """Whether a reader of `kind` takes claims of one kind, under a `typ`, signed by a key."""
    body = write_claims(world.credential(Kind(claims)))
    audience = AUDIENCE if kind is Kind.ACCESS else SVID_AUDIENCE
    try:
        verify(world.jws(typ, body, key), store, audience=audience, kind=kind, now=NOW)
    except Rejected:
        return False
    return True


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("key", KEYS)
def test_a_reader_takes_one_key_one_typ_and_one_form_of_claims(
    world: World, store: TrustStore, key: str, kind: Kind
) -> None:
    """Of every `typ` and both forms of claims, under this key, this reader takes only its own diagonal."""
    signer: Signer = getattr(world, f"{key}_key")
    taken = {
        (typ, claims)
        for typ, claims in itertools.product(Typ, CLAIMS)
        if accepted(world, store, signer, typ, claims, kind)
    }
    assert taken == ({(kind.typ, kind.value)} if key == kind.value else set())


def test_every_purpose_has_a_key_in_the_matrix() -> None:
    """A purpose that is added needs its row here; a person's key is in no trust that a reader holds."""
    purposes = {purpose.value for purpose in Purpose} - {Purpose.OPERATOR.value}
    assert {"tokens" if key in {"access", "svid"} else key for key in KEYS} == purposes
