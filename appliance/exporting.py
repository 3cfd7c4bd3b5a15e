"""Exports: the whole log, what it refers to, and a checkpoint over it, in one file an auditor can carry away.

Here it is decided; `appliance.engine.handover` makes the file while it is handed over.
"""

from dataclasses import replace

from appliance.decision import Ask, Decision, Finished
from appliance.errors import Refusal, Refused
from appliance.nouns import checkpoints, keys
from appliance.outcome import Export
from appliance.standing import Standing
from coldcred.canonical import dumps
from coldcred.charter import Purpose
from coldcred.log.export import ABOUT, CHECKPOINT, FOUNDING
from coldcred.record import Record


def decide_export(standing: Standing, ask: Ask, now: int) -> Decision:
    """Export the log up to and with the entry that records the export: no arguments.

    While the log key's token is closed (R5), and when the log key has ended (R41), no checkpoint can be signed: then up
    to the newest that was kept.
    """
    Record(ask.command.args, "log.export").done()
    key, _ = keys.ready(standing.authority, Purpose.LOG)
    if now >= key.not_after:
        return _decide_older(standing, ask, Refused(Refusal.KEY_ENDED, keys.ended(key)))
    if key.token not in standing.opened:
        return _decide_older(standing, ask, Refused(Refusal.KEY_NOT_READY, f"token {key.token} is not open"))
    size = standing.head.size + 1
    event = ask.event("log.exported", {}, {"size": size})

    def checkpoint(_signatures: object) -> Decision:
        covered = standing.frontier
        return checkpoints.decide(standing.authority, covered, lambda note: _file(standing, covered.size, note))

    return Decision((event,), finish=checkpoint)


def _decide_older(standing: Standing, ask: Ask, cause: Refused) -> Decision:
    """Export up to the newest kept checkpoint, and say why no further; without one, `cause` is the refusal."""
    kept = standing.archive.newest_checkpoint()
    if kept is None:
        raise Refused(cause.reason, f"{cause.detail}, and no checkpoint was kept")
    size, note = kept
    event = ask.event("log.exported", {}, {"size": size})
    told = f"{cause.detail}: the export ends with the newest checkpoint, of {size} entries"
    return Decision((event,), finish=lambda _none: replace(_file(standing, size, note), warnings=(told,)))


def _file(standing: Standing, size: int, note: bytes) -> Finished:
    founding = standing.authority.founding
    vkey = checkpoints.verifier_key(standing.authority).format()
    about = dumps({"v": 1, "appliance": founding.appliance_id, "size": size, "vkey": vkey})
    return Finished(export=Export(size, {ABOUT: about, CHECKPOINT: note, FOUNDING: founding.body}))
