"""python-tuf's own client, fed from a bundle's files: what it accepts we may accept, what it refuses we must refuse."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater
from typing_extensions import override

from coldcred import layout

_METADATA, _TARGETS = "bundle:/metadata/", "bundle:/targets/"


class FilesFetcher(FetcherInterface):
    """Answers from a mapping, as a web server would."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    @override
    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix("bundle:/")
        if name not in self._files:
            raise DownloadHTTPError(f"no {name}", 404)
        return iter([self._files[name]])


class Oracle:
    """A client with its own memory in a directory, which trusts the same pinned root."""

    def __init__(self, folder: Path, root: bytes) -> None:
        self._folder = folder
        self._root = root
        for name in ("metadata", "targets"):
            (folder / name).mkdir(parents=True)

    def accepts(self, files: Mapping[str, bytes], at: int) -> bool:
        """Whether the client takes this bundle over, every one of its files, at a time."""
        names = [name for name in files if name.startswith("targets/")]
        try:
            client = Updater(
                str(self._folder / "metadata"),
                _METADATA,
                str(self._folder / "targets"),
                _TARGETS,
                FilesFetcher(files),
                bootstrap=self._root,
            )
            client._trusted_set.reference_time = datetime.fromtimestamp(at, UTC)
            client.refresh()
            for name in names:
                found = client.get_targetinfo(name.removeprefix("targets/"))
                if found is None:
                    return False
                client.download_target(found)
        except (RepositoryError, DownloadError):
            return False
        # A timestamp of the same version as the one held is passed over in silence.
        held = (self._folder / "metadata" / "timestamp.json").read_bytes()
        return held == files[layout.TIMESTAMP]
