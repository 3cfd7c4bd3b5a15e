"""A custodian's hand: it signs what follows from the founding and nothing else, and every member of it is shown.

Each test prepares files as whoever holds the appliance, or carries the folder, could: well-formed, listed and spelled
as they must be, with another content.
"""

from collections.abc import Callable, Iterator

import pytest

from appliance import custodians
from appliance.custodians import CustodyError
from appliance.outcome import State
from coldcred import layout
from coldcred.bundle.library import Metadata
from coldcred.canonical import dumps, loads
from coldcred.documents import (
    parse_profiles,
    parse_sites,
    write_profiles,
    write_sites,
)
from coldcred.errors import Malformed, Unfounded
from coldcred.founding import Site
from tests.support import hands
from tests.support.desk import AFTER, REFUSED, YEAR, Desk, Files, desk_of, draft_of, other_log_key, plan
from tests.support.hands import hand
from tests.support.otherwise import otherwise
from tests.support.plant import DAY
from tests.support.running import RunningPlant, run


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, Desk]:
    """Return what an appliance prepares before the first trust, and what it prepares the day after."""
    running = RunningPlant(tmp_path_factory.mktemp("desks") / "home")

    async def story() -> tuple[Desk, Desk]:
        async with running.engine() as engine:
            first = desk_of(running, await draft_of(running, engine))
            assert (await running.trust(engine)).state is State.DONE
            running.clock.time += DAY
            return first, desk_of(running, await draft_of(running, engine))

    return run(story())


@pytest.fixture
def first(desks: tuple[Desk, Desk]) -> Desk:
    """Return what is prepared before the first trust."""
    return desks[0]


@pytest.fixture
def second(desks: tuple[Desk, Desk]) -> Desk:
    """Return what is prepared the day after."""
    return desks[1]


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_founding_fixes_is_not_signed_otherwise(first: Desk, what: str) -> None:
    """An engine alone, or a courier, has nothing signed that the founding or its horizons do not allow (R17)."""
    member, change = REFUSED[what]
    files = change(first)
    with pytest.raises(Malformed) as caught:
        custodians.sign(first.founding, files, hand("bob custodian"), first.now, last=first.last)
    if isinstance(caught.value, Unfounded):
        assert caught.value.member.startswith(member)
    with pytest.raises(Malformed):
        first.lines(files)


def test_a_window_that_is_unsafe_is_not_signed(first: Desk) -> None:
    """A plan that names a key which sites do not get is refused before it is signed."""
    with pytest.raises(Malformed, match="publishes"):
        first.lines(plan(first, publish=("unknown",), sign=("unknown",)))


@pytest.mark.parametrize("what", AFTER)
def test_what_was_signed_once_is_not_replaced(second: Desk, what: str) -> None:
    """The log key, a signing key and the first root stay as they were signed, and versions follow one by one."""
    member, change = AFTER[what]
    with pytest.raises(Unfounded) as caught:
        second.lines(change(second))
    assert caught.value.member.startswith(member)
    assert second.lines(second.files)


def test_what_was_signed_last_is_believed_by_its_signatures(second: Desk) -> None:
    """Nobody moves the version on, or back to one, by what is said to have been signed last."""
    assert second.last is not None
    raised = second.over({}, version=999)
    unsigned = {name: raised[name] for name in (layout.TARGETS, *layout.BY_CUSTODIANS)}
    with pytest.raises(Malformed, match="not signed by enough custodians"):
        second.lines(second.over({}, version=1000), last=unsigned)
    one = hands.blindly(hand("bob custodian"), unsigned)
    with pytest.raises(CustodyError, match="2 custodians sign"):
        custodians.assemble(second.founding, raised, {"bob": one})
    with pytest.raises(Unfounded, match="does not lie beside it"):
        custodians.read(second.founding, second.over({}, version=1), second.now, last=None)


def test_a_new_root_follows_alone(second: Desk) -> None:
    """A next root is signed when it is the only one, and is called new; a second one is made ahead."""
    with_next = second.root(2)
    assert any("root 2 (a new one)" in line for line in second.lines(with_next))
    signed = hands.signed(second.founding, with_next)
    assert [name for name in layout.ROOTS if name in signed] == [*layout.ROOTS[:2]]
    third = {**with_next, layout.ROOTS[2]: second.root(3)[layout.ROOTS[2]]}
    with pytest.raises(Unfounded, match="made ahead"):
        second.lines(third)


def test_a_custodian_compares_with_their_own_copy(first: Desk, second: Desk) -> None:
    """The folder that a custodian kept bounds what they sign: nothing older, the same root and the same keys."""
    assert any(
        line.startswith("what changes against version 1") for line in second.lines(second.files, own=first.files)
    )
    with pytest.raises(Unfounded, match="you signed version 2 before"):
        second.lines(second.files, own=second.files)
    with pytest.raises(Unfounded, match="another than you signed"):
        second.lines(second.files, own=first.over({}, expires=first.now + 80 * DAY))
    with pytest.raises(Unfounded, match="your own folder"):
        second.lines(second.files, own=first.root(expires=first.now + YEAR - 1))
    signed = hands.signed(second.founding, second.files)
    third, last = second.over({}, version=3), {name: signed[name] for name in second.last or {}}
    assert second.lines(third, last=last, own=first.files)
    with pytest.raises(Unfounded, match="log key"):
        second.lines(third, last=last, own=other_log_key(first))


