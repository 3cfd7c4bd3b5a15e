"""The documents of a bundle from plain values, by the names under which a bundle holds them.

Each was read back by coldcred's own reader before it is handed out, so what custodians or the HSM are asked to sign is
something that sites accept.
"""

from collections.abc import Iterable, Mapping, Sequence

from coldcred import layout
from coldcred.documents import (
    BundleTimes,
    Identity,
    TrustKey,
    parse_jwks,
    parse_profiles,
    parse_sites,
    parse_taints,
    write_jwks,
    write_profiles,
    write_sites,
    write_taints,
)
from coldcred.errors import Malformed
from coldcred.founding import Site
from coldcred.plan import Plan, Window

AGEING = (1, 2)  # of the span from issue to end (R20)
STALE = (4, 5)


def one_window(not_before: int, expires_at: int, keys: Iterable[TrustKey], *, grace: int = 0) -> Plan:
    """Plan one window, in which all `keys` are published and sign; times are Unix seconds."""
    kids = tuple(sorted(key.kid for key in keys))
    return Plan((Window(1, not_before, expires_at, publish=kids, sign=kids),), grace)


def bundle_times(appliance: str, site: str, sequence: int, *, issued_at: int, end: int) -> BundleTimes:
    """Give the times of bundle `sequence`: ageing from half of its span, stale from four fifths."""
    span = end - issued_at
    ageing, stale = (issued_at + span * part // whole for part, whole in (AGEING, STALE))
    return BundleTimes(appliance, site, sequence, issued_at, ageing, stale, end)


def trust_documents(
    *,
    identity: Identity,
    keys: Iterable[TrustKey],
    plan: Plan,
    profiles: Mapping[str, bool],
    sites: Iterable[Site],
) -> dict[str, bytes]:
    """Give what custodians sign, by name; `profiles` says for each whether it refuses stale trust.

    A value that sites would not read is the caller's mistake: `ValueError`.
    """
    documents = {
        layout.IDENTITY: identity.write(),
        layout.JWKS: write_jwks(keys),
        layout.PLAN: plan.write(),
        layout.PROFILES: write_profiles(profiles),
        layout.SITES: write_sites(sites),
    }
    try:
        Identity.parse(documents[layout.IDENTITY])
        parse_jwks(documents[layout.JWKS])
        Plan.parse(documents[layout.PLAN])
        parse_profiles(documents[layout.PROFILES])
        parse_sites(documents[layout.SITES])
    except Malformed as error:
        raise ValueError(str(error)) from error
    return documents


def appliance_documents(
    *,
    status_lists: Sequence[str],
    taints: Iterable[str],
    checkpoint: bytes,
    times: BundleTimes,
    proofs: bytes | None = None,
) -> dict[str, bytes]:
    """Give what the role `site` lists, by name; `status_lists` are the signed tokens, in the order of their series.

    `proofs` lead to the checkpoint from those of earlier bundles; bundles of earlier releases had none.
    A value that sites would not read is the caller's mistake: `ValueError`.
    """
    if not 0 < len(status_lists) <= layout.MAX_STATUS_LISTS:
        raise ValueError(f"{len(status_lists)} status lists where a bundle holds 1 to {layout.MAX_STATUS_LISTS}")
    documents = {name: token.encode("ascii") for name, token in zip(layout.STATUS_LISTS, status_lists, strict=False)}
    documents |= {layout.TAINTS: write_taints(taints), layout.CHECKPOINT: checkpoint, layout.TIMES: times.write()}
    if proofs is not None:
        documents[layout.CONSISTENCY] = proofs
    try:
        layout.check_names(documents)
        parse_taints(documents[layout.TAINTS])
        BundleTimes.parse(documents[layout.TIMES])
    except Malformed as error:
        raise ValueError(str(error)) from error
    return documents
