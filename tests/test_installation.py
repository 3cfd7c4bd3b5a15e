"""The tests exercise what was installed: in `make test` the built wheels, in `.venv-dev` the source tree."""

import importlib
import importlib.metadata
import os
import sysconfig
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.tree import PACKAGES

WHEELS = os.environ.get("COLDCRED_WHEELS") == "1"
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
SCRIPTS = {"coldcred": "coldcred", "coldcredctl": "coldcred-appliance"}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_come_from_where_they_should(package: str) -> None:
    """`make test` imports the installed wheel and never the source tree beside it; elsewhere it is the reverse."""
    origin = importlib.import_module(package).__file__
    assert origin is not None
    assert Path(origin).parent == (SITE_PACKAGES / package if WHEELS else PACKAGES[package])


@pytest.mark.parametrize("package", PACKAGES)
def test_installed_files_are_the_reviewed_files(package: str) -> None:
    """Each file of the source tree is installed with the same bytes, and no other Python file is."""
    installed = SITE_PACKAGES / package if WHEELS else PACKAGES[package]

    def contents(folder: Path) -> dict[str, str]:
        found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in found}

    assert contents(installed) == contents(PACKAGES[package])


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_say_that_they_are_typed(package: str) -> None:
    """Each package ships `py.typed`, so a caller's type checker reads our annotations."""
    origin = importlib.import_module(package).__file__
    assert origin is not None
    assert Path(origin).with_name("py.typed").is_file()


def test_no_file_runs_at_each_start_of_python() -> None:
    """No `.pth` file lies in the environment but the one of a development tree."""
    allowed = set() if WHEELS else {"coldcred-dev.pth"}
    assert {path.name for path in SITE_PACKAGES.glob("*.pth")} <= allowed


def test_commands_are_installed() -> None:
    """Both commands exist beside the interpreter, and what they name can be loaded and called."""
    if not WHEELS:
        assert not list(SITE_PACKAGES.glob("coldcred*.dist-info"))
        return
    for script, distribution in SCRIPTS.items():
        (entry,) = importlib.metadata.distribution(distribution).entry_points.select(
            group="console_scripts", name=script
        )
        assert callable(entry.load())
        assert (Path(sysconfig.get_path("scripts")) / script).is_file()
