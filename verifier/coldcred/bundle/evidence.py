"""Contradictions that a site met, kept beside its trust for an auditor; nothing that verification reads."""

import os
from contextlib import suppress

from coldcred import generation
from coldcred.bundle import storing
from coldcred.canonical import sha256_hex
from coldcred.errors import LogContradicted, Malformed, Reason, Rejected
from coldcred.layout import EVIDENCE
from coldcred.log import keeping
from coldcred.log.keeping import Contradiction

_UNFINISHED = f"{EVIDENCE}.new"


def read(path: str | os.PathLike[str]) -> bytes | None:
    """Give the evidence that the trust store in directory `path` keeps, or None where there is none.

    Raises `Rejected`: `trust-missing`, or `trust-damaged` where it cannot be read as evidence.
    """
    with generation.opened(path) as handle:
        generation.read_pins(handle)
        return _read(handle)


def keep(handle: int, contradicted: LogContradicted, data: bytes, *, at: int) -> bool:
    """Keep both checkpoints of a contradiction that the bundle `data` made; gives whether they are kept now.

    One that is kept already stays as it is, and beyond `MOST_FOUND` the first ones stay. `handle` is the store's
    folder, locked; what is there and cannot be read is left alone. `at` is the site's clock in Unix seconds.
    """
    (held_bundle, held), (found_bundle, found) = contradicted.held, contradicted.found
    new = Contradiction(at, contradicted.reason.value, held, held_bundle, found, found_bundle, sha256_hex(data))
    try:
        body = _read(handle)
    except Rejected:
        return False
    kept = keeping.parse_evidence(body) if body is not None else ()
    if any((one.held, one.found) == (new.held, new.found) for one in kept):
        return True
    if len(kept) == keeping.MOST_FOUND:
        return False
    try:
        with suppress(FileNotFoundError):
            os.unlink(_UNFINISHED, dir_fd=handle)
        storing.write_files(handle, {_UNFINISHED: keeping.write_evidence((*kept, new))})
        os.rename(_UNFINISHED, EVIDENCE, src_dir_fd=handle, dst_dir_fd=handle)
        os.fsync(handle)
    except OSError:
        return False
    return True


def _read(handle: int) -> bytes | None:
    body = generation.read_beside(handle, EVIDENCE, keeping.MAX_EVIDENCE)
    if body is None:
        return None
    try:
        keeping.parse_evidence(body)
    except Malformed as error:
        raise Rejected(Reason.TRUST_DAMAGED, f"{EVIDENCE}: {error}") from error
    return body
