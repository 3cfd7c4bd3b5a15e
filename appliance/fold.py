"""Fold entries into authority and lookups: the only way either of them ever changes."""

from collections.abc import Callable, Mapping
from sys import intern
from types import MappingProxyType

from appliance.authority import Authority
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups, PolicySetting, Request
from appliance.nouns import bundles, keys, operators, policies, profiles, reviews, sites, trust, workloads
from appliance.outcome import Outcome, State
from appliance.pins import RefusedPins
from appliance.rules import rule_of
from coldcred.bundle.roles import SITE
from coldcred.canonical import Json
from coldcred.command import Basis
from coldcred.log import system
from coldcred.log.approvals import Given
from coldcred.log.entry import Entry
from coldcred.log.live import By, Issued, Selector
from coldcred.record import Record

SYSTEM_ENTRIES = 4096
"""System events alone are worth a checkpoint after so many of them."""

_SILENT = frozenset({"checkpoint", "outcomes"})
_FIRST_STEPS = frozenset({"batch.begun", "bundle.begun"})


def fold(authority: Authority, lookups: Lookups, entry: Entry) -> Authority:
    """Give the authority after `entry` and bring `lookups` up to date in place."""
    event = entry.event
    lookups.size, lookups.last_time = entry.seq + 1, entry.time
    if _is_worth_checkpoint(lookups, entry):
        lookups.worth_checkpoint += 1
    if event.get("signs"):
        lookups.open_intents[entry.seq] = event
    if (take := _LOOKUPS.get(entry.type)) is not None:
        take(lookups, entry)
    if entry.type in _FIRST_STEPS:
        lookups.under_way[str(event["command"])] = str(event["act"])
    if isinstance(result := event.get("result"), dict):
        _remember_done(lookups, entry, result)
    # Last, since an entry may speak of what ended between the entry before it and itself.
    lookups.advance(entry.time)
    return _fold_authority(authority, entry)


def _is_worth_checkpoint(lookups: Lookups, entry: Entry) -> bool:
    """Whether an entry calls for a checkpoint. Of system events in a row the first does, and one that ends many."""
    if entry.type in _SILENT:
        return False
    if entry.type not in system.EVENTS:
        lookups.system_events_only = False
        return True
    in_row, lookups.system_events_only = lookups.system_events_only, True
    return not in_row or lookups.size - lookups.checkpoint_size >= SYSTEM_ENTRIES


def _fold_authority(authority: Authority, entry: Entry) -> Authority:
    event = entry.event
    match entry.type:
        case "key.ordered":
            return keys.evolve_ordered(authority, event, entry.time)
        case "key.done":
            return keys.evolve_done(authority, event)
        case "key.suspended" | "key.activated":
            return keys.evolve_suspended(authority, event, entry.time if entry.type == "key.suspended" else None)
        case "workload.enrolled":
            return workloads.evolve_enrolled(authority, event)
        case "profile.set":
            return profiles.evolve_set(authority, event)
        case "policy.set":
            return policies.evolve_set(authority, event)
        case "site.added":
            return sites.evolve_added(authority, event)
        case "trust.submitted":
            return trust.evolve_submitted(authority, event)
        case "bundle.begun":
            return bundles.evolve(authority, event)
        case "workload.suspended" | "workload.resumed":
            since = entry.time if entry.type == "workload.suspended" else None
            return workloads.evolve_suspended(authority, event, since)
        case _:
            return _fold_people(authority, entry)


def _fold_people(authority: Authority, entry: Entry) -> Authority:
    event = entry.event
    match entry.type:
        case "operator.added":
            return operators.evolve_added(authority, event, entry.time)
        case "operator.removed":
            return operators.evolve_removed(authority, event)
        case "operator.roles-set":
            return operators.evolve_roles(authority, event)
        case "operator.key-replaced":
            return operators.evolve_key_replaced(authority, event)
        case "operator.recovered":
            return operators.evolve_recovered(authority, event, entry.time)
        case _:
            return _fold_answered_for(authority, entry)


