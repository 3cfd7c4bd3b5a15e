"""Revocation end to end: whatever it is selected by, sites refuse exactly that offline, once a bundle carried it."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.engine import Engine
from appliance.errors import Refusal
from appliance.log import Log
from appliance.nouns import checkpoints, revocation
from appliance.outcome import Outcome, State
from coldcred import layout
from coldcred.acts import Act
from coldcred.batch import BatchArguments, Manifest
from coldcred.bundle import apply, init
from coldcred.canonical import Json, dumps, sha256_hex
from coldcred.credential import Kind
from coldcred.errors import Reason, Rejected
from coldcred.log.export import Anchor, verify
from coldcred.trust import TrustStore
from coldcred.verification import verify as verdict
from hsm.errors import WorkerLost
from tests.support import plant
from tests.support.fake_keystore import FakeKeyStore
from tests.support.running import RunningPlant, run, settled

ROBOT_7, ROBOT_8 = plant.WORKLOAD, "spiffe://plant-a.example/line-1/robot-8"
LINE_1, LINE_2 = plant.AUDIENCE, "https://line-2.plant-a.example"
SITES = {"line-1": LINE_1, "line-2": LINE_2}


def members() -> dict[str, Json]:
    """Return what this plant has more than the worked example: a second site, two profiles, a key for SVIDs."""
    audiences: list[Json] = [LINE_1, LINE_2]
    reader: dict[str, Json] = {**plant.profile(), "audiences": audiences}
    charters = {**plant.charters(), "tokens": {**plant.token_charter(), "audiences": audiences}}
    keys: list[Json] = [
        {"name": f"{name}-1", "token": "plant-a-daily", "charter": charter, "valid_for": 90 * plant.DAY}
        for name, charter in {**charters, "svid": {**charters["tokens"], "kind": "svid"}}.items()
    ]
    return {
        "keys": keys,
        "sites": [{"name": name, "audiences": [audience]} for name, audience in SITES.items()],
        "profiles": [
            reader,
            {**reader, "name": "orders-writer"},
            {**reader, "name": "robot-identity", "kind": "svid", "scopes": []},
        ],
    }


@dataclass
class Enclave:
    """A plant with two sites, its credentials by name, and the sites' trust stores below `folder`."""

    running: RunningPlant
    folder: Path
    tokens: dict[str, str] = field(default_factory=dict)
    jtis: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, tuple[str, Kind]] = field(default_factory=dict)

    async def ready(self, engine: Engine) -> None:
        """Enrol two robots, and give both sites their first bundle."""
        running = self.running
        assert (await running.trust(engine)).state is State.DONE
        for robot in (ROBOT_7, ROBOT_8):
            command = running.command("alice", Act.WORKLOAD_ENROL, running.enrolment(id=robot))
            done = await engine.submit_command(command, approvals=[running.approval("bob", command)])
            assert done.state is State.DONE
        trust = engine.standing.authority.trust
        assert trust is not None
        root = engine.standing.archive.blob(trust.files[layout.ROOTS[0]])
        for site in SITES:
            key = Ed25519PrivateKey.generate()
            init(self.folder / site, root=root, fingerprint=sha256_hex(root), site=site, key=key)
        await self.carry(engine)

    async def carry(self, engine: Engine) -> None:
        """Make the next bundle of each site and apply it there."""
        for site in SITES:
            made = await engine.submit_command(self.running.command("alice", Act.BUNDLE_CREATE, {"site": site}))
            apply(made.files["bundle"], self.folder / site, now=self.running.clock.now())
        await settled(engine)

    async def issue(self, engine: Engine, name: str, robot: str, profile: str, site: str = "line-1") -> Outcome:
        """Issue one credential and keep it under a name."""
        svid = profile == "robot-identity"
        scopes: list[Json] = [] if svid else ["orders.read"]
        command = self.running.issue(workload=robot, profile=profile, audience=SITES[site], scopes=scopes)
        outcome = await engine.submit_command(command)
        assert outcome.state is State.DONE, outcome
        self.tokens[name] = outcome.files["token"].decode()
        self.jtis[name] = str(outcome.result["jti"])
        self.kinds[name] = site, Kind.SVID if svid else Kind.ACCESS
        return outcome

    async def issue_all(self, engine: Engine) -> None:
        """Issue five credentials, of which each differs from the others."""
        await self.issue(engine, "reader 7", ROBOT_7, "orders-reader")
        await self.issue(engine, "writer 7", ROBOT_7, "orders-writer")
        await self.issue(engine, "reader 8", ROBOT_8, "orders-reader")
        await self.issue(engine, "svid 8", ROBOT_8, "robot-identity")
        await self.issue(engine, "reader 7 at line-2", ROBOT_7, "orders-reader", "line-2")
        await settled(engine)

    async def revoke(self, engine: Engine, **selector: Json) -> Outcome:
        """Have bob revoke."""
        return await engine.submit_command(
            self.running.command("bob", Act.CREDENTIAL_REVOKE, {**selector, "reason": "lost"})
        )

    def refused(self) -> set[str]:
        """Give the names of the credentials that their sites refuse, all of them as revoked."""
        found: dict[str, Reason] = {}
        for name, token in self.tokens.items():
            site, kind = self.kinds[name]
            store = TrustStore.open(self.folder / site)
            try:
                verdict(token, store, audience=SITES[site], kind=kind, now=self.running.clock.now())
            except Rejected as rejected:
                found[name] = rejected.reason
        assert set(found.values()) <= {Reason.REVOKED}
        return set(found)

    def selector(self, engine: Engine, by: str) -> dict[str, Json]:
        """Give the selector that a row of the matrix names."""
        if by in self.jtis:
            return {"credential": self.jtis[by]}
        if by.startswith("key "):
            public = engine.standing.authority.keys[by.removeprefix("key ")].public
            assert public is not None
            return {"key": public.thumbprint}
        return {"workload": by} if by.startswith("spiffe:") else {"profile": by}


