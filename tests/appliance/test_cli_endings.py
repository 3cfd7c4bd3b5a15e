"""However a run ends, its exit code and its words are true: what was sent is told or named, and nothing is sent twice.

Every verb that submits is run with a standard output that takes nothing; a few, under everything else that can go away.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from appliance.cli.app import root
from appliance.cli.asking import request_id
from coldcred.canonical import Json, dumps
from tests.support.commandline import CTL, ENVIRONMENT, TIMEOUT, Ended
from tests.support.founded import AUDIENCE, EXAMPLE, PASSPHRASE, SITE, WORKLOAD, Plant, make_key
from tests.support.softhsm import PIN
from tests.support.strace import Point, strace

_SYSTEM = frozenset({"checkpoint", "outcomes", "reading.opened", "started", "stopped", "input.refused"})
_GIVEN_ONCE = ("issue", "bundle create", "log export")


@dataclass
class Lines:
    """A served plant, and a line that works for each verb that submits."""

    plant: Plant
    folder: Path
    count: int = 0

    def name(self) -> str:
        """Give a name that no other line used."""
        self.count += 1
        return f"made-{self.count}"

    def waiting(self) -> str:
        """Have a request wait, and give its file."""
        path = self.folder / f"{self.name()}.jws"
        ended = self.plant.ctl("workload", "enrol", self.robot(), "--owner", "bob", "--request", path, who="alice")
        assert ended.code == 3, ended
        return str(path)

    def robot(self) -> str:
        """Give a workload that nobody enrolled."""
        return f"spiffe://plant-a.example/line-1/{self.name()}"

    def countersigned(self, person: str) -> list[str]:
        """Make a key, have whoever holds it sign for a place under a name, and give the option that brings it."""
        key, out = self.folder / f"{self.name()}.operator", self.folder / f"{self.name()}.jws"
        make_key(key)
        self.plant.done("operator", "countersign", "--person", person, "--out", out, who=str(key))
        return ["--countersignature", str(out)]


def _issue(_lines: Lines) -> list[str]:
    return ["--profile", "orders-reader", "--workload", WORKLOAD, "--audience", AUDIENCE]


LINES: dict[str, tuple[str, Callable[[Lines], list[str]]]] = {
    "issue": ("alice", _issue),
    "bundle create": ("alice", lambda _: ["--site", SITE]),
    "log export": ("carol", lambda _: []),
    "workload enrol": ("alice", lambda lines: [lines.robot(), "--owner", "bob"]),
    "workload adopt": ("alice", lambda _: [WORKLOAD, "--owner", "alice"]),
    "workload resume": ("alice", lambda _: [WORKLOAD]),
    "profile set": ("alice", lambda _: [str(EXAMPLE / "orders-reader.toml")]),
    "policy set": ("alice", lambda lines: [_policy(lines)]),
    "site add": ("alice", lambda lines: [lines.name(), "--audience", f"https://{lines.name()}.example"]),
    "operator add": (
        "alice",
        lambda lines: ["dora", "--role", "auditor", *lines.countersigned("dora")],
    ),
    "operator add-key": ("alice", lambda lines: ["bob", *lines.countersigned("bob")]),
    "operator replace-key": ("alice", lambda lines: ["bob", *lines.countersigned("bob")]),
    "operator retire-key": ("alice", lambda _: ["bob", "A" * 43]),
    "operator recover": ("alice.custodian", lambda lines: ["bob", *lines.countersigned("bob")]),
    "operator remove": ("alice", lambda _: ["carol", "--reason", "left"]),
    "operator roles": ("alice", lambda _: ["carol", "--role", "auditor"]),
    "review start": ("alice", lambda lines: [lines.name(), "--until", "5d"]),
    "review confirm": ("alice", lambda _: ["--operator", "bob"]),
    "review close": ("alice", lambda _: []),
    "trust submit": ("alice", lambda lines: [str(lines.plant.folder / "trust"), *_signatures(lines)]),
    "request withdraw": ("alice", lambda lines: [_id_of(lines.waiting())]),
    "approve": ("bob", lambda lines: [lines.waiting(), "--yes"]),
    "deny": ("bob", lambda lines: [lines.waiting(), "--yes"]),
    "submit": ("", lambda lines: [lines.waiting()]),
    "request complete": ("alice", lambda lines: [_id_of(lines.waiting())]),
    "key activate": ("alice", lambda _: ["access-1"]),
    "revoke": ("alice", lambda _: ["--workload", WORKLOAD, "--reason", "test"]),
    "workload suspend": ("alice", lambda lines: [lines.robot(), "--reason", "test"]),
    "key suspend": ("alice", lambda _: ["nothing", "--reason", "test"]),
}
"""The line of each verb, and who runs it; some are refused, which has to be true as well."""


def _policy(lines: Lines) -> str:
    path = lines.folder / f"{lines.name()}.cedar"
    shown = lines.plant.done("policy", "show", who="alice").out
    path.write_text(shown)
    return str(path)


def _signatures(lines: Lines) -> list[str]:
    return [str(lines.plant.folder / f"{person}.signature") for person in ("alice", "bob")]


def _id_of(path: str) -> str:
    return request_id(Path(path).read_text().strip())[:12]


@pytest.fixture(scope="module")
def lines(served: Plant, tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """Return what the lines of this module are made from."""
    return Lines(served, tmp_path_factory.mktemp("lines"))


def verbs() -> Iterator[tuple[str, click.Command]]:
    """Give every verb of the command, by its words."""

    def walk(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from walk(found, (*words, name))
        else:
            yield " ".join(words), command

    return walk(root, ())


def submitting() -> set[str]:
    """Give the verbs that send something to be carried out or counted."""
    asks = {verb for verb, command in verbs() if any("--request" in option.opts for option in command.params)}
    return asks | {"approve", "deny", "submit", "request complete"}


def test_every_verb_that_submits_has_a_line() -> None:
    """A verb that is added comes with a line here."""
    assert set(LINES) == submitting()


def entries(plant: Plant) -> list[dict[str, Any]]:
    """Give the newest entries that somebody's line made, oldest first."""
    found = plant.done("log", "show", "--limit", "1000", "--json", who="carol").json
    mine = [entry for entry in found if entry["event"]["type"] not in _SYSTEM]
    return sorted(mine, key=lambda entry: int(entry["seq"]))


