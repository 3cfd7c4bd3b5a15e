"""Checkpoints: the log's size and root, signed by the log key, as C2SP signed notes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from appliance.authority import Authority
from appliance.decision import Decision, Event, Finished, Signing, signs
from appliance.errors import Refusal, Refused
from appliance.nouns import keys
from coldcred.charter import LogCharter, Purpose
from coldcred.log.note import Checkpoint, VerifierKey, sign_note
from coldcred.log.tree import Frontier


def verifier_key(authority: Authority) -> VerifierKey:
    """Give the log's public key with its name, the checkpoint's origin."""
    key = authority.key_for("log")
    if key is None or key.public is None or not isinstance(key.charter, LogCharter):
        raise Refused(Refusal.KEY_NOT_READY, "the log key is not made yet")
    return VerifierKey(key.charter.origin, key.public)


def decide(authority: Authority, frontier: Frontier, then: Callable[[bytes], Finished | Decision]) -> Decision:
    """Sign a checkpoint of the log as it stands before this entry, keep it, and go on with `then(note)`."""
    name = verifier_key(authority)
    key, _ = keys.ready(authority, Purpose.LOG)
    checkpoint = Checkpoint(name.name, frontier.size, frontier.root())
    text = checkpoint.text()
    event: Event = {
        "type": "checkpoint",
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "signs": signs((name.key.thumbprint, text)),
    }

    def finish(signatures: Sequence[bytes]) -> Finished | Decision:
        note = sign_note(text, (name, signatures[0]))
        following = then(note)
        notes = ((checkpoint.size, note), *following.notes)
        if isinstance(following, Finished):
            return replace(following, notes=notes)
        return Decision(following.events, following.signings, following.blobs, notes, following.finish)

    return Decision((event,), (Signing(0, key.key_id, text),), finish=finish)
