"""Plans, profiles, settings and arguments with every ordinary mistake: each refused by name, none a defect of ours."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from appliance import clock, home
from appliance.cli import failures
from appliance.cli.app import root
from appliance.cli.course import Course
from appliance.cli.grammar import Duration
from appliance.cli.messages import MESSAGES
from appliance.cli.opening import check
from appliance.cli.secret_input import SecretError
from appliance.cli.session import Session
from appliance.errors import HomeError, HomeFault
from appliance.home import Home, Settings
from appliance.plan import Plan, read_profile
from coldcred import founding, workable
from coldcred.errors import Malformed
from coldcred.founding import CUSTODIAN
from coldcred.keys import PublicKey
from tests.support import plant
from tests.support.commandline import CTL, ENVIRONMENT, coldcred, run
from tests.support.founded import EXAMPLE, Plant
from tests.support.softhsm import MODULE

PLAN = (EXAMPLE / "plan.toml").read_text()
PROFILE = (EXAMPLE / "orders-reader.toml").read_text()
SETTINGS = Settings(
    MODULE, {"plant-a-daily": "pkcs11:token=plant-a-daily"}, {"SOFTHSM2_CONF": "/x"}, "/run/x/workload.sock", "root"
).text()

ODD = (
    "2.5", "inf", "nan", "true", "0", "-1", "1e3", "2026-01-01", "2026-01-01T00:00:00Z", "07:32:00",
    "9007199254740992", "99999999999999999999", "0x" + "f" * 6000, "1" * 5000, '""', '" "', '"\\u0000"', '"\\u202e"',
    '"x"', '"' + "x" * 5000 + '"', "[]", "[1]", '["x"]', "[[]]", "[" * 600, "[" * 30 + "]" * 30, "{}", "{x = 1}",
    "{x = {x = {x = {x = {x = {x = {x = {x = 1}}}}}}}}", "", "?", "'unended", '"\\ud800"', '"é"', "1979-13-45",
)  # fmt: skip
"""Values that people write by mistake, or that somebody writes on purpose."""


def _mutated(text: str, seed: int = 0) -> Iterator[bytes]:
    """Give a TOML text with each value replaced, each line left out or doubled, names misspelt, and bytes changed."""
    lines = text.splitlines()
    for place, line in enumerate(lines):
        before, after = lines[:place], lines[place + 1 :]
        yield "\n".join([*before, *after]).encode()
        yield "\n".join([*before, line, line, *after]).encode()
        if (found := re.match(r'("?[\w.-]+"?) = ', line)) is None:
            continue
        for odd in ODD:
            yield "\n".join([*before, f"{found[1]} = {odd}", *after]).encode()
        for name in ('"é"', '""', f"{found[1]}x", "'a\"b'", "a.b.c"):
            yield "\n".join([*before, name + line[len(found[1]) :], *after]).encode()
    chance = random.Random(seed)
    body = text.encode()
    for _ in range(300):
        place = chance.randrange(len(body))
        yield body[:place] + bytes([chance.randrange(256)]) + body[place + chance.randrange(3) :]
    yield from (b"", b"\xff", b"\xef\xbb\xbf", b"\x00" * 10, b"a" * 300_000, "version = 1".encode("utf-16"))


def _key_of(person: str, register: str) -> PublicKey:
    return (plant.custodian(person) if register == CUSTODIAN else plant.operator(person)).public


def test_no_mutated_plan_is_a_defect() -> None:
    """Whatever stands in a plan founds something workable or is refused by an id that this program has words for."""
    files = {"orders-reader.toml": PROFILE.encode()}
    good, refused = 0, []
    for text in _mutated(PLAN):
        try:
            plan = Plan.parse(text)
            body = plan.document(key_of=_key_of, read_file=lambda name: files.get(name, b""), time=plant.TIME)
            workable.check(founding.parse(body))
        except Malformed as error:
            refused.append(failures.describe(error)[0])
        else:
            good += 1
    assert set(refused) <= set(MESSAGES) - {"unexpected"}
    assert len(refused) > 1000
    assert good > 20


def test_no_mutated_profile_is_a_defect() -> None:
    """The same of a profile's file."""
    refused = 0
    for text in _mutated(PROFILE, seed=1):
        try:
            read_profile(text, plant.DOMAIN)
        except Malformed:
            refused += 1
    assert refused > 300


