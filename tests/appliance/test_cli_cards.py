"""People with cards, from the founding on: one with an ES256 key, one with an Ed25519 key, by the real command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from appliance.identity import read_public
from coldcred import founding
from coldcred.canonical import loads
from coldcred.jose import parse_unverified
from coldcred.keys import Algorithm
from tests.support.cards import Cards
from tests.support.commandline import CTL, Ended, run, typed
from tests.support.founded import EXAMPLE, PASSPHRASE, SITE, WORKLOAD, Plant, begin, hsm_options, submit_trust
from tests.support.softhsm import MODULE, PIN, SoftHsm

ON_CARDS = {"alice": Algorithm.ES256, "bob": Algorithm.ED25519}
PLAN = EXAMPLE / "plan.toml"


@dataclass(frozen=True)
class CardPlant(Plant):
    """A plant whose people in `ON_CARDS` have cards; everybody else, and every custodian, has key files."""

    @property
    def cards(self) -> Cards:
        """People's cards."""
        return Cards(self.folder / "cards")

    def ctl(
        self,
        *arguments: str | Path,
        who: str = "",
        passphrase: str = PASSPHRASE,
        pin: str | None = None,
        uri: str | None = None,
        pins: str | None = None,
    ) -> Ended:
        """Run `coldcredctl` as somebody: with a card its PIN is the first line, the appliance's the second."""
        if who not in ON_CARDS:
            return super().ctl(*arguments, who=who, passphrase=passphrase, pin=pin)
        lines = f"{self.cards.pin(who)}\n{PIN.decode()}" if pins is None else pins
        named = self.cards.uri(who) if uri is None else uri
        command = [*CTL, "--home", self.home, "--as", named, *arguments]
        return run(command, secrets={"--pin-fd": lines}, environment=self.cards.environment)


def keygen(plant: CardPlant, person: str, algorithm: Algorithm, pin: str | None = None) -> Ended:
    """Make a person's key on the person's card."""
    words: list[str | Path] = [
        "operator",
        "keygen",
        plant.people / f"{person}.operator",
        "--card",
        plant.cards.uri(person),
        "--json",
    ]
    return run(
        [*CTL, *words, "--algorithm", algorithm],
        secrets={"--pin-fd": plant.cards.pin(person) if pin is None else pin},
        environment=plant.cards.environment,
    )


def found(plant: CardPlant) -> None:
    """Found the appliance as people with cards do: draft, everybody signs, complete."""
    document = plant.folder / "founding.json"
    plant.done("init", "draft", "--plan", PLAN, "--people", plant.people, "--out", document)
    signatures = []
    for person in ("alice", "bob", "carol"):
        for who in (person, f"{person}.custodian"):
            signatures.append(plant.folder / f"{who}.founding")
            plant.done("init", "sign", document, "--out", signatures[-1], who=who)
    plant.done("init", "complete", document, *signatures, *hsm_options(plant))


@pytest.fixture(scope="module")
def carded(tmp_path_factory: pytest.TempPathFactory, softhsm_prepared: SoftHsm) -> CardPlant:
    """Return an appliance that people with cards founded, with a workload that two of them enrolled."""
    made = begin(tmp_path_factory.mktemp("carded"), softhsm_prepared)
    plant = CardPlant(made.folder, made.home)
    for person, algorithm in ON_CARDS.items():
        for name in (f"{person}.operator", f"{person}.operator.pub.json", f"{person}.operator.passphrase"):
            (plant.people / name).unlink()
        plant.cards.add(person)
        assert keygen(plant, person, algorithm).code == 0
    found(plant)
    # Nothing serves the home: both PINs are on one descriptor, the card's first.
    submit_trust(plant, ("alice", "bob"))
    plant.done("bundle", "create", "--site", SITE, "--out", plant.folder / "bundle", who="alice")
    enrol(plant, WORKLOAD)
    return plant


