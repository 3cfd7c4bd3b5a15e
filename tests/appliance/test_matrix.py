"""Role by act by state: for each cell what the documented table says, by which rule, and that `why` says the same.

The cells are made from the code's own lists, so an act, a role or a state without a row here fails.
"""

import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.disk import Reserve
from appliance.engine import Engine
from appliance.errors import Refused
from appliance.explaining import Imagined, explain
from appliance.nouns.workloads import Condition
from appliance.outcome import Outcome
from appliance.rules import rule_of
from coldcred.acts import RULES, Act, Role
from coldcred.canonical import Json
from coldcred.command import Verdict, document_id
from coldcred.jose import parse_unverified
from coldcred.log import entry as entries
from tests.support import plant
from tests.support.plain_table import DAY, RECOVER, STOPPING, TABLE
from tests.support.running import RunningPlant, believed, run, settled
from tests.support.signers import Signer
from tests.support.wishes import SPARE, Wish, Wishes

PERSON = {Role.OFFICER: "olga", Role.ISSUER: "ivan", Role.APPROVER: "anna", Role.AUDITOR: "carol"}
"""A person for each role, who has no other; alice and bob prepare."""

ROLES = {
    "alice": ["officer", "issuer"],
    "bob": ["officer", "approver"],
    **{person: [role.value] for role, person in PERSON.items()},
    "gail": ["approver"],
}
CUSTODIAN, WORKLOAD = "custodian", "workload"
PRINCIPALS = (*Role, CUSTODIAN, WORKLOAD)
STRICT: dict[str, Json] = {**plant.profile(), "name": "strict", "approvals": 2}

Told = tuple[str, str | None, str | None]
"""State (`raised` where it is no outcome), reason and rule."""

WHO_MAY_ASK = ("refused", "not-allowed", "R2 who may ask")
CUSTODIANS_RECOVER = ("refused", "not-allowed", "R4 custodians recover")
DONE: Told = ("done", None, None)
WAITS: Told = ("waiting", None, None)

DECIDED: Mapping[str, Told] = {
    "credential.issue": DONE,
    "credential.revoke": ("refused", "unknown-credential", "credentials that live"),
    "trust.submit": ("refused", "trust-refused", "R17 trust signed by custodians"),
    "bundle.create": DONE,
    "log.export": DONE,
    "read.open": DONE,
    "workload.suspend": DONE,
    "key.suspend": ("refused", "unknown-key", "keys that were ordered"),
    "request.withdraw": ("refused", "unknown-request", "R9 about a request that waits"),
    "request.complete": ("refused", "unknown-request", "R9 about a request that waits"),
    "review.confirm": ("refused", "unknown-review", "the access review"),
}
"""What comes of each act that one person may finish, with the arguments that are given here."""

PLAIN, OPEN, MISSED, SUSPENDED, RESERVE = "plain", "review open", "review missed", "key suspended", "reserve reached"
STANDS: Mapping[Condition, Told] = {
    Condition.ACTIVE: DONE,
    Condition.DUE: DONE,
    Condition.OVERDUE: ("refused", "review-overdue", "a workload's review"),
    Condition.SUSPENDED: ("refused", "workload-suspended", "suspension of the workload"),
    Condition.ORPHANED: ("refused", "owner-left", "an owner who answers for it"),
    Condition.UNCONFIRMED: ("refused", "review-missed", "review spring"),
}
"""What a credential comes to, by how its workload stands."""

SITUATIONS = (PLAIN, OPEN, MISSED, SUSPENDED, RESERVE, *Condition)


def expected(principal: str, act: str, situation: str) -> Told:
    """Look a cell up in the documented table."""
    asked_by, people = TABLE[act]
    if situation == RESERVE and act not in STOPPING - {"review.confirm", RECOVER} and not act.startswith("key."):
        return ("raised", "disk-reserve", "R11 the disk reserve")
    if situation == MISSED and act not in STOPPING | {"read.open"} and principal != WORKLOAD:
        return ("refused", "review-missed", "review spring")
    own = act in {"credential.issue", "request.complete"}
    may = {CUSTODIAN: act == RECOVER, WORKLOAD: own}.get(principal, principal in asked_by.split())
    if not may:
        return CUSTODIANS_RECOVER if act == RECOVER else WHO_MAY_ASK
    if people > 1:
        return WAITS
    if act == "credential.issue" and situation == SUSPENDED:
        return ("refused", "key-suspended", "suspension of key tokens-1")
    stands = Condition.UNCONFIRMED if situation == MISSED else situation
    about_workload = stands in STANDS and (act == "credential.issue" or principal == WORKLOAD)
    if about_workload and STANDS[Condition(stands)] != DONE:
        return STANDS[Condition(stands)]
    return DECIDED[act]


