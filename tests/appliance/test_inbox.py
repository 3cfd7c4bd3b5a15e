"""Submissions that wait: each source in its turn, each bounded."""

import asyncio
from typing import cast

import pytest

from appliance.engine.inbox import QUEUE, SHARE, Inbox, Job
from appliance.errors import Refusal, Refused
from appliance.intake import Answer
from appliance.outcome import Outcome


def job(source: str, name: str) -> Job:
    """Give a submission."""
    return Job(name, lambda _now: Answer(name), cast("asyncio.Future[Outcome | None]", None), source)


def test_sources_take_turns() -> None:
    """One that sent much before another waits behind its own; each one's own order is kept."""
    inbox = Inbox()
    for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
        inbox.put(job(name[0], name))
    assert (len(inbox), {waiting.token for waiting in inbox}) == (6, {"a1", "a2", "a3", "b1", "c1", "c2"})
    assert [inbox.take().token for _ in range(6)] == ["a1", "b1", "c1", "a2", "c2", "a3"]
    with pytest.raises(LookupError):
        inbox.take()


def test_a_source_fills_its_share_and_no_more() -> None:
    """Whoever floods hears busy, and others are still taken in until the whole is full."""
    inbox = Inbox()
    for source in range(QUEUE // SHARE):
        for _ in range(SHARE):
            inbox.put(job(str(source), "x"))
        with pytest.raises(Refused) as refused:
            inbox.put(job(str(source), "x"))
        assert refused.value.reason is Refusal.BUSY
    with pytest.raises(Refused) as refused:
        inbox.put(job("another", "x"))
    assert refused.value.reason is Refusal.BUSY
    assert len(inbox) == QUEUE
    inbox.clear()
    assert (len(inbox), [*inbox]) == (0, [])
