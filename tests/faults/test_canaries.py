"""One whole run, from founding to a refused PIN, and no secret in what it wrote, said or passed on. Reliability L6."""

import base64
from collections.abc import Iterator
from pathlib import Path

from tests.support.commandline import Ended
from tests.support.founded import AUDIENCE, PASSPHRASE, SITE, WORKLOAD, Plant, alone_plan, begin, found, submit_trust
from tests.support.serving import descendants
from tests.support.softhsm import PIN, SO_PIN, SoftHsm

WRONG_PIN, WRONG_PASSPHRASE = "canary-wrong-pin-1193", "canary wrong passphrase 7730"
SECRETS = (PIN.decode(), SO_PIN.decode(), PASSPHRASE, WRONG_PIN, WRONG_PASSPHRASE)


def forms(secret: str) -> Iterator[bytes]:
    """Give a secret as it might stand somewhere: text, wide text, hex, and base64 at each of its three places."""
    raw = secret.encode()
    yield from (raw, secret.encode("utf-16-le"), raw.hex().encode(), raw.hex().upper().encode())
    for place in range(3):
        whole = base64.b64encode(bytes(place) + raw)
        inner = whole[(place * 8 + 5) // 6 : len(whole) - 4]
        yield from (inner, inner.translate(bytes.maketrans(b"+/", b"-_")))


def found_in(places: dict[str, bytes]) -> list[tuple[str, str]]:
    """Give where which secret stands."""
    return [
        (name, secret)
        for name, body in places.items()
        for secret in SECRETS
        if any(form in body for form in forms(secret))
    ]


def test_the_search_finds_a_secret_in_each_form() -> None:
    """What finds nothing below does find what is there."""
    raw = PIN
    for place in range(3):
        around = b"x" * place + raw + b"yz"
        assert found_in({"file": base64.b64encode(around)}) == [("file", PIN.decode())]
        assert found_in({"file": base64.urlsafe_b64encode(around)}) == [("file", PIN.decode())]
    assert found_in({"file": b"a" + raw.hex().encode()}) == [("file", PIN.decode())]
    assert found_in({"file": b"a" + PIN.decode().encode("utf-16-le")}) == [("file", PIN.decode())]


def whole_run(plant: Plant) -> dict[str, bytes]:
    """Found, serve, issue, and be refused with wrong secrets; gives all that was said and passed to processes."""
    said: list[Ended] = [found(plant, alone_plan(plant.folder))]
    seen: dict[str, bytes] = {}
    with plant.serving() as server:
        submit_trust(plant, ("alice",))
        out = plant.folder / "carried"
        out.mkdir()
        said += [
            plant.done("bundle", "create", "--site", SITE, "--out", out / "bundle", who="alice"),
            plant.done("workload", "enrol", WORKLOAD, "--owner", "alice", who="alice"),
            plant.issue("--out", out / "credential"),
            plant.done("log", "export", "--out", out / "log.export", who="alice"),
            plant.done("status", "--json", who="alice"),
            plant.ctl("workload", "list", who="alice", passphrase=WRONG_PASSPHRASE),
        ]
        for pid in (server.pid, *descendants(server.pid)):
            for name in ("cmdline", "environ"):
                seen[f"{name} of {pid}"] = Path(f"/proc/{pid}/{name}").read_bytes()
    asked = ("--profile", "orders-reader", "--workload", WORKLOAD, "--audience", AUDIENCE)
    said += [
        plant.ctl("issue", *asked, who="alice", pin=WRONG_PIN),
        plant.ctl("issue", *asked, "--json", pin=WRONG_PIN),
    ]
    assert [ended.code for ended in said] == [0, 0, 0, 0, 0, 0, 1, 4, 2], said
    return seen | {f"output {number}": f"{ended.out}{ended.err}".encode() for number, ended in enumerate(said)}


def test_no_secret_is_left_anywhere(tmp_path: Path, softhsm_prepared: SoftHsm) -> None:
    """PINs and passphrases are in no file of home, token, people or what was carried, and in no output."""
    plant = begin(tmp_path / "run", softhsm_prepared, ("alice",))
    places = whole_run(plant)
    files = [path for path in plant.folder.rglob("*") if path.is_file() and path.suffix != ".passphrase"]
    places |= {str(path): path.read_bytes() for path in files}
    assert {"log.sqlite", "settings.toml", "credential", "log.export", "alice.operator"} <= {
        path.name for path in files
    }
    assert found_in(places) == []
