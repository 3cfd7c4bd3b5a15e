"""The trust that sites hold: drafted here, signed by custodians elsewhere, submitted back (rule R17)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from appliance.authority import Authority, Trust
from appliance.bundling import documents as bundling
from appliance.decision import Ask, Decision, Event
from appliance.errors import Refusal, Refused
from appliance.nouns import checkpoints
from coldcred import layout
from coldcred.bundle import custody
from coldcred.bundle.custodial import Trust as Signed
from coldcred.bundle.library import Root
from coldcred.bundle.roles import read, read_stored
from coldcred.canonical import Json
from coldcred.charter import Purpose
from coldcred.documents import Identity, TrustKey
from coldcred.errors import Malformed
from coldcred.keys import PublicKey
from coldcred.plan import Plan, Window
from coldcred.record import Record
from coldcred.rendering.words import moment

Blob: TypeAlias = Callable[[str], bytes]
"""Gives the bytes of a blob by its SHA-256 (hex)."""

_PUBLISHED = frozenset({Purpose.TOKENS, Purpose.STATUS})


def draft(authority: Authority, now: int) -> dict[str, bytes]:
    """Give the documents for custodians to sign, by their names in a bundle; the plan has one window from now on."""
    keys = published_keys(authority)
    end = now + authority.founding.horizons.window
    _check_keys(authority, end + authority.founding.horizons.grace)
    return _documents(authority, bundling.one_window(now, end, keys, grace=authority.founding.horizons.grace))


def published_keys(authority: Authority) -> tuple[TrustKey, ...]:
    """Give the keys that sites hold, with charters and validity."""
    return tuple(
        TrustKey(key.public, key.charter, key.not_before, key.not_after)
        for key in authority.keys.values()
        if key.public is not None and key.charter.purpose in _PUBLISHED
    )


def signed_last(held: Trust | None, blob: Blob) -> dict[str, bytes] | None:
    """Give the targets metadata and the documents that custodians signed last, by name; None before the first time."""
    if held is None:
        return None
    return {name: blob(held.files[name]) for name in (layout.TARGETS, *layout.BY_CUSTODIANS)}


def bundle_key(authority: Authority) -> PublicKey:
    """Give the public half of the bundle key."""
    key = authority.key_for(Purpose.BUNDLE)
    if key is None or key.public is None:
        raise Refused(Refusal.KEY_NOT_READY, "the bundle key is not made yet")
    return key.public


def _check_keys(authority: Authority, end: int) -> None:
    """Refuse trust that would outlive the keys that a bundle is signed with, which no site would take."""
    for purpose in (Purpose.STATUS, Purpose.BUNDLE, Purpose.LOG):
        key = authority.key_for(purpose)
        if key is None:
            raise Refused(Refusal.KEY_NOT_READY, f"the {purpose} key is not made yet")
        if key.not_after < end:
            detail = f"key {key.name} ends {moment(key.not_after)}, and trust would last until {moment(end)}"
            raise Refused(Refusal.KEY_ENDS, detail, f"key {key.name} not_after")


def _documents(authority: Authority, plan: Plan) -> dict[str, bytes]:
    """Write the custodians' documents around a plan; all but the plan follows from authority alone."""
    founding = authority.founding
    log = checkpoints.verifier_key(authority)
    identity = Identity(
        appliance=founding.appliance_id,
        name=founding.name,
        trust_domain=founding.trust_domain,
        issuer=founding.issuer,
        single_operator=founding.single_operator,
        log_origin=log.name,
        log_vkey=log.format(),
    )
    return bundling.trust_documents(
        identity=identity,
        keys=published_keys(authority),
        plan=plan,
        profiles={name: profile.refuse_stale for name, profile in authority.profiles.items()},
        sites=authority.sites.values(),
    )


