"""What the suite promises about itself."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import skips
from tests.support.tree import ROOT

_SKIPS = """
import pytest

def test_passes():
    pass

def test_skips():
    pytest.skip("no such device")

@pytest.mark.skipif(True, reason="not today")
def test_marked():
    pass

@pytest.mark.xfail(strict=True)
def test_expected():
    raise AssertionError
"""


def _outcome(folder: Path, ci: str) -> str:
    environment = {**os.environ, "CI": ci}
    environment.pop("PYTEST_ADDOPTS", None)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, folder],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout.splitlines()[-1]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Return a folder that holds a small suite under the same rule as this one."""
    shutil.copy(skips.__file__, tmp_path / "conftest.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_some.py").write_text(_SKIPS)
    return tmp_path


def test_a_skip_is_a_failure_where_ci_runs(suite: Path) -> None:
    """With CI=true a test that skips itself fails and one skipped by a mark is an error; xfail stays what it is."""
    assert _outcome(suite, "true").startswith("1 failed, 1 passed, 1 xfailed, 1 error")


def test_a_skip_is_a_skip_elsewhere(suite: Path) -> None:
    """Without CI the same tests are reported as skipped."""
    assert _outcome(suite, "").startswith("1 passed, 2 skipped, 1 xfailed")


def test_a_module_that_skips_itself_is_a_failure_where_ci_runs(suite: Path) -> None:
    """With CI=true a module cannot leave the suite by `importorskip`."""
    (suite / "test_some.py").write_text("import pytest\npytest.importorskip('no_such_module_anywhere')\n")
    assert "1 error" in _outcome(suite, "true")


_CLOCKS = {"time.monotonic", "time.perf_counter", "time.time"}


def _times(node: ast.AST) -> bool:
    """Whether an expression asks a clock."""
    return any(isinstance(one, ast.Call) and ast.unparse(one.func) in _CLOCKS for one in ast.walk(node))


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.stem)
def test_no_test_rests_on_absolute_time(path: Path) -> None:
    """Nothing is asserted to take less than so many seconds: a slow machine is no defect.

    What has to be quick is compared with other work of the same run (`tests.support.effort`), or with what comes first.
    """
    found = [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare) and _times(node)
        for op, right in zip(node.ops, node.comparators, strict=True)
        if isinstance(op, ast.Lt | ast.LtE) and isinstance(right, ast.Constant | ast.Name) and not _is_end(right)
    ]
    assert found == []


def _is_end(node: ast.expr) -> bool:
    """Whether it is the moment at which a test gives up waiting, or a bound that was measured beside."""
    return isinstance(node, ast.Name) and node.id.islower()