def _fold_answered_for(authority: Authority, entry: Entry) -> Authority:
    event = entry.event
    match entry.type:
        case "workload.adopted":
            return workloads.evolve_adopted(authority, event)
        case "review.started":
            return reviews.evolve_started(authority, event)
        case "review.confirmed":
            return reviews.evolve_confirmed(authority, event)
        case "review.closed":
            return reviews.evolve_closed(authority, entry.time)
        case _:
            return authority


def _fold_refused(lookups: Lookups, entry: Entry) -> None:
    record = Record(entry.event, "command.refused")
    refused = Refused(Refusal(record.text("reason")), record.text("detail"), record.text("rule"))
    _remember_refused(lookups, entry.time, entry.event, refused)


def _fold_enrolled(lookups: Lookups, entry: Entry) -> None:
    workload = Record(entry.event, entry.type).record("workload").text("id")
    lookups.uses.workload_since.setdefault(workload, entry.time)


def _fold_profile(lookups: Lookups, entry: Entry) -> None:
    lookups.uses.profile_since[Record(entry.event, entry.type).record("profile").text("name")] = entry.time


def _fold_revoked(lookups: Lookups, entry: Entry) -> None:
    record = Record(entry.event, "credential.revoked")
    lookups.revoke_all(Selector.read(record.record("selector")), record.integer("as_of"))


def _fold_begun(lookups: Lookups, entry: Entry) -> None:
    lookups.begun_at[Record(entry.event, "bundle.begun").digest("command")] = lookups.size


def _fold_checkpoint(lookups: Lookups, entry: Entry) -> None:
    lookups.checkpoint_size = Record(entry.event, "checkpoint").integer("size")
    lookups.worth_checkpoint = 0


def _fold_bundle_signed(lookups: Lookups, entry: Entry) -> None:
    record = Record(entry.event, "bundle.signed")
    if record.text("role") == SITE:
        # Earlier releases did not say which checkpoint it lists; the newest before it is the one, but for chance.
        size = record.optional_integer("checkpoint")
        lookups.add_site_checkpoint(record.text("site"), lookups.checkpoint_size if size is None else size)


def _fold_policy(lookups: Lookups, entry: Entry) -> None:
    record = Record(entry.event, "policy.set")
    setting = PolicySetting(record.digest("text"), entry.seq, entry.time, record.texts("people"))
    lookups.policies.append(setting)


def _fold_pin(lookups: Lookups, entry: Entry) -> None:
    token = str(entry.event["token"])
    if entry.type == "pin.accepted":
        lookups.refused_pins.pop(token, None)
    else:
        lookups.refused_pins[token] = lookups.refused_pins.get(token, RefusedPins()).again(entry.time)


def _fold_clock(lookups: Lookups, entry: Entry) -> None:
    lookups.clock_behind = entry.type == "clock.behind"


def _fold_started(lookups: Lookups, entry: Entry) -> None:
    """End what a crash left half-done: it is not gone on with, and sending its command again says so."""
    for command, act in list(lookups.under_way.items()):
        event: dict[str, Json] = {"command": command, "act": act}
        detail = "the appliance stopped before it was done; ask anew"
        _remember_refused(lookups, entry.time, event, Refused(Refusal.STOPPING, detail))


def _fold_retired(lookups: Lookups, entry: Entry) -> None:
    """End the requests that retired keys signed, except those that are being carried out already."""
    retired = Record(entry.event, entry.type).texts("retires")
    for request in list(lookups.requests.values()):
        if request.kid in retired and request.command not in lookups.under_way:
            event: dict[str, Json] = {"command": request.command, "act": request.act}
            refused = Refused(Refusal.UNKNOWN_SIGNER, "the key that signed it was retired", rule="R3 enrolled people")
            _remember_refused(lookups, entry.time, event, refused)


