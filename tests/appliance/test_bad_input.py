"""Bad input about authority, one after the other: each is refused by its rule, is in the log, and is said in words."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.cli.messages import MESSAGES
from appliance.engine import Engine
from appliance.errors import Refused
from appliance.outcome import Outcome
from appliance.rules import rule_of
from coldcred import founding as foundings
from coldcred.acts import Act
from coldcred.canonical import Json, dumps
from coldcred.command import document_id
from coldcred.errors import Malformed
from coldcred.jose import parse_unverified
from coldcred.log import entry as entries
from coldcred.policy import DEFAULT
from tests.support import plant
from tests.support.founded import Plant
from tests.support.logworld import second
from tests.support.running import RunningPlant, believed, run, settled

Sent = Awaitable[Outcome]
Bad = Callable[[RunningPlant, Engine], Awaitable[Sent]]

STRICT: dict[str, Json] = {**plant.profile(), "name": "strict", "approvals": 2}
SITE: dict[str, Json] = {"name": "line-9", "audiences": ["https://line-9.example"]}
FORBIDS_ALL = '@id("nobody")\nforbid (principal, action == Action::"policy.set", resource);\n'


def policy(text: str) -> Bad:
    """Set a policy, by two people if it gets that far."""

    async def bad(running: RunningPlant, engine: Engine) -> Sent:
        return running.set_policy(engine, text)

    return bad


def asked(act: Act, **args: Json) -> Bad:
    """Ask for something that two people sign."""

    async def bad(running: RunningPlant, engine: Engine) -> Sent:
        command = running.command("alice", act, args)
        first = await engine.submit_command(command)
        return engine.submit_approval(running.approval("bob", command)) if first.state == "waiting" else _ended(first)

    return bad


async def _ended(outcome: Outcome) -> Outcome:
    return outcome


async def waiting(running: RunningPlant, engine: Engine, who: Any = "alice", **changes: Any) -> str:
    """Give a command that waits for its second person."""
    command = running.command(who, Act.SITE_ADD, {**SITE}, **changes)
    assert (await engine.submit_command(command)).state == "waiting"
    return command


async def second_key(running: RunningPlant, engine: Engine, person: str) -> None:
    """Give somebody one more key."""
    args: dict[str, Json] = {"person": person, "retires": [], "reason": "a card"}
    proof = running.countersignature(second(person), person)
    assert (await running.with_proof(engine, Act.OPERATOR_REPLACE_KEY, args, proof)).state == "done"


async def other_bytes(running: RunningPlant, engine: Engine) -> Sent:
    """Approve a command that says something else."""
    command = await waiting(running, engine)
    other = running.command("alice", Act.SITE_ADD, {**SITE, "name": "line-8"})
    return engine.submit_approval(running.approval("bob", other, basis=running.basis(command)))


async def other_lines(running: RunningPlant, engine: Engine) -> Sent:
    """Approve a command after being shown another."""
    command = await waiting(running, engine)
    shown = running.basis(running.command("alice", Act.SITE_ADD, {**SITE, "name": "line-8"}))
    return engine.submit_approval(running.approval("bob", command, basis=shown))


async def by_the_requester(running: RunningPlant, engine: Engine) -> Sent:
    """Approve one's own."""
    return engine.submit_approval(running.approval("alice", await waiting(running, engine)))


async def by_the_requesters_second_key(running: RunningPlant, engine: Engine) -> Sent:
    """Approve one's own with another key."""
    await second_key(running, engine, "bob")
    return engine.submit_approval(running.approval(second("bob"), await waiting(running, engine, "bob")))


async def by_an_approvers_second_key(running: RunningPlant, engine: Engine) -> Sent:
    """Approve twice, with two keys, where three people are needed."""
    await second_key(running, engine, "bob")
    more: dict[str, Json] = {**STRICT, "approvals": 3}
    assert (await running.by_two(engine, Act.PROFILE_SET, {"profile": more})).state == "done"
    command = running.issue(profile="strict")
    await engine.submit_command(command)
    assert (await engine.submit_approval(running.approval("bob", command))).state == "waiting"
    return engine.submit_approval(running.approval(second("bob"), command))


async def after_expiry(running: RunningPlant, engine: Engine) -> Sent:
    """Approve what has ended."""
    command = await waiting(running, engine, expires_at=running.clock.now() + 60)
    running.clock.time += 60
    return engine.submit_approval(running.approval("bob", command))


async def expired(running: RunningPlant, engine: Engine) -> Sent:
    """Send an approval that has ended itself."""
    command = await waiting(running, engine)
    approval = running.approval("bob", command, expires_at=running.clock.now() + 60)
    running.clock.time += 60
    return engine.submit_approval(approval)


async def replayed(running: RunningPlant, engine: Engine) -> Sent:
    """Send the approval of one request for the same thing asked for anew."""
    command = await waiting(running, engine)
    approval = running.approval("bob", command)
    args: dict[str, Json] = {"request": document_id(parse_unverified(command))}
    assert (await engine.submit_command(running.command("alice", Act.REQUEST_WITHDRAW, args))).state == "done"
    anew = await waiting(running, engine)
    return engine.submit_command(anew, approvals=[approval])


