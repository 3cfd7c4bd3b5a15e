"""Previews: what a policy or a profile would change for everything now alive, before anybody sets it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.cedar import PolicySet
from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from appliance.preview import MOST_CHANGES, Change, Comparison
from coldcred.acts import Act
from coldcred.canonical import Json, sha256_hex
from coldcred.policy import DEFAULT
from coldcred.profile import digest_of
from coldcred.record import Record
from tests.support import plant
from tests.support.running import RunningPlant, run, settled

NOT_BOB = f'{DEFAULT}\n@id("not-bob")\nforbid (principal == Person::"bob", action == Action::"site.add", resource);\n'
NO_ROBOTS = f'{DEFAULT}\n@id("no-robots")\nforbid (principal is Workload, action, resource);\n'


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the plant's appliance, not started."""
    return RunningPlant(tmp_path / "home")


async def previewed(
    running: RunningPlant, engine: Engine, act: Act, args: dict[str, Json], *bodies: bytes
) -> dict[str, Any]:
    """Ask for a preview as carol, who reads."""
    reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
    found = await reader.preview(act, Record(args, act), {sha256_hex(body): body for body in bodies})
    assert isinstance(found, dict)
    return found


async def of_policy(running: RunningPlant, engine: Engine, text: str) -> dict[str, Any]:
    """Preview a policy."""
    body = text.encode()
    return await previewed(running, engine, Act.POLICY_SET, {"policy": sha256_hex(body)}, body)


async def of_profile(running: RunningPlant, engine: Engine, **members: Json) -> dict[str, Any]:
    """Preview the profile of the worked example with other members."""
    return await previewed(running, engine, Act.PROFILE_SET, {"profile": {**plant.profile(), **members}})


def changes(comparison: Comparison) -> list[Change]:
    """Give what differs."""
    return [change for change in comparison.changes() if change is not None]


def test_a_policy_is_previewed_for_everybody_enrolled(running: RunningPlant) -> None:
    """Who loses what and by which policy; nothing is decided by it, and what comes back is told as allowed."""

    async def story() -> None:
        async with running.engine() as engine:
            found = await of_policy(running, engine, NOT_BOB)
            assert found["changes"] == [
                {"who": "bob", "act": "site.add", "profile": None, "becomes": "forbidden", "by": "policy not-bob"}
            ]
            assert (found["policy"], found["replaces"]) == (
                sha256_hex(NOT_BOB.encode()),
                sha256_hex(DEFAULT.encode()),
            )
            assert engine.standing.authority.policy == found["replaces"]
            assert (await of_policy(running, engine, f"// the same\n{DEFAULT}"))["all_changes"] == 0
            assert (await running.set_policy(engine, NOT_BOB)).state == "done"
            (back,) = (await of_policy(running, engine, DEFAULT))["changes"]
            assert (back["who"], back["becomes"], back["by"]) == ("bob", "allowed", "policy officers-act")

    run(story())


