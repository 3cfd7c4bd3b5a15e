"""One way to write JSON and one way to read it; base64url and digests without slack.

Writing follows RFC 8785 for the subset we use: no floating point, ASCII member names (so sorting by code point
is sorting by UTF-16 unit). Reading refuses what two parsers could read differently: duplicate members, numbers
beyond 2^53-1, lone surrogates, byte order marks, trailing bytes, deep nesting. What `loads` gives, `dumps` can write;
and every refusal takes time linear in the input.
"""

import hashlib
import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from typing import NoReturn, TypeAlias

from coldcred.errors import Malformed

Json: TypeAlias = bool | int | str | list["Json"] | dict[str, "Json"] | None

MAX_INTEGER = 2**53 - 1
MAX_BYTES = 64 * 1024
MAX_DEPTH = 16

_LONGEST_NUMERAL = len(str(-MAX_INTEGER))
_SURELY_BELOW = len(str(MAX_INTEGER))  # numerals with fewer characters are

# All but the brackets outside strings. The closing quote is optional: a string that never ends is passed over once,
# not tried again from each quote in it. Possessive: there is nothing to go back for.
_NO_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?+|[^"\[\]{}]++', re.DOTALL)
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/!!!")  # what is a digit only in the other alphabet becomes one in none
_TO_BASE64URL = bytes.maketrans(b"+/", b"-_")
_OVER_TWO_BYTES = 3  # digits after the last whole four
_ENDS_ONE_BYTE, _ENDS_TWO_BYTES = b"AQgw", b"AEIMQUYcgkosw048"  # the digits whose 4 or 2 unused bits are zero
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


# Nothing to check for circles: what is nested too deeply was refused before.
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)


def dumps(value: Json) -> bytes:
    """Write `value` as canonical JSON (RFC 8785, without floats); `ValueError` on what the subset excludes."""
    _check_writable(value, 0)
    return _ENCODER.encode(value).encode()  # a lone surrogate raises UnicodeEncodeError, which is a ValueError


def _check_writable(value: Json, depth: int) -> None:
    """Refuse what the subset excludes, in one pass in which the most usual values cost no call."""
    if not isinstance(value, dict | list):
        _check_scalar(value)
        return
    if depth == MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    items: Iterable[Json] = value
    if isinstance(value, dict):
        _check_names(value)
        items = value.values()
    for item in items:
        if type(item) is str or (type(item) is int and -MAX_INTEGER <= item <= MAX_INTEGER):
            continue
        _check_writable(item, depth + 1)


def _check_names(members: dict[str, Json]) -> None:
    try:
        if "".join(members).isascii():
            return
    except TypeError:
        pass  # one of them is no text
    names: Iterable[object] = members
    for name in names:
        if not (isinstance(name, str) and name.isascii()):
            raise ValueError(f"a member name that is not ASCII text: {ascii(name)[:64]}")


def _check_scalar(value: object) -> None:
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            message = "an integer beyond 2^53-1"
            raise ValueError(message)
    elif value is not None and not isinstance(value, str):
        message = f"no canonical form for a {type(value).__name__}"
        raise ValueError(message)


def loads(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Json:
    """Read strict JSON of at most `max_bytes` bytes; `Malformed` names the first thing that is wrong."""
    if len(data) > max_bytes:
        message = f"{len(data)} bytes of JSON where at most {max_bytes} are read"
        raise Malformed(message)
    if data.count(b"{") + (data.count(b"[") if b"[" in data else 0) > max_depth:
        _check_depth(data, max_depth)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        message = "JSON that is not UTF-8"
        raise Malformed(message) from error
    plain = _plainly(text)
    if plain is not None:
        return plain
    try:
        value: Json = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg} at character {error.pos}"
        raise Malformed(message) from error
    if "\\" in text or not text.isascii():
        _check_text(value)
    return value


def _plainly(text: str) -> dict[str, Json] | None:
    """Read an object in which nothing needs care, in less time than with hooks; None for all else, right or wrong.

    Escapes, characters beyond ASCII, and numbers that are not from 1 to 2^53-1 need care. Without escapes every text
    has two quotes, so that an object which lost a member to another of its name has too few texts.
    """
    if "\\" in text or not text.isascii() or len(text) > MAX_BYTES:
        return None
    try:
        members, end = _PLAIN_DECODER.raw_decode(text)
        plain = type(members) is dict and end == len(text) and 2 * _texts(members) == text.count('"')
    except ValueError:
        return None
    return members if plain else None


def _texts(members: dict[str, Json]) -> int:
    """Count the texts in an object and below it, names included; `ValueError` on a number that needs care."""
    found = len(members)
    todo: list[Iterable[Json]] = [members.values()]
    for items in todo:
        for item in items:
            if type(item) is str:
                found += 1
            elif type(item) is int:
                if not 0 < item <= MAX_INTEGER:
                    raise ValueError
            elif type(item) is dict:
                found += len(item)
                todo.append(item.values())
            elif type(item) is list:
                todo.append(item)
    return found


