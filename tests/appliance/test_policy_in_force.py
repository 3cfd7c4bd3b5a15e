"""The policy in force: set by two people, asked when a command comes in and when it is decided, named by each entry."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.cedar import Ruling
from appliance.engine import Engine
from appliance.engine.recovery import Recovery
from appliance.errors import HomeError, HomeFault, Refusal, Refused
from appliance.nouns import policies
from appliance.outcome import Outcome
from appliance.wiring import open_log
from coldcred.acts import Act, Principal
from coldcred.batch import BatchArguments, Manifest
from coldcred.canonical import Json, dumps, loads, loads_canonical, sha256_hex
from coldcred.log.entry import MAX_BODY
from coldcred.policy import DEFAULT
from coldcred.profile import Profile, digest_of
from coldcred.record import Record
from tests.support import plant
from tests.support.running import RunningPlant, believed, run, settled

FORBIDS_SITES = f'{DEFAULT}\n@id("no-sites")\nforbid (principal, action == Action::"site.add", resource);\n'
FORBIDS_ISSUE = f'{DEFAULT}\n@id("no-issue")\nforbid (principal, action == Action::"credential.issue", resource);\n'
NEITHER = (
    f'{DEFAULT}@id("not-alice") forbid (principal == Person::"alice", action, resource);\n'
    '@id("not-bob") forbid (principal == Person::"bob", action == Action::"profile.set", resource);\n'
)
SITE_9: dict[str, Json] = {"name": "line-9", "audiences": ["https://line-9.plant-a.example"]}


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the plant's appliance, not started."""
    return RunningPlant(tmp_path / "home")


def events(engine: Engine, kind: str) -> Iterator[dict[str, Any]]:
    """Give the events of a type that the log holds."""
    for body in engine.standing.archive.bodies():
        entry = loads_canonical(body, max_bytes=MAX_BODY)
        assert isinstance(entry, dict)
        event = entry["event"]
        assert isinstance(event, dict)
        if event["type"] == kind:
            yield event


def last(engine: Engine, kind: str) -> dict[str, Any]:
    """Give the newest event of a type."""
    return list(events(engine, kind))[-1]


def test_a_policy_is_set_by_two_people_and_holds_after_a_start(running: RunningPlant) -> None:
    """From its entry on, and again when the log is folded: what it forbids is refused, by its id."""

    async def setting() -> None:
        async with running.engine() as engine:
            outcome = await running.set_policy(engine, FORBIDS_SITES)
            assert (outcome.state, outcome.have) == ("done", ("alice", "bob")), outcome
            assert outcome.result == {"policy": sha256_hex(FORBIDS_SITES.encode())}
            set_by = last(engine, "policy.set")
            assert (set_by["policy"], set_by["permits"]) == (sha256_hex(DEFAULT.encode()), ["officers-act"])
            (told,) = engine.standing.lookups.policies
            assert (told.digest, told.people) == (sha256_hex(FORBIDS_SITES.encode()), ("alice", "bob"))

    async def asking() -> None:
        async with running.engine() as engine:
            refused = await engine.submit_command(running.command("alice", Act.SITE_ADD, SITE_9))
            assert (refused.reason, refused.rule) == (Refusal.NOT_ALLOWED, "policy no-sites")
            assert last(engine, "command.refused")["policy"] == sha256_hex(FORBIDS_SITES.encode())
            again = await running.set_policy(engine, DEFAULT)
            assert again.state == "done"
            assert (await running.by_two(engine, Act.SITE_ADD, SITE_9)).state == "done"
            await believed(running, engine)

    run(setting())
    run(asking())


