"""What holds for each act of the code's own list: arguments that it does not know, and whose appliance it is for."""

from pathlib import Path
from typing import Any

import pytest

from appliance import policy
from appliance.authority import Authority
from appliance.engine import Engine
from appliance.errors import Refused
from appliance.outcome import Outcome
from coldcred.acts import Act
from coldcred.canonical import Json, loads
from coldcred.command import parse_command
from coldcred.jose import parse_unverified
from tests.support import plant
from tests.support.plain_table import RECOVER
from tests.support.running import RunningPlant, run
from tests.support.signers import Signer
from tests.support.wishes import SPARE, Wishes

ROLES = {"alice": ["officer", "issuer"], "bob": ["officer", "approver"], "carol": ["auditor"], "gail": ["approver"]}


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the worked example's appliance, not started yet, with a person more."""
    return RunningPlant(tmp_path / "home", roles=ROLES)


def asks(act: Act, person: str = "alice") -> Signer:
    """Give a key that may ask for an act, or approve it."""
    return plant.custodian(person) if act == RECOVER else plant.operator(person)


async def prepared(running: RunningPlant, engine: Engine) -> None:
    """Let there be all that the arguments name."""
    await running.ready(engine)
    assert (await running.by_two(engine, Act.WORKLOAD_ENROL, running.enrolment(id=SPARE))).state == "done"


def test_an_argument_more_is_refused_of_each_act(running: RunningPlant) -> None:
    """No act is carried out, or waits, with an argument that it does not know: malformed, and by its name."""

    async def story() -> dict[str, tuple[str, bool]]:
        told: dict[str, tuple[str, bool]] = {}
        async with running.engine() as engine:
            await prepared(running, engine)
            wishes = Wishes(running)
            for act in Act:
                wish = wishes.good(act)
                command = running.command(asks(act), act, {**wish.args, "unheard": "of"})
                outcome: Outcome = await engine.submit_command(command, wish.beside)
                told[act] = (str(outcome.reason or outcome.state), "'unheard'" in (outcome.detail or ""))
        return told

    assert run(story()) == {act.value: ("malformed", True) for act in Act}


@pytest.mark.parametrize(
    ("changes", "reason"), [({"appliance": "0" * 64}, "wrong-appliance"), ({"epoch": 2}, "wrong-epoch")]
)
def test_an_approval_for_another_appliance_or_epoch_counts_for_nothing(
    running: RunningPlant, changes: dict[str, Any], reason: str
) -> None:
    """Though it names the command that waits, and bob may approve; his true one then counts."""

    async def story() -> str:
        async with running.engine() as engine:
            await running.ready(engine)
            command = running.command("alice", Act.SITE_ADD, Wishes(running).good(Act.SITE_ADD).args)
            assert (await engine.submit_command(command)).state == "waiting"
            with pytest.raises(Refused) as caught:
                await engine.submit_approval(running.approval("bob", command, **changes))
            assert (await engine.submit_approval(running.approval("bob", command))).state == "done"
            return caught.value.id

    assert run(story()) == reason


def test_only_a_single_issue_is_about_a_workload_and_a_profile(running: RunningPlant) -> None:
    """What policies are asked about every other act is the act and who asks, whatever its arguments are named."""
    authority = Authority.founded(running.founding)
    args: dict[str, Json] = {"workload": plant.WORKLOAD, "profile": "orders-reader"}
    found = {}
    for act in Act:
        command = parse_command(running.command(asks(act), act, args), authority.signer_key)
        found[act] = policy.resource(authority, command)
    single = found.pop(Act.CREDENTIAL_ISSUE)
    assert (single.workload, single.profile) == (plant.WORKLOAD, authority.profiles["orders-reader"])
    assert found == {act: policy.Resource() for act in Act if act is not Act.CREDENTIAL_ISSUE}
    batch: dict[str, Json] = {"items": {"sha256": "0" * 64, "bytes": 1, "count": 1}, **args}
    command = parse_command(running.command("alice", Act.CREDENTIAL_ISSUE, batch), authority.signer_key)
    assert policy.resource(authority, command) == policy.Resource()


def test_a_workload_with_a_key_gets_a_credential_that_is_bound_to_it(tmp_path: Path) -> None:
    """Under a profile that binds the holder: `cnf` names the enrolled key; without a key it is refused."""
    profiles: Json = [{**plant.profile(), "holder_binding": True}]
    running = RunningPlant(tmp_path / "home", members={"profiles": profiles})

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            assert (await engine.submit_command(running.issue())).reason == "outside-profile"
            assert (await running.by_two(engine, Act.WORKLOAD_SUSPEND, suspended)).state == "done"
            assert (await running.enrol_with(engine, running.proof())).state == "done"
            issued = await engine.submit_command(running.issue())
            assert issued.state == "done", issued
            claims = loads(parse_unverified(issued.files["token"]).payload)
            assert isinstance(claims, dict)
            assert claims["cnf"] == {"jkt": plant.robot().kid}

    suspended: dict[str, Json] = {"workload": plant.WORKLOAD, "reason": "gets a key"}
    run(story())