def test_no_mutated_settings_are_a_defect(tmp_path: Path) -> None:
    """Settings that cannot be read are `settings-invalid`, or another version's, and name what is wrong."""
    body = founding.write(plant.members())
    (tmp_path / "founding.json").write_bytes(body)
    faults = []
    for text in _mutated(SETTINGS, seed=2):
        (tmp_path / "settings.toml").write_bytes(text)
        try:
            Home.open(tmp_path)
        except HomeError as error:
            faults.append(error.fault)
    assert set(faults) == {HomeFault.SETTINGS, HomeFault.VERSION, HomeFault.UNREADABLE}
    assert len(faults) > 250


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('version = 1\nhsm = "x"\n', "hsm"),
        ("version = 1\nhsm = [1]\n", "hsm"),
        ('version = 1\n[hsm]\nmodule = "/x"\ntokens = "a"\n', "tokens"),
        ('version = 1\n[hsm]\nmodule = 3\n[hsm.tokens]\na = "b"\n', "module"),
        ('version = 1\n[hsm]\nmodule = "/x"\n[hsm.tokens]\na = 2.5\n', "hsm.tokens.a"),
        ('version = 1\n[hsm]\nmodule = "/x"\n[hsm.tokens]\na = "b"\n[hsm.environment]\nA = 1\n', "hsm.environment.A"),
        (f"version = 1\na = {'[' * 600}", "TOML"),
        (f"version = 1\na = {'1' * 5000}", "TOML"),
    ],
)
def test_the_members_at_fault_is_named_by_every_verb(plant_copy: Plant, text: str, said: str) -> None:
    """`status` and `serve` end with `settings-invalid`, exit 5 and the member."""
    (plant_copy.home / "settings.toml").write_text(text)
    ended = plant_copy.ctl("status", "--json")
    assert (ended.code, ended.json["error"]) == (5, "settings-invalid")
    assert said in ended.json["detail"]


