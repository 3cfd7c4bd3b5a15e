"""Tokens as they are found: missing, doubled, with keys that are not as they were born, with strangers in them."""

import shutil

import pytest

from coldcred.charter import Purpose, label
from hsm.errors import (
    HsmError,
    KeyAmbiguous,
    KeyExists,
    KeyExposed,
    KeyMissing,
    KeyUnfit,
    ModuleMissing,
    TokenAmbiguous,
    TokenMissing,
)
from hsm.keystore import KeyOrder
from hsm.uri import TokenUri
from tests.support.hsm_inputs import CASES, admitted, sign, signatures, tree_input
from tests.support.signers import Signer
from tests.support.softhsm import SoftHsm

KEY = b"0123456789abcdef"
CHARTER = CASES[Purpose.TOKENS].charter


def test_a_missing_token_is_named(softhsm: SoftHsm) -> None:
    """A URI that no token answers to is `TokenMissing`, and the sentence gives the URI."""
    softhsm.label = "no-such-token"
    with pytest.raises(TokenMissing, match="pkcs11:token=no-such-token"):
        softhsm.store().inventory()


def test_an_empty_token_folder_is_a_missing_token(softhsm: SoftHsm) -> None:
    """With every token gone the module still works; nothing is found."""
    shutil.rmtree(softhsm.tokens)
    softhsm.tokens.mkdir()
    with pytest.raises(TokenMissing):
        softhsm.store().inventory()


def test_a_missing_token_folder_is_an_error_of_ours(softhsm: SoftHsm) -> None:
    """With the folder itself gone SoftHSM cannot start; that is an `HsmError` with the module's code."""
    shutil.rmtree(softhsm.tokens)
    with pytest.raises(HsmError) as caught:
        softhsm.store().inventory()
    assert caught.value.id in {"token-missing", "token-fault"}


def test_a_missing_module_is_named(softhsm: SoftHsm) -> None:
    """A library that is not there, or is no PKCS#11 module, is `ModuleMissing` with its path."""
    for path in ("/nowhere/libnone.so", "/etc/passwd"):
        softhsm.module = path
        with pytest.raises(ModuleMissing, match=path):
            softhsm.store().inventory()


def test_two_tokens_of_one_label_are_not_told_apart(softhsm: SoftHsm, softhsm_prepared: SoftHsm) -> None:
    """The first is never taken: both serials are given, and the URI with a serial finds the one it names."""
    serial = softhsm.tool("initialise")
    with pytest.raises(TokenAmbiguous, match=serial):
        softhsm.store().inventory()
    store = softhsm.store()
    store._token = TokenUri(token=softhsm.label, serial=serial)
    assert store.inventory().token.serial == serial
    softhsm.add_prepared(softhsm_prepared, "a twin with the same serial")


def test_the_uri_may_name_every_attribute(softhsm: SoftHsm) -> None:
    """Serial, manufacturer and model are compared as the token gives them, without padding; one wrong finds none."""
    token = softhsm.store().inventory().token
    exact = TokenUri(token.label, token.serial, token.manufacturer, token.model)
    store = softhsm.store()
    store._token = exact
    assert store.inventory().token == token
    other = softhsm.store()
    other._token = TokenUri(token.label, token.serial, token.manufacturer, "another model")
    with pytest.raises(TokenMissing):
        other.inventory()


