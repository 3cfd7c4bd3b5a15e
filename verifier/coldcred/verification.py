"""The verdict on one credential: numbered checks, in order, of which the first that fails gives the reason.

What is decided about the token as bytes and about its key comes first, then whether time and trust can be believed at
all, then what the key may sign, then what the caller asked for, then time, scopes and revocation. So the reason is the
most specific one that can be known: a changed payload is `bad-signature` whatever it now says, a clock that is wrong is
reported before a window that only seems wrong, and a compromised issuer before a mistaken caller.

    V1   at most 64 KiB                                                    too-large
    V2   three parts of canonical base64url, no padding, nothing else      malformed
    V3   the header is exactly alg, kid and typ                            malformed
    V4   the kid is a key that this site trusts                            unknown-key
    V5   alg is that key's one algorithm                                   wrong-algorithm
    V6   typ is the kind that the caller asks for and the key is for       wrong-kind
    V7   the signature verifies                                            bad-signature
    V8   the claims are those of the kind, strictly                        malformed
    V9   now is not over 120 s before the bundle was issued                clock-behind-floor
    V10  now is before the end of trust                                    trust-expired
    V11  the key is not tainted                                            key-tainted
    V12  the whole window lies within the key's validity                   key-out-of-validity
    V13  the issuer is this appliance's                                    wrong-issuer
    V14  subject, audience and horizon lie within the key's charter        charter-exceeded
    V15  so does the length of the window                                  lifetime-too-long
    V16  the audience is the caller's, exactly                             wrong-audience
    V17  now < exp, without leeway                                         expired
    V18  nbf <= now, without leeway                                        not-yet-valid
    V19  each scope that the caller needs is granted                       scope-missing
    V20  the status list is there, in force, and has the index             status-unavailable
    V21  the status bit is clear                                           revoked
    V22  trust is not stale where the profile refuses that                 trust-expired
    V23  a credential bound to a holder comes with a proof                 holder-proof-missing

That now lies within the key's validity follows from V12, V17 and V18.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from coldcred.canonical import Json
from coldcred.charter import TokenCharter
from coldcred.credential import Credential, Kind, Known, parse_claims
from coldcred.documents import TrustKey
from coldcred.errors import (
    BadSignature,
    CharterExceeded,
    LifetimeExceeded,
    Malformed,
    Reason,
    Rejected,
)
from coldcred.jose import MAX_TOKEN, Header, UnverifiedJws, parse_unverified
from coldcred.misuse import check_now
from coldcred.trust import CLOCK_SKEW, Freshness, TrustStore

_TEXT = (str, bytes)


@dataclass(frozen=True, slots=True)
class Verified:
    """An accepted credential and what the verdict rests on.

    `bundle` is the sequence number of the bundle, `bundle_age` whole seconds since it was issued, `as_of` when (Unix
    seconds): nothing that happened later, a revocation for one, is known here.
    """

    credential: Credential
    kid: str
    freshness: Freshness
    bundle: int
    bundle_age: int
    as_of: int

    @property
    def subject(self) -> str:
        """The SPIFFE ID of the machine that the credential is for."""
        return self.credential.subject

    @property
    def audiences(self) -> tuple[str, ...]:
        """What the credential is for; the caller's audience is among them."""
        return self.credential.audiences

    @property
    def scopes(self) -> tuple[str, ...]:
        """All scopes granted, at least those the caller asked for."""
        return self.credential.scopes

    @property
    def expires_at(self) -> int:
        """End of the window (Unix seconds): the first second at which it is over."""
        return self.credential.expires_at

    @property
    def claims(self) -> dict[str, Json]:
        """The claims as they stand in the token."""
        return self.credential.claims


