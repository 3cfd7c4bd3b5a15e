"""What every key store does, whatever stands behind it: the in-memory fake and SoftHSM behind the worker."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from coldcred.charter import KeyCharter, Purpose, TokenCharter, label
from coldcred.keys import Algorithm
from coldcred.log.tree import root_of
from hsm.errors import CharterRefused, HsmError, KeyExists, KeyMismatch, KeyMissing, WorkerLost
from hsm.keystore import MAX_INPUTS, CharterMemory, KeyOrder, KeyStore
from tests.support.fake_keystore import FakeKeyStore
from tests.support.hsm_inputs import (
    CASES,
    LEAVES,
    admitted,
    keep,
    log_input,
    sign,
    signatures,
    site_input,
    token_input,
    tree_input,
)
from tests.support.signers import Signer
from tests.support.softhsm import SoftHsm

KEY = b"0123456789abcdef"
OTHER = b"another key's id"

MAKERS: dict[str, Callable[[SoftHsm], KeyStore]] = {
    "fake": lambda _: FakeKeyStore(),
    "softhsm": lambda softhsm: softhsm.store(),
}


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, softhsm: SoftHsm) -> KeyStore:
    """Return an empty key store of each implementation."""
    return MAKERS[request.param](softhsm)


def wider(charter: KeyCharter) -> TokenCharter:
    """Return a token charter that allows more."""
    assert isinstance(charter, TokenCharter)
    return replace(charter, lifetime=charter.lifetime * 100)


def refusal(answer: object) -> CharterRefused:
    """Return the answer, which must be a refusal by the charter."""
    assert isinstance(answer, CharterRefused), answer
    return answer


@pytest.mark.parametrize("purpose", Purpose)
def test_a_key_signs_what_its_charter_allows(store: KeyStore, purpose: Purpose) -> None:
    """A generated and admitted key of each purpose signs inputs within its charter, verifiably, in order."""
    public = admitted(store, purpose)
    inputs = CASES[purpose].inputs(5, public.thumbprint)
    for signature, data in zip(signatures(sign(store, KEY, inputs)), inputs, strict=True):
        public.verify(signature, data)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("other", Purpose)
def test_a_key_signs_for_one_purpose_only(store: KeyStore, purpose: Purpose, other: Purpose) -> None:
    """What a key of one purpose may sign, a key of another may not: a matrix with signatures on its diagonal only."""
    public = admitted(store, purpose)
    (answer,) = sign(store, KEY, CASES[other].inputs(1, public.thumbprint))
    assert isinstance(answer, bytes) == (purpose is other)


def test_the_inventory_shows_each_key(store: KeyStore) -> None:
    """A new store is empty; then it holds each key under its CKA_ID and its charter's label, without faults."""
    assert store.inventory().keys == ()
    public = admitted(store)
    charter = CASES[Purpose.LOG].charter
    log_key = store.generate(KeyOrder(OTHER, charter))
    inventory = store.inventory()
    found = {key.key_id: key for key in inventory.keys}
    assert found.keys() == {KEY, OTHER}
    assert (found[KEY].public, found[OTHER].public) == (public, log_key)
    assert (found[KEY].algorithm, found[OTHER].algorithm) == (Algorithm.ES256, charter.algorithm)
    assert found[OTHER].label == label(charter)
    assert not any(key.faults for key in inventory.keys)
    assert inventory.foreign == ()


def test_a_key_that_was_not_admitted_signs_nothing(store: KeyStore) -> None:
    """Between birth and admission a key is silent, and so is a key that does not exist."""
    public = store.generate(KeyOrder(KEY, CASES[Purpose.TOKENS].charter))
    data = token_input(1, public.thumbprint)
    refusal(store.sign(KEY, [data])[0])
    refusal(store.sign(OTHER, [data])[0])


def test_a_key_keeps_the_charter_it_was_born_with(store: KeyStore) -> None:
    """Admission under a wider charter is refused, and what that would have allowed is not signed."""
    charter = CASES[Purpose.TOKENS].charter
    public = store.generate(KeyOrder(KEY, charter))
    with pytest.raises(CharterRefused, match="another charter"):
        store.admit(KEY, wider(charter), public)
    refusal(store.sign(KEY, [token_input(1, public.thumbprint)])[0])


def test_a_pinned_key_must_be_the_one_in_the_token(store: KeyStore) -> None:
    """Admission with another public key is refused."""
    charter = CASES[Purpose.TOKENS].charter
    store.generate(KeyOrder(KEY, charter))
    with pytest.raises(KeyMismatch):
        store.admit(KEY, charter, Signer.named("somebody else").public)


def test_admitting_a_missing_key_is_refused(store: KeyStore) -> None:
    """A CKA_ID that no private key has cannot be admitted."""
    with pytest.raises(KeyMissing, match=KEY.hex()):
        store.admit(KEY, CASES[Purpose.TOKENS].charter, Signer.named("nobody").public)


def test_a_key_id_is_used_once(store: KeyStore) -> None:
    """A second key under a CKA_ID in use is not made, whatever its charter."""
    admitted(store)
    for purpose in (Purpose.TOKENS, Purpose.LOG):
        with pytest.raises(KeyExists):
            store.generate(KeyOrder(KEY, CASES[purpose].charter))
    assert len(store.inventory().keys) == 1


