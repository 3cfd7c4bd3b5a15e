"""The guard between a token and whoever asks it to sign, where the two stores cannot show it."""

from collections import Counter

import pytest

from coldcred.charter import Purpose
from hsm.errors import CharterRefused, Reaction, TokenFault
from hsm.guard import GuardedKeys
from hsm.keystore import LANES, NOTHING_SIGNED, KeyOrder
from tests.support.fake_keystore import MemoryToken
from tests.support.hsm_inputs import CASES, keep, tree_input

KEY = b"0123456789abcdef"


class FailingToken(MemoryToken):
    """A token that fails while asked to, before it signs."""

    fault: TokenFault | None = None
    asked = 0

    def sign(self, key_id: bytes, data: bytes, lane: int = 0) -> bytes:
        """Sign, or fail."""
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return super().sign(key_id, data, lane)


@pytest.mark.parametrize("reaction", Reaction)
def test_what_may_have_been_signed_is_remembered(reaction: Reaction) -> None:
    """A fault of the token says nothing about whether it signed, so the next checkpoint may not be smaller."""
    token = FailingToken()
    guard = GuardedKeys(token, lambda: 0)
    charter = CASES[Purpose.LOG].charter
    guard.admit(KEY, charter, guard.generate(KeyOrder(KEY, charter)), NOTHING_SIGNED)
    token.fault = TokenFault("the token is busy", reaction=reaction)
    keep(guard, KEY, tree_input(9))
    assert [type(answer) for answer in guard.sign(KEY, [tree_input(9)])] == [TokenFault]
    token.fault = None
    smaller, same = guard.sign(KEY, [tree_input(8), tree_input(9)])
    assert isinstance(smaller, CharterRefused)
    assert isinstance(same, bytes)


@pytest.mark.parametrize("reaction", Reaction)
def test_a_batch_ends_where_the_worker_must(reaction: Reaction) -> None:
    """After a fault that a new worker cures nothing more goes to the token; after any other the batch goes on."""
    token = FailingToken()
    guard = GuardedKeys(token, lambda: 0)
    charter = CASES[Purpose.STATUS].charter
    public = guard.generate(KeyOrder(KEY, charter))
    guard.admit(KEY, charter, public, NOTHING_SIGNED)
    token.fault = TokenFault("no", reaction=reaction)
    answers = guard.sign(KEY, CASES[Purpose.STATUS].inputs(3, public.thumbprint))
    assert [type(answer) for answer in answers] == [TokenFault] * 3
    assert token.asked == (3 if reaction in {Reaction.REFUSE, Reaction.RETRY} else 1)


class ThreadedToken(MemoryToken):
    """A token that notes the lane of each signature, and stops one lane where it is told to."""

    def __init__(self) -> None:
        """Note nothing yet."""
        super().__init__()
        self.lanes: Counter[int] = Counter()
        self.fails_in: int | None = None

    def sign(self, key_id: bytes, data: bytes, lane: int = 0) -> bytes:
        """Sign and note, or fail in one lane."""
        self.lanes[lane] += 1
        if lane == self.fails_in:
            raise TokenFault("gone", reaction=Reaction.REINITIALISE)
        return super().sign(key_id, data, lane)


def test_a_batch_is_signed_in_lanes_and_answered_in_order() -> None:
    """Every lane signs its part; each answer is the signature of the input at its place, a refusal stays at its own."""
    token = ThreadedToken()
    guard = GuardedKeys(token, lambda: 0)
    charter = CASES[Purpose.TOKENS].charter
    public = guard.generate(KeyOrder(KEY, charter))
    guard.admit(KEY, charter, public, NOTHING_SIGNED)
    inputs = CASES[Purpose.TOKENS].inputs(41, public.thumbprint)
    inputs[30] = b"not a token"
    answers = guard.sign(KEY, inputs)
    assert sorted(token.lanes) == list(range(LANES))
    assert isinstance(answers[30], CharterRefused)
    for data, answer in zip(inputs, answers, strict=True):
        if isinstance(answer, bytes):
            public.verify(answer, data)
    assert sum(isinstance(answer, bytes) for answer in answers) == 40
    guard.close()


def test_a_fault_in_one_lane_ends_the_others() -> None:
    """After a fault that a new worker cures every lane stops: what comes later was certainly not signed."""
    token = ThreadedToken()
    token.fails_in = 0
    guard = GuardedKeys(token, lambda: 0)
    charter = CASES[Purpose.TOKENS].charter
    public = guard.generate(KeyOrder(KEY, charter))
    guard.admit(KEY, charter, public, NOTHING_SIGNED)
    answers = guard.sign(KEY, CASES[Purpose.TOKENS].inputs(400, public.thumbprint))
    assert token.lanes[0] == 1
    assert all(isinstance(answer, TokenFault) for answer in answers[:200])
    assert sum(isinstance(answer, bytes) for answer in answers) == len(token.signed)
    guard.close()
