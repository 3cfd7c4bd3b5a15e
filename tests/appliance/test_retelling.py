"""What became of a command, told from its entries: by id, by its first characters, by a jti, by an entry's number."""

from pathlib import Path
from typing import Any

import pytest

from appliance import retelling
from appliance.engine import Engine
from appliance.errors import Refusal, Refused
from coldcred.acts import Act
from coldcred.canonical import Json
from coldcred.command import Verdict, document_id
from coldcred.jose import parse_unverified
from coldcred.policy import DEFAULT
from coldcred.record import Record
from tests.support import plant
from tests.support.running import RunningPlant, run, settled

LINE_2: dict[str, Json] = {"name": "line-2", "audiences": ["https://line-2.plant-a.example"]}
NO_SITES = f'{DEFAULT}\n@id("no-sites")\nforbid (principal, action == Action::"site.add", resource);\n'


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the plant's appliance, not started."""
    return RunningPlant(tmp_path / "home")


async def told(running: RunningPlant, engine: Engine, **asked: Json) -> dict[str, Any]:
    """Ask as carol, who reads."""
    reader = await engine.open_reading(running.command("carol", Act.READ_OPEN))
    found = await reader.why(Record({**asked}, "why"), {})
    assert isinstance(found, dict)
    return found


def id_of(command: str) -> str:
    """Give a command's id."""
    return document_id(parse_unverified(command))


def types(found: dict[str, Any]) -> list[str]:
    """Give the types of the entries that are told, in order."""
    return [entry["type"] for entry in found["entries"]]


