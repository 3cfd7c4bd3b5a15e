"""Trust that custodians signed well and that is wrong: the appliance takes in none of it (R17)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.engine import Engine
from appliance.errors import Refusal
from appliance.outcome import Outcome, State
from coldcred import layout
from coldcred.acts import Act
from coldcred.canonical import Json, dumps, loads, sha256_hex
from coldcred.documents import parse_profiles, write_profiles
from coldcred.plan import Plan
from tests.support import hands, plant
from tests.support.desk import AFTER, REFUSED, Desk, Files, desk_of, draft_of, plan
from tests.support.running import SITE, RunningPlant, run


async def _submit(running: RunningPlant, engine: Engine, files: Files) -> Outcome:
    """Submit files as two custodians sign them without looking."""
    return await engine.submit_command(*running.submission(hands.signed(running.founding, files)))


def _refused(outcome: Outcome) -> bool:
    return (outcome.state, outcome.reason) == (State.REFUSED, Refusal.TRUST_REFUSED)


def test_what_the_founding_fixes_is_not_taken_in_otherwise(tmp_path: Path) -> None:
    """Each thing that a custodian's hand refuses is refused again where the quorum signed it: one function asks."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            desk = desk_of(running, await draft_of(running, engine))
            for what, (_, change) in REFUSED.items():
                assert _refused(await _submit(running, engine, change(desk))), what
            assert engine.standing.authority.trust is None
            assert (await _submit(running, engine, desk.files)).state is State.DONE
            running.clock.time += plant.DAY
            desk = desk_of(running, await draft_of(running, engine))
            for what, (_, change) in AFTER.items():
                assert _refused(await _submit(running, engine, change(desk))), what
            assert (await _submit(running, engine, desk.files)).state is State.DONE

    run(story())


def _turned(desk: Desk) -> Files:
    profiles = parse_profiles(desk.files[layout.PROFILES])
    return desk.over({layout.PROFILES: write_profiles({name: not stale for name, stale in profiles.items()})})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_turned, "profiles.json is not what this appliance says now"),
        (lambda desk: plan(desk, publish=("unknown",), sign=("unknown",)), "publishes 'unknown'"),
        (lambda desk: plan(desk, sign=()), "sign"),
        (lambda desk: desk.over({}, expires=desk.now + plant.DAY + 6 * 3600 - 1), "ends before trust does"),
    ],
    ids=["another document", "an unknown key", "nothing signs", "targets end too early"],
)
def test_a_document_that_is_not_the_appliances_is_refused(
    tmp_path: Path, change: Callable[[Desk], Files], said: str
) -> None:
    """A document that custodians signed and that the appliance does not say is refused, with its name."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            outcome = await _submit(running, engine, change(desk_of(running, await draft_of(running, engine))))
            assert _refused(outcome)
            assert said in (outcome.detail or "")
            assert engine.standing.authority.trust is None

    run(story())


def test_targets_that_end_with_trust_are_taken(tmp_path: Path) -> None:
    """The metadata may end in the second in which trust does."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            desk = desk_of(running, await draft_of(running, engine))
            files = desk.over({}, expires=desk.now + plant.DAY + 6 * 3600)
            assert (await _submit(running, engine, files)).state is State.DONE

    run(story())


def test_a_profile_that_changed_meanwhile_asks_for_another_preparation(tmp_path: Path) -> None:
    """What was prepared before two people set a profile is not taken in after it."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            desk = desk_of(running, await draft_of(running, engine))
            changed: Json = {**plant.profile(), "refuse_stale": True}
            command = running.command("alice", Act.PROFILE_SET, {"profile": changed})
            await engine.submit_command(command)
            assert (await engine.submit_approval(running.approval("bob", command))).state is State.DONE
            outcome = await _submit(running, engine, desk.files)
            assert _refused(outcome)
            assert "profiles.json" in (outcome.detail or "")

    run(story())


def _valid_for(seconds: int, purpose: str) -> dict[str, Json]:
    keys = plant.members()["keys"]
    assert isinstance(keys, list)
    return {
        "keys": [
            {**key, "valid_for": seconds} if isinstance(key, dict) and key["name"] == f"{purpose}-1" else key
            for key in keys
        ]
    }


@pytest.mark.parametrize("purpose", ["status", "log", "bundle"])
@pytest.mark.parametrize("short", [0, 1])
def test_a_key_may_end_with_trust_and_no_second_earlier(tmp_path: Path, purpose: str, short: int) -> None:
    """Trust that ends with a key is signed; trust that outlives it is refused, naming the key and both times."""
    running = RunningPlant(tmp_path / "home", members=_valid_for(plant.DAY + 6 * 3600 - short, purpose))

    async def story() -> None:
        async with running.engine() as engine:
            desk = desk_of(running, await draft_of(running, engine))
            assert (await _submit(running, engine, desk.files)).state is State.DONE

    if not short:
        run(story())
        return
    with pytest.raises(Exception, match=f"{Refusal.KEY_ENDS}: key {purpose}-1 ends 2026-.* until 2026-"):
        run(story())


def test_no_bundle_is_begun_that_outlives_its_keys_charter(tmp_path: Path) -> None:
    """Where the bundle key's charter ends before trust does, no number is burnt on a bundle that no site would take."""
    keys = plant.members()["keys"]
    assert isinstance(keys, list)
    until = plant.TIME + plant.DAY
    bundle: Json = {**plant.charters()["bundle"], "until": until}
    changed: list[Json] = [
        {**key, "charter": bundle} if isinstance(key, dict) and key["name"] == "bundle-1" else key for key in keys
    ]
    running = RunningPlant(tmp_path / "home", members={"keys": changed})

    async def story() -> None:
        async with running.engine() as engine:
            assert (await running.trust(engine)).state is State.DONE
            outcome = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": SITE}))
            assert (outcome.state, outcome.reason) == (State.REFUSED, Refusal.CHARTER_EXCEEDED)
            assert engine.standing.authority.next_bundle == 1

    run(story())


