"""Credentials: decided within profile, workload, site, plan and charter; revoked by their status bit."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from appliance import combinations
from appliance.authority import Authority, SigningKey, Workload
from appliance.decision import Ask, Decision, Finished, Signing, signs
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from appliance.nouns import keys, workloads
from appliance.writers import jwt
from coldcred import names
from coldcred.asked import Asked
from coldcred.canonical import Json, b64u_encode
from coldcred.charter import Purpose, TokenCharter
from coldcred.credential import Credential, Kind, StatusReference
from coldcred.errors import CharterExceeded
from coldcred.founding import Site
from coldcred.jose import assemble
from coldcred.keys import PublicKey
from coldcred.log.combinations import Holdings
from coldcred.profile import Profile
from coldcred.record import Record
from coldcred.status import SIZE

JTI_BYTES = 16
FULLEST_LIST = 0.5

Random: TypeAlias = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request is given, all but its id and its place in a status list; the lifetime is in seconds."""

    asked: Asked
    kind: Kind
    issuer: str
    lifetime: int
    site: str
    list_uri: str
    key: SigningKey
    public: PublicKey
    confirmation: str | None


def decide_issue(authority: Authority, lookups: Lookups, ask: Ask, now: int, random: Random) -> Decision:
    """Issue one credential, valid from now: args `profile`, `workload`, `audience`, and what narrows them."""
    asked = Asked.read(Record(ask.command.args, "credential.issue"))
    granting = Granting(authority, lookups, authority.profiles, now)
    granted = granting.grant(asked)
    granting.check_combination(asked)
    index = free_index(lookups, granted.list_uri, random)
    credential = draw(granted, index, lookups.size, now, random)
    data = jwt.write(credential, granted.public)
    warnings = workloads.warnings(authority, authority.workloads[asked.workload], now)
    event = ask.event(
        "credential.issued",
        {
            "workload": asked.workload,
            "profile": asked.profile,
            "audience": asked.audience,
            "scopes": list(asked.scopes),
            "site": granted.site,
            "signs": signs((granted.public.thumbprint, data)),
        },
        _result(credential, granted.site),
    )
    return Decision(
        (event,),
        (Signing(0, granted.key.key_id, data),),
        finish=lambda signatures: Finished({"token": assemble(data, signatures[0]).encode("ascii")}, warnings=warnings),
    )


class Granting:
    """What requests are held to at one moment; what is the same for many of them is found once."""

    def __init__(self, authority: Authority, lookups: Lookups, profiles: Mapping[str, Profile], now: int) -> None:
        """Grant at `now` (Unix seconds), under `profiles`."""
        self._authority = authority
        self._lookups = lookups
        self._profiles = profiles
        self._now = now
        self._places: dict[str, tuple[Site, str]] = {}
        self._signers: dict[Kind, tuple[SigningKey, PublicKey, int]] = {}
        self._held = Holdings(profiles, lookups.live, authority.kin, now)

    def check_combination(self, asked: Asked) -> None:
        """Return when what is asked for may be held beside what is, which it is from now on; else refuse."""
        combinations.check(self._held, asked.workload, asked.profile)
        self._held.add(asked.workload, asked.profile)

    def grant(self, asked: Asked) -> Grant:
        """Hold a request to everything that bounds it; raises `Refused` naming the first bound that it exceeds."""
        profile, workload = _subject(self._authority, self._profiles, asked, self._now)
        _check_profile(profile, workload, asked)
        lifetime = asked.lifetime or profile.lifetime
        place = self._places.get(asked.audience)
        if place is None:
            place = self._places[asked.audience] = _status_list(self._authority, self._lookups, asked.audience)
        signer = self._signers.get(profile.kind)
        if signer is None:
            signer = self._signers[profile.kind] = _signer(self._authority, profile.kind, self._now)
        key, public, end = signer
        if self._now + lifetime > end:
            left = max(0, end - self._now)
            raise Refused(Refusal.NO_WINDOW, f"the published windows leave {left} s, {lifetime} s were asked for")
        granted = Grant(
            asked=asked,
            kind=profile.kind,
            issuer=self._authority.founding.issuer,
            lifetime=lifetime,
            site=place[0].name,
            list_uri=place[1],
            key=key,
            public=public,
            confirmation=_confirmation(profile, workload),
        )
        _check_charter(key, _credential(granted, 0, 0, self._now, "0" * JTI_BYTES))
        return granted


def draw(granted: Grant, index: int, log_index: int, now: int, random: Random) -> Credential:
    """Give the credential for a grant, valid from now, with an id of its own and its place in the status list."""
    return _credential(granted, index, log_index, now, b64u_encode(random(JTI_BYTES)))


def _credential(granted: Grant, index: int, log_index: int, now: int, jti: str) -> Credential:
    asked = granted.asked
    return Credential(
        kind=granted.kind,
        issuer=granted.issuer,
        subject=asked.workload,
        audiences=(asked.audience,),
        scopes=asked.scopes,
        jti=jti,
        issued_at=now,
        not_before=now,
        expires_at=now + granted.lifetime,
        status=StatusReference(granted.list_uri, index),
        log_index=log_index,
        profile=asked.profile,
        confirmation=granted.confirmation,
        purpose=asked.purpose,
        task=asked.task,
    )


def _subject(
    authority: Authority, profiles: Mapping[str, Profile], request: Asked, now: int
) -> tuple[Profile, Workload]:
    profile = profiles.get(request.profile)
    if profile is None:
        raise Refused(Refusal.UNKNOWN_PROFILE, f"no profile {request.profile}")
    workload = authority.workloads.get(request.workload)
    if workload is None:
        raise Refused(Refusal.UNKNOWN_WORKLOAD, f"{request.workload} is not enrolled")
    workloads.check_active(authority, workload, now)
    return profile, workload


def _check_profile(profile: Profile, workload: Workload, request: Asked) -> None:
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
    if profile.groups and not set(profile.groups) & set(workload.groups):
        groups = ", ".join(profile.groups)
        raise Refused(Refusal.OUTSIDE_PROFILE, f"profile {profile.name} is for groups {groups}; {workload.id} is not")
    if missing := profile.missing(request):
        raise Refused(Refusal.OUTSIDE_PROFILE, f"profile {profile.name} requires a {missing[0]}")


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


def _signer(authority: Authority, kind: Kind, now: int) -> tuple[SigningKey, PublicKey, int]:
    """Find the key for this kind, and the end of the published windows that it signs in now, and of its validity."""
    if authority.trust is None:
        raise Refused(Refusal.NO_TRUST, "the custodians have not signed any trust yet")
    key, public = keys.ready(authority, Purpose.TOKENS, kind)
    kid = public.thumbprint
    windows = [window for window in authority.trust.windows if window.not_before <= now and kid in window.sign]
    return key, public, min(max((window.expires_at for window in windows), default=0), key.not_after)


def free_index(lookups: Lookups, list_uri: str, random: Random, drawn: Collection[int] = ()) -> int:
    """Draw a random index that was never given out nor `drawn`; half-full lists are closed, so this stays quick."""
    while True:
        index = int.from_bytes(random(4)) % SIZE
        if lookups.is_free(list_uri, index) and index not in drawn:
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


def _result(credential: Credential, site: str) -> dict[str, Json]:
    return {
        "jti": credential.jti,
        "iat": credential.issued_at,
        "nbf": credential.not_before,
        "exp": credential.expires_at,
        "status": {"idx": credential.status.index, "uri": credential.status.uri},
        "log": credential.log_index,
        "site": site,
    }
