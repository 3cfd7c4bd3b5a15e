"""An appliance's home: one folder with its settings, founding and log, and one writer at a time.

Settings are names and paths; nothing in them can loosen a rule or name code other than the PKCS#11 module.
"""

import errno
import fcntl
import grp
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from appliance import database, tomltext
from appliance.errors import HomeError, HomeFault
from appliance.log import Log
from coldcred import founding as foundings
from coldcred.canonical import Json, sha256_hex
from coldcred.errors import ColdcredError, Malformed
from coldcred.files import FileKind, check_place, make_folders, sync_folder, write_file
from coldcred.founding import MAX_FOUNDING, Founding
from coldcred.log import entry as entries
from coldcred.log.entry import NO_PREV
from coldcred.record import Record

VERSION = 1
MAX_SETTINGS = 16 * 1024
SETTINGS, FOUNDING, LOG, LOCK, SOCKET = "settings.toml", "founding.json", "log.sqlite", "lock", "operator.sock"
WORKLOAD_SOCKET = "workload.sock"
DRAFTED_AHEAD = 120
"""Seconds by which the machine that drafted a founding may be ahead of the one that founds."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the HSM is: the module's path, a PKCS#11 URI per token label, and variables the module needs.

    `workload_socket` is where workloads ask, in the home unless given, and `workload_group` who may, beside the owner.
    """

    module: str
    tokens: Mapping[str, str]
    environment: Mapping[str, str]
    workload_socket: str | None = None
    workload_group: str | None = None

    def text(self) -> str:
        """Give the settings as TOML."""
        lines = [f"version = {VERSION}", "", "[hsm]", f"module = {_quoted(self.module)}", "", "[hsm.tokens]"]
        lines += [f"{label} = {_quoted(uri)}" for label, uri in sorted(self.tokens.items())]
        lines += ["", "[hsm.environment]"]
        lines += [f"{name} = {_quoted(value)}" for name, value in sorted(self.environment.items())]
        workloads = {"socket": self.workload_socket, "group": self.workload_group}
        if given := [f"{name} = {_quoted(value)}" for name, value in workloads.items() if value is not None]:
            lines += ["", "[workloads]", *given]
        return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    if not text.isprintable() or '"' in text or "\\" in text:
        raise HomeError(HomeFault.SETTINGS, f"a setting that cannot be written plainly: {text!a}")
    return f'"{text}"'


