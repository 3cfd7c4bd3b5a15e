"""What would be refused with everybody's signature is said before anybody is fetched: at the first step."""

from pathlib import Path

import pytest

from appliance.outcome import State
from coldcred.acts import Act
from coldcred.canonical import Json
from tests.appliance.test_matrix import PLAIN, REFUSES, in_situation, plant_of
from tests.support import plant
from tests.support.founded import Plant
from tests.support.running import RunningPlant, run
from tests.support.wishes import Wishes

HOPELESS = [act for act in REFUSES if REFUSES[act][1][0] == "refused"]
"""Every act that waits for people and that is decided at its end; `test_matrix` holds the list to be whole."""


@pytest.mark.parametrize("act", HOPELESS)
def test_a_hopeless_request_is_warned_of_when_it_begins_to_wait(act: str, tmp_path: Path) -> None:
    """Whoever asks reads by which reason it would be refused; for what can be carried out nothing is said."""
    running = plant_of(tmp_path)

    async def story() -> None:
        async with in_situation(running, PLAIN) as engine:
            wishes, (change, (_, reason, _)) = Wishes(running), REFUSES[act]
            if act == Act.REVIEW_START:
                await _open_review(running, engine, str(change["name"]))
                reason = "review-open"
            signer = plant.custodian("alice") if act == Act.OPERATOR_RECOVER else plant.operator("alice")
            for hopeless in (True, False):
                wish = wishes.good(act)
                if act == Act.CREDENTIAL_ISSUE:
                    wish.args["profile"] = "strict"
                outcome = await engine.submit_command(
                    running.command(signer, Act(act), {**wish.args, **(change if hopeless else {})}), wish.beside
                )
                assert outcome.state is State.WAITING
                if hopeless:
                    assert f"({reason})" in outcome.warnings[0]
                elif act not in _NEEDS_MORE:
                    assert not [text for text in outcome.warnings if "still be refused" in text]

    run(story())


_NEEDS_MORE = {"workload.resume", "key.activate", "review.start", "review.close"}
"""Acts whose good arguments need something suspended, or a review that is or is not open."""


async def _open_review(running: RunningPlant, engine: object, name: str) -> None:
    args: dict[str, Json] = {"name": name, "until": running.clock.now() + 2 * plant.DAY}
    await running.by_two(engine, Act.REVIEW_START, args)  # type: ignore[arg-type]  # an engine


def _site(audience: str) -> dict[str, Json]:
    return {"name": "line-9", "audiences": [audience]}


@pytest.mark.parametrize(
    ("act", "args", "said"),
    [
        (Act.SITE_ADD, _site("https://stock.plant-a.example"), "no key's charter covers https://stock.plant-a.example"),
        (
            Act.PROFILE_SET,
            {"profile": {**plant.profile(), "audiences": ["https://stock.plant-a.example"]}},
            "no key's charter covers https://stock.plant-a.example",
        ),
        (
            Act.PROFILE_SET,
            {"profile": {**plant.profile(), "audiences": ["https://stock.plant-a.example"]}},
            "https://stock.plant-a.example belongs to no site",
        ),
        (Act.PROFILE_SET, {"profile": {**plant.profile(), "lifetime": 9 * 3600}}, "lifetime: it is 32400 s"),
        (Act.PROFILE_SET, {"profile": {**plant.profile(), "kind": "svid", "scopes": []}}, "no key signs svid"),
        (
            Act.PROFILE_SET,
            {"profile": {**plant.profile(), "subjects": ["spiffe://plant-a.example/line-2/*"]}},
            "covers anything of spiffe://plant-a.example/line-2/*",
        ),
    ],
)
def test_what_no_charter_covers_is_said_when_it_is_asked_for(
    tmp_path: Path, act: Act, args: dict[str, Json], said: str
) -> None:
    """A site or a profile that leads to no credential is warned of at its first step, and when it is done."""
    running = RunningPlant(tmp_path / "home")

    async def story() -> None:
        async with running.engine() as engine:
            command = running.command("alice", act, args)
            waiting = await engine.submit_command(command)
            assert waiting.state is State.WAITING
            assert any(said in text for text in waiting.warnings)
            done = await engine.submit_approval(running.approval("bob", command))
            assert done.state is State.DONE
            assert any(said in text for text in done.warnings)

    run(story())


def test_the_warning_is_said_at_the_terminal(served: Plant, tmp_path: Path) -> None:
    """Whoever asks for a site that exists reads so before fetching a second person, and how to give it up."""
    request = tmp_path / "request.jws"
    asked = ("site", "add", "line-1", "--audience", "https://x.example", "--request", request)
    ended = served.ctl(*asked, who="alice")
    assert ended.code == 3, ended
    assert "warning: with everybody's signature it would still be refused now (already-exists)" in ended.err
    assert "request withdraw" in ended.err
