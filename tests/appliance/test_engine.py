"""The engine over a real home and log: what it decides, in which order it writes and signs, what it never forgets."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from appliance.custodians import Draft
from appliance.engine import Engine, loop
from appliance.errors import HomeError, HomeFault, Refusal, Refused
from appliance.log import Log
from appliance.outcome import Outcome, State
from coldcred import framing, layout, status
from coldcred.acts import Act
from coldcred.canonical import Json, sha256_hex
from coldcred.command import Verdict
from coldcred.credential import Kind, parse_claims
from coldcred.jose import assemble, parse_unverified
from coldcred.keys import PublicKey
from coldcred.log import entry as entries
from coldcred.plan import Plan
from hsm.errors import HsmError, WorkerLost
from tests.support import plant
from tests.support.fake_keystore import FakeKeyStore, MemoryToken
from tests.support.running import LABEL, SITE, RunningPlant, believed, run, settled
from tests.support.signers import twin


@pytest.fixture
def running(tmp_path: Path) -> RunningPlant:
    """Return the worked example's appliance, not started yet."""
    return RunningPlant(tmp_path / "home")


def events(path: Path) -> list[dict[str, Json]]:
    """Read all events of a home that is not running."""
    log = Log.open(path / "log.sqlite")
    found = [entries.parse(body).event for body in log.bodies()]
    log.close()
    return found


def types(path: Path) -> list[Json]:
    """Read the types of all events of a home that is not running."""
    return [event["type"] for event in events(path)]


def test_one_person_does_not_finish_an_act_for_two(running: RunningPlant) -> None:
    """The requester waits, whatever keys and approvals of their own they bring."""

    async def story() -> None:
        async with running.engine() as engine:
            command = running.command("alice", Act.WORKLOAD_ENROL, running.enrolment())
            outcome = await engine.submit_command(command)
            assert (outcome.state, outcome.need, outcome.have) == (State.WAITING, 2, ("alice",))
            with pytest.raises(Refused, match="not approved by the person who made it"):
                await engine.submit_approval(running.approval("alice", command))
            with pytest.raises(Refused, match="takes one of the roles"):
                await engine.submit_approval(running.approval("carol", command))
            assert (await engine.submit_command(command)).state is State.WAITING
            assert plant.WORKLOAD not in engine.standing.authority.workloads

    run(story())


def test_an_approval_may_come_in_the_same_moment_as_its_request(running: RunningPlant) -> None:
    """Taken up in one slice, before either is on the disk, they lead to the act as if one had come after the other."""

    async def story() -> None:
        async with running.engine() as engine:
            command = running.command("alice", Act.WORKLOAD_ENROL, running.enrolment())
            approval = running.approval("bob", command)
            waiting, done = await asyncio.gather(engine.submit_command(command), engine.submit_approval(approval))
            assert (waiting.command, done.state) == (done.command, State.DONE)
            assert plant.WORKLOAD in engine.standing.authority.workloads

    run(story())


