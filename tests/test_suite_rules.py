"""What the suite promises about itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import skips

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
