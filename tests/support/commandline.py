"""The two command lines as people and scripts use them: real processes, secrets through descriptors."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import advice

TIMEOUT = 300
ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8"}
CTL = (sys.executable, "-P", "-m", "appliance")
COLDCRED = (sys.executable, "-P", "-m", "coldcred")


@dataclass(frozen=True)
class Ended:
    """A process that ended: its exit code, its data and its talk."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


def run(
    command: Sequence[str | Path],
    *,
    secrets: Mapping[str, str] | None = None,
    verb_secrets: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a command; `secrets` maps options such as `--pin-fd` to what their descriptor holds, one line.

    They stand before the verb, `verb_secrets` behind it. `environment` holds variables beside the usual ones.
    """
    with ExitStack() as stack:
        descriptors: list[int] = []

        def options(lines: Mapping[str, str]) -> list[str]:
            words = []
            for option, secret in lines.items():
                read, write = os.pipe()
                stack.callback(os.close, read)
                os.write(write, f"{secret}\n".encode())
                os.close(write)
                descriptors.append(read)
                words += [option, str(read)]
            return words

        words = [str(word) for word in command]
        start = len(CTL)
        ended = subprocess.run(
            [*words[:start], *options(secrets or {}), *words[start:], *options(verb_secrets or {})],
            env={**ENVIRONMENT, **(environment or {})},
            cwd=cwd,
            input=stdin,
            pass_fds=descriptors,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
    advice.check(ended.stderr)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def typed(command: list[str], *lines: str) -> tuple[int, str]:
    """Run a command at a terminal of its own, type `lines` when asked, and give its code and what was on the screen."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(command[0], command, ENVIRONMENT)  # noqa: S606 - the child of a terminal
    screen = b""
    waiting = list(lines)
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        screen += part
        if waiting and part.endswith(b": "):
            os.write(terminal, waiting.pop(0).encode() + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), screen.decode()


def coldcred(*arguments: str | Path, stdin: str = "") -> Ended:
    """Run the verifier's command line."""
    return run([*COLDCRED, *arguments], stdin=stdin)
