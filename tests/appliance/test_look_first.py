"""Look before you make: what can never work, or would harm another appliance, is refused before anything is there."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import home as homes
from appliance.errors import HomeError
from appliance.home import Settings
from coldcred import founding as foundings
from tests.support import plant
from tests.support.commandline import CTL, Ended, run
from tests.support.founded import EXAMPLE, Plant, begin, found, hsm_options
from tests.support.softhsm import MODULE, SoftHsm


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory, softhsm_prepared: SoftHsm) -> Plant:
    """Return an appliance that was founded and nothing more."""
    made = begin(tmp_path_factory.mktemp("founded"), softhsm_prepared)
    ended = found(made)
    assert ended.code == 0, ended
    return made


def _objects(plant: Plant) -> set[str]:
    """Name the files in which the token keeps its objects."""
    return {path.name for path in (plant.folder / "hsm").rglob("*.object")}


def test_a_second_founding_on_a_token_makes_nothing_in_it(founded: Plant, tmp_path: Path) -> None:
    """`init all` with another home on a token in use is refused with no key made, and the first appliance starts."""
    before = _objects(founded)
    assert len(before) >= 8
    second = found(Plant(founded.folder, tmp_path / "home"))
    assert (second.code, "hsm-content" in second.err) == (4, True)
    assert _objects(founded) == before
    with founded.serving():
        assert founded.ctl("status").code == 0


def _options(plant: Plant, **changes: str) -> list[str]:
    options = hsm_options(plant)
    for name, value in changes.items():
        options[options.index(f"--{name.replace('_', '-')}") + 1] = value
    return options


def _all(plant: Plant, options: list[str]) -> Ended:
    people = ("--people", plant.people, "--passphrase-dir", plant.people)
    return plant.ctl("init", "all", "--plan", EXAMPLE / "plan.toml", *people, *options, "--json")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"module": "/nonexistent/module.so"}, "module-missing"),
        ({"module_env": "SOFTHSM2_CONF=/nonexistent/softhsm2.conf"}, "token-fault"),
        ({"module_env": "UNKNOWN_VARIABLE=1"}, "misuse"),
        ({"token": "plant-a-daily=pkcs11:token=somebody-elses"}, "token-missing"),
        ({"token": "plant-a-daily=http://token"}, "settings-invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value.values())),
)
def test_a_wrong_module_or_token_is_seen_before_the_home_is_made(
    founded: Plant, tmp_path: Path, changes: dict[str, str], error: str
) -> None:
    """The module is loaded and the token found before anything is made; the same line, corrected, then goes on."""
    other = Plant(founded.folder, tmp_path / "home")
    ended = _all(other, _options(other, **changes))
    assert ended.json["error"] in {error, "token-missing"}, ended
    assert ended.code != 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {"module": "/usr/lib/another.so"},
        {"module_env": "SOFTHSM2_CONF=/etc/softhsm2.conf"},
        {"token": "plant-a-daily=pkcs11:token=another"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_settings_for_a_home_that_was_begun_are_refused(founded: Plant, changes: dict[str, str]) -> None:
    """`init all` again does not pass over a corrected option: it says that it is not used, and where to mend it."""
    before = (founded.home / "settings.toml").read_bytes()
    ended = _all(founded, _options(founded, **changes))
    assert (ended.code, ended.json["error"]) == (5, "settings-invalid")
    assert "is not used" in ended.json["detail"]
    assert "settings.toml" in ended.json["next"]
    assert (founded.home / "settings.toml").read_bytes() == before


def test_a_token_is_looked_for_before_its_pins_are_asked(founded: Plant) -> None:
    """`token init` reads no PIN where the label is taken, or where the module cannot be loaded."""
    label = SoftHsm(founded.folder / "hsm").label
    where = ("--module", MODULE, "--module-env", founded.environment, "--json")
    taken = run([*CTL, "token", "init", label, *where])
    assert (taken.code, taken.json["error"]) == (4, "token-exists")
    no_module = run(
        [*CTL, "token", "init", "new", "--module", "/nonexistent.so", "--json"], secrets={}, verb_secrets={}
    )
    assert (no_module.code, no_module.json["error"]) == (4, "module-missing")


def test_nothing_is_prepared_where_it_cannot_be_written(founded: Plant, tmp_path: Path) -> None:
    """`trust prepare` looks at its folder before it asks for a passphrase or opens anything."""
    taken = tmp_path / "taken"
    taken.mkdir()
    for out in (taken, tmp_path / "missing" / "trust"):
        ended = founded.ctl("trust", "prepare", "--out", out, "--json", who="alice", passphrase="wrong", pin="wrong")
        assert (ended.code, ended.json["error"]) == (5, "file")
    assert list(tmp_path.iterdir()) == [taken]


def _plan(folder: Path, change: Callable[[str], str], profile: Callable[[str], str] = lambda text: text) -> Path:
    folder.mkdir()
    (folder / "plan.toml").write_text(change((EXAMPLE / "plan.toml").read_text()))
    (folder / "orders-reader.toml").write_text(profile((EXAMPLE / "orders-reader.toml").read_text()))
    return folder / "plan.toml"


def _same(text: str) -> str:
    return text


HOPELESS: dict[str, tuple[Callable[[str], str], Callable[[str], str], str]] = {
    "founding-key-too-short": (lambda text: text.replace('window = "24h"', 'window = "90d"'), _same, "keys.access-1"),
    "founding-metadata-too-short": (
        lambda text: text.replace('targets = "90d"', 'targets = "24h"'),
        _same,
        "horizons.targets",
    ),
    "founding-audience-without-key": (
        lambda text: f'{text}\n[[sites]]\nname = "line-2"\naudiences = ["https://stock.plant-a.example"]\n',
        _same,
        "sites.line-2.audiences",
    ),
    "founding-audience-without-site": (
        lambda text: text.replace(
            'audiences = ["https://orders.plant-a.example"]\nlifetime',
            'audiences = ["https://orders.plant-a.example", "https://stock.plant-a.example"]\nlifetime',
        ),
        lambda text: text.replace(
            '["https://orders.plant-a.example"]', '["https://orders.plant-a.example", "https://stock.plant-a.example"]'
        ),
        "profiles.orders-reader.audiences",
    ),
    "founding-kind-without-key": (_same, lambda text: text.replace('kind = "access"', 'kind = "svid"'), "kind"),
    "founding-subject-without-key": (
        _same,
        lambda text: text.replace("line-1/*", "line-2/*"),
        "profiles.orders-reader.subjects",
    ),
    "founding-lifetime-too-long": (
        _same,
        lambda text: text.replace('lifetime = "8h"', 'lifetime = "9h"'),
        "profiles.orders-reader.lifetime",
    ),
    "founding-quorum-unreachable": (
        lambda text: text.replace("recovery = 2", "recovery = 4"),
        _same,
        "quorums.recovery",
    ),
}
"""Plans that can never work, by the id of the refusal, with the member that is named."""


@pytest.mark.parametrize("error", HOPELESS)
def test_a_plan_that_can_never_work_is_not_drafted(founded: Plant, tmp_path: Path, error: str) -> None:
    """`init draft` and `init all` refuse it, naming the member, and nothing is written."""
    change, profile, member = HOPELESS[error]
    plan = _plan(tmp_path / "plan", change, profile)
    other = Plant(founded.folder, tmp_path / "home")
    people = ("--plan", plan, "--people", other.people)
    verbs: tuple[tuple[str | Path, ...], ...] = (
        ("draft", *people, "--out", tmp_path / "founding.json"),
        ("all", *people, "--passphrase-dir", other.people, *hsm_options(other)),
    )
    for verb in verbs:
        ended = other.ctl("init", *verb, "--json")
        assert (ended.code, ended.json["error"]) == (1, error), ended
        assert member in ended.json["detail"]
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_draft_says_what_its_plan_costs(founded: Plant, tmp_path: Path) -> None:
    """Whoever drafts reads in words how often custodians sign, how long a site lives, and when everything stops."""
    out = tmp_path / "founding.json"
    people = ("--plan", EXAMPLE / "plan.toml", "--people", founded.people)
    said = founded.done("init", "draft", *people, "--out", out).err.replace("\n      ", "")
    assert "every 1 day 2 custodians sign new trust" in said
    assert "a site lives 1 day 6 hours on one bundle" in said
    assert "ends 90 days after it is made" in said
    assert "the appliance stops about 2" in said


def test_parents_of_a_home_are_closed_to_others(tmp_path: Path) -> None:
    """Under a umask of 000 nobody but their owner may write to the folders that a founding makes above the home."""
    body = foundings.write(plant.members())
    settings = Settings(MODULE, {"plant-a-daily": "pkcs11:token=plant-a-daily"}, {})
    before = os.umask(0)
    try:
        homes.create(tmp_path / "a" / "b" / "home", foundings.parse(body), plant.signatures(body), settings, plant.TIME)
    finally:
        os.umask(before)
    made = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "home"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o755, 0o755, 0o700]


def test_a_founding_of_tomorrow_makes_no_home(tmp_path: Path) -> None:
    """Where the clocks of the two machines differ, it is said before keys are made that begin before their founding."""
    body = foundings.write(plant.members())
    settings = Settings(MODULE, {"plant-a-daily": "pkcs11:token=plant-a-daily"}, {})
    with pytest.raises(HomeError, match="drafted 121 s in the future"):
        homes.create(tmp_path / "home", foundings.parse(body), plant.signatures(body), settings, plant.TIME - 121)
    assert not list(tmp_path.iterdir())
