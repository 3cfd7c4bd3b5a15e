"""From a command to a decision: who signed, is it new, is it in time, may they, are they enough; then the act itself.

Everything here is pure: it reads the standing state and gives events or a refusal.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

from appliance import addressed, counting, policy
from appliance.authority import Authority, Custodian, Operator, Workload
from appliance.cedar import PolicySet
from appliance.decision import Ask, Decision, Event, Finished, Items, refused_members
from appliance.errors import Refusal, Refused
from appliance.exporting import decide_export
from appliance.lookups import Request
from appliance.nouns import (
    bundles,
    credentials,
    keys,
    operators,
    policies,
    profiles,
    requests,
    reviews,
    revocation,
    sites,
    trust,
    workloads,
)
from appliance.standing import Standing
from coldcred import names
from coldcred.acts import RULES, Act
from coldcred.asked import Asked
from coldcred.batch import is_batch
from coldcred.canonical import Json, sha256_hex
from coldcred.command import RENDERING, Approval, Command, Verdict, attachments_named
from coldcred.errors import Malformed
from coldcred.log.unkept import HEAD, KEPT_WHOLE
from coldcred.record import Record

MOST_APPROVALS = 256
"""Most people whose approvals of one request count: an entry names each of them."""

MOST_PROFILES = 256
"""Most profiles that the lines of a batch name where it waits for people."""

Random: TypeAlias = Callable[[int], bytes]


def check_manner(standing: Standing, command: Command, *, batch: bool) -> None:
    """Refuse a batch that came as a single command, and the other way round; so too what completes one."""
    found = command.act is Act.CREDENTIAL_ISSUE and is_batch(command.args)
    if command.act is Act.REQUEST_COMPLETE:
        request = standing.lookups.requests.get(str(command.args.get("request")))
        found = batch if request is None else request.is_batch
    if found != batch:
        detail = "a batch is sent as a batch, and nothing else is"
        raise Refused(Refusal.MALFORMED, detail, "R8 a batch is sent as one")


def hold(standing: Standing, ask: Ask, items: Items, now: int) -> Ask:
    """Hold a command to its time and whoever asked to what stands; gives it with what it is decided under.

    `items` are the lines of its batch. Raises `Refused`.
    """
    found = addressed.signer(standing, ask.command)
    addressed.check_time(ask.command, now)
    policy.check_confirmed(standing.authority, {ask.person}, ask.command.act, now)
    asking = policy.principal(found)
    ask = replace(ask, ruled=policy.ruled(standing.authority, standing.policies, asking, ask.command, items))
    if isinstance(found, Workload):
        workloads.check_active(standing.authority, found, now)
    return ask


def check_key(standing: Standing, request: Request) -> None:
    """Return while the key that asked for a request is in use; refuse otherwise, for what it asked for ends with it."""
    if standing.authority.signer(request.kid) is None:
        detail = "the key that asked for it signs nothing more; ask anew"
        raise Refused(Refusal.UNKNOWN_SIGNER, detail, rule="R3 enrolled people")


def asked_before(standing: Standing, request: Request, items: Items, now: int) -> Ask:
    """Give a request again as it was asked for, with the approvals that count at `now`; held to nothing yet."""
    authority, blob = standing.authority, standing.archive.blob
    command = addressed.read_command(standing, blob(request.document).decode("ascii"))
    given = counting.counted(authority, request, now)
    return Ask(
        command,
        request.person,
        request.people_with(given.values()),
        tuple(sorted(given)),
        {digest: blob(digest) for digest in request.attachments},
        policy.under(authority, command, items),
    )


def check_still_asks(standing: Standing, command: Command, now: int) -> None:
    """Return while the command lives and whoever asked may still ask; one of many steps is held to it at each."""
    addressed.check_time(command, now)
    policy.permit(policy.principal(addressed.signer(standing, command)), command.act, policy.Resource())


def refuse(standing: Standing, ask: Ask, refused: Refused) -> Decision:
    """End an authenticated command that is not carried out.

    Its document is kept whole where it is short, so that its signature can be checked; of a longer one the entry has
    the SHA-256, the size and the beginning (rule R40). What an entry before it names is here already.
    """
    lookups, id_ = standing.lookups, ask.command.id
    if id_ in lookups.requests or id_ in lookups.under_way:
        return Decision((ask.event("command.refused", refused_members(refused)),))
    if is_batch(ask.command.args) or len(ask.command.token) > KEPT_WHOLE:
        # Without all of it nobody can say which profiles it names.
        ask = replace(ask, ruled=replace(ask.ruled, profiles=None))
    document = ask.command.token.encode()
    if len(document) > KEPT_WHOLE:
        members: Event = {"head": ask.command.token[:HEAD], "size": len(document)}
        return Decision((ask.event("command.refused", {**refused_members(refused), **members}),))
    event = ask.event("command.refused", refused_members(refused))
    return Decision((event,), blobs={sha256_hex(document): document})


def approval_event(standing: Standing, approval: Approval, now: int) -> Event:
    """Give the event of an approval that counts, or of a denial; raises `Refused`."""
    addressed.check_time(approval, now)
    authority, request = standing.authority, standing.lookups.requests.get(approval.command)
    if request is None:
        raise Refused(Refusal.UNKNOWN_REQUEST, f"no request {approval.command[:16]} waits here")
    by = addressed.approver(standing, approval)
    if approval.verdict is Verdict.APPROVE:
        counting.check_approver(authority, by, request.person, Act(request.act), now)
    else:
        policy.check_may_approve(policy.principal(by), request.person, Act(request.act))
    if now >= request.expires_at:
        raise Refused(Refusal.EXPIRED, "the request it is about has ended")
    have = {*counting.counted(authority, request, now).values()}
    if approval.verdict is Verdict.APPROVE:
        if by.person in have:
            detail = f"{by.person} approved this already; another key of the same person adds nobody"
            raise Refused(Refusal.ALREADY_APPROVED, detail)
        if request.rendering != RENDERING:
            detail = "it began to wait when approvers were shown less than they are now; ask for it anew"
            raise Refused(Refusal.APPROVAL_VOID, detail)
        if len(have) >= MOST_APPROVALS:
            raise Refused(Refusal.QUOTA_EXCEEDED, f"{len(have)} people approved it, and no more are counted")
        if differs := approval.basis.differs(counting.basis(authority, request)):
            raise Refused(Refusal.APPROVAL_VOID, f"it was given for another {' and '.join(differs)} than what stands")
    event: Event = {
        **_about(approval, by),
        "kid": approval.signer,
        "expires": approval.expires_at,
        "basis": approval.basis.as_json(),
        "people": [*sorted(request.people_with({*have, by.person}))],
        "need": request.need,
    }
    if approval.reason is not None:
        event["reason"] = approval.reason
    return {"type": "approval.given", **event}


def approval_refused_event(standing: Standing, approval: Approval, refused: Refused) -> Event:
    """Give the event of an authenticated approval that does not count."""
    about = _about(approval, addressed.approver(standing, approval))
    return {"type": "approval.refused", **about, "expires": approval.expires_at, **refused_members(refused)}


def _about(approval: Approval, by: Operator | Custodian) -> Event:
    return {
        "approval": approval.id,
        "request": approval.command,
        "verdict": approval.verdict.value,
        "by": by.person,
        "document": sha256_hex(approval.token.encode()),
    }


def check_beside(command: Command, attachments: Mapping[str, bytes], *, waits: bool) -> None:
    """Refuse, unrecorded, a command that comes with anything but what it names, or without it before it waits.

    Otherwise whoever sent somebody's command first could spoil it.
    """
    named = attachments_named(command.act, command.args)
    if attachments.keys() - named:
        raise Refused(Refusal.MALFORMED, "something travels beside the command that it does not name")
    if not waits and (missing := sorted(named - attachments.keys())):
        raise Refused(Refusal.MALFORMED, f"what it names by {missing[0][:16]} does not travel beside it")


def check_early(standing: Standing, ask: Ask, named: Collection[str], now: int) -> None:
    """Refuse what could never be carried out before people are asked to approve it; raises `Refused`.

    `named` are the profiles that it is about, which its entry is to list. An act that always takes people is decided
    for trial: what has not the form it must have is refused, while anything else may be otherwise by then.
    """
    args, act = ask.command.args, ask.command.act
    if len(named) > MOST_PROFILES:
        raise Refused(Refusal.MALFORMED, f"a batch that waits for people names at most {MOST_PROFILES} profiles")
    try:
        names.check_texts(args)
        if act is Act.POLICY_SET:
            policies.read(standing.authority, Record(args, act), ask.attachments)
        elif act is Act.CREDENTIAL_ISSUE and not is_batch(args):
            Asked.read(Record(args, act))
        elif RULES[act].people > 1:
            _DECIDERS[act](standing, ask, now, bytes)  # nothing is drawn but for a credential
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error)) from error
    except Refused as refused:
        if act is Act.POLICY_SET or refused.reason is Refusal.MALFORMED:
            raise


def counts_as(standing: Standing, act: Act, args: Mapping[str, Json]) -> Act:
    """Give the act that a command counts as where room is short: a bundle with a revocation is part of revoking."""
    carries = act is Act.BUNDLE_CREATE and standing.lookups.owes(str(args.get("site")))
    return Act.CREDENTIAL_REVOKE if carries else act


def foreseen(standing: Standing, ask: Ask, now: int) -> tuple[str, ...]:
    """Say what stands in the way of a command that is about to wait for people, as if all of them had signed already.

    It may be otherwise when they have, so it is a warning: nobody has to be fetched to find it out. Of a batch nothing
    is said, since its lines are decided one by one.
    """
    act, args = ask.command.act, ask.command.args
    if act is Act.CREDENTIAL_ISSUE and is_batch(args):
        return ()
    enrolled = {*standing.authority.people, *(one.person for one in standing.authority.custodians.values())}
    try:
        decision = decide(standing, replace(ask, people=ask.people | enrolled), now, bytes)  # what it draws is not used
    except Refused as refused:
        return (f"with everybody's signature it would still be refused now ({refused.id}): {refused.detail}",)
    finished = None if decision.signings else decision.finish(())
    return finished.warnings if isinstance(finished, Finished) else ()


def check_signers(standing: Standing, ask: Ask, now: int) -> None:
    """Return while everyone who stands behind a command is confirmed; what takes many steps is held to it at each."""
    policy.check_confirmed(standing.authority, ask.people | {ask.person}, ask.command.act, now)


def decide(standing: Standing, ask: Ask, now: int, random: Random) -> Decision:
    """Decide the act that a sufficiently signed command asks for; raises `Refused`."""
    try:
        names.check_texts(ask.command.args)
        return _DECIDERS[ask.command.act](standing, ask, now, random)
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error)) from error


def decide_whole(standing: Standing, ask: Ask, now: int, random: Random) -> Decision:
    """Decide, and see that the keys that are to sign can; raises `Refused`."""
    decision = decide(standing, ask, now, random)
    keys.check_usable(standing.authority, standing.opened, decision.signings, now)
    return decision


_Decider: TypeAlias = Callable[[Standing, Ask, int, Random], Decision]


def _issue(standing: Standing, ask: Ask, now: int, random: Random) -> Decision:
    return credentials.decide_issue(standing.authority, standing.lookups, ask, now, random)


def _bundle(standing: Standing, ask: Ask, now: int, _random: Random) -> Decision:
    authority, lookups, read = standing.authority, standing.lookups, standing.archive.blob
    return bundles.decide_create(authority, lookups, standing.tree, read, ask, now)


def _trust(standing: Standing, ask: Ask, now: int, _random: Random) -> Decision:
    return trust.decide_submit(standing.authority, standing.archive.blob, ask, now)


def _read(_standing: Standing, ask: Ask, _now: int, _random: Random) -> Decision:
    Record(ask.command.args, Act.READ_OPEN).done()
    return Decision((ask.event("reading.opened", {}, {}),))


def _complete(standing: Standing, ask: Ask, now: int, _random: Random) -> Decision:
    lacks = partial(counting.lacks, standing.authority, now=now)
    return requests.decide_complete(standing.lookups, lacks, ask, now)


def _knowing(decider: Callable[[Authority, Ask], Decision]) -> _Decider:
    """Give what decides by authority alone."""
    return lambda standing, ask, _now, _random: decider(standing.authority, ask)


def _timed(decider: Callable[[Authority, Ask, int], Decision]) -> _Decider:
    """Give what decides by authority and time."""
    return lambda standing, ask, now, _random: decider(standing.authority, ask, now)


def _ruled(decider: Callable[[Authority, PolicySet, Ask, int], Decision]) -> _Decider:
    """Give what decides by authority, the policies in force and time."""
    return lambda standing, ask, now, _random: decider(standing.authority, standing.policies, ask, now)


_DECIDERS: Mapping[Act, _Decider] = MappingProxyType(
    {
        Act.CREDENTIAL_ISSUE: _issue,
        Act.CREDENTIAL_REVOKE: lambda standing, ask, now, _random: revocation.decide_revoke(
            standing.authority, standing.lookups, ask, now
        ),
        Act.WORKLOAD_ENROL: _timed(workloads.decide_enrol),
        Act.WORKLOAD_SUSPEND: _knowing(workloads.decide_suspend),
        Act.WORKLOAD_RESUME: _knowing(workloads.decide_resume),
        Act.PROFILE_SET: lambda standing, ask, now, _random: profiles.decide_set(
            standing.authority, standing.lookups, ask, now
        ),
        Act.SITE_ADD: _knowing(sites.decide_add),
        Act.TRUST_SUBMIT: _trust,
        Act.BUNDLE_CREATE: _bundle,
        Act.LOG_EXPORT: lambda standing, ask, now, _random: decide_export(standing, ask, now),
        Act.READ_OPEN: _read,
        Act.KEY_SUSPEND: _knowing(keys.decide_suspend),
        Act.KEY_ACTIVATE: _knowing(keys.decide_activate),
        Act.REQUEST_WITHDRAW: lambda standing, ask, now, _random: requests.decide_withdraw(standing.lookups, ask, now),
        Act.REQUEST_COMPLETE: _complete,
        Act.POLICY_SET: _knowing(policies.decide_set),
        Act.OPERATOR_ADD: _timed(operators.decide_add),
        Act.OPERATOR_REMOVE: _ruled(operators.decide_remove),
        Act.OPERATOR_ROLES: _ruled(operators.decide_roles),
        Act.OPERATOR_REPLACE_KEY: _timed(operators.decide_replace_key),
        Act.OPERATOR_RECOVER: _ruled(operators.decide_recover),
        Act.WORKLOAD_ADOPT: _timed(workloads.decide_adopt),
        Act.REVIEW_START: _timed(reviews.decide_start),
        Act.REVIEW_CONFIRM: _timed(reviews.decide_confirm),
        Act.REVIEW_CLOSE: _timed(reviews.decide_close),
    }
)
"""What decides each act; `tests/appliance/test_policy.py` holds it to be whole."""