def test_what_waited_is_asked_about_again(running: RunningPlant) -> None:
    """A request that a policy forbids while it waits is refused when it is approved, and stays refused."""

    async def story() -> None:
        async with running.engine() as engine:
            command = running.command("alice", Act.SITE_ADD, SITE_9)
            assert (await engine.submit_command(command)).state == "waiting"
            await running.set_policy(engine, FORBIDS_SITES)
            refused = await engine.submit_approval(running.approval("bob", command))
            assert (refused.state, refused.rule) == ("refused", "policy no-sites")
            await running.set_policy(engine, DEFAULT)
            assert (await engine.submit_command(command)).state == "refused"
            await believed(running, engine)

    run(story())


@pytest.mark.parametrize("act", [Act.CREDENTIAL_REVOKE, Act.WORKLOAD_SUSPEND, Act.KEY_SUSPEND])
def test_no_policy_slows_stopping(running: RunningPlant, act: Act) -> None:
    """Under a policy that forbids all that it can, one person still stops what is to be stopped."""
    forbids = "".join(
        f'@id("essential-{place}") permit (principal, action == Action::"{essential}", resource);\n'
        for place, essential in enumerate(policies.essential())
    )

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            issued = await engine.submit_command(running.issue())
            assert (await running.set_policy(engine, forbids)).state == "done"
            refused = await engine.submit_command(running.issue())
            assert refused.rule == f"policy {sha256_hex(forbids.encode())[:12]}: no permit"
            key = next(key.name for key in engine.standing.authority.keys.values() if key.charter.purpose == "tokens")
            args: dict[Act, dict[str, Json]] = {
                Act.CREDENTIAL_REVOKE: {"credential": issued.result["jti"], "reason": "lost"},
                Act.WORKLOAD_SUSPEND: {"workload": plant.WORKLOAD, "reason": "lost"},
                Act.KEY_SUSPEND: {"key": key, "reason": "lost"},
            }
            stopped = await engine.submit_command(running.command("bob", act, args[act]))
            assert stopped.state == "done", stopped
            (event,) = [event for kind in ("credential.revoked", "workload.suspended", "key.suspended")
                        for event in events(engine, kind)]  # fmt: skip
            assert "permits" not in event

    run(story())


def test_a_policy_is_refused_before_anybody_approves_it(running: RunningPlant) -> None:
    """One that is none, one that locks out, the one in force, and one that does not travel along."""

    async def story() -> None:
        async with running.engine() as engine:
            for text, reason, says in (
                ("permit (principal, action, resource);", Refusal.POLICY_INVALID, "line 1: a policy without an id"),
                (DEFAULT + "x", Refusal.POLICY_INVALID, "Cedar: "),
                ("", Refusal.POLICY_LOCKS_OUT, "policy.set"),
                (
                    NEITHER,
                    Refusal.POLICY_LOCKS_OUT,
                    "profile.set",
                ),
                (
                    f'{DEFAULT}@id("no-export") forbid (principal, action == Action::"log.export", resource);\n',
                    Refusal.POLICY_LOCKS_OUT,
                    "log.export",
                ),
                (DEFAULT, Refusal.ALREADY_EXISTS, "in force"),
            ):
                refused = await running.set_policy(engine, text)
                assert (refused.state, refused.reason) == ("refused", reason), (text, refused)
                assert says in (refused.detail or "")
            command = running.command("alice", Act.POLICY_SET, {"policy": sha256_hex(b"elsewhere")})
            with pytest.raises(Refused, match="does not travel beside it"):
                await engine.submit_command(command)
            await believed(running, engine)

    run(story())