def test_a_defect_at_the_hsm_ends_what_was_to_be_signed_and_tells_who_waits(running: RunningPlant) -> None:
    """What the HSM's side raises is the failure of those signatures: their sender hears it, and all else goes on."""

    class Broken(FakeKeyStore):
        armed = False

        def sign_unverified(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
            if self.armed:
                raise RuntimeError("a defect")
            return super().sign_unverified(key_id, inputs)

    keystore = Broken(MemoryToken(label=LABEL))
    running.keystore = keystore

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            keystore.armed = True
            with mock.patch.object(loop, "CHECKPOINT_DELAY", 3600.0):
                outcome = await asyncio.wait_for(engine.submit_command(running.issue()), 30)
            assert (outcome.reason, outcome.detail) == ("hsm-fault", mock.ANY)
            assert "RuntimeError" in str(outcome.detail)
            keystore.armed = False
            assert (await engine.submit_command(running.issue())).state is State.DONE

    run(story())


def test_a_second_person_finishes_it(running: RunningPlant) -> None:
    """The approval that fills the quorum decides, and the log names both people."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            return await running.enrol(engine)

    outcome = run(story())
    assert (outcome.state, outcome.have) == (State.DONE, ("alice", "bob"))
    (enrolled,) = (event for event in events(running.path) if event["type"] == "workload.enrolled")
    assert (enrolled["by"], enrolled["people"]) == ("alice", ["alice", "bob"])


def test_an_approval_can_travel_with_its_command(running: RunningPlant) -> None:
    """Command and approval carried in as files finish in one submission."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            command = running.command("alice", Act.WORKLOAD_ENROL, running.enrolment())
            return await engine.submit_command(command, approvals=[running.approval("bob", command)])

    assert run(story()).state is State.DONE


def test_a_denial_ends_a_request(running: RunningPlant) -> None:
    """One deny refuses it, and no later approval revives it."""

    async def story() -> None:
        async with running.engine() as engine:
            command = running.command("alice", Act.WORKLOAD_ENROL, running.enrolment())
            await engine.submit_command(command)
            denied = await engine.submit_approval(running.approval("bob", command, Verdict.DENY))
            assert (denied.state, denied.reason) == (State.REFUSED, Refusal.DENIED)
            again = await engine.submit_approval(running.approval("bob", command))
            assert again.reason == Refusal.DENIED
            assert not engine.standing.authority.workloads

    run(story())


@pytest.mark.parametrize(
    ("person", "act"),
    [
        ("carol", Act.CREDENTIAL_ISSUE),
        ("bob", Act.CREDENTIAL_ISSUE),
        ("carol", Act.WORKLOAD_ENROL),
        ("carol", Act.CREDENTIAL_REVOKE),
        ("carol", Act.BUNDLE_CREATE),
        ("carol", Act.TRUST_SUBMIT),
    ],
)
def test_a_role_that_may_not_ask_is_refused_and_logged(running: RunningPlant, person: str, act: Act) -> None:
    """The role table is kept, and an authenticated refusal stands in the log."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            return await engine.submit_command(running.command(person, act, {}))

    outcome = run(story())
    assert (outcome.state, outcome.reason) == (State.REFUSED, Refusal.NOT_ALLOWED)
    (refused,) = (event for event in events(running.path) if event["type"] == "command.refused")
    assert (refused["by"], refused["reason"]) == (person, "not-allowed")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"appliance": "0" * 64}, Refusal.WRONG_APPLIANCE),
        ({"epoch": 2}, Refusal.WRONG_EPOCH),
    ],
)
def test_a_command_for_elsewhere_is_refused(running: RunningPlant, changes: dict[str, Any], reason: Refusal) -> None:
    """A command names this appliance and this epoch, or nothing happens."""

    async def story() -> Refusal:
        async with running.engine() as engine:
            with pytest.raises(Refused) as caught:
                await engine.submit_command(running.command("alice", Act.READ_OPEN, **changes))
            return caught.value.reason

    assert run(story()) is reason


def test_a_command_past_its_end_is_refused(running: RunningPlant) -> None:
    """`exp` lies after now, to the second."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            now = running.clock.now()
            return await engine.submit_command(
                running.command("alice", Act.READ_OPEN, issued_at=now - 600, expires_at=now)
            )

    assert run(story()).reason == "expired"


@pytest.mark.parametrize("ahead", [121, 16 * plant.DAY])
def test_a_command_from_the_future_leaves_nothing_and_is_good_in_its_time(running: RunningPlant, ahead: int) -> None:
    """`iat` lies at most 120 s ahead, to the second.

    An outcome is remembered for 15 days; a command that could outlive that is not there for anybody to read either.
    """

    async def story() -> None:
        async with running.engine() as engine:
            now = running.clock.now()
            command = running.command("alice", Act.READ_OPEN, issued_at=now + ahead, expires_at=now + ahead + 60)
            size = engine.standing.lookups.size
            with pytest.raises(Refused) as caught:
                await engine.submit_command(command)
            assert (caught.value.reason, engine.standing.lookups.size) == (Refusal.NOT_YET_VALID, size)
            with pytest.raises(HomeError):
                engine.standing.archive.blob(sha256_hex(command.encode()))
            running.clock.time += ahead - 120
            assert (await engine.submit_command(command)).state is State.DONE

    run(story())


def test_a_stranger_is_refused_and_not_logged(running: RunningPlant) -> None:
    """A key that nobody enrolled, and a custodian's key, sign no commands."""

    async def story() -> None:
        async with running.engine() as engine:
            command = running.command("alice", Act.READ_OPEN)
            data = parse_unverified(command).signing_input
            forged = assemble(data, plant.operator("bob").sign(data))
            with pytest.raises(Refused) as caught:
                await engine.submit_command(forged)
            assert caught.value.reason is Refusal.BAD_SIGNATURE

    run(story())
    assert "command.refused" not in types(running.path)


def test_an_issue_gives_a_token_that_verifies_and_is_in_the_log(running: RunningPlant) -> None:
    """The token is the credential that was decided, signed by the pinned key, and names its own entry."""

    async def story() -> tuple[Outcome, PublicKey]:
        async with running.engine() as engine:
            await running.ready(engine)
            outcome = await engine.submit_command(running.issue())
            key = engine.standing.authority.key_for("tokens", Kind.ACCESS)
            assert key is not None
            assert key.public is not None
            return outcome, key.public

    outcome, public = run(story())
    assert outcome.state is State.DONE, outcome
    jws = parse_unverified(outcome.files["token"])
    public.verify(jws.signature, jws.signing_input)
    credential = parse_claims(jws.payload, Kind.ACCESS)
    assert credential.expires_at - credential.not_before == 900
    event = events(running.path)[credential.log_index]
    assert event["type"] == "credential.issued"
    assert event["result"] == outcome.result
    assert event["signs"] == [{"kid": public.thumbprint, "sha256": sha256_hex(jws.signing_input)}]


def test_a_command_sent_again_gives_its_outcome_and_no_token(running: RunningPlant) -> None:
    """A replay is answered from the record, also with the mauled twin of its signature, and signs nothing (R6, R7)."""

    async def story() -> None:
        keystore = running.keystore
        assert isinstance(keystore, FakeKeyStore)
        async with running.engine() as engine:
            await running.ready(engine)
            command = running.issue()
            first = await engine.submit_command(command)
            await settled(engine)
            signed = len(keystore.signed)
            again = await engine.submit_command(command)
            jws = parse_unverified(command)
            mauled = await engine.submit_command(assemble(jws.signing_input, twin(jws.signature)))
            assert (again.result, again.files) == (first.result, {})
            assert mauled == again
            assert first.files
            assert len(engine.standing.lookups.issued) == 1
            tokens = [data for _, data in keystore.signed[signed:] if data.count(b".") == 1]
            assert tokens == []
        async with running.engine() as engine:
            assert (await engine.submit_command(command)).result == first.result

    run(story())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"workload": "spiffe://plant-a.example/line-1/other"}, Refusal.UNKNOWN_WORKLOAD),
        ({"profile": "none"}, Refusal.UNKNOWN_PROFILE),
        ({"audience": "https://elsewhere.example"}, Refusal.OUTSIDE_PROFILE),
        ({"scopes": ["orders.delete"]}, Refusal.OUTSIDE_PROFILE),
        ({"ttl": 8 * 3600 + 1}, Refusal.OUTSIDE_PROFILE),
        ({"ttl": 0}, Refusal.MALFORMED),
        ({"extra": 1}, Refusal.MALFORMED),
    ],
)
def test_a_request_never_widens_its_profile(running: RunningPlant, changes: dict[str, Json], reason: Refusal) -> None:
    """What the profile does not grant is refused, by its own reason, and nothing is signed."""

    async def story() -> Outcome:
        async with running.engine() as engine:
            await running.ready(engine)
            return await engine.submit_command(running.issue(**changes))

    outcome = run(story())
    assert (outcome.state, outcome.reason) == (State.REFUSED, reason)
    assert "credential.issued" not in types(running.path)


