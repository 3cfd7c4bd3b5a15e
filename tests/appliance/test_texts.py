"""Texts from outside: one rule for every text of every act, and what is written of them moves no cursor."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import output
from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from appliance.explaining import Imagined, explain
from appliance.outcome import State
from coldcred.acts import RULES, Act
from coldcred.batch import BatchArguments, Manifest
from coldcred.canonical import Json, sha256_hex
from coldcred.jose import Typ, parse_unverified
from tests.support import plant
from tests.support.markdown import Document
from tests.support.running import RunningPlant, run
from tests.support.texts import READABLE, UNREADABLE

FORMAT = Document.read(Path(__file__).parents[2] / "docs" / "format.md")

Place = tuple[str | int, ...]


def arguments() -> dict[Act, dict[str, Json]]:
    """Give the arguments of every act, as documented; another test holds the document to the code."""
    found: dict[Act, dict[str, Json]] = {act: {} for act in Act}
    for act, argument, value, absent in FORMAT.table("Arguments"):
        if absent.startswith("one of") and "reason" not in argument and found[Act(act.strip("`"))]:
            continue
        given: Json = json.loads(value.strip("`")) if value.startswith("`") else "0" * 64
        found[Act(act.strip("`"))][argument.strip("`")] = given
    found[Act.PROFILE_SET]["profile"] = {**plant.profile()}
    found[Act.TRUST_SUBMIT]["files"] = {"metadata/targets.json": "0" * 64}
    return found


def texts_in(value: Json, place: Place = ()) -> Iterator[Place]:
    """Give where the texts of a value stand."""
    if isinstance(value, str):
        yield place
    elif isinstance(value, (dict, list)):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts_in(item, (*place, name))


def put(value: Json, place: Place, text: str) -> Json:
    """Give a value with another text at a place."""
    if not place:
        return text
    name, *below = place
    if isinstance(value, list):
        return [put(item, tuple(below), text) if at == name else item for at, item in enumerate(value)]
    assert isinstance(value, dict)
    return {**value, str(name): put(value[str(name)], tuple(below), text)}


def reasons(engine: Engine, act: Act, args: Json, now: int) -> set[str]:
    """Give what would refuse an act with these arguments, asked for by whoever may."""
    assert isinstance(args, dict)
    imagined = Imagined("alice", act, args, {}, (), custodian=RULES[act].custodians)
    checks: Any = explain(engine.standing, imagined, now, lambda _act: None)["checks"]
    return {check["reason"] for check in checks if check["reason"]}


def test_every_text_of_every_act_is_held_to_one_rule(tmp_path: Path) -> None:
    """At each place of each act where a text stands: none of the unreadable is taken, and free texts take the rest."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        free: set[tuple[Act, Place]] = set()
        async with running.engine() as engine:
            await running.ready(engine)
            now = running.clock.now()
            for act, args in arguments().items():
                for place in texts_in(args):
                    for name, text in UNREADABLE.items():
                        found = reasons(engine, act, put(args, place, text), now)
                        assert Refusal.MALFORMED in found, (act, place, name)
                    if Refusal.MALFORMED not in reasons(engine, act, put(args, place, READABLE[0]), now):
                        free.add((act, place))
            for act, place in free:
                for text in READABLE:
                    found = reasons(engine, act, put(arguments()[act], place, text), now)
                    assert Refusal.MALFORMED not in found, (act, place, text)
        assert {(Act.CREDENTIAL_REVOKE, ("reason",)), (Act.CREDENTIAL_ISSUE, ("purpose",))} <= free
        assert {act for act, place in free if place == ("reason",)} >= {Act.REVIEW_START, Act.KEY_SUSPEND}

    run(story())


def test_what_is_sent_with_an_unreadable_text_is_refused(tmp_path: Path) -> None:
    """A revocation, an approval, and a line of a batch: the engine takes none of them in."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            for text in (UNREADABLE["spaces"], UNREADABLE["hangul filler"], UNREADABLE["escape"]):
                revoke = running.command("bob", Act.CREDENTIAL_REVOKE, {"profile": "orders-reader", "reason": text})
                outcome = await engine.submit_command(revoke)
                assert (outcome.state, outcome.reason) == (State.REFUSED, Refusal.MALFORMED)
                line = {"profile": "orders-reader", "workload": plant.WORKLOAD, "audience": plant.AUDIENCE}
                body = json.dumps({**line, "purpose": text}).encode() + b"\n"
                args = BatchArguments(Manifest.of(body)).as_json()
                batch = running.command("alice", Act.CREDENTIAL_ISSUE, args)
                stream = await engine.submit_batch(batch, {sha256_hex(body): body})
                assert json.loads(await stream.chunk() or b"{}").get("reason") == Refusal.MALFORMED
                assert await stream.chunk() is None
            command = running.command("alice", Act.SITE_ADD, {"name": "line-2", "audiences": ["https://l.example"]})
            assert (await engine.submit_command(command)).state is State.WAITING
            signed = claims(running.approval("bob", command))
            for text in UNREADABLE.values():
                token = plant.operator("bob").token(Typ.APPROVAL, {**signed, "reason": text})
                with pytest.raises(Refused) as caught:
                    await engine.submit_approval(token)
                assert caught.value.reason is Refusal.MALFORMED

    run(story())


def claims(token: str) -> dict[str, Json]:
    """Give the claims of a signed document."""
    found: dict[str, Json] = json.loads(parse_unverified(token).payload)
    return found


def test_what_was_typed_and_what_was_escaped_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """A backslash stands as two wherever a text is written, once and not more often."""
    for write in _writers():
        write("\\x1b\\")
        write("\x1b\\")
        shown = capsys.readouterr()
        typed, escaped = (shown.out + shown.err).splitlines()
        assert "\\\\x1b\\\\" in typed
        assert "\\\\\\\\" not in typed
        assert "\\x1b\\\\" in escaped
        assert "\\\\x1b" not in escaped


def _writers() -> list[Callable[[str], None]]:
    """Give every way in which `coldcredctl` writes a text for people."""
    return [
        output.talk,
        lambda text: output.show([text]),
        lambda text: output.data(None, [text]),
        lambda text: output.data(None, output.facts({"reason": text})),
        lambda text: output.data(None, output.facts({"reasons": [text]})),
        lambda text: output.data(None, output.table([{"reason": text}], ["reason"])[1:]),
    ]


def test_columns_stand_under_each_other_whatever_is_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    """What is escaped takes more columns, and they are counted."""
    output.data(None, output.table([{"a": "\x1b\\", "b": "x"}, {"a": "y", "b": "x"}], ["a", "b"]))
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.index("b") == second.index("x", 4) == third.index("x")
