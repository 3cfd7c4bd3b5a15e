"""What custodians sign, held to the founding and to what was signed last: one function, wherever it is asked.

`coldcredctl trust sign` asks before a custodian's hand signs, the appliance asks again before it takes a submission in
(rules R17, R37). What the founding fixes is refused when it differs: who the appliance is, its custodians and their
quorum, the charters, and how long keys, windows, grace and metadata last. What it cannot fix, since the token made it
later, is held to what was signed last: the log key, the other keys, and the version, which is the next one. All the
rest is for people to read (`coldcred.bundle.telling`).
"""

from collections.abc import Mapping
from typing import Any

from coldcred import layout
from coldcred.bundle import offline
from coldcred.bundle.custodial import Trust, check_as_written, metadata, read_trust
from coldcred.bundle.library import Metadata, Root, Targets, UnsignedMetadataError
from coldcred.bundle.roles import tuf_key
from coldcred.charter import LogCharter, digest
from coldcred.documents import TrustKey
from coldcred.errors import BundleRefused, Malformed, Unfounded
from coldcred.founding import Founding, KeyPlan

CLOCKS_APART = 120
"""Seconds that a custodian's clock may be behind the appliance's, as with every signed document."""

DRAFTED_AHEAD = 24 * 3600
"""Seconds that the machine on which a founding was drafted may have been ahead of the one that made the keys."""


def hold(
    founding: Founding,
    files: Mapping[str, bytes],
    now: int,
    *,
    last: Mapping[str, bytes] | None,
    own: Mapping[str, bytes] | None = None,
    signed: bool = False,
) -> Trust:
    """Hold prepared files to the founding and to what was signed last, at `now` (Unix seconds); gives what they say.

    `last` are the targets metadata and documents that custodians signed last, None before the first time; `own` the
    files that this custodian signed last and kept. With `signed` the quorum has to have signed everything; without, the
    targets are unsigned, and the newest root may be. Raises `Malformed`, as `Unfounded` where something differs.
    """
    try:
        trust = read_trust(files)
        _check_roots(founding, files, trust, signed=signed)
        _check_founded(founding, trust, now)
        if signed:
            _verify(files, Targets, layout.TARGETS)
        elif metadata(files, layout.TARGETS, Targets).signatures:
            raise Unfounded("targets", "somebody has signed them already")
        before = None if last is None else _before(files, trust, last)
        if before is None and not signed and trust.roots[0].signed:
            raise Unfounded("root 1", "it is signed already, and what was signed with it last does not lie beside it")
        _check_next(trust, before)
        if own is not None:
            _check_own(trust, files, own, last)
    except BundleRefused as error:
        raise Malformed(error.detail) from error
    return trust


def plan_of(founding: Founding, key: TrustKey) -> KeyPlan | None:
    """Give the key of the founding's plan that has this charter."""
    wanted = digest(key.charter)
    return next((plan for plan in founding.keys if digest(plan.charter) == wanted), None)


def _check_roots(founding: Founding, files: Mapping[str, bytes], trust: Trust, *, signed: bool) -> None:
    """Hold the chain to the founding: each root signed by itself and by the one before it, but for one new one."""
    custodians = [person.custodian for person in founding.people]
    if trust.bundle_key in custodians:
        raise Unfounded("bundle key", "it is a custodian's")
    for root in trust.roots:
        found = metadata(files, root.name, Root)
        for role in (Root.type, Targets.type):
            keys, threshold = found.signed.roles[role].keyids, found.signed.roles[role].threshold
            if set(keys) != {tuf_key(key).keyid for key in custodians} or threshold != founding.quorums.custodians:
                what = f"role {role} is not signed by {founding.quorums.custodians} of the founding's custodians"
                raise Unfounded(f"root {root.version}", what)
        if root.signed or signed:
            _verify(files, Root, root.name, root.name)
            if root.version > 1:
                _verify(files, Root, root.name, trust.roots[root.version - 2].name)
        elif root is not trust.roots[-1]:
            raise Unfounded(f"root {root.version + 1}", f"it is made ahead: root {root.version} is not signed yet")
    newest = trust.roots[-1]
    made = offline.root(
        version=newest.version,
        custodians=custodians,
        threshold=founding.quorums.custodians,
        bundle_key=trust.bundle_key,
        expires=newest.expires,
    )
    check_as_written(metadata(files, newest.name, Root), made, files[newest.name], f"root {newest.version}")