@pytest.fixture
def enclave(tmp_path: Path) -> Enclave:
    """Return the enclave, not started yet."""
    return Enclave(RunningPlant(tmp_path / "home", members=members()), tmp_path)


async def believed(running: RunningPlant, engine: Engine) -> None:
    """Export the log, and see that an auditor's reader believes every entry of it."""
    exported = await engine.submit_command(running.command("carol", Act.LOG_EXPORT))
    verify(io.BytesIO(exported.files["export"]), Anchor(checkpoints.verifier_key(engine.standing.authority)))


def states(path: Path) -> dict[str, str]:
    """Read the state of each credential of a home that is not running, from a table that agrees with the log."""
    log = Log.open(path / "log.sqlite")
    try:
        assert log.table_differences() == []
        rows = log.table("credential", 1000)
    finally:
        log.close()
    return {str(row["jti"]): str(row["state"]) for row in rows if isinstance(row, dict)}


def listed(outcome: Outcome) -> set[str]:
    """Give the jti that the list of a revocation names."""
    return {json.loads(line)["jti"] for line in outcome.files["revoked"].splitlines()}


ALL_ACCESS = {"reader 7", "writer 7", "reader 8", "reader 7 at line-2"}
MATRIX = {
    "reader 7": {"reader 7"},
    "svid 8": {"svid 8"},
    ROBOT_7: {"reader 7", "writer 7", "reader 7 at line-2"},
    ROBOT_8: {"reader 8", "svid 8"},
    "orders-reader": {"reader 7", "reader 8", "reader 7 at line-2"},
    "robot-identity": {"svid 8"},
    "key tokens-1": ALL_ACCESS,
    "key svid-1": {"svid 8"},
}


@pytest.mark.parametrize("by", MATRIX)
def test_sites_refuse_what_was_selected_and_nothing_else(by: str, enclave: Enclave) -> None:
    """Offline, from the next bundle on: each selector, each kind, each site; and the log says the same to everybody."""
    running, expected = enclave.running, MATRIX[by]

    async def story() -> None:
        async with running.engine() as engine:
            await enclave.ready(engine)
            await enclave.issue_all(engine)
            outcome = await enclave.revoke(engine, **enclave.selector(engine, by))
            assert outcome.state is State.DONE, outcome
            assert (outcome.result["count"], listed(outcome)) == (
                len(expected),
                {enclave.jtis[name] for name in expected},
            )
            assert enclave.refused() == set()
            await enclave.carry(engine)
            assert enclave.refused() == expected
            await believed(running, engine)

    run(story())
    assert {jti for jti, state in states(running.path).items() if state == "revoked"} == {
        enclave.jtis[name] for name in expected
    }

    async def after() -> None:
        async with running.engine() as engine:
            lookups = engine.standing.lookups
            assert lookups.live.unrevoked == len(enclave.jtis) - len(expected)
            for name, jti in enclave.jtis.items():
                assert lookups.is_revoked(lookups.issued[jti]) == (name in expected)

    run(after())