@pytest.fixture(scope="module")
def plant_copy(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Return a copy of the appliance, whose settings a test may spoil."""
    return plant.copy_home(tmp_path_factory.mktemp("copy") / "home")


def test_a_token_without_a_uri_is_named(plant_copy: Plant) -> None:
    """Settings that leave out a token of the founding are refused by its label when something is served."""
    (plant_copy.home / "settings.toml").write_text(Settings(MODULE, {"other": "pkcs11:token=other"}, {}).text())
    ended = plant_copy.ctl("serve", "--json")
    assert (ended.code, ended.json["error"]) == (5, "settings-invalid")
    assert "plant-a-daily" in ended.json["detail"]


def test_a_byte_order_mark_is_passed_over() -> None:
    """A plan, a profile and settings that an editor began with a mark are read."""
    mark = b"\xef\xbb\xbf"
    assert Plan.parse(mark + PLAN.encode()).people == Plan.parse(PLAN.encode()).people
    assert read_profile(mark + PROFILE.encode(), plant.DOMAIN) == read_profile(PROFILE.encode(), plant.DOMAIN)
    assert home._read_settings(mark + SETTINGS.encode()) == home._read_settings(SETTINGS.encode())


def _verbs(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield names, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _verbs(found, *names, name)


def _good(parameter: click.Parameter) -> str:
    """Give a value that a parameter takes."""
    if isinstance(parameter.type, click.Choice):
        return str(next(iter(parameter.type.choices)))
    return "1h" if isinstance(parameter.type, Duration) else "1"


def _texts() -> Iterator[tuple[tuple[str, ...], click.Command, click.Parameter]]:
    """Give every argument of every verb that is a text and no path, number or choice."""
    for names, verb in _verbs(root):
        for parameter in verb.params:
            if isinstance(parameter.type, click.types.StringParamType):
                yield names, verb, parameter


@pytest.mark.parametrize(
    ("names", "verb", "parameter"),
    [pytest.param(*one, id=f"{' '.join(one[0])} {one[2].name}") for one in _texts()],
)
def test_an_argument_that_is_not_utf_8_is_refused_by_name(
    tmp_path: Path, names: tuple[str, ...], verb: click.Command, parameter: click.Parameter
) -> None:
    """Every text of every verb: what bytes a terminal gave that are no UTF-8 is named before anything is done."""
    given: list[str] = []
    for other in verb.params:
        text = "x\udcff" if other is parameter else _good(other)
        if isinstance(other, click.Argument):
            given.append(text)
        elif other is parameter or other.required:
            given += [other.opts[0], text]
    words = ["--home", str(tmp_path), *names, *given]
    with pytest.raises(click.UsageError) as caught, root.make_context("coldcredctl", words, obj=Course()) as context:
        root.invoke(context)
    assert "not UTF-8" in caught.value.format_message()
    assert failures.describe(caught.value)[0] == "misuse"


def test_bytes_of_a_terminal_are_named_end_to_end(tmp_path: Path) -> None:
    """In a process of its own, under a locale that knows no UTF-8 as well; a home may be called anything."""
    module = f"{tmp_path}/\udcff.so"
    ended = run([*CTL, "token", "list", "--module", module, "--json"])
    assert (ended.code, ended.json["error"]) == (2, "misuse")
    strange = run([*CTL, "--home", f"{tmp_path}/\udcff", "status", "--json"])
    assert (strange.code, strange.json["error"]) == (5, "home-missing")
    posix = {**ENVIRONMENT, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = run([*CTL, "site", "add", "é", "--audience", "x", "--json"], environment=posix)
    assert (ended.code, ended.json["error"]) == (2, "misuse")


@pytest.mark.parametrize("text", ["x\udcff", "\u202e", "", "x" * 5000])
def test_the_sites_command_takes_hostile_arguments_too(tmp_path: Path, text: str) -> None:
    """`coldcred` ends with a sentence and its own exit code, whatever stands in its arguments."""
    for words in (
        ("verify", "--trust", str(tmp_path), "--audience", text, "x"),
        ("verify", "--trust", text, "--audience", "https://x.example", "x"),
        ("site", "init", str(tmp_path / "s"), "--root", "x", "--fingerprint", text, "--site", "line-1"),
        ("site", "init", str(tmp_path / "s"), "--root", "x", "--fingerprint", "0" * 64, "--site", text),
        ("bundle", "inspect", text),
        ("bundle", "apply", "x", "--trust", text),
        ("log", "verify", text, "--log-key", text),
    ):
        ended = coldcred(*words)
        assert ended.code in {1, 2}, (words, ended)
        assert "Traceback" not in ended.err


@pytest.mark.parametrize("time", [253402300799.0, 1e18, -1.0])
def test_a_clock_beyond_use_is_said(time: float) -> None:
    """A machine whose clock stands in the year 9999, or before 1970, is told so instead of failing somewhere."""
    with pytest.raises(HomeError) as caught:
        clock.usable(time)
    assert failures.describe(caught.value)[0] == "clock-unusable"


def test_a_misspelt_credential_is_named(tmp_path: Path) -> None:
    """A PIN in the credential directory that is of no token stops the start, with its name and the tokens there are."""
    founded = founding.parse(founding.write(plant.members()))
    (tmp_path / "coldcred.pin.plant-a-daily").write_text("1")
    (tmp_path / "somebody.elses").write_text("1")
    check(founded, (), tmp_path)
    (tmp_path / "coldcred.pin.plant-a-dayly").write_text("1")
    with pytest.raises(SecretError, match=r"plant-a-dayly is of no token; those of the founding are plant-a-daily"):
        check(founded, (), tmp_path)


def test_the_default_home_is_the_units() -> None:
    """Whoever gives no --home means the home that the unit serves."""
    unit = (Path(__file__).parents[2] / "provisioning" / "coldcred.service").read_text()
    option = next(parameter for parameter in root.params if parameter.name == "home")
    assert f"--home {option.default} serve" in unit
    assert Session(Path(str(option.default))).home == Path("/var/lib/coldcred/home")
