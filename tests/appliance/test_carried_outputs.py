"""Every verb that writes a file, as a real process, writing it to a stick and to a disk, under the umasks of hosts."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from coldcred.canonical import sha256_hex
from coldcred.files import FileKind
from tests.appliance.test_outputs import OUTPUTS
from tests.support import media
from tests.support.commandline import COLDCRED, CTL, Ended, run
from tests.support.founded import AUDIENCE, EXAMPLE, PASSPHRASE, SITE, WORKLOAD, Plant

ROBOT = "spiffe://plant-a.example/line-1/robot-8"
SUSPEND = ("--reason", "found open")


@contextmanager
def umasked(mask: int) -> Iterator[None]:
    """Set the umask of what is run."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


class Walk:
    """One pass through all verbs with an output, and what each wrote."""

    def __init__(self, plant: Plant, place: Path, desk: Path) -> None:
        self._plant, self._place, self._desk = plant, place, desk
        self.written: dict[tuple[str, str], Path] = {}

    def out(self, line: str, option: str, name: str) -> Path:
        """Give the place of an output, and note it."""
        self.written[line, option] = self._place / name
        return self._place / name

    def done(self, *words: str | Path, who: str = "", code: int = 0) -> Ended:
        """Run a line of the appliance's command."""
        ended = self._plant.ctl(*words, who=who)
        assert ended.code == code, (words, ended)
        return ended

    def away(self, who: str, *words: str | Path) -> None:
        """Run a line on a machine without an appliance."""
        line = [*CTL, "--home", self._desk / "none", "--as", self._plant.people / who, *words]
        ended = run(line, secrets={"--passphrase-fd": PASSPHRASE})
        assert ended.code == 0, (words, ended)

    def machine(self, *words: str | Path) -> None:
        """Run a line of a machine's."""
        ended = run([*COLDCRED, *words])
        assert ended.code == 0, (words, ended)

    def waiting(self, name: str) -> Path:
        """Have alice ask for what takes two people; the request is kept on the medium."""
        request = self.out("coldcredctl workload resume", "--request", name)
        self.done("workload", "suspend", WORKLOAD, *SUSPEND, who="bob")
        self.done("workload", "resume", WORKLOAD, "--request", request, who="alice", code=3)
        return request

    def founding(self) -> None:
        """Write the founding's files."""
        plan = EXAMPLE / "plan.toml"
        draft = self.out("coldcredctl init draft", "--out", "founding.json")
        self.done("init", "draft", "--plan", plan, "--people", self._plant.people, "--out", draft)
        self.away("alice.operator", "init", "sign", draft, "--out", self.out("coldcredctl init sign", "--out", "a.sig"))
        self.away(
            "alice.operator", "operator", "show", "--out", self.out("coldcredctl operator show", "--out", "a.pub.json")
        )
        proof = self.out("coldcredctl operator countersign", "--out", "proof.jws")
        self.away(
            "alice.operator", "operator", "countersign", "--appliance", "0" * 64, "--person", "alice", "--out", proof
        )

    def requests(self) -> None:
        """Write what crosses the gap when people approve elsewhere."""
        terms = self.out("coldcredctl terms", "--out", "terms")
        self.done("terms", "--out", terms, who="alice")
        kept = self.waiting("resume.jws")
        id_ = self.done("request", "list", "--json", who="alice").json[0]["command"]
        exported = self.out("coldcredctl request export", "--out", "resume.request")
        self.done("request", "export", id_, "--out", exported, who="alice")
        denied = self.out("coldcredctl deny", "--out", "bob.denial")
        self.away("bob.operator", "deny", exported, "--out", denied)
        approved = self.out("coldcredctl approve", "--out", "bob.approval")
        self.away("bob.operator", "approve", exported, "--out", approved)
        self.done("submit", approved)
        assert kept.is_file()
        args = self._desk / "args.json"
        named = {"profile": "orders-reader", "workload": WORKLOAD, "audience": AUDIENCE}
        args.write_text(json.dumps(named))
        draft = self.out("coldcredctl command make", "--out", "issue.draft")
        self.done("command", "make", "credential.issue", "--args", args, "--terms", terms, "--out", draft)
        signed = self.out("coldcredctl command sign", "--out", "issue.request")
        self.away("alice.operator", "command", "sign", draft, "--out", signed)
        self.done("submit", signed, "--out", self.out("coldcredctl submit", "--out", "submitted.jwt"))

    def given(self) -> None:
        """Write what the appliance gives."""
        asked = ("--profile", "orders-reader", "--workload", WORKLOAD, "--audience", AUDIENCE)
        self.done("issue", *asked, "--out", self.out("coldcredctl issue", "--out", "credential.jwt"), who="alice")
        lines = self._desk / "batch.jsonl"
        lines.write_text(json.dumps({"profile": "orders-reader", "workload": WORKLOAD, "audience": AUDIENCE}) + "\n")
        batch = self.out("coldcredctl issue", "--out batch", "outcomes.jsonl")
        self.done("issue", "--requests", lines, "--out", batch, who="alice")
        out = self.out("coldcredctl revoke", "--out", "revoked.jsonl")
        self.done("revoke", "--workload", WORKLOAD, "--reason", "all of it", "--out", out, who="alice")
        out = self.out("coldcredctl bundle create", "--out", "site.bundle")
        self.done("bundle", "create", "--site", SITE, "--out", out, who="alice")
        out = self.out("coldcredctl log export", "--out", "log.export")
        self.done("log", "export", "--out", out, who="carol")

    def trust(self) -> None:
        """Write what custodians sign."""
        folder = self.out("coldcredctl trust prepare", "--out", "trust")
        self.done("trust", "prepare", "--out", folder, who="alice")
        signatures = [self.out("coldcredctl trust sign", "--out", f"{one}.signature") for one in ("alice", "bob")]
        for person, signature in zip(("alice", "bob"), signatures, strict=True):
            self.away(f"{person}.custodian", "trust", "sign", folder, "--out", signature)
        root = self.out("coldcredctl trust submit", "--root-out", "root.json")
        self.done("trust", "submit", folder, *signatures, "--root-out", root, who="alice")

    def machines(self) -> None:
        """Write what a machine writes; its keys stay on it."""
        appliance = sha256_hex((self._plant.home / "founding.json").read_bytes())
        named = ("--id", ROBOT, "--key", self._desk / "key.pem", "--appliance", appliance)
        self.machine("enrol", *named, "--out", self.out("coldcred enrol", "--out", "enrolment.jws"))
        asks = ("--profile", "orders-reader", "--audience", AUDIENCE, "--epoch", "1")
        out = self.out("coldcred request", "--out-request", "machine.jws")
        self.machine("request", *named, *asks, "--out-request", out)

    def secrets(self) -> tuple[Ended, Ended]:
        """Try to put private keys there."""
        who: list[str | Path] = [*CTL, "--home", self._desk / "none"]
        person = run([*who, "operator", "keygen", self._place / "dora"], secrets={"--passphrase-fd": PASSPHRASE})
        key = ("--appliance", "0" * 64, "--id", ROBOT, "--key", self._place / "m.pem", "--out", self._place / "m.jws")
        return person, run([*COLDCRED, "enrol", *key])


