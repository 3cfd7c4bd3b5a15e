"""What humans do in the model test of authority, kind by kind; much of it is none of their business.

Each step says which kind it is, and who, which act and which of several choices it is about.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from tests.support.authority_run import HUMANS, Run
from tests.support.human_asks import ROBOTS, Wish
from tests.support.plain_authority import Sent
from tests.support.plain_table import DAY, RECOVER, TABLE

HOWS = ("good", "good", "good", "deny", "policy", "profile", "attachment", "shown", "short", "past", "future")
CLOCK = (1, 59, 60, 120, 1800, 3600, 9 * 3600, DAY, 1, 30, -1, -2, -3, -600)


@dataclass(frozen=True)
class Step:
    """What happens next; what a kind of step has no use for, it does not look at."""

    kind: str
    who: str
    act: str
    pick: int
    key: int
    how: str


def take(run: Run, step: Step) -> None:
    """Take a step; a clock that is wrong is soon seen to."""
    if step.pick % 3 and run.plain.behind:
        run.clock_is_right()
    KINDS[step.kind](run, step)


def _together(run: Run, step: Step, wish: Wish | None = None) -> None:
    """Let those who may do it carry it through: one asks, others approve, and who asked completes what waits for it."""
    sent, state = _agreed(run, step, wish)
    if state == "ready":
        _completed_by_requester(run, sent)


def _completed_by_requester(run: Run, sent: Sent) -> None:
    run.complete(sent, sent.signer, run.key(sent.kid), human=sent.human)


def _agreed(run: Run, step: Step, wish: Wish | None = None) -> tuple[Sent, str]:
    """Let one ask and others approve; gives the command and what became of it."""
    plain = run.plain
    hold = [*(plain.custodians if step.act == RECOVER else plain.operators)]
    hold = hold[step.key % len(hold) :] + hold[: step.key % len(hold)]
    asker = next((kid for kid in hold if plain.may_ask(kid, step.act, {})), hold[0])
    who, key = plain.holder[asker], run.key(asker)
    sent = run.signed(wish, who, step.act, key, human=who) if wish else run.asked(who, step.act, step.pick, key)
    state = run.send(sent)
    for kid in hold:
        if sent.id not in plain.waiting or state == "ready":
            break
        if plain.may_approve(kid, step.act) and plain.holder[kid] not in plain.humans(sent):
            state = run.approve(run.approved(plain.holder[kid], sent, run.key(kid)))
    return sent, state


def _take_from(run: Run, step: Step) -> None:
    """Let a credential have its people; then everybody else sends it and completes it, before whoever asked does."""
    sent, state = _agreed(run, replace(step, act="credential.issue", pick=2))
    if state != "ready":
        return
    for who in HUMANS:
        if who != sent.human:
            run.send(sent)
            run.complete(sent, who, run.own_key(who, step.key % 2 + 1), human=who)
    for workload in ROBOTS:
        for key in run.asks.robots[workload][-1:]:
            run.complete(sent, workload, key, human=None)
    if sent.id in run.plain.waiting:
        _completed_by_requester(run, sent)


def _meanwhile(run: Run, step: Step) -> None:
    """Let somebody approve what waits; then something changes, and it is gone on with."""
    plain, act = run.plain, ("credential.issue", "site.add")[step.key % 2]
    asker = next((kid for kid in plain.operators if plain.may_ask(kid, act, {})), None)
    if asker is None:
        return
    sent = run.asked(plain.holder[asker], act, 2, run.key(asker))
    run.send(sent)
    others = [kid for kid in plain.operators if plain.may_approve(kid, act) and plain.holder[kid] != sent.human]
    for kid in others[:1]:
        run.approve(run.approved(plain.holder[kid], sent, run.key(kid), "short" if step.pick % 5 == 0 else "good"))
        _change(run, step, plain.holder[kid])
    run.send(sent)
    for kid in others[1:]:
        if kid in plain.operators:
            run.approve(run.approved(plain.holder[kid], sent, run.key(kid)))
    run.send(sent)
    _completed_by_requester(run, sent)


def _stopped_again(run: Run, step: Step) -> None:
    """Somebody asks for something to go on; it is stopped, perhaps again, and then others approve that."""
    plain, act = run.plain, ("workload.resume", "key.activate", "workload.enrol")[step.key % 3]
    if act == "key.activate":
        _together(run, replace(step, act="key.suspend", pick=0))
    asker = next((kid for kid in plain.operators if plain.may_ask(kid, act, {})), None)
    if asker is None:
        return
    sent = run.asked(plain.holder[asker], act, step.pick % 4 if act == "workload.enrol" else 0, run.key(asker))
    run.send(sent)
    run.set_clock((1, 120, 121, 600)[step.pick % 4])
    if act == "key.activate":
        _together(run, replace(step, act="key.activate", pick=0))
        _together(run, replace(step, act="key.suspend", pick=0))
    else:
        workload = sent.args.get("workload") or sent.args["id"]
        _together(run, replace(step, act="workload.suspend"), Wish({"workload": workload, "reason": "again"}))
    for kid in [kid for kid in plain.operators if plain.may_approve(kid, act)]:
        if sent.id in plain.waiting and plain.holder[kid] != sent.human:
            run.approve(run.approved(plain.holder[kid], sent, run.key(kid)))


def _change(run: Run, step: Step, approver: str) -> None:
    """Change the time, the policy, the profile, or the key or the roles of who approved."""
    match step.pick % 5:
        case 0:
            run.set_clock(60)
        case 1:
            _together(run, replace(step, act="policy.set", pick=step.pick // 5))
        case 2:
            _together(run, replace(step, act="profile.set", pick=3))
        case 3:
            _together(run, replace(step, act="operator.replace-key"), run.asks.another_key(approver))
        case _:
            _together(run, replace(step, act="operator.roles"), run.asks.other_roles(approver))


def _ask(run: Run, step: Step) -> None:
    """Somebody asks for something, with one of the keys that they ever had."""
    run.send(run.asked(step.who, step.act, step.pick, run.own_key(step.who, step.key)))


def _keep(run: Run, step: Step) -> None:
    """Somebody signs what they might ask for, and keeps it."""
    run.asked(step.who, step.act, step.pick, run.own_key(step.who, step.key))


def _newest(run: Run, step: Step) -> Sent | None:
    """Give one of what waits, or of what was signed last."""
    newest = [*run.plain.waiting][-3:] + [*run.commands][-2:]
    return run.commands[newest[step.pick % len(newest)]] if newest else None


def _sign(run: Run, step: Step) -> None:
    """Somebody approves or denies something, in a good way or in a bad one."""
    if (sent := _newest(run, step)) is not None:
        run.approve(run.approved(step.who, sent, run.own_key(step.who, step.key), step.how))


def _keep_approval(run: Run, step: Step) -> None:
    """Somebody signs an approval and keeps it for later."""
    if (sent := _newest(run, step)) is not None:
        run.approved(step.who, sent, run.own_key(step.who, step.key), step.how)


def _alone(run: Run, step: Step) -> None:
    """Somebody tries by themselves: asks with one of their keys, and approves it with all of them."""
    mine = [run.own_key(step.who, number) for number in range(len(run.asks.keys[step.who]) + 1)][:5]
    sent = run.asked(step.who, step.act, step.pick, mine[step.key % len(mine)])
    run.send(sent)
    for key in mine:
        run.approve(run.approved(step.who, sent, key))
    run.send(sent, [run.approved(step.who, sent, key) for key in mine])


def _again(run: Run, step: Step) -> None:
    """Somebody sends a command again, or for the first time."""
    if (sent := _newest(run, step)) is not None:
        run.send(sent)


def _complete(run: Run, step: Step) -> None:
    """Somebody says that what waits is to be carried out: whoever asked for it, or another."""
    found = [*run.plain.waiting.values()]
    if found:
        sent = found[step.pick % len(found)].sent
        run.complete(sent, step.who, run.own_key(step.who, step.key), human=step.who)
        for key in run.asks.robots.get(sent.signer, [])[-2:]:
            run.complete(sent, sent.signer, key, human=None)


def _replay(run: Run, step: Step) -> None:
    """Somebody sends an approval again, or one that was kept."""
    if run.drawer:
        run.approve(run.drawer[-1 - step.pick % min(len(run.drawer), 15)])


def _all_at_once(run: Run, step: Step) -> None:
    """Send a command with every approval of it that anybody ever signed."""
    if (sent := _newest(run, step)) is not None:
        run.send(sent, [one for one in run.drawer if one.command == sent.id])


def _ask_anew(run: Run, step: Step) -> None:
    """Whoever asked takes it back and asks for the same anew; then the old approvals come."""
    found = [one for one in run.plain.waiting.values() if one.sent.human is not None]
    if not found:
        return
    waiting = found[step.pick % len(found)]
    old, key = waiting.sent, run.key(waiting.sent.kid)
    run.send(run.signed(Wish({"request": old.id}), old.signer, "request.withdraw", key, human=old.human))
    anew = run.signed(Wish(old.args, old.attachments), old.signer, old.act, key, human=old.human)
    run.send(anew)
    for given in waiting.given:
        run.approve(given)


def _machine_asks(run: Run, step: Step) -> None:
    """Have a workload ask for its own credential or for another's, with a key that it has or had."""
    workload = ROBOTS[step.pick % 2]
    keys = run.asks.robots[workload]
    if not keys:
        return
    wish = run.asks.wish("credential.issue", workload, step.pick)
    if step.pick % 7:
        wish.args["workload"] = workload
    if step.pick % 5:
        wish.args["profile"] = "robots"
    key = keys[-1 - step.key % len(keys)]
    sent = run.signed(wish, workload, "credential.issue", key, human=None)
    run.send(sent)
    hold = [kid for kid in run.plain.operators if run.plain.may_approve(kid, sent.act)]
    for kid in hold[: step.pick % 4]:
        run.approve(run.approved(run.plain.holder[kid], sent, run.key(kid)))
    if sent.id in run.plain.waiting:
        run.complete(sent, workload, key, human=None)


