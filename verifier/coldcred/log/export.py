"""Exports: a whole log in one file, verified by whoever carries it away, with nothing but a key from elsewhere (R35).

    about.json        {"appliance":"<64 hex>","size":N,"v":1,"vkey":"..."}
    blobs.jsonl       documents that entries name by SHA-256, a line each, sorted by digest
    checkpoint        a signed note over exactly N entries
    entries.jsonl     entries 0 to N-1, verbatim, a line each
    founding.json     the founding; its SHA-256 is the appliance's id

The chain locates a change, the checkpoint's root proves the whole, a checkpoint kept elsewhere proves that nothing was
taken back, and the signatures of people prove what the appliance itself could have made up. Entries are read once and
one at a time; only what later entries rest on is kept.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO, Final

from coldcred import founding
from coldcred.canonical import loads_canonical
from coldcred.errors import LogReason, LogRejected, Malformed
from coldcred.founding import Founding
from coldcred.framing import BUNDLE, EXPORT, FramedFile
from coldcred.log import keeping
from coldcred.log.blobs import Blobs
from coldcred.log.extent import Kept, walk
from coldcred.log.history import History
from coldcred.log.note import MAX_NOTE, Checkpoint, VerifierKey, open_checkpoint
from coldcred.log.signing import LoggedKey
from coldcred.record import Record

ABOUT, BLOBS, CHECKPOINT, ENTRIES, FOUNDING = FILES = (
    "about.json", "blobs.jsonl", "checkpoint", "entries.jsonl", "founding.json",
)  # fmt: skip
IN_BUNDLE: Final = "targets/log/checkpoint"

_MAX_ABOUT = 4096
_EVIDENCE: Final = b'{"found":'  # how a site's evidence begins, and no note does


@dataclass(frozen=True, slots=True)
class Anchor:
    """What came from outside the export: the log's key and, where a trust store gave it, the appliance's id (hex).

    `checkpoint` is the newest signed note that came with the key, `earlier` are those that a site believed before it.
    Unlike ones that were kept on purpose they may lie beyond the export, which is then older: the report says so.
    """

    key: VerifierKey
    appliance: str | None = None
    checkpoint: bytes | None = None
    earlier: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What an intact log says; times are Unix seconds, `root` is hex, `open_intents` and `kept` count from 0.

    Without `anchored` all of it is only what the file says of itself: self-consistent, signer unknown. `kept` are the
    sizes of outside checkpoints that this log has grown from, `newer` that of the anchor's where it lies beyond this
    log, `outcomes` what became of announced signatures.
    """

    appliance: str
    name: str
    single_operator: bool
    anchored: bool
    log_key: str
    entries: int
    root: str
    first_time: int
    last_time: int
    counts: Mapping[str, int]
    outcomes: Mapping[str, int]
    open_intents: tuple[int, ...]
    keys: tuple[LoggedKey, ...]
    kept: tuple[int, ...]
    newer: int | None


@dataclass(frozen=True, slots=True)
class _About:
    appliance: str
    size: int
    key: VerifierKey


def verify(stream: BinaryIO, anchor: Anchor | None = None, kept: Iterable[tuple[str, bytes]] = ()) -> Report:
    """Verify the export in a seekable stream against an outside `anchor` and checkpoints (name, note) `kept` outside.

    Raises `LogRejected`; its `seq` is the first bad entry where one can be named. Without an anchor everything is held
    to the key that the export itself names, and the report says so.
    """
    with _strictly():
        framed = FramedFile(stream, EXPORT)
        if tuple(framed.bodies) != FILES:
            raise Malformed(f"an export holds {', '.join(FILES)} and nothing else")
        about = _about(framed.read(ABOUT, max_bytes=_MAX_ABOUT))
        founded = founding.parse(framed.read(FOUNDING, max_bytes=founding.MAX_FOUNDING))
        key = anchor.key if anchor else about.key
        checkpoint = open_checkpoint(framed.read(CHECKPOINT, max_bytes=MAX_NOTE), key)
        _check_same_log(about, founded, checkpoint, anchor)
        held = tuple(_open_kept(name, note, key) for name, note in kept)
        known = _known(anchor, key)
        newer = max((one.checkpoint.size for one in known if one.checkpoint.size > checkpoint.size), default=None)
        held = (*held, *(one for one in known if one.checkpoint.size <= checkpoint.size))
        blobs = Blobs(framed, stream, BLOBS)
    history = History(founded, blobs)
    times = walk(framed.lines(ENTRIES), history, checkpoint, held)
    blobs.check_named()
    if history.log_key() != key:
        raise LogRejected(LogReason.WRONG_KEY, "the checkpoint is signed by another key than the log's own log key")
    return Report(
        appliance=founded.appliance_id,
        name=founded.name,
        single_operator=founded.single_operator,
        anchored=anchor is not None,
        log_key=key.format(),
        entries=checkpoint.size,
        root=checkpoint.root.hex(),
        first_time=times[0],
        last_time=times[1],
        counts=MappingProxyType(dict(history.counts)),
        outcomes=MappingProxyType(dict(history.signing.outcomes)),
        open_intents=history.signing.open_intents,
        keys=tuple(history.signing.keys.values()),
        kept=tuple(sorted({one.checkpoint.size for one in held})),
        newer=newer,
    )