def verify(
    token: str | bytes,
    store: TrustStore,
    *,
    audience: str,
    kind: Kind = Kind.ACCESS,
    now: float,
    scopes: Collection[str] = (),
) -> Verified:
    """Give the verdict on `token` at `now` (Unix seconds): the credential, or `Rejected` with one reason.

    `audience` is who the caller is, compared exactly; `scopes` must all be granted. `ValueError` is the caller's own
    mistake: an argument of another type, an empty audience, a time that is no number of Unix seconds.
    """
    _check_call(token, store, audience, kind, now, scopes)
    jws = _envelope(token, store)  # V1 to V3
    key, charter = _key(jws.header, store, kind)  # V4 to V6
    credential = _credential(jws, key, kind, store.known)  # V7, V8
    _check_time_and_trust(store, now)  # V9, V10
    _check_key(store, key, credential)  # V11, V12
    _check_charter(store, charter, credential)  # V13 to V15
    _check_request(credential, audience, now, scopes)  # V16 to V19
    _check_status(store, credential, now)  # V20, V21
    freshness = _check_freshness(store, credential, now)  # V22
    # V23: whoever can only present the token is not known to be its holder.
    if credential.confirmation is not None:
        raise Rejected(Reason.HOLDER_PROOF_MISSING, "it is bound to a holder's key and no proof came with it")
    times = store.times
    return Verified(credential, jws.header.kid, freshness, times.sequence, store.age(now), times.issued_at)


def _check_call(token: object, store: object, audience: object, kind: object, now: object, scopes: object) -> None:
    wrong = None
    if not isinstance(token, _TEXT):
        wrong = "a token is text or bytes"
    elif not isinstance(store, TrustStore):
        wrong = "a store is a TrustStore, as TrustStore.open gives it"
    elif not isinstance(audience, str) or not audience:
        wrong = "an audience is a text that is not empty"
    elif not isinstance(kind, Kind):
        wrong = "a kind is Kind.ACCESS or Kind.SVID"
    elif scopes != () and not _are_scopes(scopes):
        wrong = "scopes are a collection of texts that are not empty"
    if wrong is not None:
        raise ValueError(wrong)
    check_now(now)


def _are_scopes(scopes: object) -> bool:
    # A text is a collection of texts too, and never what was meant.
    if isinstance(scopes, _TEXT) or not isinstance(scopes, Collection):
        return False
    return all(isinstance(scope, str) and scope for scope in scopes)


def _envelope(token: str | bytes, store: TrustStore) -> UnverifiedJws:
    # V1: refused before anything looks at it.
    if len(token) > MAX_TOKEN:
        raise Rejected(Reason.TOO_LARGE, f"{len(token)} bytes where at most {MAX_TOKEN} are read")
    # V2, V3
    try:
        return parse_unverified(token, headers=store.headers)
    except Malformed as error:
        raise Rejected(Reason.MALFORMED, str(error)) from error


def _key(header: Header, store: TrustStore, kind: Kind) -> tuple[TrustKey, TokenCharter]:
    # V4
    key = store.keys.get(header.kid)
    if key is None:
        raise Rejected(Reason.UNKNOWN_KEY, f"key {header.kid[:64]!a} is not among those that this site trusts")
    # V5
    algorithm = key.public.algorithm
    if header.alg != algorithm:
        raise Rejected(Reason.WRONG_ALGORITHM, f"alg {header.alg[:32]!a} where the key is for {algorithm}")
    # V6
    if header.typ != kind.typ:
        raise Rejected(Reason.WRONG_KIND, f"typ {header.typ[:48]!a} where {kind.typ.value!r} is asked for")
    charter = key.charter
    if not isinstance(charter, TokenCharter):
        raise Rejected(Reason.WRONG_KIND, f"the key signs {charter.purpose} documents, no credentials")
    if charter.kind is not kind:
        raise Rejected(Reason.WRONG_KIND, f"the key signs {charter.kind} credentials, {kind} is asked for")
    return key, charter