def _fold_issued(lookups: Lookups, entry: Entry) -> None:
    record = Record(entry.event, "credential.issued")
    result = record.record("result")
    status = result.record("status")
    (sign,) = record.records("signs", least=1, most=1)
    issued = Issued(
        seq=entry.seq,
        list_uri=intern(status.text("uri")),
        index=status.integer("idx"),
        expires_at=result.integer("exp"),
        workload=intern(record.text("workload")),
        profile=intern(record.text("profile")),
        kid=intern(sign.text("kid")),
        site=intern(record.text("site")),
        issued_at=result.integer("iat"),
    )
    lookups.add_issued(result.text("jti"), issued)
    lookups.uses.issued(issued.workload, issued.profile, issued.kid, entry.time)


def _fold_chunk(lookups: Lookups, entry: Entry) -> None:
    record = Record(entry.event, "batch.issued")
    lines = lookups.batches.setdefault(record.digest("command"), {})
    as_of = record.integer("iat")
    for jti in record.texts("revokes"):
        lookups.revoke_all(Selector(By.CREDENTIAL, jti), as_of)
    for item, sign in zip(record.records("items"), record.records("signs"), strict=True):
        jti = item.text("jti")
        issued = Issued(
            seq=entry.seq,
            list_uri=intern(item.text("uri")),
            index=item.integer("idx"),
            expires_at=item.integer("exp"),
            workload=intern(item.text("workload")),
            profile=intern(item.text("profile")),
            kid=intern(sign.text("kid")),
            site=intern(item.text("site")),
            issued_at=as_of,
        )
        lookups.add_issued(jti, issued)
        lookups.uses.issued(issued.workload, issued.profile, issued.kid, entry.time)
        lines[item.integer("line", least=1)] = jti


def _fold_outcomes(lookups: Lookups, entry: Entry) -> None:
    record = Record(entry.event, "outcomes")
    for member in ("signed", "failed", "unknown"):
        for seq in record.array(member, most=100_000):
            if not isinstance(seq, int):
                continue
            intent = lookups.open_intents.pop(seq, None)
            if intent is None:
                continue
            if member != "signed":
                _fold_unsigned(lookups, entry.time, intent, member)
            elif intent["type"] == "bundle.created":
                # Only a bundle whose signatures were seen can have left; from now on its lists may be issued into.
                created = Record(intent, "bundle.created")
                lookups.ship(created.text("site"), created.texts("lists"), created.digest("command"))


def _fold_unsigned(lookups: Lookups, time: int, intent: dict[str, Json], member: str) -> None:
    """Revoke a credential whose signature failed or may exist unseen, and end its command as refused."""
    if intent["type"] == "credential.issued":
        result = Record.of(intent["result"], "credential.issued.result")
        status = result.record("status")
        lookups.revoke(result.text("jti"), status.text("uri"), status.integer("idx"))
    if intent["type"] == "batch.issued":
        # The batch ends with an entry of its own, which says how far it came.
        for item in Record(intent, "batch.issued").records("items"):
            lookups.revoke(item.text("jti"), item.text("uri"), item.integer("idx"))
    elif "command" in intent:
        detail = "the HSM did not sign" if member == "failed" else "the appliance stopped before it saw the signature"
        _remember_refused(lookups, time, intent, Refused(Refusal.HSM_FAULT, detail))


def _fold_waiting(lookups: Lookups, entry: Entry) -> None:
    record = Record(entry.event, "command.waiting")
    request = Request(
        command=record.digest("command"),
        document=record.digest("document"),
        attachments=record.texts("attachments"),
        act=record.text("act"),
        person=record.text("by"),
        need=record.integer("need"),
        expires_at=record.integer("expires"),
        kid=record.text("kid"),
        named=record.optional_texts("named") or (),
        shown=record.digest("shown"),
    )
    lookups.begin_request(request)
    _remember_request(lookups, entry.time, request)


