"""What holds for every verb of `coldcredctl`: help, JSON, words for all that can go wrong, no secret anywhere."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from appliance.card import CardFault
from appliance.ceremony import CeremonyFault
from appliance.cli import app, failures, output
from appliance.cli.course import Course, Descriptor
from appliance.cli.exits import Exit
from appliance.cli.messages import MESSAGES
from appliance.cli.secret_input import SecretFault
from appliance.client import ClientFault
from appliance.custodians import CustodyFault
from appliance.errors import HomeFault, Refusal
from appliance.identity import IdentityFault
from coldcred.errors import LogReason, LogRejected, Malformed
from hsm.errors import CAUSES
from tests.support.commandline import CTL, ENVIRONMENT, run

VERBS = {
    "init draft", "init sign", "init complete", "init all",
    "serve", "status",
    "operator keygen", "operator show", "operator list",
    "operator countersign",
    "operator add", "operator remove", "operator roles", "operator recover",
    "operator add-key", "operator replace-key", "operator retire-key",
    "policy set", "policy show", "policy check", "policy list",
    "token init", "token list",
    "workload enrol", "workload suspend", "workload resume", "workload list", "workload adopt",
    "review start", "review confirm", "review close", "review show",
    "inventory", "why",
    "profile set", "profile list",
    "site add", "site list",
    "key list", "key suspend", "key activate",
    "issue", "revoke",
    "request list", "request show", "request export", "request complete", "request withdraw", "terms",
    "approve", "deny", "submit",
    "command make", "command sign", "command submit",
    "trust prepare", "trust sign", "trust submit",
    "bundle create",
    "log show", "log verify", "log rebuild", "log export",
}  # fmt: skip


def walk(command: click.Command = app.root, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every verb with its words."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            found = command.get_command(context, word)
            assert found is not None
            yield from walk(found, f"{name} {word}".strip())
    else:
        yield name, command


FOUND = dict(walk())


def test_the_verbs_are_those_that_work() -> None:
    """The list is closed: a verb that does not work yet is absent."""
    assert set(FOUND) == VERBS


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_verb_has_help_and_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb says what it does, explains each option, and takes --json."""
    assert app.main([*name.split(), "--help"]) == Exit.DONE
    shown = capsys.readouterr()
    assert FOUND[name].get_short_help_str()
    assert "--json" in shown.out
    assert not shown.err
    for parameter in FOUND[name].params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("name", ["", *sorted({verb.split()[0] for verb in VERBS if " " in verb})])
def test_every_noun_lists_its_verbs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help of a noun names each of its verbs with a whole sentence, and the program's own names the exit codes."""
    assert app.main([*name.split(), "--help"]) == Exit.DONE
    shown = capsys.readouterr().out
    verbs = {verb.removeprefix(name).split()[0] for verb in VERBS if verb.startswith(name)}
    assert all(f"  {verb} " in shown for verb in verbs)
    assert "..." not in shown[shown.index("Commands:") :]
    assert name or "130 interrupted" in shown


def test_no_option_takes_a_secret() -> None:
    """A passphrase or PIN arrives by terminal or descriptor: options named after one take a number or a folder."""
    secret = ("passphrase", "pin", "secret", "password", "puk")
    for name, command in [*FOUND.items(), ("", app.root)]:
        for parameter in command.params:
            if any(word in part for part in (parameter.name or "").split("_") for word in secret):
                assert isinstance(parameter.type, Descriptor | click.Path), (name, parameter.name)
            assert parameter.envvar is None, (name, parameter.name)


@pytest.mark.parametrize(
    "name",
    [
        *Refusal,
        *HomeFault,
        *IdentityFault,
        *CardFault,
        *ClientFault,
        *CeremonyFault,
        *CustodyFault,
        *SecretFault,
        *CAUSES,
        "malformed",
        "bad-signature",
        "unknown-signer",
        "charter-exceeded",
    ],
)
def test_there_are_words_for_everything_that_can_go_wrong(name: str) -> None:
    """Each id says what happened, what state that leaves and what to do next, in the manners of the terminal."""
    message = MESSAGES[name]
    for text in (message.what, message.state, message.next):
        assert text
        assert text == text.strip(".").strip()
        assert text[0] == "`" or text[0].islower() or text.split()[0].isupper()


