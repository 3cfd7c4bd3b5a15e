"""Twelve attacks on an exported log of a thousand entries, each three times.

First the file is changed and its digests are made right again: the chain finds it, or the checkpoint does. Then every
link is made right again too, and every number that one entry says of another: the signed root finds it. Last the
attacker has the log key and signs his own history: one checkpoint kept outside finds it. A second verifier that shares
no line with ours agrees each time.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from coldcred.errors import LogReason, LogRejected
from coldcred.keys import Algorithm
from coldcred.log import entry as entries
from coldcred.log.chain import Head
from coldcred.log.export import Anchor, verify
from coldcred.log.note import Checkpoint
from coldcred.log.tree import Frontier, leaf_hash
from tests.support import independent_verifier as independent
from tests.support.logworld import ORIGIN, STATUS_LIST, Event, LogWorld, about, appliance_key, note_over, vkey
from tests.support.signers import Signer

LENGTH, MIDDLE, LAST = 1_000, 501, 7
KEPT = 900
"""Entries under the checkpoint that somebody keeps outside."""

Bodies: TypeAlias = list[bytes]
Found: TypeAlias = tuple[LogReason, int | None]


@dataclass(frozen=True)
class Logs:
    """Our log, and another one of the same founders under the same keys that went another way."""

    ours: LogWorld
    theirs: LogWorld

    def export(self, bodies: Bodies, note: bytes | None = None, *, size: int | None = None) -> bytes:
        """Frame these entries with our blobs and theirs, and our checkpoint unless told."""
        blobs = LogWorld(self.ours.founded, "plant-a", blobs={**self.ours.blobs, **self.theirs.blobs})
        return blobs.export(
            about=about(self.ours.founded.appliance_id, size or len(self.ours.bodies), vkey()),
            checkpoint=note or self.ours.note(),
            entries=b"".join(body + b"\n" for body in bodies),
        )


def _long(world: LogWorld, *, serial: int) -> LogWorld:
    """Go on to a thousand entries; commands are numbered from `serial`."""
    world.serial = serial
    while world.head.size < LENGTH - 3:
        world.issue()
        world.issue()
        world.settle()
        if world.head.size % 10 == 0:
            world.checkpoint().settle()
    while world.head.size < LENGTH - 1:
        world.append({"type": "stopped"})
    return world.exported()


@pytest.fixture(scope="module")
def logs() -> Logs:
    """Return both logs, each of exactly a thousand entries."""
    begun = LogWorld.begin().start()
    found = Logs(_long(begun.copy(), serial=0), _long(begun.copy(), serial=100_000))
    assert len(found.ours.bodies) == len(found.theirs.bodies) == LENGTH
    return found


def refused(export: bytes, *kept: bytes) -> Found | None:
    """Give reason and entry of the refusal, in which the second verifier must agree; None when intact."""
    try:
        verify(io.BytesIO(export), Anchor(vkey()), [("kept", note) for note in kept])
    except LogRejected as error:
        with pytest.raises(independent.Bad):
            independent.check(export, vkey().format(), kept)
        return error.reason, error.seq
    independent.check(export, vkey().format(), kept)
    return None


# --- attacks on entries: what becomes of the lines of our log


def _delete_first(logs: Logs) -> Bodies:
    return logs.ours.bodies[1:]


def _delete_middle(logs: Logs) -> Bodies:
    return logs.ours.bodies[:MIDDLE] + logs.ours.bodies[MIDDLE + 1 :]


def _delete_last(logs: Logs) -> Bodies:
    return logs.ours.bodies[:-LAST]


def _insert(logs: Logs) -> Bodies:
    return [*logs.ours.bodies[:MIDDLE], logs.theirs.bodies[MIDDLE], *logs.ours.bodies[MIDDLE:]]


def _reorder(logs: Logs) -> Bodies:
    ours = logs.ours.bodies
    return [*ours[:MIDDLE], ours[MIDDLE + 1], ours[MIDDLE], *ours[MIDDLE + 2 :]]


def _duplicate(logs: Logs) -> Bodies:
    return [*logs.ours.bodies[: MIDDLE + 1], *logs.ours.bodies[MIDDLE:]]


def _replace(logs: Logs) -> Bodies:
    return [*logs.ours.bodies[:MIDDLE], logs.theirs.bodies[MIDDLE], *logs.ours.bodies[MIDDLE + 1 :]]


def _splice(logs: Logs) -> Bodies:
    return logs.ours.bodies[:MIDDLE] + logs.theirs.bodies[MIDDLE:]


def _change_time(logs: Logs) -> Bodies:
    ours = list(logs.ours.bodies)
    old = entries.parse(ours[MIDDLE])
    ours[MIDDLE] = entries.write(old.seq, old.time + 1, old.prev, old.event).body
    return ours


ATTACKS: list[tuple[Callable[[Logs], Bodies], Found, LogReason]] = [
    (_delete_first, (LogReason.WRONG_SEQUENCE, 0), LogReason.MALFORMED),
    (_delete_middle, (LogReason.WRONG_SEQUENCE, MIDDLE), LogReason.INCOMPLETE),
    (_delete_last, (LogReason.INCOMPLETE, LENGTH - LAST), LogReason.INCOMPLETE),
    (_insert, (LogReason.BROKEN_CHAIN, MIDDLE), LogReason.WRONG_ROOT),
    (_reorder, (LogReason.WRONG_SEQUENCE, MIDDLE), LogReason.WRONG_ROOT),
    (_duplicate, (LogReason.WRONG_SEQUENCE, MIDDLE + 1), LogReason.BAD_COMMAND),
    (_replace, (LogReason.BROKEN_CHAIN, MIDDLE), LogReason.WRONG_ROOT),
    (_splice, (LogReason.BROKEN_CHAIN, MIDDLE - 1), LogReason.WRONG_ROOT),
    (_change_time, (LogReason.BROKEN_CHAIN, MIDDLE), LogReason.WRONG_ROOT),
]
"""Each with the entry at which the chain refuses it, and the reason once every link and number is right again."""


def _name(value: object) -> str:
    return getattr(value, "__name__", "").strip("_")


@pytest.mark.parametrize(("attack", "found", "_rechained"), ATTACKS, ids=_name)
def test_the_chain_locates_it(
    attack: Callable[[Logs], Bodies], found: Found, _rechained: LogReason, logs: Logs
) -> None:
    """Entries taken out, put in, moved or changed are refused where the first link does not hold."""
    assert refused(logs.export(attack(logs))) == found


def rechained(bodies: Bodies) -> Bodies:
    """Give the log that these entries would be: numbers, links, times, ids, and outcomes for all that has none."""
    head, frontier = Head(), Frontier()
    still_open: list[int] = []
    written = []
    for body in bodies:
        old = entries.parse(body)
        event = _renumbered(old.event, still_open, head.size, frontier)
        if old.type == "outcomes":
            still_open = []
        elif "signs" in event:
            still_open.append(head.size)
        fresh = entries.write(head.size, max(old.time, head.time), head.digest, event)
        head, frontier = Head.of(fresh), frontier.append(fresh.leaf)
        written.append(fresh.body)
    return written


def _renumbered(event: Event, still_open: list[int], seq: int, before: Frontier) -> Event:
    result = event.get("result")
    match event["type"]:
        case "checkpoint":
            text = Checkpoint(ORIGIN, seq, before.root()).text()
            signs = LogWorld.signs(_SIGNER, "log", text)
            return {**event, "size": seq, "root": before.root().hex(), "signs": signs}
        case "outcomes":
            return {**event, "signed": [*still_open]}
        case "credential.issued" if isinstance(result, dict):
            own: Event = {"log": seq, "jti": f"credential-{seq:012d}", "status": {"idx": seq, "uri": STATUS_LIST}}
            return {**event, "result": {**result, **own}}
        case "log.exported":
            return {**event, "result": {"size": seq + 1}}
        case _:
            return event


_SIGNER = LogWorld.begin()


@pytest.mark.parametrize(("attack", "_found", "reason"), ATTACKS, ids=_name)
def test_the_root_finds_it_when_every_link_is_right(
    attack: Callable[[Logs], Bodies], _found: Found, reason: LogReason, logs: Logs
) -> None:
    """Without the log key a history that is right in itself is not the one that was signed."""
    forged = rechained(attack(logs))
    found = refused(logs.export(forged))
    assert found is not None
    assert found[0] is reason


@pytest.mark.parametrize(("attack", "_found", "_reason"), ATTACKS, ids=_name)
def test_a_kept_checkpoint_finds_it_when_the_log_key_signed(
    attack: Callable[[Logs], Bodies], _found: Found, _reason: LogReason, logs: Logs
) -> None:
    """Whoever holds the log key can sign another history, but not one that agrees with what others kept."""
    forged = rechained(attack(logs))
    note = note_over([leaf_hash(body) for body in forged], appliance_key("log"))
    export = logs.export(forged, note, size=len(forged))
    kept = logs.ours.note() if attack is _delete_last else logs.ours.note(KEPT)
    assert refused(export, kept) is not None


# --- attacks on the file


def test_roll_the_whole_file_back(logs: Logs) -> None:
    """An older export, whole in itself, is refused by any checkpoint that was kept since, and by no other."""
    older = LogWorld.begin().start().exported().export()
    assert refused(older) is None
    assert refused(older, logs.ours.note(KEPT)) == (LogReason.WRONG_ROOT, None)


def test_truncate(logs: Logs) -> None:
    """A file that ends early is refused, cut in its entries, between two of them, or in what follows."""
    export = logs.ours.export()
    assert refused(export) is None
    middle = export.index(logs.ours.bodies[MIDDLE])
    for end in (middle, middle + 10, len(export) - 1, len(export) // 2):
        assert refused(export[:end]) == (LogReason.MALFORMED, None)


@pytest.mark.parametrize("key", ["an older log key", "plant-a bundle", "mallory log"])
def test_sign_with_another_key(key: str, logs: Logs) -> None:
    """A checkpoint by an older key, or by any other, is not signed by the key that came from outside."""
    note = logs.ours.note(key=Signer.named(key, Algorithm.ED25519))
    assert refused(logs.export(logs.ours.bodies, note)) == (LogReason.UNKNOWN_SIGNER, None)
    forged = note.replace(logs.ours.note().splitlines()[-1].split()[1], b"mallory")
    assert refused(logs.export(logs.ours.bodies, forged)) == (LogReason.UNKNOWN_SIGNER, None)
