"""A site never takes back history (R38): what a new bundle says is held to what the bundle before it said.

The log has grown from the one that the site knows, by a consistency proof that the bundle carries; status lists of one
URI are newer and clear no bit; taints stay. Once custodians have replaced the bundle key all this begins anew, since
the thief of that key may have written what was held.
"""

from collections.abc import Mapping

from coldcred import layout, status
from coldcred.errors import BundleReason, BundleRefused, LogContradicted, LogRejected, Malformed
from coldcred.jose import parse_unverified
from coldcred.log import consistency
from coldcred.log.consistency import Proof
from coldcred.log.note import Checkpoint, VerifierKey, open_checkpoint
from coldcred.trust import TrustStore

ENTRIES_A_SECOND = 10_000
"""A log grows by no more than this for each second between two bundles: what the fastest appliance measured appends."""

ENTRIES_AT_ONCE = 1_000_000
"""And by this beyond, for what stood in the log before the first of them was issued and was not signed yet."""


def checkpoint_of(store: TrustStore) -> Checkpoint:
    """Give the checkpoint of a bundle, signed by the log key that custodians signed (`BundleRefused`)."""
    identity = store.identity
    try:
        return open_checkpoint(store.checkpoint, VerifierKey.parse(identity.log_vkey), origin=identity.log_origin)
    except Malformed as error:
        raise BundleRefused(BundleReason.MALFORMED, f"{layout.CHECKPOINT}: {error}") from error
    except LogRejected as error:
        raise BundleRefused(BundleReason.BAD_SIGNATURE, f"{layout.CHECKPOINT}: {error.detail}") from error


def proofs_of(files: Mapping[str, bytes]) -> tuple[Proof, ...] | None:
    """Give the consistency proofs that a bundle carries, or None where it is of a release that made none."""
    if layout.CONSISTENCY not in files:
        return None
    try:
        return consistency.parse(files[layout.CONSISTENCY])
    except Malformed as error:
        raise BundleRefused(BundleReason.MALFORMED, f"{layout.CONSISTENCY}: {error}") from error


def check_proofs(store: TrustStore, files: Mapping[str, bytes]) -> None:
    """Return when each proof that a bundle carries leads to its checkpoint (`BundleRefused`)."""
    checkpoint = checkpoint_of(store)
    for proof in proofs_of(files) or ():
        try:
            proof.verify(checkpoint)
        except LogRejected as error:
            detail = f"{layout.CONSISTENCY}: from {proof.size} entries: {error.detail}"
            raise BundleRefused(BundleReason.MALFORMED, detail) from error


def check_log(
    store: TrustStore, files: Mapping[str, bytes], before: TrustStore, held: Mapping[str, bytes], *, renewed: bool
) -> None:
    """Return when the log of a bundle is proven to have grown from the log that the site knows.

    Raises `BundleRefused`, and `LogContradicted` where two signed checkpoints do not go together.
    """
    if store.identity.log_vkey != before.identity.log_vkey:
        detail = f"it continues log {store.identity.log_vkey}, and this site knows {before.identity.log_vkey}"
        raise BundleRefused(BundleReason.OTHER_LOG, detail)
    new, known, proofs = checkpoint_of(store), checkpoint_of(before), proofs_of(files)
    if proofs is None and layout.CONSISTENCY in held:
        raise BundleRefused(BundleReason.LOG_UNPROVEN, "it carries no proofs, and the bundle before it did")
    _check_grown(store, before, new, known, proofs)
    if not renewed:
        _check_growth(new.size - known.size, store.times.issued_at - before.times.issued_at)


def _check_grown(
    store: TrustStore, before: TrustStore, new: Checkpoint, known: Checkpoint, proofs: tuple[Proof, ...] | None
) -> None:
    def contradicted(reason: BundleReason, detail: str) -> LogContradicted:
        held, found = ((trust.times.sequence, trust.checkpoint) for trust in (before, store))
        return LogContradicted(reason, detail, held=held, found=found)

    if new.size < known.size:
        detail = f"its log has {new.size} entries where {known.size} were seen before"
        raise contradicted(BundleReason.ROLLBACK, detail)
    if new.size == known.size:
        if new.root != known.root:
            detail = f"its log has another root at {new.size} entries than the log that this site knows"
            raise contradicted(BundleReason.LOG_FORKED, detail)
        return
    if proofs is None:
        return
    proof = next((proof for proof in proofs if proof.size == known.size), None)
    if proof is None:
        detail = f"none of its proofs leads from the {known.size} entries that this site knows to its {new.size}"
        raise contradicted(BundleReason.LOG_UNPROVEN, detail)
    try:
        Proof(known.size, known.root, proof.hashes).verify(new)
    except LogRejected as error:
        detail = f"its log did not grow from the {known.size} entries that this site knows: {error.detail}"
        raise contradicted(BundleReason.LOG_FORKED, detail) from error


def _check_growth(entries: int, seconds: int) -> None:
    """Return when a log can have grown so fast; a thief must not be able to use all sizes up at once."""
    most = ENTRIES_AT_ONCE + ENTRIES_A_SECOND * max(0, seconds)
    if entries > most:
        detail = f"its log would have grown by {entries} entries in {seconds} s, where at most {most} are believed"
        raise BundleRefused(BundleReason.FAST_FORWARD, detail)


def check_revocations(store: TrustStore, before: TrustStore, held: Mapping[str, bytes]) -> None:
    """Return when nothing that was revoked or tainted is so no more (`BundleRefused`).

    A list leaves only with the key that signed it, when that is tainted; a taint only with its key, when custodians no
    longer sign that.
    """
    for kid in before.taints - store.taints:
        if kid in store.keys:
            raise BundleRefused(BundleReason.ROLLBACK, f"key {kid} is tainted, and would be believed again")
    signers = _signers(held)
    for uri, known in before.status_lists.items():
        new = store.status_lists.get(uri)
        if new is None:
            if signers[uri] in store.taints:
                continue
            raise BundleRefused(BundleReason.ROLLBACK, f"status list {uri} is missing, which this site already holds")
        if new.issued_at < known.issued_at:
            raise BundleRefused(BundleReason.ROLLBACK, f"status list {uri} is older than the one that this site holds")
        if int.from_bytes(known.bits) & ~int.from_bytes(new.bits):
            raise BundleRefused(BundleReason.ROLLBACK, f"status list {uri} takes a revocation back")


def _signers(held: Mapping[str, bytes]) -> dict[str, str]:
    """Give for each status list by URI the kid that signed it."""
    tokens = [parse_unverified(held[name], max_bytes=status.MAX_TOKEN) for name in layout.STATUS_LISTS if name in held]
    return {status.parse_uri(token.payload): token.header.kid for token in tokens}