def _auditor_tries(run: Run, step: Step) -> None:
    """Whoever is an auditor asks for everything, approves and completes everything, and sends what others signed."""
    auditor = next((one for one, roles in run.plain.roles.items() if roles == {"auditor"}), None)
    if auditor is None:
        return
    for act in [*TABLE][step.pick % 4 :: 4]:
        if run.plain.roles.get(auditor) == frozenset({"auditor"}):
            done = run.send(run.asked(auditor, act, step.key, run.own_key(auditor, 1))) == "done"
            assert not done or act in {"log.export", "read.open"}
    for waiting in [*run.plain.waiting.values()][:3]:
        assert run.approve(run.approved(auditor, waiting.sent, run.own_key(auditor, 1), step.how)) == "raised"
        assert run.complete(waiting.sent, auditor, run.own_key(auditor, 1), human=auditor) in {"refused", "raised"}
        assert run.send(waiting.sent) in {"waiting", "ready", "raised"}


def _review(run: Run, step: Step) -> None:
    """Start a review, confirm most of what it covers, and try to close it."""
    _together(run, replace(step, act="review.start", pick=0))
    for key, pick in ((0, 0), (1, 0), (step.key, 1), (2, 2))[: 1 + step.pick % 4]:
        _together(run, replace(step, act="review.confirm", pick=pick, key=key))
    _together(run, replace(step, act="review.close", pick=0))


