"""Memory that holds secrets: guarded before one comes, and empty of PINs after the login."""

import subprocess
import sys
from pathlib import Path

import pytest

from coldcred import memory
from coldcred.cli import keyfile

OPEN = """
import resource
from contextlib import suppress
with suppress(OSError, ValueError):
    resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096))
"""

GUARDED = (
    OPEN
    + """
import ctypes
from coldcred import memory
system = ctypes.CDLL(None)
before = system.prctl(3, 0, 0, 0, 0)
memory.guard()
print(before, system.prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""
)

ATTACK = """
import ctypes, os, sys
from coldcred import memory
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # giving up root had made it undumpable
secret = bytearray(b"canary-3391")
begun, begin = os.pipe()
ended, end = os.pipe()
victim = os.fork()
if victim == 0:
    if sys.argv[1] == "guarded":
        memory.guard()
    os.write(begin, b"x")
    os.read(ended, 1)
    os._exit(0)
os.read(begun, 1)
address = ctypes.addressof(ctypes.c_char.from_buffer(secret))
try:
    with open(f"/proc/{victim}/mem", "rb", buffering=0) as taken:
        taken.seek(address)
        print(taken.read(len(secret)).decode())
except PermissionError:
    print("refused")
attached = ctypes.CDLL(None).ptrace(16, victim, 0, 0)
print("attached" if attached == 0 else "refused")
os.kill(victim, 9)
"""

SOFTLY = """
import os, resource
from coldcred import memory
def locked():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmLck")).split()[1])
secret = bytearray(b"canary-3391")
print(memory.hold(bytearray()), locked(), memory.hold(secret), locked() > 0)
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
if os.getuid() == 0:
    os.setresuid(65534, 65534, 65534)
print(memory.hold(bytearray(10**6)))
memory.wipe(secret)
print(secret == bytes(11))
"""


def python(program: str, *arguments: str) -> list[str]:
    """Run a program in an interpreter of its own and give the words that it prints."""
    run = subprocess.run([sys.executable, "-I", "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_the_guard_is_the_kernel_s_word() -> None:
    """No core file, and undumpable, where before it was not."""
    assert python(GUARDED) == ["1", "0", "0", "0"]


def test_another_process_of_the_user_neither_reads_nor_attaches() -> None:
    """A parent, who is the most that the kernel lets near, gets at an unguarded child and not at a guarded one."""
    assert python(ATTACK, "open") == ["canary-3391", "attached"]
    assert python(ATTACK, "guarded") == ["refused", "refused"]


def test_secrets_are_held_where_the_system_lets_us() -> None:
    """Locked pages are counted by the kernel; beyond the limit the secret is kept without, and the answer says so."""
    assert python(SOFTLY) == ["True", "0", "True", "True", "False", "True"]


def test_where_the_system_refuses_no_secret_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either of the two guards that fails is an error with an id."""

    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr("resource.setrlimit", refuse)
        with pytest.raises(memory.Unguarded):
            memory.guard()
    monkeypatch.setattr(memory, "_library", type("Library", (), {"prctl": lambda *_: -1}))
    with pytest.raises(memory.Unguarded) as caught:
        memory.guard()
    assert caught.value.id == "memory-unguarded"
    with pytest.raises(keyfile.KeyFileUnfit, match="prctl"):
        keyfile.make_signing_key(tmp_path / "key")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(memory, "_library", object)
    with pytest.raises(memory.Unguarded, match="no prctl"):
        memory.guard()


@pytest.mark.parametrize(
    "program",
    [
        "from appliance.cli import app; app.main(['token', '--help'])",
        "from hsm import worker; worker.lock_down()",
        "from coldcred.cli import keyfile; keyfile.make_signing_key(path)",
        "from coldcred.cli import keyfile; keyfile.make_sealing_key(path)",
        "from coldcred.cli import keyfile\ntry: keyfile.signing_key(path)\nexcept OSError: pass",
    ],
    ids=["coldcredctl", "worker", "coldcred enrol", "coldcred enrol, sealing", "coldcred"],
)
def test_each_program_guards_itself(program: str, tmp_path: object) -> None:
    """`coldcredctl` in every run, the worker, and `coldcred` where it makes or opens a key."""
    told = f"""{OPEN}
import ctypes
from pathlib import Path
path = Path({str(tmp_path)!r}) / "key"
{program}
print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""
    assert python(told)[-4:] == ["dumpable", "0", "0", "0"]