def test_an_honest_preparation_is_signed(first: Desk, second: Desk) -> None:
    """What follows from the founding is signed, the first time and after, and the screen says which it is."""
    for desk in (first, second):
        assert custodians.sign(desk.founding, desk.files, hand("bob custodian"), desk.now, last=desk.last)
    facts = custodians.read(first.founding, first.files, first.now, last=None).facts
    assert facts["root of trust"] == "any 2 of alice, bob, carol sign"
    assert facts["bundle key"] == first.bundle.thumbprint
    assert any(line.startswith("FIRST TRUST") for line in first.lines(first.files))
    assert not any(line.startswith("FIRST TRUST") for line in second.lines(second.files))


def test_differences_are_said_against_what_was_signed_last_and_the_founding(second: Desk) -> None:
    """A site more, a profile turned: each is called new or changed, with what it was."""
    sites = [*parse_sites(second.files[layout.SITES]).values(), Site("pack-line", ("https://pack.example",))]
    profiles = {name: not stale for name, stale in parse_profiles(second.files[layout.PROFILES]).items()}
    lines = second.lines(second.over({layout.SITES: write_sites(sites), layout.PROFILES: write_profiles(profiles)}))
    assert lines.count("| NEW      site pack-line: https://pack.example") == 2
    assert lines.count("| CHANGED  profile orders-reader: refused at a site whose trust is stale") == 2
    assert "|          was: taken at a site whose trust is stale" in lines
    assert "|          founded: taken at a site whose trust is stale" in lines


def _documents_otherwise(desk: Desk) -> Iterator[tuple[str, Files]]:
    for name in layout.BY_CUSTODIANS:
        for other in otherwise(loads(desk.files[name], max_bytes=layout.LIMITS[name])):
            yield name, desk.over({name: dumps(other)})


def _metadata_otherwise(desk: Desk) -> Iterator[tuple[str, Files]]:
    for name in (layout.ROOTS[0], layout.TARGETS):
        if Metadata.from_bytes(desk.files[name]).signatures:
            continue
        for other in otherwise(loads(desk.files[name], max_bytes=layout.LIMITS[name])):
            yield name, {**desk.files, name: dumps(other)}


@pytest.mark.parametrize("changed", [_documents_otherwise, _metadata_otherwise], ids=["documents", "metadata"])
@pytest.mark.parametrize("which", [0, 1], ids=["first", "after"])
def test_each_member_changed_alone_is_refused_or_on_the_screen(
    desks: tuple[Desk, Desk], which: int, changed: Callable[[Desk], Iterator[tuple[str, Files]]]
) -> None:
    """Whatever member of whatever is signed differs: no hand signs it, or the person reads another screen (R37)."""
    desk = desks[which]
    honest, shown, refused = desk.lines(desk.files), 0, 0
    for name, files in changed(desk):
        try:
            lines = desk.lines(files)
        except Malformed:
            refused += 1
            continue
        assert lines != honest, name
        shown += 1
    assert refused > 50
    assert shown > 5 or changed is _metadata_otherwise


def test_a_strangers_key_signs_nothing(first: Desk) -> None:
    """Only a custodian of the founding signs."""
    with pytest.raises(CustodyError):
        custodians.sign(first.founding, first.files, hand("mallory"), first.now, last=None)


def test_signatures_that_do_not_belong_void_no_good_ones(first: Desk, second: Desk) -> None:
    """A stale, a stranger's, a spoilt or a half signature beside enough good ones is left out, and told."""
    good = {name: hands.blindly(hand(f"{name} custodian"), first.files) for name in ("alice", "bob")}
    bad = {
        "alice stale": hands.blindly(hand("alice custodian"), first.over({}, expires=first.now + 80 * DAY)),
        "mallory": hands.blindly(hand("mallory"), first.files),
        "carol stale": hands.blindly(hand("carol custodian"), second.files),
        "carol half": hands.blindly(hand("carol custodian"), first.files, [layout.TARGETS]),
        "not one": b"{}",
    }
    for signatures in ({**bad, **good}, {**good, **bad}):
        assembled = custodians.assemble(first.founding, first.files, signatures)
        assert {text.partition(":")[0] for text in assembled.left_out} == set(bad)
        assert custodians.assemble(first.founding, first.files, good).files == assembled.files
    with pytest.raises(CustodyError) as caught:
        custodians.assemble(first.founding, first.files, {**bad, "bob": good["bob"]})
    assert caught.value.id == "too-few-custodians"
    assert "found bob" in caught.value.detail
    assert "as it was prepared another time" in caught.value.detail


def test_prepare_gives_what_was_signed_last(second: Desk) -> None:
    """What custodians signed last lies beside what they are to sign next, whole, with its signatures."""
    assert second.last is not None
    assert set(second.last) == {layout.TARGETS, *layout.BY_CUSTODIANS}
    assert len(Metadata.from_bytes(second.last[layout.TARGETS]).signatures) == 2
