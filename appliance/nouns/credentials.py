"""Credentials: decided within profile, workload, site, plan and charter; revoked by their status bit."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from appliance import combinations
from appliance.authority import Authority, SigningKey, Workload
from appliance.decision import Ask, Decision, Finished, Looked, Signing, signs
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from appliance.nouns import keys, profiles, workloads
from appliance.rules import RULE
from appliance.writers import jwt
from coldcred import names
from coldcred.asked import Asked
from coldcred.canonical import Json, b64u_encode, dumps
from coldcred.charter import Purpose, TokenCharter
from coldcred.credential import Credential, Kind, StatusReference
from coldcred.errors import CharterExceeded, Malformed
from coldcred.founding import Site
from coldcred.jose import assemble
from coldcred.keys import PublicKey
from coldcred.log.combinations import Holdings
from coldcred.profile import Profile
from coldcred.record import Record
from coldcred.status import SIZE

JTI_BYTES = 16
FULLEST_LIST = 0.5

_SHOWN = 256

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


def _check_notes(asked: Asked) -> None:
    try:
        names.check_texts(asked.purpose, "purpose")
        names.check_texts(asked.task, "task")
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, str(error)) from error


class Granting:
    """What requests are held to at one moment; what is the same for many of them is found once."""

    def __init__(self, authority: Authority, lookups: Lookups, under: Mapping[str, Profile], now: int) -> None:
        """Grant at `now` (Unix seconds), under the profiles `under`."""
        self._authority = authority
        self._lookups = lookups
        self._profiles = under
        self._now = now
        self._places: dict[str, tuple[Site, str]] = {}
        self._signers: dict[Kind, tuple[SigningKey, PublicKey, int]] = {}
        self._held = Holdings(under, lookups.live, authority.kin, now)

    def check_combination(self, asked: Asked) -> None:
        """Return when what is asked for may be held beside what is, which it is from now on; else refuse."""
        combinations.check(self._held, asked.workload, asked.profile)
        self._held.add(asked.workload, asked.profile)

    def grant(self, asked: Asked) -> Grant:
        """Hold a request to everything that bounds it; raises `Refused` naming the first bound that it exceeds."""
        _check_notes(asked)
        profile, workload = self._profile(asked), self._workload(asked)
        workloads.check_active(self._authority, workload, self._now)
        profiles.check(profile, workload, asked)
        site, list_uri = self._place(asked.audience)
        key, public, end = self._signer(profile.kind)
        self._check_window(profile, asked, end)
        granted = Grant(
            asked=asked,
            kind=profile.kind,
            issuer=self._authority.founding.issuer,
            lifetime=asked.lifetime or profile.lifetime,
            site=site.name,
            list_uri=list_uri,
            key=key,
            public=public,
            confirmation=workload.key.thumbprint if profile.holder_binding and workload.key else None,
        )
        self._check_charter(granted)
        return granted

    def look(self, asked: Asked) -> Iterator[Looked]:
        """Look at what `grant` and `check_combination` look at, in their order, and go on after what refuses.

        What cannot be looked at, because what it is about is not there, is left out.
        """
        profile, workload = self._profiles.get(asked.profile), self._authority.workloads.get(asked.workload)
        yield Looked.at("the profile", RULE[Refusal.UNKNOWN_PROFILE], lambda: self._profile(asked), asked.profile)
        yield Looked.at("the workload", RULE[Refusal.UNKNOWN_WORKLOAD], lambda: self._workload(asked), asked.workload)
        if workload is not None:
            found, now = workload, self._now
            stands = workloads.condition(self._authority, found, now)
            active = partial(workloads.check_active, self._authority, found, now)
            yield Looked.at(
                "how it stands", "an active workload", active, f"it is {stands}, its owner is {found.owner}"
            )
        if profile is not None and workload is not None:
            for member in profiles.BOUNDS:
                bound = partial(profiles.check_bound, member, profile, workload, asked)
                written = dumps(profile.as_json().get(member)).decode("ascii")[:_SHOWN]
                yield Looked.at(f"its {member}", profiles.rule_of_bound(profile, member), bound, written)
        place = partial(self._place, asked.audience)
        yield Looked.at(
            "where it can be revoked", RULE[Refusal.NO_BUNDLE], place, "the site holds a status list with room"
        )
        if profile is not None:
            yield from self._look_at_key(profile, workload, asked)
            yield Looked.at(
                "what is held beside it",
                RULE[Refusal.TOXIC_COMBINATION],
                lambda: combinations.check(self._held, asked.workload, asked.profile),
                "nothing that excludes it",
            )

    def _look_at_key(self, profile: Profile, workload: Workload | None, asked: Asked) -> Iterator[Looked]:
        """Look at the key that would sign, its windows and its charter."""
        looked = Looked.at(
            "the signing key", RULE[Refusal.KEY_NOT_READY], lambda: self._signer(profile.kind), "it is made"
        )
        yield looked
        if looked.refused is not None:
            return
        key, public, end = self._signer(profile.kind)
        window = partial(self._check_window, profile, asked, end)
        yield Looked.at("the plan", RULE[Refusal.NO_WINDOW], window, f"its windows reach {end - self._now} s ahead")
        lifetime = asked.lifetime or profile.lifetime
        holder = workload.key if workload is not None and profile.holder_binding else None
        would = Grant(
            asked=asked,
            kind=profile.kind,
            issuer=self._authority.founding.issuer,
            lifetime=lifetime,
            site="",
            list_uri="",
            key=key,
            public=public,
            confirmation=None if holder is None else holder.thumbprint,
        )
        yield Looked.at("the key's charter", _charter_rule(key), lambda: self._check_charter(would), "it lies within")

    def _profile(self, asked: Asked) -> Profile:
        found = self._profiles.get(asked.profile)
        if found is None:
            raise Refused(Refusal.UNKNOWN_PROFILE, f"no profile {asked.profile}")
        return found

    def _workload(self, asked: Asked) -> Workload:
        found = self._authority.workloads.get(asked.workload)
        if found is None:
            raise Refused(Refusal.UNKNOWN_WORKLOAD, f"{asked.workload} is not enrolled")
        return found

    def _place(self, audience: str) -> tuple[Site, str]:
        place = self._places.get(audience)
        if place is None:
            place = self._places[audience] = _status_list(self._authority, self._lookups, audience)
        return place

    def _signer(self, kind: Kind) -> tuple[SigningKey, PublicKey, int]:
        signer = self._signers.get(kind)
        if signer is None:
            signer = self._signers[kind] = _signer(self._authority, kind, self._now)
        return signer

    def _check_window(self, profile: Profile, asked: Asked, end: int) -> None:
        lifetime = asked.lifetime or profile.lifetime
        if self._now + lifetime > end:
            left = max(0, end - self._now)
            raise Refused(Refusal.NO_WINDOW, f"the published windows leave {left} s, {lifetime} s were asked for")

    def _check_charter(self, granted: Grant) -> None:
        key = granted.key
        if not isinstance(key.charter, TokenCharter):
            raise Refused(
                Refusal.CHARTER_EXCEEDED, f"key {key.name} signs no credentials", _charter_rule(key, "purpose")
            )
        try:
            key.charter.check(_credential(granted, 0, 0, self._now, "0" * JTI_BYTES))
        except CharterExceeded as error:
            raise Refused(Refusal.CHARTER_EXCEEDED, str(error), _charter_rule(key, error.bound)) from error


def _charter_rule(key: SigningKey, bound: str | None = None) -> str:
    """Name a key's charter, or one member of it, as the rule behind a refusal."""
    return " ".join(filter(None, ("R13 charter", key.name, bound)))


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