def test_a_policy_that_nobody_else_could_approve_locks_out(tmp_path: Path) -> None:
    """Alone at asking is good enough as long as others may approve; without them it is not."""
    roles = {"alice": ["officer", "issuer"], "bob": ["officer"], "carol": ["auditor"]}
    alone = f'{DEFAULT}@id("bob-alone") forbid (principal == Person::"alice", action, resource);\n'

    async def setting(running: RunningPlant) -> Outcome:
        async with running.engine() as engine:
            return await running.set_policy(engine, alone)

    assert run(setting(RunningPlant(tmp_path / "two", roles=roles))).state == "done"
    raised: dict[str, Json] = {"custodians": 2, "recovery": 2, "acts": {"policy.set": 2}}
    several = RunningPlant(tmp_path / "raised", roles=roles, members={"quorums": raised})
    assert run(setting(several)).state == "done"


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_start_without_the_policy_in_force_stops(running: RunningPlant, damage: str) -> None:
    """Its text is a blob; where it is gone or another, nothing could be decided."""

    async def setting() -> None:
        async with running.engine() as engine:
            assert (await running.set_policy(engine, FORBIDS_SITES)).state == "done"

    run(setting())
    home = running.create()
    with open_log(home) as log:
        blob = bytes.fromhex(sha256_hex(FORBIDS_SITES.encode()))
        with log._store.transaction() as database:
            found = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for trigger, _ in found:
                database.execute(f"DROP TRIGGER {trigger}")
            if damage == "missing":
                database.execute("DELETE FROM blob WHERE sha256 = ?", [blob])
            else:
                database.execute("UPDATE blob SET body = ? WHERE sha256 = ?", [b"// none", blob])
            for _, sql in found:
                database.execute(sql)
    with open_log(home) as log, pytest.raises(HomeError) as caught:
        Recovery(home, log, running.clock.now).fold()
    assert caught.value.fault is HomeFault.LOG_DAMAGED


def test_a_profile_that_is_set_is_what_policies_are_asked_about(running: RunningPlant) -> None:
    """The new one, whatever stands under its name; the entry names the version that it replaces."""
    short = (
        f'{DEFAULT}\n@id("short-profiles")\nforbid (principal, action == Action::"profile.set", resource)\n'
        "unless { resource.lifetime <= 3600 };\n"
    )

    async def story() -> None:
        async with running.engine() as engine:
            assert (await running.set_policy(engine, short)).state == "done"
            before = engine.standing.authority.profiles["orders-reader"]
            long: dict[str, Json] = {"profile": {**plant.profile(), "lifetime": 3601}}
            refused = await engine.submit_command(running.command("alice", Act.PROFILE_SET, long))
            assert (refused.reason, refused.rule) == (Refusal.NOT_ALLOWED, "policy short-profiles")
            done = await running.by_two(engine, Act.PROFILE_SET, {"profile": {**plant.profile(), "lifetime": 3600}})
            assert done.state == "done"
            assert last(engine, "profile.set")["profiles"] == digest_of([before])
            await believed(running, engine)

    run(story())