def test_nothing_is_issued_before_trust_and_a_bundle(running: RunningPlant) -> None:
    """Published before it signs, and never into a list that no bundle of the site holds (R23)."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.enrol(engine)
            assert (await engine.submit_command(running.issue())).reason == Refusal.NO_BUNDLE
            bundle = running.command("alice", Act.BUNDLE_CREATE, {"site": SITE})
            assert (await engine.submit_command(bundle)).reason == Refusal.NO_TRUST
            await running.trust(engine)
            assert (await engine.submit_command(running.issue())).reason == Refusal.NO_BUNDLE

    run(story())


def test_nothing_outlives_the_published_window(running: RunningPlant) -> None:
    """A lifetime that reaches beyond the last window is refused to the second."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            assert engine.standing.authority.trust is not None
            end = engine.standing.authority.trust.windows[-1].expires_at
            running.clock.time = end - 900
            assert (await engine.submit_command(running.issue())).state is State.DONE
            running.clock.time += 1
            assert (await engine.submit_command(running.issue())).reason == Refusal.NO_WINDOW

    run(story())


def test_the_entry_is_durable_before_the_key_signs(running: RunningPlant) -> None:
    """When the HSM is asked, the entry with the SHA-256 of exactly that input is on the disk already (R31)."""
    missing: list[bytes] = []

    class Spy(FakeKeyStore):
        def sign_unverified(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
            # The write-ahead log holds what a crash now would leave.
            stored = (running.path / "log.sqlite-wal").read_bytes() + (running.path / "log.sqlite").read_bytes()
            missing.extend(data for data in inputs if sha256_hex(data).encode() not in stored)
            return super().sign_unverified(key_id, inputs)

    spy = Spy(MemoryToken(label=LABEL))
    running.keystore = spy

    async def story() -> Outcome:
        async with running.engine() as engine:
            await running.ready(engine)
            return await engine.submit_command(running.issue())

    assert run(story()).state is State.DONE
    assert spy.signed
    assert missing == []


def test_a_signature_that_fails_is_refused_logged_and_its_credential_revoked(running: RunningPlant) -> None:
    """A fault of the HSM costs that command; the log says so and the status bit is set."""

    async def story() -> tuple[Outcome, Engine]:
        async with running.engine() as engine:
            await running.ready(engine)
            keystore = running.keystore
            assert isinstance(keystore, FakeKeyStore)
            keystore.fail_next(WorkerLost("gone"))
            outcome = await engine.submit_command(running.issue())
            await settled(engine)
            return outcome, engine

    outcome, engine = run(story())
    assert (outcome.state, outcome.reason, outcome.files) == (State.REFUSED, Refusal.HSM_FAULT, {})
    (issued,) = engine.standing.lookups.issued.values()
    assert engine.standing.lookups.is_revoked(issued)
    assert any(event["failed"] == [issued.seq] for event in events(running.path) if event["type"] == "outcomes")


def test_an_intent_without_an_outcome_is_closed_as_unknown_at_the_next_start(running: RunningPlant) -> None:
    """After a crash between signing and its outcome, the bit is set and the command told as refused (R31)."""

    class Crash(BaseException):
        """The process ends here, as kill -9 would end it."""

    class Dying(FakeKeyStore):
        def sign_unverified(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
            if any(b"." in data and len(data) > 200 and not data.startswith(b"{") for data in inputs) and self.armed:
                raise Crash
            return super().sign_unverified(key_id, inputs)

        armed = False

    keystore = Dying(MemoryToken(label=LABEL))
    running.keystore = keystore
    commands: list[str] = []

    async def crash() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            keystore.armed = True
            commands.append(running.issue())
            await engine.submit_command(commands[0])

    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever the crash surfaces as
        run(crash())
    keystore.armed = False

    async def after() -> None:
        async with running.engine() as engine:
            (issued,) = engine.standing.lookups.issued.values()
            assert engine.standing.lookups.is_revoked(issued)
            outcome = await engine.submit_command(commands[0])
            assert (outcome.state, outcome.reason) == (State.REFUSED, Refusal.HSM_FAULT)
            await settled(engine)
            await believed(running, engine)

    run(after())
    assert any(event["unknown"] for event in events(running.path) if event["type"] == "outcomes")


def test_when_the_log_cannot_be_written_nothing_is_signed_and_the_engine_ends(
    running: RunningPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed commit refuses what waited, asks the HSM for nothing more, and stops the appliance."""

    async def story() -> None:
        keystore = running.keystore
        assert isinstance(keystore, FakeKeyStore)
        async with running.engine() as engine:
            await running.ready(engine)
            signed = len(keystore.signed)

            def full(*_arguments: object) -> None:
                raise HomeError(HomeFault.DISK_FULL, "no space")

            monkeypatch.setattr(Log, "append", full)
            with pytest.raises(Refused) as caught:
                await engine.submit_command(running.issue())
            assert caught.value.reason is Refusal.STORAGE_FAULT
            with pytest.raises(Refused):
                await engine.submit_command(running.issue())
            assert len(keystore.signed) == signed
            failure = await engine.wait_failed()
            assert failure is not None
            assert failure.fault is HomeFault.DISK_FULL

    run(story())


def test_reading_is_opened_once_by_each_command(running: RunningPlant) -> None:
    """A `read.open` that was seen opens nothing again, so a copied one is worth nothing (R12)."""

    async def story() -> None:
        async with running.engine() as engine:
            command = running.command("carol", Act.READ_OPEN)
            reader = await engine.open_reading(command)
            status = await reader.read("status", {})
            assert isinstance(status, dict)
            assert status["name"] == "plant-a"
            with pytest.raises(Refused, match="before"):
                await engine.open_reading(command)
            with pytest.raises(Refused, match="not by"):
                await engine.open_reading(running.command("alice", Act.BUNDLE_CREATE, {"site": SITE}))

    run(story())


def test_a_clock_that_went_back_stops_decisions(running: RunningPlant) -> None:
    """More than two seconds behind the newest entry, nothing is decided."""

    async def story() -> None:
        async with running.engine() as engine:
            running.clock.time -= 2
            assert (await engine.submit_command(running.command("alice", Act.READ_OPEN))).state is State.DONE
            running.clock.time -= 1
            with pytest.raises(Refused) as caught:
                await engine.submit_command(running.command("alice", Act.READ_OPEN))
            assert caught.value.reason is Refusal.CLOCK_FAULT

    run(story())
    assert types(running.path)[-1] == "outcomes", "it could not stop cleanly"
    with pytest.raises(HomeError) as caught:
        run(story())
    assert caught.value.fault is HomeFault.CLOCK


def test_in_a_home_founded_by_one_person_every_number_is_one(tmp_path: Path) -> None:
    """A single founder finishes alone, and the appliance says what it is."""
    running = RunningPlant(tmp_path / "home", roles=plant.ALONE)

    async def story() -> None:
        async with running.engine() as engine:
            assert (await running.enrol(engine)).state is State.DONE
            assert engine.standing.authority.summary()["single_operator"] is True

    run(story())


def test_a_revocation_is_in_the_next_bundle(running: RunningPlant) -> None:
    """The bit of a revoked credential is set in the list of the bundle that is made next."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            issued = await engine.submit_command(running.issue())
            args: dict[str, Json] = {"credential": issued.result["jti"], "reason": "robot retired"}
            assert (await engine.submit_command(running.command("bob", Act.CREDENTIAL_REVOKE, args))).state == "done"
            bundle = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": SITE}))
            assert bundle.result["sequence"] == 2
            files = framing.read(bundle.files["bundle"], framing.BUNDLE)
            listed = status.parse(parse_unverified(files[layout.STATUS_LISTS[0]], max_bytes=status.MAX_TOKEN).payload)
            (record,) = engine.standing.lookups.issued.values()
            assert [index for index in range(status.SIZE) if listed.is_set(index)] == [record.index]

    run(story())


def test_bundles_of_all_sites_are_one_series(running: RunningPlant) -> None:
    """A second site's first bundle has the next number, so the key's versions only ever rise, restarts included."""

    async def add(engine: Engine) -> None:
        site = running.command("alice", Act.SITE_ADD, {"name": "line-2", "audiences": ["https://line-2.example"]})
        await engine.submit_command(site, approvals=[running.approval("bob", site)])
        await running.trust(engine)

    async def bundle(engine: Engine, site: str) -> Json:
        outcome = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": site}))
        assert outcome.state is State.DONE, outcome
        return outcome.result["sequence"]

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            await add(engine)
            assert await bundle(engine, "line-2") == 2
            assert await bundle(engine, SITE) == 3
        async with running.engine() as engine:
            assert await bundle(engine, "line-2") == 4

    run(story())


def test_a_command_sent_twice_at_once_is_carried_out_once(running: RunningPlant) -> None:
    """While a command of several steps is under way, the same command is told so and begins nothing (R7)."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            command = running.command("alice", Act.BUNDLE_CREATE, {"site": SITE})
            twice = [engine.submit_command(command), engine.submit_command(command)]
            first, second = await asyncio.gather(*twice, return_exceptions=True)
            assert isinstance(first, Outcome)
            assert first.result["sequence"] == 2
            assert isinstance(second, Refused)
            assert second.reason is Refusal.BUSY
            assert (await engine.submit_command(command)).result == first.result

    run(story())
    assert types(running.path).count("bundle.begun") == 2


def test_a_bundle_that_a_crash_cut_short_is_refused_when_asked_for_again(running: RunningPlant) -> None:
    """What had begun is not gone on with after a restart; its number is spent and the next bundle has the next."""
    commands: list[str] = []

    class Crash(BaseException):
        """The process ends here."""

    class Dying(FakeKeyStore):
        armed = False

        def sign_unverified(self, key_id: bytes, inputs: Sequence[bytes]) -> list[bytes | HsmError]:
            if self.armed and any(data.startswith(b"{") for data in inputs):
                raise Crash
            return super().sign_unverified(key_id, inputs)

    keystore = Dying(MemoryToken(label=LABEL))
    running.keystore = keystore

    async def crash() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            keystore.armed = True
            commands.append(running.command("alice", Act.BUNDLE_CREATE, {"site": SITE}))
            await engine.submit_command(commands[0])

    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever the crash surfaces as
        run(crash())
    keystore.armed = False

    async def after() -> None:
        async with running.engine() as engine:
            outcome = await engine.submit_command(commands[0])
            assert outcome.state is State.REFUSED
            bundle = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": SITE}))
            assert bundle.result["sequence"] == 3
            await believed(running, engine)

    run(after())


def test_the_next_status_list_ships_before_the_last_is_full(running: RunningPlant) -> None:
    """A list that is a quarter full brings the next with the next bundle, and a half-full one is closed (R23)."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            lookups = engine.standing.lookups
            (first,) = lookups.shipped[SITE]
            lookups.used[first] = status.IndexSet(range(status.SIZE // 4))
            bundle = await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": SITE}))
            assert layout.STATUS_LISTS[1] in framing.read(bundle.files["bundle"], framing.BUNDLE)
            await settled(engine)
            lookups.used[first] = status.IndexSet(range(status.SIZE // 2))
            issued = await engine.submit_command(running.issue())
            assert issued.result["status"] == {**_status(issued), "uri": lookups.shipped[SITE][1]}
            lookups.used[lookups.shipped[SITE][1]] = status.IndexSet(range(status.SIZE // 2))
            assert (await engine.submit_command(running.issue())).reason == Refusal.LIST_FULL

    run(story())


def _status(outcome: Outcome) -> dict[str, Json]:
    found = outcome.result["status"]
    assert isinstance(found, dict)
    return found


def test_a_workload_whose_review_is_overdue_gets_nothing_until_it_is_enrolled_again(running: RunningPlant) -> None:
    """The review date stops issuing; two people can set a new one, but only then (R2)."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)
            early = running.command("alice", Act.WORKLOAD_ENROL, running.enrolment())
            outcome = await engine.submit_command(early, approvals=[running.approval("bob", early)])
            assert outcome.reason == Refusal.ALREADY_EXISTS
            review_by = engine.standing.authority.workloads[plant.WORKLOAD].review_by
            running.clock.time = review_by
            assert (await engine.submit_command(running.issue())).reason == Refusal.REVIEW_OVERDUE
            again = running.command("alice", Act.WORKLOAD_ENROL, running.enrolment())
            outcome = await engine.submit_command(again, approvals=[running.approval("bob", again)])
            assert outcome.state is State.DONE
            assert engine.standing.authority.workloads[plant.WORKLOAD].review_by > running.clock.time

    run(story())


def test_trust_that_would_outlive_a_key_is_not_prepared(tmp_path: Path) -> None:
    """A bundle that its site would refuse, because a key ends before it, is never begun."""
    members = plant.members()
    keys = members["keys"]
    assert isinstance(keys, list)
    short: list[Json] = [
        {**key, "valid_for": plant.DAY} if isinstance(key, dict) and key["name"] == "status-1" else key for key in keys
    ]
    running = RunningPlant(tmp_path / "home", members={"keys": short})

    async def story() -> None:
        async with running.engine() as engine:
            with pytest.raises(Refused) as caught:
                await running.trust(engine)
            assert caught.value.reason is Refusal.KEY_ENDS
            assert "status-1 ends 20" in caught.value.detail

    run(story())


def test_reading_takes_no_arguments(running: RunningPlant) -> None:
    """A `read.open` is a closed record like every other command."""

    async def story() -> None:
        async with running.engine() as engine:
            with pytest.raises(Refused) as caught:
                await engine.open_reading(running.command("carol", Act.READ_OPEN, {"more": 1}))
            assert caught.value.reason is Refusal.MALFORMED

    run(story())


def test_an_event_too_large_for_the_log_is_refused(running: RunningPlant) -> None:
    """What would not fit into an entry is refused like any other input, and the appliance goes on."""

    def many_windows(draft: Draft) -> Draft:
        (window,) = Plan.parse(draft.documents[layout.PLAN]).windows
        windows = tuple(
            replace(window, number=400 - ago, not_before=window.not_before - ago, expires_at=window.expires_at - ago)
            for ago in reversed(range(400))
        )
        grace = running.founding.horizons.grace
        return replace(draft, documents={**draft.documents, layout.PLAN: Plan(windows, grace).write()})

    async def story() -> None:
        async with running.engine() as engine:
            running.clock.time += 3600  # so that the keys are older than all the windows
            outcome = await running.trust(engine, many_windows)
            assert (outcome.state, outcome.reason) == (State.REFUSED, Refusal.MALFORMED)
            assert (await running.trust(engine)).state is State.DONE

    run(story())


def test_clean_stop_ends_with_every_outcome_and_a_checkpoint(running: RunningPlant) -> None:
    """After a clean stop no intent is open and the newest checkpoint covers all but its own end."""

    async def story() -> None:
        async with running.engine() as engine:
            await running.ready(engine)

    run(story())
    assert types(running.path)[-3:] == ["stopped", "checkpoint", "outcomes"]
