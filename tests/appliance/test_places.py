"""Connections and who makes room for whom, without any socket."""

import pytest

from appliance.service.places import AWAY, OTHERS, PLACES, SHARES, Caller, Entry, Places, Share

OPERATOR = Caller("operator.sock", 0)
RESERVED = SHARES["operator.sock"].reserved


def workload(uid: int) -> Caller:
    """Give a peer of another socket."""
    return Caller("workload.sock", uid)


def filled(places: Places[str], peer: Caller, number: int, *, works: bool = False) -> list[str]:
    """Let so many guests of a peer in, and have each ask for something that takes for ever where it `works`."""
    guests = [f"{peer} {place}" for place in range(number)]
    for guest in guests:
        assert places.enter(guest, peer).served
        if works:
            places.works(guest)
    return guests


def test_the_longest_silent_makes_room() -> None:
    """When all places are taken, whoever has been silent the longest goes; who is being answered stays."""
    places = Places[str]()
    guests = filled(places, OPERATOR, PLACES)
    places.works(guests[0])
    places.works(guests[1])
    places.rests(guests[1], reads=False)
    assert [places.enter(f"new {number}", OPERATOR).ends for number in range(2)] == guests[2:4]
    places.leave(guests[9])
    assert places.enter("new 2", OPERATOR) == Entry(served=True)


def test_readers_make_room_last() -> None:
    """A connection that reads is ended only where no other is silent."""
    places = Places[str](most=3)
    one, two, three = filled(places, OPERATOR, 3)
    places.rests(one, reads=True)
    places.works(three)
    assert places.enter("a", OPERATOR).ends == two
    places.works("a")
    assert places.enter("b", OPERATOR).ends == one


def test_where_everybody_is_being_answered_a_newcomer_is_turned_away() -> None:
    """Nobody is ended for it, and of those turned away no more than so many are kept waiting for their answer."""
    places = Places[str](most=3)
    filled(places, OPERATOR, 3, works=True)
    turned = [places.enter(f"new {number}", OPERATOR) for number in range(AWAY + 2)]
    assert not any(entry.served for entry in turned)
    assert [entry.ends for entry in turned if entry.ends] == ["new 0", "new 1"]
    places.leave("new 5")
    assert places.enter("last", OPERATOR).ends is None


def test_other_sockets_never_take_what_is_reserved() -> None:
    """However many users come by another socket, and whatever they keep busy, operators have their places."""
    places = Places[str]()
    each = OTHERS.each
    for uid in range((PLACES - RESERVED) // each):
        filled(places, workload(uid), each, works=True)
    assert not places.enter("one more", workload(999)).served
    filled(places, OPERATOR, RESERVED, works=True)
    assert not places.enter("operator", OPERATOR).served


def test_one_user_makes_room_for_itself() -> None:
    """At its own bound a user loses its own connection, nobody else's."""
    places = Places[str]()
    other = filled(places, workload(1), 3)
    own = filled(places, workload(2), OTHERS.each)
    assert places.enter("new", workload(2)).ends == own[0]
    assert other[0] in places._silent


def test_whoever_holds_the_most_makes_room() -> None:
    """A user with few connections keeps them, however long they were silent, while another has more."""
    shares = {"operator.sock": Share(reserved=2, each=4)}
    places = Places[str](shares, Share(reserved=0, each=6), most=10)
    few = filled(places, workload(1), 2)
    many = filled(places, workload(2), 6)
    assert places.enter("new", workload(3)).ends == many[0]
    filled(places, OPERATOR, 2)
    assert places.enter("operator", OPERATOR).ends == many[1]
    assert set(few) <= places._silent.keys()


def test_operators_above_their_reserve_make_room_too() -> None:
    """What they hold beyond it when nobody else was there they give back, as far as it is silent."""
    places = Places[str]()
    guests = filled(places, OPERATOR, PLACES)
    ends = [places.enter(f"new {number}", workload(number)).ends for number in range(PLACES)]
    assert ends[: PLACES - RESERVED] == guests[: PLACES - RESERVED]
    assert not set(ends[PLACES - RESERVED :]) & set(guests)


@pytest.mark.parametrize("act", ["works", "leave"])
def test_who_is_not_there_changes_nothing(act: str) -> None:
    """A connection that was ended for another may still say what it does."""
    places = Places[str](most=1)
    places.enter("a", OPERATOR)
    assert places.enter("b", OPERATOR).ends == "a"
    getattr(places, act)("a")
    places.rests("a", reads=False)
    assert places.enter("c", OPERATOR).ends == "b"