def rule_told(running: RunningPlant, engine: Engine, principal: str, act: Act, wish: Wish) -> Told:
    """Ask why beforehand."""
    by = plant.WORKLOAD if principal == WORKLOAD else person_of(principal)
    imagined = Imagined(by, act, wish.args, wish.beside, custodian=principal == CUSTODIAN)
    reserve = Reserve(lambda: running.free)
    told: Any = explain(engine.standing, imagined, running.clock.now(), lambda act: reserve.check(act, 0))
    return (told["state"], told["reason"], told["rule"] if told["state"] == "refused" else None)


def person_of(principal: str) -> str:
    """Give the person of a role; the custodian is the officer with another key."""
    return PERSON[Role.OFFICER] if principal == CUSTODIAN else PERSON[Role(principal)]


def signer(principal: str) -> Signer:
    """Give the key that a principal signs with."""
    if principal == WORKLOAD:
        return plant.robot()
    return plant.custodian(person_of(principal)) if principal == CUSTODIAN else plant.operator(person_of(principal))


def test_every_act_every_role_and_every_state_has_a_row() -> None:
    """The lists of the code and the tables here name the same."""
    assert {act.value for act in Act} == {act.value for act in RULES} == {*TABLE}
    assert {act for act, (_, people) in TABLE.items() if people == 1} == {*DECIDED}
    assert {*PERSON} == {*Role}
    assert {*STANDS} == {*Condition}


@asynccontextmanager
async def in_situation(running: RunningPlant, situation: str) -> AsyncIterator[Engine]:
    """Bring an appliance into a situation."""
    async with running.engine() as engine:
        assert (await running.trust(engine)).state == "done"
        assert (
            await engine.submit_command(running.command("alice", Act.BUNDLE_CREATE, {"site": "line-1"}))
        ).state == "done"
        until = {Condition.DUE: 2 * DAY, Condition.OVERDUE: 60}.get(situation, 90 * DAY)  # type: ignore[call-overload]  # a situation that is no condition is not among them
        owner = "gail" if situation == Condition.ORPHANED else "alice"
        review_by = running.clock.now() + until
        assert (await running.enrol_with(engine, running.proof(), owner=owner, review_by=review_by)).state == "done"
        spare = running.enrolment(id=SPARE)
        assert (await running.by_two(engine, Act.WORKLOAD_ENROL, spare)).state == "done"
        await settled(engine)
        await _bring(running, engine, situation)
        if situation != RESERVE:
            yield engine
    if situation == RESERVE:
        running.free = 0
        async with running.engine() as engine:
            yield engine


async def _bring(running: RunningPlant, engine: Engine, situation: str) -> None:
    if situation in {OPEN, MISSED, Condition.UNCONFIRMED}:
        args: dict[str, Json] = {"name": "spring", "until": running.clock.now() + DAY}
        assert (await running.by_two(engine, Act.REVIEW_START, args)).state == "done"
    if situation == Condition.UNCONFIRMED:
        others = [person for person in ROLES if person != "alice"]
        for by, people in (("alice", others), ("bob", ["alice"])):
            command = running.command(by, Act.REVIEW_CONFIRM, {"review": "spring", "operators": [*people]})
            assert (await engine.submit_command(command)).state == "done"
    if situation in {MISSED, Condition.UNCONFIRMED}:
        running.clock.time += DAY
    if situation == Condition.UNCONFIRMED:
        assert (await running.trust(engine)).state == "done"
    if situation == Condition.OVERDUE:
        running.clock.time += 60
    reason: dict[str, Json] = {"reason": "as told"}
    if situation == Condition.SUSPENDED:
        command = running.command("alice", Act.WORKLOAD_SUSPEND, {"workload": plant.WORKLOAD, **reason})
        assert (await engine.submit_command(command)).state == "done"
    if situation == Condition.ORPHANED:
        assert (await running.by_two(engine, Act.OPERATOR_REMOVE, {"person": "gail", **reason})).state == "done"
    if situation == SUSPENDED:
        command = running.command("alice", Act.KEY_SUSPEND, {"key": "tokens-1", **reason})
        assert (await engine.submit_command(command)).state == "done"


