"""Rotation bundles: each for one site, all in one series, of what custodians signed and what is signed now.

Made in steps, each logged before it is signed: the site's status lists, a checkpoint, and then the roles site,
snapshot and timestamp, of which each names the one before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from appliance.authority import Authority, SigningKey, Trust
from appliance.bundling import documents, metadata
from appliance.bundling.metadata import Unsigned
from appliance.decision import Ask, Decision, Event, Finished, Signing, signs
from appliance.errors import Refusal, Refused
from appliance.lookups import Lookups
from appliance.nouns import checkpoints, keys
from coldcred import layout, names
from coldcred.bundle.targets import verify_bundle
from coldcred.canonical import Json, b64u_decode, sha256_hex
from coldcred.charter import BundleCharter, Purpose, StatusCharter
from coldcred.documents import BundleTimes
from coldcred.errors import BundleRefused, LogRejected, Malformed
from coldcred.jose import Typ, assemble, signing_input
from coldcred.keys import PublicKey
from coldcred.layout import Pins
from coldcred.log import consistency
from coldcred.log.note import Checkpoint, open_checkpoint
from coldcred.log.tree import Tree
from coldcred.record import Record
from coldcred.status import StatusList

NEXT_LIST_AT = 0.25

Blob = Callable[[str], bytes]


@dataclass(frozen=True)
class _Making:
    """A bundle under way: what is fixed from its first step on."""

    authority: Authority
    ask: Ask
    trust: Trust
    times: BundleTimes
    key: SigningKey
    public: PublicKey
    lists: tuple[str, ...]
    files: dict[str, bytes]
    carried_back: int | None = None

    def facts(self) -> dict[str, Json]:
        """Give the members that the first and the last event share."""
        return {
            "site": self.times.site,
            "sequence": self.times.sequence,
            "lists": [*self.lists],
            "issued_at": self.times.issued_at,
            "end": self.times.end,
        }


def decide_create(authority: Authority, lookups: Lookups, tree: Tree, blob: Blob, ask: Ask, now: int) -> Decision:
    """Make the next bundle for a site: args `site`, and `from` where a checkpoint of the site's was carried back.

    It carries proofs that the log grew from the checkpoints of the site's last bundles, and from that one (R38).
    `tree` grows meanwhile, and is asked for its size when the checkpoint's turn comes.
    """
    args = Record(ask.command.args, "bundle.create")
    site = names.label(args.text("site"), "site name")
    carried = args.optional_text("from")
    args.done()
    making = _begin(authority, lookups, blob, ask, site, now)
    if carried is not None:
        making = replace(making, carried_back=_carried_back(authority, tree, carried))
    status_key, status_public = keys.ready(authority, Purpose.STATUS)
    inputs = [_status_input(making, lookups, status_public, uri) for uri in making.lists]
    signed = signs(*((status_public.thumbprint, data) for data in inputs))
    event = ask.event("bundle.begun", {**making.facts(), "signs": signed})

    def checkpoint(signatures: Sequence[bytes]) -> Finished | Decision:
        tokens = [assemble(data, signature) for data, signature in zip(inputs, signatures, strict=True)]
        covered = tree.frontier()

        def with_proofs(note: bytes) -> Decision:
            sizes = [*lookups.site_checkpoints.get(site, ())]
            if making.carried_back is not None:
                sizes.append(making.carried_back)
            return _site(making, tokens, note, covered.size, consistency.prove(tree, sizes, covered.size))

        return checkpoints.decide(authority, covered, with_proofs)

    return Decision((event,), tuple(Signing(0, status_key.key_id, data) for data in inputs), finish=checkpoint)


def _carried_back(authority: Authority, tree: Tree, note: str) -> int:
    """Give the size of a checkpoint, in base64url, that a site holds; `Refused` where this log never was like it."""
    try:
        known: Checkpoint = open_checkpoint(b64u_decode(note), checkpoints.verifier_key(authority))
    except (Malformed, LogRejected) as error:
        raise Refused(Refusal.MALFORMED, f"the checkpoint that was carried back: {error}") from error
    if known.size > tree.size:
        detail = f"a checkpoint that this log key signed covers {known.size} entries, and this log has {tree.size}"
        raise Refused(Refusal.LOG_FORKED, detail)
    if tree.frontier(known.size).root() != known.root:
        detail = f"this log key signed a checkpoint over {known.size} entries that are not the first of this log"
        raise Refused(Refusal.LOG_FORKED, detail)
    return known.size


def _begin(authority: Authority, lookups: Lookups, blob: Blob, ask: Ask, site: str, now: int) -> _Making:
    trust, founding = authority.trust, authority.founding
    if site not in authority.sites:
        raise Refused(Refusal.UNKNOWN_SITE, f"no site {site}")
    if trust is None:
        raise Refused(Refusal.NO_TRUST, "the custodians have not signed any trust yet")
    if now >= trust.windows[-1].expires_at:
        raise Refused(Refusal.NO_WINDOW, "the last window that the custodians signed is over")
    files = {name: blob(digest) for name, digest in trust.files.items()}
    if f'"{site}"'.encode() not in files[layout.SITES]:
        raise Refused(Refusal.NO_TRUST, f"the trust that custodians signed does not know site {site} yet")
    key, public = keys.ready(authority, Purpose.BUNDLE)
    status_key, _ = keys.ready(authority, Purpose.STATUS)
    log_key, _ = keys.ready(authority, Purpose.LOG)  # for the checkpoint in between
    for signs_later in (key, log_key):  # a number is not begun that cannot be finished
        keys.check_dates(signs_later, now)
    prefix = status_key.charter.prefix if isinstance(status_key.charter, StatusCharter) else ""
    end = trust.end
    if not isinstance(key.charter, BundleCharter) or end > key.charter.until:
        detail = f"the charter of {key.name} does not reach to the bundle's end"
        raise Refused(Refusal.CHARTER_EXCEEDED, detail, f"R13 charter {key.name} until")
    # One series for all sites: the worker holds the bundle key to versions that only rise.
    times = documents.bundle_times(founding.appliance_id, site, authority.next_bundle, issued_at=now, end=end)
    return _Making(authority, ask, trust, times, key, public, _lists(lookups, f"{prefix}{site}/", site), files)


def _lists(lookups: Lookups, prefix: str, site: str) -> tuple[str, ...]:
    """Name the site's status lists; the next one ships while half of the room in the last is still left (R23)."""
    held = lookups.shipped.get(site, ())
    if held and lookups.fill(held[-1]) < NEXT_LIST_AT:
        return held
    if len(held) == len(layout.STATUS_LISTS):
        return held
    return (*held, f"{prefix}{len(held) + 1}")


