"""The closed list of names, and the manifest that holds a generation together."""

import pytest

from coldcred import layout
from coldcred.canonical import Json, dumps
from coldcred.errors import Malformed
from tests.support.world import World

FILES = World.make().files()
ROWS: list[Json] = [{"name": name, "length": 1, "sha256": "0" * 64} for name in sorted(layout.REQUIRED)]


def manifest(*rows: Json) -> bytes:
    """Return a manifest of these rows."""
    return dumps({"v": 1, "files": list(rows)})


def test_a_manifest_is_read_as_it_is_written() -> None:
    """Name, length and SHA-256 of each file, back again."""
    found = layout.parse_manifest(layout.write_manifest(FILES))
    assert {name: length for name, (length, _) in found.items()} == {name: len(body) for name, body in FILES.items()}


@pytest.mark.parametrize("name", ["x", "manifest.json", "../site.json", "metadata/257.root.json", "targets/sealed/1"])
def test_a_manifest_names_nothing_else(name: str) -> None:
    """A name off the list is refused before any file of that name is looked for."""
    with pytest.raises(Malformed, match="does not belong"):
        layout.parse_manifest(manifest(*ROWS, {"name": name, "length": 1, "sha256": "0" * 64}))


def test_a_manifest_names_nothing_twice() -> None:
    """A second row for a file is refused."""
    with pytest.raises(Malformed, match="does not belong"):
        layout.parse_manifest(manifest(*ROWS, ROWS[0]))


@pytest.mark.parametrize("missing", range(len(ROWS)))
def test_a_manifest_names_all(missing: int) -> None:
    """Without the row of any one required file it is refused."""
    with pytest.raises(Malformed, match="not listed"):
        layout.parse_manifest(manifest(*ROWS[:missing], *ROWS[missing + 1 :]))


@pytest.mark.parametrize("name", sorted(layout.REQUIRED))
def test_each_file_has_its_most_bytes(name: str) -> None:
    """A file may be as long as its limit, in a bundle and in a manifest, and a byte longer in neither."""
    most = layout.LIMITS[name]
    rows = [{**row, "length": most} if row["name"] == name else row for row in ROWS if isinstance(row, dict)]
    assert layout.parse_manifest(manifest(*rows))[name][0] == most
    over = [{**row, "length": most + 1} if row["name"] == name else row for row in ROWS if isinstance(row, dict)]
    with pytest.raises(Malformed, match="does not belong"):
        layout.parse_manifest(manifest(*over))
    layout.check_names({name: bytes(most)})
    with pytest.raises(Malformed, match=str(most + 1)):
        layout.check_names({name: bytes(most + 1)})


def test_all_files_together_have_a_most() -> None:
    """A manifest may add up to 32 MiB and to no byte more."""
    roots: list[Json] = [
        {"name": name, "length": layout.MAX_METADATA, "sha256": "0" * 64} for name in layout.ROOTS[1:64]
    ]
    rest = layout.MAX_GENERATION - 63 * layout.MAX_METADATA - (len(ROWS) - 1)
    others = [row for row in ROWS if isinstance(row, dict) and row["name"] != layout.ROOTS[0]]
    for more, fits in ((0, True), (1, False)):
        first: Json = {"name": layout.ROOTS[0], "length": rest + more, "sha256": "0" * 64}
        if fits:
            assert len(layout.parse_manifest(manifest(first, *others, *roots))) == len(ROWS) + 63
        else:
            with pytest.raises(Malformed, match="more than"):
                layout.parse_manifest(manifest(first, *others, *roots))


def test_the_list_is_closed() -> None:
    """No name leads out, none is a folder of another, and the roles list disjoint parts of it."""
    assert all(not name.startswith("/") and ".." not in name for name in layout.LIMITS)
    folders = {name.rpartition("/")[0] for name in layout.LIMITS}
    assert not folders & set(layout.LIMITS)
    assert not set(layout.BY_CUSTODIANS) & set(layout.BY_APPLIANCE)
    listed = {name for name in layout.LIMITS if name.startswith("targets/")}
    assert listed == {*layout.BY_CUSTODIANS, *layout.BY_APPLIANCE}