def test_the_outcome_says_where_and_when(enclave: Enclave) -> None:
    """For each site: how many, when the first and the last end by themselves; and the number the next bundle has."""

    async def story() -> None:
        async with enclave.running.engine() as engine:
            await enclave.ready(engine)
            first = await enclave.issue(engine, "a", ROBOT_7, "orders-reader")
            enclave.running.clock.time += 60
            second = await enclave.issue(engine, "b", ROBOT_7, "orders-writer")
            await enclave.issue(engine, "c", ROBOT_7, "orders-reader", "line-2")
            command = enclave.running.command("bob", Act.CREDENTIAL_REVOKE, {"workload": ROBOT_7, "reason": "lost"})
            outcome = await engine.submit_command(command)
            ends = first.result["exp"], second.result["exp"]
            assert outcome.result == {
                "selector": {"workload": ROBOT_7},
                "count": 3,
                "sites": [
                    {"site": "line-1", "count": 2, "first_end": ends[0], "last_end": ends[1]},
                    {"site": "line-2", "count": 1, "first_end": ends[1], "last_end": ends[1]},
                ],
                "next_bundle": 3,
            }
            bundle = await engine.submit_command(
                enclave.running.command("alice", Act.BUNDLE_CREATE, {"site": "line-2"})
            )
            assert bundle.result["sequence"] == 3
            again = await engine.submit_command(command)
            assert (again.result, again.files) == (outcome.result, {})

    run(story())


def test_a_workload_that_was_revoked_can_be_issued_to_again(enclave: Enclave) -> None:
    """A revocation is of what lives; what is issued after it lives until it is revoked itself."""

    async def story() -> None:
        async with enclave.running.engine() as engine:
            await enclave.ready(engine)
            await enclave.issue(engine, "before", ROBOT_7, "orders-reader")
            assert (await enclave.revoke(engine, workload=ROBOT_7)).result["count"] == 1
            await enclave.issue(engine, "after", ROBOT_7, "orders-reader")
            await enclave.carry(engine)
            assert enclave.refused() == {"before"}
            assert listed(await enclave.revoke(engine, workload=ROBOT_7)) == {enclave.jtis["after"]}
            await enclave.carry(engine)
            assert enclave.refused() == {"before", "after"}
            await believed(enclave.running, engine)

    run(story())


@pytest.mark.parametrize(
    ("selector", "reason"),
    [
        ({"credential": "A" * 22}, Refusal.UNKNOWN_CREDENTIAL),
        ({"workload": f"{ROBOT_7}-unknown"}, Refusal.UNKNOWN_WORKLOAD),
        ({"workload": ROBOT_8}, Refusal.NOTHING_TO_REVOKE),
        ({"profile": "unknown"}, Refusal.UNKNOWN_PROFILE),
        ({"profile": "robot-identity"}, Refusal.NOTHING_TO_REVOKE),
        ({"key": "A" * 43}, Refusal.UNKNOWN_KEY),
        ({"key": "A" * 65}, Refusal.MALFORMED),
        ({"workload": "robot-7"}, Refusal.MALFORMED),
        ({}, Refusal.MALFORMED),
        ({"workload": ROBOT_7, "profile": "orders-reader"}, Refusal.MALFORMED),
    ],
)
def test_a_revocation_of_nothing_is_refused(selector: dict[str, Json], reason: Refusal, enclave: Enclave) -> None:
    """Nothing is revoked by a selector that nothing lives under, that is unknown, or that is none or several."""

    async def story() -> None:
        async with enclave.running.engine() as engine:
            await enclave.ready(engine)
            await enclave.issue(engine, "lives", ROBOT_7, "orders-reader")
            assert (await enclave.revoke(engine, **selector)).reason == reason
            assert engine.standing.lookups.live.unrevoked == 1

    run(story())