ELSEWHERE = {
    ("coldcredctl operator keygen", ""): "below: a key",
    ("coldcred site init", ""): "test_store_access: a stick is no place for a store",
    ("coldcred enrol", "--key"): "below: a key",
    ("coldcred enrol", "--seal-key"): "as the other key",
    ("coldcredctl request complete", "--out"): "written by the same lines as what `issue` gives",
    ("coldcred bundle evidence", "--out"): "test_site_history: a site with two checkpoints that contradict each other",
    ("coldcred request", "--out"): "test_workload_socket: a credential over the socket",
    ("coldcred request", "--request"): "test_workload_socket: a request that waits",
    ("coldcredctl command submit", "--out"): "is `submit`",
}
"""Outputs of the lists of options that are not written here, each with its reason."""


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("exfat", 0o077),
        ("disk", 0o000),
        *(
            pytest.param(name, mask, marks=pytest.mark.soak)
            for name in ("fat32", "disk")
            for mask in (0o022, 0o027, 0o077)
        ),
    ],
)
def test_every_verb_writes_to_it(served: Plant, tmp_path: Path, name: str, mask: int) -> None:
    """All that is carried arrives whole, with the mode of its kind; keys are refused where they would lie open."""
    (tmp_path / "desk").mkdir()
    (tmp_path / "disk").mkdir()
    with media.stick(name, tmp_path) if name != "disk" else nullcontext() as mounted:
        place = mounted or tmp_path / "disk"
        walk = Walk(served, place, tmp_path / "desk")
        with umasked(mask):
            for part in (walk.founding, walk.requests, walk.given, walk.trust, walk.machines):
                part()
            refused = walk.secrets()
        modes = {output: stat.S_IMODE(path.stat().st_mode) for output, path in walk.written.items()}
        assert all(path.is_dir() or path.stat().st_size for path in walk.written.values())
        assert not list(place.rglob(".coldcred-*"))
        keys = [path for path in (place / "dora", place / "m.pem") if path.exists()]
        assert all(path.stat().st_mode & 0o077 == 0 for path in keys)
    requests = {(str(line), option.words[-1]) for line, option in OUTPUTS if option.words[-1:] == ("--request",)}
    listed = {(str(line), "".join(option.words[:1])) for line, option in OUTPUTS}
    assert listed - set(walk.written) - set(ELSEWHERE) <= requests
    if name == "disk" or mounted is None:
        assert [ended.code for ended in refused] == [0, 0]
        kinds = {(str(line), "".join(option.words[:1])): option.kind for line, option in OUTPUTS}
        for output, mode in modes.items():
            kind = kinds.get(output, FileKind.OUTCOMES)
            if walk.written[output].name not in {"trust", "submitted.jwt"}:
                assert kind is not None
                assert mode == kind.mode, output
    elif not keys:
        for ended in refused:
            assert (ended.code in {1, 2}, "keeps no modes" in ended.err) == (True, True), ended
