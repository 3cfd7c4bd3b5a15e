"""The plan of an appliance: what people write, and the founding that follows from it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import ceremony
from appliance.ceremony import CeremonyError
from appliance.identity import Identity, keygen
from appliance.plan import Plan, duration, read_profile
from coldcred import founding
from coldcred.acts import Act
from coldcred.charter import BundleCharter, TokenCharter
from coldcred.errors import BadSignature, Malformed
from coldcred.founding import Founding
from coldcred.keys import PublicKey
from tests.support import plant
from tests.support.founded import EXAMPLE

TIME = plant.TIME
PLAN = (EXAMPLE / "plan.toml").read_bytes()
PROFILE = (EXAMPLE / "orders-reader.toml").read_bytes()


def key_of(person: str, register: str) -> PublicKey:
    """Give the example's public keys."""
    return (plant.custodian(person) if register == founding.CUSTODIAN else plant.operator(person)).public


def write(plan: bytes = PLAN, files: dict[str, bytes] | None = None) -> Founding:
    """Write and read back the founding of a plan."""
    found = {"orders-reader.toml": PROFILE} if files is None else files
    return founding.parse(Plan.parse(plan).document(key_of=key_of, read_file=found.__getitem__, time=TIME))


def test_the_example_founds_an_appliance() -> None:
    """The plan of the worked example says who they are, what each key may sign and what may be issued."""
    found = write()
    assert (found.name, found.time, found.single_operator) == ("plant-a", TIME, False)
    assert [person.id for person in found.people] == ["alice", "bob", "carol"]
    assert found.people[0].custodian == key_of("alice", founding.CUSTODIAN)
    assert found.quorums.acts == {Act.WORKLOAD_ENROL: 2}
    assert {key.charter.purpose.value for key in found.keys} == {"tokens", "status", "log", "bundle"}
    assert (found.profiles[0].lifetime, found.horizons.window) == (8 * 3600, 24 * 3600)


def test_charters_take_what_the_plan_says_once() -> None:
    """The issuer is the appliance's, and a bundle key's last day is that of its validity, counted from the founding."""
    charters = {key.charter.purpose.value: key.charter for key in write().keys}
    assert isinstance(charters["tokens"], TokenCharter)
    assert isinstance(charters["bundle"], BundleCharter)
    assert charters["tokens"].issuer == "https://issuer.plant-a.example"
    assert charters["bundle"].until == TIME + 90 * 24 * 3600


def test_the_same_plan_gives_the_same_bytes() -> None:
    """A founding follows from plan, keys and time alone."""
    assert write().appliance_id == write().appliance_id


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("8h", 28800), ("7d", 604800)])
def test_durations(text: str, seconds: int) -> None:
    """Durations are a number and a unit."""
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "8", "h", "0h", "-1h", "1.5h", "8 h", "8H", "1w", "08h", "8h30m", "9" * 10 + "s", "٨h"]
)
def test_other_durations_are_refused(text: str) -> None:
    """Anything that could be read two ways is not a duration."""
    with pytest.raises(Malformed):
        duration(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = 2"),
        ("version = 1", 'version = "1"'),
        ("version = 1", "version = true"),
        ("version = 1", ""),
        ('name = "plant-a"', 'nmae = "plant-a"'),
        ('name = "plant-a"', 'name = "plant-a"\ncolour = "red"'),
        ('name = "plant-a"', "name = 7"),
        ('name = "plant-a"', "name = 1979-05-27"),
        ('name = "plant-a"', 'name = "plant-a'),
        ('roles = ["auditor"]', 'roles = ["auditor"]\npin = "1234"'),
        ('roles = ["auditor"]', 'roles = ["superuser"]'),
        ("custodians = 2", "custodians = 2.0"),
        ("custodians = 2", "custodians = 4"),
        ('"workload.enrol" = 2', '"workload.enrol" = 9'),
        ('"workload.enrol" = 2', '"workload.destroy" = 2'),
        ("exclusive = true", 'exclusive = "yes"'),
        ('purpose = "log"', 'purpose = "logs"'),
        ('algorithm = "Ed25519"', 'algorithm = "EdDSA"'),
        ('lifetime = "8h"', "lifetime = 28800"),
        ('lifetime = "8h"', 'lifetime = "8h"\nlifetime = "9h"'),
        ('token = "plant-a-daily"', 'token = "plant-b-daily"'),
        ('subjects = ["spiffe://plant-a.example/line-1/*"]', 'subjects = ["spiffe://plant-b.example/*"]'),
        ('window = "24h"', 'window = "24h"\nextra = "1h"'),
        ('audiences = ["https://orders.plant-a.example"]', 'audiences = ["http://orders.plant-a.example"]'),
        ('profiles = ["orders-reader.toml"]', 'profiles = ["../orders-reader.toml"]'),
        ('profiles = ["orders-reader.toml"]', 'profiles = ["/etc/passwd"]'),
    ],
)
def test_malformed_plans_are_refused(old: str, new: str) -> None:
    """A misspelt, missing, foreign or ill-typed member is refused; nothing is guessed and nothing read past."""
    assert old in PLAN.decode()
    with pytest.raises(Malformed):
        write(PLAN.decode().replace(old, new, 1).encode())