def test_exit_codes_follow_the_cause() -> None:
    """Faults of the HSM end with 4, of home and disk with 5, refusals with 1, misuse with 2."""
    assert {failures.exit_of(name) for name in CAUSES} == {Exit.HSM}
    assert failures.exit_of(Refusal.HSM_FAULT) == Exit.HSM
    on_disk = set(HomeFault) - {HomeFault.EXISTS, HomeFault.HSM_CONTENT}
    assert {failures.exit_of(fault) for fault in on_disk} == {Exit.STORAGE}
    others = set(Refusal) - {Refusal.HSM_FAULT, Refusal.STORAGE_FAULT, Refusal.CLOCK_FAULT, Refusal.DISK_RESERVE}
    assert {failures.exit_of(reason) for reason in others} == {Exit.REFUSED}
    assert failures.exit_of("misuse") == Exit.MISUSE


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (click.Abort(), "interrupted"),
        (click.UsageError("no such option"), "misuse"),
        (click.MissingParameter(param=click.Option(["--role"], type=click.Choice(["a", "b"]))), "misuse"),
        (Malformed("member"), "malformed"),
        (LogRejected(LogReason.BROKEN_CHAIN, "prev", 7), "log-rejected"),
        (FileNotFoundError(2, "No such file or directory", "x"), "file"),
        (KeyError("canary 8812"), "unexpected"),
        (RecursionError("canary 8812"), "unexpected"),
    ],
)
def test_no_traceback_ever(error: BaseException, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever ends a run is one id and four lines; a defect is named by its type and place, not by its text."""
    code = failures.report(error, Course(), as_json=True)
    shown = capsys.readouterr()
    members = json.loads(shown.out)
    assert (members["error"], members["exit"]) == (name, code)
    assert len(shown.err.splitlines()) == 4
    assert "canary" not in shown.out + shown.err
    assert "Traceback" not in shown.err
    assert "\\n" not in shown.err


HOSTILE = "a\x1b[2Jb\x07c\u202ed\u2066e\x9bf\rg\u200bh\x00i\U000e0041j\nk"


def test_no_text_moves_a_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Control, bidirectional and invisible characters are shown as escapes, in data and in talk alike."""
    output.talk(HOSTILE)
    output.show([HOSTILE])
    output.data(None, [*output.table([{"name": HOSTILE}], ["name"]), *output.facts({"x": [HOSTILE], "y": HOSTILE})])
    failures.explain("malformed", HOSTILE, as_json=True)
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert all(character == "\n" or character.isprintable() for character in text)
        assert "\\x1b" in text or "\\u001b" in text
        assert "\\u202e" in text


def test_ordinary_text_stays_as_it_is() -> None:
    """What can be read is not escaped."""
    assert output.clean("Grüße, 東京 ok") == "Grüße, 東京 ok"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["issue"],
        ["issue", "--ttl", "soon", "--profile", "p", "--workload", "w", "--audience", "a"],
        ["--pin-fd", "x", "status"],
        ["--pin-fd", "-1", "status"],
        ["log", "show", "--limit", "0"],
        ["--as", "pkcs11:token=card", "workload", "list"],
        ["key", "list"],
        ["init", "sign"],
    ],
)
def test_misuse_is_exit_2(arguments: list[str]) -> None:
    """A line that cannot be meant is refused before anything is touched, and says how it goes."""
    ended = run([*CTL, "--home", "/nonexistent", *arguments, "--json"])
    assert (ended.code, ended.json["exit"]) == (2, 2)
    assert "Traceback" not in ended.err


def test_a_closed_reader_is_no_disaster(tmp_path: Path) -> None:
    """Where nobody reads our output any more, we end without a traceback."""
    talk = tmp_path / "talk"
    line = f"{' '.join(CTL)} --help 2>{talk} | true"
    assert subprocess.run(["sh", "-c", line], env=ENVIRONMENT, check=False).returncode == 0
    assert talk.read_text() == ""