@dataclass(frozen=True, slots=True)
class Home:
    """A home that was opened: its folder, settings and founding."""

    path: Path
    settings: Settings
    founding: Founding

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing home; `HomeError` says what is missing or wrong."""
        if not path.is_dir():
            raise HomeError(HomeFault.MISSING, f"{path} is not a folder with a home in it")
        settings = _read_settings(_read(path / SETTINGS, MAX_SETTINGS))
        body = _read(path / FOUNDING, MAX_FOUNDING)
        try:
            founding = foundings.parse(body)
        except ColdcredError as error:
            raise HomeError(HomeFault.FOUNDING, str(error)) from error
        return cls(path, settings, founding)

    @property
    def log_path(self) -> Path:
        """The log database."""
        return self.path / LOG

    @property
    def socket_path(self) -> Path:
        """The operators' socket, there while something serves."""
        return self.path / SOCKET

    @property
    def workload_socket_path(self) -> Path:
        """The workloads' socket, there while something serves."""
        given = self.settings.workload_socket
        return self.path / WORKLOAD_SOCKET if given is None else Path(given)

    def workload_group(self) -> int | None:
        """Give the id of the group that may use the workloads' socket; `HomeError` where this machine has none such."""
        name = self.settings.workload_group
        try:
            return None if name is None else grp.getgrnam(name).gr_gid
        except KeyError as error:
            raise HomeError(HomeFault.SETTINGS, f"{SETTINGS}: this machine has no group {name!a}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home's lock; `HomeError` (home-in-use) when another process has it."""
        try:
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeError(HomeFault.READ_ONLY, f"{self.path}: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise HomeError(HomeFault.IN_USE, f"another process has {self.path} open") from error
            yield
        finally:
            os.close(descriptor)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise HomeError(HomeFault.MISSING, f"{path} is missing") from error
    except OSError as error:
        raise HomeError(HomeFault.UNREADABLE, f"{path}: {error.strerror}") from error
    if len(data) > max_bytes:
        raise HomeError(HomeFault.UNREADABLE, f"{path} is larger than {max_bytes} bytes")
    return data


def check_settings(path: Path) -> None:
    """Return when the settings of the home at `path` are good, or not for this user to read; raises `HomeError`."""
    try:
        _read_settings(_read(path / SETTINGS, MAX_SETTINGS))
    except HomeError as error:
        if error.fault is not HomeFault.UNREADABLE:
            raise


def _read_settings(data: bytes) -> Settings:
    try:
        found = tomltext.read(data, MAX_SETTINGS, SETTINGS)
        if (version := found.pop("version", None)) != VERSION or isinstance(version, bool):
            raise HomeError(HomeFault.VERSION, f"the home is of version {version!a}, this program of version {VERSION}")
        record = Record(found, SETTINGS)
        hsm = record.record("hsm")
        module, tokens = _setting(hsm.text("module"), "hsm.module"), _texts(hsm.record("tokens"), "hsm.tokens")
        variables = hsm.optional_record("environment")
        environment = {} if variables is None else _texts(variables, "hsm.environment")
        hsm.done()
        socket, group = _read_workloads(record.value("workloads") if record.has("workloads") else {})
        record.done()
    except Malformed as error:
        raise HomeError(HomeFault.SETTINGS, str(error)) from error
    if not tokens:
        raise HomeError(HomeFault.SETTINGS, f"{SETTINGS}: [hsm.tokens] names no token")
    return Settings(module, tokens, environment, socket, group)


def _texts(table: Record, where: str) -> dict[str, str]:
    return {name: _setting(value, f"{where}.{name}") for name, value in table.members().items()}


def _setting(value: Json, member: str) -> str:
    """Take a text that can be a path, a URI or a variable: printable, and not empty."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise Malformed(f"{SETTINGS}: member {member[:80]!a} is not a printable text")
    return value


def _read_workloads(table: object) -> tuple[str | None, str | None]:
    """Read where workloads ask, and the group that may."""
    members: dict[object, object] = dict(table) if isinstance(table, dict) else {"": table}
    given = {name: text for name, text in members.items() if isinstance(text, str) and text and text.isprintable()}
    socket, group = given.get("socket"), given.get("group")
    if given != members or not set(given) <= {"socket", "group"}:
        raise HomeError(HomeFault.SETTINGS, f"{SETTINGS}: [workloads] holds socket and group, two texts, only")
    if (group is not None and socket is None) or not Path(socket or "/").is_absolute():
        detail = "a group is let in at a [workloads] socket that has an absolute path outside the home, which is closed"
        raise HomeError(HomeFault.SETTINGS, f"{SETTINGS}: {detail}")
    return socket, group


def create(path: Path, founding: Founding, signatures: Sequence[str], settings: Settings, now: int) -> Home:
    """Create a home around a founding that every founder signed; it appears whole or not at all.

    A home of the same founding that is there already is opened, so a founding that stopped half-way is gone on with;
    any other file or folder at `path` is refused.
    """
    foundings.verify_signatures(founding, signatures)
    if missing := sorted({token.label for token in founding.tokens} - set(settings.tokens)):
        raise HomeError(HomeFault.SETTINGS, f"the founding names token {missing[0]}, the settings do not")
    if (begun := resumed(path, founding)) is not None:
        return begun
    if (ahead := founding.time - now) > DRAFTED_AHEAD:
        detail = f"the founding was drafted {ahead} s in the future of this machine: compare both clocks"
        raise HomeError(HomeFault.CLOCK, detail)
    try:
        make_folders(path.parent)
        draft = path.with_name(f".{path.name}.draft")
        with _drafting(draft):
            check_place(draft / FOUNDING, FileKind.SECRET)  # a medium without modes would leave the log open to all
            _fill(draft, founding, signatures, settings, now)
            draft.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        fault = HomeFault.READ_ONLY if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS} else HomeFault.STORAGE
        raise HomeError(fault, f"{path}: {error.strerror}") from error
    return Home.open(path)


def resumed(path: Path, founding: Founding) -> Home | None:
    """Give the home of this founding that stands at `path`, None where nothing is; anything else there is refused."""
    if path.exists() and any(path.iterdir() if path.is_dir() else [path]):
        return _resume(path, founding)
    return None


def check_same(begun: Settings, given: Settings, named: Collection[str]) -> None:
    """Refuse other settings for a home that was begun: they would not be used. `named` are the tokens given a URI."""
    pairs = {"module": (begun.module, given.module)}
    pairs |= {f"tokens {label}": (begun.tokens.get(label, ""), given.tokens[label]) for label in named}
    pairs |= {
        f"environment {name}": (begun.environment.get(name, ""), text) for name, text in given.environment.items()
    }
    for member, (is_, was_given) in pairs.items():
        if is_ != was_given:
            detail = (
                f"the home was begun with {member} {is_[:80]!a}; {was_given[:80]!a} is not used, mend {SETTINGS} there"
            )
            raise HomeError(HomeFault.SETTINGS, detail)


@contextmanager
def _drafting(draft: Path) -> Iterator[None]:
    """Give an empty draft, ours alone: what a founding that was killed left there is removed, and nothing else is."""
    draft.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeError(HomeFault.IN_USE, f"another process is making {draft}") from error
        if not os.path.samestat(draft.stat(), os.fstat(descriptor)):
            raise HomeError(HomeFault.IN_USE, f"another process has just made {draft}")
        _empty(draft)
        try:
            yield
        finally:
            if draft.exists():
                _empty(draft)
                draft.rmdir()
    finally:
        os.close(descriptor)


def _empty(draft: Path) -> None:
    for path in draft.iterdir():
        if path.name not in {SETTINGS, FOUNDING, LOG, f"{LOG}-wal", f"{LOG}-journal"}:
            raise HomeError(HomeFault.EXISTS, f"{path} is no part of a home; it is left as it is")
        path.unlink()


def _resume(path: Path, founding: Founding) -> Home:
    try:
        home = Home.open(path)
    except HomeError as error:
        raise HomeError(HomeFault.EXISTS, f"{path} exists and is not a home: {error.detail}") from error
    if home.founding.appliance_id != founding.appliance_id:
        raise HomeError(HomeFault.EXISTS, f"{path} is the home of another appliance")
    return home


def _fill(draft: Path, founding: Founding, signatures: Sequence[str], settings: Settings, now: int) -> None:
    write_file(draft / SETTINGS, settings.text().encode(), FileKind.SECRET)
    write_file(draft / FOUNDING, founding.body, FileKind.SECRET)
    database.create(draft / LOG)
    blobs = {sha256_hex(body): body for body in (founding.body, *(token.encode() for token in signatures))}
    event: dict[str, Json] = {
        "type": "founded",
        "founding": founding.appliance_id,
        "signatures": [sha256_hex(token.encode()) for token in signatures],
    }
    log = Log.open(draft / LOG)
    try:
        log.append([entries.write(0, now, NO_PREV, event)], blobs)
    finally:
        log.close()
    sync_folder(draft)
