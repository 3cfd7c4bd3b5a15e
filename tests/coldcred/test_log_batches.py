"""Batches in a log (R8): each credential answers to one line, each line to at most one, and the counts are true."""

from collections.abc import Callable
from typing import Any

import pytest

from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest, write_held
from coldcred.canonical import Json, dumps
from coldcred.errors import LogReason
from tests.support import plant
from tests.support.logrules import refusal
from tests.support.logworld import STATUS_LIST, Asking, LogWorld, issue_args

LINES = 3


@pytest.fixture(scope="module")
def begun() -> LogWorld:
    """Return a log with a workload that can be issued to; to be copied."""
    world = LogWorld.begin().start()
    world.enrol()
    return world.settle()


class Story:
    """One batch in a log; what a test changes is told to the step it changes."""

    def __init__(self, world: LogWorld, lines: list[dict[str, Json]] | None = None) -> None:
        self.world = world
        body = b"".join(dumps(line) + b"\n" for line in lines or [issue_args(ttl=60 + n) for n in range(LINES)])
        world.keep(body)
        self.manifest = Manifest.of(body)
        self.jtis: dict[int, str] = {}

    def begin(self, /, after: tuple[str, ...] = (), holding: dict[int, str] | None = None, **changes: Json) -> Asking:
        """Begin it, or take up those that it resumes."""
        arguments = BatchArguments(self.manifest)
        if holding is not None:
            file = write_held(holding)
            self.world.keep(file)
            arguments = BatchArguments(self.manifest, after, Manifest.of(file))
        asking = self.world.command("alice", Act.CREDENTIAL_ISSUE, arguments.as_json())
        members: dict[str, Json] = {"held": None, "resumes": [], **arguments.as_json(), **changes}
        self.world.asked("batch.begun", asking, members)
        return asking

    def chunk(
        self,
        asking: Asking,
        *lines: int,
        refused: tuple[int, ...] = (),
        item: Callable[[dict[str, Any]], dict[str, Any]] = lambda item: item,
        **changes: Json,
    ) -> None:
        """Issue some lines and refuse others."""
        seq, now = self.world.head.size, self.world.time + 1
        items: list[Json] = []
        for line in lines:
            self.jtis[line] = f"batch-{seq:06d}-{line:06d}"
            made: dict[str, Json] = {
                "audience": plant.AUDIENCE,
                "exp": now + 59 + line,
                "idx": 1000 * seq + line,
                "jti": self.jtis[line],
                "line": line,
                "profile": "orders-reader",
                "site": "line-1",
                "uri": STATUS_LIST,
                "workload": plant.WORKLOAD,
            }
            items.append(item(made))
        members: dict[str, Json] = {
            "iat": now,
            "items": items,
            "refused": [{"detail": "no", "line": line, "reason": "outside-profile", "rule": "ttl"} for line in refused],
            "revokes": [],
            "signs": self.world.signs("tokens", *(f"{seq} {line}".encode() for line in lines)) if lines else [],
            **changes,
        }
        self.world.asked("batch.issued", asking, members)

    def done(self, asking: Asking, issued: int = LINES, refused: int = 0, held: int = 0) -> None:
        """End it."""
        result: dict[str, Json] = {"held": held, "issued": issued, "refused": refused}
        self.world.asked("batch.done", asking, {}, result)


def test_a_batch_in_order_is_believed(begun: LogWorld) -> None:
    """Two chunks, a refused line, and then a command that holds one line and has the other issued anew."""
    story = Story(begun.copy())
    first = story.begin()
    story.chunk(first, 1)
    story.chunk(first, 2, refused=(3,))
    story.done(first, 2, 1)
    lost = story.jtis[2]
    again = story.begin((first.id,), {1: story.jtis[1]})
    story.chunk(again, 2, refused=(3,), revokes=[lost])
    story.done(again, 1, 1, 1)
    assert refusal(story.world) is None