def _credential(jws: UnverifiedJws, key: TrustKey, kind: Kind, known: Known) -> Credential:
    # V7
    try:
        key.public.verify(jws.signature, jws.signing_input)
    except BadSignature as error:
        raise Rejected(Reason.BAD_SIGNATURE, str(error)) from error
    # V8
    try:
        return parse_claims(jws.payload, kind, known)
    except Malformed as error:
        raise Rejected(Reason.MALFORMED, str(error)) from error


def _check_time_and_trust(store: TrustStore, now: float) -> None:
    # V9
    times = store.times
    if now < times.issued_at - CLOCK_SKEW:
        behind = math.ceil(times.issued_at - now)
        raise Rejected(Reason.CLOCK_BEHIND_FLOOR, f"the clock is {behind} s before the time at which trust was issued")
    # V10
    if now >= times.end:
        raise Rejected(Reason.TRUST_EXPIRED, f"trust ended {int(now - times.end)} s ago")


def _check_key(store: TrustStore, key: TrustKey, credential: Credential) -> None:
    # V11
    if key.kid in store.taints:
        raise Rejected(Reason.KEY_TAINTED, "the key is tainted, so nothing it signed is believed")
    # V12
    if not key.covers(credential.not_before, credential.expires_at):
        raise Rejected(Reason.KEY_OUT_OF_VALIDITY, "the credential's window is not within the validity of its key")


def _check_charter(store: TrustStore, charter: TokenCharter, credential: Credential) -> None:
    # V13
    if credential.issuer != store.identity.issuer:
        detail = f"issued by {credential.issuer} where this site trusts {store.identity.issuer}"
        raise Rejected(Reason.WRONG_ISSUER, detail)
    # V14, V15
    try:
        charter.check(credential)
    except LifetimeExceeded as error:
        raise Rejected(Reason.LIFETIME_TOO_LONG, str(error)) from error
    except CharterExceeded as error:
        raise Rejected(Reason.CHARTER_EXCEEDED, str(error)) from error


def _check_request(credential: Credential, audience: str, now: float, scopes: Collection[str]) -> None:
    # V16
    if audience not in credential.audiences:
        detail = f"it is for {' '.join(credential.audiences)}, not for {audience[:255]!a}"
        raise Rejected(Reason.WRONG_AUDIENCE, detail)
    # V17
    if now >= credential.expires_at:
        raise Rejected(Reason.EXPIRED, f"it expired {int(now - credential.expires_at)} s ago")
    # V18
    if now < credential.not_before:
        wait = math.ceil(credential.not_before - now)
        raise Rejected(Reason.NOT_YET_VALID, f"it is valid in {wait} s")
    # V19
    if scopes and (missing := sorted(set(scopes) - set(credential.scopes))):
        raise Rejected(Reason.SCOPE_MISSING, f"it does not grant {missing[0][:128]!a}")


def _check_status(store: TrustStore, credential: Credential, now: float) -> None:
    # V20
    uri, index = credential.status.uri, credential.status.index
    found = store.status_lists.get(uri)
    if found is None:
        raise Rejected(Reason.STATUS_UNAVAILABLE, f"the bundle holds no status list {uri}")
    if now >= found.expires_at:
        raise Rejected(Reason.STATUS_UNAVAILABLE, f"status list {uri} expired {int(now - found.expires_at)} s ago")
    try:
        revoked = found.is_set(index)
    except IndexError as error:
        raise Rejected(Reason.STATUS_UNAVAILABLE, f"status list {uri} has no index {index}") from error
    # V21
    if revoked:
        raise Rejected(Reason.REVOKED, f"its bit {index} in status list {uri} is set")


def _check_freshness(store: TrustStore, credential: Credential, now: float) -> Freshness:
    # V22
    freshness = store.freshness(now)
    if freshness is Freshness.STALE and store.refuses_stale(credential.profile):
        stale = int(now - store.times.stale_after)
        detail = f"trust is stale since {stale} s and profile {credential.profile} refuses that"
        raise Rejected(Reason.TRUST_EXPIRED, detail)
    return freshness
