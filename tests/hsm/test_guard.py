"""The guard between a token and whoever asks it to sign, where the two stores cannot show it."""

import pytest

from coldcred.charter import Purpose
from hsm.errors import CharterRefused, Reaction, TokenFault
from hsm.guard import GuardedKeys
from hsm.keystore import NOTHING_SIGNED, KeyOrder
from tests.support.fake_keystore import MemoryToken
from tests.support.hsm_inputs import CASES, log_input

KEY = b"0123456789abcdef"


class FailingToken(MemoryToken):
    """A token that fails while asked to, before it signs."""

    fault: TokenFault | None = None
    asked = 0

    def sign(self, key_id: bytes, data: bytes) -> bytes:
        """Sign, or fail."""
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return super().sign(key_id, data)


@pytest.mark.parametrize("reaction", Reaction)
def test_what_may_have_been_signed_is_remembered(reaction: Reaction) -> None:
    """A fault of the token says nothing about whether it signed, so the next checkpoint may not be smaller."""
    token = FailingToken()
    guard = GuardedKeys(token)
    charter = CASES[Purpose.LOG].charter
    guard.admit(KEY, charter, guard.generate(KeyOrder(KEY, charter)), NOTHING_SIGNED)
    token.fault = TokenFault("the token is busy", reaction=reaction)
    assert [type(answer) for answer in guard.sign(KEY, [log_input(9)])] == [TokenFault]
    token.fault = None
    smaller, same = guard.sign(KEY, [log_input(8), log_input(9)])
    assert isinstance(smaller, CharterRefused)
    assert isinstance(same, bytes)


@pytest.mark.parametrize("reaction", Reaction)
def test_a_batch_ends_where_the_worker_must(reaction: Reaction) -> None:
    """After a fault that a new worker cures nothing more goes to the token; after any other the batch goes on."""
    token = FailingToken()
    guard = GuardedKeys(token)
    charter = CASES[Purpose.LOG].charter
    guard.admit(KEY, charter, guard.generate(KeyOrder(KEY, charter)), NOTHING_SIGNED)
    token.fault = TokenFault("no", reaction=reaction)
    answers = guard.sign(KEY, [log_input(size) for size in (1, 2, 3)])
    assert [type(answer) for answer in answers] == [TokenFault] * 3
    assert token.asked == (3 if reaction in {Reaction.REFUSE, Reaction.RETRY} else 1)
