"""Refused commands of which an entry has only the beginning (rule R40): believed as far as it goes."""

import pytest

from coldcred.acts import Act
from coldcred.canonical import Json, sha256_hex
from coldcred.errors import LogReason
from coldcred.jose import MAX_TOKEN, Typ
from coldcred.log.unkept import HEAD, KEPT_WHOLE
from tests.support import plant
from tests.support.logrules import refusal, verified
from tests.support.logworld import Asking, LogWorld

Event = dict[str, Json]


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log whose appliance was founded by four people and has its keys."""
    return LogWorld.begin().start()


def long(world: LogWorld, person: str = "alice") -> Asking:
    """Sign a command that is too long to be kept, and keep it not."""
    asking = world.command(person, Act.CREDENTIAL_ISSUE, {"profile": "orders-reader", "junk": "A" * KEPT_WHOLE})
    del world.blobs[asking.document]
    return asking


def told(asking: Asking, **changes: Json) -> Event:
    """Give the members of its refusal."""
    members: Event = {"reason": "malformed", "rule": "R10 closed forms", "detail": "junk is not known here"}
    return {**members, "head": asking.token[:HEAD], "size": len(asking.token), **changes}


def write(world: LogWorld, asking: Asking, **changes: Json) -> int:
    """Append its refusal."""
    event: Event = {
        "type": "command.refused",
        "command": asking.id,
        "document": asking.document,
        "act": asking.act.value,
        "by": asking.person,
        "people": [asking.person],
        "approvals": [],
        "policy": world.policy,
    }
    return world.append({**event, **told(asking), **changes})


def test_a_refusal_that_keeps_the_beginning_is_believed(begun: LogWorld) -> None:
    """It names hash, size, beginning and whose key the header names; no blob stands behind it."""
    world = begun.copy()
    write(world, long(world))
    write(world, long(world, "bob"), permits=["officers-act"])
    assert verified(world).counts["command.refused"] == 2


OTHER = plant.operator("bob").token(Typ.COMMAND, {"aud": "x" * HEAD})
KIND = plant.operator("alice").token(Typ.APPROVAL, {"aud": "x" * HEAD})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"by": "bob", "people": ["bob"]}, LogReason.BAD_COMMAND),
        ({"people": ["alice", "bob"]}, LogReason.TOO_FEW_PEOPLE),
        ({"approvals": ["0" * 64]}, LogReason.BAD_COMMAND),
        ({"policy": "0" * 64}, LogReason.BAD_COMMAND),
        ({"profiles": "0" * 64}, LogReason.BAD_COMMAND),
        ({"head": OTHER[:HEAD]}, LogReason.BAD_COMMAND),
        ({"head": KIND[:HEAD]}, LogReason.BAD_COMMAND),
        ({"head": "x" * HEAD}, LogReason.MALFORMED),
        ({"head": OTHER[: HEAD - 1]}, LogReason.MALFORMED),
        ({"head": OTHER[: HEAD + 1]}, LogReason.MALFORMED),
        ({"size": KEPT_WHOLE}, LogReason.MALFORMED),
        ({"size": MAX_TOKEN + 1}, LogReason.MALFORMED),
        ({"act": "credential.invent"}, LogReason.MALFORMED),
        ({"result": {}}, LogReason.MALFORMED),
        ({"document": "0"}, LogReason.MALFORMED),
    ],
)
def test_one_that_says_something_else_is_refused(begun: LogWorld, changes: Event, reason: LogReason) -> None:
    """Each member that can be held to something is held to it."""
    world = begun.copy()
    asking = long(world)
    seq = write(world, asking, **changes)
    assert refusal(world) == (reason, seq)


def test_what_was_refused_so_is_not_carried_out_later(begun: LogWorld) -> None:
    """The id that it names is over, whether or not the command is shown in time."""
    world = begun.copy()
    asking = world.command("alice", Act.CREDENTIAL_ISSUE, {"profile": "orders-reader"})
    write(world, asking, size=KEPT_WHOLE + 1, head=long(world).token[:HEAD])
    seq = world.asked("credential.issued", asking, {})
    assert refusal(world) == (LogReason.BAD_COMMAND, seq)


def test_what_waits_is_not_refused_without_its_document(begun: LogWorld) -> None:
    """A command that an entry names already is kept, and its refusal is held to it."""
    world = begun.copy()
    asking = world.wait(world.command("alice", Act.SITE_ADD, {"name": "line-9", "audiences": ["https://a.example"]}))
    seq = write(world, asking, size=KEPT_WHOLE + 1, head=long(world).token[:HEAD])
    assert refusal(world) == (LogReason.BAD_COMMAND, seq)
    assert sha256_hex(asking.token.encode()) in world.blobs
