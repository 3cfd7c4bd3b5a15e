"""Signing keys: ordered first, then done, so that an object in the token always answers to an entry (rule R14)."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from appliance.authority import Authority, SigningKey
from appliance.decision import Ask, Decision, Event, Signing
from appliance.errors import Refusal, Refused
from appliance.nouns import suspensions
from coldcred import charter, names
from coldcred.canonical import Json
from coldcred.charter import Purpose
from coldcred.credential import Kind
from coldcred.keys import PublicKey
from coldcred.record import Record

KEY_ID_BYTES = 16

_OPEN = "R5 tokens that are open"


def ordered(authority: Authority, name: str, key_id: str) -> Event:
    """Give the event that orders a key of the founding's plan under a CKA_ID (hex) chosen by us."""
    plan = next(plan for plan in authority.founding.keys if plan.name == name)
    return {
        "type": "key.ordered",
        "name": name,
        "id": key_id,
        "token": plan.token,
        "charter": plan.charter.as_json(),
    }


def done(authority: Authority, name: str, public: PublicKey, now: int) -> Event:
    """Give the event that records the public half and the validity of an ordered key."""
    plan = next(plan for plan in authority.founding.keys if plan.name == name)
    jwk: dict[str, Json] = public.jwk()
    return {"type": "key.done", "name": name, "public": jwk, "not_before": now, "not_after": now + plan.valid_for}


def evolve_ordered(authority: Authority, event: Event, time: int) -> Authority:
    """Fold `key.ordered`."""
    record = Record(event, "key.ordered")
    key = SigningKey(
        name=record.text("name"),
        key_id=record.text("id"),
        token=record.text("token"),
        charter=charter.parse(record.value("charter")),
        ordered_at=time,
    )
    return authority.with_member("keys", key.name, key)


def evolve_done(authority: Authority, event: Event) -> Authority:
    """Fold `key.done`."""
    record = Record(event, "key.done")
    key = authority.keys[record.text("name")]
    public = PublicKey.from_jwk(record.value("public"))
    finished = replace(
        key, public=public, not_before=record.integer("not_before"), not_after=record.integer("not_after")
    )
    authority = authority.with_member("keys", key.name, finished)
    return authority.with_member("registers", public.thumbprint, "appliance")


def ready(authority: Authority, purpose: str, kind: Kind | None = None) -> tuple[SigningKey, PublicKey]:
    """Give the key for a purpose, and for tokens of this kind; `Refused` while it is not made, or is suspended."""
    key = authority.key_for(purpose, kind)
    if key is None or key.public is None:
        what = f"the {purpose} key is not made yet" if kind is None else f"no key for {kind} credentials"
        raise Refused(Refusal.KEY_NOT_READY, what)
    _check_active(key)
    return key, key.public


def check_usable(authority: Authority, opened: Collection[str], signings: Iterable[Signing], now: int) -> None:
    """Return when no key that is to sign is suspended or has ended, whatever was so when it was decided.

    And all can be reached: `opened` has the tokens that this run opened; a ceremony's stays closed on most days (R5).
    """
    wanted = {signing.key_id for signing in signings}
    for key in authority.keys.values():
        if key.key_id in wanted:
            _check_active(key)
            check_dates(key, now)
            if key.token not in opened:
                detail = f"key {key.name} is on token {key.token}, which is not open"
                raise Refused(Refusal.KEY_NOT_READY, detail, rule=_OPEN)


def check_dates(key: SigningKey, now: int) -> None:
    """Return while `key` acts: until its end, or for a key of credentials, whose window is held to it, ever (R41)."""
    if key.charter.purpose is not Purpose.TOKENS and now >= key.not_after:
        raise Refused(Refusal.KEY_ENDED, f"{ended(key)}, so it signs nothing")


def ended(key: SigningKey) -> str:
    """Say in words which key ended when."""
    return f"key {key.name} ended at {datetime.fromtimestamp(key.not_after, UTC):%Y-%m-%dT%H:%M:%SZ}"


def signs_log(authority: Authority, opened: Collection[str], now: int) -> bool:
    """Whether checkpoints can be signed at `now`: the log key is made, reached, not suspended, and has not ended."""
    key = authority.key_for(Purpose.LOG)
    return key is not None and key.token in opened and not key.suspended and now < key.not_after


def _check_active(key: SigningKey) -> None:
    if key.suspended:
        raise Refused(Refusal.KEY_SUSPENDED, f"key {key.name} is suspended, so it signs nothing", _suspension(key))


def _suspension(key: SigningKey) -> str:
    return f"suspension of key {key.name}"


def decide_suspend(authority: Authority, ask: Ask) -> Decision:
    """Have a key sign nothing from now on: args `key` (its name) and `reason`; what it signed is not revoked."""
    key, members = _named(authority, ask)
    if key.suspended:
        raise Refused(Refusal.KEY_SUSPENDED, f"key {key.name} is suspended already", _suspension(key))
    return Decision((ask.event("key.suspended", members, {"key": key.name}),))


def decide_activate(authority: Authority, ask: Ask) -> Decision:
    """Have a suspended key sign again: args `key` (its name) and `reason`."""
    key, members = _named(authority, ask)
    if not key.suspended:
        raise Refused(Refusal.NOT_SUSPENDED, f"key {key.name} is not suspended")
    suspensions.check_asked_since(ask, key.suspended_at, Refusal.KEY_SUSPENDED, f"key {key.name}")
    return Decision((ask.event("key.activated", members, {"key": key.name}),))


def _named(authority: Authority, ask: Ask) -> tuple[SigningKey, dict[str, Json]]:
    args = Record(ask.command.args, ask.command.act)
    name, reason = (
        names.label(args.text("key"), "key name"),
        names.plain_text(args.text("reason", max_chars=256), "reason"),
    )
    args.done()
    key = authority.keys.get(name)
    if key is None:
        raise Refused(Refusal.UNKNOWN_KEY, f"no signing key is called {name}")
    if key.public is None:
        raise Refused(Refusal.KEY_NOT_READY, f"key {name} is not made yet")
    return key, {"key": name, "reason": reason}


def evolve_suspended(authority: Authority, event: Event, since: int | None) -> Authority:
    """Fold `key.suspended` of a moment, or `key.activated`, since when it is not."""
    key = authority.keys[Record(event, "key").text("key")]
    return authority.with_member("keys", key.name, replace(key, suspended_at=since))