def test_keys_are_born_as_they_must_be(softhsm: SoftHsm) -> None:
    """Seen by another library: private, sensitive, not extractable, now and ever, local, fixed, for signing only."""
    store = softhsm.store()
    admitted(store)
    admitted(store, Purpose.LOG, b"the log key's id")
    store.close()
    private = [row for row in softhsm.objects() if row["CLASS"] == "CKO_PRIVATE_KEY"]
    assert {row["LABEL"] for row in private} == {label(CHARTER), label(CASES[Purpose.LOG].charter)}
    assert KEY.hex() in {row["ID"] for row in private}
    yes = ("TOKEN", "PRIVATE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "SIGN")
    no = ("EXTRACTABLE", "MODIFIABLE", "COPYABLE", "DECRYPT", "UNWRAP", "DERIVE")
    for row in private:
        assert {name: bool(row[name]) for name in (*yes, *no)} == dict.fromkeys(yes, True) | dict.fromkeys(no, False)


def test_keys_cannot_be_taken_out(softhsm: SoftHsm) -> None:
    """With the PIN and another library: the value is not given and wrapping is refused."""
    store = softhsm.store()
    admitted(store)
    store.close()
    assert softhsm.tool("extract") == ["hidden", "CKR_KEY_UNEXTRACTABLE"]


@pytest.mark.parametrize(
    ("wrong", "faults"),
    [
        ("EXTRACTABLE", {"CKA_EXTRACTABLE is true", "CKA_NEVER_EXTRACTABLE is false"}),
        ("SENSITIVE", {"CKA_SENSITIVE is false", "CKA_ALWAYS_SENSITIVE is false"}),
        ("MODIFIABLE", {"CKA_MODIFIABLE is true"}),
        ("COPYABLE", {"CKA_COPYABLE is true"}),
        ("DERIVE", {"CKA_DERIVE is true"}),
        ("SIGN", {"CKA_SIGN is false"}),
    ],
)
def test_a_key_with_one_wrong_attribute_is_reported_and_never_signs(
    softhsm: SoftHsm, wrong: str, faults: set[str]
) -> None:
    """A key made behind our back with everything right but one attribute: named in the inventory, not admitted."""
    softhsm.tool("generate", key_id=KEY.hex(), key_label=label(CHARTER), wrong=wrong)
    store = softhsm.store()
    (key,) = store.inventory().keys
    assert set(key.faults) == faults
    assert key.public is not None
    leaves = wrong in {"EXTRACTABLE", "SENSITIVE"}
    with pytest.raises(KeyExposed if leaves else KeyUnfit, match=min(faults)):
        store.admit(KEY, CHARTER, key.public)
    assert isinstance(store.sign(KEY, [b"data"])[0], HsmError)


def test_a_sound_key_made_elsewhere_has_no_faults(softhsm: SoftHsm) -> None:
    """The audit's probe is fair: with nothing wrong, the key that PyKCS11 made passes."""
    softhsm.tool("generate", key_id=KEY.hex(), key_label=label(CHARTER))
    (key,) = softhsm.store().inventory().keys
    assert key.faults == ()


def test_strangers_are_listed(softhsm: SoftHsm) -> None:
    """A data object and a key under another label are foreign, one line each, escaped; ours is none of them."""
    softhsm.tool("put-data", object_label="left \x1b[31mbehind")
    softhsm.tool("generate", key_id="77" * 8, key_label="somebody's key")
    store = softhsm.store()
    admitted(store)
    inventory = store.inventory()
    assert [key.key_id for key in inventory.keys] == [KEY]
    assert len(inventory.foreign) == 3
    text = "\n".join(sorted(inventory.foreign))
    assert text.startswith("data labelled 'left \\x1b[31mbehind', CKA_ID none")
    assert 'private key labelled "somebody\'s key", CKA_ID ' + "77" * 8 in text
    assert text.isascii()


def test_two_keys_of_one_id_are_not_told_apart(softhsm: SoftHsm) -> None:
    """Neither is taken: the inventory shows both with the fault, and admission is refused."""
    for _ in range(2):
        softhsm.tool("generate", key_id=KEY.hex(), key_label=label(CHARTER))
    store = softhsm.store()
    found = store.inventory().keys
    assert len(found) == 2
    assert all("shares its CKA_ID with another private key" in key.faults for key in found)
    with pytest.raises(KeyAmbiguous):
        store.admit(KEY, CHARTER, Signer.named("either").public)
    with pytest.raises(KeyAmbiguous):
        store.destroy(KEY)


@pytest.mark.parametrize("lost", [0, 1])
def test_half_a_key_is_destroyed_as_a_whole_one(softhsm: SoftHsm, lost: int) -> None:
    """What a generation that was cut short left, private or public, goes by its id, and then the id is free."""
    store = softhsm.store()
    admitted(store)
    store.close()
    softhsm.object_files()[lost].unlink()
    store = softhsm.store()
    with pytest.raises(KeyExists):
        store.generate(KeyOrder(KEY, CHARTER))
    store.destroy(KEY)
    assert softhsm.objects() == []
    with pytest.raises(KeyMissing):
        store.destroy(KEY)
    store.generate(KeyOrder(KEY, CHARTER))


def test_an_object_without_a_class_is_listed_and_hides_nothing(softhsm: SoftHsm) -> None:
    """A file that SoftHSM made and never wrote into is one line among the foreign; keys beside it are found."""
    store = softhsm.store()
    public = admitted(store)
    store.close()
    (softhsm.tokens / "token-1" / "00000000-0000-0000-0000-000000000000.object").write_bytes(b"\0" * 7 + b"\1")
    inventory = softhsm.store().inventory()
    assert [key.public for key in inventory.keys] == [public]
    assert len(inventory.foreign) == 1
    assert "no class" in inventory.foreign[0]


def test_a_key_of_a_foreign_label_is_not_ours_even_by_its_id(softhsm: SoftHsm) -> None:
    """A key that was not born under a charter's label cannot be admitted under any charter."""
    softhsm.tool("generate", key_id=KEY.hex(), key_label="tokens")
    store = softhsm.store()
    assert store.inventory().keys == ()
    with pytest.raises(HsmError, match="another charter"):
        store.admit(KEY, CHARTER, Signer.named("nobody").public)


def test_a_start_on_a_token_with_keys_finds_them(softhsm: SoftHsm) -> None:
    """Keys outlive the process that made them: a later store admits them and they sign."""
    first = softhsm.store()
    public = admitted(first, Purpose.LOG)
    first.close()
    store = softhsm.store()
    store.admit(KEY, CASES[Purpose.LOG].charter, public)
    public.verify(signatures(sign(store, KEY, [tree_input(1)]))[0], tree_input(1))


def test_an_order_names_its_key(softhsm: SoftHsm) -> None:
    """The CKA_ID is the order's, so that an object found at start answers to its open order (rule R14)."""
    store = softhsm.store()
    store.generate(KeyOrder(b"\x00\xff an id", CHARTER))
    assert [key.key_id for key in store.inventory().keys] == [b"\x00\xff an id"]
