"""`python -m tests.mutants [--only PATH]... [--sample N] [--seed N]`: run the mutants, say which no test notices.

Each runs in a copy of the tree, never in the tree itself. Exit code 1: one survived that `campaign.toml` does not call
harmless, or the tests of a module fail without any mutation.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.campaign import Campaign
from tests.mutants.mutate import Mutant
from tests.support.tree import ROOT, files

_LONGEST = 1800  # seconds; a mutant that hangs is noticed by the time-out of its test long before


def main() -> int:
    """Run the campaign, or a sample of it."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="PATH", help="a module; may be repeated")
    parser.add_argument("--sample", type=int, metavar="N", help="as many mutants, by chance, of all of them")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    asked = parser.parse_args()
    campaign = Campaign.read()
    todo = [(path, one) for path in asked.only or campaign.modules for one in campaign.mutants(path)]
    if asked.sample is not None:
        todo = random.Random(asked.seed).sample(todo, min(asked.sample, len(todo)))
    todo.sort(key=lambda item: item[0])
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder)
        for file in files():
            (copy / file.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy / file.relative_to(ROOT))
        for path in sorted({path for path, _ in todo}):
            if not _passes(copy, campaign.modules[path]):
                print(f"without any mutation fails: {' '.join(campaign.modules[path])}")
                return 1
        return _run(copy, campaign, todo)


def _run(copy: Path, campaign: Campaign, todo: list[tuple[str, Mutant]]) -> int:
    killed = harmless = 0
    survivors: list[str] = []
    for number, (path, one) in enumerate(todo, 1):
        original = (copy / path).read_text()
        (copy / path).write_text(one.text)
        survived = _passes(copy, campaign.modules[path])
        (copy / path).write_text(original)
        verdict = "killed" if not survived else "harmless" if one.id in campaign.harmless else "SURVIVED"
        print(f"{number}/{len(todo)} {verdict} {one.id} (line {one.line})", flush=True)
        killed, harmless = killed + (verdict == "killed"), harmless + (verdict == "harmless")
        if verdict == "SURVIVED":
            survivors.append(one.id)
    print(f"{len(todo)} mutants: {killed} killed, {harmless} known as harmless, {len(survivors)} survived")
    return 1 if survivors else 0


def _passes(copy: Path, tests: tuple[str, ...]) -> bool:
    # No compiled file may outlive the text it was made of: two mutants can have one size and one second.
    environment = {**os.environ, "PYTHONPATH": f"{copy}:{copy / 'verifier'}", "PYTHONDONTWRITEBYTECODE": "1"}
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    command = [*pytest, "-m", "not soak", *tests]
    try:
        run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False, timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