def plant_of(path: Path) -> RunningPlant:
    """Give an appliance with a person for each role, whose profiles workloads may ask under too."""
    profiles: Json = [{**plant.profile(), "asked_by": ["issuer", "workload"]}, STRICT]
    return RunningPlant(path / "home", roles=ROLES, members={"profiles": profiles})


@pytest.mark.parametrize("situation", SITUATIONS)
def test_who_asks_for_what_in_which_state(situation: str, tmp_path: Path) -> None:
    """Every principal, every act: state, reason and rule are those of the table, in the log, and what `why` says."""
    running = plant_of(tmp_path)

    async def story() -> None:
        async with in_situation(running, situation) as engine:
            wishes = Wishes(running)
            for act in Act:
                for principal in PRINCIPALS:
                    wish = wishes.good(act)
                    foreseen = rule_told(running, engine, principal, act, wish)
                    told = await tell(
                        engine.submit_command(running.command(signer(principal), act, wish.args), wish.beside)
                    )
                    cell = (situation, principal, act.value)
                    assert (cell, told) == (cell, expected(principal, act, situation))
                    state = "refused" if told[0] == "raised" else told[0]
                    assert (cell, foreseen) == (cell, (state, *told[1:]))
                    if told[0] == "refused":
                        assert told == written(engine)
            await settled(engine)
            if situation not in {RESERVE, MISSED}:
                await believed(running, engine)

    run(story())


async def tell(sent: Any) -> Told:
    """Give what came of something that was sent; a refusal has a reason and a rule."""
    try:
        outcome: Outcome = await sent
    except Refused as refused:
        return ("raised", refused.id, rule_of(refused))
    assert bool(outcome.reason) == bool(outcome.rule) == (outcome.state == "refused"), outcome
    return (outcome.state.value, outcome.reason, outcome.rule)


def written(engine: Engine) -> Told:
    """Give the newest refusal of a command in the log."""
    for body in reversed([*engine.standing.archive.bodies(max(0, engine.standing.head.size - 8))]):
        event: Any = entries.parse(body).event
        if event["type"] == "command.refused":
            return ("refused", event["reason"], event["rule"])
    raise AssertionError("no refusal is in the log")


# -- requests


STATES = ("new", "waiting", "ready", "refused", "denied", "withdrawn", "expired", "done")
ASKED_AGAIN: Mapping[str, Told] = {
    "new": WAITS,
    "waiting": WAITS,
    "ready": ("ready", None, None),
    "done": DONE,
    "denied": ("refused", "denied", "R9 one deny ends it"),
    "withdrawn": ("refused", "withdrawn", "R9 withdrawn by its requester"),
    "expired": ("raised", "expired", "R7 in its time"),
}
"""What everybody hears who sends it again, by the state of the request; it stays as it is."""

TOO_FEW: Told = ("refused", "too-few-people", "R2 how many people sign")
COMPLETED: Mapping[str, Told] = {"new": TOO_FEW, "waiting": TOO_FEW, "ready": DONE}
"""What whoever asked hears who completes it; in every other state nothing waits."""