def enrol(plant: CardPlant, workload: str) -> str:
    """Have alice ask for a workload by her card, and bob approve it by his; gives alice's command."""
    request = plant.folder / f"{workload.rpartition('/')[2]}.jws"
    waiting = plant.ctl("workload", "enrol", workload, "--owner", "bob", "--request", request, who="alice")
    assert waiting.code == 3, waiting
    own = plant.ctl("approve", request, who="alice")
    assert own.code != 0, own
    plant.done("approve", request, who="bob")
    return request.read_text().strip()


@contextmanager
def pulled(plant: CardPlant) -> Iterator[None]:
    """Have all cards out of their slots for a while."""
    away = plant.folder / "pulled"
    plant.cards.hsm.tokens.rename(away)
    plant.cards.hsm.tokens.mkdir()
    try:
        yield
    finally:
        plant.cards.hsm.tokens.rmdir()
        away.rename(plant.cards.hsm.tokens)


def refused(ended: Ended, code: int, name: str) -> None:
    """See that a run ended with this code and id, in few lines, with no secret and nothing like a traceback."""
    assert (ended.code, ended.json["error"]) == (code, name), ended
    said = [line.split()[0] for line in ended.err.splitlines()[1:]]
    assert [word for word in said if word != "rule"] == ["why", "state", "next"]
    assert "Traceback" not in ended.err
    assert "canary" not in ended.err + ended.out


def test_the_founding_has_the_keys_of_the_cards(carded: CardPlant) -> None:
    """Both algorithms stand in the founding as operators' keys, and no private half is in a file."""
    founded = founding.parse((carded.home / "founding.json").read_bytes())
    for person in founded.people[:2]:
        assert person.operator.algorithm is ON_CARDS[person.id]
        assert person.operator == read_public(carded.people / f"{person.id}.operator.pub.json")
        assert not (carded.people / f"{person.id}.operator").exists()


def test_people_with_cards_ask_and_approve_over_the_socket(carded: CardPlant) -> None:
    """A served appliance needs the card's PIN alone; what the card signed verifies with a library alone."""
    with carded.serving():
        command = parse_unverified(enrol(carded, "spiffe://plant-a.example/line-1/robot-8"))
        enrolled = carded.ctl("workload", "list", "--json", who="bob", pins=carded.cards.pin("bob"))
        assert carded.issue(who="alice").code == 0
    assert {row["id"] for row in enrolled.json} >= {WORKLOAD, "spiffe://plant-a.example/line-1/robot-8"}
    key = read_public(carded.people / "alice.operator.pub.json").cryptography()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    halves = int.from_bytes(command.signature[:32]), int.from_bytes(command.signature[32:])
    key.verify(utils.encode_dss_signature(*halves), command.signing_input, ec.ECDSA(hashes.SHA256()))


def test_the_log_of_people_with_cards_holds(carded: CardPlant) -> None:
    """Auditors verify what the cards signed as they do every other signature."""
    verified = carded.done("log", "verify", "--json").json
    assert verified["verdict"] == "intact"


def test_show_gives_the_half_that_is_handed_over(carded: CardPlant, tmp_path: Path) -> None:
    """What `operator show` prints and writes is what keygen wrote, on a card and in a file; nothing is overwritten."""
    for who, name in (("alice", "alice.operator"), ("carol", "carol.operator"), ("bob.custodian", "bob.custodian")):
        out = tmp_path / f"{name}.pub.json"
        shown = carded.done("operator", "show", "--out", out, who=who)
        written = (carded.people / f"{name}.pub.json").read_bytes()
        assert loads(shown.out.encode(), max_bytes=4096) == loads(written, max_bytes=4096)
        assert out.read_bytes() == written
        refused(carded.ctl("operator", "show", "--out", out, "--json", who=who), 1, "identity-exists")


def test_a_card_signs_no_root_of_trust(carded: CardPlant, tmp_path: Path) -> None:
    """What custodians sign, an operator's card is not even asked for: it is no custodian's key."""
    ended = carded.ctl("trust", "sign", carded.folder / "trust", "--out", tmp_path / "x", "--json", who="alice")
    assert ended.code == 1, ended
    assert not (tmp_path / "x").exists()


