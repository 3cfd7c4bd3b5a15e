"""Media that people carry and disks as they are found: mounted for a test and always unmounted, or None where not.

A machine without loop devices, or a user who may not mount, has none of them; a test then injects what they answer.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# Each is tried until one works: by the kernel, else by a file system in a process of its own.
_WAYS = {
    "exfat": ("mkfs.exfat", (("mount", "-t", "exfat"), ("mount.exfat-fuse",))),
    "fat32": ("mkfs.vfat -F 32", (("mount", "-t", "vfat"), ("fusefat", "-o", "rw+"))),
}
NAMES = tuple(_WAYS)
_MEBIBYTES = 48


@contextmanager
def stick(name: str, folder: Path) -> Iterator[Path | None]:
    """Give a mounted stick with a file system from the shop, or None where nothing here mounts one."""
    make, ways = _WAYS[name]
    image, place = folder / f"{name}.img", folder / name
    with image.open("wb") as file:
        file.truncate(_MEBIBYTES << 20)
    place.mkdir()
    if not _runs([*make.split(), str(image)]):
        yield None
        return
    with _looped(image) as device:
        mounted = device is not None and any(_runs([*way, device, str(place)]) for way in ways)
        try:
            yield place if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", str(place)], check=True)


@contextmanager
def memory(folder: Path, options: str) -> Iterator[Path | None]:
    """Give a file system in memory, mounted with options such as `size=64k` or `ro`, or None where none can be."""
    folder.mkdir()
    mounted = _runs(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)])
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def _looped(image: Path) -> Iterator[str | None]:
    ended = None
    with suppress(FileNotFoundError):
        ended = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False)
    if ended is None or ended.returncode != 0:
        yield None
        return
    device = ended.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def _runs(command: Sequence[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