CHANGES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another workload": lambda item: item | {"workload": f"{plant.WORKLOAD}0"},
    "another audience": lambda item: item | {"audience": "https://elsewhere.example"},
    "another profile": lambda item: item | {"profile": "orders-admin"},
    "a longer life": lambda item: item | {"exp": item["exp"] + 1},
    "a line that is not there": lambda item: item | {"line": LINES + 1},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_nothing_is_issued_that_no_line_asks_for(
    begun: LogWorld, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """An item that differs from its line, or has none, is refused at its entry."""
    story = Story(begun.copy())
    asking = story.begin()
    seq = story.world.head.size
    story.chunk(asking, 1, item=change)
    assert refusal(story.world) == (LogReason.BAD_COMMAND, seq)


def test_an_item_has_no_member_more(begun: LogWorld) -> None:
    """What no reader knows of a credential is not said of it."""
    story = Story(begun.copy())
    asking = story.begin()
    seq = story.world.head.size
    story.chunk(asking, 1, item=lambda item: item | {"unheard": "of"})
    assert refusal(story.world) == (LogReason.MALFORMED, seq)


def test_a_line_that_cannot_be_read_is_not_issued(begun: LogWorld) -> None:
    """What asks for nothing gets nothing."""
    story = Story(begun.copy(), [{"nonsense": 1}])
    asking = story.begin()
    seq = story.world.head.size
    story.chunk(asking, 1)
    assert refusal(story.world) == (LogReason.BAD_COMMAND, seq)


def test_a_line_has_one_outcome(begun: LogWorld) -> None:
    """Issued twice, or issued and refused, it is told twice."""
    for lines, refused in (((1,), ()), ((), (1,))):
        story = Story(begun.copy())
        asking = story.begin()
        story.chunk(asking, 1)
        seq = story.world.head.size
        story.chunk(asking, *lines, refused=refused)
        assert refusal(story.world) == (LogReason.BAD_COMMAND, seq)


@pytest.mark.parametrize(("issued", "refused", "held"), [(2, 0, 0), (3, 0, 0), (2, 1, 0), (2, 0, 1)])
def test_a_batch_is_not_done_before_its_last_line(begun: LogWorld, issued: int, refused: int, held: int) -> None:
    """Whatever the counts say: a line without an outcome, that nobody holds, is missing."""
    story = Story(begun.copy())
    asking = story.begin()
    story.chunk(asking, 1, 2)
    seq = story.world.head.size
    story.done(asking, issued, refused, held)
    assert refusal(story.world) == (LogReason.BAD_COMMAND, seq)


def test_a_batch_names_what_its_command_names(begun: LogWorld) -> None:
    """Another file, or resuming what the command does not, is not what the person signed."""
    other: dict[str, Json] = {"bytes": 1, "count": 1, "sha256": "0" * 64}
    for member, value in (("items", other), ("held", other), ("resumes", ["0" * 64])):
        story = Story(begun.copy())
        seq = story.world.head.size
        story.begin(**{member: value})  # type: ignore[arg-type]  # each is an argument of its own
        assert refusal(story.world) == (LogReason.BAD_COMMAND, seq)


def test_nobody_holds_or_loses_what_was_not_issued(begun: LogWorld) -> None:
    """A held credential, and one that is revoked as lost, was issued for its line by a batch that is resumed."""
    story = Story(begun.copy())
    seq = story.world.head.size
    story.begin(("0" * 64,), {1: "A" * 22})
    assert refusal(story.world) == (LogReason.BAD_COMMAND, seq)
    story = Story(begun.copy())
    asking = story.begin()
    seq = story.world.head.size
    story.chunk(asking, 1, revokes=["A" * 22])
    assert refusal(story.world) == (LogReason.BAD_COMMAND, seq)


def test_each_credential_of_a_chunk_is_signed_once(begun: LogWorld) -> None:
    """Fewer signatures than items, or one by a key for something else, is refused."""
    story = Story(begun.copy())
    asking = story.begin()
    seq = story.world.head.size
    story.chunk(asking, 1, 2, signs=story.world.signs("tokens", b"one"))
    assert refusal(story.world) == (LogReason.MALFORMED, seq)
    story = Story(begun.copy())
    asking = story.begin()
    seq = story.world.head.size
    story.chunk(asking, 1, signs=story.world.signs("status", b"one"))
    assert refusal(story.world) == (LogReason.WRONG_KEY, seq)


def test_a_chunk_belongs_to_a_batch_that_was_begun(begun: LogWorld) -> None:
    """Lines of a command that no entry took in are refused."""
    story = Story(begun.copy())
    asking = story.world.command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(story.manifest).as_json())
    seq = story.world.head.size
    story.chunk(asking, 1)
    assert refusal(story.world) == (LogReason.BAD_COMMAND, seq)


@pytest.mark.parametrize("apart", [False, True], ids=["one chunk", "two chunks"])
def test_lines_that_exclude_each_other_are_refused(begun: LogWorld, apart: bool) -> None:  # noqa: FBT001 - a case
    """Of two lines that must not be held together the second is never issued, in the same entry or a later one."""
    world, payer, other = begun.copy(), "orders-payer", f"{plant.WORKLOAD}0"
    profile: Json = {**plant.profile(), "name": payer, "excludes": ["orders-reader"]}
    asking = world.agreed(world.command("bob", Act.PROFILE_SET, {"profile": profile}), "dora", "alice")
    world.asked("profile.set", asking, {"profile": profile}, {"profile": payer})
    world.enrol_keyless(other, owner="bob")
    lines: list[dict[str, Json]] = [{"workload": other, "profile": payer}, {}, {"profile": payer}]
    story = Story(world, [issue_args(**line) for line in lines])

    def as_asked(item: dict[str, Any]) -> dict[str, Any]:
        return {**item, **lines[item["line"] - 1]}

    asking = story.begin()
    if apart:
        story.chunk(asking, 1, 2, item=as_asked)
        world.settle()
    seq = world.head.size
    story.chunk(asking, *((3,) if apart else (1, 2, 3)), item=as_asked)
    assert refusal(world) == (LogReason.BAD_COMMAND, seq)


@pytest.mark.parametrize("restarted", [True, False])
def test_a_batch_that_a_crash_cut_short_is_known_from_the_next_start(
    begun: LogWorld,
    restarted: bool,  # noqa: FBT001 - a case
) -> None:
    """It is taken up two weeks after a start that came months later; one that nothing took up is forgotten."""
    story = Story(begun.copy())
    asking = story.begin()
    story.chunk(asking, 1)
    story.world.settle()
    story.world.time += 60 * plant.DAY
    if restarted:
        story.world.append({"type": "started", "version": "0.1.0"})
    story.world.time += 14 * plant.DAY
    Story(story.world, [issue_args(ttl=59)]).begin()
    seq = story.world.head.size
    story.begin((asking.id,), {1: story.jtis[1]})
    assert refusal(story.world) == (None if restarted else (LogReason.BAD_COMMAND, seq))
