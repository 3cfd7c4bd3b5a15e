"""Credentials: decided within profile, workload, site, plan and charter; revoked by their status bit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from appliance.authority import Authority, SigningKey, Workload
from appliance.decision import Ask, Decision, Finished, Signing, signs
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from appliance.writers import jwt
from coldcred import names
from coldcred.canonical import Json, b64u_encode
from coldcred.charter import TokenCharter
from coldcred.credential import Credential, StatusReference
from coldcred.errors import CharterExceeded
from coldcred.founding import Site
from coldcred.jose import assemble
from coldcred.keys import PublicKey
from coldcred.profile import Profile
from coldcred.record import Record
from coldcred.status import SIZE

JTI_BYTES = 16
FULLEST_LIST = 0.5

Random: TypeAlias = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments of `credential.issue`; a lifetime in seconds."""

    profile: str
    workload: str
    audience: str
    scopes: tuple[str, ...]
    lifetime: int | None
    purpose: str | None
    task: str | None


def decide_issue(authority: Authority, lookups: Lookups, ask: Ask, now: int, random: Random) -> Decision:
    """Issue one credential, valid from now: args `profile`, `workload`, `audience`, and what narrows them."""
    request = _read(ask)
    profile, workload = _subject(authority, request, now)
    _check_profile(profile, request)
    lifetime = request.lifetime or profile.lifetime
    site, list_uri = _status_list(authority, lookups, request.audience)
    key, public = _key(authority, profile, now, now + lifetime)
    credential = Credential(
        kind=profile.kind,
        issuer=authority.founding.issuer,
        subject=workload.id,
        audiences=(request.audience,),
        scopes=request.scopes,
        jti=b64u_encode(random(JTI_BYTES)),
        issued_at=now,
        not_before=now,
        expires_at=now + lifetime,
        status=StatusReference(list_uri, _free_index(lookups, list_uri, random)),
        log_index=lookups.size,
        profile=profile.name,
        confirmation=_confirmation(profile, workload),
        purpose=request.purpose,
        task=request.task,
    )
    _check_charter(key, credential)
    data = jwt.write(credential, public)
    event = ask.event(
        "credential.issued",
        {
            "workload": workload.id,
            "profile": profile.name,
            "audience": request.audience,
            "scopes": list(request.scopes),
            "site": site.name,
            "signs": signs((public.thumbprint, data)),
        },
        _result(credential, site),
    )
    return Decision(
        (event,),
        (Signing(0, key.key_id, data),),
        finish=lambda signatures: Finished({"token": assemble(data, signatures[0]).encode("ascii")}),
    )


def _read(ask: Ask) -> _Request:
    args = Record(ask.command.args, "credential.issue")
    request = _Request(
        profile=names.label(args.text("profile"), "profile name"),
        workload=names.spiffe_id(args.text("workload")),
        audience=names.audience(args.text("audience")),
        scopes=tuple(names.scope_token(text) for text in args.optional_texts("scopes") or ()),
        lifetime=args.optional_integer("ttl", least=1),
        purpose=args.optional_text("purpose", max_chars=256),
        task=args.optional_text("task", max_chars=256),
    )
    args.done()
    return request


def _subject(authority: Authority, request: _Request, now: int) -> tuple[Profile, Workload]:
    profile = authority.profiles.get(request.profile)
    if profile is None:
        raise Refused(Refusal.UNKNOWN_PROFILE, f"no profile {request.profile}")
    workload = authority.workloads.get(request.workload)
    if workload is None:
        raise Refused(Refusal.UNKNOWN_WORKLOAD, f"{request.workload} is not enrolled")
    if now >= workload.review_by:
        raise Refused(Refusal.REVIEW_OVERDUE, f"{workload.id} was to be reviewed by its owner {workload.owner}")
    return profile, workload


