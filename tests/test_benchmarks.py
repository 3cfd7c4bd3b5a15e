"""The benchmark table: results.json has its shape, and docs/benchmarks.md says what it says. Nothing here is timed."""

import json
import runpy
from types import SimpleNamespace

import pytest

from tests.support.markdown import Document
from tests.support.tree import ROOT

# The benchmarks are no package that is installed, and the tests do not see the source tree.
report = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "report.py")))
RESULTS = json.loads((ROOT / "benchmarks" / "results.json").read_text())
ROWS = (
    *("raw.sign", "raw.sign.2", "raw.verify", "raw.sha256", "raw.commit", "verify", "verify.pyjwt", "verify.joserfc"),
    *("import", "coldstart", "issue.batch", "issue.c1", "issue.c8", "issue.c64", "issue.c64.nofsync", "issue.p50"),
    *("issue.p99", "issue.socket.p50", "log.append", "log.verify", "startup.1e+04", "startup.1e+05", "startup.1e+06"),
    *("memory.1e+04", "memory.1e+05", "memory.1e+06", "issue.flat", "revocation.size"),
)


def test_results_have_their_shape() -> None:
    """Each row has five members, a name of its own, and a ratio exactly where it stands against something."""
    for row in RESULTS:
        assert set(row) == {"row", "value", "unit", "against", "ratio"}
        assert isinstance(row["value"], float)
        assert row["value"] > 0
        assert (row["against"] is None) == (row["ratio"] is None)
    names = [row["row"] for row in RESULTS]
    assert len(names) == len(set(names))
    assert set(ROWS) <= set(names)


def test_the_page_says_what_was_measured() -> None:
    """Every row of the last run stands in the table of the page, and every aim is marked met or missed."""
    page = Document.read(ROOT / "docs" / "benchmarks.md")
    told = {row[0].strip("`"): row for row in page.table("Rows")}
    assert set(told) == {row["row"] for row in RESULTS}
    for row in RESULTS:
        assert told[row["row"]][1] == f"{row['value']:g}"
    aims = page.table("Aims")
    assert len(aims) == len(report.AIMS)
    rows = {row["row"]: row for row in RESULTS}
    for (_, _, met), told_aim in zip(report.AIMS, aims, strict=True):
        assert ("missed" not in told_aim[2]) == met(rows)


@pytest.mark.parametrize("ratio", [0.64, 0.66])
def test_an_aim_that_is_missed_is_called_so(ratio: float) -> None:
    """A value on either side of an aim changes its mark."""
    rows = {row["row"]: dict(row) for row in RESULTS}
    rows["issue.batch"]["ratio"] = ratio
    page = report.write([*rows.values()], {}, {})
    (line,) = (line for line in page.splitlines() if line.startswith("| a batch at"))
    assert ("missed" in line) == (ratio < 0.65)