def test_what_ended_or_failed_or_was_revoked_is_not_revoked_again(enclave: Enclave) -> None:
    """Each is refused with its own words; a revocation of many passes over them."""

    async def story() -> None:
        running = enclave.running
        async with running.engine() as engine:
            await enclave.ready(engine)
            await enclave.issue(engine, "ended", ROBOT_7, "orders-reader")
            running.clock.time += 900
            refused = await enclave.revoke(engine, credential=enclave.jtis["ended"])
            assert (refused.reason, "has ended" in str(refused.detail)) == (Refusal.UNKNOWN_CREDENTIAL, True)
            await settled(engine)
            assert isinstance(running.keystore, FakeKeyStore)
            running.keystore.fail_next(WorkerLost("gone"))
            assert (await engine.submit_command(running.issue())).reason == Refusal.HSM_FAULT
            await settled(engine)
            (failed,) = engine.standing.lookups.issued
            assert (await enclave.revoke(engine, credential=failed)).reason == Refusal.NOTHING_TO_REVOKE
            await enclave.issue(engine, "first", ROBOT_7, "orders-reader")
            await enclave.issue(engine, "second", ROBOT_7, "orders-writer")
            assert (await enclave.revoke(engine, credential=enclave.jtis["first"])).state is State.DONE
            refused = await enclave.revoke(engine, credential=enclave.jtis["first"])
            assert (refused.reason, "revoked already" in str(refused.detail)) == (Refusal.NOTHING_TO_REVOKE, True)
            assert listed(await enclave.revoke(engine, workload=ROBOT_7)) == {enclave.jtis["second"]}
            await believed(running, engine)

    run(story())
    found = states(enclave.running.path)
    assert sorted(found.values()) == ["failed", "live", "revoked", "revoked"]
    assert found[enclave.jtis["ended"]] == "live"


def test_a_long_list_is_cut_and_its_revocation_is_not(enclave: Enclave, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list that is handed over is bounded in bytes; the count and the bits are of all."""
    monkeypatch.setattr(revocation, "LONGEST_LIST", 400)

    async def story() -> None:
        async with enclave.running.engine() as engine:
            await enclave.ready(engine)
            await enclave.issue_all(engine)
            outcome = await enclave.revoke(engine, workload=ROBOT_7)
            assert (outcome.result["count"], len(listed(outcome))) == (3, 2)
            await enclave.carry(engine)
            assert enclave.refused() == MATRIX[ROBOT_7]

    run(story())


def test_a_list_of_exactly_the_longest_size_is_whole(enclave: Enclave, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have all its bytes, and with one byte less to have it loses a line."""

    async def story() -> None:
        async with enclave.running.engine() as engine:
            await enclave.ready(engine)
            await enclave.issue_all(engine)
            found = [*engine.standing.lookups.issued.items()]
            whole = revocation._listed(found)
            assert whole.count(b"\n") == len(found)
            monkeypatch.setattr(revocation, "LONGEST_LIST", len(whole))
            assert revocation._listed(found) == whole
            monkeypatch.setattr(revocation, "LONGEST_LIST", len(whole) - 1)
            assert revocation._listed(found).count(b"\n") == len(found) - 1

    run(story())


@pytest.mark.parametrize("by", ["reader 7", ROBOT_7, "robot-identity", "key tokens-1", "key svid-1"])
def test_what_one_entry_issued_is_revoked_one_by_one(by: str, enclave: Enclave) -> None:
    """Credentials of a batch, which stand in one entry, are found by what each of them is."""
    common: dict[str, Json] = {"audience": LINE_1, "ttl": 900}
    asked: dict[str, dict[str, Json]] = {
        "reader 7": {**common, "workload": ROBOT_7, "profile": "orders-reader", "scopes": ["orders.read"]},
        "svid 8": {**common, "workload": ROBOT_8, "profile": "robot-identity"},
        "writer 7": {**common, "workload": ROBOT_7, "profile": "orders-writer"},
        "reader 8": {**common, "workload": ROBOT_8, "profile": "orders-reader"},
    }
    body = b"".join(dumps(item) + b"\n" for item in asked.values())
    expected = MATRIX[by] & asked.keys()

    async def story() -> None:
        async with enclave.running.engine() as engine:
            await enclave.ready(engine)
            command = enclave.running.command(
                "alice", Act.CREDENTIAL_ISSUE, BatchArguments(Manifest.of(body)).as_json()
            )
            stream = await engine.submit_batch(command, {sha256_hex(body): body})
            while (chunk := await stream.chunk()) is not None:
                for line in map(json.loads, chunk.splitlines()):
                    name = [*asked][line["line"] - 1]
                    enclave.tokens[name], enclave.jtis[name] = line["token"], line["jti"]
                    enclave.kinds[name] = "line-1", Kind.SVID if name == "svid 8" else Kind.ACCESS
            assert stream.outcome().result["issued"] == len(asked)
            outcome = await enclave.revoke(engine, **enclave.selector(engine, by))
            assert listed(outcome) == {enclave.jtis[name] for name in expected}
            await enclave.carry(engine)
            assert enclave.refused() == expected

    run(story())
    found = states(enclave.running.path)
    assert {name for name, jti in enclave.jtis.items() if found[jti] == "revoked"} == expected
