"""Files that cross an air gap: signed documents, request files, drafts and terms, each read strictly and bounded."""

from collections.abc import Iterable
from pathlib import Path

from coldcred.canonical import sha256_hex
from coldcred.errors import Malformed
from coldcred.jose import MAX_TOKEN, parse_unverified
from coldcred.requests import MAX_FILE, DraftFile, RequestFile
from coldcred.terms import MAX_TERMS, Terms

MAX_ATTACHMENT = 8 * 1024 * 1024


def read_bounded(path: Path, most: int) -> bytes:
    """Read a file of at most `most` bytes; a longer one is `Malformed`."""
    with path.open("rb") as file:
        body = file.read(most + 1)
    if len(body) > most:
        raise Malformed(f"{path}: larger than {most} bytes")
    return body


def read_document(path: Path) -> str:
    """Read a command or an approval from its file; `Malformed` where it is none."""
    with path.open("rb") as file:
        data = file.read(MAX_TOKEN + 2)
    try:
        text = data.decode("ascii").removesuffix("\n")
        parse_unverified(text)
    except (UnicodeDecodeError, Malformed) as error:
        raise Malformed(f"{path}: not a signed document: {error}") from error
    return text


def read_request(path: Path, beside: Iterable[Path] = ()) -> RequestFile:
    """Read a request file, or a signed command alone; files `beside` it travel with either."""
    body = read_bounded(path, MAX_FILE)
    found = _parse_request(path, body) if body.startswith(b"{") else RequestFile(read_document(path))
    named = parse_unverified(found.token).payload
    return RequestFile(found.token, {**found.attachments, **read_attachments(beside, named)}, found.terms)


def _parse_request(path: Path, body: bytes) -> RequestFile:
    try:
        return RequestFile.parse(body)
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from error


def read_attachments(paths: Iterable[Path], named: bytes = b"") -> dict[str, bytes]:
    """Read what travels beside a command, by SHA-256.

    A signed document stands in its file with a newline, which is no part of it: of the two digests the one counts that
    is `named` by the command.
    """
    found: dict[str, bytes] = {}
    for path in paths:
        body = read_bounded(path, MAX_ATTACHMENT)
        bare = body.removesuffix(b"\n")
        if sha256_hex(bare).encode() in named:
            body = bare
        found[sha256_hex(body)] = body
    return found


def read_draft(path: Path) -> DraftFile:
    """Read a command that nobody has signed."""
    try:
        return DraftFile.parse(read_bounded(path, MAX_FILE))
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from error


def read_terms(path: Path) -> Terms:
    """Read a file of terms."""
    try:
        return Terms.parse(read_bounded(path, MAX_TERMS))
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from error