def loads_canonical(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Json:
    """Read JSON that must be, byte for byte, what `dumps` writes."""
    value = loads(data, max_bytes=max_bytes, max_depth=max_depth)
    try:
        canonical = dumps(value)
    except ValueError as error:
        message = f"JSON without a canonical form: {error}"
        raise Malformed(message) from error
    if canonical != data:
        message = "JSON that is not in canonical form (RFC 8785)"
        raise Malformed(message)
    return value


def _check_depth(data: bytes, max_depth: int) -> None:
    """Count brackets outside strings before the recursive parser sees them."""
    depth = 0
    for byte in _NO_BRACKET.sub(b"", data):
        if byte in b"[{":
            depth += 1
            if depth > max_depth:
                message = f"JSON nested deeper than {max_depth}"
                raise Malformed(message)
        else:
            depth -= 1


def _unique_members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise Malformed(f"duplicate member {name[:64]!a}")
            seen.add(name)
    return members


def _integer(text: str) -> int:
    if len(text) < _SURELY_BELOW and text[0] != "-":
        return int(text)
    # The length check comes first: int() of a long numeral is quadratic.
    value = int(text) if len(text) <= _LONGEST_NUMERAL else MAX_INTEGER + 1
    if abs(value) > MAX_INTEGER:
        raise Malformed("a number beyond 2^53-1")
    if value == 0 and text != "0":
        raise Malformed("a negative zero")
    return value


def _no_float(text: str) -> NoReturn:
    message = f"a number that is not an integer: {text[:32]}"
    raise Malformed(message)


# Made once: `json.loads` with hooks builds a decoder for each call, which takes as long as reading a header.
_PLAIN_DECODER = json.JSONDecoder(parse_float=_no_float, parse_constant=_no_float)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_members, parse_int=_integer, parse_float=_no_float, parse_constant=_no_float
)


def _check_text(value: Json) -> None:
    """Refuse text that UTF-8 cannot carry, and member names whose order depends on the language that sorts them."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            message = "text with a lone surrogate"
            raise Malformed(message) from error
    elif isinstance(value, list):
        for item in value:
            _check_text(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if not name.isascii():
                raise Malformed(f"a member name that is not ASCII: {name[:64]!a}")
            _check_text(item)


def b64u_encode(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return b2a_base64(data, newline=False).translate(_TO_BASE64URL).rstrip(b"=").decode("ascii")


def b64u_decode(text: str | bytes) -> bytes:
    """Read unpadded base64url; padding, other alphabets and stray trailing bits are `Malformed`."""
    over = len(text) % 4
    try:
        digits = (text if isinstance(text, bytes) else text.encode("ascii")).translate(_TO_BASE64)
        if over == 0:
            return a2b_base64(digits, strict_mode=True)
        if over == _OVER_TWO_BYTES:
            data, whole = a2b_base64(digits + b"=", strict_mode=True), digits[-1] in _ENDS_TWO_BYTES
        else:
            data, whole = a2b_base64(digits + b"==", strict_mode=True), digits[-1] in _ENDS_ONE_BYTE
    except ValueError as error:
        raise Malformed(_not_base64url(text)) from error
    if not whole:
        raise Malformed("base64url with stray trailing bits")
    return data


def _not_base64url(text: str | bytes) -> str:
    found = text if isinstance(text, str) else text.decode("latin-1")
    if _BASE64URL.fullmatch(found):
        return "base64url of an impossible length"
    return "a character outside the base64url alphabet"


def sha256(data: bytes) -> bytes:
    """SHA-256 as 32 bytes."""
    return hashlib.sha256(data).digest()


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lower-case hexadecimal characters, the form that stands in every document."""
    return hashlib.sha256(data).hexdigest()


def hex_digest(text: str) -> bytes:
    """Read 64 lower-case hexadecimal characters as 32 bytes."""
    if not _HEX_DIGEST.fullmatch(text):
        message = "not 64 lower-case hexadecimal characters"
        raise Malformed(message)
    return bytes.fromhex(text)


def said_digest(text: str, name: str) -> str:
    """Read a SHA-256 as people read it out, print it or type it: in either case, in groups, with colons or line ends.

    Gives 64 lower-case hexadecimal characters; anything else is `Malformed`, which names the argument `name`.
    """
    plain = "".join(text.split()).replace(":", "").lower()
    if not _HEX_DIGEST.fullmatch(plain):
        raise Malformed(f"{name}: {len(plain)} characters that are not the 64 hexadecimal ones of a SHA-256")
    return plain