def ended(plant: Plant, who: str, line: list[str], cwd: Path | None = None, **streams: Any) -> Ended:
    """Run a line with streams of its own."""
    with ExitStack() as stack:

        def secret(text: bytes) -> str:
            read, write = os.pipe()
            stack.callback(os.close, read)
            os.write(write, text + b"\n")
            os.close(write)
            descriptors.append(read)
            return str(read)

        descriptors: list[int] = []
        options = ["--home", str(plant.home), "--pin-fd", secret(PIN)]
        if who:
            key = plant.people / (who if "." in who else f"{who}.operator")
            options += ["--as", str(key), "--passphrase-fd", secret(PASSPHRASE.encode())]
        shell = streams.pop("shell", 'exec "$@"')
        words = ["sh", "-c", shell, "sh", *streams.pop("by", []), *CTL, *options, *line]
        run = subprocess.run(
            words,
            env=ENVIRONMENT,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=streams.get("stdout", subprocess.PIPE),
            stderr=streams.get("stderr", subprocess.PIPE),
            pass_fds=descriptors,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
    return Ended(run.returncode, run.stdout or "", run.stderr or "")


def true(plant: Plant, before: int, run: Ended, *, heard: bool = True) -> None:
    """See that code and words of a run fit what the log has of it; `heard`: somebody reads its standard error."""
    assert "Traceback" not in run.err
    assert "defect" not in run.err, run
    made = [entry for entry in entries(plant) if int(entry["seq"]) > before]
    types = {entry["event"]["type"] for entry in made}
    assert run.code in {0, 1, 2, 3, 5}, run
    if run.code == 3:
        if heard:
            assert re.search(r"\b[0-9a-f]{12}\b", run.err), run
    elif run.code in {1, 2} or (run.code == 5 and "lost)" not in run.err and heard):
        assert types <= {"command.refused", "approval.refused"}, (run, types)
    elif heard and run.code == 5:
        assert made, run
        assert "nothing was changed" not in run.err, run
        assert re.search(r"\b([0-9a-f]{12}|[A-Za-z0-9_-]{22})\b|the (bundle|export) is lost", run.err), run


def newest(plant: Plant) -> int:
    """Give the number of the newest entry of people."""
    return max((int(entry["seq"]) for entry in entries(plant)), default=-1)


@pytest.mark.parametrize("verb", sorted(LINES))
def test_a_full_output(lines: Lines, verb: str) -> None:
    """What an act gave, or that it waits, is named on standard error when standard output takes nothing."""
    who, arguments = LINES[verb]
    line = [*verb.split(), *arguments(lines)]
    before = newest(lines.plant)
    with Path("/dev/full").open("w") as full:
        run = ended(lines.plant, who, line, lines.folder, stdout=full)
    true(lines.plant, before, run)
    assert run.code != 0 or verb in {"bundle create", "log export"}  # these make a file of their own, and say its name


@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_a_file_that_is_not_there_is_said_first(lines: Lines, verb: str) -> None:
    """A mistyped path is no id of a request: it is misuse, before a secret is asked for or anything opened."""
    run = ended(lines.plant, "nobody", [verb, "no-such-file.jws"])
    assert (run.code, "there is no file no-such-file.jws" in run.err) == (2, True), run


def dead_pipe() -> int:
    """Give the end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize("verb", ["issue", "workload enrol", "bundle create", "revoke"])
@pytest.mark.parametrize("fault", ["closed", "broken", "no talk", "all closed", "read-only folder", "folder gone"])
def test_what_else_goes_away(lines: Lines, verb: str, fault: str, tmp_path: Path) -> None:
    """Standard output closed or broken, nobody to talk to, nowhere to write: the code and the words are true."""
    who, arguments = LINES[verb]
    line = [*verb.split(), *arguments(lines)]
    before = newest(lines.plant)
    with ExitStack() as stack:
        broken = dead_pipe()
        stack.callback(os.close, broken)
        gone = tmp_path / "gone"
        gone.mkdir()
        kinds: dict[str, dict[str, Any]] = {
            "closed": {"shell": 'exec "$@" >&-'},
            "broken": {"stdout": broken},
            "no talk": {"stderr": broken},
            "all closed": {"shell": 'exec "$@" <&- >&- 2>&-'},
            "read-only folder": {"shell": 'cd /proc; exec "$@"'},
            "folder gone": {"shell": f'cd {gone}; rmdir {gone}; exec "$@"'},
        }
        run = ended(lines.plant, who, line, lines.folder, **kinds[fault])
    true(lines.plant, before, run, heard=fault not in {"no talk", "all closed"})
    if fault in {"closed", "all closed"} and verb == "issue":
        assert run.code == 2, run  # the credential would be given to nobody, so it is not asked for
    if fault in {"no talk", "closed"} and verb == "revoke":
        assert run.code in {0, 1}, run
    if verb == "workload enrol" and fault != "broken":
        assert run.code == 3, run


@pytest.mark.parametrize("closed", ["<&-", "2>&-", ">&-"])
@pytest.mark.parametrize("verb", ["approve", "profile set"])
def test_what_shows_before_it_signs_needs_no_stream(lines: Lines, verb: str, closed: str) -> None:
    """Where a standard stream is closed nobody is at a terminal: the line works as it does anywhere else."""
    who, arguments = LINES[verb]
    line = [*verb.split(), *arguments(lines)]
    line = [word for word in line if word != "--yes"]
    before = newest(lines.plant)
    streams = {"shell": f'exec "$@" {closed}'}
    run = ended(lines.plant, who, line, lines.folder, **streams)
    true(lines.plant, before, run, heard="2" not in closed)
    assert run.code == {"approve": 0}.get(verb, 3), run


@pytest.mark.parametrize("closed", ["<&-", "2>&-", ">&-"])
def test_a_batch_needs_no_stream(lines: Lines, tmp_path: Path, closed: str) -> None:
    """A batch has its file, so it is carried out whichever standard stream is closed."""
    asked: dict[str, Json] = {
        "profile": "orders-reader",
        "workload": WORKLOAD,
        "audience": AUDIENCE,
        "scopes": ["orders.read"],
    }
    (tmp_path / "asked").write_bytes(dumps({**asked, "ttl": 900}) + b"\n")
    line = ["issue", "--requests", str(tmp_path / "asked"), "--out", str(tmp_path / "out")]
    streams: dict[str, Any] = {"shell": f'exec "$@" {closed}'}
    run = ended(lines.plant, "alice", line, **streams)
    assert (run.code, b'"token":' in (tmp_path / "out").read_bytes()) == (0, True), run


SIGNALS = ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT")


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("verb", ["issue", "workload enrol"])
def test_a_signal_before_anything_is_sent(lines: Lines, verb: str, name: str) -> None:
    """A run that is ended while it connects says that nothing was sent, and the log has nothing of it."""
    point = _at_the_last("connect", lines, verb)
    before = newest(lines.plant)
    run = signalled(lines, verb, point.signal(name))
    assert (run.code, "(interrupted)" in run.err, "nothing was sent" in run.err) == (130, True, True), run
    assert newest(lines.plant) == before


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("verb", ["issue", "workload enrol"])
def test_a_signal_while_the_answer_is_awaited(lines: Lines, verb: str, name: str) -> None:
    """A run that is ended after it sent a command names it, and `why` tells what became of it."""
    run = signalled(lines, verb, _at_the_last("sendto", lines, verb).signal(name))
    assert (run.code, "(interrupted-unknown)" in run.err) == (130, True), run
    found = re.search(r"coldcredctl why ([0-9a-f]{12})", run.err)
    assert found is not None, run
    told = lines.plant.ctl("why", found[1], who="alice")
    assert told.code in {0, 1}, told


def _at_the_last(call: str, lines: Lines, verb: str) -> Point:
    """Find the call that a run of a verb makes last: a rehearsal counts them."""
    traced = lines.folder / f"{lines.name()}.trace"
    signalled(lines, verb, strace("-e", f"trace={call}", output=traced))
    return Point(call, sum(f"{call}(" in line for line in traced.read_text().splitlines()))


def signalled(lines: Lines, verb: str, by: list[str]) -> Ended:
    """Run a verb's line under a tracer."""
    who, arguments = LINES[verb]
    return ended(lines.plant, who, [*verb.split(), *arguments(lines)], lines.folder, by=by)