def _check_profile(profile: Profile, request: _Request) -> None:
    """Hold the request to the profile: it may narrow, never widen."""
    if not any(names.matches(pattern, request.workload) for pattern in profile.subjects):
        raise Refused(Refusal.OUTSIDE_PROFILE, f"profile {profile.name} is not for {request.workload}")
    if request.audience not in profile.audiences:
        raise Refused(Refusal.OUTSIDE_PROFILE, f"profile {profile.name} is not for audience {request.audience}")
    if wide := [scope for scope in request.scopes if scope not in profile.scopes]:
        raise Refused(Refusal.OUTSIDE_PROFILE, f"profile {profile.name} does not grant scope {wide[0]}")
    if request.lifetime is not None and request.lifetime > profile.lifetime:
        limit = profile.lifetime
        raise Refused(Refusal.OUTSIDE_PROFILE, f"{request.lifetime} s where profile {profile.name} allows {limit}")


def _status_list(authority: Authority, lookups: Lookups, audience: str) -> tuple[Site, str]:
    """Find the audience's site and the status list that a bundle of that site already holds (rule R23)."""
    site = authority.site_of(audience)
    if site is None:
        raise Refused(Refusal.UNKNOWN_SITE, f"no site answers for audience {audience}")
    shipped = lookups.shipped.get(site.name)
    if not shipped:
        raise Refused(
            Refusal.NO_BUNDLE, f"no bundle was made for site {site.name} yet, so it could not see a revocation"
        )
    open_lists = (uri for uri in shipped if lookups.fill(uri) < FULLEST_LIST)
    if (uri := next(open_lists, None)) is None:
        raise Refused(Refusal.LIST_FULL, f"half of the indices of every list of site {site.name} are given out")
    return site, uri


def _key(authority: Authority, profile: Profile, now: int, expires_at: int) -> tuple[SigningKey, PublicKey]:
    """Find the key for this kind and a published window that it signs in and that covers the lifetime."""
    if authority.trust is None:
        raise Refused(Refusal.NO_TRUST, "the custodians have not signed any trust yet")
    key = authority.key_for("tokens", profile.kind)
    if key is None or key.public is None:
        raise Refused(Refusal.KEY_NOT_READY, f"no key for {profile.kind} credentials")
    kid = key.public.thumbprint
    windows = [window for window in authority.trust.windows if window.not_before <= now and kid in window.sign]
    end = min(max((window.expires_at for window in windows), default=0), key.not_after)
    if expires_at > end:
        left = max(0, end - now)
        raise Refused(Refusal.NO_WINDOW, f"the published windows leave {left} s, {expires_at - now} s were asked for")
    return key, key.public


def _free_index(lookups: Lookups, list_uri: str, random: Random) -> int:
    """Draw a random index that was never given out; half-full lists are closed, so that this stays quick."""
    while True:
        index = int.from_bytes(random(4)) % SIZE
        if lookups.is_free(list_uri, index):
            return index


def _confirmation(profile: Profile, workload: Workload) -> str | None:
    if not profile.holder_binding:
        return None
    if workload.key is None:
        raise Refused(Refusal.OUTSIDE_PROFILE, f"profile {profile.name} binds the holder; {workload.id} has no key")
    return workload.key.thumbprint


def _check_charter(key: SigningKey, credential: Credential) -> None:
    if not isinstance(key.charter, TokenCharter):
        raise Refused(Refusal.CHARTER_EXCEEDED, f"key {key.name} signs no credentials")
    try:
        key.charter.check(credential)
    except CharterExceeded as error:
        raise Refused(Refusal.CHARTER_EXCEEDED, str(error)) from error


def _result(credential: Credential, site: Site) -> dict[str, Json]:
    return {
        "jti": credential.jti,
        "iat": credential.issued_at,
        "nbf": credential.not_before,
        "exp": credential.expires_at,
        "status": {"idx": credential.status.index, "uri": credential.status.uri},
        "log": credential.log_index,
        "site": site.name,
    }


def decide_revoke(lookups: Lookups, ask: Ask) -> Decision:
    """Revoke one credential: args `credential` (its jti) and `reason`."""
    args = Record(ask.command.args, "credential.revoke")
    jti, reason = names.jti(args.text("credential")), args.text("reason", max_chars=256)
    args.done()
    issued = lookups.issued.get(jti)
    if issued is None:
        raise Refused(Refusal.UNKNOWN_CREDENTIAL, f"no credential {jti} was issued here")
    result: dict[str, Json] = {"credential": jti, "exp": issued.expires_at, "log": issued.seq}
    return Decision((ask.event("credential.revoked", {"credential": jti, "reason": reason}, result),))