def _check_founded(founding: Founding, trust: Trust, now: int) -> None:
    """Refuse what the founding fixes and what cannot be at this time."""
    _check_identity(founding, trust)
    _check_keys(founding, trust, now)
    _check_plan(founding, trust, now)
    newest = trust.roots[-1]
    _check_end(f"root {newest.version}", newest.expires, now, founding.horizons.root, "horizons.root")
    _check_end("targets", trust.expires, now, founding.horizons.targets, "horizons.targets")
    if trust.metadata_ends < trust.end:
        raise Unfounded("targets", "what is signed ends before trust does, a grace after the last window")


def _check_identity(founding: Founding, trust: Trust) -> None:
    found = trust.identity
    log = next(key.charter for key in founding.keys if isinstance(key.charter, LogCharter))
    for member, is_, was in (
        ("appliance", found.appliance, founding.appliance_id),
        ("name", found.name, founding.name),
        ("trust domain", found.trust_domain, founding.trust_domain),
        ("issuer", found.issuer, founding.issuer),
        ("single operator", found.single_operator, founding.single_operator),
        ("log origin", found.log_origin, log.origin),
        ("log key's name", trust.log.name, log.origin),
        ("log key's algorithm", trust.log.key.algorithm, log.algorithm),
        ("log key's spelling", found.log_vkey, trust.log.format()),
    ):
        if is_ != was:
            raise Unfounded(member, f"it is {str(is_)[:80]!a}, founded is {str(was)[:80]!a}")


def _check_keys(founding: Founding, trust: Trust, now: int) -> None:
    """Hold each key to the founding: its charter, one key a charter, and as long as the plan says, from its making."""
    people = {key.thumbprint for person in founding.people for key in (person.operator, person.custodian)}
    others = {*people, trust.bundle_key.thumbprint, trust.log.key.thumbprint}
    taken: dict[str, str] = {}
    for kid, key in trust.keys.items():
        plan = plan_of(founding, key)
        if plan is None:
            raise Unfounded(f"key {kid}", "it has a charter that was not founded")
        if plan.name in taken:
            raise Unfounded(f"key {plan.name}", f"{taken[plan.name]} and {kid} have the one founded charter")
        taken[plan.name] = kid
        lasts = key.expires_at - key.not_before
        if lasts != plan.valid_for:
            raise Unfounded(f"key {plan.name}", f"it is valid for {lasts} s, founded is {plan.valid_for} s")
        if not founding.time - DRAFTED_AHEAD <= key.not_before <= now + CLOCKS_APART:
            raise Unfounded(f"key {plan.name}", "it is valid from before the founding, or from a time that is to come")
        if kid in others:
            raise Unfounded(f"key {plan.name}", f"{kid} is somebody's or something's other key")


def _check_plan(founding: Founding, trust: Trust, now: int) -> None:
    """Hold windows and grace to the horizons: none begins later than now, so none reaches further than one window."""
    plan, horizons = trust.plan, founding.horizons
    plan.check_keys(trust.keys)
    if plan.grace != horizons.grace:
        raise Unfounded("grace", f"it is {plan.grace} s, founded is {horizons.grace} s")
    for window in plan.windows:
        member, lasts = f"window {window.number}", window.expires_at - window.not_before
        if lasts != horizons.window:
            raise Unfounded(member, f"it lasts {lasts} s, founded is {horizons.window} s")
        if not founding.time - DRAFTED_AHEAD <= window.not_before <= now + CLOCKS_APART:
            raise Unfounded(member, "it begins before the founding, or at a time that is to come: compare the clocks")
    if now >= plan.windows[-1].expires_at:
        raise Unfounded(f"window {plan.windows[-1].number}", "it is over, and it is the last one; prepare it anew")