REFUSES: Mapping[str, tuple[dict[str, Json], Told]] = {
    "credential.issue": ({"scopes": ["admin"]}, ("refused", "outside-profile", "profile strict scopes")),
    "workload.enrol": ({"owner": "nobody"}, ("refused", "unknown-person", "R3 enrolled people")),
    "profile.set": (
        {"profile": {**plant.profile(), "name": "other", "approvals": 9}},
        ("refused", "below-quorum", "profile other approvals"),
    ),
    "site.add": ({"name": "line-1"}, ("refused", "already-exists", "names stand once")),
    "workload.resume": ({"workload": f"{SPARE}9"}, ("refused", "unknown-workload", "enrolled workloads")),
    "key.activate": ({"key": "tokens-9"}, ("refused", "unknown-key", "keys that were ordered")),
    "workload.adopt": ({"workload": f"{SPARE}9"}, ("refused", "unknown-workload", "enrolled workloads")),
    "review.start": ({"name": "winter"}, ("refused", "already-exists", "names stand once")),
    "review.close": ({"review": "other"}, ("refused", "unknown-review", "the access review")),
    "operator.add": ({"person": "gail"}, ("refused", "already-exists", "names stand once")),
    "operator.remove": ({"person": "nobody"}, ("refused", "unknown-person", "R3 enrolled people")),
    "operator.roles": ({"person": "nobody"}, ("refused", "unknown-person", "R3 enrolled people")),
    "operator.replace-key": ({"person": "nobody"}, ("refused", "unknown-person", "R3 enrolled people")),
    RECOVER: ({"replaces": "nobody"}, ("refused", "unknown-person", "R3 enrolled people")),
    "policy.set": ({}, DONE),
}
"""For each act that waits: what is decided in vain, and what is said then; no bad policy waits."""


def approved(principal: str, act: str, state: str) -> Told:
    """Look up what somebody hears who approves a request of alice's in this state."""
    if state in {"done", "refused", "denied", "withdrawn"}:
        return REFUSES[act][1] if state == "refused" else ASKED_AGAIN[state]
    if state == "new":
        return ("raised", "unknown-request", "R9 about a request that waits")
    counts = principal == CUSTODIAN if act == RECOVER else principal in {Role.OFFICER, Role.APPROVER}
    if not counts:
        return ("raised", "not-allowed", "R4 custodians recover" if act == RECOVER else "R2 who may approve")
    if state == "expired":
        return ("raised", "expired", "R7 in its time")
    if act == "credential.issue":
        return ("ready", None, None)
    return REFUSES[act][1]


def withdrawn(principal: str, state: str) -> Told:
    """Look up what somebody hears who withdraws a request of alice's in this state."""
    if principal in {Role.AUDITOR, CUSTODIAN, WORKLOAD}:
        return WHO_MAY_ASK
    if state in {"waiting", "ready"}:
        return ("refused", "not-allowed", "R9 withdrawn by its requester")
    return ("refused", "unknown-request", "R9 about a request that waits")


def completed(principal: str, state: str) -> Told:
    """Look up what somebody hears who completes a request of alice's in this state."""
    if principal in {Role.AUDITOR, CUSTODIAN}:
        return WHO_MAY_ASK
    if state in {"waiting", "ready"}:
        return ("refused", "not-allowed", "R9 completed by its requester")
    return ("refused", "unknown-request", "R9 about a request that waits")


@dataclasses.dataclass
class Requests:
    """Brings requests of one act into every state there is."""

    running: RunningPlant
    engine: Engine
    act: Act
    wishes: Wishes

    @property
    def asks(self) -> Signer:
        """Alice's key for the act."""
        return plant.custodian("alice") if self.act == RECOVER else plant.operator("alice")

    @property
    def approves(self) -> Signer:
        """Bob's key for the act."""
        return plant.custodian("bob") if self.act == RECOVER else plant.operator("bob")

    async def make(self, state: str) -> tuple[str, dict[str, bytes]]:
        """Give a command of alice's whose request is in this state."""
        wish, running, engine = self.wishes.good(self.act), self.running, self.engine
        if self.act is Act.CREDENTIAL_ISSUE:
            wish.args["profile"] = "strict"
        if state not in {"done", "ready"}:
            wish.args |= REFUSES[self.act][0]
        await self._prepare(state, wish)
        life: dict[str, Any] = {"expires_at": running.clock.now() + 60} if state == "expired" else {}
        command = running.command(self.asks, self.act, wish.args, **life)
        if state == "new":
            return command, wish.beside
        assert (await engine.submit_command(command, wish.beside)).state == "waiting"
        if state == "expired":
            running.clock.time += 60
        if state in {"ready", "done", "refused"}:
            await engine.submit_approval(running.approval(self.approves, command))
            if self.act is Act.CREDENTIAL_ISSUE and state != "ready":
                await running.complete(engine, command)
        if state == "denied":
            await engine.submit_approval(running.approval(self.approves, command, Verdict.DENY))
        if state == "withdrawn":
            # What custodians asked for they let end, or deny: withdrawing takes an operator's key.
            args: dict[str, Json] = {"request": document_id(parse_unverified(command))}
            assert (await engine.submit_command(running.command("alice", Act.REQUEST_WITHDRAW, args))).state == "done"
        return command, wish.beside

    async def _prepare(self, state: str, wish: Wish) -> None:
        """Let there be what only another act can bring about."""
        if state == "done" and self.act is Act.KEY_ACTIVATE:
            args: dict[str, Json] = {"key": "tokens-1", "reason": "seen"}
            await self.engine.submit_command(self.running.command("alice", Act.KEY_SUSPEND, args))
        if state == "done" and self.act is Act.REVIEW_CLOSE:
            await self._confirm_everything("spring")
            wish.args["review"] = "spring"
        if self.act is Act.REVIEW_START and "winter" not in self.engine.standing.authority.reviewed:
            await self._confirm_everything("winter")
            await self.running.by_two(self.engine, Act.REVIEW_CLOSE, {"review": "winter"})

    async def _confirm_everything(self, review: str) -> None:
        """Start a review and confirm all that it is about."""
        args: dict[str, Json] = {"name": review, "until": self.running.clock.now() + DAY}
        await self.running.by_two(self.engine, Act.REVIEW_START, args)
        everything: dict[str, list[Json]] = {"alice": [one for one in ROLES if one != "alice"], "bob": ["alice"]}
        for by, people in everything.items():
            confirms: dict[str, Json] = {"review": review, "operators": [*people]}
            if by == "bob":
                confirms["workloads"] = [plant.WORKLOAD, SPARE]
            await self.engine.submit_command(self.running.command(by, Act.REVIEW_CONFIRM, confirms))


