"""The trust that sites hold: drafted here, signed by custodians elsewhere, submitted back (rule R17)."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from appliance.authority import Authority, Trust
from appliance.bundling import custody
from appliance.bundling import documents as bundling
from appliance.bundling.custody import Custody
from appliance.decision import Ask, Decision, Event
from appliance.errors import Refusal, Refused
from appliance.nouns import checkpoints
from coldcred import documents, layout
from coldcred.bundle.library import Root
from coldcred.bundle.roles import read, read_stored
from coldcred.canonical import Json
from coldcred.charter import Purpose
from coldcred.documents import Identity, TrustKey
from coldcred.errors import BundleRefused, Malformed
from coldcred.keys import PublicKey
from coldcred.plan import Plan, Window
from coldcred.record import Record

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


def custody_of(authority: Authority) -> Custody:
    """Give who has to sign the root of trust: the founding's custodians, and the bundle key for the online roles."""
    return Custody(
        custodians=tuple(person.custodian for person in authority.founding.people),
        quorum=authority.founding.quorums.custodians,
        bundle=bundle_key(authority),
    )


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
        if key is None or key.not_after < end:
            detail = f"the {purpose} key is not made or ends before the trust would"
            raise Refused(Refusal.KEY_NOT_READY, detail)


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


def decide_submit(authority: Authority, blob: Callable[[str], bytes], ask: Ask, now: int) -> Decision:
    """Take in what custodians signed: args `files`, the SHA-256 of each by its name in a bundle; the bytes attached.

    `blob` gives what was submitted before, by its SHA-256.
    """
    args = Record(ask.command.args, "trust.submit")
    files = _attached(args.record("files"), ask.attachments)
    args.done()
    try:
        versions = custody.check(files, custody_of(authority))
        plan = Plan.parse(files[layout.PLAN])
        plan.check_keys(documents.parse_jwks(files[layout.JWKS]))
    except (Malformed, BundleRefused) as error:
        raise Refused(Refusal.TRUST_REFUSED, str(error)) from error
    for name, expected in _documents(authority, plan).items():
        if files[name] != expected:
            raise Refused(Refusal.TRUST_REFUSED, f"{name} is not what this appliance says now; prepare it anew")
    end = plan.windows[-1].expires_at + plan.grace
    if now >= plan.windows[-1].expires_at or versions.expires < end:
        raise Refused(Refusal.TRUST_REFUSED, "what was signed ends before its last window does; prepare it anew")
    _check_keys(authority, end)
    _check_follows(authority.trust, versions, files, blob)
    members: dict[str, Json] = {
        "files": {**_digests(ask)},
        "root_version": versions.root,
        "targets_version": versions.targets,
        "windows": [window.as_json() for window in plan.windows],
        "end": end,
    }
    result: dict[str, Json] = {"root_version": versions.root, "targets_version": versions.targets}
    return Decision((ask.event("trust.submitted", members, result),))


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


def _check_follows(
    held: Trust | None, versions: custody.Versions, files: Mapping[str, bytes], blob: Callable[[str], bytes]
) -> None:
    """Hold a submission to the one before: the roots stay and the targets' version rises by one."""
    expected = 1 if held is None else held.targets_version + 1
    if versions.targets != expected:
        raise Refused(Refusal.TRUST_REFUSED, f"targets have version {versions.targets} where {expected} comes next")
    for name, digest in held.files.items() if held else ():
        if name in layout.ROOTS and (name not in files or not _is_same_root(files[name], blob(digest), name)):
            raise Refused(Refusal.TRUST_REFUSED, f"{name} is not the one that sites hold")


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
