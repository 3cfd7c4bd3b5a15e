"""Revocation: one credential, or all of a workload, a profile or a signing key that are alive when it is asked for."""

from collections.abc import Callable, Iterable, Mapping

from appliance.authority import Authority
from appliance.decision import Ask, Decision, Finished
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from coldcred.canonical import Json, dumps
from coldcred.log.live import By, Issued, Selector, tally
from coldcred.record import Record

LONGEST_LIST = 16 * 1024 * 1024
"""Bytes of the list that is handed over; what goes beyond it is revoked all the same."""


def decide_revoke(authority: Authority, lookups: Lookups, ask: Ask, now: int) -> Decision:
    """Revoke: args `reason` and one of `credential`, `workload`, `profile` and `key`; what is issued later is not."""
    args = Record(ask.command.args, "credential.revoke")
    selector, reason = Selector.read(args), args.text("reason", max_chars=256)
    args.done()
    _KNOWN[selector.by](authority, lookups, selector.value, now)
    found = list(lookups.live.select(selector, now))
    if not found:
        raise Refused(Refusal.NOTHING_TO_REVOKE, f"nothing that lives under {selector} is left unrevoked")
    members: dict[str, Json] = {"selector": selector.as_json(), "reason": reason, "as_of": now}
    result: dict[str, Json] = {
        "selector": selector.as_json(),
        **tally(issued for _, issued in found),
        "next_bundle": authority.next_bundle,
    }
    event = ask.event("credential.revoked", members, result)
    return Decision((event,), finish=lambda _signatures: Finished({"revoked": _listed(found)}))


def _listed(found: Iterable[tuple[str, Issued]]) -> bytes:
    """Give the list of what is revoked, a line of canonical JSON each, as far as it can be handed over."""
    lines, size = [], 0
    for jti, issued in found:
        line = dumps(
            {
                "exp": issued.expires_at,
                "jti": jti,
                "profile": issued.profile,
                "site": issued.site,
                "workload": issued.workload,
            }
        )
        size += len(line) + 1
        if size > LONGEST_LIST:
            break
        lines.append(line + b"\n")
    return b"".join(sorted(lines))


def _check_credential(_authority: Authority, lookups: Lookups, jti: str, now: int) -> None:
    issued = lookups.issued.get(jti)
    if issued is None or issued.expires_at <= now:
        raise Refused(Refusal.UNKNOWN_CREDENTIAL, f"credential {jti} was not issued here, or it has ended")
    if lookups.is_revoked(issued):
        raise Refused(Refusal.NOTHING_TO_REVOKE, f"credential {jti} is revoked already")


def _check_workload(authority: Authority, _lookups: Lookups, spiffe_id: str, _now: int) -> None:
    if spiffe_id not in authority.workloads:
        raise Refused(Refusal.UNKNOWN_WORKLOAD, f"{spiffe_id} is not enrolled")


def _check_profile(authority: Authority, _lookups: Lookups, name: str, _now: int) -> None:
    if name not in authority.profiles:
        raise Refused(Refusal.UNKNOWN_PROFILE, f"no profile {name}")


def _check_key(authority: Authority, _lookups: Lookups, kid: str, _now: int) -> None:
    if all(key.public is None or key.public.thumbprint != kid for key in authority.keys.values()):
        raise Refused(Refusal.UNKNOWN_KEY, f"no signing key has the kid {kid}")


_KNOWN: Mapping[By, Callable[[Authority, Lookups, str, int], None]] = {
    By.CREDENTIAL: _check_credential,
    By.WORKLOAD: _check_workload,
    By.PROFILE: _check_profile,
    By.KEY: _check_key,
}
