"""Signing keys: ordered first, then done, so that an object in the token always answers to an entry (rule R14)."""

from dataclasses import replace

from appliance.authority import Authority, SigningKey
from appliance.decision import Event
from coldcred import charter
from coldcred.canonical import Json
from coldcred.keys import PublicKey
from coldcred.record import Record

KEY_ID_BYTES = 16


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
