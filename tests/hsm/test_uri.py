"""PKCS#11 URIs: what is written is read back, what is not ours is refused, and no secret is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldcred.errors import Malformed
from hsm.uri import KeyUri, TokenUri

PRINTABLE = st.characters(exclude_categories=["C", "Z"])
VALUES = st.text(PRINTABLE, min_size=1, max_size=8).filter(lambda text: text.isprintable() and len(text.encode()) <= 16)
URIS = st.builds(
    TokenUri,
    token=VALUES,
    serial=st.none() | VALUES,
    manufacturer=st.none() | VALUES,
    model=st.none() | VALUES,
    module=st.none() | st.text(PRINTABLE, max_size=20).filter(str.isprintable).map("/{}".format),
)


@given(uri=URIS)
def test_what_is_written_is_read_back(uri: TokenUri) -> None:
    """Formatting and parsing are inverse, and the written form is ASCII."""
    text = uri.format()
    assert text.isascii()
    assert TokenUri.parse(text) == uri


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("pkcs11:token=coldcred-daily", TokenUri(token="coldcred-daily")),
        ("pkcs11:serial=0123abcd;token=a%20b", TokenUri(token="a b", serial="0123abcd")),
        ("pkcs11:token=%C3%A9t%c3%a9", TokenUri(token="été")),
        (
            "pkcs11:token=t;manufacturer=M;model=SoftHSM%20v2?module-path=/usr/lib/softhsm/libsofthsm2.so",
            TokenUri(token="t", manufacturer="M", model="SoftHSM v2", module="/usr/lib/softhsm/libsofthsm2.so"),
        ),
        # RFC 7512 section 2.3: these stand unescaped in a path value, "/" and "?" and "|" in a query value.
        ("pkcs11:token=:[]@!$'()*+,=&", TokenUri(token=":[]@!$'()*+,=&")),
        ("pkcs11:token=a%3Bb", TokenUri(token="a;b")),
        ("pkcs11:token=a?module-path=/a%26b?c|d", TokenUri(token="a", module="/a&b?c|d")),
    ],
)
def test_published_forms_are_read(text: str, uri: TokenUri) -> None:
    """The forms of RFC 7512 that name a token."""
    assert TokenUri.parse(text) == uri


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pkcs11:",
        "PKCS11:token=a",
        "pkcs11:token=",
        "pkcs11:token",
        "pkcs11:token=a;",
        "pkcs11:token=a;;serial=b",
        "pkcs11:token=a;token=b",
        "pkcs11:manufacturer=a",
        "pkcs11:object=key;token=a",
        "pkcs11:slot-id=1;token=a",
        "pkcs11:token=a;x-vendor=b",
        "pkcs11:token=a?",
        "pkcs11:token=a?module-path=relative.so",
        "pkcs11:token=a?module-path=",
        "pkcs11:token=a?module-name=softhsm2",
        "pkcs11:token=a?module-path=/a&module-path=/b",
        "pkcs11:token=a b",
        "pkcs11:token=a%2",
        "pkcs11:token=%zz",
        "pkcs11:token=%FF",
        "pkcs11:token=%00",
        "pkcs11:token=%0a",
        "pkcs11:token=%1B[31m",
        "pkcs11:token=a%20",
        "pkcs11:token=é",
        "pkcs11:token=a/b",
        "pkcs11:token=a#b",
        "pkcs11:token=" + "a" * 33,
        "pkcs11:token=a;serial=" + "b" * 17,
        "pkcs11:token=" + "%41" * 1000,
    ],
)
def test_what_is_not_ours_is_refused(text: str) -> None:
    """Other attributes, doubled, empty, padded or badly escaped ones, and values that no token can have."""
    with pytest.raises(Malformed):
        TokenUri.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=a?pin-value=hunter2",
        "pkcs11:token=a?pin-source=file:/etc/hunter2",
        "pkcs11:token=a;pin-value=hunter2",
        "pkcs11:token=a?module-path=/x&pin-value=hunter2",
        "pkcs11:token=a?pin-value=",
        "pkcs11:token=a?pin-value",
    ],
)
def test_secrets_are_refused_and_not_repeated(text: str) -> None:
    """A PIN in a URI is refused by name, with what to do instead, and the refusal does not show it."""
    with pytest.raises(Malformed, match=r"pin-(value|source) is not taken.*prompt or file") as caught:
        TokenUri.parse(text)
    assert "hunter2" not in str(caught.value)


@given(text=st.text(max_size=60) | st.text(max_size=40).map("pkcs11:token={}".format))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text raises anything but `Malformed`, and what is read names a token."""
    try:
        uri = TokenUri.parse(text)
    except Malformed:
        return
    assert uri.token or uri.serial


def test_every_given_attribute_must_match() -> None:
    """A URI matches a token when each of its attributes is equal; absent ones match anything."""
    token = {"token": "a", "serial": "1", "manufacturer": "m", "model": "o"}
    assert TokenUri(token="a").matches(**token)
    assert TokenUri(serial="1", manufacturer="m", model="o").matches(**token)
    for name in token:
        assert not TokenUri(**(token | {name: "x"})).matches(**token)


@given(uri=st.builds(KeyUri, token=URIS, key_id=st.none() | st.binary(min_size=1, max_size=32)))
def test_a_keys_uri_is_read_back(uri: KeyUri) -> None:
    """Formatting and parsing are inverse, whatever bytes a CKA_ID has; without an id it is a token's URI."""
    assert KeyUri.parse(uri.format()) == uri
    assert uri.key_id is not None or uri.format() == uri.token.format()


@pytest.mark.parametrize(
    ("text", "key_id"),
    [
        ("pkcs11:token=a;id=%01%fF", b"\x01\xff"),
        ("pkcs11:id=%00;token=a?module-path=/a", b"\0"),
        ("pkcs11:id=k1;token=a", b"k1"),
        ("pkcs11:token=a", None),
        ("pkcs11:token=id=k1", None),
    ],
)
def test_a_key_is_named_by_its_id(text: str, key_id: bytes | None) -> None:
    """The id is any bytes, escaped or not (RFC 7512 section 2.3), in any place of the path."""
    assert KeyUri.parse(text).key_id == key_id


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:id=%01",
        "id=%01;token=a",
        "pkcs11:token=a;id=",
        "pkcs11:token=a;id",
        "pkcs11:token=a;id=%0",
        "pkcs11:token=a;id=é",
        "pkcs11:token=a;id=a/b",
        "pkcs11:token=a;id=%01;id=%01",
        "pkcs11:token=a;object=key",
        "pkcs11:token=a?id=%01",
        "pkcs11:token=a;id=" + "%01" * 33,
        "pkcs11:token=a;id=%01?module-path=/" + "a" * 2048,
        "pkcs11:token=a;id=%01?pin-value=hunter2",
    ],
)
def test_a_key_that_is_not_named_rightly_is_refused(text: str) -> None:
    """An empty, doubled, overlong or badly escaped id, and one without a token; no secret is repeated."""
    with pytest.raises(Malformed) as caught:
        KeyUri.parse(text)
    assert "hunter2" not in str(caught.value)


@given(text=st.text(max_size=60) | st.text(max_size=40).map("pkcs11:token=a;id={}".format))
def test_any_text_names_a_key_or_is_refused(text: str) -> None:
    """No text raises anything but `Malformed`."""
    try:
        uri = KeyUri.parse(text)
    except Malformed:
        return
    assert uri.key_id is None or 1 <= len(uri.key_id) <= 32