def _check_end(member: str, expires: int, now: int, horizon: int, founded: str) -> None:
    if expires <= now:
        raise Unfounded(member, "it has ended; prepare it anew")
    if expires > now + horizon + CLOCKS_APART:
        raise Unfounded(member, f"it ends {expires - now} s from now, {founded} of the founding allows {horizon} s")


def _before(files: Mapping[str, bytes], trust: Trust, last: Mapping[str, bytes]) -> Trust:
    """Read what was signed last; the custodians' quorum has to have signed it, under a root of this chain."""
    signed = {root.name: files[root.name] for root in trust.roots if root.signed}
    if not signed:
        raise Unfounded("root 1", "it is not signed, and targets were signed before: another root cannot begin anew")
    _verify({**last, **signed}, Targets, layout.TARGETS)
    return read_trust({**last, **signed})


def _check_next(trust: Trust, before: Trust | None) -> None:
    """Hold the targets to those signed last: the next version, the same log, and no other key under a charter."""
    following = 1 if before is None else before.version + 1
    if trust.version != following:
        raise Unfounded("targets", f"they have version {trust.version} where {following} comes next")
    if before is not None:
        _check_same_keys(trust, before)


def _check_same_keys(trust: Trust, before: Trust) -> None:
    if trust.log != before.log:
        raise Unfounded("log key", "it is not the one that was signed last; another takes a statement of custodians")
    if trust.bundle_key != before.bundle_key:
        raise Unfounded("bundle key", "it is not the one that was signed last")
    charters = {digest(key.charter): key for key in before.keys.values()}
    for kid, key in trust.keys.items():
        held = charters.get(digest(key.charter))
        if held is not None and held != key:
            raise Unfounded(f"key {kid}", f"it is not the one, or not as long, as was signed last ({held.kid})")


def _check_own(
    trust: Trust, files: Mapping[str, bytes], own: Mapping[str, bytes], last: Mapping[str, bytes] | None
) -> None:
    """Hold the files to those that this custodian kept: nothing in them is older, and the first root is the same."""
    kept, first = read_trust(own), trust.roots[0].name
    if _signed_bytes(files, first, Root) != _signed_bytes(own, first, Root):
        raise Unfounded("root 1", "it is another than the one in your own folder")
    if trust.version <= kept.version:
        raise Unfounded("targets", f"they have version {trust.version}, and you signed version {kept.version} before")
    following = trust.version == kept.version + 1
    if last is not None and following and _targets(last) != _targets(own):
        raise Unfounded("targets", f"what is said to be version {kept.version} is another than you signed")
    _check_same_keys(trust, kept)


def _targets(files: Mapping[str, bytes]) -> bytes:
    return _signed_bytes(files, layout.TARGETS, Targets)


def _signed_bytes(files: Mapping[str, bytes], name: str, role: type[Any]) -> bytes:
    found: Metadata[Any] = metadata(files, name, role)
    return bytes(found.signed_bytes)


def _verify(files: Mapping[str, bytes], role: type[Any], name: str, root: str | None = None) -> None:
    """Return when a file is signed by the quorum that a root names: the newest one unless another is given."""
    by = root or [known for known in layout.ROOTS if known in files][-1]
    found: Metadata[Any] = metadata(files, name, role)
    signer: Root = metadata(files, by, Root).signed
    try:
        signer.verify_delegate(role.type, found.signed_bytes, found.signatures)
    except UnsignedMetadataError as error:
        raise Malformed(f"{name}: not signed by enough custodians: {error}") from error
