"""Who opens which token (R5): credentials for daily ones, two people for a ceremony's, reading without any PIN."""

import os
import re
import struct
import time
from pathlib import Path

import pytest

from appliance.outcome import State
from coldcred.acts import Act
from tests.support.commandline import CTL, coldcred, typed
from tests.support.custody import ALL_PINS, CEREMONY, DAILY_PIN, FIRST, SECOND, TwoTokens, credential, make_two
from tests.support.running import LABEL
from tests.support.serving import NotReady, bounded, secret, wait_until
from tests.support.softhsm import MODULE

CLOSED = f"key svid-1 is on token {CEREMONY}, which is not open"


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> TwoTokens:
    """Return an appliance with a token of each class; to be copied, never started."""
    return make_two(tmp_path_factory.mktemp("custody") / "appliance", int(time.time()) - 60)


@pytest.fixture
def two(founded: TwoTokens, tmp_path: Path) -> TwoTokens:
    """Return a copy of the test's own."""
    return founded.copy(tmp_path / "two")


@pytest.fixture
def manager(tmp_path: Path) -> Path:
    """Return the credential directory of a service manager, with the daily token's PIN in it."""
    return credential(tmp_path / "credentials", LABEL, DAILY_PIN).parent


def size(two: TwoTokens) -> int:
    """Give how many entries the log has."""
    return len(two.entries())


def test_a_daily_token_is_opened_by_the_service_manager(two: TwoTokens, manager: Path) -> None:
    """Nobody is there: access tokens are issued, the login says how the PIN came, and the ceremony's key is refused."""
    before = size(two)
    with two.running(credentials=manager) as served:
        assert served.send(two.issue()).files
        refused = served.send(two.svid())
        assert (refused.state, refused.reason, refused.detail) == (State.REFUSED, "key-not-ready", CLOSED)
        assert refused.rule == "R5 tokens that are open"
        assert len(served.workers()) == 1
        assert served.stop() == 0
    assert two.logins(before) == {LABEL: "credential"}
    told = [event["type"] for event in two.entries()[before:]]
    assert (told.count("credential.issued"), told.count("command.refused")) == (1, 1)


def test_two_people_open_a_ceremonys_token(two: TwoTokens, manager: Path) -> None:
    """With both parts its key signs beside the daily ones; each login has its mode; a new worker logs in by itself."""
    before = size(two)
    with two.running("--ceremony", CEREMONY, pins=(FIRST, SECOND), credentials=manager) as served:
        assert served.send(two.issue()).files
        assert served.send(two.svid()).files
        for worker in served.workers():
            os.kill(worker, 9)
        assert served.send(two.svid()).files
        assert served.stop() == 0
    assert two.logins(before) == {LABEL: "credential", CEREMONY: "two-people"}


def test_lines_of_the_descriptor_come_in_the_founding_s_order(two: TwoTokens) -> None:
    """One line for a daily token, two for a ceremony's that was asked for."""
    before = size(two)
    with two.running("--ceremony", CEREMONY, pins=ALL_PINS) as served:
        assert served.send(two.svid()).files
        assert served.stop() == 0
    assert two.logins(before) == {LABEL: "descriptor", CEREMONY: "two-people"}


def test_a_verb_in_its_own_process_opens_the_same_way(two: TwoTokens, tmp_path: Path) -> None:
    """Nothing serves: the daily token is opened by one line, the ceremony's only when it is asked for."""
    for number, (options, pins, code) in enumerate([((), (DAILY_PIN,), 1), (("--ceremony", CEREMONY), ALL_PINS, 0)]):
        request = tmp_path / f"request-{number}"
        request.write_text(two.svid())
        with secret("--pin-fd", "\n".join(pins).encode()) as (option, descriptor):
            words = two.arguments(*option, *options, "submit", request, "--out", tmp_path / f"out-{number}", "--json")
            ended = bounded(words, (descriptor,))
        assert ended.code == code, ended
        assert code == 0 or ended.json["error"] == "key-not-ready"


def test_two_people_type_one_part_each(two: TwoTokens, tmp_path: Path) -> None:
    """At a terminal each part is asked for by itself and not shown; where it is set each is typed twice."""
    request = tmp_path / "request"
    request.write_text(two.svid())
    before = size(two)
    words = ("--ceremony", CEREMONY, "submit", request, "--out", tmp_path / "out")
    code, screen = typed(two.arguments(*words), "y", *ALL_PINS)
    assert (code, any(pin in screen for pin in ALL_PINS)) == (0, False), screen
    assert f"first part of the PIN of token {CEREMONY}" in screen
    assert two.logins(before) == {LABEL: "terminal", CEREMONY: "two-people"}
    where = ("--module", MODULE, "--module-env", f"SOFTHSM2_CONF={two.softhsm.folder / 'softhsm2.conf'}")
    init = [*CTL, "token", "init", "another", *where, "--ceremony"]
    code, screen = typed(init, "officer-7351", "officer-7351", FIRST, FIRST, SECOND, SECOND + "x")
    assert (code, "secret-differs" in screen) == (1, True)
    code, screen = typed(init, "officer-7351", "officer-7351", FIRST, FIRST, SECOND, SECOND)
    assert (code, FIRST in screen or SECOND in screen) == (0, False), screen