def decide_submit(authority: Authority, blob: Blob, ask: Ask, now: int) -> Decision:
    """Take in what custodians signed: args `files`, the SHA-256 of each by its name in a bundle; the bytes attached."""
    args = Record(ask.command.args, "trust.submit")
    named = args.record("files")
    args.done()
    files = _attached(named, ask.attachments)
    held = authority.trust
    try:
        signed = custody.hold(authority.founding, files, now, last=signed_last(held, blob), signed=True)
    except Malformed as error:
        raise Refused(Refusal.TRUST_REFUSED, str(error)) from error
    if signed.bundle_key != bundle_key(authority):
        raise Refused(Refusal.TRUST_REFUSED, "its bundle key is not the one that this appliance made")
    for name, expected in _documents(authority, signed.plan).items():
        if files[name] != expected:
            raise Refused(Refusal.TRUST_REFUSED, f"{name} is not what this appliance says now; prepare it anew")
    _check_keys(authority, signed.end)
    _check_roots(held, files, blob)
    return Decision((ask.event("trust.submitted", _members(ask, signed), _versions(signed)),))


def _members(ask: Ask, signed: Signed) -> dict[str, Json]:
    windows: list[Json] = [window.as_json() for window in signed.plan.windows]
    return {"files": {**_digests(ask)}, **_versions(signed), "windows": windows, "end": signed.end}


def _versions(signed: Signed) -> dict[str, Json]:
    return {"root_version": signed.roots[-1].version, "targets_version": signed.version}


def _attached(digests: Record, attachments: Mapping[str, bytes]) -> dict[str, bytes]:
    allowed = (*layout.ROOTS, layout.TARGETS, *layout.BY_CUSTODIANS)
    named = {name: digests.digest(name) for name in allowed if digests.has(name)}
    digests.done()
    files = {name: attachments[digest] for name, digest in named.items() if digest in attachments}
    for name in (layout.ROOTS[0], layout.TARGETS, *layout.BY_CUSTODIANS):
        if name not in files:
            raise Refused(Refusal.TRUST_REFUSED, f"{name} is missing")
    if len(files) != len(named):
        raise Refused(Refusal.TRUST_REFUSED, "a file that is named is not attached")
    return files


def _digests(ask: Ask) -> dict[str, str]:
    files = Record(ask.command.args, "trust.submit").record("files").members()
    return {name: str(digest) for name, digest in files.items()}


def _check_roots(held: Trust | None, files: Mapping[str, bytes], blob: Blob) -> None:
    """Hold a submission to the roots that sites hold: they stay, and at most one follows."""
    roots = [name for name in layout.ROOTS if held is not None and name in held.files]
    for name in roots:
        if held is not None and (name not in files or not _is_same_root(files[name], blob(held.files[name]), name)):
            raise Refused(Refusal.TRUST_REFUSED, f"{name} is not the one that sites hold")
    if any(name in files for name in layout.ROOTS[len(roots) + 1 :]):
        raise Refused(Refusal.TRUST_REFUSED, f"more than one root follows the {len(roots)} that sites hold")


def _is_same_root(new: bytes, held: bytes, name: str) -> bool:
    """Whether two files are one root, by what is signed: another custodian may have added a signature (R39)."""
    return read(new, Root, name).signed_bytes == read_stored(held, Root, name).signed_bytes


def evolve_submitted(authority: Authority, event: Event) -> Authority:
    """Fold `trust.submitted`; a root that sites hold stays in the spelling in which they pinned it."""
    record = Record(event, "trust.submitted")
    names = record.record("files").members()
    if authority.trust is not None:
        names |= {name: digest for name, digest in authority.trust.files.items() if name in layout.ROOTS}
    trust = Trust(
        root_version=record.integer("root_version"),
        targets_version=record.integer("targets_version"),
        files={name: str(digest) for name, digest in names.items()},
        windows=tuple(Window.read(item) for item in record.records("windows")),
        end=record.integer("end"),
    )
    return replace(authority, trust=trust)
