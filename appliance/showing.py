"""What approvers are shown of a command, as the appliance reckons it when the command begins to wait (R9, R37)."""

from collections.abc import Collection, Mapping

from appliance import policy
from appliance.authority import Authority
from appliance.decision import Ask, Event, Items
from appliance.errors import Refusal, Refused
from coldcred.acts import Act
from coldcred.canonical import loads, sha256_hex
from coldcred.command import RENDERING, profiles_named
from coldcred.errors import BadSignature, Malformed
from coldcred.jose import parse_unverified
from coldcred.record import Record
from coldcred.rendering import frame, whole

_RULE = "R37 what is signed for is shown"


def shown(ask: Ask, beside: bytes | None) -> str:
    """Give the SHA-256 of what approvers are shown of a command; `beside` are the lines of its batch, written already.

    Raises `Refused` where something that travels beside it cannot be shown, or is not signed by whom it names.
    """
    try:
        if beside is None:
            return whole.shown(ask.command, ask.person, ask.attachments)
        return sha256_hex(frame.text(whole.alone(ask.command, ask.person)) + beside)
    except BadSignature as error:
        raise Refused(Refusal.BAD_SIGNATURE, str(error)) from error
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error), _RULE) from error


def waiting_event(ask: Ask, need: int, named: Collection[str], told: str) -> Event:
    """Give the event of a command that waits for more people.

    `named` are the profiles that it is about, `told` the SHA-256 of what its approvers are shown.
    """
    members: Event = {
        "kid": ask.command.signer,
        "need": need,
        "expires": ask.command.expires_at,
        "attachments": [*sorted(ask.attachments)],
        "shown": told,
        "rendering": RENDERING,
    }
    if named:
        members["named"] = [*sorted(named)]
    return ask.event("command.waiting", members)


def beside_of_batch(authority: Authority, token: str, attachments: Mapping[str, bytes], items: Items) -> bytes | None:
    """Write what approvers are shown of a batch, while others are served; None where it waits for nobody.

    Nothing of the command is believed yet. Raises `Refused` where something beside it cannot be shown.
    """
    try:
        claims = Record.of(loads(parse_unverified(token).payload), "command")
        if claims.text("act") != Act.CREDENTIAL_ISSUE:
            return None
        args = claims.record("args").members()
        named = profiles_named(Act.CREDENTIAL_ISSUE, args, items)
        if policy.people_for(authority, Act.CREDENTIAL_ISSUE, named, "") <= 1:
            return None
        return frame.text(whole.attached(Act.CREDENTIAL_ISSUE, args, attachments, items))
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error), _RULE) from error