def _fold_approval(lookups: Lookups, entry: Entry) -> None:
    record = Record(entry.event, "approval.given")
    request = lookups.requests[record.digest("request")]
    approval, person = record.digest("approval"), record.text("by")
    lookups.count_approval(approval, request.command)
    if record.text("verdict") == "deny":
        reason = record.optional_text("reason")
        detail = f"denied by {person}" if reason is None else f"denied by {person}: {reason}"
        _end_request(lookups, entry.time, request, Refused(Refusal.DENIED, detail))
        return
    basis = Basis.read(record.record("basis"))
    request.approvals[approval] = Given(person, record.text("kid"), basis, record.integer("expires"))
    _remember_request(lookups, entry.time, request)


def _fold_approval_refused(lookups: Lookups, entry: Entry) -> None:
    record = Record(entry.event, "approval.refused")
    refused = Refused(Refusal(record.text("reason")), record.text("detail"), record.text("rule"))
    lookups.refuse_approval(record.digest("approval"), refused, record.integer("expires"))


def _fold_withdrawn(lookups: Lookups, entry: Entry) -> None:
    record = Record(entry.event, "request.withdrawn")
    request = lookups.requests[record.digest("request")]
    _end_request(lookups, entry.time, request, Refused(Refusal.WITHDRAWN, f"withdrawn by {request.person}"))


def _end_request(lookups: Lookups, time: int, request: Request, refused: Refused) -> None:
    event: dict[str, Json] = {"command": request.command, "act": request.act}
    _remember_refused(lookups, time, event, refused)


def _remember_request(lookups: Lookups, time: int, request: Request) -> None:
    people = tuple(sorted(request.people))
    state = State.READY if len(people) >= request.need else State.WAITING
    outcome = Outcome(request.command, request.act, state, need=request.need, have=people)
    lookups.remember(outcome, time)


def _remember_done(lookups: Lookups, entry: Entry, result: dict[str, Json]) -> None:
    record = Record(entry.event, entry.type)
    people = record.texts("people")
    command = record.digest("command")
    lookups.end_request(command)
    lookups.under_way.pop(command, None)
    outcome = Outcome(command, record.text("act"), State.DONE, need=len(people), have=people, result=result)
    lookups.remember(outcome, entry.time)


def _remember_refused(lookups: Lookups, time: int, event: dict[str, Json], refused: Refused) -> None:
    command = str(event["command"])
    lookups.end_request(command)
    lookups.under_way.pop(command, None)
    act = str(event["act"])
    outcome = Outcome(command, act, State.REFUSED, refused.reason.value, refused.detail, rule_of(refused))
    lookups.remember(outcome, time)


_LOOKUPS: Mapping[str, Callable[[Lookups, Entry], None]] = MappingProxyType(
    {
        "approval.given": _fold_approval,
        "approval.refused": _fold_approval_refused,
        "batch.issued": _fold_chunk,
        "bundle.begun": _fold_begun,
        "bundle.signed": _fold_bundle_signed,
        "checkpoint": _fold_checkpoint,
        "clock.behind": _fold_clock,
        "clock.right": _fold_clock,
        "command.refused": _fold_refused,
        "command.waiting": _fold_waiting,
        "credential.issued": _fold_issued,
        "credential.revoked": _fold_revoked,
        "operator.key-replaced": _fold_retired,
        "operator.recovered": _fold_retired,
        "operator.removed": _fold_retired,
        "outcomes": _fold_outcomes,
        "pin.accepted": _fold_pin,
        "pin.refused": _fold_pin,
        "policy.set": _fold_policy,
        "profile.set": _fold_profile,
        "request.withdrawn": _fold_withdrawn,
        "started": _fold_started,
        "workload.enrolled": _fold_enrolled,
    }
)
"""What brings lookups up to date, by type of entry; other types change nothing there."""
