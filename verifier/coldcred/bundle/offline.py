"""The two roles that custodians sign, from plain values: `root` and the top-level `targets` (rule R17).

Whoever prepares them writes them by this, and whoever holds them to the founding writes them again by it: what is not,
byte for byte, what follows from the values that were read is no preparation of ours. Times are Unix seconds.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from coldcred import layout
from coldcred.bundle.library import DelegatedRole, Delegations, Key, Role, Root, TargetFile, Targets
from coldcred.bundle.roles import OFFLINE, ONLINE, SITE, SITE_PATHS, tuf_key
from coldcred.canonical import sha256_hex
from coldcred.keys import Algorithm, PublicKey


def root(*, version: int, custodians: Sequence[PublicKey], threshold: int, bundle_key: PublicKey, expires: int) -> Root:
    """Make root metadata: custodians for root and targets, the appliance's bundle key for the online roles.

    Values that no root can have are the caller's mistake: `ValueError`.
    """
    if not 0 < threshold <= len(custodians):
        raise ValueError(f"a threshold of {threshold} for {len(custodians)} custodians")
    if bundle_key.algorithm is not Algorithm.ES256:
        raise ValueError("the bundle key is ES256")
    if len({key.thumbprint for key in (*custodians, bundle_key)}) != len(custodians) + 1:
        raise ValueError("a key stands twice")
    offline = [tuf_key(key) for key in custodians]
    online = tuf_key(bundle_key)
    roles = {name: Role([key.keyid for key in offline], threshold) for name in OFFLINE}
    roles |= {name: Role([online.keyid], 1) for name in ONLINE}
    keys: dict[str, Key] = {key.keyid: key for key in (*offline, online)}
    return Root(version, expires=date(expires), keys=keys, roles=roles, consistent_snapshot=False)


def targets(*, version: int, documents: Mapping[str, bytes], bundle_key: PublicKey, expires: int) -> Targets:
    """Make the custodians' targets: the trust documents, and the delegation of everything else to `site`.

    Other documents than custodians sign are the caller's mistake: `ValueError`.
    """
    if set(documents) != set(layout.BY_CUSTODIANS):
        raise ValueError("custodians sign exactly the trust documents")
    key = tuf_key(bundle_key)
    role = DelegatedRole(SITE, [key.keyid], threshold=1, terminating=True, paths=list(SITE_PATHS))
    delegations = Delegations({key.keyid: key}, {SITE: role})
    return Targets(version, expires=date(expires), targets=listed(documents), delegations=delegations)


def listed(documents: Mapping[str, bytes]) -> dict[str, TargetFile]:
    """Give documents as a role lists them: path, length and SHA-256."""
    found = {}
    for name, body in documents.items():
        path = name.removeprefix("targets/")
        found[path] = TargetFile(len(body), {"sha256": sha256_hex(body)}, path)
    return found


def date(time: int) -> datetime:
    """Give a time as TUF takes it."""
    return datetime.fromtimestamp(time, UTC)