def test_wrong_pins(carded: CardPlant) -> None:
    """The card's PIN is tried once and named; the appliance's, on the second line, is told apart from it."""
    pins = f"00000000\n{PIN.decode()}"
    refused(carded.ctl("workload", "list", "--json", who="alice", pins=pins), 4, "card-wrong-pin")
    swapped = f"{PIN.decode()}\n{carded.cards.pin('alice')}"
    refused(carded.ctl("workload", "list", "--json", who="alice", pins=swapped), 4, "card-wrong-pin")
    refused(carded.ctl("workload", "list", "--json", who="alice", pins=""), 1, "secret-empty")
    wrong = f"{carded.cards.pin('alice')}\n00000000"
    refused(
        carded.ctl("key", "suspend", "access-1", "--reason", "x", "--json", who="alice", pins=wrong), 4, "pin-incorrect"
    )


def test_cards_that_are_not_there(carded: CardPlant) -> None:
    """A card that is out, one of another name, a module that is none, and a URI with a PIN are each named."""
    uri = carded.cards.uri("alice")
    with pulled(carded):
        refused(carded.ctl("workload", "list", "--json", who="alice"), 4, "card-missing")
    for changed, code, name in (
        (uri.replace("alice", "mallory"), 4, "card-missing"),
        (uri.replace("libsofthsm2", "libnothing"), 4, "card-module"),
        (uri.replace("?", ";id=%00?"), 4, "card-no-key"),
        (uri.partition("?")[0], 2, "card-uri"),
        (f"{uri}&pin-value=hunter2", 2, "card-uri"),
    ):
        ended = carded.ctl("workload", "list", "--json", who="alice", uri=changed)
        refused(ended, code, name)
        assert "hunter2" not in ended.out + ended.err


def test_an_empty_card_and_one_that_is_not_enrolled(carded: CardPlant) -> None:
    """A new card has no key; once it has one, the appliance does not know it."""
    uri = carded.cards.add("mallory")
    pins = f"{carded.cards.pin('mallory')}\n{PIN.decode()}"
    refused(carded.ctl("workload", "list", "--json", who="alice", uri=uri, pins=pins), 4, "card-no-key")
    made = keygen(carded, "mallory", Algorithm.ES256)
    assert made.code == 0, made
    refused(
        carded.ctl("workload", "list", "--json", who="alice", uri=made.json["card"], pins=pins), 1, "unknown-signer"
    )


def test_keygen_on_a_card_overwrites_nothing(carded: CardPlant) -> None:
    """Neither a public file nor a key on the card; and a wrong PIN makes neither."""
    refused(keygen(carded, "alice", Algorithm.ES256), 1, "identity-exists")
    kept = carded.people / "alice.operator.pub.json"
    moved = kept.rename(carded.folder / "kept")
    try:
        refused(keygen(carded, "alice", Algorithm.ES256), 4, "card-has-key")
        refused(keygen(carded, "alice", Algorithm.ES256, pin="00000000"), 4, "card-wrong-pin")
        assert not kept.exists()
    finally:
        moved.rename(kept)


def test_a_card_at_a_terminal(carded: CardPlant, tmp_path: Path) -> None:
    """Its PIN is asked for by card and module, typed once and never shown, when a key is made and when it is used."""
    asked = f"PIN of your card dora, by {MODULE}: "
    uri, pin = carded.cards.add("dora"), carded.cards.pin("dora")
    env = ["/usr/bin/env", *(f"{name}={value}" for name, value in carded.cards.environment.items())]
    code, screen = typed([*env, *CTL, "operator", "keygen", str(tmp_path / "dora"), "--card", uri], pin)
    assert (code, screen.count(asked), pin in screen) == (0, 1, False), screen
    code, screen = typed([*env, *CTL, "--as", uri, "operator", "show"], pin)
    assert (code, screen.count(asked), pin in screen) == (0, 1, False), screen
    assert read_public(tmp_path / "dora.pub.json").thumbprint in screen


def test_a_key_in_a_file_is_ed25519(tmp_path: Path) -> None:
    """Another algorithm is for cards, and it is said so."""
    ended = run([*CTL, "operator", "keygen", tmp_path / "key", "--algorithm", "ES256", "--json"])
    refused(ended, 2, "misuse")
    assert not list(tmp_path.iterdir())