def test_a_credential_is_told_by_its_jti(running: RunningPlant) -> None:
    """Who asked for it, under which policy, that one person was enough, and that it was signed."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            command = running.issue()
            issued = await engine.submit_command(command)
            await settled(engine)
            found = await told(running, engine, about=str(issued.result["jti"]))
            assert (found["command"], found["act"], found["by"]) == (id_of(command), "credential.issue", "alice")
            assert (found["state"], found["reason"], found["result"]) == ("done", None, issued.result)
            assert (found["permits"], found["policy"]) == (["issuers-issue"], engine.standing.authority.policy)
            people = found["people"]
            assert (people["need"], people["rule"], people["have"]) == (1, "R2 people: the table of acts", ["alice"])
            (entry,) = found["entries"]
            assert (entry["type"], entry["seq"], entry["signature"]) == (
                "credential.issued",
                issued.result["log"],
                "signed",
            )
            assert found["asked"]["args"] == running.issue_args()
            same = await told(running, engine, entry=entry["seq"])
            assert same == found == await told(running, engine, about=id_of(command)[:8])

    run(story())


def test_approvals_that_did_not_count_are_told_with_the_reason(running: RunningPlant) -> None:
    """One by an auditor; one given under a policy that was replaced before the act was done."""

    async def story() -> None:
        async with running.engine() as engine:
            command = running.command("alice", Act.SITE_ADD, LINE_2, expires_at=running.clock.now() + plant.DAY)
            await engine.submit_command(command)
            with pytest.raises(Refused):
                await engine.submit_approval(running.approval("carol", command))
            waits = await told(running, engine, about=id_of(command))
            assert (waits["state"], waits["people"]["need"], waits["people"]["have"]) == ("waiting", 2, ["alice"])
            (refused,) = waits["people"]["approvals"]
            assert (refused["person"], refused["counts"], refused["rule"]) == ("carol", False, "R2 who may approve")
            await engine.submit_approval(running.approval("bob", command))
            found = await told(running, engine, about=id_of(command))
            assert types(found) == ["command.waiting", "approval.refused", "approval.given", "site.added"]
            assert (found["state"], found["people"]["have"]) == ("done", ["alice", "bob"])
            assert [(one["person"], one["counts"]) for one in found["people"]["approvals"]] == [
                ("carol", False),
                ("bob", True),
            ]

    run(story())


def test_an_approval_that_lapsed_is_told_while_it_waits_and_after(running: RunningPlant) -> None:
    """A policy that is set in between voids it; then it is approved anew."""

    async def story() -> None:
        raised: dict[str, Json] = {"custodians": 2, "recovery": 2, "acts": {"workload.enrol": 3}}
        running.members["quorums"] = raised
        running.roles = {**plant.ROLES, "dora": ["approver"]}
        async with running.engine() as engine:
            command = running.command("alice", Act.WORKLOAD_ENROL, running.enrolment())
            await engine.submit_command(command)
            await engine.submit_approval(running.approval("bob", command))
            assert (await running.set_policy(engine, NO_SITES)).state == "done"
            waits = await told(running, engine, about=id_of(command))
            (void,) = waits["people"]["approvals"]
            assert (void["counts"], void["rule"]) == (False, "R9 what an approval rests on")
            assert void["detail"] == "it was given for another policy"
            assert waits["people"]["rule"] == "R2 people: the founding"
            await engine.submit_approval(running.approval("bob", command))
            await engine.submit_approval(running.approval("dora", command))
            found = await told(running, engine, about=id_of(command))
            assert (found["state"], found["people"]["need"]) == ("done", 3)
            assert [(one["person"], one["counts"], one.get("detail")) for one in found["people"]["approvals"]] == [
                ("bob", False, "it was given for another policy"),
                ("bob", True, None),
                ("dora", True, None),
            ]

    run(story())


def test_refusals_denials_and_withdrawals_are_told(running: RunningPlant) -> None:
    """Each with its reason and rule, by the entries that say so."""

    async def story() -> None:
        async with running.engine() as engine:
            refused = running.command("bob", Act.PROFILE_SET, {"profile": {"name": "x"}})
            assert (await engine.submit_command(refused)).state == "refused"
            found = await told(running, engine, about=id_of(refused))
            assert (found["state"], found["reason"], found["rule"]) == ("refused", "malformed", "R10 closed forms")
            assert found["people"]["need"] is None

            denied = running.command("alice", Act.SITE_ADD, LINE_2)
            await engine.submit_command(denied)
            await engine.submit_approval(running.approval("bob", denied, Verdict.DENY))
            found = await told(running, engine, about=id_of(denied))
            assert (found["reason"], found["rule"], found["detail"]) == (
                "denied",
                "R9 one deny ends it",
                "denied by bob",
            )

            gone = running.command("alice", Act.SITE_ADD, LINE_2)
            await engine.submit_command(gone)
            taken_back = running.command("alice", Act.REQUEST_WITHDRAW, {"request": id_of(gone)})
            assert (await engine.submit_command(taken_back)).state == "done"
            found = await told(running, engine, about=id_of(gone))
            assert (types(found), found["reason"]) == (["command.waiting", "request.withdrawn"], "withdrawn")
            found = await told(running, engine, about=id_of(taken_back))
            assert (found["act"], found["state"], len(found["entries"])) == ("request.withdraw", "done", 1)

            running.clock.time += plant.DAY
            late = running.command("alice", Act.SITE_ADD, LINE_2)
            await engine.submit_command(late)
            running.clock.time += plant.DAY
            found = await told(running, engine, about=id_of(late))
            assert (found["state"], found["reason"]) == ("refused", "expired")

    run(story())


def test_what_is_no_command_of_anybody_is_told_alone(running: RunningPlant) -> None:
    """An entry of the appliance itself is what it is; what is not there is refused."""

    async def story() -> None:
        async with running.engine() as engine:
            found = await told(running, engine, entry=0)
            assert (found["command"], types(found)) == (None, ["founded"])
            for asked in ({"entry": 9999}, {"about": "0" * 64}, {"about": "0123"}, {"about": "A" * 22}):
                with pytest.raises(Refused) as caught:
                    await told(running, engine, **asked)
                assert caught.value.reason is Refusal.UNKNOWN_REQUEST
            with pytest.raises(Refused) as caught:
                await told(running, engine, about="0" * 64, entry=0)
            assert caught.value.reason is Refusal.MALFORMED

    run(story())


def test_old_commands_are_found_page_by_page(running: RunningPlant, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a page is, every entry of a command is told, and nothing below it is read."""
    monkeypatch.setattr(retelling, "PAGE", 3)

    async def story() -> None:
        async with running.engine() as engine:
            running.clock.time += 3600
            command = running.command("alice", Act.SITE_ADD, LINE_2)
            await engine.submit_command(command)
            for _ in range(8):
                running.clock.time += 60
                await engine.submit_command(running.command("carol", Act.READ_OPEN))
            await engine.submit_approval(running.approval("bob", command))
            for _ in range(8):
                await engine.submit_command(running.command("carol", Act.READ_OPEN))
            found = await told(running, engine, about=id_of(command))
            assert types(found) == ["command.waiting", "approval.given", "site.added"]

    run(story())


def test_a_table_that_was_edited_misleads_nobody(running: RunningPlant) -> None:
    """The table of credentials only says where to look: the entry has to name the jti itself."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            issued = await engine.submit_command(running.issue())
            await settled(engine)
            log = engine._log
            log._store._database.execute("UPDATE credential SET jti = ?", ["B" * 22])
            for jti in ("B" * 22, str(issued.result["jti"])):
                with pytest.raises(Refused) as caught:
                    await told(running, engine, about=jti)
                assert caught.value.reason is Refusal.UNKNOWN_REQUEST

    run(story())