def test_a_batch_asks_once_for_each_profile_and_keeps_what_it_began_under(
    running: RunningPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R8: two profiles, two questions; a policy that comes in between changes nothing for chunks and end."""
    line: dict[str, Json] = {"profile": "orders-reader", "workload": plant.WORKLOAD, "audience": plant.AUDIENCE}
    body = b"".join(
        dumps({**line, "profile": name}) + b"\n" for name in ["orders-reader", "orders-strict", "orders-reader"] * 200
    )
    not_strict = (
        f'{DEFAULT}\n@id("not-strict")\n'
        'forbid (principal, action == Action::"credential.issue", resource == Profile::"orders-strict");\n'
    )

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            strict: dict[str, Json] = {"profile": {**plant.profile(), "name": "orders-strict"}}
            assert (await running.by_two(engine, Act.PROFILE_SET, strict)).state == "done"
            assert (await running.set_policy(engine, not_strict)).state == "done"
            asked: list[str] = []
            policies = engine.standing.policies
            ruling = policies.ruling

            def noticed(who: Principal, act: Act, what: Profile | None) -> Ruling:
                if act is Act.CREDENTIAL_ISSUE and what is not None:
                    asked.append(what.name)
                return ruling(who, act, what)

            monkeypatch.setattr(policies, "ruling", noticed)
            command = running.command("alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json())
            stream = await engine.submit_batch(command, {sha256_hex(body): body})
            lines = [await stream.chunk()]
            assert (await running.set_policy(engine, FORBIDS_ISSUE)).state == "done"
            while (found := await stream.chunk()) is not None:
                lines.append(found)
            assert sorted(asked) == ["orders-reader", "orders-strict"]
            told = [loads(text) for found in lines if found for text in found.splitlines()]
            refused = [one for one in told if isinstance(one, dict) and "reason" in one]
            assert len(told) == 600
            assert {one["line"] % 3 for one in refused if isinstance(one["line"], int)} == {2}
            assert {(one["reason"], one["detail"]) for one in refused} == {
                ("not-allowed", "policy not-strict forbids credential.issue under profile orders-strict to alice")
            }
            assert stream.outcome().result == {"held": 0, "issued": 400, "refused": 200}
            named = {
                (event["policy"], event["profiles"], *event["permits"])
                for kind in ("batch.begun", "batch.issued", "batch.done")
                for event in events(engine, kind)
            }
            version = digest_of(engine.standing.authority.profiles.values())
            assert named == {(sha256_hex(not_strict.encode()), version, "issuers-issue")}
            assert (await engine.submit_command(running.issue())).rule == "policy no-issue"
            await settled(engine)
            await believed(running, engine)

    run(story())


def _policy(number: int) -> str:
    return f"// {number}\n{DEFAULT}"


async def swapping(running: RunningPlant, swaps: int) -> None:
    """I7: swap policy and profile while eight issue; each credential fits the profile that its entry names."""
    async with running.engine() as engine:
        await running.ready(engine)
        versions: dict[str, Profile] = {}
        texts = {sha256_hex(DEFAULT.encode())}
        done = asyncio.Event()

        def remember() -> None:
            profile = engine.standing.authority.profiles["orders-reader"]
            versions[digest_of([profile])] = profile

        async def issuing(person: str) -> None:
            for number in itertools.count():
                if done.is_set():
                    return
                running.clock.time += number % 2
                asked = running.issue_args()
                del asked["ttl"]
                outcome = await engine.submit_command(running.command(person, Act.CREDENTIAL_ISSUE, asked))
                assert outcome.state == "done", outcome

        async def swap() -> None:
            for number in range(swaps):
                if number % 2:
                    profile: dict[str, Json] = {**plant.profile(), "lifetime": 60 + number}
                    assert (await running.by_two(engine, Act.PROFILE_SET, {"profile": profile})).state == "done"
                    remember()
                else:
                    outcome = await running.set_policy(engine, _policy(number))
                    assert outcome.state == "done", outcome
                    texts.add(sha256_hex(_policy(number).encode()))
            done.set()

        remember()
        await asyncio.gather(swap(), *(issuing("alice") for _ in range(8)))
        await settled(engine)
        issued = list(events(engine, "credential.issued"))
        assert len(issued) > swaps
        assert len({event["profiles"] for event in issued}) > min(swaps, 8) // 2
        for event in issued:
            profile = versions[event["profiles"]]
            result = event["result"]
            assert result["exp"] - result["nbf"] == profile.lifetime
            assert event["policy"] in texts
        await believed(running, engine)


def test_policies_and_profiles_never_mix_with_requests_in_flight(running: RunningPlant) -> None:
    """I7, with fewer swaps."""
    run(swapping(running, 40))


@pytest.mark.soak
def test_a_thousand_swaps_never_mix_with_requests_in_flight(running: RunningPlant) -> None:
    """I7: 1,000 swaps of policy and profile during eight parallel issuers."""
    asyncio.run(asyncio.wait_for(swapping(running, 1000), 1800))


def test_a_profile_is_read_as_its_digest_says() -> None:
    """The version of profiles does not depend on their order, and on every member of them."""
    first = Profile.read(Record(plant.profile(), "profile"), plant.DOMAIN)
    second = Profile.read(Record({**plant.profile(), "name": "other"}, "profile"), plant.DOMAIN)
    assert digest_of([first, second]) == digest_of([second, first]) != digest_of([first])
    assert digest_of([first]) == sha256_hex(dumps([first.as_json()]))
