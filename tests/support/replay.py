"""What a traced process did to its disk, step by step, and what a power cut at any step would have left.

Only what was synced counts: the bytes of a file after a sync of the file, the name of a new file after a sync of its
folder. This is the strictest disk; a kinder one keeps more.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = "openat,recvfrom,sendto,pwrite64,ftruncate,fdatasync,fsync,unlink,rename"

_WHOLE = re.compile(rb"^(\d+) +([a-z0-9_]+)\((.*)\) += +(-?\d+)")
_BEGUN = re.compile(rb"^(\d+) +([a-z0-9_]+)\((.*) <unfinished \.\.\.>$")
_ENDED = re.compile(rb"^(\d+) +<\.\.\. ([a-z0-9_]+) resumed>(.*)\) += +(-?\d+)")
_TEXT = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_FILE = re.compile(rb"^-?\d+<([^>]*)>")


@dataclass(frozen=True)
class Call:
    """A system call that ended with `result`; `file` is what its descriptor or its path is, `data` what it moved."""

    name: str
    file: str
    data: bytes
    arguments: str
    result: int


def calls(trace: Path) -> Iterator[tuple[bool, Call]]:
    """Yield each call of a trace twice, in order: (False, call) when it begins, (True, call) when it ends.

    Of a call that was interrupted in the trace the arguments are known at its end only where it receives.
    """
    open_calls: dict[bytes, bytes] = {}
    for line in trace.read_bytes().splitlines():
        if whole := _WHOLE.match(line):
            _, name, arguments, result = whole.groups()
            call = _call(name, arguments, int(result))
            yield False, call
            yield True, call
        elif begun := _BEGUN.match(line):
            thread, name, arguments = begun.groups()
            open_calls[thread] = arguments
            yield False, _call(name, arguments, 0)
        elif ended := _ENDED.match(line):
            thread, name, rest, result = ended.groups()
            yield True, _call(name, open_calls.pop(thread, b"") + rest, int(result))


def _call(name: bytes, arguments: bytes, result: int) -> Call:
    texts = [codecs.escape_decode(text)[0] for text in _TEXT.findall(arguments)]
    file = _FILE.match(arguments)
    path = file.group(1) if file else texts[0] if texts else b""
    data = bytes(texts[-1]) if texts else b""
    return Call(name.decode(), bytes(path).decode(errors="replace"), data, _TEXT.sub(b"", arguments).decode(), result)


@dataclass
class Disk:
    """A folder as a power cut would leave it now."""

    folder: Path
    _written: dict[str, bytearray] = field(default_factory=dict)
    _synced: dict[str, bytes] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, folder: Path) -> "Disk":
        """Begin with what lies in the folder, all of it durable."""
        disk = cls(folder)
        for path in folder.iterdir():
            if path.is_file():
                disk._synced[str(path)] = path.read_bytes()
                disk._written[str(path)] = bytearray(path.read_bytes())
                disk._named.add(str(path))
        return disk

    def apply(self, call: Call) -> None:
        """Do what a call that ended did."""
        if call.result < 0:
            return
        if call.name in {"fdatasync", "fsync"}:
            self._sync(call.file)
        elif call.file.startswith(f"{self.folder}/"):
            self._change(call)

    def _sync(self, file: str) -> None:
        if file == str(self.folder):
            self._named |= self._written.keys()
            self._named &= self._written.keys()
        elif file in self._written:
            self._synced[file] = bytes(self._written[file])

    def _change(self, call: Call) -> None:
        match call.name:
            case "openat" if "O_CREAT" in call.arguments:
                self._written.setdefault(call.file, bytearray())
            case "pwrite64":
                offset = int(call.arguments.rsplit(", ", 1)[1])
                body = self._written[call.file]
                body.extend(bytes(max(0, offset + call.result - len(body))))
                body[offset : offset + call.result] = call.data[: call.result]
            case "ftruncate":
                size = int(call.arguments.rsplit(", ", 1)[1])
                body = self._written[call.file]
                body.extend(bytes(max(0, size - len(body))))
                del body[size:]
            case "unlink":
                self._written.pop(call.file, None)
            case _:
                pass

    def leave(self, folder: Path) -> None:
        """Write what a power cut now would leave into an empty folder."""
        folder.mkdir()
        for file in self._named:
            (folder / Path(file).name).write_bytes(self._synced.get(file, b""))