@pytest.mark.parametrize("plan", [b"", b"\xff", b"[" * 5000, b"version = 1\n" + b"#" * 300_000])
def test_what_is_no_plan_is_refused(plan: bytes) -> None:
    """Nothing, bytes, deep nesting and too much are refused alike."""
    with pytest.raises(Malformed):
        Plan.parse(plan)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", ""),
        ('kind = "access"', 'kind = "ssh"'),
        ('lifetime = "8h"', 'lifetime = "2d"'),
        ('horizon = "24h"', 'horizon = "1h"'),
        ("approvals = 1", "approvals = 0"),
        ("holder_binding = false", "holder_binding = 0"),
        ("holder_binding = false", ""),
        ('"orders.write"', '"orders.read"'),
        ('"orders.write"', '"orders write"'),
        ("spiffe://plant-a.example", "spiffe://elsewhere.example"),
        ("refuse_stale = false", "refuse_stale = false\nadmin = true"),
    ],
)
def test_malformed_profiles_are_refused(old: str, new: str) -> None:
    """A profile is read as strictly as a plan, and the refusal names its file."""
    changed = PROFILE.decode().replace(old, new, 1).encode()
    assert changed != PROFILE
    with pytest.raises(Malformed):
        read_profile(changed, "plant-a.example")
    with pytest.raises(Malformed, match=r"orders-reader\.toml"):
        write(files={"orders-reader.toml": changed})


@pytest.fixture(scope="module")
def founders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Founding, dict[str, Identity]]:
    """Return a founding by people with key files of their own, and the opened keys by `alice.operator` and so on."""
    ask: Callable[[], bytearray] = lambda: bytearray(b"four random words 88")  # noqa: E731 - a typed one beside those of the table
    names = [f"{person}.{register}" for person in ("alice", "bob", "carol") for register in ("operator", "custodian")]
    folder = tmp_path_factory.mktemp("people")
    keys = {name: keygen(folder / name, ask) for name in names}
    body = Plan.parse(PLAN).document(
        key_of=lambda person, register: keys[f"{person}.{register}"].public,
        read_file={"orders-reader.toml": PROFILE}.__getitem__,
        time=TIME,
    )
    return founding.parse(body), keys


def test_everyone_signs_with_both_keys(founders: tuple[Founding, dict[str, Identity]]) -> None:
    """The ceremony is complete when every founder has signed twice, and says who is missing until then."""
    found, keys = founders
    signed = [ceremony.sign(found, key, TIME + 60) for key in keys.values()]
    ceremony.check(found, signed)
    assert not ceremony.missing(found, signed)
    for place, left_out in enumerate(keys):
        rest = signed[:place] + signed[place + 1 :]
        assert [missing.name for missing in ceremony.missing(found, rest)] == [left_out]
        with pytest.raises(BadSignature, match=left_out.partition(".")[0]):
            ceremony.check(found, rest)


def test_a_stranger_has_nothing_to_sign(founders: tuple[Founding, dict[str, Identity]], tmp_path: Path) -> None:
    """A key that is not in the founding cannot sign it."""
    stranger = keygen(tmp_path / "mallory", lambda: bytearray(b"four random words 88"))
    with pytest.raises(CeremonyError) as refused:
        ceremony.sign(founders[0], stranger, TIME)
    assert refused.value.id == "not-a-founder"


def test_a_profiles_further_bounds_are_written_as_lists() -> None:
    """Groups, who may ask and what is required; absent they are what the founding leaves out."""
    text = PROFILE.decode() + 'groups = ["line-1"]\nasked_by = ["workload", "issuer"]\nrequires = ["task"]\n'
    found = read_profile(text.encode(), plant.DOMAIN)
    assert (found.groups, found.asked_by, found.requires) == (("line-1",), ("issuer", "workload"), ("task",))
    plain = read_profile(PROFILE, plant.DOMAIN).as_json()
    assert not {"groups", "asked_by", "requires"} & set(plain)
    for wrong in ('groups = "line-1"\n', 'asked_by = ["auditor"]\n', "requires = []\n", 'ask_by = ["issuer"]\n'):
        with pytest.raises(Malformed):
            read_profile(PROFILE + wrong.encode(), plant.DOMAIN)
