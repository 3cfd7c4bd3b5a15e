"""docs/reliability.md names tests that exist, and says something of each promise."""

import ast
import re

import pytest

from tests.support.markdown import Document, codes
from tests.support.tree import ROOT

PAGE = Document.read(ROOT / "docs" / "reliability.md")
SUBJECTS = [heading for heading in PAGE.headings if heading != "Reliability"]

_NAMED = re.compile(r"\]\((?P<file>[^)]+)\)|`(?P<test>test_[a-z0-9_]+)`")


def named(cell: str) -> dict[str, list[str]]:
    """Give the tests that a cell names, by the file whose link stands before them."""
    found: dict[str, list[str]] = {}
    for place in _NAMED.finditer(cell):
        if place["file"]:
            found[place["file"]] = []
        else:
            found[[*found][-1]].append(place["test"])
    return found


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_test_that_is_named_exists(subject: str) -> None:
    """Every promise names a file of tests and functions of it, and every file that is named has one of them."""
    for promise, how, _figure in PAGE.table(subject):
        files = named(how)
        assert files, promise
        for file, tests in files.items():
            tree = ast.parse((PAGE.path.parent / file).read_text())
            there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert tests, (promise, file)
            assert set(tests) <= there, (promise, file)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_promise_stands_once_and_has_its_figure(subject: str) -> None:
    """Three cells, none of them empty, and no code span that looks like a test outside of the second."""
    for promise, how, figure in PAGE.table(subject):
        assert promise.endswith("."), promise
        assert how, promise
        assert figure, promise
        assert not [code for code in codes(promise + figure) if code.startswith("test_")], promise
    promises = [row[0] for other in SUBJECTS for row in PAGE.table(other)]
    assert len(set(promises)) == len(promises)