def test_workloads_are_asked_about_too(running: RunningPlant) -> None:
    """Each enrolled workload under each profile that lets it ask."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.enrol_with(engine, running.proof())
            lets: dict[str, Json] = {"profile": {**plant.profile(), "asked_by": ["issuer", "workload"]}}
            assert (await running.by_two(engine, Act.PROFILE_SET, lets)).state == "done"
            found = await of_policy(running, engine, NO_ROBOTS)
            assert found["changes"] == [
                {
                    "who": plant.WORKLOAD,
                    "act": "credential.issue",
                    "profile": "orders-reader",
                    "becomes": "forbidden",
                    "by": "policy no-robots",
                }
            ]
            assert found["workloads"] == {"asked": 1, "all": 1}

    run(story())


@pytest.mark.parametrize("ask", ["read", "preview", "why"])
def test_who_left_reads_nothing_more(running: RunningPlant, ask: str) -> None:
    """A reading that is open answers nothing once the key that opened it was retired, whatever is asked."""

    async def story() -> None:
        async with running.engine() as engine:
            reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
            questions: dict[str, Callable[[], Awaitable[Json]]] = {
                "read": lambda: reader.read("status", {}),
                "preview": lambda: reader.preview(
                    Act.PROFILE_SET, Record({"profile": plant.profile()}, "profile.set"), {}
                ),
                "why": lambda: reader.why(Record({"entry": 0}, "why"), {}),
            }
            assert set(questions) == {name for name in dir(reader) if not name.startswith("_")}
            assert await questions[ask]()
            gone = await running.by_two(engine, Act.OPERATOR_REMOVE, {"person": "carol", "reason": "left"})
            assert gone.state == "done", gone
            with pytest.raises(Refused, match="was retired"):
                await questions[ask]()

    run(story())


def test_a_preview_is_refused_as_its_decision_would_be(running: RunningPlant) -> None:
    """No policy, one that locks out, none at all, a malformed profile, and an act that has no preview."""

    async def story() -> None:
        async with running.engine() as engine:
            for text, reason in (("permit", Refusal.POLICY_INVALID), ("", Refusal.POLICY_LOCKS_OUT)):
                with pytest.raises(Refused) as caught:
                    await of_policy(running, engine, text)
                assert caught.value.reason is reason
            asked: list[tuple[Act, dict[str, Json]]] = [
                (Act.POLICY_SET, {"policy": "0" * 64}),
                (Act.POLICY_SET, {}),
                (Act.PROFILE_SET, {"profile": {"name": "x"}}),
                (Act.PROFILE_SET, {"profile": plant.profile(), "more": 1}),
                (Act.SITE_ADD, {}),
            ]
            for act, args in asked:
                with pytest.raises(Refused) as caught:
                    await previewed(running, engine, act, args)
                assert caught.value.reason is Refusal.MALFORMED

    run(story())


def test_a_profile_is_previewed_for_what_lives_under_it(running: RunningPlant) -> None:
    """Live credentials outside the new bounds, with their ends; workloads that lose it; bounds that become narrower."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            ends = []
            for lifetime in (600, 1200, 1800):
                issued = await engine.submit_command(running.issue(ttl=lifetime))
                ends.append(issued.result["exp"])
            await settled(engine)
            (before,) = engine.standing.authority.profiles.values()

            found = await of_profile(running, engine, lifetime=900)
            assert (found["live"], found["replaces"]) == (3, digest_of([before]))
            assert found["outside"] == {"count": 2, "first_end": ends[1], "last_end": ends[2]}
            assert (found["narrowed"], found["losing"]["count"]) == (["lifetime"], 0)

            found = await of_profile(running, engine, subjects=["spiffe://plant-a.example/line-2/*"])
            assert (found["outside"]["count"], found["losing"]) == (3, {"count": 1, "workloads": [plant.WORKLOAD]})

            found = await of_profile(running, engine, groups=["line-9"], scopes=[], holder_binding=True, approvals=2)
            assert found["outside"]["count"] == 3
            assert found["narrowed"] == ["scopes", "approvals", "groups", "holder_binding"]

            found = await of_profile(running, engine, audiences=["https://elsewhere.plant-a.example"])
            assert found["outside"]["count"] == 3

            found = await of_profile(running, engine, asked_by=["workload"])
            told = {(one["who"], one["becomes"], one["by"]) for one in found["changes"]}
            assert told == {
                ("alice", "forbidden", "profile orders-reader asked_by"),
                (plant.WORKLOAD, "allowed", "policy workloads-ask"),
            }

            found = await of_profile(running, engine, name="new")
            assert (found["live"], found["replaces"], found["narrowed"]) == (0, None, [])
            assert {(one["who"], one["act"]) for one in found["changes"]} == {
                ("alice", "credential.issue"),
                ("alice", "profile.set"),
                ("bob", "profile.set"),
            }
            assert [*engine.standing.authority.profiles] == ["orders-reader"]

    run(story())


def test_a_policy_may_forbid_the_profile_that_is_previewed(running: RunningPlant) -> None:
    """Then its preview says so, for whoever could set it before."""
    short = (
        f'{DEFAULT}\n@id("short")\nforbid (principal, action == Action::"credential.issue", resource)\n'
        "unless { resource.lifetime <= 28800 };\n"
    )

    async def story() -> None:
        async with running.engine() as engine:
            assert (await running.set_policy(engine, short)).state == "done"
            (change,) = (await of_profile(running, engine, lifetime=28801))["changes"]
            assert (change["who"], change["act"], change["by"]) == ("alice", "credential.issue", "policy short")

    run(story())


def test_changes_are_pure_and_few_are_listed(running: RunningPlant) -> None:
    """The same values, the same changes; beyond the bound only their number is told."""

    async def story() -> None:
        async with running.engine() as engine:
            authority = engine.standing.authority
            old, new = PolicySet.parse(DEFAULT.encode()), PolicySet.parse(b"")
            first, second = (changes(Comparison.of_policies(authority, old, new)) for _ in range(2))
            assert first == second
            assert {one.by for one in first} == {f"policy {new.digest[:12]}: no permit"}
            assert not changes(Comparison.of_policies(authority, old, old))
            assert len(first) < MOST_CHANGES

    run(story())