async def another_policy(running: RunningPlant, engine: Engine) -> Sent:
    """Send what was approved before a policy was set."""
    command = await waiting(running, engine)
    approval = running.approval("bob", command)
    assert (await running.set_policy(engine, f"// another\n{DEFAULT}")).state == "done"
    return engine.submit_approval(approval)


async def another_profile(running: RunningPlant, engine: Engine) -> Sent:
    """Send what was approved before its profile was set anew."""
    command = running.issue(profile="strict")
    await engine.submit_command(command)
    approval = running.approval("bob", command)
    assert (await running.by_two(engine, Act.PROFILE_SET, {"profile": {**STRICT, "lifetime": 60}})).state == "done"
    return engine.submit_approval(approval)


BAD: dict[str, tuple[Bad, str, str]] = {
    "policy that does not parse": (
        policy("permit (everybody);"),
        "policy-invalid",
        "policies that Cedar reads and the schema knows",
    ),
    "policy that is empty": (policy(""), "policy-locks-out", "policies under which people can go on"),
    "policy with an unknown act": (
        policy(f'{DEFAULT}\n@id("x")\nforbid (principal, action == Action::"site.burn", resource);'),
        "policy-invalid",
        "policies that Cedar reads and the schema knows",
    ),
    "policy with an unknown attribute": (
        policy(f'{DEFAULT}\n@id("x")\nforbid (principal, action, resource) when {{ resource.colour == 1 }};'),
        "policy-invalid",
        "policies that Cedar reads and the schema knows",
    ),
    "policy that locks everyone out": (
        policy(DEFAULT + FORBIDS_ALL),
        "policy-locks-out",
        "policies under which people can go on",
    ),
    "approval for other bytes": (other_bytes, "unknown-request", "R9 about a request that waits"),
    "approval after other lines": (other_lines, "approval-void", "R9 what an approval rests on"),
    "approval by the requester": (by_the_requester, "not-allowed", "R2 the requester never approves"),
    "approval by the requester's second key": (
        by_the_requesters_second_key,
        "not-allowed",
        "R2 the requester never approves",
    ),
    "approval by the same person's second key": (
        by_an_approvers_second_key,
        "already-approved",
        "R2 people are counted, not keys",
    ),
    "approval after expiry": (after_expiry, "expired", "R7 in its time"),
    "approval that has expired": (expired, "expired", "R7 in its time"),
    "approval for another policy": (another_policy, "approval-void", "R9 what an approval rests on"),
    "approval for another profile version": (another_profile, "approval-void", "R9 what an approval rests on"),
    "quorum 0": (asked(Act.PROFILE_SET, profile={**STRICT, "approvals": 0}), "malformed", "R10 closed forms"),
    "quorum above the people": (
        asked(Act.PROFILE_SET, profile={**STRICT, "approvals": 4}),
        "below-quorum",
        "profile strict approvals",
    ),
}
"""What is sent, and reason and rule of the refusal."""


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_logged_and_explained(name: str, tmp_path: Path) -> None:
    """One entry says so with reason and rule, nothing else follows, and there are words for it."""
    bad, reason, rule = BAD[name]
    roles = {**plant.ROLES, "dora": ["approver"]}
    running = RunningPlant(tmp_path / "home", roles=roles, members={"profiles": [plant.profile(), STRICT]})

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            sent = await bad(running, engine)
            before = engine.standing.authority
            assert await refused(sent) == (reason, rule)
            await settled(engine)
            assert engine.standing.authority == before
            event = newest_refusal(engine)
            assert (event["reason"], event["rule"]) == (reason, rule)
            await believed(running, engine)

    run(story())
    assert MESSAGES[reason].what


async def refused(sent: Sent) -> tuple[str, str]:
    """Give reason and rule of what must be refused."""
    try:
        outcome = await sent
    except Refused as error:
        return error.id, rule_of(error)
    assert outcome.state == "refused", outcome
    return str(outcome.reason), str(outcome.rule)


def newest_refusal(engine: Engine) -> dict[str, Any]:
    """Give the newest refusal in the log, of a command or of an approval."""
    found = [entries.parse(body).event for body in engine.standing.archive.bodies()]
    return [event for event in found if event["type"] in {"command.refused", "approval.refused"}][-1]