def test_two_keys_may_have_one_charter(store: KeyStore) -> None:
    """A rotation makes a second key with the same charter; each signs for itself."""
    one, two = admitted(store, key_id=KEY), admitted(store, key_id=OTHER)
    assert one != two
    data = token_input(1, two.thumbprint)
    (signature,) = signatures(store.sign(OTHER, [data]))
    two.verify(signature, data)
    refusal(store.sign(KEY, [data])[0])


def test_a_destroyed_key_is_gone(store: KeyStore) -> None:
    """After destruction the inventory is empty, the key signs nothing, and destroying it again is refused."""
    public = admitted(store)
    data = token_input(1, public.thumbprint)
    signatures(store.sign(KEY, [data]))
    store.destroy(KEY)
    assert store.inventory().keys == ()
    assert isinstance(store.sign(KEY, [data])[0], HsmError)
    with pytest.raises(KeyMissing):
        store.destroy(KEY)


def test_a_refusal_in_a_batch_is_one_items_own(store: KeyStore) -> None:
    """Items outside the charter are answered by a refusal at their place; those beside them are signed."""
    public = admitted(store)
    good = CASES[Purpose.TOKENS].inputs(3, public.thumbprint)
    bad = token_input(9, public.thumbprint, subject="spiffe://elsewhere.example/line/1")
    answers = store.sign(KEY, [good[0], bad, good[1], b"", good[2]])
    assert [isinstance(answer, bytes) for answer in answers] == [True, False, True, False, True]
    assert "spiffe://elsewhere.example/line/1" in refusal(answers[1]).detail
    for place, data in ((0, good[0]), (2, good[1]), (4, good[2])):
        public.verify(signatures([answers[place]])[0], data)


def test_a_log_never_shrinks(store: KeyStore) -> None:
    """The log key signs growing sizes and the same root again, and refuses a smaller size or another root."""
    public = admitted(store, Purpose.LOG)
    five, six, other = tree_input(5), tree_input(6), log_input(5, root=b"x" * 32)
    keep(store, KEY, five)
    answers = store.sign(KEY, [five, five, tree_input(4), other])
    assert [isinstance(answer, bytes) for answer in answers] == [True, True, False, False]
    signatures(sign(store, KEY, [six]))
    refusal(store.sign(KEY, [five])[0])
    public.verify(signatures(store.sign(KEY, [six]))[0], six)


def test_what_was_signed_before_is_told_at_admission(store: KeyStore) -> None:
    """Memory given at admission binds; admitting again with less does not lower it."""
    charter = CASES[Purpose.LOG].charter
    public = store.generate(KeyOrder(KEY, charter))
    store.admit(KEY, charter, public, CharterMemory(log_size=10, log_root=root_of(LEAVES[:10])))
    store.admit(KEY, charter, public)
    refusal(store.sign(KEY, [tree_input(9)])[0])
    refusal(store.sign(KEY, [log_input(10, root=b"x" * 32)])[0])
    signatures(sign(store, KEY, [tree_input(10), tree_input(11)]))


def test_a_bundles_versions_never_fall(store: KeyStore) -> None:
    """The bundle key signs version 6 of a role after version 4, and then refuses 4."""
    admitted(store, Purpose.BUNDLE)
    signatures(store.sign(KEY, [site_input(2), site_input(3)]))
    assert "version 6" in refusal(store.sign(KEY, [site_input(2)])[0]).detail


def test_an_empty_batch_has_no_answers(store: KeyStore) -> None:
    """Nothing asked, nothing answered."""
    admitted(store)
    assert store.sign(KEY, []) == []


def test_misuse_is_a_value_error(store: KeyStore) -> None:
    """A batch too large for any frame and an impossible CKA_ID are the caller's mistakes."""
    with pytest.raises(ValueError, match="batch"):
        store.sign(KEY, [b""] * (MAX_INPUTS + 1))
    with pytest.raises(ValueError, match="CKA_ID"):
        KeyOrder(b"", CASES[Purpose.LOG].charter)
    with pytest.raises(ValueError, match="CKA_ID"):
        store.destroy(b"x" * 33)


def test_a_full_batch_is_signed(store: KeyStore) -> None:
    """As many inputs as a batch may have are signed, each its own."""
    public = admitted(store, Purpose.STATUS)
    inputs = CASES[Purpose.STATUS].inputs(MAX_INPUTS, public.thumbprint)
    answers = signatures(store.sign(KEY, inputs))
    public.verify(answers[0], inputs[0])
    public.verify(answers[-1], inputs[-1])


def test_threads_may_share_a_store(store: KeyStore) -> None:
    """Eight threads sign, list and generate at once; every signature is right and every key is there."""
    public = admitted(store)

    def work(number: int) -> bool:
        data = [token_input(number * 100 + item, public.thumbprint) for item in range(5)]
        for signature, signed in zip(signatures(store.sign(KEY, data)), data, strict=True):
            public.verify(signature, signed)
        store.generate(KeyOrder(os.urandom(16), CASES[Purpose.STATUS].charter))
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert len(store.inventory().keys) == 9


def test_a_closed_store_answers_no_more(store: KeyStore) -> None:
    """After `close` every call meets `WorkerLost`; closing twice is allowed."""
    admitted(store)
    store.close()
    store.close()
    assert isinstance(store.sign(KEY, [b"data"])[0], WorkerLost)
    with pytest.raises(WorkerLost):
        store.inventory()
    with pytest.raises(WorkerLost):
        store.generate(KeyOrder(OTHER, CASES[Purpose.LOG].charter))
