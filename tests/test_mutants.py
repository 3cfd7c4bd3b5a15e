"""The campaign of small sabotages: what its mutator takes away, and that what it names is there."""

import ast

import pytest

from tests.mutants.campaign import Campaign
from tests.mutants.mutate import mutants
from tests.support.tree import ROOT

_SOURCE = '''
MOST = 4 * 1024
NAME = "é"

def check(args, found):
    """Say no."""
    if len(found) > MOST or not args:
        raise ValueError("é: too many")
    args.done()
    return found == args and found
'''

_EXPECTED = {
    "::: MOST = 4 * 1024 -> MOST = (4 * 1024) + 1",
    "::check: len(found) > MOST or not args -> False",
    "::check: len(found) > MOST or not args -> (len(found) > MOST)",
    "::check: len(found) > MOST or not args -> (not args)",
    "::check: len(found) > MOST -> (len(found) >= MOST)",
    "::check: len(found) > MOST -> (len(found) <= MOST)",
    "::check: raise ValueError('é: too many') -> pass",
    "::check: args.done() -> pass",
    "::check: found == args and found -> (found)",
    "::check: found == args and found -> (found == args)",
    "::check: found == args -> (found != args)",
}


def test_each_kind_of_check_is_taken_away_once() -> None:
    """Raises and calls for their effect go, comparisons turn, limits move by one, conditions lose a part."""
    found = mutants("a.py", _SOURCE)
    assert {one.id.removeprefix("a.py") for one in found} == _EXPECTED
    assert len(found) == len(_EXPECTED)


def test_a_mutant_differs_in_one_place_and_still_parses() -> None:
    """Every other line is as it was, letters of more than one byte included."""
    before = _SOURCE.splitlines()
    for one in mutants("a.py", _SOURCE):
        after = one.text.splitlines()
        ast.parse(one.text)
        changed = [line for line, (old, new) in enumerate(zip(before, after, strict=True), 1) if old != new]
        assert changed == [one.line]


def test_equal_checks_of_one_function_have_ids_of_their_own() -> None:
    """The second one is numbered."""
    ids = [one.id for one in mutants("a.py", "def f(a):\n    a.done()\n    a.done()\n")]
    assert ids == ["a.py::f: a.done() -> pass", "a.py::f: a.done() -> pass #2"]


@pytest.mark.parametrize("path", Campaign.read().modules)
def test_the_campaign_names_what_there_is(path: str) -> None:
    """Each module can be mutated, mutants of it compile (one in ten is tried), and each test file named exists."""
    campaign = Campaign.read()
    found = campaign.mutants(path)
    assert found
    for one in found[::10]:
        compile(one.text, path, "exec")
    assert [test for test in campaign.modules[path] if not (ROOT / test).is_file()] == []


def test_each_mutant_called_harmless_still_exists() -> None:
    """A reason outlives no check: where the code changed, the entry goes."""
    campaign = Campaign.read()
    modules = {one.partition("::")[0] for one in campaign.harmless}
    there = {one.id for path in modules for one in campaign.mutants(path)}
    assert set(campaign.harmless) - there == set()
    assert all(why.strip() for why in campaign.harmless.values())