def _time(run: Run, step: Step) -> None:
    """Let the clock go on or back."""
    run.set_clock(CLOCK[step.pick % len(CLOCK)])


KINDS: Mapping[str, Callable[[Run, Step], None]] = MappingProxyType(
    {
        "together": _together,
        "meanwhile": _meanwhile,
        "stopped again": _stopped_again,
        "ask": _ask,
        "keep": _keep,
        "sign": _sign,
        "keep approval": _keep_approval,
        "alone": _alone,
        "again": _again,
        "complete": _complete,
        "take from": _take_from,
        "replay": _replay,
        "all at once": _all_at_once,
        "ask anew": _ask_anew,
        "machine": _machine_asks,
        "auditor": _auditor_tries,
        "review": _review,
        "time": _time,
        "restart": lambda run, _step: run.restart(),
        "audit": lambda run, _step: run.audit(),
    }
)
"""What each kind of step does."""

OFTEN = (
    *(kind for kind in KINDS for _ in range(1 if kind in {"restart", "audit"} else 2)),
    *("together",) * 24,
    *("ask", "sign", "sign", "replay", "machine") * 2,
)
"""The kinds, as often as they are taken."""

ASKED = (
    *(*TABLE, *TABLE),
    *("credential.issue",) * 8,
    *("workload.enrol",) * 4,
    *("credential.revoke", "workload.suspend", "operator.remove", "bundle.create") * 2,
    *("operator.roles", "key.suspend", "key.activate"),
)
"""The acts, as often as they are asked for."""