def test_an_approval_of_an_earlier_request_does_not_count_for_a_later_one(tmp_path: Path) -> None:
    """The same thing asked for anew is another request; and an approval that counted is told its outcome, once more."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            with pytest.raises(Refused) as caught:
                await (await replayed(running, engine))
            assert (caught.value.id, rule_of(caught.value)) == ("unknown-request", "R9 about a request that waits")
            command = running.command("alice", Act.SITE_ADD, {**SITE})
            await engine.submit_command(command)
            approval = running.approval("bob", command)
            done = await engine.submit_approval(approval)
            size = engine.standing.head.size
            assert await engine.submit_approval(approval) == replace(done, warnings=())  # told once, with the act
            assert engine.standing.head.size == size

    run(story())


TRICKS = {
    "control characters": "er\x1b[31min",
    "a line of one's own": "erin\nby alice",
    "bidi marks": "erin\u202enimda",
    "nothing to see": "er\u200bin",
    "look-alikes": "\u0435rin",
    "composed another way": "erin\u0301",
    "capitals": "Erin",
    "path tricks": "../erin",
    "a path": "erin/../bob",
    "spaces": "erin ",
    "nothing": "",
    "too long": "e" * 2500,
}
NAMED: dict[str, tuple[Act, Callable[[str], dict[str, Json]]]] = {
    "person": (Act.OPERATOR_REMOVE, lambda name: {"person": name, "reason": "left"}),
    "owner": (Act.WORKLOAD_ENROL, lambda name: {"id": f"{plant.WORKLOAD}0", "owner": name, "review_by": 2**31}),
    "workload": (
        Act.WORKLOAD_SUSPEND,
        lambda name: {"workload": f"spiffe://{plant.DOMAIN}/{name}", "reason": "seen"},
    ),
    "profile": (Act.PROFILE_SET, lambda name: {"profile": {**plant.profile(), "name": name}}),
    "group": (Act.PROFILE_SET, lambda name: {"profile": {**plant.profile(), "groups": [name]}}),
    "site": (Act.SITE_ADD, lambda name: {**SITE, "name": name}),
    "audience": (Act.SITE_ADD, lambda name: {**SITE, "audiences": [f"https://{name}"]}),
    "review": (Act.REVIEW_START, lambda name: {"name": name, "until": 2**31}),
    "key": (Act.KEY_SUSPEND, lambda name: {"key": name, "reason": "seen"}),
}


@pytest.mark.parametrize("kind", NAMED)
def test_no_name_has_tricks_in_it(kind: str, tmp_path: Path) -> None:
    """Of whatever kind: malformed, and what is said of it holds nothing that moves a cursor."""
    running = RunningPlant(tmp_path / "home")
    act, args = NAMED[kind]
    tricks = {name: text for name, text in TRICKS.items() if (kind, name) not in FINE}

    async def story() -> None:
        async with running.engine() as engine:
            for name, text in tricks.items():
                sent = await asked(act, **args(text))(running, engine)
                assert ((await refused(sent))[0], kind, name) == ("malformed", kind, name)
                event = newest_refusal(engine)
                assert event["rule"]
                assert str(event["detail"]).isprintable()
                assert str(event["detail"]).isascii()
            await believed(running, engine)

    run(story())


FINE: set[tuple[str, str]] = {("workload", "capitals")}
"""What is a name after all."""


@pytest.mark.parametrize(
    "quorums",
    [
        {"custodians": 0, "recovery": 2, "acts": {}},
        {"custodians": 4, "recovery": 2, "acts": {}},
        {"custodians": 2, "recovery": 0, "acts": {}},
        {"custodians": 2, "recovery": 4, "acts": {}},
        {"custodians": 2, "recovery": 2, "acts": {"site.add": 0}},
        {"custodians": 2, "recovery": 2, "acts": {"site.add": 4}},
        {"custodians": 2, "recovery": 2, "acts": {"site.burn": 2}},
    ],
)
def test_nothing_is_founded_on_a_quorum_that_nobody_can_meet(quorums: Json) -> None:
    """None, or more than there are people; there is no log yet that it could be in."""
    with pytest.raises(Malformed):
        foundings.parse(dumps({**plant.members(), "quorums": quorums}))


def test_the_terminal_says_what_is_wrong(plant: Plant, tmp_path: Path) -> None:
    """The real command line: exit 1 and the reason, in words and by its rule, and the log is none the worse."""
    home = plant.copy_home(tmp_path / "home")
    garbage, locks = tmp_path / "garbage.cedar", tmp_path / "locks.cedar"
    garbage.write_text("permit (everybody);")
    locks.write_text(DEFAULT + FORBIDS_ALL)
    waits = tmp_path / "waits.jws"
    with home.serving():
        assert (
            home.ctl(
                "site", "add", "line-9", "--audience", "https://line-9.example", "--request", waits, who="alice"
            ).code
            == 3
        )
        for words, who, reason in (
            (("policy", "set", garbage), "alice", "policy-invalid"),
            (("policy", "set", locks), "alice", "policy-locks-out"),
            (("approve", waits), "alice", "not-allowed"),
            (("approve", waits), "carol", "not-allowed"),
        ):
            ended = home.ctl(*words, "--json", who=who)
            assert (ended.code, ended.json["error"]) == (1, reason), ended
            said = home.ctl(*words, who=who)
            assert said.code == 1
            assert MESSAGES[reason].what in said.err
        shown = home.done("log", "show", "--limit", "1000", "--json", who="carol").json
        # A policy that cannot be set is seen before anybody signs it, so the log has only what was signed.
        told = [entry["event"]["by"] for entry in shown if entry["event"].get("reason") == "not-allowed"]
        assert {"alice", "carol"} <= {*told}
