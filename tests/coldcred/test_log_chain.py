"""The hash chain: every change is found, and found where it is."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coldcred.errors import LogReason, LogRejected
from coldcred.log import chain, entry

TIME = 1_790_000_000
LENGTH = 120


def log(length: int, name: str = "ours") -> list[bytes]:
    """Return the bodies of a log of `length` entries, whose contents depend on `name`."""
    head, bodies = chain.Head(), []
    for seq in range(length):
        event = {"type": "credential.issued", "jti": f"{name}-{seq:06d}", "note": "caf\u00e9"}
        written = entry.write(head.size, TIME + seq // 3, head.digest, event)
        head = chain.Head.of(written)
        bodies.append(written.body)
    return bodies


BODIES = log(LENGTH)


def found(bodies: list[bytes], start: chain.Head | None = None) -> tuple[LogReason, int | None] | None:
    """Return the reason and the entry at which a chain is refused; None when it holds."""
    try:
        for _ in chain.verify_chain(bodies, start):
            pass
    except LogRejected as refusal:
        return refusal.reason, refusal.seq
    return None


def rewritten(body: bytes, **members: Any) -> bytes:
    """Return an entry with members replaced, in canonical form."""
    return json.dumps(
        {**json.loads(body), **members}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()


def test_an_intact_chain_is_yielded_whole() -> None:
    """All entries come out, in order, each as its bytes stand."""
    entries = list(chain.verify_chain(BODIES))
    assert [one.body for one in entries] == BODIES
    assert [one.seq for one in entries] == list(range(LENGTH))
    assert [one.prev for one in entries[1:]] == [hashlib.sha256(body).digest() for body in BODIES[:-1]]
    assert list(chain.verify_chain([])) == []


def test_the_largest_entry_and_the_earliest_time_are_links_like_others() -> None:
    """A first entry at time 0 of exactly 65,535 bytes is read."""
    room = entry.MAX_BODY - len(entry.write(0, 0, entry.NO_PREV, {"type": "x", "pad": ""}).body)
    largest = entry.write(0, 0, entry.NO_PREV, {"type": "x", "pad": "a" * room})
    assert list(chain.verify_chain([largest.body])) == [largest]


def test_a_chain_can_be_taken_up_where_it_was_left() -> None:
    """Verifying the rest from a kept head is the same as verifying all; from another head it is refused."""
    middle = chain.Head.of(entry.parse(BODIES[49]))
    assert middle == chain.Head(50, hashlib.sha256(BODIES[49]).digest(), TIME + 16)
    assert [one.seq for one in chain.verify_chain(BODIES[50:], middle)] == list(range(50, LENGTH))
    assert found(BODIES[51:], middle) == (LogReason.WRONG_SEQUENCE, 50)
    other = chain.Head.of(entry.parse(log(50, "theirs")[49]))
    assert found(BODIES[50:], other) == (LogReason.BROKEN_CHAIN, 49)


def test_entries_are_read_as_they_are_asked_for() -> None:
    """The chain is not gathered first: an entry comes out when its successor was read, and nothing more."""
    asked = []

    def bodies() -> Iterator[bytes]:
        for number, body in enumerate(BODIES):
            asked.append(number)
            yield body

    entries = chain.verify_chain(bodies())
    assert [next(entries).seq, next(entries).seq] == [0, 1]
    assert asked == [0, 1, 2]


def test_every_entry_before_the_bad_one_comes_out_and_none_after() -> None:
    """Whoever folds the log never sees the entry that is named, nor one behind it."""
    for attack, (bodies, _, seq) in ATTACKS.items():
        seen: list[int] = []
        with pytest.raises(LogRejected):
            seen.extend(one.seq for one in chain.verify_chain(bodies()))
        assert seen == list(range(seq)), attack


def test_every_flipped_bit_is_found_at_its_entry() -> None:
    """Ten thousand single bits: each is reported, and wherever the chain goes on, at the entry that holds it."""
    chance = random.Random(7)
    for _ in range(10_000):
        at = chance.randrange(LENGTH - 2)
        bit = chance.randrange(len(BODIES[at]) * 8)
        changed = bytearray(BODIES[at])
        changed[bit // 8] ^= 1 << bit % 8
        refusal = (
            found([BODIES[at - 1], bytes(changed), *BODIES[at + 1 : at + 3]], start(at - 1))
            if at
            else found([bytes(changed), *BODIES[1:3]])
        )
        assert refusal is not None
        assert refusal[1] == at


def start(seq: int) -> chain.Head:
    """Return the head before entry `seq`."""
    return chain.Head.of(entry.parse(BODIES[seq - 1])) if seq else chain.Head()


def test_a_change_in_the_last_entry_but_one_is_found() -> None:
    """With nothing after the broken link its second end is named, as nothing tells which end was changed."""
    bodies = [*BODIES[:-2], rewritten(BODIES[-2], event={"type": "other"}), BODIES[-1]]
    assert found(bodies) == (LogReason.BROKEN_CHAIN, LENGTH - 1)


def test_what_the_chain_alone_cannot_see() -> None:
    """A missing end, and a change in the last entry, need a checkpoint; the chain alone holds."""
    assert found(BODIES[:-5]) is None
    assert found([*BODIES[:-1], rewritten(BODIES[-1], event={"type": "other"})]) is None


THEIRS = log(LENGTH, "theirs")
EARLIER = entry.parse(BODIES[60]).time - 1

ATTACKS: dict[str, tuple[Callable[[], list[bytes]], LogReason, int]] = {
    "the first entry deleted": (lambda: BODIES[1:], LogReason.WRONG_SEQUENCE, 0),
    "an entry deleted": (lambda: BODIES[:60] + BODIES[61:], LogReason.WRONG_SEQUENCE, 60),
    "an entry inserted": (lambda: [*BODIES[:60], THEIRS[60], *BODIES[60:]], LogReason.BROKEN_CHAIN, 60),
    "an entry twice": (lambda: [*BODIES[:61], BODIES[60], *BODIES[61:]], LogReason.WRONG_SEQUENCE, 61),
    "two entries swapped": (
        lambda: [*BODIES[:60], BODIES[61], BODIES[60], *BODIES[62:]],
        LogReason.WRONG_SEQUENCE,
        60,
    ),
    "an entry of another log": (
        lambda: [*BODIES[:60], THEIRS[60], *BODIES[61:]],
        LogReason.BROKEN_CHAIN,
        60,
    ),
    "two logs spliced": (lambda: BODIES[:60] + THEIRS[60:], LogReason.BROKEN_CHAIN, 59),
    "only a time changed": (
        lambda: [*BODIES[:60], rewritten(BODIES[60], time=EARLIER + 1_000), *BODIES[61:]],
        LogReason.BROKEN_CHAIN,
        60,
    ),
    "only a number changed": (
        lambda: [*BODIES[:60], rewritten(BODIES[60], seq=61), *BODIES[61:]],
        LogReason.WRONG_SEQUENCE,
        60,
    ),
    "the event changed": (
        lambda: [*BODIES[:60], rewritten(BODIES[60], event={"type": "other"}), *BODIES[61:]],
        LogReason.BROKEN_CHAIN,
        60,
    ),
    "prev changed": (
        lambda: [*BODIES[:60], rewritten(BODIES[60], prev="a" * 64), *BODIES[61:]],
        LogReason.BROKEN_CHAIN,
        60,
    ),
    "other spelling of the same entry": (
        lambda: [*BODIES[:60], BODIES[60].replace(b":", b": ", 1), *BODIES[61:]],
        LogReason.MALFORMED,
        60,
    ),
    "a member added": (
        lambda: [*BODIES[:60], rewritten(BODIES[60], extra=1), *BODIES[61:]],
        LogReason.MALFORMED,
        60,
    ),
    "noise": (lambda: [*BODIES[:60], b"\xff", *BODIES[61:]], LogReason.MALFORMED, 60),
    "nothing": (lambda: [*BODIES[:60], b"", *BODIES[61:]], LogReason.MALFORMED, 60),
    "a mebibyte": (lambda: [*BODIES[:60], b" " * 2**20, *BODIES[61:]], LogReason.TOO_LARGE, 60),
    "noise after a broken link": (
        lambda: [*BODIES[:60], rewritten(BODIES[60], prev="a" * 64), b"\xff"],
        LogReason.BROKEN_CHAIN,
        60,
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_on_the_chain_is_found(attack: str) -> None:
    """Twelve known attacks, and some more, each with reason and entry."""
    bodies, reason, seq = ATTACKS[attack]
    assert found(bodies()) == (reason, seq)


def written_after(head: chain.Head, time: int, kind: str) -> bytes:
    """Return the next entry's bytes, correctly linked."""
    return entry.write(head.size, time, head.digest, {"type": kind}).body


