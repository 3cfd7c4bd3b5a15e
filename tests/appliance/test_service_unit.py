"""The unit file that is shipped as an example: hardened, fed by sealed credentials, and about verbs that exist."""

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from appliance.cli import app, failures, service_credential
from appliance.cli.exits import Exit
from appliance.errors import HomeFault, Refusal
from tests.support.running import LABEL
from tests.support.tree import ROOT

UNIT = ROOT / "provisioning" / "coldcred.service"


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    """Return the settings of the section [Service], each with all its values."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in UNIT.read_text().replace("\\\n", "").splitlines():
        if line.startswith("["):
            section = line
        elif line and not line.startswith("#") and section == "[Service]":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_it_runs_a_verb_that_exists(service: dict[str, list[str]]) -> None:
    """The command line is one that `coldcredctl` takes, and it names no secret."""
    (command,) = service["ExecStart"]
    program, *words = command.split()
    assert Path(program).name == "coldcredctl"
    serve = words.index("serve")
    with app.root.make_context("coldcredctl", [*words[:serve], "serve", "--help"]) as context:
        verb = app.root.get_command(context, "serve")
        assert isinstance(verb, click.Command)
        with verb.make_context("serve", words[serve + 1 :], parent=context):
            assert context.params["home"] == Path("/var/lib/coldcred/home")


def test_its_pins_are_sealed_credentials_of_daily_tokens(service: dict[str, list[str]]) -> None:
    """Each is loaded under the name where `serve` looks, and sealed; none is in the clear or in a variable."""
    assert not service.keys() & {"LoadCredential", "SetCredential", "SetCredentialEncrypted", "Environment"}
    (loaded,) = service["LoadCredentialEncrypted"]
    name, _, path = loaded.partition(":")
    assert service_credential.path(Path("/run"), LABEL).name == name
    assert path.startswith("/etc/credstore.encrypted/")
    assert f"--name={name} " in UNIT.read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LimitCORE", "0"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("PrivateNetwork", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("ProtectProc", "invisible"),
        ("MemorySwapMax", "0"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
        ("KillMode", "mixed"),
        ("SystemCallFilter", "@system-service"),
    ],
)
def test_it_is_hardened(service: dict[str, list[str]], name: str, value: str) -> None:
    """Each setting that keeps memory, files and network to the appliance stands there once."""
    assert service[name] == [value]


def test_a_refused_pin_is_not_tried_again_by_the_service_manager(service: dict[str, list[str]]) -> None:
    """Whatever exit a restart cannot cure is left alone; all that it can cure is started over, without a limit."""
    (codes,) = service["RestartPreventExitStatus"]
    assert {int(code) for code in codes.split()} == {Exit.REFUSED, Exit.MISUSE, Exit.HSM}
    assert (service["Restart"], int(service["RestartSec"][0]) > 0) == (["on-failure"], True)
    assert "\nStartLimitIntervalSec=0\n" in UNIT.read_text().partition("[Service]")[0]


@pytest.mark.parametrize("fault", [*HomeFault, Refusal.STORAGE_FAULT, Refusal.CLOCK_FAULT, "connection-lost"])
def test_each_fault_that_can_pass_is_started_over(service: dict[str, list[str]], fault: str) -> None:
    """A full disk, a clock set right, a defect that one start met: none of them leaves the service down."""
    (codes,) = service["RestartPreventExitStatus"]
    started_over = int(failures.exit_of(fault)) not in {int(code) for code in codes.split()}
    assert started_over is (fault not in {HomeFault.EXISTS, HomeFault.HSM_CONTENT})


def test_no_module_comes_from_its_environment(service: dict[str, list[str]]) -> None:
    """What makes Python run code of somebody's choosing is taken out of the environment."""
    (names,) = service["UnsetEnvironment"]
    assert {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE"} <= set(names.split())


def test_systemd_understands_it_where_it_is_installed(tmp_path: Path) -> None:
    """Every setting is known to the systemd of this machine; without one there is nobody to ask."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/coldcred/bin/coldcredctl", "/bin/true"))
    if (program := shutil.which("systemd-analyze")) is not None:
        run = subprocess.run([program, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, "")