def find_checkpoints(stream: BinaryIO) -> tuple[tuple[str, bytes], ...]:
    """Give all checkpoints in a file that was kept: one as `find_checkpoint` does, or those of a site's evidence.

    Before each stands what the file says that it is, which is nothing where there is one.
    """
    stream.seek(0)
    if stream.read(len(_EVIDENCE)) != _EVIDENCE:
        return (("", find_checkpoint(stream)),)
    stream.seek(0)
    found: list[tuple[str, bytes]] = []
    for one in keeping.parse_evidence(stream.read(keeping.MAX_EVIDENCE + 1)):
        found.append((f" (held, bundle {one.held_bundle})", one.held))
        found.append((f" (refused, bundle {one.found_bundle})", one.found))
    return tuple(found)


def find_checkpoint(stream: BinaryIO) -> bytes:
    """Give the checkpoint in a file that was kept: a note, or an older export or a bundle that holds one (`Malformed`).

    It is not verified here; `verify` does that.
    """
    for magic, name in ((EXPORT, CHECKPOINT), (BUNDLE, IN_BUNDLE)):
        stream.seek(0)
        if stream.read(len(magic)) == magic:
            return FramedFile(stream, magic).read(name, max_bytes=MAX_NOTE)
    stream.seek(0)
    note = stream.read(MAX_NOTE + 1)
    if len(note) > MAX_NOTE:
        raise Malformed(f"neither a note nor an export nor a bundle: over {MAX_NOTE} bytes")
    return note


def _known(anchor: Anchor | None, key: VerifierKey) -> tuple[Kept, ...]:
    """Open the checkpoints that came with the key; those of a site under the key that its newest bundle names."""
    if anchor is None or anchor.checkpoint is None:
        return ()
    notes = dict.fromkeys((*anchor.earlier, anchor.checkpoint))
    return tuple(_open_kept("the trust store's checkpoint", note, key) for note in notes)


def _about(body: bytes) -> _About:
    record = Record.of(loads_canonical(body, max_bytes=_MAX_ABOUT), ABOUT)
    record.version()
    about = _About(record.digest("appliance"), record.integer("size", least=1), VerifierKey.parse(record.text("vkey")))
    record.done()
    return about


def _check_same_log(about: _About, founded: Founding, checkpoint: Checkpoint, anchor: Anchor | None) -> None:
    """Hold what stands beside the entries to each other and to the anchor."""
    if about.appliance != founded.appliance_id:
        raise Malformed(f"{ABOUT} names another appliance than {FOUNDING} founds")
    if anchor is not None and anchor.appliance not in {None, founded.appliance_id}:
        detail = f"this is the log of appliance {founded.appliance_id}, not of {anchor.appliance}"
        raise LogRejected(LogReason.UNKNOWN_SIGNER, detail)
    if about.size != checkpoint.size:
        detail = f"it covers {checkpoint.size} entries where {ABOUT} says {about.size}"
        raise LogRejected(LogReason.BAD_CHECKPOINT, detail)
    if anchor is not None and about.key != anchor.key:
        raise LogRejected(LogReason.WRONG_KEY, f"{ABOUT} names another log key than the one that signed")


def _open_kept(name: str, note: bytes, key: VerifierKey) -> Kept:
    """Open a checkpoint that was kept outside; it counts only under the same log key."""
    try:
        return Kept(name, open_checkpoint(note, key))
    except Malformed as error:
        raise LogRejected(LogReason.BAD_CHECKPOINT, f"{name}: {error}") from error
    except LogRejected as error:
        raise LogRejected(error.reason, f"{name}: {error.detail}") from error


@contextmanager
def _strictly() -> Iterator[None]:
    try:
        yield
    except Malformed as error:
        raise LogRejected(LogReason.MALFORMED, str(error)) from error