def test_time_may_stand_still_but_not_go_back() -> None:
    """A correctly linked entry that is older than the one before it is refused: nobody issued with that clock."""
    head = chain.Head.of(entry.parse(BODIES[-1]))
    assert found([written_after(head, head.time, "start")], head) is None
    assert found([written_after(head, head.time - 1, "start")], head) == (LogReason.TIME_WENT_BACK, LENGTH)


def test_a_clock_reset_may_go_back_and_is_the_new_floor() -> None:
    """The entry of a clock reset may be older; what follows is measured against it."""
    head = chain.Head.of(entry.parse(BODIES[-1]))
    reset = written_after(head, head.time - 500, chain.CLOCK_RESET)
    after = chain.Head.of(entry.parse(reset))
    assert found([reset, written_after(after, after.time, "start")], head) is None
    assert found([reset, written_after(after, after.time - 1, "start")], head) == (
        LogReason.TIME_WENT_BACK,
        LENGTH + 1,
    )


def test_a_refusal_says_in_words_what_was_found() -> None:
    """The sentence names reason, entry and finding."""
    head = chain.Head.of(entry.parse(BODIES[-1]))
    with pytest.raises(LogRejected, match=rf"^time-went-back at entry {LENGTH}: it is 7 s older than the entry before"):
        list(chain.verify_chain([written_after(head, head.time - 7, "start")], head))
    with pytest.raises(LogRejected, match=r"^wrong-sequence at entry 60: the entry found here calls itself 61$"):
        list(chain.verify_chain(BODIES[:60] + BODIES[61:]))
    with pytest.raises(LogRejected, match=r"^broken-chain at entry 60: its bytes are not those that entry 61 names$"):
        list(chain.verify_chain([*BODIES[:60], rewritten(BODIES[60], event={"type": "x"}), *BODIES[61:]]))
