"""What a directory holds, for tests that compare before and after."""

from pathlib import Path


def tree(folder: Path) -> dict[str, bytes | str]:
    """Return everything below a folder: files with their bytes, links with their targets, folders by name."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = path.read_bytes() if path.is_file() else "folder"
    return found
