"""docs/hsm.md says what the code does with modules: their names, variables and attributes."""

import re

from hsm.attributes import OPTIONAL, PRIVATE_KEY, PUBLIC_KEY, STAYS, UNUSED
from hsm.environment import is_known
from tests.support.markdown import Document, codes
from tests.support.modules import MODULES
from tests.support.tree import ROOT

PAGE = Document.read(ROOT / "docs" / "hsm.md")


def test_every_module_that_is_tried_has_its_row() -> None:
    """And SoftHSM, on which everything else is tried."""
    rows = [row[0] for row in PAGE.table("What was measured")]
    for name in ("softhsm", *MODULES):
        assert [row for row in rows if row.lower().startswith(name)], name
    assert len(rows) == 1 + len(MODULES)


def test_every_variable_that_is_named_can_be_given() -> None:
    """A name, or the beginning of names before an asterisk."""
    named = [code for row in PAGE.table("What a module is told") for code in codes(row[1]) if "=" not in code]
    assert len(named) > len(MODULES)
    assert [name for name in named if not is_known(name.replace("*", "X"))] == []


def test_every_attribute_is_in_the_table_under_what_its_fault_is_called() -> None:
    """Those of the private key each in one row; a key is exposed by those that say that it stays, and by no others."""
    rows = PAGE.table("What is asked of a key, and what is not")
    found = {
        name: codes(row[3]) for row in rows for name in re.findall(r"[A-Z_]{4,}", row[0]) if "public half" not in row[0]
    }
    assert found.keys() == PRIVATE_KEY.keys() | UNUSED
    for name, ids in found.items():
        expected = [] if name in UNUSED else ["key-exposed"] if name in STAYS else ["key-unfit"]
        assert ids == expected, name
    (half,) = (set(re.findall(r"[A-Z_]{4,}", row[0])) for row in rows if "public half" in row[0])
    assert half == PUBLIC_KEY.keys() - UNUSED
    assert {name for row in rows if "not known" in row[1] for name in re.findall(r"[A-Z_]{4,}", row[0])} == OPTIONAL
