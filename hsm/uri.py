"""PKCS#11 URIs (RFC 7512), the strict subset that names one token, or one key in it.

Path attributes: `token`, `serial`, `manufacturer`, `model`, and `id` where a key is named. Query attribute:
`module-path`. Everything else is refused, `pin-value` and `pin-source` with their reason: a URI stands in settings,
logs and process lists, and the place of a secret is in none of them.
"""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote_from_bytes

from coldcred.errors import Malformed

SCHEME = "pkcs11:"
MAX_URI = 2048

# Widths of CK_TOKEN_INFO (PKCS#11 section 3.2): a longer value cannot match any token.
_WIDTHS = {"token": 32, "serial": 16, "manufacturer": 32, "model": 16}
_SECRETS = frozenset({"pin-value", "pin-source"})
_MODULE_PATH = "module-path"
_KEY_ID = "id="
_LONGEST_ID = 32

# RFC 7512 section 2.3: what stands unescaped in the path; the query also takes "/", "?" and "|", but not "&".
_PATH_SAFE = ":[]@!$'()*+,=&"
_QUERY_SAFE = ":[]@!$'()*+,=/?|"
_UNRESERVED = r"A-Za-z0-9._~\-"
_PATH_VALUE = re.compile(rf"(?:[{_UNRESERVED}{re.escape(_PATH_SAFE)}]|%[0-9A-Fa-f]{{2}})+", re.ASCII)
_QUERY_VALUE = re.compile(rf"(?:[{_UNRESERVED}{re.escape(_QUERY_SAFE)}]|%[0-9A-Fa-f]{{2}})+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class TokenUri:
    """Which token is meant: every attribute that is given must be equal; `module` is a library's path or None."""

    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    module: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that no token can have, and a URI that names none (`Malformed`)."""
        named = {name: value for name in _WIDTHS if (value := getattr(self, name)) is not None}
        if not named.keys() & {"token", "serial"}:
            raise Malformed("a PKCS#11 URI names its token by token= or serial=")
        for name, value in named.items():
            if not _is_plain(value) or value != value.strip() or len(value.encode()) > _WIDTHS[name]:
                raise Malformed(f"PKCS#11 URI: {name} is 1 to {_WIDTHS[name]} bytes of printable text, unpadded")
        if self.module is not None and not (_is_plain(self.module) and self.module.startswith("/")):
            raise Malformed("PKCS#11 URI: module-path is an absolute path")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `pkcs11:token=...;serial=...?module-path=...`; `Malformed` says what is wrong and quotes no value."""
        if len(text) > MAX_URI or not text.isascii():
            raise Malformed(f"a PKCS#11 URI is ASCII of at most {MAX_URI} characters")
        if not text.startswith(SCHEME):
            raise Malformed(f"a PKCS#11 URI begins with {SCHEME}")
        path, mark, query = text.removeprefix(SCHEME).partition("?")
        if mark and not query:
            raise Malformed("PKCS#11 URI: an empty query")
        attributes = _attributes(path, ";", _PATH_VALUE, frozenset(_WIDTHS))
        attributes |= _attributes(query, "&", _QUERY_VALUE, frozenset({_MODULE_PATH})) if query else {}
        return cls(
            token=attributes.get("token"),
            serial=attributes.get("serial"),
            manufacturer=attributes.get("manufacturer"),
            model=attributes.get("model"),
            module=attributes.get(_MODULE_PATH),
        )

    def format(self) -> str:
        """Write the URI in the one form we write: attributes in a fixed order, escapes in upper case."""
        named = [(name, getattr(self, name)) for name in _WIDTHS]
        path = ";".join(f"{name}={_escape(value, _PATH_SAFE)}" for name, value in named if value is not None)
        query = "" if self.module is None else f"?{_MODULE_PATH}={_escape(self.module, _QUERY_SAFE)}"
        return f"{SCHEME}{path}{query}"

    def matches(self, *, token: str, serial: str, manufacturer: str, model: str) -> bool:
        """Whether a token with these attributes (padding removed) is one that the URI means."""
        found = {"token": token, "serial": serial, "manufacturer": manufacturer, "model": model}
        return all(getattr(self, name) in {None, value} for name, value in found.items())


@dataclass(frozen=True, slots=True)
class KeyUri:
    """Which key is meant: a token, and the key's CKA_ID where the token may hold several."""

    token: TokenUri
    key_id: bytes | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `pkcs11:token=...;id=%01%02?module-path=...`; `Malformed` as for a token's URI."""
        path, mark, query = text.partition("?")
        items = path.removeprefix(SCHEME).split(";")
        ids = [item.removeprefix(_KEY_ID) for item in items if item.startswith(_KEY_ID)]
        if not ids or not text.startswith(SCHEME) or len(text) > MAX_URI:
            return cls(TokenUri.parse(text))
        if len(ids) > 1:
            raise Malformed("PKCS#11 URI: attribute id stands twice")
        rest = ";".join(item for item in items if not item.startswith(_KEY_ID))
        return cls(TokenUri.parse(f"{SCHEME}{rest}{mark}{query}"), _key_id(ids[0]))

    def format(self) -> str:
        """Write the URI in the one form we write: the id last among the attributes, each byte escaped."""
        path, mark, query = self.token.format().partition("?")
        escaped = "".join(f"%{octet:02X}" for octet in self.key_id or b"")
        return f"{path};{_KEY_ID}{escaped}{mark}{query}" if escaped else f"{path}{mark}{query}"


def _key_id(value: str) -> bytes:
    if not value.isascii() or not _PATH_VALUE.fullmatch(value):
        raise Malformed("PKCS#11 URI: id is bytes, escaped as %01")
    octets = _octets(value)
    if len(octets) > _LONGEST_ID:
        raise Malformed(f"PKCS#11 URI: id is 1 to {_LONGEST_ID} bytes")
    return octets


def _attributes(part: str, separator: str, value_form: re.Pattern[str], known: frozenset[str]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for item in part.split(separator):
        name, equals, value = item.partition("=")
        if name in _SECRETS:
            raise Malformed(
                f"PKCS#11 URI: {name} is not taken; a secret never stands in a URI, give the PIN by prompt or file"
            )
        if not equals or not _NAME.fullmatch(name) or not value_form.fullmatch(value):
            raise Malformed("PKCS#11 URI: an attribute that is not name=value, or a character that must be escaped")
        if name not in known:
            raise Malformed(f"PKCS#11 URI: attribute {name[:32]!r} is not known here")
        if name in attributes:
            raise Malformed(f"PKCS#11 URI: attribute {name} stands twice")
        attributes[name] = _unescape(value)
    return attributes


def _unescape(value: str) -> str:
    try:
        return _octets(value).decode()
    except UnicodeDecodeError as error:
        raise Malformed("PKCS#11 URI: an escaped value that is not UTF-8") from error


def _octets(value: str) -> bytes:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), value).encode("latin-1")


def _escape(value: str, safe: str) -> str:
    return quote_from_bytes(value.encode(), safe=safe + "~")


def _is_plain(value: str) -> bool:
    return bool(value) and value.isprintable()
