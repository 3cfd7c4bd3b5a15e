"""The strict spelling of every name that appears in a document.

A name has one spelling: lower case where the standard folds case, ASCII only, no dots-and-slashes tricks. Each
function returns the text it was given or raises `Malformed`.
"""

import re
import unicodedata

from coldcred.canonical import Json
from coldcred.errors import Malformed

MAX_SPIFFE_ID = 2048
MAX_AUDIENCE = 255

_LABEL = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)
_TRUST_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?", re.ASCII)
_SPIFFE_ID = re.compile(rf"spiffe://({_TRUST_DOMAIN.pattern})((?:/[A-Za-z0-9._-]+)+)", re.ASCII)
_HTTPS = re.compile(
    r"https://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::([1-9][0-9]{0,4}))?(?:/[A-Za-z0-9._~-]+)*/?", re.ASCII
)
_DOT_SEGMENT = re.compile(r"/\.{1,2}(?:/|\Z)")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")
_SCOPES = re.compile(rf"{_SCOPE.pattern}(?: {_SCOPE.pattern})*")
_JTI = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)

# Control, format, separator, surrogate and private characters. Written out, since `str.isprintable` follows the Unicode
# version of the Python that runs, and a site must not refuse what an appliance on a newer one wrote.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f\u2028-\u202f"
    r"\u205f-\u206f\u3000\ud800-\uf8ff\ufeff\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f"
    r"\U0001bca0-\U0001bcaf\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)

# What shows nothing where it stands, though it is called a letter, a mark or a symbol: Default_Ignorable_Code_Point,
# the blank of Braille, a note's head that is not drawn.
_BLANK = re.compile(r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U00016fe4\U0001d159]")
_MARKS = frozenset({"Mn", "Me"})

MOST_MARKS = 4
"""Most marks on one letter: no script that is in use needs more."""

MAX_LABEL = 32
MAX_PORT = 65535
HTTPS_PORT = "443"


def trust_domain(text: str) -> str:
    """Check a SPIFFE trust domain name (SPIFFE-ID section 2.1), lower case."""
    if not _TRUST_DOMAIN.fullmatch(text) or ".." in text:
        raise _refusal("trust domain", text)
    return text


def spiffe_id(text: str, domain: str | None = None) -> str:
    """Check a SPIFFE ID with a path (SPIFFE-ID section 2), in trust domain `domain` where one is given."""
    found = _SPIFFE_ID.fullmatch(text) if len(text) <= MAX_SPIFFE_ID else None
    if found is None or ".." in found[1] or ("/." in text and _DOT_SEGMENT.search(found[2])):
        raise _refusal("SPIFFE ID", text)
    if domain is not None and found[1] != domain:
        raise Malformed(f"{text[:80]} is not in trust domain {domain}")
    return text


def is_spiffe_id(text: str) -> bool:
    """Whether a name that was checked is a workload's: no other kind of name begins like one."""
    return text.startswith("spiffe://")


def subject_pattern(text: str, domain: str | None = None) -> str:
    """Check a SPIFFE ID, or one whose last segment is `*` and then stands for all IDs below it."""
    if text.endswith("/*"):
        below = text[: -len("*")] + "any"
        spiffe_id(below, domain)
        return text
    return spiffe_id(text, domain)


def matches(pattern: str, subject: str) -> bool:
    """Whether `subject` is what `pattern` names: itself, or something below a final `/*`."""
    if pattern.endswith("/*"):
        return subject.startswith(pattern[:-1]) and len(subject) > len(pattern) - 1
    return subject == pattern


def https_uri(text: str) -> str:
    """Check an https URI: lower-case host, plain path, no query, fragment, user or encoded octet, 255 characters.

    A port is written only where it is not that of https, and without leading zeros: one address, one spelling.
    """
    found = _HTTPS.fullmatch(text) if len(text) <= MAX_AUDIENCE else None
    if found is None or ".." in text or ("/." in text and _DOT_SEGMENT.search(text)):
        raise _refusal("https URI", text)
    if (port := found[1]) and (port == HTTPS_PORT or int(port) > MAX_PORT):
        raise _refusal("https URI", text)
    return text


def audience(text: str) -> str:
    """Check what a credential is for: an https URI or a SPIFFE ID, at most 255 characters, compared exactly."""
    if len(text) > MAX_AUDIENCE:
        raise _refusal("audience", text)
    return spiffe_id(text) if text.startswith("spiffe://") else https_uri(text)


def label(text: str, what: str = "name") -> str:
    """Check a person, site, profile, appliance or key name: lower-case words joined by single hyphens."""
    if not _LABEL.fullmatch(text) or len(text) > MAX_LABEL:
        raise _refusal(what, text)
    return text


def scope_token(text: str) -> str:
    """Check one scope (RFC 6749 section 3.3)."""
    if not _SCOPE.fullmatch(text):
        raise _refusal("scope", text)
    return text


def scope_tokens(text: str) -> tuple[str, ...]:
    """Check scopes joined by single spaces (RFC 6749 section 3.3) and give each."""
    found = tuple(text.split(" "))
    if not _SCOPES.fullmatch(text):
        for item in found:
            scope_token(item)
    return found


def plain_text(text: str, what: str) -> str:
    """Check a text for people that is about to be taken in: something can be seen in it, and nothing in it cannot.

    Besides what `stored_text` refuses: a text of spaces alone, characters that show nothing, and marks that stand on no
    letter or more than four deep.
    """
    stored_text(text, what)
    if _BLANK.search(text) or not text.strip(" "):
        raise _refusal(what, text)
    if text.isascii():
        return text
    depth = MOST_MARKS
    for character in text:
        depth = depth + 1 if unicodedata.category(character) in _MARKS else 0
        if depth > MOST_MARKS:
            raise _refusal(what, text)
    return text


def check_texts(value: Json, what: str = "text") -> None:
    """Hold every text in a value to `plain_text`: whatever a member is for, it is shown to people."""
    match value:
        case str():
            plain_text(value, what)
        case list():
            for item in value:
                check_texts(item, what)
        case dict():
            for name, item in value.items():
                check_texts(item, name[:32])
        case _:
            return


def stored_text(text: str, what: str) -> str:
    """Check a text for people where it was signed or logged before: nothing moves a cursor or turns a line around."""
    if _UNSEEN.search(text):
        raise _refusal(what, text)
    return text


def jti(text: str) -> str:
    """Check a credential's or command's own id: 16 to 64 base64url characters."""
    if not _JTI.fullmatch(text):
        raise _refusal("jti", text)
    return text


def _refusal(what: str, text: str) -> Malformed:
    return Malformed(f"not a {what}: {text[:80]!a}")