def _status_input(making: _Making, lookups: Lookups, public: PublicKey, uri: str) -> bytes:
    times = making.times
    status = StatusList(uri, lookups.revoked_bits(uri), times.issued_at, times.end, times.end - times.issued_at)
    return signing_input(Typ.STATUS_LIST, public.algorithm, public.thumbprint, status.claims())


def _site(making: _Making, tokens: list[str], note: bytes, size: int, proofs: bytes) -> Decision:
    times = making.times
    own = documents.appliance_documents(status_lists=tokens, taints=(), checkpoint=note, times=times, proofs=proofs)
    unsigned = metadata.site(sequence=times.sequence, documents=own, expires=times.end)
    return _sign(making, unsigned, lambda site: _snapshot(making, own, site), {"checkpoint": size})


def _snapshot(making: _Making, own: dict[str, bytes], site: bytes) -> Decision:
    times = making.times
    targets = making.files[layout.TARGETS]
    unsigned = metadata.snapshot(sequence=times.sequence, targets=targets, site=site, expires=times.end)
    return _sign(making, unsigned, lambda snapshot: _timestamp(making, own, site, snapshot))


def _timestamp(making: _Making, own: dict[str, bytes], site: bytes, snapshot: bytes) -> Decision:
    times = making.times
    unsigned = metadata.timestamp(sequence=times.sequence, snapshot=snapshot, expires=times.end)
    result: dict[str, Json] = {"site": times.site, "sequence": times.sequence, "end": times.end}
    signed = signs((making.public.thumbprint, unsigned.signing_input))
    event = making.ask.event("bundle.created", {**making.facts(), "signs": signed}, result)

    def finish(signatures: Sequence[bytes]) -> Finished:
        bundle = metadata.assemble(
            roots=[making.files[name] for name in layout.ROOTS if name in making.files],
            timestamp=unsigned.signed((making.public, signatures[0])),
            snapshot=snapshot,
            targets=making.files[layout.TARGETS],
            site=site,
            documents={**{name: making.files[name] for name in layout.BY_CUSTODIANS}, **own},
        )
        _check_as_a_site(bundle, making)
        return Finished({"bundle": bundle})

    return Decision((event,), (Signing(0, making.key.key_id, unsigned.signing_input),), finish=finish)


def _check_as_a_site(bundle: bytes, making: _Making) -> None:
    """Read the finished bundle as its site will, before it leaves."""
    root = making.files[layout.ROOTS[0]]
    pins = Pins(making.times.site, sha256_hex(root))
    try:
        verify_bundle(bundle, pins=pins, root=root, held=None, generation=1, now=making.times.issued_at)
    except BundleRefused as error:
        raise Refused(Refusal.TRUST_REFUSED, f"its site would refuse it: {error}") from error


def _sign(
    making: _Making,
    unsigned: Unsigned,
    then: Callable[[bytes], Decision],
    also: Mapping[str, Json] = MappingProxyType({}),
) -> Decision:
    """Sign one role and go on with the file it becomes; `also` stands in its event."""
    members: dict[str, Json] = {
        **also,
        "site": making.times.site,
        "sequence": making.times.sequence,
        "role": unsigned.role,
        "signs": signs((making.public.thumbprint, unsigned.signing_input)),
    }
    return Decision(
        (making.ask.event("bundle.signed", members),),
        (Signing(0, making.key.key_id, unsigned.signing_input),),
        finish=lambda signatures: then(unsigned.signed((making.public, signatures[0]))),
    )


def evolve(authority: Authority, event: Event) -> Authority:
    """Fold `bundle.begun`: a number that was begun is never used again."""
    record = Record(event, "bundle")
    return authority.with_member("bundles", record.text("site"), record.integer("sequence", least=1))
