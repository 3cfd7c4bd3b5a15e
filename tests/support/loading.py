"""What does importing a module load? Asked of a fresh interpreter, once for many modules.

The interpreter forks before anything of ours is loaded; each child imports one module and reports `sys.modules`.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_ASK = r"""
import importlib, json, os, sys
names = json.load(sys.stdin)
sys.stdout.write("\n")
for name in names:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        before = set(sys.modules)
        failure = None
        try:
            importlib.import_module(name)
        except BaseException as error:
            failure = f"{type(error).__name__}: {error}"
        answer = {"name": name, "loaded": sorted(set(sys.modules) - before), "error": failure}
        os.write(1, (json.dumps(answer) + "\n").encode())
        os._exit(0)
    os.waitpid(child, 0)
"""


@dataclass(frozen=True)
class Answer:
    """What one import did: the full names of all modules it added, and the error it ended with, if any."""

    loaded: frozenset[str]
    error: str | None


def loaded_by(modules: Sequence[str]) -> dict[str, Answer]:
    """Return, for each module, what importing it does to a bare interpreter."""
    run = subprocess.run(
        [sys.executable, "-I", "-c", _ASK],
        input=json.dumps(list(modules)),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    answers = [json.loads(line) for line in run.stdout.splitlines() if line.startswith('{"name"')]
    found = {answer["name"]: Answer(frozenset(answer["loaded"]), answer["error"]) for answer in answers}
    lost = Answer(frozenset(), "the interpreter ended while importing it")
    return {module: found.get(module, lost) for module in modules}
