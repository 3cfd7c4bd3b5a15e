"""A founding killed half-way: the same line again completes it, and there is never half a home (R1, R14)."""

import json
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import plant
from tests.support.commandline import Ended
from tests.support.disturbed import killed
from tests.support.running import LABEL
from tests.support.serving import Appliance
from tests.support.softhsm import MODULE, SoftHsm
from tests.support.strace import Point, counting, points, spread

CALLS = ("mkdir", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "unlink", "sendto", "flock")
HOME = {"settings.toml", "founding.json", "log.sqlite", "lock"}


@dataclass(frozen=True)
class Founders:
    """A founding that everyone signed, as files, and a token that nothing was made in."""

    folder: Path
    founded: int
    prepared: SoftHsm

    def appliance(self, folder: Path) -> Appliance:
        """Give a place to found in, with an empty token."""
        token = SoftHsm(folder / "hsm")
        token.configure()
        token.add_prepared(self.prepared, "token-1")
        return Appliance(folder, self.founded)

    def complete(self, mine: Appliance, under: list[str]) -> Ended:
        """Run `init complete`."""
        signatures = sorted(self.folder.glob("signature-*"))
        uri = mine.softhsm.uri.format()
        (variable,) = (f"{name}={value}" for name, value in mine.softhsm.environment.items())
        options = ["--module", MODULE, "--module-env", variable, "--token", f"{LABEL}={uri}"]
        return mine.ctl("init", "complete", self.folder / "founding.json", *signatures, *options, under=under)


@pytest.fixture(scope="module")
def founders(tmp_path_factory: pytest.TempPathFactory, softhsm_prepared: SoftHsm) -> Founders:
    """Return founders with their signed files."""
    folder = tmp_path_factory.mktemp("founders")
    founders = Founders(folder, int(time.time()) - 60, softhsm_prepared)
    body = Appliance(folder / "nowhere", founders.founded).founding
    (folder / "founding.json").write_bytes(body)
    for number, signature in enumerate(plant.signatures(body)):
        (folder / f"signature-{number}").write_text(f"{signature}\n")
    return founders


def test_try(founders, tmp_path):
    mine = founders.appliance(tmp_path / "m")
    trace = tmp_path / "trace"
    print(founders.complete(mine, counting(CALLS, trace)))
    lines = [l for l in trace.read_text().splitlines() if " write(" in l]
    by = {}
    for l in lines: by.setdefault(l.split()[0], []).append(l)
    for k, v in by.items(): print(k, len(v))
    import collections, random
    res = collections.Counter()
    for n in list(range(30, 254, 9)):
        mine = founders.appliance(tmp_path / f"m{n}")
        e = founders.complete(mine, Point("write", n).kill())
        files = [(p.name[:8], p.stat().st_size) for p in mine.softhsm.tokens.rglob("*.object") if p.name != "token.object"]
        tok = (mine.softhsm.tokens / "token-1" / "token.object").stat().st_size
        e2 = founders.complete(mine, [])
        print(n, e.code, e.err.splitlines()[-3:-1], tok, len(files), "AGAIN", e2.code, e2.err[-420:])
