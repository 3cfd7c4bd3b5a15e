"""The repository as the tests see it: where it is, which files and modules it has.

Nothing here imports the product, so a broken module can still be listed.
"""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, wherever the packages under test are imported from."""

PACKAGES = {"coldcred": ROOT / "verifier" / "coldcred", "hsm": ROOT / "hsm", "appliance": ROOT / "appliance"}
"""Import package to source folder, lowest floor first."""

_MADE = {".git", ".modules", "demo", "dist", "build", "__pycache__"}


def files() -> Iterator[Path]:
    """Yield each file that belongs to the repository: nothing made by a build, a cache or the demo."""
    pending = [ROOT]
    while pending:
        for path in sorted(pending.pop().iterdir()):
            if path.name in _MADE or path.name.startswith(".venv") or path.name.endswith(("_cache", ".egg-info")):
                continue
            if path.name == ".hypothesis":
                continue
            if path.is_dir() and not path.is_symlink():
                pending.append(path)
            elif path.is_file():
                yield path


def sources(package: str) -> list[Path]:
    """Return the Python files of one package, sorted."""
    return sorted(path for path in PACKAGES[package].rglob("*.py") if "__pycache__" not in path.parts)


def module_name(path: Path) -> str:
    """Return the dotted name under which a source file of a package is imported."""
    for package, folder in PACKAGES.items():
        if path.is_relative_to(folder):
            parts = path.relative_to(folder).with_suffix("").parts
            return ".".join((package, *parts)).removesuffix(".__init__")
    raise ValueError(f"{path} belongs to no package")