def test_a_submission_brings_one_new_root_at_most(tmp_path: Path) -> None:
    """Roots made ahead are not taken in, however well they are signed; the next one alone is."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            assert (await running.trust(engine)).state is State.DONE
            running.clock.time += plant.DAY
            desk = desk_of(running, await draft_of(running, engine))
            second, third = layout.ROOTS[1], layout.ROOTS[2]
            ahead = {**desk.root(2), third: desk.root(3)[third]}
            assert _refused(await _submit(running, engine, ahead))
            outcome = await _submit(running, engine, desk.root(2))
            assert (outcome.state, outcome.result["root_version"]) == (State.DONE, 2)
            desk = desk_of(running, replace(await draft_of(running, engine)))
            assert second in desk.files
            lost = {name: body for name, body in desk.files.items() if name != second}
            assert _refused(await _submit(running, engine, lost))
            assert (await _submit(running, engine, desk.files)).state is State.DONE
            assert Plan.parse(desk.files[layout.PLAN]).windows

    run(story())


@pytest.mark.parametrize(("later", "reason"), [(0, None), (1, Refusal.KEY_ENDS)])
def test_what_was_signed_later_than_it_was_prepared_ends_with_the_keys_too(
    tmp_path: Path, later: int, reason: Refusal | None
) -> None:
    """A window that custodians let begin a second after the preparation would outlive the status key: refused again."""
    running = RunningPlant(tmp_path / "home", members=_valid_for(plant.DAY + 6 * 3600, "status"))

    async def story() -> None:
        async with running.engine() as engine:
            desk = desk_of(running, await draft_of(running, engine))
            window = Plan.parse(desk.files[layout.PLAN]).windows[0]
            times = {"not_before": window.not_before + later, "expires_at": window.expires_at + later}
            moved = plan(desk, **times)[layout.PLAN]
            outcome = await _submit(running, engine, desk.over({layout.PLAN: moved}, expires=desk.now + 2 * plant.DAY))
            assert outcome.reason == reason, outcome

    run(story())


def test_a_root_that_sites_pinned_stays_as_they_pinned_it(tmp_path: Path) -> None:
    """The same root, as other custodians signed it, is taken; what is carried on is the file that sites hold."""
    running = RunningPlant(tmp_path / "home")
    root = layout.ROOTS[0]

    async def story() -> None:
        async with running.engine() as engine:
            desk = desk_of(running, await draft_of(running, engine))
            pinned = hands.signed(running.founding, desk.files)
            assert (await engine.submit_command(*running.submission(pinned))).state is State.DONE
            running.clock.time += plant.DAY
            desk = desk_of(running, await draft_of(running, engine))
            document = loads(pinned[root], max_bytes=layout.MAX_METADATA)
            assert isinstance(document, dict)
            unsigned = {**desk.files, root: dumps({**document, "signatures": []})}
            others = hands.signed(running.founding, unsigned, "alice", "carol")
            assert others[root] != pinned[root]
            assert (await engine.submit_command(*running.submission(others))).state is State.DONE
            assert engine.standing.authority.trust is not None
            assert engine.standing.authority.trust.files[root] == sha256_hex(pinned[root])

    run(story())


def test_a_file_that_no_bundle_has_is_not_submitted(tmp_path: Path) -> None:
    """A name beside those of the closed list is malformed, though the file itself travels with the rest."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            desk = desk_of(running, await draft_of(running, engine))
            files = hands.signed(running.founding, desk.files)
            command, beside = running.submission({**files, "targets/trust/more.json": b"{}"})
            outcome = await engine.submit_command(command, beside)
            assert (outcome.state, outcome.reason) == (State.REFUSED, Refusal.MALFORMED), outcome
            assert engine.standing.authority.trust is None

    run(story())