def test_without_any_pin_reading_and_export_go_on(two: TwoTokens) -> None:
    """After a power cut, with nobody there: nothing is signed; people read, stop keys, and export what was signed for.

    The export ends with the newest checkpoint, and an auditor believes it.
    """
    with two.running(pins=(DAILY_PIN,)) as served:
        assert served.send(two.issue()).files
        os.kill(served.process.pid, 9)
        served.process.wait()
    before, vkey = size(two), two.log_vkey()
    with two.running() as served:
        assert f"token {LABEL} stays closed" in served.said()
        assert served.workers() == []
        for command in (two.issue(), two.svid(), two.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"})):
            assert served.send(command).reason == "key-not-ready"
        status = served.read("status", two.command("carol", Act.READ_OPEN))
        assert isinstance(status, dict)
        assert (status["makes_checkpoints"], status["open_tokens"]) == (False, [])
        suspended = two.command("alice", Act.KEY_SUSPEND, {"key": "tokens-1", "reason": "drill"})
        assert served.send(suspended).state is State.DONE
        exported = served.send(two.command("carol", Act.LOG_EXPORT))
        assert exported.state is State.DONE, exported
        assert served.stop() == 0
    added = two.entries()[before:]
    assert not two.logins(before)
    assert not [event for event in added if "signs" in event]
    (told,) = [event for event in added if event["type"] == "log.exported"]
    file = two.folder / "log.export"
    file.write_bytes(exported.files["export"])
    verdict = coldcred("log", "verify", file, "--log-key", vkey, "--json")
    assert (verdict.code, verdict.json["verdict"]) == (0, "intact"), verdict
    assert told["result"] == {"size": verdict.json["entries"]}
    assert 0 < verdict.json["entries"] <= before
    with two.running(pins=(DAILY_PIN,)) as served:
        whole = served.send(two.command("carol", Act.LOG_EXPORT))
        file.write_bytes(whole.files["export"])
        verdict = coldcred("log", "verify", file, "--log-key", vkey, "--json")
        assert (verdict.code, verdict.json["entries"] > before) == (0, True), verdict


def test_a_token_can_be_left_closed(two: TwoTokens, manager: Path) -> None:
    """`serve --closed` opens nothing, whatever PINs are there."""
    before = size(two)
    with two.running(credentials=manager, verb=("--closed",)) as served:
        assert served.send(two.issue()).reason == "key-not-ready"
        assert served.stop() == 0
    assert two.logins(before) == {}


def refused(two: TwoTokens, *options: str, pins: tuple[str, ...] = (), credentials: Path | None = None) -> str:
    """Give what `serve` says when it refuses to start; nothing of a PIN is in it."""
    with pytest.raises(NotReady) as caught, two.running(*options, pins=pins, credentials=credentials):
        pass
    said = caught.value.ended.out
    assert not any(pin in said for pin in ALL_PINS)
    assert "Traceback" not in said
    return f"{caught.value.ended.code} {said}"


def test_a_ceremonys_pin_is_no_credential(two: TwoTokens, manager: Path) -> None:
    """Found in a credential directory it stops the start, even of the daily token, and nothing is written."""
    before = size(two)
    credential(manager, CEREMONY, FIRST + SECOND)
    assert "(credential-for-ceremony)" in refused(two, credentials=manager)
    assert size(two) == before


@pytest.mark.parametrize(
    ("body", "mode"), [(DAILY_PIN, 0o440), (DAILY_PIN, 0o404), (DAILY_PIN, 0o420), ("", 0o400), ("x" * 1025, 0o400)]
)
def test_a_credential_that_others_can_read_or_that_is_none_is_refused(
    two: TwoTokens, tmp_path: Path, body: str, mode: int
) -> None:
    """By its own reason, before the token counts anything."""
    before = len([event for event in two.entries() if event["type"] == "pin.refused"])
    directory = credential(tmp_path / "credentials", LABEL, body, mode).parent
    said = refused(two, credentials=directory)
    assert "(credential-unusable)" in said or "(secret-" in said
    assert len([event for event in two.entries() if event["type"] == "pin.refused"]) == before


@pytest.mark.parametrize("kind", ["folder", "link", "fifo"])
def test_a_credential_is_a_file(two: TwoTokens, tmp_path: Path, kind: str) -> None:
    """No folder, no link to somewhere else, and no pipe that never ends."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    path = directory / f"coldcred.pin.{LABEL}"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path, 0o400)
    else:
        path.symlink_to(credential(tmp_path / "elsewhere", LABEL, DAILY_PIN))
    assert "(credential-unusable)" in refused(two, credentials=directory)


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Give a POSIX access list as the kernel keeps it: (tag, permissions, id) each."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY, ANY = 65534, 0xFFFFFFFF


@pytest.mark.parametrize("who", [0, NOBODY])
def test_an_access_list_for_the_service_alone_will_do(two: TwoTokens, manager: Path, who: int) -> None:
    """The service manager lets its user in by an access list, whose mask the mode shows as the group's bits."""
    path = manager / f"coldcred.pin.{LABEL}"
    listed = acl((0x01, 4, ANY), (0x02, 4, who), (0x04, 0, ANY), (0x10, 4, ANY), (0x20, 0, ANY))
    os.setxattr(path, "system.posix_acl_access", listed)
    assert path.stat().st_mode & 0o777 == 0o440
    if who == 0:
        with two.running(credentials=manager) as served:
            assert served.send(two.issue()).files
    else:
        assert "(credential-unusable)" in refused(two, credentials=manager)


@pytest.mark.parametrize(
    ("first", "second"),
    [("short", SECOND), (FIRST, "short"), ("x" * 33, SECOND), (FIRST, "with space"), ("w\u00f6rter-8820", SECOND)],
)
def test_a_part_that_is_none_is_not_tried(two: TwoTokens, first: str, second: str) -> None:
    """Neither at a login, where the token would count it, nor where a PIN is set."""
    said = refused(two, "--ceremony", CEREMONY, pins=(DAILY_PIN, first, second))
    assert said.startswith("1 ")
    assert "(pin-part-unusable)" in said
    assert not two.logins(kind="pin.refused")
    made = two.init_token("another", first, second, ceremony=True)
    unusable = "pin-part-unusable" if first.isascii() else "secret-unusable"
    assert (made.code, made.json["error"]) == (1, unusable)


def test_parts_in_the_wrong_order_are_a_wrong_pin(two: TwoTokens) -> None:
    """The PIN is the first part and then the second; the refusal is an entry with its mode."""
    said = refused(two, "--ceremony", CEREMONY, pins=(DAILY_PIN, SECOND, FIRST))
    assert said.startswith("4 ")
    assert two.logins(kind="pin.refused") == {CEREMONY: "two-people"}


def test_each_token_has_its_own_count(two: TwoTokens, manager: Path) -> None:
    """Five wrong PINs at the ceremony's token delay its next one, across restarts; the daily one opens meanwhile."""
    wrong = (DAILY_PIN, FIRST, "wrong-second")
    for _ in range(5):
        assert "(pin-incorrect)" in refused(two, "--ceremony", CEREMONY, pins=wrong)
    said = refused(two, "--ceremony", CEREMONY, pins=ALL_PINS)
    assert "(pin-delayed)" in said
    assert f"token {CEREMONY} refused 5 PINs in a row" in said
    with two.running(credentials=manager) as served:
        assert served.send(two.issue()).files


def test_only_a_ceremonys_token_is_opened_as_one(two: TwoTokens, manager: Path) -> None:
    """The daily token, or one that the founding does not name, is a misuse of the option."""
    for label in (LABEL, "plant-b-ceremony"):
        said = refused(two, "--ceremony", label, credentials=manager)
        assert said.startswith("2 ")


def copies(pid: int) -> dict[str, int]:
    """Count PINs in the memory that a process can write, by what they are; only root may look."""
    found = bytearray()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, permissions, *_ = line.split()
            if permissions.startswith("rw"):
                first, end = (int(part, 16) for part in span.split("-"))
                memory.seek(first)
                found += memory.read(end - first)
    written = {pin: (pin.encode(), pin.encode().hex().encode(), pin.encode("utf-16-le")) for pin in ALL_PINS}
    return {pin: sum(found.count(form) for form in forms) for pin, forms in written.items()}


def test_pins_in_memory(two: TwoTokens) -> None:
    """After login, and after the login of a new worker, the engine has each PIN once, and no worker has any."""
    none, once = dict.fromkeys(ALL_PINS, 0), dict.fromkeys(ALL_PINS, 1)
    with two.running("--ceremony", CEREMONY, pins=ALL_PINS) as served:
        for _ in range(2):
            assert served.send(two.issue()).files
            assert served.send(two.svid()).files
            workers = served.workers()
            assert len(workers) == 2
            assert copies(served.process.pid) == once
            wait_until(lambda workers=workers: all(copies(worker) == none for worker in workers), 5)  # type: ignore[misc]  # mypy infers no lambda with a default
            for pid in (served.process.pid, *workers):
                assert re.search(r"^Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
                told = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
                assert not any(pin.encode() in told for pin in ALL_PINS)
            for worker in workers:
                os.kill(worker, 9)
        assert served.stop() == 0
        assert not any(pin in served.said() for pin in ALL_PINS)