@pytest.mark.parametrize("act", [*REFUSES])
def test_what_becomes_of_a_request_in_which_state(act: str, tmp_path: Path) -> None:
    """Every principal approves, withdraws, completes and hears; whoever asked asks again, and completes it."""
    running = plant_of(tmp_path)

    async def story() -> None:
        async with in_situation(running, PLAIN) as engine:
            requests = Requests(running, engine, Act(act), Wishes(running))
            for state in STATES:
                if state == "ready" and act != "credential.issue":
                    continue  # whatever else has its people is carried out at once
                await look_at(requests, state)
            await settled(engine)
            await believed(running, engine)

    run(story())


async def look_at(requests: Requests, state: str) -> None:
    """Hold every cell of one act and one state to the table."""
    running, engine, act = requests.running, requests.engine, requests.act.value
    command, beside = await requests.make(state)
    id_ = document_id(parse_unverified(command))
    for principal in (*Role, CUSTODIAN, WORKLOAD):
        cell = (act, state, principal)
        args: dict[str, Json] = {"request": id_}
        told = await tell(engine.submit_command(running.command(signer(principal), Act.REQUEST_WITHDRAW, args)))
        assert (cell, told) == (cell, withdrawn(principal, state))
        told = await tell(running.complete(engine, command, signer(principal)))
        assert (cell, told) == (cell, completed(principal, state))
        if principal == WORKLOAD:
            continue  # its key signs no approval
        said = approved(principal, act, state)
        fresh = said[0] != "raised" and state in {"waiting", "ready"}
        about = (await requests.make(state))[0] if fresh else command
        told = await tell(engine.submit_approval(running.approval(signer(principal), about)))
        assert (cell, told) == (cell, said)
    if state in {"waiting", "new"}:
        own = await tell(engine.submit_approval(running.approval(requests.asks, command)))
        rule = "R2 the requester never approves" if state == "waiting" else "R9 about a request that waits"
        assert own == ("raised", "not-allowed" if state == "waiting" else "unknown-request", rule)
    again = await tell(engine.submit_command(command, beside))
    assert (act, state, again) == (act, state, REFUSES[act][1] if state == "refused" else ASKED_AGAIN[state])
    own = await tell(running.complete(engine, command))
    assert (act, state, own) == (act, state, COMPLETED.get(state, completed("alice", state)))


def test_every_act_that_waits_has_a_row() -> None:
    """Those that take two, and the one that a profile can make take more."""
    assert {*REFUSES} == {act for act, (_, people) in TABLE.items() if people > 1} | {"credential.issue"}
    assert {*ASKED_AGAIN} | {"refused"} == {*STATES}
